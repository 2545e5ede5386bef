//! The journal of runs: one row of `sync_runs` each.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::{StateUpdate, Warehouse};
use crate::allai::Resource;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Everything it set out to do is done.
    Complete,
    /// It was stopped, or left something out; the next run goes on.
    Incomplete,
    /// It could not do its work.
    Failed,
}

impl RunStatus {
    /// The word kept in the warehouse and printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
        }
    }
}

/// One run of one resource of one account: what `sync --json` prints and `sync_runs` keeps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunRecord {
    /// The account's name in the configuration.
    pub account: String,
    /// What was synced.
    pub resource: Resource,
    /// How it ended.
    pub status: RunStatus,
    /// Whether the run proved that it saw every row.
    pub verified: bool,
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
    /// Rows that had been tombstoned and are back.
    pub restored: u64,
    /// Rows that could not be stored.
    pub quarantined: u64,
    /// HTTP requests sent, retries included.
    pub requests: u64,
    /// Requests that repeated a failed one.
    pub retries: u64,
    /// Answers with status 429.
    pub rate_limited: u64,
    /// How long it took.
    pub seconds: f64,
    /// Why it did not complete.
    pub error: Option<String>,
    /// What started it: `manual`, `schedule`, `webhook`, …
    #[serde(skip)]
    pub trigger: String,
    /// When it started.
    #[serde(skip)]
    pub started_at: DateTime<Utc>,
    /// When it ended.
    #[serde(skip)]
    pub finished_at: DateTime<Utc>,
}

impl Warehouse {
    /// Writes the run into the journal and, in the same transaction, what it means for the resource's state.
    pub async fn finish_run(&self, run: &RunRecord, update: Option<&StateUpdate>) -> Result<(), Error> {
        let _ = (run, update);
        todo!()
    }

    /// The last `count` runs of a resource, newest first.
    pub async fn recent_runs(&self, account: &str, resource: Resource, count: u32) -> Result<Vec<RunRecord>, Error> {
        let _ = (account, resource, count);
        todo!()
    }
}
