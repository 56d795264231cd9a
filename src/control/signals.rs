//! Signals of the operating system, as wishes.

use std::io;

/// What an operator can wish by a signal (CONTRACT section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// TERM, INT: finish what is in flight and stop.
    Stop,
    /// QUIT: stop at once.
    Quit,
    /// HUP.
    Reload,
    /// USR1.
    ReopenLogs,
    /// USR2.
    Restart,
    /// TTIN.
    MoreWorkers,
    /// TTOU.
    FewerWorkers,
}

impl Signal {
    /// What it asks for, for a log line.
    #[must_use]
    pub fn wish(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Quit => "stop at once",
            Self::Reload => "reload (HUP)",
            Self::ReopenLogs => "reopening logs (USR1)",
            Self::Restart => "a rolling restart (USR2)",
            Self::MoreWorkers => "one worker more (TTIN)",
            Self::FewerWorkers => "one worker fewer (TTOU)",
        }
    }
}

/// The signals of this process, from now on: none of them ends it by itself any more.
#[cfg(unix)]
#[derive(Debug)]
pub struct Signals {
    streams: [(tokio::signal::unix::Signal, Signal); 8],
}

#[cfg(unix)]
impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn new() -> io::Result<Self> {
        use nix::libc::{SIGTTIN, SIGTTOU};
        use tokio::signal::unix::{SignalKind as Kind, signal};
        Ok(Self {
            streams: [
                (signal(Kind::terminate())?, Signal::Stop),
                (signal(Kind::interrupt())?, Signal::Stop),
                (signal(Kind::quit())?, Signal::Quit),
                (signal(Kind::hangup())?, Signal::Reload),
                (signal(Kind::user_defined1())?, Signal::ReopenLogs),
                (signal(Kind::user_defined2())?, Signal::Restart),
                (signal(Kind::from_raw(SIGTTIN))?, Signal::MoreWorkers),
                (signal(Kind::from_raw(SIGTTOU))?, Signal::FewerWorkers),
            ],
        })
    }

    /// The next one. Cancel-safe.
    pub async fn next(&mut self) -> Signal {
        std::future::poll_fn(|cx| {
            for (stream, signal) in &mut self.streams {
                if stream.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(*signal);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// Lets the signals of [`Signals`] wait, until [`release`] or for a program that is put in this one's place.
///
/// # Errors
///
/// The operating system's.
#[cfg(unix)]
pub fn hold() -> io::Result<()> {
    Ok(ours().thread_block()?)
}

/// Lets them come.
///
/// # Errors
///
/// The operating system's.
#[cfg(unix)]
pub fn release() -> io::Result<()> {
    Ok(ours().thread_unblock()?)
}

#[cfg(unix)]
fn ours() -> nix::sys::signal::SigSet {
    use nix::sys::signal::Signal as S;
    [S::SIGTERM, S::SIGINT, S::SIGQUIT, S::SIGHUP, S::SIGUSR1, S::SIGUSR2, S::SIGTTIN, S::SIGTTOU]
        .into_iter()
        .collect()
}

/// The signals of this process: Ctrl-C only.
#[cfg(not(unix))]
#[derive(Debug)]
pub struct Signals;

#[cfg(not(unix))]
impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// None on this system.
    pub fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// The next one.
    pub async fn next(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::Stop,
            Err(_) => std::future::pending().await,
        }
    }
}
