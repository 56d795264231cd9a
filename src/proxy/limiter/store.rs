//! Rates that several machines share, in Redis.
//!
//! Must not know what a request is. One atomic script decides upon all buckets of a request, by the clock of Redis. One connection for
//! each worker, on which calls do not wait for each other. A call has [`DEADLINE`]; without an answer by then, the caller
//! decides by himself. When that happens [`MISSES`] times in a row, or the connection fails, the store is away: so does
//! everybody then, for [`PATIENCE`], before there is another try.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    task::Poll,
    time::Duration,
};

use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult, Script, aio::MultiplexedConnection};
use tokio::{
    sync::watch,
    task::yield_now,
    time::{Instant, timeout},
};

use crate::{policy::rate_limit::Limit, shared_memory::Tally};

/// A call, connecting included.
const DEADLINE: Duration = Duration::from_millis(50);

/// So many calls in a row without an answer: some may be late on a machine that is busy.
const MISSES: u32 = 20;

/// How often others have their turn at the deadline: who reads the connection, and who wakes whom it is for.
const TURNS: usize = 3;

/// Between a failure and the next try.
const PATIENCE: Duration = Duration::from_secs(1);

/// Connecting, which goes on when nobody waits any more.
const CONNECT: Duration = Duration::from_secs(2);

/// In front of every key.
const PREFIX: &str = "forward_proxy:";

/// The connection to a store.
pub struct Store {
    client: Client,
    script: Script,
    state: watch::Sender<State>,
    failures: Tally,
    misses: AtomicU32,
    /// Whether the log was told that it is away.
    is_away: Mutex<bool>,
}

/// It is no address of a store.
#[derive(Debug, thiserror::Error)]
#[error("rate_limit.store cannot be used: {0}")]
pub struct BadStore(#[from] RedisError);

/// A bucket that had not enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Which one.
    pub(super) index: usize,
    /// When there will be enough, in seconds.
    pub(super) retry_after: u64,
}

/// What becomes of a call; none is there where the store is known to be away.
enum Called {
    Answered(Option<RedisResult<Result<(), Refused>>>),
    Late,
}

#[derive(Clone)]
enum State {
    /// Nobody has asked yet, or it may be tried again from then on.
    Idle(Option<Instant>),
    Connecting,
    Ready(MultiplexedConnection),
}

impl Store {
    /// At this URL. Nothing is sent yet. `failures` counts calls without an answer.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn new(url: &str, failures: Tally) -> Result<Self, BadStore> {
        Ok(Self {
            client: Client::open(url)?,
            script: Script::new(SCRIPT),
            state: watch::Sender::new(State::Idle(None)),
            failures,
            misses: AtomicU32::new(0),
            is_away: Mutex::new(false),
        })
    }

    /// Takes one from each of these buckets, or from none. None when the store does not say in time.
    pub(super) async fn take(&self, buckets: Vec<(String, Limit)>) -> Option<Result<(), Refused>> {
        match self.called(&buckets).await {
            Called::Answered(Some(Ok(answer))) => {
                self.is_there();
                Some(answer)
            }
            // It is known to be away, and being tried again.
            Called::Answered(None) => {
                self.failures.add();
                None
            }
            Called::Answered(Some(Err(error))) => {
                self.failed(&error.to_string());
                None
            }
            Called::Late => {
                if self.misses.fetch_add(1, Ordering::Relaxed) + 1 >= MISSES {
                    self.failed("no answers within 50 ms");
                } else {
                    self.failures.add();
                }
                None
            }
        }
    }

    /// A call, and its deadline. What has come by then counts, also where this process was given no time to look at it: those
    /// who read it are let have their turn first.
    async fn called(&self, buckets: &[(String, Limit)]) -> Called {
        let mut call = pin!(self.call(buckets));
        if let Ok(answer) = timeout(DEADLINE, call.as_mut()).await {
            return Called::Answered(answer);
        }
        for _ in 0..TURNS {
            yield_now().await;
            if let Poll::Ready(answer) = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await {
                return Called::Answered(answer);
            }
        }
        Called::Late
    }

    async fn call(&self, buckets: &[(String, Limit)]) -> Option<RedisResult<Result<(), Refused>>> {
        let mut connection = self.connection().await?;
        let mut call = self.script.prepare_invoke();
        for (name, limit) in buckets {
            call.key(format!("{PREFIX}{name}"));
            call.arg(micros(limit.interval())).arg(micros(limit.capacity()));
        }
        let answer: RedisResult<(usize, u64)> = call.invoke_async(&mut connection).await;
        Some(answer.map(|(refused, wait)| match refused.checked_sub(1) {
            None => Ok(()),
            Some(index) => Err(Refused { index, retry_after: wait.div_ceil(1_000_000) }),
        }))
    }

    /// A connection, which is waited for while it is being made.
    async fn connection(&self) -> Option<MultiplexedConnection> {
        let mut state = self.state.subscribe();
        loop {
            match &*state.borrow_and_update() {
                State::Ready(connection) => return Some(connection.clone()),
                State::Idle(Some(until)) if Instant::now() < *until => return None,
                State::Idle(_) | State::Connecting => {}
            }
            self.connect();
            state.changed().await.ok()?;
        }
    }

    /// Begins to connect, unless somebody has.
    fn connect(&self) {
        let begins = self.state.send_if_modified(|state| {
            let begins = matches!(state, State::Idle(_));
            if begins {
                *state = State::Connecting;
            }
            begins
        });
        if !begins {
            return;
        }
        let (client, state) = (self.client.clone(), self.state.clone());
        tokio::spawn(async move {
            let options = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(CONNECT))
                .set_response_timeout(Some(CONNECT));
            let connected = client.get_multiplexed_async_connection_with_config(&options).await;
            state.send_replace(match connected {
                Ok(connection) => State::Ready(connection),
                Err(error) => {
                    tracing::debug!(%error, "rate_limit.store cannot be reached");
                    State::Idle(Some(Instant::now() + PATIENCE))
                }
            });
        });
    }

    fn is_there(&self) {
        if self.misses.load(Ordering::Relaxed) > 0 {
            self.misses.store(0, Ordering::Relaxed);
        }
        // Only who was away takes the lock for long enough to matter.
        if std::mem::take(&mut *self.is_away.lock().unwrap_or_else(PoisonError::into_inner)) {
            tracing::info!("rate_limit.store is there again");
        }
    }

    fn failed(&self, why: &str) {
        self.failures.add();
        self.state.send_if_modified(|state| {
            // A connection that is being made may still be in time for others.
            let was_ready = matches!(state, State::Ready(_));
            if was_ready {
                *state = State::Idle(Some(Instant::now() + PATIENCE));
            }
            was_ready
        });
        let mut is_away = self.is_away.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *is_away, true) {
            tracing::warn!(why, "rate_limit.store is away: this instance decides by itself");
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The algorithm of `policy::rate_limit`, in microseconds since a recent beginning, of which a double holds enough. Keys vanish
/// when they mean nothing any more.
const SCRIPT: &str = r"
local time = redis.call('TIME')
local now = (time[1] - 1750000000) * 1000000 + time[2]
local full = {}
for i = 1, #KEYS do
    local interval, capacity = tonumber(ARGV[2 * i - 1]), tonumber(ARGV[2 * i])
    local word = tonumber(redis.call('GET', KEYS[i]) or '0') or 0
    word = math.min(math.max(word, now), now + capacity)
    local missing = word - now + interval - capacity
    if missing > 0.01 then
        return {i, math.ceil(missing)}
    end
    full[i] = word + interval
end
for i = 1, #KEYS do
    redis.call('SET', KEYS[i], string.format('%.3f', full[i]), 'PX', math.ceil((full[i] - now) / 1000) + 1)
end
return {0, 0}
";
