//! How fresh each resource is, for `status` and the status page.

use super::error::Error;
use super::{RunRecord, SyncState, Warehouse};
use crate::allai::Resource;

/// How a resource of an account stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Freshness {
    /// The account's name in the configuration.
    pub account: String,
    /// The resource.
    pub resource: Resource,
    /// The last run, whatever its outcome.
    pub last_run: Option<RunRecord>,
    /// Its state, once a run has left one.
    pub state: Option<SyncState>,
    /// Live rows now; for analytics, days captured.
    pub rows: u64,
    /// Rows in quarantine.
    pub quarantined: u64,
}

impl Warehouse {
    /// Every account and resource that was ever synced, by account and then in the order of [`Resource::ALL`].
    pub async fn freshness(&self) -> Result<Vec<Freshness>, Error> {
        todo!()
    }
}
