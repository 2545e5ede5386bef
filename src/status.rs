//! How the mirror stands: what `allai-sync status`, the status page and its JSON show.

mod attention;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::allai::Resource;
use crate::automation::mask_persons;
use crate::schedule::{Due, Plan, stale_for};
use crate::warehouse::{
    self, AuditScope, AuditVerdict, EventRow, EventStatus, Figures, Freshness, Holding, InboxSummary, JobState,
    ParityAudit, QuarantineReason, RateBudget, RunFilter, RunRecord, RunRow, RunState, RunStatus, RunsSummary, StepRow,
    Warehouse,
};

pub use attention::{Attention, Level, Verdict};

/// How every resource of every account stands, read from the warehouse alone.
#[derive(Clone, Debug, Serialize)]
pub struct StatusReport {
    /// When it was read.
    pub generated_at: DateTime<Utc>,
    /// All of it in one line.
    pub verdict: Verdict,
    /// What somebody should look at, the worst first.
    pub attention: Vec<Attention>,
    /// By account, and then in the order in which resources are synced.
    pub resources: Vec<ResourceStatus>,
    /// The rate budget of each account, as its last run left it.
    pub budgets: Vec<RateBudget>,
    /// The webhook events of each account that ever had one.
    pub inboxes: Vec<InboxStatus>,
    /// What the rules of each account did that ever had any at work.
    pub automations: Vec<AutomationsStatus>,
}

/// How the runs of an account's rules stand.
#[derive(Clone, Debug, Serialize)]
pub struct AutomationsStatus {
    /// How many there are.
    #[serde(flatten)]
    pub summary: RunsSummary,
    /// The last ones that ended at a step that failed.
    pub dead_runs: Vec<DeadRun>,
}

/// A run that ended at a step that failed.
#[derive(Clone, Debug, Serialize)]
pub struct DeadRun {
    /// What it was about, and why it ended.
    #[serde(flatten)]
    pub run: RunRow,
    /// How far it came: what each step was to do and what came of it, without addresses and numbers of persons.
    pub steps: Vec<StepRow>,
}

/// How the webhook events of an account stand.
#[derive(Clone, Debug, Serialize)]
pub struct InboxStatus {
    /// How many there are, and since when.
    #[serde(flatten)]
    pub summary: InboxSummary,
    /// The last ones that could not be applied.
    pub dead_events: Vec<DeadEvent>,
}

/// An event that could not be applied.
#[derive(Clone, Debug, Serialize)]
pub struct DeadEvent {
    /// What makes it one event.
    pub id: String,
    /// Its type, if it says.
    pub event: Option<String>,
    /// When it arrived.
    pub received_at: DateTime<Utc>,
    /// Why.
    pub last_error: Option<String>,
}

impl From<EventRow> for DeadEvent {
    fn from(row: EventRow) -> Self {
        Self {
            id: row.id,
            event: row.event,
            received_at: row.received_at,
            last_error: row.last_error,
        }
    }
}

/// How a resource of an account stands.
#[derive(Clone, Debug, Serialize)]
pub struct ResourceStatus {
    /// The account's name in the configuration.
    pub account: String,
    /// The resource.
    pub resource: Resource,
    /// Whether it is to be synced: the account is configured, and the job of the resource is not switched off.
    pub expected: bool,
    /// The worst of what is to be said of it.
    pub level: Level,
    /// Live rows at the end of the last run; until a run was complete, now. For analytics, days captured.
    pub rows: u64,
    /// Rows that could not be stored.
    pub quarantined: u64,
    /// Why not: the reasons met most often.
    pub quarantine_reasons: Vec<QuarantineReason>,
    /// When the last complete run ended.
    pub last_complete_at: Option<DateTime<Utc>>,
    /// When the last verified sweep ended.
    pub last_verified_at: Option<DateTime<Utc>>,
    /// Seconds since the last complete run; `null` if there was none.
    pub lag_seconds: Option<i64>,
    /// Whether no run was complete for longer than its schedule and `alerts.stale_after` allow; where the schedule is not
    /// known, for more than a day.
    pub stale: bool,
    /// Whether a run was cut short; the next one goes on where it stopped.
    pub unfinished: bool,
    /// The order of the API's list, as learned.
    pub order: Option<String>,
    /// The last run, whatever its outcome.
    pub last_run: Option<LastRun>,
    /// The last runs, at most thirty, in brief; newest first.
    pub recent_runs: Vec<RecentRun>,
    /// Who syncs it, and when it is synced next; `null` where it never was a job.
    pub job: Option<JobStatus>,
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

/// A run in brief; `sync_runs` has all of it.
#[derive(Clone, Debug, Serialize)]
pub struct RecentRun {
    /// When it ended.
    pub finished_at: DateTime<Utc>,
    /// How it ended.
    pub status: RunStatus,
    /// Whether it proved that it saw every row.
    pub verified: bool,
    /// How long it took.
    pub seconds: f64,
    /// Rows that it wrote: new, changed, deleted and restored ones.
    pub rows_written: u64,
}

impl From<&RunRecord> for RecentRun {
    fn from(run: &RunRecord) -> Self {
        Self {
            finished_at: run.finished_at,
            status: run.status,
            verified: run.verified,
            seconds: run.seconds,
            rows_written: run.inserted + run.updated + run.deleted + run.restored,
        }
    }
}

/// The job that syncs a resource.
#[derive(Clone, Debug, Serialize)]
pub struct JobStatus {
    /// Who syncs it just now, since when, and whether everything.
    pub running: Option<Holding>,
    /// When it is to run next, where that is known: the daemon knows its schedules. In the past: it is due.
    pub next_due_at: Option<DateTime<Utc>>,
    /// When somebody asked for a run that has not begun yet.
    pub requested_at: Option<DateTime<Utc>>,
    /// Runs in a row that did not do their work.
    pub failures: u32,
    /// When the last of them ended.
    pub failed_at: Option<DateTime<Utc>>,
}

impl JobStatus {
    fn new(state: JobState, plan: Option<&Plan>, now: DateTime<Utc>) -> Self {
        let next_due_at = plan.and_then(|plan| match plan.due(&state, now) {
            Due::Now(_) => Some(now),
            Due::At(at) => Some(at),
            Due::Never => None,
        });
        Self {
            running: state.held,
            next_due_at,
            requested_at: [state.requested_at, state.requested_full_at]
                .into_iter()
                .flatten()
                .min(),
            failures: state.failures,
            failed_at: state.failed_at,
        }
    }
}

/// What the reader of a report knows beside the warehouse.
#[derive(Clone, Debug, Default)]
pub struct Known<'a> {
    /// The accounts that are configured; they are reported on even if they were never synced.
    pub accounts: &'a [String],
    /// When their jobs run; none: not known.
    pub plans: &'a [Plan],
    /// How much older than its schedule leaves it a resource may be before it is stale.
    pub stale_after: Duration,
    /// Why schedules are not kept, if they are not.
    pub problem: Option<String>,
}

/// What a report is made of.
#[derive(Clone, Debug)]
pub struct Gathered {
    at: DateTime<Utc>,
    found: Vec<Freshness>,
    jobs: Vec<JobState>,
    budgets: Vec<RateBudget>,
    inboxes: Vec<InboxStatus>,
    automations: Vec<AutomationsStatus>,
}

/// So many dead events and runs are shown.
const DEAD_SHOWN: u32 = 5;

impl Gathered {
    /// Reads the state of everything that was ever synced. Fails if the warehouse has no tables.
    pub async fn read(warehouse: &Warehouse, figures: &Figures, now: DateTime<Utc>) -> Result<Self, warehouse::Error> {
        let jobs = warehouse.jobs().await?;
        let accounts: BTreeSet<&str> = jobs.iter().map(|job| job.account.as_str()).collect();
        let mut inboxes = Vec::new();
        for summary in warehouse.inbox_summaries(accounts.clone()).await? {
            let dead_events = match summary.dead {
                0 => Vec::new(),
                _ => {
                    warehouse
                        .events(&summary.account, EventStatus::Dead, DEAD_SHOWN)
                        .await?
                }
            };
            inboxes.push(InboxStatus {
                summary,
                dead_events: dead_events.into_iter().map(DeadEvent::from).collect(),
            });
        }
        let mut automations = Vec::new();
        for summary in warehouse.runs_summaries(accounts).await? {
            automations.push(AutomationsStatus {
                dead_runs: match summary.dead {
                    0 => Vec::new(),
                    _ => dead_runs(warehouse, &summary.account).await?,
                },
                summary,
            });
        }
        Ok(Self {
            at: now,
            found: warehouse.freshness_with(figures).await?,
            jobs,
            budgets: warehouse.rate_budgets().await?,
            inboxes,
            automations,
        })
    }
}

async fn dead_runs(warehouse: &Warehouse, account: &str) -> Result<Vec<DeadRun>, warehouse::Error> {
    let dead = RunFilter {
        state: Some(RunState::Dead),
        most: DEAD_SHOWN,
        ..RunFilter::default()
    };
    let mut shown = Vec::new();
    for run in warehouse.automation_runs(account, &dead).await? {
        let mut steps = warehouse.steps(account, &run.id).await?;
        mask_persons(&mut steps);
        shown.push(DeadRun { run, steps });
    }
    Ok(shown)
}

impl StatusReport {
    /// Reads the state of everything that was ever synced, and of what is known beside.
    /// Fails if the warehouse has no tables.
    pub async fn read(warehouse: &Warehouse, known: &Known<'_>, now: DateTime<Utc>) -> Result<Self, warehouse::Error> {
        let gathered = Gathered::read(warehouse, &warehouse.figures().await?, now).await?;
        Ok(Self::of(gathered, known))
    }

    /// What was gathered, and what is known beside.
    pub fn of(gathered: Gathered, known: &Known<'_>) -> Self {
        let Gathered {
            at,
            found,
            jobs,
            budgets,
            inboxes,
            automations,
        } = gathered;
        let mut report = Self::new(found, jobs, budgets, known, at);
        report.attention.extend(attention::of_inboxes(&inboxes, at));
        report.attention.extend(attention::of_automations(&automations));
        report.attention.sort_by_key(|found| std::cmp::Reverse(found.level));
        report.verdict = Verdict::of(&report.resources, &report.attention);
        report.inboxes = inboxes;
        report.automations = automations;
        report
    }

    /// How `accounts` stand before the first sync.
    pub fn never_synced(accounts: &[String], now: DateTime<Utc>) -> Self {
        let known = Known {
            accounts,
            ..Known::default()
        };
        Self::new(Vec::new(), Vec::new(), Vec::new(), &known, now)
    }

    fn new(
        mut found: Vec<Freshness>,
        jobs: Vec<JobState>,
        budgets: Vec<RateBudget>,
        known: &Known<'_>,
        now: DateTime<Utc>,
    ) -> Self {
        for account in known.accounts {
            for resource in Resource::ALL {
                if !found
                    .iter()
                    .any(|row| row.account == *account && row.resource == resource)
                {
                    found.push(Freshness::never_synced(account, resource));
                }
            }
        }
        found.sort_by(|a, b| (&a.account, a.resource).cmp(&(&b.account, b.resource)));
        let plans: HashMap<_, _> = known
            .plans
            .iter()
            .map(|plan| ((plan.account.as_str(), plan.resource), plan))
            .collect();
        let mut jobs: HashMap<_, _> = jobs
            .into_iter()
            .map(|job| ((job.account.clone(), job.resource), job))
            .collect();
        let mut resources: Vec<ResourceStatus> = found
            .into_iter()
            .map(|row| {
                let job = jobs.remove(&(row.account.clone(), row.resource));
                let plan = plans.get(&(row.account.as_str(), row.resource)).copied();
                let is_planned = plans.is_empty() || plan.is_some();
                let expected = is_planned && known.accounts.contains(&row.account);
                let last_complete_at = row.state.as_ref().and_then(|state| state.last_complete_at);
                let stale = stale_for(plan, job.as_ref(), last_complete_at, known.stale_after, now).is_some();
                let job = job.map(|job| JobStatus::new(job, plan, now));
                resource_status(row, job, expected, expected && stale, now)
            })
            .collect();
        let attention = attention::find(&resources, known.problem.as_deref(), now);
        attention::judge(&mut resources, &attention);
        Self {
            generated_at: now,
            verdict: Verdict::of(&resources, &attention),
            attention,
            resources,
            budgets,
            inboxes: Vec::new(),
            automations: Vec::new(),
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

fn resource_status(
    row: Freshness,
    job: Option<JobStatus>,
    expected: bool,
    stale: bool,
    now: DateTime<Utc>,
) -> ResourceStatus {
    let summary = row.state.unwrap_or_default();
    ResourceStatus {
        account: row.account,
        resource: row.resource,
        expected,
        level: Level::Good,
        rows: row.rows,
        quarantined: row.quarantined.rows,
        quarantine_reasons: row.quarantined.reasons,
        last_complete_at: summary.last_complete_at,
        last_verified_at: summary.last_verified_at,
        lag_seconds: summary.last_complete_at.map(|at| (now - at).num_seconds().max(0)),
        stale,
        unfinished: summary.unfinished,
        order: summary.order,
        recent_runs: row.runs.iter().map(RecentRun::from).collect(),
        last_run: row.runs.into_iter().next().map(|run| LastRun {
            started_at: run.started_at,
            finished_at: run.finished_at,
            run,
        }),
        job,
        last_audit: row.last_audit.map(LastAudit::from),
    }
}
