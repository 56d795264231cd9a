//! The launcher's loop: whatever happens goes to the [`Launcher`], one after the other, until the instance has ended.

use std::{ffi::OsString, io, time::Duration};

use tokio::{
    runtime::Builder,
    sync::mpsc::unbounded_channel,
    time::{Interval, MissedTickBehavior, interval, timeout},
};

use super::{
    event::{Ending, Event},
    handover::Estate,
    launcher::Launcher,
    sockets::Sockets,
};
use crate::{
    admin::{self, Doors, Server},
    config::{Loaded, Problems},
    control::{
        notify::Notifier,
        signals::{self, Signals},
    },
    telemetry::diagnostics::Diagnostics,
};

/// How often time passes for the fleet.
const TICK: Duration = Duration::from_millis(100);

/// How long a signal that is here already takes to be heard: one turn of the runtime.
const MOMENT: Duration = Duration::from_millis(1);

/// How long an operator's answers may still be written when everything else has ended.
const FAREWELL: Duration = Duration::from_secs(1);

/// What an instance is made from.
#[derive(Debug)]
pub struct Instance<L> {
    /// The configuration in force.
    pub loaded: Loaded,
    /// The flags of the command line: key and value.
    pub flags: Vec<(String, String)>,
    /// What it begins with.
    pub start: Start,
    /// What the launcher itself logs.
    pub diagnostics: Diagnostics,
    /// Who is told by sd_notify.
    pub notifier: Notifier,
    /// Reads the configuration again.
    pub load: L,
    /// The command line, with which a successor of the launcher is started: the program's name first.
    pub arguments: Vec<OsString>,
    /// The command line, without the program, that has a successor check the configuration.
    pub check: Vec<OsString>,
}

/// How an instance begins.
#[derive(Debug)]
pub enum Start {
    /// With nobody.
    Anew {
        /// The listening sockets, one a slot.
        sockets: Sockets,
        /// Where operators ask.
        doors: Doors,
    },
    /// With everybody who was there, in the place of an older launcher.
    Inherited(Box<Estate>),
}

/// Keeps workers alive until a signal stops the instance.
///
/// # Errors
///
/// When the launcher itself cannot do its work.
pub fn run<L: FnMut() -> Result<Loaded, Problems>>(instance: Instance<L>) -> io::Result<Ending> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(oversee(instance))
}

async fn oversee<L: FnMut() -> Result<Loaded, Problems>>(instance: Instance<L>) -> io::Result<Ending> {
    let mut signals = Signals::new()?;
    // A launcher that is succeeded holds them back until its successor can hear them.
    signals::release()?;
    let (desk, mut asks) = admin::desk();
    let (events, mut told) = unbounded_channel();
    let (mut launcher, doors) = Launcher::new(instance, events)?;
    let server = Server::start(doors, &desk)?;
    launcher.tend();
    launcher.begin();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watchdog = launcher.audience.notifier().watchdog().map(interval);
    let ending = loop {
        tokio::select! {
            Some(event) = told.recv() => launcher.hear(event),
            signal = signals.next() => launcher.obey(signal),
            ask = asks.next() => launcher.answer(ask),
            _ = tick.tick() => {
                launcher.tend();
                launcher.hear(Event::Tick);
            }
            () = due(&mut watchdog) => launcher.audience.notifier().alive(),
            answer = launcher.succession.answer() => launcher.asked(answer),
        }
        if launcher.may_hand_over() {
            // From here on signals wait for whoever is there afterwards. What has come already may change everything.
            signals::hold()?;
            while let Ok(signal) = timeout(MOMENT, signals.next()).await {
                launcher.obey(signal);
            }
            if launcher.may_hand_over() {
                launcher.hand_over(&mut told, &server).await;
            }
            signals::release()?;
        }
        if let Some(ending) = launcher.fleet.ending() {
            break ending;
        }
    };
    let cut = launcher.fleet.cut();
    launcher.audience.ended(cut);
    server.finish(FAREWELL).await;
    tracing::info!(cut, "stopped");
    Ok(ending)
}

/// The next tick; never where there is nothing to tick.
async fn due(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}
