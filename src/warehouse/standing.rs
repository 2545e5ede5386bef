//! How every resource stands, in one cheap query: for metrics, which are asked for every few seconds.

use chrono::{DateTime, Utc};

use super::error::{Doing as _, Error};
use super::statement::{Statement, reading};
use super::values::from_db;
use super::{Warehouse, runs};
use crate::allai::Resource;

/// How a resource of an account stood at the end of its last run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The account's name in the configuration.
    pub account: String,
    /// The resource.
    pub resource: Resource,
    /// Live rows then.
    pub rows: u64,
    /// Rows in quarantine.
    pub quarantined: u64,
    /// When the last complete run ended.
    pub last_complete_at: Option<DateTime<Utc>>,
    /// When the last verified sweep ended.
    pub last_verified_at: Option<DateTime<Utc>>,
}

const ALL: Statement = Statement::shared(
    "SELECT s.account, s.resource, s.rows, \
     (SELECT count(*) FROM quarantine q WHERE q.account = s.account AND q.resource = s.resource) AS quarantined, \
     s.last_complete_at, s.last_verified_at FROM sync_state s ORDER BY s.account, s.resource",
);

pub(super) const STATEMENTS: &[Statement] = &[ALL];

impl Warehouse {
    /// How everything that was ever synced stands.
    pub async fn standings(&self) -> Result<Vec<Standing>, Error> {
        type Row = (String, String, i64, i64, Option<DateTime<Utc>>, Option<DateTime<Utc>>);
        let rows: Vec<Row> = reading!(self, pool, dialect => sqlx::query_as(ALL.of(dialect)).fetch_all(pool).await)
            .doing("reading how the resources stand")?;
        let standing = |(account, resource, rows, quarantined, last_complete_at, last_verified_at): Row| {
            Some(Standing {
                account,
                resource: runs::resource_named(&resource)?,
                rows: from_db(rows),
                quarantined: from_db(quarantined),
                last_complete_at,
                last_verified_at,
            })
        };
        Ok(rows.into_iter().filter_map(standing).collect())
    }
}
