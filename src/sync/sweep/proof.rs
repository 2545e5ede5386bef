//! What a sweep can say of itself when it is finished, and what makes it doubt.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{CLOCKS_APART, Item, Mark, PageView, Phase, Sweep};

/// Rows that changed while they were read of which that is noted.
const MOST_CHANGED: usize = 100;
/// How often one may change that does not say when.
const CHANGES_WITHOUT_DATE: u32 = 2;
/// Rows without an id whose dates are kept; more are taken to have none.
const MOST_DATES: usize = 10_000;

/// What a finished sweep can say of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Every row alive throughout was seen.
    Verified,
    /// Everything offered was read, but it cannot be proven that this was everything; says why.
    Unproven(&'static str),
}

/// Rows without an id: each may be one that the mirror has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nameless {
    /// When they were created, of those that say it.
    pub dates: BTreeSet<DateTime<Utc>>,
    /// How many do not.
    pub undated: u64,
}

/// Why a sweep is no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Doubt {
    NeverAnchored,
    Nameless,
    Ambiguous,
    OffsetIgnored,
    Unreachable,
    UnknownOrder,
    NeverSettled,
    Holes,
    FailsBehind,
    Outrun,
    Ties,
    Doubtful,
    Walled,
}

impl Doubt {
    const fn reason(self) -> &'static str {
        match self {
            Self::NeverAnchored => {
                "pages had no row in common with the page before, however often they were asked for: the list changed faster than it could be read, or is sliced otherwise than asked; if a member of its rows is another one in every answer, leave it out by `fields`"
            }
            Self::Nameless => {
                "more rows in a row than a page has are without an id, so that they cannot be told from each other; see quarantine"
            }
            Self::Ambiguous => {
                "an id stands in the list more than once, with different content, and nothing tells which is true"
            }
            Self::OffsetIgnored => {
                "the same rows came at one offset after the other: the server ignores the offset, and states no total that one page holds, or the list grows as fast as it is read"
            }
            Self::Unreachable => "the server states more rows than it returns",
            Self::UnknownOrder => {
                "the list is in no order that is known, or not in the one it seemed to be in, and rows moved or kept turning up"
            }
            Self::NeverSettled => "the list kept changing where it grows, or seemed to, while it was read",
            Self::Outrun => {
                "the list changed about as fast as it could be read, so that the reading got nowhere: raise the rate limit, or sync when it is calmer"
            }
            Self::FailsBehind => "the API fails when it is asked whether there is more behind the list's last row",
            Self::Ties => {
                "rows with the same date stand now in this order, now in that, so that one may have been on no page: the server sorts them by nothing else"
            }
            Self::Walled => {
                "a row came on no page together with the one before it, so that what stands between them is not known: it is too large for the server's pages"
            }
            Self::Doubtful => {
                "a row was stored by others, by their clock, after its page was asked for, and is not to be found when it is asked for again"
            }
            Self::Holes => "the server leaves rows out of its pages, and more of them in a row than a page has",
        }
    }
}

impl Sweep {
    /// Whether the finished sweep is a proof.
    pub fn proof(&self) -> Proof {
        let doubtful = (self.doubtful > 0).then_some(Doubt::Doubtful);
        if let Some(doubt) = self.unproven.or(doubtful) {
            return Proof::Unproven(doubt.reason());
        }
        // Rows that were deleted meanwhile may have been seen on top of the total.
        let counted = self.rows_seen() + self.twins;
        let agrees = self.last_total.is_none_or(|total| match counted.cmp(&total) {
            Ordering::Less => false,
            Ordering::Equal => true,
            Ordering::Greater => self.total_met,
        });
        if agrees {
            Proof::Verified
        } else {
            Proof::Unproven("the total the server states is not the number of rows it returns, each counted once")
        }
    }

    /// A row may be older than what is stored of it, or younger, and is to be asked for by itself.
    pub const fn doubts(&mut self) {
        self.doubtful += 1;
    }

    /// Such a row was asked for, and is in no doubt.
    pub const fn settles_doubt(&mut self) {
        self.doubtful -= 1;
    }

    /// Why the finished sweep is not even complete: nobody knows how much of the list was not read.
    pub fn breaks_off(&self) -> Option<&'static str> {
        // A server that ignores the limit as well has shown all there is, and one that brings its last page wherever the list is over
        // has shown others before.
        let is_first_page = self
            .previous
            .as_ref()
            .is_some_and(|previous| self.heads.is_first_page(&previous.keys));
        let is_full = self.largest_page == u64::from(self.limit) || self.last_total > Some(self.rows_seen());
        let is_cut = is_first_page && is_full;
        let doubt = self.unproven.filter(|doubt| match doubt {
            Doubt::OffsetIgnored => is_cut,
            doubt => *doubt == Doubt::Outrun,
        });
        doubt.map(Doubt::reason)
    }

    /// Looks for ids that the list has more than once, with different content. The mirror holds one of them, and nobody knows
    /// whether it is the right one.
    pub(super) fn note_ambiguous(&mut self, page: &PageView<'_>, marks: &[Mark], first_seen: &[bool]) {
        let items = page.items;
        let is_same = |one: usize, other: usize| {
            items[one].key == items[other].key && (page.version)(one) == (page.version)(other)
        };
        let changed = |&at: &usize| {
            items[at].named && marks[at].changed && !first_seen[at] && !(0..at).any(|other| is_same(other, at))
        };
        for at in (0..items.len()).filter(changed).collect::<Vec<usize>>() {
            let item = items[at];
            let on_one_page = items[..at].iter().any(|other| other.named && other.key == item.key);
            if on_one_page || self.stands_again(items, first_seen, at) || self.changed_back(item) {
                self.unproven.get_or_insert(Doubt::Ambiguous);
                return;
            }
        }
    }

    /// Looks whether a page continues the one before in the same order. Rows of one date that their server sorts by nothing else
    /// stand anywhere among themselves in each answer, and those that are on no page cannot be told from those that are gone.
    pub(super) fn note_ties(&mut self, items: &[Item], first_seen: &[bool]) {
        let Some(previous) = self.previous.as_ref().filter(|previous| previous.offset < self.offset) else {
            return;
        };
        let skipped = usize::try_from(self.offset - previous.offset).unwrap_or(usize::MAX);
        let rest = previous.keys.get(skipped..).unwrap_or_default();
        let is_continued = items.len() >= rest.len() && rest.iter().zip(items).all(|(key, item)| *key == item.key);
        let never_moved = !self.evidence.order().rows_may_move();
        // Nothing was read that stands behind the page before.
        let is_first = matches!(self.phase, Phase::Forward { pass: 1, .. }) && previous.reach() >= self.furthest;
        let goes_on_with_news = first_seen.iter().skip(rest.len()).all(|first| *first);
        let is_in_order = is_continued && (goes_on_with_news || !never_moved || !is_first);
        if self.bridging || self.unanchored || is_in_order {
            return;
        }
        let before: HashMap<u64, usize> = previous.keys.iter().copied().zip(0..).collect();
        let place = |at: usize| before.get(&items[at].key).copied().filter(|_| items[at].named);
        let shared: Vec<(usize, usize)> = (0..items.len()).filter_map(|at| Some((at, place(at)?))).collect();
        let (Some(&(first, from)), Some(&(last, _))) = (shared.first(), shared.last()) else {
            return;
        };
        let ties = |a: usize, b: usize| {
            let (a, b) = (items[a], items[b]);
            (a.created_at.is_some() && a.created_at == b.created_at)
                || (a.updated_at.is_some() && a.updated_at == b.updated_at)
        };
        let is_shuffled = shared
            .windows(2)
            .any(|pair| pair[0].1 > pair[1].1 && ties(pair[0].0, pair[1].0));
        let is_old = |at: usize| items[at].created_at.is_none_or(|created| created < self.started_at);
        let is_between = |at: usize| {
            items[at].named && is_old(at) && place(at).is_none() && shared.iter().any(|&(other, _)| ties(at, other))
        };
        let has_newcomers = (0..last).any(is_between);
        // Of rows that stay where they are, one that is not here any more may be gone.
        let has_gone = shared.len() < previous.keys.len() - from;
        let is_among_ties = (first.saturating_sub(1)..=last).any(|at| at + 1 < items.len() && ties(at, at + 1));
        let may_hide = has_gone && is_among_ties && never_moved;
        // Whatever was read before the page before stood before it.
        let is_behind = |at: usize| items[at].named && !first_seen[at] && place(at).is_none();
        let has_gone_back = never_moved && is_first && (first + 1..items.len()).any(is_behind);
        if is_shuffled || has_newcomers || may_hide || has_gone_back {
            self.unproven.get_or_insert(Doubt::Ties);
        }
    }

    /// Rows that did not move stand as they stood: one that was seen before cannot stand behind one that was not, unless it does
    /// so a second time.
    fn stands_again(&self, items: &[Item], first_seen: &[bool], at: usize) -> bool {
        let order = self.evidence.order();
        let over = self.started_at - CLOCKS_APART;
        let stood = |item: &Item| order.date(item).is_some_and(|date| date < over);
        let may_have_stood = |item: &Item| match order.date(item) {
            None => !order.rows_may_move(),
            Some(date) => date < over,
        };
        let is_in_order =
            !self.bridging && !self.unanchored && self.gaps == 0 && matches!(self.phase, Phase::Forward { .. });
        let mut before = items[..at].iter().zip(first_seen);
        is_in_order
            && may_have_stood(&items[at])
            && (before.any(|(item, first)| *first && item.named && stood(item)) || self.stands_behind_all(items, at))
    }

    /// Whether a row stands behind the last one of the page before, which was the furthest that had been seen.
    fn stands_behind_all(&self, items: &[Item], at: usize) -> bool {
        let previous = self.previous.as_ref().filter(|_| self.ends_with_news);
        let last = previous.and_then(|previous| previous.keys.last());
        last.is_some_and(|last| items[..at].iter().any(|item| item.key == *last))
    }

    /// Whether a row that changed while it was read has changed again, and is none the younger.
    fn changed_back(&mut self, item: Item) -> bool {
        if self.changed.len() >= MOST_CHANGED && !self.changed.contains_key(&item.key) {
            return false;
        }
        let (before, times) = self.changed.get(&item.key).copied().unwrap_or_default();
        self.changed.insert(item.key, (item.updated_at, times + 1));
        match (before, item.updated_at) {
            (Some(before), Some(now)) => now <= before,
            // A message is sent, delivered and read.
            _ => times >= CHANGES_WITHOUT_DATE,
        }
    }

    /// Counts rows without an id. They may be the very same: such are told from those that were counted by standing behind all that
    /// was read.
    pub(super) fn note_nameless(&mut self, items: &[Item], first_seen: &[bool]) {
        let positions = self.offset..;
        let counted = positions.zip(items.iter().zip(first_seen));
        for (_, (item, first)) in
            counted.filter(|(at, (item, first))| !item.named && (**first || *at >= self.furthest_ever))
        {
            self.twins += u64::from(!first);
            match item.created_at {
                Some(at) if self.nameless.dates.len() < MOST_DATES => {
                    self.nameless.dates.insert(at);
                }
                _ => self.nameless.undated += 1,
            }
        }
    }
}
