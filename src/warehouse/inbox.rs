//! The inbox: webhook events from the moment they are ours until they are applied, and a while longer.
//!
//! An event is stored on disk before its sender is told so. One program at a time applies the events of an account: it holds
//! the lease in `inboxes`. It claims all open events of an entity together, because one fetch answers all of them.
//! `attempts` counts the claims of an event that was due, and `crashes` those that no program saw the end of: a machine that
//! loses power now and then costs an event nothing, and one that ends the program whenever it is applied ends as `dead`.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::error::{Doing as _, Error};
use super::payloads::{Payload, storable, store_told_in};
use super::repeated::{MOST, Repeated, parameters};
use super::statement::{Conn, Statement, in_list, on, reading};
use super::values::{List, Stamp, from_db};
use super::{Tx, Warehouse};

/// At most so many events are forgotten at a time: nobody is to wait for that.
const FORGOTTEN_AT_ONCE: i64 = 5_000;

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entity {
    /// A conversation, by its id.
    Conversation(String),
    /// A contact, by its id.
    Contact(String),
    /// Nothing that can be fetched: the event alone, by its key.
    Event(String),
}

impl Entity {
    /// As the column `entity` has it.
    pub fn to_column(&self) -> String {
        match self {
            Self::Conversation(id) => format!("conversation:{id}"),
            Self::Contact(id) => format!("contact:{id}"),
            Self::Event(key) => format!("event:{key}"),
        }
    }

    fn of_column(text: &str) -> Self {
        match text.split_once(':') {
            Some(("conversation", id)) => Self::Conversation(id.to_owned()),
            Some(("contact", id)) => Self::Contact(id.to_owned()),
            Some((_, key)) => Self::Event(key.to_owned()),
            None => Self::Event(text.to_owned()),
        }
    }
}

/// An event that has arrived. Its texts must be such as both databases can hold: no NUL, and keys of a few hundred bytes.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The account's name in the configuration.
    pub account: String,
    /// What makes it one event, however often it is sent.
    pub id: String,
    /// Its type, e.g. `lead.created`; `None` if it does not say.
    pub event: Option<String>,
    /// What it is about.
    pub entity: Entity,
    /// When it happened, by its sender.
    pub occurred_at: Option<DateTime<Utc>>,
    /// When it arrived.
    pub received_at: DateTime<Utc>,
    /// What was sent.
    pub body: String,
    /// Why nothing can be made of it; it is kept, and never tried.
    pub problem: Option<String>,
    /// Whether it is to be passed on once it is applied.
    pub passed_on: bool,
}

/// An event that is to be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedEvent {
    /// What makes it one event.
    pub id: String,
    /// Its type, if it says.
    pub event: Option<String>,
    /// When it happened, by its sender.
    pub occurred_at: Option<DateTime<Utc>>,
    /// When it arrived.
    pub received_at: DateTime<Utc>,
    /// What was sent.
    pub body: String,
    /// How often it was tried, this time included if it `is_due`.
    pub attempts: u32,
    /// How often a program ended while it was being applied, which most likely was not its fault.
    pub crashes: u32,
    /// Whether it was due, rather than claimed along with one that was.
    pub is_due: bool,
}

/// The open events of an entity, in the order in which they arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedEntity {
    /// What they are about.
    pub entity: Entity,
    /// The events; at least one.
    pub events: Vec<ClaimedEvent>,
}

/// What there is to do for an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InboxStanding {
    /// When the next pending event is due.
    pub next_due: Option<DateTime<Utc>>,
    /// Whether events are being applied, or were when a program died.
    pub is_at_work: bool,
}

/// How events stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventStatus {
    /// It waits.
    Pending,
    /// It is being applied.
    Processing,
    /// It was applied.
    Done,
    /// It is not tried any more.
    Dead,
}

impl EventStatus {
    /// All, in the order of an event's life.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Processing, Self::Done, Self::Dead];

    /// The word kept in the warehouse.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }
}

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

/// The columns of an event that arrives.
const COLUMNS: usize = 11;

fn store_many(rows: usize) -> String {
    format!(
        "INSERT INTO webhook_events (account, id, event, entity, occurred_at, received_at, body, status, last_error, due_at, \
         forwarded_at) VALUES {} ON CONFLICT (account, id) DO NOTHING",
        parameters(rows, COLUMNS)
    )
}

pub(super) static STORE_MANY: Repeated = Repeated::new(store_many);
const STORE: Statement = Statement::postgres_only(
    "INSERT INTO webhook_events (account, id, event, entity, occurred_at, received_at, body, status, last_error, due_at, \
     forwarded_at) SELECT * FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::text[], \
     $8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[]) ON CONFLICT (account, id) DO NOTHING",
);
const LEASE: Statement = in_list!(
    "INSERT INTO inboxes (account, holder, expires_at) VALUES ($1, $2, $4) \
     ON CONFLICT (account) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at \
     WHERE inboxes.holder = excluded.holder OR inboxes.expires_at < $3 OR ",
    "inboxes.holder",
    "$5",
    ""
);
const HOLDERS: Statement = Statement::shared("SELECT DISTINCT holder FROM inboxes");
const UNLEASE: Statement = Statement::shared("DELETE FROM inboxes WHERE account = $1 AND holder = $2");
const RECOVER: Statement = Statement::shared(
    "UPDATE webhook_events SET status = 'pending', due_at = $2, crashes = crashes + 1, \
     attempts = CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END WHERE account = $1 AND status = 'processing'",
);
// The condition of the partial index, as it is there, and then what is wanted.
macro_rules! claim {
    ($busy:literal) => {
        concat!(
            "UPDATE webhook_events SET status = 'processing', \
             attempts = attempts + CASE WHEN due_at <= $2 THEN 1 ELSE 0 END \
             WHERE account = $1 AND status IN ('pending', 'processing') AND status = 'pending' AND entity IN (\
             SELECT entity FROM (SELECT entity FROM webhook_events WHERE account = $1 AND status = 'pending' \
             AND due_at <= $2 AND ",
            $busy,
            " ORDER BY received_at LIMIT $4) due) \
             RETURNING id, event, entity, occurred_at, received_at, body, attempts, crashes, due_at"
        )
    };
}
const CLAIM: Statement = Statement {
    sqlite: claim!("entity NOT IN (SELECT value FROM json_each($3))"),
    postgres: claim!("entity <> ALL($3)"),
};
const STANDING: Statement = Statement::shared(
    "SELECT (SELECT min(due_at) FROM webhook_events WHERE account = $1 AND status = 'pending') AS next_due, \
     EXISTS (SELECT 1 FROM webhook_events WHERE account = $1 AND status = 'processing') AS is_at_work",
);
const END: Statement = in_list!(
    "UPDATE webhook_events SET status = $2, processed_at = $3, last_error = $4, due_at = NULL \
     WHERE account = $1 AND status = 'processing' AND ",
    "id",
    "$5",
    ""
);
const DEFER: Statement = in_list!(
    "UPDATE webhook_events SET status = 'pending', due_at = $2, last_error = $3, \
     attempts = CASE WHEN $4 THEN attempts ELSE CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END END \
     WHERE account = $1 AND status = 'processing' AND ",
    "id",
    "$5",
    ""
);
const REPLAY: Statement = in_list!(
    "UPDATE webhook_events SET status = 'pending', attempts = 0, due_at = $2, last_error = NULL, processed_at = NULL, \
     forwarded_at = NULL WHERE account = $1 AND entity IS NOT NULL AND status IN ('dead', 'done') AND ",
    "id",
    "$3",
    ""
);
const REPLAY_DEAD: Statement = Statement::shared(
    "UPDATE webhook_events SET status = 'pending', attempts = 0, due_at = $2, last_error = NULL, processed_at = NULL \
     WHERE account = $1 AND entity IS NOT NULL AND status = 'dead'",
);
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
const FORGET: Statement = Statement::shared(
    "DELETE FROM webhook_events WHERE account = $1 AND id IN (SELECT id FROM webhook_events \
     WHERE account = $1 AND status = $2 AND received_at < $3 ORDER BY received_at LIMIT $4)",
);
const UNFORWARDED: Statement = Statement::shared(
    "SELECT id, event, entity, occurred_at, received_at, body, attempts, crashes, due_at FROM webhook_events \
     WHERE account = $1 AND status = 'done' AND forwarded_at IS NULL \
     ORDER BY processed_at, received_at LIMIT $2",
);
const FORWARDED: Statement = in_list!(
    "UPDATE webhook_events SET forwarded_at = $2 WHERE account = $1 AND ",
    "id",
    "$3",
    ""
);

pub(super) const STATEMENTS: &[Statement] = &[
    STORE,
    LEASE,
    HOLDERS,
    UNLEASE,
    RECOVER,
    CLAIM,
    STANDING,
    END,
    DEFER,
    REPLAY,
    REPLAY_DEAD,
    LIST,
    STATUS_OF,
    DEPTHS,
    LAST_RECEIVED,
    UNTOLD_CHANGES,
    FORGET,
    UNFORWARDED,
    FORWARDED,
];

#[derive(sqlx::FromRow)]
struct Claimed {
    id: String,
    event: Option<String>,
    entity: String,
    occurred_at: Option<DateTime<Utc>>,
    received_at: DateTime<Utc>,
    body: String,
    attempts: i64,
    crashes: i64,
    due_at: Option<DateTime<Utc>>,
}

impl Claimed {
    fn into_event(self, now: DateTime<Utc>) -> (Entity, ClaimedEvent) {
        let entity = Entity::of_column(&self.entity);
        let event = ClaimedEvent {
            id: self.id,
            event: self.event,
            occurred_at: self.occurred_at,
            received_at: self.received_at,
            body: self.body,
            attempts: u32::try_from(self.attempts).unwrap_or(u32::MAX),
            crashes: u32::try_from(self.crashes).unwrap_or(u32::MAX),
            is_due: self.due_at.is_some_and(|due_at| due_at <= now),
        };
        (entity, event)
    }
}

/// How an attempt to apply events ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The events' keys.
    pub ids: Vec<String>,
    /// How it ended for them.
    pub ended: Ended,
}

/// How an attempt to apply an event ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// They are applied; perhaps there is something to say of it.
    Done(Option<String>),
    /// They are given up.
    Dead(String),
    /// They are tried again later.
    Later {
        /// When.
        due_at: DateTime<Utc>,
        /// Why they were not applied.
        problem: String,
        /// Whether that counts as one of the attempts that an event has.
        counts: bool,
    },
}

impl Warehouse {
    /// Stores events so that they outlast a power cut: when this returns, they are on the disk. Those that are there already
    /// are left as they are. Says how many were new.
    pub async fn store_events(&self, events: &[NewEvent]) -> Result<u64, Error> {
        let mut tx = self.begin_durably().await?;
        let stored = match &mut tx.conn() {
            Conn::Sqlite(conn) => store_in_sqlite(conn, events).await?,
            Conn::Postgres(conn) => store_in_postgres(conn, events).await?,
        };
        tx.commit().await?;
        Ok(stored)
    }

    /// Takes or renews the lease of an account's events, for `lease` from now. `false` if another program has it, that is
    /// not among `instead_of`.
    pub async fn lease_inbox(
        &self,
        account: &str,
        holder: &str,
        lease: TimeDelta,
        instead_of: &[String],
    ) -> Result<bool, Error> {
        let mut tx = self.begin(account, &[]).await?;
        let conn = &mut tx.conn();
        let now = self.lease_clock(conn).await?;
        let leased = on!(conn, inner, dialect => sqlx::query(LEASE.of(dialect))
            .bind(account)
            .bind(holder)
            .bind(Stamp(now))
            .bind(Stamp(now + lease))
            .bind(List(instead_of))
            .execute(inner)
            .await
            .map(|done| done.rows_affected()))
        .doing("leasing the inbox")?;
        tx.commit().await?;
        Ok(leased > 0)
    }

    /// The programs that hold or held the inbox of an account.
    pub async fn inbox_holders(&self) -> Result<Vec<String>, Error> {
        let rows: Vec<(String,)> =
            reading!(self, pool, dialect => sqlx::query_as(HOLDERS.of(dialect)).fetch_all(pool).await)
                .doing("reading who applies events")?;
        Ok(rows.into_iter().map(|(holder,)| holder).collect())
    }

    /// Gives the lease of an account's events back.
    pub async fn release_inbox(&self, account: &str, holder: &str) -> Result<(), Error> {
        let mut tx = self.begin(account, &[]).await?;
        let conn = &mut tx.conn();
        on!(conn, inner, dialect => sqlx::query(UNLEASE.of(dialect))
            .bind(account)
            .bind(holder)
            .execute(inner)
            .await
            .map(drop))
        .doing("giving the inbox back")?;
        tx.commit().await
    }

    /// Makes the events due again that a program was applying when it died. For whoever has just got the lease.
    pub async fn recover_events(&self, account: &str) -> Result<u64, Error> {
        let mut tx = self.begin(account, &[]).await?;
        let now = self.now();
        let conn = &mut tx.conn();
        let recovered = on!(conn, inner, dialect => sqlx::query(RECOVER.of(dialect))
            .bind(account)
            .bind(Stamp(now))
            .execute(inner)
            .await
            .map(|done| done.rows_affected()))
        .doing("recovering events")?;
        tx.commit().await?;
        Ok(recovered)
    }

    /// Claims the open events of up to `most` entities that have a due one, the longest waiting first, leaving out the
    /// entities that are `busy`.
    pub async fn claim_events(&self, account: &str, busy: &[Entity], most: u32) -> Result<Vec<ClaimedEntity>, Error> {
        let busy: Vec<String> = busy.iter().map(Entity::to_column).collect();
        let mut tx = self.begin(account, &[]).await?;
        let now = self.now();
        let conn = &mut tx.conn();
        let mut rows: Vec<Claimed> = on!(conn, inner, dialect => sqlx::query_as(CLAIM.of(dialect))
            .bind(account)
            .bind(Stamp(now))
            .bind(List(&busy))
            .bind(i64::from(most))
            .fetch_all(inner)
            .await)
        .doing("claiming events")?;
        tx.commit().await?;
        rows.sort_by(|a, b| (a.received_at, &a.id).cmp(&(b.received_at, &b.id)));
        let mut claimed: Vec<ClaimedEntity> = Vec::new();
        for row in rows {
            let (entity, event) = row.into_event(now);
            match claimed.iter_mut().find(|known| known.entity == entity) {
                Some(known) => known.events.push(event),
                None => claimed.push(ClaimedEntity {
                    entity,
                    events: vec![event],
                }),
            }
        }
        Ok(claimed)
    }

    /// What there is to do for an account.
    pub async fn inbox_standing(&self, account: &str) -> Result<InboxStanding, Error> {
        let (next_due, is_at_work): (Option<DateTime<Utc>>, bool) =
            reading!(self, pool, dialect => sqlx::query_as(STANDING.of(dialect))
                .bind(account)
                .fetch_one(pool)
                .await)
            .doing("looking for due events")?;
        Ok(InboxStanding { next_due, is_at_work })
    }

    /// Notes how the attempt to apply claimed events ended, and what they tell, in one transaction.
    pub async fn end_events(&self, account: &str, endings: &[Ending], told: &[Payload]) -> Result<(), Error> {
        let mut tx = self.begin(account, &[]).await?;
        let now = self.now();
        for told in told {
            store_told_in(&mut tx, account, told).await?;
        }
        for ending in endings {
            end_events_in(&mut tx, account, ending, now).await?;
        }
        tx.commit().await
    }

    /// Makes events that are dead or done due again, as if they had just come; without `ids`, all that are dead. Says how
    /// many.
    pub async fn replay_events(&self, account: &str, ids: Option<&[String]>) -> Result<u64, Error> {
        let mut tx = self.begin(account, &[]).await?;
        let now = self.now();
        let conn = &mut tx.conn();
        let statement = if ids.is_some() { REPLAY } else { REPLAY_DEAD };
        let replayed = on!(conn, inner, dialect => {
            let query = sqlx::query(statement.of(dialect)).bind(account).bind(Stamp(now));
            let query = match ids {
                Some(ids) => query.bind(List(ids)),
                None => query,
            };
            query.execute(inner).await.map(|done| done.rows_affected())
        })
        .doing("replaying events")?;
        tx.commit().await?;
        Ok(replayed)
    }

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

    /// Forgets events in a status that arrived before a time. `false` if there are more.
    pub async fn forget_events(
        &self,
        account: &str,
        status: EventStatus,
        before: DateTime<Utc>,
    ) -> Result<bool, Error> {
        let mut tx = self.begin(account, &[]).await?;
        let conn = &mut tx.conn();
        let forgotten = on!(conn, inner, dialect => sqlx::query(FORGET.of(dialect))
            .bind(account)
            .bind(status.as_str())
            .bind(Stamp(before))
            .bind(FORGOTTEN_AT_ONCE)
            .execute(inner)
            .await
            .map(|done| done.rows_affected()))
        .doing("forgetting old events")?;
        tx.commit().await?;
        Ok(i64::try_from(forgotten).is_ok_and(|forgotten| forgotten < FORGOTTEN_AT_ONCE))
    }

    /// Events that are to be passed on, the first applied first.
    pub async fn unforwarded_events(&self, account: &str, most: u32) -> Result<Vec<(Entity, ClaimedEvent)>, Error> {
        let rows: Vec<Claimed> = reading!(self, pool, dialect => sqlx::query_as(UNFORWARDED.of(dialect))
            .bind(account)
            .bind(i64::from(most))
            .fetch_all(pool)
            .await)
        .doing("looking for events to pass on")?;
        let now = self.now();
        Ok(rows.into_iter().map(|row| row.into_event(now)).collect())
    }

    /// Notes that events were passed on.
    pub async fn events_forwarded(&self, account: &str, ids: &[String]) -> Result<(), Error> {
        let mut tx = self.begin(account, &[]).await?;
        let now = self.now();
        let conn = &mut tx.conn();
        on!(conn, inner, dialect => sqlx::query(FORWARDED.of(dialect))
            .bind(account)
            .bind(Stamp(now))
            .bind(List(ids))
            .execute(inner)
            .await
            .map(drop))
        .doing("noting what was passed on")?;
        tx.commit().await
    }
}

/// Notes, as part of a transaction, how the attempt to apply claimed events ended.
async fn end_events_in(tx: &mut Tx, account: &str, ending: &Ending, now: DateTime<Utc>) -> Result<(), Error> {
    let conn = &mut tx.conn();
    let Ending { ids, ended } = ending;
    match ended {
        Ended::Later {
            due_at,
            problem,
            counts,
        } => on!(conn, inner, dialect => sqlx::query(DEFER.of(dialect))
            .bind(account)
            .bind(Stamp(*due_at))
            .bind(storable(problem))
            .bind(*counts)
            .bind(List(ids))
            .execute(inner)
            .await
            .map(drop)),
        Ended::Done(_) | Ended::Dead(_) => {
            let (status, said) = match ended {
                Ended::Dead(problem) => (EventStatus::Dead, Some(problem.as_str())),
                Ended::Done(note) => (EventStatus::Done, note.as_deref()),
                Ended::Later { .. } => (EventStatus::Pending, None),
            };
            on!(conn, inner, dialect => sqlx::query(END.of(dialect))
                .bind(account)
                .bind(status.as_str())
                .bind(Stamp(now))
                .bind(said.map(storable))
                .bind(List(ids))
                .execute(inner)
                .await
                .map(drop))
        }
    }
    .doing("noting how events were applied")
}

/// The status and when it is due, of an event that arrives.
fn standing(event: &NewEvent) -> (&'static str, Option<Stamp>) {
    if event.problem.is_some() {
        (EventStatus::Dead.as_str(), None)
    } else {
        (EventStatus::Pending.as_str(), Some(Stamp(event.received_at)))
    }
}

/// What need not be passed on counts as passed on when it arrives.
fn not_passed_on(event: &NewEvent) -> Option<DateTime<Utc>> {
    (!event.passed_on).then_some(event.received_at)
}

async fn store_in_sqlite(conn: &mut sqlx::SqliteConnection, events: &[NewEvent]) -> Result<u64, Error> {
    let mut stored = 0;
    for part in events.chunks(MOST) {
        let mut rest = part;
        while !rest.is_empty() {
            let (size, text) = STORE_MANY.at_most(rest.len());
            let (these, after) = rest.split_at(size);
            let mut query = sqlx::query(text);
            for event in these {
                let (status, due_at) = standing(event);
                query = query
                    .bind(&event.account)
                    .bind(&event.id)
                    .bind(&event.event)
                    .bind(event.entity.to_column())
                    .bind(event.occurred_at.map(Stamp))
                    .bind(Stamp(event.received_at))
                    .bind(&event.body)
                    .bind(status)
                    .bind(&event.problem)
                    .bind(due_at)
                    .bind(not_passed_on(event).map(Stamp));
            }
            stored += query.execute(&mut *conn).await.doing("storing events")?.rows_affected();
            rest = after;
        }
    }
    Ok(stored)
}

async fn store_in_postgres(conn: &mut sqlx::PgConnection, events: &[NewEvent]) -> Result<u64, Error> {
    let each = |text: fn(&NewEvent) -> &str| events.iter().map(text).collect::<Vec<_>>();
    let (accounts, ids, bodies) = (
        each(|event| &event.account),
        each(|event| &event.id),
        each(|event| &event.body),
    );
    let names: Vec<Option<&str>> = events.iter().map(|event| event.event.as_deref()).collect();
    let entities: Vec<String> = events.iter().map(|event| event.entity.to_column()).collect();
    let occurred: Vec<Option<DateTime<Utc>>> = events.iter().map(|event| event.occurred_at).collect();
    let received: Vec<DateTime<Utc>> = events.iter().map(|event| event.received_at).collect();
    let statuses: Vec<&str> = events.iter().map(|event| standing(event).0).collect();
    let problems: Vec<Option<&str>> = events.iter().map(|event| event.problem.as_deref()).collect();
    let due: Vec<Option<DateTime<Utc>>> = events
        .iter()
        .map(|event| standing(event).1.map(|Stamp(due_at)| due_at))
        .collect();
    let storing = sqlx::query(STORE.postgres)
        .bind(accounts)
        .bind(ids)
        .bind(names)
        .bind(entities)
        .bind(occurred)
        .bind(received)
        .bind(bodies)
        .bind(statuses)
        .bind(problems)
        .bind(due)
        .bind(events.iter().map(not_passed_on).collect::<Vec<_>>())
        .execute(conn);
    let stored = super::statement::in_time(storing).await.doing("storing events")?;
    Ok(stored.rows_affected())
}
