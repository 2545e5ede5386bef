//! What an API key may do, and what is said when it may not.

use allai_sync::sandbox::{MutationKinds, Options};

use crate::support::database::Database;
use crate::support::mirror::{ACCOUNT, Mirror};
use crate::support::on_both_databases;
use crate::support::process::Said;

on_both_databases!(
    a_revoked_key_is_one_clear_error_and_few_requests,
    a_key_that_may_not_read_is_one_clear_error,
    a_key_that_may_only_read_suffices,
    an_account_whose_key_is_refused_does_not_stop_the_others,
);

async fn small(database: Database) -> Mirror {
    Mirror::start(database, Options::for_tests(30, 8)).await
}

/// The lines of standard error that tell of an error.
fn errors(said: &Said) -> Vec<&str> {
    let tells = |line: &&str| line.contains("ERROR") || line.starts_with("error");
    said.stderr.lines().filter(tells).collect()
}

async fn a_revoked_key_is_one_clear_error_and_few_requests(database: Database) {
    let mirror = small(database).await;
    mirror.sync().await;
    let key = mirror.sandbox.keys().read.clone();
    mirror.sandbox.revoke(&key);
    mirror.sandbox.account().mutate(1, 10, &MutationKinds::default());
    mirror.take_log();

    let said = mirror.say(&["sync"]).expect(1);
    assert_eq!(errors(&said).len(), 1, "{}", said.stderr);
    let error = errors(&said)[0];
    assert!(
        error.contains("401") && error.contains("accounts.main.api_key"),
        "{error}"
    );
    assert!(!said.stderr.contains(&key) && !said.stdout.contains(&key));
    assert!(mirror.sandbox.stats().requests <= 4, "{:?}", mirror.sandbox.stats());

    let said = mirror.say(&["sync", "--full", "--json"]).expect(1);
    let json = said.json();
    let runs = json["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 4, "{json}");
    assert!(runs.iter().all(|run| run["status"] == "failed"), "{json}");
    let not_tried = |run: &serde_json::Value| run["error"].as_str().unwrap().contains("not tried");
    assert_eq!(runs.iter().filter(|run| not_tried(run)).count(), 3, "{json}");
    assert_eq!(
        mirror
            .database
            .rows("SELECT id FROM contacts WHERE deleted_at IS NOT NULL")
            .await,
        []
    );
}

async fn a_key_that_may_not_read_is_one_clear_error(database: Database) {
    let mirror = small(database).await;
    let key = mirror.sandbox.keys().write.clone();
    let section = format!(
        "[accounts.{ACCOUNT}]\nbase_url = \"{}\"\napi_key = \"{key}\"\n",
        mirror.sandbox.base_url()
    );
    mirror.configure(&section);
    let said = mirror.say(&["sync"]).expect(1);
    assert_eq!(errors(&said).len(), 1, "{}", said.stderr);
    assert!(
        errors(&said)[0].contains("403") && errors(&said)[0].contains("read"),
        "{}",
        said.stderr
    );
    assert!(!said.stderr.contains(&key));
    assert!(mirror.sandbox.stats().requests <= 4);
}

async fn a_key_that_may_only_read_suffices(database: Database) {
    let mirror = small(database).await;
    mirror.say(&["sync"]).expect(0);
    mirror.assert_exact().await;
    let log = mirror.take_log();
    assert!(
        log.iter()
            .all(|entry| entry.key == Some("read") && entry.method == "GET"),
        "{log:?}"
    );
}

async fn an_account_whose_key_is_refused_does_not_stop_the_others(database: Database) {
    let mirror = small(database).await;
    let refused = format!(
        "[accounts.aaa]\nbase_url = \"{}\"\napi_key = \"ak_unknown\"\n",
        mirror.sandbox.base_url()
    );
    mirror.configure(&format!("{refused}{}", mirror.account_config(ACCOUNT, "")));
    let said = mirror.say(&["sync", "--json"]).expect(1);
    let json = said.json();
    let statuses = json["runs"].as_array().unwrap().iter();
    let statuses: Vec<_> = statuses
        .map(|run| (run["account"].as_str().unwrap(), run["status"].as_str().unwrap()))
        .collect();
    assert_eq!(statuses[..4], [("aaa", "failed"); 4]);
    assert_eq!(statuses[4..], [(ACCOUNT, "complete"); 4]);
    mirror.assert_exact().await;
}
