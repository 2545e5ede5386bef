//! What a run is doing right now, for whoever watches it.

use std::sync::atomic::{AtomicU64, Ordering};

/// The state of one resource's run, shared with a progress bar. Cheap to update; a reader polls it.
#[derive(Debug, Default)]
pub struct Progress {
    rows: AtomicU64,
    changed: AtomicU64,
    expected: AtomicU64,
}

/// The figures of a [`Progress`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgressSnapshot {
    /// Distinct rows read (for messages: conversations gone through).
    pub rows: u64,
    /// Rows written.
    pub changed: u64,
    /// How many rows there are to read, as far as is known; 0 if it is not.
    pub expected: u64,
}

impl Progress {
    /// The figures now.
    pub fn snapshot(&self) -> ProgressSnapshot {
        ProgressSnapshot {
            rows: self.rows.load(Ordering::Relaxed),
            changed: self.changed.load(Ordering::Relaxed),
            expected: self.expected.load(Ordering::Relaxed),
        }
    }

    pub(super) fn expect(&self, rows: u64) {
        self.expected.store(rows, Ordering::Relaxed);
    }

    pub(super) fn expect_more(&self, rows: u64) {
        self.expected.fetch_add(rows, Ordering::Relaxed);
    }

    pub(super) fn advance(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    pub(super) fn wrote(&self, rows: u64) {
        self.changed.fetch_add(rows, Ordering::Relaxed);
    }
}
