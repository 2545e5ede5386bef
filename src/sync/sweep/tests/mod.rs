//! The sweep alone, against a model of a list that changes between any two requests.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

mod complete;
mod ends;
mod large;

#[derive(Clone, Copy, Debug, PartialEq)]
enum ListOrder {
    CreatedDesc,
    CreatedAsc,
    UpdatedDesc,
    UpdatedAsc,
    /// Stable, and unrelated to time.
    Random,
    /// Last changed first, or last, where rows that never changed do not say when they did, and stand where a database puts what
    /// is null.
    NullsFirst,
    NullsLast,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    id: u64,
    created: i64,
    updated: i64,
}

/// What happens between two requests, each as an upper bound.
#[derive(Clone, Copy, Debug, Default)]
struct Churn {
    inserts: u64,
    deletes: u64,
    touches: u64,
}

struct Model {
    rng: StdRng,
    order: ListOrder,
    rows: Vec<Row>,
    now: i64,
    next_id: u64,
    churn: Churn,
    clamp: usize,
    totals: bool,
    requests: u64,
    /// Ids that were there at the start and never deleted.
    throughout: BTreeSet<u64>,
    /// What the mirror holds: id to (number, version, time of writing).
    mirror: BTreeMap<u64, (u64, u64, u64)>,
    /// Counts writes; what was written after `settled` is recent.
    writes: u64,
    settled: u64,
}

const EPOCH: i64 = 1_700_000_000;

impl Model {
    fn new(seed: u64, order: ListOrder, rows: u64, churn: Churn) -> Self {
        let mut model = Self {
            rng: StdRng::seed_from_u64(seed),
            order,
            rows: Vec::new(),
            now: EPOCH,
            next_id: 0,
            churn: Churn::default(),
            clamp: 100,
            totals: false,
            requests: 0,
            throughout: BTreeSet::new(),
            mirror: BTreeMap::new(),
            writes: 0,
            settled: 0,
        };
        for _ in 0..rows {
            model.insert();
        }
        for _ in 0..rows / 10 {
            model.touch();
        }
        model.sort();
        model.throughout = model.rows.iter().map(|row| row.id).collect();
        model.churn = churn;
        model.now += 1;
        model
    }

    fn insert(&mut self) {
        self.now += 1;
        let row = Row {
            id: self.next_id,
            created: self.now,
            updated: self.now,
        };
        self.next_id += 1;
        self.rows.push(row);
    }

    fn touch(&mut self) {
        if !self.rows.is_empty() {
            self.now += 1;
            let at = self.rng.random_range(0..self.rows.len());
            self.rows[at].updated = self.now;
        }
    }

    fn delete(&mut self) {
        if !self.rows.is_empty() {
            // Behind the reader, ahead of it, and at both ends.
            let at = match self.rng.random_range(0..4) {
                0 => 0,
                1 => self.rows.len() - 1,
                _ => self.rng.random_range(0..self.rows.len()),
            };
            let row = self.rows.remove(at);
            self.throughout.remove(&row.id);
        }
    }

    fn sort(&mut self) {
        match self.order {
            ListOrder::CreatedDesc => self.rows.sort_by_key(|row| std::cmp::Reverse(row.created)),
            ListOrder::CreatedAsc => self.rows.sort_by_key(|row| row.created),
            ListOrder::UpdatedDesc => self.rows.sort_by_key(|row| std::cmp::Reverse(row.updated)),
            ListOrder::UpdatedAsc => self.rows.sort_by_key(|row| row.updated),
            ListOrder::NullsFirst => self
                .rows
                .sort_by_key(|row| (has_changed(row), std::cmp::Reverse(row.updated))),
            ListOrder::NullsLast => self.rows.sort_by_key(|row| (!has_changed(row), row.updated)),
            ListOrder::Random => self.rows.sort_by_key(|row| row.id.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        }
    }

    fn change(&mut self) {
        let churn = self.churn;
        for _ in 0..self.rng.random_range(0..=churn.inserts) {
            self.insert();
        }
        for _ in 0..self.rng.random_range(0..=churn.touches) {
            self.touch();
        }
        self.sort();
        for _ in 0..self.rng.random_range(0..=churn.deletes) {
            self.delete();
        }
    }

    fn get(&mut self, request: Request) -> (Vec<Item>, Option<u64>) {
        self.requests += 1;
        self.change();
        let skip = usize::try_from(request.offset).unwrap();
        let take = self.clamp.min(request.limit as usize);
        let mut items: Vec<Item> = self.rows.iter().skip(skip).take(take).map(item).collect();
        if matches!(self.order, ListOrder::NullsFirst | ListOrder::NullsLast) {
            for item in items.iter_mut().filter(|item| item.updated_at == item.created_at) {
                item.updated_at = None;
            }
        }
        (items, self.totals.then_some(self.rows.len() as u64))
    }

    fn store(&mut self, items: &[Item]) -> Vec<Mark> {
        items
            .iter()
            .map(|item| {
                let next = self.mirror.len() as u64 + 1;
                let entry = self.mirror.entry(item.key).or_insert((next, 0, 0));
                let changed = entry.1 != version(item);
                entry.1 = version(item);
                if changed {
                    self.writes += 1;
                    entry.2 = self.writes;
                }
                Mark {
                    num: Some(entry.0),
                    changed,
                    recent: entry.2 > self.settled,
                }
            })
            .collect()
    }

    /// Gives the sweep a page; stores it if it is anchored.
    fn offer(&mut self, sweep: &mut Sweep, items: &[Item], total: Option<u64>) {
        let page = PageView {
            items,
            version: &|at| version(&items[at]),
            total,
            has_more: None,
            is_early: false,
        };
        self.offer_page(sweep, &page);
    }

    fn offer_page(&mut self, sweep: &mut Sweep, page: &PageView<'_>) {
        if sweep.offer(page) == Verdict::Anchored {
            let marks = self.store(page.items);
            sweep.absorb(page, &marks);
        }
    }

    /// The rows, without their times.
    fn get_without_times(&mut self, request: Request) -> (Vec<Item>, Option<u64>) {
        let (mut items, total) = self.get(request);
        for item in &mut items {
            (item.created_at, item.updated_at) = (None, None);
        }
        (items, total)
    }

    /// Sweeps a list of which `answer` makes each page and the total that is stated, in less than `most` requests.
    fn read(
        &mut self,
        sweep: &mut Sweep,
        most: u64,
        mut answer: impl FnMut(&mut Self, Request) -> (Vec<Item>, Option<u64>),
    ) {
        while let Some(request) = sweep.next() {
            assert!(self.requests < most, "the sweep does not end: {sweep:?}");
            let (items, total) = answer(self, request);
            self.offer(sweep, &items, total);
        }
    }

    fn run(&mut self, mode: Mode) -> Sweep {
        let highest = self.mirror.len() as u64;
        let mut sweep = Sweep::new(mode, 100, time(self.now), highest);
        while let Some(request) = sweep.next() {
            assert!(self.requests < 5_000, "the sweep does not end: {sweep:?}");
            let (items, total) = self.get(request);
            self.offer(&mut sweep, &items, total);
            // A crash at any moment costs nothing: the checkpoint is the sweep.
            if self.rng.random_range(0..50) == 0 {
                sweep = Sweep::resume(&sweep.checkpoint(), time(self.now)).unwrap();
            }
        }
        self.settled = self.writes;
        sweep
    }

    /// A sweep that says that it is a proof has lost nothing.
    fn assert_no_false_proof(&self, sweep: &Sweep, case: &str) {
        let lost = self.lost(sweep);
        assert!(
            lost.is_empty() || sweep.proof() != Proof::Verified,
            "{case}: lost {lost:?}"
        );
    }

    fn lost(&self, sweep: &Sweep) -> Vec<u64> {
        let seen = |id: &u64| self.mirror.get(id).is_some_and(|(num, ..)| sweep.seen().contains(*num));
        self.throughout.iter().filter(|id| !seen(id)).copied().collect()
    }
}

/// Cuts a page before a row that fits no page with one before it.
fn cut_before(items: &mut Vec<Item>, large: u64) {
    let at = items.iter().skip(1).position(|item| item.key == large);
    items.truncate(at.map_or(items.len(), |at| at + 1));
}

fn time(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(second, 0).unwrap()
}

const fn has_changed(row: &Row) -> bool {
    row.updated != row.created
}

fn item(row: &Row) -> Item {
    Item {
        key: row.id,
        named: true,
        created_at: Some(time(row.created)),
        updated_at: Some(time(row.updated)),
    }
}

/// In the model the time of the last change tells one content from another.
fn version(item: &Item) -> u64 {
    item.updated_at.map_or(1, |at| at.timestamp().unsigned_abs())
}

/// Shows rows to `look` as a page that tells nothing else.
fn as_page<T>(items: &[Item], look: impl FnOnce(&PageView<'_>) -> T) -> T {
    look(&PageView {
        items,
        version: &|at| version(&items[at]),
        total: None,
        has_more: None,
        is_early: false,
    })
}

const ORDERS: [ListOrder; 5] = [
    ListOrder::CreatedDesc,
    ListOrder::CreatedAsc,
    ListOrder::UpdatedDesc,
    ListOrder::UpdatedAsc,
    ListOrder::Random,
];
