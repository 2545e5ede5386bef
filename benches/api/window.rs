//! The rate limit: so many requests in each window, windows of one length side by side.

use serde::Serialize;

/// What the limit says to a request.
pub(crate) struct Turn {
    /// Whether it is answered.
    pub(crate) admitted: bool,
    /// Requests left in the window after this one.
    pub(crate) remaining: u32,
    /// When the window ends, in seconds since 1970.
    pub(crate) resets_at: i64,
}

/// What a window saw.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Count {
    /// When it began, in seconds since 1970.
    pub(crate) began: i64,
    /// Requests answered.
    pub(crate) served: u32,
    /// Requests refused with 429.
    pub(crate) refused: u32,
}

/// The windows that saw a request.
pub(crate) struct Windows {
    limit: u32,
    seconds: u32,
    counts: Vec<Count>,
}

impl Windows {
    pub(crate) fn new(limit: u32, seconds: u32) -> Self {
        Self {
            limit,
            seconds,
            counts: Vec::new(),
        }
    }

    /// A request that arrives at `now`, in seconds since 1970.
    pub(crate) fn enter(&mut self, now: i64) -> Turn {
        let seconds = i64::from(self.seconds);
        let began = now - now.rem_euclid(seconds);
        if self.counts.last().is_none_or(|count| count.began != began) {
            self.counts.push(Count {
                began,
                served: 0,
                refused: 0,
            });
        }
        let count = self.counts.last_mut().expect("just pushed if there was none");
        let admitted = count.served < self.limit;
        if admitted {
            count.served += 1;
        } else {
            count.refused += 1;
        }
        Turn {
            admitted,
            remaining: self.limit - count.served,
            resets_at: began + seconds,
        }
    }

    /// What each window saw, oldest first.
    pub(crate) fn counts(&self) -> &[Count] {
        &self.counts
    }

    /// Begins to count afresh; what the current window has left is given back.
    pub(crate) fn forget(&mut self) {
        self.counts.clear();
    }
}
