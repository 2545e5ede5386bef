//! Webhooks as a receiver sees them.

use std::sync::{Arc, Mutex};

use allai_sync::clock::VirtualClock;
use allai_sync::sandbox::{Options, Sandbox, WebhookAgain, WebhookEndpoint, WebhookForm};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;

use super::Caller;

/// What a receiver got: signature and body; it refuses the first `refusals` deliveries.
#[derive(Default)]
struct Inbox {
    got: Vec<(String, Vec<u8>)>,
    refusals: usize,
}

type Shared = Arc<Mutex<Inbox>>;

async fn receive(State(inbox): State<Shared>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut inbox = inbox.lock().unwrap();
    inbox
        .got
        .push((headers["x-allai-signature"].to_str().unwrap().to_owned(), body.to_vec()));
    if inbox.refusals > 0 {
        inbox.refusals -= 1;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    StatusCode::OK
}

async fn receiver(refusals: usize) -> (String, Shared) {
    let inbox = Shared::new(Mutex::new(Inbox {
        refusals,
        ..Inbox::default()
    }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/hook", post(receive))
        .with_state(Arc::clone(&inbox));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, inbox)
}

fn sign(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice("șecret".as_bytes()).unwrap();
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

async fn registered(url: &str, events: &[&str]) -> Caller {
    // On a clock of its own, so that waiting before a retry takes no time.
    let clock = VirtualClock::new(chrono::DateTime::UNIX_EPOCH);
    let sandbox = Sandbox::start_with_clock(Options::for_tests(5, 2), clock.shared()).await;
    let caller = Caller::with(sandbox.unwrap());
    let hook = json!({"url": url, "events": events, "secret": "șecret"});
    let (status, made) = caller.send(Method::POST, "webhooks", hook).await;
    assert_eq!(status, 201);
    assert!(made.get("secret").is_none());
    assert_eq!(caller.rows("webhooks").await, [made]);
    caller
}

#[tokio::test]
async fn events_are_delivered_with_a_valid_signature() {
    let (url, inbox) = receiver(0).await;
    let events = [
        "conversation.started",
        "message.received",
        "message.sent",
        "handoff.requested",
        "lead.created",
    ];
    let caller = registered(&url, &events).await;
    let (_, made) = caller
        .send(Method::POST, "conversations", json!({"chatbot_id": "cb_abc123"}))
        .await;
    let id = made["id"].as_str().unwrap();
    let said = json!({"content": "Vreau să vorbesc cu un operator, vă rog", "role": "visitor", "type": "text"});
    caller
        .send(Method::POST, &format!("conversations/{id}/messages"), said)
        .await;
    caller
        .send(Method::POST, "contacts", json!({"name": "Ana", "tags": ["lead"]}))
        .await;
    caller.sandbox.account().close(id, "resolved_by_agent");
    caller.sandbox.deliveries_finished().await;

    let inbox = inbox.lock().unwrap();
    let mut names = Vec::new();
    for (signature, body) in &inbox.got {
        assert_eq!(*signature, sign(body));
        let body: Value = serde_json::from_slice(body).unwrap();
        assert!(
            body["id"].as_str().unwrap().starts_with("evt_")
                && body["data"].is_object()
                && body["timestamp"].is_string()
        );
        names.push(body["event"].as_str().unwrap().to_owned());
    }
    names.sort_unstable();
    let mut expected = events.map(str::to_owned);
    expected.sort_unstable();
    assert_eq!(names, expected, "conversation.ended was not asked for");
}

#[tokio::test]
async fn what_is_not_taken_is_retried_three_times() {
    let (url, inbox) = receiver(2).await;
    let caller = registered(&url, &["lead.created"]).await;
    caller
        .send(Method::POST, "contacts", json!({"name": "Ana", "tags": ["lead"]}))
        .await;
    caller.sandbox.deliveries_finished().await;
    let statuses: Vec<_> = caller
        .sandbox
        .deliveries()
        .iter()
        .map(|delivery| delivery.status)
        .collect();
    assert_eq!(statuses, [Some(503), Some(503), Some(200)]);

    inbox.lock().unwrap().refusals = usize::MAX;
    caller
        .send(Method::POST, "contacts", json!({"name": "Ion", "tags": ["lead"]}))
        .await;
    caller.sandbox.deliveries_finished().await;
    let attempts = caller.sandbox.deliveries().split_off(3);
    let waits: Vec<_> = attempts
        .windows(2)
        .map(|pair| (pair[1].at - pair[0].at).num_seconds())
        .collect();
    assert_eq!(waits, [1, 2, 4], "one attempt and three retries, then it is given up");
    let inbox = inbox.lock().unwrap();
    assert!(
        inbox.got[3..].windows(2).all(|pair| pair[0] == pair[1]),
        "a retry is the same delivery"
    );
}

#[tokio::test]
async fn deliveries_come_twice_and_in_another_form_if_wanted() {
    let (url, inbox) = receiver(0).await;
    let caller = registered(&url, &["lead.created"]).await;
    caller.sandbox.set_options(|options| {
        options.webhooks.duplicate_rate = 1.0;
        options.webhooks.form = WebhookForm::Other;
    });
    caller
        .send(Method::POST, "contacts", json!({"name": "Ana", "tags": ["lead"]}))
        .await;
    caller.sandbox.deliveries_finished().await;
    let inbox = inbox.lock().unwrap();
    assert_eq!(inbox.got.len(), 2);
    let (signature, body) = &inbox.got[0];
    assert_eq!(*signature, format!("sha256={}", sign(body)));
    let body: Value = serde_json::from_slice(body).unwrap();
    assert_eq!((&body["type"], body.get("id")), (&json!("lead.created"), None));
}

#[tokio::test]
async fn a_webhook_is_changed_and_removed_where_the_switches_say_so() {
    let (url, inbox) = receiver(0).await;
    let caller = registered(&url, &["lead.created"]).await;
    let id = caller.rows("webhooks").await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("webhooks/{id}");
    // What a change leaves out stays.
    let (status, changed) = caller.send(Method::PATCH, &path, json!({"active": false})).await;
    assert_eq!((status.as_u16(), &changed["active"]), (200, &json!(false)));
    assert_eq!(changed["events"], json!(["lead.created"]));
    let lead = json!({"name": "Ana", "tags": ["lead"]});
    caller.send(Method::POST, "contacts", lead.clone()).await;
    caller.sandbox.deliveries_finished().await;
    assert!(inbox.lock().unwrap().got.is_empty(), "it is switched off");
    let (status, _) = caller.send(Method::PUT, &path, json!({"active": true})).await;
    assert_eq!(status, 400, "a whole webhook has a URL");
    let whole = json!({"url": url, "events": ["lead.created"], "secret": "altul"});
    let (status, changed) = caller.send(Method::PUT, &path, whole.clone()).await;
    assert_eq!((status.as_u16(), &changed["active"]), (200, &json!(true)));
    caller.send(Method::POST, "contacts", lead).await;
    caller.sandbox.deliveries_finished().await;
    let (signature, body) = inbox.lock().unwrap().got.remove(0);
    assert_ne!(signature, sign(&body), "the secret is another one");

    caller
        .sandbox
        .set_options(|options| options.webhooks.again = WebhookAgain::Refused);
    assert_eq!(caller.send(Method::POST, "webhooks", whole.clone()).await.0, 409);
    let removed = async || {
        caller
            .request(Method::DELETE, &path)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    for (endpoints, status) in [
        (vec![WebhookEndpoint::None], 404),
        (vec![WebhookEndpoint::List, WebhookEndpoint::Patch], 405),
        (vec![WebhookEndpoint::Delete], 204),
        (vec![WebhookEndpoint::Delete], 404),
    ] {
        caller
            .sandbox
            .set_options(|options| options.webhooks.endpoints = endpoints);
        assert_eq!(removed().await, status);
    }
    assert_eq!(caller.get("webhooks").await.0, 405, "no list either");
    assert_eq!(caller.send(Method::POST, "webhooks", whole).await.0, 201);
}
