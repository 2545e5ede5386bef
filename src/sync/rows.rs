//! The rows of a page, between the API, the sweep and the warehouse.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::Tally;
use super::sweep::{Item, Mark};
use crate::allai::Listing;
use crate::allai::model::{ContentHash, Json, Rejected, Row};
use crate::warehouse::{Change, RowOutcome};

/// How many rows count as the end of a page.
const ENDS: usize = 5;

/// The rows of a page; `slots` keeps the page's order.
pub(super) struct Rows {
    pub(super) items: Vec<Item>,
    slots: Vec<Slot>,
    pub(super) usable: Vec<Row>,
    pub(super) rejected: Vec<Rejected>,
}

#[derive(Clone, Copy)]
enum Slot {
    Row(usize),
    Rejected(usize),
}

impl Slot {
    fn outcome(self, outcomes: &[RowOutcome]) -> Option<RowOutcome> {
        match self {
            Self::Row(at) => outcomes.get(at).copied(),
            Self::Rejected(_) => None,
        }
    }
}

impl Rows {
    /// Takes the rows of a page of `listing`; `decoding`, all of each at once, rather than more when it is asked for.
    pub(super) fn read(listing: &Listing, items: Vec<Json>, decoding: bool) -> Self {
        let mut rows = Self {
            items: Vec::with_capacity(items.len()),
            slots: Vec::with_capacity(items.len()),
            usable: Vec::with_capacity(items.len()),
            rejected: Vec::new(),
        };
        for raw in items {
            let read = if decoding {
                Row::decode(listing, raw)
            } else {
                Row::read(listing, raw)
            };
            match read {
                Ok(row) => rows.push(row),
                Err(rejected) => rows.reject(rejected),
            }
        }
        rows
    }

    fn push(&mut self, row: Row) {
        self.items.push(Item {
            key: fingerprint(row.id().as_bytes()),
            named: true,
            created_at: row.created_at(),
            updated_at: row.updated_at(),
        });
        self.slots.push(Slot::Row(self.usable.len()));
        self.usable.push(row);
    }

    fn reject(&mut self, rejected: Rejected) {
        let known_by = rejected.id.as_deref().unwrap_or(rejected.raw.get());
        self.items.push(Item {
            key: fingerprint(known_by.as_bytes()),
            named: rejected.id.is_some(),
            created_at: rejected.created_at(),
            updated_at: None,
        });
        self.slots.push(Slot::Rejected(self.rejected.len()));
        self.rejected.push(rejected);
    }

    /// A fingerprint of a row's text, by its position.
    pub(super) fn text_version(&self, position: usize) -> u64 {
        match self.slots[position] {
            Slot::Row(at) => leading_u64(&self.usable[at].raw_hash().0),
            Slot::Rejected(at) => fingerprint(self.rejected[at].raw.get().as_bytes()),
        }
    }

    /// A fingerprint of a row's content, however the server writes it down.
    pub(super) fn version(&self, position: usize) -> u64 {
        let raw = match self.slots[position] {
            Slot::Row(at) => self.usable[at].raw(),
            Slot::Rejected(at) => &self.rejected[at].raw,
        };
        leading_u64(&ContentHash::of(raw).0)
    }

    /// Whether the page repeats one of the last rows of `before`, the very same, and then goes on.
    pub(super) fn go_on_from(&self, before: &Self) -> bool {
        let size = before.items.len();
        let end = size.saturating_sub(ENDS)..size;
        let is_repeated = |end: usize| {
            let Item { key, named, .. } = before.items[end];
            let here = self.items.iter().position(|item| item.key == key);
            named && here.is_some_and(|here| self.text_version(here) == before.text_version(end))
        };
        let is_new = |last: &Item| before.items.iter().all(|item| item.key != last.key);
        self.items.last().is_some_and(is_new) && end.into_iter().any(is_repeated)
    }

    /// What the sweep is told of the rows; those written after `settled_at` are recent.
    pub(super) fn marks(&self, outcomes: &[RowOutcome], settled_at: Option<DateTime<Utc>>) -> Vec<Mark> {
        let mark = |slot: &Slot| match slot.outcome(outcomes) {
            Some(outcome) => Mark {
                num: outcome.num,
                changed: outcome.differs || !matches!(outcome.change, Change::Unchanged | Change::Quarantined),
                recent: outcome.changed_at > settled_at,
            },
            None => Mark {
                num: None,
                changed: false,
                recent: false,
            },
        };
        self.slots.iter().map(mark).collect()
    }

    /// What the run counts: each row once. Rows of which `counted` is true, by number and key, were counted before.
    pub(super) fn tally(
        &self,
        outcomes: &[RowOutcome],
        first_seen: &[bool],
        counted: impl Fn(Option<u64>, u64) -> bool,
    ) -> Tally {
        let mut tally = Tally::default();
        let mut on_this_page = HashSet::with_capacity(self.items.len());
        for ((slot, item), first_seen) in self.slots.iter().zip(&self.items).zip(first_seen) {
            if on_this_page.insert(item.key) {
                let outcome = slot.outcome(outcomes);
                let (num, change) = outcome.map_or((None, Change::Quarantined), |row| (row.num, row.change));
                tally.count(change, *first_seen && !counted(num, item.key));
            }
        }
        tally
    }
}

fn fingerprint(bytes: &[u8]) -> u64 {
    leading_u64(&Sha256::digest(bytes))
}

fn leading_u64(digest: &[u8]) -> u64 {
    digest
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
