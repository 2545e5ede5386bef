//! Who waits when the API does not answer, or says no: whom it is about, and nobody else.

use allai_sync::sandbox::ConversationDraft;
use allai_sync::warehouse::EventStatus;

use super::applied::Stage;
use crate::support::database::Database;
use crate::support::on_both_databases;
use crate::support::simulation::OddAnswer;

on_both_databases! {
    an_answer_about_one_conversation_keeps_nobody_else_waiting,
    an_account_that_waits_is_tried_by_one_entity_at_a_time,
    an_api_that_is_silent_uses_up_no_attempts,
    conversations_that_are_never_answered_keep_nobody_waiting_for_long,
    what_is_tried_again_leaves_hands_for_what_is_new,
}

impl Stage {
    fn new_conversations(&self, count: usize) -> Vec<String> {
        let account = self.simulation.sandbox.account();
        (0..count)
            .map(|_| account.insert_conversation(ConversationDraft::default()))
            .collect()
    }

    fn odd_conversation(&self, id: &str, answer: OddAnswer) {
        self.simulation.odd.at(&path(id), answer);
    }

    /// The conversations that are asked for before this one, which is applied.
    async fn asked_before(&mut self, id: &str) -> Vec<String> {
        self.simulation.odd.take_asked();
        self.applying.run_once().await;
        assert_eq!(self.status("good").await, "done");
        let asked = self.simulation.odd.take_asked();
        let before = asked.into_iter().take_while(|asked| *asked != path(id));
        before.filter(|asked| asked.contains("conv_")).collect()
    }
}

fn path(conversation: &str) -> String {
    format!("/v2/conversations/{conversation}")
}

async fn an_answer_about_one_conversation_keeps_nobody_else_waiting(database: Database) {
    let mut stage = Stage::new(database).await;
    let good = stage.first_conversation();
    let answers = [
        (301, ("location", "https://elsewhere.example/")),
        (401, ("x-odd", "1")),
        (403, ("x-odd", "1")),
        (503, ("retry-after", "3600")),
    ];
    let odd = stage.new_conversations(answers.len());
    for (id, (status, header)) in odd.iter().zip(answers) {
        stage.odd_conversation(id, OddAnswer::Status(status, header));
        stage.message_arrives(&format!("odd{status}"), id).await;
        stage.applying.run_once().await;
        stage.message_arrives(&format!("good{status}"), &good).await;
        stage.applying.run_once().await;
        assert_eq!(stage.status(&format!("good{status}")).await, "done", "{status}");
        let (standing, attempts, said) = stage.event(&format!("odd{status}")).await;
        assert_eq!((standing.as_str(), attempts), ("pending", 1), "{status}: {said}");
    }
    // Who asks to be left alone is.
    stage.simulation.odd.nowhere();
    stage.pass(1_800);
    stage.applying.run_once().await;
    assert_eq!(stage.status("odd301").await, "done");
    assert_eq!(stage.status("odd503").await, "pending");
    stage.pass(1_900);
    stage.applying.run_once().await;
    assert_eq!(stage.status("odd503").await, "done");
}

async fn an_account_that_waits_is_tried_by_one_entity_at_a_time(database: Database) {
    let mut stage = Stage::new(database).await;
    let ids = stage.new_conversations(20);
    for id in &ids {
        stage.message_arrives(id, id).await;
    }
    for status in [401, 503] {
        stage
            .simulation
            .odd
            .at("/v2/", OddAnswer::Status(status, ("retry-after", "3600")));
        stage.pass(90);
        stage.simulation.odd.take_asked();
        stage.applying.run_once().await;
        stage.pass(90);
        stage.simulation.odd.take_asked();
        stage.applying.run_once().await;
        let asked = stage.simulation.odd.take_asked();
        // For it, and whether anything is answered.
        assert_eq!(asked.len(), 2, "{status}: {asked:?}");
        stage.simulation.odd.nowhere();
    }
    for id in &ids {
        let (standing, attempts, said) = stage.event(id).await;
        assert_eq!((standing.as_str(), attempts), ("pending", 0), "{said}");
    }
    stage.pass(90);
    stage.applying.run_once().await;
    let done = stage.simulation.warehouse.events("main", EventStatus::Done, 100);
    assert_eq!(done.await.unwrap().len(), ids.len());
}

async fn an_api_that_is_silent_uses_up_no_attempts(database: Database) {
    let mut stage = Stage::new(database).await;
    let id = stage.first_conversation();
    stage.simulation.odd.at("/v2/", OddAnswer::Silence);
    stage.message_arrives("e1", &id).await;
    stage.applying.run_once().await;
    let (standing, attempts, said) = stage.event("e1").await;
    assert_eq!((standing.as_str(), attempts), ("pending", 0), "{said}");
}

async fn conversations_that_are_never_answered_keep_nobody_waiting_for_long(database: Database) {
    let mut stage = Stage::with_hands(database, 16).await;
    let good = stage.first_conversation();
    let silent = stage.new_conversations(8);
    for id in &silent {
        stage.odd_conversation(id, OddAnswer::Silence);
        stage.message_arrives(id, id).await;
    }
    stage.message_arrives("good", &good).await;
    let before = stage.asked_before(&good).await;
    // Once each, and perhaps half of them again.
    assert!(before.len() <= 12, "{before:?}");
}

async fn what_is_tried_again_leaves_hands_for_what_is_new(database: Database) {
    let mut stage = Stage::with_hands(database, 16).await;
    let good = stage.first_conversation();
    for id in stage.new_conversations(10) {
        stage.odd_conversation(&id, OddAnswer::Silence);
        stage.message_arrives(&id, &id).await;
    }
    let tried = "UPDATE webhook_events SET attempts = 1";
    stage.simulation.database.execute(tried).await;
    stage.message_arrives("good", &good).await;
    let mut before = stage.asked_before(&good).await;
    before.sort();
    before.dedup();
    assert!(before.len() <= 4, "{before:?}");
}

/// PostgreSQL plans by what its statistics know, which is of a time before there was a backlog.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_that_the_database_does_not_know_of_yet_is_worked_off() {
    let stage = Stage::new(Database::postgres()).await;
    let database = &stage.simulation.database;
    let many = |status: &str, from: u32| {
        format!(
            "INSERT INTO webhook_events (account, id, event, received_at, body, status, entity, due_at, processed_at) \
             SELECT 'main', '{status}' || i, 'order.placed', TIMESTAMPTZ '2020-01-01' + i * INTERVAL '1 s', '{{}}', '{status}', \
             'event:{status}' || i, '2020-01-01', '2020-01-01' FROM generate_series({from}, {from} + 39999) AS i"
        )
    };
    database.execute(&many("done", 0)).await;
    database.execute("ANALYZE webhook_events").await;
    database.execute(&many("pending", 0)).await;
    let warehouse = &stage.simulation.warehouse;
    let claims = [
        warehouse.claim_new_events("main", &[], 4).await,
        warehouse.claim_events("main", &[], 4).await,
        warehouse.claim_events_alone("main", 4).await,
    ];
    let ids = claims.map(|claimed| {
        let entities = claimed.unwrap();
        let events = entities.into_iter().flat_map(|claimed| claimed.events);
        events.map(|event| event.id).collect::<Vec<_>>()
    });
    let pending = |from: u32| (from..from + 4).map(|at| format!("pending{at}")).collect::<Vec<_>>();
    assert_eq!(ids, [pending(0), pending(4), pending(8)]);
}
