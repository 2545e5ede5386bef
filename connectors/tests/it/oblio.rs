//! The Oblio connector, against a fake of what is documented of Oblio.

use std::time::Duration;

use allai_connectors::oblio::{FEW, Oblio};
use allai_connectors::{Connector, Erp, Error, Price, PriceQuery};
use futures_util::future::join_all;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::conformance::{self, Shelf, hostile};
use crate::support::oblio::{Fake, Manner, SECRET, goods, service};
use crate::support::words::{ODD, are_good, bad, number, on_hand, strings, told};

async fn prices(oblio: &Oblio, sku: &str) -> Vec<Price> {
    oblio.prices(&strings(&[sku]), &PriceQuery::default()).await.unwrap()
}

async fn company(manner: Manner) -> Fake {
    let fake = Fake::short().await;
    let both = |one: Value, other: Value| [("Sediu", "Magazin", one), ("Depozit", "Mobila", other)];
    fake.put(goods(
        "PH-1000",
        "Pompă de căldură 10 kW",
        "8999.00",
        &both(json!(0.1), json!("0.2")),
    ));
    fake.put(goods("CZ-24", "Centrală 24 kW", "0.00", &both(json!(0), json!(0))));
    fake.put(goods(
        "PH_2000",
        "Heat pump of 20 kW",
        "12000",
        &both(json!(3), json!(null)),
    ));
    fake.put(service("SV-1", "Montaj", "121.00"));
    fake.put(service("", "Fără cod", "5.00"));
    for code in ODD {
        fake.put(goods(code, "Odd", "1", &both(json!(1), json!(0))));
    }
    fake.state().manner = manner;
    fake
}

#[tokio::test]
async fn it_is_an_erp_like_any_other() {
    let figures = || {
        vec![
            ("Magazin".to_owned(), on_hand("0.1")),
            ("Mobila".to_owned(), on_hand("0.2")),
        ]
    };
    for manner in [
        Manner::default(),
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
            priced: ("PH-1000".to_owned(), Decimal::new(8999, 0), "RON".to_owned()),
            priceless: "CZ-24".to_owned(),
        };
        conformance::erp(&fake.connector(&json!({})), &shelf).await;
        fake.unblocked();
    }
}

#[tokio::test]
async fn a_filter_that_finds_parts_of_codes_does_not_mislead() {
    let fake = company(Manner {
        the_other_way: true,
        ..Manner::default()
    })
    .await;
    let oblio = fake.connector(&json!({}));
    let stock = oblio.stock(&strings(&["PH", "ph-1000"])).await.unwrap();
    assert_eq!(told(&stock), [("ph-1000", number("0.3"))]);
}

#[tokio::test]
async fn many_lookups_at_once_are_few_requests_and_never_exceed_the_vendors_own_limit() {
    let fake = Fake::real().await;
    for number in 0..300 {
        fake.put(goods(
            &format!("A-{number}"),
            "Pump",
            "10",
            &[("Sediu", "Magazin", json!(number))],
        ));
    }
    let oblio = Oblio::new(fake.config(&json!({}))).unwrap();
    let lookup = async |number: usize| {
        let sku = format!("A-{number}");
        let skus = std::slice::from_ref(&sku);
        let query = PriceQuery::default();
        let (stock, prices) = tokio::join!(oblio.stock(skus), oblio.prices(skus, &query));
        assert_eq!(told(&stock.unwrap()), [(sku.as_str(), Some(Decimal::from(number)))]);
        assert_eq!(prices.unwrap()[0].gross, Some(Decimal::new(1210, 2)));
    };
    join_all((0..200).map(lookup)).await;
    assert!(fake.unblocked() <= 5, "{} requests", fake.unblocked());
    // Stock and prices that are asked for together are one request.
    let before = fake.unblocked();
    for number in 0..4 {
        lookup(number).await;
    }
    assert_eq!(fake.unblocked(), before + 4);
    assert_eq!(join_all((0..2).map(|_| oblio.check())).await.len(), 2);
    fake.unblocked();
}

#[tokio::test]
async fn pages_are_read_to_the_end() {
    let fake = Fake::short().await;
    for number in 0..500 {
        fake.put(goods(
            &format!("A-{number}"),
            "Pump",
            "10",
            &[("Sediu", "Magazin", json!(1))],
        ));
    }
    let oblio = fake.connector(&json!({}));
    let skus = strings(&["A-0", "A-249", "A-250", "A-499", "A-500"]);
    let stock = oblio.stock(&skus).await.unwrap();
    assert_eq!(stock.len(), 4);
    let offsets: Vec<_> = fake
        .state()
        .asked
        .iter()
        .filter_map(|asked| asked.param("offset").map(str::to_owned))
        .collect();
    assert_eq!(offsets, ["0", "250", "500"], "a full page may be the last");
    assert_eq!(oblio.search("pump", 1_000).await.unwrap().len(), 500);
    fake.state().manner.ignores_offset = true;
    let error = oblio.stock(&skus).await.unwrap_err();
    assert!(matches!(error, Error::Unreadable { .. }), "{error:?}");
    fake.unblocked();
}

#[tokio::test]
async fn few_codes_are_asked_for_one_by_one_and_many_by_pages() {
    let fake = company(Manner::default()).await;
    let oblio = fake.connector(&json!({}));
    oblio.stock(&strings(&["PH-1000", "CZ-24", "SV-1"])).await.unwrap();
    assert_eq!(fake.unblocked(), 1 + FEW, "a login, and one each");
    oblio
        .stock(&strings(&["PH-1000", "CZ-24", "SV-1", "no"]))
        .await
        .unwrap();
    assert_eq!(fake.unblocked(), 2 + FEW);
    let last = fake.state().asked.last().unwrap().clone();
    assert_eq!(last.params(), ["cif", "limitPerPage", "offset"]);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires_and_when_it_is_refused() {
    let fake = company(Manner::default()).await;
    let oblio = fake.connector(&json!({}));
    let lookup = async || told(&oblio.stock(&strings(&["PH-1000"])).await.unwrap()).len();
    fake.state().says = 1;
    assert_eq!(lookup().await, 1);
    assert_eq!(lookup().await, 1);
    assert_eq!(fake.state().tokens, 1, "it still holds");
    wait(Duration::from_millis(950)).await;
    assert_eq!(lookup().await, 1);
    assert_eq!(fake.state().tokens, 2, "renewed before its end");
    {
        let mut state = fake.state();
        state.says = 3_600;
        state.holds = 2;
    }
    wait(Duration::from_millis(950)).await;
    for _ in 0..5 {
        assert_eq!(lookup().await, 1);
    }
    assert_eq!(fake.state().tokens, 5, "renewed when it was refused, and not else");
    // Searches do not wait for one another: one renews, all go on.
    {
        let mut state = fake.state();
        state.holds = usize::MAX;
        state.tokens = 6;
    }
    join_all((0..8).map(|_| async { assert_eq!(oblio.search("pump", 5).await.unwrap().len(), 1) })).await;
    assert_eq!(fake.state().tokens, 7, "one renewed it for all");
    fake.state().holds = 0;
    let error = oblio.stock(&strings(&["PH-1000"])).await.unwrap_err();
    assert!(matches!(error, Error::Auth { .. }), "{error:?}");
    fake.unblocked();
}

async fn wait(duration: Duration) {
    #[expect(clippy::disallowed_methods, reason = "a token expires by the machine's clock")]
    tokio::time::sleep(duration).await;
}

#[tokio::test]
async fn only_what_counts_is_told() {
    let fake = company(Manner::default()).await;
    let oblio = fake.connector(&json!({"management": "Magazin", "workstation": "Sediu"}));
    let stock = oblio.stock(&strings(&["PH-1000", "SV-1"])).await.unwrap();
    assert_eq!(told(&stock), [("PH-1000", number("0.1")), ("SV-1", None)]);
    assert_eq!(stock[0].warehouses[0].name.as_deref(), Some("Magazin (Sediu)"));
    // Half of it is not known, so all of it is not.
    let all = fake.connector(&json!({}));
    let stock = all.stock(&strings(&["PH_2000"])).await.unwrap();
    assert_eq!(told(&stock), [("PH_2000", None)]);
    assert_eq!(stock[0].warehouses[0].figures, on_hand("3"));
}

#[tokio::test]
async fn prices_have_vat_or_not_and_several_are_all_told() {
    let fake = company(Manner::default()).await;
    let mut two = goods(
        "T-1",
        "Two prices",
        "100.00",
        &[("Sediu", "Magazin", json!(1)), ("Depozit", "Mobila", json!(2))],
    );
    two["stock"][1]["price"] = json!("110.00");
    fake.put(two);
    let oblio = fake.connector(&json!({}));
    let pump = prices(&oblio, "PH-1000").await;
    assert_eq!((pump[0].net, pump[0].gross), (number("8999.00"), number("10888.79")));
    let montage = prices(&oblio, "SV-1").await;
    assert_eq!((montage[0].net, montage[0].gross), (number("100.00"), number("121.00")));
    let nets: Vec<_> = prices(&oblio, "T-1").await.iter().map(|price| price.net).collect();
    assert_eq!(nets, [number("100.00"), number("110.00")]);
    let shop = fake.connector(&json!({"management": "Magazin"}));
    assert_eq!(prices(&shop, "T-1").await.len(), 1);
    let listed = PriceQuery {
        price_list: Some("angro".to_owned()),
        ..PriceQuery::default()
    };
    let error = oblio.prices(&strings(&["T-1"]), &listed).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
}

#[tokio::test]
async fn hostile_words_are_only_ever_values_of_parameters() {
    let fake = company(Manner::default()).await;
    let oblio = fake.connector(&json!({}));
    for text in hostile() {
        oblio.stock(std::slice::from_ref(&text)).await.unwrap();
        oblio.search(&text, 5).await.unwrap();
    }
    let known = ["cif", "code", "name", "limitPerPage", "offset"];
    for asked in &fake.state().asked {
        let is_known = ["/api/authorize/token", "/api/nomenclature/products"].contains(&asked.path.as_str());
        assert!(is_known, "{asked:?}");
        assert!(asked.params().iter().all(|name| known.contains(name)), "{asked:?}");
    }
    fake.unblocked();
}

#[tokio::test]
async fn a_check_says_what_is_wrong_and_what_to_do() {
    let fake = company(Manner::default()).await;
    let checks = fake.connector(&json!({"management": "Mobila"})).check().await;
    assert!(are_good(&checks), "{checks:?}");
    let without_ro = fake.connector(&json!({"cif": "37311091"})).check().await;
    assert!(bad(&without_ro, "company").0.contains("RO37311090"));
    let checks = fake.connector(&json!({"client_secret": "wrong-secret"})).check().await;
    assert!(bad(&checks, "credentials").1.contains("Setari > Date Cont"));
    assert!(!format!("{checks:?}").contains("wrong-secret"));
    let checks = fake.connector(&json!({"management": "mobila"})).check().await;
    assert!(bad(&checks, "warehouses").0.contains("Mobila (Depozit)"));
    fake.state().manner.without_stock = true;
    let checks = fake.connector(&json!({})).check().await;
    assert!(bad(&checks, "warehouses").1.contains("activate stock"));
    fake.unblocked();
}

#[tokio::test]
async fn who_is_blocked_says_so_and_asks_no_more() {
    for (status, text) in [
        (401, "Token-ul este blocat 10 minute"),
        (429, ""),
        (400, "Too many requests"),
    ] {
        let fake = company(Manner::default()).await;
        fake.state().instead = Some((status, json!({"status": status, "statusMessage": text}).to_string()));
        let oblio = fake.connector(&json!({}));
        for _ in 0..3 {
            let error = oblio.stock(&strings(&["PH-1000"])).await.unwrap_err();
            let wait = match error {
                Error::RateLimited { retry_after, .. } => retry_after.unwrap(),
                other => panic!("{status}: {other:?}"),
            };
            assert!(wait.as_secs() > 590, "{wait:?}");
        }
        assert_eq!(fake.state().asked.len(), 2, "{status}: a login, and one");
        assert!(bad(&oblio.check().await, "limit").1.contains("10 minutes"));
    }
}

#[tokio::test]
async fn failures_are_told_apart_and_quote_neither_the_secret_nor_what_was_asked() {
    let sku = "0722111222";
    for (answer, kind) in [
        ((401, json!({"statusMessage": sku})), "Auth"),
        ((400, json!({"statusMessage": sku})), "Rejected"),
        ((500, json!(sku)), "Transient"),
        ((200, json!({"status": 200, "statusMessage": sku})), "Unreadable"),
        ((200, json!({"status": 401, "statusMessage": sku})), "Auth"),
    ] {
        let fake = company(Manner::default()).await;
        fake.state().instead = Some((answer.0, answer.1.to_string()));
        let oblio = fake.connector(&json!({}));
        let error = oblio.stock(&strings(&[sku])).await.unwrap_err();
        let shown = format!("{error:?} {error} {oblio:?}");
        assert!(shown.starts_with(kind), "{shown}");
        assert!(
            !shown.contains(sku) && !shown.contains(SECRET) && !shown.contains("token-"),
            "{shown}"
        );
        fake.unblocked();
    }
}
