//! A daemon that starts while its database is away.

use std::collections::BTreeMap;
use std::time::Duration;

use allai_sync::alerts::Alerts;
use allai_sync::clock::SystemClock;
use allai_sync::config::{Config, LoadOptions};
use allai_sync::sandbox::Options;
use allai_sync::warehouse::Warehouse;
use allai_sync::{app, lifecycle};
use chrono::TimeDelta;
use reqwest::StatusCode;
use tokio::net::UnixDatagram;
use tokio_util::sync::CancellationToken;

use super::alerts::Hook;
use super::{Daemon, OFTEN, runs, until};
use crate::support::clock::Time;
use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::postgres::Server;

/// A mirror into a server of its own.
async fn mirror(more: &str) -> (Mirror, Server) {
    let server = Server::own();
    let database = Database::Postgres {
        url: server.url().to_owned(),
        schema: "allai".to_owned(),
    };
    let mirror = Mirror::start(database, Options::for_tests(20, 3)).await;
    mirror.configure(&format!("{}{OFTEN}{more}", mirror.account_config("main", "")));
    (mirror, server)
}

fn source(mirror: &Mirror) -> LoadOptions {
    LoadOptions {
        path: Some(mirror.config_path()),
        search: Vec::new(),
        env: BTreeMap::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_waits_for_a_database_that_is_away_and_says_so() {
    let (mirror, server) = mirror("").await;
    server.stop("fast");
    let path = mirror.folder().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let mut command = mirror.command(&["run"]);
    command.env("NOTIFY_SOCKET", &path);
    let mut daemon = Daemon::of(&mirror, command, "daemon");
    daemon.until_log("the status page is at").await;
    assert_eq!(daemon.get("/healthz").await.0, StatusCode::OK);
    let (code, text) = daemon.get("/readyz").await;
    assert_eq!(code, StatusCode::SERVICE_UNAVAILABLE);
    assert!(text.contains("waiting for the database: cannot connect"), "{text}");
    let mut told = vec![0; 4_096];
    loop {
        let length = manager.recv(&mut told).await.unwrap();
        let told = String::from_utf8_lossy(&told[..length]);
        assert!(!told.contains("READY"), "{told}");
        if told.contains("STATUS=waiting for the database") {
            break;
        }
    }
    // Nothing keeps it from stopping.
    daemon.stop().await.0.expect(0);

    let mut daemon = Daemon::begin(&mirror, "another");
    daemon.until_log("waiting for the database").await;
    server.start();
    daemon.until_log("ready").await;
    until("it is ready", async || daemon.get("/readyz").await.0 == StatusCode::OK).await;
    until("all is mirrored", async || {
        runs(&mirror, "resource = 'messages' AND status = 'complete'").await > 0
    })
    .await;
    daemon.stop().await.0.expect(0);
}

/// What waiting does not mend ends the daemon at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_does_not_wait_for_a_database_that_is_not_there() {
    let mirror = Mirror::start(Database::postgres(), Options::for_tests(1, 1)).await;
    let url = mirror.database.url();
    let (server, _) = url.rsplit_once('/').unwrap();
    let nowhere = format!("{server}/nowhere");
    let config = std::fs::read_to_string(mirror.config_path()).unwrap();
    for (wrong, why) in [
        (config.replace(&url, &nowhere), "create the database"),
        (
            config.replace(&url, &url.replace("postgres@", "locked:wrong@")),
            "check user and password",
        ),
    ] {
        mirror.write_config(&format!("{wrong}{OFTEN}"));
        let said = mirror.say(&["run"]).expect(1);
        assert!(said.stderr.contains(why), "{said:?}");
    }
}

/// After a minute, as of every outage; and when it is over.
#[tokio::test(flavor = "multi_thread")]
async fn people_are_told_of_a_database_that_is_away_when_the_daemon_starts() {
    let hook = Hook::default();
    let url = hook.listen().await;
    let (mirror, server) = mirror(&format!("[alerts.webhook]\nurl = \"{url}\"\n")).await;
    server.stop("fast");
    let source = source(&mirror);
    let config = Config::load(&source).unwrap().config;
    let real = SystemClock::shared();
    let time = Time::new(real.now());
    let starting = tokio::spawn(lifecycle::Daemon::start(config, source, time.machine()));
    let began = time.now();
    until("it is told", async || {
        time.pass(Duration::from_secs(1));
        !hook.posted().is_empty()
    })
    .await;
    assert!(time.now() - began >= TimeDelta::minutes(1));
    let told = &hook.posted()[0];
    assert_eq!(
        (&told["status"], &told["incident"]["kind"]),
        (&"firing".into(), &"warehouse".into())
    );
    assert!(!starting.is_finished());
    server.start();
    until("it is told that it is over", async || {
        time.pass(Duration::from_millis(200));
        hook.posted().len() > 1
    })
    .await;
    assert_eq!(hook.posted()[1]["status"], "resolved");
    drop(starting.await.unwrap().unwrap());
    assert_eq!(hook.posted().len(), 2, "{:?}", hook.posted());
}

/// What could not be synced because the database was away is not stale for another reason: it gets the time to catch up.
#[tokio::test(flavor = "multi_thread")]
async fn after_an_outage_nothing_is_stale_at_once() {
    let hook = Hook::default();
    let url = hook.listen().await;
    let (mirror, server) = mirror(&format!("[alerts.webhook]\nurl = \"{url}\"\n")).await;
    mirror.full_sync().await;
    let old = "UPDATE sync_state SET last_complete_at = now() - interval '5 hours'";
    mirror.database.execute(old).await;
    server.stop("fast");
    let config = Config::load(&source(&mirror)).unwrap().config;
    let real = SystemClock::shared();
    let time = Time::new(real.now());
    let warehouse = Warehouse::at(&app::location(&config), time.machine()).await.unwrap();
    let since = real.now() - TimeDelta::hours(1);
    let alerts = Alerts::new(
        config.alerts.clone(),
        app::plans(&config),
        warehouse,
        time.machine(),
        since,
    );
    let stop = CancellationToken::new();
    let watching = tokio::spawn(alerts.watch(stop.clone()));
    until("the outage is told", async || {
        time.pass(Duration::from_secs(1));
        !hook.posted().is_empty()
    })
    .await;
    server.start();
    until("it is told that it is over", async || {
        time.pass(Duration::from_millis(200));
        hook.posted().len() > 1
    })
    .await;
    assert_eq!(mirror.database.value("SELECT count(*) FROM incidents").await, "0");
    stop.cancel();
    watching.await.unwrap();
}
