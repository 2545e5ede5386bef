//! Keeping the mirror: what to read, in which order, and what its absence means.
//!
//! [`run`] syncs one resource of one account. It reads everything ([`sweep`]) the first time and when asked to, else
//! what can be new; it commits page by page, and a run cut short goes on where it was. To add a resource: a file here
//! with a `run`, and a line in [`run`].

mod ahead;
mod analytics;
mod contacts;
mod conversations;
mod deletion;
mod listed;
mod messages;
pub mod order;
pub mod parity;
mod progress;
mod reader;
pub mod refresh;
mod rows;
mod single;
pub mod sweep;
mod tally;

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

pub use progress::{Progress, ProgressSnapshot};
use reader::ENDLESS;
pub use tally::Tally;

use crate::allai::{self, Client, Priority, Resource};
use crate::clock::SharedClock;
use crate::warehouse::{self, JobProblem, Outages, RunRecord, RunStatus, StateUpdate, Warehouse};

/// An account to mirror, ready to be read.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its name in the configuration: the `account` column.
    pub name: String,
    /// Its API.
    pub client: Client,
    /// Rows asked for in one request.
    pub page_size: u32,
    /// Pages that are fetched ahead of being stored, and conversations whose messages are read at the same time.
    pub concurrency: usize,
    /// Whether nothing is fetched while something is stored, and conversations are read one by one, so that the same
    /// run does the same again: for simulations.
    pub in_lockstep: bool,
    /// The members to ask for, per resource; none means all.
    pub contact_fields: Vec<String>,
    /// As `contact_fields`.
    pub conversation_fields: Vec<String>,
    /// As `contact_fields`.
    pub message_fields: Vec<String>,
    /// The periods analytics are captured for, such as `30d`.
    pub periods: Vec<String>,
}

impl Account {
    fn fields(&self, resource: Resource) -> &[String] {
        match resource {
            Resource::Contacts => &self.contact_fields,
            Resource::Conversations => &self.conversation_fields,
            Resource::Messages => &self.message_fields,
            Resource::Analytics => &[],
        }
    }
}

/// How to run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Read everything, and prove it; only then are deletions found.
    pub full: bool,
    /// Apply deletions even if they are many, or all.
    pub allow_mass_delete: bool,
}

/// One run: who, where to, and who watches.
#[derive(Debug)]
pub struct Job<'a> {
    /// The account to read.
    pub account: &'a Account,
    /// Where to write.
    pub warehouse: &'a Warehouse,
    /// The time.
    pub clock: &'a SharedClock,
    /// How to run.
    pub options: Options,
    /// What started the run: `manual`, `schedule`, …
    pub trigger: &'a str,
    /// Updated as the run goes on.
    pub progress: &'a Progress,
    /// Stops the run between two pages.
    pub cancelled: &'a CancellationToken,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API would not answer.
    #[error(transparent)]
    Api(#[from] allai::Error),
    /// The warehouse would not store.
    #[error(transparent)]
    Warehouse(#[from] warehouse::Error),
    /// The list goes on where no list can.
    #[error(
        "the list of {0} does not end: the API still returns rows at offset {ENDLESS}; what was read is stored, nothing \
         was marked as deleted. Check base_url, and report it to AllAI's support"
    )]
    Endless(Resource),
    /// Somebody stopped it.
    #[error("interrupted; the next run goes on from here")]
    Cancelled,
}

impl Error {
    /// Whether nothing else of this account need be tried.
    fn stops_account(&self) -> bool {
        match self {
            Self::Api(error) => error.stops_account() || error.is_unreachable(),
            Self::Endless(_) => false,
            Self::Warehouse(_) | Self::Cancelled => true,
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What it did, as kept in `sync_runs`.
    pub record: RunRecord,
    /// Whether the account's other resources would fail in the same way.
    pub stops_account: bool,
    /// Whether the warehouse took the record.
    pub recorded: bool,
    /// Why the API let it read nothing, if only a person can mend that.
    pub problem: Option<JobProblem>,
    /// Whether rows that are gone from the API were not marked as deleted, because they are too many; `None`: not known.
    pub held_back: Option<bool>,
}

/// A job under way.
struct Run<'a> {
    job: &'a Job<'a>,
    client: Client,
    /// What it has done so far; it counts even if the run fails later.
    tally: Mutex<Tally>,
}

impl Run<'_> {
    fn account(&self) -> &str {
        &self.job.account.name
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn unless_cancelled<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.job.cancelled.cancelled() => Err(Error::Cancelled),
            done = work => Ok(done),
        }
    }
}

/// What a run that read all it wanted found.
struct Finding {
    verified: bool,
    /// Why the mirror is not what the API has, if it is not.
    incomplete: Option<String>,
    /// Whether rows that are gone were not marked as deleted, because they are too many.
    held_back: bool,
    /// When the reading began, by the server's clock: what changed later may be missing.
    as_of: Option<DateTime<Utc>>,
    update: StateUpdate,
}

/// Syncs one resource. An error is part of the outcome; the run is in `sync_runs` either way, unless the warehouse
/// itself failed.
pub async fn run(job: &Job<'_>, resource: Resource) -> Outcome {
    let started_at = job.clock.now();
    let started = job.clock.monotonic();
    let priority = if job.options.full {
        Priority::Full
    } else {
        Priority::Incremental
    };
    let run = Run {
        job,
        client: job.account.client.with_priority(priority),
        tally: Mutex::default(),
    };

    let mut finding = read(&run, resource).await;

    let mut counters = run.client.counters();
    if let Ok(Finding {
        verified: true,
        as_of: Some(as_of),
        update,
        ..
    }) = &mut finding
    {
        // The server's clock was not known yet when the run began; a run that went on from another began with that.
        let ahead = run.client.server_now() - job.clock.now();
        let as_of = (*as_of).min(started_at + ahead);
        // Never later than it was, whatever was known of the server's clock when the reading began.
        update.verified_at = Some(as_of.min(as_of - ahead));
        counters = counters + parity::after_sweep(&run, resource, as_of).await;
    }
    let tally = *run.tally();
    let record = |status, verified, error| RunRecord {
        account: job.account.name.clone(),
        resource,
        status,
        verified,
        rows_seen: tally.rows_seen,
        inserted: tally.inserted,
        updated: tally.updated,
        unchanged: tally.unchanged,
        deleted: tally.deleted,
        restored: tally.restored,
        quarantined: tally.quarantined,
        requests: counters.requests,
        retries: counters.retries,
        rate_limited: counters.rate_limited,
        seconds: job.clock.monotonic().saturating_sub(started).as_secs_f64(),
        error,
        trigger: job.trigger.to_owned(),
        started_at,
        finished_at: job.clock.now(),
    };
    let problem = match &finding {
        Err(Error::Api(allai::Error::Unauthorized { .. })) => Some(JobProblem::KeyRefused),
        Err(Error::Api(allai::Error::Forbidden { .. })) => Some(JobProblem::Forbidden),
        _ => None,
    };
    let held_back = match &finding {
        Ok(finding) if finding.held_back || job.options.full => Some(finding.held_back),
        _ => None,
    };
    let (mut record, update, mut stops_account) = match finding {
        Ok(finding) => {
            let status = match finding.incomplete {
                None => RunStatus::Complete,
                Some(_) => RunStatus::Incomplete,
            };
            let record = record(status, finding.verified, finding.incomplete);
            (record, Some(finding.update), false)
        }
        Err(error) => {
            let status = match error {
                Error::Cancelled => RunStatus::Incomplete,
                Error::Api(_) | Error::Warehouse(_) | Error::Endless(_) => RunStatus::Failed,
            };
            let why = match &error {
                Error::Api(error) => explain(&job.account.name, error),
                Error::Warehouse(error) => locate(job.warehouse, error),
                Error::Endless(_) | Error::Cancelled => error.to_string(),
            };
            (record(status, false, Some(why)), None, error.stops_account())
        }
    };
    let finished = job.warehouse.finish_run(&record, update.as_ref()).await;
    let recorded = finished.is_ok();
    if let Err(error) = finished {
        record.status = RunStatus::Failed;
        record.error.get_or_insert_with(|| locate(job.warehouse, &error));
        stops_account = true;
    }
    log(&record);
    Outcome {
        record,
        stops_account,
        recorded,
        problem,
        held_back,
    }
}

/// Reads what the run is to read. Where the database was away for a while, the run goes on from its last checkpoint,
/// as the next run would.
async fn read(run: &Run<'_>, resource: Resource) -> Result<Finding, Error> {
    let mut outages = Outages::default();
    loop {
        let finding = match resource {
            Resource::Contacts => contacts::run(run).await,
            Resource::Conversations => conversations::run(run).await,
            Resource::Messages => messages::run(run).await,
            Resource::Analytics => analytics::run(run).await,
        };
        match finding {
            Err(Error::Warehouse(error)) => {
                let outlasted = run.job.warehouse.outlast(&error, &mut outages);
                if !run.unless_cancelled(outlasted).await? {
                    return Err(error.into());
                }
            }
            finding => return finding,
        }
    }
}

/// A warehouse error, with the place where that is not part of it.
fn locate(warehouse: &Warehouse, error: &warehouse::Error) -> String {
    match error {
        warehouse::Error::Database { .. } => format!("{error} (warehouse {})", warehouse.place()),
        _ => error.to_string(),
    }
}

/// What an API error means for an account, with what to do where that is not the error's own to say.
pub fn explain(account: &str, error: &allai::Error) -> String {
    let refuses_limit =
        matches!(error, allai::Error::BadRequest { message, .. } if message.to_lowercase().contains("limit"));
    if refuses_limit {
        format!("{error}; set a smaller accounts.{account}.page_size")
    } else if error.stops_account() {
        format!(
            "{error}; check accounts.{account}.api_key, or make a new key with read permission in the AllAI Dashboard, \
             Settings > API"
        )
    } else {
        error.to_string()
    }
}

fn log(run: &RunRecord) {
    match (&run.status, &run.error) {
        (RunStatus::Complete, _) => tracing::info!(
            sync.account = run.account, sync.resource = %run.resource, sync.verified = run.verified,
            sync.rows = run.rows_seen, sync.inserted = run.inserted, sync.updated = run.updated,
            sync.deleted = run.deleted, http.requests = run.requests, sync.seconds = run.seconds,
            "synced"
        ),
        (status, error) => tracing::error!(
            sync.account = run.account, sync.resource = %run.resource, sync.status = status.as_str(),
            "sync did not complete: {}", error.as_deref().unwrap_or("no reason given")
        ),
    }
}
