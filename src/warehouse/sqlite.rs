//! SQLite: a file, one writer, several readers.
//!
//! WAL lets BI tools read while a sync writes; `synchronous=NORMAL` may lose the last commits in a power cut, never
//! the file, and a lost page is fetched again. Transactions begin IMMEDIATE: one that starts by reading and then
//! writes could otherwise fail as busy at once, whatever the timeout.

mod rows;

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sqlx::Sqlite as Driver;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use super::automation::Interests;
use super::error::{Doing as _, Error, explain};
use super::interim::Beside;
use super::jobs::Fence;
use super::migrations;
use crate::clock::SharedClock;
pub(super) use rows::{Query, Texts, add_rows, write_rows};

const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it is tried to open a file that another program is about to make, and how far apart.
const OPENING: Duration = Duration::from_secs(2);
const BETWEEN_OPENINGS: Duration = Duration::from_millis(50);
const READERS: u32 = 4;
/// Readers that were not needed for so long are closed.
const READER_IDLE: Duration = Duration::from_secs(10);
/// What the writer keeps of the file in memory, in KiB (negative: SQLite's own words). Ids arrive in no order, so that
/// a page of a list is written all over the index: it should be in memory.
const CACHE: &str = "-6144";
/// After how many pages of 4 KiB the WAL is folded into the file. A page of the index that is written again and again
/// is folded once.
const CHECKPOINT_PAGES: &str = "4000";
/// What a connection keeps of the file in memory goes back to the system (<https://sqlite.org/pragma.html#pragma_shrink_memory>).
const SHRINK: &str = "PRAGMA shrink_memory";
const BEGIN: &str = "BEGIN IMMEDIATE";
/// Begins, and says which version of the file this is: another one if another connection has written since
/// (<https://sqlite.org/pragma.html#pragma_data_version>). In one statement: each is handed to a thread and back.
const BEGIN_AT_VERSION: &str = "BEGIN IMMEDIATE; PRAGMA data_version";
/// The same, and a second row if a claim is still its holder's.
const BEGIN_FENCED: &str = "BEGIN IMMEDIATE; PRAGMA data_version; \
                            SELECT 1 FROM jobs WHERE account = $1 AND resource = $2 AND holder = $3 AND fence = $4";
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
    /// What is noted beside the file; nothing where it is only read.
    beside: Option<Beside>,
    pub(super) fence: Option<Arc<Fence>>,
    pub(super) interests: Interests,
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
            beside: Some(Beside::of(path)),
            fence: None,
            interests: Interests::default(),
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
            beside: None,
            fence: None,
            interests: Interests::default(),
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

    /// What is noted beside the file.
    pub(super) const fn beside(&self) -> Option<&Beside> {
        self.beside.as_ref()
    }

    pub(super) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    /// Begins to write, if what is claimed is still its holder's.
    pub(super) async fn begin(&self) -> Result<Writing, Error> {
        self.begin_with(false, self.fence.as_deref()).await
    }

    /// Begins to write, whoever has claimed what; when it is committed, it is on the disk.
    pub(super) async fn begin_durably(&self) -> Result<Writing, Error> {
        self.begin_with(true, None).await
    }

    async fn begin_with(&self, durable: bool, fence: Option<&Fence>) -> Result<Writing, Error> {
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
        let statement = match fence {
            Some(fence) => fence.bind(sqlx::query_scalar(BEGIN_FENCED)),
            None if durable => sqlx::query_scalar(BEGIN_DURABLY),
            None => sqlx::query_scalar(BEGIN_AT_VERSION),
        };
        let found = statement.fetch_all(writing.conn()).await;
        let found = found.map_err(|error| self.refused(error))?;
        writing.seen.version = found.first().copied().unwrap_or_default();
        if fence.is_some() && found.len() < 2 {
            return Err(Error::TakenOver);
        }
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
        if let Some(beside) = &self.beside {
            beside.close().await;
        }
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

    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        self.commit_by(sqlx::query(COMMIT)).await
    }

    /// Commits by a statement that ends with one: what is done last, and the commit, in one step.
    pub(super) async fn commit_by(mut self, statement: Query<'_>) -> Result<(), sqlx::Error> {
        statement.execute(self.conn()).await?;
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

/// Whether the file is none of SQLite's, or not whole.
pub(super) fn is_damaged(error: &dyn sqlx::error::DatabaseError) -> bool {
    matches!(primary_code(error), Some(11 | 26))
}

/// The primary result code, the low byte of the extended one: <https://sqlite.org/rescode.html>.
fn primary_code(error: &dyn sqlx::error::DatabaseError) -> Option<i32> {
    error.code()?.parse::<i32>().ok().map(|code| code & 0xff)
}

#[cfg(test)]
mod tests;
