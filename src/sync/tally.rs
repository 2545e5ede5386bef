//! Counting what a run did with the rows it read.

use crate::warehouse::{AnalyticsCounts, Change};

/// The row counts of one run; a row that pages overlap on counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Distinct rows seen.
    pub rows_seen: u64,
    /// Rows that were new.
    pub inserted: u64,
    /// Rows whose content had changed.
    pub updated: u64,
    /// Rows found as they were.
    pub unchanged: u64,
    /// Rows tombstoned.
    pub deleted: u64,
    /// Tombstoned rows that are back.
    pub restored: u64,
    /// Rows that could not be stored.
    pub quarantined: u64,
}

impl Tally {
    /// Counts one row of a page; `first_seen` is false if the run has met it before.
    pub(super) fn count(&mut self, change: Change, first_seen: bool) {
        if !first_seen {
            // A row met again counts only if it has changed in between.
            self.updated += u64::from(change == Change::Updated);
            return;
        }
        self.rows_seen += 1;
        match change {
            Change::Inserted => self.inserted += 1,
            Change::Updated => self.updated += 1,
            Change::Restored => self.restored += 1,
            // What is in doubt is asked for again, and counts as what it then is.
            Change::Unchanged | Change::Doubtful => self.unchanged += 1,
            Change::Quarantined => self.quarantined += 1,
        }
    }

    /// Adds what another part of the same run counted.
    pub(super) fn add(&mut self, other: &Self) {
        self.rows_seen += other.rows_seen;
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.deleted += other.deleted;
        self.restored += other.restored;
        self.quarantined += other.quarantined;
    }

    /// Rows that were written.
    pub(super) const fn written(&self) -> u64 {
        self.inserted + self.updated + self.restored + self.quarantined
    }
}

impl From<AnalyticsCounts> for Tally {
    fn from(counts: AnalyticsCounts) -> Self {
        Self {
            rows_seen: counts.rows_seen,
            inserted: counts.inserted,
            updated: counts.updated,
            unchanged: counts.unchanged,
            quarantined: counts.quarantined,
            ..Self::default()
        }
    }
}
