//! When a schedule fires, by clocks that are set forward and back.
//!
//! A cron expression speaks of civil time, of which an hour a year is missing and one comes twice. A job of certain hours
//! (`0 30 3 * * *`) runs once a day whatever the clocks do: at the moment they are set forward, if its time is missing,
//! and the first of the two times, if it comes twice. A job of every hour (`0 */15 * * * *`) goes on as time itself does:
//! what is missing is no time, and both hours are hours. So do Vixie cron and its heirs; the cron crate's own iterator
//! leaves out the one and runs the other twice.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset as _, TimeDelta, TimeZone as _, Timelike as _, Utc};
use chrono_tz::Tz;
use cron::TimeUnitSpec as _;

use crate::config::Schedule;

/// Clocks are set so far at most; the few zones that moved across the date line did so by a day.
const FURTHEST_SET: TimeDelta = TimeDelta::hours(26);

/// The first moment after `after` at which `schedule` fires in `timezone`; `None` if it never does again.
pub(crate) fn next_tick(schedule: &Schedule, timezone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let every_hour = schedule.cron().hours().is_all();
    let mut next: Option<DateTime<Utc>> = None;
    for civil in civil_times(schedule, start(timezone, after)) {
        let (first, second) = moments(timezone, civil, every_hour);
        let is_later = |at: &DateTime<Utc>| *at > after;
        next = [next, first.filter(is_later), second.filter(is_later)]
            .into_iter()
            .flatten()
            .min();
        // The first moments are in the order of civil time; only the second ones of an hour that comes twice are not.
        if next.is_some_and(|next| earliest(timezone, civil) >= next) {
            break;
        }
    }
    next
}

/// From when on civil times may be later than `after`.
fn start(timezone: Tz, after: DateTime<Utc>) -> NaiveDateTime {
    let offset = |at: DateTime<Utc>| {
        timezone
            .offset_from_utc_datetime(&at.naive_utc())
            .fix()
            .local_minus_utc()
    };
    let (before, behind) = (offset(after - FURTHEST_SET), offset(after + FURTHEST_SET));
    let set_back = TimeDelta::seconds(i64::from((before - behind).max(0)));
    after.naive_utc() + TimeDelta::seconds(i64::from(offset(after))) - set_back
}

/// The civil times at which `schedule` fires, after one.
fn civil_times(schedule: &Schedule, after: NaiveDateTime) -> impl Iterator<Item = NaiveDateTime> + '_ {
    // The crate's iterator takes UTC's civil time as well as any, and UTC has no gaps.
    schedule.cron().after_owned(after.and_utc()).map(|at| at.naive_utc())
}

/// The moments at which a job runs for a civil time: none, one or two.
fn moments(timezone: Tz, civil: NaiveDateTime, every_hour: bool) -> (Option<DateTime<Utc>>, Option<DateTime<Utc>>) {
    match timezone.from_local_datetime(&civil) {
        MappedLocalTime::Single(at) => (Some(at.to_utc()), None),
        MappedLocalTime::Ambiguous(first, second) => (Some(first.to_utc()), every_hour.then(|| second.to_utc())),
        MappedLocalTime::None if every_hour => (None, None),
        MappedLocalTime::None => (Some(end_of_gap(timezone, civil)), None),
    }
}

/// The first moment that can be meant by a civil time.
fn earliest(timezone: Tz, civil: NaiveDateTime) -> DateTime<Utc> {
    match timezone.from_local_datetime(&civil) {
        MappedLocalTime::Single(at) | MappedLocalTime::Ambiguous(at, _) => at.to_utc(),
        MappedLocalTime::None => end_of_gap(timezone, civil),
    }
}

/// When the clocks were set forward over a civil time.
fn end_of_gap(timezone: Tz, civil: NaiveDateTime) -> DateTime<Utc> {
    // By the clock as it was before, the missing time lies behind the moment; by the clock as it is then, before it.
    let before = timezone
        .offset_from_utc_datetime(&(civil - FURTHEST_SET))
        .fix()
        .local_minus_utc();
    let (mut early, mut late) = (civil.and_utc() - FURTHEST_SET, civil.and_utc() + FURTHEST_SET);
    while late - early > TimeDelta::seconds(1) {
        let middle = early + (late - early) / 2;
        let offset = timezone
            .offset_from_utc_datetime(&middle.naive_utc())
            .fix()
            .local_minus_utc();
        if offset == before {
            early = middle;
        } else {
            late = middle;
        }
    }
    late.with_nanosecond(0).unwrap_or(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(schedule: &str, timezone: Tz, from: &str, to: &str) -> Vec<String> {
        let schedule: Schedule = schedule.parse().unwrap();
        let (mut at, to): (DateTime<Utc>, DateTime<Utc>) = (from.parse().unwrap(), to.parse().unwrap());
        let mut ticks = Vec::new();
        while let Some(next) = next_tick(&schedule, timezone, at).filter(|next| *next <= to) {
            assert!(next > at, "{next} after {at}");
            ticks.push(next.format("%d %H:%M").to_string());
            at = next;
        }
        ticks
    }

    // In 2026 Bucharest is set forward on 29 March, 03:00 to 04:00 (01:00 UTC), and back on 25 October, 04:00 to 03:00
    // (01:00 UTC): https://www.iana.org/time-zones, rules EU.
    const BUCHAREST: Tz = Tz::Europe__Bucharest;

    #[test]
    fn a_nightly_job_whose_time_is_missing_runs_when_the_clocks_are_set_forward() {
        for schedule in ["0 30 3 * * *", "0 0,15,30,45 3 * * *", "59 59 3 * * *"] {
            assert_eq!(
                ticks(schedule, BUCHAREST, "2026-03-29T00:30:00Z", "2026-03-29T23:00:00Z"),
                ["29 01:00"],
                "{schedule}"
            );
        }
        assert_eq!(
            ticks(
                "0 30 2,4 * * *",
                BUCHAREST,
                "2026-03-28T12:00:00Z",
                "2026-03-29T12:00:00Z"
            ),
            ["29 00:30", "29 01:30"]
        );
        // At that very moment it is due anyway: once.
        assert_eq!(
            ticks(
                "0 0,30 3,4 * * *",
                BUCHAREST,
                "2026-03-28T12:00:00Z",
                "2026-03-29T12:00:00Z"
            ),
            ["29 01:00", "29 01:30"]
        );
    }

    #[test]
    fn a_nightly_job_whose_time_comes_twice_runs_once() {
        assert_eq!(
            ticks(
                "0 30 3 * * *",
                BUCHAREST,
                "2026-10-24T12:00:00Z",
                "2026-10-25T12:00:00Z"
            ),
            ["25 00:30"]
        );
        // Asked between the two.
        assert_eq!(
            ticks(
                "0 30 3 * * *",
                BUCHAREST,
                "2026-10-25T00:45:00Z",
                "2026-10-26T12:00:00Z"
            ),
            ["26 01:30"]
        );
    }

    #[test]
    fn a_job_of_every_hour_goes_on_as_time_does() {
        let quarters = ["00:30", "00:45", "01:00", "01:15", "01:30", "01:45", "02:00", "02:15"];
        for day in ["2026-03-29", "2026-10-25"] {
            let expected: Vec<String> = quarters.iter().map(|time| format!("{} {time}", &day[8..])).collect();
            let (from, to) = (format!("{day}T00:15:00Z"), format!("{day}T02:15:00Z"));
            assert_eq!(ticks("0 */15 * * * *", BUCHAREST, &from, &to), expected, "{day}");
        }
    }

    #[test]
    fn zones_with_other_habits_are_right_too() {
        // Half an hour, on Lord Howe: back on 5 April 2026 at 02:00 (15:00 UTC the day before) to 01:30.
        let lord_howe = Tz::Australia__Lord_Howe;
        assert_eq!(
            ticks(
                "0 45 1 * * *",
                lord_howe,
                "2026-04-03T20:00:00Z",
                "2026-04-05T20:00:00Z"
            ),
            ["04 14:45", "05 15:15"]
        );
        // No 30 December 2011 in Samoa.
        assert_eq!(
            ticks(
                "0 0 12 * * *",
                Tz::Pacific__Apia,
                "2011-12-28T23:00:00Z",
                "2011-12-31T23:00:00Z"
            ),
            ["29 22:00", "30 10:00", "30 22:00", "31 22:00"]
        );
        assert_eq!(
            ticks("0 0 0 29 2 *", Tz::UTC, "2026-01-01T00:00:00Z", "2033-01-01T00:00:00Z").len(),
            2
        );
    }

    /// What is asked for at any moment is the same as what comes when asked again and again, and nothing is left out.
    #[test]
    fn every_tick_of_a_year_is_found_from_wherever_one_looks() {
        for (timezone, schedule) in [
            (BUCHAREST, "0 */20 * * * *"),
            (BUCHAREST, "0 0,40 2-5 * * *"),
            (Tz::America__New_York, "0 30 1,2,3 * * *"),
            (Tz::Australia__Lord_Howe, "0 10,50 */2 * * *"),
        ] {
            let schedule: Schedule = schedule.parse().unwrap();
            let year: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
            let mut at = year;
            while at < year + TimeDelta::days(366) {
                let next = next_tick(&schedule, timezone, at).unwrap();
                for part in 1..4 {
                    let between = at + (next - at) * part / 4;
                    let expected = if between < next { Some(next) } else { None };
                    if expected.is_some() {
                        assert_eq!(next_tick(&schedule, timezone, between), expected, "from {between}");
                    }
                }
                at = next;
            }
        }
    }
}
