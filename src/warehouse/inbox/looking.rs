//! Events as people look at them, until they are forgotten.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::super::Warehouse;
use super::super::error::{Doing as _, Error};
use super::super::statement::{Statement, on, reading};
use super::super::values::{Stamp, from_db};
use super::EventStatus;

/// At most so many events are forgotten at a time: nobody is to wait for that.
const FORGOTTEN_AT_ONCE: i64 = 5_000;

/// An event as people look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct EventRow {
    /// The account's name in the configuration.
    pub account: String,
    /// What makes it one event.
    pub id: String,
    /// Its type, if it says.
    pub event: Option<String>,
    /// What it is about.
    pub entity: Option<String>,
    /// When it happened, by its sender.
    pub occurred_at: Option<DateTime<Utc>>,
    /// When it arrived.
    pub received_at: DateTime<Utc>,
    /// `pending`, `processing`, `done` or `dead`.
    pub status: String,
    /// How often it was tried.
    pub attempts: i64,
    /// Why the last attempt failed, or what is to be said of it.
    pub last_error: Option<String>,
    /// When it was applied or given up.
    pub processed_at: Option<DateTime<Utc>>,
    /// When it is tried next.
    pub due_at: Option<DateTime<Utc>>,
}

/// How the events of an account stand, for people and metrics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InboxSummary {
    /// The account's name in the configuration.
    pub account: String,
    /// Events that wait or are being applied.
    pub waiting: u64,
    /// When the first of them arrived.
    pub oldest_waiting_at: Option<DateTime<Utc>>,
    /// Events that are not tried any more.
    pub dead: u64,
    /// When the last event arrived, whatever became of it.
    pub last_received_at: Option<DateTime<Utc>>,
}

/// How many events of an account are in a status.
#[derive(sqlx::FromRow)]
struct InboxDepth {
    status: String,
    events: i64,
    oldest: Option<DateTime<Utc>>,
}

const LIST: Statement = Statement::shared(
    "SELECT account, id, event, entity, occurred_at, received_at, status, attempts, last_error, processed_at, due_at \
     FROM webhook_events WHERE account = $1 AND status = $2 ORDER BY received_at DESC LIMIT $3",
);
const STATUS_OF: Statement = Statement::shared("SELECT status FROM webhook_events WHERE account = $1 AND id = $2");
const DEPTHS: Statement = Statement::shared(
    "SELECT status, count(*) AS events, min(received_at) AS oldest FROM webhook_events \
     WHERE account = $1 AND status IN ('pending', 'processing', 'dead') GROUP BY status",
);
const UNTOLD_CHANGES: Statement = Statement::shared(
    "SELECT count(*) FROM sync_runs WHERE account = $1 AND resource = 'messages' AND status <> 'failed' \
     AND inserted > 0 AND started_at > $2",
);
const LAST_RECEIVED: Statement = Statement::shared(
    "SELECT max(last) FROM (\
     SELECT max(received_at) AS last FROM webhook_events WHERE account = $1 AND status = 'done' \
     UNION ALL SELECT max(received_at) FROM webhook_events WHERE account = $1 AND status = 'pending' \
     UNION ALL SELECT max(received_at) FROM webhook_events WHERE account = $1 AND status = 'processing' \
     UNION ALL SELECT max(received_at) FROM webhook_events WHERE account = $1 AND status = 'dead') of_each",
);
// By the index, and then by when it was over; an event that was dead when it came has no other time than that.
const FORGET: Statement = Statement::shared(
    "DELETE FROM webhook_events WHERE account = $1 AND id IN (SELECT id FROM webhook_events \
     WHERE account = $1 AND status = $2 AND received_at < $3 AND COALESCE(processed_at, received_at) < $3 \
     AND (forwarded_at IS NOT NULL OR NOT $5) ORDER BY received_at LIMIT $4)",
);

pub(super) const STATEMENTS: &[Statement] = &[LIST, STATUS_OF, DEPTHS, UNTOLD_CHANGES, LAST_RECEIVED, FORGET];

impl Warehouse {
    /// The newest events of an account in a status.
    pub async fn events(&self, account: &str, status: EventStatus, most: u32) -> Result<Vec<EventRow>, Error> {
        reading!(self, pool, dialect => sqlx::query_as(LIST.of(dialect))
            .bind(account)
            .bind(status.as_str())
            .bind(i64::from(most))
            .fetch_all(pool)
            .await)
        .doing("listing events")
    }

    /// How an event stands; `None` if there is none of this id.
    pub async fn event_status(&self, account: &str, id: &str) -> Result<Option<EventStatus>, Error> {
        let row: Option<(String,)> = reading!(self, pool, dialect => sqlx::query_as(STATUS_OF.of(dialect))
            .bind(account)
            .bind(id)
            .fetch_optional(pool)
            .await)
        .doing("looking for an event")?;
        Ok(row.and_then(|(status,)| EventStatus::ALL.into_iter().find(|known| known.as_str() == status)))
    }

    /// How the events of these accounts stand; those that never had one are left out.
    pub async fn inbox_summaries<'a>(
        &self,
        accounts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<InboxSummary>, Error> {
        let mut summaries = Vec::new();
        for account in accounts {
            let last_received_at = self.last_event_received(account).await?;
            if last_received_at.is_none() {
                continue;
            }
            let depths: Vec<InboxDepth> =
                reading!(self, pool, dialect => sqlx::query_as(DEPTHS.of(dialect)).bind(account).fetch_all(pool).await)
                    .doing("counting events")?;
            let (dead, waiting): (Vec<InboxDepth>, Vec<InboxDepth>) = depths
                .into_iter()
                .partition(|depth| depth.status == EventStatus::Dead.as_str());
            let count = |depths: &[InboxDepth]| depths.iter().map(|depth| from_db(depth.events)).sum();
            summaries.push(InboxSummary {
                account: account.to_owned(),
                waiting: count(&waiting),
                oldest_waiting_at: waiting.iter().filter_map(|depth| depth.oldest).min(),
                dead: count(&dead),
                last_received_at,
            });
        }
        Ok(summaries)
    }

    /// How many runs that began after a time found messages that no event had told of.
    pub async fn untold_changes(&self, account: &str, after: DateTime<Utc>) -> Result<u64, Error> {
        let (runs,): (i64,) = reading!(self, pool, dialect => sqlx::query_as(UNTOLD_CHANGES.of(dialect))
            .bind(account)
            .bind(Stamp(after))
            .fetch_one(pool)
            .await)
        .doing("looking for what no event told of")?;
        Ok(from_db(runs))
    }

    /// When the last event of an account arrived.
    async fn last_event_received(&self, account: &str) -> Result<Option<DateTime<Utc>>, Error> {
        let (last,): (Option<DateTime<Utc>>,) =
            reading!(self, pool, dialect => sqlx::query_as(LAST_RECEIVED.of(dialect))
                .bind(account)
                .fetch_one(pool)
                .await)
            .doing("looking for the last event")?;
        Ok(last)
    }

    /// Forgets events in a status that were applied, or given up, before a time; if they `are_passed_on`, those alone that were.
    /// `false` if there are more.
    pub async fn forget_events(
        &self,
        account: &str,
        status: EventStatus,
        before: DateTime<Utc>,
        are_passed_on: bool,
    ) -> Result<bool, Error> {
        let mut tx = self.begin(account, &[]).await?;
        let conn = &mut tx.conn();
        let forgotten = on!(conn, inner, dialect => sqlx::query(FORGET.of(dialect))
            .bind(account)
            .bind(status.as_str())
            .bind(Stamp(before))
            .bind(FORGOTTEN_AT_ONCE)
            .bind(are_passed_on)
            .execute(inner)
            .await
            .map(|done| done.rows_affected()))
        .doing("forgetting old events")?;
        tx.commit().await?;
        Ok(i64::try_from(forgotten).is_ok_and(|forgotten| forgotten < FORGOTTEN_AT_ONCE))
    }
}
