//! `runtime.cpu_affinity`: who serves stays on one core of those that the process may use.
//!
//! The cores are asked for before anything is pinned, so a mask that is set from outside (taskset, a cpuset, a container) is
//! what is shared out; with more workers than cores it is gone round again. A thread begins where the one that starts it
//! may run: a process of one serving thread is therefore pinned before it has others, and is on its core as a whole.

use std::{
    io,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
};

use thiserror::Error;
use tokio::runtime::Builder;

/// Why nothing can be pinned.
#[derive(Debug, Error)]
#[error("runtime.cpu_affinity: threads cannot be pinned to cores here: {0}")]
pub struct AffinityError(#[from] io::Error);

/// Pins the calling thread, and those that it starts from now on, to the core of the worker with this index.
///
/// # Errors
///
/// The operating system's.
pub fn pin(index: usize) -> Result<(), AffinityError> {
    Ok(Cores::of_this_process()?.pin(index)?)
}

/// The serving threads of a runtime that has several, each to be pinned by itself when it starts.
pub(super) struct Pinning {
    count: usize,
    outcomes: Receiver<io::Result<()>>,
}

impl Pinning {
    /// Has the first `count` threads of the runtime that `builder` builds pinned: those are the ones that serve. Others,
    /// which block now and then, may run wherever the process may.
    pub(super) fn of_threads(builder: &mut Builder, count: NonZeroUsize) -> Result<Self, AffinityError> {
        let cores = Arc::new(Cores::of_this_process()?);
        let count = count.get();
        let (tell, outcomes) = channel();
        let started = AtomicUsize::new(0);
        builder.on_thread_start(move || pin_next(&cores, count, &started, &tell));
        Ok(Self { count, outcomes })
    }

    /// Waits until all of them are pinned. To be called before the runtime is given anything to do.
    ///
    /// # Errors
    ///
    /// That of a thread that could not be.
    pub(super) fn finish(self) -> Result<(), AffinityError> {
        for _ in 0..self.count {
            self.outcomes.recv().expect("the runtime holds the other end, and has started its threads")?;
        }
        Ok(())
    }
}

fn pin_next(cores: &Cores, count: usize, started: &AtomicUsize, tell: &Sender<io::Result<()>>) {
    let index = started.fetch_add(1, Ordering::Relaxed);
    if index < count {
        // Nobody listens when another one has failed.
        let _ = tell.send(cores.pin(index));
    } else if let Err(error) = cores.free() {
        tracing::warn!(%error, "a thread stays on the core of the one that has started it");
    }
}

/// The cores that the process may use, by their numbers. Never empty.
struct Cores(Vec<usize>);

impl Cores {
    fn of_this_process() -> io::Result<Self> {
        let cores = system::allowed()?;
        if cores.is_empty() { Err(io::ErrorKind::Unsupported.into()) } else { Ok(Self(cores)) }
    }

    /// Puts the calling thread on the core of the worker with this index.
    fn pin(&self, index: usize) -> io::Result<()> {
        system::restrict(&[self.0[index % self.0.len()]])
    }

    /// Lets the calling thread run on all of them.
    fn free(&self) -> io::Result<()> {
        system::restrict(&self.0)
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;

    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    pub(super) fn allowed() -> io::Result<Vec<usize>> {
        let set = sched_getaffinity(None)?;
        Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
    }

    pub(super) fn restrict(cores: &[usize]) -> io::Result<()> {
        let mut set = CpuSet::new();
        for core in cores {
            set.set(*core);
        }
        Ok(sched_setaffinity(None, &set)?)
    }
}

/// The configuration refuses the key here.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    pub(super) fn allowed() -> io::Result<Vec<usize>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn restrict(_: &[usize]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
