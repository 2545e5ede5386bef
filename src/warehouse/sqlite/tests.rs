//! A file that cannot be written to: what the writer says, and that it writes again as soon as it can.

use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, Connection as _};

use super::*;
use crate::allai::Listing;
use crate::allai::Resource;
use crate::allai::model::Row;
use crate::clock::SystemClock;
use crate::warehouse::{Change, PageCommit, PageWriter, RowOutcome, Warehouse};

struct Place {
    warehouse: Warehouse,
    folder: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let opened = Sqlite::open(&folder.path().join("warehouse.db"), SystemClock::shared()).await;
        let warehouse = Warehouse::Sqlite(opened.unwrap());
        warehouse.migrate().await.unwrap();
        Self { warehouse, folder }
    }

    /// Sets something on the only connection that writes, as long as that lasts.
    async fn pragma(&self, pragma: &str) {
        let Warehouse::Sqlite(database) = &self.warehouse else {
            panic!("this is SQLite")
        };
        sqlx::query(AssertSqlSafe(format!("PRAGMA {pragma}")))
            .execute(&database.writer)
            .await
            .unwrap();
    }

    async fn other_program(&self) -> SqliteConnection {
        let path = self.folder.path().join("warehouse.db");
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(path))
            .await
            .unwrap()
    }

    async fn count(&self) -> u64 {
        self.warehouse.live_rows("main", Resource::Contacts).await.unwrap()
    }

    async fn writer(&self) -> PageWriter {
        self.warehouse.page_writer("main", Resource::Contacts).await.unwrap()
    }
}

/// A page of a hundred contacts, a kilobyte each.
fn page(number: usize) -> Vec<Row> {
    let row = |row| {
        let text = serde_json::json!({ "id": format!("c{number}-{row}"), "name": "Ana".repeat(300) });
        Row::read(&Listing::Contacts, RawValue::from_string(text.to_string()).unwrap()).unwrap()
    };
    (0..100).map(row).collect()
}

async fn store(writer: &mut PageWriter, number: usize) -> Result<Vec<RowOutcome>, Error> {
    let page = PageCommit {
        account: "main",
        resource: Resource::Contacts,
        conversation: None,
        rows: &page(number),
        rejected: &[],
        asked: None,
    };
    writer.store(&page).await
}

#[tokio::test]
async fn a_full_disk_loses_what_was_not_committed_and_no_more() {
    let place = Place::new().await;
    let mut writer = place.writer().await;
    store(&mut writer, 0).await.unwrap();
    writer.commit(Some("one page")).await.unwrap();
    place.pragma("max_page_count = 240").await;
    let mut stored = 0;
    let error = loop {
        if let Err(error) = store(&mut writer, 1 + stored).await {
            break error;
        }
        stored += 1;
        assert!(stored < 100, "the disk is never full");
    };
    assert!(stored > 1);
    assert!(error.to_string().contains("make room on the disk"), "{error}");
    assert!(matches!(writer.commit(Some("more")).await, Err(Error::RolledBack)));
    assert_eq!(place.count().await, 100);
    let checkpoint = async || {
        let state = place.warehouse.state("main", Resource::Contacts).await.unwrap();
        state.unwrap().checkpoint
    };
    assert_eq!(checkpoint().await.as_deref(), Some("one page"));

    // Somebody has made room; the same warehouse goes on.
    let mut writer = place.writer().await;
    for number in 0..=stored {
        store(&mut writer, number).await.unwrap();
    }
    writer.commit(Some("all")).await.unwrap();
    assert_eq!(place.count().await, 100 * (stored as u64 + 1));
    assert_eq!(checkpoint().await.as_deref(), Some("all"));
    let (whole,): (String,) = sqlx::query_as("PRAGMA integrity_check")
        .fetch_one(&mut place.other_program().await)
        .await
        .unwrap();
    assert_eq!(whole, "ok");
}

#[tokio::test]
async fn a_file_locked_by_another_program_is_told_from_other_failures_and_written_afterwards() {
    let place = Place::new().await;
    let mut writer = place.writer().await;
    let mut other = place.other_program().await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    place.pragma("busy_timeout = 0").await;
    let error = store(&mut writer, 0).await.unwrap_err();
    assert!(matches!(error, Error::Locked { .. }) && error.is_transient(), "{error}");
    assert!(!writer.is_open());
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    let stored = store(&mut writer, 0).await.unwrap();
    assert!(stored.iter().all(|row| row.change == Change::Inserted));
    writer.commit(None).await.unwrap();
    assert_eq!(place.count().await, 100);
}

#[tokio::test]
async fn counting_live_rows_reads_an_index_only() {
    let place = Place::new().await;
    for resource in [Resource::Contacts, Resource::Conversations, Resource::Messages] {
        let statements = crate::warehouse::mirrored::statements(resource);
        for statement in [statements.live, statements.known, statements.tombstoned] {
            let plan: Vec<(i64, i64, i64, String)> =
                sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", statement.sqlite)))
                    .fetch_all(&mut place.other_program().await)
                    .await
                    .unwrap();
            let searches: Vec<&String> = plan
                .iter()
                .map(|step| &step.3)
                .filter(|step| step.contains("SEARCH"))
                .collect();
            assert!(!searches.is_empty(), "{plan:?}");
            for search in searches {
                assert!(
                    search.contains("COVERING INDEX")
                        && (search.contains("by_row_num") || search.contains("tombstoned")),
                    "{search}"
                );
            }
        }
    }
}

#[tokio::test]
async fn the_last_runs_are_found_however_long_the_journal_is() {
    let place = Place::new().await;
    let sql = crate::warehouse::runs::RECENT_OF_ALL.sqlite;
    let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
        .fetch_all(&mut place.other_program().await)
        .await
        .unwrap();
    let of_the_journal =
        |step: &&str| ["sync_runs", "n", "l", "r"].contains(&step.split(' ').nth(1).unwrap_or_default());
    let steps: Vec<&str> = plan.iter().map(|step| step.3.as_str()).filter(of_the_journal).collect();
    assert_eq!(steps.len(), 4, "{plan:?}");
    assert!(steps.iter().all(|step| step.starts_with("SEARCH ")), "{steps:?}");
}
