//! How the mirror stands: what `allai-sync status`, the status page and its JSON show.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::allai::Resource;
use crate::warehouse::{self, AuditScope, AuditVerdict, Freshness, ParityAudit, RateBudget, RunRecord, Warehouse};

/// How every resource of every account stands, read from the warehouse alone.
#[derive(Clone, Debug, Serialize)]
pub struct StatusReport {
    /// When it was read.
    pub generated_at: DateTime<Utc>,
    /// By account, and then in the order in which resources are synced.
    pub resources: Vec<ResourceStatus>,
    /// The rate budget of each account, as its last run left it.
    pub budgets: Vec<RateBudget>,
}

/// How a resource of an account stands.
#[derive(Clone, Debug, Serialize)]
pub struct ResourceStatus {
    /// The account's name in the configuration.
    pub account: String,
    /// The resource.
    pub resource: Resource,
    /// Live rows now; for analytics, days captured.
    pub rows: u64,
    /// Rows that could not be stored.
    pub quarantined: u64,
    /// When the last complete run ended.
    pub last_complete_at: Option<DateTime<Utc>>,
    /// When the last verified sweep ended.
    pub last_verified_at: Option<DateTime<Utc>>,
    /// Seconds since the last complete run; `null` if there was none.
    pub lag_seconds: Option<i64>,
    /// Whether a run was cut short; the next one goes on where it stopped.
    pub unfinished: bool,
    /// The order of the API's list, as learned.
    pub order: Option<String>,
    /// The last run, whatever its outcome.
    pub last_run: Option<LastRun>,
    /// The last comparison with the API.
    pub last_audit: Option<LastAudit>,
}

/// A comparison with the API, in brief; `parity_audits` has all of it.
#[derive(Clone, Debug, Serialize)]
pub struct LastAudit {
    /// When.
    pub audited_at: DateTime<Utc>,
    /// How much was compared.
    pub scope: AuditScope,
    /// What was found.
    pub verdict: AuditVerdict,
    /// Rows compared, column by column.
    pub rows_compared: u64,
    /// Rows that differ.
    pub rows_differing: u64,
}

impl From<ParityAudit> for LastAudit {
    fn from(audit: ParityAudit) -> Self {
        Self {
            audited_at: audit.audited_at,
            scope: audit.scope,
            verdict: audit.verdict,
            rows_compared: audit.rows_compared,
            rows_differing: audit.rows_differing,
        }
    }
}

/// A run, with when it was.
#[derive(Clone, Debug, Serialize)]
pub struct LastRun {
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// What it did.
    #[serde(flatten)]
    pub run: RunRecord,
}

impl StatusReport {
    /// Reads the state of everything that was ever synced, and of `accounts` even if they never were.
    /// Fails if the warehouse has no tables.
    pub async fn read(
        warehouse: &Warehouse,
        accounts: &[String],
        now: DateTime<Utc>,
    ) -> Result<Self, warehouse::Error> {
        let found = warehouse.freshness().await?;
        Ok(Self::new(found, warehouse.rate_budgets().await?, accounts, now))
    }

    /// How `accounts` stand before the first sync.
    pub fn never_synced(accounts: &[String], now: DateTime<Utc>) -> Self {
        Self::new(Vec::new(), Vec::new(), accounts, now)
    }

    fn new(mut found: Vec<Freshness>, budgets: Vec<RateBudget>, accounts: &[String], now: DateTime<Utc>) -> Self {
        for account in accounts {
            for resource in Resource::ALL {
                if !found
                    .iter()
                    .any(|row| row.account == *account && row.resource == resource)
                {
                    found.push(Freshness {
                        account: account.clone(),
                        resource,
                        last_run: None,
                        state: None,
                        rows: 0,
                        quarantined: 0,
                        last_audit: None,
                    });
                }
            }
        }
        found.sort_by(|a, b| (&a.account, a.resource).cmp(&(&b.account, b.resource)));
        Self {
            generated_at: now,
            resources: found.into_iter().map(|row| resource_status(row, now)).collect(),
            budgets,
        }
    }

    /// The resources of `accounts` that were not synced completely within `limit`.
    pub fn stale<'a>(
        &'a self,
        accounts: &'a [String],
        limit: chrono::TimeDelta,
    ) -> impl Iterator<Item = &'a ResourceStatus> + 'a {
        self.resources
            .iter()
            .filter(move |row| accounts.contains(&row.account))
            .filter(move |row| row.last_complete_at.is_none_or(|at| self.generated_at - at > limit))
    }
}

fn resource_status(row: Freshness, now: DateTime<Utc>) -> ResourceStatus {
    let state = row.state.unwrap_or_default();
    ResourceStatus {
        account: row.account,
        resource: row.resource,
        rows: row.rows,
        quarantined: row.quarantined,
        last_complete_at: state.last_complete_at,
        last_verified_at: state.last_verified_at,
        lag_seconds: state.last_complete_at.map(|at| (now - at).num_seconds().max(0)),
        unfinished: state.checkpoint.is_some(),
        order: state.order,
        last_run: row.last_run.map(|run| LastRun {
            started_at: run.started_at,
            finished_at: run.finished_at,
            run,
        }),
        last_audit: row.last_audit.map(LastAudit::from),
    }
}
