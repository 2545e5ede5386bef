//! The SmartBill connector, against a fake of what is known of SmartBill.

use allai_connectors::smartbill::{FEW, Smartbill};
use allai_connectors::{Connector, Erp, Error};
use futures_util::future::join_all;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::conformance::{self, Shelf, hostile};
use crate::support::smartbill::{Fake, Manner, TOKEN};
use crate::support::words::{ODD, are_good, bad, number, on_hand, strings, told};

async fn company(manner: Manner) -> Fake {
    let fake = Fake::short().await;
    fake.put("Bucuresti", "PH-1000", "Pompă de căldură 10 kW", 0.1);
    fake.put("Cluj", "PH-1000", "Pompă de căldură 10 kW", 0.2);
    fake.put("Bucuresti", "CZ-24", "Centrală 24 kW", 0);
    fake.put("Cluj", "CZ-24", "Centrală 24 kW", 0);
    fake.put("Cluj", "PH_2000", "Heat pump of 20 kW", 3);
    fake.put("Bucuresti", "SV-1", "Montaj", Value::Null);
    fake.put("Cluj", "", "Fără cod", 9);
    for code in ODD {
        fake.put("Cluj", code, "Odd", 1);
    }
    fake.state().manner = manner;
    fake
}

#[tokio::test]
async fn it_is_an_erp_like_any_other() {
    let figures = || {
        vec![
            ("Bucuresti".to_owned(), on_hand("0.1")),
            ("Cluj".to_owned(), on_hand("0.2")),
        ]
    };
    for manner in [
        Manner::default(),
        Manner {
            in_part: true,
            texts: true,
            ..Manner::default()
        },
        Manner {
            unknown_is_error: true,
            ..Manner::default()
        },
    ] {
        let fake = company(manner).await;
        let shelf = Shelf {
            stocked: ("PH-1000".to_owned(), on_hand("0.3"), figures()),
            sold_out: "CZ-24".to_owned(),
            unknown: Some("SV-1".to_owned()),
            odd: strings(&ODD),
            word: ("pump of".to_owned(), strings(&["PH_2000"])),
            priced: ("PH-1000".to_owned(), Decimal::ONE, "RON".to_owned()),
            priceless: "CZ-24".to_owned(),
        };
        conformance::erp(&fake.connector(&json!({})), &shelf).await;
        fake.unblocked();
    }
}

#[tokio::test]
async fn many_lookups_at_once_are_few_requests_and_never_exceed_the_vendors_own_limit() {
    let fake = Fake::real().await;
    for number in 0..200 {
        fake.put("Cluj", &format!("A-{number}"), "Pump", number);
    }
    let smartbill = Smartbill::new(fake.config(&json!({}))).unwrap();
    let lookup = async |number: usize| {
        let sku = format!("A-{number}");
        let stock = smartbill.stock(std::slice::from_ref(&sku)).await.unwrap();
        assert_eq!(told(&stock), [(sku.as_str(), Some(Decimal::from(number)))]);
    };
    join_all((0..200).map(lookup)).await;
    assert!(fake.unblocked() <= 3, "{} requests", fake.unblocked());
    // Neither do those that cannot be asked together.
    for number in 0..6 {
        lookup(number).await;
    }
    assert_eq!(join_all((0..4).map(|_| smartbill.check())).await.len(), 4);
    fake.unblocked();
}

#[tokio::test]
async fn few_codes_are_asked_for_one_by_one_and_many_by_the_list() {
    let fake = company(Manner::default()).await;
    let smartbill = fake.connector(&json!({}));
    smartbill.stock(&strings(&["PH-1000", "CZ-24", "SV-1"])).await.unwrap();
    let codes: Vec<_> = fake
        .state()
        .asked
        .iter()
        .map(|asked| asked.param("productCode").map(str::to_owned))
        .collect();
    assert_eq!(codes.len(), FEW);
    assert!(codes.iter().all(Option::is_some), "{codes:?}");
    let stock = smartbill
        .stock(&strings(&["PH-1000", "no", "CZ-24", "ph_2000"]))
        .await
        .unwrap();
    assert_eq!(
        told(&stock),
        [
            ("PH-1000", number("0.3")),
            ("CZ-24", number("0")),
            ("ph_2000", number("3"))
        ]
    );
    assert_eq!(fake.unblocked(), FEW + 1);
    assert_eq!(fake.state().asked.last().unwrap().params(), ["cif", "date"]);
}

#[tokio::test]
async fn only_the_warehouses_that_count_are_told() {
    let fake = company(Manner::default()).await;
    fake.put("Depozit", "PH-1000", "Pompă de căldură 10 kW", 100);
    let ask = async |warehouses: Value| {
        let smartbill = fake.connector(&json!({"warehouses": warehouses}));
        smartbill.stock(&strings(&["PH-1000"])).await.unwrap().remove(0)
    };
    let two = ask(json!(["Bucuresti", "Cluj"])).await;
    assert_eq!((two.total, two.warehouses.len()), (on_hand("0.3"), 2));
    let one = ask(json!(["Depozit"])).await;
    assert_eq!((one.total, one.warehouses.len()), (on_hand("100"), 1));
    assert_eq!(
        fake.state().asked.last().unwrap().param("warehouseName"),
        Some("Depozit")
    );
    // It is there, and how much of it in these is not known.
    let fake_only = fake.connector(&json!({"warehouses": ["Bucuresti", "Altundeva"]}));
    let elsewhere = fake_only.stock(&strings(&["PH_2000"])).await.unwrap();
    assert_eq!(told(&elsewhere), [("PH_2000", None)]);
}

#[tokio::test]
async fn several_products_with_one_code_are_all_told() {
    let fake = company(Manner::default()).await;
    fake.put("Cluj", "PH-1000", "Another product", 7);
    let smartbill = fake.connector(&json!({}));
    let stock = smartbill.stock(&strings(&["PH-1000"])).await.unwrap();
    assert_eq!(told(&stock), [("PH-1000", number("0.3")), ("PH-1000", number("7"))]);
}

#[tokio::test]
async fn hostile_words_are_only_ever_values_of_parameters() {
    let fake = company(Manner::default()).await;
    let smartbill = fake.connector(&json!({}));
    for text in hostile() {
        smartbill.stock(std::slice::from_ref(&text)).await.unwrap();
    }
    let known = ["cif", "date", "productCode"];
    for asked in &fake.state().asked {
        assert_eq!((asked.method.as_str(), asked.path.as_str()), ("GET", "/api/stocks"));
        assert!(asked.params().iter().all(|name| known.contains(name)), "{asked:?}");
    }
}

#[tokio::test]
async fn a_check_says_what_is_wrong_and_what_to_do() {
    let fake = company(Manner::default()).await;
    let checks = fake
        .connector(&json!({"warehouses": ["Cluj", "Bucuresti"]}))
        .check()
        .await;
    assert!(are_good(&checks), "{checks:?}");
    let checks = fake.connector(&json!({"token": "wrong-secret"})).check().await;
    assert!(bad(&checks, "credentials").1.contains("Integrari"));
    assert!(!format!("{checks:?}").contains("wrong-secret"));
    let checks = fake.connector(&json!({"cif": "RO99"})).check().await;
    assert!(bad(&checks, "company").1.contains("correct cif"));
    let checks = fake.connector(&json!({"warehouses": ["cluj"]})).check().await;
    assert!(bad(&checks, "warehouses").0.contains("cluj"));
    fake.state().instead = Some((403, "{}".to_owned()));
    let checks = fake.connector(&json!({})).check().await;
    assert!(bad(&checks, "permission to read stock").1.contains("Gestiune"));
    fake.state().instead = Some((200, "<html>Mentenanta</html>".to_owned()));
    let checks = fake.connector(&json!({})).check().await;
    bad(&checks, "reached");
    fake.unblocked();
}

#[tokio::test]
async fn who_is_blocked_says_so_and_asks_no_more() {
    for (status, text) in [
        (403, "Contul este blocat 10 minute"),
        (429, ""),
        (200, "Cont blocat: prea multe apeluri"),
    ] {
        let fake = company(Manner::default()).await;
        fake.state().instead = Some((status, json!({"errorText": text}).to_string()));
        let smartbill = fake.connector(&json!({}));
        for _ in 0..3 {
            let error = smartbill.stock(&strings(&["PH-1000"])).await.unwrap_err();
            let wait = match error {
                Error::RateLimited { retry_after, .. } => retry_after.unwrap(),
                other => panic!("{status}: {other:?}"),
            };
            assert!(wait.as_secs() > 590, "{wait:?}");
        }
        assert_eq!(fake.state().asked.len(), 1, "{status}");
        assert!(bad(&smartbill.check().await, "limit").1.contains("10 minutes"));
    }
}

#[tokio::test]
async fn failures_are_told_apart_and_quote_neither_the_secret_nor_what_was_asked() {
    let sku = "0722111222";
    for (answer, kind) in [
        ((401, json!({"errorText": sku})), "Auth"),
        ((200, json!({"errorText": "Autentificare esuata"})), "Auth"),
        ((500, json!(sku)), "Transient"),
        ((200, json!({"message": sku})), "Unreadable"),
        ((405, json!(null)), "Unsupported"),
    ] {
        let fake = company(Manner::default()).await;
        fake.state().instead = Some((answer.0, answer.1.to_string()));
        let smartbill = fake.connector(&json!({}));
        let error = smartbill.stock(&strings(&[sku])).await.unwrap_err();
        let shown = format!("{error:?} {error} {smartbill:?}");
        assert!(shown.starts_with(kind), "{shown}");
        assert!(!shown.contains(sku) && !shown.contains(TOKEN), "{shown}");
        fake.unblocked();
    }
}
