//! The status page: what an operator or a manager wants to know, readable without scripts.
//!
//! All it shows is in the [`StatusReport`]; here it is put into words. Style and script are part of the page, and nothing
//! else is allowed by its policy.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, SecondsFormat, Utc};
use http::HeaderValue;
use minijinja::{AutoEscape, Environment, Value, context};
use sha2::{Digest as _, Sha256};

use super::chart::{self, Outcome};
use crate::allai::Resource;
use crate::figures::{duration, grouped, took};
use crate::status::{Attention, Level, ResourceStatus, StatusReport};
use crate::warehouse::RunStatus;

const TEMPLATE: &str = include_str!("status.html");
const STYLE: &str = include_str!("status.css");
const SCRIPT: &str = include_str!("status.js");

/// What a browser may load for the page: itself, anew.
/// <https://www.w3.org/TR/CSP3/>
pub(super) fn policy() -> HeaderValue {
    static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            digest(STYLE),
            digest(SCRIPT)
        );
        HeaderValue::try_from(policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
    });
    POLICY.clone()
}

fn digest(text: &str) -> String {
    BASE64_STANDARD.encode(Sha256::digest(text))
}

/// The page as HTML.
pub(super) fn render(report: &StatusReport) -> Result<String, minijinja::Error> {
    let at = At(report.generated_at);
    let accounts: Vec<Value> = report
        .resources
        .chunk_by(|one, next| one.account == next.account)
        .map(|resources| {
            let rows: Vec<Value> = resources.iter().map(|resource| row(resource, report)).collect();
            let name = &resources[0].account;
            context! { name => name.clone(), rows, budget => budget(report, name), inbox => inbox(report, name), automations => automations(report, name) }
        })
        .collect();
    let attention: Vec<Value> = report.attention.iter().map(item).collect();
    let (width, height) = chart::SIZE;
    let mut environment = Environment::new();
    // Whatever the template is called: what is shown may have been said by others.
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_template("status.html", TEMPLATE)?;
    environment.get_template("status.html")?.render(context! {
        verdict => context! { level => report.verdict.level.as_str(), text => report.verdict.text.clone() },
        facts => facts(report),
        attention,
        accounts,
        generated_at => at.moment(report.generated_at),
        legend => legend(),
        width,
        height,
        favicon => favicon(report.verdict.level),
        style => STYLE,
        script => SCRIPT,
        build => format!("{} {}", env!("CARGO_PKG_VERSION"), digest(&[TEMPLATE, STYLE, SCRIPT].concat())),
        version => env!("CARGO_PKG_VERSION"),
    })
}

/// The time of the report, as seen from which others are told.
#[derive(Clone, Copy)]
struct At(DateTime<Utc>);

impl At {
    /// A time of day, or a day and a time; the script puts it into the viewer's zone.
    fn moment(self, at: DateTime<Utc>) -> Value {
        let text = if at.date_naive() == self.0.date_naive() {
            at.format("%H:%M UTC")
        } else {
            at.format("%-d %b, %H:%M UTC")
        };
        Value::from_safe_string(format!("<time datetime=\"{}\">{text}</time>", exact(at)))
    }

    /// How long ago it was.
    fn ago(self, at: DateTime<Utc>) -> Value {
        let text = duration((self.0 - at).num_seconds());
        Value::from_safe_string(format!("<time datetime=\"{}\" data-ago>{text} ago</time>", exact(at)))
    }
}

/// As in JSON.
fn exact(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn fact(what: &str, figure: Value) -> Value {
    context! { what, figure }
}

/// The webhook events of an account, if it ever had one.
fn inbox(report: &StatusReport, account: &str) -> Option<Value> {
    let at = At(report.generated_at);
    let inbox = report.inboxes.iter().find(|inbox| inbox.summary.account == account)?;
    let summary = &inbox.summary;
    Some(context! {
        last => summary.last_received_at.map(|last| at.ago(last)),
        waiting => grouped(summary.waiting),
        dead => grouped(summary.dead),
        data => context! { waiting => summary.waiting, dead => summary.dead },
    })
}

/// What an account's rules did, if it ever had any at work.
fn automations(report: &StatusReport, account: &str) -> Option<Value> {
    let at = At(report.generated_at);
    let its = report.automations.iter().find(|its| its.summary.account == account)?;
    let summary = &its.summary;
    Some(context! {
        last => at.ago(summary.last_run_at),
        waiting => grouped(summary.waiting),
        dead => grouped(summary.dead),
        data => context! { waiting => summary.waiting, dead => summary.dead },
    })
}

/// What a manager asks first.
fn facts(report: &StatusReport) -> Vec<Value> {
    let at = At(report.generated_at);
    let expected = || report.resources.iter().filter(|row| row.expected);
    let lists = || expected().filter(|row| row.resource != Resource::Analytics);
    let rows: u64 = lists().map(|row| row.rows).sum();
    let mut facts = vec![fact("Rows mirrored", grouped(rows).into())];
    let synced = expected().filter_map(|row| row.last_complete_at).min();
    facts.extend(synced.map(|oldest| fact("Oldest sync", at.ago(oldest))));
    let proven = lists().filter_map(|row| row.last_verified_at).min();
    facts.extend(proven.map(|oldest| fact("Oldest proof", at.ago(oldest))));
    let running = expected().filter(|row| row.job.as_ref().is_some_and(|job| job.running.is_some()));
    match running.count() {
        0 => {}
        count => facts.push(fact("Syncing now", count.into())),
    }
    facts
}

fn item(attention: &Attention) -> Value {
    let resources: Vec<&str> = attention.resources.iter().map(|resource| resource.as_str()).collect();
    let account = attention.account.clone().unwrap_or_default();
    let word = match attention.level {
        Level::Bad => "Error",
        Level::Good | Level::Waiting | Level::Warn => "Warning",
    };
    context! {
        level => attention.level.as_str(),
        word,
        title => attention.title.clone(),
        remedy => attention.remedy.clone(),
        resources => resources.join(", "),
        details => attention.details.clone(),
        id => format!("why {account} {}", attention.title).replace(' ', "-"),
        account,
    }
}

fn row(resource: &ResourceStatus, report: &StatusReport) -> Value {
    let at = At(report.generated_at);
    let chart = chart::draw(&resource.recent_runs);
    let pair = |(name, path): (&str, String)| Value::from(vec![Value::from(name), Value::from(path)]);
    let paths: Vec<Value> = chart.paths.into_iter().map(pair).collect();
    let is_list = resource.resource != Resource::Analytics;
    let verified = match (is_list, resource.last_verified_at) {
        (true, Some(verified)) => context! { what => "verified", at => at.moment(verified) },
        (true, None) => context! { what => "not verified yet" },
        (false, _) => context! { what => "days of reports" },
    };
    let audit = resource.last_audit.as_ref().map(|audit| {
        let what = format!("compared: {},", audit.verdict.as_str());
        context! { what, at => at.ago(audit.audited_at) }
    });
    let reasons: Vec<String> = resource
        .quarantine_reasons
        .iter()
        .map(|reason| format!("{} × {}", grouped(reason.rows), reason.reason))
        .collect();
    context! {
        resource => resource.resource.as_str(),
        level => resource.level.as_str(),
        state => state(resource, report),
        data => data(resource),
        running => running(resource, at),
        synced => resource.last_complete_at.map_or_else(|| "never".into(), |synced| at.ago(synced)),
        next => next(resource, at),
        rows => if is_list { format!("{} rows", grouped(resource.rows)) } else { grouped(resource.rows) },
        verified,
        audit,
        paths,
        chart => chart.text,
        last_run => last_run(resource),
        quarantined => grouped(resource.quarantined),
        reasons,
    }
}

/// The row for programs: as in JSON.
fn data(resource: &ResourceStatus) -> Vec<Value> {
    let time = |at: Option<DateTime<Utc>>| at.map(exact).unwrap_or_default();
    let running = resource.job.as_ref().and_then(|job| job.running.as_ref());
    let outcomes: Vec<&str> = resource
        .recent_runs
        .iter()
        .map(|run| Outcome::of(run).as_str())
        .collect();
    [
        ("account", resource.account.clone()),
        ("resource", resource.resource.to_string()),
        ("level", resource.level.as_str().to_owned()),
        ("rows", resource.rows.to_string()),
        ("quarantined", resource.quarantined.to_string()),
        ("last-complete-at", time(resource.last_complete_at)),
        ("last-verified-at", time(resource.last_verified_at)),
        ("outcomes", outcomes.join(" ")),
        ("holder", running.map(|held| held.holder.clone()).unwrap_or_default()),
    ]
    .into_iter()
    .map(|(name, value)| Value::from(vec![name.to_owned(), value]))
    .collect()
}

/// How it stands, in a few words.
fn state(resource: &ResourceStatus, report: &StatusReport) -> String {
    if !resource.expected {
        return "Not scheduled".to_owned();
    }
    let about_it = report.attention.iter().find(|found| {
        found.account.as_ref() == Some(&resource.account) && found.resources.contains(&resource.resource)
    });
    match (about_it, resource.level) {
        (Some(found), _) => found.title.clone(),
        (None, Level::Waiting) => "Not synced yet".to_owned(),
        (None, _) => "Fresh".to_owned(),
    }
}

/// Who syncs it, since when.
fn running(resource: &ResourceStatus, at: At) -> Option<Value> {
    let held = resource.job.as_ref()?.running.as_ref()?;
    // What follows the # is for programs.
    let by = held.holder.split('#').next().unwrap_or_default().to_owned();
    let what = if held.full { "Full sync" } else { "Syncing" };
    Some(context! { what, by, since => at.moment(held.since) })
}

/// When it is synced next.
fn next(resource: &ResourceStatus, at: At) -> Option<Value> {
    let job = resource.job.as_ref().filter(|job| job.running.is_none())?;
    if job.requested_at.is_some() || job.next_due_at.is_some_and(|due| due <= at.0) {
        return Some(context! { what => "due now" });
    }
    let what = if job.failures > 0 { "tried again" } else { "next" };
    Some(context! { what, at => at.moment(job.next_due_at?) })
}

/// What the last run did.
fn last_run(resource: &ResourceStatus) -> String {
    let Some(last) = &resource.last_run else {
        return "no runs yet".to_owned();
    };
    let run = &last.run;
    let done = [
        (run.inserted, "new"),
        (run.updated, "changed"),
        (run.deleted, "deleted"),
        (run.restored, "restored"),
    ];
    let done = done.into_iter().filter(|(rows, _)| *rows > 0);
    let mut parts: Vec<String> = done.map(|(rows, what)| format!("{} {what}", grouped(rows))).collect();
    if run.status != RunStatus::Complete {
        parts.insert(0, run.status.as_str().to_owned());
    } else if parts.is_empty() {
        parts.push("nothing new".to_owned());
    }
    parts.push(took(run.seconds));
    parts.join(", ")
}

fn budget(report: &StatusReport, account: &str) -> Option<Value> {
    let budget = report.budgets.iter().find(|budget| budget.account == account)?;
    let (remaining, limit) = (budget.remaining?, budget.rate_limit?);
    let percent = (remaining.saturating_mul(100) / limit.max(1)).clamp(0, 100);
    let level = match percent {
        0..5 => Level::Bad,
        5..20 => Level::Warn,
        _ => Level::Good,
    };
    Some(context! {
        remaining,
        limit,
        percent,
        level => level.as_str(),
        text => format!("{} of {} requests left", grouped(remaining.try_into().unwrap_or(0)), grouped(limit.try_into().unwrap_or(0))),
        seen => At(report.generated_at).ago(budget.observed_at),
    })
}

/// Each outcome, drawn, and in words.
fn legend() -> Vec<Value> {
    let texts = [
        (Outcome::Verified, "verified: every row was seen"),
        (Outcome::Complete, "complete: what is new"),
        (Outcome::Incomplete, "incomplete, goes on"),
        (Outcome::Failed, "failed"),
    ];
    texts
        .into_iter()
        .map(|(outcome, text)| {
            Value::from(vec![
                outcome.as_str().to_owned(),
                chart::sample(outcome),
                text.to_owned(),
            ])
        })
        .collect()
}

/// A dot of the level's colour, for the browser's tab.
fn favicon(level: Level) -> String {
    let colour = match level {
        Level::Good => "1f9d5c",
        Level::Waiting => "7a8699",
        Level::Warn => "e09b1a",
        Level::Bad => "d93025",
    };
    format!(
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
         %3Ccircle cx='8' cy='8' r='7' fill='%23{colour}'/%3E%3C/svg%3E"
    )
}
