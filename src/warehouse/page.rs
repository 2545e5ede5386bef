//! One page of a list, committed whole: rows, history, quarantine and checkpoint in one transaction.

use super::Warehouse;
use super::error::Error;
use crate::allai::Resource;
use crate::allai::model::{Record, Rejected};

/// What came on a page.
#[derive(Clone, Copy, Debug)]
pub struct PageCommit<'a> {
    /// The account's name in the configuration.
    pub account: &'a str,
    /// What the page lists. Every record must be of this resource.
    pub resource: Resource,
    /// The rows, in the order of the page.
    pub records: &'a [Record],
    /// What could not be decoded.
    pub rejected: &'a [Rejected],
}

/// What became of a record of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowOutcome {
    /// The row's internal number; `None` only if the warehouse holds no row of that id.
    pub num: Option<u64>,
    /// What was done.
    pub change: Change,
}

/// What a commit did with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// It was new.
    Inserted,
    /// Its content had changed.
    Updated,
    /// It had been tombstoned and is live again, changed or not.
    Restored,
    /// It was there as it is.
    Unchanged,
    /// The database cannot hold it; it is in `quarantine` with the reason.
    Quarantined,
}

impl Warehouse {
    /// Stores a page and the checkpoint that claims it, in one transaction; the outcomes are aligned with
    /// `page.records`.
    ///
    /// `checkpoint` is called once, with the outcomes, before the transaction commits; `None` leaves the stored
    /// checkpoint as it is. A page on which nothing differs and whose checkpoint is `None` opens no write transaction.
    /// Of several records with one id the last is stored, and all of them get its outcome.
    pub async fn commit_page(
        &self,
        page: &PageCommit<'_>,
        checkpoint: impl FnOnce(&[RowOutcome]) -> Option<String> + Send,
    ) -> Result<Vec<RowOutcome>, Error> {
        let _ = (page, checkpoint);
        todo!()
    }
}
