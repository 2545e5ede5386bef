//! What cannot be opened, and what the error says.

use allai_sync::clock::SystemClock;
use allai_sync::warehouse::{Error, Location, Warehouse};

use super::harness::Place;
use super::on_both;

on_both! {
    a_newer_warehouse_is_refused,
    a_warehouse_that_was_not_migrated_says_so,
}

async fn refusal(url: &str, schema: &str) -> Error {
    let location = Location {
        url: url.to_owned(),
        schema: schema.to_owned(),
    };
    Warehouse::open(&location, SystemClock::shared()).await.unwrap_err()
}

async fn a_newer_warehouse_is_refused(place: Place) {
    let warehouse = place.migrated().await;
    let (yes, checksum) = if place.is_sqlite() {
        ("1", "x''")
    } else {
        ("true", "''")
    };
    place
        .rows(&format!(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
             VALUES (9999, 'from the future', {yes}, {checksum}, 0)"
        ))
        .await;
    let error = warehouse.migrate().await.unwrap_err();
    assert!(matches!(error, Error::NewerSchema { found: 9999, .. }), "{error}");
    assert!(error.to_string().contains("upgrade allai-sync"), "{error}");
    assert!(warehouse.schema_is_current().await.is_err());
}

async fn a_warehouse_that_was_not_migrated_says_so(place: Place) {
    let warehouse = place.open().await;
    assert!(!warehouse.schema_is_current().await.unwrap());
    let error = warehouse.freshness().await.unwrap_err();
    assert!(error.to_string().contains("allai-sync migrate"), "{error}");
    warehouse.migrate().await.unwrap();
    assert!(warehouse.schema_is_current().await.unwrap());
    let before = place.write_mark().await;
    warehouse.migrate().await.unwrap();
    assert_eq!(place.write_mark().await, before);
}

#[tokio::test]
async fn an_url_that_is_none_is_refused_with_what_would_be_right() {
    for url in [
        "",
        "warehouse.db",
        "mysql://x",
        "sqlite:",
        "sqlite::memory:",
        "sqlite://x.db?mode=ro",
    ] {
        let error = refusal(url, "allai").await.to_string();
        assert!(
            error.contains("warehouse.url") && error.contains("sqlite://warehouse.db"),
            "{url}: {error}"
        );
    }
    for schema in ["", "a b", "pg_x", "a\"b", &"x".repeat(64)] {
        let error = refusal("postgres://localhost/x", schema).await.to_string();
        assert!(error.contains("warehouse.schema"), "{schema}: {error}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display();
    let error = refusal(&format!("sqlite://{path}"), "").await.to_string();
    assert!(error.contains("it is a folder"), "{error}");
    std::fs::write(
        folder.path().join("file"),
        "not a database, but long enough to be taken for one".repeat(100),
    )
    .unwrap();
    let error = refusal(&format!("sqlite://{path}/file/warehouse.db"), "")
        .await
        .to_string();
    assert!(error.contains("cannot create its folder"), "{error}");
    let error = refusal(&format!("sqlite://{path}/file"), "").await.to_string();
    assert!(error.contains("not a database") && error.contains("restore"), "{error}");
}

#[tokio::test]
async fn a_server_that_refuses_is_named_without_the_password() {
    let place = Place::postgres();
    let mut url = url::Url::parse(&place.location.url).unwrap();
    place
        .rows(
            "DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'locked') THEN \
             CREATE ROLE locked LOGIN PASSWORD 'right'; END IF; END $$",
        )
        .await;
    url.set_username("locked").unwrap();
    url.set_password(Some("s3cret")).unwrap();
    let error = refusal(url.as_str(), "allai").await;
    assert!(error.to_string().contains("check user and password"), "{error}");
    assert!(!format!("{error} {error:?}").contains("s3cret"));

    let mut missing = url::Url::parse(&place.location.url).unwrap();
    missing.set_path("/no_such_database");
    let error = refusal(missing.as_str(), "allai").await.to_string();
    assert!(error.contains("create the database"), "{error}");

    url.set_port(Some(1)).unwrap();
    let error = refusal(url.as_str(), "allai").await;
    assert!(error.to_string().contains("locked@127.0.0.1:1/postgres"), "{error}");
    assert!(error.is_transient() && !format!("{error} {error:?}").contains("s3cret"));

    let error = refusal("postgres://user:s3cret@host:port/x", "allai").await;
    assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
}
