//! The passes over a list: what a page means in each, and what follows one.

use chrono::{DateTime, TimeDelta, Timelike as _, Utc};

use super::ends::End;
use super::{CLOCKS_APART, Doubt, Found, Mark, Mode, PageView, Phase, Slice, Sweep, is_settled, step};
use crate::sync::order::Order;

/// The first page that is asked for again if it is not full, to see whether it has grown; the others are twice as far each.
const FIRST_DOUBTFUL_PAGE: u64 = 16;
/// Pages behind everything seen, all without anything new, after which a server is taken to make up its pages.
const FRUITLESS_PAGES_TO_END: u32 = 100;
/// How often in a row the same page may come at another offset: a list that grows as fast as it is read looks like one of
/// which the offset is ignored, but not for long.
const SAME_PAGES: u32 = 6;
/// How often a list of unknown order is read over before the run is called complete, but not verified.
const PASSES_OF_UNKNOWN_ORDER: u32 = 4;

impl Sweep {
    pub(super) fn forward(&mut self, page: &PageView<'_>, marks: &[Mark], found: &Found, pass: u32, added: u64) {
        self.phase = Phase::Forward { pass, added };
        // A row in quarantine has no number: it neither stops the reading nor keeps it going.
        if let Mode::Head { watermark } = self.mode
            && marks.iter().any(|mark| is_settled(mark, watermark))
            && marks
                .iter()
                .all(|mark| mark.num.is_none() || is_settled(mark, watermark))
        {
            self.finish_growing_end();
            return;
        }
        if self.offset_is_ignored(page, found) {
            let whole = page.items.len() < self.limit as usize && self.last_total == Some(self.rows_seen());
            if !whole {
                self.unproven = Some(Doubt::OffsetIgnored);
            }
            self.phase = Phase::Done;
            return;
        }
        let end = self.end_of_list(page, found);
        if end != End::No {
            if page.is_early && end != End::Growing {
                // It is asked for again.
                return;
            }
            if end == End::Read {
                // The total counts what came later, too.
                let seen = self.rows_seen();
                self.last_total = self.last_total.map(|total| total.min(seen));
                self.end_pass(pass, added, false);
            } else if (end == End::Growing || !self.skip_a_gap(page)) && !self.look_behind(page, found, end) {
                self.finish_pass(page, pass, added);
            }
            return;
        }
        if page.is_early && self.reads_where_rows_move_to() {
            // Likewise: what stood on the page before may have moved here since.
            return;
        }
        // What fits no page together with another row cannot be overlapped.
        self.bridging &= page.items.len() == 1 && self.largest_page > 1;
        if found.new > 0 {
            self.empty_at = None;
            self.stuck = 0;
            self.is_pressed = false;
        }
        if self.asks_again(page, found) {
            self.remember(page);
        } else {
            self.advance(page);
        }
    }

    /// Whether a page that is not full is asked for again. It may be all that the server returns at once, or the end of a
    /// list which grows as fast as it is read and whose rows tell no time: then it is longer by now, as long as it may get,
    /// and pages like it are known to be short.
    fn asks_again(&self, page: &PageView<'_>, found: &Found) -> bool {
        let size = page.items.len();
        let reach = self.offset + size as u64;
        let (is_again, grew) = match &self.previous {
            Some(previous) if previous.offset == self.offset => (true, size > previous.keys.len()),
            _ => (false, false),
        };
        let doubtful = grew || (!is_again && self.size_is_doubtful(page, self.pages));
        doubtful && size < self.limit as usize && found.new > 0 && page.total.is_none_or(|total| total <= reach)
    }

    /// Whether it is time to doubt, at the page with this number, that a page of this size is full.
    pub(super) const fn size_is_doubtful(&self, page: &PageView<'_>, number: u64) -> bool {
        number >= FIRST_DOUBTFUL_PAGE && number.is_power_of_two() && page.items.len() < self.limit as usize
    }

    /// Whether the server answers every offset with the same rows: the guide shows no offset for messages.
    fn offset_is_ignored(&mut self, page: &PageView<'_>, found: &Found) -> bool {
        let same = self.previous.as_ref().is_some_and(|previous| {
            previous.offset < self.offset && previous.keys.iter().copied().eq(page.items.iter().map(|item| item.key))
        });
        self.same_pages = if same { self.same_pages + 1 } else { 0 };
        self.fruitless_pages = match found.new {
            0 if self.offset + page.items.len() as u64 >= self.furthest_ever => self.fruitless_pages + 1,
            _ => 0,
        };
        let allowed = if self.offset_doubtful { 0 } else { SAME_PAGES };
        self.same_pages > allowed || self.fruitless_pages > FRUITLESS_PAGES_TO_END
    }

    fn finish_pass(&mut self, page: &PageView<'_>, pass: u32, added: u64) {
        self.note_total(page);
        let in_one_answer = self.pages_of_this_pass_fit_one(page);
        self.end_pass(pass, added, in_one_answer);
    }

    /// Ends a pass, of which one answer may have been the whole list.
    pub(super) fn end_pass(&mut self, pass: u32, added: u64, in_one_answer: bool) {
        self.bridging = false;
        self.empty_at = None;
        if self.mode != Mode::Full {
            if in_one_answer {
                self.phase = Phase::Done;
            } else {
                self.finish_growing_end();
            }
            return;
        }
        match self.order() {
            _ if in_one_answer => self.phase = Phase::Done,
            Order::CreatedAsc | Order::UpdatedAsc => {
                // By their dates; what else they may stand by puts what changed at the head, most times.
                let tail = self.previous.take();
                self.restart(Phase::Head);
                self.tail = tail;
            }
            Order::CreatedDesc => self.restart(Phase::Head),
            Order::UpdatedDesc => self.restart(Phase::Settle {
                pass: 1,
                quiet: 0,
                added: 0,
            }),
            Order::Unknown if pass > 1 && added == 0 && !self.may_have_moved() => self.phase = Phase::Done,
            Order::Unknown if pass >= PASSES_OF_UNKNOWN_ORDER => {
                self.unproven.get_or_insert(Doubt::UnknownOrder);
                self.phase = Phase::Done;
            }
            Order::Unknown => self.restart(Phase::Forward {
                pass: pass + 1,
                added: 0,
            }),
        }
    }

    /// Whether this pass has come to where rows that change now move to: changed last, and so close to the present that they are not
    /// told from others, however coarse their dates are.
    pub(super) fn reads_where_rows_move_to(&self) -> bool {
        let latest = self.changes.latest.filter(|_| self.order() == Order::UpdatedAsc);
        latest.is_some_and(|latest| self.is_of_now(latest))
    }

    /// Whether a page may turn out to be one that is asked for again because rows move to it.
    pub(super) fn may_be_asked_again(&self, page: &PageView<'_>) -> bool {
        let may_be_so_ordered = matches!(self.order(), Order::UpdatedAsc | Order::Unknown);
        let mut dates = page.items.iter().filter_map(|item| item.updated_at);
        may_be_so_ordered && dates.any(|at| self.is_of_now(at))
    }

    /// Whether a date is not to be told from the present, as coarse as it may be.
    fn is_of_now(&self, date: DateTime<Utc>) -> bool {
        date + grain(date) > self.started_at - CLOCKS_APART
    }

    /// Whether rows may have moved in this pass, over pages that were still to be read, where they may stand by changes of which
    /// not all of them tell: then what moved stands where it could be seen, unless it has moved again.
    fn may_have_moved(&self) -> bool {
        let has_changed = self.changes.any || self.changes.latest != self.changes_before.latest;
        self.changes.moved
            || (self.evidence.tells_of_no_changes() || self.evidence.may_be_by_unsaid_change()) && has_changed
    }

    /// Ends an incremental run. What moved to the head while several pages were read may have jumped over them.
    fn finish_growing_end(&mut self) {
        let from_the_head = matches!(self.mode, Mode::Head { .. });
        if from_the_head && self.offset > 0 && self.order().rows_may_move() {
            self.restart(Phase::Settle {
                pass: 1,
                quiet: 0,
                added: 0,
            });
        } else {
            self.phase = Phase::Done;
        }
    }

    /// Whether the list fits one page, read from its start, and the page after it only confirmed its last rows: the
    /// first answer was the whole list at one moment, whatever its order. A full page may have been followed by rows that
    /// are gone or elsewhere by now, and any page may be full: where nobody said that it was the last, and none was seen to
    /// be larger.
    pub(super) fn pages_of_this_pass_fit_one(&self, page: &PageView<'_>) -> bool {
        let full = self.largest_page.max(self.known_page);
        let confirms = |previous: &Slice| {
            let skipped = usize::try_from(self.offset).unwrap_or(usize::MAX);
            previous.offset == 0
                && previous.keys.len() < self.limit as usize
                && (previous.claims_to_end || (previous.keys.len() as u64) < full)
                && previous
                    .keys
                    .get(skipped..)
                    .is_some_and(|rest| rest.iter().copied().eq(page.items.iter().map(|item| item.key)))
        };
        let is_first = self.offset == 0 && self.furthest == page.items.len() as u64;
        is_first || self.previous.as_ref().is_some_and(confirms)
    }

    /// Takes up a finished sweep again where what came since is found: the proof is of when it began, the mirror should be of now.
    /// A list of unknown order had to be read whole; the next run does so anyway.
    pub(super) fn reopen(&mut self) {
        match self.order() {
            _ if self.furthest_ever <= self.largest_page => self.restart(Phase::Forward { pass: 1, added: 0 }),
            Order::CreatedDesc => self.restart(Phase::Head),
            Order::UpdatedDesc => self.restart(Phase::Settle {
                pass: 1,
                quiet: 0,
                added: 0,
            }),
            Order::CreatedAsc | Order::UpdatedAsc => {
                self.phase = Phase::Forward { pass: 1, added: 0 };
                if let Some(tail) = self.tail.take() {
                    self.offset = tail.offset + step(tail.keys.len() as u64);
                    self.furthest = tail.reach();
                    self.previous = Some(tail);
                }
            }
            Order::Unknown => {}
        }
    }

    pub(super) fn restart(&mut self, phase: Phase) {
        self.phase = phase;
        self.offset = 0;
        self.previous = None;
        self.tail = None;
        self.ends_with_news = false;
        self.changes_before = std::mem::take(&mut self.changes);
        self.heads.begin_pass();
        self.whole_at = None;
        self.stuck = 0;
        self.short_pages = 0;
        self.young_pages = 0;
        self.alike = 0;
        self.unread = None;
        self.furthest = 0;
        self.breaks = 0;
        self.walls = 0;
        self.fruitless_pages = 0;
    }
}

/// How coarse a date may be, from where it has zeros.
fn grain(date: DateTime<Utc>) -> TimeDelta {
    match (date.hour(), date.minute(), date.second()) {
        (0, 0, 0) => TimeDelta::days(1),
        (_, 0, 0) => TimeDelta::hours(1),
        (_, _, 0) => TimeDelta::minutes(1),
        _ => TimeDelta::seconds(1),
    }
}
