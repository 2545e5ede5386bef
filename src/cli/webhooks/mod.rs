//! `allai-sync webhooks`: where AllAI sends its events, and what has come. One file a subcommand.

mod events;
mod list;
mod register;
mod replay;

use allai_sync::app;
use allai_sync::clock::SystemClock;
use allai_sync::config::Config;
use allai_sync::sync;
use allai_sync::webhooks::Wanted;
use clap::{Args, Subcommand};

use super::check::impatient;
use super::{Context, Outcome, Usage};

/// Registers the webhooks at AllAI; shows and replays the events that have come
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Register(register::Options),
    List(list::Options),
    Events(events::Options),
    Dead(events::DeadOptions),
    Replay(replay::Options),
}

impl Options {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Outcome> {
        match self.what {
            What::Register(options) => options.run(context),
            What::List(options) => options.run(context),
            What::Events(options) => options.run(context),
            What::Dead(options) => options.run(context),
            What::Replay(options) => options.run(context),
        }
    }
}

/// The enabled accounts that are meant, each with its client.
fn accounts(config: &Config, only: Option<&str>) -> anyhow::Result<Vec<sync::Account>> {
    super::check_account(config, only)?;
    let mut accounts = app::accounts(config, &SystemClock::shared(), &impatient())?;
    accounts.retain(|account| only.is_none_or(|name| name == account.name));
    Ok(accounts)
}

/// The names of the enabled accounts that are meant.
fn names<'c>(config: &'c Config, only: Option<&str>) -> anyhow::Result<Vec<&'c str>> {
    super::check_account(config, only)?;
    let enabled = config.accounts.iter().filter(|(_, account)| account.enabled);
    let names = enabled.map(|(name, _)| name.as_str());
    Ok(names.filter(|name| only.is_none_or(|only| only == *name)).collect())
}

/// What is to be registered for the accounts that are meant.
fn wanted(config: &Config, only: Option<&str>) -> anyhow::Result<Vec<Wanted>> {
    let names = names(config, only)?;
    if config
        .webhooks
        .as_ref()
        .is_none_or(|webhooks| webhooks.public_url.is_none())
    {
        return Err(Usage(
            "webhooks.public_url is not set: write under [webhooks] where AllAI reaches the listener, e.g. public_url = \
             \"https://hooks.example.ro\""
                .to_owned(),
        )
        .into());
    }
    let wanted: Vec<Wanted> = names.iter().filter_map(|name| Wanted::of(config, name)).collect();
    if wanted.is_empty() {
        return Err(Usage(format!(
            "no webhook is configured for {}: add [accounts.{}.webhook] with a secret, such as `openssl rand -hex 32` makes",
            names.join(", "),
            names.first().unwrap_or(&"NAME")
        ))
        .into());
    }
    Ok(wanted)
}
