//! Running a job under a claim that is kept as long as the run takes.

use std::future::Future;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::{Either, select};
use tokio_util::sync::CancellationToken;

use super::{Holder, Work};
use crate::clock::SharedClock;
use crate::metrics;
use crate::sync::{self, Job, Outcome};
use crate::warehouse::{JobState, RateBudget, Release, RunStatus, Warehouse};

/// What fails is tried again after this.
const RETRY: Duration = Duration::from_secs(1);
/// How long a run that was taken over may take to stop.
const STOPPING: Duration = Duration::from_secs(15);

/// A job that was claimed.
#[derive(Debug)]
pub(crate) struct Claimed<'a> {
    pub(crate) job: JobState,
    pub(crate) holder: &'a Holder,
    pub(crate) lease: Duration,
    pub(crate) warehouse: &'a Warehouse,
    pub(crate) clock: &'a SharedClock,
}

impl Claimed<'_> {
    /// Does `work` and renews the claim meanwhile. If the job is taken over, the token that `work` gets is cancelled, and
    /// what does not stop then is dropped: `None`.
    pub(crate) async fn hold<T, F>(
        &self,
        cancelled: &CancellationToken,
        work: impl FnOnce(CancellationToken) -> F,
    ) -> Option<T>
    where
        F: Future<Output = T>,
    {
        let token = cancelled.child_token();
        // On the heap: a run is some 18 KiB.
        let work = Box::pin(work(token.clone()));
        let keep = std::pin::pin!(self.keep());
        match select(work, keep).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(((), work)) => {
                tracing::warn!(
                    sync.account = self.job.account, sync.resource = %self.job.resource,
                    "another program has taken over this job, because this one gave no sign of life; stopping it here"
                );
                token.cancel();
                match select(work, self.clock.sleep(STOPPING)).await {
                    Either::Left((done, _)) => Some(done),
                    Either::Right(_) => None,
                }
            }
        }
    }

    /// Renews the claim until it is lost.
    async fn keep(&self) {
        let mut pause = self.lease / 3;
        loop {
            self.clock.sleep(pause).await;
            pause = match self.renew().await {
                Ok(true) => self.lease / 3,
                Ok(false) => return,
                // Whoever would take over needs the same database.
                Err(problem) => {
                    tracing::warn!("a job's claim was not renewed, trying again: {problem}");
                    RETRY.min(self.lease / 3)
                }
            };
        }
    }

    /// Renews the claim; does not wait for an answer until the claim has expired.
    async fn renew(&self) -> Result<bool, String> {
        let renewal = self
            .warehouse
            .renew_claim(&self.job, self.holder.as_str(), delta(self.lease));
        match select(std::pin::pin!(renewal), self.clock.sleep(self.lease / 3)).await {
            Either::Left((renewed, _)) => renewed.map_err(|error| error.to_string()),
            Either::Right(_) => Err("the database does not answer".to_owned()),
        }
    }

    /// The warehouse for the work of this job.
    pub(crate) fn fenced(&self) -> Warehouse {
        self.warehouse.fenced(&self.job, self.holder.as_str())
    }

    /// Gives the job back. While the database is away that is tried for as long as the claim lasts: a job that keeps what
    /// it was given would do its work twice.
    pub(crate) async fn release(&self, release: &Release) {
        let since = self.clock.monotonic();
        loop {
            let (job, holder) = (&self.job, self.holder.as_str());
            let releasing = self.warehouse.release_job(job, holder, release);
            let error = match select(std::pin::pin!(releasing), self.clock.sleep(self.lease)).await {
                Either::Left((Ok(_), _)) => return,
                Either::Left((Err(error), _)) => error.to_string(),
                Either::Right(_) => "the database does not answer".to_owned(),
            };
            if self.clock.monotonic().saturating_sub(since) >= self.lease {
                tracing::warn!(
                    sync.account = job.account, sync.resource = %job.resource,
                    "a job was not given back, it is free when its claim expires: {error}"
                );
                return;
            }
            self.clock.sleep(RETRY.min(self.lease / 3)).await;
        }
    }
}

/// A lease as the warehouse takes it.
pub(crate) fn delta(lease: Duration) -> TimeDelta {
    TimeDelta::from_std(lease).unwrap_or(TimeDelta::MAX)
}

/// What a run means for its job's schedules. It began when it was claimed, by the clock that all programs share.
pub(crate) fn release(job: &JobState, work: Work, ran: &Outcome, interrupted: bool) -> Release {
    let run = &ran.record;
    let begun = job.held.as_ref().map(|held| held.since);
    if interrupted && run.status != RunStatus::Complete {
        return Release::default();
    }
    // As they were when the run began. An incremental run is not what somebody who asked for a full one waits for.
    let (request, full_request) = (job.requested_at, job.requested_full_at.filter(|_| work.full));
    match run.status {
        // What an incomplete run left out, it would most likely leave out again: that is for its next time.
        RunStatus::Complete | RunStatus::Incomplete => Release {
            served_at: begun,
            full_served_at: begun.filter(|_| work.full),
            failed: false,
            full: work.full,
            request,
            full_request,
            problem: ran.problem,
            held_back: ran.held_back,
        },
        RunStatus::Failed => Release {
            request,
            full_request,
            problem: ran.problem,
            ..failed(work)
        },
    }
}

/// What a run that broke off means.
pub(crate) fn failed(work: Work) -> Release {
    Release {
        failed: true,
        full: work.full,
        ..Release::default()
    }
}

/// Runs a job and keeps what was learned of the rate limit.
pub(crate) async fn run(job: &Job<'_>, resource: crate::allai::Resource) -> sync::Outcome {
    recall_budget(job).await;
    let outcome = sync::run(job, resource).await;
    metrics::ran(&outcome.record, job.options.full);
    if outcome.recorded {
        keep_budget(job).await;
    }
    outcome
}

/// Whoever used the key before may have spent its window. Not knowing costs one request that is refused.
async fn recall_budget(job: &Job<'_>) {
    if job.account.client.budget().snapshot().limit.is_some() {
        return;
    }
    let Ok(known) = job.warehouse.rate_budgets().await else {
        return;
    };
    let its = known.iter().find(|budget| budget.account == job.account.name);
    if let Some((Some(0), Some(resets_at))) = its.map(|budget| (budget.remaining, budget.resets_at)) {
        job.account.client.budget().rest_until(resets_at);
    }
}

/// Keeps what the API said of the rate limit, for `status`. Losing it costs nobody anything.
async fn keep_budget(job: &Job<'_>) {
    let seen = job.account.client.budget().snapshot();
    let now = job.clock.now();
    let budget = RateBudget {
        account: job.account.name.clone(),
        rate_limit: seen.limit.map(i64::from),
        remaining: seen.remaining.map(i64::from),
        resets_at: seen.resets_in.map(|wait| now + wait),
        observed_at: now,
    };
    if let Err(error) = job.warehouse.save_rate_budget(&budget).await {
        tracing::warn!(sync.account = budget.account, %error, "the rate budget was not kept");
    }
}
