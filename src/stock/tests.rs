use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use allai_connectors::{self as connectors, Capabilities, Check, Erp, Figures, Kind, PriceQuery, Stock};
use async_trait::async_trait;
use chrono::{TimeZone as _, Utc};
use futures_util::future::join_all;

use super::*;
use crate::clock::{Clock as _, VirtualClock};

const TERMS: Terms = Terms {
    fresh: Duration::from_secs(30),
    kept: Duration::from_hours(24),
    deadline: Duration::from_secs(3),
};

/// An ERP in memory, that counts how often it is asked.
#[derive(Debug)]
struct Shop {
    clock: SharedClock,
    stock: Mutex<BTreeMap<String, i64>>,
    latency: Mutex<Duration>,
    latency_of_each: Mutex<Duration>,
    broken: Mutex<Option<Error>>,
    requests: AtomicUsize,
}

impl Shop {
    fn new(clock: &SharedClock, skus: usize) -> Arc<Self> {
        let stock = (0..=skus).map(|at| (format!("SKU-{at}"), i64::try_from(at).unwrap()));
        Arc::new(Self {
            clock: SharedClock::clone(clock),
            stock: Mutex::new(stock.collect()),
            latency: Mutex::new(Duration::from_millis(20)),
            latency_of_each: Mutex::default(),
            broken: Mutex::default(),
            requests: AtomicUsize::new(0),
        })
    }

    fn break_down(&self, error: Option<Error>) {
        *self.broken.lock().unwrap() = error;
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Connector for Shop {
    fn kind(&self) -> Kind {
        Kind::Sql
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            stock: true,
            ..Capabilities::default()
        }
    }

    async fn check(&self) -> Vec<Check> {
        Vec::new()
    }

    fn erp(&self) -> Option<&dyn Erp> {
        Some(self)
    }
}

#[async_trait]
impl Erp for Shop {
    async fn search(&self, _: &str, _: usize) -> Result<Vec<connectors::Item>, Error> {
        Ok(Vec::new())
    }

    async fn stock(&self, skus: &[String]) -> Result<Vec<Stock>, Error> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let count = u32::try_from(skus.len()).unwrap();
        let latency = *self.latency.lock().unwrap() + count * *self.latency_of_each.lock().unwrap();
        self.clock.sleep(latency).await;
        if let Some(error) = &*self.broken.lock().unwrap() {
            return Err(error.clone());
        }
        if skus.iter().any(|sku| sku == "two of one") {
            return Err(Error::Conflict {
                system: "sql",
                message: "several products have this code".to_owned(),
            });
        }
        let stock = self.stock.lock().unwrap();
        let of = |sku: &String| {
            let on_hand = (*stock.get(sku)?).into();
            Some(Stock {
                asked: sku.clone(),
                item: connectors::Item {
                    sku: sku.clone(),
                    name: None,
                    barcode: None,
                },
                uom: None,
                total: Figures {
                    on_hand: Some(on_hand),
                    available: None,
                },
                warehouses: Vec::new(),
                as_of: None,
            })
        };
        let mut found: Vec<Stock> = skus.iter().filter_map(of).collect();
        if let Some(shared) = found.iter().find(|stock| stock.asked == "SKU-0").cloned() {
            found.push(shared);
        }
        Ok(found)
    }

    async fn prices(&self, _: &[String], _: &PriceQuery) -> Result<Vec<connectors::Price>, Error> {
        Ok(Vec::new())
    }
}

fn gone() -> Error {
    Error::Transient {
        system: "sql",
        message: "is not reached".to_owned(),
        may_have_happened: false,
    }
}

fn world(skus: usize) -> (VirtualClock, Arc<Shop>, Stocks) {
    let clock = VirtualClock::new(Utc.with_ymd_and_hms(2026, 1, 19, 10, 30, 0).unwrap());
    let shop = Shop::new(&clock.shared(), skus);
    let erp: Arc<dyn Connector> = Arc::<Shop>::clone(&shop);
    let stocks = Stocks::new([("erp".to_owned(), erp, TERMS)], &clock.shared());
    (clock, shop, stocks)
}

async fn one(stocks: &Stocks, sku: &str) -> Item {
    Item::from(&stocks.look_up(&[sku.to_owned()], None).await.unwrap()[0])
}

#[tokio::test]
async fn a_thousand_who_ask_for_fifty_skus_are_few_requests() {
    let (_, shop, stocks) = world(50);
    let skus: Vec<String> = (0..1_000).map(|at| format!("SKU-{}", 1 + at % 50)).collect();
    let asking = skus.iter().map(|sku| one(&stocks, sku));
    for (at, item) in join_all(asking).await.into_iter().enumerate() {
        assert_eq!(item.total.on_hand, Some(i64::try_from(1 + at % 50).unwrap().into()));
        assert_ne!(item.source, Some(Origin::Stale));
    }
    assert!(shop.requests() <= 50, "{}", shop.requests());
}

#[tokio::test]
async fn a_figure_is_told_again_while_it_is_fresh_and_with_its_age_while_the_erp_is_down() {
    let (clock, shop, stocks) = world(9);
    let live = one(&stocks, "SKU-7").await;
    assert_eq!((live.source, live.total.on_hand), (Some(Origin::Live), Some(7.into())));
    shop.stock.lock().unwrap().insert("SKU-7".to_owned(), 6);
    clock.advance(Duration::from_secs(20));
    let cached = one(&stocks, "SKU-7").await;
    assert_eq!(
        (cached.source, cached.total.on_hand),
        (Some(Origin::Cached), Some(7.into()))
    );
    assert_eq!((cached.as_of, shop.requests()), (live.as_of, 1));
    clock.advance(Duration::from_secs(20));
    let again = one(&stocks, "SKU-7").await;
    assert_eq!(
        (again.source, again.total.on_hand),
        (Some(Origin::Live), Some(6.into()))
    );
    shop.break_down(Some(gone()));
    clock.advance(Duration::from_mins(5));
    let stale = one(&stocks, "SKU-7").await;
    assert_eq!(
        (stale.source, stale.total.on_hand),
        (Some(Origin::Stale), Some(6.into()))
    );
    assert_eq!(stale.as_of, again.as_of);
    let unknown = one(&stocks, "SKU-8").await;
    assert_eq!((unknown.found, unknown.total.on_hand), (false, None));
    assert_eq!(unknown.error.as_deref(), Some("erp: sql is not reached"));
}

#[tokio::test]
async fn an_erp_that_hangs_holds_nobody_up_and_is_then_left_alone() {
    let (clock, shop, stocks) = world(9);
    one(&stocks, "SKU-1").await;
    *shop.latency.lock().unwrap() = Duration::from_hours(1);
    for _ in 0..10 {
        clock.advance(Duration::from_secs(31));
        let began = clock.monotonic();
        let item = one(&stocks, "SKU-1").await;
        assert!(clock.monotonic() <= began + TERMS.deadline);
        assert_eq!((item.source, item.total.on_hand), (Some(Origin::Stale), Some(1.into())));
        let item = one(&stocks, "SKU-2").await;
        assert!(
            item.error
                .is_some_and(|error| error.contains("does not answer within 3 s"))
        );
    }
    let asked = shop.requests();
    assert!((5..16).contains(&asked), "{asked}");
    *shop.latency.lock().unwrap() = Duration::ZERO;
    clock.advance(Duration::from_mins(2));
    assert_eq!(one(&stocks, "SKU-2").await.source, Some(Origin::Live));
}

#[tokio::test]
async fn a_sku_that_is_not_liked_costs_the_others_nothing_and_the_erp_is_not_left_alone_for_it() {
    let (clock, shop, stocks) = world(99);
    *shop.latency.lock().unwrap() = Duration::from_millis(40);
    let mut skus: Vec<String> = (1..=99).map(|at| format!("SKU-{at}")).collect();
    skus.push("two of one".to_owned());
    for _ in 0..5 {
        let answers = stocks.look_up(&skus, None).await.unwrap();
        let found = answers
            .iter()
            .filter(|answer| matches!(answer.figure, Ok(Some(_))))
            .count();
        assert_eq!(found, 99);
        clock.advance(Duration::from_mins(1));
    }
    assert_eq!(one(&stocks, "SKU-1").await.source, Some(Origin::Live));
}

#[tokio::test]
async fn many_skus_that_take_too_long_together_are_asked_for_in_smaller_parts() {
    let (clock, shop, stocks) = world(100);
    *shop.latency_of_each.lock().unwrap() = Duration::from_millis(50);
    let skus: Vec<String> = (1..=100).map(|at| format!("SKU-{at}")).collect();
    let mut found = vec![0];
    while found.last() < Some(&100) && found.len() < 10 {
        let answers = stocks.look_up(&skus, None).await.unwrap();
        found.push(
            answers
                .iter()
                .filter(|answer| matches!(answer.figure, Ok(Some(_))))
                .count(),
        );
        clock.advance(Duration::from_secs(5));
    }
    assert_eq!(found.last(), Some(&100), "{found:?}");
    assert_eq!(one(&stocks, "SKU-1").await.error, None);
}

#[tokio::test]
async fn refused_credentials_are_not_tried_again_and_again() {
    let (clock, shop, stocks) = world(9);
    one(&stocks, "SKU-1").await;
    shop.break_down(Some(Error::Auth {
        system: "sql",
        message: "no".to_owned(),
        remedy: "password",
    }));
    for _ in 0..59 {
        clock.advance(Duration::from_secs(1));
        one(&stocks, "SKU-2").await;
    }
    assert_eq!(shop.requests(), 2);
    assert!(
        one(&stocks, "SKU-2")
            .await
            .error
            .is_some_and(|error| error.contains("correct password"))
    );
    assert_eq!(one(&stocks, "SKU-1").await.source, Some(Origin::Stale));
}

#[tokio::test]
async fn what_is_known_is_forgotten_in_time_however_often_it_is_asked_for() {
    let (clock, shop, stocks) = world(9);
    one(&stocks, "SKU-1").await;
    assert!(!one(&stocks, "new").await.found);
    shop.break_down(Some(gone()));
    clock.advance(Duration::from_mins(1));
    let missing = one(&stocks, "new").await;
    assert!(missing.error.is_some(), "it may be there by now");
    for _ in 0..25 {
        assert_eq!(one(&stocks, "SKU-1").await.source, Some(Origin::Stale));
        clock.advance(Duration::from_mins(57));
    }
    clock.advance(Duration::from_hours(1));
    assert!(one(&stocks, "SKU-1").await.error.is_some());
}

#[tokio::test]
async fn what_is_not_there_or_ambiguous_says_so_and_harms_no_other() {
    let (_, _, stocks) = world(2);
    let shared = one(&stocks, "SKU-0").await;
    assert!(
        shared
            .error
            .is_some_and(|error| error.contains("2 products have this code"))
    );
    let skus = ["SKU-1", "two of one", "none"].map(str::to_owned);
    let answers = stocks.look_up(&skus, Some("erp")).await.unwrap();
    let report = Report::from(&answers[..]);
    let found: Vec<bool> = report.items.iter().map(|item| item.found).collect();
    assert_eq!(found, [true, false, false]);
    assert_eq!(
        report.items[1].error.as_deref(),
        Some("erp: sql: several products have this code")
    );
    assert_eq!(report.items[2].error, None);
    let text = serde_json::to_string(&report.items[0]).unwrap();
    assert!(
        text.starts_with(r#"{"sku":"SKU-1","name":null,"found":true,"on_hand":"1","available":null,"uom":null,"#),
        "{text}"
    );
    let nobody = stocks.look_up(&skus, Some("crm")).await.unwrap_err();
    assert!(nobody.to_string().contains("those that do: erp"), "{nobody}");
}
