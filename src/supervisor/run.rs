//! The launcher's own life.

use std::{io, rc::Rc};

use rustix::fs::MemfdFlags;
use tokio::{
    runtime::Builder,
    sync::{mpsc, watch},
    task::LocalSet,
};

use super::{
    loans::Loans,
    slot::{self, Instance, News, Phase},
    sockets::Sockets,
    spawn::Origin,
};
use crate::{
    config::{Loaded, Settings},
    control::signals::{Signal, Signals},
    shared_memory::Segment,
};

/// How an instance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As asked.
    Stopped,
    /// A worker could not start at first; its exit status, where it had one.
    FirstStartFailed(Option<i32>),
    /// No slot has a worker any more.
    NoWorkers,
}

/// Keeps workers alive until a signal stops the instance.
///
/// # Errors
///
/// When the launcher itself cannot do its work.
pub fn run(loaded: &Loaded, sockets: Sockets, flags: Vec<(String, String)>) -> io::Result<Ending> {
    let settings: &Settings = &loaded.settings;
    let slots = settings.runtime.process_count.get();
    let memory = std::fs::File::from(rustix::fs::memfd_create("rust-forward-proxy", MemfdFlags::CLOEXEC)?);
    let segment = Segment::create(&memory, slots).map_err(io::Error::other)?;
    tracing::info!(processes = slots, "Starting multi-process mode");
    for address in sockets.addresses() {
        tracing::info!(addr = %address, "listening");
    }
    let instance = Rc::new(Instance {
        settings: settings.supervision.clone(),
        origin: Origin::new(memory)?,
        sockets,
        memory: segment,
        file: loaded.file.clone(),
        flags,
    });
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, oversee(instance, slots))
}

async fn oversee(instance: Rc<Instance>, slots: usize) -> io::Result<Ending> {
    let mut signals = Signals::new()?;
    let (phase, watched) = watch::channel(Phase::Running);
    let (tell, mut news) = mpsc::unbounded_channel();
    let mut loans = Vec::new();
    for index in 0..slots {
        let (lend, lent) = mpsc::unbounded_channel();
        loans.push(lend);
        tokio::task::spawn_local(slot::keep(
            index,
            Rc::clone(&instance),
            watched.clone(),
            lent,
            tell.clone(),
        ));
    }
    let mut loans = Loans::new(loans, instance.sockets.are_shared());
    drop((watched, tell));
    let mut progress =
        Progress { ready: vec![false; slots], is_up: false, living: slots, cut: 0, ending: Ending::Stopped };
    while progress.living > 0 {
        tokio::select! {
            told = news.recv() => match told {
                Some((slot, told)) => {
                    progress.hear(slot, told, &phase);
                    loans.hear(slot, told);
                }
                None => break,
            },
            signal = signals.next() => obey(signal, &phase),
        }
    }
    tracing::info!(cut = progress.cut, "stopped");
    Ok(progress.ending)
}

fn obey(signal: Signal, phase: &watch::Sender<Phase>) {
    let now = *phase.borrow();
    match signal {
        Signal::Stop if now == Phase::Running => {
            tracing::info!("draining");
            phase.send_replace(Phase::Draining);
        }
        Signal::Stop | Signal::Quit => {
            phase.send_replace(Phase::Stopping);
        }
        other => tracing::warn!("{} is not supported yet", other.wish()),
    }
}

/// How far the instance is.
struct Progress {
    ready: Vec<bool>,
    is_up: bool,
    living: usize,
    cut: u64,
    ending: Ending,
}

impl Progress {
    fn hear(&mut self, slot: usize, news: News, phase: &watch::Sender<Phase>) {
        match news {
            News::Ready => {
                self.ready[slot] = true;
                if !self.is_up && self.ready.iter().all(|ready| *ready) {
                    self.is_up = true;
                    tracing::info!("ready");
                }
            }
            News::Vacant => self.ready[slot] = false,
            News::FailedAtFirst(status) => {
                self.living -= 1;
                if self.is_up {
                    return;
                }
                tracing::error!(slot, "a worker cannot start: the instance is stopped");
                self.ending = Ending::FirstStartFailed(status);
                phase.send_replace(Phase::Stopping);
            }
            News::GivenUp => {
                self.living -= 1;
                if self.living == 0 {
                    tracing::error!("no worker is left");
                    self.ending = Ending::NoWorkers;
                }
            }
            News::Ended { cut } => {
                self.living -= 1;
                self.cut += cut;
            }
        }
    }
}
