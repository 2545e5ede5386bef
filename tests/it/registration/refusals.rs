//! What stands in the way of a registration is told with what to do about it.

use allai_sync::sandbox::WebhookEndpoint;

use super::{ALL, PUBLIC, SECRET, configure, configure_with, dashboard, mirror, no_secret, register};
use crate::support::database::Database;
use crate::support::process::Said;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_key_that_may_not_is_told_what_it_lacks() {
    for endpoints in [&ALL[..], &[WebhookEndpoint::None]] {
        let mirror = mirror(Database::sqlite(), endpoints).await;
        let read = mirror.sandbox.keys().read.clone();
        configure_with(&mirror, &read, PUBLIC, SECRET, "");
        let said = mirror.say(&["webhooks", "register"]).expect(1);
        no_secret(&said);
        for part in [
            "main: ",
            "403",
            "write and admin",
            "ALLAI_SYNC__ACCOUNTS__MAIN__API_KEY",
        ] {
            assert!(said.stderr.contains(part), "{part}: {said:?}");
        }
        assert_eq!(dashboard(&mirror).await.len(), 0);
        if endpoints == ALL {
            // Nobody knows: it may have been registered in the dashboard.
            let said = mirror.say(&["check"]).expect(0);
            assert!(
                said.stdout
                    .contains("warn  webhook main: nothing was registered from this warehouse"),
                "{said:?}"
            );
        }
        let report = mirror.say(&["webhooks", "register", "--json"]).expect(1).json();
        assert_eq!(report["failures"][0]["account"], "main");

        // A key for this command alone.
        let mut command = mirror.command(&["webhooks", "register"]);
        command.env("ALLAI_SYNC__ACCOUNTS__MAIN__API_KEY", &mirror.sandbox.keys().full);
        assert!(command.output().unwrap().status.success());
        assert_eq!(dashboard(&mirror).await.len(), 1);
        // It also takes the place of a file that holds the other one.
        let text = std::fs::read_to_string(mirror.config_path()).unwrap();
        std::fs::write(mirror.folder().join("key"), &read).unwrap();
        mirror.write_config(&text.replace(&format!("api_key = \"{read}\""), "api_key_file = \"key\""));
        let mut command = mirror.command(&["webhooks", "register", "--force"]);
        command.env("ALLAI_SYNC__ACCOUNTS__MAIN__API_KEY", &mirror.sandbox.keys().full);
        let said: Said = command.output().unwrap().into();
        assert!(said.expect(0).stdout.contains("is registered anew"));
        // Then the other one suffices to see that all is well, as far as it may look.
        let said = mirror.say(&["check"]).expect(0);
        assert!(said.stdout.contains("ok    webhook main: "), "{said:?}");
        mirror.say(&["webhooks", "register"]).expect(0);
        let said = mirror.say(&["webhooks", "list"]).expect(0);
        assert!(said.stdout.contains("as the configuration wants it"), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_event_that_the_api_does_not_know_is_named() {
    let mirror = mirror(Database::sqlite(), &ALL).await;
    configure(&mirror, SECRET, "events = [\"lead.created\", \"lead.lost\"]");
    let said = mirror.say(&["webhooks", "register"]).expect(1);
    no_secret(&said);
    assert!(said.stderr.contains("the API refuses lead.lost: "), "{said:?}");
    assert!(said.stderr.contains("accounts.main.webhook.events"), "{said:?}");
    assert_eq!(dashboard(&mirror).await.len(), 0);
    // Nor does a change to it harm the one that is there.
    configure(&mirror, SECRET, "events = [\"lead.created\"]");
    let before = register(&mirror, &[]);
    configure(&mirror, SECRET, "events = [\"lead.created\", \"lead.lost\"]");
    let said = mirror.say(&["webhooks", "register"]).expect(1);
    assert!(said.stderr.contains("lead.lost"), "{said:?}");
    configure(&mirror, SECRET, "events = [\"lead.created\"]");
    let after = register(&mirror, &[]);
    assert_eq!(
        (&after["action"], &after["webhook_id"]),
        (&"unchanged".into(), &before["webhook_id"])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_is_missing_in_the_configuration_is_told() {
    let mirror = mirror(Database::sqlite(), &ALL).await;
    let account = mirror.account_config("main", "");
    for (config, part) in [
        (account.clone(), "webhooks.public_url"),
        (format!("{account}[webhooks]\n"), "webhooks.public_url"),
        (
            format!("{account}[webhooks]\npublic_url = \"{PUBLIC}\"\n"),
            "[accounts.main.webhook]",
        ),
    ] {
        mirror.configure(&config);
        let said = mirror.say(&["webhooks", "register"]).expect(2);
        assert!(said.stderr.contains(part), "{said:?}");
        mirror.say(&["check"]).expect(0);
    }
    assert_eq!(mirror.say(&["webhooks", "list"]).expect(2).stdout, "");
    mirror.say(&["webhooks", "register", "--account", "nobody"]).expect(2);
    mirror.say(&["webhooks"]).expect(2);
    // Without an address there is nothing to compare, and all else works.
    mirror.configure(&format!(
        "{account}[accounts.main.webhook]\nsecret = \"{SECRET}\"\n[webhooks]\n"
    ));
    let said = mirror.say(&["check"]).expect(0);
    assert!(
        said.stdout
            .contains("webhook main: accepted; webhooks.public_url is not set"),
        "{said:?}"
    );
    mirror.configure(&format!("{account}[accounts.main.webhook]\nsecret = \"{SECRET}\"\n"));
    let said = mirror.say(&["check"]).expect(0);
    assert!(said.stdout.contains("warn  webhook main: "), "{said:?}");
}
