//! The only place where SQL runs: connections, read-only transactions and deadlines.
//!
//! A lookup borrows a connection, opens a transaction that only reads, asks, and rolls back. If it is cancelled or its time is
//! up, wherever it is, the connection is closed rather than given back, so that no later lookup finds an earlier one's rows;
//! the server has a shorter limit of its own and does not go on for long. A connection that turns out to be lost is replaced
//! once: reading twice does no harm.

mod mysql;
mod postgres;
mod sqlite;

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{ConnectOptions, Connection};
use tokio::sync::Semaphore;

use super::SYSTEM;
use super::config::Config;
use super::failure::{self, Doing};
use super::query::{Bound, Dialect};
use super::rows::Rows;
use crate::Error;
use crate::time::monotonic;

/// A connection that has not been used for as long is not used again: something between may have forgotten it.
const STALE: Duration = Duration::from_mins(1);

/// How long the end of a connection may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// How much the values of one query may take up: far more than any answer that somebody reads.
pub(super) const MOST_BYTES: usize = 8 << 20;

/// What is to be done in a transaction.
#[derive(Clone, Debug)]
pub(super) enum Task {
    /// Runs a query and returns its rows, `max` at most.
    Rows {
        sql: String,
        bound: Vec<Bound>,
        max: usize,
        /// Whether the same text will come again, and is worth keeping prepared.
        again: bool,
    },
    /// Prepares a query and returns the names of its columns.
    Columns { sql: String, bound: Vec<Bound> },
}

impl Task {
    /// Whether there are letters among the values that not every encoding has.
    fn is_beyond_ascii(&self) -> bool {
        matches!(self, Self::Rows { bound, .. } if bound.iter().any(|value| matches!(value, Bound::Text(text) if !text.is_ascii())))
    }
}

/// What differs between the drivers.
trait Session: Connection<Options: ConnectOptions<Connection = Self>> + 'static {
    const DIALECT: Dialect;

    fn options(url: &str, limit: Duration) -> Result<Self::Options, sqlx::Error>;

    /// Settles a fresh connection: no statement is to take longer than the limit. `stop` may be set at any time, and the
    /// connection is dropped then.
    fn settle(
        &mut self,
        limit: Duration,
        stop: &Arc<AtomicBool>,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    /// Begins a transaction that only reads.
    fn begin_reading(&mut self, limit: Duration) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

    fn perform(&mut self, task: &Task) -> impl Future<Output = Result<Rows, sqlx::Error>> + Send;

    fn roll_back(&mut self) -> impl Future<Output = Result<(), sqlx::Error>> + Send;
}

/// What the drivers do alike, but for their types, and for whether they keep statements prepared.
macro_rules! same_for_all {
    ($driver:ty, $keeps_statements:literal) => {
        async fn perform(&mut self, task: &crate::sql::database::Task) -> Result<crate::sql::rows::Rows, sqlx::Error> {
            use futures_util::TryStreamExt as _;
            use sqlx::{AssertSqlSafe, Column as _, Executor as _, Row as _, SqlSafeStr as _, Statement as _};

            let names = |columns: &[<$driver as sqlx::Database>::Column]| {
                columns.iter().map(|column| column.name().to_owned()).collect()
            };
            let mut answer = crate::sql::rows::Rows::default();
            match task {
                crate::sql::database::Task::Columns { sql, bound } => {
                    let types = types(bound);
                    let statement = self
                        .prepare_with(AssertSqlSafe(sql.clone()).into_sql_str(), &types)
                        .await?;
                    answer.columns = names(statement.columns());
                }
                crate::sql::database::Task::Rows {
                    sql,
                    bound,
                    max,
                    again,
                } => {
                    let mut arguments = <$driver as sqlx::Database>::Arguments::default();
                    for value in bound {
                        bind(&mut arguments, value).map_err(sqlx::Error::Encode)?;
                    }
                    let query = sqlx::query_with::<$driver, _>(AssertSqlSafe(sql.clone()), arguments);
                    let mut bytes = 0;
                    let mut rows = self.fetch(query.persistent($keeps_statements && *again));
                    while let Some(row) = rows.try_next().await? {
                        if answer.cells.len() == *max {
                            answer.cut = true;
                            break;
                        }
                        if answer.columns.is_empty() {
                            answer.columns = names(row.columns());
                        }
                        let row: Vec<_> = (0..row.len()).map(|at| cell(&row, at)).collect();
                        bytes += row.iter().map(crate::sql::value::Cell::size).sum::<usize>();
                        if bytes > crate::sql::database::MOST_BYTES {
                            answer.cut = true;
                            break;
                        }
                        answer.cells.push(row);
                    }
                }
            }
            Ok(answer)
        }

        async fn roll_back(&mut self) -> Result<(), sqlx::Error> {
            use sqlx::Executor as _;

            self.execute(sqlx::raw_sql("ROLLBACK")).await.map(drop)
        }
    };
}
use same_for_all;

struct Held<C> {
    // The first to be dropped.
    _stop: Stop,
    connection: C,
    used: Instant,
}

/// Dropped with its connection, it stops what SQLite does in a thread of its own, which would go on.
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Pool<C: Session> {
    options: C::Options,
    permits: Semaphore,
    idle: Mutex<Vec<Held<C>>>,
    limit: Duration,
}

/// The end of an attempt.
struct Failed {
    error: sqlx::Error,
    doing: Doing,
}

impl<C: Session> Pool<C> {
    fn new(config: &Config, url: &str) -> Result<Self, sqlx::Error> {
        let limit = config.timeout * 9 / 10;
        Ok(Self {
            options: C::options(url, limit)?.disable_statement_logging(),
            permits: Semaphore::new(config.connections.get()),
            idle: Mutex::new(Vec::new()),
            limit,
        })
    }

    async fn ask(&self, task: &Task, doing: Doing) -> Result<Rows, Failed> {
        // It is never closed.
        let _permit = self.permits.acquire().await.ok();
        match self.attempt(self.idle(), task, doing).await {
            Err(failed) if failed.doing != Doing::Connecting && failure::is_lost(&failed.error, C::DIALECT) => {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
                self.attempt(None, task, doing).await
            }
            result => result,
        }
    }

    /// Dropped at any point, it closes the connection.
    async fn attempt(&self, held: Option<Held<C>>, task: &Task, doing: Doing) -> Result<Rows, Failed> {
        let failed = |doing| move |error| Failed { error, doing };
        let mut held = match held {
            Some(held) => held,
            None => self.connect().await.map_err(failed(Doing::Connecting))?,
        };
        let mut result = match held.connection.begin_reading(self.limit).await {
            Ok(()) => held.connection.perform(task).await,
            Err(error) => Err(error),
        };
        let is_usable = match &result {
            Ok(_) => true,
            Err(error @ sqlx::Error::Database(_)) => !failure::is_lost(error, C::DIALECT),
            Err(_) => false,
        };
        if is_usable {
            match held.connection.roll_back().await {
                Ok(()) => {
                    held.used = monotonic();
                    self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(held);
                }
                // A connection that breaks may have ended the rows early, as if there were no more of them.
                Err(error) if result.is_ok() => result = Err(error),
                Err(_) => {}
            }
        }
        result.map_err(failed(doing))
    }

    fn idle(&self) -> Option<Held<C>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let (fresh, stale) = idle.drain(..).partition(|held| held.used.elapsed() < STALE);
        *idle = fresh;
        for held in stale as Vec<Held<C>> {
            // Servers note in their logs who just goes away.
            tokio::spawn(async move {
                tokio::time::timeout(FAREWELL, held.connection.close()).await.ok();
            });
        }
        idle.pop()
    }

    async fn connect(&self) -> Result<Held<C>, sqlx::Error> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut held = Held {
            _stop: Stop(Arc::clone(&stop)),
            connection: self.options.connect().await?,
            used: monotonic(),
        };
        held.connection.settle(self.limit, &stop).await?;
        Ok(held)
    }
}

/// The database of one configuration.
pub(super) struct Database {
    pool: Pools,
    timeout: Duration,
}

enum Pools {
    Sqlite(Pool<sqlx::SqliteConnection>),
    Postgres(Pool<sqlx::PgConnection>),
    Mysql(Pool<sqlx::MySqlConnection>),
}

impl Database {
    /// Reads the URL; nothing is connected yet.
    pub(super) fn new(config: &Config, url: &str, dialect: Dialect) -> Result<Self, Error> {
        let pool = match dialect {
            Dialect::Sqlite => Pool::new(config, url).map(Pools::Sqlite),
            Dialect::Postgres => Pool::new(config, url).map(Pools::Postgres),
            Dialect::Mysql => Pool::new(config, url).map(Pools::Mysql),
        };
        Ok(Self {
            pool: pool.map_err(|_| Error::Rejected {
                system: SYSTEM,
                field: Some("url".to_owned()),
                // What the driver says of it may quote it.
                message: "it is not understood".to_owned(),
            })?,
            timeout: config.timeout,
        })
    }

    pub(super) const fn dialect(&self) -> Dialect {
        match self.pool {
            Pools::Sqlite(_) => Dialect::Sqlite,
            Pools::Postgres(_) => Dialect::Postgres,
            Pools::Mysql(_) => Dialect::Mysql,
        }
    }

    /// Connects, begins, asks and rolls back.
    pub(super) async fn ask(&self, task: &Task, doing: Doing) -> Result<Rows, Error> {
        let result = match &self.pool {
            Pools::Sqlite(pool) => pool.ask(task, doing).await,
            Pools::Postgres(pool) => pool.ask(task, doing).await,
            Pools::Mysql(pool) => pool.ask(task, doing).await,
        };
        match result {
            Err(failed) if task.is_beyond_ascii() && failure::is_unwritable(&failed.error, self.dialect()) => {
                Ok(Rows {
                    unwritable: true,
                    ..Rows::default()
                })
            }
            Err(failed) => Err(failure::explain(
                failed.error,
                failed.doing,
                self.dialect(),
                self.timeout,
            )),
            Ok(rows) => Ok(rows),
        }
    }

    /// Gives some work all the time there is, and no more.
    pub(super) async fn in_time<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let result = tokio::time::timeout(self.timeout, work).await;
        result.unwrap_or_else(|_| Err(failure::out_of_time(self.timeout)))
    }
}
