//! A database that goes away, or refuses: a clear error or a patient retry, and nothing half-written.

use allai_sync::allai::Resource;
use allai_sync::warehouse::{Change, Error, Location, PageCommit, PageWriter, Warehouse};

use super::harness::{ACCOUNT, Place, changes, contact, rows};
use super::on_both;

on_both! {
    a_page_for_a_warehouse_that_is_read_only_is_refused_and_says_why,
}

async fn store(writer: &mut PageWriter, id: &str) -> Result<Vec<Change>, Error> {
    let page = PageCommit {
        account: ACCOUNT,
        resource: Resource::Contacts,
        conversation: None,
        rows: &rows(&[contact(id, "Ana")]),
        rejected: &[],
        asked: None,
    };
    writer.store(&page).await.map(|outcomes| changes(&outcomes))
}

async fn writer(warehouse: &Warehouse) -> PageWriter {
    warehouse.page_writer(ACCOUNT, Resource::Contacts).await.unwrap()
}

async fn a_page_for_a_warehouse_that_is_read_only_is_refused_and_says_why(place: Place) {
    place.migrated().await.close().await;
    let warehouse = Warehouse::open_to_read(&place.location, place.clock.shared())
        .await
        .unwrap()
        .unwrap();
    let mut writer = writer(&warehouse).await;
    for _ in 0..2 {
        let error = store(&mut writer, "c1").await.unwrap_err();
        assert!(!error.is_transient(), "{error}");
        let says = if place.is_sqlite() {
            "make the file and its folder writable"
        } else {
            "read-only"
        };
        assert!(error.to_string().contains(says), "{error}");
        assert!(!writer.is_open());
    }
}

/// A Postgres warehouse whose connections can be told from those of the other tests, and cut.
struct Cuttable {
    place: Place,
    role: String,
    warehouse: Warehouse,
}

impl Cuttable {
    async fn new() -> Self {
        let place = Place::postgres();
        let role = format!("cut_{}", place.location.schema);
        place.rows(&format!("CREATE ROLE {role} LOGIN SUPERUSER")).await;
        let mut url = url::Url::parse(&place.location.url).unwrap();
        url.set_username(&role).unwrap();
        let location = Location {
            url: url.into(),
            schema: place.location.schema.clone(),
        };
        let warehouse = Warehouse::open(&location, place.clock.shared()).await.unwrap();
        warehouse.migrate().await.unwrap();
        Self { place, role, warehouse }
    }

    /// Ends every connection, as a restart of the server does.
    async fn cut(&self) {
        let cut = format!(
            "SELECT pg_terminate_backend(pid, 30000) FROM pg_stat_activity WHERE usename = '{}'",
            self.role
        );
        let cut = self.place.rows(&cut).await;
        assert!(!cut.is_empty() && cut.iter().all(|done| done == "t"));
    }
}

#[tokio::test]
async fn a_connection_that_was_cut_between_two_pages_is_replaced() {
    let database = Cuttable::new().await;
    let mut writer = writer(&database.warehouse).await;
    for (id, again) in [("c1", "c1"), ("c2", "c1")] {
        assert_eq!(store(&mut writer, id).await.unwrap(), [Change::Inserted]);
        writer.commit(Some(id)).await.unwrap();
        database.cut().await;
        assert_eq!(store(&mut writer, again).await.unwrap(), [Change::Unchanged]);
        assert_eq!(store(&mut writer, again).await.unwrap(), [Change::Unchanged]);
        database.cut().await;
    }
    let state = database.warehouse.page_writer(ACCOUNT, Resource::Contacts).await;
    assert!(state.is_ok());
    assert_eq!(
        database.place.rows("SELECT id FROM contacts ORDER BY id").await,
        ["c1", "c2"]
    );
}

#[tokio::test]
async fn a_transaction_that_was_cut_is_lost_whole_and_the_next_run_goes_on() {
    let database = Cuttable::new().await;
    let mut cut = writer(&database.warehouse).await;
    store(&mut cut, "c1").await.unwrap();
    cut.commit(Some("one")).await.unwrap();
    store(&mut cut, "c2").await.unwrap();
    database.cut().await;
    let error = store(&mut cut, "c3").await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(matches!(cut.commit(Some("three")).await, Err(Error::RolledBack)));

    let mut next = writer(&database.warehouse).await;
    store(&mut next, "c2").await.unwrap();
    database.cut().await;
    let error = next.commit(Some("two")).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert_eq!(database.place.rows("SELECT id FROM contacts").await, ["c1"]);
    assert_eq!(database.place.rows("SELECT checkpoint FROM sync_state").await, ["one"]);

    let mut last = writer(&database.warehouse).await;
    for id in ["c1", "c2", "c3"] {
        store(&mut last, id).await.unwrap();
    }
    last.commit(Some("three")).await.unwrap();
    assert_eq!(database.place.rows("SELECT count(*) FROM contacts").await, ["3"]);
    assert_eq!(
        database.place.rows("SELECT checkpoint FROM sync_state").await,
        ["three"]
    );
}
