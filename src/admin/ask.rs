//! The way of a question to the loop that runs the instance, and of the answer back.
//!
//! Questions queue here in the order in which they came, a few of them; whoever asks waits. A question that is not
//! answered because the instance has ended is answered by saying so.

use tokio::sync::{mpsc, oneshot};

use super::{
    command::{Command, Outcome},
    status::Status,
};
use crate::telemetry::prometheus::Exposition;

/// Questions that can wait.
const QUEUE: usize = 16;

/// One question, with the place for its answer.
#[derive(Debug)]
pub enum Ask {
    /// Do this.
    Command(Command, oneshot::Sender<Outcome>),
    /// What do its counters say, in this form?
    Metrics(Exposition, oneshot::Sender<String>),
    /// How is it?
    Status(oneshot::Sender<Status>),
}

/// Where questions are asked. Clones are the same desk.
#[derive(Clone, Debug)]
pub struct Desk {
    asks: mpsc::Sender<Ask>,
}

/// Where questions come out.
#[derive(Debug)]
pub struct Asks {
    asks: mpsc::Receiver<Ask>,
}

/// A desk and its other side.
#[must_use]
pub fn desk() -> (Desk, Asks) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Desk { asks: sender }, Asks { asks: receiver })
}

impl Desk {
    /// Has a command carried out and waits for its outcome. Dropped before, the command is carried out all the same.
    pub async fn command(&self, command: Command) -> Outcome {
        let (answer, answered) = oneshot::channel();
        let _ = self.asks.send(Ask::Command(command, answer)).await;
        answered.await.unwrap_or_else(|_| Outcome::Failed("the instance ended before it was done".into()))
    }

    /// The page of metrics; none when the instance is at its end.
    pub async fn metrics(&self, exposition: Exposition) -> Option<String> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask::Metrics(exposition, answer)).await.ok()?;
        answered.await.ok()
    }

    /// How the instance is; none when it is at its end.
    pub async fn status(&self) -> Option<Status> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask::Status(answer)).await.ok()?;
        answered.await.ok()
    }
}

impl Asks {
    /// The next question; waits for ever where nobody can ask. Cancel-safe.
    pub async fn next(&mut self) -> Ask {
        match self.asks.recv().await {
            Some(ask) => ask,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_comes_back_and_silence_is_a_failure() {
        let (desk, mut asks) = desk();
        let (outcome, ()) = tokio::join!(desk.command(Command::Reload), async {
            let Ask::Command(Command::Reload, answer) = asks.next().await else { panic!("another question") };
            answer.send(Outcome::Done("reloaded".into())).unwrap();
        });
        assert_eq!(outcome, Outcome::Done("reloaded".into()));
        let (outcome, ()) = tokio::join!(desk.command(Command::Stop), async { drop(asks.next().await) });
        assert!(matches!(outcome, Outcome::Failed(_)));
        drop(asks);
        assert!(desk.status().await.is_none());
        assert!(matches!(desk.command(Command::Stop).await, Outcome::Failed(_)));
    }
}
