//! Where each resource stands: `sync_state`.

use chrono::{DateTime, Utc};

use super::Warehouse;
use super::error::{Doing as _, Error};
use super::statement::{Conn, Statement, Tx, on, reading};
use super::values::{Stamp, from_db, to_db};
use crate::allai::Resource;

/// Where a resource of an account stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncState {
    /// The order in which the API lists the resource, as learned.
    pub order: Option<String>,
    /// Where an interrupted run goes on; the sync's own format.
    pub checkpoint: Option<String>,
    /// A row number of the sync's choice, kept for the next run.
    pub watermark: u64,
    /// The moment up to which rows were written when the watermark was taken.
    pub settled_at: Option<DateTime<Utc>>,
    /// When the last complete run ended.
    pub last_complete_at: Option<DateTime<Utc>>,
    /// When the last verified sweep ended.
    pub last_verified_at: Option<DateTime<Utc>>,
    /// Live rows at the end of the last run.
    pub rows: u64,
    /// Rows without an id and a date that the last verified sweep saw.
    pub undated: u64,
}

/// A [`SyncState`] in brief.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateSummary {
    /// The order in which the API lists the resource, as learned.
    pub order: Option<String>,
    /// Whether a run was cut short; the next one goes on where it stopped.
    pub unfinished: bool,
    /// When the last complete run ended.
    pub last_complete_at: Option<DateTime<Utc>>,
    /// When the last verified sweep ended.
    pub last_verified_at: Option<DateTime<Utc>>,
    /// Live rows at the end of the last run.
    pub rows: u64,
}

/// What a finished run changes in the [`SyncState`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateUpdate {
    /// The learned order; `None` keeps what is known.
    pub order: Option<String>,
    /// The new watermark.
    pub watermark: u64,
    /// The moment the watermark was taken; `None` keeps the last.
    pub settled_at: Option<DateTime<Utc>>,
    /// Set if the run was complete; `None` keeps the last.
    pub complete_at: Option<DateTime<Utc>>,
    /// Set if the run was verified; `None` keeps the last.
    pub verified_at: Option<DateTime<Utc>>,
    /// Set if the run was verified: rows without an id and a date; `None` keeps the last.
    pub undated: Option<u64>,
    /// Live rows now.
    pub rows: u64,
    /// Whether the run is over, so that the next one starts afresh.
    pub clear_checkpoint: bool,
}

const STATE: Statement = Statement::shared(
    "SELECT learned_order, checkpoint, watermark, settled_at, last_complete_at, last_verified_at, rows, undated_rows FROM \
     sync_state WHERE account = $1 AND resource = $2",
);
macro_rules! save_checkpoint {
    () => {
        "INSERT INTO sync_state (account, resource, checkpoint) VALUES ($1, $2, $3) \
         ON CONFLICT (account, resource) DO UPDATE SET checkpoint = excluded.checkpoint"
    };
}
const SAVE_CHECKPOINT: Statement = Statement::shared(save_checkpoint!());
/// In one statement: SQLite's are each handed to a thread and back.
const SAVE_CHECKPOINT_AND_COMMIT: &str = concat!(save_checkpoint!(), "; COMMIT");
const CLEAR_CHECKPOINT: Statement = Statement::shared(
    "UPDATE sync_state SET checkpoint = NULL WHERE account = $1 AND resource = $2 AND checkpoint IS NOT NULL",
);
const UPDATE: Statement = Statement::shared(
    "INSERT INTO sync_state (account, resource, learned_order, watermark, settled_at, last_complete_at, last_verified_at, rows, \
     undated_rows) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, coalesce($9, 0)) \
     ON CONFLICT (account, resource) DO UPDATE SET \
     learned_order = coalesce(excluded.learned_order, sync_state.learned_order), \
     watermark = excluded.watermark, \
     settled_at = coalesce(excluded.settled_at, sync_state.settled_at), \
     last_complete_at = coalesce(excluded.last_complete_at, sync_state.last_complete_at), \
     last_verified_at = coalesce(excluded.last_verified_at, sync_state.last_verified_at), \
     rows = excluded.rows, \
     undated_rows = coalesce($9, sync_state.undated_rows)",
);

/// Without the checkpoints, which can be long.
const SUMMARIES: Statement = Statement::shared(
    "SELECT account, resource, learned_order, checkpoint IS NOT NULL AS unfinished, last_complete_at, last_verified_at, \
     rows FROM sync_state",
);

pub(super) const STATEMENTS: &[Statement] = &[STATE, SUMMARIES, SAVE_CHECKPOINT, CLEAR_CHECKPOINT, UPDATE];

pub(super) async fn put_checkpoint(
    conn: &mut Conn<'_>,
    account: &str,
    resource: Resource,
    checkpoint: Option<&str>,
) -> Result<(), Error> {
    let Some(checkpoint) = checkpoint else {
        return on!(conn, inner, dialect => sqlx::query(CLEAR_CHECKPOINT.of(dialect))
            .bind(account)
            .bind(resource.as_str())
            .execute(inner)
            .await
            .map(drop))
        .doing("clearing the checkpoint");
    };
    on!(conn, inner, dialect => sqlx::query(SAVE_CHECKPOINT.of(dialect))
        .bind(account)
        .bind(resource.as_str())
        .bind(checkpoint)
        .execute(inner)
        .await
        .map(drop))
    .doing("saving the checkpoint")
}

/// Commits what is written, and a checkpoint that claims it.
pub(super) async fn commit_with_checkpoint(
    tx: Tx,
    account: &str,
    resource: Resource,
    checkpoint: &str,
) -> Result<(), Error> {
    match tx {
        Tx::Sqlite(tx) => {
            let statement = sqlx::query(SAVE_CHECKPOINT_AND_COMMIT)
                .bind(account)
                .bind(resource.as_str())
                .bind(checkpoint);
            tx.commit_by(statement).await.doing("committing")
        }
        mut tx @ Tx::Postgres(_) => {
            put_checkpoint(&mut tx.conn(), account, resource, Some(checkpoint)).await?;
            tx.commit().await
        }
    }
}

pub(super) async fn apply(
    conn: &mut Conn<'_>,
    account: &str,
    resource: Resource,
    update: &StateUpdate,
) -> Result<(), Error> {
    on!(conn, inner, dialect => sqlx::query(UPDATE.of(dialect))
        .bind(account)
        .bind(resource.as_str())
        .bind(&update.order)
        .bind(to_db(update.watermark))
        .bind(update.settled_at.map(Stamp))
        .bind(update.complete_at.map(Stamp))
        .bind(update.verified_at.map(Stamp))
        .bind(to_db(update.rows))
        .bind(update.undated.map(to_db))
        .execute(inner)
        .await
        .map(drop))
    .doing("saving the state")?;
    if update.clear_checkpoint {
        put_checkpoint(conn, account, resource, None).await?;
    }
    Ok(())
}

impl Warehouse {
    /// Where a resource stands; `None` before anything of it was committed.
    pub async fn state(&self, account: &str, resource: Resource) -> Result<Option<SyncState>, Error> {
        type Row = (
            Option<String>,
            Option<String>,
            i64,
            Option<DateTime<Utc>>,
            Option<DateTime<Utc>>,
            Option<DateTime<Utc>>,
            i64,
            i64,
        );
        let row: Option<Row> = reading!(self, pool, dialect => sqlx::query_as(STATE.of(dialect))
            .bind(account)
            .bind(resource.as_str())
            .fetch_optional(pool)
            .await)
        .doing("reading the state")?;
        let Some((order, checkpoint, watermark, settled_at, last_complete_at, last_verified_at, rows, undated)) = row
        else {
            return Ok(None);
        };
        let noted = match &checkpoint {
            Some(checkpoint) => self.noted(account, resource, checkpoint).await,
            None => None,
        };
        Ok(Some(SyncState {
            order,
            checkpoint: noted.or(checkpoint),
            watermark: from_db(watermark),
            settled_at,
            last_complete_at,
            last_verified_at,
            rows: from_db(rows),
            undated: from_db(undated),
        }))
    }

    /// Where each resource of each account stands, with the resource's name.
    pub(super) async fn state_summaries(&self) -> Result<Vec<(String, String, StateSummary)>, Error> {
        type Row = (
            String,
            String,
            Option<String>,
            bool,
            Option<DateTime<Utc>>,
            Option<DateTime<Utc>>,
            i64,
        );
        let rows: Vec<Row> =
            reading!(self, pool, dialect => sqlx::query_as(SUMMARIES.of(dialect)).fetch_all(pool).await)
                .doing("reading the state")?;
        let rows = rows.into_iter().map(
            |(account, resource, order, unfinished, last_complete_at, last_verified_at, rows)| {
                let summary = StateSummary {
                    order,
                    unfinished,
                    last_complete_at,
                    last_verified_at,
                    rows: from_db(rows),
                };
                (account, resource, summary)
            },
        );
        Ok(rows.collect())
    }

    /// Replaces the checkpoint alone; `None` clears it.
    pub async fn save_checkpoint(
        &self,
        account: &str,
        resource: Resource,
        checkpoint: Option<&str>,
    ) -> Result<(), Error> {
        let mut tx = self.begin(account, &[]).await?;
        put_checkpoint(&mut tx.conn(), account, resource, checkpoint).await?;
        tx.commit().await
    }
}
