//! Where time comes from.
//!
//! Everything that reads the time or waits does it through [`Clock`], so that a test can drive the real code on a
//! clock of its own. `.clippy.toml` forbids the raw calls elsewhere.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use futures_util::future::BoxFuture;

/// A source of wall-clock time, monotonic time and waiting.
pub trait Clock: Send + Sync + Debug {
    /// The wall clock, in UTC, at microsecond precision (what both databases can hold).
    fn now(&self) -> DateTime<Utc>;

    /// Time since an arbitrary fixed point; never goes back.
    fn monotonic(&self) -> Duration;

    /// Completes when `duration` has passed on this clock.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// A clock shared by everything that belongs to one process or one simulation.
pub type SharedClock = Arc<dyn Clock>;

/// A clock as governor reads it.
#[derive(Clone, Debug)]
pub(crate) struct Monotonic(pub(crate) SharedClock);

impl governor::clock::Clock for Monotonic {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.monotonic()
    }
}

/// The machine's own clock.
#[derive(Debug)]
pub struct SystemClock {
    started: std::time::Instant,
}

impl SystemClock {
    /// A shared handle to the machine's clock.
    pub fn shared() -> SharedClock {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
        Arc::new(Self {
            started: std::time::Instant::now(),
        })
    }
}

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
        Utc::now().trunc_subsecs(6)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that waits on the machine's clock"
        )]
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock for simulations: it stands still until somebody sleeps or [`advance`](VirtualClock::advance)s it.
///
/// Of the futures that sleep on it, the one with the nearest deadline moves it there, once the others had their turn.
/// That is exact, and repeatable, for futures that are driven together within one task.
#[derive(Clone, Debug)]
pub struct VirtualClock {
    inner: Arc<Mutex<Virtual>>,
}

#[derive(Debug)]
struct Virtual {
    wall: DateTime<Utc>,
    monotonic: Duration,
    /// The deadlines of those who sleep, and a number to tell them apart.
    sleepers: BTreeSet<(Duration, u64)>,
    sleeps: u64,
}

/// How often a sleeper lets the others go first before it moves the clock.
const TURNS: u32 = 3;
/// How often it lets an earlier one go first, which nobody may be driving just now.
const PATIENCE: u32 = 200;

impl VirtualClock {
    /// A clock that reads `start`.
    pub fn new(start: DateTime<Utc>) -> Self {
        Self {
            inner: Arc::new(Mutex::new(Virtual {
                wall: start,
                monotonic: Duration::ZERO,
                sleepers: BTreeSet::new(),
                sleeps: 0,
            })),
        }
    }

    /// A shared handle to this clock.
    pub fn shared(&self) -> SharedClock {
        Arc::new(self.clone())
    }

    /// Lets `duration` pass.
    pub fn advance(&self, duration: Duration) {
        let mut inner = self.lock();
        inner.wall += duration;
        inner.monotonic += duration;
    }

    /// Sets the wall clock forward or back, as an administrator or a time service does; no time passes.
    pub fn jump(&self, by: TimeDelta) {
        self.lock().wall += by;
    }

    fn lock(&self) -> MutexGuard<'_, Virtual> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> DateTime<Utc> {
        self.lock().wall
    }

    fn monotonic(&self) -> Duration {
        self.lock().monotonic
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut inner = self.lock();
        inner.sleeps += 1;
        let place = (inner.monotonic.saturating_add(duration), inner.sleeps);
        inner.sleepers.insert(place);
        drop(inner);
        Box::pin(VirtualSleep {
            clock: self.clone(),
            place,
            polls: 0,
        })
    }
}

/// A sleep on a [`VirtualClock`].
struct VirtualSleep {
    clock: VirtualClock,
    place: (Duration, u64),
    polls: u32,
}

impl Future for VirtualSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.polls += 1;
        let mut inner = self.clock.lock();
        let wait = self.place.0.saturating_sub(inner.monotonic);
        if wait.is_zero() {
            return Poll::Ready(());
        }
        let is_next = inner.sleepers.first() == Some(&self.place);
        if self.polls > if is_next { TURNS } else { PATIENCE } {
            inner.wall += wait;
            inner.monotonic += wait;
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for VirtualSleep {
    fn drop(&mut self) {
        self.clock.lock().sleepers.remove(&self.place);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use futures_util::stream::FuturesUnordered;

    use super::*;

    #[tokio::test]
    async fn futures_that_sleep_together_wake_in_the_order_of_their_deadlines() {
        let clock = VirtualClock::new(DateTime::UNIX_EPOCH);
        let sleeper = |seconds| {
            let clock = clock.clone();
            async move {
                for _ in 0..3 {
                    clock.sleep(Duration::from_secs(seconds)).await;
                }
                (seconds, clock.monotonic().as_secs())
            }
        };
        let all: FuturesUnordered<_> = [7, 1, 5, 3].into_iter().map(sleeper).collect();
        let woken: Vec<_> = all.collect().await;
        assert_eq!(woken, [(1, 3), (3, 9), (5, 15), (7, 21)]);
    }

    #[tokio::test]
    async fn a_sleeper_that_nobody_drives_does_not_stop_the_clock() {
        let clock = VirtualClock::new(DateTime::UNIX_EPOCH);
        let abandoned = clock.sleep(Duration::from_secs(1));
        clock.sleep(Duration::from_secs(2)).await;
        assert_eq!(clock.monotonic(), Duration::from_secs(2));
        drop(abandoned);
        clock.jump(TimeDelta::hours(-1));
        assert_eq!(clock.monotonic(), Duration::from_secs(2));
    }
}
