//! After one sync the warehouse holds the account, row for row and field for field, whatever form the API's answers
//! have; a second sync writes nothing.

use allai_sync::allai::Resource;
use allai_sync::sandbox::{Envelope, MessageOrder, ObjectEnvelope, OddKind, Options, Order, TimeFormat, Totals};

use clap::ValueEnum as _;

use crate::support::database::Database;
use crate::support::mirror::{ACCOUNT, Mirror, Runs};
use crate::support::on_both_databases;

on_both_databases!(
    every_form_of_answers_is_mirrored_exactly,
    every_order_of_lists_is_mirrored_exactly,
    a_server_that_writes_rows_now_so_now_so_is_not_asked_twice,
    a_list_at_rest_takes_no_more_requests_than_it_has_pages,
    pages_of_any_size_are_mirrored_exactly,
    pages_of_one_row_are_mirrored,
    odd_rows_are_mirrored_or_in_quarantine,
    an_empty_account_is_mirrored,
    fields_that_are_not_asked_for_are_not_stored,
);

const LISTS: [Resource; 3] = [Resource::Contacts, Resource::Conversations, Resource::Messages];

fn small_account() -> Options {
    let mut options = Options::for_tests(65, 12);
    options.account.messages_per_conversation = Some(3);
    options
}

/// Syncs again and again: the first makes the mirror, the others find it as it is and write nothing.
async fn check_twice(mirror: &Mirror) {
    let first = mirror.run(&LISTS, sync_options(false)).await.complete();
    mirror.assert_exact().await;
    mirror.database.forbid_writes().await;
    for full in [false, true] {
        let again = mirror.run(&LISTS, sync_options(full)).await.complete();
        for run in &again.0 {
            let written = (run.inserted, run.updated, run.deleted, run.restored);
            assert_eq!(written, (0, 0, 0, 0), "{run:#?}");
            assert_eq!(run.unchanged + run.quarantined, run.rows_seen, "{run:#?}");
            if full {
                assert_eq!(run.rows_seen, first.of(run.resource).rows_seen, "{run:#?}");
            }
        }
    }
    assert_eq!(
        mirror.database.value("SELECT count(*) FROM contacts_history").await,
        "0"
    );
    assert_eq!(
        mirror
            .database
            .value("SELECT count(*) FROM conversations_history")
            .await,
        "0"
    );
}

const fn sync_options(full: bool) -> allai_sync::sync::Options {
    allai_sync::sync::Options {
        full,
        allow_mass_delete: false,
    }
}

async fn every_form_of_answers_is_mirrored_exactly(database: Database) {
    let mut options = Options::for_tests(45, 4);
    options.account.messages_per_conversation = Some(3);
    let mirror = Mirror::start(database, options).await;
    let mut account = 0;
    for envelope in [
        Envelope::Bare,
        Envelope::Data,
        Envelope::Items,
        Envelope::Resource,
        Envelope::Nested,
    ] {
        for totals in [Totals::Beside, Totals::Meta, Totals::Pagination, Totals::None] {
            for order in [Order::CreatedDesc, Order::CreatedAsc] {
                mirror.sandbox.set_options(|options| {
                    let shape = &mut options.shape;
                    (shape.envelope, shape.totals, shape.order) = (envelope, totals, order);
                    shape.has_more = account % 3 == 0;
                    shape.object_envelope =
                        [ObjectEnvelope::Bare, ObjectEnvelope::Data, ObjectEnvelope::Resource][account % 3];
                });
                // An account of its own for each form: one database serves them all.
                account += 1;
                let name = format!("form{account}");
                mirror.configure(&mirror.account_config(&name, "page_size = 20\n"));
                mirror.run(&LISTS, sync_options(false)).await.complete().verified();
                mirror.assert_account_exact(&name).await;
            }
        }
    }
}

async fn every_order_of_lists_is_mirrored_exactly(database: Database) {
    let mirror = Mirror::start(database, small_account()).await;
    let orders = [
        (Order::CreatedDesc, MessageOrder::NewestFirst, TimeFormat::Seconds),
        (Order::CreatedAsc, MessageOrder::OldestFirst, TimeFormat::Micros),
        (Order::UpdatedDesc, MessageOrder::NewestFirst, TimeFormat::Offset),
        (Order::UpdatedAsc, MessageOrder::OldestFirst, TimeFormat::Micros),
        (Order::Id, MessageOrder::NewestFirst, TimeFormat::Offset),
    ];
    for (order, message_order, time_format) in orders {
        mirror.sandbox.set_options(|options| {
            let shape = &mut options.shape;
            (shape.order, shape.message_order, shape.time_format) = (order, message_order, time_format);
            shape.shuffle_members = true;
        });
        let name = format!("{order:?}").to_lowercase();
        mirror.configure(&mirror.account_config(&name, "page_size = 20\n"));
        mirror.run(&LISTS, sync_options(false)).await.complete().verified();
        mirror.assert_account_exact(&name).await;
        let again = mirror.run(&LISTS, sync_options(false)).await.complete();
        assert!(again.0.iter().all(|run| run.rows_seen == run.unchanged), "{again:#?}");
    }
}

async fn a_server_that_writes_rows_now_so_now_so_is_not_asked_twice(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(900, 0)).await;
    mirror.configure(&mirror.account_config(ACCOUNT, "page_size = 20\n"));
    let contacts = [Resource::Contacts];
    let plain = mirror.run(&contacts, sync_options(true)).await.complete().verified();
    mirror
        .sandbox
        .set_options(|options| options.shape.shuffle_members = true);
    let shuffled = mirror.run(&contacts, sync_options(true)).await.complete().verified();
    assert_eq!(shuffled.of(Resource::Contacts).unchanged, 900);
    let requests = |runs: &Runs| runs.of(Resource::Contacts).requests;
    // Once it is found out, what was on its way is asked for again.
    assert!(
        requests(&shuffled) <= requests(&plain) + 24,
        "{} requests instead of {}",
        requests(&shuffled),
        requests(&plain)
    );
    mirror.assert_exact().await;
}

async fn a_list_at_rest_takes_no_more_requests_than_it_has_pages(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(3_000, 0)).await;
    mirror.configure(&mirror.account_config(ACCOUNT, "page_size = 20\n"));
    // Each page repeats a row of the one before; then come a look at the end, one at the head, and the audit.
    let pages = 3_000_u64.div_ceil(19);
    for _ in 0..2 {
        let runs = mirror.run(&[Resource::Contacts], sync_options(true)).await;
        let requests = runs.complete().verified().of(Resource::Contacts).requests;
        assert!(requests <= pages + 12, "{requests} requests for {pages} pages");
    }
    mirror.assert_exact().await;
}

async fn pages_of_any_size_are_mirrored_exactly(database: Database) {
    let mirror = Mirror::start(database, small_account()).await;
    for (max_limit, page_size) in [(7, 100), (33, 100), (100, 1000), (50, 3), (65, 65), (13, 13)] {
        mirror
            .sandbox
            .set_options(|options| options.shape.max_limit = max_limit);
        let name = format!("size{max_limit}_{page_size}");
        mirror.configure(&mirror.account_config(&name, &format!("page_size = {page_size}\n")));
        mirror.run(&LISTS, sync_options(false)).await.complete().verified();
        mirror.assert_account_exact(&name).await;
    }
}

/// Pages of one row cannot overlap, so nothing is proven; nothing is lost either while nothing changes.
async fn pages_of_one_row_are_mirrored(database: Database) {
    let mut options = Options::for_tests(15, 2);
    options.account.messages_per_conversation = Some(2);
    options.shape.max_limit = 1;
    let mirror = Mirror::start(database, options).await;
    mirror.run(&LISTS, sync_options(false)).await.complete();
    mirror.assert_exact().await;
}

async fn odd_rows_are_mirrored_or_in_quarantine(database: Database) {
    let on_sqlite = database.is_sqlite();
    let mut options = Options::for_tests(150, 40);
    options.account.messages_per_conversation = Some(4);
    options.account.odd_rows = 0.6;
    let kinds = OddKind::value_variants().iter().copied();
    options.account.odd_kinds = kinds.filter(|kind| *kind != OddKind::LongText).collect();
    let mirror = Mirror::start(database, options).await;
    let account = mirror.sandbox.account();
    let long = format!("\"{}\"", "lung șir 🙂 ".repeat(1 << 16));
    assert!(account.distort_contact(&account.contact_ids()[3], "name", Some(&long)));
    assert!(account.distort_conversation(&account.conversation_ids()[3], "resolution", Some(&long)));
    check_twice(&mirror).await;

    let snapshot = mirror.sandbox.account().snapshot();
    let unusable = snapshot.contacts.iter().filter(|row| row.id().is_none()).count();
    let reasons = mirror
        .database
        .rows(&format!(
            "SELECT reason FROM quarantine WHERE account = '{ACCOUNT}' AND resource = 'contacts'"
        ))
        .await;
    assert!(unusable > 5);
    if on_sqlite {
        assert_eq!(reasons.len(), unusable, "SQLite holds whatever has an id");
    } else {
        let about_nul = |reason: &&crate::support::database::Row| reason.text("reason").contains("NUL");
        assert!(reasons.iter().filter(about_nul).count() > 0, "{reasons:?}");
        assert!(reasons.len() > unusable);
    }
}

async fn an_empty_account_is_mirrored(database: Database) {
    check_twice(&Mirror::start(database, Options::for_tests(0, 0)).await).await;
}

async fn fields_that_are_not_asked_for_are_not_stored(database: Database) {
    let mirror = Mirror::start(database, small_account()).await;
    let fields = "[accounts.main.contacts]\nfields = [\"id\", \"tags\", \"created_at\"]\n";
    mirror.configure(&mirror.account_config("main", fields));
    mirror.run(&LISTS, sync_options(false)).await.complete();

    let contacts = mirror.database.table("contacts").await;
    assert_eq!(contacts.len(), 65);
    for contact in contacts {
        assert!(
            contact.get("created_at").is_some() && contact.get("tags").is_some(),
            "{contact:?}"
        );
        for column in ["name", "email", "phone", "custom_fields", "updated_at", "extra"] {
            assert_eq!(contact.get(column), None, "{column}");
        }
    }
    let requests = mirror.take_log();
    let of_contacts = requests.iter().filter(|entry| entry.path == "/v2/contacts");
    assert!(of_contacts.clone().count() > 0);
    assert!(
        of_contacts.clone().all(|entry| entry.query.contains("fields=")),
        "{requests:?}"
    );
}
