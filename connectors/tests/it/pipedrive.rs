//! The Pipedrive connector, against a fake of what is documented of Pipedrive.

use std::collections::BTreeSet;
use std::time::Duration;

use allai_connectors::http::Allowance;
use allai_connectors::pipedrive::{Limits, Pipedrive};
use allai_connectors::{Connector, Crm, Entity, Error, FieldType, Fields, Key};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::conformance::{self, Desk, drained, hostile};
use crate::support::fake::Reply;
use crate::support::pipedrive::{Fake, REFERENCE, TOKEN, short};
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
async fn its_persons_are_a_crm_like_any_other() {
    let fake = Fake::short().await;
    fake.person("Dublu", "dublu@example.ro", "");
    fake.person("Dublura", "Dublu@Example.ro", "");
    let pipedrive = fake.connector(&json!({}));
    for key in [
        email("conformance@example.ro"),
        phone("+40722999888"),
        reference("allai:conformance"),
    ] {
        let desk = Desk {
            entity: Entity::Contact,
            key,
            text: "name".to_owned(),
            needed: fields(&[("Heat", json!("Cold"))]),
            shared: Some(email("dublu@example.ro")),
        };
        conformance::crm(&pipedrive, &desk).await;
    }
    fake.unblocked();
}

#[tokio::test]
async fn its_leads_and_its_deals_are_a_crm_like_any_other() {
    for leads_are in ["leads", "deals"] {
        let fake = Fake::short().await;
        let person: u64 = fake.person("Client", "client@example.ro", "").parse().unwrap();
        let pipedrive = fake.connector(&json!({"leads_are": leads_are}));
        let money = [("value", json!("12.50")), ("currency", json!("EUR"))];
        for (key, more) in [
            (email("client@example.ro"), None),
            (reference("allai:conformance"), Some(("person_id", json!(person)))),
        ] {
            let desk = Desk {
                entity: Entity::Lead,
                key,
                text: "title".to_owned(),
                needed: fields(&money.iter().cloned().chain(more).collect::<Vec<_>>()),
                shared: None,
            };
            conformance::crm(&pipedrive, &desk).await;
        }
        assert_eq!(fake.count(leads_are), 2);
        fake.unblocked();
    }
}

#[tokio::test]
async fn a_lost_answer_duplicates_nothing_although_the_search_does_not_know_of_it_yet() {
    for leads_are in ["leads", "deals"] {
        let fake = Fake::short().await;
        let client: u64 = fake.person("Client", "client@example.ro", "").parse().unwrap();
        fake.state().lag = short().search_lag / 2;
        let pipedrive = fake.connector(&json!({"leads_are": leads_are}));
        wait(short().search_lag).await;
        let name = fields(&[("name", json!("Ana"))]);
        let lead = fields(&[("title", json!("Pompa")), ("person_id", json!(client))]);
        for (entity, key, values) in [
            (Entity::Contact, email("ana@example.ro"), &name),
            (Entity::Contact, phone("+40722123456"), &name),
            (Entity::Contact, reference("allai:7"), &name),
            // Known by its person first: the other is that person's, too.
            (Entity::Lead, email("client@example.ro"), &lead),
            (Entity::Lead, reference("allai:7"), &lead),
        ] {
            fake.state().lose = 1;
            let error = pipedrive.upsert(entity, &key, values).await.unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::Transient {
                        may_have_happened: true,
                        ..
                    }
                ),
                "{key:?}: {error:?}"
            );
            let again = pipedrive.upsert(entity, &key, values).await.unwrap();
            assert!(!again.created, "{key:?}");
        }
        assert_eq!((fake.count("persons"), fake.count(leads_are)), (4, 2));
        // Another process knows nothing of what the one before it did.
        fake.state().lose = 1;
        let key = email("ion@example.ro");
        pipedrive.upsert(Entity::Contact, &key, &name).await.unwrap_err();
        let next = fake.connector(&json!({}));
        assert!(!next.upsert(Entity::Contact, &key, &name).await.unwrap().created);
        assert_eq!(fake.count("persons"), 5);
        fake.unblocked();
    }
}

#[tokio::test]
async fn what_was_created_is_found_at_once_and_two_upserts_create_one() {
    let fake = Fake::short().await;
    fake.state().lag = short().search_lag / 2;
    let pipedrive = fake.connector(&json!({}));
    for key in [email("ana@example.ro"), phone("+40722123456"), reference("allai:7")] {
        let name = fields(&[("name", json!("Ana"))]);
        let (one, two) = tokio::join!(
            pipedrive.upsert(Entity::Contact, &key, &name),
            pipedrive.upsert(Entity::Contact, &key, &name)
        );
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!(one.id, two.id);
        assert!(one.created != two.created);
        let found = pipedrive.find(Entity::Contact, &key).await.unwrap();
        assert_eq!(found.len(), 1, "{key:?}");
    }
    assert_eq!(fake.count("persons"), 3);
    fake.unblocked();
}

#[tokio::test]
async fn persons_are_found_whatever_the_case_and_what_stands_between_the_digits() {
    let fake = Fake::short().await;
    let maria = fake.person("Maria", "Maria.Ionescu@Example.ro", "+40 (722) 000-111");
    fake.person("Other", "other@example.ro", "+39 722 000 111");
    let pipedrive = fake.connector(&json!({}));
    for key in [
        email("maria.ionescu@example.ro"),
        phone("+40722000111"),
        phone("0040 722 000 111"),
        Key::Id(maria.clone()),
    ] {
        let found = pipedrive.find(Entity::Contact, &key).await.unwrap();
        assert_eq!(found.len(), 1, "{key:?}");
        assert_eq!(found[0].id, maria);
        assert_eq!(found[0].fields["email"], "Maria.Ionescu@Example.ro");
        assert!(found[0].changed_at.is_some());
    }
    // A search that knows an old address only does not mislead.
    let changed = fields(&[("email", json!("m@example.ro"))]);
    wait(short().search_lag).await;
    fake.state().lag = short().search_lag;
    pipedrive
        .upsert(Entity::Contact, &Key::Id(maria), &changed)
        .await
        .unwrap();
    let found = pipedrive
        .find(Entity::Contact, &email("maria.ionescu@example.ro"))
        .await;
    assert!(found.unwrap().is_empty());
}

#[tokio::test]
async fn fields_go_by_their_names_and_only_what_differs_is_written() {
    let fake = Fake::short().await;
    let pipedrive = fake.connector(&json!({"leads_are": "deals"}));
    let described = pipedrive.describe(Entity::Contact).await.unwrap();
    let takes = |name: &str| {
        described
            .iter()
            .find(|field| field.name == name)
            .map(|field| &field.takes)
    };
    assert_eq!(takes("AllAI reference"), Some(&FieldType::Text));
    assert_eq!(takes(REFERENCE), None, "by its name alone");
    assert_eq!(takes("Twice"), None, "which of them?");
    let heat = FieldType::Choice(vec!["Hot".to_owned(), "Cold".to_owned()]);
    assert_eq!(takes("Heat"), Some(&heat));
    let key = email("ana@example.ro");
    let values = fields(&[
        ("name", json!("Ana")),
        ("phone", json!("+40 722 123 456")),
        ("Heat", json!("Hot")),
        (REFERENCE, json!("allai:7")),
    ]);
    let id = pipedrive.upsert(Entity::Contact, &key, &values).await.unwrap().id;
    let created = fake.state().asked.last().unwrap().clone();
    let body: Value = serde_json::from_str(&created.body).unwrap();
    assert_eq!(body["custom_fields"][REFERENCE], "allai:7");
    assert_eq!(
        body["emails"],
        json!([{"value": "ana@example.ro", "primary": true, "label": "work"}])
    );
    let found = pipedrive.find(Entity::Contact, &reference("allai:7")).await.unwrap();
    assert_eq!(
        (found[0].id.as_str(), &found[0].fields["Heat"]),
        (id.as_str(), &json!("Hot"))
    );
    let before = fake.state().asked.len();
    let same = fields(&[
        ("phone", json!("+40722123456")),
        ("email", json!("ANA@example.ro")),
        ("Heat", json!("Hot")),
    ]);
    pipedrive.upsert(Entity::Contact, &key, &same).await.unwrap();
    let writes = fake.state().asked[before..]
        .iter()
        .filter(|asked| asked.method != "GET")
        .count();
    assert_eq!(writes, 0);
    let other = fields(&[("phone", json!("+40799000000"))]);
    pipedrive.upsert(Entity::Contact, &key, &other).await.unwrap();
    let last = fake.state().asked.last().unwrap().clone();
    assert_eq!(
        last.body,
        r#"{"phones":[{"label":"work","primary":true,"value":"+40799000000"}]}"#
    );
    // Money is exact, or refused.
    let deal = |value: &str| {
        fields(&[
            ("title", json!("Pompa")),
            ("value", json!(value)),
            ("currency", json!("RON")),
        ])
    };
    pipedrive.upsert(Entity::Lead, &key, &deal("8999.10")).await.unwrap();
    let found = pipedrive.find(Entity::Lead, &key).await.unwrap();
    assert_eq!(found[0].fields["value"], "8999.1");
    let error = pipedrive
        .upsert(Entity::Lead, &key, &deal("12345678901234567.89"))
        .await;
    assert!(
        matches!(&error, Err(Error::Rejected { field: Some(field), .. }) if field == "value"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_lead_belongs_to_the_person_that_has_the_key_and_a_closed_one_is_left_alone() {
    for (leads_are, closed) in [
        ("leads", fields(&[("is_archived", json!(true))])),
        ("deals", fields(&[("status", json!("lost"))])),
    ] {
        let fake = Fake::short().await;
        let pipedrive = fake.connector(&json!({"leads_are": leads_are}));
        let key = email("client@example.ro");
        let lead = fields(&[("title", json!("Pompa"))]);
        let error = pipedrive.upsert(Entity::Lead, &key, &lead).await.unwrap_err();
        assert!(
            matches!(&error, Error::Rejected { field: Some(field), .. } if field == "person_id"),
            "{error:?}"
        );
        let person = pipedrive.upsert(Entity::Contact, &key, &Fields::new()).await.unwrap();
        let first = pipedrive.upsert(Entity::Lead, &key, &lead).await.unwrap();
        assert!(first.created);
        let found = pipedrive.find(Entity::Lead, &key).await.unwrap();
        assert_eq!(found[0].fields["person_id"], json!(person.id));
        pipedrive
            .upsert(Entity::Lead, &Key::Id(first.id.clone()), &closed)
            .await
            .unwrap();
        let second = pipedrive.upsert(Entity::Lead, &key, &lead).await.unwrap();
        assert!(second.created && second.id != first.id);
        assert_eq!(pipedrive.find(Entity::Lead, &key).await.unwrap().len(), 2);
        // A lead's value has a currency.
        if leads_are == "leads" {
            let value = fields(&[("value", json!("5"))]);
            let error = pipedrive
                .upsert(Entity::Lead, &Key::Id(second.id), &value)
                .await
                .unwrap_err();
            assert!(
                matches!(&error, Error::Rejected { field: Some(field), .. } if field == "currency"),
                "{error:?}"
            );
        }
    }
}

#[tokio::test]
async fn what_pipedrive_refuses_names_its_field_and_quotes_nothing() {
    let fake = Fake::short().await;
    let pipedrive = fake.connector(&json!({}));
    let error = pipedrive
        .upsert(Entity::Contact, &email("a<b@example.ro"), &Fields::new())
        .await
        .unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(
        matches!(&error, Error::Rejected { field: Some(field), .. } if field == "email"),
        "{shown}"
    );
    assert!(!shown.contains("a<b"), "{shown}");
    for (key, values, field) in [
        (
            email("a@example.ro"),
            fields(&[("email", json!("b@example.ro"))]),
            "email",
        ),
        (
            phone("+40722123456"),
            fields(&[("phone", json!("+40799000000"))]),
            "phone",
        ),
        (
            reference("a"),
            fields(&[("AllAI reference", json!("b"))]),
            "AllAI reference",
        ),
    ] {
        let error = pipedrive.upsert(Entity::Contact, &key, &values).await.unwrap_err();
        assert!(
            matches!(&error, Error::Rejected { field: Some(named), .. } if named == field),
            "{error:?}"
        );
    }
    assert_eq!(fake.count("persons"), 0);
}

#[tokio::test]
async fn all_changes_come_page_by_page_and_what_is_old_does_not_come_again() {
    for (object, leads_are, entity) in [
        ("persons", "leads", Entity::Contact),
        ("deals", "deals", Entity::Lead),
        ("leads", "leads", Entity::Lead),
    ] {
        let fake = Fake::short().await;
        let time = |number: i64| DateTime::<Utc>::from_timestamp(1_700_000_000 + number, 0).unwrap();
        // An import of 700 in one second.
        for number in 0..1_300_i64 {
            let at = if (300..1_000).contains(&number) { 300 } else { number };
            fake.put(object, &json!({"name": "Import", "title": "Import"}), Some(time(at)));
        }
        let pipedrive = fake.connector(&json!({"leads_are": leads_are}));
        let (ids, cursor) = drained(&pipedrive, entity, None).await;
        assert_eq!(
            (ids.len(), ids.iter().collect::<BTreeSet<_>>().len()),
            (1_300, 1_300),
            "{object}"
        );
        let (again, cursor) = drained(&pipedrive, entity, Some(&cursor)).await;
        assert!(again.is_empty(), "{object}: {}", again.len());
        let field = if entity == Entity::Contact { "name" } else { "title" };
        let changed = fields(&[(field, json!("Changed"))]);
        pipedrive
            .upsert(entity, &Key::Id(ids[7].clone()), &changed)
            .await
            .unwrap();
        let (after, _) = drained(&pipedrive, entity, Some(&cursor)).await;
        assert_eq!(after, [ids[7].clone()], "{object}");
        fake.unblocked();
    }
}

#[tokio::test]
async fn what_is_seen_late_comes_all_the_same() {
    for (object, entity) in [("persons", Entity::Contact), ("leads", Entity::Lead)] {
        let fake = Fake::short().await;
        let search_lag = Duration::from_secs(1);
        let pipedrive = fake.connector_with(&json!({}), Limits { search_lag, ..short() });
        let first = fake.put(object, &json!({"name": "First", "title": "First"}), None);
        let changes = pipedrive.changes_since(entity, None).await.unwrap();
        assert_eq!(changes.records[0].id, first);
        let before = changes.records[0].changed_at.unwrap() - TimeDelta::seconds(2);
        let late = fake.put(object, &json!({"name": "Late", "title": "Late"}), Some(before));
        let (ids, _) = drained(&pipedrive, entity, Some(&changes.cursor)).await;
        assert_eq!(ids, [late, first], "what is young comes again");
        fake.unblocked();
    }
}

#[tokio::test]
async fn a_cursor_that_pipedrive_has_forgotten_begins_its_reading_anew() {
    let fake = Fake::short().await;
    let time = |number: i64| DateTime::<Utc>::from_timestamp(1_700_000_000 + number, 0).unwrap();
    for number in 0..600 {
        fake.put("persons", &json!({"name": "Import"}), Some(time(number)));
    }
    let pipedrive = fake.connector(&json!({}));
    let first = pipedrive.changes_since(Entity::Contact, None).await.unwrap();
    assert!(first.more);
    fake.state().forgets_cursors = true;
    let again = pipedrive
        .changes_since(Entity::Contact, Some(&first.cursor))
        .await
        .unwrap();
    assert_eq!(again.records[0].id, first.records[0].id);
    fake.state().forgets_cursors = false;
    let (rest, _) = drained(&pipedrive, Entity::Contact, Some(&again.cursor)).await;
    assert_eq!(rest.len(), 100);
}

#[tokio::test]
async fn neither_limit_is_ever_met() {
    // In a twentieth of the time.
    let fake = Fake::short().await;
    let pipedrive = fake.connector(&json!({}));
    let ask = async |pipedrive: &Pipedrive, number: usize| {
        let key = match number % 4 {
            0 => email(&format!("a{number}@example.ro")),
            _ => Key::Id((1_000 + number).to_string()),
        };
        assert!(pipedrive.find(Entity::Contact, &key).await.unwrap().is_empty());
    };
    join_all((0..400).map(|number| ask(&pipedrive, number))).await;
    assert_eq!(fake.unblocked(), (401, 100), "and the fields");
    // The vendor's own.
    let fake = Fake::real().await;
    let pipedrive = Pipedrive::new(fake.config(&json!({}))).unwrap();
    join_all((0..44).map(|number| ask(&pipedrive, number))).await;
    assert_eq!(fake.unblocked(), (45, 11));
}

#[tokio::test]
async fn no_more_tokens_are_spent_than_a_day_has() {
    // What the configuration allows, of which the company has just so many.
    let fake = Fake::short().await;
    fake.state().tokens = 130;
    fake.state().tells_tokens = false;
    let tokens = Allowance {
        units: 130,
        per: Duration::from_hours(24),
    };
    let pipedrive = fake.connector_with(&json!({}), Limits { tokens, ..short() });
    for number in 0..6 {
        let key = email(&format!("a{number}@example.ro"));
        assert!(pipedrive.find(Entity::Contact, &key).await.is_ok());
    }
    // 6 searches are 120; told are the fields, too, for 10.
    assert_eq!(fake.state().spent, 130);
    let error = pipedrive
        .find(Entity::Contact, &Key::Id("7".to_owned()))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::RateLimited { retry_after: Some(wait), .. } if wait.as_secs() > 86_000),
        "{error:?}"
    );
    fake.unblocked();
    // Others spend of it, too, which Pipedrive tells.
    let fake = Fake::short().await;
    fake.state().tokens = 1_000;
    let pipedrive = fake.connector(&json!({}));
    assert!(pipedrive.find(Entity::Contact, &email("a@example.ro")).await.is_ok());
    fake.state().spent = 960;
    assert!(pipedrive.find(Entity::Contact, &email("b@example.ro")).await.is_ok());
    assert!(pipedrive.find(Entity::Contact, &email("c@example.ro")).await.is_ok());
    let error = pipedrive
        .find(Entity::Contact, &email("d@example.ro"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::RateLimited { retry_after: Some(wait), .. } if wait.as_secs() > 800),
        "{error:?}"
    );
    fake.unblocked();
}

#[tokio::test]
async fn who_has_met_a_limit_is_left_alone_for_as_long_as_that_takes() {
    let over = json!({"success": false, "error": "request over limit"}).to_string();
    for (headers, seconds) in [
        (vec![("x-daily-ratelimit-token-remaining", "0".to_owned())], 900),
        (vec![("Retry-After", "60".to_owned())], 60),
        (vec![("x-ratelimit-reset", "40".to_owned())], 40),
    ] {
        let fake = Fake::short().await;
        fake.state().instead = Some(Reply::WithHeaders((429, over.clone()), headers));
        let pipedrive = fake.connector(&json!({}));
        for _ in 0..3 {
            let error = pipedrive
                .find(Entity::Contact, &email("a@example.ro"))
                .await
                .unwrap_err();
            assert!(
                matches!(error, Error::RateLimited { retry_after: Some(wait), .. } if wait.as_secs() >= seconds - 5),
                "{error:?}"
            );
        }
        assert_eq!(fake.state().asked.len(), 1);
        assert!(bad(&pipedrive.check().await, "limit").1.contains("daily_tokens"));
    }
}

#[tokio::test]
async fn hostile_keys_are_only_ever_values_of_parameters() {
    let fake = Fake::short().await;
    let pipedrive = fake.connector(&json!({}));
    for text in hostile() {
        for key in [Key::Id(text.clone()), reference(&text), email(&text), phone(&text)] {
            for entity in [Entity::Contact, Entity::Lead] {
                let found = pipedrive.find(entity, &key).await.unwrap();
                assert!(found.is_empty(), "{key:?}");
            }
        }
    }
    let known = ["term", "fields", "exact_match", "limit"];
    for asked in &fake.state().asked {
        let is_search = asked.path.ends_with("/search") || asked.path.ends_with("Fields");
        assert!(is_search, "{asked:?}");
        assert!(asked.params().iter().all(|name| known.contains(name)), "{asked:?}");
    }
    fake.unblocked();
}

#[tokio::test]
async fn a_check_says_what_is_wrong_and_what_to_do() {
    let fake = Fake::short().await;
    let checks = fake.connector(&json!({})).check().await;
    assert!(are_good(&checks), "{checks:?}");
    let whats: Vec<&str> = checks.iter().map(|check| check.what.as_str()).collect();
    assert_eq!(
        whats,
        [
            "reached",
            "credentials",
            "permissions",
            "persons",
            "contact_reference",
            "leads",
            "lead_reference"
        ]
    );
    let checks = fake.connector(&json!({"token": "wrong-secret"})).check().await;
    assert!(bad(&checks, "credentials").1.contains("Personal preferences > API"));
    assert!(!format!("{checks:?}").contains("wrong-secret"));
    for (more, what, found) in [
        (
            json!({"contact_reference": "nope"}),
            "contact_reference",
            "no custom field nope",
        ),
        (
            json!({"contact_reference": "name"}),
            "contact_reference",
            "no custom field name",
        ),
        (json!({"contact_reference": "Heat"}), "contact_reference", "not a text"),
        (
            json!({"lead_reference": "Twice"}),
            "lead_reference",
            "several fields Twice",
        ),
    ] {
        let checks = fake.connector(&more).check().await;
        assert!(bad(&checks, what).0.contains(found), "{checks:?}");
        assert!(bad(&checks, what).1.contains("Data fields"));
    }
    fake.unblocked();
}

#[tokio::test]
async fn failures_are_told_apart_and_quote_neither_the_token_nor_what_was_asked() {
    let secret = "ana@example.ro";
    let body = json!({"success": false, "error": secret, "code": "feature_capping_deals_limit"}).to_string();
    for (reply, kind) in [
        (Reply::Answer((401, body.clone())), "Auth"),
        (Reply::Answer((403, body.clone())), "Forbidden"),
        (Reply::Answer((402, body.clone())), "Forbidden"),
        (Reply::Answer((400, body)), "Rejected"),
        (Reply::Answer((502, format!("<html>{secret}</html>"))), "Transient"),
        (Reply::Answer((200, format!("\"{secret}\""))), "Unreadable"),
        (Reply::Nothing, "Transient"),
    ] {
        let fake = Fake::short().await;
        fake.state().instead = Some(reply);
        let pipedrive = fake.connector(&json!({}));
        let error = pipedrive.find(Entity::Contact, &email(secret)).await.unwrap_err();
        let shown = format!("{error:?} {error} {pipedrive:?}");
        assert!(shown.starts_with(kind), "{shown}");
        assert!(!shown.contains(secret) && !shown.contains(TOKEN), "{shown}");
    }
}
