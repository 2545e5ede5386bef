//! What was on stock, snapshot by snapshot, and who takes one just now.
//!
//! A snapshot is written piece by piece; each piece prolongs the lease and says behind which SKU it goes on, so that a program that
//! dies costs one piece. A snapshot that was given up leaves no rows: all but the newest are complete.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::Warehouse;
use super::error::{Doing as _, Error};
use super::payloads::storable;
use super::statement::{Statement, Tx, on, reading};
use super::values::{Stamp, stamp_text};

/// How long a program that gives no sign of life is waited for. A piece takes as long as the system is slow.
const LEASE: TimeDelta = TimeDelta::minutes(15);
/// Stock is the company's, and no account's.
const ACCOUNT: &str = "";
/// So many rows are forgotten at a time: nobody is to wait for that.
const AT_ONCE: i64 = 10_000;
/// A longer SKU has no place in an index of Postgres.
const LONGEST_SKU: usize = 1_000;

/// One line of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StockLevel {
    /// The system's code of the product.
    pub sku: String,
    /// Its name.
    pub name: Option<String>,
    /// The unit of measure.
    pub uom: Option<String>,
    /// The code of the warehouse; empty if the system does not tell them apart.
    pub warehouse: String,
    /// Its name.
    pub warehouse_name: Option<String>,
    /// What is there; a decimal number.
    pub on_hand: Option<String>,
    /// What of it can be promised; a decimal number.
    pub available: Option<String>,
    /// When that was true.
    pub as_of: DateTime<Utc>,
}

/// How the snapshots of a connector stand.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct StockSnapshot {
    /// Which was begun last: its `captured_at`.
    pub begun_at: Option<DateTime<Utc>>,
    /// Behind which SKU it goes on.
    pub after_sku: Option<String>,
    /// How many SKUs it has.
    pub skus: i64,
    /// Who is at it.
    pub holder: Option<String>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// The last that is complete: its `captured_at`.
    pub complete_at: Option<DateTime<Utc>>,
    /// Why the last try broke off.
    pub error: Option<String>,
}

impl StockSnapshot {
    /// The snapshot that was begun and has not ended.
    pub fn under_way(&self) -> Option<DateTime<Utc>> {
        self.begun_at.filter(|_| self.finished_at.is_none())
    }
}

const STATE: Statement = Statement::shared(
    "SELECT begun_at, after_sku, skus, holder, finished_at, complete_at, error FROM stock_snapshots \
     WHERE account = $1 AND connector = $2",
);
const ADD: Statement =
    Statement::shared("INSERT INTO stock_snapshots (account, connector) VALUES ($1, $2) ON CONFLICT DO NOTHING");
const CLAIM: Statement = Statement::shared(
    "UPDATE stock_snapshots SET holder = $3, expires_at = $4 WHERE account = $1 AND connector = $2 \
     AND (holder IS NULL OR expires_at <= $5 OR holder = $6)",
);
const PROLONG: Statement = Statement::shared(
    "UPDATE stock_snapshots SET expires_at = $4 WHERE account = $1 AND connector = $2 AND holder = $3",
);
const BEGIN: Statement = Statement::shared(
    "UPDATE stock_snapshots SET begun_at = $3, after_sku = NULL, skus = 0, finished_at = NULL, error = NULL \
     WHERE account = $1 AND connector = $2",
);
const GO_ON: Statement = Statement::shared(
    "UPDATE stock_snapshots SET after_sku = $3, skus = skus + $4 WHERE account = $1 AND connector = $2",
);
const FINISH: Statement = Statement::shared(
    "UPDATE stock_snapshots SET holder = NULL, expires_at = NULL, finished_at = $3, complete_at = begun_at, error = NULL \
     WHERE account = $1 AND connector = $2",
);
const BREAK_OFF: Statement = Statement::shared(
    "UPDATE stock_snapshots SET holder = NULL, expires_at = NULL, error = $4 \
     WHERE account = $1 AND connector = $2 AND holder = $3",
);
const STORE: Statement = Statement {
    sqlite: "INSERT INTO stock_levels (account, connector, captured_at, sku, warehouse, name, uom, warehouse_name, on_hand, available, as_of) \
             SELECT $1, $2, $3, value ->> 'sku', value ->> 'warehouse', value ->> 'name', value ->> 'uom', value ->> 'warehouse_name', \
             CAST(value ->> 'on_hand' AS REAL), CAST(value ->> 'available' AS REAL), value ->> 'as_of' FROM json_each($4) WHERE true \
             ON CONFLICT DO NOTHING",
    postgres: "INSERT INTO stock_levels (account, connector, captured_at, sku, warehouse, name, uom, warehouse_name, on_hand, available, as_of) \
               SELECT $1, $2, $3, sku, warehouse, name, uom, warehouse_name, on_hand, available, as_of \
               FROM json_to_recordset($4::text::json) AS l (sku text, warehouse text, name text, uom text, warehouse_name text, \
               on_hand numeric, available numeric, as_of timestamptz) ON CONFLICT DO NOTHING",
};
const DISCARD: Statement =
    Statement::shared("DELETE FROM stock_levels WHERE account = $1 AND connector = $2 AND captured_at = $3");
const FORGET: Statement = Statement {
    sqlite: "DELETE FROM stock_levels WHERE rowid IN (SELECT rowid FROM stock_levels \
             WHERE account = $1 AND connector = $2 AND captured_at < $3 LIMIT $4)",
    postgres: "DELETE FROM stock_levels WHERE ctid = ANY (ARRAY(SELECT ctid FROM stock_levels \
               WHERE account = $1 AND connector = $2 AND captured_at < $3 LIMIT $4))",
};

pub(super) const STATEMENTS: &[Statement] = &[
    STATE, ADD, CLAIM, PROLONG, BEGIN, GO_ON, FINISH, BREAK_OFF, STORE, DISCARD, FORGET,
];

/// A line as it is handed over; figures are texts, which no number of JSON could be.
#[derive(Serialize)]
struct Line<'a> {
    sku: String,
    warehouse: String,
    name: Option<String>,
    uom: Option<String>,
    warehouse_name: Option<String>,
    on_hand: Option<&'a str>,
    available: Option<&'a str>,
    as_of: String,
}

impl<'a> From<&'a StockLevel> for Line<'a> {
    fn from(level: &'a StockLevel) -> Self {
        let text = |text: &Option<String>| text.as_deref().map(storable);
        Self {
            sku: storable(&level.sku),
            warehouse: storable(&level.warehouse),
            name: text(&level.name),
            uom: text(&level.uom),
            warehouse_name: text(&level.warehouse_name),
            on_hand: level.on_hand.as_deref(),
            available: level.available.as_deref(),
            as_of: stamp_text(level.as_of),
        }
    }
}

impl Warehouse {
    /// How the snapshots of a connector stand; `None` if none was ever begun.
    pub async fn stock_snapshot(&self, connector: &str) -> Result<Option<StockSnapshot>, Error> {
        reading!(self, pool, dialect => sqlx::query_as(STATE.of(dialect))
            .bind(ACCOUNT)
            .bind(connector)
            .fetch_optional(pool)
            .await)
        .doing("reading how the snapshots of stock stand")
    }

    /// Claims the snapshots of a connector for `holder`: how they stand, or `Err` with who has them. `is_dead` tells of that one
    /// whether it cannot be alive any more.
    pub async fn claim_stock_snapshot(
        &self,
        connector: &str,
        holder: &str,
        is_dead: impl Fn(&str) -> bool + Send,
    ) -> Result<Result<StockSnapshot, String>, Error> {
        const DOING: &str = "claiming the snapshots of stock";
        let mut tx = self.begin_durably().await?;
        let conn = &mut tx.conn();
        on!(conn, inner, dialect => sqlx::query(ADD.of(dialect))
            .bind(ACCOUNT)
            .bind(connector)
            .execute(inner)
            .await
            .map(drop))
        .doing(DOING)?;
        let state: StockSnapshot = on!(conn, inner, dialect => sqlx::query_as(STATE.of(dialect))
            .bind(ACCOUNT)
            .bind(connector)
            .fetch_one(inner)
            .await)
        .doing(DOING)?;
        let now = self.lease_clock(conn).await?;
        let dead = state.holder.clone().filter(|name| is_dead(name));
        let claimed = on!(conn, inner, dialect => sqlx::query(CLAIM.of(dialect))
            .bind(ACCOUNT)
            .bind(connector)
            .bind(holder)
            .bind(Stamp(now + LEASE))
            .bind(Stamp(now))
            .bind(dead)
            .execute(inner)
            .await
            .map(|done| done.rows_affected()))
        .doing(DOING)?;
        tx.commit().await?;
        Ok(if claimed > 0 {
            Ok(state)
        } else {
            Err(state.holder.unwrap_or_else(|| "another program".to_owned()))
        })
    }

    /// Begins a snapshot as the one who holds the connector's; what there is of one that did not end is discarded.
    pub async fn begin_stock_snapshot(
        &self,
        connector: &str,
        holder: &str,
        captured_at: DateTime<Utc>,
        instead_of: Option<DateTime<Utc>>,
    ) -> Result<(), Error> {
        let mut tx = self.begin_snapshot_piece(connector, holder).await?;
        let conn = &mut tx.conn();
        if let Some(given_up) = instead_of {
            on!(conn, inner, dialect => sqlx::query(DISCARD.of(dialect))
                .bind(ACCOUNT)
                .bind(connector)
                .bind(Stamp(given_up))
                .execute(inner)
                .await
                .map(drop))
            .doing("discarding a snapshot that was given up")?;
        }
        on!(conn, inner, dialect => sqlx::query(BEGIN.of(dialect))
            .bind(ACCOUNT)
            .bind(connector)
            .bind(Stamp(captured_at))
            .execute(inner)
            .await
            .map(drop))
        .doing("beginning a snapshot of stock")?;
        tx.commit().await
    }

    /// Stores a piece of a snapshot: of so many SKUs, up to `after_sku`.
    pub async fn store_stock_levels(
        &self,
        connector: &str,
        holder: &str,
        captured_at: DateTime<Utc>,
        levels: &[StockLevel],
        skus: usize,
        after_sku: &str,
    ) -> Result<(), Error> {
        let lines: Vec<Line<'_>> = levels
            .iter()
            .filter(|level| level.sku.len() <= LONGEST_SKU && level.warehouse.len() <= LONGEST_SKU)
            .map(Line::from)
            .collect();
        let lines = serde_json::to_string(&lines).unwrap_or_default();
        let mut tx = self.begin_snapshot_piece(connector, holder).await?;
        let conn = &mut tx.conn();
        on!(conn, inner, dialect => sqlx::query(STORE.of(dialect))
            .bind(ACCOUNT)
            .bind(connector)
            .bind(Stamp(captured_at))
            .bind(lines)
            .execute(inner)
            .await
            .map(drop))
        .doing("storing a snapshot of stock")?;
        on!(conn, inner, dialect => sqlx::query(GO_ON.of(dialect))
            .bind(ACCOUNT)
            .bind(connector)
            .bind(storable(after_sku))
            .bind(i64::try_from(skus).unwrap_or(i64::MAX))
            .execute(inner)
            .await
            .map(drop))
        .doing("storing a snapshot of stock")?;
        tx.commit().await
    }

    /// Ends a snapshot that is complete, and gives the connector's back.
    pub async fn finish_stock_snapshot(&self, connector: &str, holder: &str) -> Result<(), Error> {
        let now = self.now();
        let mut tx = self.begin_snapshot_piece(connector, holder).await?;
        on!(&mut tx.conn(), inner, dialect => sqlx::query(FINISH.of(dialect))
            .bind(ACCOUNT)
            .bind(connector)
            .bind(Stamp(now))
            .execute(inner)
            .await
            .map(drop))
        .doing("ending a snapshot of stock")?;
        tx.commit().await
    }

    /// Gives the snapshots of a connector back, the last of which is to be gone on with. Nothing happens if somebody else has them.
    pub async fn break_off_stock_snapshot(
        &self,
        connector: &str,
        holder: &str,
        error: Option<&str>,
    ) -> Result<(), Error> {
        let mut tx = self.begin_durably().await?;
        on!(&mut tx.conn(), inner, dialect => sqlx::query(BREAK_OFF.of(dialect))
            .bind(ACCOUNT)
            .bind(connector)
            .bind(holder)
            .bind(error)
            .execute(inner)
            .await
            .map(drop))
        .doing("giving the snapshots of stock back")?;
        tx.commit().await
    }

    /// Forgets snapshots from before a time. `false` if there are more.
    pub async fn forget_stock_levels(&self, connector: &str, before: DateTime<Utc>) -> Result<bool, Error> {
        let mut tx = self.begin_durably().await?;
        let forgotten = on!(&mut tx.conn(), inner, dialect => sqlx::query(FORGET.of(dialect))
            .bind(ACCOUNT)
            .bind(connector)
            .bind(Stamp(before))
            .bind(AT_ONCE)
            .execute(inner)
            .await
            .map(|done| done.rows_affected()))
        .doing("forgetting old snapshots of stock")?;
        tx.commit().await?;
        Ok(forgotten < AT_ONCE.unsigned_abs())
    }

    async fn begin_snapshot_piece(&self, connector: &str, holder: &str) -> Result<Tx, Error> {
        let mut tx = self.begin_durably().await?;
        let conn = &mut tx.conn();
        let now = self.lease_clock(conn).await?;
        let held = on!(conn, inner, dialect => sqlx::query(PROLONG.of(dialect))
            .bind(ACCOUNT)
            .bind(connector)
            .bind(holder)
            .bind(Stamp(now + LEASE))
            .execute(inner)
            .await
            .map(|done| done.rows_affected()))
        .doing("looking whether a snapshot is still one's own")?;
        if held == 0 {
            return Err(Error::TakenOver);
        }
        Ok(tx)
    }
}
