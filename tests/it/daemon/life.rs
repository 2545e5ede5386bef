//! Start, schedules, orders, reload, stop, death.

use std::process::Command;
use std::time::Duration;

use allai_sync::clock::SystemClock;
use allai_sync::sandbox::{MutationKinds, Options, Sandbox};
use reqwest::StatusCode;
use sqlx::{Connection as _, Executor as _, SqliteConnection};

use super::{Daemon, OFTEN, json, runs, until};
use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::on_both_databases;

on_both_databases! {
    schedules_keep_the_mirror_fresh_and_a_stop_is_orderly,
    a_daemon_that_was_killed_goes_on_at_once,
    a_job_runs_when_somebody_with_the_token_asks_for_it,
    what_is_asked_for_is_done_once,
    a_new_configuration_is_taken_and_a_broken_one_is_not,
    a_sync_by_hand_waits_for_the_daemon,
    a_daemon_without_files_for_connections_goes_on_when_it_has_some,
}

async fn mirror(database: Database, contacts: usize, conversations: usize) -> Mirror {
    let mirror = Mirror::start(database, Options::for_tests(contacts, conversations)).await;
    mirror.configure(&format!("{}{OFTEN}", mirror.account_config("main", "")));
    mirror
}

async fn schedules_keep_the_mirror_fresh_and_a_stop_is_orderly(database: Database) {
    let mirror = mirror(database, 300, 40).await;
    let mut daemon = Daemon::start(&mirror).await;
    assert_eq!(daemon.get("/healthz").await.0, StatusCode::OK);
    assert_eq!(daemon.get("/readyz").await, (StatusCode::OK, "ready\n".to_owned()));
    // Messages come after the conversations they belong to: nothing is incomplete, not even the first time.
    until("all is mirrored", async || {
        runs(&mirror, "resource = 'messages'").await > 0
    })
    .await;
    mirror.sandbox.account().mutate(7, 40, &MutationKinds::default());
    let before = runs(&mirror, "resource = 'contacts'").await;
    until("it has run again", async || {
        runs(&mirror, "resource = 'contacts'").await > before + 2
    })
    .await;
    assert_eq!(runs(&mirror, "status <> 'complete'").await, 0, "{}", daemon.log());
    assert_eq!(runs(&mirror, "trigger <> 'schedule'").await, 0);
    assert!(daemon.process.is_running());

    let (said, took) = daemon.stop().await;
    said.expect(0);
    assert!(took < Duration::from_secs(5), "{took:?}");
    let held = mirror
        .database
        .rows("SELECT account FROM jobs WHERE holder IS NOT NULL")
        .await;
    assert_eq!(held.len(), 0);
    mirror.full_sync().await;
    mirror.assert_exact().await;
}

async fn a_daemon_that_was_killed_goes_on_at_once(database: Database) {
    let mirror = mirror(database, 2_000, 30).await;
    for round in 0..3 {
        let mut daemon = Daemon::start(&mirror).await;
        let runs_before = runs(&mirror, "true").await;
        until("something is synced", async || {
            assert!(daemon.process.is_running(), "{}", daemon.log());
            let held = mirror
                .database
                .rows("SELECT account FROM jobs WHERE holder IS NOT NULL")
                .await;
            !held.is_empty() && runs(&mirror, "true").await >= runs_before + round
        })
        .await;
        daemon.process.kill();
    }
    // Well before a lease of 30 s has expired.
    let clock = allai_sync::clock::SystemClock::shared();
    let daemon = Daemon::start(&mirror).await;
    let since = clock.monotonic();
    let before = runs(&mirror, "status = 'complete' AND resource = 'contacts'").await;
    until("it runs again", async || {
        runs(&mirror, "status = 'complete' AND resource = 'contacts'").await > before
    })
    .await;
    assert!(
        clock.monotonic().saturating_sub(since) < Duration::from_secs(20),
        "{}",
        daemon.log()
    );
    daemon.stop().await.0.expect(0);
    mirror.full_sync().await;
    mirror.assert_exact().await;
}

async fn a_job_runs_when_somebody_with_the_token_asks_for_it(database: Database) {
    let mirror = mirror(database, 50, 5).await;
    let nightly = OFTEN.replace("@every 1s", "@yearly");
    mirror.configure(&format!("{}{nightly}", mirror.account_config("main", "")));
    let daemon = Daemon::start(&mirror).await;
    // What never ran is not waited for a year.
    until("the first runs", async || {
        runs(&mirror, "status = 'complete'").await == 4
    })
    .await;

    until("the status says when they run next", async || {
        let status = json(&daemon.get("/api/v1/status").await.1);
        let jobs = status["resources"].as_array().unwrap().iter().map(|row| &row["job"]);
        let now = status["generated_at"].as_str().unwrap();
        jobs.clone().all(|job| job["running"].is_null())
            && jobs.clone().all(|job| job["next_due_at"].as_str().unwrap() > now)
    })
    .await;

    assert_eq!(daemon.ask("main.contacts/run", None).await.0, StatusCode::UNAUTHORIZED);
    let (code, text) = daemon.ask("main.contacts/run", Some("sesam")).await;
    assert_eq!(code, StatusCode::UNAUTHORIZED);
    assert!(!text.contains("sesame"), "{text}");
    let (code, text) = daemon.ask("main.contacts/run?full=maybe", Some("sesame")).await;
    assert_eq!(
        (code, text.as_str()),
        (StatusCode::BAD_REQUEST, "full is true or false\n")
    );
    for unknown in [
        "main.orders/run",
        "other.contacts/run",
        "contacts/run",
        "%00/run",
        "%FF/run",
    ] {
        let (code, text) = daemon.ask(unknown, Some("sesame")).await;
        assert_eq!(code, StatusCode::NOT_FOUND, "{unknown}: {text}");
    }
    assert_eq!(runs(&mirror, "true").await, 4);

    let (code, text) = daemon.ask("main.contacts/run?full=true", Some("sesame")).await;
    assert_eq!(code, StatusCode::ACCEPTED, "{text}");
    assert_eq!(json(&text)["job"], "main.contacts");
    until("it ran", async || {
        runs(&mirror, "trigger = 'manual' AND verified").await == 1
    })
    .await;
    // Once.
    let (code, _) = daemon.ask("main.analytics/run", Some("sesame")).await;
    assert_eq!(code, StatusCode::ACCEPTED);
    until("that ran too", async || {
        runs(&mirror, "resource = 'analytics'").await == 2
    })
    .await;
    assert_eq!(runs(&mirror, "true").await, 6);

    // What this daemon does not keep any more has a row in the warehouse, and is refused all the same.
    let mut daemon = daemon;
    let main = mirror.account_config("main", "");
    for (config, why) in [
        (
            format!("{main}{nightly}[jobs.analytics]\nenabled = false\n"),
            "jobs.analytics.enabled is false",
        ),
        (
            format!("{}{nightly}", mirror.account_config("other", "")),
            "no account \"main\"",
        ),
        (
            format!("{}{nightly}", mirror.account_config("main", "enabled = false\n")),
            "or has it switched off",
        ),
    ] {
        mirror.configure(&config);
        daemon.reload().await;
        let (code, text) = daemon.ask("main.analytics/run", Some("sesame")).await;
        assert_eq!(code, StatusCode::NOT_FOUND, "{text}");
        assert!(text.contains(why), "{text}");
    }
    let asked = "SELECT account FROM jobs WHERE requested_at IS NOT NULL OR requested_full_at IS NOT NULL";
    assert_eq!(mirror.database.rows(asked).await.len(), 0);

    mirror.configure(&format!("{main}{}", nightly.replace("token = \"sesame\"\n", "")));
    daemon.reload().await;
    assert_eq!(
        daemon.ask("main.contacts/run", Some("sesame")).await.0,
        StatusCode::FORBIDDEN
    );
    daemon.stop().await.0.expect(0);
}

/// A run sees to what was asked for before it began, and to nothing that was asked for since.
async fn what_is_asked_for_is_done_once(database: Database) {
    let mirror = mirror(database, 50, 5).await;
    let nightly = OFTEN.replace("@every 1s", "@yearly");
    mirror.configure(&format!("{}{nightly}", mirror.account_config("main", "")));
    let daemon = Daemon::start(&mirror).await;
    until("the first runs", async || {
        runs(&mirror, "status = 'complete'").await == 4
    })
    .await;
    let slow = |latency| {
        mirror
            .sandbox
            .set_options(|options| options.faults.latency = Duration::from_secs(latency));
    };
    let full = "main.contacts/run?full=true";
    for (first, second, verified) in [
        (full, "main.contacts/run", 1),
        (full, full, 2),
        ("main.contacts/run", full, 1),
    ] {
        let before = runs(&mirror, "trigger = 'manual'").await;
        let verified_before = runs(&mirror, "trigger = 'manual' AND verified").await;
        slow(3);
        assert_eq!(daemon.ask(first, Some("sesame")).await.0, StatusCode::ACCEPTED);
        let held = async || {
            let held = "SELECT account FROM jobs WHERE holder IS NOT NULL";
            !mirror.database.rows(held).await.is_empty()
        };
        until("it is under way", held).await;
        assert_eq!(daemon.ask(second, Some("sesame")).await.0, StatusCode::ACCEPTED);
        assert!(held().await, "the first run is over already");
        slow(0);
        until("nobody waits", async || {
            let open = "SELECT account FROM jobs WHERE holder IS NOT NULL OR requested_at IS NOT NULL \
                        OR requested_full_at IS NOT NULL";
            mirror.database.rows(open).await.is_empty()
        })
        .await;
        assert_eq!(
            runs(&mirror, "trigger = 'manual'").await,
            before + 2,
            "{first} {second}"
        );
        let verified_now = runs(&mirror, "trigger = 'manual' AND verified").await;
        assert_eq!(verified_now, verified_before + verified, "{first} {second}");
    }
    daemon.stop().await.0.expect(0);
}

async fn a_new_configuration_is_taken_and_a_broken_one_is_not(database: Database) {
    let mirror = mirror(database, 30, 3).await;
    let mut daemon = Daemon::start(&mirror).await;
    let good = std::fs::read_to_string(mirror.config_path()).unwrap();
    for (bad, why) in [
        (format!("{good}\nnonsense"), "not valid TOML"),
        (good.replace("@every 1s", "@every 7m"), "@every"),
        (good.replace("[accounts.main]", "[acounts.main]"), "acounts"),
        (good.replace("[warehouse]\n", "[warehouse]\nmigrate = 5\n"), "migrate"),
        (format!("{good}[daemon]\nlease = \"17s\"\n"), "restart"),
        (good.replace("127.0.0.1:0\"", "192.0.2.1:80\""), "192.0.2.1"),
    ] {
        let said_before = daemon.log().len();
        mirror.write_config(&bad);
        daemon.process.signal("HUP");
        until("it is refused", async || {
            let log = daemon.log();
            log[said_before..].contains("the old one is kept") && log[said_before..].contains(why)
        })
        .await;
        assert_eq!(daemon.get("/readyz").await.0, StatusCode::OK);
    }
    // Another account, and the status page elsewhere.
    let elsewhere = daemon.address();
    let two = format!("{good}\n{}", mirror.account_config("second", ""));
    mirror.write_config(&two.replace("127.0.0.1:0\"", "127.0.0.2:0\""));
    daemon.process.signal("HUP");
    until("the second account is synced", async || {
        runs(&mirror, "account = 'second' AND resource = 'messages'").await > 0
    })
    .await;
    assert_ne!(daemon.address(), elsewhere);
    let (_, status) = daemon.get("/api/v1/status").await;
    assert!(status.contains("second"), "{status}");
    assert!(reqwest::get(format!("{elsewhere}/healthz")).await.is_err());
    // And without it again.
    mirror.write_config(&good);
    let said_before = daemon.log().len();
    daemon.process.signal("HUP");
    until("it is taken", async || {
        daemon.log()[said_before..].contains("is reloaded")
    })
    .await;
    until("nothing of the second runs", async || {
        let held = "SELECT account FROM jobs WHERE holder IS NOT NULL AND account = 'second'";
        mirror.database.rows(held).await.is_empty()
    })
    .await;
    let status = json(&daemon.get("/api/v1/status").await.1);
    for row in status["resources"].as_array().unwrap() {
        assert_eq!(row["expected"], row["account"] == "main", "{row}");
    }
    let second = runs(&mirror, "account = 'second'").await;
    let first = runs(&mirror, "account = 'main'").await;
    until("the first goes on", async || {
        runs(&mirror, "account = 'main'").await > first + 3
    })
    .await;
    assert_eq!(runs(&mirror, "account = 'second'").await, second);
    daemon.stop().await.0.expect(0);
}

async fn a_sync_by_hand_waits_for_the_daemon(database: Database) {
    let mut options = Options::for_tests(3_000, 3);
    options.faults.latency = Duration::from_millis(30);
    let mirror = Mirror::start(database, options).await;
    mirror.configure(&format!("{}{OFTEN}", mirror.account_config("main", "page_size = 20\n")));
    let mut daemon = Daemon::start(&mirror).await;
    daemon.ask("main.contacts/run?full=true", Some("sesame")).await;
    until("the daemon is at it", async || {
        let held = "SELECT account FROM jobs WHERE holder LIKE 'run@%' AND resource = 'contacts'";
        !mirror.database.rows(held).await.is_empty()
    })
    .await;
    let said = mirror.say(&["sync", "contacts", "--full", "--json"]).expect(0);
    assert_eq!(said.json()["runs"][0]["status"], "complete", "{said:?}");
    // No two runs of the same job at the same time.
    let overlap = "SELECT a.id FROM sync_runs a JOIN sync_runs b ON a.account = b.account AND a.resource = b.resource \
                   AND a.id <> b.id AND a.started_at < b.finished_at AND b.started_at < a.finished_at";
    assert_eq!(mirror.database.rows(overlap).await.len(), 0);
    assert!(daemon.process.is_running());
    daemon.stop().await.0.expect(0);
}

#[tokio::test]
async fn a_second_daemon_does_not_start_on_the_same_file() {
    let mirror = mirror(Database::sqlite(), 10, 1).await;
    let first = Daemon::start(&mirror).await;
    let said = mirror.say(&["run"]).expect(1);
    assert!(said.stderr.contains("another daemon, run@"), "{said:?}");
    assert_eq!(first.get("/readyz").await.0, StatusCode::OK);
    first.process.kill();
    // Whatever the first one left.
    Daemon::start(&mirror).await.stop().await.0.expect(0);
}

async fn a_daemon_without_files_for_connections_goes_on_when_it_has_some(database: Database) {
    let mirror = mirror(database, 10, 1).await;
    let mut daemon = Daemon::with_files(&mirror, 60);
    daemon.until_log("ready").await;
    let address = daemon.address().replace("http://", "");
    let mut kept = Vec::new();
    while kept.len() < 60 {
        kept.push(std::net::TcpStream::connect(&address).unwrap());
    }
    daemon.until_log("no connection can be accepted").await;
    drop(kept);
    until("it answers", async || daemon.get("/readyz").await.0 == StatusCode::OK).await;
    assert!(daemon.process.is_running());
    daemon.stop().await.0.expect(0);
}

/// The first signal is obeyed as long as the configuration gives it; whoever sends another one does not want to wait.
#[tokio::test]
async fn a_second_signal_ends_a_daemon_that_is_still_stopping() {
    let mut options = Options::for_tests(2_000, 3);
    options.faults.latency = Duration::from_millis(200);
    let mirror = Mirror::start(Database::sqlite(), options).await;
    let more = "[daemon]\nstop_within = \"5m\"\n";
    mirror.configure(&format!(
        "{}{OFTEN}{more}",
        mirror.account_config("main", "page_size = 20\n")
    ));
    let mut daemon = Daemon::start(&mirror).await;
    until("pages are stored", async || {
        mirror.database.value("SELECT count(*) FROM contacts").await != "0"
    })
    .await;
    // Somebody else writes: what the run has begun to store cannot be finished.
    let mut other = SqliteConnection::connect(&mirror.database.url()).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let stored = mirror.database.value("SELECT count(*) FROM contacts").await;
    assert!(stored.parse::<u32>().unwrap() < 2_000, "the run is over already");
    daemon.process.signal("TERM");
    daemon.until_log("stopping").await;
    assert!(daemon.process.is_running(), "{}", daemon.log());
    daemon.process.signal("TERM");
    let clock = SystemClock::shared();
    let since = clock.monotonic();
    let log = daemon.log.clone();
    // As a shell says of what a signal ended.
    daemon.process.end().await.expect(130);
    let took = clock.monotonic().saturating_sub(since);
    // Well before the database would have given up waiting, after 30 s.
    assert!(
        took < Duration::from_secs(15),
        "{took:?}: {}",
        std::fs::read_to_string(log).unwrap()
    );
    // It cost no more than what was not stored.
    mirror
        .sandbox
        .set_options(|options| options.faults.latency = Duration::ZERO);
    other.execute("ROLLBACK").await.unwrap();
    Daemon::start(&mirror).await.stop().await.0.expect(0);
    mirror.full_sync().await;
    mirror.assert_exact().await;
}

/// However slow one account is: what is short has a place, and messages do not wait for a full run that has none.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_account_does_not_keep_the_others_waiting() {
    let mirror = Mirror::start(Database::sqlite(), Options::for_tests(40, 5)).await;
    let mut options = Options::for_tests(5_000, 500);
    options.faults.latency = Duration::from_secs(2);
    options.limits.limit = 1_000_000;
    let slow = Sandbox::start(options).await.unwrap();
    let fast = mirror.account_config("fast", "");
    let often = OFTEN.replace("\"@every 1s\"\n", "\"@every 1s\"\nfull_schedule = \"@every 2s\"\n");
    let settings = format!("{often}[daemon]\nconcurrent_runs = 2\n");
    mirror.configure(&format!("{fast}{settings}"));
    let mut daemon = Daemon::start(&mirror).await;
    until("the fast one is mirrored", async || {
        runs(&mirror, "resource = 'messages'").await > 0
    })
    .await;
    mirror.configure(&format!(
        "{fast}[accounts.slow]\nbase_url = \"{}\"\napi_key = \"{}\"\npage_size = 5\n{settings}",
        slow.base_url(),
        slow.keys().read
    ));
    daemon.process.signal("HUP");
    until("the slow one is at work", async || slow.stats().requests > 3).await;
    for resource in ["contacts", "conversations", "messages"] {
        let of_it = format!("account = 'fast' AND resource = '{resource}'");
        let before = runs(&mirror, &of_it).await;
        until("the fast one goes on", async || {
            runs(&mirror, &of_it).await > before + 4
        })
        .await;
    }
    assert_eq!(runs(&mirror, "account = 'slow'").await, 0);
    daemon.stop().await.0.expect(0);
}

/// A library that, loaded before the system's, looks up names without end, and says so by making a file.
const NEVER_FOUND: &str = r#"
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
int getaddrinfo(const char *name, const char *service, const void *hints, void **found) {
    close(open(getenv("LOOKED_UP"), O_CREAT | O_WRONLY, 0600));
    for (;;) pause();
}
"#;

/// The system's look-up of a name cannot be interrupted, and takes half a minute where no name server answers.
#[tokio::test]
async fn a_stop_waits_for_no_name_that_is_looked_up() {
    let mirror = Mirror::start(Database::sqlite(), Options::for_tests(1, 1)).await;
    let nowhere = "[accounts.main]\nbase_url = \"https://allai.invalid/v2\"\napi_key = \"key\"\n";
    mirror.configure(&format!("{nowhere}{OFTEN}"));
    let [source, library, looked_up] = ["never.c", "never.so", "looked_up"].map(|name| mirror.folder().join(name));
    std::fs::write(&source, NEVER_FOUND).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).args([&library, &source]);
    assert!(compiler.status().unwrap().success());

    let mut command = mirror.command(&["run"]);
    command.env("LD_PRELOAD", &library).env("LOOKED_UP", &looked_up);
    let mut daemon = Daemon::of(&mirror, command, "daemon");
    daemon.until_log("ready").await;
    until("a name is looked up", async || looked_up.exists()).await;
    daemon.stop().await.0.expect(0);
}
