//! SQLite: a file, one writer, several readers.
//!
//! WAL lets BI tools read while a sync writes; `synchronous=NORMAL` may lose the last commits in a power cut, never
//! the file, and a lost page is fetched again. Transactions begin IMMEDIATE: one that starts by reading and then
//! writes could otherwise fail as busy at once, whatever the timeout.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite as Driver, Transaction};

use super::error::{Doing as _, Error, explain};
use super::mirrored::Write;
use super::{contacts, conversations, messages, migrations};
use crate::allai::Resource;
use crate::allai::model::Record;
use crate::clock::SharedClock;

const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
const READERS: u32 = 4;

/// An open SQLite warehouse.
#[derive(Clone, Debug)]
pub struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
    path: PathBuf,
    pub(super) clock: SharedClock,
}

impl Sqlite {
    pub(super) async fn open(path: &Path, clock: SharedClock) -> Result<Self, Error> {
        let fail = |problem: String| Error::File {
            path: path.display().to_string(),
            problem,
        };
        if path.is_dir() {
            return Err(fail("it is a folder; name a file, e.g. warehouse.db".to_owned()));
        }
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            tokio::fs::create_dir_all(folder).await.map_err(|error| {
                fail(format!(
                    "cannot create its folder: {error}; create the folder, writable for this user, or choose another"
                ))
            })?;
        }
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(false)
            .busy_timeout(BUSY_TIMEOUT);
        let refused = |error: sqlx::Error| match &error {
            sqlx::Error::Database(refusal) if is_busy(&**refusal) => Error::Locked {
                path: path.display().to_string(),
            },
            error => fail(explain(error)),
        };
        // Both pools keep their connections: when the last one closes, SQLite folds the WAL back into the file.
        let writer = SqlitePoolOptions::new()
            .min_connections(1)
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .acquire_timeout(BUSY_TIMEOUT * 2)
            .connect_with(options.clone())
            .await
            .map_err(refused)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.create_if_missing(false).pragma("query_only", "ON"))
            .await
            .map_err(refused)?;
        Ok(Self {
            writer,
            readers,
            path: path.to_owned(),
            clock,
        })
    }

    pub(super) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    pub(super) async fn begin(&self) -> Result<Transaction<'static, Driver>, Error> {
        self.writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(|error| match &error {
                sqlx::Error::Database(refusal) if is_busy(&**refusal) => Error::Locked {
                    path: self.path.display().to_string(),
                },
                sqlx::Error::Database(refusal) if is_read_only(&**refusal) => Error::File {
                    path: self.path.display().to_string(),
                    problem: explain(&error),
                },
                _ => Error::Database {
                    doing: "beginning to write",
                    problem: explain(&error),
                    source: Box::new(error),
                },
            })
    }

    /// Migrates in one IMMEDIATE transaction: of two programs that start at once, one waits for the other.
    pub(super) async fn migrate(&self) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        migrations::SQLITE
            .run_direct(None, &mut *tx, false)
            .await
            .map_err(|error| Error::from_migration(error, migrations::newest(&migrations::SQLITE)))?;
        tx.commit().await.doing("committing the schema")
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

fn is_busy(error: &dyn sqlx::error::DatabaseError) -> bool {
    primary_code(error) == Some(5)
}

fn is_read_only(error: &dyn sqlx::error::DatabaseError) -> bool {
    primary_code(error) == Some(8)
}

/// The primary result code, the low byte of the extended one: <https://sqlite.org/rescode.html>.
fn primary_code(error: &dyn sqlx::error::DatabaseError) -> Option<i32> {
    error.code()?.parse::<i32>().ok().map(|code| code & 0xff)
}

/// Writes rows that are new, changed or back, with the versions they supersede; returns their row numbers.
pub(super) async fn write_rows(
    conn: &mut SqliteConnection,
    account: &str,
    resource: Resource,
    writes: &[Write<'_>],
) -> Result<Vec<Result<i64, String>>, Error> {
    let highest = super::mirrored::statements(resource).highest.sqlite;
    let (mut highest,): (i64,) = sqlx::query_as(highest)
        .bind(account)
        .fetch_one(&mut *conn)
        .await
        .doing("numbering rows")?;
    let mut nums = Vec::with_capacity(writes.len());
    for write in writes {
        let num = write.num.unwrap_or_else(|| {
            highest += 1;
            highest
        });
        match write.record {
            Record::Contact(row) => contacts::write_sqlite(conn, account, row, write, num).await,
            Record::Conversation(row) => conversations::write_sqlite(conn, account, row, write, num).await,
            Record::Message(row) => messages::write_sqlite(conn, account, row, write, num).await,
        }
        .doing("writing rows")?;
        nums.push(Ok(num));
    }
    Ok(nums)
}
