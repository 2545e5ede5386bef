//! What a daemon does on the schedules of sections of the configuration: contacts that are kept the same in CRMs, snapshots of stock.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use tokio_util::sync::CancellationToken;

use super::at_work::AtWork;
use crate::app::{self, App};
use crate::clock::SharedClock;
use crate::config::{Config, Schedule};
use crate::contacts::{ContactSync, Options};
use crate::schedule::{delta, next_tick};
use crate::stock::{Ended, Snapshots};

/// The longest time between two looks at the clock: it may be set, and a machine may sleep.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// How long after a snapshot broke off it is gone on with: at first, and at most.
const AGAIN: Duration = Duration::from_secs(30);
const AGAIN_AT_MOST: Duration = Duration::from_mins(15);

/// Begins to keep the schedules of the sections that have one. What is under way ends where it can be gone on with: what is not known
/// to be done is looked at by the next run.
pub(super) fn keep_sections(app: &App, config: &Config) -> AtWork {
    let mut at_work = AtWork::new(&app.clock);
    for made in app::contact_syncs(config, &app.accounts, &app.warehouse, &app.clock) {
        let sync = match made {
            Ok(sync) => sync,
            Err(problem) => {
                tracing::warn!("{problem}; its contacts are not synced");
                continue;
            }
        };
        let Some(section) = config.contact_sync.get(sync.name()) else {
            continue;
        };
        if let Some(schedule) = section.schedule.clone() {
            let (zone, clock) = (section.timezone.0, Arc::clone(&app.clock));
            at_work.begin(|stop| sync_contacts(sync, schedule, zone, clock, stop));
        }
    }
    for snapshots in app::stock_snapshots(config, &app.warehouse, &app.clock) {
        let clock = Arc::clone(&app.clock);
        at_work.begin(|stop| take_snapshots(snapshots, clock, stop));
    }
    at_work
}

async fn sync_contacts(sync: ContactSync, schedule: Schedule, zone: Tz, clock: SharedClock, stop: CancellationToken) {
    loop {
        let Some(at) = next_tick(&schedule, zone, clock.now()) else {
            return;
        };
        tokio::select! {
            () = until(at, &clock) => {}
            () = stop.cancelled() => return,
        }
        // Told in the log, and kept in crm_syncs.
        Box::pin(sync.run(Options::default(), &stop)).await;
    }
}

async fn take_snapshots(snapshots: Snapshots, clock: SharedClock, stop: CancellationToken) {
    let mut wait = AGAIN;
    loop {
        let due = match snapshots.due_at().await {
            Ok(Some(due)) => due,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(%error, "it is not known when a snapshot of stock is due");
                clock.now() + delta(wait)
            }
        };
        tokio::select! {
            () = until(due, &clock) => {}
            () = stop.cancelled() => return,
        }
        let name = snapshots.connector();
        let again = match Box::pin(snapshots.run(&stop)).await {
            Ended::Complete(skus) => {
                tracing::info!(
                    connector.name = name,
                    stock.skus = skus,
                    "a snapshot of stock is complete"
                );
                wait = AGAIN;
                continue;
            }
            Ended::Left => AGAIN,
            Ended::Failed(error) => {
                tracing::warn!(
                    connector.name = name,
                    "a snapshot of stock broke off, going on in {} s: {error}",
                    wait.as_secs()
                );
                let again = wait;
                wait = (wait * 2).min(AGAIN_AT_MOST);
                again
            }
        };
        tokio::select! {
            () = until(clock.now() + delta(again), &clock) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn until(at: DateTime<Utc>, clock: &SharedClock) {
    while let Ok(left) = (at - clock.now()).to_std()
        && !left.is_zero()
    {
        clock.sleep(left.min(LOOK_EVERY)).await;
    }
}
