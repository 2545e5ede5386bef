//! What somebody should look at, and what to do about it, in words for those who did not write the program.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::{AutomationsStatus, DeadRun, InboxStatus, ResourceStatus};
use crate::allai::Resource;
use crate::figures::grouped;
use crate::warehouse::{AuditVerdict, RunStatus, StepRow};

/// An older proof is none: a week, for those who sweep at weekends, and a day.
const PROVEN: TimeDelta = TimeDelta::days(8);

/// Of what a step was given and gave, so many bytes are shown.
const LONGEST_SHOWN: usize = 300;

/// Events that wait longer do so for a reason.
const WAITED: TimeDelta = TimeDelta::minutes(10);

/// How good or bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Good,
    /// Nothing was synced completely yet, and nothing is wrong with that.
    Waiting,
    /// Somebody should look at it.
    Warn,
    /// It does not work, or is wrong.
    Bad,
}

impl Level {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Waiting => "waiting",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }
}

/// Something that somebody should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attention {
    /// How bad it is.
    pub level: Level,
    /// The account; `null`: the daemon itself.
    pub account: Option<String>,
    /// The resources.
    pub resources: Vec<Resource>,
    /// What is wrong, in a few words.
    pub title: String,
    /// What to do.
    pub remedy: String,
    /// The program's own words, one line a resource.
    pub details: Vec<String>,
}

/// All of a report in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The worst there is.
    pub level: Level,
    /// The line.
    pub text: String,
}

impl Verdict {
    pub(super) fn of(resources: &[ResourceStatus], attention: &[Attention]) -> Self {
        let worst = attention.iter().map(|found| found.level).max();
        let expected: Vec<&ResourceStatus> = resources.iter().filter(|row| row.expected).collect();
        let all = expected.len();
        let waiting = expected.iter().filter(|row| row.last_complete_at.is_none()).count();
        let lists = expected.iter().filter(|row| is_list(row)).count();
        let is_running = |row: &&ResourceStatus| row.job.as_ref().is_some_and(|job| job.running.is_some());
        let (level, text) = match (worst, attention.len()) {
            (Some(level), 1) => (level, "1 thing needs attention".to_owned()),
            (Some(level), count) => (level, format!("{count} things need attention")),
            (None, _) if all == 0 => (Level::Waiting, "There is nothing to sync yet".to_owned()),
            (None, _) if waiting == all && expected.iter().any(is_running) => {
                (Level::Waiting, "The first sync is under way".to_owned())
            }
            (None, _) if waiting == all => (Level::Waiting, "Waiting for the first sync".to_owned()),
            (None, _) if waiting > 0 => (Level::Waiting, format!("{waiting} of {all} wait for their first sync")),
            (None, _) => {
                let text = match lists {
                    0 => "Everything is fresh".to_owned(),
                    1 => "The list is fresh and proven".to_owned(),
                    lists => format!("All {lists} lists are fresh and proven"),
                };
                (Level::Good, text)
            }
        };
        Self { level, text }
    }
}

/// Gives each resource the worst level of what was found about it.
pub(super) fn judge(resources: &mut [ResourceStatus], attention: &[Attention]) {
    for row in resources {
        let about_it = attention
            .iter()
            .filter(|found| found.account.as_ref() == Some(&row.account) && found.resources.contains(&row.resource));
        let unless = if row.expected && row.last_complete_at.is_none() {
            Level::Waiting
        } else {
            Level::Good
        };
        row.level = about_it.map(|found| found.level).max().unwrap_or(unless);
    }
}

/// What is wrong with the resources, and with the schedules if there is a `problem`. The same trouble of several
/// resources of an account is told once.
pub(super) fn find(resources: &[ResourceStatus], problem: Option<&str>, now: DateTime<Utc>) -> Vec<Attention> {
    let mut all: Vec<Attention> = problem
        .map(|problem| Attention {
            level: Level::Bad,
            account: None,
            resources: Vec::new(),
            title: "Schedules are not kept".to_owned(),
            remedy: "Look at the daemon's log; restart it if this goes on.".to_owned(),
            details: vec![problem.to_owned()],
        })
        .into_iter()
        .collect();
    for row in resources.iter().filter(|row| row.expected) {
        for found in of_resource(row, now) {
            let same = all.iter_mut().find(|known| {
                (known.level, &known.account, &known.title, &known.remedy)
                    == (found.level, &found.account, &found.title, &found.remedy)
            });
            match same {
                Some(known) => {
                    known.resources.extend(found.resources);
                    known.details.extend(found.details);
                }
                None => all.push(found),
            }
        }
    }
    all.sort_by_key(|found| std::cmp::Reverse(found.level));
    all
}

/// What is wrong with webhook events.
pub(super) fn of_inboxes(inboxes: &[InboxStatus], now: DateTime<Utc>) -> Vec<Attention> {
    let mut found = Vec::new();
    for InboxStatus { summary, dead_events } in inboxes {
        let account = &summary.account;
        let attention = |title: &str, remedy: String, details: Vec<String>| Attention {
            level: Level::Warn,
            account: Some(account.clone()),
            resources: Vec::new(),
            title: title.to_owned(),
            remedy,
            details,
        };
        if summary.dead > 0 {
            let details = dead_events.iter().map(|event| {
                let name = event.event.as_deref().unwrap_or("an event");
                let error = event.last_error.as_deref().unwrap_or("no reason was given");
                format!("{name} {}: {error}", event.id)
            });
            found.push(attention(
                "Webhook events could not be applied",
                format!("Once what they say is mended, run: allai-sync webhooks replay --all-dead --account {account}"),
                [format!("{} in all", grouped(summary.dead))]
                    .into_iter()
                    .chain(details)
                    .collect(),
            ));
        }
        if summary.oldest_waiting_at.is_some_and(|at| now - at > WAITED) {
            found.push(attention(
                "Webhook events wait",
                format!(
                    "See why with: allai-sync webhooks events --account {account}; they are tried again by themselves."
                ),
                vec![format!("{} wait", grouped(summary.waiting))],
            ));
        }
    }
    found
}

/// What is to be said of runs that ended at a step that failed.
pub(super) fn of_automations(automations: &[AutomationsStatus]) -> Vec<Attention> {
    let dead = automations.iter().filter(|its| its.summary.dead > 0);
    dead.map(|AutomationsStatus { summary, dead_runs }| {
        let account = &summary.account;
        let details = dead_runs.iter().flat_map(|DeadRun { run, steps }| {
            let problem = run.problem.as_deref().unwrap_or("no reason was given");
            let line = format!("{} about {} {}: {problem}", run.rule, run.subject, run.subject_id);
            std::iter::once(line).chain(steps.iter().map(|step| of_step(&run.rule, step)))
        });
        Attention {
            level: Level::Warn,
            account: Some(account.clone()),
            resources: Vec::new(),
            title: "Automations ended at a step that failed".to_owned(),
            remedy: format!(
                "Once what they say is mended, run: allai-sync automations replay --all-dead --account {account}"
            ),
            details: [format!("{} in all", grouped(summary.dead))]
                .into_iter()
                .chain(details)
                .collect(),
        }
    })
    .collect()
}

fn of_step(rule: &str, step: &StepRow) -> String {
    let text = |text: Option<&String>| {
        let text = text.map_or("nothing", String::as_str);
        let cut = text.floor_char_boundary(LONGEST_SHOWN);
        format!("{}{}", &text[..cut], if cut < text.len() { "…" } else { "" })
    };
    format!(
        "{rule}, {} ({}) {}: was given {}, gave {}",
        step.name,
        step.kind,
        step.state.as_str(),
        text(step.input.as_ref()),
        text(step.output.as_ref())
    )
}

fn of_resource(row: &ResourceStatus, now: DateTime<Utc>) -> Vec<Attention> {
    let (account, resource) = (&row.account, row.resource);
    let attention = |level, title: &str, remedy: &str, detail: String| Attention {
        level,
        account: Some(account.clone()),
        resources: vec![resource],
        title: title.to_owned(),
        remedy: remedy
            .replace("ACCOUNT", account)
            .replace("RESOURCE", resource.as_str()),
        details: vec![format!("{resource}: {detail}")],
    };
    let mut found = Vec::new();
    let is_older = |at: DateTime<Utc>, than: TimeDelta| now - at > than;
    if let Some((status, error)) = failure(row) {
        let level = if status == RunStatus::Failed {
            Level::Bad
        } else {
            Level::Warn
        };
        let (title, remedy) = explain(error);
        let again = match row.job.as_ref().map_or(0, |job| job.failures) {
            0 | 1 => String::new(),
            failures => format!(" ({} times in a row)", grouped(failures.into())),
        };
        found.push(attention(level, title, remedy, format!("{error}{again}")));
    } else if row.stale {
        let detail = row.last_complete_at.map_or_else(
            || "never synced completely".to_owned(),
            |at| format!("last synced completely {}", at.format("%Y-%m-%d %H:%M UTC")),
        );
        found.push(attention(
            Level::Warn,
            "Not synced for too long",
            "See that the daemon runs, or run: allai-sync sync --account ACCOUNT",
            detail,
        ));
    }
    if is_list(row) && row.last_complete_at.is_some() && row.last_verified_at.is_none_or(|at| is_older(at, PROVEN)) {
        let detail = row.last_verified_at.map_or_else(
            || "everything was read, and never proven".to_owned(),
            |at| format!("last proven {}", at.format("%Y-%m-%d %H:%M UTC")),
        );
        found.push(attention(
            Level::Warn,
            "Completeness is not proven",
            "Run: allai-sync sync --account ACCOUNT --full; if that proves nothing, its log says why.",
            detail,
        ));
    }
    if let Some(audit) = row
        .last_audit
        .as_ref()
        .filter(|audit| audit.verdict == AuditVerdict::Differs)
    {
        let (differing, compared) = (grouped(audit.rows_differing), grouped(audit.rows_compared));
        found.push(attention(
            Level::Bad,
            "The mirror differs from AllAI",
            "Run: allai-sync sync --account ACCOUNT --full",
            format!("{differing} of {compared} rows compared"),
        ));
    }
    if row.quarantined > 0 {
        let reasons = row.quarantine_reasons.iter();
        let reasons: Vec<String> = reasons
            .map(|reason| format!("{} ({})", reason.reason, grouped(reason.rows)))
            .collect();
        found.push(attention(
            Level::Warn,
            "Rows could not be stored",
            "Read reason and raw in the table quarantine; once the rows are sound they arrive by themselves.",
            format!("{} in quarantine: {}", grouped(row.quarantined), reasons.join("; ")),
        ));
    }
    found
}

/// Reports show the moment: there is nothing to miss in them.
fn is_list(row: &ResourceStatus) -> bool {
    row.resource != Resource::Analytics
}

/// Why the last run did not do its work. One that was only stopped goes on by itself.
fn failure(row: &ResourceStatus) -> Option<(RunStatus, &str)> {
    let run = &row.last_run.as_ref()?.run;
    let error = run.error.as_deref().unwrap_or("no reason was given");
    let is_stopped = run.status == RunStatus::Incomplete && error.starts_with("interrupted;");
    (run.status != RunStatus::Complete && !is_stopped).then_some((run.status, error))
}

const AGAIN: &str = "Nothing, if it passes: it is tried again by itself.";

/// What errors say, what that means, and what to do. The first that fits counts.
const TROUBLES: &[(&str, &str, &str)] = &[
    (
        "does not accept the API key (401)",
        "The API key is not accepted",
        "Make a new key with read permission (AllAI Dashboard, Settings > API) and put it into accounts.ACCOUNT.api_key.",
    ),
    (
        "lacks the permission for this (403)",
        "The API key may not read this",
        "Make a key with read permission (AllAI Dashboard, Settings > API) and put it into accounts.ACCOUNT.api_key.",
    ),
    (
        "--allow-mass-delete",
        "Many deletions are held back",
        "If the rows are rightly gone, run: allai-sync sync RESOURCE --account ACCOUNT --full --allow-mass-delete",
    ),
    (
        "over the rate limit (429)",
        "The rate limit is used up by another program",
        "Set accounts.ACCOUNT.reserve or accounts.ACCOUNT.plan, or give the other program a key of its own.",
    ),
    ("asks to come back in", "AllAI asks to come back later", AGAIN),
    (
        "the API redirects to",
        "AllAI is at another address",
        "Correct accounts.ACCOUNT.base_url.",
    ),
    (
        "the answer is not usable",
        "What answers is not AllAI's API",
        "Check accounts.ACCOUNT.base_url, and what stands in between: a proxy, a login page.",
    ),
    (
        "the answer is larger than",
        "AllAI's answers are too large",
        "Set a smaller accounts.ACCOUNT.page_size, or name the members needed in fields.",
    ),
    (
        "does not end: the API still returns rows",
        "AllAI's list does not end",
        "Check accounts.ACCOUNT.base_url, and report it to AllAI.",
    ),
    (
        "check the network and the base URL",
        "AllAI cannot be reached",
        "Check the network and accounts.ACCOUNT.base_url; it is tried again by itself.",
    ),
    ("the API failed (", "AllAI's API fails", AGAIN),
    (
        "make room",
        "The warehouse's disk is full",
        "Make room, or raise the quota; the next run goes on by itself.",
    ),
    (
        "writable",
        "The warehouse cannot be written",
        "Give the user that syncs the right to write the file and its folder.",
    ),
    (
        "locked by another program",
        "Another program locks the warehouse",
        "Close what writes to it; readers never disturb.",
    ),
    (
        "the warehouse",
        "The warehouse cannot be used",
        "Look at the database and its log; the next run goes on by itself.",
    ),
];

fn explain(error: &str) -> (&'static str, &'static str) {
    TROUBLES
        .iter()
        .find(|(said, _, _)| error.contains(said))
        .map_or(("The last run did not do its work", AGAIN), |(_, title, remedy)| {
            (*title, *remedy)
        })
}

#[cfg(test)]
mod tests;
