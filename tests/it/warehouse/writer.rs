//! Runs of pages: several in a transaction, what a failure leaves, what is told apart without being decoded.

use std::time::Duration;

use allai_sync::allai::Resource;
use allai_sync::allai::model::{Record, Row};
use allai_sync::clock::SystemClock;
use allai_sync::warehouse::{Change, Error, PageCommit, PageWriter, RowOutcome, Warehouse};
use futures_util::FutureExt as _;

use super::harness::{ACCOUNT, Place, changes, contact, message, nums, read, rejected, rows, sendable};
use super::on_both;

on_both! {
    pages_of_one_transaction_are_stored_together_or_not_at_all,
    a_page_on_which_nothing_differs_begins_no_transaction,
    rows_that_are_there_already_are_told_from_new_ones_among_many,
    pages_stored_together_are_as_good_as_pages_stored_one_by_one,
    new_pages_that_overlap_are_added_at_the_first_attempt,
    what_others_write_between_two_transactions_is_seen,
    whoever_waits_for_a_transaction_is_known,
    a_long_id_is_held_back_wherever_it_is_met,
    two_writers_of_one_list_take_turns_whatever_the_database_isolates,
    a_message_in_quarantine_is_not_released_by_one_of_its_name_in_another_conversation,
    the_same_rows_in_another_member_order_write_nothing,
    the_fingerprint_of_the_text_is_kept_with_the_row,
    any_number_of_rows_is_stored_found_and_superseded,
    any_number_of_messages_is_stored_and_found,
    a_row_met_again_in_the_same_transaction_is_known,
    a_page_that_fails_takes_the_uncommitted_pages_with_it_and_says_so,
    a_page_given_up_half_way_takes_the_uncommitted_pages_with_it_and_says_so,
    what_comes_into_an_empty_quarantine_during_a_run_is_known_to_it,
    a_row_tombstoned_by_another_program_is_restored_in_an_open_transaction,
}

async fn writer(warehouse: &Warehouse) -> PageWriter {
    sendable(warehouse.page_writer(ACCOUNT, Resource::Contacts))
        .await
        .unwrap()
}

async fn store(writer: &mut PageWriter, rows: &[Row]) -> Result<Vec<RowOutcome>, Error> {
    let page = PageCommit {
        account: ACCOUNT,
        resource: Resource::Contacts,
        conversation: None,
        rows,
        rejected: &[],
        asked: None,
    };
    sendable(writer.store(&page)).await
}

fn contacts(ids: std::ops::Range<usize>, name: &str) -> Vec<Row> {
    let records: Vec<Record> = ids.map(|id| contact(&format!("c{id}"), name)).collect();
    rows(&records)
}

async fn checkpoint(warehouse: &Warehouse) -> Option<String> {
    let state = warehouse.state(ACCOUNT, Resource::Contacts).await.unwrap();
    state.and_then(|state| state.checkpoint)
}

async fn pages_of_one_transaction_are_stored_together_or_not_at_all(place: Place) {
    let warehouse = place.migrated().await;
    let mut given_up = writer(&warehouse).await;
    assert!(!given_up.is_open());
    for page in 0..3 {
        let outcomes = store(&mut given_up, &contacts(page * 20..page * 20 + 20, "Ana"))
            .await
            .unwrap();
        assert_eq!(changes(&outcomes), [Change::Inserted; 20]);
        assert!(given_up.is_open());
    }
    drop(given_up);
    assert_eq!(place.rows("SELECT count(*) FROM contacts").await, ["0"]);

    let mut writer = writer(&warehouse).await;
    let mut all = Vec::new();
    for page in 0..3 {
        all.extend(nums(
            &store(&mut writer, &contacts(page * 20..page * 20 + 20, "Ana"))
                .await
                .unwrap(),
        ));
    }
    assert_eq!(place.rows("SELECT count(*) FROM contacts").await, ["0"]);
    assert!(all.is_sorted() && all.windows(2).all(|pair| pair[0] < pair[1]));
    sendable(writer.commit(Some("60 rows"))).await.unwrap();
    assert!(!writer.is_open());
    assert_eq!(place.rows("SELECT count(*) FROM contacts").await, ["60"]);
    assert_eq!(checkpoint(&warehouse).await.as_deref(), Some("60 rows"));
    assert_eq!(
        all.last(),
        Some(&warehouse.highest_row_num(ACCOUNT, Resource::Contacts).await.unwrap())
    );
    // Numbers go on after a commit.
    let next = nums(&store(&mut writer, &contacts(60..80, "Ana")).await.unwrap());
    assert!(next[0] > all[59]);
    writer.commit(None).await.unwrap();
    assert_eq!(checkpoint(&warehouse).await.as_deref(), Some("60 rows"));
    assert_eq!(place.rows("SELECT count(DISTINCT row_num) FROM contacts").await, ["80"]);
}

/// After a page of new rows the next one is expected to be new as well, which it is in part only.
async fn rows_that_are_there_already_are_told_from_new_ones_among_many(place: Place) {
    let warehouse = place.migrated().await;
    let mut writer = writer(&warehouse).await;
    let first = store(&mut writer, &contacts(0..50, "Ana")).await.unwrap();
    writer.commit(None).await.unwrap();
    store(&mut writer, &contacts(100..150, "Ana")).await.unwrap();

    // Of both pages, one of them changed, and new ones.
    let mut page = contacts(30..50, "Ana");
    page.extend(contacts(50..80, "Bogdan"));
    page.extend(contacts(145..150, "Ana"));
    page.extend(contacts(0..1, "Mihai"));
    let outcomes = store(&mut writer, &page).await.unwrap();
    writer.commit(None).await.unwrap();
    let mut expected = vec![Change::Unchanged; 20];
    expected.extend([Change::Inserted; 30]);
    expected.extend([Change::Unchanged; 5]);
    expected.push(Change::Updated);
    assert_eq!(changes(&outcomes), expected);
    let (nums, before) = (nums(&outcomes), nums(&first));
    assert_eq!(nums[..20], before[30..]);
    assert_eq!(nums[55], before[0]);
    assert_eq!(
        place
            .rows("SELECT count(*), count(DISTINCT row_num) FROM contacts")
            .await,
        ["130|130"]
    );
    assert_eq!(
        place
            .rows("SELECT name FROM contacts WHERE id IN ('c0', 'c49', 'c79') ORDER BY id")
            .await,
        ["Mihai", "Ana", "Bogdan"]
    );
    assert_eq!(place.rows("SELECT id FROM contacts_history").await, ["c0"]);
}

async fn pages_stored_together_are_as_good_as_pages_stored_one_by_one(place: Place) {
    let warehouse = place.migrated().await;
    let mut writer = writer(&warehouse).await;
    store(&mut writer, &contacts(0..20, "Ana")).await.unwrap();
    writer.commit(None).await.unwrap();

    // What they share is the same but for one row, of which the later page has the last word.
    let pages = [contacts(15..120, "Ana"), contacts(110..230, "Ana"), {
        let mut page = contacts(225..226, "Bogdan");
        page.extend(contacts(226..300, "Ana"));
        page
    }];
    let bad = [rejected(None, r#"{"name": "nobody"}"#)];
    let commits = pages.each_ref().map(|rows| PageCommit {
        account: ACCOUNT,
        resource: Resource::Contacts,
        conversation: None,
        rows,
        rejected: &bad,
        asked: None,
    });
    let outcomes = sendable(writer.store_all(&commits)).await.unwrap();
    writer.commit(None).await.unwrap();

    // What a page repeats is there already, as if they came one after the other.
    let runs = |lengths: [(usize, Change); 6]| -> Vec<Change> {
        let repeated = lengths.into_iter().map(|(length, change)| vec![change; length]);
        repeated.collect::<Vec<_>>().concat()
    };
    let expected = runs([
        (5, Change::Unchanged),
        (100, Change::Inserted),
        (10, Change::Unchanged),
        (110, Change::Inserted),
        (5, Change::Unchanged),
        (70, Change::Inserted),
    ]);
    assert_eq!(changes(&outcomes), expected);
    assert!(outcomes[105..115].iter().all(|outcome| outcome.changed_at.is_some()));
    let nums = nums(&outcomes);
    assert_eq!((&nums[95..105], &nums[220..225]), (&nums[105..115], &nums[225..230]));
    assert_eq!(
        place
            .rows("SELECT count(*), count(DISTINCT row_num), max(row_num) FROM contacts")
            .await,
        ["300|300|300"]
    );
    assert_eq!(
        place.rows("SELECT name FROM contacts WHERE id = 'c225'").await,
        ["Bogdan"]
    );
    assert_eq!(place.rows("SELECT count(*) FROM contacts_history").await, ["0"]);
    assert_eq!(place.rows("SELECT count(*) FROM quarantine").await, ["1"]);
}

/// PostgreSQL's index has room for some such ids, by chance.
async fn a_long_id_is_held_back_wherever_it_is_met(place: Place) {
    let warehouse = place.migrated().await;
    let mut writer = writer(&warehouse).await;
    for name in ["Ana", "Bogdan"] {
        store(&mut writer, &contacts(0..50, name)).await.unwrap();
        let mut page = contacts(50..100, name);
        page.extend(rows(&[contact(&"x".repeat(1_500), name)]));
        store(&mut writer, &page).await.unwrap();
        writer.commit(None).await.unwrap();
        let stale = format!("SELECT count(*) FROM contacts WHERE name <> '{name}'");
        assert_eq!(place.rows(&stale).await, ["0"]);
        let held = warehouse.quarantined(ACCOUNT, Resource::Contacts).await.unwrap() > 0;
        assert_eq!(held, !place.is_sqlite());
    }
}

async fn two_writers_of_one_list_take_turns_whatever_the_database_isolates(mut place: Place) {
    place.migrated().await.close().await;
    if !place.is_sqlite() {
        place.location.url += if place.location.url.contains('?') { "&" } else { "?" };
        place.location.url += "options[default_transaction_isolation]=serializable";
    }
    let (one, other) = (place.open().await, place.open().await);
    let (mut first, mut second) = (writer(&one).await, writer(&other).await);
    let page = contacts(0..50, "Ana");
    store(&mut first, &page).await.unwrap();
    let (waited, committed) = tokio::join!(store(&mut second, &page), async {
        SystemClock::shared().sleep(Duration::from_millis(300)).await;
        first.commit(None).await
    });
    committed.unwrap();
    assert_eq!(changes(&waited.unwrap()), [Change::Unchanged; 50]);
    second.commit(None).await.unwrap();
    assert_eq!(
        place.rows("SELECT count(*), max(row_num) FROM contacts").await,
        ["50|50"]
    );
}

async fn a_message_in_quarantine_is_not_released_by_one_of_its_name_in_another_conversation(place: Place) {
    let warehouse = place.migrated().await;
    let bad = [rejected(Some("m1"), r#"{"id": "m1", "content": {}}"#)];
    let good = |of: &str| rows(&[message("m1", of, "bot", "2026-01-19T09:00:00Z")]);
    let mut writer = sendable(warehouse.page_writer(ACCOUNT, Resource::Messages))
        .await
        .unwrap();
    for conversation in ["a", "b"] {
        let page = PageCommit {
            account: ACCOUNT,
            resource: Resource::Messages,
            conversation: Some(conversation),
            rows: &[],
            rejected: &bad,
            asked: None,
        };
        sendable(writer.store(&page)).await.unwrap();
        writer.commit(None).await.unwrap();
    }
    let held = "SELECT conversation_id FROM quarantine ORDER BY conversation_id";
    assert_eq!(place.rows(held).await, ["a", "b"]);
    for (conversation, left) in [("c", vec!["a", "b"]), ("a", vec!["b"])] {
        let page = PageCommit {
            account: ACCOUNT,
            resource: Resource::Messages,
            conversation: Some(conversation),
            rows: &good(conversation),
            rejected: &[],
            asked: None,
        };
        sendable(writer.store(&page)).await.unwrap();
        writer.commit(None).await.unwrap();
        assert_eq!(place.rows(held).await, left, "{conversation}");
    }
}

/// PostgreSQL would log each row that is refused as an error, and keep the dead rows for its vacuum.
async fn new_pages_that_overlap_are_added_at_the_first_attempt(place: Place) {
    let warehouse = place.migrated().await;
    let mut writer = writer(&warehouse).await;
    for page in 0..12 {
        let at = page * 45;
        store(&mut writer, &contacts(at..at + 50, "Ana")).await.unwrap();
        if page % 4 == 3 {
            writer.commit(None).await.unwrap();
        }
    }
    assert_eq!(
        place.rows("SELECT count(*), max(row_num) FROM contacts").await,
        ["545|545"]
    );
    if place.is_sqlite() {
        return;
    }
    drop(writer);
    warehouse.close().await;
    // Sessions tell what they did when they end.
    let tried =
        "SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'contacts' AND schemaname = current_schema()";
    let clock = SystemClock::shared();
    for _ in 0..100 {
        if place.rows(tried).await == ["545"] {
            break;
        }
        clock.sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(place.rows(tried).await, ["545"]);
}

/// What the last transaction left is believed only where nobody has written since, in this program or another.
async fn what_others_write_between_two_transactions_is_seen(place: Place) {
    let (warehouse, elsewhere) = (place.migrated().await, place.open().await);
    let mut first = writer(&warehouse).await;
    for (round, other) in [&warehouse, &elsewhere].into_iter().cycle().take(6).enumerate() {
        let at = round * 100;
        for page in [at..at + 20, at + 15..at + 40] {
            store(&mut first, &contacts(page, "Ana")).await.unwrap();
        }
        first.commit(None).await.unwrap();
        place.pass(1);
        let mut second = writer(other).await;
        let theirs = [contacts(at + 39..at + 40, "Bela"), contacts(at + 50..at + 60, "Cora")].concat();
        store(&mut second, &theirs).await.unwrap();
        second.commit(None).await.unwrap();
        place.pass(1);
        let outcomes = store(&mut first, &contacts(at + 38..at + 50, "Ana")).await.unwrap();
        assert_eq!(changes(&outcomes[..2]), [Change::Unchanged, Change::Updated], "{round}");
        assert_eq!(changes(&outcomes[2..]), [Change::Inserted; 10], "{round}");
        first.commit(None).await.unwrap();
        let all = (round + 1) * 60;
        let found = place
            .rows("SELECT count(*), count(DISTINCT row_num), max(row_num) FROM contacts")
            .await;
        assert_eq!(found, [format!("{all}|{all}|{all}")]);
    }
}

async fn whoever_waits_for_a_transaction_is_known(place: Place) {
    let warehouse = place.migrated().await;
    let (mut first, mut second) = (writer(&warehouse).await, writer(&warehouse).await);
    assert!(!first.is_waited_for());
    store(&mut first, &contacts(0..5, "Ana")).await.unwrap();
    assert!(!first.is_waited_for());
    let page = contacts(5..10, "Ana");
    let waiting = store(&mut second, &page);
    let committing = async {
        if place.is_sqlite() {
            while !first.is_waited_for() {
                tokio::task::yield_now().await;
            }
        }
        first.commit(None).await.unwrap();
        assert!(!first.is_waited_for());
    };
    let (stored, ()) = tokio::join!(waiting, committing);
    assert_eq!(changes(&stored.unwrap()), [Change::Inserted; 5]);
    second.commit(None).await.unwrap();
}

async fn a_page_on_which_nothing_differs_begins_no_transaction(place: Place) {
    let warehouse = place.migrated().await;
    let mut writer = writer(&warehouse).await;
    let page = contacts(0..50, "Ana");
    store(&mut writer, &page).await.unwrap();
    writer.commit(None).await.unwrap();
    let before = place.write_mark().await;
    // The first page after one that was mostly new is looked up within a transaction, the others are not.
    for _ in 0..3 {
        let outcomes = store(&mut writer, &page).await.unwrap();
        assert_eq!(changes(&outcomes), [Change::Unchanged; 50]);
        assert!(outcomes.iter().all(|outcome| outcome.changed_at == Some(place.now())));
        assert!(!writer.is_open());
        writer.commit(None).await.unwrap();
    }
    assert_eq!(place.write_mark().await, before);
    writer.commit(Some("here")).await.unwrap();
    assert_eq!(checkpoint(&warehouse).await.as_deref(), Some("here"));
}

async fn the_same_rows_in_another_member_order_write_nothing(place: Place) {
    let warehouse = place.migrated().await;
    let page = [
        read(r#"{"id":"c1","name":"Ana","custom_fields":{"a":1,"b":[2]}}"#),
        read(r#"{"id":"c2","name":"Bogdan"}"#),
    ];
    let shuffled = [
        read(r#"{ "custom_fields": {"b": [2], "a": 1}, "name": "Ana", "id": "c1" }"#),
        read(r#"{"name":"Bogdan","id":"c2"}"#),
    ];
    let mut writer = writer(&warehouse).await;
    store(&mut writer, &page).await.unwrap();
    writer.commit(None).await.unwrap();
    let before = place.write_mark().await;
    for page in [&page, &shuffled, &page] {
        assert_eq!(
            changes(&store(&mut writer, page).await.unwrap()),
            [Change::Unchanged; 2]
        );
        assert!(!writer.is_open());
    }
    assert_eq!(place.write_mark().await, before);
    // Rows of an older version of the schema have no fingerprint of their text: that alone is no reason to write.
    place.rows("UPDATE contacts SET raw_hash = NULL").await;
    let before = place.write_mark().await;
    assert_eq!(
        changes(&store(&mut writer, &page).await.unwrap()),
        [Change::Unchanged; 2]
    );
    assert_eq!(place.write_mark().await, before);
}

async fn the_fingerprint_of_the_text_is_kept_with_the_row(place: Place) {
    let warehouse = place.migrated().await;
    let kept = async || {
        let hex = if place.is_sqlite() {
            "lower(hex(raw_hash))"
        } else {
            "encode(raw_hash, 'hex')"
        };
        place.rows(&format!("SELECT {hex} FROM contacts")).await
    };
    let mut writer = writer(&warehouse).await;
    for text in [r#"{"id":"c1","name":"Ana"}"#, r#"{"id":"c1","name":"Anna"}"#] {
        let row = read(text);
        let expected = hex::encode(row.raw_hash().0);
        store(&mut writer, &[row]).await.unwrap();
        writer.commit(None).await.unwrap();
        assert_eq!(kept().await, [expected]);
    }
}

/// Around the sizes statements have.
const SIZES: [usize; 9] = [1, 9, 10, 11, 99, 100, 101, 499, 1_000];

async fn any_number_of_rows_is_stored_found_and_superseded(place: Place) {
    let warehouse = place.migrated().await;
    for size in SIZES {
        let account = format!("of {size}");
        let mut writer = warehouse.page_writer(&account, Resource::Contacts).await.unwrap();
        for (name, change) in [
            ("Ana", Change::Inserted),
            ("Ana", Change::Unchanged),
            ("Anna", Change::Updated),
            ("Anna", Change::Unchanged),
        ] {
            let rows = contacts(0..size, name);
            let page = PageCommit {
                account: &account,
                resource: Resource::Contacts,
                conversation: None,
                rows: &rows,
                rejected: &[],
                asked: None,
            };
            let outcomes = writer.store(&page).await.unwrap();
            writer.commit(None).await.unwrap();
            assert_eq!(changes(&outcomes), vec![change; size], "{size}");
            assert!(nums(&outcomes).is_sorted(), "{size}");
        }
        let counts = format!(
            "SELECT (SELECT count(*) FROM contacts WHERE account = '{account}' AND name = 'Anna'), \
             (SELECT count(*) FROM contacts_history WHERE account = '{account}' AND name = 'Ana'), \
             (SELECT count(DISTINCT row_num) FROM contacts WHERE account = '{account}')"
        );
        assert_eq!(place.rows(&counts).await, [format!("{size}|{size}|{size}")]);
    }
}

async fn any_number_of_messages_is_stored_and_found(place: Place) {
    let warehouse = place.migrated().await;
    let mut writer = warehouse.page_writer(ACCOUNT, Resource::Messages).await.unwrap();
    for size in SIZES {
        let of = format!("v{size}");
        // The same ids in every conversation.
        let records: Vec<Record> = (0..size)
            .map(|id| message(&format!("m{id}"), &of, "bot", "2026-01-19T09:00:00Z"))
            .collect();
        let page = PageCommit {
            account: ACCOUNT,
            resource: Resource::Messages,
            conversation: None,
            rows: &rows(&records),
            rejected: &[],
            asked: None,
        };
        for change in [Change::Inserted, Change::Unchanged] {
            let outcomes = writer.store(&page).await.unwrap();
            assert_eq!(changes(&outcomes), vec![change; size], "{size}");
        }
    }
    writer.commit(None).await.unwrap();
    let total = SIZES.iter().sum::<usize>();
    assert_eq!(
        place.rows("SELECT count(DISTINCT row_num) FROM messages").await,
        [total.to_string()]
    );
}

async fn a_row_met_again_in_the_same_transaction_is_known(place: Place) {
    let warehouse = place.migrated().await;
    let mut writer = writer(&warehouse).await;
    let page = |name| rows(&[contact("c1", name), contact(name, "other")]);
    let mut found = Vec::new();
    for name in ["Ana", "Anna", "Anna"] {
        found.extend(store(&mut writer, &page(name)).await.unwrap());
    }
    let first = [Change::Inserted; 2];
    let second = [Change::Updated, Change::Inserted];
    let third = [Change::Unchanged; 2];
    assert_eq!(changes(&found), [first, second, third].concat());
    assert!(found[0].num == found[2].num && found[0].num == found[4].num);
    writer.commit(None).await.unwrap();
    assert_eq!(place.rows("SELECT name FROM contacts_history").await, ["Ana"]);
    assert_eq!(
        place.rows("SELECT id, name FROM contacts ORDER BY id").await,
        ["Ana|other", "Anna|other", "c1|Anna"]
    );
}

/// From now on, storing the contact `bad` fails.
async fn refuse_bad(place: &Place) {
    let refuse = if place.is_sqlite() {
        "CREATE TRIGGER refuse BEFORE INSERT ON contacts WHEN NEW.id = 'bad' BEGIN SELECT RAISE(ABORT, 'refused'); END"
    } else {
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$; \
         CREATE TRIGGER refuse BEFORE INSERT ON contacts FOR EACH ROW WHEN (NEW.id = 'bad') EXECUTE FUNCTION refuse()"
    };
    place.rows(refuse).await;
}

async fn a_page_that_fails_takes_the_uncommitted_pages_with_it_and_says_so(place: Place) {
    let warehouse = place.migrated().await;
    refuse_bad(&place).await;
    let bad = rows(&[contact("good", "Ana"), contact("bad", "Ana")]);
    let mut writer = writer(&warehouse).await;
    // Alone, it fails and leaves the writer clean.
    assert!(
        store(&mut writer, &bad)
            .await
            .unwrap_err()
            .to_string()
            .contains("refused")
    );
    store(&mut writer, &contacts(0..10, "Ana")).await.unwrap();
    writer.commit(Some("10 rows")).await.unwrap();
    // After others, these are gone.
    store(&mut writer, &contacts(10..20, "Ana")).await.unwrap();
    assert!(
        store(&mut writer, &bad)
            .await
            .unwrap_err()
            .to_string()
            .contains("refused")
    );
    assert!(!writer.is_open());
    assert!(matches!(
        store(&mut writer, &contacts(20..30, "Ana")).await,
        Err(Error::RolledBack)
    ));
    assert!(matches!(writer.commit(Some("20 rows")).await, Err(Error::RolledBack)));
    assert_eq!(place.rows("SELECT count(*) FROM contacts").await, ["10"]);
    assert_eq!(checkpoint(&warehouse).await.as_deref(), Some("10 rows"));

    let mut writer = self::writer(&warehouse).await;
    store(&mut writer, &contacts(10..20, "Ana")).await.unwrap();
    writer.commit(Some("20 rows")).await.unwrap();
    assert_eq!(place.rows("SELECT count(*) FROM contacts").await, ["20"]);
}

async fn a_page_given_up_half_way_takes_the_uncommitted_pages_with_it_and_says_so(place: Place) {
    let warehouse = place.migrated().await;
    let mut writer = writer(&warehouse).await;
    store(&mut writer, &contacts(0..10, "Ana")).await.unwrap();
    // A database that is quick enough may have stored a page at once; then the next one is given up.
    let mut pages = (1..1_000).map(|page| contacts(page * 10..page * 10 + 10, "Ana"));
    assert!(pages.any(|page| store(&mut writer, &page).now_or_never().is_none()));
    assert!(matches!(writer.commit(Some("20 rows")).await, Err(Error::RolledBack)));
    // The next one finds the database as it was, and can write.
    let mut writer = self::writer(&warehouse).await;
    let outcomes = store(&mut writer, &contacts(0..20, "Ana")).await.unwrap();
    assert_eq!(changes(&outcomes), [Change::Inserted; 20]);
    writer.commit(None).await.unwrap();
    assert_eq!(place.rows("SELECT count(*) FROM contacts").await, ["20"]);
}

async fn what_comes_into_an_empty_quarantine_during_a_run_is_known_to_it(place: Place) {
    let warehouse = place.migrated().await;
    let mut writer = writer(&warehouse).await;
    let bad = [rejected(Some("c1"), r#"{"id": "c1", "name": {}}"#)];
    let page = PageCommit {
        account: ACCOUNT,
        resource: Resource::Contacts,
        conversation: None,
        rows: &[],
        rejected: &bad,
        asked: None,
    };
    writer.store(&page).await.unwrap();
    writer.commit(None).await.unwrap();
    assert_eq!(place.rows("SELECT id FROM quarantine").await, ["c1"]);
    let before = place.write_mark().await;
    writer.store(&page).await.unwrap();
    assert!(!writer.is_open());
    assert_eq!(place.write_mark().await, before);
    store(&mut writer, &contacts(1..2, "Ana")).await.unwrap();
    writer.commit(None).await.unwrap();
    assert!(place.rows("SELECT id FROM quarantine").await.is_empty());
}

async fn a_row_tombstoned_by_another_program_is_restored_in_an_open_transaction(place: Place) {
    let warehouse = place.migrated().await;
    let mut writer = writer(&warehouse).await;
    let first = store(&mut writer, &contacts(0..2, "Ana")).await.unwrap();
    writer.commit(None).await.unwrap();
    let num = first[0].num.unwrap();
    warehouse.tombstone(ACCOUNT, Resource::Contacts, &[num]).await.unwrap();
    place.pass(60);
    store(&mut writer, &contacts(2..5, "Ana")).await.unwrap();
    let outcomes = store(&mut writer, &contacts(0..2, "Ana")).await.unwrap();
    assert_eq!(changes(&outcomes), [Change::Restored, Change::Unchanged]);
    assert_eq!(outcomes[0].num, Some(num));
    writer.commit(None).await.unwrap();
    assert_eq!(
        place
            .rows("SELECT count(*) FROM contacts WHERE deleted_at IS NULL")
            .await,
        ["5"]
    );
    assert_eq!(place.rows("SELECT count(*) FROM contacts_history").await, ["1"]);
}
