//! What a check tells, and what errors say.

use allai_connectors::sql::{Config, Sql};
use allai_connectors::{Check, Connector as _, Erp as _, Error, Found};
use serde_json::json;

use super::site::{On, Site, skus};

/// The entry of this name: what was seen, or the problem and the remedy.
fn entry(checks: &[Check], what: &str) -> Result<String, String> {
    let check = checks.iter().find(|check| check.what == what);
    let check = check.unwrap_or_else(|| panic!("no {what} in {checks:?}"));
    match &check.found {
        Found::Good(seen) => Ok(seen.clone()),
        Found::Bad { problem, remedy } => Err(format!("{problem} | {remedy}")),
    }
}

async fn all_is_well(on: On, version: &str) {
    let site = Site::company(on).await;
    let before = site.content().await;
    let checks = site.connector().check().await;
    let names: Vec<_> = checks.iter().map(|check| check.what.as_str()).collect();
    assert_eq!(
        names,
        [
            "connection",
            "credentials",
            "version",
            "read only",
            "stock_query",
            "price_query",
            "search_query",
            "catalogue_query"
        ]
    );
    for name in names {
        entry(&checks, name).unwrap();
    }
    let seen = entry(&checks, "version").unwrap();
    assert!(seen.contains(version), "{seen}");
    assert_eq!(entry(&checks, "stock_query").unwrap(), "it does not tell as_of");
    assert_eq!(entry(&checks, "price_query").unwrap(), "it tells everything");
    assert_eq!(site.content().await, before);
}

#[tokio::test]
async fn all_is_well_on_sqlite() {
    all_is_well(On::Sqlite, "version 3.").await;
}

#[tokio::test]
async fn all_is_well_on_postgres() {
    all_is_well(On::Postgres, "version 1").await;
}

#[tokio::test]
async fn all_is_well_on_mariadb() {
    all_is_well(On::Mariadb, "MariaDB").await;
}

async fn columns_are_judged(on: On) {
    let site = Site::company(on).await;
    let checks = site
        .with(&json!({
            "stock_query": "SELECT sku, on_hand AS onhand, available AS weather, warehouse AS warehous FROM stock WHERE sku IN (:skus)",
            "price_query": "SELECT sku, net AS price FROM prices WHERE sku = :sku",
            "search_query": "SELECT sku, name, name FROM products WHERE name = :words",
        }))
        .check()
        .await;
    let stock = entry(&checks, "stock_query").unwrap_err();
    for part in [
        "no column on_hand or available",
        "\"onhand\"",
        "call it on_hand",
        "\"weather\"",
        "call it warehouse",
    ] {
        assert!(stock.contains(part), "{part}: {stock}");
    }
    let price = entry(&checks, "price_query").unwrap_err();
    assert!(
        price.contains("no column net or gross") && price.contains("\"price\""),
        "{price}"
    );
    let search = entry(&checks, "search_query").unwrap_err();
    assert!(search.contains("two columns \"name\""), "{search}");

    let checks = site
        .with(&json!({
            "stock_query": "SELECT sku, on_hand FROM stock WHERE sku <> :sku",
            "price_query": "SELECT sku, net FROM price WHERE sku = :sku",
            "search_query": "SELECT sku, naem AS name FROM products WHERE name = :words",
            "catalogue_query": "SELECT sku AS code FROM products WHERE sku > :after ORDER BY sku LIMIT :limit",
        }))
        .check()
        .await;
    assert!(entry(&checks, "stock_query").unwrap_err().contains("nothing has"));
    assert!(entry(&checks, "price_query").unwrap_err().contains("price"));
    assert!(entry(&checks, "search_query").unwrap_err().contains("naem"));
    assert!(entry(&checks, "catalogue_query").unwrap_err().contains("no column sku"));
    let whole = json!({"catalogue_query": "SELECT sku FROM products LIMIT :limit"});
    let error = site.try_with(&whole).unwrap_err().to_string();
    assert!(error.contains("no :after in it"), "{error}");
}

#[tokio::test]
async fn columns_are_judged_on_sqlite() {
    columns_are_judged(On::Sqlite).await;
}

#[tokio::test]
async fn columns_are_judged_on_postgres() {
    columns_are_judged(On::Postgres).await;
}

#[tokio::test]
async fn columns_are_judged_on_mariadb() {
    columns_are_judged(On::Mariadb).await;
}

#[tokio::test]
async fn on_postgres_parameters_are_texts_in_a_check_too() {
    let site = Site::company(On::Postgres).await;
    let checks = site
        .with(&json!({
            "price_query": "SELECT sku, net FROM prices WHERE sku = :sku AND (:price_list IS NULL OR :quantity > 0)",
            "stock_query": "SELECT 1 AS on_hand FROM generate_series(1, 3) AS id WHERE id = :sku",
        }))
        .check()
        .await;
    entry(&checks, "price_query").unwrap();
    let stock = entry(&checks, "stock_query").unwrap_err();
    assert!(stock.contains("cast the column to text"), "{stock}");
}

async fn error_of(site: &Site, url: &str) -> Error {
    let erp = site.with(&json!({"url": url, "timeout": "5s"}));
    let error = erp.stock(&skus(&["10"])).await.unwrap_err();
    let text = format!("{error} {error:?} {erp:?} {:?}", erp.check().await);
    assert!(!text.contains("hunter2"), "{text}");
    error
}

#[tokio::test]
async fn on_postgres_passwords_databases_and_permissions_are_told_apart() {
    let site = Site::company(On::Postgres).await;
    // Roles belong to the server; this test alone needs this one.
    site.admin("CREATE ROLE reader LOGIN PASSWORD 'secret'; GRANT SELECT ON stock TO reader")
        .await;
    let reader = |password: &str, name: &str| {
        site.url
            .replace("postgres@", &format!("reader:{password}@"))
            .replace(&site.name, name)
    };
    let error = error_of(&site, &reader("hunter2", &site.name)).await;
    assert!(matches!(error, Error::Auth { .. }), "{error:?}");
    let error = error_of(&site, &reader("secret", "hunter")).await;
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    let error = error_of(&site, &reader("secret", &site.name)).await;
    assert!(matches!(error, Error::Forbidden { .. }), "{error:?}");
    assert!(error.to_string().contains("products"), "{error}");

    let checks = site.with(&json!({"url": reader("hunter2", &site.name)})).check().await;
    entry(&checks, "connection").unwrap();
    assert!(entry(&checks, "credentials").unwrap_err().contains("`url`"));
    let checks = site.with(&json!({"url": reader("secret", &site.name)})).check().await;
    entry(&checks, "credentials").unwrap();
    assert!(entry(&checks, "stock_query").unwrap_err().contains("GRANT"));
}

#[tokio::test]
async fn on_mariadb_passwords_databases_and_permissions_are_told_apart() {
    let site = Site::company(On::Mariadb).await;
    site.admin(&format!(
        "CREATE USER reader@'127.0.0.1' IDENTIFIED BY 'secret'; GRANT SELECT ON {}.stock TO reader@'127.0.0.1'",
        site.name
    ))
    .await;
    // The other name of the scheme.
    let url = site.url.replace("mysql://", "mariadb://");
    let reader = |password: &str, name: &str| {
        url.replace("admin@", &format!("reader:{password}@"))
            .replace(&site.name, name)
    };
    let error = error_of(&site, &reader("hunter2", &site.name)).await;
    assert!(matches!(error, Error::Auth { .. }), "{error:?}");
    let error = error_of(&site, &reader("secret", "information_schem")).await;
    assert!(matches!(error, Error::Forbidden { .. }), "{error:?}");
    let error = error_of(&site, &url.replace(&site.name, "nowhere")).await;
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    let error = error_of(&site, &reader("secret", &site.name)).await;
    assert!(matches!(error, Error::Forbidden { .. }), "{error:?}");
}

#[tokio::test]
async fn on_sqlite_a_file_that_is_missing_or_none_is_told() {
    let site = Site::company(On::Sqlite).await;
    let error = error_of(&site, "sqlite:///nowhere/hunter2/erp.db").await;
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hunter2.db");
    std::fs::write(&file, "this is no database, however long it is. ".repeat(100)).unwrap();
    let error = error_of(&site, &format!("sqlite://{}", file.display())).await;
    assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_worth_another_try() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    for (on, scheme) in [(On::Postgres, "postgres"), (On::Mariadb, "mysql")] {
        let site = Site::elsewhere(on, "x");
        let error = error_of(&site, &format!("{scheme}://me:hunter2@127.0.0.1:{port}/erp")).await;
        assert!(error.is_worth_repeating(), "{error:?}");
        assert!(error.to_string().contains("is not reached"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_in_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for (on, scheme) in [(On::Postgres, "postgres"), (On::Mariadb, "mysql")] {
        let erp = Site::elsewhere(on, "x").with(&json!({
            "url": format!("{scheme}://me:hunter2@127.0.0.1:{port}/erp"),
            "timeout": "300ms",
        }));
        let error = erp.stock(&skus(&["10"])).await.unwrap_err();
        assert_eq!(error.to_string(), "sql does not answer within 300ms");
        assert!(error.is_worth_repeating());
    }
}

#[test]
fn a_configuration_that_is_wrong_is_refused_without_its_url() {
    let base = || {
        json!({
            "url": "sqlite:///erp.db",
            "stock_query": "SELECT on_hand FROM stock WHERE sku = :sku",
        })
    };
    let config: Config = serde_json::from_value(base()).unwrap();
    assert_eq!(config.timeout.as_secs(), 3);
    assert_eq!(config.max_rows.get(), 1_000);
    assert_eq!(config.connections.get(), 2);
    let mut of_the_environment = base();
    of_the_environment["max_rows"] = json!("50");
    let config: Config = serde_json::from_value(of_the_environment).unwrap();
    assert_eq!(config.max_rows.get(), 50);
    for (key, value) in [
        ("max_rows", json!("many")),
        ("timeout", json!("3")),
        ("timeout", json!("1ms")),
        ("timeout", json!("1h")),
        ("max_rows", json!(0)),
        ("connections", json!(0)),
        ("stok_query", json!("SELECT 1")),
    ] {
        let mut wrong = base();
        wrong[key] = value.clone();
        assert!(serde_json::from_value::<Config>(wrong).is_err(), "{key} {value}");
    }
    for (url, says) in [
        ("oracle://me:hunter2@host/db", "sqlite://, postgres://"),
        ("postgress://me:hunter2@host/db", "postgres"),
        ("hunter2", "it is to begin with"),
        ("postgres://me:hunter2@host:port/db", "not understood"),
        ("mysql://me:hunter2@host/db?sslmode=hunter2", "not understood"),
    ] {
        let mut wrong = base();
        wrong["url"] = json!(url);
        let config: Config = serde_json::from_value(wrong).unwrap();
        let error = Sql::new(&config).unwrap_err();
        let text = format!("{error} {error:?} {config:?}");
        assert!(text.contains(says), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let config: Config = serde_json::from_value(base()).unwrap();
    let erp = Sql::new(&config).unwrap();
    assert!(erp.capabilities().stock);
    assert!(!erp.capabilities().search && !erp.capabilities().prices);
}

#[tokio::test]
async fn what_has_no_query_is_unsupported() {
    let config = json!({"url": "sqlite:///erp.db", "stock_query": "SELECT on_hand FROM stock WHERE sku = :sku"});
    let config: Config = serde_json::from_value(config).unwrap();
    let erp = Sql::new(&config).unwrap();
    let error = erp.search("pump", 5).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
    let error = erp
        .prices(&skus(&["10"]), &allai_connectors::PriceQuery::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
}
