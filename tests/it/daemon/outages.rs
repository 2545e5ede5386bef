//! A database that falls silent, and runs that break off.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use allai_sync::allai::{InProcess, Resource, signature};
use allai_sync::clock::SystemClock;
use allai_sync::config::Jobs;
use allai_sync::sandbox::Options;
use allai_sync::schedule::{Entry, Holder, Plan, Scheduler};
use allai_sync::warehouse::{Location, Warehouse};

use super::alerts::Hook;
use super::{Daemon, OFTEN, account, runs, until};
use crate::receiving::{configure_with, post, receiver};
use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::proxy::Proxy;

/// A mirror whose way to its database can fall silent.
async fn mirror() -> (Mirror, Proxy) {
    let mirror = Mirror::start(Database::postgres(), Options::for_tests(500, 20)).await;
    let proxy = Proxy::to(&mirror.database.url()).await;
    let config = mirror.database.config().replace(&mirror.database.url(), &proxy.url);
    mirror.write_config(&format!(
        "{config}{}{OFTEN}",
        mirror.account_config("main", "page_size = 20\n")
    ));
    (mirror, proxy)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_die_without_a_word_hold_nothing_up_for_long() {
    let (mirror, proxy) = mirror().await;
    let daemon = Daemon::start(&mirror).await;
    for _ in 0..2 {
        let before = runs(&mirror, "status = 'complete'").await;
        until("it works", async || {
            runs(&mirror, "status = 'complete'").await > before + 8
        })
        .await;
        proxy.sever();
        let all = ["contacts", "conversations", "messages"];
        for resource in all {
            let of = format!("status = 'complete' AND resource = '{resource}'");
            let before = runs(&mirror, &of).await;
            until("it works again", async || runs(&mirror, &of).await > before + 2).await;
        }
    }
    let (said, took) = daemon.stop().await;
    said.expect(0);
    assert!(took < Duration::from_secs(6), "{took:?}");
    mirror.full_sync().await;
    mirror.assert_exact().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_no_database() {
    let (mirror, proxy) = mirror().await;
    let mut daemon = Daemon::start(&mirror).await;
    until("it works", async || runs(&mirror, "true").await > 3).await;
    proxy.set_silent(true);
    daemon.until_log("schedules are not kept").await;
    let (said, took) = daemon.stop().await;
    said.expect(0);
    assert!(took < Duration::from_secs(6), "{took:?}");
}

/// Events that come meanwhile are answered, and their senders come again.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_no_event_that_the_database_does_not_take() {
    let mirror = Mirror::start(Database::postgres(), Options::for_tests(20, 5)).await;
    let proxy = Proxy::to(&mirror.database.url()).await;
    configure_with(&mirror, "secret = \"the-secret-of-the-account\"\n", "");
    let text = std::fs::read_to_string(mirror.config_path()).unwrap();
    mirror.write_config(&text.replace(&mirror.database.url(), &proxy.url));
    let mut daemon = Daemon::start(&mirror).await;
    let address = receiver(&mut daemon).await;
    let body = br#"{"id":"e1","event":"message.received","data":{"conversation_id":"v1"}}"#;
    let signature = signature::sign(&"the-secret-of-the-account".into(), body);
    proxy.set_silent(true);
    let sender = tokio::spawn(async move { post(address, body, &signature).await });
    // It is being stored.
    SystemClock::shared().sleep(Duration::from_millis(500)).await;
    let (said, took) = daemon.stop().await;
    said.expect(0);
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert_ne!(sender.await.ok(), Some(200));
}

/// Whatever the server's default.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_on_the_disk_before_it_is_answered_whatever_the_server_would_do() {
    let mirror = Mirror::start(Database::postgres(), Options::for_tests(20, 5)).await;
    configure_with(&mirror, "secret = \"the-secret-of-the-account\"\n", "");
    let text = std::fs::read_to_string(mirror.config_path()).unwrap();
    let url = mirror.database.url();
    let and = if url.contains('?') { '&' } else { '?' };
    mirror.write_config(&text.replace(&url, &format!("{url}{and}options[synchronous_commit]=off")));
    mirror.say(&["migrate"]).expect(0);
    let noting = "CREATE TABLE commits (waits text); \
                  CREATE FUNCTION note_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                  INSERT INTO commits VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$; \
                  CREATE TRIGGER noting AFTER INSERT ON webhook_events EXECUTE FUNCTION note_commit()";
    mirror.database.execute(noting).await;
    let mut daemon = Daemon::start(&mirror).await;
    let address = receiver(&mut daemon).await;
    let body = br#"{"id":"e1","event":"message.received","data":{"conversation_id":"v1"}}"#;
    let signature = signature::sign(&"the-secret-of-the-account".into(), body);
    assert_eq!(post(address, body, &signature).await, 200);
    assert_eq!(mirror.database.value("SELECT waits FROM commits").await, "local");
    daemon.stop().await.0.expect(0);
}

/// Where incidents cannot be kept, people are told all the same, once, and when it is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_that_cannot_be_used_is_told_of() {
    let (mirror, proxy) = mirror().await;
    let hook = Hook::default();
    let alerts = format!("[alerts.webhook]\nurl = \"{}\"\n", hook.listen().await);
    let config = std::fs::read_to_string(mirror.config_path()).unwrap();
    mirror.write_config(&format!("{config}{alerts}"));
    let daemon = Daemon::start(&mirror).await;
    proxy.set_silent(true);
    until("it is told", async || !hook.posted().is_empty()).await;
    let told = &hook.posted()[0];
    assert_eq!(
        (&told["status"], &told["incident"]["kind"]),
        (&"firing".into(), &"warehouse".into())
    );
    proxy.set_silent(false);
    until("it is told that it is over", async || hook.posted().len() > 1).await;
    let told = &hook.posted()[1];
    assert_eq!(
        (&told["status"], &told["incident"]["kind"]),
        (&"resolved".into(), &"warehouse".into())
    );
    daemon.stop().await.0.expect(0);
    assert_eq!(hook.posted().len(), 2, "{:?}", hook.posted());
}

/// A run that panics is a failure of its job: it is tried again later, not at once and without end.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_breaks_off_is_tried_again_later() {
    let database = Database::sqlite();
    let clock = SystemClock::shared();
    let location = Location {
        url: database.url(),
        schema: String::new(),
    };
    let warehouse = Warehouse::open(&location, Arc::clone(&clock)).await.unwrap();
    warehouse.migrate().await.unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let breaks: InProcess = Arc::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        panic!("on purpose")
    });
    let account = account("main", &clock, breaks);
    let jobs = Jobs::default();
    let lease = Duration::from_secs(30);
    let mut scheduler = Scheduler::new(warehouse.clone(), Arc::clone(&clock), Holder::new("test"), lease);
    let entry = Entry {
        plan: Plan::new("main", Resource::Contacts, &jobs.contacts, ""),
        account: Arc::new(account),
        key_group: "main".to_owned(),
    };
    scheduler.set_entries(vec![entry], 4).await.unwrap();
    let since = clock.monotonic();
    while clock.monotonic().saturating_sub(since) < Duration::from_secs(3) {
        let turn = scheduler.turn().await;
        scheduler.wait(&turn).await;
    }
    let jobs = warehouse.jobs().await.unwrap();
    assert_eq!((jobs[0].failures, jobs[0].held.is_none()), (1, true), "{jobs:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}
