//! SQLite: a file, one writer, several readers.
//!
//! WAL lets BI tools read while a sync writes; `synchronous=NORMAL` may lose the last commits in a power cut, never
//! the file, and a lost page is fetched again. Transactions begin IMMEDIATE: one that starts by reading and then
//! writes could otherwise fail as busy at once, whatever the timeout.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sqlx::Arguments as _;
use sqlx::Sqlite as Driver;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};

use super::error::{Doing as _, Error, explain};
use super::jobs::Fence;
use super::mirrored::Write;
use super::repeated::{MOST, Repeated};
use super::values::stamp_text;
use super::{cell, contacts, conversations, messages, migrations};
use crate::allai::Resource;
use crate::clock::SharedClock;

const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it is tried to open a file that another program is about to make, and how far apart.
const OPENING: Duration = Duration::from_secs(2);
const BETWEEN_OPENINGS: Duration = Duration::from_millis(50);
const READERS: u32 = 4;
/// Readers that were not needed for so long are closed.
const READER_IDLE: Duration = Duration::from_secs(10);
/// What the writer keeps of the file in memory, in KiB (negative: SQLite's own words). Ids arrive in no order, so that
/// a page of a list is written all over the index: it should be in memory.
const CACHE: &str = "-8192";
/// After how many pages of 4 KiB the WAL is folded into the file. A page of the index that is written again and again
/// is folded once.
const CHECKPOINT_PAGES: &str = "4000";
/// What a connection keeps of the file in memory goes back to the system (<https://sqlite.org/pragma.html#pragma_shrink_memory>).
const SHRINK: &str = "PRAGMA shrink_memory";
/// No row has more values to be bound.
const MOST_COLUMNS: usize = 20;
const BEGIN: &str = "BEGIN IMMEDIATE";
/// Begins, and says which version of the file this is: another one if another connection has written since
/// (<https://sqlite.org/pragma.html#pragma_data_version>). In one statement: each is handed to a thread and back.
const BEGIN_AT_VERSION: &str = "BEGIN IMMEDIATE; PRAGMA data_version";
/// The same; the commit waits for the disk, rather than only for the system.
const BEGIN_DURABLY: &str = "PRAGMA synchronous = FULL; BEGIN IMMEDIATE; PRAGMA data_version";
const NO_SYNC: &str = "PRAGMA synchronous = NORMAL";
const COMMIT: &str = "COMMIT";
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
    turns: Arc<Turns>,
    pub(super) fence: Option<Arc<Fence>>,
    pub(super) clock: SharedClock,
}

/// Whose turn it is to write, in this program.
#[derive(Debug, Default)]
struct Turns {
    /// How many wait to write.
    waiting: AtomicUsize,
    /// How many transactions were begun.
    begun: AtomicU64,
}

impl Turns {
    fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }
}

/// Somebody who waits.
struct Waiting<'a>(&'a Turns);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A state of the file, as a transaction found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    begun: u64,
    version: i64,
}

impl Seen {
    /// Whether nobody can have written between the transaction that found this and the next, which found `next`.
    pub(super) const fn goes_on_as(self, next: Self) -> bool {
        next.begun == self.begun + 1 && next.version == self.version
    }
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
        // The writer keeps its connection: when the last one closes, SQLite folds the WAL back into the file.
        let writer = SqlitePoolOptions::new()
            .min_connections(1)
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            .acquire_timeout(BUSY_TIMEOUT * 2);
        let with_settings = options
            .clone()
            .pragma("cache_size", CACHE)
            .pragma("wal_autocheckpoint", CHECKPOINT_PAGES);
        // Where several programs make the file at once, switching to WAL fails at once instead of waiting its turn. What is
        // waited for is another program: real time, whatever clock the warehouse has.
        let since = Instant::now();
        let writer = loop {
            match writer.clone().connect_with(with_settings.clone()).await {
                Err(sqlx::Error::Database(refusal)) if is_busy(&*refusal) && since.elapsed() < OPENING => {
                    tokio::time::sleep(BETWEEN_OPENINGS).await;
                }
                opened => break opened.map_err(refused)?,
            }
        };
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            // Each has a thread and memory of its own.
            .idle_timeout(READER_IDLE)
            .max_lifetime(None)
            .test_before_acquire(false)
            .connect_with(options.create_if_missing(false).pragma("query_only", "ON"))
            .await
            .map_err(refused)?;
        Ok(Self {
            writer,
            readers,
            path: path.to_owned(),
            at_rest: None,
            turns: Arc::default(),
            fence: None,
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
            turns: Arc::default(),
            fence: None,
            clock,
        }))
    }

    /// Whether nothing wrote to the file while it was read as one that nobody writes.
    pub(super) fn is_as_opened(&self) -> bool {
        self.at_rest
            .as_ref()
            .is_none_or(|at_rest| AtRest::look(&self.path).is_ok_and(|now| now == *at_rest))
    }

    /// The file, as configured.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    pub(super) async fn begin(&self) -> Result<Writing, Error> {
        self.begin_with(false).await
    }

    /// The same; when it is committed, it is on the disk.
    pub(super) async fn begin_durably(&self) -> Result<Writing, Error> {
        self.begin_with(true).await
    }

    async fn begin_with(&self, durable: bool) -> Result<Writing, Error> {
        let turn = self.turns.wait();
        let conn = self.writer.acquire().await.map_err(|error| self.refused(error))?;
        drop(turn);
        let begun = self.turns.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let mut writing = Writing {
            conn,
            committed: false,
            durable,
            seen: Seen { begun, version: 0 },
        };
        let statement = if durable { BEGIN_DURABLY } else { BEGIN_AT_VERSION };
        let version = sqlx::query_scalar(statement).fetch_one(writing.conn()).await;
        writing.seen.version = version.map_err(|error| self.refused(error))?;
        Ok(writing)
    }

    /// Whether somebody waits for the transaction that is open now to end.
    pub(super) fn is_waited_for(&self) -> bool {
        self.turns.waiting.load(Ordering::Relaxed) > 0
    }

    /// Why nothing can be written.
    fn refused(&self, error: sqlx::Error) -> Error {
        match &error {
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
        }
    }

    /// Migrates in one IMMEDIATE transaction: of two programs that start at once, one waits for the other.
    pub(super) async fn migrate(&self) -> Result<(), Error> {
        // Each migration is a transaction within this one, which sqlx must therefore know of.
        let begun = self.writer.begin_with(BEGIN).await;
        let mut tx = begun.map_err(|error| self.refused(error))?;
        migrations::SQLITE
            .run_direct(None, &mut *tx, false)
            .await
            .map_err(|error| Error::from_migration(error, migrations::newest(&migrations::SQLITE)))?;
        tx.commit().await.doing("committing the schema")
    }

    /// Gives back the memory that connections at rest keep.
    pub(super) async fn shrink(&self) {
        for pool in [&self.writer, &self.readers] {
            let mut at_rest = Vec::new();
            while let Some(conn) = pool.try_acquire() {
                at_rest.push(conn);
            }
            for mut conn in at_rest {
                if let Err(error) = sqlx::query(SHRINK).execute(&mut *conn).await {
                    tracing::debug!(%error, "a connection keeps its memory");
                }
            }
        }
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// A write transaction. Dropped before it is committed, it takes its connection with it: after a full disk SQLite has
/// rolled back by itself and there is nothing left to roll back, after a cancellation it is not known whether it has
/// begun. The next one gets a fresh connection.
pub(super) struct Writing {
    conn: PoolConnection<Driver>,
    committed: bool,
    durable: bool,
    pub(super) seen: Seen,
}

impl Writing {
    pub(super) fn conn(&mut self) -> &mut SqliteConnection {
        &mut self.conn
    }

    pub(super) async fn commit(mut self) -> Result<(), sqlx::Error> {
        sqlx::query(COMMIT).execute(self.conn()).await?;
        // One that cannot be set back is closed; what is committed stays so.
        self.committed = !self.durable || sqlx::query(NO_SYNC).execute(self.conn()).await.is_ok();
        Ok(())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.committed {
            self.conn.close_on_drop();
        }
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

/// Writes rows that are new, changed or back, with the versions they supersede. Each has its number.
pub(super) async fn write_rows(
    conn: &mut SqliteConnection,
    account: &str,
    resource: Resource,
    writes: &[Write<'_>],
) -> Result<(), Error> {
    let Some(table) = Table::of(resource) else {
        return Ok(());
    };
    let (known, new): (Vec<&Write<'_>>, Vec<&Write<'_>>) = writes.iter().partition(|write| write.supersedes);
    let mut texts = Texts::default();
    if let Some(keep) = table.keep {
        for part in known.chunks(MOST) {
            let (size, text) = keep.at_least(part.len());
            let mut query = sqlx::query(text);
            for slot in 0..size {
                let write = part.get(slot);
                query = query
                    .bind(write.map(|write| write.row.id()))
                    .bind(write.map(|write| texts.stamp(write.changed_at)));
            }
            query
                .bind(account)
                .execute(&mut *conn)
                .await
                .doing("keeping superseded versions")?;
        }
    }
    let mut rest = &known[..];
    while !rest.is_empty() {
        let (size, text) = table.put.at_most(rest.len());
        let (part, after) = rest.split_at(size);
        let mut query = query_of_many(text, size);
        for write in part {
            let changed_at = texts.stamp(write.changed_at);
            query = cell::bind(write.row, query)
                .bind(write.row.raw_hash().0.to_vec())
                .bind(changed_at.clone())
                .bind(changed_at)
                .bind(write.num);
        }
        query.bind(account).execute(&mut *conn).await.doing("writing rows")?;
        rest = after;
    }
    let added = add(conn, account, &table, &new).await?;
    debug_assert_eq!(added, new.len() as u64, "rows that were not there");
    Ok(())
}

/// Adds the rows that are not there yet, and says how many were added. All have numbers, one after the other, should
/// they be new.
pub(super) async fn add_rows(
    conn: &mut SqliteConnection,
    account: &str,
    resource: Resource,
    writes: &[Write<'_>],
) -> Result<u64, Error> {
    let Some(table) = Table::of(resource) else {
        return Ok(0);
    };
    add(conn, account, &table, &writes.iter().collect::<Vec<_>>()).await
}

/// A query of the values of so many rows, which get their room at once.
fn query_of_many(text: &'static str, rows: usize) -> Query<'static> {
    let mut values = SqliteArguments::default();
    values.reserve(rows * MOST_COLUMNS, 0);
    sqlx::query_with(text, values)
}

async fn add(
    conn: &mut SqliteConnection,
    account: &str,
    table: &Table,
    mut writes: &[&Write<'_>],
) -> Result<u64, Error> {
    let mut added = 0;
    while let Some(first) = writes.first() {
        let (size, text) = table.add.at_most(writes.len());
        let (part, after) = writes.split_at(size);
        let mut query = query_of_many(text, size);
        for write in part {
            query = cell::bind(write.row, query);
        }
        let hashes: Vec<u8> = part.iter().flat_map(|write| write.row.raw_hash().0).collect();
        let query = query
            .bind(account)
            .bind(hashes)
            .bind(stamp_text(first.changed_at))
            .bind(first.num.map(|number| number - 1));
        added += query.execute(&mut *conn).await.doing("writing rows")?.rows_affected();
        writes = after;
    }
    Ok(added)
}

/// The statements that write a table.
struct Table {
    /// Copies rows into the history, where there is one.
    keep: Option<&'static Repeated>,
    /// Replaces rows.
    put: &'static Repeated,
    /// Adds rows.
    add: &'static Repeated,
}

impl Table {
    fn of(resource: Resource) -> Option<Self> {
        match resource {
            Resource::Contacts => Some(Self {
                keep: Some(&contacts::KEEP_MANY),
                put: &contacts::PUT_MANY,
                add: &contacts::ADD_MANY,
            }),
            Resource::Conversations => Some(Self {
                keep: Some(&conversations::KEEP_MANY),
                put: &conversations::PUT_MANY,
                add: &conversations::ADD_MANY,
            }),
            Resource::Messages => Some(Self {
                keep: None,
                put: &messages::PUT_MANY,
                add: &messages::ADD_MANY,
            }),
            Resource::Analytics => None,
        }
    }
}

/// A statement whose parameters are being bound.
pub(super) type Query<'q> = sqlx::query::Query<'q, Driver, SqliteArguments>;

/// Texts on their way into a statement. The thread that executes it would free them one by one, each under the lock of
/// the thread that made them, and the two would wait for each other; so they are kept here until it is done.
#[derive(Default)]
pub(super) struct Texts {
    kept: Vec<Arc<str>>,
    stamp: Option<(DateTime<Utc>, Arc<str>)>,
}

impl Texts {
    pub(super) fn text(&mut self, text: Option<&str>) -> Option<Arc<str>> {
        let text: Arc<str> = text?.into();
        self.kept.push(Arc::clone(&text));
        Some(text)
    }

    /// A moment of the warehouse's own. The rows of a page are written at one moment, put into words once.
    pub(super) fn stamp(&mut self, at: DateTime<Utc>) -> Arc<str> {
        match &self.stamp {
            Some((last, text)) if *last == at => Arc::clone(text),
            _ => {
                let text: Arc<str> = stamp_text(at).into();
                self.stamp = Some((at, Arc::clone(&text)));
                text
            }
        }
    }
}

#[cfg(test)]
mod tests;
