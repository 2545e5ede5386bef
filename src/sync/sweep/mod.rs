//! The sweep: reading a list through limit and offset, while it changes, without losing a row.
//!
//! Read pages that overlap the one before. A page is *anchored* when it shares a row with the previous page: that row
//! was seen with all that precedes it, and the page is a contiguous slice, so everything after it is seen too. A page
//! that shares none is dropped and the sweep steps back, twice as far each time, until one is anchored. Whatever is
//! inserted or deleted, and at whatever moments the pages were fetched, every row that was alive throughout has been
//! seen at the end, as long as the surviving rows keep their relative order. Where rows move (ordered by last change),
//! or where the order is not known, parts are read again until nothing new turns up.
//!
//! A list ends where its total says so and nothing says that there is more, or where nothing stands right behind its last row, nor a
//! page further: servers that cut pages shorter as they go, or leave rows out of them, have pages in mid-list that look like the last,
//! and say that there is no more. What tells the end was asked for when
//! all before it had been answered, since rows may move there meanwhile. Of a list that grows as fast as it is read what
//! was there at one moment is read: as many rows as there were up to a place where nothing stood. What nobody can tell is a list whose server leaves
//! out more rows in a row than a page has, and does not say that there is more. Where most answers bring nothing that was there when
//! the reading began, because so much comes or moves with each of them, it is given up as no proof.
//!
//! This is the algorithm alone: it asks for pages and is given them, and knows neither HTTP nor SQL nor time. The
//! caller fetches what [`Sweep::next`] asks for, shows it to [`Sweep::offer`] and, if it is anchored, stores it and
//! tells [`Sweep::absorb`] what it was, in the very transaction that saves [`Sweep::checkpoint`].

mod anchor;
pub(super) mod bitmap;
mod ends;
mod head;
mod packed;
mod page;
mod passes;
mod proof;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use roaring::RoaringTreemap;
use serde::{Deserialize, Serialize};

use super::order::{Evidence, Order};
use anchor::step;
use head::Heads;
use page::Slice;
pub use page::{Item, Mark, PageView};
use proof::Doubt;
pub use proof::{Nameless, Proof};

/// So many answers that bring no row which was there when the reading began, and so many for each one that does, show that a list
/// changes as fast as it is read. A list of unknown order is read over a few times, which brings nothing either.
const FRUITLESS_ANSWERS: u64 = 400;
const FRUITLESS_ANSWERS_EACH: u64 = 8;

/// By how much the server's clock may differ from what is known of it.
const CLOCKS_APART: TimeDelta = TimeDelta::minutes(10);

/// No sweep takes longer, with all its interruptions.
const LONGEST: TimeDelta = TimeDelta::hours(48);

/// What a sweep is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Mode {
    /// Read everything, and prove it.
    Full,
    /// Read from the head (newest or last changed first) down to a whole page of rows that were known, by a number up
    /// to `watermark`, and are unchanged.
    Head {
        /// The highest row number when the list was last read completely.
        watermark: u64,
    },
    /// Read from `start` (oldest first) to the end, starting earlier if nothing there was known and unchanged.
    Tail {
        /// The highest row number when the list was last read completely.
        watermark: u64,
        /// The offset to start from.
        start: u64,
    },
}

/// What to fetch next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Rows to skip.
    pub offset: u64,
    /// Rows wanted.
    pub limit: u32,
}

/// Whether a page can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It continues what was read: store it, then call [`Sweep::absorb`].
    Anchored,
    /// It does not, and the sweep has stepped back: drop it.
    Broken,
    /// It was a look behind the apparent end, and is of no further use: drop it.
    Looked,
}

/// A sweep under way; see the module's documentation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "separate facts: none of them follows from or excludes another"
)]
pub struct Sweep {
    mode: Mode,
    limit: u32,
    /// A stated total may end a list that fits one page and has no more rows than this.
    trust_total: u64,
    /// As many rows the server is known to return in a page where it has them.
    known_page: u64,
    /// Whether the same page from two offsets shows that the offset is ignored; else it takes several.
    offset_doubtful: bool,
    /// Whether a list that fits one page is looked behind once only.
    is_sparing: bool,
    /// By the server's clock: rows created later are not the sweep's business.
    started_at: DateTime<Utc>,
    /// The highest row number when the sweep began: rows numbered later cannot be missing from it.
    highest_row_num: u64,
    phase: Phase,
    offset: u64,
    previous: Option<Slice>,
    step_back: u64,
    /// Steps back since the last page that brought something new or reached further.
    breaks: u32,
    /// How many of them were right behind a page of one row.
    walls: u32,
    /// When it began or was gone on with, by the server's clock.
    reading_since: DateTime<Utc>,
    /// Answers since then that brought a row which was there and had not been seen, and others.
    fruitful_answers: u64,
    fruitless_answers: u64,
    /// The furthest offset reached in this pass.
    furthest: u64,
    /// The furthest offset reached in any pass.
    furthest_ever: u64,
    /// The largest page met: what the server really returns.
    largest_page: u64,
    /// How many pages were as large.
    largest_pages: u32,
    /// The lowest offset at which nothing was found since the last anchored page with something new.
    empty_at: Option<u64>,
    short_pages: u32,
    /// How many pages in a row brought nothing new but what is younger than the sweep.
    young_pages: u32,
    /// The size of the smallest page behind which rows from before the sweep turned up: pages of that size may be cut.
    smallest_cut: u64,
    /// How many pages in a row ended with the last row of the one before.
    alike: u32,
    /// How often in a row a later offset brought the very page of an earlier one.
    same_pages: u32,
    fruitless_pages: u32,
    /// The look behind the apparent end that is asked for next.
    look: Option<Look>,
    /// Looks that found rows, and before which page none is made for the same reason.
    looks_in_vain: u32,
    look_again_at: u64,
    /// Where the list ends if the first page is all of it.
    whole_at: Option<u64>,
    /// How often a page said that there is more behind it where nothing was.
    broken_promises: u32,
    /// How often in a row the list seemed to end, by a page without anything new, where it did not.
    stuck: u32,
    /// At most so many rows that are not read yet were there when nothing was found further on.
    unread: Option<u64>,
    /// Pages since then, in a row, without anything new.
    lingering: u32,
    /// Whether the next page may be taken without an anchor.
    bridging: bool,
    /// Whether all pages are, because none could be anchored.
    unanchored: bool,
    /// Whether an apparent end was read on behind since anything new was found.
    is_pressed: bool,
    /// What this pass has shown of changes, and the one before.
    changes: Changes,
    changes_before: Changes,
    /// Whether the page taken last ended with a row that was new.
    ends_with_news: bool,
    /// Gaps that were stepped over because the total says that there is more.
    gaps: u32,
    /// How many rows the first answer held, if the server said that they were all.
    claimed_end: Option<u64>,
    last_total: Option<u64>,
    /// Whether the last page allows for more behind it.
    more: bool,
    /// Whether the total stated with the list's last page was where that page ended.
    total_met: bool,
    unproven: Option<Doubt>,
    /// Rows that are stored otherwise than their pages show them, and were not asked for again yet.
    doubtful: u64,
    evidence: Evidence,
    heads: Heads,
    /// While the head of a list is looked at that grows at its tail: where reading it goes on, should that be necessary.
    tail: Option<Slice>,
    nameless: Nameless,
    /// Rows without an id that were the very same as others.
    twins: u64,
    /// Of rows that came again in another version, by their keys: when they last changed, and how often they did.
    changed: BTreeMap<u64, (Option<DateTime<Utc>>, u32)>,
    #[serde(with = "bitmap")]
    seen: RoaringTreemap,
    /// Fingerprints of the rows in quarantine, which have no number.
    seen_unstored: BTreeSet<u64>,
    pages: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "name")]
enum Phase {
    /// Reading the list from its start; `added` counts rows new to this pass that were created before the sweep.
    Forward {
        pass: u32,
        added: u64,
    },
    /// A look at the head for what arrived meanwhile.
    Head,
    /// Reading the head of a list whose rows move until two full pages hold nothing new or changed.
    Settle {
        pass: u32,
        quiet: u32,
        added: u64,
    },
    Done,
}

/// A look behind the apparent end of a pass, which goes on meanwhile as if it were none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Look {
    at: u64,
    /// Where is looked next, if that is behind `at` and nothing stands there.
    then: [Option<u64>; 2],
    /// Where the server says that there is more, and where it does not, with nothing in either place.
    between: Option<(u64, u64)>,
    /// If the list seems to grow: if nothing stands here, at most so many of its rows are not read yet.
    unread: Option<u64>,
    /// How often the last rows stood where it was looked behind them.
    shifts: u32,
    /// Whether the first page is the whole list, if nothing stands right behind it and it is still there then.
    is_spared: bool,
    /// Whether the page with the last rows says that there is more.
    is_promised: bool,
}

impl Sweep {
    /// A sweep that asks for pages of `limit` rows and began at `started_at` by the server's clock, when the highest
    /// row number was `highest_row_num`.
    pub fn new(mode: Mode, limit: u32, started_at: DateTime<Utc>, highest_row_num: u64) -> Self {
        Self {
            mode,
            limit,
            trust_total: 0,
            known_page: 0,
            offset_doubtful: false,
            is_sparing: false,
            started_at,
            highest_row_num,
            phase: Phase::Forward { pass: 1, added: 0 },
            offset: match mode {
                Mode::Tail { start, .. } => start,
                Mode::Full | Mode::Head { .. } => 0,
            },
            previous: None,
            step_back: 0,
            breaks: 0,
            walls: 0,
            reading_since: started_at,
            fruitful_answers: 0,
            fruitless_answers: 0,
            furthest: 0,
            furthest_ever: 0,
            largest_page: 0,
            largest_pages: 0,
            empty_at: None,
            short_pages: 0,
            young_pages: 0,
            smallest_cut: u64::MAX,
            alike: 0,
            same_pages: 0,
            fruitless_pages: 0,
            look: None,
            looks_in_vain: 0,
            look_again_at: 0,
            whole_at: None,
            broken_promises: 0,
            stuck: 0,
            unread: None,
            lingering: 0,
            bridging: false,
            unanchored: false,
            is_pressed: false,
            changes: Changes::default(),
            changes_before: Changes::default(),
            ends_with_news: false,
            gaps: 0,
            claimed_end: None,
            last_total: None,
            more: true,
            total_met: true,
            unproven: None,
            doubtful: 0,
            evidence: Evidence::default(),
            heads: Heads::default(),
            tail: None,
            nameless: Nameless::default(),
            twins: 0,
            changed: BTreeMap::new(),
            seen: RoaringTreemap::new(),
            seen_unstored: BTreeSet::new(),
            pages: 0,
        }
    }

    /// Lets the server's own word (a total, or that there is no more) end a list of up to so many rows that fits one page, where
    /// otherwise a second request confirms it. For lists by the thousand, once the server was found to tell the truth of lists
    /// as long: one that cuts its pages, and does not know it, says so of the longer ones.
    #[must_use]
    pub const fn trusting_total(mut self, up_to: u64) -> Self {
        self.trust_total = up_to;
        self
    }

    /// Says how many rows the server is known to return in a page where it has them: a page of less is the end of its list,
    /// otherwise further requests make sure.
    #[must_use]
    pub const fn knowing_of_pages(mut self, rows: u64) -> Self {
        self.known_page = rows;
        self
    }

    /// The largest page met, in rows.
    pub const fn largest_page(&self) -> u64 {
        self.largest_page
    }

    /// For a list of which the guide shows no offset: to bring the same page twice is enough to believe that the server
    /// ignores it.
    #[must_use]
    pub const fn doubting_offset(mut self) -> Self {
        self.offset_doubtful = true;
        self
    }

    /// Where the first page is shorter than others, looks right behind it and nowhere else, and if nothing stands there, and its last rows
    /// still stand where they stood, takes that one answer for the whole list. For lists by the thousand.
    #[must_use]
    pub const fn sparing_requests(mut self) -> Self {
        self.is_sparing = true;
        self
    }

    /// The sweep saved in `checkpoint`, to be gone on with `now` by the server's clock, or `None` if it is not one of this
    /// version's. If it was finished, it reads once more where the list grows.
    pub fn resume(checkpoint: &str, now: DateTime<Utc>) -> Option<Self> {
        let mut sweep: Self = serde_json::from_str(checkpoint).ok()?;
        sweep.reading_since = now;
        sweep.fruitful_answers = 0;
        sweep.fruitless_answers = 0;
        if sweep.phase == Phase::Done {
            sweep.reopen();
        }
        Some(sweep)
    }

    /// The sweep as text, to be saved with the data it claims.
    pub fn checkpoint(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What to fetch next; `None` when the sweep is finished.
    pub fn next(&self) -> Option<Request> {
        (self.phase != Phase::Done).then_some(Request {
            offset: self.look.map_or(self.offset, |look| look.at),
            limit: self.limit,
        })
    }

    /// What will probably be asked for after [`next`](Self::next), nearest first, if the pages until then are full: to be
    /// fetched meanwhile. Never the end of the list as far as it is known, whose answer must be the last; nothing where
    /// what follows depends on what is found.
    ///
    /// At whatever moments they are fetched, pages that are anchored make a complete sweep, as long as no content is
    /// stored over a newer one: that is for the caller to see to.
    pub fn ahead(&self) -> impl Iterator<Item = Request> {
        let predictable =
            matches!(self.phase, Phase::Forward { .. }) && self.look.is_none() && !self.bridging && !self.unanchored;
        let (size, limit) = (self.largest_page, self.limit);
        // A first page of which less than half is there is the whole list, most times, rather than what a server cuts pages to.
        let is_whole = self.pages < 2 && size.saturating_mul(2) < u64::from(limit);
        // An incremental run ends soon, most times.
        let most = match self.mode {
            _ if !predictable || size == 0 || is_whole || self.step_back > 0 || self.reads_where_rows_move_to() => 0,
            Mode::Head { watermark } if watermark > 0 => self.pages - 1,
            _ => u64::MAX,
        };
        let unstated = if self.more { u64::MAX } else { 0 };
        let end = self
            .last_total
            .unwrap_or(unstated)
            .min(self.empty_at.unwrap_or(u64::MAX));
        (1..=most)
            .map(move |pages| self.offset.saturating_add(pages.saturating_mul(step(size))))
            .take_while(move |offset| offset.saturating_add(size) < end)
            .map(move |offset| Request { offset, limit })
    }

    /// What the sweep is for.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// When the sweep began, by the server's clock.
    pub const fn started_at(&self) -> DateTime<Utc> {
        self.started_at
    }

    /// The rows seen, by their numbers.
    pub const fn seen(&self) -> &RoaringTreemap {
        &self.seen
    }

    /// Whether it has seen a row: by its number, or, if it has none, by its key.
    pub fn has_seen(&self, num: Option<u64>, key: u64) -> bool {
        num.map_or_else(|| self.seen_unstored.contains(&key), |num| self.seen.contains(num))
    }

    /// The highest row number when the sweep began.
    pub const fn highest_row_num(&self) -> u64 {
        self.highest_row_num
    }

    /// Rows the list holds, as far as the server says.
    pub const fn total(&self) -> Option<u64> {
        self.last_total
    }

    /// Rows without an id that were seen.
    pub const fn nameless(&self) -> &Nameless {
        &self.nameless
    }

    /// Rows seen so far, with those in quarantine.
    pub fn rows_seen(&self) -> u64 {
        self.seen.len() + self.seen_unstored.len() as u64
    }

    /// Pages taken so far.
    pub const fn pages(&self) -> u64 {
        self.pages
    }

    /// Whether what is asked for next continues a page of this pass over the list.
    pub(super) const fn is_within_a_pass(&self) -> bool {
        self.previous.is_some()
    }

    /// The order of the list, as far as this sweep's pages show it.
    pub const fn order(&self) -> Order {
        self.evidence.order()
    }

    /// Whether this sweep's pages have shown that the list is not in `order`.
    pub const fn contradicts(&self, order: Order) -> bool {
        self.evidence.contradicts(order)
    }

    /// How many rows the first answer held, if the server said that they were all, and whether that was the truth.
    pub fn claimed(&self) -> Option<(u64, bool)> {
        self.claimed_end.map(|rows| (rows, rows == self.rows_seen()))
    }

    /// Whether [`next`](Self::next) asks for what is behind the apparent end.
    pub const fn looks_behind(&self) -> bool {
        self.look.is_some()
    }

    /// The server refuses to say what is behind the apparent end: nothing, then.
    pub fn nothing_behind(&mut self) {
        if let Some(look) = self.look.take() {
            self.nothing_at(
                Look {
                    then: [None; 2],
                    ..look
                },
                false,
            );
        }
    }

    /// The server fails where it is asked what is behind the apparent end: nobody knows, then.
    pub fn fails_behind(&mut self) {
        self.unproven.get_or_insert(Doubt::FailsBehind);
        self.nothing_behind();
    }

    /// Judges the page that [`next`](Self::next) asked for.
    pub fn offer(&mut self, page: &PageView<'_>) -> Verdict {
        if let Some(look) = self.look.take() {
            self.looked(page, look);
            self.note_progress(false);
            return Verdict::Looked;
        }
        if self.is_anchored(page) {
            return Verdict::Anchored;
        }
        self.note_progress(false);
        self.step_back_from(page);
        Verdict::Broken
    }

    /// Whether the sweep will go on behind an anchored page, the `nth` from here, with what [`ahead`](Self::ahead) says,
    /// whatever becomes of its rows. Pages of which all but the last do may be stored together, before they are absorbed one
    /// by one.
    pub fn goes_on_behind(&self, page: &PageView<'_>, nth: usize) -> bool {
        let size = page.items.len();
        let keys = || page.items.iter().map(|item| item.key);
        self.mode == Mode::Full
            && !self.size_is_doubtful(page, self.pages + nth as u64)
            && !self.may_be_chased(nth)
            && !self.may_be_outrun(nth)
            && !self.may_be_asked_again(page)
            && matches!(self.phase, Phase::Forward { .. })
            && !self.bridging
            && !self.unanchored
            && self.fruitless_pages == 0
            && size > 1
            && size as u64 == self.largest_page
            && self
                .previous
                .as_ref()
                .is_some_and(|previous| !previous.keys.iter().copied().eq(keys()))
    }

    /// Takes in an anchored page; `marks` says for each of its rows what became of it. Returns for each row whether this
    /// sweep sees it for the first time.
    pub fn absorb(&mut self, page: &PageView<'_>, marks: &[Mark]) -> Vec<bool> {
        debug_assert_eq!(page.items.len(), marks.len());
        self.pages += 1;
        self.step_back = 0;
        if self.tail.is_none() {
            self.last_total = page.total.or(self.last_total);
        }
        self.more = page.has_more != Some(false) && page.items.len() as u64 >= self.largest_page;
        self.evidence
            .watch(page.items.iter().map(|item| (item.created_at, item.updated_at)));

        if let (Mode::Tail { watermark, .. }, None) = (self.mode, &self.previous)
            && self.offset > 0
            && !marks.iter().any(|mark| is_settled(mark, watermark))
        {
            self.offset = self.offset.saturating_sub(u64::from(self.limit));
            return self.note_seen(page.items, marks).0;
        }

        self.note_head(page);
        let (first_seen, mut found) = self.note_seen(page.items, marks);
        self.note_moves(page.items, &first_seen);
        self.note_nameless(page.items, &first_seen);
        self.note_ambiguous(page, marks, &first_seen);
        self.note_ties(page.items, &first_seen);
        self.ends_with_news = first_seen.last() == Some(&true);
        self.changes.note(page, &found, self.started_at + LONGEST);
        let reach = self.offset + page.items.len() as u64;
        found.further = reach > self.furthest;
        if found.new > 0 || found.further {
            self.breaks = 0;
            self.walls = 0;
        }
        self.furthest = self.furthest.max(reach);
        self.furthest_ever = self.furthest_ever.max(reach);
        let size = page.items.len() as u64;
        if size >= self.largest_page {
            self.largest_pages = if size == self.largest_page {
                self.largest_pages + 1
            } else {
                1
            };
            self.largest_page = size;
        }
        match self.phase {
            Phase::Forward { pass, added } => self.forward(page, marks, &found, pass, added + found.old),
            Phase::Head => self.head(page, &found),
            Phase::Settle { pass, quiet, added } => self.settle(page, &found, pass, quiet, added + found.new),
            Phase::Done => {}
        }
        self.note_progress(found.before_reading > 0);
        first_seen
    }

    /// Counts an answer. A list that changes as fast as it is read would be read for ever.
    fn note_progress(&mut self, is_fruitful: bool) {
        self.fruitful_answers += u64::from(is_fruitful);
        self.fruitless_answers += u64::from(!is_fruitful);
        if self.may_be_outrun(0) && self.phase != Phase::Done {
            self.unproven.get_or_insert(Doubt::Outrun);
            self.phase = Phase::Done;
        }
    }

    /// Whether the list may be found to change as fast as it is read by the `nth` answer from here.
    const fn may_be_outrun(&self, nth: usize) -> bool {
        self.fruitless_answers + nth as u64 > FRUITLESS_ANSWERS + FRUITLESS_ANSWERS_EACH * self.fruitful_answers
    }

    /// Whether the total says that the list ends with this page, and nothing says that there is more: totals are capped. That there is
    /// no more is also said by servers that cut a page and do not know it.
    fn claims_to_end(&self, page: &PageView<'_>) -> bool {
        page.has_more != Some(true) && page.total == Some(self.offset + page.items.len() as u64)
    }

    fn note_seen(&mut self, items: &[Item], marks: &[Mark]) -> (Vec<bool>, Found) {
        let mut found = Found::default();
        let mut first_seen = Vec::with_capacity(items.len());
        for (item, mark) in items.iter().zip(marks) {
            found.changed += u64::from(mark.changed);
            let new = match mark.num {
                Some(num) => self.seen.insert(num),
                None => self.seen_unstored.insert(item.key),
            };
            if new && item.named {
                found.new += 1;
                found.old += u64::from(item.created_at.is_none_or(|at| at < self.started_at));
                found.before_reading += u64::from(item.created_at.is_none_or(|at| at < self.reading_since));
            }
            first_seen.push(new);
        }
        (first_seen, found)
    }
}

/// What a page brought that the sweep had not seen.
#[derive(Debug, Default)]
struct Found {
    new: u64,
    /// New, and created before the sweep began, as far as is known.
    old: u64,
    /// Likewise before it was begun or gone on with.
    before_reading: u64,
    /// Changed in the warehouse, new to the sweep or not.
    changed: u64,
    /// Whether it ends behind all pages of this pass.
    further: bool,
}

/// What a pass shows of changes of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Changes {
    /// The latest, as the rows tell it.
    latest: Option<DateTime<Utc>>,
    /// Whether the mirror held something else.
    any: bool,
    /// Whether the head shows rows that stood elsewhere in the pass before.
    moved: bool,
}

impl Changes {
    /// Dates later than `end` cannot be right.
    fn note(&mut self, page: &PageView<'_>, found: &Found, end: DateTime<Utc>) {
        let dates = page.items.iter().filter_map(|item| item.updated_at);
        self.latest = self.latest.max(dates.filter(|at| *at <= end).max());
        self.any |= found.changed > 0;
    }
}

/// Whether the row was known when the list was last read completely, and has not changed since.
fn is_settled(mark: &Mark, watermark: u64) -> bool {
    !mark.changed && !mark.recent && mark.num.is_some_and(|num| num <= watermark)
}
