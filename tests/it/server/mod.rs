//! The admin listener: what the status page and its JSON tell.

mod browsed;

use allai_sync::clock::SystemClock;
use allai_sync::sandbox::Options;
use allai_sync::server::{Server, Settings};
use allai_sync::warehouse::{Location, Warehouse};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::on_both_databases;

on_both_databases! {
    the_status_page_tells_how_each_resource_stands,
    a_warehouse_without_tables_is_not_ready,
}

struct Page {
    address: String,
    stop: CancellationToken,
}

impl Page {
    async fn of(database: &Database) -> Self {
        let location = Location {
            url: database.url(),
            schema: database.schema(),
        };
        let warehouse = Warehouse::open(&location, SystemClock::shared()).await.unwrap();
        let settings = Settings {
            accounts: vec!["main".to_owned(), "idle".to_owned()],
            ..Settings::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::on(listener, warehouse, SystemClock::shared(), watch::channel(settings).1);
        let address = server.address().unwrap().to_string();
        let stop = CancellationToken::new();
        tokio::spawn(server.serve(stop.clone()));
        Self { address, stop }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(self.url(path)).await.unwrap();
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.headers()[name], value, "{path}");
        }
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn the_status_page_tells_how_each_resource_stands(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(1_234, 20)).await;
    mirror.sync().await;
    let page = Page::of(&mirror.database).await;

    let (code, html) = page.get("/").await;
    assert_eq!(code, 200);
    assert!(html.contains("4 of 8 wait for their first sync"), "{html}");
    assert!(html.contains(">1,234 rows<"), "{html}");
    assert!(html.contains("id=\"account-idle\""), "{html}");

    let (code, json) = page.get("/api/v1/status").await;
    assert_eq!(code, 200);
    let status: Value = serde_json::from_str(&json).unwrap();
    let contacts = &status["resources"].as_array().unwrap()[4];
    assert_eq!(contacts["account"], "main");
    assert_eq!(contacts["resource"], "contacts");
    assert_eq!(contacts["rows"], 1_234);
    assert_eq!(contacts["last_run"]["verified"], true);
    assert_eq!(contacts["recent_runs"].as_array().unwrap().len(), 1);
    assert_eq!(contacts["recent_runs"][0]["rows_written"], 1_234);
    assert_eq!(contacts["level"], "good");
    assert_eq!(contacts["job"]["failures"], 0);
    assert_eq!(contacts["job"]["running"], Value::Null);
    assert_eq!(status["verdict"]["level"], "waiting");
    assert_eq!(status["attention"], Value::Array(Vec::new()));

    mirror.sandbox.revoke(&mirror.sandbox.keys().read);
    mirror.say(&["sync"]).expect(1);
    let (_, html) = page.get("/").await;
    assert!(html.contains("1 thing needs attention"), "{html}");
    assert!(html.contains("The API key is not accepted"), "{html}");
    assert!(html.contains("accounts.main.api_key"), "{html}");
    assert!(!html.contains(&mirror.sandbox.keys().read));

    assert_eq!(page.get("/healthz").await.0, 200);
    assert_eq!(page.get("/readyz").await.0, 200);
    assert_eq!(page.get("/nothing").await.0, 404);
    let answer = reqwest::get(page.url("/")).await.unwrap();
    let policy = answer.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
}

async fn a_warehouse_without_tables_is_not_ready(database: Database) {
    let page = Page::of(&database).await;
    assert_eq!(page.get("/healthz").await.0, 200);
    assert_eq!(page.get("/readyz").await.0, 503);
    assert_eq!(page.get("/").await.0, 503);
}
