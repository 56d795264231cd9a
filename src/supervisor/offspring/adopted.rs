//! A child that is known by its number only, held by a descriptor so that the number cannot come to mean another.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    process::ExitStatus,
};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::io::{Interest, unix::AsyncFd};

use super::{Status, described};

/// A child that another program under this process' number has started.
#[derive(Debug)]
pub(in crate::supervisor) struct Adopted {
    pid: u32,
    process: AsyncFd<OwnedFd>,
    ended: Option<Status>,
}

impl Adopted {
    pub(super) fn new(pid: u32) -> io::Result<Self> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let number =
            number.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no process has this number"))?;
        let process = pidfd_open(number, PidfdFlags::empty())?;
        #[expect(
            deprecated,
            reason = "an OwnedFd is what it takes to be sound; the successor is unsafe code"
        )]
        let process = AsyncFd::with_interest(process, Interest::READABLE)?;
        Ok(Self { pid, process, ended: None })
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.ended.is_none().then_some(self.pid)
    }

    pub(super) async fn wait(&mut self) -> Status {
        if let Some(ended) = &self.ended {
            return ended.clone();
        }
        let ended = loop {
            let mut readable = match self.process.readable().await {
                Ok(readable) => readable,
                Err(error) => break Status { code: None, text: error.to_string() },
            };
            match reap(self.process.get_ref()) {
                Ok(Some(status)) => break described(status),
                Ok(None) => readable.clear_ready(),
                Err(error) => break Status { code: None, text: error.to_string() },
            }
        };
        self.ended.insert(ended).clone()
    }

    pub(super) fn kill(&self) {
        let _ = pidfd_send_signal(self.process.get_ref(), Signal::KILL);
    }
}

/// How a process has ended, if it has. Then its number is free.
fn reap(process: &OwnedFd) -> io::Result<Option<ExitStatus>> {
    let status = waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?;
    // As wait(2) puts it: the exit status in the second byte, or the signal in the first.
    let raw = |status: WaitIdStatus| {
        status.exit_status().map(|code| code << 8).or_else(|| status.terminating_signal())
    };
    Ok(status.and_then(raw).map(ExitStatus::from_raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_adopted_child_ends_as_one_that_was_born() {
        for (script, signal, code, text) in
            [("exit 3", false, Some(3), "3"), ("sleep 60", true, None, "signal: 9 (SIGKILL)")]
        {
            #[expect(clippy::zombie_processes, reason = "it is waited for by its number")]
            let started = std::process::Command::new("sh").args(["-c", script]).spawn().unwrap();
            let mut child = Adopted::new(started.id()).unwrap();
            assert_eq!(child.pid(), Some(started.id()));
            if signal {
                child.kill();
            }
            let status = child.wait().await;
            assert_eq!((status.code, status.text.as_str()), (code, text));
            assert_eq!(child.wait().await, status, "asked again");
            assert_eq!(child.pid(), None);
            child.kill();
        }
    }
}
