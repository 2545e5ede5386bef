//! The rate budget of one API key, shared by everything that uses the key.
//!
//! A request asks for a [`Permit`] and waits in a queue: the highest priority first, and first come, first served
//! within one. Whoever is at its head may go when
//!
//! 1. nobody was told to pause (429),
//! 2. not too many requests are under way,
//! 3. the server's window has room ([`window`]): the server's headers are the truth,
//! 4. the local ceiling lets it ([`ceiling`]): the plan's limit, or an assumed one where the server states none.
//!
//! Only the head of the queue runs a timer; the others sleep until they are the head. A permit, and a place in the
//! queue, are given back when dropped, so the future of a call may be dropped at any point.

mod ceiling;
mod clock_offset;
mod headers;
mod window;

#[cfg(test)]
mod simulation;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::{Either, select};
use http::{HeaderMap, StatusCode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Notify;

use self::ceiling::Ceiling;
use self::clock_offset::{ClockOffset, micros};
use self::headers::{RateHeaders, date};
use self::window::{Observation, Verdict, Window};
use super::retry::retry_after;
use crate::clock::SharedClock;

/// The shortest pause after a 429.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause that the server did not ask for.
const LONGEST_GUESS: Duration = Duration::from_secs(30);
/// The pause after a 429 is up to this much longer, so that several programs do not return together.
const PAUSE_JITTER: Duration = Duration::from_millis(250);

/// Who goes first; declared from first to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Something just happened: an event's entity is fetched, an automation answers.
    Event,
    /// Somebody is waiting in front of a screen.
    Interactive,
    /// A run that looks for what is new.
    Incremental,
    /// A run that reads everything.
    Full,
}

/// What bounds a budget besides what the server states.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The plan's requests per minute, a ceiling whatever the server states. `None`: what the server states.
    pub ceiling_per_minute: Option<u32>,
    /// Requests per minute to assume as long as neither plan nor server says.
    pub fallback_per_minute: u32,
    /// The share of the limit left to the key's other users, 0 to 1.
    pub reserve: f64,
    /// So many requests may be under way at once; at least 1.
    pub max_in_flight: usize,
}

impl Default for Limits {
    /// The lowest limit the guide documents (100 a minute, in the sandbox), nothing reserved, 8 requests at once.
    fn default() -> Self {
        Self {
            ceiling_per_minute: None,
            fallback_per_minute: 100,
            reserve: 0.0,
            max_in_flight: 8,
        }
    }
}

/// The rate budget of one API key.
pub struct Budget {
    shared: Arc<Shared>,
}

struct Shared {
    limits: Limits,
    clock: SharedClock,
    state: Mutex<State>,
}

struct State {
    queue: BTreeMap<Ticket, Arc<Notify>>,
    next_number: u64,
    in_flight: usize,
    /// Requests under way whose answer has not told yet what it cost.
    unanswered: u32,
    window: Window,
    offset: ClockOffset,
    ceiling: Ceiling,
    pause_until: Duration,
    /// Refusals since anything was let through.
    refusals: u32,
    random: StdRng,
    waiting: Option<(WaitReason, Duration)>,
}

/// A place in the queue: by priority, then in order of arrival.
type Ticket = (Priority, u64);

/// What a budget looks like at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetSnapshot {
    /// Requests per window, as the server states.
    pub limit: Option<u32>,
    /// Requests left in the window, those under way taken off.
    pub remaining: Option<u32>,
    /// How long until the window is over.
    pub resets_in: Option<Duration>,
    /// Requests under way.
    pub in_flight: usize,
    /// What the next request is waiting for, if one is.
    pub waiting: Option<Wait>,
}

/// What a request is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What for.
    pub reason: WaitReason,
    /// How much longer, as far as it is known.
    pub lasts: Duration,
}

/// Why a request must wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// The server refused a request, and everybody pauses.
    Pause,
    /// As many requests as allowed are under way.
    Concurrency,
    /// One request is under way to learn the limit.
    Probe,
    /// The window is used up.
    Window,
    /// The plan's limit, or the assumed one, is reached.
    Ceiling,
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pause => "the server asked for a pause",
            Self::Concurrency => "requests under way",
            Self::Probe => "the server's limit is being learned",
            Self::Window => "the rate limit's next window",
            Self::Ceiling => "the plan's rate limit",
        })
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("limits", &self.shared.limits)
            .field("now", &self.snapshot())
            .finish_non_exhaustive()
    }
}

impl Budget {
    /// A budget for one key.
    pub fn new(limits: Limits, clock: SharedClock) -> Self {
        let limits = Limits {
            reserve: if limits.reserve.is_finite() {
                limits.reserve.clamp(0.0, 1.0)
            } else {
                0.0
            },
            max_in_flight: limits.max_in_flight.max(1),
            ..limits
        };
        let state = Mutex::new(State {
            queue: BTreeMap::new(),
            next_number: 0,
            in_flight: 0,
            unanswered: 0,
            window: Window::default(),
            offset: ClockOffset::default(),
            ceiling: Ceiling::new(limits, Arc::clone(&clock)),
            pause_until: Duration::ZERO,
            refusals: 0,
            random: rand::make_rng(),
            waiting: None,
        });
        Self {
            shared: Arc::new(Shared { limits, clock, state }),
        }
    }

    /// The same budget, whose random pauses repeat: for simulations.
    #[must_use]
    pub fn seeded(self, seed: u64) -> Self {
        self.shared.lock().random = StdRng::seed_from_u64(seed);
        self
    }

    /// The server's clock: ours, corrected by what the `Date` of its answers has taught.
    pub fn server_now(&self) -> DateTime<Utc> {
        let now = self.shared.clock.monotonic();
        let learned = self.shared.lock().offset.server_time(now);
        learned.unwrap_or_else(|| self.shared.clock.now())
    }

    /// What the budget looks like just now.
    pub fn snapshot(&self) -> BudgetSnapshot {
        let (now, wall) = self.shared.time();
        let state = self.shared.lock();
        let end = state.window.end(&state.offset, wall, now).filter(|end| *end > now);
        BudgetSnapshot {
            limit: state.window.limit(),
            remaining: end
                .and(state.window.remaining())
                .map(|left| left.saturating_sub(state.unanswered)),
            resets_in: end.map(|end| end.saturating_sub(now)),
            in_flight: state.in_flight,
            waiting: state
                .waiting
                .filter(|_| !state.queue.is_empty())
                .map(|(reason, until)| Wait {
                    reason,
                    lasts: until.saturating_sub(now),
                }),
        }
    }

    /// Waits until a request may be sent. Dropping the future gives up the place in the queue.
    pub(super) async fn acquire(&self, priority: Priority) -> Permit {
        let place = Place::join(&self.shared, priority);
        loop {
            match self.shared.turn(&place) {
                Turn::Go(permit) => return permit,
                Turn::WhenWoken => place.woken.notified().await,
                Turn::At(wait) => {
                    let woken = std::pin::pin!(place.woken.notified());
                    match select(woken, self.shared.clock.sleep(wait)).await {
                        Either::Left(_) | Either::Right(_) => {}
                    }
                }
            }
        }
    }
}

/// What whoever waits is to do next.
enum Turn {
    Go(Permit),
    WhenWoken,
    At(Duration),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The monotonic time, and what must be added to it (in microseconds) for our wall clock.
    fn time(&self) -> (Duration, i64) {
        let now = self.clock.monotonic();
        (now, self.clock.now().timestamp_micros() - micros(now))
    }

    fn turn(self: &Arc<Self>, place: &Place) -> Turn {
        let (now, wall) = self.time();
        let mut state = self.lock();
        let state = &mut *state;
        if state
            .queue
            .first_key_value()
            .is_some_and(|(first, _)| *first != place.ticket)
        {
            return Turn::WhenWoken;
        }
        let mut wait = |reason, until: Option<Duration>| {
            state.waiting = Some((reason, until.unwrap_or(now)));
            until.map_or(Turn::WhenWoken, |until| Turn::At(until.saturating_sub(now)))
        };
        if now < state.pause_until {
            return wait(WaitReason::Pause, Some(state.pause_until));
        }
        if state.in_flight >= self.limits.max_in_flight {
            return wait(WaitReason::Concurrency, None);
        }
        let verdict = state
            .window
            .verdict(&state.offset, wall, now, state.unanswered, self.limits.reserve);
        match verdict {
            Verdict::Room | Verdict::Probe => {}
            Verdict::AwaitProbe(until) => return wait(WaitReason::Probe, Some(until)),
            Verdict::Spent(until) => return wait(WaitReason::Window, Some(until)),
        }
        state.ceiling.adjust(state.window.stated(), state.window.limit());
        if let Err(until) = state.ceiling.check() {
            return wait(WaitReason::Ceiling, Some(now + until));
        }
        let probe = verdict == Verdict::Probe;
        if probe {
            state.window.probe_sent(now);
        }
        state.in_flight += 1;
        state.unanswered += 1;
        state.waiting = None;
        Turn::Go(Permit {
            shared: Arc::clone(self),
            probe,
            sent: now,
            answered: AtomicBool::new(false),
        })
    }
}

impl State {
    fn wake_first(&self) {
        if let Some((_, first)) = self.queue.first_key_value() {
            first.notify_one();
        }
    }
}

/// A place in the queue; left when dropped.
struct Place {
    shared: Arc<Shared>,
    ticket: Ticket,
    woken: Arc<Notify>,
}

impl Place {
    fn join(shared: &Arc<Shared>, priority: Priority) -> Self {
        let woken = Arc::new(Notify::new());
        let mut state = shared.lock();
        let ticket = (priority, state.next_number);
        state.next_number += 1;
        state.queue.insert(ticket, Arc::clone(&woken));
        drop(state);
        Self {
            shared: Arc::clone(shared),
            ticket,
            woken,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.queue.remove(&self.ticket);
        state.wake_first();
    }
}

/// The right to send one request; given back when dropped.
pub(super) struct Permit {
    shared: Arc<Shared>,
    probe: bool,
    sent: Duration,
    answered: AtomicBool,
}

impl Permit {
    /// Tells the budget what the answer said, as soon as its head has arrived.
    pub(super) fn answered(&self, status: StatusCode, headers: &HeaderMap) {
        if self.answered.swap(true, Ordering::Relaxed) {
            return;
        }
        let (now, wall) = self.shared.time();
        let mut state = self.shared.lock();
        let state = &mut *state;
        state.unanswered -= 1;
        if self.probe {
            state.window.probe_done();
        }
        if let Some(date) = date(headers) {
            state.offset.observe(date, self.sent, now);
        }
        let refused = status == StatusCode::TOO_MANY_REQUESTS;
        let seen = Observation {
            headers: RateHeaders::parse(headers),
            sent: self.sent,
            received: now,
            probe: self.probe,
            refused,
            telling: !status.is_server_error(),
        };
        state.window.observe(&seen, &state.offset);
        if !refused {
            state.refusals = 0;
        } else if self.sent >= state.pause_until {
            state.refusals += 1;
        }
        if refused {
            let server_now = state.offset.server_time(now).unwrap_or_else(|| self.shared.clock.now());
            state.pause(&seen, retry_after(headers, server_now), wall);
        }
        state.wake_first();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.in_flight -= 1;
        if !*self.answered.get_mut() {
            state.unanswered -= 1;
            state.window.lost();
            if self.probe {
                state.window.probe_done();
            }
        }
        state.wake_first();
    }
}

impl State {
    /// Everybody pauses, for as long as the server asks.
    fn pause(&mut self, seen: &Observation, asked: Option<Duration>, wall: i64) {
        let now = seen.received;
        let spent = seen.headers.remaining == Some(0);
        let end = self.window.end(&self.offset, wall, now).filter(|_| spent);
        let window = end.map_or(Duration::ZERO, |end| end.saturating_sub(now));
        let jitter = PAUSE_JITTER.mul_f64(self.random.random_range(0.0..1.0));
        // Where the server does not say how long, ever longer.
        let least = (SHORTEST_PAUSE * (1 << self.refusals.saturating_sub(1).min(6))).min(LONGEST_GUESS);
        let pause = asked
            .unwrap_or_default()
            .max(window)
            .max(if asked.is_some() || end.is_some() {
                SHORTEST_PAUSE
            } else {
                least
            })
            + jitter;
        self.pause_until = self.pause_until.max(now + pause);
        if end.is_none() {
            self.window.forget();
        }
        if self.window.stated().is_none() {
            self.ceiling.refused();
        }
        tracing::debug!(
            http.wait_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
            "over the rate limit, everybody pauses"
        );
    }
}
