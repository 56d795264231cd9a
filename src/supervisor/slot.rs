//! A place for one worker, and the life of whoever is in it.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    respawn::{History, Verdict},
    sockets::Sockets,
    spawn::{Origin, Process, spawn},
};
use crate::{
    config::settings::SupervisionSettings,
    control::{Assignment, Order, Report},
    shared_memory::Segment,
};

/// What is left between the drain deadline of a worker and its being killed, so that it can say how it went.
const KILL_GRACE: Duration = Duration::from_secs(2);

/// How far the end of the instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Running,
    Draining,
    Stopping,
}

/// What a slot tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Its worker accepts.
    Ready,
    /// The worker never became ready, at the first start; its status.
    FailedAtFirst(Option<i32>),
    /// Its worker is gone.
    Vacant,
    /// No worker will be here any more.
    GivenUp,
    /// The slot has ended as asked, after so many tunnels were cut.
    Ended { cut: u64 },
}

/// What a slot is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loan {
    /// Its worker accepts for this slot, too.
    Lend(usize),
    /// No longer.
    Return(usize),
}

/// What all slots share.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) settings: SupervisionSettings,
    pub(super) origin: Origin,
    pub(super) sockets: Sockets,
    pub(super) memory: Segment,
    pub(super) file: Option<(std::path::PathBuf, String)>,
    pub(super) flags: Vec<(String, String)>,
}

/// How a worker's life ended.
struct Death {
    status: Option<i32>,
    text: String,
    lived: Duration,
    was_ready: bool,
    cut: u64,
}

/// Keeps a worker in slot `index` until `phase` says otherwise.
pub(super) async fn keep(
    index: usize,
    instance: Rc<Instance>,
    mut phase: watch::Receiver<Phase>,
    mut loans: mpsc::UnboundedReceiver<Loan>,
    news: mpsc::UnboundedSender<(usize, News)>,
) {
    let mut history = History::default();
    let mut was_ever_ready = false;
    let mut cut = 0;
    loop {
        // Loans to the worker before this one are made anew by who made them.
        while loans.try_recv().is_ok() {}
        let death = live(index, &instance, &mut phase, &mut loans, &news).await;
        instance.memory.release(index);
        let _ = news.send((index, News::Vacant));
        cut += death.cut;
        was_ever_ready |= death.was_ready;
        if *phase.borrow() != Phase::Running {
            let _ = news.send((index, News::Ended { cut }));
            return;
        }
        tracing::warn!(slot = index, status = death.text, "worker exited");
        // One that was killed is no sign that all the others will fail too.
        if !was_ever_ready && death.status.is_some() {
            let _ = news.send((index, News::FailedAtFirst(death.status)));
            return;
        }
        let verdict = history.died(&instance.settings, Instant::now(), death.lived, death.status, jitter());
        match verdict {
            Verdict::Respawn(delay) => {
                tracing::info!(slot = index, delay = ?delay, "worker respawn scheduled");
                tokio::select! {
                    () = sleep(delay) => {}
                    _ = phase.wait_for(|phase| *phase != Phase::Running) => {
                        let _ = news.send((index, News::Ended { cut }));
                        return;
                    }
                }
            }
            Verdict::GiveUp(reason) => {
                tracing::error!(slot = index, reason, "worker given up");
                let _ = news.send((index, News::GivenUp));
                return;
            }
        }
    }
}

/// One worker's life, from its start to its end.
async fn live(
    index: usize,
    instance: &Instance,
    phase: &mut watch::Receiver<Phase>,
    loans: &mut mpsc::UnboundedReceiver<Loan>,
    news: &mpsc::UnboundedSender<(usize, News)>,
) -> Death {
    let born = Instant::now();
    let assignment = Assignment {
        index,
        seat: index,
        listeners: instance.sockets.addresses().to_vec(),
        file: instance.file.clone(),
        flags: instance.flags.clone(),
    };
    let mut process = match spawn(&instance.origin, assignment, &instance.sockets).await {
        Ok(process) => process,
        Err(error) => {
            let text = format!("could not be started: {error}");
            return Death { status: None, text, lived: Duration::ZERO, was_ready: false, cut: 0 };
        }
    };
    let mut watched = Watched { was_ready: false, cut: 0 };
    watched.watch(index, &mut process, instance, phase, loans, news).await;
    let status = process.child.wait().await;
    let (status, text) = match status {
        Ok(status) => (status.code(), status.to_string()),
        Err(error) => (None, error.to_string()),
    };
    Death { status, text, lived: born.elapsed(), was_ready: watched.was_ready, cut: watched.cut }
}

/// What was seen of a worker.
struct Watched {
    was_ready: bool,
    cut: u64,
}

impl Watched {
    /// Returns when the worker has left or was killed. Kills it when it is not ready in time, does not answer, or does not
    /// leave when it is told to.
    async fn watch(
        &mut self,
        index: usize,
        process: &mut Process,
        instance: &Instance,
        phase: &mut watch::Receiver<Phase>,
        loans: &mut mpsc::UnboundedReceiver<Loan>,
        news: &mpsc::UnboundedSender<(usize, News)>,
    ) {
        let settings = &instance.settings;
        let mut beat = interval(settings.heartbeat_timeout / 4);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        let born = heard;
        while *phase.borrow() == Phase::Running {
            tokio::select! {
                report = process.reports.next::<Report>() => match report {
                    Some(Report::Ready) => {
                        heard = Instant::now();
                        self.was_ready = true;
                        let _ = news.send((index, News::Ready));
                    }
                    Some(Report::Pong) => heard = Instant::now(),
                    Some(Report::Leaving { cut }) => self.cut = cut,
                    // It is about to exit, or to be seen as hanging.
                    None => return exit_or_kill(process, settings.heartbeat_timeout).await,
                },
                _ = beat.tick() => {
                    if self.was_ready && heard.elapsed() > settings.heartbeat_timeout {
                        tracing::error!(slot = index, "worker does not answer: it is killed");
                        let _ = process.child.start_kill();
                        return;
                    }
                    if !self.was_ready && born.elapsed() > settings.start_timeout {
                        tracing::error!(slot = index, "worker was not ready within supervision.start_timeout: it is killed");
                        let _ = process.child.start_kill();
                        return;
                    }
                    // One that does not read is found out by its silence.
                    let _ = timeout(settings.heartbeat_timeout / 4, process.orders.send(&Order::Ping)).await;
                }
                Some(loan) = loans.recv() => {
                    // A worker that cannot be told is about to be found out.
                    let _ = match loan {
                        Loan::Lend(slot) => {
                            process.orders.send_with(&Order::Lend { slot }, &instance.sockets.of_slot(slot)).await
                        }
                        Loan::Return(slot) => process.orders.send(&Order::Return { slot }).await,
                    };
                }
                _ = phase.changed() => {}
            }
        }
        self.end(process, settings.shutdown_timeout, phase).await;
    }

    /// Tells the worker to leave and waits until it has.
    async fn end(&mut self, process: &mut Process, patience: Duration, phase: &mut watch::Receiver<Phase>) {
        let _ = process.orders.send(&Order::Drain).await;
        let deadline = sleep(patience + KILL_GRACE);
        tokio::pin!(deadline);
        let mut hurried = false;
        loop {
            if *phase.borrow() == Phase::Stopping && !hurried {
                hurried = true;
                let _ = process.orders.send(&Order::Stop).await;
                deadline.as_mut().reset(tokio::time::Instant::now() + KILL_GRACE);
            }
            tokio::select! {
                report = process.reports.next::<Report>() => match report {
                    Some(Report::Leaving { cut }) => self.cut = cut,
                    Some(Report::Ready | Report::Pong) => {}
                    None => return exit_or_kill(process, KILL_GRACE).await,
                },
                () = &mut deadline => {
                    let _ = process.child.start_kill();
                    return;
                }
                _ = phase.changed(), if !hurried => {}
            }
        }
    }
}

/// The channel has ended: the process follows soon, or is made to.
async fn exit_or_kill(process: &mut Process, patience: Duration) {
    if timeout(patience, process.child.wait()).await.is_err() {
        let _ = process.child.start_kill();
    }
}

/// A number from 0 to 1 that differs from slot to slot and from time to time.
fn jitter() -> f64 {
    let nanos = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.subsec_nanos());
    f64::from(nanos % 1_000) / 1_000.0
}
