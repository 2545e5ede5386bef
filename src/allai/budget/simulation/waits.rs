//! Long waits: how long they may be, and what the log says of them.

use std::cell::RefCell;

use http::{HeaderMap, HeaderValue, StatusCode};

use super::*;
use crate::allai::logged::Logged;
use crate::clock::Clock;

/// What the log says while twelve workers use a budget for so long.
fn log_of(model: Model, limits: Limits, until: Duration) -> Vec<String> {
    let logged = Logged::here();
    let clock = EventClock::default();
    let budget = Budget::new(limits, Arc::new(clock.clone())).seeded(9);
    let server = Server::new(model);
    let workers = (0..12)
        .map(|n| Box::pin(work(&budget, &clock, &server, Priority::Full, n)) as LocalBoxFuture<'_, ()>)
        .collect();
    clock.run(workers, until);
    logged.lines()
}

#[test]
fn a_long_wait_for_a_window_is_told_of_once_however_many_wait() {
    let lines = log_of(tiled(), Limits::default(), Duration::from_mins(5));
    assert!((4..=6).contains(&lines.len()), "{lines:#?}");
    for line in lines {
        assert!(
            line.contains("http.wait_seconds=") && line.contains("reason=the rate limit's next window"),
            "{line}"
        );
    }
}

#[test]
fn a_long_wait_for_the_plan_is_told_of_and_short_ones_are_not() {
    let of_plan = |plan| {
        let limits = Limits {
            ceiling_per_minute: Some(plan),
            ..Limits::default()
        };
        let model = Model {
            notation: Notation::Nothing,
            ..tiled()
        };
        log_of(model, limits, Duration::from_mins(5))
    };
    let lines = of_plan(6);
    assert!((25..=30).contains(&lines.len()), "{lines:#?}");
    assert!(
        lines[1].contains("http.wait_seconds=12 reason=the plan's rate limit"),
        "{lines:#?}"
    );
    assert_eq!(of_plan(60), [""; 0]);
}

/// How long everybody waits after a refusal with this `Retry-After`, and what the log says of it.
fn pause_after(retry_after: &'static str) -> (Duration, Vec<String>) {
    let logged = Logged::here();
    let clock = EventClock::default();
    let budget = Budget::new(Limits::default(), Arc::new(clock.clone())).seeded(9);
    let next = RefCell::new(Duration::ZERO);
    let refused = RefCell::new(false);
    let (budget, next, refused) = (&budget, &next, &refused);
    let task = |at| -> LocalBoxFuture<'_, ()> {
        let clock = clock.clone();
        Box::pin(async move {
            clock.sleep(at).await;
            let permit = budget.acquire(Priority::Full).await;
            if refused.replace(true) {
                *next.borrow_mut() = clock.monotonic();
                return;
            }
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", HeaderValue::from_static(retry_after));
            permit.answered(StatusCode::TOO_MANY_REQUESTS, &headers);
        })
    };
    clock.run(
        (0..5).map(|second| task(Duration::from_secs(second))).collect(),
        Duration::from_hours(2),
    );
    (next.take(), logged.lines())
}

#[test]
fn a_pause_asked_for_is_kept_by_all_up_to_two_minutes() {
    let (paused, lines) = pause_after("90");
    assert!((90..=93).contains(&paused.as_secs()), "{paused:?}");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(
        lines[0].contains("http.wait_seconds=89 reason=the server asked for a pause"),
        "{lines:#?}"
    );

    for asked in ["121", "86400", "999999999999"] {
        let (paused, _) = pause_after(asked);
        assert!((119..=123).contains(&paused.as_secs()), "{asked}: {paused:?}");
    }
    assert_eq!(pause_after("3").1, [""; 0]);
}
