//! Webhooks, from the listener to the row in the warehouse.

mod applied;
mod delivered;
mod killed;
mod told;
mod waiting;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use allai_sync::clock::SharedClock;
use allai_sync::schedule::Holder;
use allai_sync::sync;
use allai_sync::warehouse::Warehouse;
use allai_sync::webhooks::{Applying, Calls, Watched};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::watch;

use crate::daemon::Daemon;
use crate::support::mirror::Mirror;

pub(crate) const SECRET: &str = "șecret";

/// A configuration that receives webhooks on a port, and whose jobs do not run again.
fn receiving(mirror: &Mirror, port: u16) -> String {
    let quiet: String = ["contacts", "conversations", "messages", "analytics"]
        .map(|job| format!("[jobs.{job}]\nschedule = \"@yearly\"\n"))
        .concat();
    format!(
        "{}[accounts.main.webhook]\nsecret = \"{SECRET}\"\n{quiet}[admin]\nlisten = \"127.0.0.1:0\"\n\
         [webhooks]\nlisten = \"127.0.0.1:{port}\"\n",
        mirror.account_config("main", "")
    )
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// An account that is mirrored already, and where its webhooks go.
async fn mirrored(mirror: &Mirror) -> String {
    let port = free_port();
    mirror.configure(&receiving(mirror, port));
    mirror.sync().await;
    format!("http://127.0.0.1:{port}/webhooks/allai/main")
}

/// Has the sandbox deliver every event to a URL.
pub(crate) async fn register(mirror: &Mirror, url: &str) {
    let hook = json!({
        "url": url,
        "events": allai_sync::webhooks::KNOWN_EVENTS,
        "secret": SECRET,
    });
    let answer = client()
        .post(mirror.sandbox.base_url().join("webhooks").unwrap())
        .bearer_auth(&mirror.sandbox.keys().full)
        .json(&hook)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
}

fn client() -> reqwest::Client {
    #[expect(clippy::disallowed_methods, reason = "this is the other side")]
    reqwest::Client::new()
}

fn sign(body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// Sends an event; whether it was answered with 200.
async fn post(client: &reqwest::Client, url: &str, body: &str) -> bool {
    let request = client
        .post(url)
        .header("x-allai-signature", sign(body))
        .timeout(Duration::from_secs(10))
        .body(body.to_owned());
    request.send().await.is_ok_and(|answer| answer.status() == 200)
}

/// Says something to the chatbot, which answers.
pub(crate) async fn say(mirror: &Mirror, conversation: &str, content: &str) {
    let path = format!("conversations/{conversation}/messages");
    let said: Value = json!({"content": content, "role": "visitor", "type": "text"});
    let answer = client()
        .post(mirror.sandbox.base_url().join(&path).unwrap())
        .bearer_auth(&mirror.sandbox.keys().full)
        .json(&said)
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success());
}

/// How many events there are in each status.
async fn statuses(mirror: &Mirror) -> BTreeMap<String, u64> {
    let sql = "SELECT status, count(*) AS events FROM webhook_events GROUP BY status";
    let rows = mirror.database.rows(sql).await;
    rows.iter()
        .map(|row| (row.text("status").to_owned(), row.count("events")))
        .collect()
}

/// Waits until every event is applied, as long as more and more are.
async fn until_done(mirror: &Mirror, daemon: &mut Daemon, events: u64) {
    let all = BTreeMap::from([("done".to_owned(), events)]);
    let mut standing = statuses(mirror).await;
    while standing != all {
        let before = standing;
        standing = BTreeMap::new();
        crate::daemon::until("more events are done", async || {
            assert!(daemon.process.is_running(), "{}", daemon.log());
            standing = statuses(mirror).await;
            standing != before
        })
        .await;
    }
}

/// Says what a run was of, with `--nocapture`.
#[expect(clippy::print_stdout, reason = "who runs it for long wants to know how long it was")]
fn tell(text: &str) {
    println!("{text}");
}

/// What applies the events of an account, without timers.
fn applying(account: sync::Account, warehouse: &Warehouse, clock: &SharedClock, calls: &Calls) -> Applying {
    let watched = Watched {
        accounts: vec![Arc::new(account)],
        look_every: Duration::from_secs(5),
    };
    let lease = Duration::from_secs(30);
    let (_, watched) = watch::channel(watched);
    let (warehouse, clock) = (warehouse.clone(), Arc::clone(clock));
    Applying::new(warehouse, clock, Holder::new("test"), lease, watched, calls.clone())
}
