//! The life of a serving process: from its sockets to the last line of its log.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use thiserror::Error;
use tokio::{
    runtime::{Builder, Runtime},
    task::AbortHandle,
    time::timeout,
};

use super::assemble::{AssembleError, Assembled, assemble};
use crate::{
    config::settings::{Mode, Settings},
    control::signals::{Signal, Signals},
    server::{accept, drain::Drain},
    shared_memory::{Seat, Segment, SegmentError},
};

/// Why a worker cannot serve.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// It cannot be built.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// The operating system refuses something.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// There is no memory for the counters.
    #[error(transparent)]
    Memory(#[from] SegmentError),
}

/// Who tells a process to end, and who is told how it goes.
trait Overseer {
    /// The sockets are accepting.
    async fn ready(&mut self);
    /// Waits for the next wish. Cancel-safe.
    async fn next(&mut self) -> Wish;
    /// The process is about to leave.
    async fn leaving(&mut self, cut: u64);
}

/// What an overseer wishes.
enum Wish {
    Drain,
    Stop,
    /// Accept for another slot, too.
    Lend(usize, Vec<TcpListener>),
    /// No longer.
    Return(usize),
}

/// Serves on `listeners` in this process until a signal stops it.
///
/// # Errors
///
/// When it cannot begin. What happens later is in the log.
pub fn run_alone(settings: &Settings, listeners: Vec<TcpListener>) -> Result<(), WorkerError> {
    let runtime = match settings.runtime.mode {
        Mode::MultiThreaded => threads(settings.runtime.worker_threads)?,
        // Without a launcher, many processes become many threads.
        Mode::MultiProcess => threads(settings.runtime.process_count)?,
        Mode::SingleThreaded => single()?,
    };
    let segment = Segment::private(1)?;
    let seat = segment.seat(0).expect("there is one seat");
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
    for address in &addresses {
        tracing::info!(addr = %address, "listening");
    }
    let assembled = {
        let _inside = runtime.enter();
        assemble(settings, &addresses, seat, None)?
    };
    live(runtime, assembled, listeners, settings.supervision.shutdown_timeout, Alone { signals: None })
}

/// Serves in a worker, as its launcher says.
///
/// # Errors
///
/// When it cannot begin.
#[cfg(unix)]
pub fn run_assigned(
    settings: &Settings,
    index: usize,
    addresses: &[SocketAddr],
    listeners: Vec<TcpListener>,
    seat: Seat,
    channel: std::os::unix::net::UnixStream,
) -> Result<(), WorkerError> {
    tracing::info!("Child process {index} initializing single-threaded runtime");
    let runtime = single()?;
    let (assembled, overseer) = {
        let _inside = runtime.enter();
        let (orders, reports) = crate::control::channel::split(channel)?;
        let overseer =
            Launcher { orders, reports, signals: Signals::new()?, draining: false, is_gone: false };
        (assemble(settings, addresses, seat, Some(index))?, overseer)
    };
    live(runtime, assembled, listeners, settings.supervision.shutdown_timeout, overseer)
}

fn single() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn threads(count: NonZeroUsize) -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(count.get()).thread_name("worker").enable_all().build()
}

fn live(
    runtime: Runtime,
    assembled: Assembled,
    listeners: Vec<TcpListener>,
    patience: Duration,
    overseer: impl Overseer,
) -> Result<(), WorkerError> {
    let account = Arc::clone(assembled.proxy.account());
    let cut = runtime.block_on(serve(assembled, listeners, patience, overseer))?;
    // What is left is dropped with the runtime, and writes its last records.
    drop(runtime);
    account.log().flush();
    tracing::info!(cut, "stopped");
    Ok(())
}

/// Serves until the overseer has enough; how many tunnels had to be cut.
async fn serve(
    assembled: Assembled,
    listeners: Vec<TcpListener>,
    patience: Duration,
    mut overseer: impl Overseer,
) -> Result<u64, WorkerError> {
    let Assembled { proxy, connections } = assembled;
    let drain = Drain::new();
    let accepting = |listener: TcpListener| -> io::Result<AbortHandle> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let task = accept::accept(listener, Arc::clone(&proxy), connections.clone(), drain.clone());
        Ok(tokio::spawn(task).abort_handle())
    };
    for listener in listeners {
        accepting(listener)?;
    }
    let tended = Arc::clone(&proxy);
    tokio::spawn(async move { tended.tend().await });
    overseer.ready().await;
    tracing::info!("ready");
    let mut lent: HashMap<usize, Vec<AbortHandle>> = HashMap::new();
    loop {
        match overseer.next().await {
            Wish::Lend(slot, listeners) => {
                let tasks = listeners.into_iter().map(&accepting).collect::<io::Result<_>>()?;
                tracing::info!(slot, "accepting for a slot without a worker");
                give_back(lent.insert(slot, tasks));
            }
            Wish::Return(slot) => give_back(lent.remove(&slot)),
            Wish::Stop => break,
            Wish::Drain => {
                tracing::info!(connections = drain.active(), "draining");
                drain.start();
                tokio::select! {
                    _ = timeout(patience, drain.finished()) => {}
                    () = stopped(&mut overseer) => {}
                }
                break;
            }
        }
    }
    let cut = u64::try_from(proxy.account().tunnels()).unwrap_or(0);
    overseer.leaving(cut).await;
    Ok(cut)
}

/// Stops accepting. What has been accepted is served on.
fn give_back(tasks: Option<Vec<AbortHandle>>) {
    for task in tasks.into_iter().flatten() {
        task.abort();
    }
}

/// A second wish to end, whichever, does not wait.
async fn stopped(overseer: &mut impl Overseer) {
    while !matches!(overseer.next().await, Wish::Drain | Wish::Stop) {}
}

/// A process without a launcher: signals are its overseer.
struct Alone {
    signals: Option<Signals>,
}

impl Overseer for Alone {
    async fn ready(&mut self) {
        match Signals::new() {
            Ok(signals) => self.signals = Some(signals),
            Err(error) => {
                tracing::warn!(%error, "signals cannot be received: only a kill stops this process")
            }
        }
    }

    async fn next(&mut self) -> Wish {
        let Some(signals) = &mut self.signals else { return std::future::pending().await };
        loop {
            match signals.next().await {
                Signal::Stop => return Wish::Drain,
                Signal::Quit => return Wish::Stop,
                other => tracing::warn!("{} is not supported yet", other.wish()),
            }
        }
    }

    async fn leaving(&mut self, _: u64) {}
}

/// A worker's launcher, at the other end of the channel.
#[cfg(unix)]
struct Launcher {
    orders: crate::control::channel::Receiver,
    reports: crate::control::channel::Sender,
    /// A worker is driven by its launcher, but a signal that was meant for it alone is obeyed.
    signals: Signals,
    draining: bool,
    is_gone: bool,
}

#[cfg(unix)]
impl Launcher {
    /// A wish to drain; that it was there before changes nothing.
    fn drain(&mut self) -> Option<Wish> {
        let first = !self.draining;
        self.draining = true;
        first.then_some(Wish::Drain)
    }
}

#[cfg(unix)]
impl Overseer for Launcher {
    async fn ready(&mut self) {
        // A launcher that is gone is noticed by `next`.
        let _ = self.reports.send(&crate::control::Report::Ready).await;
    }

    async fn next(&mut self) -> Wish {
        use crate::control::{Order, Report};
        loop {
            let wish = tokio::select! {
                order = self.orders.next(), if !self.is_gone => match order {
                    Some(Order::Drain) => self.drain(),
                    Some(Order::Stop) => Some(Wish::Stop),
                    Some(Order::Ping) => {
                        let _ = self.reports.send(&Report::Pong).await;
                        None
                    }
                    Some(Order::Lend { slot }) => {
                        let listeners = self.orders.take_descriptors().into_iter().map(TcpListener::from).collect();
                        Some(Wish::Lend(slot, listeners))
                    }
                    Some(Order::Return { slot }) => Some(Wish::Return(slot)),
                    Some(Order::Assign(_)) => None,
                    None => {
                        tracing::warn!("the launcher is gone: this worker finishes what it has and leaves");
                        self.is_gone = true;
                        self.drain()
                    }
                },
                signal = self.signals.next() => match signal {
                    // A terminal sends INT to all processes at once: then the launcher wishes the same.
                    Signal::Stop => self.drain(),
                    Signal::Quit => Some(Wish::Stop),
                    _ => None,
                },
            };
            if let Some(wish) = wish {
                return wish;
            }
        }
    }

    async fn leaving(&mut self, cut: u64) {
        let _ = self.reports.send(&crate::control::Report::Leaving { cut }).await;
    }
}
