//! However often it is registered, and whatever the API offers: one subscription.

use allai_sync::sandbox::{Envelope, WebhookEndpoint};
use serde_json::json;

use super::{ALL, OURS, add, changes, configure, dashboard, mirror, no_secret, register};
use crate::support::database::Database;
use crate::support::on_both_databases;

on_both_databases! {
    registered_twice_there_is_one,
    without_a_list_what_is_remembered_decides,
    of_several_one_is_kept,
}

async fn registered_twice_there_is_one(database: Database) {
    let mirror = mirror(database, &ALL).await;
    let said = mirror.say(&["check"]).expect(1);
    assert!(
        said.stdout.contains("FAIL  webhook main: there is no subscription"),
        "{said:?}"
    );
    assert!(
        said.stdout.contains("run: allai-sync webhooks register --account main"),
        "{said:?}"
    );

    mirror.take_log();
    let done = register(&mirror, &[]);
    assert_eq!((&done["action"], &done["url"]), (&json!("created"), &json!(OURS)));
    assert_eq!((&done["left_over"], &done["drift"]), (&json!([]), &json!([])));
    assert_eq!(done["events"].as_array().unwrap().len(), 8);
    assert_eq!(changes(&mirror), ["POST"]);
    let hooks = dashboard(&mirror).await;
    assert_eq!(hooks.len(), 1);
    assert_eq!((&hooks[0]["url"], &hooks[0]["id"]), (&json!(OURS), &done["webhook_id"]));

    mirror.take_log();
    let again = register(&mirror, &[]);
    assert_eq!(
        (&again["action"], &again["webhook_id"]),
        (&json!("unchanged"), &done["webhook_id"])
    );
    assert_eq!(changes(&mirror), Vec::<String>::new());
    let said = mirror.say(&["webhooks", "register"]).expect(0);
    assert!(said.stdout.contains("is registered already"), "{said:?}");
    let said = mirror.say(&["check"]).expect(0);
    assert!(
        said.stdout.contains("ok    webhook main: registered as configured"),
        "{said:?}"
    );

    // What is remembered holds no secret.
    for row in mirror.database.rows("SELECT * FROM webhook_subscriptions").await {
        assert!(!format!("{row:?}").contains("hush"), "{row:?}");
    }
    // A warehouse that knows nothing of it makes sure, and makes no second one.
    mirror.database.execute("DELETE FROM webhook_subscriptions").await;
    let said = mirror.say(&["check"]).expect(0);
    assert!(said.stdout.contains("warn  webhook main: "), "{said:?}");
    assert_eq!(register(&mirror, &[])["action"], "updated");
    assert_eq!(register(&mirror, &["--account", "main"])["action"], "unchanged");
    assert_eq!(dashboard(&mirror).await.len(), 1);
}

async fn without_a_list_what_is_remembered_decides(database: Database) {
    let mirror = mirror(database, &[WebhookEndpoint::None]).await;
    let done = register(&mirror, &[]);
    assert_eq!((&done["action"], &done["listed"]), (&json!("created"), &json!(false)));
    mirror.take_log();
    assert_eq!(register(&mirror, &[])["action"], "unchanged");
    assert_eq!(changes(&mirror), Vec::<String>::new());
    let said = mirror.say(&["webhooks", "register"]).expect(0);
    assert!(said.stdout.contains("as far as this warehouse remembers"), "{said:?}");
    let said = mirror.say(&["check"]).expect(0);
    assert!(said.stdout.contains("as far as this warehouse remembers"), "{said:?}");
    let said = mirror.say(&["webhooks", "list"]).expect(0);
    assert!(
        said.stdout.contains("does not list its webhooks") && said.stdout.contains(OURS),
        "{said:?}"
    );

    // Somebody has removed it in the dashboard.
    let forced = register(&mirror, &["--force"]);
    assert_eq!(forced["action"], "replaced");
    assert_eq!(forced["left_over"], json!([done["webhook_id"]]));
    assert_eq!(dashboard(&mirror).await.len(), 2);

    // Another secret cannot be set; so there is another one, and the old one is told of.
    configure(&mirror, "hush-the-second-one", "");
    let said = mirror.say(&["check"]).expect(0);
    assert!(said.stdout.contains("registered with another secret"), "{said:?}");
    let said = mirror.say(&["webhooks", "register"]).expect(0);
    no_secret(&said);
    let old = forced["webhook_id"].as_str().unwrap();
    assert!(
        said.stdout.contains(old) && said.stdout.contains("remove it in the AllAI Dashboard"),
        "{said:?}"
    );
    assert_eq!(register(&mirror, &[])["action"], "unchanged");
}

async fn of_several_one_is_kept(database: Database) {
    let mirror = mirror(database, &ALL).await;
    let all = allai_sync::webhooks::KNOWN_EVENTS;
    add(&mirror, OURS, &["lead.created"]).await;
    let best = add(&mirror, "https://HOOKS.example.ro:443/webhooks/allai/main/", &all).await;
    add(&mirror, OURS, &["lead.created"]).await;
    add(
        &mirror,
        "https://another.example.ro/webhooks/allai/main",
        &["lead.created"],
    )
    .await;
    let done = register(&mirror, &[]);
    assert_eq!((&done["action"], &done["removed"]), (&json!("updated"), &json!(2)));
    assert_eq!(done["webhook_id"], best.as_str());
    let hooks = dashboard(&mirror).await;
    assert_eq!(hooks.len(), 2, "one of ours, and another program's: {hooks:?}");

    // One more by hand, just like it.
    add(&mirror, OURS, &all).await;
    let said = mirror.say(&["check"]).expect(0);
    assert!(said.stdout.contains("there are 2 subscriptions"), "{said:?}");
    let done = register(&mirror, &[]);
    assert_eq!((&done["action"], &done["removed"]), (&json!("unchanged"), &json!(1)));
    assert_eq!(done["webhook_id"], best.as_str());

    // Where they cannot be removed, they are told of.
    let extra = add(&mirror, OURS, &all).await;
    mirror.sandbox.set_options(|options| {
        options.webhooks.endpoints = vec![WebhookEndpoint::List, WebhookEndpoint::Patch];
    });
    let done = register(&mirror, &[]);
    assert_eq!(
        (&done["action"], &done["left_over"]),
        (&json!("unchanged"), &json!([extra]))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn it_is_found_in_every_envelope_and_on_every_page() {
    let mirror = mirror(Database::sqlite(), &ALL).await;
    for number in 0..4 {
        let url = format!("https://hooks.slack.example/services/hush-{number}");
        add(&mirror, &url, &["lead.created"]).await;
    }
    let id = register(&mirror, &[])["webhook_id"].clone();
    for envelope in [
        Envelope::Bare,
        Envelope::Data,
        Envelope::Items,
        Envelope::Resource,
        Envelope::Nested,
    ] {
        for largest in [100, 2] {
            mirror.sandbox.set_options(|options| {
                options.shape.envelope = envelope;
                options.shape.max_limit = largest;
            });
            let done = register(&mirror, &[]);
            assert_eq!(
                (&done["action"], &done["webhook_id"]),
                (&json!("unchanged"), &id),
                "{envelope:?} {largest}"
            );
        }
    }
    mirror
        .sandbox
        .set_options(|options| options.shape.envelope = Envelope::Data);

    // What is shown of the others' addresses holds none of their secrets.
    let said = mirror.say(&["webhooks", "list"]).expect(0);
    no_secret(&said);
    assert!(
        said.stdout.contains("https://hooks.slack.example/…") && said.stdout.contains(OURS),
        "{said:?}"
    );
    assert!(said.stdout.contains("main: as the configuration wants it"), "{said:?}");
    let said = mirror.say(&["webhooks", "list", "--json"]).expect(0);
    no_secret(&said);
    let report = said.json();
    let account = &report["accounts"][0];
    assert_eq!((&account["listed"], &account["drift"]), (&json!("yes"), &json!([])));
    assert_eq!(account["webhooks"].as_array().unwrap().len(), 5);
    assert_eq!(account["remembered"]["webhook_id"], id);
    assert_eq!(account["wanted"]["url"], OURS);
}
