//! The admin listener: what the status page and its JSON tell.

mod browsed;
mod hanging;

use std::time::Duration;

use allai_sync::clock::SystemClock;
use allai_sync::lifecycle::allow_many_files;
use allai_sync::metrics::Exporter;
use allai_sync::sandbox::Options;
use allai_sync::server::{Server, Settings};
use allai_sync::warehouse::{Location, Warehouse};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::on_both_databases;

on_both_databases! {
    the_status_page_tells_how_each_resource_stands,
    a_warehouse_without_tables_is_not_ready,
    rows_are_counted_until_a_list_is_complete,
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
        let server = Server::on(listener, warehouse, SystemClock::shared(), watch::channel(settings).1)
            .with_metrics(Exporter::install());
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

/// Waits until `condition` holds, as long as a slow machine may need.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let clock = SystemClock::shared();
    while !condition().await {
        assert!(clock.monotonic() < Duration::from_mins(1), "in vain: {what}");
        clock.sleep(Duration::from_millis(50)).await;
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
    // What is shown may be two seconds old.
    until("it is shown", async || {
        page.get("/").await.1.contains("1 thing needs attention")
    })
    .await;
    let (_, html) = page.get("/").await;
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

async fn rows_are_counted_until_a_list_is_complete(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(120, 3)).await;
    mirror.sync().await;
    let rows = async || {
        let page = Page::of(&mirror.database).await;
        let status: Value = serde_json::from_str(&page.get("/api/v1/status").await.1).unwrap();
        let resources = status["resources"].as_array().unwrap();
        let is_it = |row: &&Value| row["account"] == "main" && row["resource"] == "contacts";
        resources.iter().find(is_it).unwrap()["rows"].as_u64().unwrap()
    };
    let state = "UPDATE sync_state SET rows = 77 WHERE resource = 'contacts'";
    mirror.database.execute(state).await;
    assert_eq!(rows().await, 77, "what the last run counted");
    let begun = "UPDATE sync_state SET last_complete_at = NULL, last_verified_at = NULL WHERE resource = 'contacts'";
    mirror.database.execute(begun).await;
    assert_eq!(rows().await, 120, "what there is by now");
}

#[tokio::test]
async fn what_is_not_asked_as_it_should_be_is_answered_in_a_line() {
    let page = Page::of(&Database::sqlite()).await;
    #[expect(clippy::disallowed_methods, reason = "this is the other side")]
    let client = reqwest::Client::new();
    for (method, path, status, allowed, text) in [
        (
            "GET",
            "/nothing",
            404,
            None,
            "there is nothing here; the status page is at /\n",
        ),
        ("OPTIONS", "/healthz", 204, Some("GET,HEAD"), ""),
        (
            "POST",
            "/healthz",
            405,
            Some("GET,HEAD"),
            "this address does not take this method; the header Allow says which\n",
        ),
        (
            "BREW",
            "/",
            405,
            Some("GET,HEAD"),
            "this address does not take this method; the header Allow says which\n",
        ),
        (
            "GET",
            "/api/v1/jobs/main.contacts/run",
            405,
            Some("POST"),
            "this address does not take this method; the header Allow says which\n",
        ),
        ("HEAD", "/healthz", 200, None, ""),
        ("HEAD", "/nothing", 404, None, ""),
        ("GET", "/healthz?x=%FF", 200, None, "ok\n"),
    ] {
        let answer = client
            .request(method.parse().unwrap(), page.url(path))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), status, "{method} {path}");
        let allow = answer.headers().get("allow").map(|value| value.to_str().unwrap());
        assert_eq!(allow, allowed, "{method} {path}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        assert_eq!(answer.text().await.unwrap(), text, "{method} {path}");
    }
    for (sent, status) in [
        ("nonsense\r\n\r\n", "400"),
        ("GET / HTTP/3.0\r\n\r\n", "400"),
        (&format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000)), "4"),
        (&format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(70_000)), "431"),
    ] {
        let mut stream = TcpStream::connect(&page.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
}

#[tokio::test]
async fn many_slow_clients_do_not_lock_out_a_health_check() {
    allow_many_files();
    let page = Page::of(&Database::sqlite()).await;
    let mut slow = Vec::new();
    for _ in 0..1_202 {
        let mut stream = TcpStream::connect(&page.address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
        slow.push(stream);
    }
    assert_eq!(page.get("/healthz").await.0, 200);
    // Those that came first had to go.
    for stream in &mut slow[..50] {
        let ended = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut [0])).await;
        assert!(matches!(ended.expect("it is closed"), Ok(0) | Err(_)));
    }
}
