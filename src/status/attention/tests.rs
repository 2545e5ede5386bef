use std::collections::BTreeMap;

use http::StatusCode;

use super::*;
use crate::config::{self, Config};
use crate::status::{JobStatus, Known, LastAudit, LastRun, StatusReport};
use crate::warehouse::{
    self, AuditScope, Freshness, Holding, IncidentKind, JobState, QuarantineReason, RunRecord, Standing, StateSummary,
};
use crate::{alerts, allai, app, sync};

fn now() -> DateTime<Utc> {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

/// Resources of an account, all as they should be.
fn resources() -> Vec<ResourceStatus> {
    let mut resources = StatusReport::never_synced(&["main".to_owned()], now()).resources;
    for row in &mut resources {
        row.last_complete_at = Some(now() - TimeDelta::minutes(4));
        row.last_verified_at = is_list(row).then_some(now() - TimeDelta::hours(9));
    }
    resources
}

fn failed(resource: Resource, status: RunStatus, error: &str) -> LastRun {
    LastRun {
        started_at: now(),
        finished_at: now(),
        run: RunRecord {
            account: "main".to_owned(),
            resource,
            status,
            verified: false,
            rows_seen: 0,
            inserted: 0,
            updated: 0,
            unchanged: 0,
            deleted: 0,
            restored: 0,
            quarantined: 0,
            requests: 1,
            retries: 0,
            rate_limited: 0,
            seconds: 0.1,
            error: Some(error.to_owned()),
            trigger: "schedule".to_owned(),
            started_at: now(),
            finished_at: now(),
        },
    }
}

fn told(resources: &mut [ResourceStatus]) -> (Verdict, Vec<Attention>) {
    let found = find(resources, None, now());
    judge(resources, &found);
    (Verdict::of(resources, &found), found)
}

#[test]
fn what_is_as_it_should_be_is_said_in_one_line() {
    let (verdict, found) = told(&mut resources());
    assert_eq!(
        (verdict.level, verdict.text.as_str()),
        (Level::Good, "All 3 lists are fresh and proven")
    );
    assert!(found.is_empty());

    let mut some = resources();
    some[0].last_complete_at = None;
    let (verdict, _) = told(&mut some);
    assert_eq!(
        (verdict.level, verdict.text.as_str()),
        (Level::Waiting, "1 of 4 wait for their first sync")
    );
    assert_eq!((some[0].level, some[1].level), (Level::Waiting, Level::Good));

    let none = StatusReport::never_synced(&["main".to_owned()], now());
    assert_eq!(none.verdict.text, "Waiting for the first sync");
    assert_eq!(
        StatusReport::never_synced(&[], now()).verdict.text,
        "There is nothing to sync yet"
    );
}

#[test]
fn one_trouble_of_all_resources_is_one_thing_with_one_remedy() {
    let error = allai::Error::Unauthorized {
        call: "GET /contacts".to_owned(),
        message: "Invalid API key".to_owned(),
    };
    let mut resources = resources();
    for row in &mut resources {
        let error = sync::explain("main", &error);
        row.last_run = Some(failed(row.resource, RunStatus::Failed, &error));
        row.job = Some(JobStatus {
            running: None,
            next_due_at: None,
            requested_at: None,
            failures: 12,
            failed_at: Some(now()),
        });
    }
    let (verdict, found) = told(&mut resources);
    assert_eq!(
        (verdict.level, verdict.text.as_str()),
        (Level::Bad, "1 thing needs attention")
    );
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].title, "The API key is not accepted");
    assert!(found[0].remedy.contains("accounts.main.api_key"), "{}", found[0].remedy);
    assert_eq!(found[0].resources, Resource::ALL);
    assert!(
        found[0].details[0].ends_with("(12 times in a row)"),
        "{}",
        found[0].details[0]
    );
    assert!(resources.iter().all(|row| row.level == Level::Bad));
}

#[test]
fn each_trouble_has_its_words_and_its_remedy() {
    let call = || "GET /contacts".to_owned();
    let message = || "no".to_owned();
    let api = |error: allai::Error| error.to_string();
    let status = StatusCode::BAD_GATEWAY;
    for (error, title) in [
        (
            api(allai::Error::Forbidden {
                call: call(),
                message: message(),
            }),
            "The API key may not read this",
        ),
        (
            api(allai::Error::RateLimited {
                call: call(),
                attempts: 8,
            }),
            "The rate limit is used up by another program",
        ),
        (
            api(allai::Error::Postponed {
                call: call(),
                status,
                wait: std::time::Duration::from_hours(1),
            }),
            "AllAI asks to come back later",
        ),
        (
            api(allai::Error::Redirected {
                call: call(),
                status,
                host: None,
            }),
            "AllAI is at another address",
        ),
        (
            api(allai::Error::InvalidBody {
                call: call(),
                reason: "it is HTML".to_owned(),
                attempts: 3,
            }),
            "What answers is not AllAI's API",
        ),
        (
            api(allai::Error::TooLarge { call: call() }),
            "AllAI's answers are too large",
        ),
        (
            api(allai::Error::Server {
                call: call(),
                status,
                message: message(),
                attempts: 5,
            }),
            "AllAI's API fails",
        ),
        (
            sync::Error::Endless(Resource::Contacts).to_string(),
            "AllAI's list does not end",
        ),
        (
            warehouse::Error::Locked {
                path: "warehouse.db".to_owned(),
            }
            .to_string(),
            "Another program locks the warehouse",
        ),
        (
            "the warehouse failed while committing: database or disk is full: make room on the disk".to_owned(),
            "The warehouse's disk is full",
        ),
        ("something else".to_owned(), "The last run did not do its work"),
    ] {
        assert_eq!(explain(&error).0, title, "{error}");
    }
}

#[test]
fn a_run_that_was_only_stopped_needs_nobody() {
    let mut resources = resources();
    let stopped = sync::Error::Cancelled.to_string();
    resources[0].last_run = Some(failed(Resource::Contacts, RunStatus::Incomplete, &stopped));
    assert_eq!(told(&mut resources).0.level, Level::Good);
}

#[test]
fn what_is_old_unproven_different_or_in_quarantine_needs_somebody() {
    let mut resources = resources();
    resources[0].last_complete_at = Some(now() - TimeDelta::hours(27));
    resources[0].stale = true;
    resources[1].last_verified_at = Some(now() - TimeDelta::days(9));
    resources[2].quarantined = 14;
    resources[2].quarantine_reasons = vec![QuarantineReason {
        reason: "it has no id".to_owned(),
        rows: 14,
    }];
    resources[2].last_audit = Some(LastAudit {
        audited_at: now(),
        scope: AuditScope::Full,
        verdict: AuditVerdict::Differs,
        rows_compared: 2_000,
        rows_differing: 1,
    });
    let (verdict, found) = told(&mut resources);
    assert_eq!(
        (verdict.level, verdict.text.as_str()),
        (Level::Bad, "4 things need attention")
    );
    let found: Vec<(Level, &str, &str)> = found
        .iter()
        .map(|item| (item.level, item.title.as_str(), item.details[0].as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (
                Level::Bad,
                "The mirror differs from AllAI",
                "messages: 1 of 2,000 rows compared"
            ),
            (
                Level::Warn,
                "Not synced for too long",
                "contacts: last synced completely 2026-11-21 09:00 UTC"
            ),
            (
                Level::Warn,
                "Completeness is not proven",
                "conversations: last proven 2026-11-13 12:00 UTC"
            ),
            (
                Level::Warn,
                "Rows could not be stored",
                "messages: 14 in quarantine: it has no id (14)"
            ),
        ]
    );
    assert_eq!(resources[2].level, Level::Bad);
}

/// How a resource stands for those who look at it and for those who are told: last synced completely, and claimed, so
/// many hours ago.
fn judged(config: &Config, complete: Option<i64>, held: Option<i64>) -> (bool, bool) {
    let (account, resource) = ("main", Resource::Contacts);
    let ago = |hours: i64| now() - TimeDelta::hours(hours);
    let job = JobState {
        account: account.to_owned(),
        resource,
        created_at: ago(24 * 30),
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
        held: held.map(|hours| Holding {
            holder: "run@web1:1.2#3".to_owned(),
            since: ago(hours),
            full: true,
        }),
        fence: 0,
    };
    let plans = app::plans(config);
    let standing = Standing {
        account: account.to_owned(),
        resource,
        rows: 1,
        quarantined: 0,
        last_complete_at: complete.map(ago),
        last_verified_at: complete.map(ago),
    };
    let jobs = [job.clone()];
    let told = alerts::conditions(&config.alerts, &plans, &[standing], &jobs, ago(24 * 30), now());
    let found = Freshness {
        state: Some(StateSummary {
            last_complete_at: complete.map(ago),
            last_verified_at: complete.map(ago),
            ..StateSummary::default()
        }),
        ..Freshness::never_synced(account, resource)
    };
    let known = Known {
        accounts: &["main".to_owned()],
        plans: &plans,
        stale_after: config.alerts.stale_after,
        problem: None,
    };
    let report = StatusReport::new(vec![found], vec![job], Vec::new(), &known, now());
    let shown = report
        .attention
        .iter()
        .filter(|found| found.title == "Not synced for too long");
    let is_stale = |condition: &warehouse::Condition| condition.kind == IncidentKind::Stale;
    (shown.count() == 1, told.iter().any(is_stale))
}

#[test]
fn what_is_shown_as_stale_is_what_people_are_told_of() {
    let config = |schedule: &str| {
        let text = format!("[accounts.main]\napi_key = \"k\"\n[jobs.contacts]\nschedule = \"{schedule}\"\n");
        config::check_text(&text, &BTreeMap::new()).unwrap().config
    };
    for (schedule, complete, held, stale) in [
        ("@every 15m", Some(1), None, false),
        ("@every 15m", Some(3), None, true),
        ("@every 15m", Some(3), Some(2), false),
        ("@every 15m", Some(50), Some(25), true),
        ("@every 15m", None, None, true),
        ("@every 15m", None, Some(2), false),
        // What is synced once a week is not old after a day.
        ("0 0 3 * * Mon", Some(24 * 6), None, false),
        ("0 0 3 * * Mon", Some(24 * 7), None, true),
    ] {
        let judged = judged(&config(schedule), complete, held);
        assert_eq!(judged, (stale, stale), "{schedule} {complete:?} {held:?}");
    }
}

#[test]
fn what_is_not_configured_any_more_needs_nobody() {
    let mut gone = resources();
    for row in &mut gone {
        row.expected = false;
        row.last_complete_at = Some(now() - TimeDelta::days(300));
        row.account = "gone".to_owned();
    }
    let mut all = resources();
    all.extend(gone);
    let (verdict, found) = told(&mut all);
    assert_eq!(
        (verdict.text.as_str(), found.len()),
        ("All 3 lists are fresh and proven", 0)
    );
}

#[test]
fn schedules_that_are_not_kept_come_first() {
    let known = Known {
        problem: Some("the scheduler is stuck".to_owned()),
        ..Known::default()
    };
    let report = StatusReport::new(Vec::new(), Vec::new(), Vec::new(), &known, now());
    assert_eq!(report.verdict.level, Level::Bad);
    assert_eq!(report.attention[0].account, None);
    assert_eq!(report.attention[0].details, ["the scheduler is stuck"]);
}
