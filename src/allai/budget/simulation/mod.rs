//! The budget against model servers of every kind, on a clock that jumps from event to event.

mod clock;
mod server;
mod sharing;
mod waits;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use self::clock::{EventClock, START};
use self::server::{Kind, Model, Notation, Server};
use super::*;
use crate::clock::Clock;

/// One request after another, as fast as the budget lets them.
async fn work(budget: &Budget, clock: &EventClock, server: &RefCell<Server>, priority: Priority, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    loop {
        request(budget, clock, server, priority, &mut random).await;
    }
}

async fn request(
    budget: &Budget,
    clock: &EventClock,
    server: &RefCell<Server>,
    priority: Priority,
    random: &mut StdRng,
) {
    let (least, most) = server.borrow().way();
    let mut way = || Duration::from_millis(random.random_range(least..most));
    let (there, back) = (way(), way());
    let permit = budget.acquire(priority).await;
    clock.sleep(there).await;
    let (status, headers) = server.borrow_mut().answer(clock.monotonic());
    clock.sleep(back).await;
    permit.answered(status, &headers);
}

/// What came of it: requests refused, and the share used of what the server allowed after the first window.
fn outcome(model: Model, limits: Limits, windows: u32, seed: u64) -> (u32, f64) {
    let clock = EventClock::default();
    let budget = Budget::new(limits, Arc::new(clock.clone())).seeded(seed);
    let server = Server::new(model);
    let until = model.window * windows;
    let workers = (0..12)
        .map(|n| Box::pin(work(&budget, &clock, &server, Priority::Full, seed * 100 + n)) as LocalBoxFuture<'_, ()>)
        .collect();
    clock.run(workers, until);
    let server = server.borrow();
    (server.refused, server.share())
}

const MINUTE: (u32, Duration) = (100, Duration::from_mins(1));
const TEN_SECONDS: (u32, Duration) = (60, Duration::from_secs(10));
const NEAR: (u64, u64) = (8, 40);

fn models() -> impl Iterator<Item = Model> {
    let mut models = Vec::new();
    for kind in [Kind::Tiled, Kind::FirstRequest, Kind::SlidingOldest, Kind::SlidingEmpty] {
        for (limit, window) in [MINUTE, TEN_SECONDS] {
            for (skew, date) in [(-300, true), (300, true), (0, false), (-300, false)] {
                for notation in [
                    Notation::Floor,
                    Notation::Ceil,
                    Notation::Milliseconds,
                    Notation::DeltaFloor,
                    Notation::DeltaCeil,
                ] {
                    models.push(Model {
                        kind,
                        limit,
                        window,
                        skew,
                        date,
                        notation,
                        way: NEAR,
                    });
                }
            }
        }
    }
    models.into_iter()
}

/// What must hold of every server that states its limit: no refusal at all, and windows spent fully where their ends can
/// be told.
#[test]
fn no_kind_of_server_refuses_a_request_and_its_windows_are_spent() {
    for model in models() {
        let short = model.window == TEN_SECONDS.1;
        let clockless =
            !model.date && model.skew != 0 && !matches!(model.notation, Notation::DeltaFloor | Notation::DeltaCeil);
        let least = match (model.kind, model.notation) {
            // A log that slides has no length to be learned, and no end without a clock: a minute is waited for.
            (Kind::SlidingOldest | Kind::SlidingEmpty, _) if short && clockless => 0.15,
            // What they state is not when there is room again.
            (Kind::SlidingOldest | Kind::SlidingEmpty, _) => 0.7,
            // The first windows are spent slowly, until their length is known.
            _ if short && clockless => 0.9,
            // A second is a tenth of the window, and nothing tells which way it was rounded.
            (_, Notation::DeltaCeil) if short => 0.9,
            _ => 0.97,
        };
        let windows = match (short, clockless) {
            (true, true) => 20,
            (true, false) => 14,
            _ => 7,
        };
        let (refused, used) = outcome(model, Limits::default(), windows, 1);
        assert_eq!(refused, 0, "{model:?}");
        assert!(used >= least, "{used:.3} {model:?}");
    }
}

#[test]
fn a_high_limit_over_a_short_window_is_spent_as_well() {
    for (kind, notation) in [
        (Kind::Tiled, Notation::Floor),
        (Kind::FirstRequest, Notation::Milliseconds),
    ] {
        let (limit, window) = (300, Duration::from_secs(10));
        let model = Model {
            kind,
            limit,
            window,
            notation,
            ..tiled()
        };
        let (refused, used) = outcome(model, Limits::default(), 10, 2);
        assert_eq!(refused, 0, "{model:?}");
        assert!(used >= 0.97, "{used:.3} {model:?}");
    }
}

#[test]
fn whatever_its_limit_window_and_clock_a_server_that_tells_the_time_does_not_refuse() {
    for seed in 0..60 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut one_of = |choices: &[u64]| choices[random.random_range(0..choices.len())];
        let kind = [Kind::Tiled, Kind::FirstRequest][usize::try_from(one_of(&[0, 1])).unwrap()];
        let notation = match one_of(&[0, 1, 2, 3]) {
            0 => Notation::Floor,
            1 => Notation::Ceil,
            2 => Notation::Milliseconds,
            _ => Notation::DeltaFloor,
        };
        let window = Duration::from_secs(one_of(&[5, 7, 10, 15, 30, 60]));
        let model = Model {
            kind,
            limit: random.random_range(1..120),
            window,
            skew: random.random_range(-400..400),
            date: true,
            notation,
            way: NEAR,
        };
        let (refused, _) = outcome(model, Limits::default(), 6, seed);
        assert_eq!(refused, 0, "seed {seed}: {model:?}");
    }
}

#[test]
fn however_long_its_windows_a_server_whose_clock_nobody_tells_does_not_refuse() {
    for seed in 0..30 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut one_of = |choices: &[u64]| choices[random.random_range(0..choices.len())];
        let kind = [Kind::Tiled, Kind::FirstRequest, Kind::SlidingOldest, Kind::SlidingEmpty]
            [usize::try_from(one_of(&[0, 1, 2, 3])).unwrap()];
        let notation =
            [Notation::Floor, Notation::Ceil, Notation::Milliseconds][usize::try_from(one_of(&[0, 1, 2])).unwrap()];
        let window = Duration::from_secs(one_of(&[5, 10, 15, 20, 30, 60]));
        let model = Model {
            kind,
            limit: random.random_range(1..200),
            window,
            skew: if random.random_bool(0.5) { 250 } else { -3600 },
            date: false,
            notation,
            way: NEAR,
        };
        let (refused, _) = outcome(model, Limits::default(), 15, seed);
        assert_eq!(refused, 0, "seed {seed}: {model:?}");
    }
}

#[test]
fn a_window_longer_than_usual_costs_a_few_refusals_until_its_end_is_believed() {
    for notation in [Notation::Floor, Notation::Milliseconds, Notation::DeltaFloor] {
        let window = Duration::from_mins(10);
        let model = Model {
            window,
            notation,
            ..tiled()
        };
        let (refused, used) = outcome(model, Limits::default(), 6, 1);
        assert!(refused <= 2, "{refused} {model:?}");
        assert!(used > 0.97, "{used} {model:?}");
    }
}

#[test]
fn a_window_is_counted_down_whichever_way_its_clock_is_set_while_it_runs() {
    for by in [-120, 120] {
        let clock = EventClock::default();
        let budget = Budget::new(Limits::default(), Arc::new(clock.clone())).seeded(7);
        let server = Server::new(tiled());
        let set = async {
            while server.borrow().served.len() < 150 {
                clock.sleep(Duration::from_millis(5)).await;
            }
            server.borrow_mut().set_clock(by);
            std::future::pending::<()>().await;
        };
        let mut workers: Vec<LocalBoxFuture<'_, ()>> = vec![Box::pin(set)];
        for n in 0..12 {
            workers.push(Box::pin(work(&budget, &clock, &server, Priority::Full, n)));
        }
        clock.run(workers, Duration::from_mins(10));
        let server = server.borrow();
        assert_eq!(server.refused, 0, "{by}");
        assert!(server.share() > 0.97, "{by}: {}", server.share());
    }
}

#[test]
fn an_end_that_is_stated_a_second_early_now_and_then_makes_no_window_shorter() {
    for (seconds, least) in [(5, 0.7), (10, 0.85), (30, 0.95), (60, 0.97)] {
        let model = Model {
            limit: 60,
            window: Duration::from_secs(seconds),
            notation: Notation::Shaky,
            ..tiled()
        };
        let (refused, used) = outcome(model, Limits::default(), 40, 5);
        // Five seconds are no length that is known to be usual.
        assert!(refused <= u32::from(seconds == 5), "{refused} {model:?}");
        assert!(used >= least, "{used} {model:?}");
    }
}

#[test]
fn answers_that_overtake_each_other_by_seconds_do_not_make_room() {
    for (kind, limit, seconds) in [
        (Kind::Tiled, 5, 60),
        (Kind::FirstRequest, 5, 60),
        (Kind::Tiled, 40, 30),
        (Kind::FirstRequest, 20, 15),
    ] {
        for notation in [
            Notation::Floor,
            Notation::Ceil,
            Notation::Milliseconds,
            Notation::DeltaFloor,
            Notation::DeltaCeil,
        ] {
            for seed in 0..10 {
                let model = Model {
                    kind,
                    limit,
                    window: Duration::from_secs(seconds),
                    notation,
                    way: (50, 2_000),
                    ..tiled()
                };
                let (refused, used) = outcome(model, Limits::default(), 40, seed);
                assert_eq!(refused, 0, "seed {seed}: {model:?}");
                assert!(used > 0.8, "{used:.3} seed {seed}: {model:?}");
            }
        }
    }
}

fn tiled() -> Model {
    Model {
        kind: Kind::Tiled,
        limit: 100,
        window: Duration::from_mins(1),
        skew: 17,
        date: true,
        notation: Notation::Floor,
        way: NEAR,
    }
}

#[test]
fn a_server_that_states_nothing_is_never_asked_more_than_the_limit_in_any_window() {
    for kind in [Kind::Tiled, Kind::FirstRequest, Kind::SlidingOldest] {
        let model = Model {
            kind,
            notation: Notation::Nothing,
            ..tiled()
        };
        let limits = Limits {
            max_in_flight: 1,
            ..Limits::default()
        };
        let clock = EventClock::default();
        let budget = Budget::new(limits, Arc::new(clock.clone())).seeded(3);
        let server = Server::new(model);
        clock.run(
            vec![Box::pin(work(&budget, &clock, &server, Priority::Full, 3))],
            model.window * 10,
        );
        assert_eq!(server.borrow().refused, 0, "{kind:?}");
        assert!(server.borrow().served.len() > 900, "{}", server.borrow().served.len());
    }
}

#[test]
fn a_server_that_states_nothing_and_allows_less_is_adapted_to() {
    let model = Model {
        notation: Notation::Nothing,
        limit: 30,
        ..tiled()
    };
    let clock = EventClock::default();
    let budget = Budget::new(Limits::default(), Arc::new(clock.clone())).seeded(3);
    let server = Server::new(model);
    clock.run(
        vec![Box::pin(work(&budget, &clock, &server, Priority::Full, 3))],
        model.window * 60,
    );
    let server = server.borrow();
    assert!(server.served.len() > 30 * 45, "{}", server.served.len());
    assert!(server.refused < 60 * 4, "{}", server.refused);
}
