//! The clock of a simulation: a virtual one that can be set wrong, that is put back for each life, and at whose n-th
//! reading a run can die.

use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use allai_sync::clock::{Clock, SharedClock, VirtualClock};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::BoxFuture;

/// What a run dies of when it is killed; unwinding drops all it holds, as a dropped future would.
#[derive(Debug)]
pub(crate) struct Killed;

/// What ends a run that does not end by itself.
#[derive(Debug)]
pub(crate) struct Stuck(pub(crate) &'static str);

/// Sleeps without a request in between after which nobody believes in an end.
const MOST_SLEEPS: u32 = 20_000;

#[derive(Clone, Debug)]
pub(crate) struct SimClock(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    time: VirtualClock,
    /// How far the wall clock is off.
    off: TimeDelta,
    readings: u32,
    dies_at: Option<u32>,
    sleeps: u32,
}

impl SimClock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Inner::new())))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another life begins.
    pub(crate) fn start_over(&self) {
        *self.lock() = Inner::new();
    }

    pub(crate) fn shared(&self) -> SharedClock {
        Arc::new(self.clone())
    }

    /// From now on the `n`th reading is the end of whoever reads.
    pub(crate) fn die_at(&self, n: Option<u32>) {
        let mut inner = self.lock();
        inner.dies_at = n;
        inner.readings = 0;
    }

    /// Time passes.
    pub(crate) fn advance(&self, duration: Duration) {
        self.lock().time.advance(duration);
    }

    /// Sets the wall clock.
    pub(crate) fn jump(&self, seconds: i64) {
        self.lock().off += TimeDelta::seconds(seconds);
    }

    /// A request arrived: the run is alive.
    pub(crate) fn note_request(&self) {
        self.lock().sleeps = 0;
    }

    /// The true time, in milliseconds since 1970; not a reading of the run's.
    pub(crate) fn true_millis(&self) -> i64 {
        self.lock().time.now().timestamp_millis()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.lock().time.monotonic()
    }

    fn read<T>(&self, of: impl FnOnce(&Inner) -> T) -> T {
        let mut inner = self.lock();
        inner.readings += 1;
        if inner.dies_at == Some(inner.readings) {
            inner.dies_at = None;
            drop(inner);
            resume_unwind(Box::new(Killed));
        }
        of(&inner)
    }
}

impl Inner {
    fn new() -> Self {
        Self {
            time: VirtualClock::new(DateTime::from_timestamp(1_768_816_817, 350_000_000).unwrap()),
            off: TimeDelta::zero(),
            readings: 0,
            dies_at: None,
            sleeps: 0,
        }
    }
}

impl Clock for SimClock {
    fn now(&self) -> DateTime<Utc> {
        self.read(|inner| inner.time.now() + inner.off)
    }

    fn monotonic(&self) -> Duration {
        self.read(|inner| inner.time.monotonic())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut inner = self.lock();
        inner.sleeps += 1;
        if inner.sleeps > MOST_SLEEPS {
            drop(inner);
            resume_unwind(Box::new(Stuck("it waits and waits, and asks for nothing")));
        }
        inner.time.sleep(duration)
    }
}
