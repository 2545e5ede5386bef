//! What events alone tell, whatever their shape.

use allai_sync::clock::Clock as _;
use allai_sync::webhooks::read_event;

use super::applied::Stage;
use crate::support::database::Database;
use crate::support::on_both_databases;

on_both_databases! {
    a_payload_is_found_where_it_is,
    what_tells_nothing_that_can_be_read_is_dead_and_says_so,
    a_score_is_kept_though_what_comes_with_it_is_refused,
}

impl Stage {
    /// An event arrives whose body is this.
    async fn body_arrives(&self, body: &str) {
        let event = read_event("main", body.as_bytes(), self.simulation.clock.now());
        self.simulation.warehouse.store_events(&[event]).await.unwrap();
    }

    /// The score that an event told, from a table.
    async fn score(&self, table: &str, id: &str) -> Option<f64> {
        let sql = format!("SELECT score FROM {table} WHERE event_id = '{id}'");
        let rows = self.simulation.database.rows(&sql).await;
        rows.first()?.get("score").map(|score| score.parse().unwrap())
    }
}

async fn a_payload_is_found_where_it_is(database: Database) {
    let mut stage = Stage::new(database).await;
    let ratings = [
        ("r1", r#""data":null,"payload":{"score":3}"#),
        ("r2", r#""conversation_id":"none","score":4,"comment":"bun""#),
        ("r3", r#""data":{"rating":{"score":2,"comment":"nu"}}"#),
        ("r4", r#""data":null,"rating":5"#),
    ];
    for (id, members) in ratings {
        let body = format!(r#"{{"id":"{id}","event":"satisfaction.rated",{members}}}"#);
        stage.body_arrives(&body).await;
    }
    let lead = r#"{"id":"l1","event":"lead.qualified","data":{"lead":{"id":"p1","score":87}}}"#;
    stage.body_arrives(lead).await;
    for _ in 0..4 {
        stage.applying.run_once().await;
        stage.pass(90);
    }
    for (id, score) in [("r1", 3.0), ("r2", 4.0), ("r3", 2.0), ("r4", 5.0)] {
        let (status, _, said) = stage.event(id).await;
        assert_eq!(status, "done", "{id}: {said}");
        assert_eq!(stage.score("satisfaction_ratings", id).await, Some(score), "{id}");
    }
    assert_eq!(stage.score("lead_events", "l1").await, Some(87.0));
    let comments = "SELECT comment FROM satisfaction_ratings WHERE event_id IN ('r2', 'r3') ORDER BY event_id";
    let comments = stage.simulation.database.rows(comments).await;
    assert_eq!(
        (comments[0].text("comment"), comments[1].text("comment")),
        ("bun", "nu")
    );
    // What says which event it is, is not what it tells.
    let extra = "SELECT event_id FROM satisfaction_ratings WHERE event_id = 'r2' AND extra IS NULL";
    assert_eq!(stage.simulation.database.rows(extra).await.len(), 1);
}

async fn what_tells_nothing_that_can_be_read_is_dead_and_says_so(database: Database) {
    let mut stage = Stage::new(database).await;
    let conversation = stage.first_conversation();
    for (id, members) in [
        ("d1", format!(r#""conversation_id":"{conversation}","data":[]"#)),
        (
            "d2",
            format!(r#""data":{{"conversation_id":"{conversation}","score":"good"}}"#),
        ),
        ("d3", format!(r#""conversation_id":"{conversation}","data":null"#)),
    ] {
        let body = format!(r#"{{"id":"{id}","event":"satisfaction.rated",{members}}}"#);
        stage.body_arrives(&body).await;
    }
    stage.applying.run_once().await;
    for id in ["d1", "d2", "d3"] {
        let (status, _, said) = stage.event(id).await;
        assert_eq!(status, "dead", "{id}");
        assert!(said.contains("satisfaction.rated tells cannot be read"), "{id}: {said}");
    }
}

async fn a_score_is_kept_though_what_comes_with_it_is_refused(database: Database) {
    let mut stage = Stage::new(database).await;
    let id = stage.first_conversation();
    // PostgreSQL has no such number.
    let rated = format!(r#"{{"conversation_id":"{id}","score":4,"comment":"bun","x":1e200000}}"#);
    stage.arrives("rated", "satisfaction.rated", &rated).await;
    stage.applying.run_once().await;
    let (status, _, said) = stage.event("rated").await;
    assert_eq!(status, "done", "{said}");
    assert_eq!(stage.score("satisfaction_ratings", "rated").await, Some(4.0));
    if !stage.simulation.database.is_sqlite() {
        assert!(said.contains("extra"), "{said}");
        let extra = "SELECT extra FROM satisfaction_ratings WHERE extra IS NULL";
        assert_eq!(stage.simulation.database.rows(extra).await.len(), 1);
    }
}
