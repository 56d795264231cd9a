//! What operators wish of the launcher, by signals and over the socket.

use std::{io, time::Instant};

use tokio::sync::oneshot;

use super::{
    audience::Goal,
    event::{Command, Event, Reach},
    launcher::{Launcher, jitter},
};
use crate::{
    admin::{self, Ask, LevelWish, Outcome},
    config::{
        Loaded, Problems,
        change::{self, Change},
    },
    control::{Configuration, Order, signals::Signal},
};

/// What is asked for beside another configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    /// Nothing: who can take it as he is stays.
    Changes,
    /// New workers, whatever has changed.
    Workers,
}

impl<L: FnMut() -> Result<Loaded, Problems>> Launcher<L> {
    /// What an operator has asked over the socket.
    pub(super) fn answer(&mut self, ask: Ask) {
        let (command, answer) = match ask {
            Ask::Command(command, answer) => (command, answer),
            Ask::Metrics(exposition, answer) => {
                let _ = answer.send(self.metrics(exposition));
                return;
            }
            Ask::Status(answer) => {
                // Nobody may wait any more.
                let _ = answer.send(self.status());
                return;
            }
        };
        let is_welcome = matches!(command, admin::Command::Stop | admin::Command::LogLevel(_));
        if self.fleet.is_ending() && !is_welcome {
            let _ = answer.send(Outcome::Failed("the instance is stopping".into()));
            return;
        }
        match command {
            admin::Command::LogLevel(wish) => {
                let _ = answer.send(self.log_level(&wish));
            }
            admin::Command::Reload => self.reload(Renewal::Changes, Some(answer)),
            admin::Command::ReopenLogs => {
                let _ = answer.send(match self.reopen_logs() {
                    Ok(()) => Outcome::Done("log files are opened again".into()),
                    Err(error) => Outcome::Failed(format!("logging.file: {error}")),
                });
            }
            admin::Command::Restart => self.reload(Renewal::Workers, Some(answer)),
            admin::Command::Scale(workers) => {
                // It is asked for first, for the instance may be complete as it is.
                let actions = self.fleet.handle(
                    Event::Command(Command::ScaleTo(workers.get())),
                    Instant::now(),
                    jitter(),
                );
                self.audience.wait(Goal::Size, Some(answer));
                self.perform(actions);
                self.audience.looked(self.fleet.size(), self.fleet.summary());
            }
            admin::Command::Stop => {
                self.audience.wait(Goal::End, Some(answer));
                if !self.fleet.is_ending() {
                    self.hear(Event::Command(Command::Drain));
                }
            }
        }
    }

    /// What an operator has signalled.
    pub(super) fn obey(&mut self, signal: Signal) {
        let command = match signal {
            Signal::Stop => Command::Drain,
            Signal::Quit => Command::Stop,
            Signal::Restart => {
                self.reload(Renewal::Workers, None);
                return;
            }
            Signal::MoreWorkers => Command::ScaleBy(1),
            Signal::FewerWorkers => Command::ScaleBy(-1),
            Signal::ReopenLogs => {
                // It is in the log if it failed.
                let _ = self.reopen_logs();
                return;
            }
            Signal::Reload => {
                self.reload(Renewal::Changes, None);
                return;
            }
        };
        self.hear(Event::Command(command));
    }

    /// Has every process log at another level, those that are still to come as well.
    fn log_level(&self, wish: &LevelWish) -> Outcome {
        let outcome = wish.carry_out(&self.diagnostics);
        if let Outcome::Done(_) = outcome {
            for life in self.processes.keys() {
                self.tell(*life, Order::LogLevel(self.diagnostics.wished_level()));
            }
        }
        outcome
    }

    fn reopen_logs(&mut self) -> io::Result<()> {
        let reopened = self.diagnostics.reopen();
        if let Err(error) = &reopened {
            tracing::error!(%error, "logging.file cannot be opened again: the old one is still written");
        }
        self.hear(Event::Command(Command::ReopenLogs));
        reopened
    }

    /// Reads the configuration again and puts it in force. Who waits for the outcome is answered when it is known.
    fn reload(&mut self, renewal: Renewal, answer: Option<oneshot::Sender<Outcome>>) {
        if self.fleet.is_ending() {
            tracing::warn!("the instance is stopping: nothing is reloaded any more");
            return;
        }
        self.audience.reloading();
        if renewal == Renewal::Workers && self.origin.has_changed() {
            self.ask_successor(answer);
            return;
        }
        let (command, goal, text) = match self.replace_configuration(renewal) {
            Ok(replaced) => replaced,
            Err(outcome) => {
                let message = match renewal {
                    Renewal::Changes => "reload refused",
                    Renewal::Workers => "rolling restart refused",
                };
                tracing::error!(reason = %outcome.text(), "{message}");
                self.audience.reloaded(outcome, answer);
                return;
            }
        };
        match goal {
            Some(goal) => self.audience.wait_for_reload(goal, text, answer),
            None => self.audience.reloaded(Outcome::Done(text), answer),
        }
        self.hear(Event::Command(command));
    }

    /// Reads the configuration again and puts it in force here: what the fleet has to do about it, what is to be waited
    /// for until it is in force everywhere, and what has changed.
    fn replace_configuration(
        &mut self,
        renewal: Renewal,
    ) -> Result<(Command, Option<Goal>, String), Outcome> {
        let new = (self.load)().map_err(|problems| Outcome::Invalid(problems.to_string()))?;
        for notice in &new.notices {
            tracing::warn!("{notice}");
        }
        let (old, settings) = (&self.loaded.settings, &new.settings);
        let changed = change::differing(old, settings).join(", ");
        let reach = match (renewal, change::between(old, settings)) {
            (_, Change::Refused(keys)) => {
                return Err(Outcome::Failed(format!("these keys need a new start: {}", keys.join(", "))));
            }
            (Renewal::Workers, _) => Reach::NewWorkers,
            (Renewal::Changes, Change::Nothing) => {
                tracing::info!("reload applied: nothing is different");
                Reach::Nobody
            }
            (Renewal::Changes, Change::Roll) => {
                tracing::info!("reload applied: new workers are needed");
                Reach::NewWorkers
            }
            (Renewal::Changes, Change::Swap) => Reach::Everybody,
        };
        if (old.logging != settings.logging || old.log_level != settings.log_level)
            && let Err(error) = self.diagnostics.replace(&settings.logging, &settings.log_level)
        {
            return Err(Outcome::Failed(error.to_string()));
        }
        let workers = settings.runtime.process_count.get();
        let workers = (old.runtime.process_count.get() != workers).then_some(workers);
        let settings = Box::new(new.settings.supervision.clone());
        let generation = self.configuration.generation + u64::from(!changed.is_empty());
        let flags = self.configuration.flags.clone();
        let configuration =
            Configuration { generation, file: new.file.clone(), files: new.files.clone(), flags };
        let old = (
            std::mem::replace(&mut self.loaded, new),
            std::mem::replace(&mut self.configuration, configuration),
        );
        if reach == Reach::NewWorkers && !changed.is_empty() && self.previous.is_none() {
            self.previous = Some(old);
        }
        let (goal, text) = match reach {
            Reach::Nobody => (None, "nothing is different".into()),
            Reach::Everybody => (Some(Goal::Generation(generation)), format!("in force: {changed}")),
            Reach::NewWorkers => {
                let text = match renewal {
                    Renewal::Changes => format!("in force, with new workers: {changed}"),
                    Renewal::Workers if changed.is_empty() => "every worker is new".into(),
                    Renewal::Workers => format!("every worker is new; in force: {changed}"),
                };
                (Some(self.audience.next_rollout(self.fleet.is_rolling())), text)
            }
        };
        let command = if renewal == Renewal::Workers && changed.is_empty() {
            Command::Restart
        } else {
            Command::Reload { settings, workers, reach, generation }
        };
        Ok((command, goal, text))
    }
}
