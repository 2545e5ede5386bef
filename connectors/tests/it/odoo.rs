//! The Odoo connector, against a real Odoo 11 with what `tests/odoo/seed.py` puts into it.
//!
//! It takes minutes to install, and so is a stage of its own: `scripts/test --odoo` runs these, and nothing else does.

use std::collections::BTreeSet;
use std::str::FromStr as _;
use std::time::Duration;

use allai_connectors::sql::Sql;
use allai_connectors::{Connector as _, Crm as _, Entity, Erp as _, Error, Fields, Figures, Found, Key, PriceQuery};
use rust_decimal::Decimal;
use serde_json::json;

use crate::conformance::{self, Desk, Shelf, drained};
use crate::support::lossy;
use crate::support::odoo::{Database, url};
use crate::support::words::{bad, strings};

fn number(text: &str) -> Decimal {
    Decimal::from_str(text).unwrap()
}

fn figures(on_hand: &str, available: &str) -> Figures {
    Figures {
        on_hand: Some(number(on_hand)),
        available: Some(number(available)),
    }
}

const ODD: [&str; 3] = [
    "100%_\\",
    "[\"code\",\"ilike\",\"%\"]",
    "x'; DROP TABLE product_product; --",
];

#[tokio::test]
#[ignore = "needs a real Odoo: scripts/test --odoo"]
async fn it_is_an_erp_like_any_other() {
    let odoo = Database::shared().connector(&json!({}));
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
    conformance::erp(&odoo, &shelf).await;
}

#[tokio::test]
#[ignore = "needs a real Odoo: scripts/test --odoo"]
async fn its_contacts_are_a_crm_like_any_other() {
    let odoo = Database::own().connector(&json!({}));
    let desk = |key| Desk {
        entity: Entity::Contact,
        key,
        text: "name".to_owned(),
        needed: Fields::new(),
        shared: Some(Key::Email("dublu@example.ro".to_owned())),
    };
    conformance::crm(&odoo, &desk(Key::Email("conformance@example.ro".to_owned()))).await;
    conformance::crm(&odoo, &desk(Key::Phone("+40722999888".to_owned()))).await;
}

#[tokio::test]
#[ignore = "needs a real Odoo: scripts/test --odoo"]
async fn its_leads_are_a_crm_like_any_other() {
    let odoo = Database::own().connector(&json!({}));
    let desk = |key| Desk {
        entity: Entity::Lead,
        key,
        text: "contact_name".to_owned(),
        needed: Fields::from([
            ("name".to_owned(), json!("Two pumps")),
            ("expected_revenue".to_owned(), json!("12.50")),
        ]),
        shared: None,
    };
    conformance::crm(&odoo, &desk(Key::Reference("allai:conformance".to_owned()))).await;
    conformance::crm(&odoo, &desk(Key::Email("conformance@example.ro".to_owned()))).await;
}

#[tokio::test]
#[ignore = "needs a real Odoo: scripts/test --odoo"]
async fn stock_is_told_by_as_few_warehouses_as_are_configured() {
    let database = Database::shared();
    let odoo = database.connector(&json!({"warehouses": ["Depozit Cluj"]}));
    let stock = odoo.stock(&strings(&["PH-1000", "CU-1"])).await.unwrap();
    assert_eq!(stock[0].total, figures("3", "3"));
    assert_eq!(stock[0].warehouses.len(), 1);
    assert_eq!(stock[0].uom.as_deref(), Some("Unit(s)"));
    assert_eq!(stock[1].total, figures("0.2", "0.2"));
    assert_eq!(stock[1].uom.as_deref(), Some("kg"));

    let odoo = database.connector(&json!({"warehouses": ["WH", "Timisoara"]}));
    let error = odoo.stock(&strings(&["PH-1000"])).await.unwrap_err();
    assert!(
        matches!(&error, Error::NotFound { what, .. } if what.contains("Timisoara")),
        "{error:?}"
    );
}

#[tokio::test]
#[ignore = "needs a real Odoo: scripts/test --odoo"]
async fn fractions_add_up_exactly_and_one_code_may_be_two_products() {
    let odoo = Database::shared().connector(&json!({}));
    let stock = odoo.stock(&strings(&["CU-1", "DUP-1", " PH-1000 "])).await.unwrap();
    assert_eq!(stock[0].total, figures("0.3", "0.3"));
    let names: BTreeSet<_> = stock[1..3].iter().map(|stock| stock.item.name.as_deref()).collect();
    assert_eq!(names, BTreeSet::from([Some("Supapa noua"), Some("Supapa veche")]));
    assert_eq!(stock[3].asked, " PH-1000 ");
    let prices = odoo.prices(&strings(&["DUP-1"]), &PriceQuery::default()).await;
    assert_eq!(prices.unwrap().len(), 2);
}

#[tokio::test]
#[ignore = "needs a real Odoo: scripts/test --odoo"]
async fn many_skus_take_few_requests() {
    let proxy = lossy::start(&url()).await;
    let odoo = Database::shared().connector(&json!({"url": proxy.url}));
    let mut skus: Vec<String> = (0..199).map(|number| format!("not-there-{number}")).collect();
    skus.push("PH-1000".to_owned());
    odoo.stock(&skus).await.unwrap();
    let before = proxy.count();
    assert_eq!(odoo.stock(&skus).await.unwrap().len(), 1);
    assert_eq!(proxy.count() - before, 2, "as many as there are warehouses");
}

#[tokio::test]
#[ignore = "needs a real Odoo: scripts/test --odoo"]
async fn products_are_found_by_code_barcode_and_words() {
    let odoo = Database::shared().connector(&json!({}));
    let by = |words: &'static str| {
        let odoo = &odoo;
        async move {
            let found = odoo.search(words, 10).await.unwrap();
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
    let filter = odoo.search("FT-200", 1).await.unwrap();
    assert_eq!(filter[0].barcode.as_deref(), Some("5901234123457"));
    assert_eq!(filter[0].name.as_deref(), Some("Filtru aer 200 mm"));
}

#[tokio::test]
#[ignore = "needs a real Odoo: scripts/test --odoo"]
async fn prices_know_taxes_lists_and_quantities() {
    let odoo = Database::shared().connector(&json!({}));
    let price = |list: Option<&str>, quantity: Option<&str>| {
        let query = PriceQuery {
            quantity: quantity.map(number),
            price_list: list.map(str::to_owned),
        };
        let odoo = &odoo;
        async move { odoo.prices(&strings(&["PH-1000", "FT-200"]), &query).await }
    };
    let plain = price(None, None).await.unwrap();
    assert_eq!(plain[0].net, Some(number("8999")));
    assert_eq!(plain[0].gross, Some(number("10888.79")));
    assert_eq!(plain[0].currency.as_deref(), Some("RON"));
    assert_eq!(plain[1].net, Some(number("45.5")));
    assert_eq!(plain[1].gross, None, "taxes that nobody entered are not none");
    let listed = price(Some("Angro"), None).await.unwrap();
    assert_eq!(listed[0].net, Some(number("8099.1")));
    let many = price(Some("Angro"), Some("10")).await.unwrap();
    assert_eq!(many[1].net, Some(number("36.4")));
    for wrong in ["Angr%", "angro'", "x\0y", ""] {
        let error = price(Some(wrong), None).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{wrong:?}: {error:?}");
    }
    assert!(matches!(price(None, Some("0")).await, Err(Error::Rejected { .. })));
    let odoo = Database::shared().connector(&json!({"price_list": "Angro"}));
    let configured = odoo.prices(&strings(&["FT-200"]), &PriceQuery::default()).await;
    assert_eq!(configured.unwrap()[0].net, Some(number("40.95")));
}

#[tokio::test]
#[ignore = "needs a real Odoo: scripts/test --odoo"]
async fn contacts_are_found_whatever_the_case_and_the_spaces() {
    let odoo = Database::shared().connector(&json!({}));
    for key in [
        Key::Email("maria.ionescu@example.ro".to_owned()),
        Key::Phone("+40722000111".to_owned()),
        Key::Phone("0040 722 000 111".to_owned()),
    ] {
        let found = odoo.find(Entity::Contact, &key).await.unwrap();
        assert_eq!(found.len(), 1, "{key:?}");
        assert_eq!(found[0].fields["name"], "Maria Ionescu");
        assert_eq!(found[0].fields["email"], "Maria.Ionescu@Example.ro");
        assert!(found[0].changed_at.is_some());
    }
    let wildcard = Key::Email("a_b%c@example.ro".to_owned());
    let found = odoo.find(Entity::Contact, &wildcard).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].fields["name"], "Wildcard");
    for nobody in [
        Key::Phone("+4072200011".to_owned()),
        Key::Email("arhivat@example.ro".to_owned()),
    ] {
        assert!(
            odoo.find(Entity::Contact, &nobody).await.unwrap().is_empty(),
            "{nobody:?}"
        );
    }
    let archived = Key::Reference("allai:arhivat".to_owned());
    assert_eq!(odoo.find(Entity::Contact, &archived).await.unwrap().len(), 1);
    let of_gateway = Key::Email("ana.pop@example.ro".to_owned());
    assert_eq!(odoo.find(Entity::Lead, &of_gateway).await.unwrap().len(), 1);
}

#[tokio::test]
#[ignore = "needs a real Odoo: scripts/test --odoo"]
async fn an_answer_that_is_lost_makes_no_duplicate() {
    let proxy = lossy::start(&url()).await;
    let database = Database::own();
    let odoo = database.connector(&json!({"url": proxy.url}));
    for (entity, key, fields) in [
        (
            Entity::Contact,
            Key::Email("pierdut@example.ro".to_owned()),
            json!({"name": "Pierdut"}),
        ),
        (
            Entity::Lead,
            Key::Reference("allai:pierdut".to_owned()),
            json!({"name": "Pierdut", "planned_revenue": "99.90"}),
        ),
    ] {
        let fields: Fields = serde_json::from_value(fields).unwrap();
        // Proves the credentials and learns the fields, so that the next call is the one that creates.
        assert!(odoo.find(entity, &key).await.unwrap().is_empty());
        proxy.lose("create");
        let error = odoo.upsert(entity, &key, &fields).await.unwrap_err();
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
        let again = odoo.upsert(entity, &key, &fields).await.unwrap();
        assert!(!again.created, "it was created by the call whose answer was lost");
        assert_eq!(odoo.find(entity, &key).await.unwrap().len(), 1);
    }
}

#[tokio::test]
#[ignore = "needs a real Odoo: scripts/test --odoo"]
async fn a_lead_that_was_won_is_left_alone_and_a_new_one_begun() {
    let odoo = Database::own().connector(&json!({}));
    let key = Key::Email("castigat@example.ro".to_owned());
    let fields = Fields::from([("name".to_owned(), json!("Inca unul"))]);
    assert!(odoo.upsert(Entity::Lead, &key, &fields).await.unwrap().created);
    assert!(!odoo.upsert(Entity::Lead, &key, &fields).await.unwrap().created);
    assert_eq!(odoo.find(Entity::Lead, &key).await.unwrap().len(), 2);
}

#[tokio::test]
#[ignore = "needs a real Odoo: scripts/test --odoo"]
async fn fields_have_their_newest_names_and_go_by_the_old_ones_too() {
    let odoo = Database::shared().connector(&json!({}));
    let described = odoo.describe(Entity::Lead).await.unwrap();
    let names: BTreeSet<&str> = described.iter().map(|field| field.name.as_str()).collect();
    assert!(names.contains("expected_revenue") && !names.contains("planned_revenue"));
    assert!(names.contains("user_id.name"), "an owner is told by name, too");
    assert!(
        described.iter().all(|field| field.name != "signup_token"),
        "what opens a door is not told"
    );
    let key = Key::Reference("allai:nume".to_owned());
    let fields = |name: &str| Fields::from([("name".to_owned(), json!("Nume")), (name.to_owned(), json!("1234.56"))]);
    let created = odoo
        .upsert(Entity::Lead, &key, &fields("planned_revenue"))
        .await
        .unwrap();
    assert!(created.created);
    let found = odoo.find(Entity::Lead, &key).await.unwrap();
    assert_eq!(found[0].fields["expected_revenue"], "1234.56");
    odoo.upsert(Entity::Lead, &key, &fields("expected_revenue"))
        .await
        .unwrap();
    assert_eq!(
        odoo.find(Entity::Lead, &key).await.unwrap(),
        found,
        "nothing has changed"
    );
}

#[tokio::test]
#[ignore = "needs a real Odoo: scripts/test --odoo"]
async fn what_it_refuses_is_told_with_its_field_and_never_half_done() {
    let odoo = Database::shared().connector(&json!({}));
    let refused = |entity, key: Key, fields: serde_json::Value| {
        let odoo = &odoo;
        async move {
            let fields: Fields = serde_json::from_value(fields).unwrap();
            match odoo.upsert(entity, &key, &fields).await.unwrap_err() {
                Error::Rejected { field, message, .. } => (field, message),
                other => panic!("{other:?}"),
            }
        }
    };
    let key = Key::Email("refuzat@example.ro".to_owned());
    let (field, _) = refused(Entity::Contact, key.clone(), json!({})).await;
    assert_eq!(field.as_deref(), Some("name"));
    let (field, _) = refused(
        Entity::Contact,
        key.clone(),
        json!({"name": "R", "email": "alta@example.ro"}),
    )
    .await;
    assert_eq!(field.as_deref(), Some("email"));
    // Only Odoo knows that there is no such record.
    let (_, message) = refused(Entity::Contact, key.clone(), json!({"name": "R", "user_id": 1_999_999})).await;
    assert!(!message.is_empty() && !message.contains("refuzat@"), "{message}");
    let (field, _) = refused(
        Entity::Lead,
        key.clone(),
        json!({"name": "R", "probability": 101, "type": "deal"}),
    )
    .await;
    assert_eq!(field.as_deref(), Some("type"));
    assert!(odoo.find(Entity::Contact, &key).await.unwrap().is_empty());
    assert!(odoo.find(Entity::Lead, &key).await.unwrap().is_empty());
}

#[tokio::test]
#[ignore = "needs a real Odoo: scripts/test --odoo"]
async fn all_changes_come_however_many_share_a_second() {
    let odoo = Database::own().connector(&json!({}));
    let (ids, cursor) = drained(&odoo, Entity::Contact, None).await;
    let mass: BTreeSet<&String> = ids.iter().collect();
    assert_eq!(mass.len(), ids.len(), "each once");
    let mut names = BTreeSet::new();
    for id in &ids {
        let found = odoo.find(Entity::Contact, &Key::Id(id.clone())).await.unwrap();
        names.insert(found[0].fields["name"].as_str().unwrap().to_owned());
    }
    assert_eq!(names.iter().filter(|name| name.starts_with("Mass ")).count(), 350);
    assert!(names.contains("Arhivat"), "what was archived has changed, too");
    let key = Key::Email("maria.ionescu@example.ro".to_owned());
    let fields = Fields::from([("function".to_owned(), json!("Director"))]);
    odoo.upsert(Entity::Contact, &key, &fields).await.unwrap();
    let maria = odoo.find(Entity::Contact, &key).await.unwrap().remove(0).id;
    let (after, _) = drained(&odoo, Entity::Contact, Some(&cursor)).await;
    assert!(after.contains(&maria));
    let long_ago = ids.len() - after.len();
    assert!(long_ago >= 350, "what is old does not come again: {after:?}");
}

#[tokio::test]
#[ignore = "needs a real Odoo: scripts/test --odoo"]
async fn all_is_well_where_all_is_well() {
    let odoo = Database::shared().connector(&json!({"price_list": "Angro", "company": "AllAI Demo SRL"}));
    let checks = odoo.check().await;
    for check in &checks {
        assert!(matches!(check.found, Found::Good(_)), "{check:?}");
    }
    let seen: Vec<&str> = checks.iter().map(|check| check.what.as_str()).collect();
    assert_eq!(
        seen,
        [
            "reached",
            "version",
            "credentials",
            "permission to read product.product",
            "permission to read stock.warehouse",
            "permission to read, create, write res.partner",
            "permission to read, create, write crm.lead",
            "company",
            "warehouses",
            "contact_reference",
            "lead_reference",
            "price list",
        ]
    );
}

#[tokio::test]
#[ignore = "needs a real Odoo: scripts/test --odoo"]
async fn what_is_wrong_is_told_with_its_remedy() {
    let database = Database::shared();
    let with = |keys: serde_json::Value| {
        let odoo = database.connector(&keys);
        async move { odoo.check().await }
    };
    let checks = with(json!({"password": "wrong-password"})).await;
    let (problem, remedy) = bad(&checks, "credentials");
    assert!(!problem.contains("wrong-password") && remedy.contains("password"));
    let checks = with(json!({"database": "nodb"})).await;
    assert!(bad(&checks, "credentials").1.contains("database"), "{checks:?}");
    let checks =
        with(json!({"warehouses": ["Timisoara"], "price_list": "x", "lead_reference": "nothing", "company": 1})).await;
    assert!(bad(&checks, "warehouses").0.contains("Timisoara"));
    bad(&checks, "price list");
    assert!(bad(&checks, "lead_reference").1.contains("lead_reference"));
    let checks = with(json!({"company": "Alta SRL"})).await;
    assert!(bad(&checks, "company").1.contains("company"));
    let checks = with(json!({"username": "limited", "password": "pw-Demo-2-limited"})).await;
    let (problem, _) = bad(&checks, "permission to read, create, write crm.lead");
    assert!(problem.contains("may not read or create or write"), "{problem}");
    let checks = with(json!({"database": null, "username": null, "password": null, "api_key": "key"})).await;
    assert!(
        bad(&checks, "reached").1.contains("username and password"),
        "{checks:?}"
    );
}

#[tokio::test]
#[ignore = "needs a real Odoo: scripts/test --odoo"]
async fn who_may_not_is_told_so() {
    let limited = json!({"username": "limited", "password": "pw-Demo-2-limited"});
    let odoo = Database::shared().connector(&limited);
    let key = Key::Email("x@example.ro".to_owned());
    let fields = Fields::from([("name".to_owned(), json!("X"))]);
    let error = odoo.upsert(Entity::Contact, &key, &fields).await.unwrap_err();
    assert!(
        matches!(&error, Error::Forbidden { doing, .. } if doing == "change res.partner"),
        "{error:?}"
    );
    let wrong = Database::shared().connector(&json!({"password": "wrong"}));
    let error = wrong.find(Entity::Contact, &key).await.unwrap_err();
    assert!(matches!(error, Error::Auth { .. }), "{error:?}");
    assert!(!error.is_worth_repeating());
}

#[tokio::test]
#[ignore = "needs a real Odoo: scripts/test --odoo"]
async fn a_page_with_status_500_is_no_answer() {
    let proxy = lossy::start(&url()).await;
    let odoo = Database::shared().connector(&json!({"url": proxy.url}));
    // As the first call after a start may be answered.
    proxy.fail_next();
    assert_eq!(odoo.stock(&strings(&["PH-1000"])).await.unwrap().len(), 1);
    let impatient = Database::shared().connector(&json!({"url": proxy.url, "timeout": "1s"}));
    proxy.stall(Duration::from_secs(5));
    let error = impatient.stock(&strings(&["PH-1000"])).await.unwrap_err();
    assert!(error.is_worth_repeating(), "{error:?}");
}

/// `sql/odoo_stock.sql` for the tables of 11, where names are no JSON and locations are nested sets.
const STOCK_QUERY: &str = "
SELECT p.default_code AS sku, t.name AS name, p.barcode AS barcode, w.code AS warehouse, w.name AS warehouse_name,
       COALESCE(sum(q.quantity), 0) AS on_hand, COALESCE(sum(q.quantity - q.reserved_quantity), 0) AS available
  FROM product_product p
  JOIN product_template t ON t.id = p.product_tmpl_id AND t.type = 'product'
  JOIN stock_warehouse w ON w.active
  JOIN stock_location view ON view.id = w.view_location_id
  LEFT JOIN stock_location l ON l.usage = 'internal' AND l.parent_left BETWEEN view.parent_left AND view.parent_right
  LEFT JOIN stock_quant q ON q.location_id = l.id AND q.product_id = p.id
 WHERE p.active AND p.default_code IN (:skus)
 GROUP BY p.id, p.default_code, p.barcode, t.name, w.id, w.code, w.name
 ORDER BY w.code";

#[tokio::test]
#[ignore = "needs a real Odoo: scripts/test --odoo"]
async fn its_own_database_tells_the_same_stock_by_sql() {
    let database = Database::shared();
    let config = json!({"url": database.postgres_url(), "stock_query": STOCK_QUERY});
    let sql = Sql::new(&serde_json::from_value(config).unwrap()).unwrap();
    let skus = strings(&["PH-1000", "FT-200", "CZ-24", "CU-1", ODD[0], ODD[2], "not-there"]);
    let told = |stock: Vec<allai_connectors::Stock>| -> Vec<_> {
        let of = |stock: allai_connectors::Stock| {
            let warehouses: Vec<_> = stock
                .warehouses
                .into_iter()
                .map(|warehouse| (warehouse.code, warehouse.name, warehouse.figures.on_hand))
                .collect();
            (stock.asked, stock.item, stock.total.on_hand, warehouses)
        };
        stock.into_iter().map(of).collect()
    };
    let by_sql = told(sql.stock(&skus).await.unwrap());
    let by_rpc = told(database.connector(&json!({})).stock(&skus).await.unwrap());
    assert_eq!(by_sql.len(), 6);
    assert_eq!(by_sql, by_rpc);
}
