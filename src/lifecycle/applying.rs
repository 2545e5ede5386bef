//! What becomes of events in a daemon: they are applied, and passed on.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::config::Config;
use crate::schedule::Holder;
use crate::warehouse::Warehouse;
use crate::webhooks::{Applying, Calls, Forwarder, Watched};

/// How often is looked for events that another daemon stored on the same Postgres; on SQLite there is none, and what somebody
/// replays is seen soon enough; and where none are received, only those that came before matter.
const LOOK_AMONG_SEVERAL: Duration = Duration::from_millis(500);
const LOOK_ALONE: Duration = Duration::from_secs(5);
const LOOK_UNTOLD: Duration = Duration::from_hours(1);

/// What has arrived is being applied.
#[derive(Debug)]
pub(super) struct Events {
    watched: watch::Sender<Watched>,
    /// How long there is for a stop, once it is told to.
    stop: watch::Sender<Option<Duration>>,
    task: JoinHandle<()>,
    passing_on: PassingOn,
}

impl Events {
    /// Begins to apply.
    pub(super) fn apply(app: &App, config: &Config, holder: Holder, calls: Calls) -> Self {
        let watched = watch::Sender::new(watched(app, config));
        let (stop, mut stopping) = watch::channel(None);
        let (warehouse, clock) = (app.warehouse.clone(), Arc::clone(&app.clock));
        let lease = config.daemon.lease;
        let applying = Applying::new(warehouse, clock, holder, lease, watched.subscribe(), calls);
        let task = tokio::spawn(async move {
            let told = async move {
                // Gone without a word, it is told to stop at once.
                stopping
                    .wait_for(Option::is_some)
                    .await
                    .ok()
                    .and_then(|within| *within)
                    .unwrap_or_default()
            };
            applying.run(told).await;
        });
        Self {
            watched,
            stop,
            task,
            passing_on: PassingOn::start(app, config),
        }
    }

    /// Takes a new configuration.
    pub(super) async fn take(&mut self, app: &App, config: &Config) {
        self.watched.send_replace(watched(app, config));
        std::mem::replace(&mut self.passing_on, PassingOn::start(app, config))
            .stop()
            .await;
    }

    /// What is being stored is stored, `within` that time.
    pub(super) async fn stop(self, within: Duration) {
        self.stop.send_replace(Some(within));
        if let Err(error) = self.task.await {
            tracing::error!("applying events broke off: {error}; please report this");
        }
        self.passing_on.stop().await;
    }
}

/// Whose events are applied.
fn watched(app: &App, config: &Config) -> Watched {
    Watched {
        accounts: app.accounts.iter().cloned().map(Arc::new).collect(),
        look_every: match (&config.webhooks, &app.warehouse) {
            (None, _) => LOOK_UNTOLD,
            (Some(_), Warehouse::Postgres(_)) => LOOK_AMONG_SEVERAL,
            (Some(_), Warehouse::Sqlite(_)) => LOOK_ALONE,
        },
    }
}

/// What was applied is being passed on, if it is to be; dropped, it stops.
#[derive(Debug)]
struct PassingOn {
    stop: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl PassingOn {
    fn start(app: &App, config: &Config) -> Self {
        let stop = CancellationToken::new();
        let nats = config.webhooks.as_ref().and_then(|webhooks| webhooks.nats.as_ref());
        let task = nats.map(|nats| {
            let accounts = app.accounts.iter().map(|account| account.name.clone());
            let (warehouse, clock) = (app.warehouse.clone(), Arc::clone(&app.clock));
            let forwarder = Forwarder::new(warehouse, clock, accounts.collect(), nats);
            tokio::spawn(forwarder.run(stop.clone()))
        });
        Self { stop, task }
    }

    async fn stop(mut self) {
        self.stop.cancel();
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::error!("passing events on broke off: {error}; please report this");
        }
    }
}

impl Drop for PassingOn {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
