//! The budget against model servers of every kind, on a clock that jumps from event to event.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::Stream;
use futures_util::future::{BoxFuture, LocalBoxFuture};
use futures_util::stream::FuturesUnordered;
use http::{HeaderMap, HeaderValue, StatusCode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::clock::Clock;

/// Time that stands still while any task can go on, and then jumps to the next timer.
#[derive(Clone, Debug, Default)]
struct EventClock(Arc<Mutex<Timers>>);

#[derive(Debug, Default)]
struct Timers {
    now: Duration,
    next: u64,
    sleeping: BTreeMap<(Duration, u64), Waker>,
}

const START: i64 = 1_768_818_617;

impl Clock for EventClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp(START, 0).unwrap() + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().unwrap().now
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        let until = self.monotonic() + duration;
        Box::pin(poll_fn(move |context| {
            let mut timers = clock.0.lock().unwrap();
            if timers.now >= until {
                return Poll::Ready(());
            }
            let key = (until, timers.next);
            timers.next += 1;
            timers.sleeping.insert(key, context.waker().clone());
            Poll::Pending
        }))
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl EventClock {
    /// Runs the tasks to their end, or until `until`.
    fn run(&self, tasks: Vec<LocalBoxFuture<'_, ()>>, until: Duration) {
        let mut tasks: FuturesUnordered<_> = tasks.into_iter().collect();
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        let waker = Waker::from(Arc::clone(&flag));
        let mut context = Context::from_waker(&waker);
        loop {
            flag.0.store(false, Ordering::Relaxed);
            match Pin::new(&mut tasks).poll_next(&mut context) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) => return,
                Poll::Pending if flag.0.load(Ordering::Relaxed) => {}
                Poll::Pending => {
                    let mut timers = self.0.lock().unwrap();
                    let ((at, _), waker) = timers.sleeping.pop_first().expect("everybody waits for nothing");
                    timers.now = at.clamp(timers.now, until);
                    if at > until {
                        return;
                    }
                    drop(timers);
                    waker.wake();
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Tiled,
    FirstRequest,
    /// States when the oldest request leaves the log.
    SlidingOldest,
    /// States when the log would be empty.
    SlidingEmpty,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Notation {
    Floor,
    Ceil,
    Milliseconds,
    DeltaFloor,
    DeltaCeil,
    /// Limit and what remains, but no reset.
    Unstated,
    Nothing,
}

#[derive(Clone, Copy, Debug)]
struct Model {
    kind: Kind,
    limit: u32,
    window: Duration,
    skew: i64,
    date: bool,
    notation: Notation,
}

struct Server {
    model: Model,
    log: VecDeque<Duration>,
    opened: Duration,
    count: u32,
    served: Vec<Duration>,
    refused: u32,
}

impl Server {
    fn new(model: Model) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            model,
            log: VecDeque::new(),
            opened: Duration::ZERO,
            count: u32::MAX,
            served: Vec::new(),
            refused: 0,
        }))
    }

    /// The server's clock, in microseconds since 1970.
    fn time(&self, now: Duration) -> i64 {
        START * 1_000_000 + 350_000 + self.model.skew * 1_000_000 + micros(now)
    }

    fn answer(&mut self, now: Duration) -> (StatusCode, HeaderMap) {
        let model = self.model;
        let window = micros(model.window);
        let local = |end: i64| Duration::from_micros(u64::try_from(end - self.time(Duration::ZERO)).unwrap_or(0));
        let (used, end) = match model.kind {
            Kind::Tiled => {
                let end = self.time(now) / window * window + window;
                let end = local(end);
                if self.count == u32::MAX || self.opened != end {
                    (self.opened, self.count) = (end, 0);
                }
                (self.count, end)
            }
            Kind::FirstRequest => {
                if self.count == u32::MAX || now >= self.opened + model.window {
                    (self.opened, self.count) = (now, 0);
                }
                (self.count, self.opened + model.window)
            }
            Kind::SlidingOldest | Kind::SlidingEmpty => {
                while self.log.front().is_some_and(|first| *first + model.window <= now) {
                    self.log.pop_front();
                }
                let anchor = if model.kind == Kind::SlidingEmpty {
                    now
                } else {
                    self.log.front().copied().unwrap_or(now)
                };
                (u32::try_from(self.log.len()).unwrap(), anchor + model.window)
            }
        };
        let allowed = used < model.limit;
        if allowed {
            self.count = used + 1;
            self.log.push_back(now);
            self.served.push(now);
        } else {
            self.refused += 1;
        }
        let remaining = model.limit - used - u32::from(allowed);
        let mut headers = HeaderMap::new();
        let mut put = |name: &'static str, value: String| headers.insert(name, HeaderValue::try_from(value).unwrap());
        let at = self.time(Duration::ZERO) + micros(end);
        let left = micros(end.checked_sub(now).unwrap());
        if model.date {
            let date = DateTime::from_timestamp_micros(self.time(now)).unwrap();
            put("date", date.format("%a, %d %b %Y %H:%M:%S GMT").to_string());
        }
        if model.notation != Notation::Nothing {
            put("x-ratelimit-limit", model.limit.to_string());
            put("x-ratelimit-remaining", remaining.to_string());
            let up = |micros: i64| (micros + 999_999) / 1_000_000;
            let reset = match model.notation {
                Notation::Floor => at / 1_000_000,
                Notation::Ceil => up(at),
                Notation::Milliseconds => at / 1000,
                Notation::DeltaFloor => left / 1_000_000,
                Notation::DeltaCeil | Notation::Unstated | Notation::Nothing => up(left),
            };
            if model.notation != Notation::Unstated {
                put("x-ratelimit-reset", reset.to_string());
            }
        }
        (
            if allowed {
                StatusCode::OK
            } else {
                StatusCode::TOO_MANY_REQUESTS
            },
            headers,
        )
    }
}

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
    let mut way = || Duration::from_millis(random.random_range(8..40));
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

impl Server {
    /// How much was used of what was allowed, from the second window we saw to the last but one.
    fn share(&self) -> f64 {
        let pause = self.model.window / 10;
        let openings: Vec<usize> = (1..self.served.len())
            .filter(|n| self.served[*n].checked_sub(self.served[n - 1]).unwrap() > pause)
            .collect();
        let (Some(first), Some(last)) = (openings.first(), openings.last()) else {
            return 0.0;
        };
        let elapsed = self.served[*last].checked_sub(self.served[*first]).unwrap();
        let allowed = f64::from(self.model.limit) * elapsed.as_secs_f64() / self.model.window.as_secs_f64();
        f64::from(u32::try_from(last - first).unwrap()) / allowed
    }
}

const MINUTE: (u32, Duration) = (100, Duration::from_mins(1));
const TEN_SECONDS: (u32, Duration) = (60, Duration::from_secs(10));

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
            // Neither the time nor the window's length can be learned from such a server: a minute is waited for.
            _ if short && (clockless || model.notation == Notation::Unstated) => 0.15,
            // What they state is not when there is room again.
            (Kind::SlidingOldest | Kind::SlidingEmpty, _) => 0.7,
            // A second is a tenth of the window, and nothing tells which way it was rounded.
            (_, Notation::DeltaCeil) if short => 0.9,
            _ => 0.97,
        };
        let windows = match (short, clockless) {
            (true, true) => 30,
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
        };
        let (refused, _) = outcome(model, Limits::default(), 6, seed);
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

fn tiled() -> Model {
    Model {
        kind: Kind::Tiled,
        limit: 100,
        window: Duration::from_mins(1),
        skew: 17,
        date: true,
        notation: Notation::Floor,
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
