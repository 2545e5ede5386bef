//! `allai-sync migrate`: creates or upgrades the warehouse's tables.

use allai_sync::app;
use allai_sync::clock::SystemClock;
use allai_sync::warehouse::Warehouse;
use clap::Args;

use super::{Context, Outcome, output, runtime};

/// Creates or upgrades the warehouse's tables
#[derive(Args, Debug)]
pub(crate) struct Options {}

impl Options {
    #[expect(clippy::unused_self, reason = "every subcommand's options run alike")]
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Outcome> {
        let config = context.load_config()?.config;
        runtime::block_on(async {
            let warehouse = Warehouse::open(&app::location(&config), SystemClock::shared()).await?;
            let was_current = warehouse.schema_is_current().await?;
            warehouse.migrate().await?;
            warehouse.close().await;
            output::print(if was_current {
                "The warehouse's tables were up to date.\n"
            } else {
                "The warehouse's tables are up to date now.\n"
            })?;
            Ok(Outcome::Done)
        })
    }
}
