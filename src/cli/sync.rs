//! `allai-sync sync`: one sync now, in the foreground.

use std::sync::Arc;

use allai_sync::allai::Resource;
use allai_sync::app::{App, Watch};
use allai_sync::clock::SystemClock;
use allai_sync::config::Config;
use allai_sync::sync;
use allai_sync::warehouse::RunRecord;
use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::{Context, Outcome, output, progress, runtime, summary};

/// Syncs now: what is new and changed, or with --full everything
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// What to sync; everything if not given
    #[arg(value_enum, value_name = "RESOURCE")]
    resources: Vec<ResourceOption>,
    /// Only the account of this name
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Read everything and prove it complete; only then are deletions found
    #[arg(long)]
    full: bool,
    /// Mark rows as deleted even if they are many, or all
    #[arg(long, requires = "full")]
    allow_mass_delete: bool,
    /// Print one JSON object on standard output instead of a table
    #[arg(long)]
    json: bool,
}

/// [`Resource`], by its name on the command line.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum ResourceOption {
    Contacts,
    Conversations,
    Messages,
    Analytics,
}

impl From<ResourceOption> for Resource {
    fn from(option: ResourceOption) -> Self {
        match option {
            ResourceOption::Contacts => Self::Contacts,
            ResourceOption::Conversations => Self::Conversations,
            ResourceOption::Messages => Self::Messages,
            ResourceOption::Analytics => Self::Analytics,
        }
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    runs: &'a [RunRecord],
}

impl Options {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Outcome> {
        let config = context.load_config()?.config;
        super::check_account(&config, self.account.as_deref())?;
        runtime::block_on(self.sync(context, &config))
    }

    /// What to sync, in the order in which resources need each other, whatever the order on the command line.
    fn resources(&self) -> Vec<Resource> {
        let wanted: Vec<Resource> = self.resources.iter().copied().map(Resource::from).collect();
        Resource::ALL
            .into_iter()
            .filter(|resource| wanted.is_empty() || wanted.contains(resource))
            .collect()
    }

    async fn sync(self, context: &Context, config: &Config) -> anyhow::Result<Outcome> {
        let app = App::open(config, SystemClock::shared()).await?;
        let cancelled = runtime::cancelled_by_signal()?;
        let chosen = |name: &str| self.account.as_deref().is_none_or(|account| account == name);
        let watch = Arc::new(Watch::new(app.accounts.iter().filter(|account| chosen(&account.name))));
        let shown = progress::show(&watch, Arc::clone(&app.clock), context.draws_bars());

        let options = sync::Options {
            full: self.full,
            allow_mass_delete: self.allow_mass_delete,
        };
        let runs = app.sync(&watch, &self.resources(), options, "manual", &cancelled).await;
        drop(shown);
        app.warehouse.close().await;

        if self.json {
            let report = serde_json::to_string(&Report { runs: &runs }).context("cannot write the report")?;
            output::print(&(report + "\n"))?;
        } else {
            output::print(&summary::table(&runs))?;
        }
        Ok(summary::outcome(&runs))
    }
}
