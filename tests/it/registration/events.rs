//! `webhooks events`, `dead` and `replay`: what has come, and having it applied again.

use allai_sync::clock::SystemClock;
use allai_sync::warehouse::{Entity, Location, NewEvent, Warehouse};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{ALL, mirror};
use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::on_both_databases;

on_both_databases! {
    events_are_shown_as_they_stand,
    what_is_dead_is_applied_again_when_somebody_says_so,
}

fn event(id: &str, minutes: i64, problem: Option<&str>) -> NewEvent {
    let noon: DateTime<Utc> = "2026-01-19T12:00:00Z".parse().unwrap();
    NewEvent {
        account: "main".to_owned(),
        id: id.to_owned(),
        event: Some("lead.created".to_owned()),
        entity: Entity::Contact("c1".to_owned()),
        occurred_at: None,
        received_at: noon + TimeDelta::minutes(minutes),
        body: "{}".to_owned(),
        problem: problem.map(str::to_owned),
        passed_on: false,
    }
}

/// Two that wait, two that are dead, and one that is done.
async fn filled(database: Database) -> Mirror {
    let mirror = mirror(database, &ALL).await;
    mirror.say(&["migrate"]).expect(0);
    let location = Location {
        url: mirror.database.url(),
        schema: mirror.database.schema(),
    };
    let warehouse = Warehouse::open(&location, SystemClock::shared()).await.unwrap();
    warehouse.store_events(&[event("applied", 0, None)]).await.unwrap();
    let applied = "UPDATE webhook_events SET status = 'done', attempts = 1, due_at = NULL";
    mirror.database.execute(applied).await;
    let why = "the body is not JSON: line 1, column 7";
    let others = [
        event("first", 1, None),
        event("broken-1", 2, Some(why)),
        event("broken-2", 3, Some(why)),
        event("last", 4, None),
    ];
    assert_eq!(warehouse.store_events(&others).await.unwrap(), 4);
    warehouse.close().await;
    mirror
}

fn shown(mirror: &Mirror, arguments: &[&str]) -> Vec<String> {
    let report = mirror
        .say(&[&["webhooks"], arguments, &["--json"]].concat())
        .expect(0)
        .json();
    let events = report["events"].as_array().unwrap();
    events
        .iter()
        .map(|event| event["id"].as_str().unwrap().to_owned())
        .collect()
}

async fn events_are_shown_as_they_stand(database: Database) {
    let mirror = filled(database).await;
    assert_eq!(
        shown(&mirror, &["events"]),
        ["last", "broken-2", "broken-1", "first", "applied"]
    );
    assert_eq!(shown(&mirror, &["events", "--limit", "2"]), ["last", "broken-2"]);
    assert_eq!(shown(&mirror, &["events", "--status", "pending"]), ["last", "first"]);
    assert_eq!(
        shown(&mirror, &["events", "--status", "done", "--account", "main"]),
        ["applied"]
    );
    assert_eq!(shown(&mirror, &["dead"]), ["broken-2", "broken-1"]);
    let report = mirror.say(&["webhooks", "dead", "--json"]).expect(0).json();
    let event: &Value = &report["events"][0];
    assert_eq!(
        (&event["account"], &event["status"], &event["entity"]),
        (&json!("main"), &json!("dead"), &json!("contact:c1"))
    );
    let said = mirror.say(&["webhooks", "dead"]).expect(0);
    assert!(
        said.stdout.contains("broken-1") && said.stdout.contains("the body is not JSON"),
        "{said:?}"
    );
    assert!(!said.stdout.contains("applied"), "{said:?}");
    let said = mirror.say(&["webhooks", "events"]).expect(0);
    assert!(
        said.stdout.contains("pending") && said.stdout.contains("done"),
        "{said:?}"
    );
    mirror.say(&["webhooks", "events", "--account", "nobody"]).expect(2);
    mirror.say(&["webhooks", "events", "--status", "lost"]).expect(2);
}

async fn what_is_dead_is_applied_again_when_somebody_says_so(database: Database) {
    let mirror = filled(database).await;
    let said = mirror.say(&["webhooks", "replay", "broken-1", "applied"]).expect(0);
    assert!(said.stdout.starts_with("2 events are applied again"), "{said:?}");
    assert_eq!(shown(&mirror, &["events", "--status", "pending"]).len(), 4);
    // One that waits already is no error; one that nobody knows is.
    let said = mirror.say(&["webhooks", "replay", "first"]).expect(0);
    assert!(said.stderr.contains("waits to be applied already"), "{said:?}");
    let said = mirror.say(&["webhooks", "replay", "nothing", "broken-2"]).expect(1);
    assert!(said.stderr.contains("there is no event nothing"), "{said:?}");
    assert!(said.stdout.starts_with("1 event is applied again"), "{said:?}");
    assert_eq!(shown(&mirror, &["dead"]), Vec::<String>::new());
    let said = mirror.say(&["webhooks", "dead"]).expect(0);
    assert_eq!(said.stdout, "There are no dead events.\n");
    let said = mirror.say(&["webhooks", "replay", "--all-dead"]).expect(0);
    assert_eq!(said.stdout, "No event is applied again.\n");
    let said = mirror.say(&["webhooks", "replay"]).expect(2);
    assert!(said.stderr.contains("--all-dead"), "{}", said.stderr);
    mirror.say(&["webhooks", "replay", "first", "--all-dead"]).expect(2);

    mirror
        .database
        .execute("UPDATE webhook_events SET status = 'dead', due_at = NULL")
        .await;
    let said = mirror
        .say(&["webhooks", "replay", "--all-dead", "--account", "main"])
        .expect(0);
    assert!(said.stdout.starts_with("5 events are applied again"), "{said:?}");
    assert_eq!(
        mirror.database.value("SELECT sum(attempts) FROM webhook_events").await,
        "0"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn to_look_at_events_changes_nothing() {
    let mirror = mirror(Database::sqlite(), &ALL).await;
    let Database::Sqlite { file, .. } = &mirror.database else {
        panic!("it is SQLite")
    };
    for arguments in [
        &["webhooks", "events"][..],
        &["webhooks", "dead"],
        &["webhooks", "list"],
    ] {
        mirror.say(arguments).expect(0);
        assert!(!file.exists(), "{arguments:?}");
    }
    mirror.say(&["migrate"]).expect(0);
    let before = std::fs::read(file).unwrap();
    for arguments in [
        &["webhooks", "events"][..],
        &["webhooks", "dead"],
        &["webhooks", "list"],
        &["check"],
    ] {
        mirror.say(arguments);
        assert!(std::fs::read(file).unwrap() == before, "{arguments:?}");
    }
}
