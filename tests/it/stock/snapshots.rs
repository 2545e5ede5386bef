//! What was on stock, written down for reports.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use allai_connectors::{Capabilities, Check, Connector, Erp, Error, Item, Kind, Price, PriceQuery, Stock};
use allai_sync::app;
use allai_sync::clock::SystemClock;
use allai_sync::config::{Config, LoadOptions};
use allai_sync::stock::{Ended, Snapshots};
use allai_sync::warehouse::Warehouse;
use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::shop_beside;
use crate::daemon::{Daemon, until};
use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::{on_both_databases, size};

on_both_databases!(
    the_daemon_takes_one_at_once_and_on_schedule,
    one_that_broke_off_is_gone_on_with,
    one_that_is_given_up_leaves_nothing,
    a_daemon_killed_again_and_again_leaves_whole_ones,
);

const CATALOGUE: &str = "catalogue_query = \"SELECT sku FROM products WHERE sku > :after ORDER BY sku LIMIT :limit\"\n";

/// The sections that take snapshots.
fn every(schedule: &str) -> String {
    format!("{CATALOGUE}[stock_snapshots.erp]\nschedule = \"{schedule}\"\n")
}

/// So many products more, each in one warehouse.
async fn fill(erp: &Database, products: usize) {
    erp.execute(&format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {products})
         INSERT INTO products SELECT printf('N-%06d', i), 'Numbered', 'buc', NULL, NULL FROM n;
         INSERT INTO stock SELECT sku, 'BUC', '1', '1' FROM products WHERE sku LIKE 'N-%';
         CREATE INDEX products_by_sku ON products (sku); CREATE INDEX stock_by_sku ON stock (sku);"
    ))
    .await;
}

async fn count(database: &Database, sql: &str) -> u64 {
    database.value(sql).await.parse().unwrap()
}

async fn the_daemon_takes_one_at_once_and_on_schedule(database: Database) {
    let (mirror, _erp) = shop_beside(database, &every("@every 1s")).await;
    let database = &mirror.database;
    let _daemon = Daemon::start(&mirror).await;
    until("there are two", async || {
        count(database, "SELECT count(DISTINCT captured_at) FROM stock_levels").await > 1
    })
    .await;
    let lines = database
        .rows(
            "SELECT sku, warehouse, name, uom, CAST(on_hand * 10 AS INTEGER) AS tenths, \
             CAST(available AS INTEGER) AS available FROM stock_levels_latest ORDER BY sku, warehouse",
        )
        .await;
    let told: Vec<[Option<&str>; 6]> = lines
        .iter()
        .map(|line| ["sku", "warehouse", "name", "uom", "tenths", "available"].map(|column| line.get(column)))
        .collect();
    let heat_pump = Some("Pompă de căldură");
    assert_eq!(
        told,
        [
            // Of what has no row, nothing is known.
            [Some("A/B 1"), Some(""), Some("Cu spațiu"), None, None, None],
            [
                Some("CZ-24"),
                Some("BUC"),
                Some("Centrală"),
                Some("buc"),
                Some("0"),
                Some("0")
            ],
            [
                Some("PH-1000"),
                Some("BUC"),
                heat_pump,
                Some("buc"),
                Some("70"),
                Some("5")
            ],
            [Some("PH-1000"), Some("CLJ"), heat_pump, Some("buc"), Some("35"), None],
        ]
    );
}

/// A system that is away from a call on, for so many calls.
#[derive(Debug)]
struct Flaky {
    inner: Arc<dyn Connector>,
    calls: AtomicUsize,
    away_at: usize,
    away_for: usize,
}

#[async_trait]
impl Connector for Flaky {
    fn kind(&self) -> Kind {
        self.inner.kind()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn check(&self) -> Vec<Check> {
        self.inner.check().await
    }

    fn erp(&self) -> Option<&dyn Erp> {
        Some(self)
    }
}

#[async_trait]
impl Erp for Flaky {
    async fn search(&self, words: &str, limit: usize) -> Result<Vec<Item>, Error> {
        self.inner.erp().unwrap().search(words, limit).await
    }

    async fn stock(&self, skus: &[String]) -> Result<Vec<Stock>, Error> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if (self.away_at..self.away_at + self.away_for).contains(&call) {
            return Err(Error::Transient {
                system: "sql",
                message: "it is away".to_owned(),
                may_have_happened: false,
            });
        }
        self.inner.erp().unwrap().stock(skus).await
    }

    async fn prices(&self, skus: &[String], query: &PriceQuery) -> Result<Vec<Price>, Error> {
        self.inner.erp().unwrap().prices(skus, query).await
    }

    async fn skus(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, Error> {
        self.inner.erp().unwrap().skus(after, limit).await
    }
}

/// What takes the snapshots of a mirror's configuration, of a system that is away now and then.
async fn snapshots(mirror: &Mirror, away_at: usize, away_for: usize) -> (Snapshots, Arc<Flaky>) {
    let options = LoadOptions::from_process(Some(mirror.config_path()));
    let config = Config::load(&options).unwrap().config;
    let clock = SystemClock::shared();
    let warehouse = Warehouse::open(&app::location(&config), Arc::clone(&clock))
        .await
        .unwrap();
    warehouse.migrate().await.unwrap();
    let erp = Arc::new(Flaky {
        inner: Arc::clone(&app::connectors(&config)["erp"]),
        calls: AtomicUsize::new(0),
        away_at,
        away_for,
    });
    let connector = Arc::clone(&erp) as Arc<dyn Connector>;
    let snapshots = Snapshots::new("erp", &config.stock_snapshots["erp"], connector, &warehouse, &clock);
    (snapshots, erp)
}

async fn one_that_broke_off_is_gone_on_with(database: Database) {
    let (mirror, erp) = shop_beside(database, &every("0 0 4 * * *")).await;
    fill(&erp, 1_997).await;
    let (snapshots, flaky) = snapshots(&mirror, 2, 1).await;
    let stop = CancellationToken::new();
    let ended = snapshots.run(&stop).await;
    assert!(
        matches!(&ended, Ended::Failed(error) if error.contains("it is away")),
        "{ended:?}"
    );
    let database = &mirror.database;
    assert_eq!(count(database, "SELECT count(*) FROM stock_levels_latest").await, 0);
    let error = database.value("SELECT error FROM stock_snapshots").await;
    assert!(error.contains("it is away"), "{error}");

    let ended = snapshots.run(&stop).await;
    assert!(matches!(ended, Ended::Complete(2_000)), "{ended:?}");
    assert_eq!(flaky.calls.load(Ordering::Relaxed), 5, "four pieces, and one again");
    let all = "SELECT count(*) FROM stock_levels_latest";
    assert_eq!(count(database, all).await, 2_001, "one of them is in two warehouses");
    assert_eq!(
        count(database, "SELECT count(*) FROM stock_snapshots WHERE error IS NULL").await,
        1
    );
    // The next is due at night.
    let due = snapshots.due_at().await.unwrap().unwrap();
    assert!(due > SystemClock::shared().now(), "{due}");
    let ended = snapshots.run(&stop).await;
    assert!(matches!(ended, Ended::Left), "{ended:?}");
    assert_eq!(flaky.calls.load(Ordering::Relaxed), 5);
}

async fn one_that_is_given_up_leaves_nothing(database: Database) {
    let (mirror, erp) = shop_beside(database, &every("@every 1s")).await;
    fill(&erp, 1_200).await;
    let (snapshots, _) = snapshots(&mirror, 2, 1).await;
    let stop = CancellationToken::new();
    assert!(matches!(snapshots.run(&stop).await, Ended::Failed(_)));
    let database = &mirror.database;
    let given_up = database
        .value("SELECT CAST(begun_at AS TEXT) FROM stock_snapshots")
        .await;
    assert_eq!(count(database, "SELECT count(*) FROM stock_levels").await, 1_000);
    SystemClock::shared().sleep(Duration::from_millis(2_100)).await;
    let ended = snapshots.run(&stop).await;
    assert!(matches!(ended, Ended::Complete(1_203)), "{ended:?}");
    assert_ne!(
        database
            .value("SELECT CAST(begun_at AS TEXT) FROM stock_snapshots")
            .await,
        given_up
    );
    assert_eq!(count(database, "SELECT count(*) FROM stock_levels").await, 1_204);

    // While somebody else is at it, nothing happens.
    SystemClock::shared().sleep(Duration::from_millis(2_100)).await;
    database
        .execute("UPDATE stock_snapshots SET holder = 'other', expires_at = '2999-01-01T00:00:00.000000Z'")
        .await;
    assert!(matches!(snapshots.run(&stop).await, Ended::Left));
    database
        .execute("UPDATE stock_snapshots SET expires_at = '2000-01-01T00:00:00.000000Z'")
        .await;
    assert!(matches!(snapshots.run(&stop).await, Ended::Complete(1_203)));
}

async fn a_daemon_killed_again_and_again_leaves_whole_ones(database: Database) {
    let (mirror, erp) = shop_beside(database, &every("@every 1s")).await;
    fill(&erp, 9_997).await;
    let database = &mirror.database;
    for number in 0..size("ALLAI_SYNC_TEST_KILLS", 4) {
        let daemon = Daemon::start(&mirror).await;
        SystemClock::shared()
            .sleep(Duration::from_millis(37 * (1 + number as u64 % 11)))
            .await;
        daemon.process.kill();
    }
    let latest = "SELECT coalesce(CAST(max(complete_at) AS TEXT), '') FROM stock_snapshots";
    let before = database.value(latest).await;
    let _daemon = Daemon::start(&mirror).await;
    until("there is a new one", async || database.value(latest).await != before).await;
    let partial = "SELECT count(*) FROM (SELECT l.captured_at FROM stock_levels l, stock_snapshots s \
                   WHERE l.captured_at <= s.complete_at GROUP BY l.captured_at HAVING count(*) <> 10001) AS partial";
    assert_eq!(count(database, partial).await, 0);
    assert_eq!(
        count(database, "SELECT count(*) FROM stock_levels_latest").await,
        10_001
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_section_is_said_with_its_place() {
    let sections = "[stock_snapshots.erp]\nkeep = \"1h\"\nschedule = \"x\"\n";
    let (mirror, _erp) = shop_beside(Database::sqlite(), sections).await;
    let said = mirror.say(&["config", "show"]).expect(2);
    assert!(said.stderr.contains("stock_snapshots.erp.schedule: "), "{said:?}");
    let sections = "[stock_snapshots.erp]\nkeep = \"1h\"\n[stock_snapshots.epr]\nskus = [\"A\"]\n";
    let (mirror, _erp) = shop_beside(Database::sqlite(), sections).await;
    let said = mirror.say(&["config", "show"]).expect(2);
    for problem in [
        "stock_snapshots.erp.skus: missing: as it is configured, this connector cannot list its products",
        "stock_snapshots.erp.keep: must be at least 1d",
        "stock_snapshots.epr: there is no connector of this name",
    ] {
        assert!(said.stderr.contains(problem), "{problem}: {}", said.stderr);
    }
}
