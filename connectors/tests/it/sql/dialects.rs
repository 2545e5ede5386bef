//! What only one of the databases has.

use allai_connectors::{Erp as _, Error, Figures};
use serde_json::json;

use super::site::{On, Site, skus};

/// Figures and time of one row: `SELECT <on_hand>, <as_of>`.
async fn read(site: &Site, on_hand: &str, as_of: &str) -> Result<(Option<String>, String), Error> {
    let erp = site.with(&json!({
        "stock_query": format!("SELECT {on_hand} AS on_hand, {as_of} AS as_of, :sku AS sku"),
    }));
    let mut stock = erp.stock(&skus(&["X"])).await?;
    let stock = stock.pop().expect("a row");
    let Figures { on_hand, .. } = stock.total;
    let time = stock.as_of.map(|time| time.to_rfc3339());
    Ok((on_hand.map(|number| number.to_string()), time.unwrap_or_default()))
}

async fn numbers(site: &Site, numbers: &[(&str, Option<&str>)]) {
    for (sql, number) in numbers {
        let (on_hand, _) = read(site, sql, "NULL")
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(on_hand.as_deref(), *number, "{sql}");
    }
}

async fn no_numbers(site: &Site, wrong: &[&str]) {
    for sql in wrong {
        let error = read(site, sql, "NULL").await.unwrap_err();
        assert!(matches!(error, Error::Unreadable { .. }), "{sql}: {error:?}");
        assert!(error.to_string().contains("column on_hand"), "{error}");
    }
}

async fn times(site: &Site, times: &[(&str, &str)]) {
    for (sql, time) in times {
        let (_, as_of) = read(site, "1", sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(as_of, *time, "{sql}");
    }
}

#[tokio::test]
async fn postgres_types() {
    let site = Site::empty(On::Postgres).await;
    numbers(
        &site,
        &[
            ("0.1::numeric + 0.2", Some("0.3")),
            (
                "-12345678901234567890.12345678::numeric",
                Some("-12345678901234567890.12345678"),
            ),
            (
                "0.0000000000000000000000000001::numeric",
                Some("0.0000000000000000000000000001"),
            ),
            ("10000::numeric", Some("10000")),
            ("1e20::numeric", Some("100000000000000000000")),
            ("(1::numeric / 3)", Some("0.33333333333333333333")),
            ("0::numeric(10,2)", Some("0.00")),
            ("7::int2", Some("7")),
            ("-7::int4", Some("-7")),
            ("9223372036854775807::int8", Some("9223372036854775807")),
            ("0.1::float4", Some("0.1")),
            ("0.1::float8", Some("0.1")),
            ("' 12.50 '::text", Some("12.50")),
            ("NULL::numeric", None),
        ],
    )
    .await;
    no_numbers(
        &site,
        &[
            "'NaN'::numeric",
            "'Infinity'::float8",
            "1e40::numeric",
            "'12 pcs'::text",
            "true",
            "'1.50'::money",
            "now()",
            "'{}'::jsonb",
        ],
    )
    .await;
    times(
        &site,
        &[
            ("'2026-01-19 12:00:00+02'::timestamptz", "2026-01-19T10:00:00+00:00"),
            ("'2026-01-19 10:00:00'::timestamp", "2026-01-19T10:00:00+00:00"),
            ("'2026-01-19'::date", "2026-01-19T00:00:00+00:00"),
            ("'2026-01-19T10:00:00Z'::text", "2026-01-19T10:00:00+00:00"),
        ],
    )
    .await;
    for wrong in ["'infinity'::timestamptz", "'-infinity'::date", "true", "'soon'::text"] {
        let error = read(&site, "1", wrong).await.unwrap_err();
        assert!(error.to_string().contains("column as_of"), "{error}");
    }
}

#[tokio::test]
async fn mariadb_types() {
    let site = Site::empty(On::Mariadb).await;
    numbers(
        &site,
        &[
            ("0.1 + 0.2", Some("0.3")),
            (
                "CAST('12345678901234567890.12345678' AS DECIMAL(40,8))",
                Some("12345678901234567890.12345678"),
            ),
            ("CAST(1 AS DECIMAL(65,30))", Some("1")),
            ("CAST(7 AS SIGNED)", Some("7")),
            ("18446744073709551615", Some("18446744073709551615")),
            ("0.1e0", Some("0.1")),
            ("CAST(0.1 AS FLOAT)", Some("0.1")),
            ("' 12.50 '", Some("12.50")),
            ("NULL", None),
            ("TRUE", Some("1")),
        ],
    )
    .await;
    no_numbers(&site, &["'12 pcs'", "NOW()", "X'FF'", "1e40", "''"]).await;
    times(
        &site,
        &[
            ("TIMESTAMP '2026-01-19 10:00:00'", "2026-01-19T10:00:00+00:00"),
            ("DATE '2026-01-19'", "2026-01-19T00:00:00+00:00"),
            ("'2026-01-19 10:00:00'", "2026-01-19T10:00:00+00:00"),
        ],
    )
    .await;
    site.admin("CREATE TABLE t (z DATETIME, s TIMESTAMP NULL); SET time_zone = '+02:00'; SET sql_mode = ''; INSERT INTO t VALUES ('0000-00-00', '2026-01-19 12:00:00')").await;
    times(&site, &[("(SELECT s FROM t)", "2026-01-19T10:00:00+00:00")]).await;
    let (on_hand, as_of) = read(&site, "1", "(SELECT z FROM t)").await.unwrap();
    assert_eq!(on_hand.as_deref(), Some("1"));
    assert!(!as_of.starts_with("0000"), "it is not known: {as_of}");
}

#[tokio::test]
async fn sqlite_types() {
    let site = Site::empty(On::Sqlite).await;
    numbers(
        &site,
        &[
            ("0.1", Some("0.1")),
            ("0.1 + 0.2", Some("0.30000000000000004")),
            ("12.0", Some("12")),
            ("9223372036854775807", Some("9223372036854775807")),
            ("'8999.00'", Some("8999.00")),
            ("1e15", Some("1000000000000000")),
            ("NULL", None),
        ],
    )
    .await;
    no_numbers(&site, &["'12 pcs'", "x'31'", "1e300", "9e999"]).await;
    times(
        &site,
        &[
            ("'2026-01-19 10:00:00'", "2026-01-19T10:00:00+00:00"),
            ("'2026-01-19T12:00:00+02:00'", "2026-01-19T10:00:00+00:00"),
        ],
    )
    .await;
}

#[tokio::test]
async fn on_mariadb_the_mode_of_the_server_changes_no_query() {
    let site = Site::company(On::Mariadb).await;
    let erp = site.with(&json!({
        "stock_query": "SELECT p.sku, CONCAT(\"it's \\\"\", p.sku) AS name, 'it\\'s :sku' AS uom, 'a' || 'b' AS barcode, 1 AS on_hand \
                        FROM products p WHERE p.sku = :sku -- :sku\n # ' :sku\n /* :sku */",
    }));
    let stock = erp.stock(&skus(&["10"])).await.unwrap();
    assert_eq!(stock[0].item.name.as_deref(), Some("it's \"10"));
    assert_eq!(stock[0].uom.as_deref(), Some("it's :sku"));
    assert_eq!(stock[0].item.barcode.as_deref(), Some("ab"));
}

#[tokio::test]
async fn on_postgres_colons_of_the_language_are_left_alone() {
    let site = Site::company(On::Postgres).await;
    let erp = site.with(&json!({
        "stock_query": "SELECT sku::text, ':sku' || $$ :sku '; $$ || E'\\':sku' AS name, (ARRAY[1,2,3])[1:2]::text AS uom, \
                        CAST(on_hand AS numeric(10,2))::numeric AS on_hand FROM stock \
                        WHERE sku = :sku AND warehouse = 'B' /* :sku /* ; */ :skus */ -- :nothing\n;",
    }));
    let stock = erp.stock(&skus(&["10"])).await.unwrap();
    assert_eq!(stock[0].item.name.as_deref(), Some(":sku :sku '; ':sku"));
    assert_eq!(stock[0].uom.as_deref(), Some("{1,2}"));
    assert_eq!(stock[0].total.on_hand.unwrap().to_string(), "3.00");
}

#[tokio::test]
async fn on_postgres_a_type_that_does_not_fit_is_explained_without_the_value() {
    let site = Site::company(On::Postgres).await;
    site.admin("CREATE TABLE items (code INTEGER, qty INTEGER); INSERT INTO items VALUES (10, 3)")
        .await;
    let erp =
        site.with(&json!({"stock_query": "SELECT code AS sku, qty AS on_hand FROM items WHERE code = :sku::integer"}));
    assert_eq!(erp.stock(&skus(&["10"])).await.unwrap()[0].item.sku, "10");
    let error = erp.stock(&skus(&["+40 700 000 000"])).await.unwrap_err();
    assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
    assert!(!error.to_string().contains("700"), "{error}");
    let erp =
        site.with(&json!({"stock_query": "SELECT code AS sku, qty AS on_hand FROM items WHERE code::text = :sku"}));
    assert_eq!(erp.stock(&skus(&["+40 700 000 000"])).await.unwrap(), []);
    // A CHAR(n) is filled up with blanks, which are no part of it.
    site.admin("CREATE TABLE old (code CHAR(20), qty INTEGER); INSERT INTO old VALUES ('A', 1), ('B', 2)")
        .await;
    let erp = site.with(&json!({"stock_query": "SELECT code AS sku, qty AS on_hand FROM old WHERE code IN (:skus)"}));
    let stock = erp.stock(&skus(&["B", "A", "C"])).await.unwrap();
    let found: Vec<_> = stock.iter().map(|one| one.item.sku.as_str()).collect();
    assert_eq!(found, ["B", "A"]);
}

#[tokio::test]
async fn on_postgres_a_connection_that_was_ended_is_replaced() {
    let site = Site::company(On::Postgres).await;
    let erp = site.connector();
    for _ in 0..3 {
        assert_eq!(erp.stock(&skus(&["10"])).await.unwrap().len(), 1);
        site.admin(&format!(
            "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'allai-sync'",
            site.name
        ))
        .await;
    }
    // In the midst of a query, and again: once is enough.
    let erp = site
        .with(&json!({"stock_query": "SELECT :sku AS sku, 1 AS on_hand WHERE pg_terminate_backend(pg_backend_pid())"}));
    let error = erp.stock(&skus(&["10"])).await.unwrap_err();
    assert!(error.is_worth_repeating(), "{error:?}");
}

#[tokio::test]
async fn on_mariadb_a_connection_that_was_ended_is_replaced() {
    let site = Site::company(On::Mariadb).await;
    // A user of its own, by whom its connections are known.
    site.admin(&format!(
        "CREATE USER lost@'127.0.0.1'; GRANT SELECT ON {}.* TO lost@'127.0.0.1'",
        site.name
    ))
    .await;
    let erp = site.with(&json!({"url": site.url.replace("admin@", "lost@")}));
    for _ in 0..3 {
        assert_eq!(erp.stock(&skus(&["10"])).await.unwrap().len(), 1);
        let of_it = "FROM information_schema.processlist WHERE user = 'lost'";
        site.comes_to(&format!("SELECT CAST(COUNT(*) AS CHAR) {of_it}"), "1")
            .await;
        let ids = site.ask(&format!("SELECT CAST(id AS CHAR) {of_it}")).await;
        site.admin(&format!("KILL {}", ids[0])).await;
    }
}

#[tokio::test]
async fn on_sqlite_a_writer_is_not_in_the_way_and_is_seen() {
    let site = Site::company(On::Sqlite).await;
    let erp = site.connector();
    site.admin("PRAGMA journal_mode = WAL").await;
    assert_eq!(erp.stock(&skus(&["NOWHERE"])).await.unwrap(), []);
    site.admin("INSERT INTO stock VALUES ('NOWHERE', 'B', NULL, 4, 4)")
        .await;
    assert_eq!(erp.stock(&skus(&["NOWHERE"])).await.unwrap().len(), 1);
}

/// What no SKU of an old ERP can be, among SKUs that are.
async fn a_letter_that_the_encoding_lacks_is_only_not_found(site: &Site, text: &str) {
    site.admin(&format!(
        "CREATE TABLE products (sku {text}, name {text}, barcode {text}); CREATE TABLE stock (sku {text}, on_hand INTEGER); \
         INSERT INTO products VALUES ('ȘĂ-1', 'țeavă', NULL), ('B', 'b', NULL); INSERT INTO stock VALUES ('ȘĂ-1', 1), ('B', 2)"
    ))
    .await;
    let erp = site.with(&json!({"stock_query": "SELECT sku, on_hand FROM stock WHERE sku IN (:skus)"}));
    let stock = erp.stock(&skus(&["😀", "B", "漢", "ȘĂ-1"])).await.unwrap();
    let found: Vec<_> = stock.iter().map(|one| one.asked.as_str()).collect();
    assert_eq!(found, ["B", "ȘĂ-1"]);
    assert_eq!(erp.stock(&skus(&["😀"])).await.unwrap(), []);
    assert_eq!(erp.search("😀", 5).await.unwrap(), []);
    assert_eq!(
        erp.search("ȚEAVĂ", 5).await.unwrap().len(),
        usize::from(site.on == On::Mariadb)
    );
    assert_eq!(erp.search("țeavă", 5).await.unwrap().len(), 1);
}

#[tokio::test]
async fn on_postgres_a_letter_that_the_encoding_lacks_is_only_not_found() {
    let mut site = Site::empty(On::Postgres).await;
    let name = format!("{}_latin", site.name);
    site.admin(&format!(
        "CREATE DATABASE {name} ENCODING 'LATIN10' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
    ))
    .await;
    site.url = site.url.replace(&site.name, &name);
    a_letter_that_the_encoding_lacks_is_only_not_found(&site, "TEXT").await;
}

#[tokio::test]
async fn on_mariadb_a_letter_that_the_encoding_lacks_is_only_not_found() {
    for charset in ["utf8mb3", "utf8mb4"] {
        let site = Site::empty(On::Mariadb).await;
        a_letter_that_the_encoding_lacks_is_only_not_found(&site, &format!("VARCHAR(40) CHARACTER SET {charset}"))
            .await;
    }
    // Without letters of ours there.
    let site = Site::empty(On::Mariadb).await;
    site.admin(
        "CREATE TABLE stock (sku VARCHAR(40) CHARACTER SET latin1, on_hand INTEGER); INSERT INTO stock VALUES ('é', 1)",
    )
    .await;
    let erp = site.with(&json!({"stock_query": "SELECT sku, on_hand FROM stock WHERE sku IN (:skus)"}));
    let stock = erp.stock(&skus(&["😀", "é", "ș"])).await.unwrap();
    assert_eq!(stock.len(), 1);
    assert_eq!(stock[0].asked, "é");
}

#[tokio::test]
async fn an_upgrade_of_the_tables_is_lived_through() {
    for on in [On::Sqlite, On::Postgres, On::Mariadb] {
        let site = Site::company(on).await;
        let erp = site.with(&json!({
            "stock_query": "SELECT * FROM stock WHERE sku = :sku AND warehouse = 'B'", "connections": 1
        }));
        let on_hand = async || {
            let stock = erp.stock(&skus(&["10"])).await.unwrap();
            stock[0].total.on_hand.unwrap().normalize().to_string()
        };
        assert_eq!(on_hand().await, "3");
        site.admin("ALTER TABLE stock ADD COLUMN more INTEGER").await;
        assert_eq!(on_hand().await, "3");
        site.admin("ALTER TABLE stock DROP COLUMN available").await;
        assert_eq!(on_hand().await, "3");
    }
}

#[tokio::test]
async fn the_server_itself_stops_what_is_slow() {
    for on in [On::Postgres, On::Mariadb] {
        let site = Site::company(on).await;
        let erp = site.with(&json!({"stock_query": site.slow(), "timeout": "3s", "connections": 1}));
        let error = erp.stock(&skus(&["SLOW"])).await.unwrap_err();
        assert!(
            error.to_string().contains("was stopped: stock_query takes longer"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn on_postgres_a_query_that_nobody_waits_for_ends() {
    let site = Site::company(On::Postgres).await;
    let erp = site.with(&json!({"stock_query": site.slow(), "timeout": "60s"}));
    let asked = skus(&["SLOW"]);
    let cancelled = tokio::time::timeout(std::time::Duration::from_millis(500), erp.stock(&asked)).await;
    assert!(cancelled.is_err());
    let running = format!(
        "SELECT CAST(COUNT(*) AS TEXT) FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'allai-sync'",
        site.name
    );
    // Long before its limit.
    site.comes_to(&running, "0").await;
}

#[tokio::test]
async fn on_sqlite_a_query_that_nobody_waits_for_ends() {
    let site = Site::company(On::Sqlite).await;
    let erp = site.with(&json!({
        "stock_query": "SELECT :sku AS sku, COUNT(*) AS on_hand FROM stock a, stock b, stock c, stock d, stock e, stock f, stock g, \
                        stock h, stock i, stock j, stock k, stock l, stock m, stock n, stock o, stock p, stock q, stock r",
        "timeout": "60s",
    }));
    let asked = skus(&["10"]);
    let cancelled = tokio::time::timeout(std::time::Duration::from_millis(300), erp.stock(&asked)).await;
    assert!(cancelled.is_err());
    // Reading, it would keep this one from writing, which gives up after 5 s.
    site.admin("DELETE FROM stock").await;
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_an_error() {
    let site = Site::company(On::Postgres).await;
    let erp = site.with(&json!({
        "stock_query": "SELECT :sku AS sku, repeat('x', 1000000) || i AS warehouse, 1 AS on_hand FROM generate_series(1, 20) i",
    }));
    let error = erp.stock(&skus(&["10"])).await.unwrap_err();
    assert!(error.to_string().contains("8 MiB"), "{error}");
}
