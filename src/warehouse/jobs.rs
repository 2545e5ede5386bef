//! Who does what when: one row of `jobs` for each account and resource, claimed by the program that syncs it.
//!
//! A claim is a lease: it must be renewed, else another program may take the job over. Leases are measured by Postgres's own
//! clock, since the clocks of several machines differ; programs that share a SQLite file share its machine's clock.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::query::QueryScalar;
use sqlx::{Database, PgConnection};

use super::error::{Doing as _, Error};
use super::statement::{Conn, Statement, in_time, on, reading};
use super::values::{Stamp, from_db, to_db};
use super::{Warehouse, runs};
use crate::allai::Resource;

/// How a job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobState {
    /// The account's name in the configuration.
    pub account: String,
    /// What is synced.
    pub resource: Resource,
    /// Since when there is such a job.
    pub created_at: DateTime<Utc>,
    /// Up to when every moment of the schedule has been seen to; `None`: the job never ran.
    pub served_at: Option<DateTime<Utc>>,
    /// Up to when every moment of the schedule of full sweeps has been seen to.
    pub full_served_at: Option<DateTime<Utc>>,
    /// Runs in a row that did not do their work.
    pub failures: u32,
    /// When the last of them ended.
    pub failed_at: Option<DateTime<Utc>>,
    /// Full runs in a row that did not do their work, whatever the others did meanwhile.
    pub full_failures: u32,
    /// When the last of them ended.
    pub full_failed_at: Option<DateTime<Utc>>,
    /// What its last run met that needs a person.
    pub problem: Option<JobProblem>,
    /// Whether its last full run found more rows gone from the API than may be marked as deleted without asking.
    pub held_back: bool,
    /// When somebody last asked for a run that need not be full, and that no run has seen to yet.
    pub requested_at: Option<DateTime<Utc>>,
    /// When somebody last asked for a full run that no run has seen to yet.
    pub requested_full_at: Option<DateTime<Utc>>,
    /// Who syncs it just now.
    pub held: Option<Holding>,
    /// Grows with every claim.
    pub fence: u64,
}

/// Why the API lets a job read nothing, which only a person can mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobProblem {
    /// The API refuses the key.
    KeyRefused,
    /// The API knows the key, and does not let it read this.
    Forbidden,
}

impl JobProblem {
    const ALL: [Self; 2] = [Self::KeyRefused, Self::Forbidden];

    const fn as_str(self) -> &'static str {
        match self {
            Self::KeyRefused => "key_refused",
            Self::Forbidden => "forbidden",
        }
    }
}

/// A claim that has not expired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holding {
    /// The program, e.g. `run@host:4711`.
    pub holder: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// Whether it reads everything.
    pub full: bool,
}

/// What a program claims.
#[derive(Clone, Debug)]
pub struct Claim<'a> {
    /// The account.
    pub account: &'a str,
    /// The resource.
    pub resource: Resource,
    /// Who claims it.
    pub holder: &'a str,
    /// For how long, unless renewed.
    pub lease: TimeDelta,
    /// The job's fence as the claimant knows it: if it has grown, somebody else was faster. `None`: whatever it is.
    pub fence: Option<u64>,
    /// Whether everything is to be read.
    pub full: bool,
    /// Whether the claim is refused while another program syncs an account with the same key.
    pub key_alone: bool,
    /// Holders that are known to be dead: what they hold is free.
    pub instead_of: &'a [String],
}

/// How a claimed job ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Release {
    /// The new [`JobState::served_at`]; `None` keeps it.
    pub served_at: Option<DateTime<Utc>>,
    /// The new [`JobState::full_served_at`]; `None` keeps it.
    pub full_served_at: Option<DateTime<Utc>>,
    /// Whether the run failed, just now.
    pub failed: bool,
    /// Whether it was a full one.
    pub full: bool,
    /// The [`JobState::requested_at`] that is seen to: not one that came later.
    pub request: Option<DateTime<Utc>>,
    /// The [`JobState::requested_full_at`] that is seen to.
    pub full_request: Option<DateTime<Utc>>,
    /// The new [`JobState::problem`], if the run came to an end.
    pub problem: Option<JobProblem>,
    /// The new [`JobState::held_back`]; `None` keeps it: that nothing is held back any more, only a full run knows.
    pub held_back: Option<bool>,
}

const ALL: Statement = Statement::shared(
    "SELECT account, resource, created_at, served_at, full_served_at, failures, failed_at, full_failures, full_failed_at, problem, held_back, requested_at, requested_full_at, holder, \
     fence, claimed_at, expires_at, running_full FROM jobs ORDER BY account, resource",
);
// Claims wait for each other, in Postgres too, but not for what the others of the key write just now.
const OF_KEY: Statement = Statement {
    sqlite: "SELECT account, resource, created_at, served_at, full_served_at, failures, failed_at, full_failures, full_failed_at, problem, held_back, requested_at, requested_full_at, \
             holder, fence, claimed_at, expires_at, running_full FROM jobs \
             WHERE key_group = (SELECT key_group FROM jobs WHERE account = $1 AND resource = $2) \
             ORDER BY account, resource",
    postgres: "SELECT account, resource, created_at, served_at, full_served_at, failures, failed_at, full_failures, full_failed_at, problem, held_back, requested_at, requested_full_at, \
               holder, fence, claimed_at, expires_at, running_full FROM jobs \
               WHERE key_group = (SELECT key_group FROM jobs WHERE account = $1 AND resource = $2) \
               ORDER BY account COLLATE \"C\", resource COLLATE \"C\" FOR NO KEY UPDATE",
};
// Whoever has lost the job and writes for it just now is waited for.
const WANTED: Statement =
    Statement::postgres_only("SELECT 1 FROM jobs WHERE account = $1 AND resource = $2 FOR UPDATE");
const KEYS: Statement = Statement::shared("SELECT account, resource, key_group FROM jobs");
const ADD: Statement = Statement::shared(
    "INSERT INTO jobs (account, resource, key_group, created_at, full_served_at) VALUES ($1, $2, $3, $4, $4) \
     ON CONFLICT (account, resource) DO UPDATE SET key_group = excluded.key_group \
     WHERE jobs.key_group <> excluded.key_group",
);
const CLAIM: Statement = Statement::shared(
    "UPDATE jobs SET holder = $3, fence = fence + 1, claimed_at = $4, expires_at = $5, running_full = $6 \
     WHERE account = $1 AND resource = $2",
);
const RENEW: Statement = Statement::shared(
    "UPDATE jobs SET expires_at = $5 WHERE account = $1 AND resource = $2 AND holder = $3 AND fence = $4",
);
const RELEASE: Statement = Statement::shared(
    "UPDATE jobs SET holder = NULL, claimed_at = NULL, expires_at = NULL, running_full = FALSE, \
     served_at = COALESCE($5, served_at), full_served_at = COALESCE($6, full_served_at), \
     failures = CASE WHEN $7 THEN failures + 1 WHEN $8 THEN 0 ELSE failures END, \
     failed_at = CASE WHEN $7 THEN $9 WHEN $8 THEN NULL ELSE failed_at END, \
     full_failures = CASE WHEN $7 AND $12 THEN full_failures + 1 WHEN $8 AND $12 THEN 0 ELSE full_failures END, \
     full_failed_at = CASE WHEN $7 AND $12 THEN $9 WHEN $8 AND $12 THEN NULL ELSE full_failed_at END, \
     problem = CASE WHEN $7 OR $8 THEN $11 ELSE problem END, \
     held_back = COALESCE($13, held_back), \
     requested_at = CASE WHEN requested_at = $10 THEN NULL ELSE requested_at END, \
     requested_full_at = CASE WHEN requested_full_at = $14 THEN NULL ELSE requested_full_at END \
     WHERE account = $1 AND resource = $2 AND holder = $3 AND fence = $4",
);
const REQUEST: Statement = Statement::shared(
    "UPDATE jobs SET requested_at = CASE WHEN $4 THEN requested_at ELSE $3 END, \
     requested_full_at = CASE WHEN $4 THEN $3 ELSE requested_full_at END WHERE account = $1 AND resource = $2",
);
// Nobody else can claim the job until what is written is committed; the claim can be renewed meanwhile. SQLite is asked as a
// transaction begins.
const IS_STILL_HELD: Statement = Statement::postgres_only(
    "SELECT 1 FROM jobs WHERE account = $1 AND resource = $2 AND holder = $3 AND fence = $4 FOR KEY SHARE",
);
const RETRY: Statement = Statement::shared(
    "UPDATE jobs SET failed_at = NULL, full_failed_at = NULL \
     WHERE account = $1 AND (failed_at IS NOT NULL OR full_failed_at IS NOT NULL)",
);
/// Postgres's clock.
const CLOCK: Statement = Statement::postgres_only("SELECT clock_timestamp()");

pub(super) const STATEMENTS: &[Statement] = &[
    ALL,
    OF_KEY,
    ADD,
    CLAIM,
    RENEW,
    RELEASE,
    REQUEST,
    IS_STILL_HELD,
    RETRY,
    CLOCK,
];

/// What a claim lets its holder write: nothing, once another program has claimed the job. One that stood still, and did not
/// notice, would put back what the other has brought up to date.
#[derive(Debug)]
pub(super) struct Fence {
    account: String,
    resource: Resource,
    holder: String,
    number: u64,
}

impl Fence {
    /// Fails unless the job is still this holder's; it stays so until the transaction of Postgres ends.
    pub(super) async fn check(&self, conn: &mut PgConnection) -> Result<(), Error> {
        let held = self.bind(sqlx::query_scalar::<_, i32>(IS_STILL_HELD.postgres));
        let held = in_time(held.fetch_optional(conn)).await;
        let held = held.doing("looking whether a job is still one's own")?;
        held.map(drop).ok_or(Error::TakenOver)
    }

    /// Binds what tells the claim: `$1` to `$4`.
    pub(super) fn bind<'q, D: Database, T>(
        &'q self,
        query: QueryScalar<'q, D, T, D::Arguments>,
    ) -> QueryScalar<'q, D, T, D::Arguments>
    where
        &'q str: sqlx::Encode<'q, D> + sqlx::Type<D>,
        i64: sqlx::Encode<'q, D> + sqlx::Type<D>,
    {
        query
            .bind(self.account.as_str())
            .bind(self.resource.as_str())
            .bind(self.holder.as_str())
            .bind(to_db(self.number))
    }
}

/// A row of `jobs`.
#[derive(sqlx::FromRow)]
struct Row {
    account: String,
    resource: String,
    created_at: DateTime<Utc>,
    served_at: Option<DateTime<Utc>>,
    full_served_at: Option<DateTime<Utc>>,
    failures: i64,
    failed_at: Option<DateTime<Utc>>,
    full_failures: i64,
    full_failed_at: Option<DateTime<Utc>>,
    problem: Option<String>,
    held_back: bool,
    requested_at: Option<DateTime<Utc>>,
    requested_full_at: Option<DateTime<Utc>>,
    holder: Option<String>,
    fence: i64,
    claimed_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    running_full: bool,
}

impl Row {
    /// `None` if it is of a resource that this program does not know.
    fn into_state(self, now: DateTime<Utc>) -> Option<JobState> {
        let held = match (self.holder, self.claimed_at, self.expires_at) {
            (Some(holder), Some(since), Some(expires_at)) if expires_at > now => Some(Holding {
                holder,
                since,
                full: self.running_full,
            }),
            _ => None,
        };
        Some(JobState {
            resource: runs::resource_named(&self.resource)?,
            account: self.account,
            created_at: self.created_at,
            served_at: self.served_at,
            full_served_at: self.full_served_at,
            failures: u32::try_from(self.failures).unwrap_or(0),
            failed_at: self.failed_at,
            full_failures: u32::try_from(self.full_failures).unwrap_or(0),
            full_failed_at: self.full_failed_at,
            problem: self
                .problem
                .and_then(|name| JobProblem::ALL.into_iter().find(|problem| problem.as_str() == name)),
            held_back: self.held_back,
            requested_at: self.requested_at,
            requested_full_at: self.requested_full_at,
            held,
            fence: from_db(self.fence),
        })
    }
}

impl Warehouse {
    /// The same warehouse for the work of a claimed job: it writes nothing once another program has claimed the job
    /// ([`Error::TakenOver`]).
    #[must_use]
    pub fn fenced(&self, job: &JobState, holder: &str) -> Self {
        let fence = Some(Arc::new(Fence {
            account: job.account.clone(),
            resource: job.resource,
            holder: holder.to_owned(),
            number: job.fence,
        }));
        let mut fenced = self.clone();
        match &mut fenced {
            Self::Sqlite(database) => database.fence = fence,
            Self::Postgres(database) => database.fence = fence,
        }
        fenced
    }

    /// Adds the jobs that are not there yet. `key_group` is the same for accounts that share an API key.
    pub async fn add_jobs(&self, jobs: &[(&str, Resource, &str)]) -> Result<(), Error> {
        let known: Vec<(String, String, String)> =
            reading!(self, pool, dialect => sqlx::query_as(KEYS.of(dialect)).fetch_all(pool).await)
                .doing("looking which jobs there are")?;
        let is_known = |(account, resource, key_group): &&(&str, Resource, &str)| {
            let its = |known: &(String, String, String)| {
                (known.0.as_str(), known.1.as_str(), known.2.as_str()) == (*account, resource.as_str(), *key_group)
            };
            known.iter().any(its)
        };
        let mut new: Vec<&(&str, Resource, &str)> = jobs.iter().filter(|job| !is_known(job)).collect();
        if new.is_empty() {
            return Ok(());
        }
        // In the order in which claims lock them.
        new.sort_by_key(|(account, resource, _)| (*account, resource.as_str()));
        let mut tx = self.begin("", &[]).await?;
        let conn = &mut tx.conn();
        let now = self.lease_clock(conn).await?;
        for (account, resource, key_group) in new {
            on!(conn, inner, dialect => sqlx::query(ADD.of(dialect))
                .bind(account)
                .bind(resource.as_str())
                .bind(key_group)
                .bind(Stamp(now))
                .execute(inner)
                .await
                .map(drop))
            .doing("adding a job")?;
        }
        tx.commit().await
    }

    /// How every job stands, by account and resource.
    pub async fn jobs(&self) -> Result<Vec<JobState>, Error> {
        Ok(self.jobs_now().await?.0)
    }

    /// How every job stands, and the time by the clock that all programs share.
    pub async fn jobs_now(&self) -> Result<(Vec<JobState>, DateTime<Utc>), Error> {
        let mut reader = self.reader().await?;
        let conn = &mut reader.conn();
        let now = self.lease_clock(conn).await?;
        let rows: Vec<Row> = on!(conn, inner, dialect => sqlx::query_as(ALL.of(dialect)).fetch_all(inner).await)
            .doing("reading the jobs")?;
        Ok((rows.into_iter().filter_map(|row| row.into_state(now)).collect(), now))
    }

    /// Lets what failed be tried again at once, rather than later and later.
    pub async fn retry_jobs(&self, accounts: &[&str]) -> Result<(), Error> {
        let mut tx = self.begin("", &[]).await?;
        let conn = &mut tx.conn();
        for account in accounts {
            on!(conn, inner, dialect => sqlx::query(RETRY.of(dialect)).bind(account).execute(inner).await.map(drop))
                .doing("noting that jobs may be tried again")?;
        }
        tx.commit().await
    }

    /// Claims a job; returns its state, with its new fence, if nobody else has it.
    pub async fn claim_job(&self, claim: &Claim<'_>) -> Result<Option<JobState>, Error> {
        let mut tx = self.begin(claim.account, &[]).await?;
        let conn = &mut tx.conn();
        let rows: Vec<Row> = on!(conn, inner, dialect => sqlx::query_as(OF_KEY.of(dialect))
            .bind(claim.account)
            .bind(claim.resource.as_str())
            .fetch_all(inner)
            .await)
        .doing("looking at a job")?;
        // Read after the rows are locked: waiting for the lock takes time.
        let now = self.lease_clock(conn).await?;
        let mut of_key: Vec<JobState> = rows.into_iter().filter_map(|row| row.into_state(now)).collect();
        let is_wanted = |job: &JobState| job.account == claim.account && job.resource == claim.resource;
        let Some(at) = of_key.iter().position(is_wanted) else {
            return Ok(None);
        };
        let is_alive = |held: &Holding| !claim.instead_of.contains(&held.holder);
        let is_taken = |job: &JobState| {
            job.held
                .as_ref()
                .is_some_and(|held| is_alive(held) && held.holder != claim.holder)
        };
        if of_key[at].held.as_ref().is_some_and(is_alive)
            || claim.fence.is_some_and(|fence| fence != of_key[at].fence)
            || (claim.key_alone && of_key.iter().any(is_taken))
        {
            return Ok(None);
        }
        if let Conn::Postgres(conn) = conn {
            let waiting = sqlx::query(WANTED.postgres)
                .bind(claim.account)
                .bind(claim.resource.as_str())
                .execute(&mut **conn);
            in_time(waiting).await.doing("waiting for who had a job")?;
        }
        let mut job = of_key.swap_remove(at);
        on!(conn, inner, dialect => sqlx::query(CLAIM.of(dialect))
            .bind(claim.account)
            .bind(claim.resource.as_str())
            .bind(claim.holder)
            .bind(Stamp(now))
            .bind(Stamp(now + claim.lease))
            .bind(claim.full)
            .execute(inner)
            .await
            .map(drop))
        .doing("claiming a job")?;
        tx.commit().await?;
        job.fence += 1;
        job.held = Some(Holding {
            holder: claim.holder.to_owned(),
            since: now,
            full: claim.full,
        });
        Ok(Some(job))
    }

    /// Renews the claim of `holder` to a job for `lease` from now. `false` if the job was taken over.
    pub async fn renew_claim(&self, job: &JobState, holder: &str, lease: TimeDelta) -> Result<bool, Error> {
        let mut tx = self.begin(&job.account, &[]).await?;
        let conn = &mut tx.conn();
        let now = self.lease_clock(conn).await?;
        let renewed = on!(conn, inner, dialect => sqlx::query(RENEW.of(dialect))
            .bind(&job.account)
            .bind(job.resource.as_str())
            .bind(holder)
            .bind(to_db(job.fence))
            .bind(Stamp(now + lease))
            .execute(inner)
            .await
            .map(|done| done.rows_affected()))
        .doing("renewing a claim")?;
        tx.commit().await?;
        Ok(renewed > 0)
    }

    /// Gives a job back. `false` if it was taken over in the meantime: then nothing is changed.
    pub async fn release_job(&self, job: &JobState, holder: &str, release: &Release) -> Result<bool, Error> {
        let mut tx = self.begin(&job.account, &[]).await?;
        let conn = &mut tx.conn();
        let now = self.lease_clock(conn).await?;
        let released = on!(conn, inner, dialect => sqlx::query(RELEASE.of(dialect))
            .bind(&job.account)
            .bind(job.resource.as_str())
            .bind(holder)
            .bind(to_db(job.fence))
            .bind(release.served_at.map(Stamp))
            .bind(release.full_served_at.map(Stamp))
            .bind(release.failed)
            .bind(release.served_at.is_some())
            .bind(Stamp(now))
            .bind(release.request.map(Stamp))
            .bind(release.problem.map(JobProblem::as_str))
            .bind(release.full)
            .bind(release.held_back)
            .bind(release.full_request.map(Stamp))
            .execute(inner)
            .await
            .map(|done| done.rows_affected()))
        .doing("giving a job back")?;
        tx.commit().await?;
        Ok(released > 0)
    }

    /// Asks for a run of a job, by whichever program keeps the schedules. `false` if there is no such job.
    pub async fn request_job(&self, account: &str, resource: Resource, full: bool) -> Result<bool, Error> {
        let mut tx = self.begin(account, &[]).await?;
        let now = self.now();
        let conn = &mut tx.conn();
        let asked = on!(conn, inner, dialect => sqlx::query(REQUEST.of(dialect))
            .bind(account)
            .bind(resource.as_str())
            .bind(Stamp(now))
            .bind(full)
            .execute(inner)
            .await
            .map(|done| done.rows_affected()))
        .doing("asking for a run")?;
        tx.commit().await?;
        Ok(asked > 0)
    }

    pub(super) async fn lease_clock(&self, conn: &mut Conn<'_>) -> Result<DateTime<Utc>, Error> {
        match conn {
            Conn::Sqlite(_) => Ok(self.now()),
            Conn::Postgres(conn) => in_time(sqlx::query_scalar(CLOCK.postgres).fetch_one(&mut **conn))
                .await
                .doing("reading the database's clock"),
        }
    }
}
