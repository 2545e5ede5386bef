//! A subscription that is not as it is wanted becomes so, in whatever way the API offers.

use allai_sync::sandbox::WebhookAgain;
use allai_sync::sandbox::WebhookEndpoint::{Delete, List, None, Patch, Put};
use serde_json::json;

use super::{ALL, OURS, SECRET, changes, configure, configure_with, dashboard, mirror, no_secret, register};
use crate::support::database::Database;
use crate::support::on_both_databases;

on_both_databases! {
    what_differs_is_changed,
    a_new_address_leaves_nothing_at_the_old_one,
    where_an_address_is_taken_once_the_old_one_goes_first,
    the_one_that_is_there_is_not_removed_where_it_comes_back,
}

async fn what_differs_is_changed(database: Database) {
    let mirror = mirror(database, &ALL).await;
    for (endpoints, action, requests, left) in [
        (&[List, Patch, Put, Delete][..], "updated", &["PATCH"][..], 1),
        (&[List, Put], "updated", &["PUT"], 1),
        (&[List, Delete], "replaced", &["POST", "DELETE"], 1),
        // Not listed, and yet known by its id.
        (&[Patch], "updated", &["PATCH"], 1),
        (&[Delete], "replaced", &["POST", "DELETE"], 1),
        (&[List], "replaced", &["POST"], 2),
        (&[None], "replaced", &["POST"], 2),
    ] {
        mirror
            .sandbox
            .set_options(|options| options.webhooks.endpoints = ALL.to_vec());
        configure(&mirror, SECRET, "events = [\"lead.created\", \"lead.qualified\"]");
        register(&mirror, &[]);
        mirror
            .sandbox
            .set_options(|options| options.webhooks.endpoints = endpoints.to_vec());
        // First other events, then another secret.
        let first = dashboard(&mirror).await.len();
        configure(&mirror, SECRET, "events = [\"lead.created\"]");
        let said = mirror.say(&["check"]).expect(0);
        assert!(said.stdout.contains("warn  webhook main: "), "{endpoints:?}: {said:?}");
        mirror.take_log();
        let done = register(&mirror, &[]);
        assert_eq!(done["action"], action, "{endpoints:?}: {done}");
        assert_eq!(done["drift"], json!([]), "{endpoints:?}: {done}");
        assert_eq!(changes(&mirror), requests, "{endpoints:?}");
        let hooks = dashboard(&mirror).await;
        assert_eq!(hooks.len() - first + 1, left, "{endpoints:?}: {hooks:?}");
        let hook = hooks.iter().find(|hook| hook["id"] == done["webhook_id"]).unwrap();
        assert_eq!(hook["events"], json!(["lead.created"]), "{endpoints:?}");
        assert_eq!(register(&mirror, &[])["action"], "unchanged", "{endpoints:?}");

        configure(&mirror, "hush-the-second-one", "events = [\"lead.created\"]");
        mirror.take_log();
        assert_eq!(register(&mirror, &[])["action"], action, "{endpoints:?}");
        assert_eq!(changes(&mirror)[..requests.len()], *requests, "{endpoints:?}");
        assert_eq!(register(&mirror, &[])["action"], "unchanged", "{endpoints:?}");
        // For the next round.
        mirror
            .sandbox
            .set_options(|options| options.webhooks.endpoints = ALL.to_vec());
        configure(&mirror, SECRET, "");
        register(&mirror, &[]);
    }
}

async fn a_new_address_leaves_nothing_at_the_old_one(database: Database) {
    let mirror = mirror(database, &ALL).await;
    let before = register(&mirror, &[]);
    let key = mirror.sandbox.keys().full.clone();
    configure_with(&mirror, &key, "https://new.example.ro/sync", SECRET, "");
    let said = mirror.say(&["webhooks", "list"]).expect(0);
    assert!(said.stdout.contains("for another address"), "{said:?}");
    let done = register(&mirror, &[]);
    assert_eq!(
        (&done["action"], &done["webhook_id"]),
        (&json!("updated"), &before["webhook_id"])
    );
    let hooks = dashboard(&mirror).await;
    assert_eq!(hooks.len(), 1, "{hooks:?}");
    assert_eq!(hooks[0]["url"], "https://new.example.ro/sync/webhooks/allai/main");

    // One that the server has switched off is switched on.
    mirror.sandbox.account().switch_webhooks(false);
    let said = mirror.say(&["check"]).expect(0);
    assert!(said.stdout.contains("switched the subscription off"), "{said:?}");
    assert_eq!(register(&mirror, &[])["action"], "updated");
    assert_eq!(dashboard(&mirror).await[0]["active"], true);
}

async fn where_an_address_is_taken_once_the_old_one_goes_first(database: Database) {
    let mirror = mirror(database, &[List, Delete]).await;
    mirror
        .sandbox
        .set_options(|options| options.webhooks.again = WebhookAgain::Refused);
    register(&mirror, &[]);
    configure(&mirror, "hush-the-second-one", "");
    mirror.take_log();
    let done = register(&mirror, &[]);
    assert_eq!((&done["action"], &done["removed"]), (&json!("replaced"), &json!(1)));
    assert_eq!(changes(&mirror), ["DELETE", "POST"]);
    assert_eq!(dashboard(&mirror).await.len(), 1);

    // Where it cannot go, a person has to.
    mirror
        .sandbox
        .set_options(|options| options.webhooks.endpoints = vec![None]);
    configure(&mirror, SECRET, "");
    let said = mirror.say(&["webhooks", "register"]).expect(1);
    no_secret(&said);
    assert!(
        said.stderr.contains("remove it in the AllAI Dashboard") && said.stderr.contains(OURS),
        "{said:?}"
    );
    assert_eq!(said.stdout, "");
}

async fn the_one_that_is_there_is_not_removed_where_it_comes_back(database: Database) {
    for endpoints in [&[List, Delete][..], &[Delete]] {
        let mirror = mirror(database.another(), endpoints).await;
        mirror
            .sandbox
            .set_options(|options| options.webhooks.again = WebhookAgain::Changed);
        let before = register(&mirror, &[]);
        configure(&mirror, "hush-the-second-one", "");
        mirror.take_log();
        let done = register(&mirror, &[]);
        assert_eq!(done["webhook_id"], before["webhook_id"]);
        assert_eq!((&done["removed"], &done["left_over"]), (&json!(0), &json!([])));
        assert_eq!(changes(&mirror), ["POST"]);
        assert_eq!(dashboard(&mirror).await.len(), 1);
        assert_eq!(register(&mirror, &[])["action"], "unchanged");
    }
}
