//! Answers that are stored in another order than they were asked for.

use allai_sync::allai::Resource;
use allai_sync::allai::model::{Contact, Record, Row};
use allai_sync::warehouse::{Asked, Change, PageCommit, Warehouse};
use chrono::{DateTime, Utc};

use super::harness::{ACCOUNT, Place, bare_contact, contact, hashed, rows, sendable};
use super::on_both;

on_both! {
    a_page_asked_for_before_a_row_was_stored_does_not_bring_the_old_content_back,
    the_apis_own_word_of_when_a_row_changed_decides,
    a_page_asked_for_before_a_row_was_tombstoned_does_not_restore_it,
    a_clock_that_was_set_back_stops_nothing,
    what_was_held_before_it_was_asked_for_was_not_stored_since,
    in_a_first_sync_too_a_row_stored_meanwhile_is_left_alone,
}

async fn store(warehouse: &Warehouse, rows: &[Row], asked_at: DateTime<Utc>) -> Vec<Change> {
    let page = PageCommit {
        account: ACCOUNT,
        resource: Resource::Contacts,
        conversation: None,
        rows,
        rejected: &[],
        asked: Some(asked_at.into()),
    };
    let outcomes = sendable(warehouse.commit_page(&page, |_| None)).await.unwrap();
    outcomes.iter().map(|outcome| outcome.change).collect()
}

async fn name(place: &Place) -> String {
    place.rows("SELECT name FROM contacts WHERE id = 'c1'").await.concat()
}

async fn a_page_asked_for_before_a_row_was_stored_does_not_bring_the_old_content_back(place: Place) {
    let warehouse = place.migrated().await;
    let [old, new] = ["old", "new"].map(|name| rows(&[contact("c1", name)]));
    store(&warehouse, &old, place.now()).await;
    place.pass(10);
    let sweep_asked_at = place.now();
    place.pass(1);
    let event_asked_at = place.now();
    place.pass(1);
    assert_eq!(store(&warehouse, &new, event_asked_at).await, [Change::Updated]);
    place.pass(1);
    let written = place.write_mark().await;
    assert_eq!(store(&warehouse, &old, sweep_asked_at).await, [Change::Doubtful]);
    assert_eq!(place.write_mark().await, written);
    assert_eq!(name(&place).await, "new");
    // What says the same is in no doubt.
    assert_eq!(store(&warehouse, &new, sweep_asked_at).await, [Change::Unchanged]);
    // Asked again, it is clear.
    assert_eq!(store(&warehouse, &old, place.now()).await, [Change::Updated]);
    assert_eq!(name(&place).await, "old");
    assert_eq!(place.rows("SELECT count(*) FROM contacts_history").await, ["2"]);
}

async fn the_apis_own_word_of_when_a_row_changed_decides(place: Place) {
    let warehouse = place.migrated().await;
    let version = |name: &str, updated_at: &str| {
        rows(&[hashed(Record::Contact(Contact {
            name: Some(name.to_owned()),
            updated_at: Some(updated_at.parse().unwrap()),
            ..bare_contact("c1")
        }))])
    };
    let asked_at = place.now();
    place.pass(1);
    store(&warehouse, &version("second", "2026-01-19T09:00:02Z"), place.now()).await;
    for (name, updated_at, change) in [
        ("first", "2026-01-19T09:00:01Z", Change::Doubtful),
        ("second, silently otherwise", "2026-01-19T09:00:02Z", Change::Doubtful),
        ("third", "2026-01-19T09:00:03Z", Change::Updated),
    ] {
        assert_eq!(
            store(&warehouse, &version(name, updated_at), asked_at).await,
            [change],
            "{name}"
        );
    }
    assert_eq!(name(&place).await, "third");
}

async fn a_page_asked_for_before_a_row_was_tombstoned_does_not_restore_it(place: Place) {
    let warehouse = place.migrated().await;
    let row = rows(&[contact("c1", "Ana")]);
    store(&warehouse, &row, place.now()).await;
    place.pass(1);
    let asked_at = place.now();
    place.pass(1);
    warehouse.tombstone(ACCOUNT, Resource::Contacts, &[1]).await.unwrap();
    place.pass(1);
    assert_eq!(store(&warehouse, &row, asked_at).await, [Change::Doubtful]);
    assert_eq!(store(&warehouse, &row, place.now()).await, [Change::Restored]);
}

async fn a_clock_that_was_set_back_stops_nothing(place: Place) {
    let warehouse = place.migrated().await;
    let [old, new] = ["old", "new"].map(|name| rows(&[contact("c1", name)]));
    store(&warehouse, &old, place.now()).await;
    place.clock.jump(chrono::TimeDelta::hours(-1));
    assert_eq!(store(&warehouse, &new, place.now()).await, [Change::Updated]);
}

async fn what_was_held_before_it_was_asked_for_was_not_stored_since(place: Place) {
    let warehouse = place.migrated().await;
    let [old, new] = ["old", "new"].map(|name| rows(&[contact("c1", name)]));
    place.clock.jump(chrono::TimeDelta::seconds(50));
    store(&warehouse, &old, place.now()).await;
    // Too little to be told from another program's clock.
    place.clock.jump(chrono::TimeDelta::seconds(-50));
    let ask = async |held| {
        let asked = Asked { at: place.now(), held };
        place.pass(1);
        let page = PageCommit {
            account: ACCOUNT,
            resource: Resource::Contacts,
            conversation: None,
            rows: &new,
            rejected: &[],
            asked: Some(asked),
        };
        sendable(warehouse.commit_page(&page, |_| None)).await.unwrap()[0]
    };
    let first = ask(None).await;
    assert_eq!(first.change, Change::Doubtful);
    assert_eq!(ask(first.changed_at).await.change, Change::Updated);
    assert_eq!(name(&place).await, "new");
    // The same of a tombstone that was set in the future.
    place.clock.jump(chrono::TimeDelta::seconds(50));
    warehouse.tombstone(ACCOUNT, Resource::Contacts, &[1]).await.unwrap();
    place.clock.jump(chrono::TimeDelta::seconds(-50));
    let first = ask(None).await;
    assert_eq!(first.change, Change::Doubtful);
    assert_eq!(ask(first.changed_at).await.change, Change::Restored);
}

async fn in_a_first_sync_too_a_row_stored_meanwhile_is_left_alone(place: Place) {
    let warehouse = place.migrated().await;
    let asked_at = place.now();
    place.pass(1);
    store(&warehouse, &rows(&[contact("c30", "new")]), place.now()).await;
    let mut writer = sendable(warehouse.page_writer(ACCOUNT, Resource::Contacts))
        .await
        .unwrap();
    for ids in [0..20, 20..40] {
        let records: Vec<Record> = ids.map(|id| contact(&format!("c{id}"), "old")).collect();
        let rows = rows(&records);
        let page = PageCommit {
            account: ACCOUNT,
            resource: Resource::Contacts,
            conversation: None,
            rows: &rows,
            rejected: &[],
            asked: Some(asked_at.into()),
        };
        let outcomes = sendable(writer.store(&page)).await.unwrap();
        for (row, outcome) in rows.iter().zip(outcomes) {
            let change = if row.id() == "c30" {
                Change::Doubtful
            } else {
                Change::Inserted
            };
            assert_eq!(outcome.change, change, "{}", row.id());
        }
    }
    sendable(writer.commit(None)).await.unwrap();
    assert_eq!(place.rows("SELECT name FROM contacts WHERE id = 'c30'").await, ["new"]);
}
