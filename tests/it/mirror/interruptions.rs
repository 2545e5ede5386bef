//! Killed at any moment, the program leaves the warehouse whole, goes on where it was, and is exact in the end.

use std::collections::HashSet;
use std::time::Duration;

use allai_sync::allai::Resource;
use allai_sync::sandbox::{LogEntry, MessageDraft, MutationKinds, Options, Order};
use allai_sync::sync;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::support::database::Database;
use crate::support::mirror::{ACCOUNT, Mirror};
use crate::support::{eventually, on_both_databases};

on_both_databases!(
    killed_dozens_of_times_the_mirror_is_exact_and_nothing_is_read_twice,
    killed_where_nothing_changed_it_goes_on_where_it_was,
    killed_where_nothing_was_said_it_goes_on_with_the_conversation_it_was_at,
    killed_in_full_syncs_of_a_changing_account_the_mirror_is_exact,
    an_incremental_sync_cut_short_is_caught_up_with,
    an_interrupted_sync_stops_at_once_and_the_next_goes_on,
    two_syncs_at_once_do_not_harm_each_other,
);

/// The most pages the program fetches ahead.
const WINDOW: usize = 16;

/// Kills a sync once it has asked `requests` times; returns what it asked, or `None` if it ended by itself.
async fn kill_after(mirror: &Mirror, arguments: &[&str], requests: u64) -> Option<Vec<LogEntry>> {
    mirror.sandbox.clear_log();
    let mut process = mirror.spawn(arguments);
    let mut running = true;
    eventually("the program asks, or ends", || {
        running = process.is_running();
        !running || mirror.sandbox.stats().requests >= requests
    })
    .await;
    if running {
        process.kill();
        return Some(mirror.take_log());
    }
    process.end().await.expect(0);
    None
}

fn offsets_of(log: &[LogEntry], path: &str) -> Vec<u64> {
    let of_path = log.iter().filter(|entry| entry.path == path);
    of_path.map(|entry| entry.offset.unwrap_or(0)).collect()
}

async fn killed_dozens_of_times_the_mirror_is_exact_and_nothing_is_read_twice(database: Database) {
    let mut options = Options::for_tests(760, 60);
    options.account.messages_per_conversation = Some(3);
    options.shape.order = Order::CreatedAsc;
    options.faults.latency = Duration::from_millis(2);
    options.faults.jitter = Duration::from_millis(4);
    let mirror = Mirror::start(database, options).await;
    let mut rng = StdRng::seed_from_u64(0x6b69_6c6c);
    let (mut kills, mut reached) = (0, [0, 0]);
    let mut in_contacts = 0;
    // Each run is given more room, or the last part would never be done.
    while let Some(log) = kill_after(&mirror, &["sync", "-q"], rng.random_range(1..12) + kills / 2).await {
        kills += 1;
        let contacts_are_complete = reached[1] > 0;
        for (nth, path) in ["/v2/contacts", "/v2/conversations"].into_iter().enumerate() {
            let offsets = offsets_of(&log, path);
            let Some(furthest) = offsets.iter().max() else { continue };
            // What was fetched ahead and not stored is lost.
            let again = offsets.iter().filter(|offset| **offset <= reached[nth]).count();
            assert!(again <= WINDOW + 2, "{path} had reached {}: {offsets:?}", reached[nth]);
            reached[nth] = reached[nth].max(*furthest);
            in_contacts += u64::from(nth == 0);
        }
        if contacts_are_complete {
            // Once the contacts are complete they are not swept again: one look at the growing end.
            assert!(offsets_of(&log, "/v2/contacts").len() <= 8, "{log:?}");
        }
        mirror.database.assert_sound().await;
        assert!(kills < 200, "it never ends");
    }
    assert!(kills >= 24, "only {kills} kills");
    assert!(in_contacts >= 5);
    mirror.assert_exact().await;
    mirror.database.assert_sound().await;
    mirror.full_sync().await.verified();
    mirror.assert_exact().await;
}

async fn an_incremental_sync_cut_short_is_caught_up_with(database: Database) {
    for order in [Order::UpdatedDesc, Order::UpdatedAsc] {
        let mut options = Options::for_tests(300, 60);
        options.shape.order = order;
        options.faults.latency = Duration::from_millis(5);
        let mirror = Mirror::start(database.another(), options).await;
        mirror.configure(&mirror.account_config("main", "page_size = 20\n"));
        mirror.sync().await;
        let account = mirror.sandbox.account();
        for id in account.contact_ids().into_iter().step_by(2) {
            account.touch_contact(&id);
        }
        for id in account.conversation_ids().into_iter().step_by(2) {
            account.insert_message(
                &id,
                MessageDraft {
                    role: "visitor".to_owned(),
                    content: "Mai aveți pe stoc?".to_owned(),
                },
            );
        }
        // In the contacts, in the conversations and in the messages.
        for requests in [3, 15, 30] {
            kill_after(&mirror, &["sync", "-q"], requests).await;
        }
        mirror.sync().await;
        mirror.assert_exact().await;
    }
}

async fn killed_where_nothing_changed_it_goes_on_where_it_was(database: Database) {
    let mut options = Options::for_tests(3_000, 0);
    options.faults.latency = Duration::from_millis(2);
    options.faults.jitter = Duration::from_millis(4);
    let mirror = Mirror::start(database, options).await;
    mirror.configure(&mirror.account_config(ACCOUNT, "page_size = 10\n"));
    mirror.say(&["sync"]).expect(0);
    let mut rng = StdRng::seed_from_u64(0x6b69_6c6c);
    let (mut kills, mut reached) = (0, 0);
    while kills < 12 {
        let arguments = ["sync", "contacts", "--full", "-q"];
        let Some(log) = kill_after(&mirror, &arguments, rng.random_range(8..250)).await else {
            reached = 0;
            continue;
        };
        kills += 1;
        let offsets = offsets_of(&log, "/v2/contacts");
        let again = offsets.iter().filter(|offset| **offset < reached).count();
        assert!(again <= WINDOW + 2, "it had reached {reached}: {offsets:?}");
        let over = offsets.iter().any(|offset| *offset >= 2_990);
        reached = if over {
            0
        } else {
            reached.max(offsets.iter().copied().max().unwrap_or(0))
        };
    }
    mirror.say(&["sync", "--full"]).expect(0);
    mirror.assert_exact().await;
    mirror.database.assert_sound().await;
}

async fn killed_where_nothing_was_said_it_goes_on_with_the_conversation_it_was_at(database: Database) {
    let mut options = Options::for_tests(10, 900);
    options.faults.latency = Duration::from_millis(2);
    options.faults.jitter = Duration::from_millis(4);
    let mirror = Mirror::start(database, options).await;
    mirror.say(&["sync"]).expect(0);
    let mut rng = StdRng::seed_from_u64(0x6b69_6c6c);
    let (mut kills, mut lists) = (0, HashSet::new());
    while kills < 8 {
        let arguments = ["sync", "messages", "--full", "-q"];
        let Some(log) = kill_after(&mirror, &arguments, rng.random_range(20..200)).await else {
            lists.clear();
            continue;
        };
        kills += 1;
        let asked: HashSet<String> = log.into_iter().map(|entry| entry.path).collect();
        let again = asked.iter().filter(|path| lists.contains(*path)).count();
        assert!(again <= WINDOW + 2, "{again} of {} lists were read before", asked.len());
        lists.extend(asked);
        if lists.len() >= 900 {
            lists.clear();
        }
    }
    mirror.say(&["sync", "--full"]).expect(0);
    mirror.assert_exact().await;
    mirror.database.assert_sound().await;
}

async fn killed_in_full_syncs_of_a_changing_account_the_mirror_is_exact(database: Database) {
    let mut options = Options::for_tests(200, 40);
    options.account.messages_per_conversation = Some(2);
    options.faults.latency = Duration::from_millis(1);
    options.faults.jitter = Duration::from_millis(3);
    let mirror = Mirror::start(database, options).await;
    let mut rng = StdRng::seed_from_u64(0x6465_6164);
    let account = mirror.sandbox.account();
    for round in 0..20 {
        let requests = rng.random_range(1..90);
        kill_after(&mirror, &["sync", "-q", "--full"], requests).await;
        account.mutate(round, 4, &MutationKinds::default());
    }
    mirror.database.assert_sound().await;
    // The first finishes what was begun, before some of the changes.
    mirror.full_sync().await;
    mirror.full_sync().await.verified();
    mirror.assert_exact().await;
}

async fn an_interrupted_sync_stops_at_once_and_the_next_goes_on(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(600, 10)).await;
    mirror
        .sandbox
        .set_options(|options| options.faults.latency = Duration::from_millis(20));
    let mut process = mirror.spawn(&["sync", "contacts", "--json"]);
    eventually("a few pages", || mirror.sandbox.stats().requests >= 24).await;
    // The answer after next would take longer than any test: it is not waited for.
    mirror
        .sandbox
        .set_options(|options| options.faults.latency = Duration::from_mins(10));
    process.signal("INT");
    let said = process.end().await.expect(1);
    let run = &said.json()["runs"][0];
    assert_eq!(
        (run["status"].as_str(), run["resource"].as_str()),
        (Some("incomplete"), Some("contacts")),
        "{run}"
    );
    assert!(run["rows_seen"].as_u64().unwrap() > 50, "{run}");
    let recorded = mirror.database.rows("SELECT status, error FROM sync_runs").await;
    assert_eq!(recorded.len(), 1);
    assert_eq!(recorded[0].get("status"), Some("incomplete"));

    mirror
        .sandbox
        .set_options(|options| options.faults.latency = Duration::ZERO);
    mirror.take_log();
    let runs = mirror
        .run(&[Resource::Contacts], sync::Options::default())
        .await
        .complete()
        .verified();
    let first = offsets_of(&mirror.take_log(), "/v2/contacts")[0];
    assert!(first >= 40, "it began again at {first}: {runs:#?}");
    let proven_as_of_the_first = "SELECT count(*) FROM sync_state WHERE resource = 'contacts' AND last_verified_at < (SELECT \
                                  finished_at FROM sync_runs WHERE status = 'incomplete')";
    assert_eq!(mirror.database.value(proven_as_of_the_first).await, "1");
    assert_eq!(mirror.database.value("SELECT count(*) FROM contacts").await, "600");
    mirror.sync().await;
    mirror.assert_exact().await;
}

async fn two_syncs_at_once_do_not_harm_each_other(database: Database) {
    let mut options = Options::for_tests(300, 40);
    options.account.messages_per_conversation = Some(3);
    options.faults.latency = Duration::from_millis(2);
    options.faults.jitter = Duration::from_millis(5);
    let mirror = Mirror::start(database, options).await;
    // The tables are there: that two cannot create them at once is not the question here.
    mirror.say(&["migrate"]).expect(0);
    for round in 0..4 {
        let both = [mirror.spawn(&["sync", "--full"]), mirror.spawn(&["sync", "--full"])];
        for process in both {
            process.end().await.expect(0);
        }
        mirror.assert_exact().await;
        mirror.sandbox.account().mutate(round, 30, &MutationKinds::default());
    }
    mirror.database.assert_sound().await;
    let versions = "SELECT count(*) FROM contacts_history WHERE valid_from >= valid_to";
    assert_eq!(mirror.database.value(versions).await, "0");
}
