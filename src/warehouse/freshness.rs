//! How fresh each resource is, for `status` and the status page: the same few queries however many there are.

use std::collections::{BTreeMap, HashMap};

use super::error::Error;
use super::{ParityAudit, Quarantined, RunRecord, StateSummary, Warehouse, runs};
use crate::allai::Resource;

/// How many of its last runs are told of each resource.
const RUNS: u32 = 30;
/// How many reasons for quarantine.
const REASONS: u32 = 3;

/// How a resource of an account stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Freshness {
    /// The account's name in the configuration.
    pub account: String,
    /// The resource.
    pub resource: Resource,
    /// The last runs, at most thirty, whatever their outcome; newest first.
    pub runs: Vec<RunRecord>,
    /// Its state, once a run has left one.
    pub state: Option<StateSummary>,
    /// Live rows at the end of the last run; until a run was complete, now. For analytics, days captured.
    pub rows: u64,
    /// Rows in quarantine, and why.
    pub quarantined: Quarantined,
    /// The last comparison with the API.
    pub last_audit: Option<ParityAudit>,
}

impl Freshness {
    /// How a resource stands that was never synced.
    pub fn never_synced(account: &str, resource: Resource) -> Self {
        Self {
            account: account.to_owned(),
            resource,
            runs: Vec::new(),
            state: None,
            rows: 0,
            quarantined: Quarantined::default(),
            last_audit: None,
        }
    }
}

/// What has to be counted, which takes long where it is much: of lists that were never complete their rows, and the
/// quarantine.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    rows: HashMap<(String, String), u64>,
    quarantined: HashMap<(String, String), Quarantined>,
}

impl Warehouse {
    /// Every account and resource that was ever synced, by account and then in the order of [`Resource::ALL`].
    pub async fn freshness(&self) -> Result<Vec<Freshness>, Error> {
        self.freshness_with(&self.figures().await?).await
    }

    /// Counts what has to be counted.
    pub async fn figures(&self) -> Result<Figures, Error> {
        let rows = self.live_rows_of_incomplete().await?.into_iter();
        Ok(Figures {
            rows: rows
                .map(|(account, resource, rows)| ((account, resource), rows))
                .collect(),
            quarantined: self.quarantined_of_all(REASONS).await?,
        })
    }

    /// The same as [`Self::freshness`], with what was counted before; takes the same little time however many rows there are.
    pub async fn freshness_with(&self, figures: &Figures) -> Result<Vec<Freshness>, Error> {
        let mut synced: BTreeMap<(String, Resource), Freshness> = BTreeMap::new();
        for (account, resource, summary) in self.state_summaries().await? {
            if let Some(resource) = runs::resource_named(&resource) {
                of(&mut synced, &account, resource).state = Some(summary);
            }
        }
        for run in self.recent_runs_of_all(RUNS).await? {
            of(&mut synced, &run.account.clone(), run.resource).runs.push(run);
        }
        for found in synced.values_mut() {
            let key = (found.account.clone(), found.resource.as_str().to_owned());
            let complete = found.state.as_ref().filter(|state| state.last_complete_at.is_some());
            found.rows = match complete {
                Some(state) => state.rows,
                None => figures.rows.get(&key).copied().unwrap_or(0),
            };
            found.quarantined = figures.quarantined.get(&key).cloned().unwrap_or_default();
        }
        for audit in self.last_audits().await? {
            if let Some(found) = synced.get_mut(&(audit.account.clone(), audit.resource)) {
                found.last_audit = Some(audit);
            }
        }
        Ok(synced.into_values().collect())
    }
}

fn of<'a>(
    synced: &'a mut BTreeMap<(String, Resource), Freshness>,
    account: &str,
    resource: Resource,
) -> &'a mut Freshness {
    synced
        .entry((account.to_owned(), resource))
        .or_insert_with(|| Freshness::never_synced(account, resource))
}
