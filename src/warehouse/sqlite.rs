//! SQLite: a file, one writer, several readers.
//!
//! WAL lets BI tools read while a sync writes; `synchronous=NORMAL` may lose the last commits in a power cut, never
//! the file, and a lost page is fetched again. Transactions begin IMMEDIATE: one that starts by reading and then
//! writes could otherwise fail as busy at once, whatever the timeout.

use std::io;
use std::os::unix::fs::MetadataExt as _;
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
const LOOK: &str = "SELECT count(*) FROM sqlite_schema";
const IS_A_FOLDER: &str = "it is a folder; name a file, e.g. warehouse.db";

/// An open SQLite warehouse.
#[derive(Clone, Debug)]
pub struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
    path: PathBuf,
    /// How the file was when it was opened as one that nobody writes.
    at_rest: Option<AtRest>,
    pub(super) clock: SharedClock,
}

impl Sqlite {
    pub(super) async fn open(path: &Path, clock: SharedClock) -> Result<Self, Error> {
        let fail = |problem: String| Error::File {
            path: path.display().to_string(),
            problem,
        };
        if path.is_dir() {
            return Err(fail(IS_A_FOLDER.to_owned()));
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
            at_rest: None,
            clock,
        })
    }

    /// Opens a file to read it and changes nothing, neither the file nor its folder. `None` if there is no file.
    ///
    /// A WAL or a journal beside the file means that a program has it open, or was killed; SQLite reads both. Without
    /// them the file is complete and read as immutable: that needs no right to write, and leaves no empty WAL that
    /// belongs to the wrong user. SQLite does not see a writer that comes then, so see [`Self::is_as_opened`].
    pub(super) async fn open_to_read(path: &Path, clock: SharedClock) -> Result<Option<Self>, Error> {
        let fail = |problem: String| Error::File {
            path: path.display().to_string(),
            problem,
        };
        let unreadable = |error: io::Error| {
            fail(format!(
                "{error}; correct warehouse.url, or let this user read the file"
            ))
        };
        // SQLite follows links too, and keeps the WAL beside the file itself.
        let file = match path.canonicalize() {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        if file.is_dir() {
            return Err(fail(IS_A_FOLDER.to_owned()));
        }
        let at_rest = AtRest::of(&file).map_err(unreadable)?;
        let options = SqliteConnectOptions::new()
            .filename(&file)
            .read_only(true)
            .immutable(at_rest.is_some())
            .foreign_keys(false)
            .busy_timeout(BUSY_TIMEOUT);
        let refused = |error: sqlx::Error| match &error {
            sqlx::Error::Database(refusal) if is_busy(&**refusal) => Error::Locked {
                path: path.display().to_string(),
            },
            // It cannot be opened, or not without writing.
            sqlx::Error::Database(refusal) if matches!(primary_code(&**refusal), Some(8 | 14)) => fail(format!(
                "{}; read it as the user that syncs, or let this user read the file, its -wal and its -shm",
                refusal.message()
            )),
            error => fail(explain(error)),
        };
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await
            .map_err(refused)?;
        // The first statement, not the connection, opens the WAL.
        sqlx::query(LOOK).execute(&readers).await.map_err(refused)?;
        Ok(Some(Self {
            writer: readers.clone(),
            readers,
            path: file,
            at_rest,
            clock,
        }))
    }

    /// Whether nothing wrote to the file while it was read as one that nobody writes.
    pub(super) fn is_as_opened(&self) -> bool {
        self.at_rest
            .as_ref()
            .is_none_or(|at_rest| AtRest::look(&self.path).is_ok_and(|now| now == *at_rest))
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

/// What changes when a file is written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct AtRest {
    file: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl AtRest {
    /// How a file is that no program has open; `None` if one may.
    fn of(file: &Path) -> io::Result<Option<Self>> {
        // In this order: a WAL that goes away in between has changed the file.
        let seen = Self::look(file)?;
        for suffix in ["-wal", "-journal"] {
            let mut beside = file.as_os_str().to_owned();
            beside.push(suffix);
            if Path::new(&beside).try_exists()? {
                return Ok(None);
            }
        }
        Ok(Some(seen))
    }

    fn look(file: &Path) -> io::Result<Self> {
        let seen = file.metadata()?;
        Ok(Self {
            file: (seen.dev(), seen.ino()),
            bytes: seen.len(),
            modified: (seen.mtime(), seen.mtime_nsec()),
            changed: (seen.ctime(), seen.ctime_nsec()),
        })
    }
}

/// Whether a sync could write to the file, or create it; leaves nothing behind.
pub(super) fn check_writable(path: &Path) -> Result<(), Error> {
    let fail = |problem: String| Error::File {
        path: path.display().to_string(),
        problem,
    };
    let file = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if file.is_dir() {
        return Err(fail(IS_A_FOLDER.to_owned()));
    }
    if file.exists() {
        let opened = std::fs::OpenOptions::new().append(true).open(&file);
        opened.map_err(|error| {
            let kind = error.kind();
            fail(format!("{kind}: make the file and its folder writable for this user"))
        })?;
    }
    // The WAL, and the file if it is missing, are made in the folder; so are the folders above it.
    let folder = file.ancestors().skip(1).find(|folder| folder.exists());
    let folder = folder.unwrap_or(Path::new("."));
    // On Linux it never has a name, not even for a moment.
    tempfile::tempfile_in(folder).map_err(|error| {
        fail(format!(
            "cannot create files in {}: {}; make that folder writable for this user, or choose another in \
             warehouse.url",
            folder.display(),
            error.kind()
        ))
    })?;
    Ok(())
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
