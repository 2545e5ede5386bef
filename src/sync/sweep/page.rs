//! A page, as the sweep is told of it, and as it keeps it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::packed;

/// One row of a page, as far as the sweep cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Fingerprint of the row's id (of its whole content, if it has none).
    pub key: u64,
    /// Whether it has an id. One that has none may look new each time it is read.
    pub named: bool,
    /// When the server says it was created.
    pub created_at: Option<DateTime<Utc>>,
    /// When the server says it last changed.
    pub updated_at: Option<DateTime<Utc>>,
}

/// One page, as far as the sweep cares.
#[derive(Clone, Copy)]
pub struct PageView<'a> {
    /// Its rows, in the server's order.
    pub items: &'a [Item],
    /// A fingerprint of the whole content of the row at a position, asked for where rows may move.
    pub version: &'a dyn Fn(usize) -> u64,
    /// How many rows the server says the list has.
    pub total: Option<u64>,
    /// Whether the server says there are more rows behind this page.
    pub has_more: Option<bool>,
    /// Whether it was asked for before all pages before it were there: what was on them may have moved behind it meanwhile.
    pub is_early: bool,
}

/// What became of a row when it was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The row's number in the warehouse; `None` if it is in quarantine.
    pub num: Option<u64>,
    /// Whether the warehouse had to write it: it is new, changed or back, or came in two versions at once.
    pub changed: bool,
    /// Whether it was last written after the list was last read completely: by a run that was cut short, by another
    /// program. What stands behind such a row need not be known.
    pub recent: bool,
}

/// The page before: what the next one must be anchored to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Slice {
    pub(super) offset: u64,
    /// Whether the server said that nothing stands behind it.
    pub(super) claims_to_end: bool,
    /// Its rows, by key.
    #[serde(with = "packed")]
    pub(super) keys: Vec<u64>,
    /// Where rows may move, the versions of the last of them; only those can be anchors.
    #[serde(with = "packed")]
    pub(super) versions: Vec<u64>,
}

impl Slice {
    pub(super) fn reach(&self) -> u64 {
        self.offset + self.keys.len() as u64
    }

    /// The rows whose versions are kept.
    pub(super) fn with_versions(&self) -> impl Iterator<Item = (u64, u64)> {
        let tail = &self.keys[self.keys.len().saturating_sub(self.versions.len())..];
        tail.iter().copied().zip(self.versions.iter().copied())
    }
}
