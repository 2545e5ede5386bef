//! Storing pages one after the other: rows, history, quarantine and, in the same transaction, the checkpoint that
//! claims them.
//!
//! What is there is read first (number and fingerprints), outside any transaction. Only if something differs does a
//! write transaction begin; in it the rows that differ are read again, because another program may have been faster,
//! and only they are written. Where most rows are new, as in a first sync, the first reading is left out.
//!
//! One transaction may hold many pages. The ids of a list are in no order, so that each page is written all over the
//! index; the more pages a transaction holds, the fewer blocks are written twice.

use super::difference::{Difference, Written};
use super::error::Error;
use super::interim::Interim;
use super::mirrored::{self, Write};
use super::page::{PageCommit, RowOutcome};
use super::sqlite::Seen;
use super::statement::{Conn, Tx};
use super::{Warehouse, automation, postgres, quarantine, sqlite, state};
use crate::allai::Resource;

/// How often a lost connection is replaced. A pool holds several, all of which a restart of the server has cut.
const RECONNECTS: usize = 10;

/// How many rows of a page are remembered for the next one. More than pages overlap by is of no use.
const OVERLAP: usize = 16;

/// A run of pages of one list, stored one after the other; several may share a transaction. Dropped, it rolls back
/// what was not committed.
pub struct PageWriter {
    warehouse: Warehouse,
    account: String,
    resource: Resource,
    open: Option<Open>,
    /// Whether pages that were stored are rolled back, or may be.
    lost: bool,
    /// Whether most rows of the last page were new.
    expects_new: bool,
    /// Whether there was no row of the account when the first was written; `None` before that.
    began_empty: Option<bool>,
    /// The last rows that were written: those that the next page overlaps, if they were new.
    last_written: Vec<Written>,
    /// How SQLite's last transaction, that was committed, found the file, and what it left.
    last: Option<Last>,
    quarantine_is_empty: bool,
    interim: Interim,
}

/// A transaction that was committed.
struct Last {
    seen: Seen,
    highest: Option<i64>,
    has_written: bool,
}

/// A transaction with pages in it.
struct Open {
    tx: Tx,
    /// The highest row number, once it was asked for. Nobody else gives numbers while the transaction is open.
    highest: Option<i64>,
    /// Whether [`PageWriter::last_written`] are as they were written: in it, or before it, and nobody has written since.
    has_written: bool,
    /// Whether rules may be about something in it.
    has_noted: bool,
}

impl std::fmt::Debug for PageWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageWriter")
            .field("account", &self.account)
            .field("resource", &self.resource)
            .field("is_open", &self.is_open())
            .finish_non_exhaustive()
    }
}

impl Warehouse {
    /// Begins a run of pages. Nobody but this writer should fill the quarantine of the resource meanwhile: whether it
    /// is empty is asked once.
    pub async fn page_writer(&self, account: &str, resource: Resource) -> Result<PageWriter, Error> {
        let mut reconnects = 0;
        let quarantine_is_empty = loop {
            match self.quarantine_is_empty(account, resource).await {
                Err(error) if error.is_lost_connection() && reconnects < RECONNECTS => reconnects += 1,
                answer => break answer?,
            }
        };
        Ok(PageWriter {
            warehouse: self.clone(),
            account: account.to_owned(),
            resource,
            open: None,
            lost: false,
            expects_new: false,
            began_empty: None,
            last_written: Vec::new(),
            last: None,
            quarantine_is_empty,
            interim: Interim::new(self, account, resource),
        })
    }
}

impl PageWriter {
    /// Stores a page; what it writes becomes durable with the next [`commit`](Self::commit). The outcomes are aligned
    /// with `page.rows`. A page on which nothing differs begins no transaction.
    ///
    /// Of several rows with one id the last is stored, and all of them get its outcome.
    ///
    /// # Errors
    ///
    /// If the database fails. A connection that was lost is replaced and the page stored again, patiently, as long as
    /// there are no other pages in the transaction. Otherwise all that was stored and not committed is rolled back. If
    /// there was something, the writer refuses to go on ([`Error::RolledBack`]): go on from the last checkpoint. A row
    /// the database cannot hold is an outcome, not an error.
    pub async fn store(&mut self, page: &PageCommit<'_>) -> Result<Vec<RowOutcome>, Error> {
        self.store_all(&[*page]).await
    }

    /// Stores pages as [`store`](Self::store) does one by one, in fewer steps. The outcomes are those of all rows, in order.
    /// Of a row that several of the pages have, the last is stored.
    ///
    /// # Errors
    ///
    /// As for [`store`](Self::store).
    pub async fn store_all(&mut self, pages: &[PageCommit<'_>]) -> Result<Vec<RowOutcome>, Error> {
        debug_assert!(
            pages
                .iter()
                .all(|page| page.account == self.account && page.resource == self.resource)
        );
        self.check_not_lost()?;
        let mut reconnects = 0;
        loop {
            // While this is pending nobody holds the transaction but this call: given up half-way, it is rolled back.
            let mut open = self.open.take();
            self.lost = open.is_some();
            match self.store_in(&mut open, pages).await {
                Ok(outcomes) => {
                    self.open = open;
                    self.lost = false;
                    return Ok(outcomes);
                }
                Err(error) if !self.lost && error.is_lost_connection() && reconnects < RECONNECTS => {
                    tracing::debug!(warehouse.error = %error, "the connection was lost; storing the page again");
                    reconnects += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a transaction is open: what was stored since the last commit is not durable, and other writers wait.
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether a transaction is open for whose end another writer of this program waits.
    pub fn is_waited_for(&self) -> bool {
        match &self.warehouse {
            Warehouse::Sqlite(database) => self.is_open() && database.is_waited_for(),
            // Others wait for what they would change, too, only.
            Warehouse::Postgres(_) => false,
        }
    }

    /// Commits what was stored, and the checkpoint that claims it, in one transaction. If nothing is open and there is
    /// no checkpoint, does nothing.
    ///
    /// # Errors
    ///
    /// If the database fails; as for [`store`](Self::store).
    pub async fn commit(&mut self, checkpoint: Option<&str>) -> Result<(), Error> {
        self.check_not_lost()?;
        let (account, resource) = (self.account.as_str(), self.resource);
        let Some(open) = self.open.take() else {
            if let Some(text) = checkpoint {
                self.warehouse.save_checkpoint(account, resource, checkpoint).await?;
                self.interim.continue_from(text);
            }
            return Ok(());
        };
        self.lost = true;
        self.last = open.tx.seen().map(|seen| Last {
            seen,
            highest: open.highest,
            has_written: open.has_written,
        });
        match checkpoint {
            Some(checkpoint) => state::commit_with_checkpoint(open.tx, account, resource, checkpoint).await?,
            None => open.tx.commit().await?,
        }
        self.lost = false;
        if open.has_noted {
            self.warehouse.interests().tell();
        }
        if let Some(checkpoint) = checkpoint {
            self.interim.continue_from(checkpoint);
        }
        Ok(())
    }

    /// Notes how far pages that changed nothing were read since the last checkpoint; see [`Interim`].
    pub const fn interim(&self) -> &Interim {
        &self.interim
    }

    fn check_not_lost(&self) -> Result<(), Error> {
        if self.lost {
            return Err(Error::RolledBack);
        }
        Ok(())
    }

    async fn store_in(&mut self, open: &mut Option<Open>, pages: &[PageCommit<'_>]) -> Result<Vec<RowOutcome>, Error> {
        let account = self.account.clone();
        let mut difference = Difference::new(&self.warehouse, &account, self.resource, pages);
        let mut is_found = false;
        if open.is_none() && !self.expects_new {
            let mut reader = self.warehouse.reader().await?;
            difference.find(&mut reader.conn(), self.quarantine_is_empty).await?;
            self.expects_new = difference.is_mostly_new();
            if difference.is_none() {
                return Ok(difference.outcomes());
            }
            is_found = true;
        }

        let was_open = open.is_some();
        if !was_open {
            let tx = self.warehouse.begin(&self.account, &[self.resource]).await?;
            let is_undisturbed = |last: &Last| tx.seen().is_some_and(|seen| last.seen.goes_on_as(seen));
            let last = self.last.take().filter(is_undisturbed);
            *open = Some(Open {
                tx,
                highest: last.as_ref().and_then(|last| last.highest),
                has_written: last.is_some_and(|last| last.has_written),
                has_noted: false,
            });
        }
        let Some(Open {
            tx,
            highest,
            has_written,
            has_noted,
        }) = open
        else {
            return Ok(difference.outcomes());
        };
        let conn = &mut tx.conn();
        if is_found {
            difference.find_again(conn).await?;
        } else {
            if !self.add_all(conn, highest, *has_written, &mut difference).await? {
                difference.find(conn, self.quarantine_is_empty).await?;
            }
            self.expects_new = difference.is_mostly_new();
        }
        if difference.is_none() {
            *has_written |= difference.has_written();
            *has_noted |= self.note_triggers(conn, &difference).await?;
            if !was_open && !difference.has_written() {
                *open = None;
            }
            return Ok(difference.outcomes());
        }
        self.write(conn, highest, &mut difference).await?;
        *has_written |= difference.has_written();
        *has_noted |= self.note_triggers(conn, &difference).await?;
        Ok(difference.outcomes())
    }

    /// Where most rows are new, adds those that are without asking which. Says whether it did, and so knows of all rows
    /// how they are there.
    ///
    /// SQLite passes over rows that are there. Postgres fails, and logs it; so it is tried where nothing was there before.
    async fn add_all(
        &mut self,
        conn: &mut Conn<'_>,
        highest: &mut Option<i64>,
        has_written: bool,
        difference: &mut Difference<'_>,
    ) -> Result<bool, Error> {
        let worth_trying = matches!(conn, Conn::Sqlite(_)) || self.began_empty == Some(true);
        if !self.expects_new || !self.quarantine_is_empty || !worth_trying {
            return Ok(false);
        }
        if has_written {
            difference.recall(&self.last_written);
        } else {
            difference.find_those(conn, &self.last_written).await?;
        }
        let (slots, mut writes) = difference.writes(self.warehouse.now());
        // A long id might fit an index by chance, and not the next time.
        let is_foreseen = |write: &Write<'_>| self.warehouse.cannot_hold(write.row.record());
        if writes.iter().any(|write| write.supersedes || is_foreseen(write)) {
            return Ok(false);
        }
        let before = self.number(conn, highest, &mut writes).await?;
        let (account, resource) = (self.account.as_str(), self.resource);
        match conn {
            Conn::Sqlite(conn) => {
                let added = sqlite::add_rows(conn, account, resource, &writes).await?;
                if added < writes.len() as u64 {
                    self.last_written.clear();
                    difference.find_added(&mut Conn::Sqlite(conn), before).await?;
                    return Ok(true);
                }
            }
            Conn::Postgres(conn) => {
                if !postgres::add_rows(conn, account, resource, &writes).await? {
                    *highest = Some(before);
                    return Ok(false);
                }
            }
        }
        self.last_written = writes.iter().rev().take(OVERLAP).filter_map(Written::of).collect();
        for (slot, write) in slots.into_iter().zip(writes) {
            difference.written(slot, write.changed_at, write.num.ok_or_else(String::new));
        }
        Ok(true)
    }

    /// Notes what rules may be about, in the transaction that stores it; says whether there was something.
    async fn note_triggers(&self, conn: &mut Conn<'_>, difference: &Difference<'_>) -> Result<bool, Error> {
        let Some(noted) = self.warehouse.interests().of(&self.account, self.resource) else {
            return Ok(false);
        };
        let triggers = difference.triggers(noted);
        automation::note_in(conn, &self.account, &triggers).await?;
        Ok(!triggers.is_empty())
    }

    /// Gives numbers to new rows; says what the highest was before.
    async fn number(
        &mut self,
        conn: &mut Conn<'_>,
        highest: &mut Option<i64>,
        writes: &mut [Write<'_>],
    ) -> Result<i64, Error> {
        let before = match *highest {
            Some(number) => number,
            None => mirrored::highest(conn, self.resource, &self.account).await?,
        };
        self.began_empty.get_or_insert(before == 0);
        let new = writes.iter_mut().filter(|write| write.num.is_none());
        let mut number = before;
        for write in new {
            number += 1;
            write.num = Some(number);
        }
        *highest = Some(number);
        Ok(before)
    }

    async fn write(
        &mut self,
        conn: &mut Conn<'_>,
        highest: &mut Option<i64>,
        difference: &mut Difference<'_>,
    ) -> Result<(), Error> {
        let now = self.warehouse.now();
        let (slots, mut writes) = difference.writes(now);
        if !writes.is_empty() {
            self.number(conn, highest, &mut writes).await?;
        }
        let (account, resource) = (self.account.as_str(), self.resource);
        let results = match conn {
            _ if writes.is_empty() => Vec::new(),
            Conn::Sqlite(conn) => {
                sqlite::write_rows(conn, account, resource, &writes).await?;
                vec![Ok(()); writes.len()]
            }
            Conn::Postgres(conn) => postgres::write_rows(conn, account, resource, &writes).await?,
        };
        if !writes.is_empty() {
            let written = writes.iter().zip(&results).filter(|(_, result)| result.is_ok());
            let last = written.rev().take(OVERLAP);
            self.last_written = last.filter_map(|(write, _)| Written::of(write)).collect();
        }
        for ((slot, write), result) in slots.into_iter().zip(writes).zip(results) {
            let number = result.and_then(|()| write.num.ok_or_else(String::new));
            difference.written(slot, write.changed_at, number);
        }
        mirrored::note_present(conn, resource, account, &difference.back()).await?;
        quarantine::release(conn, difference.of(), &difference.resolved()).await?;
        let bad = difference.bad();
        self.quarantine_is_empty &= bad.is_empty();
        quarantine::hold(conn, account, resource, now, &bad).await
    }
}
