//! Messages: a list per conversation, read for the conversations that are new, active or changed; in a full run for all.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{TryStreamExt as _, stream};
use roaring::RoaringTreemap;
use serde::{Deserialize, Serialize};

use super::deletion::{self, brake};
use super::reader::{CHECKPOINT_EVERY, Reader};
use super::sweep::{Mode, Proof, Sweep};
use super::{Error, Finding, Run};
use crate::allai::{Listing, Resource};
use crate::warehouse::{ConversationToRead, StateUpdate, UnseenRow};

/// Conversations taken from the warehouse at a time.
const BATCH: u32 = 200;
/// How many lists must confirm the server's word that its first answer was all, before the word is trusted.
const CONFIRMATIONS: u32 = 3;

/// Where an interrupted full run goes on: behind the conversation of this number.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Checkpoint {
    after_row_num: u64,
    unverified: u64,
}

pub(super) async fn run(run: &Run<'_>) -> Result<Finding, Error> {
    let (job, account) = (run.job, run.account());
    let state = job
        .warehouse
        .state(account, Resource::Messages)
        .await?
        .unwrap_or_default();
    let resumed: Option<Checkpoint> = state
        .checkpoint
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok());
    let full = job.options.full || state.last_complete_at.is_none() || resumed.is_some();

    let may_delete = brake(job.warehouse.live_rows(account, Resource::Messages).await?);
    let messages = MessagesRun {
        run,
        full,
        unverified: AtomicU64::new(resumed.map_or(0, |checkpoint| checkpoint.unverified)),
        held_back: AtomicU64::new(0),
        may_delete,
        left_to_delete: AtomicU64::new(may_delete),
        confirmations: AtomicU32::new(0),
        lied: AtomicBool::new(false),
        place: Mutex::new(Place {
            under_way: BTreeSet::new(),
            after_row_num: resumed.map_or(0, |checkpoint| checkpoint.after_row_num),
            saved_at: job.clock.monotonic(),
            saved_written: 0,
        }),
    };
    if full {
        job.progress
            .expect(job.warehouse.live_rows(account, Resource::Conversations).await?);
    }
    let mut after_row_num = messages.place().after_row_num;
    loop {
        let batch = job
            .warehouse
            .conversations_to_read(account, after_row_num, BATCH, full)
            .await?;
        let Some(last) = batch.last() else { break };
        after_row_num = last.row_num;
        if !full {
            job.progress.expect_more(batch.len() as u64);
        }
        messages
            .place()
            .under_way
            .extend(batch.iter().map(|conversation| conversation.row_num));
        stream::iter(batch.iter().map(Ok))
            .try_for_each_concurrent(job.account.concurrency, |conversation| messages.read(conversation))
            .await?;
    }
    messages.conclude().await
}

/// How far a run is, as the conversations are finished out of order.
struct Place {
    /// The row numbers of the conversations that are begun or next.
    under_way: BTreeSet<u64>,
    /// All conversations up to this row number are read.
    after_row_num: u64,
    saved_at: Duration,
    /// How many rows the run had written then.
    saved_written: u64,
}

impl Place {
    fn finish(&mut self, row_num: u64) {
        self.under_way.remove(&row_num);
        match self.under_way.first() {
            Some(next) => self.after_row_num = self.after_row_num.max(next - 1),
            None => self.after_row_num = self.after_row_num.max(row_num),
        }
    }
}

struct MessagesRun<'a> {
    run: &'a Run<'a>,
    /// Whether the messages of all conversations are read.
    full: bool,
    /// Conversations whose list was read, but not proven complete.
    unverified: AtomicU64,
    /// How many deletions were held back.
    held_back: AtomicU64,
    /// How many rows this run may tombstone without permission, and how many of them are left.
    may_delete: u64,
    left_to_delete: AtomicU64,
    confirmations: AtomicU32,
    lied: AtomicBool,
    place: Mutex<Place>,
}

impl MessagesRun<'_> {
    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, conversation: &ConversationToRead) -> Result<(), Error> {
        let (job, account) = (self.run.job, self.run.account());
        let sweep = match self.sweep(conversation, None).await {
            Ok(sweep) => sweep,
            // Deleted since it was listed; the next verified sweep of the conversations decides.
            Err(Error::Api(error)) if error.is_not_found() => return self.finish(conversation).await,
            Err(error) => return Err(error),
        };
        let mut settled = true;
        if sweep.proof() == Proof::Verified {
            let unseen = job
                .warehouse
                .unseen_messages(account, &conversation.id, sweep.seen())
                .await?;
            if !unseen.is_empty() {
                settled = match self.delete_missing(conversation, &sweep, unseen).await {
                    Err(Error::Api(error)) if error.is_not_found() => return self.finish(conversation).await,
                    settled => settled?,
                };
            }
        } else {
            self.unverified.fetch_add(1, Ordering::Relaxed);
        }
        if settled {
            job.warehouse
                .mark_conversation_read(account, &conversation.id, conversation.content_hash)
                .await?;
        }
        self.finish(conversation).await
    }

    /// Counts a conversation as done; in a full run saves how far the run is: now and then, and whenever rows were
    /// written, so that an abrupt death does not undo what was stored.
    async fn finish(&self, conversation: &ConversationToRead) -> Result<(), Error> {
        let job = self.run.job;
        job.progress.advance(1);
        let now = job.clock.monotonic();
        let written = self.run.tally().written();
        let checkpoint = {
            let mut place = self.place();
            place.finish(conversation.row_num);
            let is_due = written != place.saved_written || now.saturating_sub(place.saved_at) >= CHECKPOINT_EVERY;
            if !self.full || !is_due {
                return Ok(());
            }
            place.saved_at = now;
            place.saved_written = written;
            Checkpoint {
                after_row_num: place.after_row_num,
                unverified: self.unverified.load(Ordering::Relaxed),
            }
        };
        let checkpoint = serde_json::to_string(&checkpoint).unwrap_or_default();
        job.warehouse
            .save_checkpoint(self.run.account(), Resource::Messages, Some(&checkpoint))
            .await?;
        Ok(())
    }

    async fn sweep(&self, conversation: &ConversationToRead, counted: Option<&RoaringTreemap>) -> Result<Sweep, Error> {
        let trusted = self.confirmations.load(Ordering::Relaxed) >= CONFIRMATIONS && !self.lied.load(Ordering::Relaxed);
        let started_at = self.run.client.server_now();
        let mut sweep = Sweep::new(Mode::Full, self.run.job.account.page_size, started_at, u64::MAX)
            .trusting_total(trusted)
            .doubting_offset();
        let reader = Reader {
            run: self.run,
            listing: Listing::Messages {
                conversation_id: conversation.id.clone(),
            },
            resource: Resource::Messages,
            status: None,
            checkpointed: false,
            counted,
        };
        reader.read(&mut sweep).await?;
        if !trusted {
            match sweep.claim_was_true() {
                Some(true) => {
                    self.confirmations.fetch_add(1, Ordering::Relaxed);
                }
                Some(false) => self.lied.store(true, Ordering::Relaxed),
                None => {}
            }
        }
        Ok(sweep)
    }

    /// Whether `rows` more may be tombstoned without permission. Conversations are read side by side: what one takes,
    /// another must not count on.
    fn take_from_brake(&self, rows: u64) -> bool {
        self.left_to_delete
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(rows))
            .is_ok()
    }

    /// Deletes the messages that a verified sweep did not see, once a second one has not seen them either. Whether
    /// nothing was held back.
    async fn delete_missing(
        &self,
        conversation: &ConversationToRead,
        first: &Sweep,
        unseen: Vec<UnseenRow>,
    ) -> Result<bool, Error> {
        let (mut gone, unsure) = deletion::split_confirmed(unseen);
        if !unsure.is_empty() {
            let second = self.sweep(conversation, Some(first.seen())).await?;
            if second.proof() == Proof::Verified {
                gone.extend(unsure.into_iter().filter(|row| !second.seen().contains(row.row_num)));
            } else {
                let row_nums: Vec<u64> = unsure.iter().map(|row| row.row_num).collect();
                let warehouse = self.run.job.warehouse;
                warehouse
                    .mark_missing(self.run.account(), Resource::Messages, &row_nums)
                    .await?;
            }
        }
        let rows = gone.len() as u64;
        if !self.run.job.options.allow_mass_delete && !self.take_from_brake(rows) {
            self.held_back.fetch_add(rows, Ordering::Relaxed);
            return Ok(false);
        }
        deletion::tombstone(self.run, Resource::Messages, &gone).await?;
        Ok(true)
    }

    async fn conclude(self) -> Result<Finding, Error> {
        let (job, account) = (self.run.job, self.run.account());
        let held_back = self.held_back.load(Ordering::Relaxed);
        let incomplete = (held_back > 0).then(|| {
            format!(
                "{held_back} messages are gone from the API, which with the others of this run is more than the {} \
                 allowed; they were not marked as deleted. If that is right, run: allai-sync sync messages --account \
                 {account} --full --allow-mass-delete",
                self.may_delete
            )
        });
        let unverified = self.unverified.load(Ordering::Relaxed);
        if self.full && unverified > 0 {
            tracing::warn!(
                sync.account = account,
                sync.conversations = unverified,
                "the messages of some conversations were read, but it is not proven that none is missing"
            );
        }
        let verified = self.full && incomplete.is_none() && unverified == 0;
        let now = job.clock.now();
        let update = StateUpdate {
            order: None,
            watermark: job.warehouse.highest_row_num(account, Resource::Messages).await?,
            complete_at: incomplete.is_none().then_some(now),
            verified_at: verified.then_some(now),
            rows: job.warehouse.live_rows(account, Resource::Messages).await?,
            clear_checkpoint: true,
        };
        Ok(Finding {
            verified,
            incomplete,
            update,
        })
    }
}
