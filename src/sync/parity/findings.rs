//! What an audit has found so far.

use super::compare::{Judged, Judgement};
use crate::warehouse::Difference;

/// Differences named in the journal; the others are counted.
const NAMED: usize = 100;

/// The sums of an audit, or of a part of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    /// What the API states, or returned.
    pub(super) rows_api: Option<u64>,
    pub(super) rows_mirror: u64,
    pub(super) compared: u64,
    pub(super) differing: u64,
    pub(super) pending: u64,
    pub(super) unlisted: u64,
    /// Rows of the API that may have been created after the last proof.
    pub(super) fresh: u64,
    /// Rows the mirror has and the API has not.
    pub(super) extra: u64,
    /// Whether the number of rows differs, with no row known that explains it.
    pub(super) count_differs: bool,
    /// Whether not every row could be compared, though that was asked for.
    pub(super) partial: bool,
    pub(super) differences: Vec<Difference>,
    /// The first of `extra`.
    pub(super) extras: Vec<Difference>,
}

impl Findings {
    /// Counts a row.
    pub(super) fn count(&mut self, row: &Judged, conversation: Option<&str>) {
        match row.judgement {
            Judgement::Passed | Judgement::Quarantined => return,
            Judgement::Equal => {}
            Judgement::Pending | Judgement::New => self.pending += 1,
            Judgement::Missing | Judgement::Deleted | Judgement::Columns(_) => {
                self.differing += 1;
                if let Some(difference) = row.difference(conversation) {
                    self.name(difference);
                }
            }
        }
        self.compared += 1;
    }

    /// Notes a difference by name, if there is room.
    pub(super) fn name(&mut self, difference: Difference) {
        if self.differences.len() < NAMED {
            self.differences.push(difference);
        }
    }

    /// Counts a row that the mirror has and the API has not.
    pub(super) fn count_extra(&mut self, difference: Difference) {
        self.extra += 1;
        if self.extras.len() < NAMED {
            self.extras.push(difference);
        }
    }

    /// Adds another part of the same audit.
    pub(super) fn add(&mut self, part: Self) {
        self.rows_api = match (self.rows_api, part.rows_api) {
            (Some(one), Some(two)) => Some(one + two),
            (one, two) => one.or(two),
        };
        self.rows_mirror += part.rows_mirror;
        self.compared += part.compared;
        self.differing += part.differing;
        self.pending += part.pending;
        self.unlisted += part.unlisted;
        self.fresh += part.fresh;
        self.extra += part.extra;
        self.count_differs |= part.count_differs;
        self.partial |= part.partial;
        for difference in part.differences {
            self.name(difference);
        }
        let room = NAMED.saturating_sub(self.extras.len());
        self.extras.extend(part.extras.into_iter().take(room));
    }

    /// Decides what rows are that the API does not have any more: a difference, or the change of a list in motion.
    pub(super) fn settle_extras(&mut self, in_motion: bool) {
        if in_motion {
            self.pending += self.extra;
        } else {
            self.differing += self.extra;
            let extras = std::mem::take(&mut self.extras);
            for difference in extras {
                self.name(difference);
            }
        }
        self.extra = 0;
    }
}
