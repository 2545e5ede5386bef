//! Where each resource stands: `sync_state`.

use chrono::{DateTime, Utc};

use super::Warehouse;
use super::error::Error;
use crate::allai::Resource;

/// Where a resource of an account stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncState {
    /// The order in which the API lists the resource, as learned.
    pub order: Option<String>,
    /// Where an interrupted run goes on; the sync's own format.
    pub checkpoint: Option<String>,
    /// A row number of the sync's choice, kept for the next run.
    pub watermark: u64,
    /// When the last complete run ended.
    pub last_complete_at: Option<DateTime<Utc>>,
    /// When the last verified sweep ended.
    pub last_verified_at: Option<DateTime<Utc>>,
    /// Live rows at the end of the last run.
    pub rows: u64,
}

/// What a finished run changes in the [`SyncState`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateUpdate {
    /// The learned order; `None` keeps what is known.
    pub order: Option<String>,
    /// The new watermark.
    pub watermark: u64,
    /// Set if the run was complete; `None` keeps the last.
    pub complete_at: Option<DateTime<Utc>>,
    /// Set if the run was verified; `None` keeps the last.
    pub verified_at: Option<DateTime<Utc>>,
    /// Live rows now.
    pub rows: u64,
    /// Whether the run is over, so that the next one starts afresh.
    pub clear_checkpoint: bool,
}

impl Warehouse {
    /// Where a resource stands; `None` before its first run.
    pub async fn state(&self, account: &str, resource: Resource) -> Result<Option<SyncState>, Error> {
        let _ = (account, resource);
        todo!()
    }

    /// Replaces the checkpoint alone; `None` clears it.
    pub async fn save_checkpoint(
        &self,
        account: &str,
        resource: Resource,
        checkpoint: Option<&str>,
    ) -> Result<(), Error> {
        let _ = (account, resource, checkpoint);
        todo!()
    }
}
