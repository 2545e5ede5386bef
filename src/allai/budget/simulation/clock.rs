//! A clock that jumps from event to event, and runs the tasks that live by it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::Stream;
use futures_util::future::{BoxFuture, LocalBoxFuture};
use futures_util::stream::FuturesUnordered;

use crate::clock::Clock;

/// Time that stands still while any task can go on, and then jumps to the next timer.
#[derive(Clone, Debug, Default)]
pub(super) struct EventClock(Arc<Mutex<Timers>>);

#[derive(Debug, Default)]
struct Timers {
    now: Duration,
    next: u64,
    sleeping: BTreeMap<(Duration, u64), Waker>,
}

/// Where the wall clock starts, in seconds since 1970.
pub(super) const START: i64 = 1_768_818_617;

impl Clock for EventClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(START, 0).unwrap() + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().unwrap().now
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        let until = self.monotonic() + duration;
        Box::pin(poll_fn(move |context| {
            let mut timers = clock.0.lock().unwrap();
            if timers.now >= until {
                return Poll::Ready(());
            }
            let key = (until, timers.next);
            timers.next += 1;
            timers.sleeping.insert(key, context.waker().clone());
            Poll::Pending
        }))
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl EventClock {
    /// Runs the tasks to their end, or until `until`.
    pub(super) fn run(&self, tasks: Vec<LocalBoxFuture<'_, ()>>, until: Duration) {
        let mut tasks: FuturesUnordered<_> = tasks.into_iter().collect();
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&flag));
        let mut context = Context::from_waker(&waker);
        loop {
            flag.0.store(false, Ordering::Relaxed);
            match Pin::new(&mut tasks).poll_next(&mut context) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) => return,
                Poll::Pending if flag.0.load(Ordering::Relaxed) => {}
                Poll::Pending => {
                    let mut timers = self.0.lock().unwrap();
                    let ((at, _), waker) = timers.sleeping.pop_first().expect("everybody waits for nothing");
                    timers.now = at.clamp(timers.now, until);
                    if at > until {
                        return;
                    }
                    drop(timers);
                    waker.wake();
                }
            }
        }
    }
}
