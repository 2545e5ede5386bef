//! The Odoo connector by JSON-2, against a server of our own that keeps to Odoo 19's documentation. No live Odoo 19 was seen yet.

use std::collections::BTreeSet;
use std::str::FromStr as _;

use allai_connectors::{Connector as _, Crm as _, Entity, Erp as _, Error, Fields, Figures, Key, PriceQuery};
use rust_decimal::Decimal;
use serde_json::json;

use crate::conformance::{self, Desk, Shelf, drained};
use crate::support::odoo19::Odoo19;
use crate::support::words::{are_good, bad, number, strings};

fn figures(on_hand: &str, available: &str) -> Figures {
    Figures {
        on_hand: number(on_hand),
        available: number(available),
    }
}

#[tokio::test]
async fn it_is_an_erp_like_any_other() {
    let fake = Odoo19::start().await;
    let shelf = Shelf {
        stocked: (
            "PH-1000".to_owned(),
            figures("10", "8"),
            vec![
                ("CLJ".to_owned(), figures("3", "3")),
                ("WH".to_owned(), figures("7", "5")),
            ],
        ),
        sold_out: "CZ-24".to_owned(),
        unknown: Some("SV-1".to_owned()),
        odd: strings(&["100%_\\", "[\"code\",\"ilike\",\"%\"]"]),
        word: ("pompa".to_owned(), strings(&["PH-1000", "SV-1"])),
        priced: (
            "FT-200".to_owned(),
            Decimal::from_str("45.5").unwrap(),
            "RON".to_owned(),
        ),
        priceless: "NP-1".to_owned(),
    };
    conformance::erp(&fake.connector(&json!({})), &shelf).await;
}

#[tokio::test]
async fn its_contacts_and_leads_are_a_crm_like_any_other() {
    let fake = Odoo19::start().await;
    let odoo = fake.connector(&json!({}));
    let contacts = |key| Desk {
        entity: Entity::Contact,
        key,
        text: "name".to_owned(),
        needed: Fields::new(),
        shared: Some(Key::Email("dublu@example.ro".to_owned())),
    };
    conformance::crm(&odoo, &contacts(Key::Email("conformance@example.ro".to_owned()))).await;
    conformance::crm(&odoo, &contacts(Key::Phone("+40722999888".to_owned()))).await;
    let leads = |key| Desk {
        entity: Entity::Lead,
        key,
        text: "contact_name".to_owned(),
        needed: Fields::from([
            ("name".to_owned(), json!("Two pumps")),
            // Its name up to 13.
            ("planned_revenue".to_owned(), json!("12.50")),
        ]),
        shared: None,
    };
    conformance::crm(&odoo, &leads(Key::Reference("allai:conformance".to_owned()))).await;
    conformance::crm(&odoo, &leads(Key::Email("conformance@example.ro".to_owned()))).await;
}

#[tokio::test]
async fn a_warehouse_costs_a_request_and_prices_have_taxes() {
    let fake = Odoo19::start().await;
    let odoo = fake.connector(&json!({"company": "AllAI Demo SRL"}));
    odoo.stock(&strings(&["PH-1000", "FT-200", "CZ-24"])).await.unwrap();
    assert_eq!(fake.count("product.product", "search_read"), 2);
    let one = fake.connector(&json!({"warehouses": ["CLJ"]}));
    let stock = one.stock(&strings(&["PH-1000"])).await.unwrap();
    assert_eq!(stock[0].total, figures("3", "3"));
    assert_eq!(fake.count("product.product", "search_read"), 3);
    let prices = odoo
        .prices(&strings(&["PH-1000"]), &PriceQuery::default())
        .await
        .unwrap();
    assert_eq!([prices[0].net, prices[0].gross], [number("8999"), number("10888.79")]);
    let query = PriceQuery {
        price_list: Some("Angro".to_owned()),
        quantity: None,
    };
    let error = odoo.prices(&strings(&["PH-1000"]), &query).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
}

#[tokio::test]
async fn what_odoo_reads_into_numbers_and_addresses_is_used() {
    let fake = Odoo19::start().await;
    let odoo = fake.connector(&json!({}));
    let national = Key::Phone("+40722000111".to_owned());
    let found = odoo.find(Entity::Contact, &national).await.unwrap();
    assert_eq!(found[0].fields["phone"], "0722 000 111");
    let fields = Fields::from([("comment".to_owned(), json!("a < b\n<script>"))]);
    for _ in 0..2 {
        odoo.upsert(Entity::Contact, &national, &fields).await.unwrap();
    }
    assert_eq!(
        fake.count("res.partner", "write"),
        1,
        "what is there is not written again"
    );
    let found = odoo.find(Entity::Contact, &national).await.unwrap();
    assert_eq!(found[0].fields["comment"], "a < b\n<script>");
}

#[tokio::test]
async fn nothing_is_changed_so_that_its_key_finds_it_no_more() {
    let fake = Odoo19::start().await;
    let odoo = fake.connector(&json!({}));
    for (entity, key, field, other) in [
        (
            Entity::Contact,
            Key::Email("ana@example.ro".to_owned()),
            "email",
            "other@example.ro",
        ),
        (
            Entity::Contact,
            Key::Phone("+40733111222".to_owned()),
            "phone",
            "+40733111333",
        ),
        (
            Entity::Lead,
            Key::Reference("allai:1".to_owned()),
            "referred",
            "allai:2",
        ),
    ] {
        let named = Fields::from([("name".to_owned(), json!("Ana"))]);
        let mut away = named.clone();
        away.insert(field.to_owned(), json!(other));
        for _ in 0..2 {
            // Once there is nothing yet, once there is.
            let error = odoo.upsert(entity, &key, &away).await.unwrap_err();
            assert!(
                matches!(&error, Error::Rejected { field: Some(named), .. } if named == field),
                "{key:?}: {error:?}"
            );
            odoo.upsert(entity, &key, &named).await.unwrap();
        }
        let id = odoo.find(entity, &key).await.unwrap().remove(0).id;
        odoo.upsert(entity, &Key::Id(id), &away).await.unwrap();
        assert!(
            odoo.find(entity, &key).await.unwrap().is_empty(),
            "by its id, it may be"
        );
    }
}

#[tokio::test]
async fn all_changes_come_however_many_share_a_second() {
    let fake = Odoo19::start().await;
    let odoo = fake.connector(&json!({}));
    let (ids, cursor) = drained(&odoo, Entity::Contact, None).await;
    assert_eq!(ids.len(), 233);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 233, "each once");
    let fields = Fields::from([("ref".to_owned(), json!("changed"))]);
    odoo.upsert(Entity::Contact, &Key::Id("50".to_owned()), &fields)
        .await
        .unwrap();
    let (after, _) = drained(&odoo, Entity::Contact, Some(&cursor)).await;
    assert!(after.contains(&"50".to_owned()) && after.len() < 10, "{after:?}");
}

#[tokio::test]
async fn checks_find_what_is_wrong() {
    let fake = Odoo19::start().await;
    let checks = fake.connector(&json!({})).check().await;
    assert!(are_good(&checks), "{checks:?}");
    let checks = fake.connector(&json!({"api_key": "wrong"})).check().await;
    let (problem, remedy) = bad(&checks, "credentials");
    assert!(problem.contains("Invalid apikey") && remedy.contains("api_key"));
    let checks = fake.connector(&json!({"database": "other"})).check().await;
    bad(&checks, "credentials");
    fake.forbid("crm.lead.create");
    let odoo = fake.connector(&json!({}));
    let checks = odoo.check().await;
    let (problem, _) = bad(&checks, "permission to read, create, write crm.lead");
    assert!(problem.contains("may not create crm.lead"), "{problem}");
    let fields = Fields::from([("name".to_owned(), json!("x"))]);
    let key = Key::Reference("x".to_owned());
    let error = odoo.upsert(Entity::Lead, &key, &fields).await.unwrap_err();
    assert!(
        matches!(&error, Error::Forbidden { doing, .. } if doing == "crm.lead.create"),
        "{error:?}"
    );
}
