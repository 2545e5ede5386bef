//! Lists: pages, envelopes, orders, oddities, churn.

use std::collections::HashSet;

use allai_sync::sandbox::{
    ChurnKind, ContactDraft, Envelope, MessageOrder, MutationKinds, OddKind, Options, Order, Sandbox, SnapshotRow,
    Totals,
};
use serde_json::{Value, json};

use super::Caller;

#[tokio::test]
async fn pages_make_up_the_whole_account() {
    let caller = Caller::start(Options::for_tests(250, 40)).await;
    let snapshot = caller.sandbox.account().snapshot();
    let mut contacts = Vec::new();
    for offset in [0, 100, 200, 300] {
        contacts.extend(caller.rows(&format!("contacts?limit=100&offset={offset}")).await);
    }
    let expected: Vec<Value> = snapshot.contacts.iter().filter_map(SnapshotRow::value).collect();
    assert_eq!(contacts, expected);
    for (id, messages) in &snapshot.messages {
        let expected: Vec<Value> = messages.iter().filter_map(SnapshotRow::value).collect();
        assert_eq!(
            caller.rows(&format!("conversations/{id}/messages?limit=100")).await,
            expected
        );
    }
    let active = caller.rows("conversations?status=active&limit=100").await;
    let closed = caller.rows("conversations?status=closed&limit=100").await;
    assert_eq!(active.len() + closed.len(), 40);
    assert!(active.iter().all(|row| row["status"] == "active"));
}

#[tokio::test]
async fn the_limit_is_clamped_silently_and_has_a_default() {
    let mut options = Options::for_tests(50, 0);
    (options.shape.max_limit, options.shape.default_limit) = (20, 7);
    let caller = Caller::start(options).await;
    assert_eq!(caller.rows("contacts?limit=100").await.len(), 20);
    assert_eq!(caller.rows("contacts").await.len(), 7);
    assert_eq!(caller.rows("contacts?limit=100&offset=45").await.len(), 5);
    assert_eq!(caller.rows("contacts?offset=50").await.len(), 0);
    let row = caller
        .rows("contacts?limit=1&fields=id,name,nothing")
        .await
        .swap_remove(0);
    assert_eq!(row.as_object().unwrap().keys().collect::<Vec<_>>(), ["id", "name"]);
}

#[tokio::test]
async fn every_envelope_and_every_place_of_the_total() {
    let caller = Caller::start(Options::for_tests(5, 0)).await;
    let set = |envelope, totals, has_more| {
        caller.sandbox.set_options(|options| {
            (options.shape.envelope, options.shape.totals, options.shape.has_more) = (envelope, totals, has_more);
        });
    };
    let pointers = [
        (Envelope::Bare, ""),
        (Envelope::Data, "/data"),
        (Envelope::Items, "/items"),
        (Envelope::Resource, "/contacts"),
        (Envelope::Nested, "/data/contacts"),
    ];
    for (envelope, pointer) in pointers {
        set(envelope, Totals::Beside, true);
        let (_, body) = caller.get("contacts?limit=2").await;
        assert_eq!(
            body.pointer(pointer).and_then(Value::as_array).map(Vec::len),
            Some(2),
            "{body}"
        );
    }
    let places = [
        (Totals::Beside, ""),
        (Totals::Meta, "/meta"),
        (Totals::Pagination, "/pagination"),
    ];
    for (totals, place) in places {
        set(Envelope::Items, totals, true);
        let (_, body) = caller.get("contacts?limit=2&offset=1").await;
        assert_eq!(body.pointer(&format!("{place}/total")), Some(&json!(5)), "{body}");
        assert_eq!(body.pointer(&format!("{place}/has_more")), Some(&json!(true)), "{body}");
    }
    set(Envelope::Data, Totals::None, false);
    assert_eq!(caller.get("contacts").await.1.as_object().unwrap().len(), 1);
    set(Envelope::Data, Totals::Wrong, false);
    assert_ne!(caller.get("contacts").await.1["total"], json!(5));
}

#[tokio::test]
async fn lists_come_in_the_order_asked_for() {
    let caller = Caller::start(Options::for_tests(60, 10)).await;
    let account = caller.sandbox.account();
    let oldest = account.contact_ids().pop().unwrap();
    account.touch_contact(&oldest);
    let column = |rows: &[Value], name: &str| -> Vec<String> {
        rows.iter().map(|row| row[name].as_str().unwrap().to_owned()).collect()
    };
    let cases = [
        (Order::CreatedDesc, "created_at", true),
        (Order::CreatedAsc, "created_at", false),
        (Order::UpdatedDesc, "updated_at", true),
        (Order::UpdatedAsc, "updated_at", false),
        (Order::Id, "id", false),
    ];
    for (order, name, descending) in cases {
        caller.sandbox.set_options(|options| options.shape.order = order);
        let mut values = column(&caller.rows("contacts?limit=100").await, name);
        if descending {
            values.reverse();
        }
        assert!(values.is_sorted(), "{order:?}");
    }
    caller
        .sandbox
        .set_options(|options| options.shape.order = Order::UpdatedDesc);
    assert_eq!(caller.rows("contacts?limit=1").await[0]["id"], json!(oldest));

    let conversation = account.conversation_ids().swap_remove(0);
    let path = format!("conversations/{conversation}/messages");
    let mut forwards = caller.rows(&path).await;
    caller
        .sandbox
        .set_options(|options| options.shape.message_order = MessageOrder::NewestFirst);
    forwards.reverse();
    assert_eq!(caller.rows(&path).await, forwards);
}

#[tokio::test]
async fn members_may_come_in_another_order_in_every_response() {
    let mut options = Options::for_tests(3, 0);
    options.shape.shuffle_members = true;
    let caller = Caller::start(options).await;
    let mut texts = HashSet::new();
    for _ in 0..5 {
        texts.insert(
            caller
                .request(reqwest::Method::GET, "contacts")
                .send()
                .await
                .unwrap()
                .text()
                .await
                .unwrap(),
        );
    }
    assert!(texts.len() > 1);
}

#[tokio::test]
async fn odd_rows_are_odd_and_still_json() {
    let mut options = Options::for_tests(300, 60);
    options.account.odd_rows = 1.0;
    // Not the megabyte: it says nothing here but takes its time.
    options.account.odd_kinds = vec![
        OddKind::Missing,
        OddKind::Null,
        OddKind::OtherType,
        OddKind::Unknown,
        OddKind::NumericId,
        OddKind::NoId,
        OddKind::Nul,
        OddKind::HugeNumber,
        OddKind::LoneSurrogate,
        OddKind::Deep,
        OddKind::Twice,
        OddKind::Time,
    ];
    let caller = Caller::start(options).await;
    let snapshot = caller.sandbox.account().snapshot();
    let text: String = snapshot.contacts.iter().map(|row| row.json.get()).collect();
    for sign in ["\\u0000", "\\ud83d", "1e400", "lead_score", "[[[[["] {
        assert!(text.contains(sign), "{sign}");
    }
    assert!(snapshot.contacts.iter().any(|row| row.id().is_none()));
    let numeric = snapshot
        .conversations
        .iter()
        .filter_map(SnapshotRow::id)
        .find(|id| id.parse::<u64>().is_ok());
    let path = format!("conversations/{}/messages", numeric.unwrap());
    let response = caller.request(reqwest::Method::GET, &path).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let raw = caller
        .request(reqwest::Method::GET, "contacts?limit=100")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    serde_json::from_str::<&serde_json::value::RawValue>(&raw).unwrap();
}

#[tokio::test]
async fn the_same_seed_gives_the_same_account_and_the_same_churn() {
    let at = chrono::DateTime::from_timestamp(1_790_000_000, 0).unwrap();
    let text = |seed: u64, churn: u64| {
        let clock = allai_sync::clock::VirtualClock::new(at);
        let mut options = Options::for_tests(100, 30);
        options.seed = seed;
        let sandbox = Sandbox::in_process(options, clock.shared());
        sandbox.account().mutate(churn, 200, &MutationKinds::default());
        format!("{:?}", sandbox.account().snapshot())
    };
    assert_eq!(text(1, 1), text(1, 1));
    assert_ne!(text(1, 1), text(2, 1));
    assert_ne!(text(1, 1), text(1, 2));
}

#[tokio::test]
async fn the_account_changes_between_requests() {
    let mut options = Options::for_tests(100, 20);
    options.churn.churn = 5;
    options.churn.churn_kinds = vec![ChurnKind::Insert, ChurnKind::Delete];
    let caller = Caller::start(options).await;
    let before = caller.sandbox.account().contact_ids();
    for _ in 0..10 {
        caller.rows("contacts?limit=1").await;
    }
    assert_ne!(caller.sandbox.account().contact_ids(), before);
    caller.sandbox.set_options(|options| options.churn.churn = 0);
    let quiet = caller.sandbox.account().contact_ids();
    caller.rows("contacts?limit=1").await;
    assert_eq!(caller.sandbox.account().contact_ids(), quiet);
}

#[tokio::test]
async fn a_test_can_do_to_the_account_whatever_it_needs() {
    let caller = Caller::start(Options::for_tests(0, 0)).await;
    let account = caller.sandbox.account();
    let id = account.insert_contact(ContactDraft {
        name: Some("Ana".to_owned()),
        ..ContactDraft::default()
    });
    assert!(account.distort_contact(&id, "name", Some("{\"first\":1.10}")));
    assert!(
        account.snapshot().contacts[0]
            .json
            .get()
            .contains("\"name\":{\"first\":1.10}")
    );
    assert!(account.delete_contact(&id));
    assert!(!account.delete_contact(&id));
    assert_eq!(caller.rows("contacts").await.len(), 0);
}

#[tokio::test]
async fn a_large_account_serves_its_pages_at_once() {
    let at = chrono::DateTime::from_timestamp(1_790_000_000, 0).unwrap();
    let clock = allai_sync::clock::VirtualClock::new(at);
    let sandbox = Sandbox::in_process(Options::for_tests(20_000, 0), clock.shared());
    let call = sandbox.in_process_transport(std::time::Duration::from_secs(30));
    for offset in (0..20_000).step_by(100) {
        let request = http::Request::get(format!("/v2/contacts?limit=100&offset={offset}"))
            .header("authorization", format!("Bearer {}", sandbox.keys().read))
            .body(bytes::Bytes::new())
            .unwrap();
        assert_eq!(call(request).await.unwrap().status(), 200);
    }
    assert_eq!(sandbox.stats().requests, 200);
}
