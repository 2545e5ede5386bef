//! The daemon is killed again and again while events pour in.
//!
//! `ALLAI_SYNC_TEST_KILLS` says how often.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use allai_sync::clock::SystemClock;
use allai_sync::sandbox::{MessageDraft, Options};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinSet;

use super::{mirrored, post, until_done};
use crate::daemon::Daemon;
use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::{on_both_databases, size};

on_both_databases! {
    what_was_answered_with_200_is_applied_once_however_often_the_daemon_is_killed,
}

const SENDERS: usize = 8;

async fn what_was_answered_with_200_is_applied_once_however_often_the_daemon_is_killed(database: Database) {
    let mut options = Options::for_tests(10, 40);
    options.faults.latency = Duration::from_millis(5);
    let mirror = Mirror::start(database, options).await;
    let url = mirrored(&mirror).await;
    let conversations = mirror.sandbox.account().conversation_ids();
    let stored: Arc<Mutex<BTreeMap<String, bool>>> = Arc::default();
    let is_over = Arc::new(AtomicBool::new(false));
    // Several at a time, so that a kill meets commits that several events share.
    let mut posting = JoinSet::new();
    for sender in 0..SENDERS {
        let (stored, is_over) = (Arc::clone(&stored), Arc::clone(&is_over));
        let (url, conversations, account) = (url.clone(), conversations.clone(), mirror.sandbox.account());
        posting.spawn(async move {
            let client = super::client();
            let clock = SystemClock::shared();
            let mut number = sender;
            while !is_over.load(Ordering::Relaxed) {
                number += SENDERS;
                let conversation = &conversations[number % conversations.len()];
                let rated = (number / SENDERS).is_multiple_of(2);
                let event = if rated {
                    "satisfaction.rated"
                } else {
                    "message.received"
                };
                let id = format!("e{number}");
                let body = format!(
                    r#"{{"id":"{id}","event":"{event}","data":{{"conversation_id":"{conversation}","score":4}}}}"#
                );
                if !rated {
                    let said = MessageDraft {
                        role: "visitor".to_owned(),
                        content: id.clone(),
                    };
                    account.insert_message(conversation, said).unwrap();
                }
                // What is not answered is sent again, until it is: nothing else tells of the message.
                while !post(&client, &url, &body).await {
                    clock.sleep(Duration::from_millis(5)).await;
                }
                stored.lock().unwrap().insert(id, rated);
                clock.sleep(Duration::from_millis(5)).await;
            }
        });
    }
    let mut rng = StdRng::seed_from_u64(0x6b69_6c6c);
    let clock = SystemClock::shared();
    for _ in 0..size("ALLAI_SYNC_TEST_KILLS", 24) {
        let daemon = Daemon::start(&mirror).await;
        clock.sleep(Duration::from_millis(rng.random_range(20..500))).await;
        daemon.process.kill();
    }
    let mut daemon = Daemon::start(&mirror).await;
    is_over.store(true, Ordering::Relaxed);
    posting.join_all().await;
    let stored = std::mem::take(&mut *stored.lock().unwrap());
    let all = mirror.database.rows("SELECT id, event FROM webhook_events").await;
    let ids: BTreeMap<&str, &str> = all.iter().map(|row| (row.text("id"), row.text("event"))).collect();
    let lost: Vec<&String> = stored.keys().filter(|id| !ids.contains_key(id.as_str())).collect();
    assert!(
        stored.len() > 200 && lost.is_empty(),
        "of {} are lost: {lost:?}",
        stored.len()
    );
    until_done(&mirror, &mut daemon, ids.len() as u64).await;
    let rated = ids.values().filter(|event| **event == "satisfaction.rated").count();
    let kept = mirror.database.value("SELECT count(*) FROM satisfaction_ratings").await;
    assert_eq!(kept, rated.to_string());
    mirror.assert_exact().await;
    mirror.database.assert_sound().await;
    super::tell(&format!(
        "{} events, of which {} were answered with 200",
        ids.len(),
        stored.len()
    ));
    daemon.stop().await.0.expect(0);
}
