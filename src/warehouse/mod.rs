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
//! `contacts.rs`, and its arm in `mirrored::statements`, `look_up`, `sqlite::write_rows` and `postgres::write_rows`.

#![expect(clippy::disallowed_methods, reason = "SQL lives here")]

mod analytics;
mod automation;
mod cell;
mod contacts;
mod conversations;
mod crm;
mod daemon_lock;
mod difference;
mod error;
mod freshness;
mod held;
mod inbox;
mod incidents;
mod interim;
mod jobs;
mod keepers;
mod look_up;
mod message_state;
mod messages;
mod migrations;
mod mirrored;
mod outage;
mod page;
mod parity;
mod payloads;
mod postgres;
mod quarantine;
mod rate_budgets;
mod repeated;
mod retention;
mod runs;
mod session_tokens;
mod sqlite;
mod standing;
mod state;
mod statement;
mod stock_levels;
mod subscriptions;
mod values;
mod views;
mod writer;

use std::path::Path;

use chrono::{DateTime, Utc};

pub use analytics::{AnalyticsCapture, AnalyticsCounts, Report};
pub use automation::{
    ClaimedRun, Interest, NewRun, RunEnd, RunFilter, RunRow, RunState, RunVolume, RunsSummary, StepRow, StepState,
    Subject, Trigger,
};
pub use crm::{
    Bridge, BridgeState, Candidate, Claimed as ClaimedBridge, Link, LinkStatus, LinkedRecord, Other, Troubled, Wanted,
};
pub use daemon_lock::DaemonLock;
pub use error::Error;
pub use freshness::{Figures, Freshness};
pub use held::{ColumnKind, HeldRow, HeldValue, columns};
pub use inbox::{
    ClaimedEntity, ClaimedEvent, Ended, Ending, Entity, EventRow, EventStatus, InboxStanding, InboxSummary, NewEvent,
};
pub use incidents::{Condition, Incident, IncidentKind, TELLING, Told, Way};
pub use interim::Interim;
pub use jobs::{Claim, Holding, JobProblem, JobState, Release};
pub use keepers::Keeper;
pub use message_state::{ConversationToRead, ToRead};
pub use mirrored::{Unseen, UnseenRow};
pub use outage::Outages;
pub use page::{Asked, Change, PageCommit, RowOutcome};
pub use parity::{AuditScope, AuditVerdict, DayParity, Difference, DifferenceKind, ParityAudit};
pub use payloads::{Payload, PayloadKind};
pub use postgres::Postgres;
pub use quarantine::{QuarantineReason, Quarantined};
pub use rate_budgets::RateBudget;
pub use runs::{RunRecord, RunStatus};
pub use session_tokens::IssuedToken;
pub use sqlite::Sqlite;
pub use standing::Standing;
pub use state::{StateSummary, StateUpdate, SyncState};
pub use statement::Statement;
pub use stock_levels::{StockLevel, StockSnapshot};
pub use subscriptions::Subscription;
pub use views::VIEWS;
pub use writer::PageWriter;

use crate::clock::SharedClock;
use error::Doing as _;
use postgres::Access;
use statement::{Tx, reading};

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

const HAS_TABLES: Statement = Statement {
    sqlite: "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'sync_state')",
    postgres: "SELECT to_regclass('sync_state') IS NOT NULL",
};

/// Which database a location is of.
enum Site<'a> {
    File(&'a Path),
    Server(&'a str),
}

impl Location {
    fn site(&self) -> Result<Site<'_>, Error> {
        let url = self.url.as_str();
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.starts_with(":memory:") || path.contains('?') {
                return Err(Error::Location {
                    key: "url",
                    problem: "must name a file, without parameters; e.g. sqlite://warehouse.db".to_owned(),
                });
            }
            return Ok(Site::File(Path::new(path)));
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Site::Server(url));
        }
        Err(Error::Location {
            key: "url",
            problem: "must start with sqlite:// or postgres://; e.g. sqlite://warehouse.db".to_owned(),
        })
    }

    /// The SQLite file; `None` for Postgres.
    pub fn file(&self) -> Option<&Path> {
        match self.site() {
            Ok(Site::File(path)) => Some(path),
            _ => None,
        }
    }

    /// Whether a sync could write to the SQLite file, or create it with its folder; leaves nothing behind. Postgres is
    /// not asked.
    ///
    /// Not while this process has the file open: looking would release its locks
    /// (<https://sqlite.org/howtocorrupt.html>, 2.2).
    pub fn check_writable(&self) -> Result<(), Error> {
        match self.site()? {
            Site::File(path) => sqlite::check_writable(path),
            Site::Server(_) => Ok(()),
        }
    }
}

impl Warehouse {
    /// Connects. Creates the SQLite file and its folder if missing; does not migrate.
    ///
    /// `clock` gives every time that is not the API's own.
    pub async fn open(location: &Location, clock: SharedClock) -> Result<Self, Error> {
        let warehouse = Self::at(location, clock).await?;
        warehouse.reach().await?;
        Ok(warehouse)
    }

    /// The same, but a server need not be there yet: [`Self::reach`] connects to it.
    pub async fn at(location: &Location, clock: SharedClock) -> Result<Self, Error> {
        match location.site()? {
            Site::File(path) => Sqlite::open(path, clock).await.map(Self::Sqlite),
            Site::Server(url) => Postgres::new(url, &location.schema, Access::Write, clock).map(Self::Postgres),
        }
    }

    /// Fails if the server cannot be reached, or refuses this user.
    pub async fn reach(&self) -> Result<(), Error> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(database) => database.reach().await,
        }
    }

    /// Connects to read: nothing is created or changed, and what would write fails. `None` if it is a SQLite file that
    /// does not exist.
    ///
    /// Needs no right to write, for SQLite neither to the file nor to its folder. Whether what was read then belongs
    /// together, [`Self::is_as_opened`] tells afterwards.
    pub async fn open_to_read(location: &Location, clock: SharedClock) -> Result<Option<Self>, Error> {
        match location.site()? {
            Site::File(path) => Ok(Sqlite::open_to_read(path, clock).await?.map(Self::Sqlite)),
            Site::Server(url) => {
                let database = Postgres::new(url, &location.schema, Access::Read, clock)?;
                database.reach().await?;
                Ok(Some(Self::Postgres(database)))
            }
        }
    }

    /// Whether what was read since [`Self::open_to_read`] can be relied on. `false` if it was a file that nobody had
    /// open and that somebody wrote to since: open it again, and read again.
    pub fn is_as_opened(&self) -> bool {
        match self {
            Self::Sqlite(database) => database.is_as_opened(),
            Self::Postgres(_) => true,
        }
    }

    /// Creates the schema, or upgrades it to what this program knows; leaves a current one alone. Safe to call from
    /// several programs at once. Fails if the schema is newer than this program.
    pub async fn migrate(&self) -> Result<(), Error> {
        if self.schema_is_current().await? {
            return Ok(());
        }
        let migrated = match self {
            Self::Sqlite(database) => database.migrate().await,
            Self::Postgres(database) => database.migrate().await,
        };
        migrated.map_err(|error| match error {
            error if error.is_outage() => error,
            Error::Migration { problem } | Error::Database { problem, .. } => Error::Migration {
                problem: format!("{problem} (warehouse {})", self.place()),
            },
            error => error,
        })
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

    /// Whether there are tables at all, of whatever version; without them nothing was ever synced. Fails if the tables
    /// may be there, but hidden from this user.
    pub async fn has_tables(&self) -> Result<bool, Error> {
        let (has,): (bool,) = reading!(self, pool, dialect => sqlx::query_as(HAS_TABLES.of(dialect))
            .fetch_one(pool)
            .await)
        .doing("looking for the tables")?;
        if let (false, Self::Postgres(database)) = (has, self) {
            database.check_schema_is_open().await?;
        }
        Ok(has)
    }

    /// Waits for what is being done and closes the connections; SQLite's WAL is folded into the file.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(database) => database.close().await,
            Self::Postgres(database) => database.close().await,
        }
    }

    /// Gives back memory, once there is nothing to do for a while.
    pub async fn shrink(&self) {
        if let Self::Sqlite(database) = self {
            database.shrink().await;
        }
    }

    /// Which database it is, for messages: the file, or `user@host:port/database`.
    pub fn place(&self) -> String {
        match self {
            Self::Sqlite(database) => database.path().display().to_string(),
            Self::Postgres(database) => database.server().to_owned(),
        }
    }

    fn interests(&self) -> &automation::Interests {
        match self {
            Self::Sqlite(database) => &database.interests,
            Self::Postgres(database) => &database.interests,
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
    let mut all = vec![Statement::shared(APPLIED), HAS_TABLES];
    for part in [
        analytics::STATEMENTS,
        contacts::STATEMENTS,
        conversations::STATEMENTS,
        held::STATEMENTS,
        incidents::STATEMENTS,
        interim::STATEMENTS,
        jobs::STATEMENTS,
        keepers::STATEMENTS,
        message_state::STATEMENTS,
        messages::STATEMENTS,
        parity::STATEMENTS,
        payloads::STATEMENTS,
        quarantine::STATEMENTS,
        rate_budgets::STATEMENTS,
        retention::STATEMENTS,
        runs::STATEMENTS,
        session_tokens::STATEMENTS,
        standing::STATEMENTS,
        state::STATEMENTS,
        stock_levels::STATEMENTS,
        subscriptions::STATEMENTS,
    ] {
        all.extend_from_slice(part);
    }
    all.extend(automation::STATEMENTS.iter().flat_map(|part| part.iter().copied()));
    all.extend(crm::STATEMENTS.into_iter().flatten());
    all.extend(inbox::STATEMENTS.into_iter().flatten());
    all.extend(mirrored::all_statements());
    all.extend(look_up::all_statements());
    for repeated in [
        &inbox::STORE_MANY,
        &contacts::ADD_MANY,
        &contacts::KEEP_MANY,
        &contacts::PUT_MANY,
        &conversations::ADD_MANY,
        &conversations::KEEP_MANY,
        &conversations::PUT_MANY,
        &messages::ADD_MANY,
        &messages::PUT_MANY,
    ] {
        all.extend(repeated.all());
    }
    all
}
