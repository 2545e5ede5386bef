//! `allai-sync status`: how the mirror stands, read from the warehouse alone.

use std::time::Duration;

use allai_sync::allai::Resource;
use allai_sync::app;
use allai_sync::clock::SystemClock;
use allai_sync::config::duration as config_duration;
use allai_sync::figures::{duration, grouped};
use allai_sync::status::{Known, ResourceStatus, StatusReport};
use allai_sync::warehouse::{Location, RunStatus};
use anyhow::Context as _;
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::{Context, Outcome, output, reading, runtime};

/// Shows how fresh and how complete the mirror is
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Exit with 1 unless everything was synced completely within this time, such as 2h: the gate for nightly jobs
    #[arg(long, value_name = "DURATION", value_parser = config_duration::parse)]
    fresh_within: Option<Duration>,
}

impl Options {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Outcome> {
        let config = context.load_config()?.config;
        runtime::block_on(async {
            let enabled = config.accounts.iter().filter(|(_, account)| account.enabled);
            let accounts: Vec<String> = enabled.map(|(name, _)| name.clone()).collect();
            let report = read(&app::location(&config), &accounts).await?;

            if self.json {
                let text = serde_json::to_string(&report).context("cannot write the report")?;
                output::print(&(text + "\n"))?;
            } else {
                output::print(&table(&report))?;
            }
            Ok(self.judge(&report, &accounts))
        })
    }

    fn judge(&self, report: &StatusReport, accounts: &[String]) -> Outcome {
        let Some(limit) = self.fresh_within else {
            return Outcome::Done;
        };
        let limit = TimeDelta::from_std(limit).unwrap_or(TimeDelta::MAX);
        let mut outcome = Outcome::Done;
        for stale in report.stale(accounts, limit) {
            outcome = Outcome::Incomplete;
            let since = match stale.lag_seconds {
                Some(seconds) => format!("was last synced completely {} ago", duration(seconds)),
                None => "was never synced completely".to_owned(),
            };
            output::complain(&format!("{} {} {since}", stale.account, stale.resource));
        }
        outcome
    }
}

async fn read(location: &Location, accounts: &[String]) -> anyhow::Result<StatusReport> {
    let clock = SystemClock::shared();
    let known = Known {
        accounts,
        ..Known::default()
    };
    let report = reading::read(location, false, async |warehouse| {
        StatusReport::read(warehouse, &known, clock.now()).await
    });
    let report = report.await?;
    Ok(report.unwrap_or_else(|| StatusReport::never_synced(accounts, clock.now())))
}

fn table(report: &StatusReport) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([
        "account",
        "resource",
        "rows",
        "synced",
        "verified",
        "compared",
        "last run",
        "quarantined",
    ]);
    for row in &report.resources {
        table.add_row([
            row.account.clone(),
            row.resource.to_string(),
            grouped(row.rows),
            ago(row.last_complete_at, report.generated_at),
            // Reports show the moment: there is nothing to miss in them.
            if row.resource == Resource::Analytics {
                "-".to_owned()
            } else {
                ago(row.last_verified_at, report.generated_at)
            },
            last_audit(row, report.generated_at),
            last_run(row),
            grouped(row.quarantined),
        ]);
    }
    for column in [2, 7] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let table = table.to_string();
    let mut lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    for budget in &report.budgets {
        if let (Some(remaining), Some(limit)) = (budget.remaining, budget.rate_limit) {
            let seen = ago(Some(budget.observed_at), report.generated_at);
            lines.push(format!(
                "{}: {remaining} of {limit} requests of the rate limit were left {seen}",
                budget.account
            ));
        }
    }
    for row in &report.resources {
        if let Some(error) = row.last_run.as_ref().and_then(|last| last.run.error.as_ref()) {
            lines.push(format!("{} {}: {error}", row.account, row.resource));
        }
    }
    lines.join("\n") + "\n"
}

fn ago(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> String {
    at.map_or_else(
        || "never".to_owned(),
        |at| format!("{} ago", duration((now - at).num_seconds())),
    )
}

fn last_audit(row: &ResourceStatus, now: DateTime<Utc>) -> String {
    row.last_audit.as_ref().map_or_else(
        || "-".to_owned(),
        |audit| format!("{} {}", audit.verdict.as_str(), ago(Some(audit.audited_at), now)),
    )
}

fn last_run(row: &ResourceStatus) -> String {
    let status = match row.last_run.as_ref().map(|last| last.run.status) {
        None => "none",
        Some(RunStatus::Complete) => "complete",
        Some(RunStatus::Incomplete) => "incomplete",
        Some(RunStatus::Failed) => "failed",
    };
    if row.unfinished {
        format!("{status}, to be continued")
    } else {
        status.to_owned()
    }
}
