//! How the runs of rules stand, for people and metrics.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::super::Warehouse;
use super::super::error::{Doing as _, Error};
use super::super::statement::{Statement, reading};
use super::super::values::from_db;

/// How the runs of an account's rules stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunsSummary {
    /// The account's name in the configuration.
    pub account: String,
    /// Runs that wait or are under way.
    pub waiting: u64,
    /// When the one that is due longest is, or was, due.
    pub next_due_at: Option<DateTime<Utc>>,
    /// Runs that ended at a step that failed.
    pub dead: u64,
    /// When the last run began.
    pub last_run_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Counted {
    waiting: i64,
    next_due_at: Option<DateTime<Utc>>,
    dead: i64,
    last_run_at: Option<DateTime<Utc>>,
}

const COUNT: Statement = Statement::shared(
    "SELECT (SELECT count(*) FROM automation_runs WHERE account = $1 AND finished_at IS NULL) AS waiting, \
     (SELECT min(due_at) FROM automation_runs WHERE account = $1 AND finished_at IS NULL) AS next_due_at, \
     (SELECT count(*) FROM automation_runs WHERE account = $1 AND status = 'dead') AS dead, \
     (SELECT max(created_at) FROM automation_runs WHERE account = $1) AS last_run_at",
);

pub(super) const STATEMENTS: &[Statement] = &[COUNT];

impl Warehouse {
    /// How the runs of these accounts' rules stand; those that never had one are left out.
    pub async fn runs_summaries<'a>(
        &self,
        accounts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<RunsSummary>, Error> {
        let mut summaries = Vec::new();
        for account in accounts {
            let counted: Counted =
                reading!(self, pool, dialect => sqlx::query_as(COUNT.of(dialect)).bind(account).fetch_one(pool).await)
                    .doing("counting the runs of rules")?;
            let Some(last_run_at) = counted.last_run_at else {
                continue;
            };
            summaries.push(RunsSummary {
                account: account.to_owned(),
                waiting: from_db(counted.waiting),
                next_due_at: counted.next_due_at,
                dead: from_db(counted.dead),
                last_run_at,
            });
        }
        Ok(summaries)
    }
}
