//! The commands around the mirror, as unit files and scripts rely on them: exit codes and JSON.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use allai_sync::sandbox::Options;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::on_both_databases;
use crate::support::process::{Said, allai_sync};

on_both_databases!(
    sync_prints_the_members_the_contract_names,
    status_tells_how_fresh_the_mirror_is,
    migrate_creates_the_tables_when_sync_may_not,
    check_finds_nothing_wrong_where_nothing_is,
    check_names_a_key_that_is_refused,
    check_names_an_api_that_cannot_be_reached,
);

async fn small(database: Database) -> Mirror {
    let mut options = Options::for_tests(40, 8);
    options.account.messages_per_conversation = Some(2);
    // All of it within the period of the reports.
    options.account.history = Duration::from_hours(20 * 24);
    Mirror::start(database, options).await
}

fn members(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap_or_else(|| panic!("{value}"))
        .keys()
        .map(String::as_str)
        .collect()
}

async fn sync_prints_the_members_the_contract_names(database: Database) {
    let mirror = small(database).await;
    let said = mirror.say(&["sync", "--json"]).expect(0);
    let report = said.json();
    assert_eq!(members(&report), BTreeSet::from(["runs"]));
    let runs = report["runs"].as_array().unwrap();
    let resources: Vec<&str> = runs.iter().map(|run| run["resource"].as_str().unwrap()).collect();
    assert_eq!(resources, ["contacts", "conversations", "messages", "analytics"]);
    let expected = "account resource status verified rows_seen inserted updated unchanged deleted restored quarantined \
                    requests retries rate_limited seconds error";
    for run in runs {
        assert_eq!(members(run), expected.split_whitespace().collect(), "{run}");
        assert_eq!(
            (run["account"].as_str(), run["status"].as_str()),
            (Some("main"), Some("complete")),
            "{run}"
        );
        assert!(
            run["seconds"].is_f64() && run["error"].is_null() && run["verified"].is_boolean(),
            "{run}"
        );
        assert_eq!(run["rows_seen"], run["inserted"], "{run}");
    }
    assert_eq!(runs[0]["rows_seen"], 40);
    assert_eq!(runs[2]["rows_seen"], 16);

    // The journal has the same, and the reports are there.
    for run in runs {
        let resource = run["resource"].as_str().unwrap();
        let sql = format!("SELECT * FROM sync_runs WHERE resource = '{resource}'");
        let journal = mirror.database.rows(&sql).await.remove(0);
        for member in [
            "rows_seen",
            "inserted",
            "updated",
            "unchanged",
            "deleted",
            "restored",
            "quarantined",
            "requests",
        ] {
            assert_eq!(
                journal.count(member),
                run[member].as_u64().unwrap(),
                "{resource} {member}"
            );
        }
        assert_eq!(journal.text("trigger"), "manual");
        assert!(journal.time("started_at") <= journal.time("finished_at"));
    }
    for table in ["overview", "topics", "channels", "daily", "satisfaction"] {
        let rows = mirror.database.table(&format!("analytics_{table}")).await;
        assert!(!rows.is_empty(), "analytics_{table}");
    }
    // Without --json: a table for people, and nothing on standard output but that.
    let said = mirror.say(&["sync", "contacts"]).expect(0);
    assert!(
        said.stdout.starts_with("account") || said.stdout.starts_with(" account"),
        "{said:?}"
    );
}

async fn status_tells_how_fresh_the_mirror_is(database: Database) {
    let mirror = small(database).await;
    mirror.say(&["migrate"]).expect(0);
    let said = mirror.say(&["status", "--fresh-within", "2h"]).expect(1);
    for resource in ["contacts", "conversations", "messages", "analytics"] {
        assert!(
            said.stderr
                .contains(&format!("main {resource} was never synced completely")),
            "{said:?}"
        );
    }
    mirror.say(&["sync", "contacts", "conversations", "messages"]).expect(0);
    let said = mirror.say(&["status", "--json", "--fresh-within", "2h"]).expect(1);
    assert_eq!(said.stderr.trim(), "main analytics was never synced completely");
    let report = said.json();
    let rows = report["resources"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    assert_eq!(
        (rows[0]["resource"].as_str(), rows[0]["rows"].as_u64()),
        (Some("contacts"), Some(40))
    );
    assert!(
        rows[0]["last_complete_at"].is_string() && rows[0]["last_verified_at"].is_string(),
        "{report}"
    );
    assert!(rows[3]["last_complete_at"].is_null(), "{report}");
    assert_eq!(rows[0]["last_run"]["status"], "complete");
    assert_eq!(report["budgets"][0]["rate_limit"], 1_000_000, "{report}");

    mirror.say(&["sync", "analytics"]).expect(0);
    mirror.say(&["status", "--fresh-within", "2h"]).expect(0);
    mirror.say(&["status", "--fresh-within", "soon"]).expect(2);
    // A failed run does not make the mirror fresh, nor less fresh than it was.
    mirror.sandbox.revoke(&mirror.sandbox.keys().read.clone());
    mirror.say(&["sync"]).expect(1);
    let said = mirror.say(&["status", "--fresh-within", "2h"]).expect(0);
    assert!(said.stdout.contains("401"), "{said:?}");
}

async fn migrate_creates_the_tables_when_sync_may_not(database: Database) {
    let mirror = small(database).await;
    let warehouse = format!("{}migrate = false\n", mirror.database.config());
    mirror.write_config(&format!("{warehouse}{}", mirror.account_config("main", "")));
    let said = mirror.say(&["sync"]).expect(1);
    assert!(said.stderr.contains("allai-sync migrate"), "{said:?}");
    assert_eq!(mirror.sandbox.stats().requests, 0);
    let said = mirror.say(&["check"]).expect(1);
    assert!(said.stdout.contains("allai-sync migrate"), "{said:?}");
    // Nothing was made yet: that is no fault of status to choke on.
    mirror.say(&["status"]).expect(0);

    mirror.say(&["migrate"]).expect(0);
    mirror.say(&["migrate"]).expect(0);
    mirror.say(&["sync"]).expect(0);
    mirror.assert_exact().await;
}

fn failures(said: &Said) -> Vec<&str> {
    said.stdout.lines().filter(|line| line.starts_with("FAIL")).collect()
}

async fn check_finds_nothing_wrong_where_nothing_is(database: Database) {
    let mirror = small(database).await;
    let said = mirror.say(&["check"]).expect(0);
    assert_eq!(failures(&said), Vec::<&str>::new());
    mirror.sync().await;
    mirror.say(&["check"]).expect(0);
}

async fn check_names_a_key_that_is_refused(database: Database) {
    let mirror = small(database).await;
    let key = mirror.sandbox.keys().read.clone();
    mirror.sandbox.revoke(&key);
    let said = mirror.say(&["check"]).expect(1);
    let failures = failures(&said);
    assert_eq!(failures.len(), 1, "{said:?}");
    assert!(
        failures[0].contains("401") && failures[0].contains("accounts.main.api_key"),
        "{failures:?}"
    );
    assert!(!said.stdout.contains(&key) && !said.stderr.contains(&key));
}

async fn check_names_an_api_that_cannot_be_reached(database: Database) {
    let mirror = small(database).await;
    let gone = allai_sync::sandbox::Sandbox::start(Options::for_tests(0, 0))
        .await
        .unwrap();
    let url = gone.base_url().clone();
    gone.stop().await;
    mirror.configure(&format!("[accounts.main]\nbase_url = \"{url}\"\napi_key = \"x\"\n"));
    let said = mirror.say(&["check"]).expect(1);
    assert!(!failures(&said).is_empty(), "{said:?}");
    assert!(failures(&said)[0].contains("connect"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn check_names_a_warehouse_that_cannot_be_used() {
    let mirror = small(Database::sqlite()).await;
    let folder = TempDir::new().unwrap();
    let no_folder = folder.path().join("file");
    std::fs::write(&no_folder, "").unwrap();
    let urls = [
        format!("sqlite://{}/warehouse.db", no_folder.display()),
        "postgres://nobody@127.0.0.1:1/nowhere".to_owned(),
    ];
    for url in urls {
        let account = mirror.account_config("main", "");
        mirror.write_config(&format!("[warehouse]\nurl = {url:?}\n{account}"));
        let said = mirror.say(&["check"]).expect(1);
        assert!(
            failures(&said).iter().any(|line| line.contains("warehouse")),
            "{said:?}"
        );
        for arguments in [&["sync"][..], &["status"], &["migrate"]] {
            let said = mirror.say(arguments).expect(1);
            assert!(
                said.stderr.contains("warehouse") || said.stderr.contains("database"),
                "{said:?}"
            );
        }
    }
    // A database that is none.
    std::fs::write(
        &no_folder,
        "this is no database, it is a text that is long enough to be looked at".repeat(20),
    )
    .unwrap();
    let account = mirror.account_config("main", "");
    mirror.write_config(&format!(
        "[warehouse]\nurl = \"sqlite://{}\"\n{account}",
        no_folder.display()
    ));
    let said = mirror.say(&["check"]).expect(1);
    assert!(
        failures(&said).iter().any(|line| line.contains("warehouse")),
        "{said:?}"
    );
    assert!(
        std::fs::read_to_string(&no_folder)
            .unwrap()
            .starts_with("this is no database")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_demo_needs_nothing_and_mirrors_a_whole_account() {
    let folder = TempDir::new().unwrap();
    let said: Said = allai_sync(folder.path(), &["demo", "--once"]).output().unwrap().into();
    let said = said.expect(0);
    assert_eq!(
        said.stdout.matches("sqlite3 ").count(),
        3,
        "three questions to ask: {}",
        said.stdout
    );
    let database = folder.path().join("allai-sync-demo/warehouse.db");
    assert!(said.stdout.contains("allai-sync-demo/warehouse.db"), "{}", said.stdout);
    let config = folder.path().join("allai-sync-demo/config.toml");
    let status: Said = allai_sync(
        folder.path(),
        &["status", "--fresh-within", "1h", "-c", config.to_str().unwrap()],
    )
    .output()
    .unwrap()
    .into();
    status.expect(0);

    // It is the very account that `allai-sync sandbox` serves.
    let account = allai_sync::sandbox::Sandbox::start(Options::for_tests(2000, 600))
        .await
        .unwrap();
    assert!(database.exists());
    let held = Database::file(&database);
    assert_eq!(held.value("SELECT count(*) FROM contacts").await, "2000");
    assert_eq!(held.value("SELECT count(*) FROM conversations").await, "600");
    let messages = account.account().snapshot().message_count();
    assert_eq!(held.value("SELECT count(*) FROM messages").await, messages.to_string());
    // A second demo starts anew in the same folder; a folder with other things is left alone.
    std::fs::write(&config, "# mine\n").unwrap();
    let said: Said = allai_sync(folder.path(), &["demo", "--once"]).output().unwrap().into();
    assert!(said.expect(2).stderr.contains("--data-dir"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_demo_looks_for_a_port_before_it_mirrors() {
    let folder = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said: Said = allai_sync(folder.path(), &["demo", "--listen", &address])
        .output()
        .unwrap()
        .into();
    let said = said.expect(1);
    assert!(
        said.stderr.contains(&address) && said.stderr.contains("--listen"),
        "{said:?}"
    );
    assert_eq!(said.stdout, "");
    assert!(!folder.path().join("allai-sync-demo").exists());

    // The port nobody asked for may be another demo's, or be taken here; either way it is not waited for.
    let _taken = std::net::TcpListener::bind("127.0.0.1:8781");
    let mut command = allai_sync(folder.path(), &["demo"]);
    let mut demo = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let mut lines = lines.map(Result::unwrap);
    let page = lines.find(|line| line.contains("http://"));
    // A visitor asks, and is answered from the shop's database.
    let answers: Vec<String> = lines.filter(|line| line.starts_with("  shop: ")).take(3).collect();
    demo.kill().unwrap();
    demo.wait().unwrap();
    assert!(first.contains("127.0.0.1:8781 is taken"), "{first}");
    assert!(
        answers[0].contains("Tastatură mecanică ȘȚ: 0 buc (București 0, Cluj 0), 399,00 lei")
            && answers[0].contains("Telefon Stea 9: 42 buc (București 28, Cluj 14), 2.499,99 lei"),
        "{answers:?}"
    );
    assert!(
        answers[1].contains("(LAP-X14)") && answers[1].contains("(LAP-PRO16)"),
        "{answers:?}"
    );
    assert!(
        answers[2].contains("3 × MON-27Q: 3.220,65 lei") && answers[2].contains("= 3.896,99 lei"),
        "{answers:?}"
    );
    let page = page.unwrap();
    assert!(page.contains("http://127.0.0.1:") && !page.contains(":8781/"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_sandbox_says_how_to_mirror_it() {
    let folder = TempDir::new().unwrap();
    let mut command = allai_sync(
        folder.path(),
        &[
            "sandbox",
            "--listen",
            "127.0.0.1:0",
            "--contacts",
            "30",
            "--conversations",
            "5",
            "--limit",
            "1000000",
        ],
    );
    let mut sandbox = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut config = String::new();
    for line in BufReader::new(sandbox.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.trim_start().starts_with("[accounts.main]") || !config.is_empty() {
            config.push_str(line.trim());
            config.push('\n');
        }
        if config.contains("api_key") {
            break;
        }
    }
    std::fs::write(folder.path().join("config.toml"), config).unwrap();
    let said: Said = allai_sync(folder.path(), &["sync", "--json"]).output().unwrap().into();
    sandbox.kill().unwrap();
    sandbox.wait().unwrap();
    let report = said.expect(0).json();
    assert_eq!(report["runs"][0]["rows_seen"], 30);
    let held = Database::file(&folder.path().join("warehouse.db"));
    assert_eq!(held.value("SELECT count(*) FROM conversations").await, "5");
}
