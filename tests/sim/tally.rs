//! What many lives come to.

use std::fmt;

use allai_sync::allai::Resource;
use allai_sync::warehouse::{RunRecord, RunStatus};

use crate::api::Counts;

#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) lives: u64,
    pub(crate) kills: u64,
    runs: u64,
    requests: u64,
    faults: u64,
    over_limit: u64,
    incomplete: u64,
    failed: u64,
    /// By resource: complete full runs under churn, and those of them that are verified.
    full: [u64; 3],
    verified: [u64; 3],
    /// Lives whose mirror was exact after so many full syncs at rest.
    converged: [u64; 3],
    rows_deleted: u64,
}

impl Tally {
    /// Counts a run; `proves` says whether it was to prove something while everything changes.
    pub(crate) fn count(&mut self, resource: Resource, record: Option<&RunRecord>, counts: Counts, proves: bool) {
        self.requests += u64::from(counts.requests);
        self.faults += u64::from(counts.faults);
        self.over_limit += u64::from(counts.over_limit);
        let Some(record) = record else { return };
        self.runs += 1;
        self.rows_deleted += record.deleted;
        self.incomplete += u64::from(record.status == RunStatus::Incomplete);
        self.failed += u64::from(record.status == RunStatus::Failed);
        let at = match resource {
            Resource::Contacts => 0,
            Resource::Conversations => 1,
            _ => 2,
        };
        if proves && record.status == RunStatus::Complete {
            self.full[at] += 1;
            self.verified[at] += u64::from(record.verified);
        }
    }

    pub(crate) fn converged_after(&mut self, syncs: u64) {
        let at = usize::try_from(syncs.saturating_sub(1)).unwrap_or(2).min(2);
        self.converged[at] += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.lives += other.lives;
        self.kills += other.kills;
        self.runs += other.runs;
        self.requests += other.requests;
        self.faults += other.faults;
        self.over_limit += other.over_limit;
        self.incomplete += other.incomplete;
        self.failed += other.failed;
        self.rows_deleted += other.rows_deleted;
        for at in 0..3 {
            self.full[at] += other.full[at];
            self.verified[at] += other.verified[at];
            self.converged[at] += other.converged[at];
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |of: u64, all: u64| {
            let tenths = (1000 * of).checked_div(all).unwrap_or(0);
            format!("{}.{} %", tenths / 10, tenths % 10)
        };
        let unverified = |at: usize| share(self.full[at] - self.verified[at], self.full[at]);
        write!(
            f,
            "{} lives, {} deaths, {} runs ({} incomplete, {} failed), {} requests, {} faults, {} over the limit, {} rows \
             deleted\n    full runs under churn not verified: contacts {}, conversations {}, messages {}; exact at rest \
             after 1/2/3 full syncs: {}/{}/{}",
            self.lives,
            self.kills,
            self.runs,
            self.incomplete,
            self.failed,
            self.requests,
            self.faults,
            self.over_limit,
            self.rows_deleted,
            unverified(0),
            unverified(1),
            unverified(2),
            self.converged[0],
            self.converged[1],
            self.converged[2],
        )
    }
}
