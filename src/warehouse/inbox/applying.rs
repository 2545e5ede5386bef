//! Events that are applied: who applies those of an account, which they are, and what became of them.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::super::automation::{Subject, Trigger, note_in};
use super::super::error::{Doing as _, Error};
use super::super::payloads::{Payload, storable, store_told_in};
use super::super::statement::{Statement, in_list, on, reading};
use super::super::values::{List, Stamp};
use super::super::{Tx, Warehouse};
use super::{Entity, EventStatus};

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
    /// How often it was tried, this time included if it [is due](Self::is_due).
    pub attempts: u32,
    /// How often a program ended while it was being applied, which most likely was not its fault.
    pub crashes: u32,
    /// When it is due, if it was claimed along with one that was due sooner.
    pub due_later: Option<DateTime<Utc>>,
}

impl ClaimedEvent {
    /// Whether it was due, rather than claimed along with one that was.
    pub const fn is_due(&self) -> bool {
        self.due_later.is_none()
    }
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

/// How long an event waits that was being applied when a program ended, for the eleventh time and later, the 21st, the 31st.
const CRASHED_WAITS: [TimeDelta; 3] = [TimeDelta::seconds(30), TimeDelta::minutes(10), TimeDelta::hours(1)];

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
// What coalesce is given for nothing tells PostgreSQL the type.
const RECOVER: Statement = Statement::shared(
    "UPDATE webhook_events SET status = 'pending', crashes = crashes + 1, \
     due_at = CASE WHEN crashes < 10 THEN $2 WHEN crashes < 20 THEN $3 WHEN crashes < 30 THEN $4 ELSE coalesce($5, due_at) END, \
     attempts = CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END WHERE account = $1 AND status = 'processing'",
);
// The condition of the partial index, as it is there, and then what is wanted. Bodies are held in memory: of what there is
// about one entity, and can be thousands or 8 MiB, the rest is claimed the next time. What is looked up in is read once, whatever
// PostgreSQL believes of a table whose statistics know of nothing that is open: hence arrays there.
macro_rules! claim {
    (sqlite, $which:expr) => {
        claim!("IN (", ")", concat!("entity NOT IN (SELECT value FROM json_each($3))", $which))
    };
    (postgres, $which:expr) => {
        claim!("= ANY (ARRAY(", "))", concat!("entity <> ALL($3)", $which))
    };
    ($in:expr, $end:expr, $which:expr) => {
        concat!(
            "UPDATE webhook_events SET status = 'processing', \
             attempts = attempts + CASE WHEN due_at <= $2 THEN 1 ELSE 0 END \
             WHERE account = $1 AND id ",
            $in,
            "SELECT id FROM (SELECT id, sum(length(body)) OVER (\
             ORDER BY CASE WHEN due_at <= $2 THEN 0 ELSE 1 END, received_at, id ROWS UNBOUNDED PRECEDING) - length(body) AS ahead \
             FROM (SELECT id, due_at, received_at, body FROM webhook_events \
             WHERE account = $1 AND status IN ('pending', 'processing') AND status = 'pending' AND entity ",
            $in,
            "SELECT entity FROM (SELECT entity FROM webhook_events WHERE account = $1 AND status = 'pending' \
             AND due_at <= $2 AND ",
            $which,
            " ORDER BY received_at LIMIT $4) due",
            $end,
            " ORDER BY CASE WHEN due_at <= $2 THEN 0 ELSE 1 END, received_at, id LIMIT 1000) open) sized WHERE ahead < 8388608",
            $end,
            " RETURNING id, event, entity, occurred_at, received_at, body, attempts, crashes, due_at"
        )
    };
}
const CLAIM: Statement = Statement {
    sqlite: claim!(sqlite, ""),
    postgres: claim!(postgres, ""),
};
// None of its events was tried before; by the partial index, again.
macro_rules! is_new {
    () => {
        " AND entity NOT IN (SELECT entity FROM webhook_events WHERE account = $1 \
         AND status IN ('pending', 'processing') AND status = 'pending' AND entity IS NOT NULL AND attempts > 0)"
    };
}
const CLAIM_NEW: Statement = Statement {
    sqlite: claim!(sqlite, is_new!()),
    postgres: claim!(postgres, is_new!()),
};
const CLAIM_ALONE: Statement = Statement {
    sqlite: claim!(sqlite, " AND entity LIKE 'event:%'"),
    postgres: claim!(postgres, " AND entity LIKE 'event:%'"),
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
    "UPDATE webhook_events SET status = 'pending', attempts = 0, crashes = 0, due_at = $2, last_error = NULL, \
     processed_at = NULL, forwarded_at = NULL WHERE account = $1 AND entity IS NOT NULL \
     AND (status IN ('dead', 'done') OR (status = 'pending' AND due_at > $2)) AND ",
    "id",
    "$3",
    ""
);
const REPLAY_DEAD: Statement = Statement::shared(
    "UPDATE webhook_events SET status = 'pending', attempts = 0, crashes = 0, due_at = $2, last_error = NULL, \
     processed_at = NULL, forwarded_at = NULL WHERE account = $1 AND entity IS NOT NULL AND status = 'dead'",
);
const UNFORWARDED: Statement = Statement::shared(
    "SELECT id, event, entity, occurred_at, received_at, body, attempts, crashes, due_at FROM (\
     SELECT *, sum(length(body)) OVER (ORDER BY processed_at, received_at, id ROWS UNBOUNDED PRECEDING) - length(body) AS ahead \
     FROM (SELECT * FROM webhook_events WHERE account = $1 AND status = 'done' AND forwarded_at IS NULL \
     ORDER BY processed_at, received_at, id LIMIT $2) done) sized WHERE ahead < 8388608 \
     ORDER BY processed_at, received_at, id",
);
const FORWARDED: Statement = in_list!(
    "UPDATE webhook_events SET forwarded_at = $2 WHERE account = $1 AND ",
    "id",
    "$3",
    ""
);

pub(super) const STATEMENTS: &[Statement] = &[
    LEASE,
    HOLDERS,
    UNLEASE,
    RECOVER,
    CLAIM,
    CLAIM_NEW,
    CLAIM_ALONE,
    STANDING,
    END,
    DEFER,
    REPLAY,
    REPLAY_DEAD,
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
            due_later: self.due_at.filter(|due_at| *due_at > now),
        };
        (entity, event)
    }
}

impl Warehouse {
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

    /// Makes the events due again that a program was applying when it died: at once, or later if that happened to them before, so
    /// that one that is the reason does not have programs end all the time, and none is held to be because of what kept
    /// happening for an hour. For whoever has just got the lease.
    pub async fn recover_events(&self, account: &str) -> Result<u64, Error> {
        let mut tx = self.begin(account, &[]).await?;
        let now = self.now();
        let conn = &mut tx.conn();
        let recovered = on!(conn, inner, dialect => sqlx::query(RECOVER.of(dialect))
            .bind(account)
            .bind(Stamp(now))
            .bind(Stamp(now + CRASHED_WAITS[0]))
            .bind(Stamp(now + CRASHED_WAITS[1]))
            .bind(Stamp(now + CRASHED_WAITS[2]))
            .execute(inner)
            .await
            .map(|done| done.rows_affected()))
        .doing("recovering events")?;
        tx.commit().await?;
        Ok(recovered)
    }

    /// Claims the open events, a thousand or 8 MiB of them at most, of up to `most` entities that have a due one, the longest
    /// waiting first, leaving out the entities that are `busy`.
    pub async fn claim_events(&self, account: &str, busy: &[Entity], most: u32) -> Result<Vec<ClaimedEntity>, Error> {
        self.claim_by(CLAIM, account, busy, most).await
    }

    /// The same, of entities none of whose events was tried before.
    pub async fn claim_new_events(
        &self,
        account: &str,
        busy: &[Entity],
        most: u32,
    ) -> Result<Vec<ClaimedEntity>, Error> {
        self.claim_by(CLAIM_NEW, account, busy, most).await
    }

    /// Claims due events, up to so many, that are about nothing that can be fetched, the longest waiting first.
    pub async fn claim_events_alone(&self, account: &str, most: u32) -> Result<Vec<ClaimedEntity>, Error> {
        self.claim_by(CLAIM_ALONE, account, &[], most).await
    }

    async fn claim_by(
        &self,
        statement: Statement,
        account: &str,
        busy: &[Entity],
        most: u32,
    ) -> Result<Vec<ClaimedEntity>, Error> {
        let busy: Vec<String> = busy.iter().map(Entity::to_column).collect();
        let mut tx = self.begin(account, &[]).await?;
        let now = self.now();
        let conn = &mut tx.conn();
        let rows: Vec<Claimed> = on!(conn, inner, dialect => sqlx::query_as(statement.of(dialect))
            .bind(account)
            .bind(Stamp(now))
            .bind(List(&busy))
            .bind(i64::from(most))
            .fetch_all(inner)
            .await)
        .doing("claiming events")?;
        tx.commit().await?;
        Ok(by_entity(rows, now))
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
        let is_noted = self.interests().within(account, Subject::Event).is_some();
        if is_noted {
            let done = endings.iter().filter(|ending| matches!(ending.ended, Ended::Done(_)));
            let triggers: Vec<Trigger> = done
                .flat_map(|ending| &ending.ids)
                .map(|id| Trigger::of_event(id, now))
                .collect();
            note_in(&mut tx.conn(), account, &triggers).await?;
        }
        tx.commit().await?;
        if is_noted {
            self.interests().tell();
        }
        Ok(())
    }

    /// Makes events due that are dead, done or to be tried again later, as if they had just come; without `ids`, all that are
    /// dead. Says how many.
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

/// The events of each entity, all in the order in which they arrived.
fn by_entity(mut rows: Vec<Claimed>, now: DateTime<Utc>) -> Vec<ClaimedEntity> {
    rows.sort_by(|a, b| (a.received_at, &a.id).cmp(&(b.received_at, &b.id)));
    let mut claimed: Vec<ClaimedEntity> = Vec::new();
    let mut places: HashMap<Entity, usize> = HashMap::new();
    for row in rows {
        let (entity, event) = row.into_event(now);
        if let Some(&place) = places.get(&entity) {
            claimed[place].events.push(event);
        } else {
            places.insert(entity.clone(), claimed.len());
            let events = vec![event];
            claimed.push(ClaimedEntity { entity, events });
        }
    }
    claimed
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
