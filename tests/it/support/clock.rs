//! A clock that stands still until the test lets time pass, for a whole program with tasks, threads and sockets.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allai_sync::clock::{Clock, SharedClock};
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

/// Time that passes when somebody says so, and what everyone takes it for: the server is right, the machine of the daemon
/// may be set wrong.
#[derive(Clone, Debug)]
pub(crate) struct Time(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Told of every sleep that begins.
    slept: Notify,
}

#[derive(Debug)]
struct State {
    began: DateTime<Utc>,
    passed: Duration,
    /// How far the machine's wall clock is ahead.
    ahead: TimeDelta,
    sleepers: BTreeMap<u64, Sleeper>,
    sleeps: u64,
}

#[derive(Debug)]
struct Sleeper {
    until: Duration,
    asked: Duration,
    waker: Option<Waker>,
}

impl Time {
    pub(crate) fn new(began: DateTime<Utc>) -> Self {
        let state = State {
            began,
            passed: Duration::ZERO,
            ahead: TimeDelta::zero(),
            sleepers: BTreeMap::new(),
            sleeps: 0,
        };
        Self(Arc::new(Shared {
            state: Mutex::new(state),
            slept: Notify::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The clock of the machine that the daemon runs on.
    pub(crate) fn machine(&self) -> SharedClock {
        Arc::new(Reader {
            time: self.clone(),
            is_set: true,
        })
    }

    /// The clock of the server.
    pub(crate) fn server(&self) -> SharedClock {
        Arc::new(Reader {
            time: self.clone(),
            is_set: false,
        })
    }

    /// The true time, as exact as databases keep it.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        let state = self.state();
        (state.began + state.passed).trunc_subsecs(6)
    }

    /// What the machine takes it for.
    pub(crate) fn wall(&self) -> DateTime<Utc> {
        self.now() + self.state().ahead
    }

    /// Sets the machine's wall clock forward or back; no time passes.
    pub(crate) fn set(&self, by: TimeDelta) {
        self.state().ahead += by;
    }

    /// Lets time pass, and wakes those who have slept enough.
    pub(crate) fn pass(&self, time: Duration) {
        let mut state = self.state();
        state.passed += time;
        let now = state.passed;
        let enough = state.sleepers.values_mut().filter(|sleeper| sleeper.until <= now);
        let wakers: Vec<Waker> = enough.filter_map(|sleeper| sleeper.waker.take()).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// How long each of those who sleep had asked for; `None` if one of them is to wake.
    pub(crate) fn asleep(&self) -> Option<Vec<Duration>> {
        let state = self.state();
        let sleepers = state.sleepers.values();
        sleepers
            .map(|sleeper| (sleeper.until > state.passed).then_some(sleeper.asked))
            .collect()
    }

    /// Completes when somebody goes to sleep, or has since the last call.
    pub(crate) async fn somebody_sleeps(&self) {
        self.0.slept.notified().await;
    }
}

/// One of the two clocks.
#[derive(Debug)]
struct Reader {
    time: Time,
    is_set: bool,
}

impl Clock for Reader {
    fn now(&self) -> DateTime<Utc> {
        if self.is_set { self.time.wall() } else { self.time.now() }
    }

    fn monotonic(&self) -> Duration {
        self.time.state().passed
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut state = self.time.state();
        state.sleeps += 1;
        let number = state.sleeps;
        let sleeper = Sleeper {
            until: state.passed.saturating_add(duration),
            asked: duration,
            waker: None,
        };
        state.sleepers.insert(number, sleeper);
        drop(state);
        self.time.0.slept.notify_one();
        Box::pin(Sleep {
            time: self.time.clone(),
            number,
        })
    }
}

struct Sleep {
    time: Time,
    number: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.time.state();
        let now = state.passed;
        match state.sleepers.get_mut(&self.number) {
            Some(sleeper) if sleeper.until > now => {
                sleeper.waker = Some(context.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.time.state().sleepers.remove(&self.number);
    }
}
