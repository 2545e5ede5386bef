//! The Tryton connector, against a real Tryton with what `tests/tryton/seed.py` puts into it.

use std::collections::BTreeSet;
use std::str::FromStr as _;

use allai_connectors::{Connector, Crm, Entity, Erp, Error, Fields, Figures, Found, Key, PriceQuery};
use rust_decimal::Decimal;
use serde_json::json;

use crate::conformance::{self, Desk, Shelf, drained};
use crate::support::tryton::Server;

fn number(text: &str) -> Decimal {
    Decimal::from_str(text).unwrap()
}

fn figures(on_hand: &str, available: &str) -> Figures {
    Figures {
        on_hand: Some(number(on_hand)),
        available: Some(number(available)),
    }
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

const ODD: [&str; 3] = [
    "100%_\\",
    "[\"code\",\"ilike\",\"%\"]",
    "x'; DROP TABLE product_product; --",
];

#[tokio::test]
async fn it_is_an_erp_like_any_other() {
    let tryton = Server::shared().connector(&json!({}));
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
        odd: strings(&ODD),
        word: ("pompa".to_owned(), strings(&["PH-1000", "SV-1"])),
        priced: ("FT-200".to_owned(), number("45.50"), "RON".to_owned()),
        priceless: "NP-1".to_owned(),
    };
    conformance::erp(&tryton, &shelf).await;
}

#[tokio::test]
async fn its_contacts_are_a_crm_like_any_other() {
    let server = Server::own();
    let tryton = server.connector(&json!({}));
    let desk = |key| Desk {
        entity: Entity::Contact,
        key,
        text: "name".to_owned(),
        needed: Fields::new(),
        shared: Some(Key::Email("dublu@example.ro".to_owned())),
    };
    conformance::crm(&tryton, &desk(Key::Email("conformance@example.ro".to_owned()))).await;
    conformance::crm(&tryton, &desk(Key::Phone("+40722999888".to_owned()))).await;
}

#[tokio::test]
async fn its_leads_are_a_crm_like_any_other() {
    let server = Server::own();
    let tryton = server.connector(&json!({}));
    let desk = Desk {
        entity: Entity::Lead,
        key: Key::Reference("allai:conformance".to_owned()),
        text: "description".to_owned(),
        needed: Fields::from([("amount".to_owned(), json!("12.50"))]),
        shared: None,
    };
    conformance::crm(&tryton, &desk).await;
}

#[tokio::test]
async fn stock_is_told_by_as_few_warehouses_as_are_configured() {
    let tryton = Server::shared().connector(&json!({"warehouses": ["Depozit Cluj"]}));
    let stock = tryton.stock(&strings(&["PH-1000", "CU-1"])).await.unwrap();
    assert_eq!(stock[0].total, figures("3", "3"));
    assert_eq!(stock[0].warehouses.len(), 1);
    assert_eq!(stock[0].uom.as_deref(), Some("u"));
    assert_eq!(stock[1].total, figures("0.2", "0.2"));
    assert_eq!(stock[1].uom.as_deref(), Some("kg"));

    let tryton = Server::shared().connector(&json!({"warehouses": ["WH", "Timisoara"]}));
    let error = tryton.stock(&strings(&["PH-1000"])).await.unwrap_err();
    assert!(
        matches!(&error, Error::NotFound { what, .. } if what.contains("Timisoara")),
        "{error:?}"
    );
}

#[tokio::test]
async fn fractions_add_up_exactly() {
    let tryton = Server::shared().connector(&json!({}));
    let stock = tryton.stock(&strings(&["CU-1"])).await.unwrap();
    assert_eq!(stock[0].total, figures("0.3", "0.3"));
}

#[tokio::test]
async fn two_products_with_one_code_are_both_returned() {
    let tryton = Server::shared().connector(&json!({}));
    let stock = tryton.stock(&strings(&["DUP-1", "PH-1000"])).await.unwrap();
    let names: BTreeSet<_> = stock[..2].iter().map(|stock| stock.item.name.as_deref()).collect();
    assert_eq!(names, BTreeSet::from([Some("Supapa noua"), Some("Supapa veche")]));
    assert_eq!(stock[2].asked, "PH-1000");
    assert_eq!(
        tryton
            .prices(&strings(&["DUP-1"]), &PriceQuery::default())
            .await
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn products_are_found_by_code_barcode_and_words() {
    let tryton = Server::shared().connector(&json!({}));
    let by = |words: &'static str| {
        let tryton = &tryton;
        async move {
            let found = tryton.search(words, 10).await.unwrap();
            found.into_iter().map(|item| item.sku).collect::<Vec<_>>()
        }
    };
    assert_eq!(by("ph-1000").await, ["PH-1000"]);
    assert_eq!(by(" 5901234123457 ").await, ["FT-200"]);
    assert_eq!(by("kw pompa").await, ["PH-1000"]);
    assert_eq!(by("100%").await, ["100%_\\"]);
    assert_eq!(by("PVC_2").await, ["100%_\\"]);
    assert!(by("PVC%2").await.is_empty());
    assert!(by("P_C").await.is_empty());
    assert!(
        by("produs fara cod").await.is_empty(),
        "what has no code cannot be asked for"
    );
    let filter = tryton.search("FT-200", 1).await.unwrap();
    assert_eq!(filter[0].barcode.as_deref(), Some("5901234123457"));
    assert_eq!(filter[0].name.as_deref(), Some("Filtru aer 200 mm"));
}

#[tokio::test]
async fn prices_know_taxes_lists_and_quantities() {
    let tryton = Server::shared().connector(&json!({}));
    let price = |list: Option<&str>, quantity: Option<&str>| {
        let query = PriceQuery {
            quantity: quantity.map(number),
            price_list: list.map(str::to_owned),
        };
        let tryton = &tryton;
        async move { tryton.prices(&strings(&["PH-1000", "FT-200"]), &query).await }
    };
    let plain = price(None, None).await.unwrap();
    assert_eq!(plain[0].net, Some(number("8999.00")));
    assert_eq!(plain[0].gross, Some(number("10888.79")));
    assert_eq!(plain[1].net, Some(number("45.50")));
    assert_eq!(plain[1].gross, None, "taxes that nobody entered are not none");
    let listed = price(Some("Angro"), None).await.unwrap();
    assert_eq!(listed[0].net, Some(number("8099.10")));
    let many = price(Some("Angro"), Some("10")).await.unwrap();
    assert_eq!(many[1].net, Some(number("36.40")));
    let with_taxes = price(Some("Raft"), None).await.unwrap();
    assert_eq!(with_taxes[0].gross, Some(number("10888.79")));
    assert_eq!(with_taxes[0].net, Some(number("8999.00")));
    assert_eq!(with_taxes[1].net, None);
    for wrong in ["Angr%", "angro'", "x\0y", ""] {
        let error = price(Some(wrong), None).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{wrong:?}: {error:?}");
    }
    assert!(matches!(price(None, Some("0")).await, Err(Error::Rejected { .. })));
}

#[tokio::test]
async fn contacts_are_found_whatever_the_case_and_the_spaces() {
    let tryton = Server::shared().connector(&json!({}));
    for key in [
        Key::Email("maria.ionescu@example.ro".to_owned()),
        Key::Phone("+40722000111".to_owned()),
        Key::Phone("0040 722 000 111".to_owned()),
    ] {
        let found = tryton.find(Entity::Contact, &key).await.unwrap();
        assert_eq!(found.len(), 1, "{key:?}");
        assert_eq!(found[0].fields["name"], "Maria Ionescu");
        assert_eq!(found[0].fields["email"], "Maria.Ionescu@Example.ro");
        assert!(found[0].changed_at.is_some());
    }
    let found = tryton
        .find(Entity::Contact, &Key::Email("a_b%c@example.ro".to_owned()))
        .await
        .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].fields["name"], "Wildcard");
    assert!(
        tryton
            .find(Entity::Contact, &Key::Phone("+4072200011".to_owned()))
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_contact_gets_its_ways_to_be_reached_once() {
    let _turn = Server::turn().await;
    let tryton = Server::shared().connector(&json!({}));
    let key = Key::Email("ion@example.ro".to_owned());
    let fields = Fields::from([
        ("name".to_owned(), json!("Ion")),
        ("email".to_owned(), json!("ION@example.ro")),
        ("mobile".to_owned(), json!("+40733000111")),
    ]);
    let created = tryton.upsert(Entity::Contact, &key, &fields).await.unwrap();
    assert!(created.created);
    tryton.upsert(Entity::Contact, &key, &fields).await.unwrap();
    let found = tryton
        .find(Entity::Contact, &Key::Phone("+40733000111".to_owned()))
        .await
        .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].id, created.id);
    assert_eq!(found[0].fields["email"], "ION@example.ro");

    // By another key, the e-mail address is changed, not added.
    let changed = Fields::from([("email".to_owned(), json!("ion.nou@example.ro"))]);
    tryton
        .upsert(Entity::Contact, &Key::Id(created.id.clone()), &changed)
        .await
        .unwrap();
    assert!(tryton.find(Entity::Contact, &key).await.unwrap().is_empty());
    let error = tryton
        .upsert(
            Entity::Contact,
            &Key::Id(created.id),
            &Fields::from([("email".to_owned(), json!(null))]),
        )
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
}

#[tokio::test]
async fn a_contact_is_known_by_the_field_that_is_configured() {
    let _turn = Server::turn().await;
    let key = Key::Reference("allai:42".to_owned());
    let tryton = Server::shared().connector(&json!({"contact_reference": "name"}));
    let fields = Fields::from([("mobile".to_owned(), json!("+40744000111"))]);
    assert!(tryton.upsert(Entity::Contact, &key, &fields).await.unwrap().created);
    assert!(!tryton.upsert(Entity::Contact, &key, &fields).await.unwrap().created);
    assert_eq!(tryton.find(Entity::Contact, &key).await.unwrap().len(), 1);
    for (config, field) in [
        (json!({"contact_reference": "nope"}), "contact_reference"),
        (json!({"lead_reference": "amount"}), "lead_reference"),
    ] {
        let tryton = Server::shared().connector(&config);
        let entity = if field == "lead_reference" {
            Entity::Lead
        } else {
            Entity::Contact
        };
        let error = tryton.find(entity, &key).await.unwrap_err();
        assert!(
            matches!(&error, Error::Rejected { field: Some(named), .. } if named == field),
            "{error:?}"
        );
        let wrong = problems(&tryton.check().await);
        assert!(wrong.len() == 1 && wrong[0].starts_with(field), "{wrong:?}");
    }
    let tryton = Server::shared().connector(&json!({}));
    let error = tryton.find(Entity::Contact, &key).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
}

#[tokio::test]
async fn two_upserts_at_once_create_one_contact() {
    let _turn = Server::turn().await;
    let tryton = Server::shared().connector(&json!({}));
    let key = Key::Email("deodata@example.ro".to_owned());
    let fields = Fields::from([("name".to_owned(), json!("Deodata"))]);
    let (one, two) = tokio::join!(
        tryton.upsert(Entity::Contact, &key, &fields),
        tryton.upsert(Entity::Contact, &key, &fields)
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.id, two.id);
    assert!(one.created != two.created);
}

#[tokio::test]
async fn a_lead_belongs_to_the_contact_that_has_the_key() {
    let _turn = Server::turn().await;
    let tryton = Server::shared().connector(&json!({}));
    let key = Key::Email("client@example.ro".to_owned());
    let fields = Fields::from([("description".to_owned(), json!("Pompa pentru casa"))]);
    let error = tryton.upsert(Entity::Lead, &key, &fields).await.unwrap_err();
    assert!(
        matches!(&error, Error::Rejected { field: Some(field), .. } if field == "party"),
        "{error:?}"
    );
    let contact = tryton.upsert(Entity::Contact, &key, &Fields::new()).await.unwrap();
    let lead = tryton.upsert(Entity::Lead, &key, &fields).await.unwrap();
    assert!(lead.created);
    assert!(!tryton.upsert(Entity::Lead, &key, &fields).await.unwrap().created);
    let found = tryton.find(Entity::Lead, &key).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].fields["party"].to_string(), contact.id);
    assert_eq!(found[0].fields["state"], "lead");
    assert_eq!(found[0].fields["description"], "Pompa pentru casa");
    let described = tryton.describe(Entity::Lead).await.unwrap();
    assert!(
        described.iter().all(|field| !field.required),
        "all that is required has a default"
    );
}

#[tokio::test]
async fn many_changes_of_one_moment_all_come_and_come_once() {
    let tryton = Server::shared().connector(&json!({}));
    let (ids, cursor) = drained(&tryton, Entity::Contact, None).await;
    let distinct: BTreeSet<&String> = ids.iter().collect();
    // 350 of the import, which is long ago; the others may come twice, as their mechanisms are stamped later.
    assert!(distinct.len() >= 350, "{}", distinct.len());
    let (again, _) = drained(&tryton, Entity::Contact, Some(&cursor)).await;
    assert!(again.len() < 100, "what is old does not come again: {}", again.len());
}

#[tokio::test]
async fn a_changed_telephone_number_is_a_changed_contact() {
    let _turn = Server::turn().await;
    let tryton = Server::shared().connector(&json!({}));
    let key = Key::Email("numar@example.ro".to_owned());
    let contact = tryton.upsert(Entity::Contact, &key, &Fields::new()).await.unwrap();
    let (_, cursor) = drained(&tryton, Entity::Contact, None).await;
    let fields = Fields::from([("phone".to_owned(), json!("+40311000222"))]);
    tryton.upsert(Entity::Contact, &key, &fields).await.unwrap();
    let (ids, _) = drained(&tryton, Entity::Contact, Some(&cursor)).await;
    assert!(ids.contains(&contact.id));
}

fn problems(checks: &[allai_connectors::Check]) -> Vec<String> {
    checks
        .iter()
        .filter_map(|check| match &check.found {
            Found::Good(_) => None,
            Found::Bad { problem, remedy } => {
                assert!(!remedy.is_empty());
                Some(format!("{}: {problem}", check.what))
            }
        })
        .collect()
}

#[tokio::test]
async fn a_good_configuration_passes_every_check() {
    let tryton = Server::shared().connector(&json!({"warehouses": ["WH", "CLJ"], "price_list": "Angro"}));
    let checks = tryton.check().await;
    assert_eq!(problems(&checks), Vec::<String>::new());
    let good: Vec<String> = checks
        .iter()
        .map(|check| match &check.found {
            Found::Good(seen) => format!("{}: {seen}", check.what),
            Found::Bad { .. } => unreachable!("there are no problems"),
        })
        .collect();
    for line in [
        "version: version 8.2",
        "credentials: user allai",
        "company: AllAI Demo SRL, RON",
        "warehouses: CLJ, WH",
    ] {
        assert!(good.iter().any(|good| good == line), "{line} is not in {good:?}");
    }
}

#[tokio::test]
async fn checks_say_what_is_wrong() {
    let problems_of = |more: serde_json::Value| async move {
        let tryton = Server::shared().connector(&more);
        problems(&tryton.check().await)
    };
    let wrong = problems_of(json!({"username": "limited", "password": "pw-Demo-2-limited"})).await;
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(
        wrong.iter().all(|problem| problem.contains("sale.opportunity")),
        "{wrong:?}"
    );
    let wrong = problems_of(json!({"warehouses": ["WH", "Timisoara"]})).await;
    assert_eq!(wrong, ["warehouses: there is no warehouse Timisoara"]);
    let wrong = problems_of(json!({"company": "Nobody SRL"})).await;
    assert!(wrong[0].starts_with("company: "), "{wrong:?}");
    let wrong = problems_of(json!({"database": "other", "timeout": "2s"})).await;
    assert!(wrong.len() == 1 && wrong[0].starts_with("credentials: "), "{wrong:?}");
}

#[tokio::test]
async fn what_a_user_may_not_do_is_forbidden() {
    let tryton = Server::shared().connector(&json!({"username": "limited", "password": "pw-Demo-2-limited"}));
    let error = tryton
        .find(Entity::Lead, &Key::Reference("x".to_owned()))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Forbidden { .. }), "{error:?}");
    tryton.stock(&strings(&["PH-1000"])).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_told_at_once() {
    // After some wrong passwords Tryton refuses the user for a while: a server of its own.
    let server = Server::own();
    let tryton = server.connector(&json!({"password": "wrong-secret"}));
    let error = tryton.stock(&strings(&["PH-1000"])).await.unwrap_err();
    assert!(matches!(error, Error::Auth { .. }), "{error:?}");
    let shown = format!("{error:?} {error} {tryton:?}");
    assert!(!shown.contains("wrong-secret"), "{shown}");
    assert!(shown.contains("username and password"), "{shown}");
    let wrong = problems(&tryton.check().await);
    assert!(wrong.len() == 1 && wrong[0].starts_with("credentials: "), "{wrong:?}");
}

#[tokio::test]
async fn a_session_that_has_ended_is_begun_anew_for_reads_and_writes() {
    let server = Server::own();
    let tryton = server.connector(&json!({}));
    tryton.stock(&strings(&["PH-1000"])).await.unwrap();
    server.end_sessions();
    assert_eq!(tryton.stock(&strings(&["PH-1000"])).await.unwrap().len(), 1);
    let key = Key::Email("sesiune@example.ro".to_owned());
    server.end_sessions();
    assert!(
        tryton
            .upsert(Entity::Contact, &key, &Fields::new())
            .await
            .unwrap()
            .created
    );
    assert_eq!(tryton.find(Entity::Contact, &key).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_stopped_server_is_an_outage() {
    let mut server = Server::own();
    let tryton = server.connector(&json!({"timeout": "1s"}));
    server.stop();
    let error = tryton.stock(&strings(&["PH-1000"])).await.unwrap_err();
    assert!(error.is_outage() && error.is_worth_repeating(), "{error:?}");
    let wrong = problems(&tryton.check().await);
    assert!(wrong.len() == 1 && wrong[0].starts_with("reached: "), "{wrong:?}");
}
