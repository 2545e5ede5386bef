//! Where time comes from.
//!
//! Everything that reads the time or waits does it through [`Clock`], so that a test can drive the real code on a
//! clock of its own. `.clippy.toml` forbids the raw calls elsewhere.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
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

/// A clock for simulations: it stands still until somebody sleeps or [`advance`](VirtualClock::advance)s it, and a
/// sleep moves it forward at once.
///
/// That is exact for one task at a time, which is how a simulation drives the code.
#[derive(Clone, Debug)]
pub struct VirtualClock {
    inner: Arc<Mutex<Virtual>>,
}

#[derive(Debug)]
struct Virtual {
    wall: DateTime<Utc>,
    monotonic: Duration,
}

impl VirtualClock {
    /// A clock that reads `start`.
    pub fn new(start: DateTime<Utc>) -> Self {
        let monotonic = Duration::ZERO;
        Self {
            inner: Arc::new(Mutex::new(Virtual { wall: start, monotonic })),
        }
    }

    /// A shared handle to this clock.
    pub fn shared(&self) -> SharedClock {
        Arc::new(self.clone())
    }

    /// Lets `duration` pass.
    pub fn advance(&self, duration: Duration) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.wall += duration;
        inner.monotonic += duration;
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> DateTime<Utc> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).wall
    }

    fn monotonic(&self) -> Duration {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).monotonic
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        Box::pin(async move {
            clock.advance(duration);
            tokio::task::yield_now().await;
        })
    }
}
