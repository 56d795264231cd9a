//! HTTP over the socket file: one request a connection.
//!
//! What an operator asks may take as long as it takes; what he sends may not. A connection whose request does not come is
//! closed, and only a few are open at a time, so that nobody can hold the instance by its own endpoint.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::{
    ask::Desk,
    command::{Command, Outcome},
    socket_file::SocketFile,
};
use crate::server::drain::Drain;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 32;

/// How long a request head may take to come.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether all answers are written.
const REST_INTERVAL: Duration = Duration::from_millis(5);

/// How long to wait after an accept failed for lack of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The endpoint. Dropped, it takes no more connections and its name is gone.
#[derive(Debug)]
pub struct Server {
    socket: SocketFile,
    acceptor: AbortHandle,
    drain: Drain,
}

impl Server {
    /// Begins to answer on `socket` what `desk` can answer. To be called inside a runtime.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn start(socket: SocketFile, desk: Desk) -> io::Result<Self> {
        let listener = UnixListener::from_std(socket.listener()?)?;
        let drain = Drain::new();
        let acceptor = tokio::spawn(accept(listener, desk, drain.clone())).abort_handle();
        Ok(Self { socket, acceptor, drain })
    }

    /// The socket it answers on.
    #[must_use]
    pub fn socket(&self) -> &SocketFile {
        &self.socket
    }

    /// Lets the answers be written that are there, for so long. Others may come meanwhile.
    pub async fn rest(&self, patience: Duration) {
        let silence = async {
            while self.drain.active() > 0 {
                sleep(REST_INTERVAL).await;
            }
        };
        let _ = timeout(patience, silence).await;
    }

    /// Takes no more connections and lets those finish that are open, for so long.
    pub async fn finish(self, patience: Duration) {
        self.acceptor.abort();
        self.drain.start();
        let _ = timeout(patience, self.drain.finished()).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn accept(listener: UnixListener, desk: Desk, drain: Drain) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let (desk, guard) = (desk.clone(), drain.guard());
                tokio::spawn(async move {
                    serve(stream, desk).await;
                    drop((permit, guard));
                });
            }
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection of an operator; trying again");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, desk: Desk) {
    let service = service_fn(|request| answer(request, &desk));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection of an operator failed");
    }
}

async fn answer(request: Request<Incoming>, desk: &Desk) -> Result<Response<Text>, Infallible> {
    let uri = request.uri();
    let response = match (request.method(), uri.path()) {
        (&Method::GET | &Method::HEAD, path @ ("/healthz" | "/readyz" | "/status")) => look(path, desk).await,
        (_, "/healthz" | "/readyz" | "/status") => not_allowed("GET, HEAD"),
        (method, path) => match Command::parse(path, uri.query()) {
            Ok(command) if method == Method::POST => carry_out(command, desk).await,
            Ok(_) => not_allowed("POST"),
            Err(error) if path == "/scale" && method != Method::POST => {
                drop(error);
                not_allowed("POST")
            }
            Err(error) => text(error.status(), error.to_string()),
        },
    };
    Ok(response)
}

async fn look(path: &str, desk: &Desk) -> Response<Text> {
    if path == "/healthz" {
        return text(StatusCode::OK, "alive".into());
    }
    let Some(status) = desk.status().await else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "stopping".into());
    };
    if path == "/status" {
        let json = serde_json::to_vec(&status).unwrap_or_default();
        return response(StatusCode::OK, "application/json", json);
    }
    match (status.stopping, status.ready) {
        (true, _) => text(StatusCode::SERVICE_UNAVAILABLE, "stopping".into()),
        (false, true) => text(StatusCode::OK, "ready".into()),
        (false, false) => text(StatusCode::SERVICE_UNAVAILABLE, "no worker is ready".into()),
    }
}

async fn carry_out(command: Command, desk: &Desk) -> Response<Text> {
    tracing::info!(command = command.target(), "asked by an operator");
    let outcome: Outcome = desk.command(command).await;
    text(outcome.status(), outcome.text().into_owned())
}

fn not_allowed(accepted: &'static str) -> Response<Text> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, format!("accepted are {accepted}"));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(accepted));
    response
}

fn text(status: StatusCode, mut line: String) -> Response<Text> {
    line.push('\n');
    response(status, "text/plain; charset=utf-8", line.into_bytes())
}

fn response(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Text> {
    let mut response = Response::new(Text(Some(body.into())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A body that is there.
struct Text(Option<Bytes>);

impl http_body::Body for Text {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.take().map(|bytes| Ok(http_body::Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests;
