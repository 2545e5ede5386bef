//! Fetching pages before the sweep asks for them.
//!
//! While one page is stored, the next ones are on their way: as many as the rate budget lets through at once, within a
//! window that widens while pages that were foreseen have to be waited for, narrows while they pile up, and halves whenever
//! they are not what is asked for: because the list changed too much, or pages are not as long as those before. They are
//! futures of the run's own task, so that dropping the run drops them.
//!
//! The sweep is complete whenever pages were fetched (see [`Sweep::ahead`](super::sweep::Sweep::ahead)), but pages
//! overlap, and a row may have changed between two of them. A page that was asked for before another one had arrived,
//! and says something else of the same row, may be the older of the two: it is fetched again.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, Stream as _};

use super::Error;
use super::reader::Reader;
use super::rows::Rows;
use super::sweep::{Item, Mode, PageView, Request, Sweep};
use crate::allai::Page;

/// How many pages are fetched ahead at first. With each that has to be waited for it is one more; where pages pile up it
/// is one less, since what waits in memory is cold when it is stored.
const FIRST_WINDOW: usize = 6;

/// Pages that are fetched and not yet stored hold at most so many bytes of rows, or are one.
const MOST_BYTES: usize = 16 << 20;

/// So many rows may always be remembered as the latest.
const FEWEST_LATEST: usize = 4_096;

/// A page, as it arrived.
pub(super) struct Arrival {
    pub(super) rows: Rows,
    pub(super) total: Option<u64>,
    pub(super) has_more: Option<bool>,
    pub(super) request: Request,
    /// How long its rows are.
    bytes: usize,
    /// When it was asked for, by the warehouse's clock.
    pub(super) asked_at: DateTime<Utc>,
    /// When it was asked for, and when it was there, counted in requests and answers.
    sent: u64,
    arrived: u64,
    /// Whether that was before a page before it was there.
    is_early: bool,
}

impl Arrival {
    /// Shows the page to `look` as the sweep sees it.
    pub(super) fn view<T>(&self, look: impl FnOnce(&PageView<'_>) -> T) -> T {
        look(&PageView {
            items: &self.rows.items,
            version: &|position| self.rows.version(position),
            total: self.total,
            has_more: self.has_more,
            is_early: self.is_early,
        })
    }
}

/// The pages of one reading that are on their way or waiting to be taken.
pub(super) struct Ahead<'a> {
    reader: &'a Reader<'a>,
    on_their_way: FuturesUnordered<BoxFuture<'a, (Request, Result<Arrival, Error>)>>,
    /// Their offsets, and when they were asked for.
    expected: BTreeMap<u64, u64>,
    arrived: BTreeMap<u64, Result<Arrival, Error>>,
    /// The offset of the page taken last.
    last_taken: u64,
    /// The offset that was thought to be asked for next.
    foreseen: Option<u64>,
    /// At most so many pages are fetched and not yet taken.
    window: usize,
    /// The rows on the largest page so far; a smaller one is probably the list's last.
    largest_page: usize,
    /// The bytes of the longest page so far.
    longest_page: usize,
    /// When the latest of the pages taken had arrived.
    newest: u64,
    /// Whether the page taken last may be the end: it is a smaller one, or an incremental run's.
    may_be_over: bool,
    ticks: u64,
    /// Rows of the pages taken last, by key: their version, and when it arrived.
    latest: HashMap<u64, (u64, u64)>,
    /// How many of those there may be before the ones that no page can contradict any more are dropped.
    latest_allowed: usize,
    /// The rows of the page that was found outdated last, by key: the versions of their texts and of their contents.
    doubted: HashMap<u64, (u64, u64)>,
    /// Whether versions are those of contents, because the server writes the same row in several ways.
    by_content: bool,
    /// Whether rows are decoded as they arrive, because they are likely to be stored.
    decoding: Arc<AtomicBool>,
    /// Pages that are of no more use. They are many small pieces of memory, best given back where they were taken.
    spent: Arc<Mutex<Vec<Arrival>>>,
}

impl<'a> Ahead<'a> {
    pub(super) fn new(reader: &'a Reader<'a>) -> Self {
        Self {
            reader,
            on_their_way: FuturesUnordered::new(),
            expected: BTreeMap::new(),
            arrived: BTreeMap::new(),
            last_taken: 0,
            foreseen: None,
            window: FIRST_WINDOW.min(reader.run.job.account.concurrency).max(1),
            largest_page: 0,
            longest_page: 0,
            newest: 0,
            may_be_over: false,
            ticks: 0,
            latest: HashMap::new(),
            latest_allowed: FEWEST_LATEST,
            doubted: HashMap::new(),
            by_content: false,
            decoding: Arc::default(),
            spent: Arc::default(),
        }
    }

    /// The page the sweep asks for next; `unstored` pages taken before are not committed yet.
    pub(super) async fn page(&mut self, request: Request, sweep: &Sweep, unstored: usize) -> Result<Arrival, Error> {
        if sweep.looks_behind() {
            // To be the last thing that is asked for.
            self.forget();
        }
        let is_known = self.expected.contains_key(&request.offset) || self.arrived.contains_key(&request.offset);
        if !is_known {
            // Those behind a page that is asked for again are of use as before.
            let is_again = request.offset == self.last_taken && sweep.is_within_a_pass();
            if !is_again && self.expected.len() + self.arrived.len() > 0 {
                // The list, or its pages, are not what they were when these were asked for.
                self.window = (self.window / 2).max(1);
                self.forget();
            }
            self.ask_for(request);
        }
        let was_foreseen = is_known || self.foreseen == Some(request.offset);
        self.foreseen = sweep.ahead().next().map(|request| request.offset);
        if !self.is_here(request) {
            self.window = (self.window + usize::from(was_foreseen)).min(self.most());
        } else if self.window > FIRST_WINDOW && 2 * self.arrived.len() > self.window {
            self.window -= 1;
        }
        self.last_taken = request.offset;
        poll_fn(|context| {
            loop {
                self.look_further(sweep, unstored, context);
                if let Some(page) = self.arrived.remove(&request.offset) {
                    return Poll::Ready(page);
                }
                ready!(self.poll_arrival(context));
            }
        })
        .await
        .map(|page| self.note_taken(page, sweep))
    }

    /// The page behind those that were taken together so far, if it is here, continues them whatever becomes of them, and is
    /// what is known now.
    pub(super) fn page_behind(&mut self, taken: &[Arrival], sweep: &Sweep) -> Option<Arrival> {
        let last = taken.last()?;
        let offset = sweep.ahead().nth(taken.len() - 1)?.offset;
        let here = self.arrived.get(&offset)?.as_ref().ok()?;
        if !last.view(|view| sweep.goes_on_behind(view, taken.len())) || !here.rows.go_on_from(&last.rows) {
            return None;
        }
        let page = self.arrived.remove(&offset)?.ok()?;
        if self.is_outdated(&page) {
            return None;
        }
        self.last_taken = offset;
        Some(self.note_taken(page, sweep))
    }

    fn note_taken(&mut self, page: Arrival, sweep: &Sweep) -> Arrival {
        let rows = page.rows.items.len();
        self.may_be_over = rows < self.largest_page || sweep.mode() != Mode::Full;
        self.largest_page = self.largest_page.max(rows);
        self.longest_page = self.longest_page.max(page.bytes);
        let is_early = page.sent < self.newest;
        self.newest = self.newest.max(page.arrived);
        Arrival { is_early, ..page }
    }

    /// At most so many pages are fetched and not yet stored: what a run that is killed has to fetch again, and what memory holds.
    fn most(&self) -> usize {
        let have_room = MOST_BYTES / self.longest_page.max(1);
        self.reader.run.job.account.concurrency.min(have_room).max(1)
    }

    /// Whether the page at `offset` is here, so that taking it takes no time.
    pub(super) fn is_here(&self, request: Request) -> bool {
        matches!(self.arrived.get(&request.offset), Some(Ok(_)))
    }

    /// Whether the page may tell of rows what was true before what is stored of them. Else it is what is known now.
    pub(super) fn is_outdated(&mut self, page: &Arrival) -> bool {
        self.learn_from_doubt(page);
        let by_content = self.by_content;
        let versions = || {
            let keys = page.rows.items.iter().map(|item| item.key).enumerate();
            keys.map(|(position, key)| {
                let version = if by_content {
                    page.rows.version(position)
                } else {
                    page.rows.text_version(position)
                };
                (key, version)
            })
        };
        let outdated = versions().any(|(key, version)| {
            let latest = self.latest.get(&key);
            latest.is_some_and(|&(other, arrived)| arrived > page.sent && other != version)
        });
        if outdated {
            let doubted = page.rows.items.iter().enumerate();
            let doubted = doubted.map(|(at, item)| (item.key, (page.rows.text_version(at), page.rows.version(at))));
            self.doubted = doubted.collect();
        } else {
            let latest = versions().map(|(key, version)| (key, (version, page.arrived)));
            self.latest.extend(latest);
            if self.latest.len() > self.latest_allowed {
                self.drop_settled();
            }
        }
        outdated
    }

    /// Compares a page with what it said the first time, if it was doubted. A server that writes the same row now so, now
    /// so would have every page fetched twice: its rows are compared by their content, which costs more.
    fn learn_from_doubt(&mut self, page: &Arrival) {
        let doubted = std::mem::take(&mut self.doubted);
        let is_same = |(at, item): (usize, &Item)| {
            doubted
                .get(&item.key)
                .is_some_and(|&(text, content)| text != page.rows.text_version(at) && content == page.rows.version(at))
        };
        if !doubted.is_empty() && page.rows.items.iter().enumerate().any(is_same) {
            self.by_content = true;
            // What is on its way cannot be compared with what was known by its text.
            self.latest.clear();
            self.forget();
        }
    }

    /// Drops what arrived before any of the pages to come was asked for.
    fn drop_settled(&mut self) {
        let here = self.arrived.values().flatten().map(|page| page.sent);
        let oldest = here.chain(self.expected.values().copied()).min();
        let oldest = oldest.unwrap_or(self.ticks);
        self.latest.retain(|_, (_, arrived)| *arrived > oldest);
        self.latest_allowed = FEWEST_LATEST.max(2 * self.latest.len());
    }

    /// Notes that a page was used: if most of its rows had changed, those to come are worth decoding as they arrive.
    pub(super) fn used(&mut self, changed: usize, rows: usize) {
        self.decoding.store(changed * 2 > rows, Ordering::Relaxed);
    }

    /// Takes back pages that are of no more use.
    pub(super) fn done_with(&self, pages: Vec<Arrival>) {
        lock(&self.spent).extend(pages);
    }

    /// Does `work`, while pages arrive and more are asked for; `unstored` pages taken before are not committed yet.
    pub(super) async fn meanwhile<T>(&mut self, sweep: &Sweep, unstored: usize, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            if !self.reader.run.job.account.in_lockstep {
                loop {
                    if !self.may_be_over {
                        self.look_further(sweep, unstored, context);
                    }
                    if self.poll_arrival(context).is_pending() {
                        break;
                    }
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Asks for something else. The pages on their way go on: one that waits for the rate budget is in nobody's way only as
    /// long as somebody polls it.
    pub(super) async fn beside<T>(&mut self, request: impl Future<Output = T>) -> T {
        let mut request = pin!(request);
        poll_fn(|context| {
            while self.poll_arrival(context).is_ready() {}
            request.as_mut().poll(context)
        })
        .await
    }

    fn forget(&mut self) {
        self.on_their_way.clear();
        self.expected.clear();
        self.arrived.clear();
    }

    fn ask_for(&mut self, request: Request) {
        let (reader, decoding, done_with) = (self.reader, Arc::clone(&self.decoding), Arc::clone(&self.spent));
        self.ticks += 1;
        let sent = self.ticks;
        self.expected.insert(request.offset, sent);
        self.on_their_way.push(Box::pin(async move {
            let asked_at = reader.run.job.clock.now();
            let (listing, warehouse) = (reader.listing.clone(), reader.run.job.warehouse.clone());
            let read = move |page: Page| {
                let done_with = std::mem::take(&mut *lock(&done_with));
                drop(done_with);
                let bytes = page.items.iter().map(|row| row.get().len()).sum();
                let decoding = decoding.load(Ordering::Relaxed);
                let rows = Rows::read(&listing, page.items, decoding);
                if decoding {
                    warehouse.prepare(&rows.usable);
                }
                Arrival {
                    rows,
                    total: page.total,
                    has_more: page.has_more,
                    request,
                    bytes,
                    asked_at,
                    sent,
                    arrived: 0,
                    is_early: false,
                }
            };
            (request, reader.fetch_read(request, read).await)
        }));
    }

    /// Asks for the pages that follow, until the window is full or the budget lets no more through.
    fn look_further(&mut self, sweep: &Sweep, unstored: usize, context: &mut Context<'_>) {
        let is_last = |page: &Result<Arrival, Error>| {
            let rows = page.as_ref().map(|page| page.rows.items.len());
            rows.is_err() || rows.is_ok_and(|rows| rows < self.largest_page)
        };
        if self.arrived.values().any(is_last) {
            return;
        }
        let budget = self.reader.run.client.budget();
        let last_taken = self.last_taken;
        let to_come = sweep.next().into_iter().chain(sweep.ahead());
        for request in to_come.filter(|request| request.offset > last_taken) {
            let ahead = self.expected.len() + self.arrived.len();
            if ahead >= self.window || unstored + ahead >= self.most() {
                return;
            }
            if self.expected.contains_key(&request.offset) || self.arrived.contains_key(&request.offset) {
                continue;
            }
            // What was asked for last must be on its way before the next is.
            while self.poll_arrival(context).is_ready() {}
            if budget.snapshot().waiting.is_some() {
                return;
            }
            self.ask_for(request);
        }
    }

    /// Takes in one page, if one is there; pending, too, if none is on its way.
    fn poll_arrival(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match Pin::new(&mut self.on_their_way).poll_next(context) {
            Poll::Ready(Some((request, fetched))) => {
                self.ticks += 1;
                let arrived = self.ticks;
                self.expected.remove(&request.offset);
                self.arrived
                    .insert(request.offset, fetched.map(|page| Arrival { arrived, ..page }));
                Poll::Ready(())
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

fn lock(pages: &Mutex<Vec<Arrival>>) -> MutexGuard<'_, Vec<Arrival>> {
    pages.lock().unwrap_or_else(PoisonError::into_inner)
}
