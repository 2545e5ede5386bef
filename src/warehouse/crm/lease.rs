//! Who syncs the contacts of an account with a CRM just now, and how far its changes are read.

use chrono::{DateTime, TimeDelta, Utc};

use super::super::Warehouse;
use super::super::error::{Doing as _, Error};
use super::super::statement::{Statement, Tx, on, reading};
use super::super::values::Stamp;

/// How long a program that gives no sign of life is waited for.
const LEASE: TimeDelta = TimeDelta::minutes(5);

/// Between which systems contacts go: an account, and a kind of record of a connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// The account's name in the configuration.
    pub account: String,
    /// The connector's name in the configuration.
    pub connector: String,
    /// `contact` or `lead`.
    pub entity: String,
}

/// How a bridge stands.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct BridgeState {
    /// Up to where the CRM's changes are read.
    pub cursor: Option<String>,
    /// When its first run began.
    pub begun_at: Option<DateTime<Utc>>,
    /// Who is at it.
    pub holder: Option<String>,
    /// Until when, unless it says more.
    pub expires_at: Option<DateTime<Utc>>,
    /// When the last run ended, however it did.
    pub finished_at: Option<DateTime<Utc>>,
    /// When the last run ended that left nothing undone.
    pub complete_at: Option<DateTime<Utc>>,
    /// What the last run did, a JSON object.
    pub report: Option<String>,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is this program's; how it stood.
    Yes(BridgeState),
    /// Somebody else has it.
    By(String),
}

const STATE: Statement = Statement::shared(
    "SELECT cursor, begun_at, holder, expires_at, finished_at, complete_at, report FROM crm_syncs \
     WHERE account = $1 AND connector = $2 AND entity = $3",
);
const ADD: Statement =
    Statement::shared("INSERT INTO crm_syncs (account, connector, entity) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING");
const CLAIM: Statement = Statement::shared(
    "UPDATE crm_syncs SET holder = $4, expires_at = $5 WHERE account = $1 AND connector = $2 AND entity = $3 \
     AND (holder IS NULL OR expires_at <= $6 OR holder = $7)",
);
const PROLONG: Statement = Statement::shared(
    "UPDATE crm_syncs SET expires_at = $5 WHERE account = $1 AND connector = $2 AND entity = $3 AND holder = $4",
);
const SAVE_CURSOR: Statement =
    Statement::shared("UPDATE crm_syncs SET cursor = $4 WHERE account = $1 AND connector = $2 AND entity = $3");
const BEGIN: Statement = Statement::shared(
    "UPDATE crm_syncs SET begun_at = $4 WHERE account = $1 AND connector = $2 AND entity = $3 AND begun_at IS NULL",
);
const FINISH: Statement = Statement::shared(
    "UPDATE crm_syncs SET holder = NULL, expires_at = NULL, finished_at = $5, report = $6, \
     complete_at = CASE WHEN $7 THEN $5 ELSE complete_at END \
     WHERE account = $1 AND connector = $2 AND entity = $3 AND holder = $4",
);

pub(super) const STATEMENTS: &[Statement] = &[STATE, ADD, CLAIM, PROLONG, SAVE_CURSOR, BEGIN, FINISH];

impl Warehouse {
    /// How a bridge stands; `None` if it was never used.
    pub async fn bridge(&self, bridge: &Bridge) -> Result<Option<BridgeState>, Error> {
        reading!(self, pool, dialect => sqlx::query_as(STATE.of(dialect))
            .bind(&bridge.account)
            .bind(&bridge.connector)
            .bind(&bridge.entity)
            .fetch_optional(pool)
            .await)
        .doing("reading how far a CRM is synced")
    }

    /// Claims a bridge for `holder`. `is_dead` tells of who has it whether it cannot be alive any more.
    pub async fn claim_bridge(
        &self,
        bridge: &Bridge,
        holder: &str,
        is_dead: impl Fn(&str) -> bool + Send,
    ) -> Result<Claimed, Error> {
        let mut tx = self.begin_durably().await?;
        let conn = &mut tx.conn();
        on!(conn, inner, dialect => sqlx::query(ADD.of(dialect))
            .bind(&bridge.account)
            .bind(&bridge.connector)
            .bind(&bridge.entity)
            .execute(inner)
            .await
            .map(drop))
        .doing("claiming a CRM")?;
        let state: BridgeState = on!(conn, inner, dialect => sqlx::query_as(STATE.of(dialect))
            .bind(&bridge.account)
            .bind(&bridge.connector)
            .bind(&bridge.entity)
            .fetch_one(inner)
            .await)
        .doing("reading how far a CRM is synced")?;
        let now = self.lease_clock(conn).await?;
        let dead = state.holder.clone().filter(|name| is_dead(name));
        let claimed = on!(conn, inner, dialect => sqlx::query(CLAIM.of(dialect))
            .bind(&bridge.account)
            .bind(&bridge.connector)
            .bind(&bridge.entity)
            .bind(holder)
            .bind(Stamp(now + LEASE))
            .bind(Stamp(now))
            .bind(dead)
            .execute(inner)
            .await
            .map(|done| done.rows_affected()))
        .doing("claiming a CRM")?;
        tx.commit().await?;
        Ok(if claimed > 0 {
            Claimed::Yes(state)
        } else {
            Claimed::By(state.holder.unwrap_or_else(|| "another program".to_owned()))
        })
    }

    /// Begins to write as the one who holds a bridge.
    pub(super) async fn begin_as_holder(&self, bridge: &Bridge, holder: &str) -> Result<Tx, Error> {
        let mut tx = self.begin_durably().await?;
        let conn = &mut tx.conn();
        let now = self.lease_clock(conn).await?;
        let held = on!(conn, inner, dialect => sqlx::query(PROLONG.of(dialect))
            .bind(&bridge.account)
            .bind(&bridge.connector)
            .bind(&bridge.entity)
            .bind(holder)
            .bind(Stamp(now + LEASE))
            .execute(inner)
            .await
            .map(|done| done.rows_affected()))
        .doing("looking whether a CRM is still one's own")?;
        if held == 0 {
            return Err(Error::TakenOver);
        }
        Ok(tx)
    }

    /// Notes that the first run of a bridge has begun, in a transaction of its holder's.
    pub(super) async fn note_begun(&self, tx: &mut Tx, bridge: &Bridge) -> Result<(), Error> {
        let now = self.now();
        on!(&mut tx.conn(), inner, dialect => sqlx::query(BEGIN.of(dialect))
            .bind(&bridge.account)
            .bind(&bridge.connector)
            .bind(&bridge.entity)
            .bind(Stamp(now))
            .execute(inner)
            .await
            .map(drop))
        .doing("noting that a CRM is synced")
    }

    /// Notes up to where a CRM's changes are read, in a transaction of its holder's.
    pub(super) async fn save_cursor(&self, tx: &mut Tx, bridge: &Bridge, cursor: &str) -> Result<(), Error> {
        on!(&mut tx.conn(), inner, dialect => sqlx::query(SAVE_CURSOR.of(dialect))
            .bind(&bridge.account)
            .bind(&bridge.connector)
            .bind(&bridge.entity)
            .bind(cursor)
            .execute(inner)
            .await
            .map(drop))
        .doing("noting how far a CRM's changes are read")
    }

    /// Gives a bridge back, with what the run did. Nothing happens if somebody else has it by now.
    pub async fn finish_bridge(
        &self,
        bridge: &Bridge,
        holder: &str,
        report: &str,
        is_complete: bool,
    ) -> Result<(), Error> {
        let now = self.now();
        let mut tx = self.begin_durably().await?;
        on!(&mut tx.conn(), inner, dialect => sqlx::query(FINISH.of(dialect))
            .bind(&bridge.account)
            .bind(&bridge.connector)
            .bind(&bridge.entity)
            .bind(holder)
            .bind(Stamp(now))
            .bind(report)
            .bind(is_complete)
            .execute(inner)
            .await
            .map(drop))
        .doing("giving a CRM back")?;
        tx.commit().await
    }
}
