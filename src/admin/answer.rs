//! What each request to the endpoint is answered.
//!
//! Through the socket file everything can be asked; over TCP nothing can be changed, and nobody is answered who asks under
//! a name that is not ours.

use std::convert::Infallible;

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS},
};

use super::{
    ask::Desk,
    command::{Command, Outcome},
    dashboard,
    host_names::HostNames,
    pac,
};
use crate::telemetry::prometheus::Exposition;

/// What can be looked at.
const VIEWS: [&str; 6] = ["/", "/healthz", "/metrics", "/proxy.pac", "/readyz", "/status"];

/// Where a request came in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Door<'a> {
    /// Over TCP, where it answers to these names.
    Network(&'a HostNames),
    /// Through the socket file.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there are no unix sockets"))]
    Socket,
}

/// Answers a request. Its content is not read.
pub(super) async fn answer<B>(request: &Request<B>, desk: &Desk, door: Door<'_>) -> Response<Text> {
    if let Door::Network(names) = door
        && let Some(refusal) = misaddressed(request, names)
    {
        return refusal;
    }
    let (method, path) = (request.method(), request.uri().path());
    let is_look = matches!(*method, Method::GET | Method::HEAD);
    match door {
        _ if VIEWS.contains(&path) && is_look => look(request, desk).await,
        _ if VIEWS.contains(&path) => not_allowed("GET, HEAD"),
        Door::Network(_) if !is_look => not_allowed("GET, HEAD"),
        Door::Network(_) => {
            text(StatusCode::NOT_FOUND, format!("there is nothing here; there are {}", VIEWS.join(", ")))
        }
        Door::Socket => command(request, desk).await,
    }
}

/// What a request over TCP is answered that is not meant for us, by any name that it gives.
fn misaddressed<B>(request: &Request<B>, names: &HostNames) -> Option<Response<Text>> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    // Before HTTP/1.1 there may be none, and then it was no browser.
    if hosts.next().is_some() || (host.is_none() && request.version() >= Version::HTTP_11) {
        return Some(text(StatusCode::BAD_REQUEST, "exactly one Host field is accepted".into()));
    }
    let target = request.uri().authority().map(|authority| authority.as_str());
    let is_ours = |name: &str| names.accept(name);
    if host.is_none_or(|host| host.to_str().is_ok_and(is_ours)) && target.is_none_or(is_ours) {
        return None;
    }
    let line = "this name is not answered to: an address, localhost, and the names of admin.host_names are";
    Some(text(StatusCode::MISDIRECTED_REQUEST, line.into()))
}

async fn look<B>(request: &Request<B>, desk: &Desk) -> Response<Text> {
    let path = request.uri().path();
    match path {
        "/" => return page(),
        "/healthz" => return text(StatusCode::OK, "alive".into()),
        "/metrics" => {
            let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
            let exposition = Exposition::negotiate(accept.unwrap_or_default());
            return match desk.metrics(exposition).await {
                Some(page) => response(StatusCode::OK, exposition.content_type(), page.into_bytes()),
                None => stopping(),
            };
        }
        _ => {}
    }
    let Some(status) = desk.status().await else { return stopping() };
    match path {
        "/status" => {
            let json = serde_json::to_vec(&status).unwrap_or_default();
            response(StatusCode::OK, "application/json", json)
        }
        "/proxy.pac" => {
            let script = pac::script(&status.listeners, &status.tls_listeners, host(request).as_deref());
            response(StatusCode::OK, pac::CONTENT_TYPE, script.into_bytes())
        }
        _ if status.stopping => stopping(),
        _ if status.ready => text(StatusCode::OK, "ready".into()),
        _ => text(StatusCode::SERVICE_UNAVAILABLE, "no worker is ready".into()),
    }
}

/// What the client calls this host, without a port. It was checked to be a host's name or address.
fn host<B>(request: &Request<B>) -> Option<String> {
    let host = request.headers().get(HOST)?.to_str().ok()?;
    let authority: http::uri::Authority = host.parse().ok()?;
    Some(authority.host().to_owned())
}

fn page() -> Response<Text> {
    let (page, policy) = dashboard::page();
    let mut response = response(StatusCode::OK, "text/html; charset=utf-8", page.into_bytes());
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(policy) {
        headers.insert(http::header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(http::header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
    response
}

async fn command<B>(request: &Request<B>, desk: &Desk) -> Response<Text> {
    let uri = request.uri();
    match Command::parse(uri.path(), uri.query()) {
        Ok(command) if request.method() == Method::POST => carry_out(command, desk).await,
        Err(error) if error.status() == StatusCode::NOT_FOUND || request.method() == Method::POST => {
            text(error.status(), error.to_string())
        }
        Ok(_) | Err(_) => not_allowed("POST"),
    }
}

async fn carry_out(command: Command, desk: &Desk) -> Response<Text> {
    tracing::info!(command = command.target(), "asked by an operator");
    let outcome: Outcome = desk.command(command).await;
    text(outcome.status(), outcome.text().into_owned())
}

fn stopping() -> Response<Text> {
    text(StatusCode::SERVICE_UNAVAILABLE, "stopping".into())
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
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A body that is there.
#[derive(Debug)]
pub(super) struct Text(Option<Bytes>);

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
