//! What can go wrong with a warehouse, and what the reader can do about it.

use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;

/// A failure of the warehouse. No message holds the URL's password or a mirrored value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `warehouse.url` or `warehouse.schema` cannot be used as written.
    #[error("warehouse.{key}: {problem}")]
    Location {
        /// The member of the `[warehouse]` section.
        key: &'static str,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// The SQLite file or its folder cannot be created, opened or written.
    #[error("cannot open the warehouse {path}: {problem}")]
    File {
        /// The file, as configured.
        path: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The Postgres server cannot be reached, or refuses the connection.
    #[error("cannot connect to the warehouse at {server}: {problem}")]
    Connect {
        /// `user@host:port/database`, never the password.
        server: String,
        /// What is wrong and what to do.
        problem: String,
        /// Whether the server is only away, or has no connection left: not whether it refuses this program.
        is_away: bool,
    },
    /// Another program held the SQLite file for longer than the busy timeout.
    #[error("the warehouse {path} is locked by another program: close what writes to it, or try again later")]
    Locked {
        /// The file, as configured.
        path: String,
    },
    /// Another daemon keeps the SQLite file.
    #[error(
        "the warehouse {path} is kept by another daemon, {by}: stop that one first, give this one a file of its own, or use \
         Postgres, where several share the work"
    )]
    Kept {
        /// The file, as configured.
        path: String,
        /// The other daemon: `run@HOST:PROCESS-ID`.
        by: String,
    },
    /// The warehouse was written by a newer version of this program.
    #[error(
        "the warehouse has schema version {found}, this allai-sync knows up to {known}: upgrade allai-sync (the \
         warehouse was written by a newer one)"
    )]
    NewerSchema {
        /// The version found.
        found: i64,
        /// The newest version this program knows.
        known: i64,
    },
    /// The schema is missing or older than this program.
    #[error("the warehouse schema is missing or out of date: run `allai-sync migrate`")]
    NotMigrated,
    /// A migration failed or was tampered with.
    #[error("cannot upgrade the warehouse schema: {problem}")]
    Migration {
        /// What is wrong and what to do.
        problem: String,
    },
    /// The job that this is done for is another program's by now.
    #[error(
        "another program has taken over this job, because this one gave no sign of life: nothing more of it is stored"
    )]
    TakenOver,
    /// An earlier failure has rolled back pages that were stored and not committed.
    #[error("pages that were stored are rolled back after an earlier failure: go on from the last checkpoint")]
    RolledBack,
    /// The database refused a statement.
    #[error("the warehouse failed while {doing}: {problem}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// The database's own words.
        problem: String,
        /// The cause.
        #[source]
        source: Box<sqlx::Error>,
    },
}

impl Error {
    /// Whether the same call may succeed later without anybody changing anything: the database is busy, restarting or
    /// out of reach.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Locked { .. } => true,
            Self::Database { source, .. } => match &**source {
                sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed => true,
                // 40: serialization failure or deadlock; 53: out of resources; 57P: the server is shutting down.
                sqlx::Error::Database(error) => error
                    .code()
                    .is_some_and(|code| ["40", "53", "57P", "08"].iter().any(|class| code.starts_with(class))),
                _ => false,
            },
            _ => false,
        }
    }
}

impl Error {
    /// Whether another program has locked the file, which was waited for.
    pub(crate) const fn is_locked(&self) -> bool {
        matches!(self, Self::Locked { .. })
    }

    /// Whether the database refused what it was given, rather than that it cannot work: the same would be refused again.
    pub(crate) fn is_about_the_data(&self) -> bool {
        let Self::Database { source, .. } = self else {
            return false;
        };
        let sqlx::Error::Database(error) = &**source else {
            return false;
        };
        let code = error.code().unwrap_or_default();
        if error.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
            // Too big, a constraint, a mismatch: https://sqlite.org/rescode.html
            return code.parse::<i32>().is_ok_and(|code| matches!(code & 0xff, 18..=20));
        }
        // Data exceptions, constraints, limits: https://www.postgresql.org/docs/current/errcodes-appendix.html
        ["22", "23", "54"].iter().any(|class| code.starts_with(class))
    }

    /// Whether the server is away, or has no connection left, and is worth waiting for.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Connect { is_away, .. } => *is_away,
            Self::Database { source, .. } => is_away(source),
            _ => false,
        }
    }

    /// Whether the connection to the server is gone, but the server may be back: what was being done can be done again
    /// on another connection.
    pub(super) fn is_lost_connection(&self) -> bool {
        let Self::Database { source, .. } = self else {
            return false;
        };
        is_lost(source)
    }
}

/// Whether the server is away, or has no connection left.
pub(super) fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(refusal) if refusal.code().as_deref() == Some("53300") => true,
        error => is_lost(error),
    }
}

fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        // 57P01 to 57P03: the server shuts down, was killed, starts up; 08: the connection failed. Result codes of
        // SQLite are numbers from 1 on: https://sqlite.org/rescode.html
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| code.starts_with("57P0") || code.starts_with("08")),
        // sqlx's word for a server that hung up instead of saying whether it speaks TLS.
        sqlx::Error::Protocol(problem) => problem.starts_with("unexpected response from SSLRequest: 0x00"),
        _ => false,
    }
}

/// Puts what was being done around a database's error.
pub(super) trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, doing: &'static str) -> Result<T, Error> {
        self.map_err(|source| match source {
            // "undefined table" and SQLite's "no such table": the program was started before the migration.
            sqlx::Error::Database(ref error) if is_missing_table(&**error) => Error::NotMigrated,
            source => Error::Database {
                doing,
                problem: explain(&source),
                source: Box::new(source),
            },
        })
    }
}

fn is_missing_table(error: &dyn DatabaseError) -> bool {
    error.code().as_deref() == Some("42P01") || error.message().starts_with("no such table")
}

/// The database's words, with a remedy where one is known. Postgres's details, which can hold values of the row, are
/// left out.
pub(super) fn explain(error: &sqlx::Error) -> String {
    let sqlx::Error::Database(database) = error else {
        return match error {
            sqlx::Error::PoolTimedOut => "no connection became free in time: the database is overloaded or \
                                          unreachable"
                .to_owned(),
            other => other.to_string(),
        };
    };
    let message = database.message();
    // SQLite gives its extended result code, whose low byte is the primary one: https://sqlite.org/rescode.html
    let sqlite = database
        .try_downcast_ref::<sqlx::sqlite::SqliteError>()
        .and_then(sqlx::error::DatabaseError::code)
        .and_then(|code| code.parse::<i32>().ok())
        .map(|code| code & 0xff);
    match sqlite {
        Some(5 | 6) => format!("{message}: another program writes to it; close that program or try again later"),
        Some(8) => format!("{message}: make the file and its folder writable for this user"),
        Some(10) => format!("{message}: the disk may be full, over quota or failing; make room, or look at it"),
        Some(11 | 26) => format!("{message}: restore the file from a backup, or move it away and sync again"),
        Some(13) => format!("{message}: make room on the disk"),
        Some(14) => format!("{message}: the file and its folder must exist and be readable and writable for this user"),
        Some(_) => message.to_owned(),
        None => match remedy(database.code().as_deref().unwrap_or_default()) {
            Some(remedy) => format!("{message}: {remedy}"),
            None => message.to_owned(),
        },
    }
}

/// What to do about an error of Postgres: <https://www.postgresql.org/docs/15/errcodes-appendix.html>.
fn remedy(code: &str) -> Option<&'static str> {
    Some(match code {
        "53100" => "make room on the disk of the server",
        "53200" => "the server has too little memory; look at its log",
        "25006" => "the server does not write, as a standby does not; name the primary in warehouse.url",
        "42501" => "grant this user the right, or use the user that owns the tables",
        "57P01" | "57P02" | "57P03" => "the server is restarting or shutting down; try again when it is up",
        _ => return None,
    })
}

impl Error {
    pub(super) fn from_migration(error: MigrateError, known: i64) -> Self {
        match error {
            MigrateError::VersionMissing(found) if found > known => Self::NewerSchema { found, known },
            MigrateError::VersionMissing(version) => Self::Migration {
                problem: format!("version {version} was applied by another build; use the build that wrote it"),
            },
            MigrateError::VersionMismatch(version) => Self::Migration {
                problem: format!("version {version} was applied in another form; use the build that wrote it"),
            },
            MigrateError::Execute(source) => Self::Migration {
                problem: explain(&source),
            },
            MigrateError::ExecuteMigration(source, version) => Self::Migration {
                problem: format!("version {version}: {}", explain(&source)),
            },
            other => Self::Migration {
                problem: other.to_string(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, PgConnection};
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_server_that_hangs_up_at_once_is_away() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let hangs_up = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_exact(&mut [0; 8]).await.unwrap();
        };
        let url = format!("postgres://somebody@{address}/somewhere");
        let (error, ()) = tokio::join!(PgConnection::connect(&url), hangs_up);
        let error = error.unwrap_err();
        assert!(is_away(&error), "{error:?}");
    }
}
