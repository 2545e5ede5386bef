//! What makes a page continue the one before, and where is asked next.

use std::collections::BTreeSet;

use super::proof::Doubt;
use super::{PageView, Slice, Sweep};

/// Overlap between pages, in rows, at a page size of 100; smaller pages overlap less.
pub(super) const OVERLAP: u64 = 5;
/// How many rows at the end of a page may be anchors where rows may move.
const ANCHORS: usize = 10;
/// How many rows without an id, in a row, are an anchor.
const FEWEST_NAMELESS: usize = 2;
/// Steps back without progress after which pages are taken as they come and the sweep gives up being verified. Nobody's
/// list changes that fast; a server whose pages can never be anchored must not hold the sweep for ever.
const STEPS_TO_GIVE_UP: u32 = 40;
/// How often it steps back from a page that does not begin with the one row of the page before.
const STEPS_AT_A_WALL: u32 = 2;
/// Steps back without progress that are no longer than a page; those that follow double.
const STEPS_SIDE_BY_SIDE: u32 = 8;

impl Sweep {
    /// Whether the page shares a row with the one before, or needs not.
    pub(super) fn is_anchored(&self, page: &PageView<'_>) -> bool {
        let items = page.items;
        if self.offset == 0 || self.bridging || self.unanchored {
            return true;
        }
        match &self.previous {
            Some(previous) => {
                if items.is_empty() {
                    // The one row of a list cannot be overlapped; nothing behind it is as good, unless it was only the
                    // first of several pages of one row.
                    return self.known_page > 1
                        && previous.offset == 0
                        && previous.keys.len() == 1
                        && self.offset == previous.reach();
                }
                // Rows without an id may be the very same and stand anywhere; as the rest of the page before they tell enough.
                if items.iter().all(|item| !item.named) && self.is_rest(page) || self.joins_nameless(page, previous) {
                    return true;
                }
                let mut named = items.iter().enumerate().filter(|(_, item)| item.named);
                if !self.evidence.order().rows_may_move() {
                    return named.any(|(_, item)| previous.keys.contains(&item.key));
                }
                // A row that may have moved is an anchor only if it did not change.
                named.any(|(position, item)| {
                    let mut same = previous.with_versions().filter(|(key, _)| *key == item.key);
                    same.any(|(_, version)| version == (page.version)(position))
                })
            }
            // The tail is entered in the middle: `absorb` looks whether what it found was known.
            None => !items.is_empty(),
        }
    }

    /// Whether the page begins with the rest of the one before, unmoved, and that is rows without an id, no two the same: to stand
    /// elsewhere as well, all of them would have to be there twice.
    fn joins_nameless(&self, page: &PageView<'_>, previous: &Slice) -> bool {
        let skipped = self.offset.checked_sub(previous.offset).filter(|skipped| *skipped > 0);
        let rest = skipped.and_then(|skipped| previous.keys.get(usize::try_from(skipped).ok()?..));
        let Some((rest, again)) = rest.and_then(|rest| Some((rest, page.items.get(..rest.len())?))) else {
            return false;
        };
        let distinct: BTreeSet<u64> = rest.iter().copied().collect();
        distinct.len() == rest.len()
            && distinct.len() >= FEWEST_NAMELESS
            && again
                .iter()
                .zip(rest)
                .all(|(item, key)| !item.named && item.key == *key)
    }

    /// Goes back from a page that is not anchored, twice as far each time; gives up being a proof where that leads nowhere.
    pub(super) fn step_back_from(&mut self, page: &PageView<'_>) {
        if page.items.is_empty() {
            self.empty_at = Some(self.empty_at.map_or(self.offset, |at| at.min(self.offset)));
        }
        self.breaks += 1;
        if self.stands_at_a_wall(page) {
            self.unproven.get_or_insert(Doubt::Walled);
            self.bridging = true;
            return;
        }
        if self.breaks > STEPS_TO_GIVE_UP {
            let nameless = page.items.iter().filter(|item| !item.named).count();
            self.unproven = Some(if nameless > page.items.len() / 2 {
                Doubt::Nameless
            } else {
                Doubt::NeverAnchored
            });
            self.unanchored = true;
            self.offset = self.previous.as_ref().map_or(0, Slice::reach);
            return;
        }
        self.step_back = (self.step_back * 2).max(2 * overlap(self.largest_page));
        if self.breaks <= STEPS_SIDE_BY_SIDE {
            // Pages that overlap cannot jump over the one that is looked for.
            self.step_back = self.step_back.min(self.largest_page.saturating_sub(1)).max(1);
        }
        self.offset = self.offset.saturating_sub(self.step_back);
    }

    /// Whether the page begins, time and again, right behind one that shows one row alone: then no page holds both, and stepping
    /// back leads there again.
    fn stands_at_a_wall(&mut self, page: &PageView<'_>) -> bool {
        let is_alone = |previous: &Slice| previous.keys.len() == 1 && previous.reach() == self.offset;
        let is_wall = self.largest_page > 1 && self.previous.as_ref().is_some_and(is_alone);
        if is_wall && !page.items.is_empty() {
            if self.unproven == Some(Doubt::Walled) {
                return true;
            }
            self.walls += 1;
            if self.evidence.order().rows_may_move() {
                // While they do, nobody knows what stands behind a wall.
                self.unproven.get_or_insert(Doubt::Walled);
            }
        }
        self.walls > STEPS_AT_A_WALL
    }

    /// Goes on behind `page`, overlapping it: where the pages that were fetched ahead begin, if one that is a little shorter
    /// reaches there.
    pub(super) fn advance(&mut self, page: &PageView<'_>) {
        self.remember(page);
        let size = page.items.len() as u64;
        let expected = step(self.largest_page);
        self.offset += if size >= expected + overlap(size).div_ceil(2) {
            expected
        } else {
            step(size)
        };
    }

    pub(super) fn remember(&mut self, page: &PageView<'_>) {
        let size = page.items.len();
        let anchors = if self.evidence.order().rows_may_move() {
            size.min(ANCHORS)
        } else {
            0
        };
        self.previous = Some(Slice {
            offset: self.offset,
            claims_to_end: self.claims_to_end(page),
            keys: page.items.iter().map(|item| item.key).collect(),
            versions: (size - anchors..size).map(page.version).collect(),
        });
    }
}

/// How far behind a page of this size the next one begins.
pub(super) fn step(size: u64) -> u64 {
    size.saturating_sub(overlap(size)).max(1)
}

/// How many rows of a page of this size the next one repeats.
fn overlap(size: u64) -> u64 {
    (size * OVERLAP / 100).clamp(1, OVERLAP)
}
