//! Driving a sweep: fetch the page it asks for, decode it, commit it together with the sweep's checkpoint.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use roaring::RoaringTreemap;
use sha2::{Digest, Sha256};

use super::sweep::{Item, Mark, PageView, Sweep, Verdict};
use super::{Error, Run, Tally};
use crate::allai::model::{Json, Rejected, Row};
use crate::allai::{ListQuery, Listing, Resource};
use crate::warehouse::{Change, PageCommit, RowOutcome};

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
        let mut saved_at = job.clock.monotonic();
        while let Some(request) = sweep.next() {
            let query = ListQuery {
                limit: request.limit,
                offset: request.offset,
                fields: job.account.fields(self.resource).to_vec(),
                status: self.status.map(str::to_owned),
                search: None,
            };
            let page = self
                .run
                .unless_cancelled(self.run.client.list(&self.listing, &query))
                .await??;
            let rows = Rows::decode(&self.listing, page.items);
            let view = PageView {
                items: &rows.items,
                total: page.total,
                has_more: page.has_more,
            };
            if sweep.offer(&view) == Verdict::Broken {
                tracing::debug!(
                    sync.resource = %self.resource, sync.offset = request.offset,
                    "the list changed between two pages; stepping back"
                );
                continue;
            }

            let now = job.clock.monotonic();
            let mut counted = Tally::default();
            let commit = PageCommit {
                account: self.run.account(),
                resource: self.resource,
                rows: &rows.rows,
                rejected: &rows.rejected,
            };
            let mut saved = false;
            job.warehouse
                .commit_page(&commit, |outcomes| {
                    let marks = rows.marks(outcomes, self.settled_at);
                    let first_seen = sweep.absorb(&view, &marks);
                    counted = rows.tally(outcomes, &first_seen, self.counted);
                    let changed = marks.iter().any(|mark| mark.changed);
                    saved = self.checkpointed
                        && sweep.next().is_some()
                        && (changed || now.saturating_sub(saved_at) >= CHECKPOINT_EVERY);
                    saved.then(|| sweep.checkpoint())
                })
                .await?;
            if saved {
                saved_at = now;
            }
            self.report(&counted, sweep);
        }
        Ok(())
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
        let rows = Rows::decode(&Listing::Conversations, vec![raw]);
        let commit = PageCommit {
            account: self.run.account(),
            resource: Resource::Conversations,
            rows: &rows.rows,
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

/// The rows of a page, decoded; `slots` keeps the page's order.
struct Rows {
    items: Vec<Item>,
    slots: Vec<Slot>,
    rows: Vec<Row>,
    rejected: Vec<Rejected>,
}

enum Slot {
    Record(usize),
    Rejected,
}

impl Rows {
    fn decode(listing: &Listing, items: Vec<Json>) -> Self {
        let mut rows = Self {
            items: Vec::with_capacity(items.len()),
            slots: Vec::with_capacity(items.len()),
            rows: Vec::with_capacity(items.len()),
            rejected: Vec::new(),
        };
        for raw in items {
            match Row::read(listing, raw) {
                Ok(row) => rows.push(row),
                Err(rejected) => rows.reject(rejected),
            }
        }
        rows
    }

    fn push(&mut self, row: Row) {
        let key = fingerprint(row.id().as_bytes());
        self.items.push(Item {
            key,
            named: true,
            version: key ^ leading_u64(&row.raw_hash().0),
            created_at: row.created_at(),
            updated_at: row.updated_at(),
        });
        self.slots.push(Slot::Record(self.rows.len()));
        self.rows.push(row);
    }

    fn reject(&mut self, rejected: Rejected) {
        let content = fingerprint(rejected.raw.get().as_bytes());
        self.items.push(Item {
            key: rejected.id.as_ref().map_or(content, |id| fingerprint(id.as_bytes())),
            named: rejected.id.is_some(),
            version: content,
            created_at: None,
            updated_at: None,
        });
        self.slots.push(Slot::Rejected);
        self.rejected.push(rejected);
    }

    fn change(slot: &Slot, outcomes: &[RowOutcome]) -> (Option<u64>, Change) {
        match slot {
            Slot::Record(at) => outcomes
                .get(*at)
                .map_or((None, Change::Quarantined), |outcome| (outcome.num, outcome.change)),
            Slot::Rejected => (None, Change::Quarantined),
        }
    }

    fn marks(&self, outcomes: &[RowOutcome], settled_at: Option<DateTime<Utc>>) -> Vec<Mark> {
        self.slots
            .iter()
            .map(|slot| {
                let (num, change) = Self::change(slot, outcomes);
                let written_at = match slot {
                    Slot::Record(at) => outcomes.get(*at).and_then(|outcome| outcome.changed_at),
                    Slot::Rejected => None,
                };
                Mark {
                    num,
                    changed: !matches!(change, Change::Unchanged | Change::Quarantined),
                    recent: written_at > settled_at,
                }
            })
            .collect()
    }

    fn tally(&self, outcomes: &[RowOutcome], first_seen: &[bool], counted: Option<&RoaringTreemap>) -> Tally {
        let mut tally = Tally::default();
        let mut on_this_page = HashSet::new();
        for ((slot, item), first_seen) in self.slots.iter().zip(&self.items).zip(first_seen) {
            if on_this_page.insert(item.key) {
                let (num, change) = Self::change(slot, outcomes);
                let known = num.is_some_and(|num| counted.is_some_and(|counted| counted.contains(num)));
                tally.count(change, *first_seen && !known);
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
