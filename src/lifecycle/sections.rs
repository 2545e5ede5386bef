//! What a daemon does on the schedules of sections of the configuration: contacts that are kept the same in CRMs, snapshots of stock.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

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

/// The sections that have a schedule, each at work; dropped, they stop.
#[derive(Debug)]
pub(super) struct Sections {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    clock: SharedClock,
}

impl Sections {
    /// Begins to keep the schedules.
    pub(super) fn start(app: &App, config: &Config) -> Self {
        let stop = CancellationToken::new();
        let mut tasks = Vec::new();
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
                let (zone, clock, stop) = (section.timezone.0, Arc::clone(&app.clock), stop.clone());
                tasks.push(tokio::spawn(sync_contacts(sync, schedule, zone, clock, stop)));
            }
        }
        for snapshots in app::stock_snapshots(config, &app.warehouse, &app.clock) {
            let (clock, stop) = (Arc::clone(&app.clock), stop.clone());
            tasks.push(tokio::spawn(take_snapshots(snapshots, clock, stop)));
        }
        Self {
            stop,
            tasks,
            clock: Arc::clone(&app.clock),
        }
    }

    /// Takes a new configuration. What is under way ends where it can be gone on with.
    pub(super) async fn take(&mut self, app: &App, config: &Config) {
        let within = config.daemon.stop_within;
        std::mem::replace(self, Self::start(app, config)).stop(within).await;
    }

    /// Ends what is under way, `within` that time: what is not known to be done is looked at by the next run.
    pub(super) async fn stop(mut self, within: Duration) {
        self.stop.cancel();
        let tasks = std::mem::take(&mut self.tasks);
        let handles: Vec<_> = tasks.iter().map(JoinHandle::abort_handle).collect();
        tokio::select! {
            ended = join_all(tasks) => {
                for error in ended.into_iter().filter_map(Result::err) {
                    tracing::error!("a section of the configuration broke off: {error}; please report this");
                }
            }
            () = self.clock.sleep(within) => handles.iter().for_each(tokio::task::AbortHandle::abort),
        }
    }
}

impl Drop for Sections {
    fn drop(&mut self) {
        self.stop.cancel();
    }
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
