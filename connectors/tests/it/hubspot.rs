//! The HubSpot connector, against a fake of what is documented of HubSpot.

use std::collections::BTreeSet;
use std::time::Duration;

use allai_connectors::hubspot::{Hubspot, SEARCH_RATE};
use allai_connectors::{Connector, Crm, Entity, Error, FieldType, Fields, Key};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::conformance::{self, Desk, drained, hostile};
use crate::support::fake::Reply;
use crate::support::hubspot::{Fake, TOKEN, short};
use crate::support::words::{are_good, bad};

fn fields(pairs: &[(&str, Value)]) -> Fields {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect()
}

fn email(address: &str) -> Key {
    Key::Email(address.to_owned())
}

fn phone(number: &str) -> Key {
    Key::Phone(number.to_owned())
}

fn reference(text: &str) -> Key {
    Key::Reference(text.to_owned())
}

async fn wait(duration: Duration) {
    #[expect(clippy::disallowed_methods, reason = "a search lags behind by the machine's clock")]
    tokio::time::sleep(duration).await;
}

#[tokio::test]
async fn its_contacts_are_a_crm_like_any_other() {
    let fake = Fake::short().await;
    for name in ["Dublu", "Dublura"] {
        fake.put("contacts", json!({"firstname": name, "phone": "+40 711 000 111"}), None);
    }
    let hubspot = fake.connector(&json!({}));
    for key in [
        email("conformance@example.ro"),
        phone("+40722999888"),
        reference("allai:conformance"),
    ] {
        let desk = Desk {
            entity: Entity::Contact,
            key,
            text: "firstname".to_owned(),
            needed: Fields::new(),
            shared: Some(phone("+40711000111")),
        };
        conformance::crm(&hubspot, &desk).await;
    }
    fake.unblocked();
}

#[tokio::test]
async fn its_leads_are_a_crm_like_any_other() {
    let fake = Fake::short().await;
    fake.put("contacts", json!({"email": "client@example.ro"}), None);
    let hubspot = fake.connector(&json!({}));
    for key in [email("client@example.ro"), reference("allai:conformance")] {
        let desk = Desk {
            entity: Entity::Lead,
            key,
            text: "dealname".to_owned(),
            needed: fields(&[("amount", json!("12.50"))]),
            shared: None,
        };
        conformance::crm(&hubspot, &desk).await;
    }
    fake.unblocked();
}

#[tokio::test]
async fn a_lost_answer_duplicates_nothing_although_the_search_does_not_know_of_it_yet() {
    let fake = Fake::short().await;
    fake.put("contacts", json!({"email": "client@example.ro"}), None);
    fake.state().lag = short().search_lag / 2;
    let hubspot = fake.connector(&json!({}));
    wait(short().search_lag).await;
    let name = fields(&[("firstname", json!("Ana"))]);
    let deal = fields(&[("dealname", json!("Pompa"))]);
    // What is created by a unique value is asked for again at once.
    for (entity, key, values) in [
        (Entity::Contact, email("ana@example.ro"), &name),
        (Entity::Contact, reference("allai:7"), &name),
        (Entity::Lead, reference("allai:7"), &deal),
    ] {
        fake.state().lose = 1;
        hubspot.upsert(entity, &key, values).await.unwrap();
        assert!(!hubspot.upsert(entity, &key, values).await.unwrap().created);
        assert_eq!(hubspot.find(entity, &key).await.unwrap().len(), 1);
    }
    assert_eq!((fake.count("contacts"), fake.count("deals")), (3, 1));
    // What is not: the caller is told, and whoever asks again waits until the search has caught up.
    for (entity, key, values) in [
        (Entity::Contact, phone("+40722123456"), &name),
        (Entity::Lead, email("client@example.ro"), &deal),
    ] {
        fake.state().lose = 1;
        let error = hubspot.upsert(entity, &key, values).await.unwrap_err();
        assert!(
            matches!(
                error,
                Error::Transient {
                    may_have_happened: true,
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(!hubspot.upsert(entity, &key, values).await.unwrap().created);
    }
    assert_eq!((fake.count("contacts"), fake.count("deals")), (4, 2));
    // Another process knows nothing of what the one before it did.
    fake.state().lose = 1;
    let key = phone("+40733000111");
    hubspot.upsert(Entity::Contact, &key, &name).await.unwrap_err();
    let next = fake.connector(&json!({}));
    assert!(!next.upsert(Entity::Contact, &key, &name).await.unwrap().created);
    assert_eq!(fake.count("contacts"), 5);
    fake.unblocked();
}

#[tokio::test]
async fn what_was_created_is_found_at_once_although_the_search_lags_behind() {
    let fake = Fake::short().await;
    fake.state().lag = short().search_lag / 2;
    let hubspot = fake.connector(&json!({}));
    let key = phone("+40722123456");
    let created = hubspot
        .upsert(Entity::Contact, &key, &fields(&[("firstname", json!("Ana"))]))
        .await
        .unwrap();
    let found = hubspot.find(Entity::Contact, &phone("0040 722 123 456")).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].id, created.id);
    // A search that knows an old number only does not mislead.
    wait(short().search_lag).await;
    let changed = fields(&[("phone", json!("+40799000000"))]);
    hubspot
        .upsert(Entity::Contact, &Key::Id(created.id), &changed)
        .await
        .unwrap();
    assert!(hubspot.find(Entity::Contact, &key).await.unwrap().is_empty());
}

#[tokio::test]
async fn two_upserts_at_once_create_one_contact() {
    let fake = Fake::short().await;
    let hubspot = fake.connector(&json!({}));
    for key in [email("deodata@example.ro"), phone("+40722000999")] {
        let name = fields(&[("firstname", json!("Deodata"))]);
        let (one, two) = tokio::join!(
            hubspot.upsert(Entity::Contact, &key, &name),
            hubspot.upsert(Entity::Contact, &key, &name)
        );
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!(one.id, two.id);
        assert!(one.created != two.created);
    }
    assert_eq!(fake.count("contacts"), 2);
}

#[tokio::test]
async fn a_record_keeps_the_key_by_which_it_was_named() {
    let fake = Fake::short().await;
    let hubspot = fake.connector(&json!({}));
    let ana = email("ana@example.ro");
    let created = hubspot
        .upsert(Entity::Contact, &ana, &fields(&[("email", json!("ANA@example.ro"))]))
        .await
        .unwrap();
    let other = fields(&[("email", json!("other@example.ro"))]);
    for (key, values, field) in [
        (ana.clone(), other.clone(), "email"),
        (reference("a"), fields(&[("allai_id", json!("b"))]), "allai_id"),
        (
            phone("+40722123456"),
            fields(&[("phone", json!("+40799000000")), ("mobilephone", json!(""))]),
            "phone",
        ),
    ] {
        let error = hubspot.upsert(Entity::Contact, &key, &values).await.unwrap_err();
        assert!(
            matches!(&error, Error::Rejected { field: Some(named), .. } if named == field),
            "{key:?}: {error:?}"
        );
    }
    let by_id = Key::Id(created.id);
    hubspot.upsert(Entity::Contact, &by_id, &other).await.unwrap();
    assert!(hubspot.find(Entity::Contact, &ana).await.unwrap().is_empty());
    // The other number is free: it becomes what the contact is known by.
    let values = fields(&[("phone", json!("+40799000000"))]);
    hubspot
        .upsert(Entity::Contact, &phone("+40722123456"), &values)
        .await
        .unwrap();
    let found = hubspot.find(Entity::Contact, &phone("+40722123456")).await.unwrap();
    assert_eq!(found[0].fields["mobilephone"], "+40722123456");
    assert_eq!(found[0].fields["phone"], "+40799000000");
}

#[tokio::test]
async fn what_somebody_else_has_is_a_conflict_and_what_hubspot_refuses_names_its_field() {
    let fake = Fake::short().await;
    fake.put("contacts", json!({"email": "taken@example.ro"}), None);
    let hubspot = fake.connector(&json!({}));
    let taken = fields(&[("email", json!("taken@example.ro"))]);
    let error = hubspot
        .upsert(Entity::Contact, &phone("+40722123456"), &taken)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    let error = hubspot
        .upsert(Entity::Contact, &email("a<b@example.ro"), &Fields::new())
        .await
        .unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(
        matches!(&error, Error::Rejected { field: Some(field), .. } if field == "email"),
        "{shown}"
    );
    assert!(shown.contains("INVALID_EMAIL") && !shown.contains("a<b"), "{shown}");
    assert_eq!(fake.count("contacts"), 1);
}

#[tokio::test]
async fn a_lead_belongs_to_the_contact_that_has_the_key_and_a_closed_one_is_left_alone() {
    let fake = Fake::short().await;
    let hubspot = fake.connector(&json!({}));
    let key = email("client@example.ro");
    let deal = fields(&[("dealname", json!("Pompa")), ("amount", json!("8999.00"))]);
    let error = hubspot.upsert(Entity::Lead, &key, &deal).await.unwrap_err();
    assert!(
        matches!(&error, Error::Rejected { field: Some(field), .. } if field == "contact"),
        "{error:?}"
    );
    hubspot.upsert(Entity::Contact, &key, &Fields::new()).await.unwrap();
    let first = hubspot.upsert(Entity::Lead, &key, &deal).await.unwrap();
    assert!(first.created);
    let found = hubspot.find(Entity::Lead, &key).await.unwrap();
    assert_eq!(found[0].fields["amount"], "8999.00", "money is exact");
    assert_eq!(found[0].fields["dealstage"], "new", "as configured");
    let lost = fields(&[("dealstage", json!("lost"))]);
    hubspot
        .upsert(Entity::Lead, &Key::Id(first.id.clone()), &lost)
        .await
        .unwrap();
    let second = hubspot.upsert(Entity::Lead, &key, &deal).await.unwrap();
    assert!(second.created && second.id != first.id);
    assert_eq!(hubspot.find(Entity::Lead, &key).await.unwrap().len(), 2);
}

#[tokio::test]
async fn fields_are_told_with_their_types_and_only_what_differs_is_written() {
    let fake = Fake::short().await;
    let hubspot = fake.connector(&json!({}));
    let described = hubspot.describe(Entity::Contact).await.unwrap();
    let takes = |name: &str| {
        described
            .iter()
            .find(|field| field.name == name)
            .map(|field| &field.takes)
    };
    assert_eq!(takes("annualrevenue"), Some(&FieldType::Number));
    assert_eq!(takes("birthday"), Some(&FieldType::Date));
    let stages = FieldType::Choice(vec!["lead".to_owned(), "customer".to_owned()]);
    assert_eq!(takes("lifecyclestage"), Some(&stages));
    assert_eq!(takes("hs_internal"), None, "what is hidden is not told");
    let leads = hubspot.describe(Entity::Lead).await.unwrap();
    let required: Vec<&str> = leads
        .iter()
        .filter(|field| field.required)
        .map(|field| field.name.as_str())
        .collect();
    assert_eq!(required, ["dealname"], "there is a stage by default");
    let key = email("ana@example.ro");
    let mut values = fields(&[
        ("annualrevenue", json!("1200.50")),
        ("phone", json!("+40722123456")),
        ("interests", json!("pumps;boilers")),
        ("birthday", json!("1980-01-31")),
    ]);
    let id = hubspot.upsert(Entity::Contact, &key, &values).await.unwrap().id;
    let before = fake.unblocked().0;
    values.insert("annualrevenue".to_owned(), json!(1200.5));
    values.insert("phone".to_owned(), json!("0040 722 123 456"));
    values.insert("interests".to_owned(), json!("boilers;pumps"));
    hubspot.upsert(Entity::Contact, &key, &values).await.unwrap();
    assert_eq!(fake.unblocked().0, before + 1, "it was read, and not written");
    values.insert("lifecyclestage".to_owned(), json!("customer"));
    hubspot.upsert(Entity::Contact, &key, &values).await.unwrap();
    let last = fake.state().asked.last().unwrap().clone();
    assert_eq!(last.method, "PATCH");
    assert!(last.path.ends_with(&format!("/contacts/{id}")));
    assert_eq!(last.body, r#"{"properties":{"lifecyclestage":"customer"}}"#);
}

#[tokio::test]
async fn more_changes_than_can_be_paged_through_all_come_once_and_in_their_order() {
    let fake = Fake::short().await;
    let time = |number: i64| DateTime::<Utc>::from_timestamp_millis(1_700_000_000_000 + number).unwrap();
    // An import of 300 in one millisecond, more than 10,000 in all.
    for number in 0..10_300_i64 {
        let at = if (5_000..5_300).contains(&number) {
            5_000
        } else {
            number
        };
        fake.put("contacts", json!({"firstname": "Import"}), Some(time(at)));
    }
    let hubspot = fake.connector(&json!({}));
    let (ids, cursor) = drained(&hubspot, Entity::Contact, None).await;
    assert_eq!(ids.len(), 10_300, "each once");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 10_300);
    let (again, cursor) = drained(&hubspot, Entity::Contact, Some(&cursor)).await;
    assert!(again.is_empty(), "what is old does not come again");
    let changed = fields(&[("firstname", json!("Changed"))]);
    hubspot
        .upsert(Entity::Contact, &Key::Id(ids[7].clone()), &changed)
        .await
        .unwrap();
    let (after, _) = drained(&hubspot, Entity::Contact, Some(&cursor)).await;
    assert_eq!(after, [ids[7].clone()]);
    fake.unblocked();
}

#[tokio::test]
async fn what_the_search_learns_late_comes_all_the_same() {
    let fake = Fake::short().await;
    let hubspot = fake.connector(&json!({}));
    let first = fake.put("contacts", json!({"firstname": "First"}), None);
    let changes = hubspot.changes_since(Entity::Contact, None).await.unwrap();
    assert_eq!(changes.records[0].id, first);
    let before = changes.records[0].changed_at.unwrap() - TimeDelta::milliseconds(50);
    // Changed before what was read, and not in the index then.
    let late = fake.put("contacts", json!({"firstname": "Late"}), Some(before));
    let (ids, cursor) = drained(&hubspot, Entity::Contact, Some(&changes.cursor)).await;
    assert_eq!(ids, [late, first], "what is young comes again");
    wait(short().search_lag * 5).await;
    let (_, cursor) = drained(&hubspot, Entity::Contact, Some(&cursor)).await;
    assert!(drained(&hubspot, Entity::Contact, Some(&cursor)).await.0.is_empty());
    fake.unblocked();
}

#[tokio::test]
async fn neither_limit_is_ever_met() {
    // In a twentieth of the time: more than one period's requests, and searches among them.
    let fake = Fake::short().await;
    let hubspot = fake.connector(&json!({}));
    let ask = async |number: usize| {
        let key = match number % 10 {
            0 => phone(&format!("+407220{number:05}")),
            _ => email(&format!("a{number}@example.ro")),
        };
        assert!(hubspot.find(Entity::Contact, &key).await.unwrap().is_empty());
    };
    join_all((0..600).map(ask)).await;
    assert_eq!(fake.unblocked(), (601, 60));
    // The vendor's own.
    let fake = Fake::real().await;
    let hubspot = Hubspot::new(fake.config(&json!({"requests_per_10s": 190}))).unwrap();
    let ask = async |number: usize| {
        let key = match number % 3 {
            0 => phone(&format!("+407220{number:05}")),
            _ => email(&format!("a{number}@example.ro")),
        };
        assert!(hubspot.find(Entity::Contact, &key).await.unwrap().is_empty());
    };
    join_all((0..30).map(ask)).await;
    assert_eq!(fake.unblocked(), (31, 10));
    assert_eq!(SEARCH_RATE.requests.get(), 4);
}

#[tokio::test]
async fn who_has_met_a_limit_is_left_alone_for_as_long_as_that_takes() {
    let daily = json!({"status": "error", "message": "You have reached your daily limit.", "errorType": "RATE_LIMIT",
        "policyName": "DAILY"});
    for (reply, seconds) in [
        (Reply::Answer((429, daily.to_string())), 900),
        (
            Reply::WithHeaders((429, daily.to_string()), vec![("Retry-After", "60".to_owned())]),
            60,
        ),
    ] {
        let fake = Fake::short().await;
        fake.state().instead = Some(reply);
        let hubspot = fake.connector(&json!({}));
        for _ in 0..3 {
            let error = hubspot.find(Entity::Contact, &email("a@example.ro")).await.unwrap_err();
            assert!(
                matches!(error, Error::RateLimited { retry_after: Some(wait), .. } if wait.as_secs() >= seconds - 5),
                "{error:?}"
            );
        }
        assert_eq!(fake.state().asked.len(), 1);
        assert!(bad(&hubspot.check().await, "limit").1.contains("wait"));
    }
}

#[tokio::test]
async fn hostile_keys_are_only_ever_values() {
    let fake = Fake::short().await;
    let hubspot = fake.connector(&json!({}));
    for text in hostile() {
        for key in [Key::Id(text.clone()), reference(&text), email(&text), phone(&text)] {
            let found = hubspot.find(Entity::Contact, &key).await.unwrap();
            assert!(found.is_empty(), "{key:?}");
        }
    }
    for asked in &fake.state().asked {
        let known = ["/properties/contacts", "/contacts/batch/read", "/contacts/search"];
        assert!(known.iter().any(|path| asked.path.ends_with(path)), "{asked:?}");
    }
    fake.unblocked();
}

#[tokio::test]
async fn a_check_says_what_is_wrong_and_what_to_do() {
    let fake = Fake::short().await;
    let checks = fake.connector(&json!({"pipeline": "default"})).check().await;
    assert!(are_good(&checks), "{checks:?}");
    let whats: Vec<&str> = checks.iter().map(|check| check.what.as_str()).collect();
    assert_eq!(
        whats,
        [
            "reached",
            "credentials",
            "scopes",
            "contacts",
            "contact_reference",
            "deals",
            "lead_reference",
            "pipeline"
        ]
    );
    let checks = fake.connector(&json!({"token": "wrong-secret"})).check().await;
    assert!(bad(&checks, "credentials").1.contains("Settings > Integrations"));
    assert!(!format!("{checks:?}").contains("wrong-secret"));
    for (more, what, found) in [
        (
            json!({"contact_reference": "nope"}),
            "contact_reference",
            "no property nope",
        ),
        (
            json!({"contact_reference": "not_unique"}),
            "contact_reference",
            "not unique",
        ),
        (json!({"lead_reference": "amount"}), "lead_reference", "not a text"),
        (json!({"pipeline": "Sales"}), "pipeline", "there are default"),
        (json!({"deal_stage": "New"}), "pipeline", "there are new, won"),
    ] {
        let checks = fake.connector(&more).check().await;
        assert!(bad(&checks, what).0.contains(found), "{checks:?}");
    }
    fake.state().scopes.retain(|scope| !scope.contains("deals.write"));
    let checks = fake.connector(&json!({})).check().await;
    assert_eq!(bad(&checks, "scopes").0, "the token lacks crm.objects.deals.write");
    fake.state().scopes.retain(|scope| !scope.contains("deals"));
    fake.state().tells_scopes = false;
    let checks = fake.connector(&json!({})).check().await;
    assert!(
        bad(&checks, "deals")
            .0
            .contains("the token lacks crm.objects.deals.read")
    );
    fake.unblocked();
}

#[tokio::test]
async fn failures_are_told_apart_and_quote_neither_the_token_nor_what_was_asked() {
    let secret = "ana@example.ro";
    let body = |category: &str| json!({"status": "error", "category": category, "message": secret}).to_string();
    for (reply, kind) in [
        (Reply::Answer((401, body("INVALID_AUTHENTICATION"))), "Auth"),
        (Reply::Answer((403, body("MISSING_SCOPES"))), "Forbidden"),
        (Reply::Answer((400, body("VALIDATION_ERROR"))), "Rejected"),
        (Reply::Answer((502, format!("<html>{secret}</html>"))), "Transient"),
        (Reply::Answer((200, format!("\"{secret}\""))), "Unreadable"),
        (Reply::Nothing, "Transient"),
    ] {
        let fake = Fake::short().await;
        fake.state().instead = Some(reply);
        let hubspot = fake.connector(&json!({}));
        let error = hubspot.find(Entity::Contact, &email(secret)).await.unwrap_err();
        let shown = format!("{error:?} {error} {hubspot:?}");
        assert!(shown.starts_with(kind), "{shown}");
        assert!(!shown.contains(secret) && !shown.contains(TOKEN), "{shown}");
    }
}
