//! `allai-sync contacts`: contacts kept the same in CRMs.

use std::fmt::Write as _;

use allai_sync::app::{self, App};
use allai_sync::clock::SystemClock;
use allai_sync::config::Config;
use allai_sync::contacts::{self, ContactSync, Planned, Report, Status};
use allai_sync::warehouse::Troubled;
use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde::Serialize;

use super::{Context, Outcome, Usage, output, runtime};

/// Keeps contacts the same in a CRM
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Sync(Sync),
    Held(Held),
}

/// Syncs contacts with the CRM now: what the mirror has that is new or changed, and what has changed in the CRM
#[derive(Args, Debug)]
struct Sync {
    /// Only say what would be done; nothing is written anywhere
    #[arg(long)]
    dry_run: bool,
    /// Send the contacts too that were there before the first run
    #[arg(long)]
    backfill: bool,
    /// Only with the connector of this name
    #[arg(long, value_name = "NAME")]
    connector: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Lists the contacts that are held or in conflict, and why
#[derive(Args, Debug)]
struct Held {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What `sync --json` prints.
#[derive(Serialize)]
struct Reports<'a> {
    runs: &'a [Report],
}

/// What `held --json` prints.
#[derive(Serialize)]
struct Troubles<'a> {
    contacts: &'a [Troubled],
}

impl Options {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Outcome> {
        let config = context.load_config()?.config;
        match self.command {
            Command::Sync(options) => runtime::block_on(options.run(&config)),
            Command::Held(options) => runtime::block_on(options.run(&config)),
        }
    }
}

impl Sync {
    async fn run(self, config: &Config) -> anyhow::Result<Outcome> {
        let known: Vec<&str> = config
            .contact_sync
            .values()
            .map(|section| section.connector.as_str())
            .collect();
        if known.is_empty() {
            return Err(Usage(
                "there is no [contact_sync.NAME] in the configuration; the example shows one".to_owned(),
            )
            .into());
        }
        if let Some(name) = self.connector.as_deref().filter(|name| !known.contains(name)) {
            let known = known.join(", ");
            return Err(Usage(format!(
                "no contacts are synced with connector {name}; there are: {known}"
            ))
            .into());
        }
        let app = App::open(config, SystemClock::shared()).await?;
        let cancelled = runtime::cancelled_by_signal()?;
        let is_wanted = |name: &str| self.connector.as_deref().is_none_or(|wanted| wanted == name);
        let mut wanted = config.clone();
        wanted.contact_sync.retain(|_, section| is_wanted(&section.connector));
        let syncs = app::contact_syncs(&wanted, &app.accounts, &app.warehouse, &app.clock);
        let syncs: Result<Vec<ContactSync>, String> = syncs.into_iter().collect();
        let syncs = syncs.map_err(Usage)?;
        let options = contacts::Options {
            dry_run: self.dry_run,
            backfill: self.backfill,
        };
        let mut reports = Vec::new();
        for sync in &syncs {
            reports.push(Box::pin(sync.run(options, &cancelled)).await);
        }
        app.warehouse.close().await;
        if self.json {
            let text = serde_json::to_string(&Reports { runs: &reports }).context("cannot write the report")?;
            output::print(&(text + "\n"))?;
        } else {
            output::print(&reports.iter().map(told).collect::<String>())?;
        }
        let is_done = |report: &Report| report.status == Status::Complete && report.held + report.conflicts == 0;
        Ok(if reports.iter().all(is_done) {
            Outcome::Done
        } else {
            Outcome::Incomplete
        })
    }
}

impl Held {
    async fn run(self, config: &Config) -> anyhow::Result<Outcome> {
        let app = App::open(config, SystemClock::shared()).await?;
        let mut troubled = Vec::new();
        for account in &app.accounts {
            troubled.extend(app.warehouse.troubled_contacts(&account.name).await?);
        }
        app.warehouse.close().await;
        if self.json {
            let text = serde_json::to_string(&Troubles { contacts: &troubled }).context("cannot write the list")?;
            output::print(&(text + "\n"))?;
        } else {
            let line = |one: &Troubled| {
                format!(
                    "{} {} {} since {}, {}: {}\n",
                    one.account,
                    one.contact_id,
                    one.status,
                    one.since.format("%Y-%m-%d %H:%M UTC"),
                    one.connector,
                    one.reason.as_deref().unwrap_or_default()
                )
            };
            output::print(&troubled.iter().map(line).collect::<String>())?;
        }
        Ok(Outcome::Done)
    }
}

fn told(report: &Report) -> String {
    let would = if report.dry_run { "would be " } else { "" };
    let status = report.status.as_str();
    let mut text = format!(
        "{}: {status}; {} looked at, {would}created {}, {would}changed {}, {would}changed in AllAI {}, were there {}, left out {}, \
         held {}, in conflict {}, put off {}\n",
        report.name,
        report.looked_at,
        report.created,
        report.updated,
        report.written_back,
        report.matched,
        report.skipped,
        report.held,
        report.conflicts,
        report.put_off
    );
    for planned in &report.planned {
        text.push_str(&plan(planned));
    }
    if report.held + report.conflicts > 0 && !report.dry_run {
        text.push_str("  `allai-sync contacts held` says which are held or in conflict, and why\n");
    }
    if let Some(error) = &report.error {
        let _ = writeln!(text, "  {error}");
    }
    text
}

fn plan(planned: &Planned) -> String {
    let mut text = format!("  {}: ", planned.contact);
    match (&planned.problem, &planned.record) {
        (Some(problem), _) => text.push_str(problem),
        (None, None) => {
            let _ = write!(text, "create ({})", planned.to_crm.join(", "));
        }
        (None, Some(record)) => {
            let _ = write!(text, "record {record}");
            if !planned.to_crm.is_empty() {
                let _ = write!(text, ", change {}", planned.to_crm.join(", "));
            }
        }
    }
    if !planned.to_allai.is_empty() {
        let _ = write!(text, ", change in AllAI {}", planned.to_allai.join(", "));
    }
    text + "\n"
}
