//! A waker for something that is polled by hand, together with those who wait for it.
//!
//! hyper's connection and the bodies on it wake each other: a body that is asked for wakes the connection, which then has
//! data and wakes the body. Where one task polls both, each of these wakes would have the whole task run once more, with nothing to do.
//! A [`Bell`] that rings while they are polled only says that they are to be polled again; at all other times it wakes the task.
//!
//! It must not know what is polled. Invariant: a ring is never lost, from whichever thread it comes.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// Nothing is polled.
const OUTSIDE: u8 = 0;
/// Something is polled now.
const INSIDE: u8 = 1;
/// It rang meanwhile.
const RUNG: u8 = 2;

/// How often something is polled before the task is woken instead.
const ROUNDS: u8 = 8;

/// The waker, and the task that it stands for.
#[derive(Debug)]
pub(super) struct Bell {
    ringer: Arc<Ringer>,
    waker: Waker,
}

#[derive(Debug)]
struct Ringer {
    state: AtomicU8,
    task: Mutex<Waker>,
}

impl Bell {
    pub(super) fn new() -> Self {
        let task = Mutex::new(Waker::noop().clone());
        let ringer = Arc::new(Ringer { state: AtomicU8::new(OUTSIDE), task });
        Self { waker: Waker::from(Arc::clone(&ringer)), ringer }
    }

    /// Polls on behalf of the task of `cx`, and again while that rings the bell without being ready; but whoever rings
    /// it on and on, as tokio does when a task has had its share, lets others have their turn.
    pub(super) fn poll<T>(
        &self,
        cx: &Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.ringer.stands_for(cx.waker());
        let mut own = Context::from_waker(&self.waker);
        for _ in 0..ROUNDS {
            self.ringer.state.store(INSIDE, Ordering::Release);
            let polled = poll(&mut own);
            let was = self.ringer.state.swap(OUTSIDE, Ordering::AcqRel);
            if polled.is_ready() || was == INSIDE {
                return polled;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Ringer {
    fn stands_for(&self, task: &Waker) {
        let mut known = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.will_wake(task) {
            known.clone_from(task);
        }
    }
}

impl Wake for Ringer {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.compare_exchange(INSIDE, RUNG, Ordering::AcqRel, Ordering::Acquire) == Err(OUTSIDE) {
            let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
            task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Debug, Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn rings_inside_poll_again_and_rings_outside_wake_the_task() {
        let (bell, task) = (Bell::new(), Arc::new(Task::default()));
        let waker = Waker::from(Arc::clone(&task));
        let cx = Context::from_waker(&waker);
        let mut polls = 0;
        let mut kept = None;
        let polled: Poll<()> = bell.poll(&cx, |own| {
            polls += 1;
            if polls < 3 {
                own.waker().wake_by_ref();
            }
            kept = Some(own.waker().clone());
            Poll::Pending
        });
        assert!(polled.is_pending());
        assert_eq!((polls, task.0.load(Ordering::Relaxed)), (3, 0));
        kept.expect("it was polled").wake();
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn what_is_ready_is_not_polled_again() {
        let (bell, mut polls) = (Bell::new(), 0);
        let polled = bell.poll(&Context::from_waker(Waker::noop()), |own| {
            polls += 1;
            own.waker().wake_by_ref();
            Poll::Ready(polls)
        });
        assert_eq!(polled, Poll::Ready(1));
    }

    #[test]
    fn what_rings_for_ever_gives_way() {
        let (bell, task) = (Bell::new(), Arc::new(Task::default()));
        let waker = Waker::from(Arc::clone(&task));
        let polled: Poll<()> = bell.poll(&Context::from_waker(&waker), |own| {
            own.waker().wake_by_ref();
            Poll::Pending
        });
        assert!(polled.is_pending());
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn no_ring_of_another_thread_is_lost() {
        let (bell, task) = (Bell::new(), Arc::new(Task::default()));
        let waker = Waker::from(Arc::clone(&task));
        let cx = Context::from_waker(&waker);
        for _ in 0..2_000 {
            let woken = task.0.load(Ordering::Relaxed);
            let mut polls = 0;
            let rung = bell.waker.clone();
            std::thread::scope(|scope| {
                scope.spawn(move || rung.wake());
                let _ = bell.poll(&cx, |_| {
                    polls += 1;
                    Poll::<()>::Pending
                });
            });
            assert!(polls > 1 || task.0.load(Ordering::Relaxed) > woken);
        }
    }
}
