//! The company's own database: the only place with SQL.

#![expect(clippy::disallowed_methods, reason = "SQL lives here")]

mod analytics;
mod error;
mod freshness;
mod message_state;
mod mirrored;
mod page;
mod quarantine;
mod runs;
mod state;

pub use analytics::{AnalyticsCapture, AnalyticsCounts, Report};
pub use error::Error;
pub use freshness::Freshness;
pub use message_state::ConversationToRead;
pub use mirrored::{Unseen, UnseenRow};
pub use page::{Change, PageCommit, RowOutcome};
pub use runs::{RunRecord, RunStatus};
pub use state::{StateUpdate, SyncState};

use crate::clock::SharedClock;

/// Where a warehouse is.
#[derive(Clone)]
pub struct Location {
    /// `sqlite://path`, `sqlite:path` or `postgres://user@host/database`.
    pub url: String,
    /// The Postgres schema; SQLite has none.
    pub schema: String,
}

/// A warehouse. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Warehouse {
    /// A file.
    Sqlite(()),
    /// A server.
    Postgres(()),
}

impl Warehouse {
    /// Connects.
    pub async fn open(location: &Location, clock: SharedClock) -> Result<Self, Error> {
        let _ = (location, clock);
        todo!()
    }

    /// Creates or upgrades the schema.
    pub async fn migrate(&self) -> Result<(), Error> {
        todo!()
    }

    /// Whether the schema is the one this program knows.
    pub async fn schema_is_current(&self) -> Result<bool, Error> {
        todo!()
    }

    /// Closes.
    pub async fn close(&self) {
        todo!()
    }
}
