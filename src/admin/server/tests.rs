//! The server over a real socket: what operators send, and what they must not be able to do.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream as StdUnixStream,
    path::PathBuf,
};

use tempfile::TempDir;

use super::*;
use crate::admin::{Ask, Command, Outcome, Status, Totals, Traffic, client, desk};

fn status(ready: bool) -> Status {
    Status {
        version: "1.2.3".into(),
        pid: 7,
        mode: "multi_process".into(),
        uptime_ms: 1,
        generation: 1,
        listeners: Vec::new(),
        tls_listeners: Vec::new(),
        ready,
        stopping: false,
        last_reload: None,
        reloads: 0,
        memory_bytes: 0,
        workers: Vec::new(),
        totals: Totals::default(),
        traffic: Traffic::default(),
        groups: Vec::new(),
    }
}

/// A server whose instance is not ready and does everything but reload.
fn served() -> (TempDir, PathBuf, Server) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let (desk, mut asks) = desk();
    let names = HostNames::new(vec!["proxy.test".into()]);
    let doors = Doors {
        socket: Some(SocketFile::bind(&path).unwrap()),
        network: Some(Network::bind("127.0.0.1:0".parse().unwrap(), names).unwrap()),
    };
    let server = Server::start(doors, &desk).unwrap();
    tokio::spawn(async move {
        loop {
            match asks.next().await {
                Ask::Command(Command::Reload, answer) => {
                    let _ = answer.send(Outcome::Invalid("one\ntwo".into()));
                }
                Ask::Command(command, answer) => {
                    let _ = answer.send(Outcome::Done(command.target()));
                }
                Ask::Metrics(exposition, answer) => {
                    let _ = answer.send(format!("{exposition:?}"));
                }
                Ask::Status(answer) => {
                    let _ = answer.send(status(false));
                }
            }
        }
    });
    (folder, path, server)
}

fn raw(path: &PathBuf, request: &str) -> String {
    let mut stream = StdUnixStream::connect(path).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_gets_what_the_instance_says() {
    let (_folder, path, server) = served();
    let asked = tokio::task::spawn_blocking(move || {
        assert_eq!(client::command(&path, &Command::Restart).unwrap(), Outcome::Done("/restart".into()));
        let refused = client::command(&path, &Command::Reload).unwrap();
        assert_eq!(refused, Outcome::Invalid("one\ntwo".into()));
        let (told, json) = client::status(&path).unwrap();
        assert_eq!(told, status(false));
        assert!(json.contains("\"pid\":7"), "{json}");
        path
    });
    let path = asked.await.unwrap();
    server.finish(Duration::from_secs(5)).await;
    assert!(!path.exists());
}

fn visit(at: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn visitors_look_and_change_nothing() {
    let (_folder, _path, server) = served();
    let at = server.doors().network.as_ref().unwrap().address();
    let rows = [
        ("GET /healthz HTTP/1.1\r\nHost: localhost", "200", "alive"),
        ("HEAD /healthz HTTP/1.1\r\nHost: localhost", "200", "content-length: 6"),
        ("GET /healthz HTTP/1.0", "200", "alive"),
        ("GET /healthz HTTP/1.1", "400", "Host"),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: localhost", "400", "Host"),
        ("GET /healthz HTTP/1.1\r\nHost: evil.test:9901", "421", "admin.host_names"),
        ("GET http://evil.test/healthz HTTP/1.1\r\nHost: localhost", "421", "admin.host_names"),
        ("GET /healthz HTTP/1.1\r\nHost: proxy.test:1", "200", "alive"),
        ("GET /readyz HTTP/1.1\r\nHost: [::1]:9901", "503", "no worker is ready"),
        ("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1", "200", "Text"),
        (
            "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/openmetrics-text",
            "200",
            "OpenMetrics",
        ),
        ("GET /proxy.pac HTTP/1.1\r\nHost: 127.0.0.1", "200", "x-ns-proxy-autoconfig"),
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1", "200", "default-src 'none'"),
        ("GET /status HTTP/1.1\r\nHost: 127.0.0.1", "200", "\"pid\":7"),
        ("POST /status HTTP/1.1\r\nHost: 127.0.0.1", "405", "allow: GET, HEAD"),
        ("POST /stop HTTP/1.1\r\nHost: 127.0.0.1", "405", "allow: GET, HEAD"),
        ("GET /stop HTTP/1.1\r\nHost: 127.0.0.1", "404", "there is nothing here"),
        ("OPTIONS / HTTP/1.1\r\nHost: 127.0.0.1", "405", "allow: GET, HEAD"),
    ];
    tokio::task::spawn_blocking(move || {
        for (head, code, expected) in rows {
            let answer = visit(at, &format!("{head}\r\n\r\n"));
            assert!(answer[9..].starts_with(code), "{head}: {answer}");
            assert!(answer.contains(expected), "{head}: {answer}");
            assert!(answer.contains("nosniff") && answer.contains("no-store"), "{head}: {answer}");
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_and_paths_are_checked() {
    let (_folder, path, _server) = served();
    let rows = [
        ("GET /healthz", "200", "alive"),
        ("GET /readyz", "503", "no worker is ready"),
        ("POST /status", "405", "allow: GET, HEAD"),
        ("GET /reload", "405", "allow: POST"),
        ("GET /scale", "405", "allow: POST"),
        ("POST /scale?workers=0", "400", "from 1 to 256"),
        ("POST /scale?workers=3", "200", "/scale?workers=3"),
        ("GET /nothing", "404", "no such command"),
    ];
    tokio::task::spawn_blocking(move || {
        for (start, code, expected) in rows {
            let answer = raw(&path, &format!("{start} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert!(answer.starts_with(&format!("HTTP/1.1 {code}")), "{start}: {answer}");
            assert!(answer.contains(expected), "{start}: {answer}");
        }
        assert!(raw(&path, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
    })
    .await
    .unwrap();
}
