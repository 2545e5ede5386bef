//! Which daemons keep which jobs.
//!
//! Several with different configurations may share a warehouse, and each judges its own jobs alone. What becomes of a job that
//! is gone from a configuration depends on whether another one has it, which is why each says here what it keeps.

use chrono::TimeDelta;

use super::Warehouse;
use super::error::{Doing as _, Error};
use super::statement::{Statement, on, reading};
use super::values::Stamp;
use crate::allai::Resource;

/// A daemon that has not said for so long that it keeps a job keeps it no more.
const FORGOTTEN: TimeDelta = TimeDelta::hours(24);

/// A daemon, and where its configuration is.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Keeper {
    /// Its name, as in [`Holding::holder`](super::Holding::holder).
    pub keeper: String,
    /// The path of its configuration.
    pub source: String,
}

const KNOWN: Statement = Statement::shared("SELECT DISTINCT keeper, source FROM keepers ORDER BY keeper");
const KEPT: Statement = Statement::shared("SELECT DISTINCT account, resource FROM keepers WHERE seen_at > $1");
const FORGET: Statement = Statement::shared("DELETE FROM keepers WHERE keeper = $1");
const FORGET_OLD: Statement = Statement::shared("DELETE FROM keepers WHERE seen_at <= $1");
const KEEP: Statement =
    Statement::shared("INSERT INTO keepers (account, resource, keeper, source, seen_at) VALUES ($1, $2, $3, $4, $5)");

pub(super) const STATEMENTS: &[Statement] = &[KNOWN, KEPT, FORGET, FORGET_OLD, KEEP];

impl Warehouse {
    /// The daemons that keep jobs, or did until lately.
    pub async fn keepers(&self) -> Result<Vec<Keeper>, Error> {
        reading!(self, pool, dialect => sqlx::query_as(KNOWN.of(dialect)).fetch_all(pool).await)
            .doing("reading who keeps the jobs")
    }

    /// Notes that a daemon keeps these jobs and no others, for a day from now, and that those called `gone` keep none.
    pub async fn keep_jobs(&self, by: &Keeper, jobs: &[(&str, Resource)], gone: &[String]) -> Result<(), Error> {
        let mut tx = self.begin("", &[]).await?;
        let conn = &mut tx.conn();
        let now = self.lease_clock(conn).await?;
        on!(conn, inner, dialect => sqlx::query(FORGET_OLD.of(dialect))
            .bind(Stamp(now - FORGOTTEN))
            .execute(inner)
            .await
            .map(drop))
        .doing("forgetting who kept jobs long ago")?;
        for keeper in gone.iter().chain([&by.keeper]) {
            on!(conn, inner, dialect => sqlx::query(FORGET.of(dialect)).bind(keeper).execute(inner).await.map(drop))
                .doing("forgetting who kept jobs")?;
        }
        for (account, resource) in jobs {
            on!(conn, inner, dialect => sqlx::query(KEEP.of(dialect))
                .bind(account)
                .bind(resource.as_str())
                .bind(&by.keeper)
                .bind(&by.source)
                .bind(Stamp(now))
                .execute(inner)
                .await
                .map(drop))
            .doing("noting who keeps a job")?;
        }
        tx.commit().await
    }

    /// Account and resource of the jobs that some daemon keeps.
    pub(super) async fn kept_jobs(&self) -> Result<Vec<(String, String)>, Error> {
        let since = Stamp(self.now() - FORGOTTEN);
        reading!(self, pool, dialect => sqlx::query_as(KEPT.of(dialect)).bind(since).fetch_all(pool).await)
            .doing("reading which jobs are kept")
    }
}
