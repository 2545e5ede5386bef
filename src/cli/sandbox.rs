//! `allai-sync sandbox`: the simulated AllAI API alone, for integration tests of anything.

use allai_sync::sandbox::{self, Sandbox};
use anyhow::Context as _;
use clap::Args;

use super::{Outcome, output, runtime};

/// Runs the simulated AllAI API alone, for tests of anything that talks to AllAI
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(flatten)]
    sandbox: sandbox::Options,
}

impl Options {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        runtime::block_on(async {
            let stopped = runtime::cancelled_by_signal()?;
            let listen = self.sandbox.listen;
            let sandbox = Sandbox::start(self.sandbox)
                .await
                .with_context(|| format!("cannot listen on {listen}; choose another address with --listen"))?;
            output::print(&sandbox.banner())?;
            stopped.cancelled().await;
            sandbox.stop().await;
            Ok(Outcome::Done)
        })
    }
}
