//! Statements, and how the same code runs them on either database.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, SqliteConnection, Transaction};

use super::error::{Doing as _, Error};
use super::sqlite::Seen;
use super::{Warehouse, postgres, sqlite};
use crate::allai::Resource;

/// How long Postgres may take for a statement. A server that is gone without a word, or a firewall that forgets a connection,
/// would be waited for without end: whoever waits for an answer sends nothing, and so never learns.
const DEADLINE: Duration = Duration::from_mins(1);

/// Whether an answer was ever not waited for: then connections are not to be trusted when they come back to the pool.
static GAVE_UP: AtomicBool = AtomicBool::new(false);

/// Waits for an answer of Postgres, but not for ever; then it is as if the connection was lost.
pub(super) fn in_time<T>(
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> impl Future<Output = Result<T, sqlx::Error>> {
    // On the heap, else every future that waits for a statement would hold it twice.
    let answer = Box::pin(answer);
    async {
        let unanswered = Unanswered;
        let Ok(answer) = tokio::time::timeout(DEADLINE, answer).await else {
            let problem = format!("the server did not answer within {} s", DEADLINE.as_secs());
            let problem = std::io::Error::new(std::io::ErrorKind::TimedOut, problem);
            return Err(sqlx::Error::Io(problem));
        };
        std::mem::forget(unanswered);
        answer
    }
}

/// Dropped while there is no answer: somebody else has lost patience.
struct Unanswered;

impl Drop for Unanswered {
    fn drop(&mut self) {
        GAVE_UP.store(true, Ordering::Relaxed);
    }
}

/// Whether an answer was ever not waited for.
pub(super) fn has_given_up() -> bool {
    GAVE_UP.load(Ordering::Relaxed)
}

/// Which database is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// SQLite.
    Sqlite,
    /// Postgres.
    Postgres,
}

/// What stands for a statement the other database alone has.
const NOTHING: &str = "SELECT 1";

/// One statement, in the words of each database.
#[derive(Clone, Copy, Debug)]
pub struct Statement {
    /// For SQLite.
    pub sqlite: &'static str,
    /// For Postgres.
    pub postgres: &'static str,
}

impl Statement {
    /// A statement both databases understand.
    pub(super) const fn shared(sql: &'static str) -> Self {
        Self {
            sqlite: sql,
            postgres: sql,
        }
    }

    /// A statement for which Postgres has another way.
    pub(super) const fn sqlite_only(sql: &'static str) -> Self {
        Self {
            sqlite: sql,
            postgres: NOTHING,
        }
    }

    /// A statement for which SQLite has another way.
    pub(super) const fn postgres_only(sql: &'static str) -> Self {
        Self {
            sqlite: NOTHING,
            postgres: sql,
        }
    }

    pub(super) const fn of(self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Sqlite => self.sqlite,
            Dialect::Postgres => self.postgres,
        }
    }
}

/// A statement that differs in one place only: how it asks whether a column's value is in the list that is a
/// parameter: `in_list!("… WHERE ", "id", "$2", " AND …")`.
macro_rules! in_list {
    ($before:expr, $column:expr, $parameter:expr, $after:expr) => {
        $crate::warehouse::statement::Statement {
            sqlite: concat!(
                $before,
                $column,
                " IN (SELECT value FROM json_each(",
                $parameter,
                "))",
                $after
            ),
            postgres: concat!($before, $column, " = ANY(", $parameter, ")", $after),
        }
    };
}

/// Runs the same code against whichever database a [`Conn`] speaks to.
macro_rules! on {
    ($conn:expr, $inner:ident, $dialect:ident => $body:expr) => {
        match $conn {
            $crate::warehouse::statement::Conn::Sqlite(inner) => {
                let ($inner, $dialect) = (&mut **inner, $crate::warehouse::statement::Dialect::Sqlite);
                $body
            }
            $crate::warehouse::statement::Conn::Postgres(inner) => {
                let ($inner, $dialect) = (&mut **inner, $crate::warehouse::statement::Dialect::Postgres);
                $crate::warehouse::statement::in_time(async { $body }).await
            }
        }
    };
}

/// Runs the same code against the pool whichever database the warehouse is has for reading.
macro_rules! reading {
    ($warehouse:expr, $pool:ident, $dialect:ident => $body:expr) => {
        match $warehouse {
            $crate::warehouse::Warehouse::Sqlite(database) => {
                let ($pool, $dialect) = (database.readers(), $crate::warehouse::statement::Dialect::Sqlite);
                $body
            }
            $crate::warehouse::Warehouse::Postgres(database) => {
                let ($pool, $dialect) = (database.pool(), $crate::warehouse::statement::Dialect::Postgres);
                $crate::warehouse::statement::in_time(async { $body }).await
            }
        }
    };
}

pub(super) use {in_list, on, reading};

/// A borrowed connection to either database.
pub(super) enum Conn<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection),
}

/// A connection for several reads.
pub(super) enum Reader {
    Sqlite(PoolConnection<sqlx::Sqlite>),
    Postgres(PoolConnection<sqlx::Postgres>),
}

impl Reader {
    pub(super) fn conn(&mut self) -> Conn<'_> {
        match self {
            Self::Sqlite(conn) => Conn::Sqlite(conn),
            Self::Postgres(conn) => Conn::Postgres(conn),
        }
    }
}

/// A write transaction; dropped, it rolls back.
pub(super) enum Tx {
    Sqlite(sqlite::Writing),
    Postgres(Transaction<'static, sqlx::Postgres>),
}

impl Tx {
    pub(super) fn conn(&mut self) -> Conn<'_> {
        match self {
            Self::Sqlite(tx) => Conn::Sqlite(tx.conn()),
            Self::Postgres(tx) => Conn::Postgres(tx),
        }
    }

    /// How it found SQLite's file; Postgres has nothing of the kind.
    pub(super) const fn seen(&self) -> Option<Seen> {
        match self {
            Self::Sqlite(tx) => Some(tx.seen),
            Self::Postgres(_) => None,
        }
    }

    pub(super) async fn commit(self) -> Result<(), Error> {
        match self {
            Self::Sqlite(tx) => tx.commit().await,
            Self::Postgres(tx) => in_time(tx.commit()).await,
        }
        .doing("committing")
    }
}

impl Warehouse {
    pub(super) async fn reader(&self) -> Result<Reader, Error> {
        match self {
            Self::Sqlite(database) => database.readers().acquire().await.map(Reader::Sqlite),
            Self::Postgres(database) => database.pool().acquire().await.map(Reader::Postgres),
        }
        .doing("getting a connection")
    }

    /// Begins to write what must outlast a power cut: the commit waits for the disk.
    pub(super) async fn begin_durably(&self) -> Result<Tx, Error> {
        Ok(match self {
            Self::Sqlite(database) => Tx::Sqlite(database.begin_durably().await?),
            // Every commit of Postgres waits for the disk: see what its connections are set up with.
            Self::Postgres(database) => Tx::Postgres(database.begin().await?),
        })
    }

    /// Begins to write. `locked` names the account and resource whose other writers must wait; SQLite has one writer
    /// anyway.
    ///
    /// A commit of Postgres waits for the disk, pages' commits too: a run goes on from what it knows to be stored, also
    /// when the server crashes and is back before the run's next statement.
    pub(super) async fn begin(&self, account: &str, locked: &[Resource]) -> Result<Tx, Error> {
        Ok(match self {
            Self::Sqlite(database) => Tx::Sqlite(database.begin().await?),
            Self::Postgres(database) => {
                let mut tx = database.begin().await?;
                for resource in locked {
                    postgres::lock(&mut tx, account, *resource).await?;
                }
                if let Some(fence) = &database.fence {
                    fence.check(&mut tx).await?;
                }
                Tx::Postgres(tx)
            }
        })
    }
}
