//! What is wrong now, from what the warehouse holds.

use chrono::{DateTime, TimeDelta, Utc};

use crate::config::Alerts;
use crate::figures::duration;
use crate::schedule::{Plan, stale_for};
use crate::warehouse::{Condition, IncidentKind, JobProblem, JobState, Standing};

/// A program that begins to look may have to catch up first; what is stale then is so for its own reasons.
const CATCHING_UP: TimeDelta = TimeDelta::minutes(10);

/// What is wrong with the jobs that are planned at `now`, for a program that looks after them since `since`.
pub fn conditions(
    settings: &Alerts,
    plans: &[Plan],
    standings: &[Standing],
    jobs: &[JobState],
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Vec<Condition> {
    let mut found: Vec<Condition> = Vec::new();
    for job in jobs {
        let (account, resource) = (job.account.as_str(), job.resource);
        let is_its = |plan: &&Plan| plan.account == account && plan.resource == resource;
        let Some(plan) = plans.iter().find(is_its) else {
            continue;
        };
        let condition = |kind, summary: String, remedy: String| Condition {
            account: account.to_owned(),
            resource: resource.to_string(),
            kind,
            summary,
            remedy,
        };
        match job.problem {
            Some(JobProblem::KeyRefused) => {
                let is_known = |known: &Condition| known.kind == IncidentKind::KeyRefused && known.account == account;
                if !found.iter().any(is_known) {
                    found.push(Condition {
                        resource: String::new(),
                        ..condition(
                            IncidentKind::KeyRefused,
                            format!("AllAI refuses the API key of account {account}: nothing of it is synced"),
                            format!(
                                "check accounts.{account}.api_key, or make a new key in the AllAI Dashboard, Settings > API"
                            ),
                        )
                    });
                }
                // All the rest follows from it.
                continue;
            }
            Some(JobProblem::Forbidden) => {
                found.push(condition(
                    IncidentKind::Forbidden,
                    format!("AllAI does not let the API key of account {account} read {resource}"),
                    format!(
                        "give the key the right to read them in the AllAI Dashboard, Settings > API, or set jobs.{resource}.enabled = false"
                    ),
                ));
                continue;
            }
            None => {}
        }
        if job.held_back {
            found.push(condition(
                IncidentKind::DeletionsHeldBack,
                format!("more {resource} of account {account} are gone from AllAI than may be marked as deleted without asking"),
                format!(
                    "if that is right, run: allai-sync sync {resource} --account {account} --full --allow-mass-delete"
                ),
            ));
        }
        let (failures, kind) = if job.failures >= job.full_failures {
            (job.failures, "the sync")
        } else {
            (job.full_failures, "the full sync")
        };
        if failures >= settings.failures {
            found.push(condition(
                IncidentKind::Failing,
                format!("{kind} of {resource} of account {account} failed {failures} times in a row"),
                "the reasons are on the status page, in the table sync_runs and in the log".to_owned(),
            ));
        }
        let its = standings
            .iter()
            .find(|standing| standing.account == account && standing.resource == resource);
        let complete_at = its.and_then(|standing| standing.last_complete_at);
        let age = stale_for(Some(plan), Some(job), complete_at, settings.stale_after, now);
        if let Some(age) = age.filter(|_| now - since > CATCHING_UP) {
            let age = duration(age.num_seconds());
            let summary = match complete_at {
                Some(_) => format!("{resource} of account {account} were last synced completely {age} ago"),
                None => format!("{resource} of account {account} were never synced completely, for {age} by now"),
            };
            found.push(condition(
                IncidentKind::Stale,
                summary,
                "the reasons are on the status page, in the table sync_runs and in the log".to_owned(),
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::allai::Resource;
    use crate::config::Config;
    use crate::warehouse::Holding;

    fn config() -> Config {
        let text = "[accounts.main]\napi_key = \"k\"\n[accounts.off]\napi_key = \"k2\"\nenabled = false\n\
                    [jobs.analytics]\nenabled = false\n";
        crate::config::check_text(text, &std::collections::BTreeMap::new())
            .unwrap()
            .config
    }

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-03-01T{text}Z").parse().unwrap()
    }

    fn job(account: &str, resource: Resource) -> JobState {
        JobState {
            account: account.to_owned(),
            resource,
            created_at: at("00:00:00"),
            served_at: None,
            full_served_at: None,
            failures: 0,
            failed_at: None,
            full_failures: 0,
            full_failed_at: None,
            problem: None,
            held_back: false,
            requested_at: None,
            requested_full_at: None,
            held: None,
            fence: 0,
        }
    }

    fn kinds(jobs: &[JobState], last_complete_at: Option<&str>, now: &str) -> Vec<(String, IncidentKind)> {
        let standing = Standing {
            account: "main".to_owned(),
            resource: Resource::Contacts,
            rows: 1,
            quarantined: 0,
            last_complete_at: last_complete_at.map(at),
            last_verified_at: None,
        };
        let config = config();
        let plans = crate::app::plans(&config);
        let found = conditions(&config.alerts, &plans, &[standing], jobs, at("00:00:00"), at(now));
        found
            .into_iter()
            .map(|condition| (condition.resource, condition.kind))
            .collect()
    }

    #[test]
    fn a_resource_is_stale_some_time_after_its_schedule_was_missed() {
        // Every 15 minutes, and two hours.
        let jobs = [job("main", Resource::Contacts)];
        assert_eq!(kinds(&jobs, Some("10:00:00"), "12:14:59"), []);
        let stale = [("contacts".to_owned(), IncidentKind::Stale)];
        assert_eq!(kinds(&jobs, Some("10:00:00"), "12:15:01"), stale);
        assert_eq!(kinds(&jobs, None, "02:10:00"), []);
        assert_eq!(kinds(&jobs, None, "02:20:00"), stale);
        // What is switched off cannot be stale.
        let off = [
            job("off", Resource::Contacts),
            job("main", Resource::Analytics),
            job("gone", Resource::Contacts),
        ];
        assert_eq!(kinds(&off, None, "23:00:00"), []);
    }

    #[test]
    fn what_is_under_way_or_has_just_been_started_is_not_stale_yet() {
        let mut jobs = [job("main", Resource::Contacts)];
        jobs[0].held = Some(Holding {
            holder: "run@web1:1.2#3".to_owned(),
            since: at("00:00:01"),
            full: true,
        });
        assert_eq!(kinds(&jobs, None, "23:00:00"), []);
        jobs[0].held = None;
        let config = config();
        let plans = crate::app::plans(&config);
        for (started, found) in [("11:55:00", 0), ("11:45:00", 1)] {
            let conditions = conditions(&config.alerts, &plans, &[], &jobs, at(started), at("12:00:00"));
            assert_eq!(conditions.len(), found, "{started}: {conditions:?}");
        }
    }

    #[test]
    fn what_one_resource_may_not_read_is_no_matter_of_the_account() {
        let mut jobs = Resource::ALL.map(|resource| job("main", resource));
        jobs[0].problem = Some(JobProblem::Forbidden);
        assert_eq!(
            kinds(&jobs, Some("10:00:00"), "00:30:00"),
            [("contacts".to_owned(), IncidentKind::Forbidden)]
        );
    }

    #[test]
    fn a_refused_key_is_one_incident_of_its_account() {
        let mut jobs = Resource::ALL.map(|resource| job("main", resource));
        for job in &mut jobs {
            job.problem = Some(JobProblem::KeyRefused);
            job.failures = 7;
        }
        assert_eq!(
            kinds(&jobs, None, "23:00:00"),
            [(String::new(), IncidentKind::KeyRefused)]
        );
    }

    #[test]
    fn failures_count_from_the_number_that_is_set() {
        let mut jobs = [job("main", Resource::Contacts)];
        jobs[0].failures = 2;
        assert_eq!(kinds(&jobs, Some("10:00:00"), "10:30:00"), []);
        jobs[0].failures = 3;
        assert_eq!(
            kinds(&jobs, Some("10:00:00"), "10:30:00"),
            [("contacts".to_owned(), IncidentKind::Failing)]
        );
        // Whatever else is wrong, and for longer than that.
        jobs[0].held_back = true;
        assert_eq!(kinds(&jobs, Some("10:00:00"), "10:30:00").len(), 2);
        (jobs[0].failures, jobs[0].full_failures, jobs[0].held_back) = (0, 3, false);
        assert_eq!(kinds(&jobs, Some("10:00:00"), "10:30:00").len(), 1);
    }
}
