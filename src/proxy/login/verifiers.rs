//! The threads on which passwords are verified.
//!
//! Must not know why. They stand behind everybody else who wants the processor, and end when nobody can ask them any more. Over all
//! workers of an instance, no more verify at a time than half as many as there are processors: what serves finds another
//! one free, for a thread that is given one keeps it for some milliseconds, however far behind it stands.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

use crate::{
    policy::auth::{Credentials, Users},
    shared_memory::{Hold, Seat},
};

/// So many wait for a thread.
const QUEUE: usize = 128;

/// How often a thread that waits for others to be done looks.
const LOOK: Duration = Duration::from_millis(5);

/// The key of those who verify. No limit of the configuration has it: theirs are hashes of names.
const KEY: u64 = 0x7665_7269_6679_0000;

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
    /// So many threads that ask `users`; those of all who share the memory of `seat` take turns.
    pub(super) fn start(users: Users, threads: usize, seat: &Seat) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE);
        let (users, jobs) = (Arc::new(users), Arc::new(Mutex::new(jobs)));
        let processors = thread::available_parallelism().map_or(1, |processors| processors.get());
        let at_once = u32::try_from((processors / 2).max(1)).unwrap_or(u32::MAX);
        for _ in 0..threads.max(1) {
            let (users, jobs, seat) = (Arc::clone(&users), Arc::clone(&jobs), seat.clone());
            let work = move || work(&users, &jobs, || turn(&seat, at_once));
            thread::Builder::new().name("verifier".to_owned()).spawn(work)?;
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

fn work(users: &Users, jobs: &Mutex<Receiver<Job>>, turn: impl Fn() -> Hold) {
    stand_back();
    loop {
        // One thread waits, the others wait for it.
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { credentials, answer }) = next else { return };
        if answer.is_closed() {
            continue;
        }
        let _turn = turn();
        if !answer.is_closed() {
            // Nobody may wait any more.
            let _ = answer.send(users.verify(&credentials));
        }
    }
}

/// Waits until others are done. One that is killed gives its turn back.
fn turn(seat: &Seat, at_once: u32) -> Hold {
    loop {
        if let Some(hold) = seat.try_hold(seat.segment().seed() ^ KEY, at_once) {
            return hold;
        }
        thread::park_timeout(LOOK);
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
