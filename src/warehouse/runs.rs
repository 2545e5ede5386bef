//! The journal of runs: one row of `sync_runs` each.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::error::{Doing as _, Error};
use super::statement::{Statement, on, reading};
use super::values::{Stamp, from_db, to_db};
use super::{Outages, StateUpdate, Warehouse, state};
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

impl RunRecord {
    /// A run of which nothing is known but that it failed, and why.
    pub fn failed(
        account: &str,
        resource: Resource,
        trigger: &str,
        started_at: DateTime<Utc>,
        finished_at: DateTime<Utc>,
        why: &str,
    ) -> Self {
        Self {
            account: account.to_owned(),
            resource,
            status: RunStatus::Failed,
            verified: false,
            rows_seen: 0,
            inserted: 0,
            updated: 0,
            unchanged: 0,
            deleted: 0,
            restored: 0,
            quarantined: 0,
            requests: 0,
            retries: 0,
            rate_limited: 0,
            seconds: (finished_at - started_at).as_seconds_f64(),
            error: Some(why.to_owned()),
            trigger: trigger.to_owned(),
            started_at,
            finished_at,
        }
    }
}

const INSERT: Statement = Statement::shared(
    "INSERT INTO sync_runs (account, id, resource, status, verified, rows_seen, inserted, updated, unchanged, deleted, \
     restored, quarantined, requests, retries, rate_limited, seconds, error, trigger, started_at, finished_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) \
     ON CONFLICT (account, id) DO NOTHING",
);
const RECENT: Statement = Statement::shared(
    "SELECT account, resource, status, verified, rows_seen, inserted, updated, unchanged, deleted, restored, \
     quarantined, requests, retries, rate_limited, seconds, error, trigger, started_at, finished_at FROM sync_runs \
     WHERE account = $1 AND resource = $2 ORDER BY finished_at DESC, id DESC LIMIT $3",
);

macro_rules! recent_of_all {
    ($last:literal) => {
        // The names of the accounts are looked up one after the other: the journal grows for years.
        concat!(
            "WITH RECURSIVE accounts (account) AS (SELECT min(account) FROM sync_runs UNION ALL \
             SELECT (SELECT min(n.account) FROM sync_runs n WHERE n.account > a.account) FROM accounts a \
             WHERE a.account IS NOT NULL), \
             resources (resource) AS (VALUES ('contacts'), ('conversations'), ('messages'), ('analytics')) \
             SELECT r.account, r.resource, r.status, r.verified, r.rows_seen, r.inserted, r.updated, r.unchanged, \
             r.deleted, r.restored, r.quarantined, r.requests, r.retries, r.rate_limited, r.seconds, r.error, r.trigger, \
             r.started_at, r.finished_at FROM accounts a CROSS JOIN resources k CROSS JOIN ",
            $last,
            " ORDER BY r.finished_at DESC, r.id DESC"
        )
    };
}
pub(super) const RECENT_OF_ALL: Statement = Statement {
    sqlite: recent_of_all!(
        "sync_runs r WHERE r.rowid IN (SELECT l.rowid FROM sync_runs l WHERE l.account = a.account \
         AND l.resource = k.resource ORDER BY l.finished_at DESC, l.id DESC LIMIT $1)"
    ),
    postgres: recent_of_all!(
        "LATERAL (SELECT * FROM sync_runs l WHERE l.account = a.account AND l.resource = k.resource \
         ORDER BY l.finished_at DESC, l.id DESC LIMIT $1) r"
    ),
};

pub(super) const STATEMENTS: &[Statement] = &[INSERT, RECENT, RECENT_OF_ALL];

/// A row of `sync_runs`.
#[derive(sqlx::FromRow)]
struct Row {
    account: String,
    resource: String,
    status: String,
    verified: bool,
    rows_seen: i64,
    inserted: i64,
    updated: i64,
    unchanged: i64,
    deleted: i64,
    restored: i64,
    quarantined: i64,
    requests: i64,
    retries: i64,
    rate_limited: i64,
    seconds: f64,
    error: Option<String>,
    trigger: String,
    started_at: DateTime<Utc>,
    finished_at: DateTime<Utc>,
}

impl Row {
    /// `None` if the row is of a resource or a status this program does not know.
    fn into_record(self) -> Option<RunRecord> {
        Some(RunRecord {
            resource: resource_named(&self.resource)?,
            status: [RunStatus::Complete, RunStatus::Incomplete, RunStatus::Failed]
                .into_iter()
                .find(|status| status.as_str() == self.status)?,
            account: self.account,
            verified: self.verified,
            rows_seen: from_db(self.rows_seen),
            inserted: from_db(self.inserted),
            updated: from_db(self.updated),
            unchanged: from_db(self.unchanged),
            deleted: from_db(self.deleted),
            restored: from_db(self.restored),
            quarantined: from_db(self.quarantined),
            requests: from_db(self.requests),
            retries: from_db(self.retries),
            rate_limited: from_db(self.rate_limited),
            seconds: self.seconds,
            error: self.error,
            trigger: self.trigger,
            started_at: self.started_at,
            finished_at: self.finished_at,
        })
    }
}

pub(super) fn resource_named(name: &str) -> Option<Resource> {
    Resource::ALL.into_iter().find(|resource| resource.as_str() == name)
}

/// A time-ordered id: a version 7 UUID of this time.
pub(super) fn time_ordered_id(at: DateTime<Utc>) -> String {
    let seconds = u64::try_from(at.timestamp()).unwrap_or(0);
    let timestamp = uuid::Timestamp::from_unix(uuid::NoContext, seconds, at.timestamp_subsec_nanos());
    uuid::Uuid::new_v7(timestamp).to_string()
}

impl Warehouse {
    /// Writes the run into the journal and, in the same transaction, what it means for the resource's state. Lives
    /// through outages: the work of a run must not be lost for its last line.
    pub async fn finish_run(&self, run: &RunRecord, update: Option<&StateUpdate>) -> Result<(), Error> {
        // One id for all attempts: whether a commit took place whose answer was lost is not known.
        let id = time_ordered_id(run.finished_at);
        let mut outages = Outages::default();
        loop {
            match self.write_run(&id, run, update).await {
                Err(error) if self.outlast(&error, &mut outages).await => {}
                written => return written,
            }
        }
    }

    async fn write_run(&self, id: &str, run: &RunRecord, update: Option<&StateUpdate>) -> Result<(), Error> {
        // NUL, which Postgres cannot hold, could come with the words of a server.
        let error = run.error.as_ref().map(|error| error.replace('\0', "\u{2400}"));
        let mut tx = self.begin(&run.account, &[]).await?;
        let conn = &mut tx.conn();
        on!(conn, inner, dialect => sqlx::query(INSERT.of(dialect))
            .bind(&run.account)
            .bind(id)
            .bind(run.resource.as_str())
            .bind(run.status.as_str())
            .bind(run.verified)
            .bind(to_db(run.rows_seen))
            .bind(to_db(run.inserted))
            .bind(to_db(run.updated))
            .bind(to_db(run.unchanged))
            .bind(to_db(run.deleted))
            .bind(to_db(run.restored))
            .bind(to_db(run.quarantined))
            .bind(to_db(run.requests))
            .bind(to_db(run.retries))
            .bind(to_db(run.rate_limited))
            .bind(run.seconds)
            .bind(&error)
            .bind(&run.trigger)
            .bind(Stamp(run.started_at))
            .bind(Stamp(run.finished_at))
            .execute(inner)
            .await
            .map(drop))
        .doing("writing the run into the journal")?;
        if let Some(update) = update {
            state::apply(conn, &run.account, run.resource, update).await?;
        }
        tx.commit().await
    }

    /// The last `count` runs of a resource, newest first.
    pub async fn recent_runs(&self, account: &str, resource: Resource, count: u32) -> Result<Vec<RunRecord>, Error> {
        let rows: Vec<Row> = reading!(self, pool, dialect => sqlx::query_as(RECENT.of(dialect))
            .bind(account)
            .bind(resource.as_str())
            .bind(i64::from(count))
            .fetch_all(pool)
            .await)
        .doing("reading the journal")?;
        Ok(rows.into_iter().filter_map(Row::into_record).collect())
    }

    /// The last `count` runs of each resource of each account, newest first, in one query.
    pub(super) async fn recent_runs_of_all(&self, count: u32) -> Result<Vec<RunRecord>, Error> {
        let rows: Vec<Row> = reading!(self, pool, dialect => sqlx::query_as(RECENT_OF_ALL.of(dialect))
            .bind(i64::from(count))
            .fetch_all(pool)
            .await)
        .doing("reading the journal")?;
        Ok(rows.into_iter().filter_map(Row::into_record).collect())
    }
}
