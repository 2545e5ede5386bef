//! What AllAI answers to a registration, which its guide does not show.

use std::sync::{Arc, Mutex};

use allai_sync::sandbox::Options;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Value, json};

use super::{PUBLIC, SECRET, register};
use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::on_both_databases;

on_both_databases! {
    an_answer_without_a_body_is_a_registration,
}

/// An API that registers webhooks, says nothing but this, and offers nothing else.
async fn taciturn(status: StatusCode, body: &'static str) -> (String, Arc<Mutex<Vec<Value>>>) {
    let made = Arc::new(Mutex::new(Vec::new()));
    let keep = {
        let made = Arc::clone(&made);
        async move |new: String| {
            made.lock().unwrap().push(serde_json::from_str(&new).unwrap());
            (status, body)
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v2", listener.local_addr().unwrap());
    let router = Router::new().route("/v2/webhooks", post(keep));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, made)
}

async fn an_answer_without_a_body_is_a_registration(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(1, 1)).await;
    for (status, body) in [
        (StatusCode::CREATED, ""),
        (StatusCode::NO_CONTENT, ""),
        (StatusCode::OK, " \r\n"),
    ] {
        let (url, made) = taciturn(status, body).await;
        mirror.configure(&format!(
            "[accounts.main]\nbase_url = \"{url}\"\napi_key = \"ak_sandbox\"\n[accounts.main.webhook]\n\
             secret = \"{SECRET}\"\n[webhooks]\nlisten = \"127.0.0.1:0\"\npublic_url = \"{PUBLIC}\"\n"
        ));
        let done = register(&mirror, &[]);
        assert_eq!(
            (&done["action"], &done["webhook_id"], &done["listed"]),
            (&json!("created"), &Value::Null, &json!(false)),
            "{status}"
        );
        // It is remembered, without an id.
        assert_eq!(register(&mirror, &[])["action"], "unchanged", "{status}");
        let made = std::mem::take(&mut *made.lock().unwrap());
        assert_eq!(made.len(), 1, "{status}: {made:?}");
        assert_eq!(made[0]["url"], super::OURS);
        let said = mirror.say(&["check"]);
        assert!(said.stdout.contains("as far as this warehouse remembers"), "{said:?}");
        mirror.database.execute("DELETE FROM webhook_subscriptions").await;
    }
}
