//! Presence: what a sweep did not see, tombstones, and whose messages are to be read.

use allai_sync::allai::Resource;
use allai_sync::allai::model::Record;
use allai_sync::warehouse::ToRead;
use roaring::RoaringTreemap;

use super::harness::{ACCOUNT, Place, commit, contact, conversation, message, nums, sendable, time};
use super::on_both;

on_both! {
    live_rows_that_were_not_seen_are_found,
    rows_tombstoned_or_added_by_another_program_do_not_hide_one_that_was_not_seen,
    a_missing_row_keeps_its_time_until_it_is_seen_again,
    messages_go_with_their_conversation_and_are_read_again_when_it_is_back,
    messages_are_read_of_new_changed_and_active_conversations,
    active_conversations_that_were_not_seen_are_found,
    messages_that_were_not_seen_are_found_by_conversation,
}

async fn live_rows_that_were_not_seen_are_found(place: Place) {
    let warehouse = place.migrated().await;
    // More than one statement reads.
    let page: Vec<Record> = (0..5_500).map(|i| contact(&format!("c{i}"), "Ana")).collect();
    let nums = nums(&commit(&warehouse, &page).await);
    assert!(nums.is_sorted());
    let mut seen: RoaringTreemap = nums.iter().copied().collect();
    let top = warehouse.highest_row_num(ACCOUNT, Resource::Contacts).await.unwrap();
    let unseen = warehouse.unseen(ACCOUNT, Resource::Contacts, &seen, top).await.unwrap();
    assert_eq!((unseen.live, unseen.rows.len()), (5_500, 0));

    for gone in [17, 5_200, 5_300] {
        seen.remove(nums[gone]);
    }
    warehouse
        .tombstone(ACCOUNT, Resource::Contacts, &[nums[5_200]])
        .await
        .unwrap();
    let unseen = warehouse.unseen(ACCOUNT, Resource::Contacts, &seen, top).await.unwrap();
    assert_eq!(unseen.live, 5_499);
    let ids: Vec<_> = unseen.rows.iter().map(|row| row.id.as_str()).collect();
    assert_eq!(ids, ["c17", "c5300"]);
    let below = nums[5_300] - 1;
    let unseen = sendable(warehouse.unseen(ACCOUNT, Resource::Contacts, &seen, below))
        .await
        .unwrap();
    assert_eq!(unseen.rows.len(), 1);
}

async fn rows_tombstoned_or_added_by_another_program_do_not_hide_one_that_was_not_seen(place: Place) {
    let warehouse = place.migrated().await;
    let page: Vec<Record> = (0..6).map(|i| contact(&format!("c{i}"), "Ana")).collect();
    let nums = nums(&commit(&warehouse, &page).await);
    let unseen = async |seen: &[u64], top: u64| {
        let seen = seen.iter().copied().collect();
        let unseen = warehouse.unseen(ACCOUNT, Resource::Contacts, &seen, top).await.unwrap();
        let ids: Vec<String> = unseen.rows.into_iter().map(|row| row.id).collect();
        (unseen.live, ids)
    };
    assert_eq!(unseen(&nums, nums[5]).await, (6, vec![]));
    // As many are live as were seen: c1 went after it was seen, and c5 was not seen.
    warehouse
        .tombstone(ACCOUNT, Resource::Contacts, &nums[1..2])
        .await
        .unwrap();
    assert_eq!(unseen(&nums[..5], nums[5]).await, (5, vec!["c5".to_owned()]));
    assert_eq!(unseen(&nums, nums[5]).await, (5, vec![]));
    let but_c1: Vec<u64> = nums.iter().copied().filter(|num| *num != nums[1]).collect();
    assert_eq!(unseen(&but_c1, nums[5]).await, (5, vec![]));
    // What another program has added since has higher numbers, seen or not.
    commit(&warehouse, &[contact("c6", "Ana")]).await;
    let top = warehouse.highest_row_num(ACCOUNT, Resource::Contacts).await.unwrap();
    assert_eq!(unseen(&nums, nums[5]).await, (5, vec![]));
    assert_eq!(unseen(&nums, top).await, (6, vec!["c6".to_owned()]));
    let with_c6: Vec<u64> = nums[1..].iter().copied().chain([top]).collect();
    assert_eq!(unseen(&with_c6, nums[5]).await, (5, vec!["c0".to_owned()]));
    assert_eq!(unseen(&[], u64::MAX).await.0, 6);
}

async fn a_missing_row_keeps_its_time_until_it_is_seen_again(place: Place) {
    let warehouse = place.migrated().await;
    let page = [contact("c1", "Ana"), contact("c2", "Bogdan")];
    let nums = nums(&commit(&warehouse, &page).await);
    warehouse
        .mark_missing(ACCOUNT, Resource::Contacts, &nums)
        .await
        .unwrap();
    place.pass(60);
    warehouse
        .mark_missing(ACCOUNT, Resource::Contacts, &nums)
        .await
        .unwrap();
    let missing = async || {
        let none = RoaringTreemap::new();
        let unseen = warehouse
            .unseen(ACCOUNT, Resource::Contacts, &none, u64::MAX)
            .await
            .unwrap();
        unseen.rows.iter().map(|row| row.missing_since).collect::<Vec<_>>()
    };
    let since = Some(time("2026-01-19T10:00:00Z"));
    assert_eq!(missing().await, [since, since]);
    commit(&warehouse, &page[..1]).await;
    assert_eq!(missing().await, [None, since]);
    // Seen unchanged, it is not written again.
    let before = place.write_mark().await;
    commit(&warehouse, &page[..1]).await;
    assert_eq!(place.write_mark().await, before);
    warehouse
        .tombstone(ACCOUNT, Resource::Contacts, &nums[1..])
        .await
        .unwrap();
    assert_eq!(
        place.rows("SELECT missing_since FROM contacts WHERE id = 'c2'").await,
        ["-"]
    );
}

async fn messages_go_with_their_conversation_and_are_read_again_when_it_is_back(place: Place) {
    let warehouse = place.migrated().await;
    let conversations = [conversation("v1", "closed"), conversation("v2", "closed")];
    let nums = nums(&commit(&warehouse, &conversations).await);
    for record in &conversations {
        let sent = "2026-01-19T09:00:00Z";
        let messages = [message(&format!("{}m1", record.id()), record.id(), "visitor", sent)];
        commit(&warehouse, &messages).await;
        warehouse
            .mark_conversation_read(ACCOUNT, record.id(), record.content_hash())
            .await
            .unwrap();
    }
    assert!(
        warehouse
            .conversations_to_read(ACCOUNT, 0, 10, ToRead::Due)
            .await
            .unwrap()
            .is_empty()
    );
    let deleted = sendable(warehouse.tombstone(ACCOUNT, Resource::Conversations, &nums[..1]))
        .await
        .unwrap();
    assert_eq!(deleted, 1);
    assert_eq!(
        place.rows("SELECT id FROM messages WHERE deleted_at IS NULL").await,
        ["v2m1"]
    );
    assert!(
        warehouse
            .conversations_to_read(ACCOUNT, 0, 10, ToRead::All)
            .await
            .unwrap()
            .iter()
            .all(|c| c.id == "v2")
    );
    commit(&warehouse, &conversations).await;
    let to_read = warehouse
        .conversations_to_read(ACCOUNT, 0, 10, ToRead::Due)
        .await
        .unwrap();
    assert_eq!(to_read.iter().map(|c| c.id.as_str()).collect::<Vec<_>>(), ["v1"]);
}

async fn messages_are_read_of_new_changed_and_active_conversations(place: Place) {
    let warehouse = place.migrated().await;
    let records = [
        conversation("v1", "closed"),
        conversation("v2", "active"),
        conversation("v3", "closed"),
    ];
    let nums = nums(&commit(&warehouse, &records).await);
    let to_read = async |after, limit, which| {
        let conversations = warehouse
            .conversations_to_read(ACCOUNT, after, limit, which)
            .await
            .unwrap();
        conversations.into_iter().map(|c| c.id).collect::<Vec<_>>()
    };
    assert_eq!(to_read(0, 10, ToRead::Due).await, ["v1", "v2", "v3"]);
    assert_eq!(to_read(0, 2, ToRead::Due).await, ["v1", "v2"]);
    assert_eq!(to_read(nums[1], 2, ToRead::Due).await, ["v3"]);
    for conversation in warehouse
        .conversations_to_read(ACCOUNT, 0, 10, ToRead::Due)
        .await
        .unwrap()
    {
        warehouse
            .mark_conversation_read(ACCOUNT, &conversation.id, conversation.content_hash)
            .await
            .unwrap();
    }
    let before = place.write_mark().await;
    warehouse
        .mark_conversation_read(ACCOUNT, "v1", records[0].content_hash())
        .await
        .unwrap();
    assert_eq!(place.write_mark().await, before);
    assert_eq!(to_read(0, 10, ToRead::Due).await, ["v2"]);
    assert_eq!(to_read(0, 10, ToRead::All).await, ["v1", "v2", "v3"]);
    commit(&warehouse, &[conversation("v3", "resolved")]).await;
    assert_eq!(to_read(0, 10, ToRead::Due).await, ["v2", "v3"]);
}

async fn active_conversations_that_were_not_seen_are_found(place: Place) {
    let warehouse = place.migrated().await;
    let records = ["v1", "v2", "v3"].map(|id| conversation(id, if id == "v2" { "closed" } else { "active" }));
    let nums = nums(&commit(&warehouse, &records).await);
    let none = RoaringTreemap::new();
    let active = warehouse.active_unseen(ACCOUNT, &none).await.unwrap();
    assert_eq!(active, [(nums[0], "v1".to_owned()), (nums[2], "v3".to_owned())]);
    let seen: RoaringTreemap = [nums[0]].into_iter().collect();
    assert_eq!(
        warehouse.active_unseen(ACCOUNT, &seen).await.unwrap(),
        [(nums[2], "v3".to_owned())]
    );
}

async fn messages_that_were_not_seen_are_found_by_conversation(place: Place) {
    let warehouse = place.migrated().await;
    let at = "2026-01-19T09:00:00Z";
    let records = [("m1", "v1"), ("m2", "v1"), ("m3", "v2")].map(|(id, of)| message(id, of, "bot", at));
    let nums = nums(&commit(&warehouse, &records).await);
    let seen: RoaringTreemap = [nums[0]].into_iter().collect();
    let unseen = warehouse.unseen_messages(ACCOUNT, "v1", &seen).await.unwrap();
    assert_eq!(unseen.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["m2"]);
    warehouse
        .tombstone(ACCOUNT, Resource::Messages, &[nums[1]])
        .await
        .unwrap();
    assert!(
        warehouse
            .unseen_messages(ACCOUNT, "v1", &seen)
            .await
            .unwrap()
            .is_empty()
    );
}
