//! Messages: what is wrong with one conversation is not the others' matter, and what is gone is deleted with care.

use std::time::Duration;

use allai_sync::allai::Resource;
use allai_sync::clock::SystemClock;
use allai_sync::sandbox::{MessageDraft, Options};
use allai_sync::sync;
use serde_json::Value;

use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::on_both_databases;

on_both_databases!(
    messages_without_conversations_are_no_mirror,
    one_conversation_that_cannot_be_asked_for_does_not_stop_the_others,
    an_incremental_sync_deletes_no_message,
    lists_that_come_back_empty_delete_nothing_until_a_person_says_so,
    a_run_that_goes_on_reads_again_what_has_changed_meanwhile,
    lists_that_are_not_found_are_told_of,
    messages_are_proven_although_conversations_were_synced_since_their_proof,
);

fn run(mirror: &Mirror, arguments: &[&str], code: i32) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    mirror.say(&arguments).expect(code).json()["runs"][0].clone()
}

async fn live(mirror: &Mirror) -> String {
    mirror
        .database
        .value("SELECT count(*) FROM messages WHERE deleted_at IS NULL")
        .await
}

async fn messages_without_conversations_are_no_mirror(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(5, 5)).await;
    let messages = run(&mirror, &["sync", "messages"], 1);
    assert_eq!(messages["status"], "incomplete", "{messages}");
    assert_eq!(messages["verified"], false);
    mirror.full_sync().await.verified();
    mirror.assert_exact().await;
}

async fn one_conversation_that_cannot_be_asked_for_does_not_stop_the_others(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(5, 40)).await;
    let account = mirror.sandbox.account();
    let odd = account.conversation_ids()[20].clone();
    let total = account.snapshot().message_count();
    let of_odd = account.snapshot().messages[&odd].len();
    assert!(account.distort_conversation(&odd, "id", Some("\".\"")));
    mirror.say(&["sync", "contacts", "conversations"]).expect(0);
    let messages = run(&mirror, &["sync", "messages"], 1);
    assert_eq!(messages["status"], "incomplete", "{messages}");
    assert_eq!(messages["rows_seen"], total - of_odd, "{messages}");
    assert!(
        messages["error"].as_str().unwrap().contains("1 conversation(s)"),
        "{messages}"
    );
    // It is tried again, and the others are not.
    mirror.take_log();
    run(&mirror, &["sync", "messages"], 1);
    assert!(mirror.take_log().len() < 20);
}

async fn an_incremental_sync_deletes_no_message(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(5, 20)).await;
    let account = mirror.sandbox.account();
    for id in account.conversation_ids() {
        account.reopen(&id);
    }
    mirror.sync().await;
    let snapshot = account.snapshot();
    let (conversation, messages) = snapshot.messages.iter().next().unwrap();
    assert!(account.delete_message(conversation, &messages[0].id().unwrap()));
    mirror.sync().await;
    assert_eq!(live(&mirror).await, snapshot.message_count().to_string());
    mirror.full_sync().await.verified();
    mirror.assert_exact().await;
}

async fn lists_that_come_back_empty_delete_nothing_until_a_person_says_so(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(5, 40)).await;
    mirror.sync().await;
    let before = live(&mirror).await;
    mirror
        .sandbox
        .set_options(|options| options.faults.empty_list_rate = 1.0);
    for arguments in [["sync", "messages"].as_slice(), &["sync", "messages", "--full"]] {
        mirror.say(arguments);
        assert_eq!(live(&mirror).await, before);
    }
    let messages = run(&mirror, &["sync", "messages", "--full"], 1);
    assert_eq!(messages["status"], "incomplete", "{messages}");
    assert_eq!(
        (&messages["verified"], &messages["deleted"]),
        (&false.into(), &0.into())
    );
    let command = "allai-sync sync messages --account main --full --allow-mass-delete";
    assert!(messages["error"].as_str().unwrap().contains(command), "{messages}");

    mirror
        .sandbox
        .set_options(|options| options.faults.empty_list_rate = 0.0);
    mirror.full_sync().await.verified();
    mirror.assert_exact().await;
}

async fn a_run_that_goes_on_reads_again_what_has_changed_meanwhile(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(0, 200)).await;
    mirror.say(&["sync", "conversations"]).expect(0);
    mirror
        .sandbox
        .set_options(|options| options.faults.latency = Duration::from_millis(20));
    mirror.take_log();
    let mut cut = mirror.spawn(&["sync", "messages"]);
    while mirror.sandbox.log().len() < 60 {
        assert!(cut.is_running());
        SystemClock::shared().sleep(Duration::from_millis(5)).await;
    }
    cut.signal("TERM");
    cut.end().await;
    mirror
        .sandbox
        .set_options(|options| options.faults.latency = Duration::ZERO);
    let before: u64 = live(&mirror).await.parse().unwrap();
    assert!(before > 0);

    let account = mirror.sandbox.account();
    for id in account.conversation_ids() {
        account.reopen(&id);
        let draft = MessageDraft {
            role: "visitor".to_owned(),
            content: "Bună ziua".to_owned(),
        };
        account.insert_message(&id, draft).unwrap();
    }
    let runs = mirror
        .run(
            &[Resource::Conversations, Resource::Messages],
            sync::Options {
                full: true,
                ..sync::Options::default()
            },
        )
        .await
        .complete();
    assert!(runs.of(Resource::Messages).rows_seen > before);
    mirror.assert_exact().await;
}

async fn lists_that_are_not_found_are_told_of(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(0, 30)).await;
    mirror.say(&["sync", "conversations"]).expect(0);
    mirror
        .sandbox
        .set_options(|options| options.faults.lost_messages_rate = 1.0);
    for _ in 0..2 {
        let messages = run(&mirror, &["sync", "messages"], 1);
        assert_eq!(messages["status"], "incomplete", "{messages}");
        assert!(messages["error"].as_str().unwrap().contains("404"), "{messages}");
    }
    mirror
        .sandbox
        .set_options(|options| options.faults.lost_messages_rate = 0.0);
    mirror.sync().await;
    mirror.assert_exact().await;
}

/// As by the schedules that nobody has changed: conversations are swept at three, and synced every five minutes from then on; messages
/// are swept at half past three.
async fn messages_are_proven_although_conversations_were_synced_since_their_proof(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(5, 12)).await;
    mirror.full_sync().await.verified();
    mirror.say(&["sync", "conversations"]).expect(0);
    let messages = run(&mirror, &["sync", "messages", "--full"], 0);
    assert_eq!(messages["verified"], true, "{messages}");
    let as_of_the_conversations = "SELECT count(*) FROM sync_state WHERE resource = 'messages' AND last_verified_at < (SELECT \
                                   max(started_at) FROM sync_runs WHERE resource = 'conversations')";
    assert_eq!(mirror.database.value(as_of_the_conversations).await, "1");
}
