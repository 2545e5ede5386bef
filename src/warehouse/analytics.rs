//! The analytics reports, one capture a day and period.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::value::RawValue;
use sqlx::types::Json;

use super::Warehouse;
use super::error::{Doing as _, Error};
use super::quarantine::{self, Bad};
use super::statement::{Conn, Statement, on, reading};
use super::values::Stamp;
use crate::allai::Resource;
use crate::allai::model::{ContentHash, DailyReport, DayCount, Overview, Rejected, Satisfaction};

/// One of the three reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// `/analytics/overview`.
    Overview,
    /// `/analytics/conversations`, a row a day.
    Daily,
    /// `/analytics/satisfaction`.
    Satisfaction,
}

impl Report {
    /// All reports.
    pub const ALL: [Self; 3] = [Self::Overview, Self::Daily, Self::Satisfaction];

    /// The name kept in the warehouse.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Daily => "daily",
            Self::Satisfaction => "satisfaction",
        }
    }
}

/// What was fetched of the reports of one period on one day. A report that was not fetched is `None`; one that could
/// not be understood is the rejection.
#[derive(Clone, Debug)]
pub struct AnalyticsCapture<'a> {
    /// The period asked for, e.g. `30d`.
    pub period: &'a str,
    /// The day of the capture, UTC.
    pub captured_on: NaiveDate,
    /// The overview.
    pub overview: Option<Result<Overview, Rejected>>,
    /// The conversations a day.
    pub daily: Option<Result<DailyReport, Rejected>>,
    /// The satisfaction report.
    pub satisfaction: Option<Result<Satisfaction, Rejected>>,
}

/// What saving a capture did, in rows of the analytics tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnalyticsCounts {
    /// Rows given.
    pub rows_seen: u64,
    /// Rows that were new.
    pub inserted: u64,
    /// Rows that had changed.
    pub updated: u64,
    /// Rows found as they were.
    pub unchanged: u64,
    /// Reports and rows that went to quarantine.
    pub quarantined: u64,
}

const CAPTURED: Statement = Statement::shared(
    "SELECT count(*) FROM analytics_captures WHERE account = $1 AND report = $2 AND period = $3 AND captured_on = $4",
);
const MARK_CAPTURED: Statement = Statement::shared(
    "INSERT INTO analytics_captures (account, report, period, captured_on, extra) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT DO NOTHING",
);
const OVERVIEW_HASH: Statement = Statement::shared(
    "SELECT content_hash FROM analytics_overview WHERE account = $1 AND period = $2 AND captured_on = $3",
);
const PUT_OVERVIEW: Statement = Statement::shared(
    "INSERT INTO analytics_overview (account, period, captured_on, total_conversations, resolution_rate, \
     avg_response_time_ms, satisfaction_score, extra, content_hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
     ON CONFLICT (account, period, captured_on) DO UPDATE SET total_conversations = excluded.total_conversations, \
     resolution_rate = excluded.resolution_rate, avg_response_time_ms = excluded.avg_response_time_ms, \
     satisfaction_score = excluded.satisfaction_score, extra = excluded.extra, content_hash = excluded.content_hash",
);
const CLEAR_TOPICS: Statement =
    Statement::shared("DELETE FROM analytics_topics WHERE account = $1 AND period = $2 AND captured_on = $3");
const PUT_TOPIC: Statement = Statement::shared(
    "INSERT INTO analytics_topics (account, period, captured_on, topic, count) VALUES ($1, $2, $3, $4, $5)",
);
const CLEAR_CHANNELS: Statement =
    Statement::shared("DELETE FROM analytics_channels WHERE account = $1 AND period = $2 AND captured_on = $3");
const PUT_CHANNEL: Statement = Statement::shared(
    "INSERT INTO analytics_channels (account, period, captured_on, channel, count) VALUES ($1, $2, $3, $4, $5)",
);
const DAY_HASHES: Statement =
    Statement::shared("SELECT day, content_hash FROM analytics_daily WHERE account = $1 AND day >= $2 AND day <= $3");
const PUT_DAY: Statement = Statement::shared(
    "INSERT INTO analytics_daily (account, day, conversations, extra, content_hash, updated_at) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (account, day) DO UPDATE SET \
     conversations = excluded.conversations, extra = excluded.extra, content_hash = excluded.content_hash, \
     updated_at = excluded.updated_at",
);
const SATISFACTION_HASH: Statement = Statement::shared(
    "SELECT content_hash FROM analytics_satisfaction WHERE account = $1 AND period = $2 AND captured_on = $3",
);
const PUT_SATISFACTION: Statement = Statement::shared(
    "INSERT INTO analytics_satisfaction (account, period, captured_on, average_score, total_ratings, extra, \
     content_hash) VALUES ($1, $2, $3, $4, $5, $6, $7) \
     ON CONFLICT (account, period, captured_on) DO UPDATE SET average_score = excluded.average_score, \
     total_ratings = excluded.total_ratings, extra = excluded.extra, content_hash = excluded.content_hash",
);

pub(super) const STATEMENTS: &[Statement] = &[
    CAPTURED,
    MARK_CAPTURED,
    OVERVIEW_HASH,
    PUT_OVERVIEW,
    CLEAR_TOPICS,
    PUT_TOPIC,
    CLEAR_CHANNELS,
    PUT_CHANNEL,
    DAY_HASHES,
    PUT_DAY,
    SATISFACTION_HASH,
    PUT_SATISFACTION,
];

/// The account, period and day a report belongs to, which is its key.
#[derive(Clone, Copy)]
struct Key<'a> {
    account: &'a str,
    period: &'a str,
    captured_on: NaiveDate,
}

impl AnalyticsCounts {
    fn add(&mut self, known: Option<&str>, hash: ContentHash) -> bool {
        self.rows_seen += 1;
        match known {
            Some(known) if known == hash.to_string() => {
                self.unchanged += 1;
                return false;
            }
            Some(_) => self.updated += 1,
            None => self.inserted += 1,
        }
        true
    }
}

impl Warehouse {
    /// Whether a report of a period was captured on that day, understood or not.
    pub async fn analytics_captured(
        &self,
        account: &str,
        report: Report,
        period: &str,
        day: NaiveDate,
    ) -> Result<bool, Error> {
        let (count,): (i64,) = reading!(self, pool, dialect => sqlx::query_as(CAPTURED.of(dialect))
            .bind(account)
            .bind(report.as_str())
            .bind(period)
            .bind(day)
            .fetch_one(pool)
            .await)
        .doing("looking for a capture")?;
        Ok(count > 0)
    }

    /// Stores a capture in one transaction; rows that are there as they are, are not written. A report that was not
    /// understood, or that the database cannot hold, goes to quarantine and counts as captured.
    pub async fn save_analytics(
        &self,
        account: &str,
        capture: &AnalyticsCapture<'_>,
    ) -> Result<AnalyticsCounts, Error> {
        let key = Key {
            account,
            period: capture.period,
            captured_on: capture.captured_on,
        };
        let now = self.now();
        let mut counts = AnalyticsCounts::default();
        let mut bad: Vec<Rejected> = Vec::new();
        let mut tx = self.begin(account, &[Resource::Analytics]).await?;
        if let Some(report) = &capture.overview {
            match report {
                Ok(report) if cannot_hold(self, &report.raw) => bad.push(unstorable(&report.raw)),
                Ok(report) => save_overview(&mut tx.conn(), key, report, &mut counts).await?,
                Err(rejected) => bad.push(rejected.clone()),
            }
            mark_captured(&mut tx.conn(), key, Report::Overview, None).await?;
        }
        if let Some(report) = &capture.daily {
            let mut beside = None;
            match report {
                Ok(report) if cannot_hold(self, &report.raw) => bad.push(unstorable(&report.raw)),
                Ok(report) => {
                    save_days(&mut tx.conn(), account, now, &report.days, &mut counts).await?;
                    bad.extend(report.rejected.iter().cloned());
                    beside = report.extra.as_deref();
                }
                Err(rejected) => bad.push(rejected.clone()),
            }
            mark_captured(&mut tx.conn(), key, Report::Daily, beside).await?;
        }
        if let Some(report) = &capture.satisfaction {
            match report {
                Ok(report) if cannot_hold(self, &report.raw) => bad.push(unstorable(&report.raw)),
                Ok(report) => save_satisfaction(&mut tx.conn(), key, report, &mut counts).await?,
                Err(rejected) => bad.push(rejected.clone()),
            }
            mark_captured(&mut tx.conn(), key, Report::Satisfaction, None).await?;
        }
        counts.quarantined = bad.len() as u64;
        let bad: Vec<Bad> = bad.iter().map(|rejected| Bad::from_rejected(rejected, None)).collect();
        quarantine::hold(&mut tx.conn(), account, Resource::Analytics, now, &bad).await?;
        tx.commit().await?;
        Ok(counts)
    }
}

fn cannot_hold(warehouse: &Warehouse, raw: &RawValue) -> bool {
    matches!(warehouse, Warehouse::Postgres(_)) && !quarantine::fits_jsonb(raw.get())
}

fn unstorable(raw: &RawValue) -> Rejected {
    Rejected {
        id: None,
        reason: "PostgreSQL cannot hold it: the report contains NUL characters, half a surrogate pair, a number \
                 beyond all measure or too deep a nesting"
            .to_owned(),
        raw: raw.to_owned(),
    }
}

async fn mark_captured(
    conn: &mut Conn<'_>,
    key: Key<'_>,
    report: Report,
    beside: Option<&RawValue>,
) -> Result<(), Error> {
    let captured: (i64,) = on!(conn, inner, dialect => sqlx::query_as(CAPTURED.of(dialect))
        .bind(key.account)
        .bind(report.as_str())
        .bind(key.period)
        .bind(key.captured_on)
        .fetch_one(inner)
        .await)
    .doing("looking for a capture")?;
    if captured.0 > 0 {
        return Ok(());
    }
    on!(conn, inner, dialect => sqlx::query(MARK_CAPTURED.of(dialect))
        .bind(key.account)
        .bind(report.as_str())
        .bind(key.period)
        .bind(key.captured_on)
        .bind(beside.map(Json))
        .execute(inner)
        .await
        .map(drop))
    .doing("noting a capture")
}

/// The fingerprint of what is stored under a key.
async fn hash_of(conn: &mut Conn<'_>, statement: Statement, key: Key<'_>) -> Result<Option<String>, Error> {
    let row: Option<(String,)> = on!(conn, inner, dialect => sqlx::query_as(statement.of(dialect))
        .bind(key.account)
        .bind(key.period)
        .bind(key.captured_on)
        .fetch_optional(inner)
        .await)
    .doing("looking up a report")?;
    Ok(row.map(|(hash,)| hash))
}

async fn save_overview(
    conn: &mut Conn<'_>,
    key: Key<'_>,
    report: &Overview,
    counts: &mut AnalyticsCounts,
) -> Result<(), Error> {
    let known = hash_of(conn, OVERVIEW_HASH, key).await?;
    if !counts.add(known.as_deref(), report.content_hash) {
        return Ok(());
    }
    on!(conn, inner, dialect => sqlx::query(PUT_OVERVIEW.of(dialect))
        .bind(key.account)
        .bind(key.period)
        .bind(key.captured_on)
        .bind(report.total_conversations)
        .bind(report.resolution_rate)
        .bind(report.avg_response_time_ms)
        .bind(report.satisfaction_score)
        .bind(report.extra.as_deref().map(Json))
        .bind(report.content_hash.to_string())
        .execute(inner)
        .await
        .map(drop))
    .doing("writing the overview")?;
    put_tally(conn, key, CLEAR_TOPICS, PUT_TOPIC, &report.topics).await?;
    put_tally(conn, key, CLEAR_CHANNELS, PUT_CHANNEL, &report.channels).await
}

/// Replaces the counts of a capture, of which there are a handful.
async fn put_tally(
    conn: &mut Conn<'_>,
    key: Key<'_>,
    clear: Statement,
    put: Statement,
    tally: &[(String, i64)],
) -> Result<(), Error> {
    on!(conn, inner, dialect => sqlx::query(clear.of(dialect))
        .bind(key.account)
        .bind(key.period)
        .bind(key.captured_on)
        .execute(inner)
        .await
        .map(drop))
    .doing("replacing counts")?;
    for (name, count) in tally {
        on!(conn, inner, dialect => sqlx::query(put.of(dialect))
            .bind(key.account)
            .bind(key.period)
            .bind(key.captured_on)
            .bind(name)
            .bind(count)
            .execute(inner)
            .await
            .map(drop))
        .doing("writing counts")?;
    }
    Ok(())
}

async fn save_days(
    conn: &mut Conn<'_>,
    account: &str,
    now: DateTime<Utc>,
    days: &[DayCount],
    counts: &mut AnalyticsCounts,
) -> Result<(), Error> {
    let (Some(first), Some(last)) = (
        days.iter().map(|day| day.day).min(),
        days.iter().map(|day| day.day).max(),
    ) else {
        return Ok(());
    };
    let known: Vec<(NaiveDate, String)> = on!(conn, inner, dialect => sqlx::query_as(DAY_HASHES.of(dialect))
        .bind(account)
        .bind(first)
        .bind(last)
        .fetch_all(inner)
        .await)
    .doing("looking up days")?;
    let known: HashMap<_, _> = known.into_iter().collect();
    for day in days {
        if !counts.add(known.get(&day.day).map(String::as_str), day.content_hash) {
            continue;
        }
        on!(conn, inner, dialect => sqlx::query(PUT_DAY.of(dialect))
            .bind(account)
            .bind(day.day)
            .bind(day.conversations)
            .bind(day.extra.as_deref().map(Json))
            .bind(day.content_hash.to_string())
            .bind(Stamp(now))
            .execute(inner)
            .await
            .map(drop))
        .doing("writing a day")?;
    }
    Ok(())
}

async fn save_satisfaction(
    conn: &mut Conn<'_>,
    key: Key<'_>,
    report: &Satisfaction,
    counts: &mut AnalyticsCounts,
) -> Result<(), Error> {
    let known = hash_of(conn, SATISFACTION_HASH, key).await?;
    if !counts.add(known.as_deref(), report.content_hash) {
        return Ok(());
    }
    on!(conn, inner, dialect => sqlx::query(PUT_SATISFACTION.of(dialect))
        .bind(key.account)
        .bind(key.period)
        .bind(key.captured_on)
        .bind(report.average_score)
        .bind(report.total_ratings)
        .bind(report.extra.as_deref().map(Json))
        .bind(report.content_hash.to_string())
        .execute(inner)
        .await
        .map(drop))
    .doing("writing the satisfaction report")
}
