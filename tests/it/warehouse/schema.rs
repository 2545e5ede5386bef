//! The schema: the same in both databases, and every statement fits it.

use allai_sync::clock::SystemClock;
use allai_sync::warehouse::{VIEWS, Warehouse, statements};

use super::harness::Place;
use super::on_both;

on_both! {
    every_statement_can_be_prepared,
    programs_that_start_at_once_do_not_collide,
    every_primary_key_starts_with_the_account,
}

async fn every_statement_can_be_prepared(place: Place) {
    place.migrated().await;
    for statement in statements() {
        place.prepare(statement.sqlite, statement.postgres).await;
    }
}

async fn programs_that_start_at_once_do_not_collide(place: Place) {
    let start = async || {
        // Others are waited for in real time.
        let clock = SystemClock::shared();
        let warehouse = Warehouse::open(&place.location, clock).await.unwrap();
        warehouse.migrate().await.unwrap();
        assert!(warehouse.schema_is_current().await.unwrap());
    };
    tokio::join!(start(), start(), start(), start());
}

/// `table.column` of every table and view, in order.
async fn columns(place: &Place) -> Vec<String> {
    place.migrated().await;
    let sql = if place.is_sqlite() {
        "SELECT m.name || '.' || c.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c \
         WHERE m.type IN ('table', 'view') AND m.name NOT LIKE 'sqlite_%' ORDER BY m.name, c.cid"
    } else {
        "SELECT table_name || '.' || column_name FROM information_schema.columns \
         WHERE table_schema = current_schema() ORDER BY table_name COLLATE \"C\", ordinal_position"
    };
    place.rows(sql).await
}

#[tokio::test]
async fn both_databases_have_the_same_tables_views_and_columns() {
    let sqlite = columns(&Place::sqlite()).await;
    let mut postgres = columns(&Place::postgres()).await;
    // SQLite has this in a file beside the warehouse, where it does not wait for the disk.
    postgres.retain(|column| !column.starts_with("interim_checkpoints."));
    assert_eq!(sqlite, postgres);
    for (view, _) in VIEWS {
        assert!(
            sqlite.iter().any(|column| column.starts_with(&format!("{view}."))),
            "{view}"
        );
    }
}

#[tokio::test]
async fn every_view_is_documented() {
    let place = Place::sqlite();
    place.migrated().await;
    let views = place
        .rows("SELECT name FROM sqlite_schema WHERE type = 'view' ORDER BY name")
        .await;
    let mut documented: Vec<_> = VIEWS.iter().map(|(name, _)| *name).collect();
    documented.sort_unstable();
    assert_eq!(views, documented);
}

#[test]
fn both_databases_have_the_same_migration_files() {
    let files = |folder: &str| {
        let folder = format!("{}/migrations/{folder}", env!("CARGO_MANIFEST_DIR"));
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(files("sqlite"), files("postgres"));
}

async fn every_primary_key_starts_with_the_account(place: Place) {
    place.migrated().await;
    let sql = if place.is_sqlite() {
        "SELECT m.name FROM sqlite_schema m WHERE m.type = 'table' AND m.name NOT LIKE '\\_sqlx%' ESCAPE '\\' \
         AND m.name NOT LIKE 'sqlite_%' AND NOT EXISTS (SELECT 1 FROM pragma_table_info(m.name) c \
         WHERE c.name = 'account' AND c.pk = 1)"
    } else {
        "SELECT t.table_name FROM information_schema.tables t WHERE t.table_schema = current_schema() \
         AND t.table_type = 'BASE TABLE' AND t.table_name NOT LIKE '\\_sqlx%' AND NOT EXISTS (\
         SELECT 1 FROM information_schema.key_column_usage k WHERE k.table_schema = t.table_schema \
         AND k.table_name = t.table_name AND k.column_name = 'account' AND k.ordinal_position = 1 \
         AND k.constraint_name LIKE '%\\_pkey')"
    };
    assert!(place.rows(sql).await.is_empty());
}
