//! What comes on a page of a list, and what becomes of it.

use chrono::{DateTime, Utc};

use super::error::Error;
use super::{PageWriter, Warehouse};
use crate::allai::Resource;
use crate::allai::model::{Rejected, Row};

/// What came on a page.
#[derive(Clone, Copy, Debug)]
pub struct PageCommit<'a> {
    /// The account's name in the configuration.
    pub account: &'a str,
    /// What the page lists. Every row must be of this resource.
    pub resource: Resource,
    /// For messages: the conversation, of which all of them are.
    pub conversation: Option<&'a str>,
    /// The rows, in the order of the page.
    pub rows: &'a [Row],
    /// What is no row.
    pub rejected: &'a [Rejected],
    /// When the page was asked for. `None` if nobody else can have stored anything of it since.
    pub asked: Option<Asked>,
}

/// When a page was asked for: what was stored since may be newer than what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// By the warehouse's clock.
    pub at: DateTime<Utc>,
    /// What the warehouse was seen to hold before, by its [`changed_at`](RowOutcome::changed_at): that was not stored since,
    /// though the clock, which may have been set back, says so.
    pub held: Option<DateTime<Utc>>,
}

impl From<DateTime<Utc>> for Asked {
    fn from(at: DateTime<Utc>) -> Self {
        Self { at, held: None }
    }
}

impl<'a> PageCommit<'a> {
    pub(super) fn conversation(&self) -> Option<&'a str> {
        self.conversation.or_else(|| self.rows.first()?.conversation_id())
    }
}

/// What became of a row of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowOutcome {
    /// The row's internal number; `None` only if the warehouse holds no row of that id.
    pub num: Option<u64>,
    /// What was done.
    pub change: Change,
    /// Since when the warehouse holds the row, or its tombstone, as it was before this page; `None` if it held none.
    pub changed_at: Option<DateTime<Utc>>,
    /// Whether another row of its id was stored with it, or would have been, and is not the same.
    pub differs: bool,
}

/// What storing a page did with a row.
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
    /// It was stored otherwise after the page was asked for, and nothing tells which of the two is newer. It stays as it
    /// was stored; whoever asks for it again learns what it is.
    Doubtful,
    /// The database cannot hold it; it is in `quarantine` with the reason. A row of its id that was there before
    /// stays as it was, and keeps its number.
    Quarantined,
}

impl Warehouse {
    /// Stores a page and the checkpoint that claims it, in one transaction; the outcomes are aligned with `page.rows`.
    ///
    /// `checkpoint` is called once, with the outcomes, before the transaction commits; `None` leaves the stored
    /// checkpoint as it is. A page on which nothing differs and whose checkpoint is `None` opens no write transaction.
    /// Of several rows with one id the last is stored, and all of them get its outcome. Many pages are stored faster
    /// by a [`PageWriter`].
    ///
    /// # Errors
    ///
    /// If the database fails; then nothing of the page is stored. A row it cannot hold is an outcome, not an error.
    pub async fn commit_page(
        &self,
        page: &PageCommit<'_>,
        checkpoint: impl FnOnce(&[RowOutcome]) -> Option<String> + Send,
    ) -> Result<Vec<RowOutcome>, Error> {
        let mut writer: PageWriter = self.page_writer(page.account, page.resource).await?;
        let outcomes = writer.store(page).await?;
        writer.commit(checkpoint(&outcomes).as_deref()).await?;
        Ok(outcomes)
    }
}
