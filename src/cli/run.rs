//! `allai-sync run`: the daemon.

use std::sync::Arc;

use allai_sync::clock::SystemClock;
use allai_sync::config::LoadOptions;
use allai_sync::lifecycle::{Daemon, Signals, allow_many_files};
use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{Context, Outcome, runtime};

/// Runs the daemon: keeps the mirror fresh, on schedules, until SIGTERM
#[derive(Args, Debug)]
pub(crate) struct Options {}

impl Options {
    #[expect(clippy::unused_self, reason = "every subcommand's options run alike")]
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Outcome> {
        let config = context.load_config()?.config;
        allow_many_files();
        runtime::block_on(async {
            let signals = Signals {
                stop: runtime::cancelled_by_signal()?,
                reload: Arc::default(),
            };
            let mut hangup = signal(SignalKind::hangup()).context("cannot listen for signals")?;
            let reload = Arc::clone(&signals.reload);
            tokio::spawn(async move {
                while hangup.recv().await.is_some() {
                    reload.notify_one();
                }
            });
            let source = LoadOptions::from_process(context.config.clone());
            let daemon = tokio::select! {
                daemon = Daemon::start(config, source, SystemClock::shared()) => daemon?,
                () = signals.stop.cancelled() => return Ok(Outcome::Done),
            };
            Box::pin(daemon.run(&signals)).await;
            Ok(Outcome::Done)
        })
    }
}
