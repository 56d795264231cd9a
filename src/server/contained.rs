//! A panic in the task of one connection is the end of that connection, and of nobody else's.
//!
//! The runtime catches it at the task; whoever is told of panics in the process can ask here whether it was such a one. It must
//! not know what the task does. Invariant: a thread is inside only while it polls a connection.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is serving a connection at this moment: a panic ends that connection only.
#[must_use]
pub fn is_contained() -> bool {
    INSIDE.try_with(Cell::get).unwrap_or(false)
}

/// Runs what serves a connection.
pub(super) fn contain<F: Future<Output = ()>>(serving: F) -> Contained<F> {
    Contained { serving }
}

pin_project! {
    /// What serves a connection. Written out, for an async block that awaits what it was given has room for it twice.
    pub(super) struct Contained<F> {
        #[pin]
        serving: F,
    }
}

impl<F: Future<Output = ()>> Future for Contained<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let _inside = Inside::enter();
        self.project().serving.poll(cx)
    }
}

/// Leaves when it is dropped, by a panic too.
struct Inside;

impl Inside {
    fn enter() -> Self {
        INSIDE.set(true);
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(false);
    }
}
