//! Contacts that a daemon keeps the same in CRMs, on their schedules.

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
use crate::schedule::next_tick;

/// The longest time between two looks at the clock: it may be set, and a machine may sleep.
const LOOK_EVERY: Duration = Duration::from_mins(1);

/// The sections that have a schedule, each at work; dropped, they stop.
#[derive(Debug)]
pub(super) struct Contacts {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    clock: SharedClock,
}

impl Contacts {
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
                tasks.push(tokio::spawn(keep(sync, schedule, zone, clock, stop)));
            }
        }
        Self {
            stop,
            tasks,
            clock: Arc::clone(&app.clock),
        }
    }

    /// Takes a new configuration. A run under way ends where it can go on.
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
                    tracing::error!("syncing contacts broke off: {error}; please report this");
                }
            }
            () = self.clock.sleep(within) => handles.iter().for_each(tokio::task::AbortHandle::abort),
        }
    }
}

impl Drop for Contacts {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn keep(sync: ContactSync, schedule: Schedule, zone: Tz, clock: SharedClock, stop: CancellationToken) {
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

async fn until(at: DateTime<Utc>, clock: &SharedClock) {
    while let Ok(left) = (at - clock.now()).to_std()
        && !left.is_zero()
    {
        clock.sleep(left.min(LOOK_EVERY)).await;
    }
}
