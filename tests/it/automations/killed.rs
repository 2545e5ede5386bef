//! The program is killed at every request that has an effect: before it, while it is carried out, and after. Each effect is seen
//! once all the same, by AllAI, by the CRM and by whoever is sent a request.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use allai_sync::sandbox::{ContactDraft, ConversationDraft, SnapshotRow};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shop;
use crate::daemon::{Daemon, until};
use crate::support::database::Database;
use crate::support::on_both_databases;
use crate::support::trap::{Moment, Trap};
use crate::webhooks::{register, say};

on_both_databases! {
    killed_at_every_effect_each_happens_once,
}

/// Every kind of effect there is, but those that are mail and messages.
const RULES: &str = r#"
[connectors.crm]
kind = "rest"
url = "COMPANY"
auth = "none"
[connectors.crm.contacts]
email_field = "email"
fields = { name = {}, email = {} }
find_by_id = { path = "contacts/{{ key }}", items = "data" }
find_by_email = { path = "contacts", query = { email = "{{ key }}" }, items = "data" }
create = { path = "contacts", body = { contact = "{{ fields }}" }, columns = { id = "data.id" } }
update = { path = "contacts/{{ id }}", body = { contact = "{{ fields }}" } }
[[automations]]
name = "all"
on = ["message.received"]
[[automations.steps]]
do = "crm"
connector = "crm"
entity = "contact"
key = { email = "{{ contact.email }}" }
fields = { name = "{{ contact.name }}" }
[[automations.steps]]
do = "contact"
add_tags = ["in-crm"]
custom_fields = { crm_id = "{{ crm.id }}" }
[[automations.steps]]
do = "http"
url = "COMPANY/tickets"
allow = ["127.0.0.1"]
repeat = true
body = { said = "{{ message.content }}" }
[[automations.steps]]
do = "reply"
text = "Bună, {{ contact.name }}!"
[[automations.steps]]
do = "close"
resolution = "resolved_by_bot"
"#;

/// A CRM, and a help desk that keeps a ticket for each key.
#[derive(Default)]
struct Company {
    contacts: Mutex<Vec<Value>>,
    tickets: Mutex<BTreeSet<String>>,
}

#[derive(Deserialize)]
struct Which {
    email: String,
}

#[expect(clippy::unused_async, reason = "handlers are")]
impl Company {
    async fn start() -> (Arc<Self>, String) {
        let company = Arc::<Self>::default();
        let routes = axum::Router::new()
            .route("/contacts", get(Self::find).post(Self::create))
            .route("/contacts/{id}", get(Self::one).post(Self::update))
            .route("/tickets", post(Self::ticket))
            .with_state(Arc::clone(&company));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        (company, url)
    }

    async fn find(State(company): State<Arc<Self>>, Query(which): Query<Which>) -> Json<Value> {
        let contacts = company.contacts.lock().unwrap();
        let found: Vec<&Value> = contacts
            .iter()
            .filter(|contact| contact["email"] == which.email)
            .collect();
        Json(json!({"data": found}))
    }

    async fn one(State(company): State<Arc<Self>>, Path(id): Path<String>) -> Json<Value> {
        let contacts = company.contacts.lock().unwrap();
        let found: Vec<&Value> = contacts.iter().filter(|contact| contact["id"] == id).collect();
        Json(json!({"data": found}))
    }

    async fn create(State(company): State<Arc<Self>>, Json(body): Json<Value>) -> Json<Value> {
        let mut contacts = company.contacts.lock().unwrap();
        let mut contact = body["contact"].clone();
        contact["id"] = contacts.len().to_string().into();
        contacts.push(contact.clone());
        Json(json!({"data": contact}))
    }

    async fn update(State(company): State<Arc<Self>>, Path(id): Path<String>, Json(body): Json<Value>) -> Json<Value> {
        let mut contacts = company.contacts.lock().unwrap();
        let contact = contacts.iter_mut().find(|contact| contact["id"] == id).unwrap();
        for (name, value) in body["contact"].as_object().unwrap() {
            contact[name] = value.clone();
        }
        Json(json!({"data": contact}))
    }

    async fn ticket(State(company): State<Arc<Self>>, headers: HeaderMap) -> Json<Value> {
        let key = headers["idempotency-key"].to_str().unwrap().to_owned();
        let is_new = company.tickets.lock().unwrap().insert(key);
        Json(json!({"new": is_new}))
    }
}

async fn killed_at_every_effect_each_happens_once(database: Database) {
    let (company, url) = Company::start().await;
    let trap = Trap::new();
    let shop = Shop::open(database, &RULES.replace("COMPANY", &trap.before(&url).await)).await;
    let api = shop.mirror.sandbox.base_url();
    let api = api.as_str().trim_end_matches("/v2/").to_owned();
    let config = std::fs::read_to_string(shop.mirror.config_path()).unwrap();
    shop.mirror
        .write_config(&config.replace(&api, &trap.before(&api).await));
    register(&shop.mirror, &shop.hook).await;
    let visitors = visitors(&shop);
    shop.mirror.sync().await;
    let mut daemon = Daemon::start(&shop.mirror).await;
    let mut visitors = visitors.iter().enumerate();
    for moment in [Moment::Before, Moment::Within, Moment::After] {
        for nth in 0.. {
            let (done, (contact, conversation)) = visitors.next().unwrap();
            trap.set(nth, moment);
            say(&shop.mirror, conversation, "Bună!").await;
            tokio::select! {
                () = trap.sprung() => {
                    daemon.process.kill();
                    daemon = Daemon::start(&shop.mirror).await;
                }
                () = until_done(&shop, done + 1) => {}
            }
            until_done(&shop, done + 1).await;
            let at = format!("{moment:?} effect {nth}: {}", daemon.log());
            assert_eq!(shop.answers(conversation), ["Bună, Ana!"], "{at}");
            let snapshot = shop.mirror.sandbox.account().snapshot();
            let contact = row(&snapshot.contacts, contact);
            let records = company.contacts.lock().unwrap().clone();
            let mut records = records.iter().filter(|record| record["email"] == contact["email"]);
            let id = &records.next().unwrap()["id"];
            assert_eq!(records.next(), None, "{at}");
            assert_eq!(contact["tags"], json!(["nou", "in-crm"]), "{at}");
            assert_eq!(contact["custom_fields"], json!({"oras": "Cluj", "crm_id": id}), "{at}");
            assert_eq!(row(&snapshot.conversations, conversation)["status"], "closed", "{at}");
            assert_eq!(company.tickets.lock().unwrap().len(), done + 1, "{at}");
            if trap.waits() {
                assert!(nth >= 5, "only {nth} effects");
                break;
            }
        }
    }
}

/// Contacts, each with a conversation: more than there are effects to be killed at.
fn visitors(shop: &Shop) -> Vec<(String, String)> {
    let account = shop.mirror.sandbox.account();
    let visitor = |number| {
        let contact = account.insert_contact(ContactDraft {
            name: Some("Ana".to_owned()),
            email: Some(format!("v{number}@exemplu.ro")),
            tags: Some(vec!["nou".to_owned()]),
            custom_fields: Some(json!({"oras": "Cluj"})),
            ..ContactDraft::default()
        });
        let conversation = account.insert_conversation(ConversationDraft {
            contact_id: Some(contact.clone()),
            ..ConversationDraft::default()
        });
        (contact, conversation)
    };
    (0..40).map(visitor).collect()
}

/// The row that has an id.
fn row(rows: &[SnapshotRow], id: &str) -> Value {
    let mut values = rows.iter().filter_map(SnapshotRow::value);
    values.find(|row| row["id"] == *id).unwrap()
}

/// Waits until so many runs are done.
async fn until_done(shop: &Shop, runs: usize) {
    until("the run is done", async || {
        let dead = "SELECT problem FROM automation_runs WHERE status = 'dead'";
        assert_eq!(shop.mirror.database.rows(dead).await, []);
        shop.runs("all", "done").await == runs as u64
    })
    .await;
}
