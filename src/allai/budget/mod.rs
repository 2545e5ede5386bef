//! stub
use crate::clock::SharedClock;
use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode};
use std::sync::Arc;
use std::time::Duration;

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// An event that just arrived, or an automation that answers one.
    Event,
    /// Somebody waits for it.
    Interactive,
    /// An incremental run.
    Incremental,
    /// A full sweep.
    Full,
}

/// What is known of a key's limit before the server states it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The plan's requests per minute: a ceiling whatever the server says. `None`: what the server says.
    pub ceiling_per_minute: Option<u32>,
    /// Requests per minute to assume until the server states a limit, and where it never does.
    pub fallback_per_minute: u32,
    /// The share of the limit that is left to the key's other users, 0 to 1.
    pub reserve: f64,
    /// At most this many requests at once.
    pub max_in_flight: usize,
}

impl Default for Limits {
    /// The lowest limit that the guide documents (100 a minute, the sandbox's), nothing reserved, 8 at once.
    fn default() -> Self {
        Self {
            ceiling_per_minute: None,
            fallback_per_minute: 100,
            reserve: 0.0,
            max_in_flight: 8,
        }
    }
}

/// The rate budget of one API key.
#[derive(Debug)]
pub struct Budget {
    clock: SharedClock,
    permits: Arc<tokio::sync::Semaphore>,
    max: usize,
}

/// What a budget looks like just now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetSnapshot {
    /// Requests a window, as the server states it.
    pub limit: Option<u32>,
    /// Requests left in this window.
    pub remaining: Option<u32>,
    /// How long until the window ends.
    pub resets_in: Option<Duration>,
    /// Requests that are under way.
    pub in_flight: usize,
    /// What the next request waits for, if any waits.
    pub waiting: Option<Wait>,
}

/// A wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What is waited for.
    pub reason: WaitReason,
    /// How long, at most.
    pub lasts: Duration,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// The window is used up.
    Window,
    /// The server asked for a pause.
    Pause,
    /// The ceiling of the plan.
    Ceiling,
    /// The first answer, which states the limit.
    Probe,
    /// Requests under way.
    Concurrency,
}

/// stub
pub(super) struct Permit {
    _permit: Option<tokio::sync::OwnedSemaphorePermit>,
}

impl Permit {
    pub(super) fn answered(&self, _status: StatusCode, _headers: &HeaderMap) {}
}

impl Budget {
    /// A budget for one key.
    pub fn new(limits: Limits, clock: SharedClock) -> Self {
        let max = limits.max_in_flight.max(1);
        Self {
            clock,
            permits: Arc::new(tokio::sync::Semaphore::new(max)),
            max,
        }
    }

    pub(super) async fn acquire(&self, _priority: Priority) -> Permit {
        Permit {
            _permit: Arc::clone(&self.permits).acquire_owned().await.ok(),
        }
    }

    /// The server's clock.
    pub fn server_now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// What the budget looks like just now.
    pub fn snapshot(&self) -> BudgetSnapshot {
        BudgetSnapshot {
            in_flight: self.max - self.permits.available_permits(),
            ..BudgetSnapshot::default()
        }
    }
}
