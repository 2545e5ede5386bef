//! Webhooks from AllAI's side: registered, compared, and what has come shown and replayed; and session tokens.

mod answers;
mod changes;
mod events;
mod refusals;
mod rotation;
mod session_tokens;
mod twice;

use allai_sync::sandbox::{Options, WebhookEndpoint};
use serde_json::{Value, json};

use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::process::Said;

/// Where the tests say that AllAI reaches the listener.
const PUBLIC: &str = "https://hooks.example.ro";
/// The same, for the account.
const OURS: &str = "https://hooks.example.ro/webhooks/allai/main";
const SECRET: &str = "hush-the-first-one";

/// An account whose API offers these endpoints beside the guide's.
async fn mirror(database: Database, endpoints: &[WebhookEndpoint]) -> Mirror {
    let mut options = Options::for_tests(3, 2);
    options.webhooks.endpoints = endpoints.to_vec();
    let mirror = Mirror::start(database, options).await;
    configure(&mirror, SECRET, "");
    mirror
}

const ALL: [WebhookEndpoint; 4] = [
    WebhookEndpoint::List,
    WebhookEndpoint::Patch,
    WebhookEndpoint::Put,
    WebhookEndpoint::Delete,
];

/// Configures the account's webhook, with a key that may do everything.
fn configure(mirror: &Mirror, secret: &str, more: &str) {
    configure_with(mirror, &mirror.sandbox.keys().full.clone(), PUBLIC, secret, more);
}

fn configure_with(mirror: &Mirror, key: &str, public_url: &str, secret: &str, more: &str) {
    let url = mirror.sandbox.base_url();
    mirror.configure(&format!(
        "[accounts.main]\nbase_url = \"{url}\"\napi_key = \"{key}\"\n[accounts.main.webhook]\nsecret = \"{secret}\"\n{more}\n\
         [webhooks]\nlisten = \"127.0.0.1:0\"\npublic_url = \"{public_url}\"\n"
    ));
}

/// `webhooks register`, and what it says of the one account; nothing that was said holds a secret.
fn register(mirror: &Mirror, more: &[&str]) -> Value {
    let said = mirror
        .say(&[&["webhooks", "register", "--json"], more].concat())
        .expect(0);
    no_secret(&said);
    let report = said.json();
    assert_eq!(report["failures"], json!([]));
    assert_eq!(report["registrations"].as_array().unwrap().len(), 1, "{report}");
    report["registrations"][0].clone()
}

fn no_secret(said: &Said) {
    assert!(
        !said.stdout.contains("hush") && !said.stderr.contains("hush"),
        "{said:?}"
    );
    let key = "ak_sandbox";
    assert!(!said.stdout.contains(key) && !said.stderr.contains(key), "{said:?}");
}

/// Somebody who uses the API beside us.
async fn ask(mirror: &Mirror, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    #[expect(clippy::disallowed_methods, reason = "a caller that is not our client")]
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = mirror.sandbox.base_url().join(path).unwrap();
    let request = client
        .request(method.parse().unwrap(), url)
        .bearer_auth(&mirror.sandbox.keys().full);
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

async fn add(mirror: &Mirror, url: &str, events: &[&str]) -> String {
    let body = json!({"url": url, "events": events, "secret": "hush-by-hand"});
    let (status, made) = ask(mirror, "POST", "webhooks", Some(body)).await;
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

/// What the dashboard shows, whatever the API offers.
async fn dashboard(mirror: &Mirror) -> Vec<Value> {
    let offered = std::cell::RefCell::new(Vec::new());
    mirror.sandbox.set_options(|options| {
        *offered.borrow_mut() = std::mem::replace(&mut options.webhooks.endpoints, vec![WebhookEndpoint::List]);
    });
    let (status, list) = ask(mirror, "GET", "webhooks", None).await;
    assert_eq!(status, 200);
    let offered = offered.into_inner();
    mirror
        .sandbox
        .set_options(|options| options.webhooks.endpoints = offered);
    list["data"].as_array().unwrap().clone()
}

/// Which requests changed something since the last call.
fn changes(mirror: &Mirror) -> Vec<String> {
    let log = mirror.take_log().into_iter();
    let changing = log.filter(|entry| entry.method != "GET" && entry.status < 300);
    changing.map(|entry| entry.method).collect()
}
