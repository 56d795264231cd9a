//! The server over a real socket: what operators send, and what they must not be able to do.

use std::{
    io::{Read, Write},
    os::unix::net::UnixStream as StdUnixStream,
    path::PathBuf,
};

use tempfile::TempDir;

use super::*;
use crate::admin::{Ask, Status, Totals, client, desk};

fn status(ready: bool) -> Status {
    Status {
        version: "1.2.3".into(),
        pid: 7,
        mode: "multi_process".into(),
        uptime_ms: 1,
        generation: 1,
        listeners: Vec::new(),
        ready,
        stopping: false,
        last_reload: None,
        reloads: 0,
        memory_bytes: 0,
        workers: Vec::new(),
        totals: Totals::default(),
    }
}

/// A server whose instance is not ready and does everything but reload.
fn served() -> (TempDir, PathBuf, Server) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    let (desk, mut asks) = desk();
    let server = Server::start(SocketFile::bind(&path).unwrap(), desk).unwrap();
    tokio::spawn(async move {
        loop {
            match asks.next().await {
                Ask::Command(Command::Reload, answer) => {
                    let _ = answer.send(Outcome::Invalid("one\ntwo".into()));
                }
                Ask::Command(command, answer) => {
                    let _ = answer.send(Outcome::Done(command.target()));
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
        assert_eq!(client::command(&path, Command::Restart).unwrap(), Outcome::Done("/restart".into()));
        let refused = client::command(&path, Command::Reload).unwrap();
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
