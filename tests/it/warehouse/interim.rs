//! How far a reading is between two checkpoints.

use allai_sync::allai::Resource;
use allai_sync::warehouse::{Interim, Warehouse};

use super::harness::{ACCOUNT, Place};
use super::on_both;

on_both! {
    what_is_noted_continues_one_checkpoint_and_no_other,
    what_was_noted_is_found_by_the_next_program,
}

async fn checkpoint(warehouse: &Warehouse) -> Option<String> {
    let state = warehouse.state(ACCOUNT, Resource::Contacts).await.unwrap();
    state.and_then(|state| state.checkpoint)
}

async fn save(warehouse: &Warehouse, checkpoint: Option<&str>) {
    warehouse
        .save_checkpoint(ACCOUNT, Resource::Contacts, checkpoint)
        .await
        .unwrap();
}

async fn what_is_noted_continues_one_checkpoint_and_no_other(place: Place) {
    let warehouse = place.migrated().await;
    let mut interim = Interim::new(&warehouse, ACCOUNT, Resource::Contacts);
    assert!(!interim.note("too early").await);
    save(&warehouse, Some("10 rows")).await;
    assert_eq!(checkpoint(&warehouse).await.as_deref(), Some("10 rows"));
    interim.continue_from("10 rows");
    for noted in ["11 rows", "12 rows"] {
        assert!(interim.note(noted).await);
        assert_eq!(checkpoint(&warehouse).await.as_deref(), Some(noted));
    }
    save(&warehouse, Some("20 rows")).await;
    assert_eq!(checkpoint(&warehouse).await.as_deref(), Some("20 rows"));
    // Somebody who does not know of it yet.
    assert!(interim.note("13 rows").await);
    assert_eq!(checkpoint(&warehouse).await.as_deref(), Some("20 rows"));
    save(&warehouse, None).await;
    assert_eq!(checkpoint(&warehouse).await, None);
    // Other lists have their own.
    warehouse
        .save_checkpoint(ACCOUNT, Resource::Messages, Some("20 rows"))
        .await
        .unwrap();
    let state = warehouse.state(ACCOUNT, Resource::Messages).await.unwrap().unwrap();
    assert_eq!(state.checkpoint.as_deref(), Some("20 rows"));
}

async fn what_was_noted_is_found_by_the_next_program(place: Place) {
    let warehouse = place.migrated().await;
    save(&warehouse, Some("10 rows")).await;
    let mut interim = Interim::new(&warehouse, ACCOUNT, Resource::Contacts);
    interim.continue_from("10 rows");
    assert!(interim.note("11 rows").await);
    let other = place.open().await;
    assert_eq!(checkpoint(&other).await.as_deref(), Some("11 rows"));
    warehouse.close().await;
    other.close().await;
    let file = place.location.file().map(|file| format!("{}-interim", file.display()));
    if let Some(file) = file {
        // A power cut left something else of it.
        std::fs::write(&file, "x".repeat(4_096)).unwrap();
        let warehouse = place.open().await;
        assert_eq!(checkpoint(&warehouse).await.as_deref(), Some("10 rows"));
        let mut interim = Interim::new(&warehouse, ACCOUNT, Resource::Contacts);
        interim.continue_from("10 rows");
        assert!(interim.note("11 rows").await);
        assert_eq!(checkpoint(&warehouse).await.as_deref(), Some("11 rows"));
        warehouse.close().await;
        std::fs::remove_file(&file).unwrap();
        assert_eq!(checkpoint(&place.open().await).await.as_deref(), Some("10 rows"));
    }
}
