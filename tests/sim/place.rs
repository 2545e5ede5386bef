//! Where mirrors are kept: one database for many lives, each an account of its own in it.

use allai_sync::warehouse::{Location, Warehouse};
use tempfile::TempDir;

use crate::clock::SimClock;
use crate::mirror::Reader;
use crate::postgres::fresh_schema;
use crate::scenario::Database;

/// Lives after which a database is left for a fresh one: a large one is slow.
const LIVES: u32 = 200;

/// A warehouse, and a look behind its back.
pub(crate) struct Place {
    database: Database,
    location: Location,
    pub(crate) warehouse: Warehouse,
    pub(crate) reader: Reader,
    pub(crate) clock: SimClock,
    lives: u32,
    /// Deleted with the file in it.
    _folder: Option<TempDir>,
}

impl Place {
    pub(crate) async fn new(database: Database) -> Self {
        let clock = SimClock::new();
        let (location, folder) = match database {
            Database::Sqlite => {
                // What is simulated needs no disk.
                let folder = tempfile::Builder::new()
                    .prefix("allai-sync-sim-")
                    .tempdir_in("/dev/shm")
                    .or_else(|_| TempDir::new())
                    .unwrap();
                let url = format!("sqlite://{}", folder.path().join("warehouse.db").display());
                let schema = "ignored".to_owned();
                (Location { url, schema }, Some(folder))
            }
            Database::Postgres => {
                let fresh = fresh_schema();
                let (url, schema) = (fresh.url, fresh.schema);
                (Location { url, schema }, None)
            }
        };
        let warehouse = Warehouse::open(&location, clock.shared()).await.unwrap();
        warehouse.migrate().await.unwrap();
        let reader = match database {
            Database::Sqlite => Reader::sqlite(&location.url).await,
            Database::Postgres => Reader::postgres(&location.url, &location.schema).await,
        };
        Self {
            database,
            location,
            warehouse,
            reader,
            clock,
            lives: 0,
            _folder: folder,
        }
    }

    /// Begins another life: a name for its account, and the clock put back.
    pub(crate) async fn begin(&mut self) -> String {
        if self.lives == LIVES {
            self.warehouse.close().await;
            *self = Self::new(self.database).await;
        }
        self.lives += 1;
        self.clock.start_over();
        format!("account {}", self.lives)
    }

    /// As after a new start of the program.
    pub(crate) async fn reopen(&mut self) {
        self.warehouse.close().await;
        self.warehouse = Warehouse::open(&self.location, self.clock.shared()).await.unwrap();
    }
}
