//! The threads on which passwords are verified.
//!
//! Must not know why. They stand behind everybody else who wants the processor, and end when nobody can ask them any more.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use tokio::sync::oneshot;

use crate::policy::auth::{Credentials, Users};

/// So many wait for a thread.
const QUEUE: usize = 128;

/// The threads. Dropping it lets them end.
#[derive(Debug)]
pub(super) struct Verifiers {
    queue: SyncSender<Job>,
}

#[derive(Debug)]
struct Job {
    credentials: Credentials,
    answer: oneshot::Sender<Option<Arc<str>>>,
}

impl Verifiers {
    /// So many threads that ask `users`.
    pub(super) fn start(users: Users, threads: usize) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE);
        let (users, jobs) = (Arc::new(users), Arc::new(Mutex::new(jobs)));
        for _ in 0..threads.max(1) {
            let (users, jobs) = (Arc::clone(&users), Arc::clone(&jobs));
            thread::Builder::new().name("verifier".to_owned()).spawn(move || work(&users, &jobs))?;
        }
        Ok(Self { queue })
    }

    /// Whose these credentials are; none when too many wait already.
    pub(super) async fn verify(&self, credentials: Credentials) -> Option<Option<Arc<str>>> {
        let (answer, verified) = oneshot::channel();
        self.queue.try_send(Job { credentials, answer }).ok()?;
        verified.await.ok()
    }
}

fn work(users: &Users, jobs: &Mutex<Receiver<Job>>) {
    stand_back();
    loop {
        // One thread waits, the others wait for it.
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { credentials, answer }) = next else { return };
        if !answer.is_closed() {
            // Nobody may wait any more.
            let _ = answer.send(users.verify(&credentials));
        }
    }
}

/// Lets everybody else go first: of a processor that is wanted by a thread that serves, this one gets a tenth.
#[cfg(target_os = "linux")]
fn stand_back() {
    // Here a number of a thread is meant. Without it, all are equal.
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 10);
}

#[cfg(not(target_os = "linux"))]
fn stand_back() {}
