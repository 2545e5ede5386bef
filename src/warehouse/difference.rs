//! The rows of a page against what the warehouse knows of them.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::automation::{Subject, Trigger};
use super::look_up::{Known, Of, Stored, look_up};
use super::mirrored::Write;
use super::page::{Asked, Change, PageCommit, RowOutcome};
use super::quarantine::{self, Bad, Held};
use super::statement::Conn;
use super::values::from_db;
use super::{Error, Warehouse};
use crate::allai::Resource;
use crate::allai::model::{RawHash, Row};

/// By how much the clocks of programs that share a warehouse may differ.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::minutes(1);

/// A distinct row of a page, and what becomes of it.
pub(super) struct Entry<'a> {
    row: &'a Row,
    /// When it was asked for.
    asked: Option<Asked>,
    change: Change,
    num: Option<i64>,
    /// Why the database cannot hold it.
    problem: Option<String>,
    /// Whether another row of its id came with it, and is not the same.
    differs: bool,
    /// Whether it was written.
    is_written: bool,
    /// Whether an earlier sweep noted it as missing, which it is not.
    was_missing: bool,
    changed_at: Option<DateTime<Utc>>,
    deleted_at: Option<DateTime<Utc>>,
    /// When it was written.
    written_at: Option<DateTime<Utc>>,
}

impl<'a> Entry<'a> {
    fn new(row: &'a Row, asked: Option<Asked>, problem: Option<String>) -> Self {
        Self {
            row,
            asked,
            change: Change::Inserted,
            num: None,
            problem,
            differs: false,
            is_written: false,
            was_missing: false,
            changed_at: None,
            deleted_at: None,
            written_at: None,
        }
    }

    /// Decodes the row only if it was stored from another text.
    fn compare(&mut self, known: Option<Known>, now: DateTime<Utc>) {
        let stored = match known {
            None => {
                *self = Self {
                    differs: self.differs,
                    ..Self::new(self.row, self.asked, self.problem.take())
                };
                return;
            }
            Some(Known::Same { num, changed_at }) => {
                self.num = Some(num);
                self.change = Change::Unchanged;
                self.was_missing = false;
                self.changed_at = Some(changed_at);
                self.deleted_at = None;
                return;
            }
            Some(Known::Stored(stored)) => stored,
        };
        self.num = Some(stored.num);
        self.was_missing = stored.missing;
        self.changed_at = Some(stored.changed_at);
        self.deleted_at = stored.deleted_at;
        self.change = if stored.deleted_at.is_some() {
            if self.may_be_older_than(&stored, now) {
                Change::Doubtful
            } else {
                Change::Restored
            }
        } else if stored.raw_hash.as_deref() == Some(&self.row.raw_hash().0[..])
            || stored.content_hash == self.row.record().content_hash().to_string()
        {
            Change::Unchanged
        } else if self.may_be_older_than(&stored, now) {
            Change::Doubtful
        } else {
            Change::Updated
        };
    }

    /// Whether the row was stored as it is there after this one was asked for, so that its answer may have been the later of
    /// the two. The API's own word of when it changed decides, where there is one.
    fn may_be_older_than(&self, stored: &Stored, now: DateTime<Utc>) -> bool {
        let stored_at = stored
            .deleted_at
            .map_or(stored.changed_at, |at| at.max(stored.changed_at));
        // What is stored in the future was stored before the clock was set back.
        let since =
            |asked: Asked| stored_at > asked.at && stored_at <= now + CLOCKS_DIFFER && asked.held != Some(stored_at);
        if !self.asked.is_some_and(since) {
            return false;
        }
        match (self.row.updated_at(), stored.updated_at) {
            (Some(updated_at), Some(known)) if stored.deleted_at.is_none() => updated_at <= known,
            _ => true,
        }
    }

    fn outcome(&self) -> RowOutcome {
        RowOutcome {
            num: self.num.map(from_db),
            change: if self.problem.is_some() {
                Change::Quarantined
            } else {
                self.change
            },
            changed_at: self.changed_at.max(self.deleted_at),
            differs: self.differs,
        }
    }

    /// What a later page that has the row as well finds.
    fn outcome_again(&self) -> RowOutcome {
        let outcome = self.outcome();
        match outcome.change {
            Change::Quarantined | Change::Doubtful => outcome,
            _ => RowOutcome {
                change: Change::Unchanged,
                changed_at: self.written_at.or(outcome.changed_at),
                ..outcome
            },
        }
    }

    /// The row on its way into quarantine, if the database cannot hold it.
    fn bad(&self) -> Option<Bad> {
        let problem = self.problem.as_deref()?;
        Some(Bad::from_record(self.row.record(), self.row.raw(), problem))
    }

    fn is_to_write(&self) -> bool {
        self.problem.is_none() && !matches!(self.change, Change::Unchanged | Change::Doubtful) && !self.is_written
    }

    /// Whether it is not missing any more, and not written for another reason.
    fn is_back(&self) -> bool {
        self.was_missing && (self.problem.is_some() || self.change == Change::Unchanged)
    }

    fn write(&self, now: DateTime<Utc>) -> Write<'a> {
        // Versions of a row never overlap, even if the clock was set back.
        let after = |at: Option<DateTime<Utc>>| at.map_or(now, |at| now.max(at + TimeDelta::microseconds(1)));
        Write {
            row: self.row,
            num: self.num,
            changed_at: after(self.changed_at).max(self.deleted_at.unwrap_or(now)),
            supersedes: self.num.is_some(),
        }
    }
}

/// A row that was just written.
pub(super) struct Written {
    id: String,
    num: i64,
    raw_hash: RawHash,
    changed_at: DateTime<Utc>,
}

impl Written {
    pub(super) fn of(write: &Write<'_>) -> Option<Self> {
        Some(Self {
            id: write.row.id().to_owned(),
            num: write.num?,
            raw_hash: write.row.raw_hash(),
            changed_at: write.changed_at,
        })
    }
}

fn is_same(one: &Row, other: &Row) -> bool {
    one.raw_hash() == other.raw_hash() || one.record().content_hash() == other.record().content_hash()
}

/// Pages with each id once (the last of it), and what differs from what is there.
pub(super) struct Difference<'a> {
    of: Of<'a>,
    now: DateTime<Utc>,
    /// Whether the database is the one that cannot hold everything.
    choosy: bool,
    entries: Vec<Entry<'a>>,
    /// Where each row of each page went.
    slots: Vec<Vec<usize>>,
    rejected: Vec<Bad>,
    held: Held,
}

impl<'a> Difference<'a> {
    pub(super) fn new(warehouse: &Warehouse, account: &'a str, resource: Resource, pages: &[PageCommit<'a>]) -> Self {
        let choosy = matches!(warehouse, Warehouse::Postgres(_));
        let count = pages.iter().map(|page| page.rows.len()).sum();
        let mut entries: Vec<Entry<'a>> = Vec::with_capacity(count);
        let mut by_id: HashMap<&str, usize> = HashMap::with_capacity(count);
        let mut place = |row: &'a Row, asked: Option<Asked>| {
            let slot = *by_id.entry(row.id()).or_insert(entries.len());
            let mut entry = Entry::new(row, asked, None);
            if slot == entries.len() {
                entries.push(entry);
            } else {
                entry.differs = entries[slot].differs || !is_same(entries[slot].row, row);
                entries[slot] = entry;
            }
            slot
        };
        let slots = pages
            .iter()
            .map(|page| page.rows.iter().map(|row| place(row, page.asked)).collect())
            .collect();
        let conversation = pages.iter().find_map(PageCommit::conversation);
        Self {
            of: Of {
                account,
                resource,
                conversation,
            },
            now: warehouse.now(),
            choosy,
            entries,
            slots,
            rejected: pages
                .iter()
                .flat_map(|page| page.rejected)
                .map(|rejected| Bad::from_rejected(rejected, conversation))
                .collect(),
            held: Held::default(),
        }
    }

    pub(super) const fn of(&self) -> Of<'a> {
        self.of
    }

    /// Compares all rows with what is there, and looks into the quarantine unless that is known to be empty.
    pub(super) async fn find(&mut self, conn: &mut Conn<'_>, quarantine_is_empty: bool) -> Result<(), Error> {
        // An id that Postgres cannot hold cannot be asked for either.
        let choosy = self.choosy;
        self.compare(conn, |entry| !choosy || !entry.row.id().contains('\0'))
            .await?;
        if choosy {
            for entry in self.entries.iter_mut().filter(|entry| entry.is_to_write()) {
                entry.problem = quarantine::foreseeable_problem(entry.row.record());
            }
        }
        if quarantine_is_empty {
            return Ok(());
        }
        let ids: Vec<&str> = self
            .entries
            .iter()
            .map(|entry| entry.row.id())
            .filter(|id| !choosy || !id.contains('\0'))
            .collect();
        // The quarantine may hold what is foreseen as bad under no id, or under one that was made presentable.
        let unstorable = self.entries.iter().filter_map(Entry::bad);
        let foreseen: Vec<Bad> = self.rejected.iter().cloned().chain(unstorable).collect();
        self.held = quarantine::held(conn, self.of, &ids, &foreseen).await?;
        for entry in self.entries.iter_mut().filter(|entry| entry.is_to_write()) {
            if self.held.holds_record(entry.row.record()) {
                entry.problem = Some("as before".to_owned());
            }
        }
        Ok(())
    }

    /// Compares the rows that differ once more, now that nobody else can write.
    pub(super) async fn find_again(&mut self, conn: &mut Conn<'_>) -> Result<(), Error> {
        self.compare(conn, Entry::is_to_write).await
    }

    /// Compares rows with some that were just written, in the same transaction: nobody else can have written since.
    pub(super) fn recall(&mut self, written: &[Written]) {
        // The fingerprint alone tells most of them apart.
        let written: HashMap<RawHash, &Written> = written.iter().map(|row| (row.raw_hash, row)).collect();
        for entry in &mut self.entries {
            let same = written.get(&entry.row.raw_hash());
            if let Some(&&Written { num, changed_at, .. }) = same.filter(|row| row.id == entry.row.id()) {
                entry.compare(Some(Known::Same { num, changed_at }), self.now);
            }
        }
    }

    /// Compares the rows that were written before, in another transaction, with what is there now.
    pub(super) async fn find_those(&mut self, conn: &mut Conn<'_>, written: &[Written]) -> Result<(), Error> {
        self.compare(conn, |entry| written.iter().any(|written| written.id == entry.row.id()))
            .await
    }

    /// Compares all rows, after those that were not there have been added under numbers above `highest`.
    pub(super) async fn find_added(&mut self, conn: &mut Conn<'_>, highest: i64) -> Result<(), Error> {
        self.compare(conn, |_| true).await?;
        for entry in self.entries.iter_mut().filter(|entry| entry.num > Some(highest)) {
            entry.change = Change::Inserted;
            entry.written_at = entry.changed_at.take();
            entry.is_written = true;
        }
        Ok(())
    }

    async fn compare(&mut self, conn: &mut Conn<'_>, which: impl Fn(&Entry<'a>) -> bool) -> Result<(), Error> {
        let (slots, rows): (Vec<usize>, Vec<(&str, RawHash)>) = self
            .entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| which(entry))
            .map(|(slot, entry)| (slot, (entry.row.id(), entry.row.raw_hash())))
            .unzip();
        let known = look_up(conn, self.of, &rows).await?;
        for (slot, known) in slots.into_iter().zip(known) {
            self.entries[slot].compare(known, self.now);
        }
        Ok(())
    }

    /// Whether there is nothing to write any more.
    pub(super) fn is_none(&self) -> bool {
        !self.entries.iter().any(|entry| entry.is_to_write() || entry.is_back())
            && self.bad().is_empty()
            && self.resolved().is_empty()
    }

    /// Whether some of it was written already.
    pub(super) fn has_written(&self) -> bool {
        self.entries.iter().any(|entry| entry.is_written)
    }

    /// Whether most rows are new.
    pub(super) fn is_mostly_new(&self) -> bool {
        let new = self.entries.iter().filter(|entry| entry.change == Change::Inserted);
        2 * new.count() > self.entries.len()
    }

    /// The rows to write, and the slots that [`Self::written`] asks for.
    pub(super) fn writes(&self, now: DateTime<Utc>) -> (Vec<usize>, Vec<Write<'a>>) {
        self.entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.is_to_write())
            .map(|(slot, entry)| (slot, entry.write(now)))
            .unzip()
    }

    /// Notes the number a row was written under, or why it could not be.
    pub(super) fn written(&mut self, slot: usize, at: DateTime<Utc>, result: Result<i64, String>) {
        match result {
            Ok(num) => {
                self.entries[slot].num = Some(num);
                self.entries[slot].is_written = true;
                self.entries[slot].written_at = Some(at);
            }
            Err(problem) => self.entries[slot].problem = Some(problem),
        }
    }

    /// What rules may be about of what was written, where that is noted.
    pub(super) fn triggers(&self, noted: (Subject, TimeDelta)) -> Vec<Trigger> {
        let trigger = |entry: &Entry<'a>| {
            let at = entry.written_at.filter(|_| entry.is_written)?;
            Trigger::of_row(entry.row, noted, entry.change == Change::Inserted, at, self.now)
        };
        self.entries.iter().filter_map(trigger).collect()
    }

    /// The numbers of the rows that were missing and need not be written for another reason.
    pub(super) fn back(&self) -> Vec<i64> {
        let back = self.entries.iter().filter(|entry| entry.is_back());
        back.filter_map(|entry| entry.num).collect()
    }

    /// What goes into quarantine and is not there yet.
    pub(super) fn bad(&self) -> Vec<Bad> {
        let unstorable = self.entries.iter().filter_map(Entry::bad);
        unstorable
            .chain(self.rejected.iter().cloned())
            .filter(|bad| !self.held.holds(bad))
            .collect()
    }

    /// The ids of rows that are stored now and in quarantine still.
    pub(super) fn resolved(&self) -> Vec<String> {
        if self.held.is_empty() {
            return Vec::new();
        }
        self.entries
            .iter()
            .filter(|entry| entry.problem.is_none() && entry.change != Change::Doubtful)
            .map(|entry| entry.row.id())
            .filter(|id| self.held.names(id) && !self.rejected.iter().any(|bad| bad.id() == Some(id)))
            .map(str::to_owned)
            .collect()
    }

    /// What became of each row of the pages.
    pub(super) fn outcomes(&self) -> Vec<RowOutcome> {
        let mut seen_before = vec![false; self.entries.len()];
        let mut outcomes = Vec::new();
        for page in &self.slots {
            outcomes.extend(page.iter().map(|&slot| {
                if seen_before[slot] {
                    self.entries[slot].outcome_again()
                } else {
                    self.entries[slot].outcome()
                }
            }));
            for &slot in page {
                seen_before[slot] = true;
            }
        }
        outcomes
    }
}
