//! Session tokens from the admin listener: bounded, limited, noted, and never logged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use allai_sync::allai::{Client, InProcess, RetryPolicy, Transport};
use allai_sync::clock::SystemClock;
use allai_sync::sandbox::Options;
use allai_sync::server::{Server, Settings};
use allai_sync::warehouse::{Location, Warehouse};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

use crate::support::database::Database;
use crate::support::eventually;
use crate::support::mirror::Mirror;
use crate::support::on_both_databases;
use crate::support::process::Process;

on_both_databases! {
    a_token_is_handed_out_and_noted,
    what_is_asked_wrongly_costs_nothing,
    no_token_is_handed_out_that_cannot_be_noted,
    no_token_is_handed_out_that_is_valid_for_longer_than_was_asked_for,
    old_notes_are_forgotten,
}

/// An admin listener for accounts with these keys.
struct Admin {
    mirror: Mirror,
    warehouse: Warehouse,
    url: String,
    settings: watch::Sender<Settings>,
    _stop: DropGuard,
}

impl Admin {
    async fn start(database: Database, change: impl FnOnce(&mut Settings)) -> Self {
        let mirror = Mirror::start(database, Options::for_tests(3, 2)).await;
        mirror.say(&["migrate"]).expect(0);
        let location = Location {
            url: mirror.database.url(),
            schema: mirror.database.schema(),
        };
        let clock = SystemClock::shared();
        let warehouse = Warehouse::open(&location, clock.clone()).await.unwrap();
        let keys = mirror.sandbox.keys();
        let client = |key: &String| {
            Client::builder(mirror.sandbox.base_url().clone(), key.as_str().into())
                .retry(RetryPolicy {
                    attempts: 1,
                    ..RetryPolicy::default()
                })
                .build()
                .unwrap()
        };
        let mut settings = Settings {
            token: Some("sesame".to_owned().into()),
            clients: BTreeMap::from([
                ("main".to_owned(), client(&keys.full)),
                ("reader".to_owned(), client(&keys.read)),
            ]),
            ..Settings::default()
        };
        change(&mut settings);
        let settings = watch::Sender::new(settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::on(listener, warehouse.clone(), clock, settings.subscribe());
        let url = format!("http://{}/api/v1/session-token", server.address().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(server.serve(stop.clone()));
        Self {
            mirror,
            warehouse,
            url,
            settings,
            _stop: stop.drop_guard(),
        }
    }

    async fn ask(&self, body: &Value) -> reqwest::Response {
        post(&self.url, Some("sesame"), body.to_string()).await
    }

    async fn refused(&self, body: &Value) -> (u16, String) {
        let answer = self.ask(body).await;
        assert_eq!(answer.headers()["cache-control"], "no-store");
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn notes(&self) -> usize {
        self.mirror.database.table("session_tokens").await.len()
    }
}

async fn post(url: &str, token: Option<&str>, body: String) -> reqwest::Response {
    #[expect(clippy::disallowed_methods, reason = "this is the other side")]
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.post(url).body(body);
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    request.send().await.unwrap()
}

fn visitor() -> Value {
    json!({"account": "main", "chatbot_id": "cb_abc123", "visitor_id": "visitor_xyz"})
}

fn lasting(seconds: u64) -> Value {
    let mut body = visitor();
    body["expires_in"] = seconds.into();
    body
}

fn expiry(answer: &Value) -> DateTime<Utc> {
    answer["expires_at"].as_str().unwrap().parse().unwrap()
}

async fn a_token_is_handed_out_and_noted(database: Database) {
    let admin = Admin::start(database, |_| ()).await;
    let answer = admin.ask(&lasting(600)).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let answer: Value = answer.json().await.unwrap();
    let now = SystemClock::shared().now();
    let token = answer["session_token"].as_str().unwrap();
    assert!(token.starts_with("st_live_"));
    assert!((expiry(&answer) - now - TimeDelta::seconds(600)).abs() < TimeDelta::seconds(30));
    // The token works.
    #[expect(clippy::disallowed_methods, reason = "this is a browser")]
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = admin.mirror.sandbox.base_url().join("conversations").unwrap();
    let begun = client
        .post(url)
        .bearer_auth(token)
        .json(&json!({"chatbot_id": "cb_abc123"}));
    assert_eq!(begun.send().await.unwrap().status(), 201);

    let notes = admin.mirror.database.table("session_tokens").await;
    assert_eq!(notes.len(), 1);
    let note = &notes[0];
    assert_eq!(
        (note.text("account"), note.text("chatbot_id"), note.text("visitor_id")),
        ("main", "cb_abc123", "visitor_xyz")
    );
    assert_eq!(note.text("requested_from"), "127.0.0.1");
    assert_eq!(note.time("expires_at"), Some(expiry(&answer)));
    assert!(!format!("{note:?}").contains(token));

    // As long as may be, if nothing is said.
    let answer: Value = admin.ask(&visitor()).await.json().await.unwrap();
    assert!((expiry(&answer) - now - TimeDelta::hours(1)).abs() < TimeDelta::seconds(30));
    assert_eq!(admin.notes().await, 2);
}

async fn what_is_asked_wrongly_costs_nothing(database: Database) {
    let admin = Admin::start(database, |settings| settings.session_tokens_per_minute = 2).await;
    assert_eq!(post(&admin.url, None, visitor().to_string()).await.status(), 401);
    assert_eq!(
        post(&admin.url, Some("sesam"), visitor().to_string()).await.status(),
        401
    );
    let without = |member: &str| {
        let mut body = visitor();
        body.as_object_mut().unwrap().remove(member);
        body
    };
    let with = |member: &str, value: Value| {
        let mut body = visitor();
        body[member] = value;
        body
    };
    for (body, part) in [
        (
            without("account"),
            "account is missing: there is more than one, main, reader",
        ),
        (without("visitor_id"), "the body must be"),
        (with("visitor_id", "".into()), "visitor_id"),
        (with("visitor_id", "a\u{0}b".into()), "visitor_id"),
        (with("chatbot_id", "x".repeat(256).into()), "chatbot_id"),
        (with("account", "nobody".into()), "no such account"),
        (with("api_key", "x".into()), "the body must be"),
        (lasting(3_601), "from 1 to 3600 seconds (admin.session_token_max)"),
        (lasting(0), "from 1 to 3600 seconds"),
        (with("expires_in", (-1).into()), "the body must be"),
        (json!("ion@exemplu.ro"), "the body must be"),
    ] {
        let (status, text) = admin.refused(&body).await;
        assert_eq!((status, text.contains(part)), (400, true), "{body}: {text}");
        assert!(!text.contains("ion@exemplu.ro"), "{text}");
    }
    assert_eq!(admin.mirror.sandbox.stats().requests, 0);

    // A chatbot that AllAI does not know, and a key that may not: they count.
    let (status, text) = admin.refused(&with("chatbot_id", "cb_nobody".into())).await;
    assert_eq!((status, text.contains("unknown chatbot")), (400, true), "{text}");
    let (status, text) = admin.refused(&with("account", "reader".into())).await;
    assert_eq!(status, 502, "{text}");
    assert!(
        text.contains("403") && text.contains("accounts.reader.api_key"),
        "{text}"
    );
    let answer = admin.ask(&visitor()).await;
    assert_eq!(answer.status(), 429);
    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    assert!(answer.text().await.unwrap().contains("admin.session_tokens_per_minute"));
    assert_eq!(admin.notes().await, 0);

    // A new configuration counts at once; and with one account, it goes without saying which.
    admin.settings.send_modify(|settings| {
        settings.session_tokens_per_minute = 60_000;
        settings.session_token_max = Duration::from_mins(1);
        settings.clients.remove("reader");
    });
    assert_eq!(admin.ask(&without("account")).await.status(), 200);
    assert_eq!(admin.ask(&lasting(61)).await.status(), 400);
}

async fn no_token_is_handed_out_that_cannot_be_noted(database: Database) {
    let admin = Admin::start(database, |_| ()).await;
    admin.mirror.database.execute("DROP TABLE session_tokens").await;
    let answer = admin.ask(&visitor()).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
    assert!(!answer.text().await.unwrap().contains("st_live_"));
}

async fn no_token_is_handed_out_that_is_valid_for_longer_than_was_asked_for(database: Database) {
    let extra = Arc::new(AtomicI64::new(0));
    let server: InProcess = {
        let extra = Arc::clone(&extra);
        Arc::new(move |_| {
            let valid = TimeDelta::seconds(600 + extra.load(Ordering::Relaxed));
            let expires_at = SystemClock::shared().now() + valid;
            let body = if valid == TimeDelta::zero() {
                json!({"session_token": "st_live_secret"})
            } else {
                json!({"session_token": "st_live_secret", "expires_at": expires_at})
            };
            let body = body.to_string();
            Box::pin(async { Ok(http::Response::new(body.into())) })
        })
    };
    let admin = Admin::start(database, move |settings| {
        let client = Client::builder("http://127.0.0.1/v2".parse().unwrap(), "key".to_owned().into())
            .transport(Transport::InProcess(server))
            .build()
            .unwrap();
        settings.clients = BTreeMap::from([("main".to_owned(), client)]);
    })
    .await;
    // Clocks may differ by five minutes. The last does not say until when it is valid.
    for (seconds, status, notes) in [
        (0, 200, 1),
        (290, 200, 2),
        (310, 502, 2),
        (80_000, 502, 2),
        (-600, 502, 2),
    ] {
        extra.store(seconds, Ordering::Relaxed);
        let answer = admin.ask(&lasting(600)).await;
        assert_eq!(answer.status(), status, "{seconds}");
        let text = answer.text().await.unwrap();
        assert_eq!(text.contains("st_live_secret"), status == 200, "{text}");
        assert_eq!(text.contains("for longer than was asked for"), status == 502, "{text}");
        assert_eq!(admin.notes().await, notes, "{seconds}");
    }
}

/// An API that takes a request and breaks the connection off; the requests it has taken.
async fn breaking_off() -> (Url, Arc<Mutex<Vec<String>>>) {
    let taken = Arc::new(Mutex::new(Vec::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v2/", listener.local_addr().unwrap());
    let keep = Arc::clone(&taken);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"}") {
                if stream.read_buf(&mut request).await.unwrap() == 0 {
                    break;
                }
            }
            let request = String::from_utf8(request).unwrap();
            keep.lock()
                .unwrap()
                .push(request.lines().next().unwrap_or_default().to_owned());
        }
    });
    (url.parse().unwrap(), taken)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_token_is_not_asked_for_again_when_the_connection_breaks() {
    let (url, taken) = breaking_off().await;
    let admin = Admin::start(Database::sqlite(), move |settings| {
        // It would repeat what may be repeated, and soon.
        let retry = RetryPolicy {
            attempts: 5,
            base: Duration::from_millis(1),
            ..RetryPolicy::default()
        };
        let client = Client::builder(url, "key".to_owned().into())
            .retry(retry)
            .build()
            .unwrap();
        settings.clients = BTreeMap::from([("main".to_owned(), client)]);
    })
    .await;
    let (status, text) = admin.refused(&visitor()).await;
    assert_eq!(status, 502, "{text}");
    assert_eq!(*taken.lock().unwrap(), ["POST /v2/auth/session-token HTTP/1.1"]);
    assert_eq!(admin.notes().await, 0);
}

async fn old_notes_are_forgotten(database: Database) {
    let admin = Admin::start(database, |_| ()).await;
    for _ in 0..3 {
        assert_eq!(admin.ask(&visitor()).await.status(), 200);
    }
    let now = SystemClock::shared().now();
    let long_ago = now - TimeDelta::days(400);
    assert!(admin.warehouse.forget_session_tokens("main", long_ago).await.unwrap());
    assert_eq!(admin.notes().await, 3);
    assert!(admin.warehouse.forget_session_tokens("another", now).await.unwrap());
    assert_eq!(admin.notes().await, 3);
    assert!(admin.warehouse.forget_session_tokens("main", now).await.unwrap());
    assert_eq!(admin.notes().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_daemon_hands_out_tokens_and_its_log_has_none() {
    let mirror = Mirror::start(Database::sqlite(), Options::for_tests(3, 2)).await;
    let (url, key) = (mirror.sandbox.base_url(), &mirror.sandbox.keys().full);
    mirror.configure(&format!(
        "[accounts.main]\nbase_url = \"{url}\"\napi_key = \"{key}\"\n\
         [admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"sesame\"\nsession_token_max = \"10m\"\nsession_tokens_per_minute = 3\n"
    ));
    let log = mirror.folder().join("daemon.log");
    let read_log = || std::fs::read_to_string(&log).unwrap();
    let _daemon = Process::logging_to(mirror.command(&["run", "-vv"]), &log);
    eventually("it is ready", || read_log().contains("ready; ")).await;
    let log_now = read_log();
    let (_, rest) = log_now.split_once("the status page is at ").unwrap();
    let url = format!("{}api/v1/session-token", rest.split_whitespace().next().unwrap());

    let answer: Value = post(&url, Some("sesame"), visitor().to_string())
        .await
        .json()
        .await
        .unwrap();
    let token = answer["session_token"].as_str().unwrap().to_owned();
    assert_eq!(post(&url, Some("sesame"), lasting(601).to_string()).await.status(), 400);
    for _ in 0..2 {
        assert_eq!(post(&url, Some("sesame"), lasting(5).to_string()).await.status(), 200);
    }
    assert_eq!(post(&url, Some("sesame"), lasting(5).to_string()).await.status(), 429);
    eventually("it is logged", || read_log().contains("a session token is handed out")).await;
    let log = read_log();
    assert!(!log.contains(&token) && !log.contains("visitor_xyz"), "{log}");
}
