//! Postgres: a server, everything in one schema.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Postgres as Driver, Transaction};

use super::automation::Interests;
use super::error::{Doing as _, Error, explain, is_away};
use super::jobs::Fence;
use super::mirrored::Write;
use super::statement::{has_given_up, in_time};
use super::{contacts, conversations, messages, migrations};
use crate::allai::Resource;
use crate::clock::SharedClock;

const CONNECTIONS: u32 = 8;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// After how long a server that is starting up is asked again.
const NOT_UP_YET: Duration = Duration::from_millis(200);
/// How long a server that was away may take for a connection before it counts as still away.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may be idle and still be taken for alive.
const TRUSTED_FOR: Duration = Duration::from_secs(1);
/// How long a connection may take for a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// How often is asked whether another program still migrates, and how long.
const MIGRATED_YET: Duration = Duration::from_millis(500);
const MIGRATED_BY_OTHERS: Duration = Duration::from_mins(30);

/// One writer at a time per account and resource, so that two programs that meet the same page do not write its
/// history twice. Held to the end of the transaction.
const LOCK: &str =
    "SELECT pg_advisory_xact_lock(hashtextextended('allai-sync ' || current_schema() || ' ' || $1 || ' ' || $2, 0))";
/// The same, for whoever migrates the schema; held by the session, because migrations have transactions of their own. One
/// that waited would never learn that the server is gone.
const MIGRATION_LOCK: &str = "SELECT pg_try_advisory_lock(hashtextextended('allai-sync migrates ' || $1, 0))";
const SCHEMA_EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)";
/// No row where there is no such schema.
const SCHEMA_IS_OPEN: &str = "SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = $1";
const SET_READ_ONLY: &str = "SELECT set_config('default_transaction_read_only', 'on', false)";
const SAVEPOINT: &str = "SAVEPOINT page";
const ROLL_BACK: &str = "ROLLBACK TO SAVEPOINT page; RELEASE SAVEPOINT page";
/// Whatever the database's default: what is looked up under a lock must be what is there once the lock is held. And a
/// program that stands still in the middle of a transaction does not keep the others from what it has locked: its
/// transaction is ended, which it takes for an outage when it goes on. A commit waits for the disk, if only the server's own.
const SET_UP: &str = "SELECT set_config('search_path', $1, false), \
                      set_config('default_transaction_isolation', 'read committed', false), \
                      set_config('idle_in_transaction_session_timeout', '15s', false), \
                      set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'local' \
                      ELSE current_setting('synchronous_commit') END, false)";
/// A statement that nobody waits for any more is ended, by servers that can tell: those of PostgreSQL 14 and later on Linux.
const END_WHAT_IS_GIVEN_UP: &str = "SELECT set_config(name, '10s', false) FROM pg_settings \
                                    WHERE name = 'client_connection_check_interval' AND version() LIKE '%linux%'";

/// What a warehouse is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// The server refuses to write.
    Read,
    Write,
}

/// An open Postgres warehouse.
#[derive(Clone)]
pub struct Postgres {
    pool: PgPool,
    options: Arc<PgConnectOptions>,
    schema: String,
    server: String,
    pub(super) fence: Option<Arc<Fence>>,
    pub(super) interests: Interests,
    pub(super) clock: SharedClock,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Postgres")
            .field("server", &self.server)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl Postgres {
    /// Connects only when something is asked.
    pub(super) fn new(url: &str, schema: &str, access: Access, clock: SharedClock) -> Result<Self, Error> {
        check_schema(schema)?;
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| Error::Location {
                key: "url",
                // The parser's own message may quote parts of the URL, and with them the password.
                problem: "not a Postgres URL; write postgres://user:password@host:5432/database, with special \
                          characters of the password percent-encoded"
                    .to_owned(),
            })?
            .application_name("allai-sync");
        let server = format!(
            "{}@{}:{}/{}",
            options.get_username(),
            options.get_host(),
            options.get_port(),
            options.get_database().unwrap_or(options.get_username())
        );
        let quoted = quote(schema);
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(CONNECT_TIMEOUT)
            // A round trip for each use is much; what was used a moment ago is most likely alive.
            .test_before_acquire(false)
            .before_acquire(|conn, known| {
                Box::pin(async move {
                    if known.idle_for > TRUSTED_FOR {
                        check_alive(conn).await?;
                    }
                    Ok(true)
                })
            })
            // The pool looks too, but without end.
            .after_release(|conn, _| {
                Box::pin(async move {
                    if has_given_up() {
                        check_alive(conn).await?;
                    }
                    Ok(true)
                })
            })
            .after_connect(move |conn, _| {
                let quoted = quoted.clone();
                Box::pin(async move {
                    sqlx::query(SET_UP).bind(quoted).execute(&mut *conn).await?;
                    sqlx::query(END_WHAT_IS_GIVEN_UP).execute(&mut *conn).await?;
                    if access == Access::Read {
                        sqlx::query(SET_READ_ONLY).execute(conn).await?;
                    }
                    Ok(())
                })
            })
            .connect_lazy_with(options.clone());
        Ok(Self {
            pool,
            options: Arc::new(options),
            schema: schema.to_owned(),
            server,
            fence: None,
            interests: Interests::default(),
            clock,
        })
    }

    /// Connects once, by itself: a pool would retry a refused connection until its timeout.
    pub(super) async fn reach(&self) -> Result<(), Error> {
        let probe = connect_when_up(&self.options, &self.clock);
        let Ok(probed) = tokio::time::timeout(CONNECT_TIMEOUT, probe).await else {
            return Err(Error::Connect {
                server: self.server.clone(),
                problem: "no answer within 30 s; check host, port and firewall".to_owned(),
                is_away: true,
            });
        };
        drop(probed.map_err(|error| self.not_connected(&error))?.close().await);
        Ok(())
    }

    fn not_connected(&self, error: &sqlx::Error) -> Error {
        let is_away = match error {
            // A certificate that cannot be read, or a socket that is not there yet.
            sqlx::Error::Io(problem) if problem.kind() == std::io::ErrorKind::NotFound => {
                self.options.get_socket().is_some() || self.options.get_host().starts_with('/')
            }
            sqlx::Error::Io(problem) if problem.kind() == std::io::ErrorKind::PermissionDenied => false,
            error => is_away(error),
        };
        Error::Connect {
            server: self.server.clone(),
            problem: connect_problem(error),
            is_away,
        }
    }

    pub(super) fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// `user@host:port/database`, never the password.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// Whether the server takes connections; the pool's idle ones that are dead are dropped.
    pub(super) async fn answer(&self) -> Result<(), Error> {
        let connecting = PgConnection::connect_with(&self.options);
        let connected = tokio::time::timeout(ANSWER_TIMEOUT, connecting).await;
        let conn = connected
            .unwrap_or(Err(sqlx::Error::PoolTimedOut))
            .doing("connecting")?;
        drop(conn.close().await);
        let mut alive = Vec::new();
        while let Some(mut conn) = self.pool.try_acquire() {
            if check_alive(&mut conn).await.is_ok() {
                alive.push(conn);
            } else {
                conn.close_on_drop();
            }
        }
        Ok(())
    }

    pub(super) async fn begin(&self) -> Result<Transaction<'static, Driver>, Error> {
        in_time(self.pool.begin()).await.doing("beginning to write")
    }

    /// Fails if the schema is there, but hidden from this user: its tables would seem to be missing.
    pub(super) async fn check_schema_is_open(&self) -> Result<(), Error> {
        let looking = sqlx::query_as(SCHEMA_IS_OPEN)
            .bind(&self.schema)
            .fetch_optional(&self.pool);
        let open: Option<(bool,)> = in_time(looking).await.doing("looking for the schema")?;
        if open == Some((false,)) {
            let quoted = quote(&self.schema);
            return Err(Error::Location {
                key: "schema",
                problem: format!(
                    "this user may not look into {quoted}: GRANT USAGE ON SCHEMA {quoted}, and SELECT ON ALL TABLES IN \
                     SCHEMA {quoted}, to it"
                ),
            });
        }
        Ok(())
    }

    /// Migrates on a connection of its own, whose end releases the lock whatever happened.
    pub(super) async fn migrate(&self) -> Result<(), Error> {
        let mut conn = PgConnection::connect_with(&self.options)
            .await
            .map_err(|error| self.not_connected(&error))?;
        let quoted = quote(&self.schema);
        self.wait_to_migrate(&mut conn).await?;
        // Asked first, because CREATE SCHEMA IF NOT EXISTS needs the right to create even when there is nothing to do.
        let (exists,): (bool,) = sqlx::query_as(SCHEMA_EXISTS)
            .bind(&self.schema)
            .fetch_one(&mut conn)
            .await
            .doing("looking for the schema")?;
        if !exists {
            conn.execute(AssertSqlSafe(format!("CREATE SCHEMA {quoted}")))
                .await
                .map_err(|error| Error::Migration {
                    problem: format!(
                        "cannot create the schema {quoted}: {}; create it and grant this user its use, or grant the \
                         user CREATE on the database",
                        explain(&error)
                    ),
                })?;
        }
        sqlx::query(SET_UP)
            .bind(quoted)
            .execute(&mut conn)
            .await
            .doing("selecting the schema")?;
        migrations::POSTGRES
            .run_direct(None, &mut conn, false)
            .await
            .map_err(|error| Error::from_migration(error, migrations::newest(&migrations::POSTGRES)))?;
        conn.close().await.doing("closing the migration's connection")
    }

    /// Waits until nobody else migrates.
    async fn wait_to_migrate(&self, conn: &mut PgConnection) -> Result<(), Error> {
        let since = self.clock.monotonic();
        let mut has_told = false;
        loop {
            let locking = sqlx::query_scalar(MIGRATION_LOCK).bind(&self.schema);
            if in_time(locking.fetch_one(&mut *conn))
                .await
                .doing("waiting to migrate")?
            {
                return Ok(());
            }
            if !std::mem::replace(&mut has_told, true) {
                tracing::info!("another program upgrades the warehouse's tables; waiting for it");
            }
            if self.clock.monotonic().saturating_sub(since) >= MIGRATED_BY_OTHERS {
                return Err(Error::Migration {
                    problem: "another program upgrades the tables for half an hour by now: see that it still works, or stop it"
                        .to_owned(),
                });
            }
            self.clock.sleep(MIGRATED_YET).await;
        }
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// Waits for the other writers of an account's resource.
pub(super) async fn lock(conn: &mut PgConnection, account: &str, resource: Resource) -> Result<(), Error> {
    let locking = sqlx::query(LOCK).bind(account).bind(resource.as_str()).execute(conn);
    in_time(locking).await.map(drop).doing("waiting for another writer")
}

/// Fails unless the connection gives a sign of life.
async fn check_alive(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let ping = tokio::time::timeout(SIGN_OF_LIFE, conn.ping());
    ping.await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Writes rows that are new, changed or back, with the versions they supersede. Each has its number. Says of each why the
/// server cannot hold it.
///
/// What Postgres refuses cannot all be foreseen (numbers JSONB has no room for, ids too long for an index), so a batch
/// that is refused is halved until the row is found.
pub(super) async fn write_rows(
    conn: &mut PgConnection,
    account: &str,
    resource: Resource,
    writes: &[Write<'_>],
) -> Result<Vec<Result<(), String>>, Error> {
    let mut results = vec![Ok(()); writes.len()];
    let mut pending = vec![(0, writes.len())];
    while let Some((from, to)) = pending.pop() {
        let part = &writes[from..to];
        let Some(refusal) = tried(conn, is_unstorable, async |conn| {
            write(conn, account, resource, part).await
        })
        .await?
        else {
            continue;
        };
        if part.len() == 1 {
            results[from] = Err(format!("PostgreSQL cannot hold it: {}", explain(&refusal)));
        } else {
            let middle = from + part.len() / 2;
            pending.push((middle, to));
            pending.push((from, middle));
        }
    }
    Ok(results)
}

/// Adds rows that are probably not there, and says whether it did: none is added if one of them is there, or cannot be
/// held.
pub(super) async fn add_rows(
    conn: &mut PgConnection,
    account: &str,
    resource: Resource,
    writes: &[Write<'_>],
) -> Result<bool, Error> {
    let is_expected = |error: &sqlx::Error| is_unstorable(error) || is_there_already(error);
    let refusal = tried(conn, is_expected, async |conn| {
        write(conn, account, resource, writes).await
    })
    .await?;
    Ok(refusal.is_none())
}

/// Writes rows all together. Those without a predecessor are plainly inserted: to look out for rows that are there costs
/// Postgres a third more, and they were looked up.
async fn write(
    conn: &mut PgConnection,
    account: &str,
    resource: Resource,
    writes: &[Write<'_>],
) -> Result<(), sqlx::Error> {
    let Some(table) = Table::of(resource) else {
        return Ok(());
    };
    let (known, new): (Vec<&Write<'_>>, Vec<&Write<'_>>) = writes.iter().partition(|write| write.supersedes);
    if let (false, Some(keep)) = (known.is_empty(), table.keep) {
        sqlx::query(keep)
            .bind(account)
            .bind(known.iter().map(|write| write.row.id()).collect::<Vec<_>>())
            .bind(known.iter().map(|write| write.changed_at).collect::<Vec<_>>())
            .execute(&mut *conn)
            .await?;
    }
    for (statement, rows) in [(table.put, known), (table.add, new)] {
        if !rows.is_empty() {
            let query = sqlx::query(statement).bind(account);
            (table.bind)(query, &rows).execute(&mut *conn).await?;
        }
    }
    Ok(())
}

/// Does `work` so that it leaves nothing behind, and can be followed by more, if the server refuses it for a reason that
/// `is_expected`; that reason.
async fn tried(
    conn: &mut PgConnection,
    is_expected: impl Fn(&sqlx::Error) -> bool,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<(), sqlx::Error>,
) -> Result<Option<sqlx::Error>, Error> {
    in_time(conn.execute(SAVEPOINT)).await.doing("writing rows")?;
    match in_time(work(conn)).await {
        // Savepoints last until the transaction ends; to release one would take as long as to make it.
        Ok(()) => Ok(None),
        Err(error) if is_expected(&error) => {
            in_time(conn.execute(ROLL_BACK)).await.doing("writing rows")?;
            Ok(Some(error))
        }
        Err(error) => Err(error).doing("writing rows"),
    }
}

/// The statements that write a table.
struct Table {
    /// Copies rows into the history, where there is one.
    keep: Option<&'static str>,
    /// Replaces rows.
    put: &'static str,
    /// Adds rows.
    add: &'static str,
    bind: Bind,
}

impl Table {
    fn of(resource: Resource) -> Option<Self> {
        match resource {
            Resource::Contacts => Some(Self {
                keep: Some(contacts::KEEP.postgres),
                put: contacts::PUT.postgres,
                add: contacts::ADD.postgres,
                bind: contacts::bind_arrays,
            }),
            Resource::Conversations => Some(Self {
                keep: Some(conversations::KEEP.postgres),
                put: conversations::PUT.postgres,
                add: conversations::ADD.postgres,
                bind: conversations::bind_arrays,
            }),
            Resource::Messages => Some(Self {
                keep: None,
                put: messages::PUT.postgres,
                add: messages::ADD.postgres,
                bind: messages::bind_arrays,
            }),
            Resource::Analytics => None,
        }
    }
}

/// A statement whose parameters are being bound.
pub(super) type Query<'q> = sqlx::query::Query<'q, Driver, PgArguments>;

/// Binds the columns of rows, each as an array.
type Bind = for<'q> fn(Query<'q>, &[&Write<'_>]) -> Query<'q>;

/// Whether the fault is in the values: data exceptions (22), limits such as an index entry's length or the nesting of
/// JSON (54), or a value that has no encoding at all. <https://www.postgresql.org/docs/15/errcodes-appendix.html>
pub(super) fn is_unstorable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Encode(_) => true,
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| code.starts_with("22") || code.starts_with("54")),
        _ => false,
    }
}

/// Whether a row is there already. <https://www.postgresql.org/docs/15/errcodes-appendix.html>
fn is_there_already(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.code().as_deref() == Some("23505"))
}

/// Connects; a server that says that it is starting up or shutting down is waited for.
async fn connect_when_up(options: &PgConnectOptions, clock: &SharedClock) -> Result<PgConnection, sqlx::Error> {
    loop {
        match PgConnection::connect_with(options).await {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("57P03") => {
                clock.sleep(NOT_UP_YET).await;
            }
            connected => return connected,
        }
    }
}

fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

fn check_schema(schema: &str) -> Result<(), Error> {
    // 63 bytes: https://www.postgresql.org/docs/15/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS
    let problem = if schema.is_empty() || schema.len() > 63 {
        "must have 1 to 63 characters"
    } else if !schema.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        "may contain letters, digits and underscores only"
    } else if schema.to_ascii_lowercase().starts_with("pg_") {
        "must not start with pg_, which PostgreSQL keeps for itself"
    } else {
        return Ok(());
    };
    Err(Error::Location {
        key: "schema",
        problem: format!("{problem}; e.g. allai"),
    })
}

fn connect_problem(error: &sqlx::Error) -> String {
    let remedy = match error {
        sqlx::Error::Io(_) => "check host and port, and that the server is running",
        sqlx::Error::Tls(_) => "check the certificate, or set sslmode and sslrootcert in the URL",
        sqlx::Error::Database(error) => match error.code().as_deref() {
            Some("28P01" | "28000") => "check user and password in warehouse.url",
            Some("3D000") => "create the database, or correct its name in warehouse.url",
            Some("53300") => "the server has no connection left; raise max_connections or close others",
            _ => "",
        },
        _ => "",
    };
    let words = explain(error);
    if remedy.is_empty() {
        words
    } else {
        format!("{words}; {remedy}")
    }
}
