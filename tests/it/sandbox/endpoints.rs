//! Every endpoint of the guide, and its errors.

use allai_sync::sandbox::Options;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Caller, answer};

#[tokio::test]
async fn a_conversation_is_begun_answered_and_closed() {
    let caller = Caller::start(Options::for_tests(5, 2)).await;
    let new = json!({
        "chatbot_id": "cb_abc123",
        "visitor": {"name": "Ion Popescu", "email": "ion@exemplu.ro"},
        "channel": "api",
        "metadata": {"source": "mobile_app", "page": "/produse/laptop-x"},
    });
    let (status, made) = caller.send(Method::POST, "conversations", new).await;
    assert_eq!(status, 201);
    assert_eq!(
        (&made["status"], &made["visitor"]["name"]),
        (&json!("active"), &json!("Ion Popescu"))
    );
    let path = format!("conversations/{}", made["id"].as_str().unwrap());

    let said = json!({"content": "Hello, I'd like information about product X", "role": "visitor", "type": "text"});
    let (status, exchange) = caller.send(Method::POST, &format!("{path}/messages"), said).await;
    assert_eq!(status, 201);
    assert!(
        exchange["bot_response"]["content"]
            .as_str()
            .unwrap()
            .contains("17 in stock"),
        "{exchange}"
    );
    assert!(exchange["bot_response"]["confidence"].as_f64().unwrap() > 0.9);

    let messages = caller.rows(&format!("{path}/messages?limit=100")).await;
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0]["id"], exchange["visitor_message"]["id"]);
    assert_eq!(messages[1]["sources"], exchange["bot_response"]["sources"]);

    let close = json!({"status": "closed", "resolution": "resolved_by_bot"});
    let (status, closed) = caller.send(Method::PATCH, &path, close).await;
    assert_eq!(
        (status.as_u16(), &closed["resolution"]),
        (200, &json!("resolved_by_bot"))
    );
    assert!(closed["closed_at"].is_string());
    assert_eq!(caller.get(&path).await.1, closed);
    let (status, _) = caller
        .send(Method::POST, &format!("{path}/messages"), json!({"content": "ok"}))
        .await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_contact_is_created_found_changed_and_has_conversations() {
    let caller = Caller::start(Options::for_tests(5, 0)).await;
    let new = json!({
        "name": "Ștefan Țurcanu", "email": "stefan@exemplu.ro", "phone": "+40722123456",
        "tags": ["lead", "interested-product-x"], "custom_fields": {"company": "SRL Example"},
    });
    let (status, made) = caller.send(Method::POST, "contacts", new).await;
    assert_eq!(status, 201);
    let id = made["id"].as_str().unwrap();
    assert!(id.starts_with("cont_"));
    assert_eq!(
        caller.rows("contacts?search=STEFAN@exemplu.ro").await,
        std::slice::from_ref(&made)
    );

    let (status, changed) = caller
        .send(Method::PUT, &format!("contacts/{id}"), json!({"tags": ["vip"]}))
        .await;
    assert_eq!(status, 200);
    assert_eq!((&changed["tags"], &changed["name"]), (&json!(["vip"]), &made["name"]));

    let new = json!({"chatbot_id": "cb_abc123", "visitor": {"email": "stefan@exemplu.ro"}});
    let (_, conversation) = caller.send(Method::POST, "conversations", new).await;
    assert_eq!(conversation["contact_id"], id);
    assert_eq!(
        caller.rows(&format!("contacts/{id}/conversations")).await,
        [conversation]
    );
}

#[tokio::test]
async fn analytics_agree_with_the_account() {
    let caller = Caller::start(Options::for_tests(20, 80)).await;
    let (_, overview) = caller.get("analytics/overview?period=365d").await;
    assert_eq!(overview["total_conversations"], 80);
    let channels = overview["conversations_by_channel"].as_object().unwrap();
    assert_eq!(channels.values().filter_map(Value::as_u64).sum::<u64>(), 80);
    assert!(overview["avg_response_time_ms"].as_u64().unwrap() > 100);

    let (_, daily) = caller.get("analytics/conversations?period=365d&granularity=day").await;
    let days = daily["data"].as_array().unwrap();
    assert_eq!(days.len(), 365);
    assert_eq!(
        days.iter().filter_map(|day| day["conversations"].as_u64()).sum::<u64>(),
        80
    );

    let rated = caller.sandbox.account().snapshot().conversations;
    let rated = rated
        .iter()
        .filter(|row| row.value().unwrap()["satisfaction"].is_object())
        .count();
    let (_, satisfaction) = caller.get("analytics/satisfaction?period=365d").await;
    assert_eq!(satisfaction["total_ratings"], rated);
    assert_eq!(caller.get("analytics/overview?period=fortnight").await.0, 400);
}

#[tokio::test]
async fn a_session_token_reaches_its_own_conversations_only() {
    let mut caller = Caller::start(Options::for_tests(5, 5)).await;
    let ask = json!({"chatbot_id": "cb_abc123", "visitor_id": "visitor_xyz", "expires_in": 3600});
    let (status, token) = caller.send(Method::POST, "auth/session-token", ask).await;
    assert_eq!(status, 200);
    let foreign = caller.sandbox.account().conversation_ids().swap_remove(0);
    caller.key = token["session_token"].as_str().unwrap().to_owned();
    assert!(caller.key.starts_with("st_live_"));
    let (_, made) = caller
        .send(Method::POST, "conversations", json!({"chatbot_id": "cb_abc123"}))
        .await;
    assert_eq!(
        caller
            .get(&format!("conversations/{}", made["id"].as_str().unwrap()))
            .await
            .0,
        200
    );
    assert_eq!(caller.get(&format!("conversations/{foreign}")).await.0, 403);
    assert_eq!(caller.get("contacts").await.0, 403);
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said() {
    let caller = Caller::start(Options::for_tests(3, 3)).await;
    let id = caller.sandbox.account().contact_ids().swap_remove(0);
    let gets = [
        ("contacts?limit=0", 400, "limit"),
        ("contacts?limit=many", 400, "limit"),
        ("contacts?offset=-1", 400, "offset"),
        ("conversations?status=asleep", 400, "asleep"),
        ("conversations/conv_none", 404, "conv_none"),
        ("conversations/conv_none/messages", 404, "conv_none"),
        ("contacts/cont_none/conversations", 404, "cont_none"),
        (&format!("contacts/{id}"), 405, "PUT"),
        ("nothing", 404, "endpoint"),
        ("analytics/conversations?granularity=hour", 400, "hour"),
    ];
    for (path, status, word) in gets {
        let (got, body) = caller.get(path).await;
        assert_eq!(got, status, "{path}");
        assert!(
            body["error"]["message"].as_str().unwrap().contains(word),
            "{path}: {body}"
        );
    }
    let posts = [
        ("contacts", json!({"name": "X", "email": "no address"}), "email"),
        ("contacts", json!({}), "needs"),
        ("contacts", json!({"name": 5}), "name"),
        ("contacts", json!({"name": "X", "tags": "lead"}), "tags"),
        ("contacts", json!([1]), "object"),
        ("conversations", json!({"chatbot_id": "cb_unknown"}), "cb_unknown"),
        ("conversations", json!({}), "chatbot_id"),
        (
            "conversations",
            json!({"chatbot_id": "cb_abc123", "channel": "pigeon"}),
            "pigeon",
        ),
        (
            "webhooks",
            json!({"url": "http://example.com/x", "events": ["lead.created"], "secret": "s"}),
            "https",
        ),
        (
            "webhooks",
            json!({"url": "https://example.com/x", "events": ["lead.lost"], "secret": "s"}),
            "lead.lost",
        ),
        (
            "webhooks",
            json!({"url": "https://example.com/x", "events": ["lead.created"]}),
            "secret",
        ),
        ("auth/session-token", json!({"chatbot_id": "cb_abc123"}), "visitor_id"),
    ];
    for (path, body, word) in posts {
        let (status, answer) = caller.send(Method::POST, path, body.clone()).await;
        assert_eq!(status, 400, "{path} {body}");
        assert!(
            answer["error"]["message"].as_str().unwrap().contains(word),
            "{path} {body}: {answer}"
        );
    }
    let conversation = caller.sandbox.account().conversation_ids().swap_remove(0);
    caller.sandbox.account().reopen(&conversation);
    let (status, _) = caller
        .send(
            Method::POST,
            &format!("conversations/{conversation}/messages"),
            json!({}),
        )
        .await;
    assert_eq!(status, 400);
    let huge = json!({"name": "x".repeat(2 << 20)});
    assert_eq!(caller.send(Method::POST, "contacts", huge).await.0, 413);
}

#[tokio::test]
async fn a_key_does_what_it_may_and_no_more() {
    let mut caller = Caller::start(Options::for_tests(3, 3)).await;
    let keys = caller.sandbox.keys().clone();
    let hook = json!({"url": "https://example.com/x", "events": ["lead.created"], "secret": "s"});
    let cases = [
        (&keys.read, [200, 403, 403]),
        (&keys.write, [403, 201, 403]),
        (&keys.admin, [403, 403, 201]),
    ];
    for (key, [read, write, admin]) in cases {
        caller.key.clone_from(key);
        assert_eq!(caller.get("contacts").await.0, read);
        assert_eq!(caller.get("analytics/overview").await.0, read);
        assert_eq!(
            caller.send(Method::POST, "contacts", json!({"name": "X"})).await.0,
            write
        );
        assert_eq!(caller.send(Method::POST, "webhooks", hook.clone()).await.0, admin);
    }
    caller.key = "ak_nobody".to_owned();
    assert_eq!(caller.get("contacts").await.0, 401);
    caller.key.clone_from(&keys.full);
    caller.sandbox.revoke(&keys.full);
    let (status, body) = caller.get("contacts").await;
    assert_eq!(status, 401);
    assert!(body["error"]["message"].as_str().unwrap().contains("revoked"));
    let without = caller.client.get(caller.sandbox.base_url().join("contacts").unwrap());
    assert_eq!(answer(without).await.0, 401);
}
