//! `allai-sync webhooks list`: what AllAI has, what is remembered, and what is wanted.

use std::fmt::Write as _;

use allai_sync::allai::{Priority, Webhook};
use allai_sync::app;
use allai_sync::config::Config;
use allai_sync::sync::{self, explain};
use allai_sync::warehouse::Subscription;
use allai_sync::webhooks::{Drift, Listed, Standing, Wanted};
use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use url::Url;

use super::{Context, Outcome, Usage};
use crate::cli::{output, reading, runtime};

/// Shows where AllAI sends events, and whether that is what the configuration wants
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Only the account of this name
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    accounts: Vec<AccountReport>,
}

#[derive(Serialize)]
struct AccountReport {
    account: String,
    /// `yes`, `not_offered`, `forbidden` or `failed`.
    listed: &'static str,
    error: Option<String>,
    webhooks: Vec<Shown>,
    remembered: Option<Subscription>,
    wanted: Option<ShownWanted>,
    drift: Vec<Drift>,
}

#[derive(Serialize)]
struct Shown {
    id: Option<String>,
    /// Of another program's webhook scheme and host alone: the rest may be a secret.
    url: Option<String>,
    events: Option<Vec<String>>,
    active: Option<bool>,
    ours: bool,
}

#[derive(Serialize)]
struct ShownWanted {
    url: Url,
    events: Vec<String>,
}

impl Options {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Outcome> {
        let config = context.load_config()?.config;
        runtime::block_on(async {
            let mut report = Report { accounts: Vec::new() };
            for account in super::accounts(&config, self.account.as_deref())? {
                if config.accounts[&account.name].webhook.is_some() {
                    report.accounts.push(look(&config, &account).await?);
                }
            }
            if report.accounts.is_empty() {
                return Err(
                    Usage("no account has a webhook: add [accounts.NAME.webhook] with a secret".to_owned()).into(),
                );
            }
            let is_done = report.accounts.iter().all(|account| account.error.is_none());
            if self.json {
                let text = serde_json::to_string(&report).context("cannot write the report")?;
                output::print(&(text + "\n"))?;
            } else {
                output::print(&describe(&report))?;
            }
            for account in &report.accounts {
                if let Some(error) = &account.error {
                    output::complain(&format!("{}: {error}", account.account));
                }
            }
            Ok(if is_done { Outcome::Done } else { Outcome::Incomplete })
        })
    }
}

async fn look(config: &Config, account: &sync::Account) -> anyhow::Result<AccountReport> {
    let name = &account.name;
    let location = app::location(config);
    let remembered = reading::read(&location, true, async |warehouse| warehouse.subscription(name).await);
    let remembered = remembered.await?.flatten();
    let client = account.client.with_priority(Priority::Interactive);
    let wanted = Wanted::of(config, name);
    let (listed, error, webhooks, drift) = match Listed::by(&client).await {
        Ok(listed) => {
            let standing = wanted
                .as_ref()
                .map(|wanted| Standing::of(listed.clone(), wanted, remembered.clone()));
            let (listed, all) = match &listed {
                Listed::All(all) => ("yes", all.as_slice()),
                Listed::NotOffered => ("not_offered", &[][..]),
                Listed::Forbidden => ("forbidden", &[][..]),
            };
            let is_ours = |webhook| {
                let (standing, wanted) = standing.as_ref().zip(wanted.as_ref())?;
                Some(standing.is_ours(webhook, wanted))
            };
            let webhooks = all.iter().map(|webhook| shown(webhook, is_ours(webhook) == Some(true)));
            let drift = standing
                .as_ref()
                .map_or_else(Vec::new, |standing| standing.drift.clone());
            (listed, None, webhooks.collect(), drift)
        }
        Err(error) => ("failed", Some(explain(name, &error)), Vec::new(), Vec::new()),
    };
    Ok(AccountReport {
        account: name.clone(),
        listed,
        error,
        webhooks,
        remembered,
        wanted: wanted.map(|wanted| ShownWanted {
            url: wanted.url,
            events: wanted.events,
        }),
        drift,
    })
}

fn shown(webhook: &Webhook, ours: bool) -> Shown {
    let origin = |url: &String| match Url::parse(url) {
        Ok(url) if url.has_host() => format!("{}/…", url.origin().ascii_serialization()),
        _ => "…".to_owned(),
    };
    Shown {
        id: webhook.id.clone(),
        url: if ours {
            webhook.url.clone()
        } else {
            webhook.url.as_ref().map(origin)
        },
        events: webhook.events.clone(),
        active: webhook.active,
        ours,
    }
}

fn describe(report: &Report) -> String {
    let rows = report.accounts.iter().flat_map(|account| {
        account.webhooks.iter().map(|webhook| {
            let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
            vec![
                account.account.clone(),
                or_unknown(&webhook.id),
                or_unknown(&webhook.url),
                webhook
                    .events
                    .as_ref()
                    .map_or_else(|| "?".to_owned(), |events| events.join(" ")),
                match webhook.active {
                    Some(true) => "on",
                    Some(false) => "off",
                    None => "?",
                }
                .to_owned(),
                if webhook.ours {
                    "this warehouse"
                } else {
                    "another program"
                }
                .to_owned(),
            ]
        })
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let mut text = String::new();
    if !rows.is_empty() {
        text += &output::table(&["account", "id", "url", "events", "state", "for"], rows);
    }
    for account in &report.accounts {
        let name = &account.account;
        match account.listed {
            "yes" if account.webhooks.is_empty() => {
                let _ = writeln!(text, "{name}: AllAI has no webhook");
            }
            "not_offered" => {
                let _ = writeln!(
                    text,
                    "{name}: AllAI does not list its webhooks; what follows is what this warehouse remembers"
                );
            }
            "forbidden" => {
                let _ = writeln!(
                    text,
                    "{name}: this API key may not list webhooks (403); what follows is what this warehouse remembers"
                );
            }
            _ => {}
        }
        if let Some(known) = &account.remembered {
            let at = known.registered_at.format("%Y-%m-%d %H:%M UTC");
            let events = known.events.join(" ");
            let _ = writeln!(text, "{name}: registered from here on {at}: {} for {events}", known.url);
        }
        if account.wanted.is_none() {
            let _ = writeln!(text, "{name}: webhooks.public_url is not set, so nothing is compared");
        } else if account.error.is_none() && account.drift.is_empty() {
            let _ = writeln!(text, "{name}: as the configuration wants it");
        }
        for drift in &account.drift {
            let remedy = format!("allai-sync webhooks register --account {name}");
            let _ = writeln!(text, "{name}: {}; run: {remedy}", drift.describe());
        }
    }
    text
}
