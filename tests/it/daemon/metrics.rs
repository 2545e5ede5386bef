//! What Prometheus reads, and the dashboard and the alert rules that are made of it.

use std::collections::{BTreeMap, BTreeSet};

use allai_sync::allai::signature;
use allai_sync::metrics::{Kind, METRICS};
use allai_sync::sandbox::{ConversationDraft, Options};
use reqwest::StatusCode;

use super::{Daemon, OFTEN, runs, until};
use crate::receiving::{SECRET, event, post, receiver};
use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::on_both_databases;
use crate::support::postgres::Server;
use crate::webhooks::say;

const ALERTS: &str = include_str!("../../../monitoring/alerts.yml");
const DASHBOARD: &str = include_str!("../../../monitoring/grafana-dashboard.json");

on_both_databases! {
    every_metric_is_there_and_tells_what_happened,
}

/// The samples of a scrape: name with labels, and value.
fn samples(text: &str) -> BTreeMap<&str, &str> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.rsplit_once(' ').unwrap()).collect()
}

/// The names in the scrape, without the suffixes of histograms.
fn names(text: &str) -> BTreeSet<&str> {
    let typed = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    typed.map(|line| line.split(' ').next().unwrap()).collect()
}

/// An ERP with one SKU that is written down, and a CRM that does not answer.
async fn connectors(mirror: &Mirror) -> String {
    let erp = Database::file(&mirror.folder().join("erp.db"));
    std::fs::write(mirror.folder().join("erp.db"), "").unwrap();
    erp.execute("CREATE TABLE stock (sku TEXT, on_hand INTEGER); INSERT INTO stock VALUES ('A', 1)")
        .await;
    format!(
        "[connectors.erp]\nkind = \"sql\"\nurl = \"{}\"\nstock_query = \"SELECT sku, on_hand FROM stock WHERE sku IN (:skus)\"\n\
         [stock_snapshots.erp]\nskus = [\"A\"]\n[connectors.crm]\nkind = \"tryton\"\nurl = \"http://127.0.0.1:9\"\ndatabase = \"x\"\n\
         username = \"u\"\npassword = \"p\"\n[contact_sync.sales]\nconnector = \"crm\"\nschedule = \"@every 1s\"\n\
         fields.name = \"{{{{ contact.name }}}}\"\n[[automations]]\nname = \"shout\"\non = [\"message.received\"]\n\
         [[automations.steps]]\ndo = \"http\"\nurl = \"http://127.0.0.1/\"\n",
        erp.url()
    )
}

async fn every_metric_is_there_and_tells_what_happened(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(70, 9)).await;
    let webhooks = format!("[accounts.main.webhook]\nsecret = \"{SECRET}\"\n[webhooks]\nlisten = \"127.0.0.1:0\"\n");
    let connectors = connectors(&mirror).await;
    mirror.configure(&format!(
        "{}{OFTEN}{webhooks}{connectors}",
        mirror.account_config("main", "page_size = 20\n")
    ));
    let mut daemon = Daemon::start(&mirror).await;
    until("all is mirrored", async || {
        runs(&mirror, "resource = 'messages'").await > 1
    })
    .await;
    let body = event("e1");
    let signature = signature::sign(&SECRET.into(), &body);
    assert_eq!(post(receiver(&mut daemon).await, &body, &signature).await, 200);
    until("the event is applied", async || {
        let done = mirror
            .database
            .rows("SELECT id FROM webhook_events WHERE status = 'done'")
            .await;
        done.len() == 1
    })
    .await;
    assert_eq!(daemon.get("/api/v1/stock/A").await.0, StatusCode::OK);
    let conversation = mirror
        .sandbox
        .account()
        .insert_conversation(ConversationDraft::default());
    say(&mirror, &conversation, "Aveți A?").await;
    until("a rule has failed and is an incident", async || {
        let incidents = "SELECT kind FROM incidents WHERE kind = 'automations_dead' AND resolved_at IS NULL";
        mirror.database.rows(incidents).await.len() == 1
    })
    .await;
    until("it is counted", async || {
        let (_, text) = daemon.get("/metrics").await;
        text.contains("allai_sync_automation_runs_dead{account=\"main\"} 1")
    })
    .await;
    until("contacts were synced, and stock was written down", async || {
        let (_, text) = daemon.get("/metrics").await;
        text.contains("allai_sync_contacts_held{") && text.contains("allai_sync_stock_snapshot_timestamp_seconds{")
    })
    .await;
    let (code, text) = daemon.get("/metrics").await;
    assert_eq!(code, StatusCode::OK);
    let known: BTreeSet<&str> = METRICS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(known.len(), METRICS.len());
    assert_eq!(names(&text), known, "{text}");
    for (name, kind, ..) in METRICS {
        assert!(name.starts_with("allai_sync_"), "{name}");
        assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
    let found = samples(&text);
    let value = |name: &str| *found.get(name).unwrap_or_else(|| panic!("no {name} in {text}"));
    let number = |name: &str| value(name).parse::<f64>().unwrap();
    assert_eq!(
        value("allai_sync_mirrored_rows{account=\"main\",resource=\"contacts\"}"),
        "70"
    );
    assert_eq!(
        value("allai_sync_rows_total{account=\"main\",resource=\"contacts\",kind=\"inserted\"}"),
        "70"
    );
    assert!(number("allai_sync_http_requests_total{account=\"main\",status=\"200\"}") > 5.0);
    assert!(number("allai_sync_lag_seconds{account=\"main\",resource=\"contacts\"}") < 60.0);
    assert_eq!(
        value("allai_sync_job_failures{account=\"main\",resource=\"contacts\"}"),
        "0"
    );
    assert_eq!(value("allai_sync_webhook_requests_total{status=\"200\"}"), "1");
    assert_eq!(value("allai_sync_webhook_events_waiting{account=\"main\"}"), "0");
    assert_eq!(value("allai_sync_webhook_events_dead{account=\"main\"}"), "0");
    assert_eq!(value("allai_sync_connector_up{connector=\"erp\"}"), "1");
    assert_eq!(
        value("allai_sync_stock_lookups_total{connector=\"erp\",source=\"live\"}"),
        "1"
    );
    assert_eq!(value("allai_sync_contacts_held{account=\"main\"}"), "0");
    assert_eq!(
        value("allai_sync_automation_runs_total{account=\"main\",rule=\"shout\",outcome=\"dead\"}"),
        "1"
    );
    assert_eq!(value("allai_sync_automation_runs_waiting{account=\"main\"}"), "0");
    // What was there before waits, so that the CRM, which is away, was not asked.
    let synced = "allai_sync_contact_sync_runs_total{account=\"main\",connector=\"crm\",status=\"complete\"}";
    assert!(number(synced) > 0.0);
    assert!(number("allai_sync_process_resident_memory_bytes") > 1e6);
    assert!(!text.contains(mirror.sandbox.keys().read.as_str()), "{text}");

    gauges_of_what_is_gone_go(&mirror, &mut daemon).await;
    daemon.stop().await.0.expect(0);
}

async fn gauges_of_what_is_gone_go(mirror: &Mirror, daemon: &mut Daemon) {
    let revoked = mirror
        .account_config("main", "")
        .replace(&mirror.sandbox.keys().read, "revoked");
    mirror.configure(&format!("{revoked}{OFTEN}"));
    daemon.process.signal("HUP");
    until("the refusal is counted", async || {
        let (_, text) = daemon.get("/metrics").await;
        samples(&text).contains_key("allai_sync_http_requests_total{account=\"main\",status=\"401\"}")
    })
    .await;
    // Of an account that is gone, no gauge stays, and what was counted does.
    let other = mirror.account_config("other", "");
    mirror.configure(&format!("{other}{OFTEN}"));
    daemon.reload().await;
    let (_, text) = daemon.get("/metrics").await;
    let gauges: Vec<&str> = METRICS
        .iter()
        .filter(|(_, kind, ..)| *kind == Kind::Gauge)
        .map(|(name, ..)| *name)
        .collect();
    let of_main: Vec<&str> = samples(&text)
        .into_keys()
        .filter(|sample| sample.contains("account=\"main\""))
        .map(|sample| sample.split('{').next().unwrap())
        .collect();
    assert!(of_main.contains(&"allai_sync_runs_total"), "{text}");
    assert!(of_main.iter().all(|name| !gauges.contains(name)), "{text}");
    assert!(!text.contains("allai_sync_connector_up{"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_database_that_is_away_is_told_and_takes_no_gauge_with_it() {
    let server = Server::own();
    let database = Database::Postgres {
        url: server.url().to_owned(),
        schema: "measured".to_owned(),
    };
    let mirror = Mirror::start(database, Options::for_tests(20, 3)).await;
    mirror.configure(&format!("{}{OFTEN}", mirror.account_config("main", "")));
    let daemon = Daemon::start(&mirror).await;
    until("all is mirrored", async || {
        runs(&mirror, "resource = 'messages'").await > 1
    })
    .await;
    let (_, before) = daemon.get("/metrics").await;
    assert_eq!(samples(&before)["allai_sync_database_up"], "1");
    server.stop("fast");
    until("it is told", async || {
        let (code, text) = daemon.get("/metrics").await;
        assert_eq!(code, StatusCode::OK);
        samples(&text)["allai_sync_database_up"] == "0"
    })
    .await;
    let lag = "allai_sync_lag_seconds{account=\"main\",resource=\"contacts\"}";
    until("the mirror ages", async || {
        let (_, text) = daemon.get("/metrics").await;
        samples(&text)[lag].parse::<f64>().unwrap() > 5.0
    })
    .await;
    let (_, after) = daemon.get("/metrics").await;
    let after = samples(&after);
    for sample in samples(&before).keys() {
        assert!(after.contains_key(sample), "{sample}");
    }
    server.start();
    until("it is back", async || {
        let (_, text) = daemon.get("/metrics").await;
        samples(&text)["allai_sync_database_up"] == "1"
    })
    .await;
    daemon.stop().await.0.expect(0);
}

/// The metrics that an expression names.
fn named(expression: &str) -> BTreeSet<&str> {
    expression
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("allai_sync"))
        .collect()
}

fn assert_known(expression: &str) {
    let words = named(expression);
    assert!(!words.is_empty(), "{expression}");
    for word in words {
        let is_known = METRICS.iter().any(|(name, kind, ..)| match kind {
            Kind::Histogram => ["_bucket", "_sum", "_count"]
                .iter()
                .any(|end| word == format!("{name}{end}")),
            Kind::Counter | Kind::Gauge => word == *name,
        });
        assert!(is_known, "{word} in {expression}");
    }
}

#[test]
fn the_alert_rules_and_the_dashboard_name_metrics_that_exist() {
    let expressions: Vec<&str> = ALERTS
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "))
        .collect();
    assert_eq!(expressions.len(), ALERTS.matches("- alert:").count());
    for expression in &expressions {
        assert_known(expression);
    }
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut shown = String::new();
    for target in targets {
        let expression = target["expr"].as_str().unwrap();
        assert_known(expression);
        shown += expression;
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let query = variable["query"].as_str().unwrap();
        if query.starts_with("label_values") {
            assert_known(query);
        }
    }
    // What is gathered is shown, or warned of.
    let all = shown + &expressions.concat();
    for (name, ..) in METRICS {
        assert!(
            all.contains(name) || *name == "allai_sync_lag_seconds",
            "{name} is of no use"
        );
    }
}
