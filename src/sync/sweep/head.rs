//! Reading the head of a list, after all of it was read, for what came or moved there meanwhile.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{CLOCKS_APART, Doubt, Found, Item, LONGEST, Mode, PageView, Phase, Sweep, packed};
use crate::sync::order::Order;

/// Pages at the head, one after the other, that reach no further, after which it is taken to grow as fast as it is read.
const FRUITLESS_PAGES_TO_SETTLE: u32 = 20;
/// How often the head of a list whose rows move is read over, likewise.
const SETTLING_PASSES: u32 = 12;

/// When the rows of a page last changed, at the latest and at the earliest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Dates {
    latest: DateTime<Utc>,
    earliest: DateTime<Utc>,
}

impl Dates {
    /// Those up to `end`: others cannot be right.
    fn of(page: &PageView<'_>, end: DateTime<Utc>) -> Option<Self> {
        let dates = || {
            page.items
                .iter()
                .filter_map(|item| item.updated_at)
                .filter(|at| *at <= end)
        };
        Some(Self {
            latest: dates().max()?,
            earliest: dates().min()?,
        })
    }
}

/// The head of the list, as the passes over it found it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Heads {
    /// The first page of this pass, and of the two before that were read to their end.
    now: Option<Dates>,
    before: Option<Dates>,
    before_that: Option<Dates>,
    /// The rows of the first page of the list, as the pass before found it.
    #[serde(with = "packed")]
    keys: Vec<u64>,
    /// Whether this pass's first page showed all that changed since the pass before began, and nothing new.
    is_settled: bool,
    /// Whether the pass before brought nothing.
    was_quiet: bool,
}

impl Heads {
    /// Whether these are the rows with which the pass began.
    pub(super) fn is_first_page(&self, keys: &[u64]) -> bool {
        self.keys == keys
    }

    pub(super) const fn begin_pass(&mut self) {
        self.is_settled = false;
        self.was_quiet = false;
    }

    /// Whether the latest change is still of the moment of which it was when the last two passes began. What moved since stood
    /// among the rows of that moment, which the last of them read to their end, and has not moved again.
    fn are_of_one_moment(&self) -> bool {
        let latest = |head: Option<Dates>| head.map(|head| head.latest);
        let now = latest(self.now);
        now.is_some() && now == latest(self.before) && now == latest(self.before_that)
    }

    /// Whether all rows of this pass's first page changed in one moment.
    fn begins_with_one_moment(&self) -> bool {
        self.now.is_some_and(|head| head.latest == head.earliest)
    }
}

impl Sweep {
    /// Notes the first page of a pass. One that has to begin again is still the same.
    pub(super) fn note_head(&mut self, page: &PageView<'_>) {
        let is_first = self.previous.is_none();
        if self.offset == 0 && (is_first || matches!(self.phase, Phase::Settle { .. })) {
            if is_first {
                self.heads.before_that = self.heads.before;
                self.heads.before = self.heads.now;
            }
            self.heads.now = Dates::of(page, self.started_at + LONGEST);
        }
    }

    /// Looks whether the head has rows that were seen elsewhere in the pass before, above others that still stand there: then rows
    /// move, by whatever it is.
    pub(super) fn note_moves(&mut self, items: &[Item], first_seen: &[bool]) {
        if !matches!(self.phase, Phase::Forward { .. }) || self.offset > 0 || self.previous.is_some() {
            return;
        }
        let keys = items.iter().map(|item| item.key).collect();
        let before: HashSet<u64> = std::mem::replace(&mut self.heads.keys, keys).into_iter().collect();
        let stood_here = |item: &Item| before.contains(&item.key);
        let above = items.iter().rposition(stood_here).unwrap_or(0);
        let mut rows = items[..above].iter().zip(first_seen);
        self.changes.moved |= rows.any(|(item, first)| item.named && !first && !stood_here(item));
    }

    /// Reads the head of a list whose rows move to it, down to what has not changed since the pass before began: whatever moved
    /// meanwhile, over pages that were still to be read, stands above. What moves during this pass is the next one's; that all
    /// of it stands on one page, and is known, is the proof.
    pub(super) fn settle(&mut self, page: &PageView<'_>, found: &Found, pass: u32, quiet: u32, added: u64) {
        let (pass, quiet, added) = if self.offset == 0 && self.previous.is_some() {
            // There was no way down that is anchored: it begins again.
            self.heads.is_settled = false;
            (pass + 1, 0, found.new)
        } else {
            (pass, quiet, added)
        };
        let size = page.items.len() as u64;
        let is_full = size >= self.smallest_cut.min(self.largest_page);
        let reaches_further = self.reaches_further(page);
        let before = self.heads.before;
        let shows_all_changes = self.is_down_to(page, before.map(|head| head.latest));
        // Dates may be wrong, and rows that changed are another sign.
        let enough = if self.mode == Mode::Full { 2 } else { 1 };
        let quiet = match found.new + found.changed {
            0 => quiet + u32::from(reaches_further),
            _ => 0,
        };
        let is_down = if pass > 1 {
            shows_all_changes
        } else {
            quiet >= enough && self.is_down_to(page, before.map(|head| head.earliest))
        };
        self.heads.is_settled |= shows_all_changes && self.offset == 0 && found.new == 0;
        let no_moment_passed = self.heads.was_quiet && self.heads.are_of_one_moment();
        let is_all_of_one_moment = pass > 2 && self.offset == 0 && self.heads.begins_with_one_moment();
        if self.fruitless_pages > FRUITLESS_PAGES_TO_SETTLE
            || pass > SETTLING_PASSES
            || (is_all_of_one_moment && !shows_all_changes)
        {
            self.give_up_settling();
        } else if pass > 1 && self.offset == 0 && found.new == 0 && no_moment_passed {
            self.finish_head();
        } else if !is_down && size > 0 && (is_full || (reaches_further && found.further)) {
            self.phase = Phase::Settle { pass, quiet, added };
            self.advance(page);
        } else if added == 0 && self.heads.is_settled {
            self.finish_head();
        } else if pass == SETTLING_PASSES {
            self.give_up_settling();
        } else {
            let is_read = is_down || size == 0 || self.claims_to_end(page);
            self.restart(Phase::Settle {
                pass: pass + 1,
                quiet: 0,
                added: 0,
            });
            self.heads.was_quiet = is_read && added == 0;
            if !is_read {
                // The page was cut: what this pass was to read, the next one has to.
                self.heads.now = self.heads.before;
            }
        }
    }

    /// Whether a page at the head ends with what had not changed since `date`. What moved in the very moment of that date may
    /// stand behind others of it; nothing moves into a moment that is over.
    fn is_down_to(&self, page: &PageView<'_>, date: Option<DateTime<Utc>>) -> bool {
        let last = page.items.iter().rev().find_map(|item| item.updated_at);
        let over = self.started_at - CLOCKS_APART;
        last.zip(date)
            .is_none_or(|(last, date)| last < date || (last == date && date < over))
    }

    fn give_up_settling(&mut self) {
        self.unproven.get_or_insert(Doubt::NeverSettled);
        self.phase = Phase::Done;
    }

    /// A look at the head for what arrived meanwhile, as far as it goes.
    pub(super) fn head(&mut self, page: &PageView<'_>, found: &Found) {
        // What comes while a list is read that grows at its tail stands here if the list is short.
        let is_news = if self.tail.is_some() {
            found.old > 0
        } else {
            found.new > 0
        };
        let is_over = !is_news && self.reaches_further(page);
        if is_over || page.items.is_empty() || self.fruitless_pages > FRUITLESS_PAGES_TO_SETTLE {
            self.finish_head();
        } else {
            self.advance(page);
        }
    }

    /// Ends the reading of the head. If that shows that the list is not in the order in which it was read, it is read again.
    fn finish_head(&mut self) {
        if self.mode == Mode::Full && self.order() == Order::Unknown {
            self.unproven.get_or_insert(Doubt::UnknownOrder);
            self.restart(Phase::Forward { pass: 2, added: 0 });
        } else {
            self.phase = Phase::Done;
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
}
