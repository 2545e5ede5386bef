//! The daemon, the sandbox that delivers, and the mirror.
//!
//! `ALLAI_SYNC_TEST_DELIVERIES` and `ALLAI_SYNC_TEST_EVENTS` say how many deliveries of how many events are shuffled.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use allai_sync::clock::SystemClock;
use allai_sync::sandbox::{ContactDraft, ConversationDraft, MessageDraft, Options};
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use futures_util::stream::{self, StreamExt as _};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

use super::{mirrored, register, say, statuses, until_done};
use crate::daemon::{Daemon, until};
use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::{on_both_databases, size};

on_both_databases! {
    every_event_of_the_guide_makes_the_mirror_equal_the_api,
    deliveries_that_come_often_late_and_in_any_order_do_no_harm,
    an_event_is_in_the_mirror_within_a_moment,
    a_contact_changed_while_a_sweeps_page_is_on_its_way_stays_as_it_is,
}

fn bodies_of(events: &[String]) -> BTreeSet<String> {
    events.iter().cloned().collect()
}

fn lead(number: usize) -> ContactDraft {
    ContactDraft {
        name: Some(format!("Lead {number}")),
        email: Some(format!("lead{number}@exemplu.ro")),
        tags: Some(vec!["lead".to_owned()]),
        ..ContactDraft::default()
    }
}

/// Of what happens at once, so many events tell: one of each kind.
const EVENTS_OF_ONE: usize = 8;
/// New events come in so many rounds.
const ROUNDS: usize = 4;

/// Something happens of which an event tells; a conversation's own id.
async fn happen(mirror: &Mirror, number: usize) -> String {
    let account = mirror.sandbox.account();
    let id = account.insert_conversation(ConversationDraft {
        visitor_name: Some("Ana".to_owned()),
        ..ConversationDraft::default()
    });
    say(mirror, &id, "Vreau să vorbesc cu un operator, vă rog").await;
    account.close(&id, "resolved_by_agent");
    account.rate(&id, u8::try_from(1 + number % 5).unwrap());
    let contact = account.insert_contact(lead(number));
    let tags = ["lead", "qualified"].map(str::to_owned).to_vec();
    account.update_contact(
        &contact,
        ContactDraft {
            tags: Some(tags),
            ..ContactDraft::default()
        },
    );
    id
}

async fn every_event_of_the_guide_makes_the_mirror_equal_the_api(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(40, 10)).await;
    let url = mirrored(&mirror).await;
    let mut daemon = Daemon::start(&mirror).await;
    register(&mirror, &url).await;
    happen(&mirror, 1).await;
    mirror.sandbox.deliveries_finished().await;
    let names: BTreeSet<String> = mirror
        .sandbox
        .deliveries()
        .into_iter()
        .map(|delivery| delivery.event)
        .collect();
    assert_eq!(names.len(), 8, "{names:?}");
    let events = mirror.sandbox.deliveries().len() as u64;
    until_done(&mirror, &mut daemon, events).await;
    mirror.assert_exact().await;
    for (table, rows) in [
        ("satisfaction_ratings", "1"),
        ("handoff_requests", "1"),
        ("lead_events", "2"),
    ] {
        let count = format!("SELECT count(*) FROM {table}");
        assert_eq!(mirror.database.value(&count).await, rows, "{table}");
    }
    daemon.stop().await.0.expect(0);
    let held = mirror.database.value("SELECT count(*) FROM inboxes").await;
    assert!(mirror.database.is_sqlite() || held == "0", "{held} leases are left");
}

/// Somebody to deliver to, who keeps the bodies.
async fn collector() -> (String, Arc<Mutex<Vec<String>>>) {
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let keep = async |State(bodies): State<Arc<Mutex<Vec<String>>>>, body: String| bodies.lock().unwrap().push(body);
    let router = Router::new().route("/hook", post(keep)).with_state(Arc::clone(&bodies));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, bodies)
}

async fn deliveries_that_come_often_late_and_in_any_order_do_no_harm(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(20, 5)).await;
    let url = mirrored(&mirror).await;
    let mut daemon = Daemon::start(&mirror).await;
    let (hook, kept) = collector().await;
    register(&mirror, &hook).await;
    let mut rng = StdRng::seed_from_u64(7);
    let client = super::client();
    let happenings = size("ALLAI_SYNC_TEST_EVENTS", 384).div_ceil(EVENTS_OF_ONE);
    let in_all = size("ALLAI_SYNC_TEST_DELIVERIES", 3_840);
    let (mut delivered, mut late, mut deliveries) = (Vec::new(), Vec::new(), 0);
    for round in 0..ROUNDS {
        for number in happenings * round / ROUNDS..happenings * (round + 1) / ROUNDS {
            happen(&mirror, number).await;
        }
        mirror.sandbox.deliveries_finished().await;
        // One in eight comes after those of the next round, …
        let mut now = std::mem::take(&mut late);
        for event in std::mem::take(&mut *kept.lock().unwrap()) {
            let is_late = round + 1 < ROUNDS && rng.random_ratio(1, 8);
            if is_late { &mut late } else { &mut now }.push(event);
        }
        // … and all that have come ever come again, some often.
        let first = delivered.len();
        delivered.extend(now);
        let share = in_all * (round + 1) / ROUNDS;
        let mut of_round: Vec<&String> = delivered[first..].iter().collect();
        while deliveries + of_round.len() < share {
            of_round.push(&delivered[rng.random_range(0..delivered.len())]);
        }
        of_round.shuffle(&mut rng);
        deliveries += of_round.len();
        let answers = stream::iter(of_round)
            .map(|body| super::post(&client, &url, body))
            .buffer_unordered(24);
        assert!(answers.all(async |is_stored| is_stored).await);
    }
    let distinct = bodies_of(&delivered).len();
    assert_eq!((distinct, deliveries), (happenings * EVENTS_OF_ONE, in_all));
    until_done(&mirror, &mut daemon, distinct as u64).await;
    mirror.assert_exact().await;
    let more = "SELECT count(*) FROM webhook_events WHERE attempts > 1";
    assert_eq!(mirror.database.value(more).await, "0");
    for (table, of_one) in [("satisfaction_ratings", 1), ("handoff_requests", 1), ("lead_events", 2)] {
        let rows = mirror.database.value(&format!("SELECT count(*) FROM {table}")).await;
        assert_eq!(rows, (of_one * happenings).to_string(), "{table}");
    }
    super::tell(&format!("{deliveries} deliveries of {distinct} events"));
    daemon.stop().await.0.expect(0);
}

async fn an_event_is_in_the_mirror_within_a_moment(database: Database) {
    let mut options = Options::for_tests(20, 60);
    options.faults.latency = Duration::from_millis(20);
    let mirror = Mirror::start(database, options).await;
    let url = mirrored(&mirror).await;
    let mut daemon = Daemon::start(&mirror).await;
    register(&mirror, &url).await;
    let account = mirror.sandbox.account();
    let ids = account.conversation_ids();
    let mut rng = StdRng::seed_from_u64(11);
    let clock = SystemClock::shared();
    let began = clock.monotonic();
    for number in 0..250_u32 {
        let draft = MessageDraft {
            role: "visitor".to_owned(),
            content: format!("{number}"),
        };
        account
            .insert_message(&ids[rng.random_range(0..ids.len())], draft)
            .unwrap();
        // Fifty a second.
        let next = Duration::from_millis(20) * (number + 1);
        clock
            .sleep(next.saturating_sub(clock.monotonic().saturating_sub(began)))
            .await;
    }
    mirror.sandbox.deliveries_finished().await;
    until_done(&mirror, &mut daemon, 250).await;
    mirror.assert_exact().await;
    let rows = mirror
        .database
        .rows("SELECT received_at, processed_at FROM webhook_events")
        .await;
    let mut took: Vec<i64> = rows
        .iter()
        .map(|row| (row.time("processed_at").unwrap() - row.time("received_at").unwrap()).num_milliseconds())
        .collect();
    took.sort_unstable();
    let (half, most) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    // How fast it is, a benchmark tells (`benches/run webhooks`); here, that nothing waits for a retry or a schedule, however many
    // tests run beside this one.
    assert!(half < 10_000 && most < 30_000, "p50 {half} ms, p99 {most} ms");
    daemon.stop().await.0.expect(0);
}

async fn a_contact_changed_while_a_sweeps_page_is_on_its_way_stays_as_it_is(database: Database) {
    let mirror = Mirror::start(database, Options::for_tests(10, 0)).await;
    let url = mirrored(&mirror).await;
    let mut daemon = Daemon::start(&mirror).await;
    let account = mirror.sandbox.account();
    let id = account.contact_ids()[3].clone();
    let client = super::client();
    // The answer is made when the request comes, and is long on its way.
    let slow = |latency| mirror.sandbox.set_options(|options| options.faults.latency = latency);
    for round in 0..3 {
        slow(Duration::from_secs(2));
        mirror.sandbox.clear_log();
        let sync = mirror.spawn(&["sync", "contacts", "--full"]);
        until("the page is asked for", async || !mirror.sandbox.log().is_empty()).await;
        slow(Duration::ZERO);
        // Nothing but the content tells the versions apart.
        account.distort_contact(&id, "score", Some(&format!("{round}")));
        let body = format!(r#"{{"id":"s{round}","event":"lead.qualified","data":{{"id":"{id}"}}}}"#);
        let contact = mirror
            .sandbox
            .account()
            .snapshot()
            .contacts
            .into_iter()
            .find(|row| row.id().as_deref() == Some(&id));
        let members: Value = serde_json::from_str(contact.unwrap().json.get()).unwrap();
        let body = body.replace("}}", &format!(r#","email":{}}}}}"#, members["email"]));
        assert!(super::post(&client, &url, &body).await);
        until("the event is applied", async || {
            assert!(daemon.process.is_running());
            statuses(&mirror).await.get("done") == Some(&(round + 1))
        })
        .await;
        mirror.assert_exact().await;
        sync.end().await.expect(0);
        mirror.assert_exact().await;
    }
    daemon.until_log("ready").await;
    daemon.stop().await.0.expect(0);
}
