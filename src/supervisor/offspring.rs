//! A child process: one that this program has started, or one that it has inherited by being put in the launcher's place.

use std::{
    io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt},
    process::ExitStatus,
};

use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    process::Child,
};

use super::slot::Status;

/// A child of this process.
#[derive(Debug)]
pub(super) enum Offspring {
    /// Started by an older program under the same number.
    Adopted(Adopted),
    /// Started by this program.
    Born(Child),
}

/// A child that is known by its number only.
#[derive(Debug)]
pub(super) struct Adopted {
    pid: u32,
    process: AsyncFd<OwnedFd>,
    ended: Option<Status>,
}

impl Offspring {
    /// The child with this number. Inside a runtime.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub(super) fn adopt(pid: u32) -> io::Result<Self> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let number =
            number.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no process has this number"))?;
        let process = pidfd_open(number, PidfdFlags::empty())?;
        #[expect(
            deprecated,
            reason = "an OwnedFd is what it takes to be sound; the successor is unsafe code"
        )]
        let process = AsyncFd::with_interest(process, Interest::READABLE)?;
        Ok(Self::Adopted(Adopted { pid, process, ended: None }))
    }

    /// Its number; none once it has ended.
    pub(super) fn pid(&self) -> Option<u32> {
        match self {
            Self::Adopted(adopted) => adopted.ended.is_none().then_some(adopted.pid),
            Self::Born(child) => child.id(),
        }
    }

    /// Waits for its end; asked again, says the same. Cancel-safe.
    pub(super) async fn wait(&mut self) -> Status {
        match self {
            Self::Adopted(adopted) => adopted.wait().await,
            Self::Born(child) => match child.wait().await {
                Ok(status) => described(status),
                Err(error) => Status { code: None, text: error.to_string() },
            },
        }
    }

    /// Kills it. Nothing happens to one that has ended.
    pub(super) fn kill(&mut self) {
        match self {
            Self::Adopted(adopted) => {
                let _ = pidfd_send_signal(adopted.process.get_ref(), Signal::KILL);
            }
            Self::Born(child) => {
                let _ = child.start_kill();
            }
        }
    }
}

impl Adopted {
    async fn wait(&mut self) -> Status {
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
}

/// How a process has ended, if it has. Then its number is free.
fn reap(process: &OwnedFd) -> io::Result<Option<ExitStatus>> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let status = waitid(WaitId::PidFd(std::os::fd::AsFd::as_fd(process)), options)?;
    // As wait(2) puts it: the exit status in the second byte, or the signal in the first.
    let raw = |status: rustix::process::WaitIdStatus| {
        status.exit_status().map(|code| code << 8).or_else(|| status.terminating_signal())
    };
    Ok(status.and_then(raw).map(ExitStatus::from_raw))
}

fn described(status: ExitStatus) -> Status {
    let text = status.code().map_or_else(|| status.to_string(), |code| code.to_string());
    Status { code: status.code(), text }
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
            let mut child = Offspring::adopt(started.id()).unwrap();
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
