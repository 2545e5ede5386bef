//! What becomes of events, driven step by step on a clock of its own.

use std::time::Duration;

use allai_sync::allai::Resource;
use allai_sync::clock::{Clock as _, SharedClock};
use allai_sync::sandbox::{ContactDraft, ConversationDraft, MessageDraft, Options};
use allai_sync::warehouse::EventStatus;
use allai_sync::webhooks::{Applying, Calls, read_event};
use futures_util::FutureExt as _;

use super::applying;
use crate::support::comparison::differences;
use crate::support::database::Database;
use crate::support::on_both_databases;
use crate::support::simulation::Simulation;

on_both_databases! {
    a_burst_for_one_conversation_is_one_fetch,
    an_event_that_cannot_be_applied_is_dead_after_eight_attempts_and_can_be_replayed,
    an_event_that_waits_for_its_next_attempt_can_be_hurried,
    an_api_that_is_away_uses_up_no_attempts,
    a_conversation_that_the_api_does_not_have_is_asked_for_for_a_minute,
    contacts_that_are_not_found_are_one_run_of_the_contacts,
    what_the_database_refuses_of_an_event_is_in_nobodys_way,
    what_events_alone_tell_is_kept_once_however_often_they_are_applied,
    an_old_payload_brings_nothing_old_back,
    events_that_a_dead_program_left_are_applied,
    an_event_that_programs_end_over_waits_longer_each_time,
    large_events_of_one_conversation_are_claimed_a_few_at_a_time,
}

pub(super) struct Stage {
    pub(super) simulation: Simulation,
    pub(super) applying: Applying,
    calls: Calls,
}

impl Stage {
    pub(super) async fn new(database: Database) -> Self {
        Self::with_hands(database, 1).await
    }

    /// So many requests may be under way.
    pub(super) async fn with_hands(database: Database, hands: usize) -> Self {
        let mut options = Options::for_tests(30, 5);
        options.limits.limit = 1_000_000;
        let simulation = Simulation::with_hands(database, options, hands, |_, _| {}).await;
        simulation.sync().await;
        let calls = Calls::default();
        let clock: SharedClock = simulation.clock.shared();
        let applying = applying(simulation.account.clone(), &simulation.warehouse, &clock, &calls);
        simulation.sandbox.clear_log();
        Self {
            simulation,
            applying,
            calls,
        }
    }

    /// An event arrives.
    pub(super) async fn arrives(&self, id: &str, event: &str, data: &str) {
        let body = format!(r#"{{"id":"{id}","event":"{event}","data":{data}}}"#);
        let event = read_event("main", body.as_bytes(), self.simulation.clock.now());
        self.simulation.warehouse.store_events(&[event]).await.unwrap();
    }

    pub(super) async fn message_arrives(&self, id: &str, conversation: &str) {
        let data = format!(r#"{{"conversation_id":"{conversation}"}}"#);
        self.arrives(id, "message.received", &data).await;
    }

    pub(super) fn first_conversation(&self) -> String {
        self.simulation.sandbox.account().conversation_ids()[0].clone()
    }

    /// How often something was asked for.
    pub(super) fn asked(&self, path: &str) -> usize {
        let log = self.simulation.sandbox.log();
        log.iter().filter(|entry| entry.path == path).count()
    }

    /// Status, attempts and what was said of an event.
    pub(super) async fn event(&self, id: &str) -> (String, u64, String) {
        let sql = format!("SELECT status, attempts, last_error FROM webhook_events WHERE id = '{id}'");
        let rows = self.simulation.database.rows(&sql).await;
        let said = rows[0].get("last_error").unwrap_or_default().to_owned();
        (rows[0].text("status").to_owned(), rows[0].count("attempts"), said)
    }

    pub(super) async fn status(&self, id: &str) -> String {
        self.event(id).await.0
    }

    pub(super) async fn differences(&self) -> Vec<String> {
        let snapshot = self.simulation.sandbox.account().snapshot();
        differences(&self.simulation.database, "main", &snapshot).await
    }

    /// The API answers this share of the requests for messages with 404, although the conversation exists.
    fn lose_messages(&self, share: f64) {
        let sandbox = &self.simulation.sandbox;
        sandbox.set_options(|options| options.faults.lost_messages_rate = share);
    }

    pub(super) fn pass(&self, seconds: u64) {
        self.simulation.clock.advance(Duration::from_secs(seconds));
    }
}

async fn a_burst_for_one_conversation_is_one_fetch(database: Database) {
    let mut stage = Stage::new(database).await;
    let id = stage.first_conversation();
    for number in 0..300 {
        let draft = MessageDraft {
            role: "visitor".to_owned(),
            content: format!("{number}"),
        };
        stage.simulation.sandbox.account().insert_message(&id, draft);
        stage.message_arrives(&format!("e{number}"), &id).await;
    }
    stage.applying.run_once().await;
    assert_eq!(stage.asked(&format!("/v2/conversations/{id}")), 1);
    assert_eq!(stage.differences().await, [""; 0]);
    let done = stage
        .simulation
        .warehouse
        .events("main", EventStatus::Done, 1_000)
        .await
        .unwrap();
    assert_eq!(done.len(), 300);
    assert!(
        done.iter()
            .all(|event| event.attempts == 1 && event.last_error.is_none())
    );
    // The conversation is known to be read: the next run need not.
    let due = stage
        .simulation
        .warehouse
        .conversations_to_read("main", 0, 100, allai_sync::warehouse::ToRead::Changed)
        .await
        .unwrap();
    assert_eq!(due, []);

    stage.message_arrives("late", &id).await;
    stage.applying.run_once().await;
    assert_eq!(stage.asked(&format!("/v2/conversations/{id}")), 2);
}

async fn an_event_that_cannot_be_applied_is_dead_after_eight_attempts_and_can_be_replayed(database: Database) {
    let mut stage = Stage::new(database).await;
    let id = stage.first_conversation();
    stage.lose_messages(1.0);
    let data = format!(r#"{{"conversation_id":"{id}","score":4}}"#);
    stage.arrives("e1", "satisfaction.rated", &data).await;
    let rated = "SELECT count(*) FROM satisfaction_ratings";
    for (attempt, seconds) in (1..8).zip([2, 7, 40, 150, 800, 4_500, 18_000]) {
        stage.applying.run_once().await;
        let (status, attempts, said) = stage.event("e1").await;
        assert_eq!((status.as_str(), attempts), ("pending", attempt), "{said}");
        // What it tells needs nothing of the API.
        assert_eq!(stage.simulation.database.value(rated).await, "1");
        stage.applying.run_once().await;
        assert_eq!(stage.event("e1").await.1, attempt, "it is not due yet");
        stage.pass(seconds);
    }
    stage.applying.run_once().await;
    let (status, attempts, said) = stage.event("e1").await;
    assert_eq!((status.as_str(), attempts), ("dead", 8));
    assert!(
        said.contains("404") && said.contains("allai-sync webhooks replay"),
        "{said}"
    );
    stage.pass(100_000);
    stage.applying.run_once().await;
    assert_eq!(stage.status("e1").await, "dead");
    stage.lose_messages(0.0);
    assert_eq!(stage.simulation.warehouse.replay_events("main", None).await.unwrap(), 1);
    stage.applying.run_once().await;
    assert_eq!(stage.event("e1").await, ("done".to_owned(), 1, String::new()));
    assert_eq!(stage.simulation.database.value(rated).await, "1");
}

async fn an_event_that_waits_for_its_next_attempt_can_be_hurried(database: Database) {
    let mut stage = Stage::new(database).await;
    let id = stage.first_conversation();
    stage.lose_messages(1.0);
    stage.message_arrives("e1", &id).await;
    for _ in 0..5 {
        stage.applying.run_once().await;
        stage.pass(400);
    }
    assert_eq!(stage.event("e1").await.1, 5);
    stage.lose_messages(0.0);
    stage.applying.run_once().await;
    assert_eq!(stage.status("e1").await, "pending");
    let ids = ["e1".to_owned()];
    let warehouse = stage.simulation.warehouse.clone();
    let hurried = warehouse.replay_events("main", Some(&ids)).await.unwrap();
    // Once it is due, it is.
    let again = warehouse.replay_events("main", Some(&ids)).await.unwrap();
    assert_eq!((hurried, again), (1, 0));
    stage.applying.run_once().await;
    assert_eq!(stage.event("e1").await, ("done".to_owned(), 1, String::new()));
}

async fn an_api_that_is_away_uses_up_no_attempts(database: Database) {
    let mut stage = Stage::new(database).await;
    let id = stage.first_conversation();
    stage
        .simulation
        .sandbox
        .set_options(|options| options.faults.error_rate = 1.0);
    stage.message_arrives("e1", &id).await;
    for _ in 0..20 {
        stage.applying.run_once().await;
        let (status, attempts, said) = stage.event("e1").await;
        assert_eq!((status.as_str(), attempts), ("pending", 0), "{said}");
        stage.pass(90);
    }
    stage
        .simulation
        .sandbox
        .set_options(|options| options.faults.error_rate = 0.0);
    stage.applying.run_once().await;
    assert_eq!(stage.status("e1").await, "done");

    // A key that is refused is not tried with every event.
    let key = stage.simulation.sandbox.keys().read.clone();
    stage.simulation.sandbox.revoke(&key);
    stage.simulation.sandbox.clear_log();
    for number in 0..50 {
        stage
            .message_arrives(&format!("r{number}"), &format!("conv_{number}"))
            .await;
    }
    stage.applying.run_once().await;
    let asked = stage.simulation.sandbox.log().len();
    // And one that finds out that it is not about them.
    assert!(asked <= 9, "{asked} requests with a key that is refused");
    let (status, attempts, _) = stage.event("r0").await;
    assert_eq!((status.as_str(), attempts), ("pending", 0));
}

async fn a_conversation_that_the_api_does_not_have_is_asked_for_for_a_minute(database: Database) {
    let mut stage = Stage::new(database).await;
    stage.message_arrives("e1", "conv_none").await;
    let gone = stage.first_conversation();
    stage.simulation.sandbox.account().delete_conversation(&gone);
    stage.message_arrives("e2", &gone).await;
    let asked = format!("/v2/conversations/{gone}");
    // What is not due yet is not asked for, also not within the first minute.
    for (seconds, asks) in [(0, 1), (3, 1), (4, 2), (54, 2)] {
        stage.pass(seconds);
        stage.applying.run_once().await;
        assert_eq!(stage.asked(&asked), asks, "{seconds}");
        assert_eq!(stage.status("e1").await, "pending");
    }
    stage.pass(40);
    stage.applying.run_once().await;
    assert_eq!(stage.asked(&asked), 3);
    for event in ["e1", "e2"] {
        let (status, attempts, said) = stage.event(event).await;
        assert_eq!((status.as_str(), attempts), ("done", 3));
        assert!(said.contains("no such conversation"), "{said}");
    }
    // That it is gone is for a verified sweep to say.
    let sql = "SELECT count(*) FROM conversations WHERE deleted_at IS NOT NULL";
    assert_eq!(stage.simulation.database.value(sql).await, "0");
}

async fn contacts_that_are_not_found_are_one_run_of_the_contacts(database: Database) {
    let mut stage = Stage::new(database).await;
    let account = stage.simulation.sandbox.account();
    let draft = |email: &str| ContactDraft {
        name: Some("Ana Pop".to_owned()),
        email: Some(email.to_owned()),
        ..ContactDraft::default()
    };
    let found = account.insert_contact(draft("ana@exemplu.ro"));
    let renamed = account.insert_contact(draft("new@exemplu.ro"));
    stage
        .arrives(
            "e1",
            "lead.created",
            &format!(r#"{{"id":"{found}","email":"ana@exemplu.ro"}}"#),
        )
        .await;
    // Its payload is old; the name still finds it.
    stage
        .arrives(
            "e2",
            "lead.created",
            &format!(r#"{{"contact":{{"id":"{renamed}","email":"old@exemplu.ro","name":"Ana Pop"}}}}"#),
        )
        .await;
    stage.applying.run_once().await;
    assert_eq!(stage.differences().await, [""; 0]);
    assert!(stage.calls.runs.notified().now_or_never().is_none());

    // An event that names the contact alone: what the mirror knows of it finds it.
    let tags = ContactDraft {
        tags: Some(vec!["vip".to_owned()]),
        ..ContactDraft::default()
    };
    assert!(account.update_contact(&found, tags));
    let data = format!(r#"{{"contact_id":"{found}"}}"#);
    stage.arrives("e3", "lead.qualified", &data).await;
    stage.applying.run_once().await;
    assert_eq!(stage.differences().await, [""; 0]);
    assert!(stage.calls.runs.notified().now_or_never().is_none());

    let jobs = [("main", Resource::Contacts, "main")];
    stage.simulation.warehouse.add_jobs(&jobs).await.unwrap();
    for number in 0..20 {
        stage
            .arrives(
                &format!("n{number}"),
                "lead.qualified",
                &format!(r#"{{"contact_id":"none{number}"}}"#),
            )
            .await;
    }
    stage.applying.run_once().await;
    let (status, _, said) = stage.event("n19").await;
    assert_eq!(status, "done");
    assert!(said.contains("a sync of the contacts was asked for"), "{said}");
    assert!(stage.calls.runs.notified().now_or_never().is_some());
    let jobs = stage.simulation.warehouse.jobs().await.unwrap();
    assert!(jobs[0].requested_at.is_some() && jobs[0].requested_full_at.is_none());
}

async fn what_the_database_refuses_of_an_event_is_in_nobodys_way(database: Database) {
    let mut stage = Stage::new(database).await;
    let id = stage.first_conversation();
    // PostgreSQL has no such number.
    let lead = r#"{"id":"nolead","email":"a@b.ro","score":5,"x":1e200000}"#;
    stage.arrives("lead", "lead.created", lead).await;
    let rated = format!(r#"{{"conversation_id":"{id}","score":5,"x":1e200000}}"#);
    stage.arrives("rated", "satisfaction.rated", &rated).await;
    stage.applying.run_once().await;
    let other = stage.simulation.sandbox.account().conversation_ids()[1].clone();
    stage.message_arrives("good", &other).await;
    stage.applying.run_once().await;
    assert_eq!(stage.status("good").await, "done");
    let (status, _, said) = stage.event("lead").await;
    assert_eq!(status, "done", "{said}");
    let leads = "SELECT score FROM lead_events";
    assert_eq!(
        stage.simulation.database.rows(leads).await[0].text("score").parse(),
        Ok(5.0)
    );
}

async fn what_events_alone_tell_is_kept_once_however_often_they_are_applied(database: Database) {
    let mut stage = Stage::new(database).await;
    let id = stage.first_conversation();
    let contact = stage.simulation.sandbox.account().contact_ids()[0].clone();
    let rated = format!(r#"{{"conversation_id":"{id}","rating":5,"comment":"a\u0000b","stars":[1,"\ud800"]}}"#);
    stage.arrives("r1", "satisfaction.rated", &rated).await;
    let asked = format!(r#"{{"conversation_id":"{id}","reason":"visitor_asked"}}"#);
    stage.arrives("h1", "handoff.requested", &asked).await;
    let lead = format!(r#"{{"id":"{contact}","score":87.5}}"#);
    stage.arrives("l1", "lead.qualified", &lead).await;
    for _ in 0..3 {
        stage.applying.run_once().await;
        stage.pass(60);
        let ids = ["r1", "h1", "l1"].map(str::to_owned);
        assert_eq!(
            stage
                .simulation
                .warehouse
                .replay_events("main", Some(&ids))
                .await
                .unwrap(),
            3
        );
    }
    let database = &stage.simulation.database;
    let ratings = database.rows("SELECT * FROM satisfaction_ratings").await;
    assert_eq!(ratings.len(), 1);
    assert_eq!(ratings[0].get("conversation_id"), Some(id.as_str()));
    assert_eq!(ratings[0].text("score").parse(), Ok(5.0));
    assert_eq!(ratings[0].get("comment"), Some("a\u{2400}b"));
    assert!(ratings[0].text("extra").contains("stars"));
    let handoffs = database.rows("SELECT * FROM handoff_requests").await;
    assert_eq!(handoffs.len(), 1);
    assert_eq!(
        (handoffs[0].get("reason"), handoffs[0].get("extra")),
        (Some("visitor_asked"), None)
    );
    let leads = database.rows("SELECT * FROM lead_events").await;
    assert_eq!(leads.len(), 1);
    assert_eq!(leads[0].get("contact_id"), Some(contact.as_str()));
    assert_eq!(
        (leads[0].get("event"), leads[0].text("score").parse()),
        (Some("lead.qualified"), Ok(87.5))
    );
}

async fn an_old_payload_brings_nothing_old_back(database: Database) {
    let mut stage = Stage::new(database).await;
    let account = stage.simulation.sandbox.account();
    let id = account.insert_conversation(ConversationDraft::default());
    account.close(&id, "resolved_by_bot");
    let old = format!(r#"{{"id":"{id}","status":"active","resolution":null}}"#);
    stage
        .arrives("e1", "conversation.ended", &format!(r#"{{"id":"{id}"}}"#))
        .await;
    stage.applying.run_once().await;
    stage.arrives("e0", "conversation.started", &old).await;
    stage.applying.run_once().await;
    assert_eq!(stage.differences().await, [""; 0]);
    let status = format!("SELECT status FROM conversations WHERE id = '{id}'");
    assert_eq!(stage.simulation.database.value(&status).await, "closed");
}

async fn events_that_a_dead_program_left_are_applied(database: Database) {
    let mut stage = Stage::new(database).await;
    let id = stage.first_conversation();
    stage.message_arrives("e1", &id).await;
    let warehouse = &stage.simulation.warehouse;
    assert!(
        warehouse
            .lease_inbox("main", "run@elsewhere:1", chrono::TimeDelta::seconds(30), &[])
            .await
            .unwrap()
    );
    assert_eq!(warehouse.claim_events("main", &[], 8).await.unwrap().len(), 1);
    stage.applying.run_once().await;
    if !stage.simulation.database.is_sqlite() {
        // The other one may live: it has its lease.
        assert_eq!(stage.status("e1").await, "processing");
        stage
            .simulation
            .database
            .execute("UPDATE inboxes SET expires_at = '2000-01-01T00:00:00Z'")
            .await;
        stage.applying.run_once().await;
    }
    let (status, attempts, _) = stage.event("e1").await;
    // That the other one died is not the event's fault.
    assert_eq!((status.as_str(), attempts), ("done", 1));
    let crashes = "SELECT crashes FROM webhook_events";
    assert_eq!(stage.simulation.database.value(crashes).await, "1");
}

/// It may be the reason, or may be what just happened to be under way.
async fn an_event_that_programs_end_over_waits_longer_each_time(database: Database) {
    let stage = Stage::new(database).await;
    stage.message_arrives("e1", &stage.first_conversation()).await;
    let warehouse = &stage.simulation.warehouse;
    for (crashes, waits) in [(9, 0), (10, 30), (20, 600), (30, 3_600)] {
        let begun = format!("UPDATE webhook_events SET status = 'processing', crashes = {crashes}");
        stage.simulation.database.execute(&begun).await;
        assert_eq!(warehouse.recover_events("main").await.unwrap(), 1);
        if waits > 0 {
            stage.pass(waits - 1);
            assert_eq!(warehouse.claim_events("main", &[], 8).await.unwrap(), [], "{crashes}");
            stage.pass(1);
        }
        let claimed = warehouse.claim_events("main", &[], 8).await.unwrap();
        assert_eq!((claimed.len(), claimed[0].events[0].crashes), (1, crashes + 1));
    }
}

async fn large_events_of_one_conversation_are_claimed_a_few_at_a_time(database: Database) {
    let mut stage = Stage::new(database).await;
    let id = stage.first_conversation();
    let large = format!(r#"{{"conversation_id":"{id}","text":"{}"}}"#, "x".repeat(1_000_000));
    for number in 0..12 {
        stage.arrives(&format!("e{number:02}"), "message.sent", &large).await;
    }
    let warehouse = &stage.simulation.warehouse;
    let claimed = warehouse.claim_events("main", &[], 8).await.unwrap();
    let ids: Vec<&str> = claimed[0].events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, ["e00", "e01", "e02", "e03", "e04", "e05", "e06", "e07", "e08"]);
    // What that one leaves is left to the next.
    stage.applying.run_once().await;
    for number in 0..12 {
        assert_eq!(stage.status(&format!("e{number:02}")).await, "done");
    }
}
