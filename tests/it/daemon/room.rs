//! What goes on while there is no room for what takes long.

use std::sync::Arc;
use std::time::Duration;

use allai_sync::allai::{InProcess, Resource};
use allai_sync::clock::{SharedClock, SystemClock};
use allai_sync::config::Jobs;
use allai_sync::schedule::{Entry, Holder, Plan, Scheduler, Turn};
use allai_sync::warehouse::{Location, Warehouse};
use bytes::Bytes;
use http::Response;

use super::account;
use crate::support::clock::Time;
use crate::support::database::Database;

/// Contacts every two seconds, and in full every minute.
fn entry(name: &str, clock: &SharedClock, server: InProcess) -> Entry {
    let mut job = Jobs::default().contacts;
    job.schedule = "@every 2s".parse().unwrap();
    job.full_schedule = Some("@every 1m".parse().unwrap());
    job.jitter = Duration::ZERO;
    Entry {
        plan: Plan::new(name, Resource::Contacts, &job, ""),
        account: Arc::new(account(name, clock, server)),
        key_group: name.to_owned(),
    }
}

fn runs(turn: &Turn, account: &str) -> bool {
    turn.running.iter().any(|(running, _)| running == account)
}

/// Keeps the schedules, while next to no time passes, until nothing of an account runs.
async fn until_idle(scheduler: &mut Scheduler, account: &str, time: &Time) -> Turn {
    let real = SystemClock::shared();
    loop {
        let turn = scheduler.turn().await;
        if !runs(&turn, account) {
            return turn;
        }
        assert!(real.monotonic() < Duration::from_mins(1), "it does not end: {turn:?}");
        tokio::select! {
            () = scheduler.wait(&turn) => {}
            () = real.sleep(Duration::from_millis(5)) => time.pass(Duration::from_millis(1)),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_room_in_full_goes_on_by_its_short_schedule() {
    let time = Time::new("2026-03-01T10:00:00.5Z".parse().unwrap());
    let clock = time.machine();
    let database = Database::sqlite();
    let location = Location {
        url: database.url(),
        schema: String::new(),
    };
    let warehouse = Warehouse::open(&location, Arc::clone(&clock)).await.unwrap();
    warehouse.migrate().await.unwrap();
    let empty: InProcess =
        Arc::new(|_| Box::pin(async { Ok(Response::new(Bytes::from_static(br#"{"data": [], "total": 0}"#))) }));
    let silent: InProcess = Arc::new(|_| Box::pin(std::future::pending()));
    let (main, slow) = (entry("main", &clock, empty), entry("slow", &clock, silent));
    let lease = Duration::from_secs(30);
    let mut scheduler = Scheduler::new(warehouse.clone(), Arc::clone(&clock), Holder::new("test"), lease);
    scheduler.set_entries(vec![main.clone()], 2).await.unwrap();
    until_idle(&mut scheduler, "main", &time).await;

    // All is due, and the one place for what takes long is the other account's.
    time.pass(Duration::from_mins(1));
    let both = vec![slow, main];
    scheduler.set_entries(both.clone(), 2).await.unwrap();
    let turn = scheduler.turn().await;
    assert!(runs(&turn, "slow") && runs(&turn, "main"), "{turn:?}");
    for _ in 0..3 {
        let turn = until_idle(&mut scheduler, "main", &time).await;
        let next = turn.next.expect("its next short run is known");
        assert!(next > Duration::ZERO && next <= Duration::from_secs(2), "{turn:?}");
        time.pass(next);
        let turn = scheduler.turn().await;
        assert!(runs(&turn, "slow") && runs(&turn, "main"), "{turn:?}");
    }
    until_idle(&mut scheduler, "main", &time).await;
    let jobs = warehouse.jobs().await.unwrap();
    let main = jobs.iter().find(|job| job.account == "main").unwrap();
    assert_eq!(main.full_served_at, Some(main.created_at), "it was read in full");

    // Where there is no room at all, nothing is known to come: the loop does not look more often for that.
    scheduler.set_entries(both, 1).await.unwrap();
    time.pass(Duration::from_secs(2));
    let turn = scheduler.turn().await;
    assert!(runs(&turn, "slow") && turn.next.is_none(), "{turn:?}");
    scheduler.stop(Duration::ZERO).await;
}
