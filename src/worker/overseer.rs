//! Who tells a serving process what to do: its operator by signals, or its launcher over the control channel.
//!
//! Must not know how a wish is fulfilled. A worker whose launcher is gone is told to drain, so none is left behind.

use std::{io, net::TcpListener};

use super::office::Office;
use crate::{
    admin::Outcome,
    config::{Loaded, Problems, Settings},
    control::signals::{Signal, Signals},
};

/// What an overseer wishes.
pub(super) enum Wish {
    /// Accept for another slot as well.
    #[cfg_attr(not(unix), expect(dead_code, reason = "only a launcher lends"))]
    Lend(usize, Vec<TcpListener>),
    /// The other slot accepts by itself again.
    #[cfg_attr(not(unix), expect(dead_code, reason = "only a launcher lends"))]
    TakeBack(usize),
    /// Put this configuration in force.
    Reload(Result<Box<Loaded>, Problems>),
    /// Open the log files again.
    ReopenLogs,
    /// Stop accepting, finish what is there.
    Drain,
    /// Nobody oversees this process any more: drain, if it does not yet.
    #[cfg_attr(not(unix), expect(dead_code, reason = "only a launcher can be gone"))]
    Abandoned,
    /// Stop at once.
    Stop,
}

/// Who oversees a process.
pub(super) trait Overseer {
    /// The sockets are accepting.
    async fn ready(&mut self);
    /// Waits for the next wish. Cancel-safe.
    async fn next(&mut self) -> Wish;
    /// The last [`Wish::Reload`] was fulfilled and changed these keys, or was not, for this reason.
    async fn reloaded(&mut self, outcome: Result<String, String>);
    /// The process is about to leave, and had to cut so many tunnels.
    async fn leaving(&mut self, cut: u64);
}

/// A process without a launcher: signals are its overseer, and whoever comes to its office.
pub(super) struct Operator<L> {
    signals: Signals,
    office: Office,
    /// Reads the configuration again.
    load: L,
    /// What was read last.
    settings: Option<Box<Settings>>,
    is_invalid: bool,
}

impl<L> Operator<L> {
    pub(super) fn new(office: Office, load: L) -> io::Result<Self> {
        let signals = Signals::new()?;
        Ok(Self { signals, office, load, settings: None, is_invalid: false })
    }
}

impl<L: FnMut() -> Result<Loaded, Problems>> Overseer for Operator<L> {
    async fn ready(&mut self) {
        self.office.ready();
    }

    async fn next(&mut self) -> Wish {
        loop {
            let signal = tokio::select! {
                signal = self.signals.next() => signal,
                signal = self.office.next() => signal,
            };
            match signal {
                Signal::Stop => {
                    self.office.stopping();
                    return Wish::Drain;
                }
                Signal::Quit => return Wish::Stop,
                Signal::Reload => {
                    self.office.reloading();
                    let loaded = (self.load)();
                    self.is_invalid = loaded.is_err();
                    self.settings = loaded.as_ref().ok().map(|loaded| Box::new(loaded.settings.clone()));
                    for notice in loaded.iter().flat_map(|loaded| &loaded.notices) {
                        tracing::warn!("{notice}");
                    }
                    return Wish::Reload(loaded.map(Box::new));
                }
                Signal::ReopenLogs => return Wish::ReopenLogs,
                other @ (Signal::Restart | Signal::MoreWorkers | Signal::FewerWorkers) => {
                    tracing::warn!("{} is for runtime.mode multi_process only", other.wish());
                }
            }
        }
    }

    async fn reloaded(&mut self, outcome: Result<String, String>) {
        let outcome = match outcome {
            Ok(keys) => {
                tracing::info!(keys, "reload applied");
                let text =
                    if keys.is_empty() { "nothing is different".into() } else { format!("in force: {keys}") };
                Outcome::Done(text)
            }
            Err(reason) => {
                tracing::error!(reason, "reload refused");
                if self.is_invalid { Outcome::Invalid(reason) } else { Outcome::Failed(reason) }
            }
        };
        self.office.reloaded(outcome, self.settings.take().map(|settings| *settings));
    }

    async fn leaving(&mut self, cut: u64) {
        self.office.close(cut).await;
    }
}

#[cfg(unix)]
pub(super) use launcher::Launcher;

#[cfg(unix)]
mod launcher {
    use super::{Loaded, Overseer, Problems, Signal, Signals, TcpListener, Wish, io};
    use crate::control::{
        Configuration, Order, Report,
        channel::{Channel, Receiver, Sender},
    };
    use crate::telemetry::diagnostics::Diagnostics;

    /// A worker's launcher, at the other end of the channel.
    pub(in crate::worker) struct Launcher<L> {
        diagnostics: Diagnostics,
        orders: Receiver,
        reports: Sender,
        /// A terminal sends INT to a whole group: the launcher passes on what it means, and the worker waits for that.
        signals: Signals,
        /// Understands a configuration that the launcher has read.
        load: L,
        generation: u64,
        is_gone: bool,
    }

    impl<L> Launcher<L> {
        /// Inside a runtime.
        pub(in crate::worker) fn new(
            channel: Channel,
            diagnostics: Diagnostics,
            load: L,
        ) -> io::Result<Self> {
            let (orders, reports) = channel.split()?;
            Ok(Self {
                diagnostics,
                orders,
                reports,
                signals: Signals::new()?,
                load,
                generation: 0,
                is_gone: false,
            })
        }

        /// A launcher that is gone is noticed by `next`.
        async fn tell(&mut self, report: &Report) {
            let _ = self.reports.send(report, &[]).await;
        }
    }

    impl<L: FnMut(&Configuration) -> Result<Loaded, Problems>> Overseer for Launcher<L> {
        async fn ready(&mut self) {
            self.tell(&Report::Ready).await;
        }

        async fn next(&mut self) -> Wish {
            loop {
                let order = tokio::select! {
                    order = self.orders.next(), if !self.is_gone => order,
                    signal = self.signals.next() => {
                        if signal == Signal::Quit {
                            return Wish::Stop;
                        }
                        continue;
                    }
                };
                match order {
                    Some(Order::Drain) => return Wish::Drain,
                    Some(Order::Stop) => return Wish::Stop,
                    Some(Order::ReopenLogs) => return Wish::ReopenLogs,
                    Some(Order::Lend { slot, sockets }) => {
                        let sockets = self.orders.descriptors(sockets);
                        return Wish::Lend(slot, sockets.into_iter().map(TcpListener::from).collect());
                    }
                    Some(Order::TakeBack { slot }) => return Wish::TakeBack(slot),
                    Some(Order::Reload(configuration)) => {
                        self.generation = configuration.generation;
                        return Wish::Reload((self.load)(&configuration).map(Box::new));
                    }
                    // A wish is answered before the next order is read, so the answer tells that this process moves.
                    Some(Order::Ping) => self.tell(&Report::Pong).await,
                    Some(Order::LogLevel(level)) => {
                        // The launcher has found it to be good.
                        if let Err(error) = self.diagnostics.wish_level(level.as_deref()) {
                            tracing::error!(%error, "the level of the log stays");
                        }
                    }
                    Some(Order::Assign(_)) => {}
                    None => {
                        self.is_gone = true;
                        tracing::warn!("the launcher is gone: this worker finishes what it has and leaves");
                        return Wish::Abandoned;
                    }
                }
            }
        }

        async fn reloaded(&mut self, outcome: Result<String, String>) {
            let generation = self.generation;
            let report = match outcome {
                Ok(keys) => {
                    tracing::debug!(generation, keys, "configuration in force");
                    Report::Applied { generation }
                }
                Err(reason) => Report::Refused { generation, reason },
            };
            self.tell(&report).await;
        }

        async fn leaving(&mut self, cut: u64) {
            self.tell(&Report::Leaving { cut }).await;
        }
    }
}
