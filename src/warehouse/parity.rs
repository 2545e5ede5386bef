//! The journal of parity audits, and the figures they compare that only the warehouse has.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use super::Warehouse;
use super::error::{Doing as _, Error};
use super::runs::resource_named;
use super::statement::{Statement, on, reading};
use super::values::{Stamp, from_db, to_db};
use crate::allai::Resource;

/// How much an audit compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditScope {
    /// Some rows, picked at random.
    Sample,
    /// Every row.
    Full,
}

impl AuditScope {
    const ALL: [Self; 2] = [Self::Sample, Self::Full];

    /// The word kept in the warehouse and printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sample => "sample",
            Self::Full => "full",
        }
    }
}

/// What an audit found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditVerdict {
    /// What was compared is what the API has.
    Equal,
    /// It differs only by what changed at the API since the last proof; a sync brings it.
    Behind,
    /// The mirror holds something else than the API, and that is no news.
    Differs,
    /// Two of the API's own reports differ from each other, or may count otherwise: for information.
    Noted,
}

impl AuditVerdict {
    const ALL: [Self; 4] = [Self::Equal, Self::Behind, Self::Differs, Self::Noted];

    /// The word kept in the warehouse and printed.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Behind => "behind",
            Self::Differs => "differs",
            Self::Noted => "noted",
        }
    }
}

/// In which way a row differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DifferenceKind {
    /// The API has it, the mirror has not.
    Missing,
    /// The mirror has it, the API has not.
    Extra,
    /// The API has it, the mirror marks it as deleted.
    Deleted,
    /// Some of its columns are not what the API says.
    Columns,
    /// The number of rows, or a figure of a report.
    Count,
}

/// One row that differs: its id and the names of its columns, never a value of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// In which way.
    pub kind: DifferenceKind,
    /// The row's id; for a report its day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whose message it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<String>,
    /// The columns that differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// The API's count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<u64>,
    /// The mirror's count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<u64>,
}

/// One audit of one resource of one account: a row of `parity_audits`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ParityAudit {
    /// The account's name in the configuration.
    pub account: String,
    /// What was audited.
    pub resource: Resource,
    /// When.
    pub audited_at: DateTime<Utc>,
    /// What started it: `sync` after a verified sweep, `manual`, …
    pub trigger: String,
    /// How much was compared.
    pub scope: AuditScope,
    /// What was found.
    pub verdict: AuditVerdict,
    /// What the API changed later than this, by its own clock, need not be in the mirror yet.
    pub as_of: Option<DateTime<Utc>>,
    /// Rows the API states or returned; `None` if it states none. For messages: of the conversations compared.
    pub rows_api: Option<u64>,
    /// Live rows of the mirror. For messages: of the conversations compared.
    pub rows_mirror: u64,
    /// Rows compared column by column; of analytics, days.
    pub rows_compared: u64,
    /// Rows that differ.
    pub rows_differing: u64,
    /// Rows that differ by what is new at the API, or was gone from it while the list was changing.
    pub rows_pending: u64,
    /// Rows that exist, asked for by their ids, and that the API does not list.
    pub rows_unlisted: u64,
    /// The first rows that differ.
    pub differences: Vec<Difference>,
    /// Requests it took.
    pub requests: u64,
}

/// A day, as the API's report and the mirror count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayParity {
    /// The day, in UTC.
    pub day: NaiveDate,
    /// Conversations, says the API.
    pub api: u64,
    /// Conversations begun on that day that are live in the mirror.
    pub mirror: u64,
}

/// Audits kept of each resource.
const KEPT: i64 = 100;

macro_rules! columns {
    () => {
        "account, resource, audited_at, trigger, scope, verdict, as_of, rows_api, rows_mirror, rows_compared, \
         rows_differing, rows_pending, rows_unlisted, differences, requests"
    };
}

const SAVE: Statement = Statement::shared(concat!(
    "INSERT INTO parity_audits (",
    columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ",
    "ON CONFLICT (account, resource, audited_at) DO UPDATE SET trigger = excluded.trigger, scope = excluded.scope, ",
    "verdict = excluded.verdict, as_of = excluded.as_of, rows_api = excluded.rows_api, ",
    "rows_mirror = excluded.rows_mirror, rows_compared = excluded.rows_compared, ",
    "rows_differing = excluded.rows_differing, rows_pending = excluded.rows_pending, ",
    "rows_unlisted = excluded.rows_unlisted, differences = excluded.differences, requests = excluded.requests"
));
const TRIM: Statement = Statement::shared(
    "DELETE FROM parity_audits WHERE account = $1 AND resource = $2 AND audited_at < (\
     SELECT min(kept.audited_at) FROM (SELECT audited_at FROM parity_audits WHERE account = $1 AND resource = $2 \
     ORDER BY audited_at DESC LIMIT $3) AS kept)",
);
const LAST: Statement = Statement::shared(concat!(
    "SELECT ",
    columns!(),
    " FROM parity_audits WHERE account = $1 AND resource = $2 ORDER BY audited_at DESC LIMIT $3"
));
const LAST_OF_ALL: Statement = Statement::shared(concat!(
    "SELECT ",
    columns!(),
    " FROM parity_audits WHERE (account, resource, audited_at) IN ",
    "(SELECT account, resource, max(audited_at) FROM parity_audits GROUP BY account, resource)"
));
const PROVEN_FROM: Statement = Statement::shared(
    "SELECT coalesce(s.last_verified_at, (SELECT max(r.started_at) FROM sync_runs r WHERE r.account = s.account \
     AND r.resource = s.resource AND r.status = 'complete')) FROM sync_state s WHERE s.account = $1 AND s.resource = $2",
);
/// Only days that were over when they were captured, and when the conversations were last swept.
const DAYS: Statement = Statement::shared(
    "SELECT d.day, d.conversations, CAST(coalesce(v.conversations, 0) AS BIGINT) AS mirrored FROM analytics_daily d \
     LEFT JOIN (SELECT day, sum(conversations) AS conversations FROM conversations_per_day WHERE account = $1 \
     GROUP BY day) v ON v.day = d.day \
     WHERE d.account = $1 AND d.day < $2 AND d.day < (SELECT max(c.captured_on) FROM analytics_captures c \
     WHERE c.account = $1 AND c.report = 'daily') ORDER BY d.day",
);

pub(super) const STATEMENTS: &[Statement] = &[SAVE, TRIM, LAST, LAST_OF_ALL, PROVEN_FROM, DAYS];

#[derive(sqlx::FromRow)]
struct Row {
    account: String,
    resource: String,
    audited_at: DateTime<Utc>,
    trigger: String,
    scope: String,
    verdict: String,
    as_of: Option<DateTime<Utc>>,
    rows_api: Option<i64>,
    rows_mirror: i64,
    rows_compared: i64,
    rows_differing: i64,
    rows_pending: i64,
    rows_unlisted: i64,
    differences: Json<Vec<Difference>>,
    requests: i64,
}

impl Row {
    /// `None` if it uses words this program does not know.
    fn into_audit(self) -> Option<ParityAudit> {
        Some(ParityAudit {
            resource: resource_named(&self.resource)?,
            scope: AuditScope::ALL.into_iter().find(|scope| scope.as_str() == self.scope)?,
            verdict: AuditVerdict::ALL
                .into_iter()
                .find(|verdict| verdict.as_str() == self.verdict)?,
            account: self.account,
            audited_at: self.audited_at,
            trigger: self.trigger,
            as_of: self.as_of,
            rows_api: self.rows_api.map(from_db),
            rows_mirror: from_db(self.rows_mirror),
            rows_compared: from_db(self.rows_compared),
            rows_differing: from_db(self.rows_differing),
            rows_pending: from_db(self.rows_pending),
            rows_unlisted: from_db(self.rows_unlisted),
            differences: self.differences.0,
            requests: from_db(self.requests),
        })
    }
}

impl Warehouse {
    /// Writes an audit into its journal, which keeps the last hundred of each resource.
    pub async fn save_audit(&self, audit: &ParityAudit) -> Result<(), Error> {
        let mut tx = self.begin(&audit.account, &[]).await?;
        let conn = &mut tx.conn();
        on!(conn, inner, dialect => sqlx::query(SAVE.of(dialect))
            .bind(&audit.account)
            .bind(audit.resource.as_str())
            .bind(Stamp(audit.audited_at))
            .bind(&audit.trigger)
            .bind(audit.scope.as_str())
            .bind(audit.verdict.as_str())
            .bind(audit.as_of.map(Stamp))
            .bind(audit.rows_api.map(to_db))
            .bind(to_db(audit.rows_mirror))
            .bind(to_db(audit.rows_compared))
            .bind(to_db(audit.rows_differing))
            .bind(to_db(audit.rows_pending))
            .bind(to_db(audit.rows_unlisted))
            .bind(Json(&audit.differences))
            .bind(to_db(audit.requests))
            .execute(inner)
            .await
            .map(drop))
        .doing("writing an audit into the journal")?;
        on!(conn, inner, dialect => sqlx::query(TRIM.of(dialect))
            .bind(&audit.account)
            .bind(audit.resource.as_str())
            .bind(KEPT)
            .execute(inner)
            .await
            .map(drop))
        .doing("trimming the journal of audits")?;
        tx.commit().await
    }

    /// The last `count` audits of a resource, newest first.
    pub async fn recent_audits(
        &self,
        account: &str,
        resource: Resource,
        count: u32,
    ) -> Result<Vec<ParityAudit>, Error> {
        let rows: Vec<Row> = reading!(self, pool, dialect => sqlx::query_as(LAST.of(dialect))
            .bind(account)
            .bind(resource.as_str())
            .bind(i64::from(count))
            .fetch_all(pool)
            .await)
        .doing("reading the journal of audits")?;
        Ok(rows.into_iter().filter_map(Row::into_audit).collect())
    }

    /// The last audit of each resource of each account.
    pub(super) async fn last_audits(&self) -> Result<Vec<ParityAudit>, Error> {
        let rows: Vec<Row> =
            reading!(self, pool, dialect => sqlx::query_as(LAST_OF_ALL.of(dialect)).fetch_all(pool).await)
                .doing("reading the journal of audits")?;
        Ok(rows.into_iter().filter_map(Row::into_audit).collect())
    }

    /// Of when the last proof is, else when the last complete run began; by this machine's clock.
    pub async fn last_proof_began(&self, account: &str, resource: Resource) -> Result<Option<DateTime<Utc>>, Error> {
        let row: Option<(Option<DateTime<Utc>>,)> =
            reading!(self, pool, dialect => sqlx::query_as(PROVEN_FROM.of(dialect))
                .bind(account)
                .bind(resource.as_str())
                .fetch_optional(pool)
                .await)
            .doing("looking for the last proof")?;
        Ok(row.and_then(|(at,)| at))
    }

    /// Conversations a day, in the API's report and in the mirror: the days before `before` that were over when the
    /// report was last captured.
    pub async fn days_compared(&self, account: &str, before: NaiveDate) -> Result<Vec<DayParity>, Error> {
        let rows: Vec<(NaiveDate, i64, i64)> = reading!(self, pool, dialect => sqlx::query_as(DAYS.of(dialect))
            .bind(account)
            .bind(before)
            .fetch_all(pool)
            .await)
        .doing("comparing days")?;
        let days = rows.into_iter().map(|(day, api, mirror)| DayParity {
            day,
            api: from_db(api),
            mirror: from_db(mirror),
        });
        Ok(days.collect())
    }
}
