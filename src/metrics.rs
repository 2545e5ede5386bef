//! Metrics, as Prometheus reads them: every name, and one function for each moment that is counted.
//!
//! Nothing is counted before [`Exporter::install`]: as a library, the crate costs nobody a metric.

use std::sync::OnceLock;

use chrono::{DateTime, TimeDelta, Utc};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::allai::BudgetSnapshot;
use crate::warehouse::{Ended, InboxSummary, JobState, RunEnd, RunRecord, RunsSummary, Standing};

/// Seconds that runs are told apart by: an incremental one takes a second, a first one may take hours.
const DURATIONS: [f64; 12] = [
    0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 14_400.0, 43_200.0,
];
/// Seconds that waits are told apart by.
const WAITS: [f64; 6] = [0.001, 0.01, 0.1, 1.0, 10.0, 60.0];

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; `rate()` it.
    Counter,
    /// A value now.
    Gauge,
    /// A distribution, in buckets.
    Histogram,
}

/// Every metric: its name, kind, unit and meaning.
pub const METRICS: &[(&str, Kind, Unit, &str)] = &[
    (
        BUILD,
        Kind::Gauge,
        Unit::Count,
        "1, with the program's version as a label",
    ),
    (
        RUNS,
        Kind::Counter,
        Unit::Count,
        "Runs by account, resource, mode (incremental, full) and status (complete, incomplete, failed)",
    ),
    (RUN_DURATION, Kind::Histogram, Unit::Seconds, "How long runs took"),
    (
        ROWS_HANDLED,
        Kind::Counter,
        Unit::Count,
        "Rows that runs handled, by kind: inserted, updated, unchanged, deleted, restored, quarantined",
    ),
    (
        REQUESTS,
        Kind::Counter,
        Unit::Count,
        "Requests to the AllAI API by account and status; `error` is one without an answer",
    ),
    (
        WAIT,
        Kind::Histogram,
        Unit::Seconds,
        "How long requests waited for the rate budget",
    ),
    (
        LIMIT,
        Kind::Gauge,
        Unit::Count,
        "Requests that the API allows in a window, as it says",
    ),
    (
        REMAINING,
        Kind::Gauge,
        Unit::Count,
        "Requests that are left in the window",
    ),
    (IN_FLIGHT, Kind::Gauge, Unit::Count, "Requests under way"),
    (
        ROWS,
        Kind::Gauge,
        Unit::Count,
        "Live rows at the end of the last run; of analytics, days captured",
    ),
    (QUARANTINED, Kind::Gauge, Unit::Count, "Rows that could not be stored"),
    (
        LAG,
        Kind::Gauge,
        Unit::Seconds,
        "Time since the last complete run ended",
    ),
    (
        COMPLETE_AT,
        Kind::Gauge,
        Unit::Seconds,
        "When the last complete run ended, in seconds since 1970",
    ),
    (
        VERIFIED_AT,
        Kind::Gauge,
        Unit::Seconds,
        "When the last verified sweep ended, in seconds since 1970",
    ),
    (FAILURES, Kind::Gauge, Unit::Count, "Runs in a row that failed"),
    (RUNNING, Kind::Gauge, Unit::Count, "Jobs that run in this process"),
    (
        WAITING,
        Kind::Gauge,
        Unit::Count,
        "Jobs that are due and wait for their turn",
    ),
    (
        LOOKED_AT,
        Kind::Gauge,
        Unit::Seconds,
        "When this process last looked at its jobs, in seconds since 1970",
    ),
    (
        DATABASE,
        Kind::Gauge,
        Unit::Count,
        "1 if the database answered when these metrics were gathered, else 0",
    ),
    (
        WEBHOOKS,
        Kind::Counter,
        Unit::Count,
        "Webhook requests by the status they were answered with",
    ),
    (
        EVENTS,
        Kind::Counter,
        Unit::Count,
        "Attempts to apply webhook events by account and outcome (done, later, dead)",
    ),
    (
        APPLY_DURATION,
        Kind::Histogram,
        Unit::Seconds,
        "How long webhook events took from their arrival until they were applied",
    ),
    (
        EVENTS_WAITING,
        Kind::Gauge,
        Unit::Count,
        "Webhook events that wait or are being applied",
    ),
    (
        EVENTS_AGE,
        Kind::Gauge,
        Unit::Seconds,
        "How long the first of the waiting webhook events has waited",
    ),
    (
        EVENTS_DEAD,
        Kind::Gauge,
        Unit::Count,
        "Webhook events that could not be applied and are not tried any more",
    ),
    (
        AUTOMATION_RUNS,
        Kind::Counter,
        Unit::Count,
        "Turns of automations by account, rule and outcome (done, later, dead)",
    ),
    (
        AUTOMATIONS_WAITING,
        Kind::Gauge,
        Unit::Count,
        "Runs of automations that wait or are under way",
    ),
    (
        AUTOMATIONS_DEAD,
        Kind::Gauge,
        Unit::Count,
        "Runs of automations that ended at a step that failed",
    ),
    (
        CONNECTOR,
        Kind::Gauge,
        Unit::Count,
        "1 if a connector answered when it was last asked for stock, 0 if it is left alone for a while because it does not",
    ),
    (
        STOCK_LOOKUPS,
        Kind::Counter,
        Unit::Count,
        "SKUs looked up by connector and where the figure comes from (live, cached, stale), or none if there is none",
    ),
    (
        STOCK_SNAPSHOT_AT,
        Kind::Gauge,
        Unit::Seconds,
        "When the last complete snapshot of a connector's stock was taken, in seconds since 1970",
    ),
    (
        CONTACT_SYNCS,
        Kind::Counter,
        Unit::Count,
        "Runs that keep contacts the same in a CRM by account, connector and status (complete, incomplete, failed)",
    ),
    (
        CONTACTS_HELD,
        Kind::Gauge,
        Unit::Count,
        "Contacts that a CRM or AllAI refuses, or of which it is not clear which record they are",
    ),
    (MEMORY, Kind::Gauge, Unit::Bytes, "Resident memory of this process"),
    (FILES, Kind::Gauge, Unit::Count, "Open files of this process"),
];

const BUILD: &str = "allai_sync_build_info";
const RUNS: &str = "allai_sync_runs_total";
const RUN_DURATION: &str = "allai_sync_run_duration_seconds";
const ROWS_HANDLED: &str = "allai_sync_rows_total";
const REQUESTS: &str = "allai_sync_http_requests_total";
const WAIT: &str = "allai_sync_http_wait_seconds";
const LIMIT: &str = "allai_sync_rate_limit_requests";
const REMAINING: &str = "allai_sync_rate_limit_remaining_requests";
const IN_FLIGHT: &str = "allai_sync_http_requests_in_flight";
const ROWS: &str = "allai_sync_mirrored_rows";
const QUARANTINED: &str = "allai_sync_quarantined_rows";
const LAG: &str = "allai_sync_lag_seconds";
const COMPLETE_AT: &str = "allai_sync_last_complete_timestamp_seconds";
const VERIFIED_AT: &str = "allai_sync_last_verified_timestamp_seconds";
const FAILURES: &str = "allai_sync_job_failures";
const RUNNING: &str = "allai_sync_jobs_running";
const WAITING: &str = "allai_sync_jobs_waiting";
const LOOKED_AT: &str = "allai_sync_scheduler_last_look_timestamp_seconds";
const DATABASE: &str = "allai_sync_database_up";
const WEBHOOKS: &str = "allai_sync_webhook_requests_total";
const EVENTS: &str = "allai_sync_webhook_events_total";
const APPLY_DURATION: &str = "allai_sync_webhook_apply_duration_seconds";
const EVENTS_WAITING: &str = "allai_sync_webhook_events_waiting";
const EVENTS_AGE: &str = "allai_sync_webhook_oldest_waiting_seconds";
const EVENTS_DEAD: &str = "allai_sync_webhook_events_dead";
const AUTOMATION_RUNS: &str = "allai_sync_automation_runs_total";
const AUTOMATIONS_WAITING: &str = "allai_sync_automation_runs_waiting";
const AUTOMATIONS_DEAD: &str = "allai_sync_automation_runs_dead";
const CONNECTOR: &str = "allai_sync_connector_up";
const STOCK_LOOKUPS: &str = "allai_sync_stock_lookups_total";
const STOCK_SNAPSHOT_AT: &str = "allai_sync_stock_snapshot_timestamp_seconds";
const CONTACT_SYNCS: &str = "allai_sync_contact_sync_runs_total";
const CONTACTS_HELD: &str = "allai_sync_contacts_held";
const MEMORY: &str = "allai_sync_process_resident_memory_bytes";
const FILES: &str = "allai_sync_process_open_files";

/// Where the metrics of this process are gathered.
#[derive(Clone, Debug)]
pub struct Exporter(PrometheusHandle);

impl Exporter {
    /// Begins to count; the same exporter each time. `None` if the process has another one.
    pub fn install() -> Option<Self> {
        static INSTALLED: OnceLock<Option<Exporter>> = OnceLock::new();
        INSTALLED
            .get_or_init(|| {
                let builder = PrometheusBuilder::new()
                    .set_buckets_for_metric(Matcher::Full(RUN_DURATION.to_owned()), &DURATIONS)
                    .ok()?
                    .set_buckets_for_metric(Matcher::Full(WAIT.to_owned()), &WAITS)
                    .ok()?;
                let recorder = builder.build_recorder();
                let exporter = Self(recorder.handle());
                metrics::set_global_recorder(recorder).ok()?;
                for &(name, kind, unit, meaning) in METRICS {
                    match kind {
                        Kind::Counter => describe_counter!(name, unit, meaning),
                        Kind::Gauge => describe_gauge!(name, unit, meaning),
                        Kind::Histogram => describe_histogram!(name, unit, meaning),
                    }
                }
                Some(exporter)
            })
            .clone()
    }

    /// Everything, in Prometheus's text format; of gauges that are of an account, those of `accounts`, and likewise of connectors.
    pub fn render(&self, accounts: &[String], connectors: &[String]) -> String {
        gauge!(BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        process();
        without_gauges_of_others(&self.0.render(), accounts, connectors)
    }

    /// Tidies up; to be called every few seconds, since samples are kept until then.
    pub fn tidy(&self) {
        self.0.run_upkeep();
    }
}

/// Gauges stay until the process ends: one that is not set for a while, because the database is away, is still wanted. One of
/// an account that a new configuration has not is not.
fn without_gauges_of_others(rendered: &str, accounts: &[String], connectors: &[String]) -> String {
    let mut is_gauge = false;
    let mut kept = String::with_capacity(rendered.len());
    for line in rendered.split_inclusive('\n') {
        if let Some(typed) = line.strip_prefix("# TYPE ") {
            is_gauge = typed.trim_end().ends_with(" gauge");
        }
        // Names of accounts and connectors need no escapes.
        let is_of_other = [("account=\"", accounts), ("connector=\"", connectors)]
            .into_iter()
            .any(|(label, known)| {
                let name = line.split_once(label).and_then(|(_, rest)| rest.split('"').next());
                name.is_some_and(|name| !known.iter().any(|known| known == name))
            });
        if !(is_gauge && is_of_other && !line.starts_with('#')) {
            kept.push_str(line);
        }
    }
    kept
}

/// A request was answered with this status, or not at all.
pub(crate) fn request(account: &str, status: Option<u16>) {
    let status = status.map_or_else(|| "error".to_owned(), |status| status.to_string());
    counter!(REQUESTS, "account" => account.to_owned(), "status" => status).increment(1);
}

/// A request has waited for the budget.
pub(crate) fn waited(account: &str, wait: std::time::Duration) {
    histogram!(WAIT, "account" => account.to_owned()).record(wait.as_secs_f64());
}

/// A run has ended.
pub(crate) fn ran(run: &RunRecord, full: bool) {
    let (account, resource) = (run.account.clone(), run.resource.as_str());
    let mode = if full { "full" } else { "incremental" };
    counter!(RUNS, "account" => account.clone(), "resource" => resource, "mode" => mode, "status" => run.status.as_str())
        .increment(1);
    histogram!(RUN_DURATION, "account" => account.clone(), "resource" => resource, "mode" => mode).record(run.seconds);
    for (kind, rows) in [
        ("inserted", run.inserted),
        ("updated", run.updated),
        ("unchanged", run.unchanged),
        ("deleted", run.deleted),
        ("restored", run.restored),
        ("quarantined", run.quarantined),
    ] {
        counter!(ROWS_HANDLED, "account" => account.clone(), "resource" => resource, "kind" => kind).increment(rows);
    }
}

/// What the budget of an account's key looks like.
pub(crate) fn budget(account: &str, seen: &BudgetSnapshot) {
    let set = |name: &'static str, value: Option<u32>| {
        if let Some(value) = value {
            gauge!(name, "account" => account.to_owned()).set(f64::from(value));
        }
    };
    set(LIMIT, seen.limit);
    set(REMAINING, seen.remaining);
    set(IN_FLIGHT, u32::try_from(seen.in_flight).ok());
}

/// The scheduler has looked at the jobs.
pub(crate) fn looked(at: DateTime<Utc>, running: usize, waiting: usize) {
    gauge!(LOOKED_AT).set(seconds(at));
    gauge!(RUNNING).set(number(running as u64));
    gauge!(WAITING).set(number(waiting as u64));
}

/// How the resources and their jobs stand.
pub(crate) fn standing<'a>(
    standings: impl Iterator<Item = &'a Standing>,
    jobs: impl Iterator<Item = &'a JobState>,
    now: DateTime<Utc>,
) {
    for standing in standings {
        let set = |name: &'static str, value: f64| {
            gauge!(name, "account" => standing.account.clone(), "resource" => standing.resource.as_str()).set(value);
        };
        set(ROWS, number(standing.rows));
        set(QUARANTINED, number(standing.quarantined));
        if let Some(at) = standing.last_complete_at {
            set(COMPLETE_AT, seconds(at));
            set(LAG, (seconds(now) - seconds(at)).max(0.0));
        }
        if let Some(at) = standing.last_verified_at {
            set(VERIFIED_AT, seconds(at));
        }
    }
    for job in jobs {
        gauge!(FAILURES, "account" => job.account.clone(), "resource" => job.resource.as_str())
            .set(f64::from(job.failures));
    }
}

/// Whether the database answers.
pub(crate) fn database(is_up: bool) {
    gauge!(DATABASE).set(f64::from(u8::from(is_up)));
}

/// This process, as Linux shows it (proc(5)).
fn process() {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages
        .as_ref()
        .and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    if let Some(pages) = pages {
        // The size of a page on all that Rust's tier 1 and Debian's servers share.
        gauge!(MEMORY).set(number(pages * 4_096));
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        gauge!(FILES).set(number(files.count() as u64));
    }
}

/// How the webhook events of the accounts stand.
pub(crate) fn inboxes(accounts: &[String], inboxes: &[InboxSummary], now: DateTime<Utc>) {
    for account in accounts {
        let its = inboxes.iter().find(|inbox| inbox.account == *account);
        let oldest = its.and_then(|inbox| inbox.oldest_waiting_at);
        let age = oldest.map_or(0.0, |at| (seconds(now) - seconds(at)).max(0.0));
        gauge!(EVENTS_WAITING, "account" => account.clone()).set(number(its.map_or(0, |inbox| inbox.waiting)));
        gauge!(EVENTS_AGE, "account" => account.clone()).set(age);
        gauge!(EVENTS_DEAD, "account" => account.clone()).set(number(its.map_or(0, |inbox| inbox.dead)));
    }
}

/// How the runs of the accounts' rules stand.
pub(crate) fn automations(accounts: &[String], summaries: &[RunsSummary]) {
    for account in accounts {
        let its = summaries.iter().find(|summary| summary.account == *account);
        gauge!(AUTOMATIONS_WAITING, "account" => account.clone()).set(number(its.map_or(0, |its| its.waiting)));
        gauge!(AUTOMATIONS_DEAD, "account" => account.clone()).set(number(its.map_or(0, |its| its.dead)));
    }
}

/// A turn of a rule's run has ended.
pub(crate) fn automation_ended(account: &str, rule: &str, end: &RunEnd) {
    let outcome = match end {
        RunEnd::Later { .. } => "later",
        RunEnd::Over { state, .. } => state.as_str(),
    };
    counter!(AUTOMATION_RUNS, "account" => account.to_owned(), "rule" => rule.to_owned(), "outcome" => outcome)
        .increment(1);
}

/// Counts an attempt to apply a webhook event, which took `after` since its arrival.
pub(crate) fn event_ended(account: &str, ended: &Ended, after: TimeDelta) {
    let outcome = match ended {
        Ended::Done(_) => "done",
        Ended::Later { .. } => "later",
        Ended::Dead(_) => "dead",
    };
    counter!(EVENTS, "account" => account.to_owned(), "outcome" => outcome).increment(1);
    if matches!(ended, Ended::Done(_)) {
        let took = after.to_std().unwrap_or_default().as_secs_f64();
        histogram!(APPLY_DURATION, "account" => account.to_owned()).record(took);
    }
}

/// Counts a webhook request that was answered.
pub(crate) fn webhook_answered(status: http::StatusCode) {
    counter!(WEBHOOKS, "status" => status.as_u16().to_string()).increment(1);
}

/// Whether a connector answers.
pub(crate) fn connector(name: &str, answers: bool) {
    gauge!(CONNECTOR, "connector" => name.to_owned()).set(f64::from(u8::from(answers)));
}

/// A SKU was looked up: where what is told comes from, if anything is.
pub(crate) fn stock_looked_up(connector: &str, source: Option<&'static str>) {
    let source = source.unwrap_or("none");
    counter!(STOCK_LOOKUPS, "connector" => connector.to_owned(), "source" => source).increment(1);
}

/// A snapshot of a connector's stock is complete.
pub(crate) fn stock_snapshot(connector: &str, at: DateTime<Utc>) {
    gauge!(STOCK_SNAPSHOT_AT, "connector" => connector.to_owned()).set(seconds(at));
}

/// A run that keeps contacts the same in a CRM has ended.
pub(crate) fn contacts_synced(account: &str, connector: &str, status: &'static str) {
    let (account, connector) = (account.to_owned(), connector.to_owned());
    counter!(CONTACT_SYNCS, "account" => account, "connector" => connector, "status" => status).increment(1);
}

/// So many contacts of an account need a person.
pub(crate) fn contacts_held(account: &str, contacts: usize) {
    gauge!(CONTACTS_HELD, "account" => account.to_owned()).set(number(contacts as u64));
}

fn seconds(at: DateTime<Utc>) -> f64 {
    number(at.timestamp_millis().unsigned_abs()) / 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
const fn number(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_of_accounts_that_are_gone_are_left_out_and_counters_stay() {
        let rendered = "# HELP lag account=\"old\"\n# TYPE lag gauge\nlag{account=\"old\",resource=\"contacts\"} 1\n\
                        lag{account=\"new\",resource=\"contacts\"} 2\nup 1\n\n# TYPE runs_total counter\n\
                        runs_total{account=\"old\"} 3\n";
        let kept = without_gauges_of_others(rendered, &["new".to_owned()], &[]);
        let gone = "lag{account=\"old\",resource=\"contacts\"} 1\n";
        assert_eq!(kept, rendered.replace(gone, ""));
    }
}
