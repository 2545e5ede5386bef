//! Rules at work in a daemon.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::{self, App};
use crate::automation;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::schedule::Holder;
use crate::stock::Stocks;

/// The rules of all accounts, at work; dropped, they stop.
#[derive(Debug)]
pub(super) struct Automating {
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    clock: SharedClock,
    holder: Holder,
}

impl Automating {
    /// Begins.
    pub(super) fn start(app: &App, config: &Config, stocks: &Stocks, holder: Holder) -> Self {
        let stop = CancellationToken::new();
        let automations = app::automations(config, &app.accounts, &app.warehouse, stocks, &app.clock, &holder);
        let tasks = automations
            .into_iter()
            .map(|automations| tokio::spawn(automations.run(stop.clone())))
            .collect();
        Self {
            stop,
            tasks,
            clock: Arc::clone(&app.clock),
            holder,
        }
    }

    /// Takes a new configuration: what is being done is done by the old one.
    pub(super) async fn take(&mut self, app: &App, config: &Config, stocks: &Stocks) {
        let within = config.daemon.stop_within;
        app.warehouse.set_interests(automation::interests(&app::rules(config)));
        let new = Self::start(app, config, stocks, self.holder.clone());
        std::mem::replace(self, new).stop(within).await;
    }

    /// Ends what is under way, `within` that time: what is not known to be done is looked at by whoever goes on.
    pub(super) async fn stop(mut self, within: Duration) {
        self.stop.cancel();
        let tasks = std::mem::take(&mut self.tasks);
        let handles: Vec<_> = tasks.iter().map(JoinHandle::abort_handle).collect();
        tokio::select! {
            ended = join_all(tasks) => {
                for error in ended.into_iter().filter_map(Result::err) {
                    tracing::error!("automations broke off: {error}; please report this");
                }
            }
            () = self.clock.sleep(within) => handles.iter().for_each(tokio::task::AbortHandle::abort),
        }
    }
}

impl Drop for Automating {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
