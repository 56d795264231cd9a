//! A Redis server of its own, where there is one to be started.

use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use super::{Folder, within};

/// A running Redis, which ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Redis {
    port: u16,
    folder: Folder,
    child: Option<Child>,
}

impl Redis {
    /// Starts one; none where it is not installed, which is said.
    pub(crate) fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).ok()?.port();
        let mut redis = Self { port, folder: Folder::new(), child: None };
        redis.begin().then_some(redis)
    }

    /// Where it is, as `rate_limit.store` says it.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/1", self.port)
    }

    /// Starts it, at the port it had. Whether there is one to be started.
    pub(crate) fn begin(&mut self) -> bool {
        let mut command = Command::new("redis-server");
        command.args([
            "--port",
            &self.port.to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ]);
        command
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let Ok(child) = command.spawn() else {
            println!("redis-server is not installed: skipped");
            return false;
        };
        self.child = Some(child);
        let address = ([127, 0, 0, 1], self.port).into();
        let begun = within(super::PATIENCE, || TcpStream::connect_timeout(&address, super::PATIENCE).is_ok());
        assert!(begun, "redis-server does not begin");
        true
    }

    /// Kills it.
    pub(crate) fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.end();
    }
}
