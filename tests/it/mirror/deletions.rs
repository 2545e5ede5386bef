//! Nothing is marked as deleted unless it is proven gone; nothing that is marked is lost.

use allai_sync::sandbox::{AccountHandle, Options, Totals};

use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::on_both_databases;

on_both_databases!(
    what_is_deleted_is_marked_by_a_full_sync_alone,
    an_empty_list_deletes_nothing_until_a_person_says_so,
    a_mass_deletion_is_held_back_until_a_person_says_so,
    a_row_that_comes_back_is_restored,
    a_row_that_is_listed_without_its_id_is_not_taken_for_deleted,
    rows_that_never_had_an_id_keep_no_row_from_being_deleted,
    a_conversation_that_only_the_list_misses_stays,
    a_server_that_states_wrong_totals_deletes_nothing,
);

fn account() -> Options {
    let mut options = Options::for_tests(90, 30);
    options.account.messages_per_conversation = Some(4);
    options
}

async fn mirrored(database: Database) -> (Mirror, AccountHandle) {
    let mirror = Mirror::start(database, account()).await;
    mirror.sync().await.verified();
    mirror.assert_exact().await;
    let account = mirror.sandbox.account();
    (mirror, account)
}

impl Mirror {
    async fn tombstones(&self, table: &str) -> usize {
        let sql = format!("SELECT id FROM {table} WHERE deleted_at IS NOT NULL");
        self.database.rows(&sql).await.len()
    }
}

async fn what_is_deleted_is_marked_by_a_full_sync_alone(database: Database) {
    let (mirror, account) = mirrored(database).await;
    let messages = account.snapshot().messages;
    let (gone, stays) = (&account.conversation_ids()[4], &account.conversation_ids()[9]);
    let message = messages[stays][1].id().unwrap();
    for id in account.contact_ids().iter().step_by(5).take(15) {
        assert!(account.delete_contact(id));
    }
    assert!(account.delete_conversation(gone));
    assert!(account.delete_message(stays, &message));

    mirror.sync().await;
    for table in ["contacts", "conversations"] {
        assert_eq!(mirror.tombstones(table).await, 0, "{table}");
    }
    let runs = mirror.full_sync().await.verified();
    mirror.assert_exact().await;
    assert_eq!(mirror.tombstones("contacts").await, 15);
    assert_eq!(mirror.tombstones("conversations").await, 1);
    assert_eq!(
        mirror.tombstones("messages").await,
        5,
        "one, and the four of the conversation: {runs:#?}"
    );
    // Marked once, and not again.
    let again = mirror.full_sync().await.verified();
    assert!(again.0.iter().all(|run| run.deleted == 0), "{again:#?}");
}

async fn an_empty_list_deletes_nothing_until_a_person_says_so(database: Database) {
    let (mirror, account) = mirrored(database).await;
    let ids = account.contact_ids();
    for id in &ids {
        assert!(account.hide_contact(id, true));
    }
    let said = mirror.say(&["sync", "contacts", "--full", "--json"]).expect(1);
    let run = &said.json()["runs"][0];
    assert_eq!(run["status"], "incomplete", "{run}");
    assert_eq!(
        (run["verified"].as_bool(), run["deleted"].as_u64()),
        (Some(false), Some(0)),
        "{run}"
    );
    let command = "allai-sync sync contacts --account main --full --allow-mass-delete";
    assert!(run["error"].as_str().unwrap().contains(command), "{run}");
    assert!(said.stderr.contains(command), "{said:?}");
    assert_eq!(mirror.tombstones("contacts").await, 0);

    let arguments: Vec<&str> = command.split(' ').skip(1).chain(["--json"]).collect();
    let run = &mirror.say(&arguments).expect(0).json()["runs"][0];
    assert_eq!(run["deleted"], 90, "{run}");
    assert_eq!(mirror.tombstones("contacts").await, 90);

    for id in &ids {
        assert!(account.hide_contact(id, false));
    }
    let run = &mirror.say(&["sync", "contacts", "--full", "--json"]).expect(0).json()["runs"][0];
    assert_eq!(run["restored"], 90, "{run}");
    mirror.assert_exact().await;
}

async fn a_mass_deletion_is_held_back_until_a_person_says_so(database: Database) {
    let (mirror, account) = mirrored(database).await;
    for id in account.contact_ids().iter().step_by(3).take(21) {
        assert!(account.delete_contact(id));
    }
    for id in account.conversation_ids().iter().take(21) {
        assert!(account.delete_conversation(id));
    }
    let said = mirror.say(&["sync", "--full", "--json"]).expect(1);
    for (nth, table) in ["contacts", "conversations"].into_iter().enumerate() {
        let run = &said.json()["runs"][nth];
        assert_eq!(
            (run["status"].as_str(), run["deleted"].as_u64()),
            (Some("incomplete"), Some(0)),
            "{run}"
        );
        assert!(
            said.stderr
                .contains(&format!("sync {table} --account main --full --allow-mass-delete")),
            "{said:?}"
        );
        assert_eq!(mirror.tombstones(table).await, 0, "{table}");
    }
    assert_eq!(mirror.tombstones("messages").await, 0);

    mirror.say(&["sync", "--full", "--allow-mass-delete"]).expect(0);
    mirror.assert_exact().await;
    assert_eq!(mirror.tombstones("contacts").await, 21);
    assert_eq!(mirror.tombstones("conversations").await, 21);
    assert_eq!(mirror.tombstones("messages").await, 84);
}

async fn a_row_that_is_listed_without_its_id_is_not_taken_for_deleted(database: Database) {
    let (mirror, account) = mirrored(database).await;
    let ids = account.contact_ids();
    for id in ids.iter().step_by(20) {
        assert!(account.distort_contact(id, "id", None));
    }
    assert!(account.delete_contact(&ids[7]));
    for _ in 0..2 {
        let said = mirror.say(&["sync", "contacts", "--full", "--json"]).expect(1);
        let run = &said.json()["runs"][0];
        assert_eq!(
            (run["deleted"].as_u64(), run["status"].as_str()),
            (Some(0), Some("incomplete")),
            "{run}"
        );
        let error = run["error"].as_str().unwrap();
        assert!(
            error.contains("lists without an id") && error.contains("--allow-mass-delete"),
            "{error}"
        );
        assert_eq!(mirror.tombstones("contacts").await, 0);
    }
    // They are listed as they were.
    for id in ids.iter().step_by(20) {
        assert!(account.distort_contact(id, "id", Some(&format!("\"{id}\""))));
    }
    mirror.full_sync().await;
    mirror.full_sync().await.verified();
    mirror.assert_exact().await;
    assert_eq!(mirror.tombstones("contacts").await, 1);
}

async fn rows_that_never_had_an_id_keep_no_row_from_being_deleted(database: Database) {
    let mirror = Mirror::start(database, account()).await;
    let account = mirror.sandbox.account();
    let ids = account.contact_ids();
    for (at, id) in ids.iter().step_by(20).enumerate() {
        assert!(account.distort_contact(id, "id", None));
        if at % 2 == 0 {
            assert!(account.distort_contact(id, "created_at", None));
        }
    }
    mirror.sync().await;
    for id in [&ids[7], &ids[8]] {
        assert!(account.delete_contact(id));
    }
    mirror.full_sync().await;
    assert_eq!(mirror.tombstones("contacts").await, 2);
}

async fn a_row_that_comes_back_is_restored(database: Database) {
    let (mirror, account) = mirrored(database).await;
    let id = &account.contact_ids()[44];
    let version = format!("SELECT * FROM contacts WHERE id = '{id}'");
    let before = mirror.database.rows(&version).await.remove(0);
    assert!(account.hide_contact(id, true));
    mirror.full_sync().await.verified();
    let gone = mirror.database.rows(&version).await.remove(0);
    assert!(gone.get("deleted_at").is_some());

    assert!(account.hide_contact(id, false));
    let runs = mirror.full_sync().await.verified();
    assert_eq!(runs.of(allai_sync::allai::Resource::Contacts).restored, 1);
    mirror.assert_exact().await;
    let back = mirror.database.rows(&version).await.remove(0);
    assert_eq!(back.get("first_seen_at"), before.get("first_seen_at"));
    assert!(back.time("changed_at") > gone.time("deleted_at"));
    let history = mirror.database.table("contacts_history").await;
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].time("valid_from"), before.time("changed_at"));
    assert_eq!(history[0].time("valid_to"), gone.time("deleted_at"));
}

async fn a_conversation_that_only_the_list_misses_stays(database: Database) {
    let (mirror, account) = mirrored(database).await;
    let id = &account.conversation_ids()[7];
    assert!(account.hide_conversation(id, true));
    let deleted = &account.conversation_ids()[11];
    assert!(account.delete_conversation(deleted));

    mirror.full_sync().await.verified();
    let marked = "SELECT id FROM conversations WHERE deleted_at IS NOT NULL";
    assert_eq!(mirror.database.value(marked).await, *deleted);
    let messages = format!("SELECT count(*) FROM messages WHERE conversation_id = '{id}' AND deleted_at IS NULL");
    assert_eq!(mirror.database.value(&messages).await, "4");
    assert!(account.hide_conversation(id, false));
    mirror.full_sync().await.verified();
    mirror.assert_exact().await;
}

async fn a_server_that_states_wrong_totals_deletes_nothing(database: Database) {
    let (mirror, account) = mirrored(database).await;
    mirror
        .sandbox
        .set_options(|options| options.shape.totals = Totals::Wrong);
    for id in account.contact_ids().iter().take(5) {
        assert!(account.delete_contact(id));
    }
    assert!(account.delete_conversation(&account.conversation_ids()[3]));
    for _ in 0..3 {
        let runs = mirror.full_sync().await;
        assert!(runs.0.iter().all(|run| !run.verified && run.deleted == 0), "{runs:#?}");
    }
    mirror
        .sandbox
        .set_options(|options| options.shape.totals = Totals::Beside);
    mirror.full_sync().await.verified();
    mirror.assert_exact().await;
    assert_eq!(mirror.tombstones("contacts").await, 5);
}
