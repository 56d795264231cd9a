//! What a launcher leaves to the program that is put in its place under the same process number.
//!
//! The [`Will`] is text in a piece of memory that has no name; its number is in the environment. Descriptors are in it by
//! number. Both programs have to mean the same by it, which [`version`] is for: who does not know it is not put in place.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    net::{SocketAddr, TcpListener},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::net::UnixListener,
    },
};

use rustix::io::{FdFlags, fcntl_setfd};
use serde::{Deserialize, Serialize};

use super::{audience::AudienceEstate, fleet::FleetEstate, report::ReporterEstate};
use crate::{
    admin::Totals,
    control::Configuration,
    net::inherit::own,
    shared_memory::{Segment, nameless_file},
};

/// The variable with the number of the will.
pub(super) const VARIABLE: &str = "PROXY_HANDOVER";

/// Counts the forms that a will has had.
const FORM: u32 = 3;

/// What both programs have to say for one to succeed the other.
#[must_use]
pub fn version() -> String {
    format!("{FORM}.{:x}", Segment::layout())
}

/// Everything but the things themselves.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Will {
    pub(super) version: String,
    pub(super) configuration: Configuration,
    pub(super) log_level: Option<String>,
    /// `runtime.process_count`, which says less than how many there are.
    pub(super) process_count: usize,
    pub(super) addresses: Vec<SocketAddr>,
    /// Those of them where clients speak TLS.
    pub(super) tls: Vec<SocketAddr>,
    pub(super) are_shared: bool,
    pub(super) sockets: Vec<Vec<i32>>,
    pub(super) memory: i32,
    pub(super) admin: Option<i32>,
    pub(super) network: Option<i32>,
    pub(super) fleet: FleetEstate,
    pub(super) audience: AudienceEstate,
    pub(super) reporter: ReporterEstate,
    pub(super) workers: Vec<WorkerEstate>,
}

/// A worker that lives on.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WorkerEstate {
    pub(super) life: u64,
    pub(super) pid: u32,
    pub(super) channel: i32,
    /// What it has said and nobody has understood yet.
    pub(super) received: Vec<u8>,
    pub(super) seat: usize,
    pub(super) slot: usize,
    pub(super) generation: u64,
    /// What was in its seat before it came.
    pub(super) before: Totals,
}

/// What was left, and is owned again.
#[derive(Debug)]
pub struct Estate {
    pub(super) will: Will,
    pub(super) memory: File,
    pub(super) sockets: Vec<Vec<TcpListener>>,
    pub(super) admin: Option<UnixListener>,
    pub(super) network: Option<TcpListener>,
    /// One for each worker of the will.
    pub(super) channels: Vec<OwnedFd>,
}

/// What somebody has left to this process, if anybody has. To be called once, before anything else opens descriptors.
///
/// # Errors
///
/// When what was left cannot be understood or is not there.
pub fn receive(environment: &[(String, String)]) -> io::Result<Option<Estate>> {
    let number =
        environment.iter().find(|(name, _)| name == VARIABLE).map(|(_, number)| number.parse::<i32>());
    let Some(number) = number else { return Ok(None) };
    let mut text = String::new();
    let mut file = File::from(own(number.map_err(io::Error::other)?)?);
    file.rewind()?;
    file.read_to_string(&mut text)?;
    let will: Will = serde_json::from_str(&text)?;
    if will.version != version() {
        return Err(io::Error::other(format!(
            "it is of version {}, this program is of {}",
            will.version,
            version()
        )));
    }
    let listener = |number: &i32| own(*number).map(TcpListener::from);
    let sockets = will.sockets.iter().map(|sockets| sockets.iter().map(listener).collect());
    Ok(Some(Estate {
        sockets: sockets.collect::<io::Result<_>>()?,
        memory: own(will.memory)?.into(),
        admin: will.admin.map(own).transpose()?.map(UnixListener::from),
        network: will.network.map(own).transpose()?.map(TcpListener::from),
        channels: will.workers.iter().map(|worker| own(worker.channel)).collect::<io::Result<_>>()?,
        will,
    }))
}

/// The will in a piece of memory that a program in this one's place finds.
pub(super) fn write(will: &Will) -> io::Result<File> {
    let mut file = nameless_file()?;
    file.write_all(&serde_json::to_vec(will)?)?;
    pass_on(&[file.as_fd()], true)?;
    Ok(file)
}

/// Whether a program in this one's place has these descriptors too.
pub(super) fn pass_on(descriptors: &[BorrowedFd<'_>], yes: bool) -> io::Result<()> {
    let flags = if yes { FdFlags::empty() } else { FdFlags::CLOEXEC };
    descriptors.iter().try_for_each(|descriptor| Ok(fcntl_setfd(descriptor, flags)?))
}

pub(super) fn number(descriptor: &impl AsFd) -> i32 {
    descriptor.as_fd().as_raw_fd()
}
