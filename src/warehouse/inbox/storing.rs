//! Events as they arrive.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::super::Warehouse;
use super::super::error::{Doing as _, Error};
use super::super::repeated::{MOST, Repeated, parameters};
use super::super::statement::{Conn, Statement, in_list, in_time, on};
use super::super::values::{List, Stamp};
use super::same::{Content, with_own_id};
use super::{Entity, EventStatus};

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

/// The columns of an event that arrives.
const COLUMNS: usize = 11;

fn store_many(rows: usize) -> String {
    format!(
        "INSERT INTO webhook_events (account, id, event, entity, occurred_at, received_at, body, status, last_error, due_at, \
         forwarded_at) VALUES {} ON CONFLICT (account, id) DO NOTHING",
        parameters(rows, COLUMNS)
    )
}

pub(in crate::warehouse) static STORE_MANY: Repeated = Repeated::new(store_many);
const STORE: Statement = Statement::postgres_only(
    "INSERT INTO webhook_events (account, id, event, entity, occurred_at, received_at, body, status, last_error, due_at, \
     forwarded_at) SELECT * FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::text[], \
     $8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[]) ON CONFLICT (account, id) DO NOTHING",
);

const BODIES: Statement = in_list!(
    "SELECT id, body FROM webhook_events WHERE account = $1 AND ",
    "id",
    "$2",
    ""
);
/// So many bodies are held in memory at a time.
const LOOKED_AT_ONCE: usize = 32;

pub(super) const STATEMENTS: &[Statement] = &[STORE, BODIES];

impl Warehouse {
    /// Stores events so that they outlast a power cut: when this returns, they are on the disk. Those that are there already
    /// are left as they are; one that is another than what is there under its id gets an id of its own. Says how many were
    /// new.
    pub async fn store_events(&self, events: &[NewEvent]) -> Result<u64, Error> {
        let mut tx = self.begin_durably().await?;
        let mut stored = store_in(&mut tx.conn(), events).await?;
        if stored < events.len() as u64 {
            for event in others_in(&mut tx.conn(), events).await? {
                let own = with_own_id(event);
                if store_in(&mut tx.conn(), std::slice::from_ref(&own)).await? > 0 {
                    stored += 1;
                    tracing::warn!(
                        webhook.account = event.account,
                        webhook.event = event.id,
                        "an event has the id of another and says something else: it is kept as {}",
                        own.id
                    );
                }
            }
        }
        tx.commit().await?;
        Ok(stored)
    }
}

async fn store_in(conn: &mut Conn<'_>, events: &[NewEvent]) -> Result<u64, Error> {
    match conn {
        Conn::Sqlite(conn) => store_in_sqlite(conn, events).await,
        Conn::Postgres(conn) => store_in_postgres(conn, events).await,
    }
}

/// Those that are other events than what is there under their ids.
async fn others_in<'e>(conn: &mut Conn<'_>, events: &'e [NewEvent]) -> Result<Vec<&'e NewEvent>, Error> {
    let mut others = Vec::new();
    for part in events.chunk_by(|one, next| one.account == next.account) {
        for part in part.chunks(LOOKED_AT_ONCE) {
            let ids: Vec<&str> = part.iter().map(|event| event.id.as_str()).collect();
            let kept: Vec<(String, String)> = on!(conn, inner, dialect => sqlx::query_as(BODIES.of(dialect))
                .bind(&part[0].account)
                .bind(List(&ids))
                .fetch_all(inner)
                .await)
            .doing("looking for events of the same id")?;
            let kept: HashMap<String, Content> = kept.into_iter().map(|(id, body)| (id, Content::of(&body))).collect();
            let is_other = |event: &&NewEvent| {
                kept.get(&event.id)
                    .is_some_and(|kept| *kept != Content::of(&event.body))
            };
            others.extend(part.iter().filter(is_other));
        }
    }
    Ok(others)
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
    let stored = in_time(storing).await.doing("storing events")?;
    Ok(stored.rows_affected())
}
