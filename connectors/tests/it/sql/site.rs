//! A database of a test's own, as a company might have it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use allai_connectors::Error;
use allai_connectors::sql::{Config, Sql};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};

use crate::support::{mariadb, postgres};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    Sqlite,
    Postgres,
    Mariadb,
}

/// A database. It stays on its server, which goes with the process.
pub(super) struct Site {
    pub(super) on: On,
    /// As whom everything is allowed.
    pub(super) url: String,
    pub(super) name: String,
    _folder: Option<tempfile::TempDir>,
}

/// The tables of most tests.
const COMPANY: &str = "
CREATE TABLE products (sku TEXT, name TEXT, barcode TEXT, uom TEXT);
CREATE TABLE stock (sku TEXT, warehouse TEXT, warehouse_name TEXT, on_hand DECIMAL(24,6), available DECIMAL(24,6));
CREATE TABLE prices (sku TEXT, list TEXT, min_quantity DECIMAL(12,3), net DECIMAL(24,6), gross DECIMAL(24,6));
INSERT INTO products VALUES
  ('PH-1000', 'Pompă de căldură 10 kW', '5941234567890', 'buc'),
  ('PH-2000', 'Pump 100% copper', NULL, 'buc'),
  ('PH_2000', 'Pump of 100 parts', NULL, 'buc'),
  ('10', 'PH-1000 spare part', NULL, NULL),
  ('NOWHERE', 'Not on stock', NULL, NULL);
INSERT INTO stock VALUES
  ('PH-1000', 'B', 'București', 0.1, 0.1),
  ('PH-1000', 'C', 'Cluj', 0.2, -1),
  ('PH-2000', 'B', 'București', 12345678901234567.123456, NULL),
  ('PH-2000', 'C', 'Cluj', 1, 1),
  ('10', NULL, NULL, 7, 6),
  ('10', 'B', 'București', 3, NULL);
INSERT INTO prices VALUES
  ('PH-1000', NULL, 1, 8999.00, 10888.79),
  ('PH-1000', NULL, 2.5, 8500.10, 10285.121),
  ('PH-1000', 'dealer', 1, 8000, NULL);
";

pub(super) const STOCK: &str = "SELECT p.sku, p.name, p.barcode, p.uom, s.warehouse, s.warehouse_name, s.on_hand, s.available \
     FROM products p JOIN stock s ON s.sku = p.sku WHERE p.sku IN (:skus) ORDER BY p.sku, s.warehouse";

pub(super) const PRICES: &str = "SELECT p.sku, p.net, p.gross, 'RON' AS currency FROM prices p WHERE p.sku IN (:skus) \
     AND COALESCE(p.list, '') = COALESCE(:price_list, '') AND p.min_quantity = (SELECT MAX(b.min_quantity) FROM prices b \
     WHERE b.sku = p.sku AND COALESCE(b.list, '') = COALESCE(:price_list, '') AND b.min_quantity <= :quantity)";

impl Site {
    /// With the tables of most tests.
    pub(super) async fn company(on: On) -> Self {
        let site = Self::empty(on).await;
        site.admin(COMPANY).await;
        site
    }

    /// No database at all; the configuration names one that is to be replaced.
    pub(super) fn elsewhere(on: On, name: &str) -> Self {
        Self {
            on,
            url: String::new(),
            name: name.to_owned(),
            _folder: None,
        }
    }

    pub(super) async fn empty(on: On) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed));
        // Starting a server takes its time, which is not to be taken from others.
        let server = tokio::task::spawn_blocking(move || match on {
            On::Sqlite => String::new(),
            On::Postgres => format!("postgres://postgres@127.0.0.1:{}", postgres::port()),
            On::Mariadb => format!("mysql://admin@127.0.0.1:{}", mariadb::port()),
        });
        let server = server.await.unwrap();
        let folder = (on == On::Sqlite).then(|| tempfile::tempdir().unwrap());
        let url = match on {
            On::Sqlite => {
                let file = folder.as_ref().unwrap().path().join("erp.db");
                std::fs::File::create(&file).unwrap();
                format!("sqlite://{}", file.display())
            }
            On::Postgres => {
                run(&format!("{server}/postgres"), &format!("CREATE DATABASE {name}")).await;
                format!("{server}/{name}")
            }
            On::Mariadb => {
                run(&server, &format!("CREATE DATABASE {name}")).await;
                format!("{server}/{name}")
            }
        };
        Self {
            on,
            url,
            name,
            _folder: folder,
        }
    }

    /// Runs statements as somebody who may.
    pub(super) async fn admin(&self, sql: &str) {
        run(&self.url, sql).await;
    }

    /// The first column of what is asked, as texts.
    pub(super) async fn ask(&self, sql: &str) -> Vec<String> {
        ask(&self.url, sql).await
    }

    /// Asks until this is the answer: a server may learn a little later of a connection that has ended.
    pub(super) async fn comes_to(&self, sql: &str, answer: &str) {
        let asking = async {
            while self.ask(sql).await != [answer] {
                tokio::task::yield_now().await;
            }
        };
        let asked = tokio::time::timeout(Duration::from_secs(20), asking).await;
        assert!(asked.is_ok(), "{sql} does not come to {answer}");
    }

    /// Everything that is in the tables of the company.
    pub(super) async fn content(&self) -> Vec<String> {
        let text = |columns: &[&str]| {
            let columns: Vec<_> = columns
                .iter()
                .map(|column| format!("COALESCE(CAST({column} AS CHAR(20000)), '-')"))
                .collect();
            match self.on {
                On::Mariadb => format!("CONCAT({})", columns.join(",")),
                On::Sqlite | On::Postgres => columns.join(" || "),
            }
        };
        let mut content = Vec::new();
        for (table, columns) in [
            ("products", &["sku", "name", "barcode", "uom"][..]),
            ("stock", &["sku", "warehouse", "on_hand", "available"]),
            ("prices", &["sku", "list", "net", "gross"]),
        ] {
            content.extend(
                self.ask(&format!("SELECT {} AS x FROM {table} ORDER BY x", text(columns)))
                    .await,
            );
        }
        content
    }

    pub(super) fn search(&self) -> &'static str {
        match self.on {
            On::Sqlite => {
                "SELECT sku, name, barcode FROM products WHERE name LIKE :pattern ESCAPE '\\' OR sku = :words OR \
                 barcode = :words ORDER BY sku LIMIT :limit"
            }
            On::Postgres => {
                "SELECT sku, name, barcode FROM products WHERE name ILIKE :pattern OR sku = :words OR barcode = :words \
                 ORDER BY sku LIMIT :limit"
            }
            On::Mariadb => {
                "SELECT sku, name, barcode FROM products WHERE name LIKE :pattern OR sku = :words OR barcode = :words \
                 ORDER BY sku LIMIT :limit"
            }
        }
    }

    /// A query of one SKU that takes very long, for the SKU `SLOW`; other SKUs have one piece.
    pub(super) fn slow(&self) -> &'static str {
        match self.on {
            On::Sqlite => {
                "SELECT :sku AS sku, CASE WHEN :sku = 'SLOW' THEN (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 \
                 FROM n WHERE i < 1000000000000) SELECT COUNT(*) FROM n) ELSE 1 END AS on_hand"
            }
            On::Postgres => {
                "SELECT :sku AS sku, CASE WHEN :sku = 'SLOW' THEN length(pg_sleep(60)::text) ELSE 1 END AS on_hand"
            }
            On::Mariadb => "SELECT :sku AS sku, IF(:sku = 'SLOW', SLEEP(60), 1) AS on_hand",
        }
    }

    pub(super) fn connector(&self) -> Sql {
        self.with(&json!({}))
    }

    /// A connector with other settings.
    pub(super) fn with(&self, settings: &Value) -> Sql {
        self.try_with(settings).unwrap()
    }

    pub(super) fn try_with(&self, settings: &Value) -> Result<Sql, Error> {
        let mut config = json!({
            "url": self.url,
            "stock_query": STOCK,
            "price_query": PRICES,
            "search_query": self.search(),
            "catalogue_query": "SELECT DISTINCT sku FROM stock WHERE sku > :after ORDER BY sku LIMIT :limit",
            "timeout": "10s",
        });
        for (key, value) in settings.as_object().unwrap() {
            config[key] = value.clone();
        }
        let config: Config = serde_json::from_value(config).unwrap();
        Sql::new(&config)
    }
}

async fn run(url: &str, sql: &str) {
    ask(url, sql).await;
}

macro_rules! ask_by {
    ($options:ty, $url:expr, $sql:expr) => {{
        use sqlx::Row as _;
        let options: $options = $url.parse().unwrap();
        let mut connection = options.disable_statement_logging().connect().await.unwrap();
        let rows = connection.fetch_all(sqlx::raw_sql(AssertSqlSafe($sql))).await.unwrap();
        let texts = rows
            .iter()
            .map(|row| row.try_get_unchecked::<String, _>(0).unwrap_or_default());
        let texts = texts.collect();
        connection.close().await.unwrap();
        texts
    }};
}

async fn ask(url: &str, sql: &str) -> Vec<String> {
    if url.starts_with("sqlite") {
        ask_by!(sqlx::sqlite::SqliteConnectOptions, url, sql)
    } else if url.starts_with("postgres") {
        ask_by!(sqlx::postgres::PgConnectOptions, url, sql)
    } else {
        ask_by!(sqlx::mysql::MySqlConnectOptions, url, sql)
    }
}

/// A list of SKUs.
pub(super) fn skus(skus: &[&str]) -> Vec<String> {
    skus.iter().map(|sku| (*sku).to_owned()).collect()
}
