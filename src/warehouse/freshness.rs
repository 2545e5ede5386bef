//! How fresh each resource is, for `status` and the status page.

use super::error::{Doing as _, Error};
use super::statement::{Statement, reading};
use super::{ParityAudit, RunRecord, SyncState, Warehouse, runs};
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
    /// The last comparison with the API.
    pub last_audit: Option<ParityAudit>,
}

const SYNCED: Statement =
    Statement::shared("SELECT account, resource FROM sync_state UNION SELECT account, resource FROM sync_runs");

pub(super) const STATEMENTS: &[Statement] = &[SYNCED];

impl Warehouse {
    /// Every account and resource that was ever synced, by account and then in the order of [`Resource::ALL`].
    pub async fn freshness(&self) -> Result<Vec<Freshness>, Error> {
        let rows: Vec<(String, String)> =
            reading!(self, pool, dialect => sqlx::query_as(SYNCED.of(dialect)).fetch_all(pool).await)
                .doing("reading what was synced")?;
        let mut synced: Vec<(String, Resource)> = rows
            .into_iter()
            .filter_map(|(account, resource)| Some((account, runs::resource_named(&resource)?)))
            .collect();
        synced.sort();
        let mut all = Vec::with_capacity(synced.len());
        for (account, resource) in synced {
            all.push(Freshness {
                last_run: self.recent_runs(&account, resource, 1).await?.pop(),
                state: self.state(&account, resource).await?,
                rows: self.live_rows(&account, resource).await?,
                quarantined: self.quarantined(&account, resource).await?,
                last_audit: self.recent_audits(&account, resource, 1).await?.pop(),
                account,
                resource,
            });
        }
        Ok(all)
    }
}
