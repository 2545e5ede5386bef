//! Driving a sweep: fetch the page it asks for, decode it, commit it together with the sweep's checkpoint.

use std::time::Duration;

use chrono::{DateTime, Utc};
use roaring::RoaringTreemap;

use super::ahead::Ahead;
use super::rows::Rows;
use super::sweep::{Request, Sweep, Verdict};
use super::{Error, Run, Tally};
use crate::allai::{ListQuery, Listing, Page, Resource};
use crate::warehouse::PageCommit;

/// How long pages that change nothing may go without a checkpoint. A page that changes something carries one.
pub(super) const CHECKPOINT_EVERY: Duration = Duration::from_millis(500);

/// Reads one list of the API into the warehouse.
pub(super) struct Reader<'a> {
    pub(super) run: &'a Run<'a>,
    pub(super) listing: Listing,
    pub(super) resource: Resource,
    /// Only rows of this status, where the list can be filtered by it.
    pub(super) status: Option<&'a str>,
    /// Whether the sweep is saved, so that a run cut short goes on with it.
    pub(super) checkpointed: bool,
    /// When the list was last read completely; what was written later is not settled.
    pub(super) settled_at: Option<DateTime<Utc>>,
    /// Rows, by number, that the run has counted before.
    pub(super) counted: Option<&'a RoaringTreemap>,
}

impl Reader<'_> {
    /// Reads until the sweep is finished.
    pub(super) async fn read(&self, sweep: &mut Sweep) -> Result<(), Error> {
        let job = self.run.job;
        let mut pages = Ahead::new(self);
        let mut saved_at = job.clock.monotonic();
        while let Some(request) = sweep.next() {
            let page = self.run.unless_cancelled(pages.page(request, sweep, 0)).await??;
            if pages.is_outdated(&page) {
                continue;
            }
            if page.view(|view| sweep.offer(view)) == Verdict::Broken {
                tracing::debug!(
                    sync.resource = %self.resource, sync.offset = request.offset,
                    "the list changed between two pages; stepping back"
                );
                pages.broke();
                continue;
            }
            let now = job.clock.monotonic();
            let mut counted = Tally::default();
            let records: Vec<_> = page.rows.rows.iter().map(|row| row.record().clone()).collect();
            let raw: Vec<_> = page.rows.rows.iter().map(|row| row.raw().to_owned()).collect();
            let commit = PageCommit {
                account: self.run.account(),
                resource: self.resource,
                records: &records,
                raw: &raw,
                rejected: &page.rows.rejected,
            };
            let mut saved = false;
            let mut changes = 0;
            let stored = job.warehouse.commit_page(&commit, |outcomes| {
                let marks = page.rows.marks(outcomes, self.settled_at);
                let first_seen = page.view(|view| sweep.absorb(view, &marks));
                counted = page.rows.tally(outcomes, &first_seen, self.counted);
                changes = marks.iter().filter(|mark| mark.changed).count();
                saved = self.checkpointed
                    && sweep.next().is_some()
                    && (changes > 0 || now.saturating_sub(saved_at) >= CHECKPOINT_EVERY);
                saved.then(|| sweep.checkpoint())
            });
            pages.meanwhile(stored).await?;
            pages.expect_changes(changes, page.rows.items.len());
            if saved {
                saved_at = now;
            }
            self.report(&counted, sweep);
        }
        Ok(())
    }

    /// Fetches one page.
    pub(super) async fn fetch(&self, request: Request) -> Result<Page, Error> {
        let query = ListQuery {
            limit: request.limit,
            offset: request.offset,
            fields: self.run.job.account.fields(self.resource).to_vec(),
            status: self.status.map(str::to_owned),
            search: None,
        };
        Ok(self.run.client.list(&self.listing, &query).await?)
    }

    /// Asks for one conversation and stores it.
    pub(super) async fn fetch_conversation(&self, id: &str) -> Result<Fetched, Error> {
        let job = self.run.job;
        let fields = job.account.fields(Resource::Conversations);
        let found = self
            .run
            .unless_cancelled(self.run.client.conversation_raw(id, fields))
            .await??;
        let Some(raw) = found else {
            return Ok(Fetched::Gone);
        };
        let rows = Rows::read(&Listing::Conversations, vec![raw]);
        let records: Vec<_> = rows.rows.iter().map(|row| row.record().clone()).collect();
        let raw: Vec<_> = rows.rows.iter().map(|row| row.raw().to_owned()).collect();
        let commit = PageCommit {
            account: self.run.account(),
            resource: Resource::Conversations,
            records: &records,
            raw: &raw,
            rejected: &rows.rejected,
        };
        let outcomes = job.warehouse.commit_page(&commit, |_| None).await?;
        let counted = rows.tally(&outcomes, &[true], self.counted);
        self.run.tally().add(&counted);
        job.progress.wrote(counted.written());
        job.progress.advance(counted.rows_seen);
        Ok(Fetched::Found)
    }

    fn report(&self, counted: &Tally, sweep: &Sweep) {
        self.run.tally().add(counted);
        let progress = self.run.job.progress;
        progress.wrote(counted.written());
        if self.resource != Resource::Messages {
            progress.advance(counted.rows_seen);
            if let Some(total) = sweep.total() {
                progress.expect(total);
            }
        }
    }
}

/// What the API answered when asked for one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    /// It exists, and is stored.
    Found,
    /// 404 or 410.
    Gone,
}
