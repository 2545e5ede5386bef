//! What cannot be opened, and what the error says.

use allai_sync::allai::Resource;
use allai_sync::clock::SystemClock;
use allai_sync::warehouse::{Error, Location, Warehouse};

use super::harness::{ACCOUNT, Place, commit, contact};
use super::on_both;

on_both! {
    a_newer_warehouse_is_refused,
    a_warehouse_that_was_not_migrated_says_so,
    what_is_opened_to_read_cannot_write,
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

async fn what_is_opened_to_read_cannot_write(place: Place) {
    let read = async || {
        Warehouse::open_to_read(&place.location, place.clock.shared())
            .await
            .unwrap()
    };
    if place.is_sqlite() {
        assert!(read().await.is_none());
        place.open().await.close().await;
    }
    assert!(!read().await.unwrap().has_tables().await.unwrap());
    let writer = place.migrated().await;
    commit(&writer, &[contact("c1", "Ana")]).await;
    let assert_reads_only = async |reader: &Warehouse| {
        assert!(reader.has_tables().await.unwrap() && reader.schema_is_current().await.unwrap());
        assert_eq!(reader.live_rows(ACCOUNT, Resource::Contacts).await.unwrap(), 1);
        let saved = reader.save_checkpoint(ACCOUNT, Resource::Contacts, Some("x")).await;
        assert!(saved.is_err());
        assert!(reader.is_as_opened());
    };
    let beside_a_writer = read().await.unwrap();
    assert_reads_only(&beside_a_writer).await;
    beside_a_writer.close().await;
    writer.close().await;
    let alone = read().await.unwrap();
    assert_reads_only(&alone).await;
    // What nobody had open is read without a lock: that somebody wrote meanwhile must not go unnoticed.
    let writer = place.open().await;
    for page in 0..8 {
        let rows: Vec<_> = (0..50).map(|row| contact(&format!("p{page}-{row}"), "Ana")).collect();
        commit(&writer, &rows).await;
    }
    writer.close().await;
    assert_eq!(alone.is_as_opened(), !place.is_sqlite());
}

#[tokio::test]
async fn a_schema_that_is_hidden_is_not_taken_for_an_empty_one() {
    let place = Place::postgres();
    place.migrated().await;
    let schema = place.location.schema.clone();
    let reader = format!("reader_{schema}");
    place.rows(&format!("CREATE ROLE {reader} LOGIN")).await;
    let mut url = url::Url::parse(&place.location.url).unwrap();
    url.set_username(&reader).unwrap();
    let location = Location {
        url: url.into(),
        schema: schema.clone(),
    };
    let open = async || {
        let opened = Warehouse::open_to_read(&location, place.clock.shared()).await;
        opened.unwrap().unwrap()
    };
    let error = open().await.has_tables().await.unwrap_err().to_string();
    assert!(
        error.contains(&format!("GRANT USAGE ON SCHEMA \"{schema}\"")),
        "{error}"
    );
    place
        .rows(&format!(
            "GRANT USAGE ON SCHEMA {schema} TO {reader}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {reader}"
        ))
        .await;
    assert!(open().await.has_tables().await.unwrap());
    assert!(open().await.freshness().await.unwrap().is_empty());
    place.rows(&format!("DROP OWNED BY {reader}; DROP ROLE {reader}")).await;
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
