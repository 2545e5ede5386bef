//! Messages: a list per conversation, read for the conversations that are new, active or changed; in a full run for all.
//!
//! What is wrong with one conversation's list does not keep the others from being read. Deletions are applied together
//! at the end of a full run, under one brake.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use roaring::RoaringTreemap;
use serde::{Deserialize, Serialize};

use super::deletion::{self, brake};
use super::listed::WORTH_RESUMING;
use super::reader::{CHECKPOINT_EVERY, Reader};
use super::sweep::{Mode, Proof, Sweep, bitmap};
use super::{Error, Finding, Run};
use crate::allai::model::ContentHash;
use crate::allai::{self, Listing, Resource};
use crate::warehouse::{ConversationToRead, Interim, StateUpdate, ToRead, UnseenRow};

/// Conversations taken from the warehouse at a time.
const BATCH: u32 = 200;
/// How many lists must confirm the server's word that its first answer was all, before the word is trusted.
const CONFIRMATIONS: usize = 3;
/// Lists that fail in a row before the run gives up: then it is not the conversations' fault.
const FAILURES_TO_GIVE_UP: u32 = 10;

/// What a full run has found so far; saved with it, so that a run cut short goes on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Checkpoint {
    /// Whether all conversations are read, rather than those that were not read before.
    all: bool,
    /// The conversations up to this row number are read.
    after_row_num: u64,
    /// Conversations whose messages were read, but not proven complete.
    unverified: u64,
    /// Messages that are gone, by row number.
    #[serde(with = "bitmap")]
    gone: RoaringTreemap,
    /// When the reading began, by the server's clock.
    #[serde(default)]
    started_at: Option<DateTime<Utc>>,
    /// Conversations whose messages could not be read, and the first of them with the reason.
    failed: u64,
    first_failure: Option<String>,
    /// Whether what is gone may be marked as deleted; a run that was cut short in doing so finds fewer rows left.
    #[serde(default)]
    may_delete: bool,
}

impl Checkpoint {
    /// What an interrupted run left, unless it has aged too much: what it read has aged as well.
    fn resume(text: &str, now: DateTime<Utc>) -> Option<Self> {
        let found: Self = serde_json::from_str(text).ok()?;
        let is_young = found.started_at.is_some_and(|at| now - at < WORTH_RESUMING);
        (found.all && is_young).then_some(found)
    }
}

pub(super) async fn run(run: &Run<'_>) -> Result<Finding, Error> {
    let (job, account) = (run.job, run.account());
    let state = job
        .warehouse
        .state(account, Resource::Messages)
        .await?
        .unwrap_or_default();
    let now = run.client.server_now();
    let resumed = state
        .checkpoint
        .as_deref()
        .and_then(|text| Checkpoint::resume(text, now));
    // That there are no messages does not make a run the first one: conversations may be empty.
    let first =
        state.last_complete_at.is_none() && job.warehouse.highest_row_num(account, Resource::Messages).await? == 0;
    let full = job.options.full || first || resumed.is_some();
    let found = resumed.unwrap_or_else(|| Checkpoint {
        all: job.options.full || first,
        started_at: Some(now),
        ..Checkpoint::default()
    });
    let (all, resumed_at) = (found.all, found.after_row_num);
    let messages = MessagesRun::new(run, full, found, Learned::default());
    if full {
        job.progress
            .expect(job.warehouse.live_rows(account, Resource::Conversations).await?);
    }
    let at_once = if job.account.in_lockstep {
        1
    } else {
        job.account.concurrency
    };
    let mut after_row_num = 0;
    loop {
        // What the interrupted run has read is read again where it has changed since.
        let is_resuming = after_row_num < resumed_at;
        let which = match (is_resuming, all) {
            (true, _) => ToRead::Changed,
            (false, true) => ToRead::All,
            (false, false) => ToRead::Due,
        };
        let mut batch = job
            .warehouse
            .conversations_to_read(account, after_row_num, BATCH, which)
            .await?;
        if is_resuming {
            batch.retain(|conversation| conversation.row_num <= resumed_at);
        }
        after_row_num = match batch.last() {
            Some(last) => last.row_num,
            None if is_resuming => resumed_at,
            None => break,
        };
        if !full {
            job.progress.expect_more(batch.len() as u64);
        }
        let row_nums = batch.iter().map(|conversation| conversation.row_num);
        messages.shared().under_way.extend(row_nums);
        // In their order: what is done behind one that takes long is not claimed, and read again by a run that was cut short.
        let readings: Vec<BoxFuture<'_, _>> = batch.iter().map(|one| messages.read(one).boxed()).collect();
        stream::iter(readings).buffered(at_once).try_collect::<()>().await?;
    }
    if full {
        // What the conversation is, the database cannot hold; what was said in it, it can.
        for id in job.warehouse.quarantined_ids(account, Resource::Conversations).await? {
            messages.read_list(&id).await?;
        }
    }
    messages.conclude().await
}

/// Reads the messages of one conversation, and notes as of which version of it. `learned` is what is known of the server,
/// and what is known then.
pub(super) async fn read_one(
    run: &Run<'_>,
    id: &str,
    as_of: Option<ContentHash>,
    learned: &Mutex<Learned>,
) -> Result<(), Error> {
    let known = *learned.lock().unwrap_or_else(PoisonError::into_inner);
    let messages = MessagesRun::new(run, false, Checkpoint::default(), known);
    messages.read_and_compare(id).await?;
    let shows = messages.shared().learned;
    learned.lock().unwrap_or_else(PoisonError::into_inner).add(shows);
    if let Some(content_hash) = as_of {
        run.job
            .warehouse
            .mark_conversation_read(run.account(), id, content_hash)
            .await?;
    }
    Ok(())
}

/// What became of a conversation's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ListRead {
    /// It was read.
    Done,
    /// There is no such conversation any more.
    Gone,
    /// It could not be read; that has been noted.
    Failed,
}

/// What the conversations read side by side share.
struct Shared {
    found: Checkpoint,
    /// The row numbers of the conversations that are begun or next.
    under_way: BTreeSet<u64>,
    /// How many are done.
    finished: u64,
    learned: Learned,
    failures_in_a_row: u32,
}

/// How far the run is saved.
struct Saved {
    interim: Interim,
    /// How many conversations were done.
    finished: u64,
    /// When it was last on the disk, and how many rows the run had written.
    at: Duration,
    written: u64,
}

/// What lists have shown of the server, which saves requests for the next ones.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Learned {
    /// The longest lists of which the server's word was found true that its first answer was all, in rows, the longest first; and
    /// whether it ever was not.
    confirmed: [u64; CONFIRMATIONS],
    lied: bool,
    /// The largest page that any list showed, in rows.
    largest_page: u64,
}

impl Learned {
    /// The server's word is trusted of lists of so many rows.
    fn trusted(&self) -> u64 {
        if self.lied {
            0
        } else {
            self.confirmed[CONFIRMATIONS - 1]
        }
    }

    /// Notes that the server's word was true of a list of so many rows.
    fn confirm(&mut self, rows: u64) {
        let at = self.confirmed.partition_point(|known| *known >= rows);
        if at < CONFIRMATIONS {
            self.confirmed[at..].rotate_right(1);
            self.confirmed[at] = rows;
        }
    }

    /// Adds what somebody else learned.
    fn add(&mut self, now: Self) {
        for (own, theirs) in self.confirmed.iter_mut().zip(now.confirmed) {
            *own = (*own).max(theirs);
        }
        self.lied |= now.lied;
        self.largest_page = self.largest_page.max(now.largest_page);
    }
}

impl Shared {
    /// Conversations are finished out of order; the checkpoint says up to where all are. Says how many are.
    fn finish(&mut self, row_num: u64) -> u64 {
        self.finished += 1;
        self.under_way.remove(&row_num);
        let reached = self.under_way.first().map_or(row_num, |next| next - 1);
        self.found.after_row_num = self.found.after_row_num.max(reached);
        self.finished
    }
}

struct MessagesRun<'a> {
    run: &'a Run<'a>,
    /// Whether at its end the messages of all conversations are read.
    full: bool,
    shared: Mutex<Shared>,
    /// Held while it is being saved: others that are done by then wait, and need not.
    saved: tokio::sync::Mutex<Saved>,
}

impl<'a> MessagesRun<'a> {
    fn new(run: &'a Run<'a>, full: bool, found: Checkpoint, learned: Learned) -> Self {
        Self {
            run,
            full,
            shared: Mutex::new(Shared {
                found,
                under_way: BTreeSet::new(),
                finished: 0,
                learned,
                failures_in_a_row: 0,
            }),
            saved: tokio::sync::Mutex::new(Saved {
                interim: Interim::new(run.job.warehouse, run.account(), Resource::Messages),
                finished: 0,
                at: run.job.clock.monotonic(),
                written: 0,
            }),
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, conversation: &ConversationToRead) -> Result<(), Error> {
        if self.read_list(&conversation.id).await? == ListRead::Done {
            let warehouse = self.run.job.warehouse;
            warehouse
                .mark_conversation_read(self.run.account(), &conversation.id, conversation.content_hash)
                .await?;
        }
        self.finish(conversation).await
    }

    /// Reads a conversation's list. What is wrong with this list alone is noted, and no error.
    async fn read_list(&self, conversation_id: &str) -> Result<ListRead, Error> {
        let error = match self.read_and_compare(conversation_id).await {
            Ok(()) => {
                self.shared().failures_in_a_row = 0;
                return Ok(ListRead::Done);
            }
            Err(Error::Api(error)) => error,
            Err(error @ Error::Endless(_)) => {
                self.note_failure(conversation_id, &error);
                return Ok(ListRead::Failed);
            }
            Err(error) => return Err(error),
        };
        if error.is_not_found() {
            match self.is_gone(conversation_id).await {
                Ok(true) => return Ok(ListRead::Gone),
                // There is such a conversation, and nobody knows what was said in it.
                Ok(false) => {
                    self.note_failure(conversation_id, &error.into());
                    return Ok(ListRead::Failed);
                }
                Err(Error::Api(other)) if concerns_one_list(&other) => {}
                Err(other) => return Err(other),
            }
        }
        self.shared().failures_in_a_row += 1;
        if !concerns_one_list(&error) || self.shared().failures_in_a_row > FAILURES_TO_GIVE_UP {
            return Err(error.into());
        }
        self.note_failure(conversation_id, &error.into());
        Ok(ListRead::Failed)
    }

    fn note_failure(&self, conversation_id: &str, error: &Error) {
        let found = &mut self.shared().found;
        found.failed += 1;
        let first = || format!("{conversation_id}: {error}");
        found.first_failure.get_or_insert_with(first);
    }

    /// Whether the conversation itself does not exist any more; the next verified sweep of the conversations decides
    /// what follows from it.
    async fn is_gone(&self, conversation_id: &str) -> Result<bool, Error> {
        let id = ["id".to_owned()];
        let found = self.run.client.conversation_raw(conversation_id, &id);
        Ok(self.run.unless_cancelled(found).await??.is_none())
    }

    async fn read_and_compare(&self, conversation_id: &str) -> Result<(), Error> {
        let sweep = self.sweep(conversation_id, None).await?;
        if sweep.proof() != Proof::Verified {
            self.shared().found.unverified += 1;
            return Ok(());
        }
        let (warehouse, account) = (self.run.job.warehouse, self.run.account());
        let unseen = warehouse
            .unseen_messages(account, conversation_id, sweep.seen())
            .await?;
        self.shared().found.gone -= sweep.seen();
        if unseen.is_empty() {
            return Ok(());
        }
        if self.full {
            return self.confirm(conversation_id, &sweep, &unseen).await;
        }
        // Only a full run deletes.
        warehouse
            .mark_missing(account, Resource::Messages, &deletion::row_nums(&unseen))
            .await?;
        Ok(())
    }

    /// Of the messages that a verified sweep did not see, those are gone that a second one misses, which looks twice where the list
    /// ends.
    async fn confirm(&self, conversation_id: &str, first: &Sweep, unseen: &[UnseenRow]) -> Result<(), Error> {
        let second = self.sweep(conversation_id, Some(first)).await?;
        let missing: RoaringTreemap = deletion::row_nums(unseen).into_iter().collect();
        let missing = missing - second.seen();
        if second.proof() == Proof::Verified {
            self.shared().found.gone |= missing;
            return Ok(());
        }
        self.shared().found.unverified += 1;
        let missing: Vec<u64> = missing.iter().collect();
        let (warehouse, account) = (self.run.job.warehouse, self.run.account());
        warehouse.mark_missing(account, Resource::Messages, &missing).await?;
        Ok(())
    }

    async fn sweep(&self, conversation_id: &str, counted: Option<&Sweep>) -> Result<Sweep, Error> {
        let (trusted, largest_page) = {
            let shared = self.shared();
            (shared.learned.trusted(), shared.learned.largest_page)
        };
        let started_at = self.run.client.server_now();
        let mut sweep = Sweep::new(Mode::Full, self.run.job.account.page_size, started_at, u64::MAX)
            .trusting_total(trusted)
            .knowing_of_pages(largest_page)
            .doubting_offset();
        if counted.is_none() {
            sweep = sweep.sparing_requests();
        }
        let reader = Reader {
            run: self.run,
            listing: Listing::Messages {
                conversation_id: conversation_id.to_owned(),
            },
            resource: Resource::Messages,
            status: None,
            checkpointed: false,
            settled_at: None,
            counted,
        };
        reader.read(&mut sweep).await?;
        let learned = &mut self.shared().learned;
        learned.largest_page = learned.largest_page.max(sweep.largest_page());
        match sweep.claimed() {
            Some((rows, true)) if rows > trusted => learned.confirm(rows),
            Some((_, false)) => learned.lied = true,
            _ => {}
        }
        Ok(sweep)
    }

    /// Counts a conversation as done; in a full run saves how far the run is, for all that are done by then. That is on the
    /// disk now and then, and whenever rows were written, so that an abrupt death does not undo what was stored.
    async fn finish(&self, conversation: &ConversationToRead) -> Result<(), Error> {
        let job = self.run.job;
        job.progress.advance(1);
        let number = self.shared().finish(conversation.row_num);
        if !self.full {
            return Ok(());
        }
        let mut saved = self.saved.lock().await;
        if saved.finished >= number {
            return Ok(());
        }
        let now = job.clock.monotonic();
        let written = self.run.tally().written();
        let (finished, checkpoint) = {
            let shared = self.shared();
            (
                shared.finished,
                serde_json::to_string(&shared.found).unwrap_or_default(),
            )
        };
        let is_due = written != saved.written
            || now.saturating_sub(saved.at) >= CHECKPOINT_EVERY
            || !saved.interim.has_checkpoint();
        if is_due {
            job.warehouse
                .save_checkpoint(self.run.account(), Resource::Messages, Some(&checkpoint))
                .await?;
            saved.interim.continue_from(&checkpoint);
            (saved.at, saved.written) = (now, written);
        } else {
            saved.interim.note(&checkpoint).await;
        }
        saved.finished = finished;
        Ok(())
    }

    async fn conclude(self) -> Result<Finding, Error> {
        let (job, account) = (self.run.job, self.run.account());
        let found = self.shared().found.clone();
        let conversations = job
            .warehouse
            .state(account, Resource::Conversations)
            .await?
            .unwrap_or_default();
        // Conversations that began after the proof are missing, with all that was said in them.
        let proven_at = conversations
            .last_verified_at
            .filter(|at| job.clock.now() - *at < WORTH_RESUMING);
        let ahead = self.run.client.server_now() - job.clock.now();
        let as_of = found
            .started_at
            .map(|at| proven_at.map_or(at, |proven| at.min(proven + ahead)));
        let mut incomplete = Vec::new();
        if conversations.last_complete_at.is_none() {
            incomplete.push(format!(
                "the conversations were never synced completely, so that messages are missing; run: allai-sync sync \
                 conversations messages --account {account}"
            ));
        }
        if let Some(first) = &found.first_failure {
            incomplete.push(format!(
                "the messages of {} conversation(s) could not be read; the next run tries again. {first}",
                found.failed
            ));
        }
        if self.full && found.unverified > 0 {
            tracing::warn!(
                sync.account = account,
                sync.conversations = found.unverified,
                "the messages of some conversations were read, but it is not proven that none is missing"
            );
        }
        let held_back = self.delete(&found.gone).await?;
        let is_held_back = held_back.is_some();
        incomplete.extend(held_back);
        let verified = self.full && proven_at.is_some() && incomplete.is_empty() && found.unverified == 0;
        let now = job.clock.now();
        Ok(Finding {
            verified,
            update: StateUpdate {
                watermark: job.warehouse.highest_row_num(account, Resource::Messages).await?,
                complete_at: incomplete.is_empty().then_some(now),
                rows: job.warehouse.live_rows(account, Resource::Messages).await?,
                clear_checkpoint: true,
                ..StateUpdate::default()
            },
            held_back: is_held_back,
            as_of,
            incomplete: (!incomplete.is_empty()).then(|| incomplete.join("; ")),
        })
    }

    /// Marks what is gone as deleted, unless it is more than the brake allows: then why not.
    async fn delete(&self, gone: &RoaringTreemap) -> Result<Option<String>, Error> {
        let (job, account) = (self.run.job, self.run.account());
        let live = job.warehouse.live_rows(account, Resource::Messages).await?;
        let allowed = brake(live);
        if gone.len() > allowed && !job.options.allow_mass_delete && !self.shared().found.may_delete {
            return Ok(Some(format!(
                "{} of {live} messages are gone from the API, more than the {allowed} allowed; none was marked as \
                 deleted. If that is right, run: allai-sync sync messages --account {account} --full \
                 --allow-mass-delete",
                gone.len()
            )));
        }
        if self.full && !gone.is_empty() {
            let checkpoint = {
                let found = &mut self.shared().found;
                found.may_delete = true;
                serde_json::to_string(found).unwrap_or_default()
            };
            job.warehouse
                .save_checkpoint(account, Resource::Messages, Some(&checkpoint))
                .await?;
        }
        let row_nums: Vec<u64> = gone.iter().collect();
        deletion::tombstone(self.run, Resource::Messages, &row_nums).await?;
        Ok(None)
    }
}

/// Whether an error is about what was asked for rather than about the key or the API as a whole.
const fn concerns_one_list(error: &allai::Error) -> bool {
    !error.stops_account() && !error.is_unreachable()
}
