//! Where a list ends: what looks like its last page, and what is asked for to know.

use super::anchor::OVERLAP;
use super::{Doubt, Found, Look, Mode, PageView, Phase, Sweep};

/// Requests spent on looking behind an apparent end for the rows the server's total promises.
const MOST_GAPS: u32 = 20;
/// So many pages behind an apparent end nobody's list goes on: a server that says even there that there is more always does.
const FAR: u64 = 1 << 20;
/// Short pages in a row, each with something that was not on the one before, after which a list is taken to grow as fast as it is
/// read; and pages without anything new, after which it is given up to read what there was.
const SHORT_PAGES_TO_END: u32 = 8;
/// Likewise, short or not, if all that is new is younger than the sweep.
const YOUNG_PAGES_TO_END: u32 = 40;
/// Pages that end with the same row as the one before, each, after which that is the last of a list that moved meanwhile. A server
/// that began to cut its pages could cut one there.
const ALIKE: u32 = 2;
/// How often it is looked further, twice as far each time, where the last rows stand again behind themselves.
const SHIFTS: u32 = 4;
/// How often a page may say that there is more behind it where nothing is.
const BROKEN_PROMISES: u32 = 3;

/// Whether a page is the list's last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
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
    /// Whether the page is the list's last. A short page alone is not: servers clamp and filter.
    pub(super) fn end_of_list(&mut self, page: &PageView<'_>, found: &Found) -> End {
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
            // A total may be capped where pages are.
            if size <= self.trust_total && size < self.known_page {
                return End::Certain;
            }
        }
        if self.may_be_whole(page) {
            return End::Apparent;
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

    /// Whether the first page of a list, as no total says, may be all of it, so that it is enough to look right behind.
    fn may_be_whole(&self, page: &PageView<'_>) -> bool {
        let size = page.items.len() as u64;
        self.is_sparing && self.offset == 0 && self.pages == 1 && size < self.known_page && !self.claims_to_end(page)
    }

    /// Whether the list may be found to grow as fast as it is read by the `nth` full page from here.
    pub(super) fn may_be_chased(&self, nth: usize) -> bool {
        let young_pages = self.young_pages as usize + nth;
        self.unread.is_some() || self.short_pages > 0 || young_pages >= YOUNG_PAGES_TO_END as usize
    }

    /// Whether a page without anything new ends where those before ended, or where nothing stood, and was not cut there.
    fn shows_the_last_rows(&self, page: &PageView<'_>) -> bool {
        let size = page.items.len() as u64;
        let known_empty_behind = self.empty_at.is_some_and(|at| self.offset + size >= at);
        if self.largest_page == 1 {
            return known_empty_behind;
        }
        let is_as_long_as_cut_ones = size >= self.smallest_cut;
        let is_rest = self.is_rest(page) && (!is_as_long_as_cut_ones || known_empty_behind);
        let may_be_cut = is_as_long_as_cut_ones || self.same_pages == 1;
        size < self.largest_page && (is_rest || (!may_be_cut && (self.alike >= ALIKE || known_empty_behind)))
    }

    /// Whether a page is, unmoved, what the one before has behind its offset. One that was cut there would be as short as the
    /// overlap, which is small unless the sweep has stepped back.
    pub(super) fn is_rest(&self, page: &PageView<'_>) -> bool {
        let previous = self.previous.as_ref().filter(|previous| previous.offset < self.offset);
        previous.is_some_and(|previous| {
            let skipped = usize::try_from(self.offset - previous.offset).unwrap_or(usize::MAX);
            let rest = previous.keys.get(skipped..).filter(|rest| !rest.is_empty());
            rest.is_some_and(|rest| rest.iter().copied().eq(page.items.iter().map(|item| item.key)))
        })
    }

    /// Where the server states more rows than were found, looks for them behind the apparent end: first as if it were none, since
    /// a page may have been cut where it overlaps the one before, then further: a server that filters after slicing returns
    /// empty pages in the middle. Whether it found a place to look.
    pub(super) fn skip_a_gap(&mut self, page: &PageView<'_>) -> bool {
        let Some(total) = page.total.or(self.last_total) else {
            return false;
        };
        let reach = (self.offset + page.items.len() as u64).max(self.offset + 1);
        if self.rows_seen() >= total || reach >= total || self.mode != Mode::Full {
            return false;
        }
        if !page.items.is_empty() && !self.is_pressed {
            self.is_pressed = true;
            self.advance(page);
            return true;
        }
        if page.items.is_empty() {
            self.gaps += 1;
        }
        if self.gaps > MOST_GAPS {
            return false;
        }
        self.unproven = Some(Doubt::Unreachable);
        self.bridging = true;
        self.empty_at = None;
        self.offset = if page.items.is_empty() {
            reach.max(self.offset + self.largest_page)
        } else {
            // The next row may be one that fits no page together with another.
            self.remember(page);
            reach
        };
        true
    }

    /// Where the total does not say that the list ends with this page, asks for what stands right behind it, and a page
    /// further: of servers that leave rows out of their pages, or make them shorter as they go, no page tells that it is the last.
    /// Whether it does.
    pub(super) fn look_behind(&mut self, page: &PageView<'_>, found: &Found, end: End) -> bool {
        let size = page.items.len() as u64;
        let reach = self.offset + size;
        if self.mode != Mode::Full || end == End::Certain || self.claims_to_end(page) {
            return false;
        }
        // The last rows stand where they stood before it was looked behind them.
        let is_whole = self.whole_at == Some(reach) && found.new == 0 && self.pages_of_this_pass_fit_one(page);
        if is_whole {
            return false;
        }
        let is_spared = self.may_be_whole(page);
        let behind = (2 * size.max(OVERLAP)) << self.looks_in_vain.min(16);
        // Rows may have been left out of each page there was.
        let is_full_page_known = self.largest_pages > 1 || self.largest_page == self.known_page;
        let a_limit_further = self.offset + u64::from(self.limit);
        let a_page_further = self.offset + self.largest_page;
        // A page may be cut where it overlaps the one before.
        let is_known_empty = self.empty_at.is_some_and(|at| reach >= at);
        self.look = Some(if end == End::Growing {
            Look {
                at: reach + behind,
                // And as many as may have moved up from behind meanwhile.
                unread: Some(behind + size),
                ..Look::default()
            }
        } else {
            Look {
                at: match size {
                    0 => a_limit_further,
                    _ if is_known_empty => a_page_further,
                    _ => reach,
                },
                then: [
                    (size > 0 && !is_spared).then_some(a_page_further),
                    (!is_full_page_known && !is_spared).then_some(a_limit_further),
                ],
                is_spared,
                is_promised: page.has_more == Some(true),
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
        let is_known = page.items.iter().all(|item| known.contains(&item.key));
        if is_known && look.is_spared && !page.items.is_empty() {
            // The offset is ignored, or rows are left out: no page is the whole list.
            return;
        }
        if is_known {
            let size = page.items.len() as u64;
            let is_right_behind = self
                .previous
                .as_ref()
                .is_some_and(|previous| previous.reach() == look.at);
            // The very place that was said to have more says that it has not.
            let is_taken_back = is_right_behind && page.has_more == Some(false) && size == 0;
            let look = Look {
                is_promised: look.is_promised && !is_taken_back,
                ..look
            };
            if size > 0 && look.unread.is_none() && look.shifts < SHIFTS {
                // Or they moved down meanwhile, and the page was cut behind them.
                self.look = Some(Look {
                    at: look.at + (size << look.shifts),
                    shifts: look.shifts + 1,
                    ..look
                });
            } else {
                self.nothing_at(look, page.has_more == Some(true));
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

    /// Nothing was found where it was looked.
    pub(super) fn nothing_at(&mut self, look: Look, says_more: bool) {
        match self.look_elsewhere(says_more, look) {
            Some(next) => self.look = Some(next),
            None if look.is_promised && look.between.is_none() => self.note_broken_promise(look),
            None => self.nothing_stands_at(look),
        }
    }

    /// The page with the last rows says that there is more, and what stands behind it says that there is not. The rest may be gone by
    /// now: then they say so when they are asked for again, with a page of those before them. Or the server shows no more of the list.
    fn note_broken_promise(&mut self, look: Look) {
        self.broken_promises += 1;
        if self.broken_promises >= BROKEN_PROMISES {
            self.unproven.get_or_insert(Doubt::Holes);
            self.nothing_stands_at(look);
        } else if let Some(previous) = &self.previous {
            self.offset = previous.reach().saturating_sub(self.largest_page);
        }
    }

    /// Where to look next, where nothing was found at one place. If the server says that there is more behind that, and does not
    /// say so of every place, it is in between.
    fn look_elsewhere(&mut self, says_more: bool, look: Look) -> Option<Look> {
        let limit = u64::from(self.limit);
        if let Some(then) = look.then.into_iter().flatten().find(|then| *then > look.at) {
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

    /// Nothing stands behind. Of a list that grows, no more rows than up to that place are not read.
    fn nothing_stands_at(&mut self, look: Look) {
        match self.phase {
            _ if look.unread.is_some() => {
                self.unread = look.unread;
                self.lingering = 0;
            }
            _ if look.is_spared => self.whole_at = Some(look.at),
            Phase::Forward { pass, added } => self.end_pass(pass, added, false),
            Phase::Head | Phase::Settle { .. } | Phase::Done => {}
        }
    }

    /// Page and total are one answer, so that at the end of the list they meet, however much the list changes.
    pub(super) fn note_total(&mut self, page: &PageView<'_>) {
        if let Some(total) = page.total {
            self.total_met = total == self.offset + page.items.len() as u64;
        }
    }
}
