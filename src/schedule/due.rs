//! Whether a job is due, from its schedules and what is kept of it. Nothing here waits or writes.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use sha2::{Digest as _, Sha256};

use super::next_tick;
use crate::allai::Resource;
use crate::config::{self, Schedule};
use crate::warehouse::JobState;

/// A run that failed is tried again after this, then after twice as long, and so on.
const FIRST_RETRY: TimeDelta = TimeDelta::minutes(1);
/// The same for a full run that failed: it takes long, and the incremental ones go on meanwhile.
const FIRST_FULL_RETRY: TimeDelta = TimeDelta::minutes(5);
/// The longest wait before a run that failed is tried again.
const LAST_RETRY: TimeDelta = TimeDelta::hours(1);
/// What is kept as the time of the last run may be so far ahead of the clock: a clock that was set right by less does not
/// make a job run twice, one that was set back by more does not make it wait.
const SET_BACK: TimeDelta = TimeDelta::minutes(1);

/// When a job of an account runs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The account's name in the configuration.
    pub account: String,
    /// What is synced.
    pub resource: Resource,
    schedule: Schedule,
    full_schedule: Option<Schedule>,
    timezone: Tz,
    jitter: Duration,
    seed: [u8; 32],
}

/// What is to be done about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// It is to run.
    Now(Work),
    /// It is to run then, if nothing changes.
    At(DateTime<Utc>),
    /// Its schedules never fire again.
    Never,
}

/// A run that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// Whether everything is to be read.
    pub full: bool,
    /// Whether somebody asked for it, rather than a schedule.
    pub requested: bool,
}

impl Plan {
    /// The plan of a job. `salt` tells installations apart, so that not all of them come at the same second; only its
    /// digest is kept.
    pub fn new(account: &str, resource: Resource, job: &config::Job, salt: &str) -> Self {
        let mut digest = Sha256::new();
        for part in [account, resource.as_str(), salt] {
            digest.update(part);
            digest.update([0]);
        }
        Self {
            account: account.to_owned(),
            resource,
            schedule: job.schedule.clone(),
            full_schedule: job.full_schedule.clone(),
            timezone: job.timezone.0,
            jitter: job.jitter,
            seed: digest.finalize().into(),
        }
    }

    /// What is to be done at `now`. Moments that were missed, while the program was down or the job ran, are one run.
    pub fn due(&self, state: &JobState, now: DateTime<Utc>) -> Due {
        let full_at = match (&self.full_schedule, state.requested_full_at) {
            (_, Some(_)) => Some(DateTime::UNIX_EPOCH),
            (None, None) => None,
            (Some(full), None) => {
                let next = self.next(full, state.full_served_at, now).at();
                next.map(|at| at.max(self.full_retry_at(state, now)))
            }
        };
        match (full_at, self.due_incremental(state, now)) {
            (Some(full_at), _) if full_at <= now => Due::Now(Work {
                full: true,
                requested: state.requested_at.is_some() || state.requested_full_at.is_some(),
            }),
            (Some(full_at), Due::At(at)) => Due::At(at.min(full_at)),
            (Some(full_at), Due::Never) => Due::At(full_at),
            (_, incremental) => incremental,
        }
    }

    /// The same as long as nothing can be read in full.
    pub(super) fn due_incremental(&self, state: &JobState, now: DateTime<Utc>) -> Due {
        let requested = state.requested_at.is_some();
        let at = self.next(&self.schedule, state.served_at, now).at();
        match at.map(|at| at.max(self.retry_at(state, now))) {
            at if requested || at.is_some_and(|at| at <= now) => Due::Now(Work { full: false, requested }),
            Some(at) => Due::At(at),
            None => Due::Never,
        }
    }

    /// How long the schedule leaves the job alone after a moment.
    pub(super) fn interval(&self, after: DateTime<Utc>) -> TimeDelta {
        next_tick(&self.schedule, self.timezone, after).map_or(TimeDelta::zero(), |next| next - after)
    }

    /// When a job that failed is tried again; at the latest when its schedule says so anew.
    fn retry_at(&self, state: &JobState, now: DateTime<Utc>) -> DateTime<Utc> {
        self.retry(&self.schedule, FIRST_RETRY, state.failures, state.failed_at, now)
    }

    fn full_retry_at(&self, state: &JobState, now: DateTime<Utc>) -> DateTime<Utc> {
        self.full_schedule.as_ref().map_or(DateTime::UNIX_EPOCH, |schedule| {
            self.retry(
                schedule,
                FIRST_FULL_RETRY,
                state.full_failures,
                state.full_failed_at,
                now,
            )
        })
    }

    fn retry(
        &self,
        schedule: &Schedule,
        first: TimeDelta,
        failures: u32,
        failed_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> DateTime<Utc> {
        let Some(failed_at) = failed_at.filter(|at| *at <= now + SET_BACK) else {
            return DateTime::UNIX_EPOCH;
        };
        let doublings = failures.saturating_sub(1).min(16);
        let at = failed_at + (first * (1 << doublings)).min(LAST_RETRY);
        match self.next(schedule, Some(failed_at), now) {
            Next::At(tick) => at.min(tick),
            Next::First | Next::Never => at,
        }
    }

    fn next(&self, schedule: &Schedule, served_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Next {
        let Some(served_at) = served_at else {
            return Next::First;
        };
        if served_at > now + SET_BACK {
            // The clock was set back: one run puts this right.
            return Next::First;
        }
        match next_tick(schedule, self.timezone, served_at) {
            Some(tick) => Next::At(tick + self.delay(schedule, tick)),
            None => Next::Never,
        }
    }

    /// How long after its moment a job runs: always the same for one moment, spread evenly over the jitter, and never
    /// more than a tenth of the time to the next one.
    fn delay(&self, schedule: &Schedule, tick: DateTime<Utc>) -> TimeDelta {
        let most = TimeDelta::from_std(self.jitter).unwrap_or(TimeDelta::MAX);
        let most = match next_tick(schedule, self.timezone, tick) {
            Some(next) => most.min((next - tick) / 10),
            None => most,
        };
        let mut digest = Sha256::new();
        digest.update(self.seed);
        digest.update(tick.timestamp().to_be_bytes());
        let random = digest.finalize();
        let random = u32::from_be_bytes([random[0], random[1], random[2], random[3]]);
        let millis = i128::from(most.num_milliseconds()) * i128::from(random) / i128::from(u32::MAX);
        TimeDelta::milliseconds(i64::try_from(millis).unwrap_or(0))
    }
}

/// When a schedule wants its next run.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// As soon as possible: it never ran.
    First,
    At(DateTime<Utc>),
    Never,
}

impl Next {
    fn at(self) -> Option<DateTime<Utc>> {
        match self {
            Self::First => Some(DateTime::UNIX_EPOCH),
            Self::At(at) => Some(at),
            Self::Never => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(schedule: &str, full: Option<&str>, jitter: Duration) -> Plan {
        let job = config::Job {
            enabled: true,
            schedule: schedule.parse().unwrap(),
            timezone: config::Timezone(Tz::UTC),
            full_schedule: full.map(|full| full.parse().unwrap()),
            jitter,
        };
        Plan::new("main", Resource::Contacts, &job, "salt")
    }

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-03-01T{text}Z").parse().unwrap()
    }

    fn served(served_at: Option<&str>, full_served_at: Option<&str>) -> JobState {
        JobState {
            account: "main".to_owned(),
            resource: Resource::Contacts,
            created_at: at("00:00:00"),
            problem: None,
            held_back: false,
            full_failures: 0,
            full_failed_at: None,
            served_at: served_at.map(at),
            full_served_at: full_served_at.map(at),
            failures: 0,
            failed_at: None,
            requested_at: None,
            requested_full_at: None,
            held: None,
            fence: 0,
        }
    }

    const RUN: Due = Due::Now(Work {
        full: false,
        requested: false,
    });
    const FULL: Due = Due::Now(Work {
        full: true,
        requested: false,
    });

    #[test]
    fn a_job_that_never_ran_is_due_at_once_and_then_by_its_schedule() {
        let plan = plan("0 */15 * * * *", Some("0 30 2 * * *"), Duration::ZERO);
        assert_eq!(plan.due(&served(None, Some("00:01:00")), at("00:01:00")), RUN);
        let state = served(Some("00:01:00"), Some("00:01:00"));
        assert_eq!(plan.due(&state, at("00:02:00")), Due::At(at("00:15:00")));
        assert_eq!(plan.due(&state, at("00:15:00")), RUN);
    }

    #[test]
    fn what_was_missed_is_one_run_and_a_full_one_is_both() {
        let plan = plan("0 */15 * * * *", Some("0 30 2 * * *"), Duration::ZERO);
        let state = served(Some("00:00:01"), Some("00:00:01"));
        assert_eq!(plan.due(&state, at("02:29:59")), RUN);
        assert_eq!(plan.due(&state, at("09:00:00")), FULL);
        let state = served(Some("09:00:00"), Some("09:00:00"));
        assert_eq!(plan.due(&state, at("09:00:00")), Due::At(at("09:15:00")));
    }

    #[test]
    fn a_run_that_failed_is_tried_again_later_and_later_but_not_later_than_its_schedule() {
        let plan = plan("0 0 4 * * *", None, Duration::ZERO);
        let mut state = served(Some("03:00:00"), None);
        state.failures = 1;
        state.failed_at = Some(at("04:00:10"));
        assert_eq!(plan.due(&state, at("04:00:20")), Due::At(at("04:01:10")));
        assert_eq!(plan.due(&state, at("04:01:10")), RUN);
        state.failures = 4;
        assert_eq!(plan.due(&state, at("04:00:20")), Due::At(at("04:08:10")));
        state.failures = 4_000_000_000;
        assert_eq!(plan.due(&state, at("04:00:20")), Due::At(at("05:00:10")));
        let often = self::plan("0 * * * * *", None, Duration::ZERO);
        assert_eq!(often.due(&state, at("04:00:20")), Due::At(at("04:01:00")));
        assert_eq!(often.due(&state, at("04:01:00")), RUN);
        // Somebody who asks does not wait.
        state.requested_at = Some(at("04:00:30"));
        assert_eq!(
            plan.due(&state, at("04:00:31")),
            Due::Now(Work {
                full: false,
                requested: true,
            })
        );
    }

    #[test]
    fn full_runs_that_fail_do_not_keep_the_incremental_ones_waiting() {
        let plan = plan("0 */15 * * * *", Some("0 30 2 * * *"), Duration::ZERO);
        let mut state = served(Some("02:15:00"), Some("00:00:00"));
        assert_eq!(plan.due(&state, at("02:30:00")), FULL);
        // It takes a while, and fails.
        (state.failures, state.failed_at) = (1, Some(at("02:44:00")));
        (state.full_failures, state.full_failed_at) = (1, Some(at("02:44:00")));
        assert_eq!(plan.due(&state, at("02:44:01")), Due::At(at("02:45:00")));
        assert_eq!(plan.due(&state, at("02:45:00")), RUN);
        (state.failures, state.failed_at, state.served_at) = (0, None, Some(at("02:45:00")));
        assert_eq!(plan.due(&state, at("02:45:30")), Due::At(at("02:49:00")));
        assert_eq!(plan.due(&state, at("02:49:00")), FULL);
        // It has no room: the next short one is not due before its own time.
        assert_eq!(plan.due_incremental(&state, at("02:49:00")), Due::At(at("03:00:00")));
        assert_eq!(plan.due_incremental(&state, at("03:00:00")), RUN);
        (state.full_failures, state.full_failed_at) = (30, Some(at("03:00:00")));
        assert_eq!(plan.due(&state, at("03:00:00")), RUN);
        state.served_at = Some(at("03:55:00"));
        assert_eq!(plan.due(&state, at("03:59:59")), Due::At(at("04:00:00")));
        // Somebody who asks does not wait.
        state.requested_full_at = Some(at("03:59:00"));
        assert!(matches!(
            plan.due(&state, at("03:59:59")),
            Due::Now(Work { full: true, .. })
        ));
    }

    #[test]
    fn a_clock_that_is_set_does_not_make_a_job_run_twice_or_wait_for_years() {
        let plan = plan("0 */15 * * * *", None, Duration::ZERO);
        // Set right by a few seconds, over the moment of the last run.
        let state = served(Some("03:00:01"), None);
        assert_eq!(plan.due(&state, at("02:59:40")), Due::At(at("03:15:00")));
        // Set back by hours.
        assert_eq!(plan.due(&state, at("01:01:00")), RUN);
        let mut failed = served(Some("00:45:00"), None);
        (failed.failures, failed.failed_at) = (5, Some(at("23:00:00")));
        assert_eq!(plan.due(&failed, at("01:01:00")), RUN);
        // Set forward by hours: one run, not one for each quarter.
        assert_eq!(plan.due(&state, at("23:01:00")), RUN);
        assert_eq!(
            plan.due(&served(Some("23:01:00"), None), at("23:01:01")),
            Due::At(at("23:15:00"))
        );
    }

    #[test]
    fn jobs_are_spread_over_the_jitter_and_each_moment_is_served_once() {
        let spread = plan("0 */15 * * * *", None, Duration::from_mins(1));
        let mut seen = std::collections::BTreeSet::new();
        let mut state = served(Some("00:00:00"), None);
        for quarter in 1..=90 {
            let tick = at("00:00:00") + TimeDelta::minutes(15 * quarter);
            let now = state.served_at.unwrap();
            let Due::At(next) = spread.due(&state, now) else {
                panic!("{:?}", spread.due(&state, now))
            };
            let delay = next - tick;
            assert!(delay >= TimeDelta::zero() && delay < TimeDelta::seconds(61), "{next}");
            seen.insert(delay.num_seconds() / 10);
            state.served_at = Some(next);
        }
        assert!(seen.len() >= 5, "{seen:?}");
        // No more than a tenth of the time between two.
        let often = plan("*/10 * * * * *", None, Duration::from_mins(1));
        let Due::At(next) = often.due(&served(Some("00:00:05"), None), at("00:00:05")) else {
            panic!()
        };
        assert!(next <= at("00:00:11"), "{next}");
    }

    /// Runs a job from a moment on, as the scheduler's loop would, but for the hours it is down; says when it ran.
    fn live(plan: &Plan, from: &str, to: &str, down: &[(DateTime<Utc>, DateTime<Utc>)]) -> Vec<DateTime<Utc>> {
        let (mut now, to): (DateTime<Utc>, DateTime<Utc>) = (from.parse().unwrap(), to.parse().unwrap());
        let mut state = served(None, None);
        state.served_at = Some(now);
        let mut runs = Vec::new();
        while now < to {
            if let Some((_, up)) = down.iter().find(|(since, up)| *since <= now && now < *up) {
                now = *up;
                continue;
            }
            match plan.due(&state, now) {
                Due::Now(work) => {
                    assert!(!work.full && !work.requested);
                    runs.push(now);
                    state.served_at = Some(now);
                }
                // The loop looks again and again, whatever it expects.
                Due::At(at) => now = at.min(now + TimeDelta::hours(5)),
                Due::Never => panic!("it never runs again"),
            }
        }
        runs
    }

    /// Two months in which the clocks are set, in zones whose clocks are set by an hour, by half of one, and not at all.
    #[test]
    fn in_months_in_which_clocks_are_set_nothing_is_skipped_or_doubled() {
        for (from, to, days) in [
            ("2026-03-01T00:00:00Z", "2026-04-30T00:00:00Z", 60),
            ("2026-10-01T00:00:00Z", "2026-11-30T00:00:00Z", 60),
        ] {
            for timezone in [Tz::Europe__Bucharest, Tz::Australia__Lord_Howe, Tz::UTC] {
                let of = |schedule: &str, jitter| Plan {
                    timezone,
                    ..plan(schedule, None, Duration::from_secs(jitter))
                };
                for minute in ["0", "30"] {
                    // Clocks are set in the small hours.
                    for hour in [0, 1, 2, 3, 4, 5, 12, 23] {
                        let nightly = live(&of(&format!("0 {minute} {hour} * * *"), 0), from, to, &[]);
                        let dates: std::collections::BTreeSet<_> = nightly
                            .iter()
                            .map(|at| at.with_timezone(&timezone).date_naive())
                            .collect();
                        assert_eq!(
                            dates.len(),
                            nightly.len(),
                            "{timezone} {hour}:{minute}: two runs of a day"
                        );
                        assert!(
                            (days - 1..=days + 1).contains(&nightly.len()),
                            "{timezone} {hour}:{minute}"
                        );
                        let longest = nightly.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
                        assert!(longest <= TimeDelta::hours(26), "{timezone} {hour}:{minute}: {longest}");
                    }
                }
                let quarters = live(&of("0 */15 * * * *", 30), from, to, &[]);
                assert!(
                    (days * 96 - 1..=days * 96).contains(&quarters.len()),
                    "{timezone}: {}",
                    quarters.len()
                );
            }
        }
    }

    /// However often it is down: a moment that was missed is one run as soon as it is up, and none of the others is.
    #[test]
    fn what_was_missed_while_it_was_down_is_one_run_at_once() {
        let (from, to) = ("2026-03-20T00:00:00Z", "2026-04-05T00:00:00Z");
        let whole: DateTime<Utc> = from.parse().unwrap();
        let hourly = Plan {
            timezone: Tz::Europe__Bucharest,
            ..plan("0 0 * * * *", None, Duration::ZERO)
        };
        let mut seed = 7_u64;
        let mut next = |below: i64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            i64::try_from(seed >> 33).unwrap() % below
        };
        let mut down = Vec::new();
        let mut at = whole;
        while at < to.parse::<DateTime<Utc>>().unwrap() {
            let since = at + TimeDelta::minutes(1 + next(600));
            at = since + TimeDelta::minutes(1 + next(400));
            down.push((since, at));
        }
        let runs = live(&hourly, from, to, &down);
        let is_down = |tick: DateTime<Utc>| down.iter().find(|(since, up)| *since <= tick && tick < *up);
        let mut expected: Vec<DateTime<Utc>> = (1..16 * 24)
            .map(|hour| whole + TimeDelta::hours(hour))
            .map(|tick| is_down(tick).map_or(tick, |(_, up)| *up))
            .collect();
        expected.dedup();
        expected.retain(|tick| *tick < to.parse::<DateTime<Utc>>().unwrap());
        assert_eq!(runs, expected);
    }
}
