//! What a database cannot hold.

use allai_sync::allai::Resource;
use allai_sync::allai::model::{Contact, Record};
use allai_sync::warehouse::Change;

use super::harness::{
    ACCOUNT, Place, bare_contact, changes, commit, commit_with, contact, conversation, hashed, json, rejected,
};
use super::on_both;

on_both! {
    what_postgres_cannot_hold_is_quarantined_and_the_rest_of_the_page_goes_on,
    a_row_that_becomes_unstorable_keeps_its_number_and_its_last_version,
    the_quarantine_names_each_id_once,
}

fn odd_contacts() -> Vec<Record> {
    let with = |id: &str, change: fn(&mut Contact)| {
        let mut contact = bare_contact(id);
        change(&mut contact);
        hashed(Record::Contact(contact))
    };
    vec![
        with("nul\0id", |_| {}),
        with("nul-name", |contact| contact.name = Some("A\0na".to_owned())),
        with("nul-json", |contact| contact.extra = json(r#"{"a": "\u0000"}"#)),
        with("surrogate", |contact| contact.tags = json(r#"["\ud800"]"#)),
        with("number", |contact| contact.custom_fields = json(r#"{"n": 1e999999}"#)),
        // A million different characters, so that compression does not make it fit an index after all.
        with(
            &(0..4_000_u32)
                .map(|i| char::from_u32(0x4e00 + i.wrapping_mul(7_919) % 20_000).unwrap())
                .collect::<String>(),
            |_| {},
        ),
    ]
}

async fn what_postgres_cannot_hold_is_quarantined_and_the_rest_of_the_page_goes_on(place: Place) {
    let warehouse = place.migrated().await;
    let mut page: Vec<Record> = (0..30).map(|i| contact(&format!("c{i}"), "Ana")).collect();
    for (at, odd) in odd_contacts().into_iter().enumerate() {
        page.insert(at * 5, odd);
    }
    let bad = odd_contacts().len() as u64;
    let outcomes = commit(&warehouse, &page).await;
    let quarantined = outcomes
        .iter()
        .filter(|outcome| outcome.change == Change::Quarantined)
        .count() as u64;
    if place.is_sqlite() {
        assert_eq!(quarantined, 0);
        assert_eq!(
            warehouse.live_rows(ACCOUNT, Resource::Contacts).await.unwrap(),
            30 + bad
        );
    } else {
        assert_eq!(quarantined, bad);
        assert!(
            outcomes
                .iter()
                .all(|outcome| outcome.num.is_none() == (outcome.change == Change::Quarantined))
        );
        assert_eq!(warehouse.live_rows(ACCOUNT, Resource::Contacts).await.unwrap(), 30);
        assert_eq!(warehouse.quarantined(ACCOUNT, Resource::Contacts).await.unwrap(), bad);
        let reasons = place
            .rows("SELECT id, reason FROM quarantine WHERE id LIKE 'nul%' ORDER BY id")
            .await;
        assert!(
            reasons
                .iter()
                .any(|row| row.starts_with("nul-json|") && row.contains("extra contains the character NUL"))
        );
        assert!(reasons.iter().any(|row| row.starts_with("nul␀id|")));
    }
    // Met again, nothing of it is written, not even tried.
    let before = place.write_mark().await;
    let again = commit(&warehouse, &page).await;
    assert_eq!(place.write_mark().await, before);
    let kept = |change: &Change| {
        if *change == Change::Quarantined {
            *change
        } else {
            Change::Unchanged
        }
    };
    assert_eq!(changes(&again), changes(&outcomes).iter().map(kept).collect::<Vec<_>>());
}

async fn a_row_that_becomes_unstorable_keeps_its_number_and_its_last_version(place: Place) {
    let warehouse = place.migrated().await;
    let first = commit(&warehouse, &[contact("c1", "Ana")]).await;
    let num = first[0].num.unwrap();
    warehouse
        .mark_missing(ACCOUNT, Resource::Contacts, &[num])
        .await
        .unwrap();
    let second = commit(&warehouse, &[contact("c1", "A\0na")]).await;
    assert_eq!(first[0].num, second[0].num);
    if place.is_sqlite() {
        assert_eq!(second[0].change, Change::Updated);
    } else {
        assert_eq!(second[0].change, Change::Quarantined);
        assert_eq!(place.rows("SELECT name, missing_since FROM contacts").await, ["Ana|-"]);
        let third = commit(&warehouse, &[contact("c1", "Anna")]).await;
        assert_eq!(third[0].change, Change::Updated);
        assert_eq!(warehouse.quarantined(ACCOUNT, Resource::Contacts).await.unwrap(), 0);
    }
}

async fn the_quarantine_names_each_id_once(place: Place) {
    let warehouse = place.migrated().await;
    let bad = [
        rejected(Some("é"), r#"{"at":1}"#),
        rejected(Some("b"), r#"{"at":2}"#),
        rejected(None, r#"{"at":3}"#),
        rejected(Some("B"), r#"{"at":4}"#),
        rejected(Some("b"), r#"{"at":5}"#),
        rejected(Some("a"), r#"{"at":6}"#),
    ];
    commit_with(&warehouse, &[contact("c1", "Ana")], &bad).await;
    let another = [rejected(Some("z"), r#"{"at":7}"#)];
    commit_with(&warehouse, &[conversation("v1", "active")], &another).await;
    let ids = async |account, resource| warehouse.quarantined_ids(account, resource).await.unwrap();
    assert_eq!(ids(ACCOUNT, Resource::Contacts).await, ["B", "a", "b", "é"]);
    assert_eq!(ids(ACCOUNT, Resource::Conversations).await, ["z"]);
    assert!(ids(ACCOUNT, Resource::Messages).await.is_empty());
    assert!(ids("other", Resource::Contacts).await.is_empty());
    // Stored after all, a row leaves.
    commit(&warehouse, &[contact("b", "Bogdan")]).await;
    assert_eq!(ids(ACCOUNT, Resource::Contacts).await, ["B", "a", "é"]);
}
