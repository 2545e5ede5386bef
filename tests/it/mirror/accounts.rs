//! Several accounts in one warehouse do not touch each other.

use allai_sync::sandbox::{MutationKinds, Options, Sandbox};

use crate::support::comparison::differences;
use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::on_both_databases;

on_both_databases!(
    two_accounts_share_a_warehouse,
    one_account_alone_is_synced_by_its_name,
    an_account_that_is_switched_off_is_left_alone,
);

/// A mirror of two accounts, `main` and `other`, whose ids are partly the same.
async fn two(database: Database) -> (Mirror, Sandbox) {
    let mut options = Options::for_tests(60, 12);
    options.account.messages_per_conversation = Some(3);
    let mut others = options.clone();
    others.limits.limit = 1_000_000;
    (others.account.contacts, others.account.conversations) = (45, 9);
    let other = Sandbox::start(others).await.unwrap();
    let mirror = Mirror::start(database, options).await;
    let section = section(&other, "");
    mirror.configure(&format!(
        "{}{section}",
        mirror.account_config("main", "page_size = 20\n")
    ));
    let same = mirror.sandbox.account().contact_ids().into_iter();
    let same = same.filter(|id| other.account().contact_ids().contains(id));
    assert!(same.count() > 0, "the test wants ids that both accounts have");
    (mirror, other)
}

fn section(other: &Sandbox, more: &str) -> String {
    let (url, key) = (other.base_url(), &other.keys().full);
    format!("[accounts.other]\nbase_url = \"{url}\"\napi_key = \"{key}\"\n{more}")
}

async fn assert_other_exact(mirror: &Mirror, other: &Sandbox) {
    let found = differences(&mirror.database, "other", &other.account().snapshot()).await;
    assert_eq!(found, Vec::<String>::new());
}

async fn two_accounts_share_a_warehouse(database: Database) {
    let (mirror, other) = two(database).await;
    let said = mirror.say(&["sync", "--json"]).expect(0);
    assert_eq!(said.json()["runs"].as_array().unwrap().len(), 8, "{said:?}");
    mirror.assert_exact().await;
    assert_other_exact(&mirror, &other).await;

    mirror.sandbox.account().mutate(3, 30, &MutationKinds::default());
    let gone = other.account().contact_ids()[3].clone();
    assert!(other.account().delete_contact(&gone));
    mirror.full_sync().await.verified();
    mirror.assert_exact().await;
    assert_other_exact(&mirror, &other).await;
}

async fn one_account_alone_is_synced_by_its_name(database: Database) {
    let (mirror, other) = two(database).await;
    let said = mirror
        .say(&["sync", "--account", "other", "contacts", "conversations", "--json"])
        .expect(0);
    let runs = said.json()["runs"].clone();
    assert!(
        runs.as_array().unwrap().iter().all(|run| run["account"] == "other"),
        "{runs}"
    );
    assert_eq!(runs.as_array().unwrap().len(), 2);
    assert_eq!(mirror.sandbox.stats().requests, 0);
    assert_eq!(mirror.database.value("SELECT count(*) FROM contacts").await, "45");
    mirror.say(&["sync", "--account", "other"]).expect(0);
    assert_other_exact(&mirror, &other).await;

    let said = mirror.say(&["sync", "--account", "mian"]).expect(2);
    assert!(
        said.stderr.contains("mian") && said.stderr.contains("main, other"),
        "{said:?}"
    );
    let said = mirror.say(&["sync", "kontacts"]).expect(2);
    assert!(said.stderr.contains("contacts"), "{said:?}");
}

async fn an_account_that_is_switched_off_is_left_alone(database: Database) {
    let (mirror, other) = two(database).await;
    let off = section(&other, "enabled = false\n");
    mirror.configure(&format!("{}{off}", mirror.account_config("main", "")));
    mirror.say(&["sync"]).expect(0);
    assert_eq!(other.stats().requests, 0);
    mirror.say(&["status", "--fresh-within", "1h"]).expect(0);
    let said = mirror.say(&["sync", "--account", "other"]).expect(2);
    assert!(said.stderr.contains("accounts.other.enabled"), "{said:?}");
}
