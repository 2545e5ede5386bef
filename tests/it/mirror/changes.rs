//! An incremental sync brings what is new, and what changed where the list's order shows it, and asks for no more than
//! that takes; a full one brings everything, and keeps what was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use allai_sync::allai::Resource;
use allai_sync::clock::SystemClock;
use allai_sync::sandbox::{
    AccountHandle, ChurnKind, ContactDraft, ConversationDraft, LogEntry, MessageDraft, MutationKinds, Options, Order,
    Snapshot, SnapshotRow,
};
use chrono::{SecondsFormat, TimeDelta};
use serde_json::json;

use crate::support::comparison::{differences, is_version};
use crate::support::database::{Database, Row};
use crate::support::mirror::Mirror;
use crate::support::on_both_databases;
use crate::support::simulation::Simulation;

on_both_databases!(
    an_incremental_sync_brings_what_is_new_in_every_order,
    an_incremental_sync_asks_for_no_more_than_it_needs,
    what_arrives_while_an_incremental_sync_reads_is_brought_by_the_next,
    what_the_order_does_not_show_is_brought_by_a_full_sync,
    after_random_changes_a_full_sync_is_exact_and_keeps_every_version,
    what_a_clock_that_was_ahead_has_stored_does_not_hide_a_change,
);

fn account() -> Options {
    let mut options = Options::for_tests(120, 70);
    options.account.messages_per_conversation = Some(3);
    options
}

fn somebody(name: &str) -> ContactDraft {
    ContactDraft {
        name: Some(name.to_owned()),
        tags: Some(vec!["lead".to_owned()]),
        custom_fields: Some(json!({"source": "test"})),
        ..ContactDraft::default()
    }
}

fn said(content: &str) -> MessageDraft {
    MessageDraft {
        role: "visitor".to_owned(),
        content: content.to_owned(),
    }
}

/// A mirror's account, some of whose conversations go on.
async fn start(database: Database, options: Options) -> Mirror {
    let mirror = Mirror::start(database, options).await;
    let account = mirror.sandbox.account();
    for id in account.conversation_ids().iter().step_by(7) {
        assert!(account.reopen(id));
    }
    mirror
}

/// The conversations that are as `status` says.
fn conversations_of_status(account: &AccountHandle, status: &str) -> Vec<String> {
    let rows = account.snapshot().conversations;
    let with_status = rows.iter().filter(|row| row.value().unwrap()["status"] == status);
    with_status.map(|row| row.id().unwrap()).collect()
}

/// What every incremental sync must see; returns the conversations that are new, active or changed.
fn something_happens(account: &AccountHandle) -> BTreeSet<String> {
    let active = conversations_of_status(account, "active");
    assert!(
        active.len() >= 3,
        "the account has {} active conversations",
        active.len()
    );
    for number in 0..23 {
        account.insert_contact(somebody(&format!("Nou Venit {number}")));
    }
    let mut affected: BTreeSet<String> = active.iter().cloned().collect();
    for number in 0..3 {
        let id = account.insert_conversation(ConversationDraft::default());
        account.insert_message(&id, said(&format!("Bună! {number}"))).unwrap();
        affected.insert(id);
    }
    account.insert_message(&active[0], said("Mai sunteți? 🙂")).unwrap();
    assert!(account.close(&active[1], "resolved_by_agent"));
    account.insert_message(&active[2], said("Mulțumesc, gata.")).unwrap();
    assert!(account.close(&active[2], "resolved_by_bot"));
    affected
}

async fn an_incremental_sync_brings_what_is_new_in_every_order(database: Database) {
    let mirror = start(database, account()).await;
    for order in [
        Order::CreatedDesc,
        Order::CreatedAsc,
        Order::UpdatedDesc,
        Order::UpdatedAsc,
        Order::Id,
    ] {
        mirror.sandbox.set_options(|options| options.shape.order = order);
        let name = format!("{order:?}").to_lowercase();
        mirror.configure(&mirror.account_config(&name, "page_size = 20\n"));
        mirror.sync().await;
        mirror.assert_account_exact(&name).await;

        something_happens(&mirror.sandbox.account());
        let runs = mirror.sync().await;
        mirror.assert_account_exact(&name).await;
        assert_eq!(runs.of(Resource::Contacts).inserted, 23, "{order:?}");
        assert_eq!(runs.of(Resource::Conversations).inserted, 3, "{order:?}");
        assert_eq!(runs.of(Resource::Conversations).deleted, 0, "{order:?}");
    }
}

/// The conversations whose messages were asked for.
fn messages_read(log: &[LogEntry]) -> BTreeSet<String> {
    let of = |entry: &LogEntry| {
        let rest = entry.path.strip_prefix("/v2/conversations/")?;
        Some(rest.strip_suffix("/messages")?.to_owned())
    };
    log.iter().filter_map(of).collect()
}

async fn an_incremental_sync_asks_for_no_more_than_it_needs(database: Database) {
    let mut options = Options::for_tests(400, 150);
    options.account.messages_per_conversation = Some(2);
    let mirror = start(database, options).await;
    mirror.sync().await;
    mirror.take_log();

    let affected = something_happens(&mirror.sandbox.account());
    mirror.sync().await;
    mirror.assert_exact().await;
    let log = mirror.take_log();
    assert_eq!(messages_read(&log), affected);
    let lists = |path: &str| log.iter().filter(|entry| entry.path == path).count();
    // 23 new contacts are two pages of 20; the whole list would be 22.
    assert!(lists("/v2/contacts") <= 4, "{}", lists("/v2/contacts"));
    let active = conversations_of_status(&mirror.sandbox.account(), "active").len();
    assert!(
        lists("/v2/conversations") <= 3 + active.div_ceil(15) + 1,
        "{}",
        lists("/v2/conversations")
    );
    let asked_by_id = log
        .iter()
        .filter(|entry| messages_read(std::slice::from_ref(entry)).is_empty());
    let asked_by_id = asked_by_id
        .filter(|entry| entry.path.starts_with("/v2/conversations/"))
        .count();
    assert!(
        asked_by_id <= 2,
        "only those that were active and are not: {asked_by_id}"
    );

    // With nothing new it asks for the head of each list and for what goes on.
    mirror.sync().await;
    let log = mirror.take_log();
    let still_active = conversations_of_status(&mirror.sandbox.account(), "active")
        .into_iter()
        .collect();
    assert_eq!(messages_read(&log), still_active);
    assert!(log.iter().filter(|entry| entry.path == "/v2/contacts").count() <= 2);
}

async fn what_arrives_while_an_incremental_sync_reads_is_brought_by_the_next(database: Database) {
    let armed = Arc::new(AtomicBool::new(false));
    let fires = Arc::clone(&armed);
    // After the head was read and before the active ones are: three closed ones, and behind them a page of active ones.
    let simulation = Simulation::with_events(database, account(), move |account, uri| {
        if uri.query().is_some_and(|query| query.contains("status=active")) && fires.swap(false, Ordering::Relaxed) {
            for _ in 0..3 {
                let id = account.insert_conversation(ConversationDraft::default());
                account.close(&id, "resolved_by_bot");
            }
            for _ in 0..25 {
                account.insert_conversation(ConversationDraft::default());
            }
        }
    })
    .await;
    simulation.sync().await;
    armed.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        simulation.clock.advance(Duration::from_mins(5));
        simulation.sync().await;
    }
    assert!(!armed.load(Ordering::Relaxed), "it happened");
    let snapshot = simulation.sandbox.account().snapshot();
    let found = differences(&simulation.database, "main", &snapshot).await;
    assert!(found.is_empty(), "{found:#?}");
}

async fn what_the_order_does_not_show_is_brought_by_a_full_sync(database: Database) {
    let mirror = start(database, account()).await;
    for order in [
        Order::CreatedDesc,
        Order::CreatedAsc,
        Order::UpdatedDesc,
        Order::UpdatedAsc,
    ] {
        mirror.sandbox.set_options(|options| options.shape.order = order);
        let name = format!("{order:?}").to_lowercase();
        mirror.configure(&mirror.account_config(&name, "page_size = 20\n"));
        mirror.sync().await;

        let account = mirror.sandbox.account();
        let (contacts, closed) = (account.contact_ids(), conversations_of_status(&account, "closed"));
        for id in [&contacts[0], &contacts[60], &contacts[110]] {
            assert!(account.update_contact(id, somebody(&format!("Altcineva {name}"))));
        }
        assert!(account.touch_contact(&contacts[61]));
        assert!(account.touch_conversation(&closed[0]));
        assert!(account.reopen(&closed[15]));
        account.insert_message(&closed[15], said("Am revenit.")).unwrap();

        mirror.sync().await;
        if matches!(order, Order::UpdatedDesc | Order::UpdatedAsc) {
            mirror.assert_account_exact(&name).await;
        }
        mirror.full_sync().await.verified();
        mirror.assert_account_exact(&name).await;
    }
}

/// What each row was, sync after sync; `None` while it was gone.
type Versions = BTreeMap<String, Vec<Option<String>>>;

fn remember(versions: &mut Versions, rows: &[SnapshotRow]) {
    let now: BTreeMap<String, String> = rows
        .iter()
        .map(|row| (row.id().unwrap(), row.json.get().to_owned()))
        .collect();
    for (id, of_row) in versions.iter_mut() {
        if !now.contains_key(id) && of_row.last() != Some(&None) {
            of_row.push(None);
        }
    }
    for (id, json) in now {
        let of_row = versions.entry(id).or_default();
        if of_row.last() != Some(&Some(json.clone())) {
            of_row.push(Some(json));
        }
    }
}

async fn after_random_changes_a_full_sync_is_exact_and_keeps_every_version(database: Database) {
    let mirror = start(database, account()).await;
    let account = mirror.sandbox.account();
    let what = MutationKinds {
        kinds: vec![
            ChurnKind::Insert,
            ChurnKind::Import,
            ChurnKind::Delete,
            ChurnKind::Update,
            ChurnKind::Update,
            ChurnKind::Touch,
            ChurnKind::Silent,
        ],
        ..MutationKinds::default()
    };
    let (mut contacts, mut conversations) = (Versions::new(), Versions::new());
    let mut hidden: Option<String> = None;
    for seed in 0..6 {
        if seed > 0 {
            account.mutate(seed, 60, &what);
        }
        // One goes, and comes back.
        if let Some(id) = hidden.take() {
            assert!(account.hide_contact(&id, false));
        } else if seed > 0 {
            let id = account.contact_ids()[50].clone();
            assert!(account.hide_contact(&id, true));
            hidden = Some(id);
        }
        mirror.full_sync().await.verified();
        mirror.assert_exact().await;
        let Snapshot {
            contacts: of_contacts,
            conversations: of_conversations,
            ..
        } = account.snapshot();
        remember(&mut contacts, &of_contacts);
        remember(&mut conversations, &of_conversations);
    }
    check_history(&mirror.database, "contacts", &contacts).await;
    check_history(&mirror.database, "conversations", &conversations).await;
}

/// The history and the table together hold every version, each valid from when it was seen until the next was, or
/// until the row was gone.
async fn check_history(database: &Database, table: &str, versions: &Versions) {
    let mut held: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    let history = database
        .rows(&format!("SELECT * FROM {table}_history ORDER BY valid_from"))
        .await;
    for row in history.into_iter().chain(database.table(table).await) {
        held.entry(row.text("id").to_owned()).or_default().push(row);
    }
    assert_eq!(held.keys().collect::<Vec<_>>(), versions.keys().collect::<Vec<_>>());
    let (mut superseded, mut came_back) = (0, 0);
    for (id, rows) in &held {
        let seen = &versions[id];
        let contents: Vec<&String> = seen.iter().flatten().collect();
        assert_eq!(rows.len(), contents.len(), "{table} {id}: {rows:#?} {seen:#?}");
        for (row, json) in rows.iter().zip(contents) {
            assert!(is_version(table, row, json), "{table} {id}: {row:?} is not {json}");
            assert_eq!(row.time("first_seen_at"), rows[0].time("changed_at"), "{table} {id}");
        }
        let gone_after = |nth: usize| {
            let mut contents = seen.iter().enumerate().filter(|(_, version)| version.is_some());
            let at = contents.nth(nth).unwrap().0;
            seen.get(at + 1) == Some(&None)
        };
        for (nth, pair) in rows.windows(2).enumerate() {
            let (old, new) = (&pair[0], &pair[1]);
            superseded += 1;
            assert_eq!(old.time("valid_from"), old.time("changed_at"), "{table} {id}");
            if gone_after(nth) {
                came_back += 1;
                assert_eq!(old.time("valid_to"), old.time("deleted_at"), "{table} {id}");
                assert!(old.time("valid_to") <= new.time("changed_at"), "{table} {id}");
            } else {
                assert_eq!(old.time("valid_to"), new.time("changed_at"), "{table} {id}");
                assert_eq!(old.time("deleted_at"), None, "{table} {id}");
            }
            assert!(old.time("valid_from") < old.time("valid_to"), "{table} {id}");
        }
        let is_gone = seen.last() == Some(&None);
        assert_eq!(
            rows.last().unwrap().get("deleted_at").is_some(),
            is_gone,
            "{table} {id}"
        );
    }
    assert!(superseded > 10, "{superseded}");
    assert!(table != "contacts" || came_back > 0);
    let in_view = database.value(&format!("SELECT count(*) FROM {table}_versions")).await;
    assert_eq!(in_view, held.values().map(Vec::len).sum::<usize>().to_string());
}

/// Nor where the search, by which a contact is asked for alone, does not find it.
async fn what_a_clock_that_was_ahead_has_stored_does_not_hide_a_change(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(30, 0)).await;
    mirror.full_sync().await.verified();
    let account = mirror.sandbox.account();
    let id = account.contact_ids()[10].clone();
    let ahead = SystemClock::shared().now() + TimeDelta::seconds(40);
    let ahead = ahead.to_rfc3339_opts(SecondsFormat::Micros, true);
    let set = format!("UPDATE contacts SET changed_at = '{ahead}' WHERE id = '{id}'");
    mirror.database.execute(&set).await;
    assert!(account.distort_contact(&id, "name", Some("\"somebody else\"")));
    let runs = mirror.full_sync().await.verified();
    assert_eq!(runs.of(Resource::Contacts).updated, 1);
    let name = format!("SELECT name FROM contacts WHERE id = '{id}'");
    assert_eq!(mirror.database.value(&name).await, "somebody else");
}
