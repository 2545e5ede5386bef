//! The status page: what an operator or a manager wants to know, readable without scripts.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use minijinja::{Environment, Value, context};

use crate::allai::Resource;
use crate::figures::{duration, grouped};
use crate::status::{ResourceStatus, StatusReport};
use crate::warehouse::RunStatus;

const TEMPLATE: &str = include_str!("status.html");

/// The page as HTML.
pub(super) fn render(report: &StatusReport) -> Result<String, minijinja::Error> {
    let mut names: Vec<&str> = report.resources.iter().map(|row| row.account.as_str()).collect();
    names.dedup();
    let accounts: Vec<Value> = names
        .into_iter()
        .map(|name| {
            let rows = report.resources.iter().filter(|row| row.account == name);
            let rows: Vec<Value> = rows.map(|resource| row(resource, report)).collect();
            context! { name, rows, budget => budget(report, name) }
        })
        .collect();
    let problems = report.resources.iter().filter(|row| problem(row).is_some()).count();
    let mut environment = Environment::new();
    environment.add_template("status.html", TEMPLATE)?;
    environment.get_template("status.html")?.render(context! {
        accounts,
        problems,
        generated_at => report.generated_at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
        version => env!("CARGO_PKG_VERSION"),
    })
}

/// Why the last run did not do all its work.
fn problem(resource: &ResourceStatus) -> Option<&str> {
    let run = &resource.last_run.as_ref()?.run;
    (run.status != RunStatus::Complete).then(|| run.error.as_deref().unwrap_or("the last run did not complete"))
}

fn row(resource: &ResourceStatus, report: &StatusReport) -> Value {
    let ago = |at: Option<DateTime<Utc>>| match at {
        Some(at) => format!("{} ago", duration((report.generated_at - at).num_seconds())),
        None => "never".to_owned(),
    };
    let run = resource.last_run.as_ref().map(|last| &last.run);
    let state = match run.map(|run| run.status) {
        None => "waiting",
        Some(RunStatus::Complete) => "good",
        Some(RunStatus::Incomplete) => "warn",
        Some(RunStatus::Failed) => "bad",
    };
    let last_run = run.map_or_else(
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
    );
    context! {
        resource => resource.resource.as_str(),
        rows => grouped(resource.rows),
        fresh => ago(resource.last_complete_at),
        // Reports show the moment: there is nothing to miss in them.
        verified => if resource.resource == Resource::Analytics { "–".to_owned() } else { ago(resource.last_verified_at) },
        last_run,
        quarantined => resource.quarantined,
        state,
        problem => problem(resource),
    }
}

fn budget(report: &StatusReport, account: &str) -> Option<String> {
    let budget = report.budgets.iter().find(|budget| budget.account == account)?;
    let mut text = format!("{} of {} requests left", budget.remaining?, budget.rate_limit?);
    let _ = write!(
        text,
        ", seen {} ago",
        duration((report.generated_at - budget.observed_at).num_seconds())
    );
    Some(text)
}
