//! One page of a list, committed whole: rows, history, quarantine and checkpoint in one transaction.
//!
//! What is there is read first (id, number, fingerprint), outside any transaction. Only if something differs does a
//! write transaction begin; in it the rows that differ are read again, because another program may have been faster,
//! and only they are written.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::value::RawValue;

use super::error::Error;
use super::mirrored::{self, Known, Write};
use super::quarantine::{self, Bad};
use super::statement::Conn;
use super::values::from_db;
use super::{Warehouse, postgres, sqlite, state};
use crate::allai::Resource;
use crate::allai::model::{Json, Record, Rejected};

/// What came on a page.
#[derive(Clone, Copy, Debug)]
pub struct PageCommit<'a> {
    /// The account's name in the configuration.
    pub account: &'a str,
    /// What the page lists. Every record must be of this resource.
    pub resource: Resource,
    /// The rows, in the order of the page; messages are all of one conversation.
    pub records: &'a [Record],
    /// The same rows as the server sent them, aligned with `records`: what the database cannot hold goes to quarantine
    /// in this form.
    pub raw: &'a [Json],
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
    /// Since when the warehouse holds the row as it was before this page; `None` if it held none.
    pub changed_at: Option<DateTime<Utc>>,
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
    /// The database cannot hold it; it is in `quarantine` with the reason. A row of its id that was there before
    /// stays as it was, and keeps its number.
    Quarantined,
}

/// A distinct row of the page, and what becomes of it.
struct Row<'a> {
    record: &'a Record,
    raw: &'a RawValue,
    change: Change,
    num: Option<i64>,
    /// Why the database cannot hold it.
    problem: Option<String>,
    /// Whether an earlier sweep noted it as missing, which it is not.
    was_missing: bool,
    changed_at: Option<DateTime<Utc>>,
    deleted_at: Option<DateTime<Utc>>,
}

impl<'a> Row<'a> {
    fn new(record: &'a Record, raw: &'a RawValue, problem: Option<String>) -> Self {
        Self {
            record,
            raw,
            change: Change::Inserted,
            num: None,
            problem,
            was_missing: false,
            changed_at: None,
            deleted_at: None,
        }
    }

    fn compare(&mut self, known: Option<&Known>) {
        let Some(known) = known else {
            *self = Self::new(self.record, self.raw, self.problem.take());
            return;
        };
        self.num = Some(known.num);
        self.was_missing = known.missing;
        self.changed_at = Some(known.changed_at);
        self.deleted_at = known.deleted_at;
        self.change = if known.deleted_at.is_some() {
            Change::Restored
        } else if known.content_hash == self.record.content_hash().to_string() {
            Change::Unchanged
        } else {
            Change::Updated
        };
    }

    fn outcome(&self) -> RowOutcome {
        RowOutcome {
            num: self.num.map(from_db),
            change: if self.problem.is_some() {
                Change::Quarantined
            } else {
                self.change
            },
            changed_at: self.changed_at,
        }
    }

    /// The row on its way into quarantine, if the database cannot hold it.
    fn bad(&self) -> Option<Bad> {
        Some(Bad::from_record(self.record, self.raw, self.problem.as_deref()?))
    }

    fn is_to_write(&self) -> bool {
        self.problem.is_none() && self.change != Change::Unchanged
    }

    fn is_back(&self) -> bool {
        self.was_missing && !self.is_to_write()
    }

    fn write(&self, now: DateTime<Utc>) -> Write<'a> {
        // Versions of a row never overlap, even if the clock was set back.
        let after = |at: Option<DateTime<Utc>>| at.map_or(now, |at| now.max(at + TimeDelta::microseconds(1)));
        Write {
            record: self.record,
            num: self.num,
            changed_at: after(self.changed_at).max(self.deleted_at.unwrap_or(now)),
            supersedes: self.num.is_some(),
        }
    }
}

/// The page with each id once (the last of it), and where each record went.
struct Rows<'a> {
    rows: Vec<Row<'a>>,
    slots: Vec<usize>,
}

impl<'a> Rows<'a> {
    fn of(page: &PageCommit<'a>, problem: impl Fn(&Record) -> Option<String>) -> Self {
        debug_assert_eq!(page.records.len(), page.raw.len());
        let mut rows: Vec<Row<'a>> = Vec::with_capacity(page.records.len());
        let mut by_id: HashMap<&str, usize> = HashMap::with_capacity(page.records.len());
        let slots = page
            .records
            .iter()
            .zip(page.raw)
            .map(|(record, raw)| {
                let slot = *by_id.entry(record.id()).or_insert(rows.len());
                let row = Row::new(record, raw, problem(record));
                if slot == rows.len() {
                    rows.push(row);
                } else {
                    rows[slot] = row;
                }
                slot
            })
            .collect();
        Self { rows, slots }
    }

    fn outcomes(&self) -> Vec<RowOutcome> {
        self.slots.iter().map(|&slot| self.rows[slot].outcome()).collect()
    }
}

impl PageCommit<'_> {
    /// Whose messages they are, if they are messages.
    fn conversation(&self) -> Option<&str> {
        match self.records.first()? {
            Record::Message(message) => Some(&message.conversation_id),
            Record::Contact(_) | Record::Conversation(_) => None,
        }
    }
}

impl Warehouse {
    /// Stores a page and the checkpoint that claims it, in one transaction; the outcomes are aligned with
    /// `page.records`.
    ///
    /// `checkpoint` is called once, with the outcomes, before the transaction commits; `None` leaves the stored
    /// checkpoint as it is. A page on which nothing differs and whose checkpoint is `None` opens no write transaction.
    /// Of several records with one id the last is stored, and all of them get its outcome.
    ///
    /// # Errors
    ///
    /// If the database fails; then nothing of the page is stored. A row it cannot hold is an outcome, not an error.
    pub async fn commit_page(
        &self,
        page: &PageCommit<'_>,
        checkpoint: impl FnOnce(&[RowOutcome]) -> Option<String> + Send,
    ) -> Result<Vec<RowOutcome>, Error> {
        let PageCommit { account, resource, .. } = *page;
        let statements = mirrored::statements(resource);
        let foresee = match self {
            Self::Sqlite(_) => |_: &Record| None,
            Self::Postgres(_) => quarantine::foreseeable_problem,
        };
        let mut page_rows = Rows::of(page, foresee);
        let rejected: Vec<Bad> = page.rejected.iter().map(Bad::from_rejected).collect();

        // An id that Postgres cannot hold cannot be asked for either.
        let ids: Vec<&str> = page_rows
            .rows
            .iter()
            .map(|row| row.record.id())
            .filter(|id| matches!(self, Self::Sqlite(_)) || !id.contains('\0'))
            .collect();
        // The quarantine may hold what is foreseen as bad under no id, or under one that was made presentable.
        let unstorable = page_rows.rows.iter().filter_map(Row::bad);
        let foreseen: Vec<Bad> = rejected.iter().cloned().chain(unstorable).collect();
        let (known, held) = {
            let mut reader = self.reader().await?;
            let conn = &mut reader.conn();
            let known = mirrored::look_up(conn, statements.look_up, account, page.conversation(), &ids).await?;
            let held = quarantine::held(conn, account, resource, &ids, &foreseen).await?;
            (known, held)
        };
        for row in &mut page_rows.rows {
            row.compare(known.get(row.record.id()));
        }
        for row in page_rows.rows.iter_mut().filter(|row| row.is_to_write()) {
            if held.holds_record(row.record) {
                row.problem = Some("as before".to_owned());
            }
        }

        let bad = |rows: &[Row<'_>]| -> Vec<Bad> {
            rows.iter()
                .filter_map(Row::bad)
                .chain(rejected.iter().cloned())
                .filter(|bad| !held.holds(bad))
                .collect()
        };
        let resolved = |rows: &[Row<'_>]| -> Vec<String> {
            rows.iter()
                .filter(|row| row.problem.is_none())
                .map(|row| row.record.id())
                .filter(|id| held.names(id) && !rejected.iter().any(|bad| bad.id() == Some(id)))
                .map(str::to_owned)
                .collect()
        };
        let differs = page_rows.rows.iter().any(|row| row.is_to_write() || row.is_back());
        if !differs && bad(&page_rows.rows).is_empty() && resolved(&page_rows.rows).is_empty() {
            let outcomes = page_rows.outcomes();
            if let Some(checkpoint) = checkpoint(&outcomes) {
                self.save_checkpoint(account, resource, Some(&checkpoint)).await?;
            }
            return Ok(outcomes);
        }

        let now = self.now();
        let mut tx = self.begin(account, &[resource]).await?;
        let conn = &mut tx.conn();
        write_rows(conn, page, now, &mut page_rows.rows).await?;
        quarantine::release(conn, account, resource, &resolved(&page_rows.rows)).await?;
        quarantine::hold(conn, account, resource, now, &bad(&page_rows.rows)).await?;
        let outcomes = page_rows.outcomes();
        if let Some(checkpoint) = checkpoint(&outcomes) {
            state::put_checkpoint(conn, account, resource, Some(&checkpoint)).await?;
        }
        tx.commit().await?;
        Ok(outcomes)
    }
}

/// Reads what differs again, now that nobody else can write, and writes it.
async fn write_rows(
    conn: &mut Conn<'_>,
    page: &PageCommit<'_>,
    now: DateTime<Utc>,
    rows: &mut [Row<'_>],
) -> Result<(), Error> {
    let PageCommit { account, resource, .. } = *page;
    let statements = mirrored::statements(resource);
    let ids: Vec<&str> = rows
        .iter()
        .filter(|row| row.is_to_write())
        .map(|row| row.record.id())
        .collect();
    if !ids.is_empty() {
        let known = mirrored::look_up(conn, statements.look_up, account, page.conversation(), &ids).await?;
        for row in rows.iter_mut().filter(|row| row.is_to_write()) {
            row.compare(known.get(row.record.id()));
        }
    }
    let (slots, writes): (Vec<usize>, Vec<Write<'_>>) = rows
        .iter()
        .enumerate()
        .filter(|(_, row)| row.is_to_write())
        .map(|(slot, row)| (slot, row.write(now)))
        .unzip();
    if !writes.is_empty() {
        let written = match conn {
            Conn::Sqlite(conn) => sqlite::write_rows(conn, account, resource, &writes).await?,
            Conn::Postgres(conn) => postgres::write_rows(conn, account, resource, &writes).await?,
        };
        for (slot, result) in slots.into_iter().zip(written) {
            match result {
                Ok(num) => rows[slot].num = Some(num),
                Err(problem) => rows[slot].problem = Some(problem),
            }
        }
    }
    let back: Vec<i64> = rows
        .iter()
        .filter(|row| row.is_back())
        .filter_map(|row| row.num)
        .collect();
    mirrored::note_present(conn, resource, account, &back).await
}
