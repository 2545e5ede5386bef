//! How the budget is shared out: priorities, reserve, plan, pauses, and what is dropped.

use std::cell::RefCell;
use std::collections::BTreeMap;

use futures_util::future::select;
use http::{HeaderMap, HeaderValue, StatusCode};
use rand::RngExt;

use super::*;
use crate::clock::Clock;

#[test]
fn the_reserve_is_left_to_others_and_the_plan_is_a_ceiling() {
    let count = |limits| {
        let clock = EventClock::default();
        let budget = Budget::new(limits, Arc::new(clock.clone())).seeded(5);
        let server = Server::new(tiled());
        let workers = (0..12)
            .map(|n| Box::pin(work(&budget, &clock, &server, Priority::Full, n)) as LocalBoxFuture<'_, ()>)
            .collect();
        clock.run(workers, Duration::from_mins(10));
        let mut windows = BTreeMap::new();
        let server = server.borrow();
        assert_eq!(server.refused, 0);
        for at in &server.served {
            *windows.entry(server.time(*at) / 60_000_000).or_insert(0) += 1;
        }
        windows.values().copied().max().unwrap()
    };
    let reserve = Limits {
        reserve: 0.255,
        ..Limits::default()
    };
    assert_eq!(count(reserve), 74);
    let plan = Limits {
        ceiling_per_minute: Some(40),
        ..Limits::default()
    };
    assert!((38..=40).contains(&count(plan)));
    assert_eq!(count(Limits::default()), 100);
}

#[test]
fn a_higher_priority_goes_first_and_within_one_the_first_come() {
    let clock = EventClock::default();
    let limits = Limits {
        max_in_flight: 1,
        ..Limits::default()
    };
    let budget = Budget::new(limits, Arc::new(clock.clone()));
    let server = Server::new(tiled());
    let order = RefCell::new(Vec::new());
    let task = |priority, name: &'static str| -> LocalBoxFuture<'_, ()> {
        let (budget, clock, server, order) = (&budget, &clock, &server, &order);
        Box::pin(async move {
            let permit = budget.acquire(priority).await;
            order.borrow_mut().push(name);
            let (status, headers) = server.borrow_mut().answer(clock.monotonic());
            clock.sleep(Duration::from_millis(10)).await;
            permit.answered(status, &headers);
        })
    };
    let tasks = vec![
        task(Priority::Full, "probe"),
        task(Priority::Full, "full 1"),
        task(Priority::Incremental, "incremental"),
        task(Priority::Full, "full 2"),
        task(Priority::Event, "event 1"),
        task(Priority::Interactive, "interactive"),
        task(Priority::Event, "event 2"),
    ];
    clock.run(tasks, Duration::from_mins(1));
    let rest = ["event 1", "event 2", "interactive", "incremental", "full 1", "full 2"];
    assert_eq!(order.borrow()[0], "probe");
    assert_eq!(order.borrow()[1..], rest);
}

#[test]
fn an_event_does_not_wait_behind_a_sweep_that_keeps_the_budget_busy() {
    let clock = EventClock::default();
    let budget = Budget::new(Limits::default(), Arc::new(clock.clone()));
    let server = Server::new(Model { limit: 5000, ..tiled() });
    let waits = RefCell::new(Vec::new());
    let mut tasks: Vec<LocalBoxFuture<'_, ()>> = (0..12)
        .map(|n| Box::pin(work(&budget, &clock, &server, Priority::Full, n)) as LocalBoxFuture<'_, ()>)
        .collect();
    tasks.push(Box::pin(async {
        let mut random = StdRng::seed_from_u64(9);
        for _ in 0..20 {
            clock.sleep(Duration::from_millis(137)).await;
            let asked = clock.monotonic();
            request(&budget, &clock, &server, Priority::Event, &mut random).await;
            waits.borrow_mut().push(clock.monotonic().checked_sub(asked).unwrap());
        }
    }));
    clock.run(tasks, Duration::from_secs(10));
    assert_eq!(waits.borrow().len(), 20);
    assert!(
        waits.borrow().iter().all(|wait| *wait < Duration::from_millis(200)),
        "{:?}",
        waits.borrow()
    );
}

#[test]
fn what_is_dropped_gives_everything_back() {
    let clock = EventClock::default();
    let limits = Limits {
        max_in_flight: 2,
        ..Limits::default()
    };
    let budget = Budget::new(limits, Arc::new(clock.clone()));
    let server = Server::new(tiled());
    let mut random = StdRng::seed_from_u64(11);
    let tasks: Vec<LocalBoxFuture<'_, ()>> = (0..200)
        .map(|n| {
            let (budget, clock, server) = (&budget, &clock, &server);
            let patience = Duration::from_millis(random.random_range(0..200));
            Box::pin(async move {
                let mut random = StdRng::seed_from_u64(n);
                let request = std::pin::pin!(request(budget, clock, server, Priority::Full, &mut random));
                select(request, clock.sleep(patience)).await;
            }) as LocalBoxFuture<'_, ()>
        })
        .collect();
    clock.run(tasks, Duration::from_mins(5));
    let state = budget.shared.lock();
    assert_eq!((state.in_flight, state.unanswered, state.queue.len()), (0, 0, 0));
    drop(state);
    let mut random = StdRng::seed_from_u64(1);
    let next = Box::pin(request(&budget, &clock, &server, Priority::Full, &mut random));
    clock.run(vec![next], Duration::from_mins(10));
    assert!(!server.borrow().served.is_empty());
}

#[test]
fn a_stalled_probe_does_not_keep_the_others_waiting() {
    let clock = EventClock::default();
    let budget = Budget::new(Limits::default(), Arc::new(clock.clone()));
    let server = Server::new(tiled());
    let stalled = Box::pin(async {
        let permit = budget.acquire(Priority::Full).await;
        clock.sleep(Duration::from_secs(30)).await;
        drop(permit);
    });
    let through = RefCell::new(Duration::ZERO);
    let other = Box::pin(async {
        let mut random = StdRng::seed_from_u64(1);
        request(&budget, &clock, &server, Priority::Full, &mut random).await;
        *through.borrow_mut() = clock.monotonic();
    });
    clock.run(vec![stalled, other], Duration::from_mins(1));
    assert!((2..4).contains(&through.borrow().as_secs()), "{through:?}");
}

#[test]
fn after_a_refusal_everybody_pauses_as_long_as_asked_and_one_asks_again() {
    let clock = EventClock::default();
    let budget = Budget::new(Limits::default(), Arc::new(clock.clone())).seeded(2);
    let sent = RefCell::new(Vec::new());
    let tasks = (0..5)
        .map(|_| {
            let (budget, clock, sent) = (&budget, &clock, &sent);
            Box::pin(async move {
                while clock.monotonic() < Duration::from_hours(1) {
                    let permit = budget.acquire(Priority::Full).await;
                    sent.borrow_mut().push(clock.monotonic());
                    clock.sleep(Duration::from_millis(20)).await;
                    let mut headers = HeaderMap::new();
                    headers.insert("retry-after", HeaderValue::from_static("7"));
                    permit.answered(StatusCode::TOO_MANY_REQUESTS, &headers);
                }
            }) as LocalBoxFuture<'_, ()>
        })
        .collect();
    clock.run(tasks, Duration::from_secs(16));
    let sent = sent.borrow();
    assert_eq!(sent.len(), 3, "{sent:?}");
    for pair in sent.windows(2) {
        let pause = pair[1].checked_sub(pair[0]).unwrap();
        assert!(
            pause >= Duration::from_secs(7) && pause <= Duration::from_millis(7300),
            "{pause:?}"
        );
    }
}

#[test]
fn absurd_resets_and_far_windows_are_not_waited_for() {
    for reset in ["99999999", "1", "4102444800", "4102444800000", "1000000001", "soon"] {
        let clock = EventClock::default();
        let budget = Budget::new(Limits::default(), Arc::new(clock.clone()));
        let sent = RefCell::new(Vec::new());
        let task = Box::pin(async {
            for remaining in ["0", "50", "49"] {
                let permit = budget.acquire(Priority::Full).await;
                sent.borrow_mut().push(clock.monotonic());
                let mut headers = HeaderMap::new();
                headers.insert("date", HeaderValue::try_from(clock.now().to_rfc2822()).unwrap());
                headers.insert("x-ratelimit-limit", HeaderValue::from_static("100"));
                headers.insert("x-ratelimit-remaining", HeaderValue::from_static(remaining));
                headers.insert("x-ratelimit-reset", HeaderValue::from_static(reset));
                permit.answered(StatusCode::OK, &headers);
            }
        });
        clock.run(vec![task], Duration::from_mins(5));
        let sent = sent.borrow();
        assert!(
            sent.len() == 3 && sent[2] <= Duration::from_secs(62),
            "{reset} {sent:?}"
        );
    }
}

#[test]
fn the_snapshot_tells_what_is_waited_for() {
    let clock = EventClock::default();
    let budget = Budget::new(Limits::default(), Arc::new(clock.clone()));
    let server = Server::new(tiled());
    let workers = (0..3)
        .map(|n| Box::pin(work(&budget, &clock, &server, Priority::Full, n)) as LocalBoxFuture<'_, ()>)
        .collect();
    assert_eq!(budget.snapshot(), BudgetSnapshot::default());
    clock.run(workers, Duration::from_secs(20));
    let seen = budget.snapshot();
    assert_eq!((seen.limit, seen.remaining, seen.in_flight), (Some(100), Some(0), 0));
    assert!(seen.resets_in.unwrap() < Duration::from_mins(1));
    assert_eq!(budget.server_now().timestamp(), START + 17 + 20);
}
