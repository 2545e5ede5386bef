//! The passes over a list: when one ends, and what follows it.

use super::{Doubt, Found, Look, Mark, Mode, OVERLAP, PageView, Phase, Slice, Sweep, is_settled};
use crate::sync::order::Order;

/// Requests spent on looking behind an apparent end for the rows the server's total promises.
const MOST_GAPS: u32 = 20;
/// So many pages behind an apparent end nobody's list goes on: a server that says even there that there is more always does.
const FAR: u64 = 1 << 20;
/// Short pages in a row, each with something that was not on the one before, after which a list is taken to grow as fast as it is
/// read; and pages without anything new, after which it is given up to read what there was.
const SHORT_PAGES_TO_END: u32 = 8;
/// Likewise, short or not, if all that is new is younger than the sweep.
const YOUNG_PAGES_TO_END: u32 = 40;
/// The first page that is asked for again if it is not full, to see whether it has grown; the others are twice as far each.
const FIRST_DOUBTFUL_PAGE: u64 = 16;
/// Pages behind everything seen, all without anything new, after which a server is taken to make up its pages.
const FRUITLESS_PAGES_TO_END: u32 = 100;
/// Pages that end with the same row as the one before, each, after which that is the last of a list that moved meanwhile. A server
/// that began to cut its pages could cut one there.
const ALIKE: u32 = 2;
/// How often in a row the same page may come at another offset: a list that grows as fast as it is read looks like one of
/// which the offset is ignored, but not for long.
const SAME_PAGES: u32 = 6;
/// How often a list of unknown order is read over before the run is called complete, but not verified.
const PASSES_OF_UNKNOWN_ORDER: u32 = 4;
/// Pages at the head, one after the other, that reach no further, after which it is taken to grow as fast as it is read.
const FRUITLESS_PAGES_TO_SETTLE: u32 = 20;
/// How often the head of a list whose rows move is read over, likewise.
const SETTLING_PASSES: u32 = 12;

/// Whether a page is the list's last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    No,
    /// It shows the last rows that were known and nothing behind them.
    Apparent,
    /// It comes as fast as it is read, and may for ever.
    Growing,
    /// It does, but what there was at one moment is read.
    Read,
    Certain,
}

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
            if end == End::Read {
                // The total counts what came later, too.
                let seen = self.rows_seen();
                self.last_total = self.last_total.map(|total| total.min(seen));
                self.end_pass(pass, added, false);
            } else if !self.skip_a_gap(page) && !self.look_behind(page, found, end) {
                self.finish_pass(page, pass, added);
            }
            return;
        }
        self.bridging = false;
        if found.new > 0 {
            self.empty_at = None;
            self.stuck = 0;
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

    /// Whether the page is the list's last. A short page alone is not: servers clamp and filter.
    fn end_of_list(&mut self, page: &PageView<'_>, found: &Found) -> End {
        let size = page.items.len() as u64;
        let reach = self.offset + size;
        if size == 0 {
            let may_go_on = page.has_more == Some(true) && !self.bridging;
            return if may_go_on { End::Apparent } else { End::Certain };
        }
        let previous = self.previous.as_ref().filter(|previous| previous.offset < self.offset);
        if let Some(previous) = previous
            && found.old > 0
        {
            self.smallest_cut = self.smallest_cut.min(previous.keys.len() as u64);
        }
        if let Some(unread) = self.unread {
            self.unread = Some(unread.saturating_sub(found.new));
            self.lingering = if found.new == 0 { self.lingering + 1 } else { 0 };
            let lingers = self.lingering >= SHORT_PAGES_TO_END;
            if lingers || self.unread == Some(0) {
                // What moves to the tail may have gone there before it was read, unless a short page was where the list ended.
                if lingers || (self.smallest_cut < self.largest_page && self.order().rows_may_move()) {
                    self.unproven.get_or_insert(Doubt::NeverSettled);
                }
                return End::Read;
            }
        }
        let short = size < self.largest_page;
        let last = page.items.last().map(|item| item.key);
        let ends_alike = previous.is_some_and(|previous| previous.keys.last().copied() == last);
        self.alike = if ends_alike { self.alike + 1 } else { 0 };
        if found.new == 0 && self.shows_the_last_rows(page) {
            let was_looked = self.unread.is_some();
            return if was_looked { End::Certain } else { End::Apparent };
        }
        if self.offset == 0 && found.new > 0 && self.claims_to_end(page) && size < u64::from(self.limit) {
            self.claimed_end.get_or_insert(size);
            if size <= self.trust_total {
                return End::Certain;
            }
        }
        // At a tail that grows as fast as it is read every page is short and has news: rows that are young, claim to be old or
        // move there. Pages that are full are so, too, where the sweep has to step back for each of them.
        let brings_young_alone = found.new > 0 && found.old == 0;
        let is_young = short && brings_young_alone;
        if brings_young_alone {
            self.young_pages += 1;
        } else if found.new > 0 {
            self.young_pages = 0;
        }
        let at_a_growing_tail = match page.total {
            Some(total) if total == reach => short,
            Some(total) if total > reach => is_young,
            _ => is_young || size < self.largest_page.div_ceil(2) || (short && !found.further),
        };
        if at_a_growing_tail {
            self.short_pages += 1;
        } else if found.new > 0 {
            self.short_pages = 0;
        }
        let is_chased = self.short_pages >= SHORT_PAGES_TO_END || self.young_pages >= YOUNG_PAGES_TO_END;
        let may_grow = is_chased && self.pages >= self.look_again_at;
        if may_grow && self.unread.is_none() {
            End::Growing
        } else {
            End::No
        }
    }

    /// Whether a page without anything new ends where those before ended, or where nothing stood, and was not cut there.
    fn shows_the_last_rows(&self, page: &PageView<'_>) -> bool {
        let size = page.items.len() as u64;
        let known_empty_behind = self.empty_at.is_some_and(|at| self.offset + size >= at);
        if self.largest_page == 1 {
            return known_empty_behind;
        }
        let may_be_cut = size >= self.smallest_cut || self.same_pages == 1;
        size < self.largest_page && (self.is_rest(page) || (!may_be_cut && (self.alike >= ALIKE || known_empty_behind)))
    }

    /// Whether a page is, unmoved, what the one before has behind its offset. One that was cut there would be as short as the
    /// overlap.
    pub(super) fn is_rest(&self, page: &PageView<'_>) -> bool {
        let previous = self.previous.as_ref().filter(|previous| previous.offset < self.offset);
        previous.is_some_and(|previous| {
            let skipped = usize::try_from(self.offset - previous.offset).unwrap_or(usize::MAX);
            let rest = previous.keys.get(skipped..).filter(|rest| !rest.is_empty());
            rest.is_some_and(|rest| rest.iter().copied().eq(page.items.iter().map(|item| item.key)))
        })
    }

    /// Where the server states more rows than were found, looks for them behind the apparent end: a server that filters
    /// after slicing returns empty pages in the middle. Whether it found a place to look.
    fn skip_a_gap(&mut self, page: &PageView<'_>) -> bool {
        let Some(total) = page.total.or(self.last_total) else {
            return false;
        };
        let reach = (self.offset + page.items.len() as u64).max(self.offset + 1);
        if self.rows_seen() >= total || reach >= total || self.mode != Mode::Full {
            return false;
        }
        self.gaps += 1;
        if self.gaps > MOST_GAPS {
            return false;
        }
        self.unproven = Some(Doubt::Unreachable);
        self.bridging = true;
        self.empty_at = None;
        if !page.items.is_empty() {
            self.remember(page);
        }
        self.offset = reach.max(self.offset + self.largest_page);
        true
    }

    /// Where the server does not itself say that the list ends with this page, asks for what stands a page behind it: of servers
    /// that leave rows out of their pages, or make them shorter as they go, no page tells that it is the last. Whether it does.
    fn look_behind(&mut self, page: &PageView<'_>, found: &Found, end: End) -> bool {
        let size = page.items.len() as u64;
        let reach = self.offset + size;
        let is_said = page.total == Some(reach) || (self.claims_to_end(page) && (found.new == 0 || self.offset == 0));
        let is_whole = found.new == 0 && page.has_more != Some(true) && self.pages_of_this_pass_fit_one(page);
        if self.mode != Mode::Full || end == End::Certain || is_said || is_whole {
            return false;
        }
        let behind = (2 * size.max(OVERLAP)) << self.looks_in_vain.min(16);
        // Rows may have been left out of each page there was.
        let is_full_page_known = self.largest_pages > 1 || self.largest_page == self.known_page;
        let a_limit_further = self.offset + u64::from(self.limit);
        self.look = Some(if end == End::Growing {
            Look {
                at: reach + behind,
                // And as many as may have moved up from behind meanwhile.
                unread: Some(behind + size),
                ..Look::default()
            }
        } else {
            Look {
                at: if size == 0 {
                    a_limit_further
                } else {
                    self.offset + self.largest_page
                },
                then: (!is_full_page_known).then_some(a_limit_further),
                ..Look::default()
            }
        });
        self.note_total(page);
        self.stuck = if end == End::Apparent { self.stuck + 1 } else { 0 };
        self.bridging = false;
        self.empty_at = None;
        self.advance(page);
        true
    }

    /// Takes in what is behind the apparent end. A server may bring the list's last rows wherever it is over.
    pub(super) fn looked(&mut self, page: &PageView<'_>, look: Look) {
        let known = self.previous.as_ref().map_or(&[][..], |previous| &previous.keys);
        if page.items.iter().all(|item| known.contains(&item.key)) {
            match self.look_elsewhere(page.has_more == Some(true), look) {
                Some(next) => self.look = Some(next),
                None => self.nothing_stands_at(look),
            }
            return;
        }
        self.looks_in_vain += 1;
        self.look_again_at = self.pages + (u64::from(SHORT_PAGES_TO_END) << self.looks_in_vain.min(6));
        self.short_pages = 0;
        self.young_pages = 0;
        self.unread = None;
        if self.stuck > 1 {
            // There is no way there that is anchored.
            self.unproven.get_or_insert(Doubt::Holes);
            self.bridging = true;
            self.offset = look.at;
        }
    }

    /// Where to look next, where nothing was found at one place. If the server says that there is more behind that, and does not
    /// say so of every place, it is in between.
    fn look_elsewhere(&mut self, says_more: bool, look: Look) -> Option<Look> {
        let limit = u64::from(self.limit);
        if let Some(then) = look.then.filter(|then| *then > look.at) {
            return Some(Look { at: then, ..look });
        }
        let (from, to) = match look.between {
            None if says_more => {
                let far = look.at + FAR * limit;
                let between = Some((look.at, far));
                return Some(Look {
                    at: far,
                    between,
                    ..look
                });
            }
            None => return None,
            Some((_, far)) if says_more && look.at == far => return None,
            Some((_, to)) if says_more => (look.at, to),
            Some((from, _)) => (from, look.at),
        };
        if to - from <= 1 {
            self.unproven.get_or_insert(Doubt::Holes);
            return None;
        }
        let at = from + (to - from) / 2;
        let between = Some((from, to));
        Some(Look { at, between, ..look })
    }

    /// Nothing was found where it was looked. Of a list that grows, no more rows than up to that place are not read.
    pub(super) fn nothing_stands_at(&mut self, look: Look) {
        match self.phase {
            _ if look.unread.is_some() => {
                self.unread = look.unread;
                self.lingering = 0;
            }
            Phase::Forward { pass, added } => self.end_pass(pass, added, false),
            Phase::Head | Phase::Settle { .. } | Phase::Done => {}
        }
    }

    /// Page and total are one answer, so that at the end of the list they meet, however much the list changes.
    fn note_total(&mut self, page: &PageView<'_>) {
        if let Some(total) = page.total {
            self.total_met = total == self.offset + page.items.len() as u64;
        }
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
            Order::CreatedAsc | Order::UpdatedAsc => self.phase = Phase::Done,
            _ if in_one_answer => self.phase = Phase::Done,
            Order::CreatedDesc => self.restart(Phase::Head),
            Order::UpdatedDesc => self.restart(Phase::Settle {
                pass: 1,
                quiet: 0,
                added: 0,
            }),
            Order::Unknown if pass > 1 && added == 0 => self.phase = Phase::Done,
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
    fn pages_of_this_pass_fit_one(&self, page: &PageView<'_>) -> bool {
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

    pub(super) fn settle(&mut self, page: &PageView<'_>, found: &Found, pass: u32, quiet: u32, added: u64) {
        let size = page.items.len() as u64;
        let is_full = size >= self.smallest_cut.min(self.largest_page);
        let reaches_further = self.reaches_further(page);
        // What jumped over an incremental run's pages stands above all that it has read: a page without any is the end.
        let enough = if self.mode == Mode::Full { 2 } else { 1 };
        let quiet = match found.new + found.changed {
            0 => quiet + u32::from(reaches_further),
            _ => 0,
        };
        if self.fruitless_pages > FRUITLESS_PAGES_TO_SETTLE {
            self.unproven.get_or_insert(Doubt::NeverSettled);
            self.phase = Phase::Done;
        } else if quiet < enough && size > 0 && (is_full || (reaches_further && found.further)) {
            self.phase = Phase::Settle { pass, quiet, added };
            self.advance(page);
        } else if added == 0 {
            self.phase = Phase::Done;
        } else if pass >= SETTLING_PASSES {
            self.unproven.get_or_insert(Doubt::NeverSettled);
            self.phase = Phase::Done;
        } else {
            self.restart(Phase::Settle {
                pass: pass + 1,
                quiet: 0,
                added: 0,
            });
        }
    }

    /// A look at the head for what arrived meanwhile, as far as it goes.
    pub(super) fn head(&mut self, page: &PageView<'_>, found: &Found) {
        let is_over = found.new == 0 && self.reaches_further(page);
        if is_over || page.items.is_empty() || self.fruitless_pages > FRUITLESS_PAGES_TO_SETTLE {
            self.phase = Phase::Done;
        } else {
            self.advance(page);
        }
    }

    /// Whether a page at the head ends behind the one before. Where the list grows as fast as it is read, it shows the same
    /// rows again, which tells nothing of those behind.
    fn reaches_further(&mut self, page: &PageView<'_>) -> bool {
        let further = self.previous.as_ref().is_none_or(|previous| {
            let last = page.items.last().map(|item| item.key);
            last.is_none_or(|last| !previous.keys.contains(&last))
        });
        self.fruitless_pages = if further { 0 } else { self.fruitless_pages + 1 };
        further
    }

    fn restart(&mut self, phase: Phase) {
        self.phase = phase;
        self.offset = 0;
        self.previous = None;
        self.stuck = 0;
        self.short_pages = 0;
        self.young_pages = 0;
        self.alike = 0;
        self.unread = None;
        self.furthest = 0;
        self.breaks = 0;
        self.fruitless_pages = 0;
    }
}
