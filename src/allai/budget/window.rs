//! The server's rate window, as its answers tell of it.
//!
//! A window is known by its end R and by what remains. An answer with a later end opens a new window; one with the same
//! end lowers what remains (answers overtake each other, so the least is right); an earlier end is old news, or that of a
//! clock that was set. Once the
//! end has passed nothing is known, and one request, the *probe*, asks while the others wait; its answer is the truth.
//!
//! Servers differ in what a window is: tiles of fixed length, a stretch that begins with the first request, or a
//! sliding log. Nobody says which, so it is learned:
//! - the length W is the least distance between the ends of windows, but no less than the longest time after which one was
//!   seen to last on; ends that are stated in whole seconds may be off by one, so that there the commoner distance counts;
//! - a window that we opened and that was shorter than W is a tile, whose end is exact if it is a multiple of W;
//! - otherwise the end may have been rounded down, and the window is over at R + 1 s, or W after it was first seen,
//!   whichever is sooner;
//! - an end that advances while the window runs, or a window that refills, slides, and so does one that twice turned out to
//!   last longer than W, as it had said: then only R + 1 s will do;
//! - an end on a clock that nobody tells us means nothing, until [`scouts`](scouting) have found out W.

mod end;
mod scouting;

use std::time::Duration;

use self::end::ahead;
use super::clock_offset::{ClockOffset, micros, monotonic};
use super::headers::{RateHeaders, Reset};

/// No window is longer than this.
const LONGEST: Duration = Duration::from_hours(1);
/// How much a stated end may have been rounded.
const ROUNDING: Duration = Duration::from_secs(1);
/// Ends this close to each other may be the same, stated at different moments.
const JITTER: Duration = Duration::from_millis(1500);
/// A probe that takes longer than this gets company: it may have stalled.
const PATIENCE: Duration = Duration::from_secs(2);
/// The pause after a probe that found nothing left; doubled each time.
const EMPTY: Duration = Duration::from_millis(500);
/// So many successful answers in a row that do not say what remains (a third as many if they say nothing at all), and
/// the server is taken for one that never does.
const SILENCE: u32 = 12;
/// So often a distance between ends is remembered to have been seen.
const MOST_VOTES: u32 = 12;

/// What one answer said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observation {
    pub(super) headers: RateHeaders,
    /// When the request was sent (monotonic).
    pub(super) sent: Duration,
    /// When the answer was received (monotonic).
    pub(super) received: Duration,
    /// Whether the request was a probe.
    pub(super) probe: bool,
    /// Whether it was refused for the rate limit.
    pub(super) refused: bool,
    /// Whether the server itself answered well enough to have told its limit if it ever does (no 5xx).
    pub(super) telling: bool,
}

/// Whether a request may go now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is room.
    Room,
    /// It may go, to find out.
    Probe,
    /// It must wait for the answer to a probe, until this time at most.
    AwaitProbe(Duration),
    /// It must wait for the window to end, at this time.
    Spent(Duration),
}

/// The window and what has been learned of its kind.
#[derive(Debug, Default)]
pub(super) struct Window {
    state: State,
    /// The limit stated last.
    limit: Option<u32>,
    /// The least distance between the ends of two windows, of those stated by the clock.
    length: Option<Distance>,
    /// So long after it was first seen a window was not over yet: no less is the length.
    outlasted: Duration,
    /// The least time that a window which we opened had before it, at most.
    shortest_ahead: Option<Duration>,
    /// Whether ends have been seen to slide.
    sliding: bool,
    /// Whether a window once turned out to last longer than the distance between ends had it.
    refuted: bool,
    /// Whether a window of unclear kind has been waited out for longer, to see whether it is a tile.
    tried_tile: bool,
    /// How far ahead ends were stated that proved true when a window was taken to be over before.
    confirmed: Duration,
    /// How often a probe that trusted the stated end came too early.
    distrust: u32,
    /// Probes under way, and when the last one left.
    probes: u32,
    probed_at: Duration,
    /// When the last request left.
    sent_at: Duration,
    /// Probes in a row that found nothing left.
    empty_probes: u32,
    /// How much speaks for a server that does not say what remains.
    silence: u32,
}

#[derive(Debug, Default)]
enum State {
    /// Nothing is known.
    #[default]
    Unknown,
    /// This is known.
    Open(Open),
    /// The server states no limit.
    Silent,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    remaining: u32,
    /// What an answer last stated of it.
    stated: u32,
    end: End,
    first_seen: Duration,
    /// When an answer last told of it.
    last_seen: Duration,
    /// Whether the window began with our own request, as far as can be seen.
    ours: bool,
    /// Not to be probed before this, whatever is stated.
    not_before: Duration,
}

/// A distance between the ends of two windows.
#[derive(Clone, Copy, Debug)]
struct Distance {
    time: Duration,
    /// How much oftener it was seen than those that are as good, given how ends are rounded.
    votes: u32,
}

/// The end of a window, as stated.
#[derive(Clone, Copy, Debug)]
enum End {
    /// On the server's clock, microseconds since 1970.
    Server { micros: i64, fine: bool },
    /// On ours: between these (monotonic).
    Local { earliest: Duration, latest: Duration },
    /// Not stated.
    Unstated,
}

/// How an answer's window relates to the one known.
#[derive(PartialEq, Eq)]
enum Relation {
    Older,
    Same,
    Newer,
}

impl End {
    /// Whether it is stated in the very same words, on the server's clock.
    const fn is_stated_as(self, other: Self) -> bool {
        matches!((self, other), (Self::Server { micros: one, .. }, Self::Server { micros: other, .. }) if one == other)
    }

    fn new(observation: &Observation) -> Self {
        match observation.headers.reset {
            Some(Reset::At { micros, fine }) => Self::Server { micros, fine },
            Some(Reset::In(delta)) => Self::Local {
                earliest: observation.sent + delta,
                latest: observation.received + delta + ROUNDING,
            },
            None => Self::Unstated,
        }
    }
}

impl Window {
    /// The stated limit, and the length of the window it is per if that is known.
    pub(super) fn stated(&self) -> Option<(u32, Option<Duration>)> {
        if matches!(self.state, State::Silent) {
            return None;
        }
        Some((self.limit?, self.known_length()))
    }

    /// Requests left in the window, as stated.
    pub(super) const fn remaining(&self) -> Option<u32> {
        match &self.state {
            State::Open(open) => Some(open.remaining),
            State::Unknown | State::Silent => None,
        }
    }

    /// The stated limit.
    pub(super) const fn limit(&self) -> Option<u32> {
        self.limit
    }

    /// When the window is over for certain, as well as can be told.
    pub(super) fn end(&self, clock: &ClockOffset, wall: i64, now: Duration) -> Option<Duration> {
        match &self.state {
            State::Open(open) => Some(self.end_of(open, clock, wall, now)),
            State::Unknown | State::Silent => None,
        }
    }

    /// Whether a request may go, with `unanswered` others under way and the share `reserve` to be left. `wall` is our
    /// own wall clock minus the monotonic clock, for servers that do not tell the time.
    pub(super) fn verdict(
        &self,
        clock: &ClockOffset,
        wall: i64,
        now: Duration,
        unanswered: u32,
        reserve: f64,
    ) -> Verdict {
        let open = match &self.state {
            State::Silent => return Verdict::Room,
            State::Unknown => return self.probe_turn(now),
            State::Open(open) => open,
        };
        let end = self.end_of(open, clock, wall, now);
        if now >= end {
            return self.probe_turn(now);
        }
        let limit = self.limit.unwrap_or(open.remaining);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a u32"
        )]
        let reserved = (reserve * f64::from(limit)).ceil() as u32;
        let free = open.remaining.saturating_sub(unanswered.saturating_add(reserved));
        if free == 0 {
            return Verdict::Spent(end);
        }
        match self.next_scout(open, clock, wall, now) {
            Some(scout) if free <= scout.kept && now < scout.at => Verdict::Spent(scout.at.min(end)),
            _ => Verdict::Room,
        }
    }

    fn probe_turn(&self, now: Duration) -> Verdict {
        let patience = self.probed_at + PATIENCE;
        if self.probes == 0 || now >= patience {
            Verdict::Probe
        } else {
            Verdict::AwaitProbe(patience)
        }
    }

    /// A request leaves.
    pub(super) const fn sent(&mut self, now: Duration, probe: bool) {
        self.sent_at = now;
        if probe {
            self.probes += 1;
            self.probed_at = now;
        }
    }

    /// A probe was answered or lost.
    pub(super) const fn probe_done(&mut self) {
        self.probes = self.probes.saturating_sub(1);
    }

    /// A request got no answer: the server may have counted it.
    pub(super) const fn lost(&mut self) {
        if let State::Open(open) = &mut self.state {
            open.remaining = open.remaining.saturating_sub(1);
        }
    }

    /// Everything that was known is void; the next request is a probe.
    pub(super) fn forget(&mut self) {
        if !matches!(self.state, State::Silent) {
            self.state = State::Unknown;
        }
    }

    /// Takes in what an answer said.
    pub(super) fn observe(&mut self, seen: &Observation, clock: &ClockOffset) {
        let Some(remaining) = seen.headers.remaining else {
            return self.observe_silence(seen);
        };
        self.silence = 0;
        let remaining = if seen.refused { 0 } else { remaining };
        self.limit = seen.headers.limit.or(self.limit);
        let fresh = Open {
            remaining,
            stated: remaining,
            end: End::new(seen),
            first_seen: seen.received,
            last_seen: seen.received,
            ours: self.limit.is_some_and(|limit| remaining.saturating_add(1) == limit),
            not_before: Duration::ZERO,
        };
        let State::Open(mut open) = self.state else {
            self.state = State::Open(fresh);
            return self.note_opening(&fresh, seen, clock);
        };
        // A probe that got company, and is answered after it, tells what is no longer so.
        let seen = &Observation {
            probe: seen.probe && seen.sent > open.first_seen,
            ..*seen
        };
        match self.relation(&open, &fresh, seen) {
            Relation::Newer => {
                self.tried_tile |= seen.probe && open.ours && self.known_length().is_some();
                self.learn_length(&open, &fresh, seen, clock);
                self.empty_probes = 0;
                self.state = State::Open(fresh);
                self.note_opening(&fresh, seen, clock);
            }
            Relation::Same => {
                // Only where old requests fall out of a log does a window refill before its end.
                self.sliding |= open.end.is_stated_as(fresh.end)
                    && remaining > open.stated
                    && seen.sent >= open.last_seen
                    && !seen.probe;
                open.last_seen = seen.received;
                open.stated = remaining;
                open.remaining = if seen.probe {
                    remaining
                } else {
                    open.remaining.min(remaining)
                };
                if let (
                    End::Local { earliest, latest },
                    End::Local {
                        earliest: from,
                        latest: to,
                    },
                ) = (open.end, fresh.end)
                {
                    // Each answer bounds the end from both sides; in the moment a stated second ticks, tightly.
                    open.end = End::Local {
                        earliest: earliest.max(from),
                        latest: latest.min(to),
                    };
                }
                if matches!(open.end, End::Unstated) {
                    open.end = fresh.end;
                }
                if seen.probe && remaining == 0 {
                    // Too early, or others were faster. However wrong the stated end is, do not ask without pause.
                    open.not_before = seen.received + (EMPTY * (1 << self.empty_probes.min(8))).min(self.horizon());
                    self.empty_probes += 1;
                    if seen.refused {
                        self.learn_from_refusal(&open, seen, clock);
                    }
                }
                self.state = State::Open(open);
            }
            // Who was asked after the window began tells of an earlier end only if the clock it is stated on was set.
            Relation::Older if seen.sent > open.first_seen => self.state = State::Open(fresh),
            Relation::Older => {}
        }
    }

    fn observe_silence(&mut self, seen: &Observation) {
        if seen.telling && !seen.refused {
            let wholly = seen.headers == RateHeaders::default();
            self.silence += if wholly { SILENCE / 3 } else { 1 };
            if (wholly && self.limit.is_none()) || self.silence >= SILENCE {
                self.state = State::Silent;
            }
        }
        self.limit = seen.headers.limit.or(self.limit);
        self.lost();
    }

    fn relation(&self, open: &Open, fresh: &Open, seen: &Observation) -> Relation {
        let jitter = self.length.map_or(JITTER, |length| JITTER.min(length.time / 4));
        let relation = match (open.end, fresh.end) {
            (End::Server { micros: known, .. }, End::Server { micros: stated, .. }) => {
                if stated > known + micros(jitter) {
                    Relation::Newer
                } else if stated + micros(jitter) < known {
                    Relation::Older
                } else {
                    Relation::Same
                }
            }
            (
                End::Local {
                    earliest: from,
                    latest: to,
                },
                End::Local { earliest, latest },
            ) => {
                // So however long either answer took: a slow one bounds the end less closely.
                if earliest + ROUNDING > to + jitter {
                    Relation::Newer
                } else if latest + jitter < from {
                    Relation::Older
                } else {
                    Relation::Same
                }
            }
            // Answers overtake each other by a few; this many more can only be a new window's.
            (End::Unstated, End::Unstated)
                if fresh.remaining > open.remaining.saturating_add(self.limit.unwrap_or(u32::MAX) / 2) =>
            {
                Relation::Newer
            }
            (End::Unstated, End::Unstated) => Relation::Same,
            // The notation changed: only a probe can be trusted to be newer.
            _ if seen.probe => Relation::Newer,
            _ => Relation::Same,
        };
        if relation == Relation::Same && seen.probe && fresh.remaining > open.remaining {
            return Relation::Newer;
        }
        relation
    }

    /// Learns from the distance between two windows' ends.
    fn learn_length(&mut self, old: &Open, fresh: &Open, seen: &Observation, clock: &ClockOffset) {
        let (End::Server { micros: known, fine }, End::Server { micros: stated, .. }) = (old.end, fresh.end) else {
            return;
        };
        let distance = monotonic(stated - known);
        let elapsed = seen.received.saturating_sub(old.first_seen);
        // The ends of fixed windows are at least as far apart as the moments at which the windows were first seen, but
        // for the time for which nobody looked; and none ends later while it runs.
        let unwatched = if seen.probe {
            Duration::ZERO
        } else {
            seen.received.saturating_sub(old.last_seen)
        };
        let crept = distance + JITTER + unwatched < elapsed;
        let ran_on = clock
            .bounds(seen.received)
            .is_some_and(|(_, high)| micros(seen.received + ROUNDING) + high < known);
        let crawled = !seen.probe && elapsed < Duration::from_secs(4) && distance < Duration::from_secs(5);
        if crept || ran_on || crawled {
            self.sliding = true;
        } else if distance >= ROUNDING && distance <= LONGEST {
            self.take_distance(distance, fine);
        }
    }

    fn take_distance(&mut self, time: Duration, fine: bool) {
        let rounding = if fine { Duration::ZERO } else { ROUNDING };
        let fresh = Distance { time, votes: 2 };
        let Some(known) = &mut self.length else {
            self.length = Some(fresh);
            return;
        };
        if time == known.time {
            known.votes = (known.votes + 2).min(MOST_VOTES);
        } else if time + rounding < known.time {
            *known = fresh;
        } else if time <= known.time + rounding {
            known.votes -= 1;
            if known.votes == 0 {
                *known = fresh;
            }
        }
        // Windows have become shorter; one distance alone may be that of a clock that was set.
        if known.votes > 4 && known.time < self.outlasted {
            self.outlasted = Duration::ZERO;
        }
    }

    /// Learns from a probe that was refused in the window that was taken to be over.
    fn learn_from_refusal(&mut self, open: &Open, seen: &Observation, clock: &ClockOffset) {
        let by_length = open.first_seen + self.horizon();
        self.outlasted = self
            .outlasted
            .max(seen.sent.saturating_sub(open.first_seen))
            .min(LONGEST);
        if let Some(refuted) = self.length.as_mut().filter(|known| known.time < self.outlasted) {
            refuted.votes = 1;
        }
        if let Some(ahead) = ahead(open, seen, clock) {
            self.confirmed = self.confirmed.max(ahead);
            if self.length.is_some_and(|known| known.time + 2 * ROUNDING < ahead) {
                // A clock that was set may have made two ends look that near. If it happens again, they are not those of
                // windows: old requests fall out of a log, so far apart as they were sent.
                self.sliding |= self.refuted;
                self.refuted = true;
                self.length = None;
            }
            return;
        }
        // Where the length alone said that it was over, the stated end is not to blame.
        let by_end = match (open.end, clock.bounds(seen.sent)) {
            (End::Server { micros: end, .. }, Some((low, _))) => monotonic(end - low) + ROUNDING,
            (End::Server { .. }, None) => Duration::MAX,
            (End::Local { .. } | End::Unstated, _) => Duration::ZERO,
        };
        self.distrust += u32::from(seen.sent < by_length || by_end <= seen.sent);
    }

    /// Learns from how much of a window lay ahead when we opened it.
    fn note_opening(&mut self, open: &Open, seen: &Observation, clock: &ClockOffset) {
        if let End::Server { micros: end, .. } = open.end
            && let Some((low, _)) = clock.bounds(seen.received)
            && open.ours
            && !seen.refused
        {
            let ahead = monotonic(end - low - micros(seen.sent));
            self.shortest_ahead = Some(self.shortest_ahead.map_or(ahead, |shortest| shortest.min(ahead)));
        }
    }
}
