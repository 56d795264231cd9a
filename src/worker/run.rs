//! The life of a serving process: from its sockets to the last line of its log.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use thiserror::Error;
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

use super::{
    acceptors::{Acceptors, Owner},
    affinity::{AffinityError, Pinning},
    assemble::{AssembleError, Assembled, assemble},
    live::InForce,
    office::{Facts, Office},
    overseer::{Operator, Overseer, Wish},
};
use crate::{
    admin::Doors,
    config::{Loaded, Problems, settings::Mode},
    control::notify::Notifier,
    server::drain::Drain,
    shared_memory::{Segment, SegmentError},
    telemetry::diagnostics::Diagnostics,
};

/// How often a process that is alone looks whether its keys for session tickets are to be replaced.
const TICKETS: Duration = Duration::from_secs(60);

/// Why a worker cannot serve.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// A thread cannot be kept on its core.
    #[error(transparent)]
    Affinity(#[from] AffinityError),
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

/// What a process that runs alone is made from.
#[derive(Debug)]
pub struct Alone {
    /// What to do.
    pub loaded: Loaded,
    /// Where to accept.
    pub listeners: Vec<TcpListener>,
    /// The addresses of those where clients speak TLS.
    pub tls: Vec<SocketAddr>,
    /// What it logs.
    pub diagnostics: Diagnostics,
    /// Where operators ask.
    pub doors: Doors,
    /// Who is told by sd_notify.
    pub notifier: Notifier,
}

/// Serves in this process until a signal or an operator stops it. `load` reads the configuration again.
///
/// # Errors
///
/// When it cannot begin. What happens later is in the log.
pub fn run_alone(alone: Alone, load: impl FnMut() -> Result<Loaded, Problems>) -> Result<(), WorkerError> {
    let Alone { loaded, listeners, tls, diagnostics, doors, notifier } = alone;
    let settings = &loaded.settings;
    let runtime = match settings.runtime.mode {
        Mode::MultiThreaded => threads(settings.runtime.worker_threads, settings.runtime.cpu_affinity)?,
        // Without a launcher, many processes become many threads.
        Mode::MultiProcess => threads(settings.runtime.process_count, settings.runtime.cpu_affinity)?,
        Mode::SingleThreaded => single()?,
    };
    // Whoever may look into this process can find its memory, as that of many.
    #[cfg(unix)]
    let (segment, _memory) = Segment::shared(1)?;
    #[cfg(not(unix))]
    let segment = Segment::private(1)?;
    let seat = segment.seat(0).expect("there is one seat");
    let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
    for address in &addresses {
        let tls = tls.contains(address);
        tracing::info!(addr = %address, tls, "listening");
    }
    let (assembled, overseer) = {
        let _inside = runtime.enter();
        let facts = Facts {
            mode: settings.runtime.mode,
            listeners: addresses.clone(),
            tls_listeners: tls.clone(),
            seat: seat.clone(),
            diagnostics: diagnostics.clone(),
            shutdown_timeout: settings.supervision.shutdown_timeout,
            upstreams: settings.upstreams.clone(),
        };
        if !tls.is_empty() {
            let segment = seat.segment().clone();
            segment.tend_ticket_keys();
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(TICKETS).await;
                    segment.tend_ticket_keys();
                }
            });
        }
        let office = Office::open(facts, doors, notifier)?;
        (assemble(settings, &addresses, seat, None)?, Operator::new(office, load)?)
    };
    let in_force = InForce::new(loaded, addresses, Arc::clone(&assembled.proxy), diagnostics);
    live(runtime, assembled, in_force, Sockets { listeners, tls }, overseer)
}

/// Where a process accepts.
struct Sockets {
    listeners: Vec<TcpListener>,
    /// The addresses of those where clients speak TLS.
    tls: Vec<SocketAddr>,
}

/// What a launcher has given to its worker.
#[cfg(unix)]
#[derive(Debug)]
pub struct Assigned {
    /// The slot's index.
    pub index: usize,
    /// What to do.
    pub loaded: Loaded,
    /// Where the instance listens, ports resolved.
    pub addresses: Vec<SocketAddr>,
    /// Those of them where clients speak TLS.
    pub tls: Vec<SocketAddr>,
    /// The slot's sockets.
    pub listeners: Vec<TcpListener>,
    /// Where to count.
    pub seat: crate::shared_memory::Seat,
    /// More orders.
    pub channel: crate::control::channel::Channel,
}

/// Serves in a worker, as its launcher says. `load` understands a configuration that the launcher sends.
///
/// # Errors
///
/// When it cannot begin.
#[cfg(unix)]
pub fn run_assigned(
    assigned: Assigned,
    diagnostics: Diagnostics,
    load: impl FnMut(&crate::control::Configuration) -> Result<Loaded, Problems>,
) -> Result<(), WorkerError> {
    let Assigned { index, loaded, addresses, tls, listeners, seat, channel } = assigned;
    tracing::info!("Child process {index} initializing single-threaded runtime");
    let runtime = single()?;
    let (assembled, overseer) = {
        let _inside = runtime.enter();
        let overseer = super::overseer::Launcher::new(channel, diagnostics.clone(), load)?;
        (assemble(&loaded.settings, &addresses, seat, Some(index))?, overseer)
    };
    let in_force = InForce::new(loaded, addresses, Arc::clone(&assembled.proxy), diagnostics);
    live(runtime, assembled, in_force, Sockets { listeners, tls }, overseer)
}

fn single() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn threads(count: NonZeroUsize, cpu_affinity: bool) -> Result<Runtime, WorkerError> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(count.get()).thread_name("worker").enable_all();
    let pinning = cpu_affinity.then(|| Pinning::of_threads(&mut builder, count)).transpose()?;
    let runtime = builder.build()?;
    if let Some(pinning) = pinning {
        pinning.finish()?;
    }
    Ok(runtime)
}

fn live(
    runtime: Runtime,
    assembled: Assembled,
    in_force: InForce,
    sockets: Sockets,
    overseer: impl Overseer,
) -> Result<(), WorkerError> {
    let account = Arc::clone(assembled.proxy.account());
    let cut = runtime.block_on(serve(assembled, in_force, sockets, overseer))?;
    // What is left is dropped with the runtime, and writes its last records.
    drop(runtime);
    account.log().flush();
    tracing::info!(cut, "stopped");
    Ok(())
}

/// Serves until the overseer has enough; how many tunnels had to be cut.
async fn serve(
    assembled: Assembled,
    mut in_force: InForce,
    Sockets { listeners, tls }: Sockets,
    mut overseer: impl Overseer,
) -> Result<u64, WorkerError> {
    let Assembled { proxy, connections } = assembled;
    let drain = Drain::new();
    let mut acceptors = Acceptors::new(Arc::clone(&proxy), connections, tls, drain.clone());
    acceptors.take(Owner::Own, listeners)?;
    let tended = Arc::clone(&proxy);
    tokio::spawn(async move { tended.tend().await });
    overseer.ready().await;
    tracing::info!("ready");
    if obey(&mut overseer, &mut acceptors, &mut in_force, false).await == End::Drain {
        tracing::info!(connections = drain.active().saturating_sub(acceptors.len()), "draining");
        drain.start();
        acceptors.let_go();
        let patience = in_force.loaded().settings.supervision.shutdown_timeout;
        tokio::select! {
            _ = finished(&drain, patience) => {}
            _ = obey(&mut overseer, &mut acceptors, &mut in_force, true) => {}
        }
    }
    let cut = u64::try_from(proxy.account().tunnels()).unwrap_or(0);
    overseer.leaving(cut).await;
    Ok(cut)
}

/// How a process is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Drain,
    Stop,
}

async fn finished(drain: &Drain, patience: Duration) -> bool {
    timeout(patience, drain.finished()).await.is_ok()
}

/// Does what the overseer wishes until it wishes an end.
async fn obey(
    overseer: &mut impl Overseer,
    acceptors: &mut Acceptors,
    in_force: &mut InForce,
    is_draining: bool,
) -> End {
    loop {
        match overseer.next().await {
            Wish::Abandoned if is_draining => {}
            Wish::Drain | Wish::Abandoned => return End::Drain,
            Wish::Stop => return End::Stop,
            Wish::Lend(slot, listeners) => {
                tracing::debug!(slot, "accepting for another slot");
                if let Err(error) = acceptors.take(Owner::Slot(slot), listeners) {
                    tracing::error!(slot, %error, "cannot accept for another slot");
                }
            }
            Wish::TakeBack(slot) => {
                tracing::debug!(slot, "the other slot accepts by itself again");
                acceptors.leave(Owner::Slot(slot));
            }
            Wish::ReopenLogs => in_force.reopen_logs(),
            Wish::Reload(loaded) => {
                let outcome = in_force.replace(loaded, acceptors).await;
                let outcome = outcome.map(|keys| keys.join(" ")).map_err(|error| error.to_string());
                overseer.reloaded(outcome).await;
            }
        }
    }
}
