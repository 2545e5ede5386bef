//! What contacts and conversations have in common: one list, read in full or at its growing end.

use chrono::{DateTime, TimeDelta, Utc};

use super::deletion::{self, Candidates};
use super::order::Order;
use super::reader::Reader;
use super::sweep::{Mode, Proof, Sweep};
use super::{Error, Finding, Run};
use crate::allai::{Listing, Resource};
use crate::warehouse::{StateUpdate, SyncState};

/// How old an interrupted sweep may be to be gone on with: what it read has aged as well.
pub(super) const WORTH_RESUMING: TimeDelta = TimeDelta::hours(24);

/// A list that was read, in full or at its growing end, and what is settled since.
pub(super) struct Reading {
    pub(super) sweep: Sweep,
    watermark: u64,
    settled_at: DateTime<Utc>,
}

/// A run of a list, so far.
pub(super) struct ListRun<'a> {
    pub(super) run: &'a Run<'a>,
    pub(super) resource: Resource,
    pub(super) state: SyncState,
}

impl<'a> ListRun<'a> {
    pub(super) async fn start(run: &'a Run<'a>, resource: Resource) -> Result<Self, Error> {
        let state = run
            .job
            .warehouse
            .state(run.account(), resource)
            .await?
            .unwrap_or_default();
        Ok(Self { run, resource, state })
    }

    /// Whether everything is read: asked for, never done before, or begun and not finished.
    pub(super) fn is_full(&self) -> bool {
        self.run.job.options.full || self.state.last_complete_at.is_none() || self.state.checkpoint.is_some()
    }

    pub(super) const fn reader(&self) -> Reader<'a> {
        Reader {
            run: self.run,
            listing: match self.resource {
                Resource::Conversations => Listing::Conversations,
                _ => Listing::Contacts,
            },
            resource: self.resource,
            status: None,
            checkpointed: false,
            settled_at: self.state.settled_at,
            counted: None,
        }
    }

    /// A sweep of the list from now on.
    pub(super) async fn sweep(&self, mode: Mode) -> Result<Sweep, Error> {
        let job = self.run.job;
        let highest = job.warehouse.highest_row_num(self.run.account(), self.resource).await?;
        Ok(Sweep::new(
            mode,
            job.account.page_size,
            self.run.client.server_now(),
            highest,
        ))
    }

    /// Reads the whole list, going on where an interrupted run stopped.
    pub(super) async fn read_fully(&self) -> Result<Reading, Error> {
        let now = self.run.client.server_now();
        let resumed = self
            .state
            .checkpoint
            .as_deref()
            .and_then(|checkpoint| Sweep::resume(checkpoint, now))
            .filter(|sweep| now - sweep.started_at() < WORTH_RESUMING);
        let mut sweep = match resumed {
            Some(sweep) => {
                tracing::info!(
                    sync.account = self.run.account(), sync.resource = %self.resource, sync.rows = sweep.rows_seen(),
                    "going on where the last run stopped"
                );
                self.run.job.progress.advance(sweep.rows_seen());
                sweep
            }
            None => self.sweep(Mode::Full).await?,
        };
        let reader = Reader {
            checkpointed: true,
            ..self.reader()
        };
        reader.read(&mut sweep).await?;
        self.reading(sweep).await
    }

    /// Notes what is settled now that the list is read: later, rows may come in from elsewhere.
    async fn reading(&self, sweep: Sweep) -> Result<Reading, Error> {
        let job = self.run.job;
        Ok(Reading {
            sweep,
            watermark: job.warehouse.highest_row_num(self.run.account(), self.resource).await?,
            settled_at: job.clock.now(),
        })
    }

    /// Reads the growing end of the list: what is new, and what changed where the order shows it.
    pub(super) async fn read_growing_end(&self) -> Result<Reading, Error> {
        let watermark = self.state.watermark;
        let order = self.state.order.as_deref().map_or(Order::Unknown, Order::from_name);
        let mode = match order {
            Order::CreatedDesc | Order::UpdatedDesc => Mode::Head { watermark },
            Order::CreatedAsc | Order::UpdatedAsc => {
                let live = self
                    .run
                    .job
                    .warehouse
                    .live_rows(self.run.account(), self.resource)
                    .await?;
                Mode::Tail {
                    watermark,
                    start: live.saturating_sub(u64::from(self.run.job.account.page_size)),
                }
            }
            // New rows can be anywhere: read on to the end.
            Order::Unknown => Mode::Head { watermark: 0 },
        };
        let mut sweep = self.sweep(mode).await?;
        self.reader().read(&mut sweep).await?;
        if sweep.contradicts(order) {
            tracing::info!(sync.resource = %self.resource, "the list is no longer in the order learned; reading all of it");
            let mut whole = self.sweep(Mode::Head { watermark: 0 }).await?;
            let reader = Reader {
                counted: Some(&sweep),
                ..self.reader()
            };
            reader.read(&mut whole).await?;
            return self.reading(whole).await;
        }
        self.reading(sweep).await
    }

    /// The rows a finished full sweep makes candidates for deletion; `Err` in the finding if they are held back.
    pub(super) async fn candidates(&self, sweep: &Sweep) -> Result<Candidates, Error> {
        if sweep.proof() != Proof::Verified {
            return Ok(Candidates::Allowed(Vec::new()));
        }
        let found = deletion::candidates(self.run, self.resource, sweep, self.state.undated).await?;
        if matches!(&found, Candidates::Allowed(rows) if !rows.is_empty()) {
            // What follows asks the API again: a run cut short there need not sweep again.
            self.run
                .job
                .warehouse
                .save_checkpoint(self.run.account(), self.resource, Some(&sweep.checkpoint()))
                .await?;
        }
        Ok(found)
    }

    /// Rows without an id and a date that are none of the mirror's. What comes to be without an id later may be one, unless a person
    /// says that none is.
    fn undated(&self, sweep: &Sweep) -> u64 {
        let now = sweep.nameless().undated;
        let is_sure = self.state.last_verified_at.is_none() || self.run.job.options.allow_mass_delete;
        if is_sure { now } else { now.min(self.state.undated) }
    }

    /// What the run amounts to: `held_back` says why deletions were not applied.
    pub(super) async fn conclude(self, reading: &Reading, held_back: Option<String>) -> Result<Finding, Error> {
        let sweep = &reading.sweep;
        let full = sweep.mode() == Mode::Full;
        let proof = sweep.proof();
        if let (true, None, Proof::Unproven(why)) = (full, sweep.breaks_off(), proof) {
            tracing::warn!(
                sync.account = self.run.account(), sync.resource = %self.resource, reason = why,
                "everything was read, but it is not proven that nothing is missing; nothing was marked as deleted"
            );
        }
        // What is known to be missing is looked for again by the next run, which then reads all of it.
        let broken_off = sweep.breaks_off().map(|why| {
            format!(
                "the list could not be read to its end, so that rows are missing ({why}); the next run tries again, what was read \
                 is stored"
            )
        });
        let verified = full && proof == Proof::Verified && held_back.is_none();
        let now = self.run.job.clock.now();
        let whole_list_read = matches!(sweep.mode(), Mode::Full | Mode::Head { watermark: 0 });
        let update = StateUpdate {
            order: whole_list_read.then(|| sweep.order().as_str().to_owned()),
            watermark: if broken_off.is_some() {
                self.state.watermark
            } else {
                reading.watermark
            },
            settled_at: broken_off.is_none().then_some(reading.settled_at),
            complete_at: (held_back.is_none() && broken_off.is_none()).then_some(now),
            undated: verified.then(|| self.undated(sweep)),
            rows: self
                .run
                .job
                .warehouse
                .live_rows(self.run.account(), self.resource)
                .await?,
            clear_checkpoint: true,
            ..StateUpdate::default()
        };
        Ok(Finding {
            verified,
            held_back: held_back.is_some(),
            incomplete: held_back.or(broken_off),
            as_of: full.then(|| sweep.started_at()),
            update,
        })
    }
}
