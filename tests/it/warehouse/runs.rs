//! Runs, state and freshness.

use allai_sync::allai::Resource;
use allai_sync::warehouse::{RunRecord, RunStatus, StateUpdate, SyncState};

use super::harness::{ACCOUNT, Place, commit, commit_with, contact, rejected, sendable, time};
use super::on_both;

on_both! {
    a_finished_run_is_kept_with_what_it_means_for_the_state,
    a_checkpoint_can_be_saved_and_cleared_alone,
    freshness_tells_of_everything_ever_synced,
    what_ended_long_ago_is_forgotten_when_asked,
}

fn run(status: RunStatus, finished_at: &str) -> RunRecord {
    RunRecord {
        account: ACCOUNT.to_owned(),
        resource: Resource::Contacts,
        status,
        verified: status == RunStatus::Complete,
        rows_seen: 10,
        inserted: 1,
        updated: 2,
        unchanged: 3,
        deleted: 4,
        restored: 5,
        quarantined: 6,
        requests: 7,
        retries: 8,
        rate_limited: 9,
        seconds: 1.25,
        error: (status == RunStatus::Failed).then(|| "the server said\0 no".to_owned()),
        trigger: "manual".to_owned(),
        started_at: time("2026-01-19T10:00:00Z"),
        finished_at: time(finished_at),
    }
}

#[test]
fn a_run_is_printed_with_the_members_of_the_contract() {
    let printed = serde_json::to_value(run(RunStatus::Complete, "2026-01-19T10:00:01.25Z")).unwrap();
    assert_eq!(
        printed,
        serde_json::json!({
            "account": "main", "resource": "contacts", "status": "complete", "verified": true, "rows_seen": 10,
            "inserted": 1, "updated": 2, "unchanged": 3, "deleted": 4, "restored": 5, "quarantined": 6, "requests": 7,
            "retries": 8, "rate_limited": 9, "seconds": 1.25, "error": null,
        })
    );
}

async fn a_finished_run_is_kept_with_what_it_means_for_the_state(place: Place) {
    let warehouse = place.migrated().await;
    assert_eq!(warehouse.state(ACCOUNT, Resource::Contacts).await.unwrap(), None);
    warehouse
        .save_checkpoint(ACCOUNT, Resource::Contacts, Some("half"))
        .await
        .unwrap();
    let complete = run(RunStatus::Complete, "2026-01-19T10:00:01.25Z");
    let at = complete.finished_at;
    let update = StateUpdate {
        order: Some("newest_first".to_owned()),
        watermark: 42,
        settled_at: Some(time("2026-01-19T10:00:00Z")),
        complete_at: Some(at),
        verified_at: Some(at),
        undated: Some(2),
        rows: 10,
        clear_checkpoint: true,
    };
    sendable(warehouse.finish_run(&complete, Some(&update))).await.unwrap();
    let state = SyncState {
        order: Some("newest_first".to_owned()),
        checkpoint: None,
        watermark: 42,
        settled_at: Some(time("2026-01-19T10:00:00Z")),
        last_complete_at: Some(at),
        last_verified_at: Some(at),
        rows: 10,
        undated: 2,
    };
    assert_eq!(
        warehouse.state(ACCOUNT, Resource::Contacts).await.unwrap(),
        Some(state.clone())
    );

    // A later run that fails keeps what it does not know better.
    warehouse
        .save_checkpoint(ACCOUNT, Resource::Contacts, Some("half"))
        .await
        .unwrap();
    let update = StateUpdate {
        watermark: 50,
        settled_at: Some(time("2026-01-19T10:00:00Z")),
        rows: 11,
        ..StateUpdate::default()
    };
    let failed = run(RunStatus::Failed, "2026-01-19T10:05:00Z");
    warehouse.finish_run(&failed, Some(&update)).await.unwrap();
    let state = SyncState {
        checkpoint: Some("half".to_owned()),
        watermark: 50,
        settled_at: Some(time("2026-01-19T10:00:00Z")),
        rows: 11,
        ..state
    };
    assert_eq!(warehouse.state(ACCOUNT, Resource::Contacts).await.unwrap(), Some(state));
    let failed = RunRecord {
        error: Some("the server said␀ no".to_owned()),
        ..failed
    };
    let runs = warehouse.recent_runs(ACCOUNT, Resource::Contacts, 10).await.unwrap();
    assert_eq!(runs, [failed, complete]);
    assert_eq!(
        warehouse
            .recent_runs(ACCOUNT, Resource::Contacts, 1)
            .await
            .unwrap()
            .len(),
        1
    );
    assert_eq!(place.rows("SELECT count(DISTINCT id) FROM sync_runs").await, ["2"]);
}

async fn a_checkpoint_can_be_saved_and_cleared_alone(place: Place) {
    let warehouse = place.migrated().await;
    warehouse
        .save_checkpoint(ACCOUNT, Resource::Messages, None)
        .await
        .unwrap();
    assert_eq!(warehouse.state(ACCOUNT, Resource::Messages).await.unwrap(), None);
    let checkpoint = async || {
        let state = warehouse.state(ACCOUNT, Resource::Messages).await.unwrap();
        state.and_then(|state| state.checkpoint)
    };
    warehouse
        .save_checkpoint(ACCOUNT, Resource::Messages, Some("a"))
        .await
        .unwrap();
    warehouse
        .save_checkpoint(ACCOUNT, Resource::Messages, Some("b"))
        .await
        .unwrap();
    assert_eq!(checkpoint().await.as_deref(), Some("b"));
    warehouse
        .save_checkpoint(ACCOUNT, Resource::Messages, None)
        .await
        .unwrap();
    assert_eq!(checkpoint().await, None);
}

async fn freshness_tells_of_everything_ever_synced(place: Place) {
    let warehouse = place.migrated().await;
    assert!(warehouse.freshness().await.unwrap().is_empty());
    commit_with(&warehouse, &[contact("c1", "Ana")], &[rejected(None, "{}")]).await;
    commit(&warehouse, &[contact("c2", "Bogdan")]).await;
    warehouse
        .finish_run(&run(RunStatus::Complete, "2026-01-19T10:01:00Z"), None)
        .await
        .unwrap();
    warehouse
        .finish_run(&run(RunStatus::Failed, "2026-01-19T10:02:00Z"), None)
        .await
        .unwrap();
    warehouse
        .save_checkpoint(ACCOUNT, Resource::Messages, Some("x"))
        .await
        .unwrap();
    let fresh = sendable(warehouse.freshness()).await.unwrap();
    assert_eq!(fresh.len(), 2);
    assert_eq!(
        (fresh[0].resource, fresh[0].rows, fresh[0].quarantined.rows),
        (Resource::Contacts, 2, 1)
    );
    assert_eq!(fresh[0].quarantined.reasons[0].rows, 1);
    let ended: Vec<RunStatus> = fresh[0].runs.iter().map(|run| run.status).collect();
    assert_eq!(ended, [RunStatus::Failed, RunStatus::Complete]);
    assert_eq!(fresh[0].state, None);
    assert_eq!(fresh[1].resource, Resource::Messages);
    assert!(fresh[1].runs.is_empty());
    assert!(fresh[1].state.as_ref().unwrap().unfinished);
    assert_eq!(
        place
            .rows("SELECT account, resource, rows, last_run_status, last_error, quarantined FROM freshness ORDER BY 2")
            .await,
        ["main|contacts|0|failed|the server said␀ no|1", "main|messages|0|-|-|0"]
    );
}

async fn what_ended_long_ago_is_forgotten_when_asked(place: Place) {
    let warehouse = place.migrated().await;
    for second in 0..1_005 {
        let at = format!("2024-01-19T10:{:02}:{:02}Z", second / 60, second % 60);
        let old = run(RunStatus::Complete, &at);
        warehouse.finish_run(&old, None).await.unwrap();
    }
    let recent = run(RunStatus::Complete, "2026-01-19T10:00:01Z");
    let elsewhere = RunRecord {
        resource: Resource::Messages,
        ..run(RunStatus::Complete, "2024-01-19T10:00:01Z")
    };
    for kept in [&recent, &elsewhere] {
        warehouse.finish_run(kept, None).await.unwrap();
    }
    let before = time("2025-01-01T00:00:00Z");
    let forget = async || {
        warehouse
            .forget_before(ACCOUNT, Resource::Contacts, before)
            .await
            .unwrap()
    };
    assert!(!forget().await, "nobody waits for all of it");
    assert!(forget().await);
    let left = warehouse.recent_runs(ACCOUNT, Resource::Contacts, 10).await.unwrap();
    assert_eq!(left, [recent]);
    let left = warehouse.recent_runs(ACCOUNT, Resource::Messages, 10).await.unwrap();
    assert_eq!(left, [elsewhere]);
}
