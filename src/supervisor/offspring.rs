//! A child process: one that this program has started, or one that it has inherited by being put in the launcher's place.

use std::{io, process::ExitStatus};

use tokio::process::Child;

use self::adopted::Adopted;
use super::slot::Status;

#[cfg(target_os = "linux")]
mod adopted;
#[cfg(not(target_os = "linux"))]
#[path = "offspring/unadopted.rs"]
mod adopted;

/// A child of this process.
#[derive(Debug)]
pub(super) enum Offspring {
    /// Started by an older program under the same number.
    Adopted(Adopted),
    /// Started by this program.
    Born(Child),
}

impl Offspring {
    /// The child with this number. Inside a runtime.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub(super) fn adopt(pid: u32) -> io::Result<Self> {
        Adopted::new(pid).map(Self::Adopted)
    }

    /// Its number; none once it has ended.
    pub(super) fn pid(&self) -> Option<u32> {
        match self {
            Self::Adopted(adopted) => adopted.pid(),
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
            Self::Adopted(adopted) => adopted.kill(),
            Self::Born(child) => {
                let _ = child.start_kill();
            }
        }
    }
}

fn described(status: ExitStatus) -> Status {
    let text = status.code().map_or_else(|| status.to_string(), |code| code.to_string());
    Status { code: status.code(), text }
}
