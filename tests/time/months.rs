//! Months in which the clocks are set, the daemon is stopped and started, and the machine's clock goes wrong: every moment
//! of every schedule is served, soon, and once.

use std::collections::BTreeMap;

use allai_sync::sandbox::{MutationKinds, Options};
use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Timelike as _, Utc};
use chrono_tz::Europe::Bucharest;

use crate::TURN;
use crate::world::World;

/// Every hour or every third what is new, and every night everything. 03:00 and 03:30 come twice or not at all when
/// Bucharest's clocks are set.
const CONFIG: &str = r#"
[jobs.contacts]
schedule = "0 0 * * * *"
full_schedule = "0 30 3 * * *"
jitter = "0s"
[jobs.conversations]
schedule = "@every 3h"
full_schedule = "0 30 3 * * *"
jitter = "0s"
[jobs.messages]
schedule = "0 */3 * * *"
full_schedule = "30 3 * * *"
jitter = "0s"
[jobs.analytics]
schedule = "0 30 5 * * *"
jitter = "0s"
"#;
/// How long after its moment a run may begin: after the runs it waits for, and a look of the scheduler's.
const SOON: TimeDelta = TimeDelta::seconds(40);
/// A clock that is set back by less is taken for one that is set right.
const SET_RIGHT: TimeDelta = TimeDelta::minutes(1);

/// In 2026 Bucharest is set forward on 29 March, 03:00 to 04:00, and back on 25 October, 04:00 to 03:00, both at 01:00 UTC.
/// At which minute of the day, in UTC, the night's run of this day is.
fn night(day: NaiveDate) -> u32 {
    match (day.month(), day.day()) {
        // 03:30 does not exist: when the clocks are set.
        (3, 29) => 60,
        // In winter.
        (..=2 | 11.., _) | (3, ..29) | (10, 26..) => 90,
        // The first of two 03:30 on 25 October.
        _ => 30,
    }
}

/// The same of the analytics, at 05:30.
fn morning(day: NaiveDate) -> u32 {
    match (day.month(), day.day()) {
        (..=2 | 11.., _) | (3, ..29) | (10, 25..) => 210,
        _ => 150,
    }
}

/// Whether it is 00:00, 03:00, 06:00 and so on in Bucharest, at this hour in UTC.
fn is_third(at: DateTime<Utc>) -> bool {
    let (day, hour) = (at.date_naive(), at.hour());
    match (day.month(), day.day()) {
        // 03:00 does not exist: when the clocks are set. From then on it is summer.
        (3, 29) => hour == 1 || (hour > 1 && hour % 3 == 0),
        // Until the second 03:00, which is none, it is summer, and winter from then on.
        (10, 25) => hour == 0 || (hour > 1 && hour % 3 == 1),
        (..=2 | 11.., _) | (3, ..29) | (10, 26..) => hour % 3 == 1,
        _ => hour % 3 == 0,
    }
}

/// What happens at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Event {
    /// The daemon is stopped.
    Stop,
    /// It is started again.
    Start,
    /// The machine's clock is set, by so many seconds.
    Set(i64),
    /// The account changes.
    Change,
}
use Event::{Change, Set, Start, Stop};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// The events of a month: day, time in UTC, and what happens.
const MONTH: &[(u32, &str, Event)] = &[
    (2, "11:35:00", Change),
    // Down for three of its moments.
    (3, "14:20:00", Stop),
    (3, "15:00:00", Change),
    (3, "17:45:00", Start),
    // An hour wrong for a while, as after a mistake with the time zone.
    (7, "09:20:00", Set(HOUR)),
    (7, "13:40:00", Set(-HOUR)),
    // A day wrong.
    (11, "10:20:00", Set(DAY)),
    (11, "10:40:00", Change),
    (11, "10:50:00", Set(-DAY)),
    // Set right by half a minute, over a moment that was served, and back.
    (14, "06:00:20", Set(-30)),
    (14, "08:30:00", Set(30)),
    // Down over the night's moment.
    (16, "23:10:00", Stop),
    (17, "02:45:00", Start),
    // A day wrong, the other way.
    (18, "12:20:00", Set(-DAY)),
    (18, "12:35:00", Change),
    (18, "12:50:00", Set(DAY)),
    (20, "10:10:00", Set(-HOUR)),
    (20, "15:25:00", Set(HOUR)),
    (22, "16:05:00", Change),
    // Down for less than it takes to miss something.
    (23, "16:05:00", Stop),
    (23, "16:40:00", Start),
    (24, "12:00:00", Change),
    (26, "19:10:00", Stop),
    (26, "19:20:00", Change),
    (27, "20:35:00", Start),
];

#[tokio::test]
async fn october_in_which_the_clocks_go_back() {
    let served = live("2026-09-30T22:10:00Z", "2026-10-31T22:10:00Z", MONTH).await;
    // Even what is not the table's own arithmetic says so: one night's run a day, on every day that was left in peace.
    for day in (1..=31).filter(|day| ![1, 10, 11, 12, 17, 18].contains(day)) {
        assert_eq!(served.fulls_on(2026, 10, day), [1, 1, 1], "on {day} October");
    }
}

#[tokio::test]
async fn march_in_which_the_clocks_go_forward() {
    let served = live("2026-02-28T22:10:00Z", "2026-03-31T21:10:00Z", MONTH).await;
    for day in (1..=31).filter(|day| ![1, 10, 11, 12, 17, 18].contains(day)) {
        assert_eq!(served.fulls_on(2026, 3, day), [1, 1, 1], "on {day} March");
    }
}

/// Nights on which the clocks are set, and the daemon is down for some of it.
#[tokio::test]
async fn nights_in_which_the_clocks_are_set_while_the_daemon_is_down() {
    for down in [
        // Over the first 03:30, over what lies between, over the second one, over both.
        [(25, "00:15:00", Stop), (25, "00:45:00", Start)],
        [(25, "00:45:00", Stop), (25, "01:15:00", Start)],
        [(25, "01:15:00", Stop), (25, "01:45:00", Start)],
        [(25, "00:10:00", Stop), (25, "03:50:00", Start)],
        // The machine's clock is set back over the first 03:30 alone, and forward over it.
        [(25, "00:40:00", Set(-HOUR)), (25, "05:10:00", Set(HOUR))],
        [(25, "00:10:00", Set(HOUR)), (25, "05:10:00", Set(-HOUR))],
    ] {
        live("2026-10-24T20:10:00Z", "2026-10-25T08:10:00Z", &down).await;
    }
    for down in [
        [(29, "00:45:00", Stop), (29, "01:15:00", Start)],
        [(29, "00:15:00", Stop), (29, "00:45:00", Start)],
        [(29, "01:15:00", Stop), (29, "01:45:00", Start)],
        [(29, "00:10:00", Set(HOUR)), (29, "05:10:00", Set(-HOUR))],
    ] {
        live("2026-03-28T20:10:00Z", "2026-03-29T08:10:00Z", &down).await;
    }
}

/// Lives from one moment to another with these events, and asserts after each stretch of time what ran in it.
async fn live(from: &str, to: &str, events: &[(u32, &str, Event)]) -> Served {
    let _turn = TURN.lock().await;
    let to: DateTime<Utc> = to.parse().unwrap();
    let mut options = Options::for_tests(40, 6);
    options.account.messages_per_conversation = Some(4);
    let mut world = World::new(from, TimeDelta::minutes(30), options, CONFIG).await;
    let mut served = Served::default();
    let mut since = world.time.wall();
    world.start().await;
    // What never ran is due at once.
    let mut expected: Vec<Expected> = RESOURCES.iter().map(|name| Expected::new(name, since, true)).collect();
    let mut is_up = true;

    for (seed, &(day, time, event)) in (0..).zip(events) {
        let date = to.date_naive().with_day(1).unwrap();
        // The last month's, if it ends with the first hour of another.
        let date = if to.day() == 1 { date.pred_opt().unwrap() } else { date };
        let at = format!("{}T{time}Z", date.with_day(day).unwrap());
        world.until(at.parse().unwrap()).await;
        let now = world.time.wall();
        if event == Change {
            world.sandbox.account().mutate(seed, 8, &MutationKinds::default());
            continue;
        }
        if is_up {
            expected.extend(moments(since, now));
            served.check(&world, std::mem::take(&mut expected)).await;
        }
        match event {
            Stop => world.stop().await,
            Start => {
                // What was missed while it was down.
                expected = coalesced(moments(served.up_to, now), now);
                world.start().await;
            }
            Set(seconds) => {
                let by = TimeDelta::seconds(seconds);
                world.set(by).await;
                expected = if seconds > 0 {
                    coalesced(moments(now, now + by), now + by)
                } else {
                    served.run_later_than(now + by + SET_RIGHT, now + by)
                };
            }
            Change => {}
        }
        is_up = event != Stop;
        (served.up_to, since) = (now, world.time.wall());
        if let Set(seconds) = event {
            since = now + TimeDelta::seconds(seconds);
            // Moments that were served before a clock is set right do not come again.
            if (-60..0).contains(&seconds) {
                since = now;
            }
        }
    }
    world.until(to).await;
    expected.extend(moments(since, world.time.wall()));
    served.check(&world, expected).await;
    world.assert_exact().await;
    world.stop().await;
    served
}

const RESOURCES: [&str; 4] = ["contacts", "conversations", "messages", "analytics"];

/// A run that there must be.
#[derive(Clone, Debug, PartialEq)]
struct Expected {
    resource: &'static str,
    at: DateTime<Utc>,
    full: bool,
}

impl Expected {
    fn new(resource: &'static str, at: DateTime<Utc>, full: bool) -> Self {
        let full = full && resource != "analytics";
        Self { resource, at, full }
    }
}

/// The moments of all schedules after `from`, until `to`, by the civil time of the machine's clock.
fn moments(from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<Expected> {
    let mut all = Vec::new();
    let mut day = from.date_naive();
    while day <= to.date_naive() {
        let midnight = day.and_hms_opt(0, 0, 0).unwrap().and_utc();
        let at = |minute: u32| midnight + TimeDelta::minutes(i64::from(minute));
        for resource in ["contacts", "conversations", "messages"] {
            let hours = (0..24).map(|hour| at(hour * 60));
            let mut of_day: Vec<Expected> = hours
                .filter(|hour| resource == "contacts" || is_third(*hour))
                .map(|hour| Expected::new(resource, hour, false))
                .collect();
            match of_day.iter_mut().find(|moment| moment.at == at(night(day))) {
                // One run does for both.
                Some(moment) => moment.full = true,
                None => of_day.push(Expected::new(resource, at(night(day)), true)),
            }
            all.extend(of_day);
        }
        all.push(Expected::new("analytics", at(morning(day)), false));
        day = day.succ_opt().unwrap();
    }
    all.retain(|moment| moment.at > from && moment.at <= to);
    all
}

/// What was missed is one run of each resource.
fn coalesced(missed: Vec<Expected>, now: DateTime<Utc>) -> Vec<Expected> {
    let mut one: BTreeMap<&str, Expected> = BTreeMap::new();
    for moment in missed {
        let run = one
            .entry(moment.resource)
            .or_insert_with(|| Expected::new(moment.resource, now, false));
        run.full |= moment.full;
    }
    one.into_values().collect()
}

/// A run that there was.
#[derive(Clone, Debug)]
struct Run {
    resource: String,
    verified: bool,
    started_at: DateTime<Utc>,
    finished_at: DateTime<Utc>,
}

/// What has been served.
#[derive(Debug, Default)]
struct Served {
    runs: Vec<Run>,
    up_to: DateTime<Utc>,
}

impl Served {
    /// What has run since the last call is what was expected, each soon after its moment, and nothing else.
    async fn check(&mut self, world: &World, mut expected: Vec<Expected>) {
        let rows = world
            .database
            .rows(&format!(
                "SELECT resource, verified, status, trigger, rate_limited, error, started_at, finished_at FROM sync_runs \
                 ORDER BY rowid LIMIT -1 OFFSET {}",
                self.runs.len()
            ))
            .await;
        let mut runs = Vec::new();
        for row in rows {
            let ended = [row.text("status"), row.text("trigger"), row.text("rate_limited")];
            assert_eq!(ended, ["complete", "schedule", "0"], "{row:?}");
            runs.push(Run {
                resource: row.text("resource").to_owned(),
                verified: row.text("verified") == "1",
                started_at: row.time("started_at").unwrap(),
                finished_at: row.time("finished_at").unwrap(),
            });
        }
        self.runs.extend(runs.iter().cloned());
        for resource in RESOURCES {
            let mut its_runs: Vec<&Run> = runs.iter().filter(|run| run.resource == resource).collect();
            its_runs.sort_by_key(|run| run.started_at);
            expected.sort_by_key(|moment| moment.at);
            let its_moments: Vec<&Expected> = expected.iter().filter(|moment| moment.resource == resource).collect();
            for (run, moment) in its_runs.iter().zip(&its_moments) {
                let late = run.started_at - moment.at;
                let is_in_time = late >= TimeDelta::zero() && late <= SOON;
                assert!(
                    is_in_time && run.verified == moment.full,
                    "{moment:?} is not served by {run:?}; runs: {its_runs:#?}, moments: {its_moments:#?}"
                );
            }
            assert_eq!(its_runs.len(), its_moments.len(), "{its_runs:#?}\n{its_moments:#?}");
            let overlap = its_runs.windows(2).find(|two| two[0].finished_at > two[1].started_at);
            assert!(overlap.is_none(), "{overlap:?}");
        }
    }

    /// The machine's clock was set back before the last runs: one run puts this right.
    fn run_later_than(&self, latest: DateTime<Utc>, now: DateTime<Utc>) -> Vec<Expected> {
        let is_later = |run: &&Run| run.started_at > latest;
        let of = |resource: &'static str| {
            let its = || self.runs.iter().rev().filter(move |run| run.resource == resource);
            let full = its().find(|run| run.verified);
            let due = its().next().filter(is_later);
            due.map(|_| Expected::new(resource, now, full.as_ref().is_some_and(is_later)))
        };
        RESOURCES.into_iter().filter_map(of).collect()
    }

    /// How many night's runs each list had on a civil day.
    fn fulls_on(&self, year: i32, month: u32, day: u32) -> [usize; 3] {
        let day = NaiveDate::from_ymd_opt(year, month, day).unwrap();
        let is_then = |run: &&Run| run.verified && run.started_at.with_timezone(&Bucharest).date_naive() == day;
        ["contacts", "conversations", "messages"].map(|resource| {
            let its = self.runs.iter().filter(|run| run.resource == resource);
            its.filter(is_then).count()
        })
    }
}
