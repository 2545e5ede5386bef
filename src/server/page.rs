//! The status page: what an operator or a manager wants to know, readable without scripts.

use std::fmt::Write as _;

use minijinja::{Environment, context};
use serde::Serialize;

use crate::figures::{duration, grouped};
use crate::status::{ResourceStatus, StatusReport};
use crate::warehouse::RunStatus;

const TEMPLATE: &str = include_str!("status.html");

/// A line of the page.
#[derive(Serialize)]
struct Row {
    resource: &'static str,
    rows: String,
    fresh: String,
    verified: String,
    last_run: String,
    quarantined: u64,
    state: &'static str,
    problem: Option<String>,
}

#[derive(Serialize)]
struct Account {
    name: String,
    budget: Option<String>,
    rows: Vec<Row>,
}

/// The page as HTML.
pub(super) fn render(report: &StatusReport) -> Result<String, minijinja::Error> {
    let mut accounts: Vec<Account> = Vec::new();
    for resource in &report.resources {
        if accounts.last().is_none_or(|account| account.name != resource.account) {
            accounts.push(Account {
                name: resource.account.clone(),
                budget: budget(report, &resource.account),
                rows: Vec::new(),
            });
        }
        if let Some(account) = accounts.last_mut() {
            account.rows.push(row(resource, report));
        }
    }
    let problems = accounts.iter().flat_map(|account| &account.rows).filter(|row| row.problem.is_some()).count();
    let mut environment = Environment::new();
    environment.add_template("status.html", TEMPLATE)?;
    environment.get_template("status.html")?.render(context! {
        accounts,
        problems,
        generated_at => report.generated_at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
        version => env!("CARGO_PKG_VERSION"),
    })
}

fn row(resource: &ResourceStatus, report: &StatusReport) -> Row {
    let ago = |at: Option<chrono::DateTime<chrono::Utc>>| match at {
        Some(at) => format!("{} ago", duration((report.generated_at - at).num_seconds())),
        None => "never".to_owned(),
    };
    let run = resource.last_run.as_ref().map(|last| &last.run);
    let (state, problem) = match run {
        None => ("waiting", None),
        Some(run) if run.status == RunStatus::Complete => ("good", None),
        Some(run) if run.status == RunStatus::Incomplete => ("warn", run.error.clone()),
        Some(run) => ("bad", run.error.clone()),
    };
    Row {
        resource: resource.resource.as_str(),
        rows: grouped(resource.rows),
        fresh: ago(resource.last_complete_at),
        verified: ago(resource.last_verified_at),
        last_run: run.map_or_else(
            || "none yet".to_owned(),
            |run| {
                format!(
                    "{}: {} new, {} changed, {} deleted, {} requests, {:.1} s",
                    run.status.as_str(),
                    grouped(run.inserted),
                    grouped(run.updated),
                    grouped(run.deleted),
                    grouped(run.requests),
                    run.seconds
                )
            },
        ),
        quarantined: resource.quarantined,
        state,
        problem,
    }
}

fn budget(report: &StatusReport, account: &str) -> Option<String> {
    let budget = report.budgets.iter().find(|budget| budget.account == account)?;
    let mut text = format!("{} of {} requests left", budget.remaining?, budget.rate_limit?);
    let _ = write!(text, ", seen {} ago", duration((report.generated_at - budget.observed_at).num_seconds()));
    Some(text)
}
