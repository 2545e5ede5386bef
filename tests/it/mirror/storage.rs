//! A warehouse in trouble: what the user reads, that nothing is half-written, and that the mirror is exact once the
//! trouble is over.

use std::process::Stdio;
use std::time::Duration;

use allai_sync::sandbox::Options;
use sqlx::{Connection as _, Executor as _, SqliteConnection};

use crate::support::database::Database;
use crate::support::mirror::{ACCOUNT, Mirror};
use crate::support::postgres::Server;
use crate::support::process::{Process, Said};
use crate::support::{eventually, on_both_databases};

on_both_databases!(
    a_schema_newer_than_the_program_is_left_alone,
    a_run_that_fails_half_way_is_in_the_journal_and_gone_on_with,
);

/// An account of some size, whose API takes its time: whatever happens, happens in the middle of a sync.
pub(super) async fn slow(database: Database) -> Mirror {
    let mut options = Options::for_tests(760, 40);
    options.account.messages_per_conversation = Some(3);
    options.faults.latency = Duration::from_millis(10);
    Mirror::start(database, options).await
}

/// The mirror after the trouble: whole, and exact as soon as it is synced again.
pub(super) async fn assert_recovers(mirror: &Mirror) {
    mirror.database.assert_sound().await;
    mirror
        .sandbox
        .set_options(|options| options.faults.latency = Duration::ZERO);
    mirror.say(&["sync"]).expect(0);
    mirror.assert_exact().await;
    mirror.full_sync().await.verified();
    mirror.assert_exact().await;
    mirror.database.assert_sound().await;
}

async fn a_schema_newer_than_the_program_is_left_alone(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(40, 8)).await;
    mirror.sync().await;
    let (yes, empty) = if mirror.database.is_sqlite() {
        ("1", "x''")
    } else {
        ("true", "''")
    };
    let later = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'from the future', {yes}, {empty}, 0)"
    );
    mirror.database.execute(&later).await;
    let before = mirror.database.table("sync_runs").await;
    mirror.take_log();
    for arguments in [&["sync"][..], &["sync", "--full"], &["migrate"], &["check"]] {
        let said = mirror.say(arguments).expect(1);
        let all = format!("{}{}", said.stdout, said.stderr);
        assert!(all.contains("9999") && all.contains("upgrade allai-sync"), "{said:?}");
    }
    let asked = mirror.take_log();
    assert!(asked.iter().all(|entry| entry.offset.unwrap_or(0) == 0), "{asked:?}");
    assert_eq!(mirror.database.table("sync_runs").await, before);

    mirror
        .database
        .execute("DELETE FROM _sqlx_migrations WHERE version = 9999")
        .await;
    assert_recovers(&mirror).await;
}

/// From now on the table of contacts takes no more than so many rows: the server says that its disk is full.
async fn fill_up(database: &Database, rows: u32) {
    let sql = if database.is_sqlite() {
        format!(
            "CREATE TRIGGER fill_up BEFORE INSERT ON contacts WHEN (SELECT count(*) FROM contacts) >= {rows} \
             BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
    } else {
        format!(
            "CREATE FUNCTION fill_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF (SELECT count(*) FROM contacts) >= {rows} THEN RAISE EXCEPTION \
             'could not extend file \"base/5/16402\": No space left on device' USING ERRCODE = '53100'; END IF; \
             RETURN NEW; END $$; \
             CREATE TRIGGER fill_up BEFORE INSERT ON contacts FOR EACH ROW EXECUTE FUNCTION fill_up()"
        )
    };
    database.execute(&sql).await;
}

async fn a_run_that_fails_half_way_is_in_the_journal_and_gone_on_with(database: Database) {
    let mirror = slow(database).await;
    mirror.say(&["migrate"]).expect(0);
    fill_up(&mirror.database, 400).await;
    let said = mirror.say(&["sync", "--json"]).expect(1);
    let runs = said.json()["runs"].as_array().unwrap().clone();
    assert_eq!(runs.len(), 4, "{runs:?}");
    let tried = runs.iter().filter(|run| run["requests"] != 0);
    assert_eq!(tried.count(), 1, "the rest would fail as well: {runs:?}");
    let error = runs[0]["error"].as_str().unwrap();
    let place = match &mirror.database {
        Database::Sqlite { file, .. } => file.display().to_string(),
        Database::Postgres { .. } => {
            assert!(error.contains("make room on the disk of the server"), "{error}");
            "postgres@127.0.0.1:".to_owned()
        }
    };
    assert!(
        error.contains("while writing rows") && error.contains(&place),
        "{error}"
    );
    assert!(said.stderr.contains(error), "{said:?}");

    let journal = mirror.database.table("sync_runs").await;
    assert_eq!(journal.len(), 1);
    assert_eq!((journal[0].text("status"), journal[0].text("error")), ("failed", error));
    let stored = mirror.database.value("SELECT count(*) FROM contacts").await;
    assert_eq!(journal[0].text("inserted"), stored, "what is counted is what is stored");

    let drop = if mirror.database.is_sqlite() {
        "DROP TRIGGER fill_up"
    } else {
        "DROP TRIGGER fill_up ON contacts"
    };
    mirror.database.execute(drop).await;
    if stored != "0" {
        mirror.take_log();
        mirror.say(&["sync", "contacts"]).expect(0);
        let log = mirror.take_log();
        let first = log.iter().find(|entry| entry.path == "/v2/contacts").unwrap();
        assert!(first.offset.unwrap_or(0) > 0, "it began again: {first:?}");
    }
    assert_recovers(&mirror).await;
}

/// Another program that writes to the file, and does not stop.
async fn hold(database: &Database) -> SqliteConnection {
    let mut other = SqliteConnection::connect(&database.url()).await.unwrap();
    other.execute("BEGIN EXCLUSIVE").await.unwrap();
    other
}

/// It goes on reading until it has something to write, and waits.
async fn until_it_waits(mirror: &Mirror, process: &mut Process) {
    let mut seen = 0;
    let mut still = 0;
    eventually("the program waits", || {
        let asked = mirror.sandbox.stats().requests;
        still = if asked == seen { still + 1 } else { 0 };
        seen = asked;
        still > 200
    })
    .await;
    assert!(process.is_running());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn another_writer_is_waited_for() {
    let mirror = slow(Database::sqlite()).await;
    mirror.say(&["migrate"]).expect(0);
    let mut process = mirror.spawn(&["sync", "--json"]);
    for requests in [4, 20, 40] {
        eventually("some pages", || mirror.sandbox.stats().requests >= requests).await;
        let mut other = hold(&mirror.database).await;
        until_it_waits(&mirror, &mut process).await;
        other.execute("COMMIT").await.unwrap();
        other.close().await.unwrap();
    }
    process.end().await.expect(0);
    assert_recovers(&mirror).await;
}

/// Waits as long as the program does: half a minute for the page and again for the journal.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn another_writer_that_does_not_stop_is_named() {
    let mirror = slow(Database::sqlite()).await;
    mirror.say(&["migrate"]).expect(0);
    let mut command = mirror.command(&["sync", "--json"]);
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("some pages", || mirror.sandbox.stats().requests >= 20).await;
    let other = hold(&mirror.database).await;
    let said: Said = running.wait_with_output().unwrap().into();
    let said = said.expect(1);
    let error = said.json()["runs"][0]["error"].as_str().unwrap().to_owned();
    assert!(error.contains("locked by another program"), "{error}");
    assert!(
        error.contains("warehouse.db") && error.contains("try again later"),
        "{error}"
    );
    assert!(said.stderr.contains(&error), "{said:?}");
    drop(other);
    assert_recovers(&mirror).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_server_restarted_during_a_sync_is_waited_for() {
    let server = Server::own();
    for (schema, modes) in [("orderly", ["fast", "fast"]), ("crash", ["immediate", "immediate"])] {
        let database = Database::Postgres {
            url: server.url().to_owned(),
            schema: schema.to_owned(),
        };
        let mirror = slow(database).await;
        mirror.say(&["migrate"]).expect(0);
        let mut process = mirror.spawn(&["sync", "--json"]);
        for (mode, requests) in modes.into_iter().zip([8, 55]) {
            eventually("some requests", || mirror.sandbox.stats().requests >= requests).await;
            assert!(process.is_running(), "it was over before it was in trouble");
            server.stop(mode);
            until_it_waits(&mirror, &mut process).await;
            server.start();
        }
        let said = process.end().await.expect(0);
        let report = said.json();
        let runs = report["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 4, "{report}");
        assert!(runs.iter().all(|run| run["status"] == "complete"), "{report}");
        assert!(runs[..3].iter().all(|run| run["verified"] == true), "{report}");
        mirror.assert_exact().await;
        let journal = "SELECT count(*) FROM sync_runs WHERE status = 'complete'";
        assert_eq!(mirror.database.value(journal).await, "4");
        assert_eq!(mirror.database.value("SELECT count(*) FROM sync_runs").await, "4");
        let unfinished = "SELECT count(*) FROM sync_state WHERE checkpoint IS NOT NULL";
        assert_eq!(mirror.database.value(unfinished).await, "0");
        assert_recovers(&mirror).await;
    }
}

/// Away for longer than a connection may take to be made: the user reads what is waited for, and that it is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_outage_that_lasts_is_told_of() {
    let server = Server::own();
    let database = Database::Postgres {
        url: server.url().to_owned(),
        schema: "away".to_owned(),
    };
    let mirror = slow(database).await;
    mirror.say(&["migrate"]).expect(0);
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = mirror.command(&["sync", "contacts"]);
    command.stdout(Stdio::null()).stderr(log.reopen().unwrap());
    let mut running = command.spawn().unwrap();
    let told = |words: &str| std::fs::read_to_string(log.path()).unwrap().contains(words);
    eventually("some requests", || mirror.sandbox.stats().requests >= 8).await;
    server.stop("fast");
    eventually("it is told", || told("waiting up to 2 minutes")).await;
    server.start();
    assert!(running.wait().unwrap().success());
    assert!(told("the database is back"));
    assert_recovers(&mirror).await;
}

/// The journal's line is worth waiting for as well, and is written once.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_sync_that_starts_while_the_server_does_is_done() {
    let server = Server::own();
    let database = Database::Postgres {
        url: server.url().to_owned(),
        schema: "early".to_owned(),
    };
    let mut options = Options::for_tests(30, 3);
    options.account.messages_per_conversation = Some(2);
    let mirror = Mirror::start(database, options).await;
    mirror.sync().await;
    mirror.configure(&mirror.account_config(ACCOUNT, "page_size = 2\n"));
    for round in 0..6 {
        mirror
            .sandbox
            .account()
            .mutate(round, 6, &allai_sync::sandbox::MutationKinds::default());
        let from = mirror.sandbox.stats().requests;
        let mut process = mirror.spawn(&["sync", "--full", "--json"]);
        // Each time a little later: at last the server goes while the run is being concluded.
        eventually("some requests", || {
            mirror.sandbox.stats().requests >= from + 1 + round * 12 || !process.is_running()
        })
        .await;
        server.restart("fast");
        process.end().await.expect(0);
        mirror.database.assert_sound().await;
    }
    let runs = mirror.database.value("SELECT count(*) FROM sync_runs").await;
    assert_eq!(runs, (4 * 7).to_string());
    assert_recovers(&mirror).await;
}
