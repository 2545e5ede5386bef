//! The company's own database, SQLite or Postgres: the only place with SQL.
//!
//! Every table's primary key starts with `account`. Rows are never deleted by a sync: `deleted_at` is set, and cleared
//! when the row is seen again. What holds for every write:
//!
//! - Data, history, quarantine and the checkpoint that claims them commit in one transaction.
//! - Nothing unchanged is written: what is there is read first, and only what differs is written.
//! - Every value is bound; identifiers come from constants.
//! - The text of a statement is shared by both databases wherever both understand it ([`Statement`]).
//!
//! One file an aggregate. To mirror one more list: a migration in both folders of `migrations/`, a file like
//! `contacts.rs`, and its arm in `mirrored::statements`, `sqlite::write_rows` and `postgres::write_rows`.

#![expect(clippy::disallowed_methods, reason = "SQL lives here")]

mod analytics;
mod contacts;
mod conversations;
mod error;
mod freshness;
mod message_state;
mod messages;
mod migrations;
mod mirrored;
mod page;
mod postgres;
mod quarantine;
mod rate_budgets;
mod runs;
mod sqlite;
mod state;
mod statement;
mod values;
mod views;

use std::path::PathBuf;

use chrono::{DateTime, Utc};

pub use analytics::{AnalyticsCapture, AnalyticsCounts, Report};
pub use error::Error;
pub use freshness::Freshness;
pub use message_state::ConversationToRead;
pub use mirrored::{Unseen, UnseenRow};
pub use page::{Change, PageCommit, RowOutcome};
pub use postgres::Postgres;
pub use rate_budgets::RateBudget;
pub use runs::{RunRecord, RunStatus};
pub use sqlite::Sqlite;
pub use state::{StateUpdate, SyncState};
pub use statement::Statement;
pub use views::VIEWS;

use crate::clock::SharedClock;
use error::Doing as _;
use statement::reading;

/// Where a warehouse is.
#[derive(Clone)]
pub struct Location {
    /// `sqlite://path`, `sqlite:path` or `postgres://user:password@host/database`. The path is taken as it is.
    pub url: String,
    /// The Postgres schema; SQLite has none.
    pub schema: String,
}

/// A warehouse. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Warehouse {
    /// A file.
    Sqlite(Sqlite),
    /// A schema of a server.
    Postgres(Postgres),
}

/// Fails if there is no journal of migrations, which means that none was applied.
const APPLIED: &str = "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version";

impl Warehouse {
    /// Connects. Creates the SQLite file and its folder if missing; does not migrate.
    ///
    /// `clock` gives every time that is not the API's own.
    pub async fn open(location: &Location, clock: SharedClock) -> Result<Self, Error> {
        let url = location.url.as_str();
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.starts_with(":memory:") || path.contains('?') {
                return Err(Error::Location {
                    key: "url",
                    problem: "must name a file, without parameters; e.g. sqlite://warehouse.db".to_owned(),
                });
            }
            return Sqlite::open(&PathBuf::from(path), clock).await.map(Self::Sqlite);
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Postgres::open(url, &location.schema, clock).await.map(Self::Postgres);
        }
        Err(Error::Location {
            key: "url",
            problem: "must start with sqlite:// or postgres://; e.g. sqlite://warehouse.db".to_owned(),
        })
    }

    /// Creates the schema, or upgrades it to what this program knows; leaves a current one alone. Safe to call from
    /// several programs at once. Fails if the schema is newer than this program.
    pub async fn migrate(&self) -> Result<(), Error> {
        if self.schema_is_current().await? {
            return Ok(());
        }
        match self {
            Self::Sqlite(database) => database.migrate().await,
            Self::Postgres(database) => database.migrate().await,
        }
    }

    /// Whether the schema is the one this program knows; `false` if it is missing or older, an error if it is newer.
    pub async fn schema_is_current(&self) -> Result<bool, Error> {
        let applied: Result<Vec<(i64,)>, _> =
            reading!(self, pool, _dialect => sqlx::query_as(APPLIED).fetch_all(pool).await);
        let applied = match applied.doing("reading the schema version") {
            Ok(rows) => rows.into_iter().map(|(version,)| version).collect::<Vec<_>>(),
            Err(Error::NotMigrated) => return Ok(false),
            Err(error) => return Err(error),
        };
        migrations::compare(
            match self {
                Self::Sqlite(_) => &migrations::SQLITE,
                Self::Postgres(_) => &migrations::POSTGRES,
            },
            &applied,
        )
    }

    /// Waits for what is being done and closes the connections; SQLite's WAL is folded into the file.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(database) => database.close().await,
            Self::Postgres(database) => database.close().await,
        }
    }

    fn now(&self) -> DateTime<Utc> {
        match self {
            Self::Sqlite(database) => database.clock.now(),
            Self::Postgres(database) => database.clock.now(),
        }
    }
}

/// Every statement, so that a test can prepare them all.
#[doc(hidden)]
pub fn statements() -> Vec<Statement> {
    let mut all = vec![Statement::shared(APPLIED)];
    for part in [
        analytics::STATEMENTS,
        contacts::STATEMENTS,
        conversations::STATEMENTS,
        freshness::STATEMENTS,
        message_state::STATEMENTS,
        messages::STATEMENTS,
        quarantine::STATEMENTS,
        rate_budgets::STATEMENTS,
        runs::STATEMENTS,
        state::STATEMENTS,
    ] {
        all.extend_from_slice(part);
    }
    all.extend(mirrored::all_statements());
    all
}
