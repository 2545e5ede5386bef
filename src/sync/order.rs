//! Learning in which order the server lists a resource.
//!
//! The API documents no order. A page is one answer, so within it the order is the server's own: every pair of
//! neighbours that contradicts an order rules it out, and every pair that is strictly in order speaks for it. Pairs
//! across pages say nothing, for the list may have changed between two answers.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::sweep::Item;

/// Pairs that must be strictly in order before an order is believed. By chance alone, sixteen pairs agree once in
/// 65,536 lists.
const PAIRS_TO_BELIEVE: u64 = 16;

/// The order of a list, as far as it matters for reading it while it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Newest first by creation: the list grows at its head, and no row ever moves.
    CreatedDesc,
    /// Oldest first by creation: the list grows at its tail, and no row ever moves.
    CreatedAsc,
    /// Last changed first, or not to be told from it: a changed row moves to the head.
    UpdatedDesc,
    /// Last changed last, or not to be told from it: a changed row moves to the tail.
    UpdatedAsc,
    /// None of these, or too little was seen to say.
    Unknown,
}

impl Order {
    /// The name under which the order is stored in `sync_state`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CreatedDesc => "created_desc",
            Self::CreatedAsc => "created_asc",
            Self::UpdatedDesc => "updated_desc",
            Self::UpdatedAsc => "updated_asc",
            Self::Unknown => "unknown",
        }
    }

    /// The order stored under `name`; anything else is [`Order::Unknown`].
    pub fn from_name(name: &str) -> Self {
        [Self::CreatedDesc, Self::CreatedAsc, Self::UpdatedDesc, Self::UpdatedAsc]
            .into_iter()
            .find(|order| order.as_str() == name)
            .unwrap_or(Self::Unknown)
    }

    /// The date that says where a row stands.
    pub(super) fn date(self, item: &Item) -> Option<DateTime<Utc>> {
        match self {
            Self::CreatedDesc | Self::CreatedAsc => item.created_at,
            Self::UpdatedDesc | Self::UpdatedAsc => item.updated_at,
            Self::Unknown => None,
        }
    }

    /// Whether a row that changes may move within the list.
    pub const fn rows_may_move(self) -> bool {
        !matches!(self, Self::CreatedDesc | Self::CreatedAsc)
    }
}

/// When a row was created, and when it last changed, as far as it says.
type Dates = (Option<DateTime<Utc>>, Option<DateTime<Utc>>);

/// What the pages of a list have shown so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    created: Direction,
    updated: Direction,
    /// By the last change, or creation where a row does not say that it has changed.
    either: Direction,
    /// Rows that say when they last changed, and rows that do not.
    dated: u64,
    undated: u64,
    /// How often one follows the other.
    to_dated: u64,
    to_undated: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Direction {
    falling: u64,
    rising: u64,
}

impl Direction {
    fn watch(&mut self, before: Option<DateTime<Utc>>, after: Option<DateTime<Utc>>) {
        if let (Some(before), Some(after)) = (before, after) {
            self.falling += u64::from(before > after);
            self.rising += u64::from(before < after);
        }
    }

    const fn is_neither(&self) -> bool {
        self.falling > 0 && self.rising > 0
    }

    const fn only_falling(&self) -> bool {
        self.rising == 0 && self.falling >= PAIRS_TO_BELIEVE
    }

    const fn only_rising(&self) -> bool {
        self.falling == 0 && self.rising >= PAIRS_TO_BELIEVE
    }
}

impl Evidence {
    /// Takes in one page: each row's time of creation and of its last change, in the order of the list.
    pub fn watch(&mut self, page: impl IntoIterator<Item = Dates>) {
        let mut before: Option<Dates> = None;
        for after in page {
            match after.1 {
                Some(_) => self.dated += 1,
                None => self.undated += 1,
            }
            if let Some((created, updated)) = before {
                self.created.watch(created, after.0);
                self.updated.watch(updated, after.1);
                self.either.watch(updated.or(created), after.1.or(after.0));
                self.to_dated += u64::from(updated.is_none() && after.1.is_some());
                self.to_undated += u64::from(updated.is_some() && after.1.is_none());
            }
            before = Some(after);
        }
    }

    /// Whether rows may stand by their last change although some do not say when that was: in a group of their own, as databases
    /// sort what is null, or by their creation instead.
    pub const fn may_be_by_unsaid_change(&self) -> bool {
        let may_be_grouped = (self.to_dated == 0 || self.to_undated == 0) && !self.updated.is_neither();
        self.dated > 0 && self.undated > 0 && (may_be_grouped || !self.either.is_neither())
    }

    /// Whether no row says when it last changed.
    pub const fn tells_of_no_changes(&self) -> bool {
        self.dated == 0
    }

    /// Whether a page has shown that the list is not in `order`.
    pub const fn contradicts(&self, order: Order) -> bool {
        match order {
            Order::CreatedDesc => self.created.rising > 0,
            Order::CreatedAsc => self.created.falling > 0,
            Order::UpdatedDesc => self.updated.rising > 0 || self.undated > 0,
            Order::UpdatedAsc => self.updated.falling > 0 || self.undated > 0,
            Order::Unknown => false,
        }
    }

    /// The order the evidence allows. Where creation and last change agree, a moving order is assumed: reading it takes
    /// two pages more, and assuming the other could lose rows.
    pub const fn order(&self) -> Order {
        if self.may_be_by_unsaid_change() {
            return Order::Unknown;
        }
        let (created, updated) = (&self.created, &self.updated);
        let by_update_desc = self.undated == 0
            && updated.rising == 0
            && updated.falling > 0
            && (updated.only_falling() || created.only_falling());
        let by_update_asc = self.undated == 0
            && updated.falling == 0
            && updated.rising > 0
            && (updated.only_rising() || created.only_rising());
        match (
            by_update_desc,
            by_update_asc,
            created.only_falling(),
            created.only_rising(),
        ) {
            (true, false, _, false) => Order::UpdatedDesc,
            (false, true, false, _) => Order::UpdatedAsc,
            (false, false, true, false) => Order::CreatedDesc,
            (false, false, false, true) => Order::CreatedAsc,
            _ => Order::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp(second, 0)
    }

    fn learn(rows: impl IntoIterator<Item = (i64, i64)>) -> Order {
        let mut evidence = Evidence::default();
        evidence.watch(rows.into_iter().map(|(created, updated)| (at(created), at(updated))));
        evidence.order()
    }

    #[test]
    fn each_order_is_told_from_the_others() {
        assert_eq!(learn((0..40).map(|i| (i, 100 - (i * 7) % 40))), Order::CreatedAsc);
        assert_eq!(learn((0..40).map(|i| (100 - i, (i * 7) % 40))), Order::CreatedDesc);
        assert_eq!(learn((0..40).map(|i| ((i * 7) % 40, i))), Order::UpdatedAsc);
        assert_eq!(learn((0..40).map(|i| ((i * 7) % 40, 100 - i))), Order::UpdatedDesc);
        assert_eq!(learn((0..40).map(|i| ((i * 7) % 40, (i * 11) % 40))), Order::Unknown);
    }

    #[test]
    fn rows_never_changed_are_assumed_to_move() {
        assert_eq!(learn((0..40).map(|i| (100 - i, 100 - i))), Order::UpdatedDesc);
        assert_eq!(learn((0..40).map(|i| (i, i))), Order::UpdatedAsc);
    }

    #[test]
    fn contradicting_directions_are_unknown() {
        assert_eq!(learn((0..40).map(|i| (i, 100 - i))), Order::Unknown);
    }

    #[test]
    fn a_short_or_undated_list_is_unknown() {
        assert_eq!(learn((0..10).map(|i| (i, i))), Order::Unknown);
        assert_eq!(learn((0..40).map(|_| (7, 7))), Order::Unknown);
        let mut evidence = Evidence::default();
        evidence.watch((0..40).map(|_| (None, None)));
        assert_eq!(evidence.order(), Order::Unknown);
    }

    #[test]
    fn a_list_that_may_be_by_changes_that_not_all_rows_tell_of_is_unknown() {
        let learn = |rows: Vec<(i64, Option<i64>)>| {
            let mut evidence = Evidence::default();
            evidence.watch(
                rows.into_iter()
                    .map(|(created, updated)| (at(created), updated.and_then(at))),
            );
            (evidence.order(), evidence.may_be_by_unsaid_change())
        };
        let changed = |i: i64| ((i * 7) % 40, Some(1_000 - i));
        let never_changed = |i: i64| (400 - i, None);
        let nulls_first: Vec<_> = (0..40).map(never_changed).chain((0..40).map(changed)).collect();
        assert_eq!(learn(nulls_first.clone()), (Order::Unknown, true));
        assert_eq!(learn(nulls_first.into_iter().rev().collect()), (Order::Unknown, true));
        let either = (0..40).map(|i| if i % 3 == 0 { changed(i) } else { (1_000 - i, None) });
        assert_eq!(learn(either.collect()), (Order::Unknown, true));
        // Rows that changed are anywhere, and those that did not fall.
        let by_creation = (0..40).map(|i| (400 - i, (i % 5 == 2).then_some(500 + (i * 7) % 40)));
        assert_eq!(learn(by_creation.collect()), (Order::CreatedDesc, false));
    }

    #[test]
    fn lists_without_change_times_are_ordered_by_creation() {
        let mut evidence = Evidence::default();
        evidence.watch((0..40).map(|i| (at(i), None)));
        assert_eq!(evidence.order(), Order::CreatedAsc);
    }
}
