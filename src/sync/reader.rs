//! Driving a sweep: fetch the page it asks for, store it, commit it together with the sweep's checkpoint.

use std::time::Duration;

use chrono::{DateTime, Utc};
use roaring::RoaringTreemap;

use super::ahead::{Ahead, Arrival};
use super::single::{self, Single};
use super::sweep::{Request, Sweep, Verdict};
use super::{Error, Run, Tally};
use crate::allai::model::Json;
use crate::allai::model::Row;
use crate::allai::{self, ListQuery, Listing, Page, Resource};
use crate::warehouse::{Change, PageCommit, PageWriter};

/// How long pages that change nothing may go without a checkpoint on the disk; until then it is noted elsewhere how far the
/// reading is (see [`Interim`](crate::warehouse::Interim)). Pages that change something carry one.
pub(super) const CHECKPOINT_EVERY: Duration = Duration::from_millis(500);

/// At most so many pages are stored in one transaction: enough to spread its cost, and soon enough over for others that
/// want to write.
const PAGES_A_COMMIT: usize = 8;

/// At most so many pages are stored at once, which takes the database fewer steps.
const PAGES_AT_ONCE: usize = 4;

/// At most so many pages are stored in one transaction while others want to write as well.
const PAGES_A_COMMIT_AMONG_OTHERS: usize = 2;

/// How often a list is asked whether it ends before it is taken for endless.
const ENDS: usize = 3;
/// Nobody's list is so long. A server that returns rows here would do so for ever.
pub(super) const ENDLESS: u64 = 1_000_000_000;

/// After how many pages it is asked whether the list ends at all.
const LONG: u64 = 200;

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
    /// What the run has read, and counted, before.
    pub(super) counted: Option<&'a Sweep>,
}

impl Reader<'_> {
    /// Reads until the sweep is finished.
    pub(super) async fn read(&self, sweep: &mut Sweep) -> Result<(), Error> {
        // On the heap: it is large, and in every future that waits for a run.
        Box::pin(self.read_on(sweep)).await
    }

    async fn read_on(&self, sweep: &mut Sweep) -> Result<(), Error> {
        let mut pages = Ahead::new(self);
        let mut store = Store::new(self).await?;
        let mut is_known_to_end = false;
        while let Some(request) = sweep.next() {
            // No transaction waits for the API.
            if !pages.is_here(request) || store.is_full() || self.run.job.cancelled.is_cancelled() {
                store.commit(sweep, &mut pages).await?;
                self.ask_again(&mut store, sweep, &mut pages).await?;
            }
            let page = self
                .run
                .unless_cancelled(pages.page(request, sweep, store.pages))
                .await?;
            let page = match page {
                Err(Error::Api(error)) if sweep.looks_behind() && is_end(&error) => {
                    sweep.nothing_behind();
                    continue;
                }
                Err(Error::Api(error)) if sweep.looks_behind() && is_about_this_request(&error) => {
                    // It may fail wherever it is asked, now: then so does the run.
                    let known_to_work = Request { offset: 0, ..request };
                    self.run.unless_cancelled(self.fetch(known_to_work)).await??;
                    sweep.fails_behind();
                    continue;
                }
                page => page?,
            };
            if !sweep.looks_behind() && pages.is_outdated(&page) {
                continue;
            }
            match page.view(|view| sweep.offer(view)) {
                Verdict::Anchored => {}
                Verdict::Looked => continue,
                Verdict::Broken => {
                    tracing::debug!(
                        sync.resource = %self.resource, sync.offset = request.offset,
                        "the list changed between two pages; stepping back"
                    );
                    continue;
                }
            }
            let mut taken = vec![page];
            while taken.len() < store.room()
                && let Some(page) = pages.page_behind(&taken, sweep)
            {
                taken.push(page);
            }
            store.take(&taken, sweep, &mut pages).await?;
            pages.done_with(taken);
            if !is_known_to_end && sweep.pages() >= LONG {
                store.commit(sweep, &mut pages).await?;
                pages.beside(self.check_that_it_ends()).await?;
                is_known_to_end = true;
            }
        }
        store.commit(sweep, &mut pages).await?;
        self.ask_again(&mut store, sweep, &mut pages).await
    }

    /// Asks again for the rows that others stored otherwise while the pages were on their way.
    async fn ask_again(&self, store: &mut Store<'_>, sweep: &mut Sweep, pages: &mut Ahead<'_>) -> Result<(), Error> {
        for Doubtful { row, request, held } in std::mem::take(&mut store.doubtful) {
            // On the heap: it is rarely needed, and would make every reading larger.
            let asking = Box::pin(async {
                let id = row.id();
                if self.resource == Resource::Conversations {
                    return single::conversation(self.run, id, held, Some(&store.seen)).await;
                }
                if self.resource == Resource::Contacts {
                    let found = single::contact(self.run, id, held, &single::searches(&row)).await?;
                    if found != Single::NotThere {
                        return Ok(found);
                    }
                }
                single::listed(self.run, &self.listing, request, id, held).await
            });
            match pages.beside(asking).await? {
                Single::Stored(_) => sweep.settles_doubt(),
                Single::NotThere if self.resource == Resource::Conversations => sweep.settles_doubt(),
                Single::NotThere => {}
                Single::Doubtful(_) => tracing::info!(
                    sync.account = self.run.account(), sync.resource = %self.resource,
                    "a row was changed by others as fast as it could be read; it stays as they stored it"
                ),
            }
        }
        Ok(())
    }

    /// Fails if the server makes up rows for whatever offset it is asked: no sweep of such a list would end. One that
    /// brings its last page wherever the list is over is told by the same rows at another offset.
    async fn check_that_it_ends(&self) -> Result<(), Error> {
        // That last page may change between the two questions; what is made up is never the same.
        for _ in 0..ENDS {
            let mut found = Vec::new();
            for offset in [ENDLESS, ENDLESS + ENDLESS / 2] {
                let request = Request { offset, limit: 2 };
                match self.run.unless_cancelled(self.fetch(request)).await? {
                    Ok(page) if !page.items.is_empty() => found.push(page.items),
                    Ok(_) => return Ok(()),
                    Err(Error::Api(error)) if is_about_this_request(&error) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
            let texts = |rows: &[Json]| rows.iter().map(|row| row.get().to_owned()).collect::<Vec<_>>();
            if texts(&found[0]) == texts(&found[1]) {
                return Ok(());
            }
        }
        if self.checkpointed {
            // There is no going on from there.
            self.run
                .job
                .warehouse
                .save_checkpoint(self.run.account(), self.resource, None)
                .await?;
        }
        Err(Error::Endless(self.resource))
    }

    /// Fetches one page.
    pub(super) async fn fetch(&self, request: Request) -> Result<Page, Error> {
        Ok(self.run.client.list(&self.listing, &self.query(request)).await?)
    }

    /// Fetches one page, and reads it: on another thread, since it takes as long as storing it does.
    pub(super) async fn fetch_read<T, F>(&self, request: Request, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Fn(Page) -> T + Clone + Send + 'static,
    {
        if self.run.job.account.in_lockstep {
            return Ok(read(self.fetch(request).await?));
        }
        let query = self.query(request);
        Ok(self.run.client.list_read(&self.listing, &query, read).await?)
    }

    fn query(&self, request: Request) -> ListQuery {
        ListQuery {
            limit: request.limit,
            offset: request.offset,
            fields: self.run.job.account.fields(self.resource).to_vec(),
            status: self.status.map(str::to_owned),
            search: None,
        }
    }

    /// Asks for one conversation and stores it.
    pub(super) async fn fetch_conversation(&self, id: &str) -> Result<Fetched, Error> {
        Ok(match single::conversation(self.run, id, None, None).await? {
            Single::NotThere => Fetched::Gone,
            Single::Stored(_) | Single::Doubtful(_) => Fetched::Found,
        })
    }
}

/// Whether an error is an answer to who asks for rows behind the end: to refuse such an offset is an end, too.
pub(super) const fn is_end(error: &allai::Error) -> bool {
    matches!(
        error,
        allai::Error::BadRequest { .. } | allai::Error::NotFound { .. } | allai::Error::Gone { .. }
    )
}

/// Whether the API may answer other requests than this one.
const fn is_about_this_request(error: &allai::Error) -> bool {
    !error.stops_account() && !error.is_unreachable()
}

/// So many pages that change nothing are read again rather than claimed by the first checkpoint: most lists are that short.
const UNCLAIMED: usize = 2;

/// Where the pages of one reading go: several to a commit, together with the checkpoint that claims them.
struct Store<'a> {
    reader: &'a Reader<'a>,
    writer: PageWriter,
    /// Pages that were taken and are not committed.
    pages: usize,
    /// Whether somebody waited for the last commit.
    is_among_others: bool,
    /// Pages that were taken after the last checkpoint or note.
    unclaimed: usize,
    counted: Tally,
    saved_at: Duration,
    /// Rows that were stored otherwise while their page was on its way.
    doubtful: Vec<Doubtful>,
    /// Their numbers, and those of the ones before.
    seen: RoaringTreemap,
}

/// A row that may be older than what is stored of it, and where in the list it was.
struct Doubtful {
    row: Row,
    request: Request,
    /// Since when the warehouse holds what is stored.
    held: Option<DateTime<Utc>>,
}

impl<'a> Store<'a> {
    async fn new(reader: &'a Reader<'a>) -> Result<Self, Error> {
        let job = reader.run.job;
        Ok(Self {
            reader,
            writer: job.warehouse.page_writer(reader.run.account(), reader.resource).await?,
            pages: 0,
            is_among_others: false,
            unclaimed: 0,
            counted: Tally::default(),
            saved_at: job.clock.monotonic(),
            doubtful: Vec::new(),
            seen: RoaringTreemap::new(),
        })
    }

    /// Whether what was taken is to be committed before more is.
    fn is_full(&self) -> bool {
        self.room() == 0 || self.writer.is_waited_for()
    }

    /// How many pages may be taken together.
    fn room(&self) -> usize {
        let allowed = if self.is_among_others {
            PAGES_A_COMMIT_AMONG_OTHERS
        } else {
            PAGES_A_COMMIT
        };
        let allowed = allowed.min(self.reader.run.job.account.concurrency);
        allowed.saturating_sub(self.pages).min(PAGES_AT_ONCE)
    }

    /// Stores anchored pages, and tells the sweep what they were.
    async fn take(&mut self, taken: &[Arrival], sweep: &mut Sweep, pages: &mut Ahead<'_>) -> Result<(), Error> {
        let reader = self.reader;
        let commits: Vec<_> = taken
            .iter()
            .map(|page| PageCommit {
                account: reader.run.account(),
                resource: reader.resource,
                conversation: reader.listing.conversation_id(),
                rows: &page.rows.usable,
                rejected: &page.rows.rejected,
                asked: Some(page.asked_at.into()),
            })
            .collect();
        let unstored = self.pages + taken.len();
        let outcomes = pages
            .meanwhile(sweep, unstored, self.writer.store_all(&commits))
            .await?;
        let mut outcomes = &outcomes[..];
        for page in taken {
            let (of_page, rest) = outcomes.split_at(page.rows.usable.len());
            outcomes = rest;
            for (row, outcome) in page.rows.usable.iter().zip(of_page) {
                if outcome.change == Change::Doubtful {
                    let (row, request, held) = (row.clone(), page.request, outcome.changed_at);
                    self.doubtful.push(Doubtful { row, request, held });
                    sweep.doubts();
                    self.seen.extend(outcome.num);
                }
            }
            debug_assert_eq!(page.view(|view| sweep.offer(view)), Verdict::Anchored);
            let marks = page.rows.marks(of_page, reader.settled_at);
            let first_seen = page.view(|view| sweep.absorb(view, &marks));
            let counted = |num, key| reader.counted.is_some_and(|before| before.has_seen(num, key));
            self.counted.add(&page.rows.tally(of_page, &first_seen, counted));
            self.pages += 1;
            pages.used(marks.iter().filter(|mark| mark.changed).count(), marks.len());
        }
        Ok(())
    }

    async fn commit(&mut self, sweep: &Sweep, pages: &mut Ahead<'_>) -> Result<(), Error> {
        if self.pages == 0 {
            return Ok(());
        }
        let now = self.reader.run.job.clock.monotonic();
        self.unclaimed += self.pages;
        let is_over = sweep.next().is_none();
        let continues = self.writer.interim().has_checkpoint();
        let is_due = self.writer.is_open()
            || now.saturating_sub(self.saved_at) >= CHECKPOINT_EVERY
            || !continues && self.unclaimed > UNCLAIMED;
        let claims = self.reader.checkpointed && !is_over && (is_due || continues);
        let checkpoint = claims.then(|| sweep.checkpoint());
        self.is_among_others = self.writer.is_waited_for();
        let writer = &mut self.writer;
        let work = async {
            match &checkpoint {
                Some(checkpoint) if !is_due => Ok(writer.interim().note(checkpoint).await),
                checkpoint => writer.commit(checkpoint.as_deref()).await.map(|()| claims),
            }
        };
        let is_claimed = pages.meanwhile(sweep, self.pages, work).await?;
        self.pages = 0;
        if is_claimed {
            self.unclaimed = 0;
        }
        if claims && is_due {
            self.saved_at = now;
        }
        if is_claimed || is_over || !self.reader.checkpointed {
            self.report(sweep);
        }
        Ok(())
    }

    /// Counts what is committed and will not be read again, should the run be cut short.
    fn report(&mut self, sweep: &Sweep) {
        let counted = std::mem::take(&mut self.counted);
        self.reader.run.tally().add(&counted);
        let progress = self.reader.run.job.progress;
        progress.wrote(counted.written());
        if self.reader.resource != Resource::Messages {
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
