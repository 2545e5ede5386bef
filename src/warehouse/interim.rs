//! How far a reading is between two checkpoints.
//!
//! A checkpoint is written to the disk together with the rows it claims. While nothing changes, one for each page would be
//! most of what a sync writes. So there is one now and then, and in between it is noted how far the reading is, where that
//! outlives the process and spares the disk: in Postgres an unlogged table, which is empty after a crash of the server
//! (<https://www.postgresql.org/docs/current/sql-createtable.html>); for SQLite a small file beside the warehouse, which is
//! believed until the machine is started again. What is noted continues one checkpoint, and is void once there is another.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{Row as _, postgres::PgRow};

use super::Warehouse;
use super::statement::{Statement, in_time};
use crate::allai::Resource;

/// Nothing depends on a note: who cannot write it goes on without.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection that was not needed for so long is closed.
const IDLE: Duration = Duration::from_secs(10);

/// Postgres has it from a migration.
const CREATE: &str = "CREATE TABLE IF NOT EXISTS interim_checkpoints (account TEXT NOT NULL, resource TEXT NOT NULL, \
                      continues TEXT NOT NULL, checkpoint TEXT NOT NULL, PRIMARY KEY (account, resource))";
const NOTE: &str = "INSERT INTO interim_checkpoints (account, resource, continues, checkpoint) VALUES ($1, $2, $3, $4) \
                    ON CONFLICT (account, resource) DO UPDATE SET \
                    continues = excluded.continues, checkpoint = excluded.checkpoint";
const NOTED: &str =
    "SELECT checkpoint FROM interim_checkpoints WHERE account = $1 AND resource = $2 AND continues = $3";

pub(super) const STATEMENTS: &[Statement] = &[Statement::postgres_only(NOTE), Statement::postgres_only(NOTED)];

/// What is noted of one list.
#[derive(Clone, Debug)]
pub struct Interim {
    warehouse: Warehouse,
    account: String,
    resource: Resource,
    /// Tells the checkpoint that is continued from all others.
    continues: Option<String>,
}

impl Interim {
    /// Nothing is noted until there is a checkpoint to continue.
    pub fn new(warehouse: &Warehouse, account: &str, resource: Resource) -> Self {
        Self {
            warehouse: warehouse.clone(),
            account: account.to_owned(),
            resource,
            continues: None,
        }
    }

    /// Whether there is a checkpoint to continue.
    pub const fn has_checkpoint(&self) -> bool {
        self.continues.is_some()
    }

    /// Continues a checkpoint that was committed.
    pub fn continue_from(&mut self, checkpoint: &str) {
        self.continues = mark(&self.warehouse, checkpoint);
    }

    /// Notes how far the reading is: a checkpoint of which only pages that changed nothing were read since the last. Says
    /// whether a process that comes after this one will find it.
    pub async fn note(&self, checkpoint: &str) -> bool {
        let Some(continues) = &self.continues else {
            return false;
        };
        let (account, resource) = (self.account.as_str(), self.resource.as_str());
        let noted = match &self.warehouse {
            Warehouse::Sqlite(database) => match database.beside() {
                Some(beside) => beside.note([account, resource, continues, checkpoint]).await,
                None => return false,
            },
            Warehouse::Postgres(database) => {
                let query = sqlx::query(NOTE)
                    .bind(account)
                    .bind(resource)
                    .bind(continues)
                    .bind(checkpoint);
                in_time(query.execute(database.pool())).await.map(drop)
            }
        };
        if let Err(error) = &noted {
            tracing::debug!(%error, "it was not noted how far the reading is; the next checkpoint claims it");
        }
        noted.is_ok()
    }
}

impl Warehouse {
    /// What was noted after `checkpoint`, the last there is.
    pub(super) async fn noted(&self, account: &str, resource: Resource, checkpoint: &str) -> Option<String> {
        let continues = mark(self, checkpoint)?;
        let resource = resource.as_str();
        let noted = match self {
            Self::Sqlite(database) => database.beside()?.noted([account, resource, &continues]).await,
            Self::Postgres(database) => {
                let query = sqlx::query(NOTED).bind(account).bind(resource).bind(continues);
                let row: Result<Option<PgRow>, _> = in_time(query.fetch_optional(database.pool())).await;
                row.and_then(|row| row.map(|row| row.try_get(0)).transpose())
            }
        };
        noted.unwrap_or_else(|error| {
            tracing::debug!(%error, "it cannot be told how far the last reading was; going on from its checkpoint");
            None
        })
    }
}

/// Tells a checkpoint from all others. `None` where it is not known how long what is noted may be believed.
fn mark(warehouse: &Warehouse, checkpoint: &str) -> Option<String> {
    let mut digest = Sha256::new();
    digest.update(checkpoint);
    if let Warehouse::Sqlite(_) = warehouse {
        // A power cut may undo the last commits (see `sqlite`), and not what was noted after them: proc(5).
        digest.update(std::fs::read("/proc/sys/kernel/random/boot_id").ok()?);
    }
    Some(hex::encode(&digest.finalize()[..16]))
}

/// The file beside SQLite's. It may be deleted whenever nothing runs.
#[derive(Clone, Debug)]
pub(super) struct Beside {
    pool: SqlitePool,
    file: PathBuf,
}

impl Beside {
    /// Of the warehouse in `file`. Nothing is opened before something is noted or looked for.
    pub(super) fn of(file: &Path) -> Self {
        let mut beside = file.as_os_str().to_owned();
        beside.push("-interim");
        let file = PathBuf::from(beside);
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .create_if_missing(true)
            // Whole again after the process was killed, without ever waiting for the disk.
            .journal_mode(SqliteJournalMode::Truncate)
            .synchronous(SqliteSynchronous::Off)
            .busy_timeout(BUSY_TIMEOUT);
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(IDLE)
            .test_before_acquire(false)
            .acquire_timeout(BUSY_TIMEOUT)
            .after_connect(|conn, _| Box::pin(async move { sqlx::query(CREATE).execute(conn).await.map(drop) }))
            .connect_lazy_with(options);
        Self { pool, file }
    }

    async fn note(&self, values: [&str; 4]) -> Result<(), sqlx::Error> {
        let [account, resource, continues, checkpoint] = values;
        let query = sqlx::query(NOTE)
            .bind(account)
            .bind(resource)
            .bind(continues)
            .bind(checkpoint);
        let noted = query.execute(&self.pool).await;
        self.or_begin_anew(noted).await.map(drop)
    }

    async fn noted(&self, values: [&str; 3]) -> Result<Option<String>, sqlx::Error> {
        if !self.file.exists() {
            return Ok(None);
        }
        let [account, resource, continues] = values;
        let query = sqlx::query(NOTED).bind(account).bind(resource).bind(continues);
        let row: Option<SqliteRow> = self.or_begin_anew(query.fetch_optional(&self.pool).await).await?;
        row.map(|row| row.try_get(0)).transpose()
    }

    /// Removes the file if it is damaged, as a power cut may leave it.
    async fn or_begin_anew<T>(&self, answer: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        if let Err(sqlx::Error::Database(error)) = &answer
            && super::sqlite::is_damaged(&**error)
            && let Err(error) = tokio::fs::remove_file(&self.file).await
        {
            tracing::debug!(%error, file = %self.file.display(), "a damaged file cannot be removed");
        }
        answer
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}
