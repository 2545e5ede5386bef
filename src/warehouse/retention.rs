//! What is told of long ago is forgotten: runs, audits and incidents, never rows.

use chrono::{DateTime, Utc};

use super::Warehouse;
use super::error::{Doing as _, Error};
use super::statement::{Statement, on};
use super::values::Stamp;
use crate::allai::Resource;

/// At most so many runs are forgotten at a time: nobody is to wait for that.
const AT_ONCE: u64 = 1_000;

const RUNS: Statement = Statement::shared(
    "DELETE FROM sync_runs WHERE account = $1 AND id IN (SELECT id FROM sync_runs \
     WHERE account = $1 AND resource = $2 AND finished_at < $3 ORDER BY finished_at LIMIT $4)",
);
// The last audit is part of how the mirror stands, however old it is.
const AUDITS: Statement = Statement::shared(
    "DELETE FROM parity_audits WHERE account = $1 AND resource = $2 AND audited_at < $3 AND audited_at < \
     (SELECT max(audited_at) FROM parity_audits a WHERE a.account = $1 AND a.resource = $2)",
);
const INCIDENTS: Statement = Statement::shared(
    "DELETE FROM incidents WHERE account = $1 AND (resource = $2 OR resource = '') AND resolved_at < $3",
);

pub(super) const STATEMENTS: &[Statement] = &[RUNS, AUDITS, INCIDENTS];

impl Warehouse {
    /// Forgets the runs, audits and incidents of a resource that ended before a time. `false` if there are more.
    pub async fn forget_before(&self, account: &str, resource: Resource, before: DateTime<Utc>) -> Result<bool, Error> {
        let mut tx = self.begin(account, &[]).await?;
        let conn = &mut tx.conn();
        let forgotten = on!(conn, inner, dialect => sqlx::query(RUNS.of(dialect))
            .bind(account)
            .bind(resource.as_str())
            .bind(Stamp(before))
            .bind(i64::try_from(AT_ONCE).unwrap_or(i64::MAX))
            .execute(inner)
            .await
            .map(|done| done.rows_affected()))
        .doing("forgetting old runs")?;
        for statement in [AUDITS, INCIDENTS] {
            on!(conn, inner, dialect => sqlx::query(statement.of(dialect))
                .bind(account)
                .bind(resource.as_str())
                .bind(Stamp(before))
                .execute(inner)
                .await
                .map(drop))
            .doing("forgetting old audits and incidents")?;
        }
        tx.commit().await?;
        Ok(forgotten < AT_ONCE)
    }
}
