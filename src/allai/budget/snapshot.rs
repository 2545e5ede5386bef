//! What a budget shows of itself: for progress bars, the status page and metrics.

use std::fmt;
use std::time::Duration;

/// What a budget looks like at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetSnapshot {
    /// Requests per window, as the server states.
    pub limit: Option<u32>,
    /// Requests left in the window, those under way taken off.
    pub remaining: Option<u32>,
    /// How long until the window is over.
    pub resets_in: Option<Duration>,
    /// Requests under way.
    pub in_flight: usize,
    /// What the next request is waiting for, if one is.
    pub waiting: Option<Wait>,
}

/// What a request is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What for.
    pub reason: WaitReason,
    /// How much longer, as far as it is known.
    pub lasts: Duration,
}

/// Why a request must wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// The server refused a request, and everybody pauses.
    Pause,
    /// As many requests as allowed are under way.
    Concurrency,
    /// One request is under way to learn the limit.
    Probe,
    /// The window is used up.
    Window,
    /// The plan's limit, or the assumed one, is reached.
    Ceiling,
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pause => "the server asked for a pause",
            Self::Concurrency => "requests under way",
            Self::Probe => "the server's limit is being learned",
            Self::Window => "the rate limit's next window",
            Self::Ceiling => "the plan's rate limit",
        })
    }
}
