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
mod permit;
mod snapshot;
mod window;

#[cfg(test)]
mod simulation;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::{Either, select};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::Notify;

use self::ceiling::Ceiling;
use self::clock_offset::{ClockOffset, micros};
use self::permit::Permit;
pub use self::snapshot::{BudgetSnapshot, Wait, WaitReason};
use self::window::{Verdict, Window};
use super::announced::{Announced, seconds};
use crate::clock::SharedClock;

/// The longest that another program's word is taken for; the API's windows are minutes.
const LONGEST_REST: Duration = Duration::from_mins(2);

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
    announced: Announced,
}

/// A place in the queue: by priority, then in order of arrival.
type Ticket = (Priority, u64);

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
            announced: Announced::default(),
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

    /// Takes another program's word that the key's window is spent until then, as long as nothing is known here.
    pub fn rest_until(&self, resets_at: DateTime<Utc>) {
        let now = self.shared.clock.monotonic();
        let wait = (resets_at - self.shared.clock.now())
            .to_std()
            .unwrap_or_default()
            .min(LONGEST_REST);
        let mut state = self.shared.lock();
        if state.window.limit().is_none() {
            state.pause_until = state.pause_until.max(now + wait);
        }
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
                Turn::After { wait, tell } => {
                    if let Some(reason) = tell {
                        tracing::info!(http.wait_seconds = seconds(wait), %reason, "waiting before the next request");
                    }
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
    /// After so long; the reason is given if the log is to be told of it.
    After {
        wait: Duration,
        tell: Option<WaitReason>,
    },
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
            until.map_or(Turn::WhenWoken, |until| Turn::After {
                wait: until.saturating_sub(now),
                tell: state.announced.is_news(now, until).then_some(reason),
            })
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
        state.window.sent(now, probe);
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
