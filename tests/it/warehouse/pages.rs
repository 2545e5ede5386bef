//! Pages: what is stored, what is not written, what becomes history.

use allai_sync::allai::Resource;
use allai_sync::allai::model::{Contact, Conversation, Record};
use allai_sync::warehouse::{Change, PageCommit};

use super::harness::{
    ACCOUNT, Place, bare_contact, bare_conversation, changes, commit, commit_with, contact, conversation, hashed, json,
    message, nums, rejected, rows, time,
};
use super::on_both;

on_both! {
    every_member_of_a_new_row_is_stored,
    an_unchanged_page_writes_nothing,
    a_change_keeps_the_superseded_version,
    a_tombstoned_row_that_comes_back_is_restored_with_its_history,
    versions_do_not_overlap_even_if_the_clock_stands_still,
    the_last_of_several_records_with_one_id_wins,
    the_checkpoint_sees_the_numbers_of_new_rows,
    rows_and_checkpoint_commit_together_or_not_at_all,
    accounts_do_not_mix,
    a_rejected_row_is_quarantined_once_and_leaves_when_its_id_is_stored,
    messages_of_two_conversations_may_share_an_id,
    two_writers_of_one_page_write_its_history_once,
}

async fn messages_of_two_conversations_may_share_an_id(place: Place) {
    let warehouse = place.migrated().await;
    for conversation in ["v1", "v2"] {
        let outcomes = commit(
            &warehouse,
            &[message("msg_001", conversation, "visitor", "2026-01-19T10:30:00Z")],
        )
        .await;
        assert_eq!(changes(&outcomes), [Change::Inserted]);
    }
    let outcomes = commit(&warehouse, &[message("msg_001", "v1", "bot", "2026-01-19T10:30:00Z")]).await;
    assert_eq!(changes(&outcomes), [Change::Updated]);
    assert_eq!(
        place
            .rows("SELECT conversation_id, id, role FROM messages ORDER BY 1")
            .await,
        ["v1|msg_001|bot", "v2|msg_001|visitor"]
    );
    let empty = PageCommit {
        account: ACCOUNT,
        resource: Resource::Messages,
        conversation: None,
        rows: &[],
        rejected: &[],
        asked: None,
    };
    assert_eq!(warehouse.commit_page(&empty, |_| None).await.unwrap(), []);
}

async fn every_member_of_a_new_row_is_stored(place: Place) {
    let warehouse = place.migrated().await;
    let contact = Contact {
        name: Some("Ștefan O'Neil \"🦀\"".to_owned()),
        email: Some("stefan@exemplu.ro".to_owned()),
        phone: Some("+40722123456".to_owned()),
        tags: json(r#"["lead"]"#),
        custom_fields: json(r#"{"n": 1.50}"#),
        created_at: Some(time("2026-01-19T10:30:00Z")),
        updated_at: Some(time("2026-01-19T10:30:00.25Z")),
        extra: json(r#"{"x": null}"#),
        ..bare_contact("c1")
    };
    let conversation = Conversation {
        chatbot_id: Some("cb".to_owned()),
        contact_id: Some("c1".to_owned()),
        visitor_name: Some("Ion".to_owned()),
        visitor_email: Some("ion@exemplu.ro".to_owned()),
        visitor: json(r#"{"name": "Ion"}"#),
        channel: Some("api".to_owned()),
        status: Some("closed".to_owned()),
        resolution: Some("resolved_by_bot".to_owned()),
        metadata: json(r#"{"page": "/x"}"#),
        created_at: Some(time("2026-01-01T00:00:00Z")),
        updated_at: Some(time("2026-01-02T00:00:00Z")),
        closed_at: Some(time("2026-01-03T00:00:00Z")),
        extra: json(r#"{"y": 2}"#),
        ..bare_conversation("v1")
    };
    commit(&warehouse, &[hashed(Record::Contact(contact))]).await;
    commit(&warehouse, &[hashed(Record::Conversation(conversation))]).await;
    commit(&warehouse, &[message("m1", "v1", "visitor", "2026-01-19T10:30:00Z")]).await;

    let at = |text: &str| {
        if place.is_sqlite() {
            text.to_owned()
        } else {
            text.replace('T', " ").replace('Z', "+00")
        }
    };
    assert_eq!(
        place
            .rows(
                "SELECT account, id, name, email, phone, tags, custom_fields, created_at, updated_at, extra, \
                 deleted_at FROM contacts"
            )
            .await,
        [format!(
            "main|c1|Ștefan O'Neil \"🦀\"|stefan@exemplu.ro|+40722123456|[\"lead\"]|{{\"n\": 1.50}}|{}|{}|{{\"x\": \
             null}}|-",
            at("2026-01-19T10:30:00Z"),
            if place.is_sqlite() {
                "2026-01-19T10:30:00.250Z"
            } else {
                "2026-01-19 10:30:00.25+00"
            },
        )]
    );
    assert_eq!(
        place
            .rows(
                "SELECT id, chatbot_id, contact_id, visitor_name, visitor_email, visitor, channel, status, resolution, \
                 metadata, created_at, updated_at, closed_at, extra FROM conversations"
            )
            .await,
        [format!(
            "v1|cb|c1|Ion|ion@exemplu.ro|{{\"name\": \"Ion\"}}|api|closed|resolved_by_bot|{{\"page\": \
             \"/x\"}}|{}|{}|{}|{{\"y\": 2}}",
            at("2026-01-01T00:00:00Z"),
            at("2026-01-02T00:00:00Z"),
            at("2026-01-03T00:00:00Z"),
        )]
    );
    assert_eq!(
        place
            .rows("SELECT id, conversation_id, role, type, content, confidence, sources, sent_at FROM messages")
            .await,
        [format!(
            "m1|v1|visitor|text|Bună ziua! 👋 “Aveți” stoc?|-|-|{}",
            at("2026-01-19T10:30:00Z")
        )]
    );
}

async fn an_unchanged_page_writes_nothing(place: Place) {
    let warehouse = place.migrated().await;
    let page: Vec<Record> = (0..100).map(|i| contact(&format!("c{i}"), "Ana")).collect();
    let bad = [rejected(None, r#"{"name": "?"}"#)];
    let first = commit_with(&warehouse, &page, &bad).await;
    let before = place.write_mark().await;
    place.pass(60);
    let second = commit_with(&warehouse, &page, &bad).await;
    assert_eq!(changes(&second), vec![Change::Unchanged; 100]);
    assert_eq!(nums(&first), nums(&second));
    assert_eq!(place.write_mark().await, before);
}

async fn a_change_keeps_the_superseded_version(place: Place) {
    let warehouse = place.migrated().await;
    commit(&warehouse, &[contact("c1", "Ana"), contact("c2", "Bogdan")]).await;
    assert_eq!(place.rows("SELECT count(*) FROM contacts_history").await, ["0"]);
    place.pass(60);
    let outcomes = commit(&warehouse, &[contact("c1", "Ana Pop"), contact("c2", "Bogdan")]).await;
    assert_eq!(changes(&outcomes), [Change::Updated, Change::Unchanged]);
    place.pass(60);
    commit(&warehouse, &[contact("c1", "Ana Popa")]).await;
    let minute = |column: &str| {
        if place.is_sqlite() {
            format!("substr({column}, 12, 5)")
        } else {
            format!("to_char({column}, 'HH24:MI')")
        }
    };
    let versions = format!(
        "SELECT id, name, {}, {} FROM contacts_versions ORDER BY id, valid_from",
        minute("valid_from"),
        minute("valid_to")
    );
    assert_eq!(
        place.rows(&versions).await,
        [
            "c1|Ana|10:00|10:01",
            "c1|Ana Pop|10:01|10:02",
            "c1|Ana Popa|10:02|-",
            "c2|Bogdan|10:00|-"
        ]
    );
    let first_seen = format!("SELECT DISTINCT {} FROM contacts_versions", minute("first_seen_at"));
    assert_eq!(place.rows(&first_seen).await, ["10:00"]);

    commit(&warehouse, &[conversation("v1", "active")]).await;
    place.pass(60);
    commit(&warehouse, &[conversation("v1", "closed")]).await;
    assert_eq!(
        place
            .rows("SELECT status FROM conversations_versions ORDER BY valid_from")
            .await,
        ["active", "closed"]
    );
}

async fn a_tombstoned_row_that_comes_back_is_restored_with_its_history(place: Place) {
    let warehouse = place.migrated().await;
    let page = [contact("c1", "Ana")];
    let num = nums(&commit(&warehouse, &page).await)[0];
    place.pass(60);
    assert_eq!(
        warehouse.tombstone(ACCOUNT, Resource::Contacts, &[num]).await.unwrap(),
        1
    );
    assert_eq!(
        warehouse.tombstone(ACCOUNT, Resource::Contacts, &[num]).await.unwrap(),
        0
    );
    assert_eq!(warehouse.live_rows(ACCOUNT, Resource::Contacts).await.unwrap(), 0);
    place.pass(60);
    let outcomes = commit(&warehouse, &page).await;
    assert_eq!(changes(&outcomes), [Change::Restored]);
    assert_eq!(nums(&outcomes), [num]);
    assert_eq!(
        place
            .rows(
                "SELECT name, CASE WHEN valid_from = changed_at AND valid_to = deleted_at THEN 'ok' ELSE 'wrong' END \
                 FROM contacts_history"
            )
            .await,
        ["Ana|ok"]
    );
    assert_eq!(place.rows("SELECT name, deleted_at FROM contacts").await, ["Ana|-"]);
    assert_eq!(
        place
            .rows(
                "SELECT count(*) FROM contacts c JOIN contacts_history h ON c.id = h.id AND c.changed_at > h.valid_to"
            )
            .await,
        ["1"]
    );
}

async fn versions_do_not_overlap_even_if_the_clock_stands_still(place: Place) {
    let warehouse = place.migrated().await;
    for name in ["A", "B", "A", "B"] {
        commit(&warehouse, &[contact("c1", name)]).await;
    }
    assert_eq!(
        place
            .rows("SELECT name FROM contacts_versions ORDER BY valid_from")
            .await,
        ["A", "B", "A", "B"]
    );
    assert_eq!(
        place
            .rows("SELECT count(*) FROM contacts_history WHERE valid_from >= valid_to")
            .await,
        ["0"]
    );
}

async fn the_last_of_several_records_with_one_id_wins(place: Place) {
    let warehouse = place.migrated().await;
    let page = [contact("c1", "first"), contact("c2", "other"), contact("c1", "last")];
    let outcomes = commit(&warehouse, &page).await;
    assert_eq!(changes(&outcomes), vec![Change::Inserted; 3]);
    assert_eq!(outcomes[0].num, outcomes[2].num);
    assert_ne!(outcomes[0].num, outcomes[1].num);
    assert_eq!(
        place.rows("SELECT name FROM contacts ORDER BY id").await,
        ["last", "other"]
    );
    assert_eq!(changes(&commit(&warehouse, &page).await), vec![Change::Unchanged; 3]);
}

async fn the_checkpoint_sees_the_numbers_of_new_rows(place: Place) {
    let warehouse = place.migrated().await;
    let records = [contact("c1", "Ana"), contact("c2", "Bogdan")];
    let page = PageCommit {
        account: ACCOUNT,
        resource: Resource::Contacts,
        conversation: None,
        rows: &rows(&records),
        rejected: &[],
        asked: None,
    };
    let join = |outcomes: &[allai_sync::warehouse::RowOutcome]| format!("{:?}", nums(outcomes));
    let outcomes = warehouse
        .commit_page(&page, |outcomes| Some(join(outcomes)))
        .await
        .unwrap();
    let state = warehouse.state(ACCOUNT, Resource::Contacts).await.unwrap().unwrap();
    assert_eq!(state.checkpoint, Some(join(&outcomes)));
    // Nothing differs any more, but the checkpoint moves on.
    warehouse.commit_page(&page, |_| Some("next".to_owned())).await.unwrap();
    let state = warehouse.state(ACCOUNT, Resource::Contacts).await.unwrap().unwrap();
    assert_eq!(state.checkpoint.as_deref(), Some("next"));
    assert_eq!(
        warehouse.highest_row_num(ACCOUNT, Resource::Contacts).await.unwrap(),
        nums(&outcomes)[1]
    );
}

async fn rows_and_checkpoint_commit_together_or_not_at_all(place: Place) {
    let warehouse = place.migrated().await;
    place.rows("ALTER TABLE sync_state RENAME TO hidden").await;
    let records = [contact("c1", "Ana")];
    let page = PageCommit {
        account: ACCOUNT,
        resource: Resource::Contacts,
        conversation: None,
        rows: &rows(&records),
        rejected: &[rejected(None, "{}")],
        asked: None,
    };
    assert!(warehouse.commit_page(&page, |_| Some("1".to_owned())).await.is_err());
    assert_eq!(place.rows("SELECT count(*) FROM contacts").await, ["0"]);
    assert_eq!(place.rows("SELECT count(*) FROM quarantine").await, ["0"]);
    place.rows("ALTER TABLE hidden RENAME TO sync_state").await;
    warehouse.commit_page(&page, |_| Some("1".to_owned())).await.unwrap();
    assert_eq!(place.rows("SELECT name FROM contacts").await, ["Ana"]);
}

async fn accounts_do_not_mix(place: Place) {
    let warehouse = place.migrated().await;
    for (account, name) in [("a", "Ana"), ("b", "Bogdan")] {
        let records = [contact("c1", name)];
        let page = PageCommit {
            account,
            resource: Resource::Contacts,
            conversation: None,
            rows: &rows(&records),
            rejected: &[],
            asked: None,
        };
        let outcomes = warehouse
            .commit_page(&page, |_| Some(account.to_owned()))
            .await
            .unwrap();
        assert_eq!(changes(&outcomes), [Change::Inserted]);
    }
    assert_eq!(
        place.rows("SELECT account, name FROM contacts ORDER BY account").await,
        ["a|Ana", "b|Bogdan"]
    );
    let num = warehouse.highest_row_num("a", Resource::Contacts).await.unwrap();
    warehouse.tombstone("a", Resource::Contacts, &[num]).await.unwrap();
    assert_eq!(warehouse.live_rows("b", Resource::Contacts).await.unwrap(), 1);
    let state = warehouse.state("b", Resource::Contacts).await.unwrap().unwrap();
    assert_eq!(state.checkpoint.as_deref(), Some("b"));
}

async fn a_rejected_row_is_quarantined_once_and_leaves_when_its_id_is_stored(place: Place) {
    let warehouse = place.migrated().await;
    let good = [contact("c1", "Ana")];
    let bad = [
        rejected(Some("c2"), r#"{"id": "c2", "name": "\u0000"}"#),
        rejected(None, "[]"),
    ];
    commit_with(&warehouse, &good, &bad).await;
    commit_with(&warehouse, &good, &bad).await;
    assert_eq!(warehouse.quarantined(ACCOUNT, Resource::Contacts).await.unwrap(), 2);
    assert_eq!(
        place
            .rows("SELECT id, reason, raw FROM quarantine ORDER BY id")
            .await
            .iter()
            .max()
            .unwrap(),
        "c2|no usable id|{\"id\": \"c2\", \"name\": \"\\u0000\"}"
    );
    commit(&warehouse, &[contact("c2", "Bogdan")]).await;
    assert_eq!(place.rows("SELECT raw FROM quarantine").await, ["[]"]);
    // Good as before, then bad, then good as before: nothing is left either.
    commit_with(&warehouse, &good, &[rejected(Some("c1"), "{}")]).await;
    assert_eq!(warehouse.quarantined(ACCOUNT, Resource::Contacts).await.unwrap(), 2);
    assert_eq!(changes(&commit(&warehouse, &good).await), [Change::Unchanged]);
    assert_eq!(warehouse.quarantined(ACCOUNT, Resource::Contacts).await.unwrap(), 1);
}

async fn two_writers_of_one_page_write_its_history_once(place: Place) {
    let warehouse = place.migrated().await;
    let other = place.open().await;
    for round in 0..5 {
        let page: Vec<Record> = (0..50)
            .map(|i| contact(&format!("c{i}"), &format!("{round}")))
            .collect();
        let mut turned = page.clone();
        turned.reverse();
        let (a, b) = tokio::join!(commit(&warehouse, &page), commit(&other, &turned));
        let written = |outcomes: &[_]| {
            changes(outcomes)
                .iter()
                .filter(|change| **change != Change::Unchanged)
                .count()
        };
        assert_eq!(written(&a) + written(&b), 50);
        place.pass(1);
    }
    assert_eq!(place.rows("SELECT count(*) FROM contacts").await, ["50"]);
    assert_eq!(place.rows("SELECT count(*) FROM contacts_history").await, ["200"]);
}
