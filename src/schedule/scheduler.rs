//! The loop that runs what is due.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::{Either, select};
use tokio::sync::{Notify, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::claim::{self, Claimed};
use super::{Due, Holder, Plan, Work};
use crate::allai::Resource;
use crate::clock::SharedClock;
use crate::metrics;
use crate::sync::{self, Job, Options, Progress};
use crate::warehouse::{self, Claim, JobState, Release, Warehouse};

/// How often the loop looks at the jobs although nothing is due: others may have asked for a run, or died.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long the loop waits for the database before it gives a sign of life and tries again.
const PATIENCE: Duration = Duration::from_secs(10);

/// A job and what it takes to run it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// When it runs.
    pub plan: Plan,
    /// The account it reads.
    pub account: Arc<sync::Account>,
    /// The same for accounts that share an API key: one program at a time uses a key.
    pub key_group: String,
}

/// Whether schedules are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// When the jobs were last looked at, by the clock's [`monotonic`](crate::clock::Clock::monotonic) time.
    pub looked_at: Option<Duration>,
    /// Why they cannot be looked at.
    pub problem: Option<String>,
}

/// What the loop found when it looked at the jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The jobs that run here: account and resource.
    pub running: Vec<(String, Resource)>,
    /// After how long the next job is due, as far as is known.
    pub next: Option<Duration>,
    /// Why the jobs could not be looked at.
    pub problem: Option<String>,
}

/// Keeps the schedules.
#[derive(Debug)]
pub struct Scheduler {
    warehouse: Warehouse,
    clock: SharedClock,
    holder: Holder,
    entries: Vec<Entry>,
    concurrent_runs: usize,
    lease: Duration,
    woken: Arc<Notify>,
    health: watch::Sender<Health>,
    tasks: JoinSet<()>,
    running: HashMap<Id, Running>,
}

#[derive(Debug)]
struct Running {
    job: JobState,
    work: Work,
    /// Whether it reads everything: asked for, or for the first time.
    is_long: bool,
    cancelled: CancellationToken,
}

impl Scheduler {
    /// A scheduler that has not looked yet.
    pub fn new(warehouse: Warehouse, clock: SharedClock, holder: Holder, lease: Duration) -> Self {
        Self {
            warehouse,
            clock,
            holder,
            entries: Vec::new(),
            concurrent_runs: 1,
            lease,
            woken: Arc::default(),
            health: watch::Sender::default(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
        }
    }

    /// Makes the loop look at the jobs now.
    pub fn waker(&self) -> Arc<Notify> {
        Arc::clone(&self.woken)
    }

    /// Whether schedules are kept.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Takes these jobs in place of those it had. What runs goes on as it began, unless its account is gone.
    pub async fn set_entries(&mut self, entries: Vec<Entry>, concurrent_runs: usize) -> Result<(), warehouse::Error> {
        let jobs: Vec<(&str, Resource, &str)> = entries
            .iter()
            .map(|entry| {
                (
                    entry.plan.account.as_str(),
                    entry.plan.resource,
                    entry.key_group.as_str(),
                )
            })
            .collect();
        self.warehouse.add_jobs(&jobs).await?;
        for running in self.running.values() {
            if !entries.iter().any(|entry| entry.plan.account == running.job.account) {
                running.cancelled.cancel();
            }
        }
        self.entries = entries;
        self.concurrent_runs = concurrent_runs.max(1);
        Ok(())
    }

    /// Looks at the jobs once, runs what is due, and waits until there is something to look at again.
    ///
    /// Dropping the future loses nothing: what runs goes on.
    pub async fn turn(&mut self) -> Turn {
        let looked = {
            let timeout = self.clock.sleep(PATIENCE);
            let look = std::pin::pin!(self.warehouse.jobs_now());
            match select(look, timeout).await {
                Either::Left((looked, _)) => looked.map_err(|error| error.to_string()),
                Either::Right(_) => Err(format!("the database did not answer within {} s", PATIENCE.as_secs())),
            }
        };
        let (next, problem) = match looked {
            Ok((states, now)) => (self.start_what_is_due(states, now).await, None),
            Err(problem) => (None, Some(problem)),
        };
        self.note_health(problem.clone());
        let running = self
            .running
            .values()
            .map(|running| (running.job.account.clone(), running.job.resource));
        Turn {
            running: running.collect(),
            next,
            problem,
        }
    }

    /// Waits until a job is due, a run ends, somebody asks for one, or it is time to look anyway.
    pub async fn wait(&mut self, turn: &Turn) {
        let until_next = turn.next.unwrap_or(LOOK_EVERY);
        let woken = Arc::clone(&self.woken);
        let was_running = !self.running.is_empty();
        tokio::select! {
            () = self.clock.sleep(until_next.min(LOOK_EVERY)) => {}
            () = woken.notified() => {}
            Some(ended) = self.tasks.join_next_with_id() => self.ended(ended),
        }
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            self.ended(ended);
        }
        if was_running && self.running.is_empty() {
            self.warehouse.shrink().await;
        }
    }

    /// Stops all runs: each finishes the page it stores. After `within` they are stopped in the middle, which costs them
    /// that page.
    pub async fn stop(&mut self, within: Duration) {
        for running in self.running.values() {
            running.cancelled.cancel();
        }
        let in_time = {
            let deadline = self.clock.sleep(within);
            let all = std::pin::pin!(async { while self.tasks.join_next().await.is_some() {} });
            matches!(select(all, deadline).await, Either::Left(_))
        };
        if !in_time {
            tracing::warn!(
                "{} runs did not stop in time; they go on from their last page",
                self.tasks.len()
            );
            self.tasks.shutdown().await;
        }
        self.running.clear();
    }

    /// Notes that schedules are not kept yet.
    pub(crate) fn note_problem(&self, problem: String) {
        self.note_health(Some(problem));
    }

    fn note_health(&self, problem: Option<String>) {
        let looked_at = self.clock.monotonic();
        self.health.send_if_modified(|health| {
            match (&health.problem, &problem) {
                (None, Some(problem)) => tracing::error!("schedules are not kept: {problem}; trying again"),
                (Some(_), None) => tracing::info!("schedules are kept again"),
                _ => {}
            }
            if problem.is_none() {
                health.looked_at = Some(looked_at);
            }
            let changed = health.problem != problem;
            health.problem = problem;
            changed
        });
    }

    /// Starts what there is room for. Says when the next of the others is due.
    ///
    /// `now` is by the clock that all programs share: theirs may differ.
    async fn start_what_is_due(&mut self, states: Vec<JobState>, now: DateTime<Utc>) -> Option<Duration> {
        let mut next: Option<DateTime<Utc>> = None;
        let mut due: Vec<(Work, usize, &JobState)> = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            let plan = &entry.plan;
            let is_its = |state: &&JobState| state.account == plan.account && state.resource == plan.resource;
            let Some(state) = states.iter().find(is_its) else {
                continue;
            };
            if self.runs_here(&plan.account, plan.resource) {
                continue;
            }
            match plan.due(state, now) {
                Due::Now(work) => due.push((work, index, state)),
                Due::At(at) => next = Some(earlier(next, at)),
                Due::Never => {}
            }
        }
        // What somebody waits for, then what keeps the mirror fresh, then what takes long; the longest overdue first.
        due.sort_by_key(|(work, _, state)| (!work.requested, work.full, state.served_at));
        put_conversations_first(&mut due);
        let due: Vec<(Work, usize, JobState)> = due
            .into_iter()
            .map(|(work, index, state)| (work, index, state.clone()))
            .collect();
        // One's own that does not run is of a claim whose answer was lost.
        let free = self.holder.dead_or(&states);
        let all = due.len();
        let before = self.running.len();
        for (work, index, state) in due {
            let plan = &self.entries[index].plan;
            let possible = if work.full && !self.has_room(true) {
                plan.due_incremental(&state, now)
            } else {
                Due::Now(work)
            };
            if let Due::At(at) = possible {
                next = Some(earlier(next, at));
            }
            if let Due::Now(work) = possible
                && self.has_room(is_long(work, &state))
                && self.is_free(&states, &state, index)
                && !self.waits_for_conversations(plan, work, &states)
            {
                // One that does not answer in time will not answer the next claim either, and signs of life are due.
                if !self.start(work, index, &state, &free).await {
                    break;
                }
            }
        }
        metrics::looked(
            self.clock.now(),
            self.running.len(),
            (all + before).saturating_sub(self.running.len()),
        );
        for entry in &self.entries {
            metrics::budget(&entry.plan.account, &entry.account.client.budget().snapshot());
        }
        next.map(|next| (next - now).to_std().unwrap_or_default())
    }

    /// Messages are read for the conversations that are known: they wait for those that are read for the first time, unless
    /// that fails, or, in full, in full.
    fn waits_for_conversations(&self, plan: &Plan, work: Work, states: &[JobState]) -> bool {
        let of_conversations = |account: &str, resource| account == plan.account && resource == Resource::Conversations;
        let is_kept = |entry: &Entry| of_conversations(&entry.plan.account, entry.plan.resource);
        if plan.resource != Resource::Messages || !self.entries.iter().any(is_kept) {
            return false;
        }
        let never_ran = states
            .iter()
            .any(|job| of_conversations(&job.account, job.resource) && job.served_at.is_none() && job.failures == 0);
        let in_full = self
            .running
            .values()
            .any(|running| of_conversations(&running.job.account, running.job.resource) && running.work.full);
        never_ran || (in_full && work.full)
    }

    fn runs_here(&self, account: &str, resource: Resource) -> bool {
        self.running
            .values()
            .any(|running| running.job.account == account && running.job.resource == resource)
    }

    /// Long runs leave one place to short ones.
    fn has_room(&self, is_long: bool) -> bool {
        let long = self.running.values().filter(|running| running.is_long).count();
        self.running.len() < self.concurrent_runs && (!is_long || long < self.concurrent_runs.max(2) - 1)
    }

    /// Whether a claim has a chance.
    fn is_free(&self, states: &[JobState], state: &JobState, index: usize) -> bool {
        let group = &self.entries[index].key_group;
        let of_key = |job: &JobState| {
            self.entries
                .iter()
                .any(|entry| entry.key_group == *group && entry.plan.account == job.account)
        };
        let by_another = |job: &JobState| {
            job.held
                .as_ref()
                .is_some_and(|held| held.holder != self.holder.as_str() && !Holder::is_dead(&held.holder))
        };
        let is_same = |job: &JobState| job.account == state.account && job.resource == state.resource;
        !states
            .iter()
            .any(|job| (is_same(job) || of_key(job)) && by_another(job))
    }

    /// Claims a job and runs it, if nobody else is faster. `false` if the database did not answer in time.
    async fn start(&mut self, work: Work, index: usize, state: &JobState, free: &[String]) -> bool {
        let entry = self.entries[index].clone();
        let claim = Claim {
            account: &state.account,
            resource: state.resource,
            holder: self.holder.as_str(),
            lease: claim::delta(self.lease),
            fence: Some(state.fence),
            full: work.full,
            key_alone: true,
            instead_of: free,
        };
        let claimed = {
            let timeout = self.clock.sleep(PATIENCE);
            let claiming = std::pin::pin!(self.warehouse.claim_job(&claim));
            match select(claiming, timeout).await {
                Either::Left((claimed, _)) => claimed,
                Either::Right(_) => {
                    tracing::warn!("the database did not answer within {} s; jobs wait", PATIENCE.as_secs());
                    return false;
                }
            }
        };
        let job = match claimed {
            Ok(Some(job)) => job,
            Ok(None) => return true,
            Err(error) => {
                tracing::warn!(sync.account = state.account, sync.resource = %state.resource, %error, "a job was not claimed; trying again");
                return true;
            }
        };
        let cancelled = CancellationToken::new();
        let running = Running {
            job: job.clone(),
            work,
            is_long: is_long(work, state),
            cancelled: cancelled.clone(),
        };
        let task = Task {
            job,
            work,
            entry,
            warehouse: self.warehouse.clone(),
            clock: Arc::clone(&self.clock),
            holder: self.holder.clone(),
            lease: self.lease,
            cancelled,
        };
        let handle = self.tasks.spawn(task.run());
        self.running.insert(handle.id(), running);
        true
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let ran = self.running.remove(&id);
        let (Err(error), Some(ran)) = (ended, ran) else { return };
        tracing::error!(
            sync.account = ran.job.account, sync.resource = %ran.job.resource,
            "a run broke off: {error}; please report this"
        );
        // Else it would be tried again and again, without a pause.
        let release = claim::failed(ran.work);
        let (warehouse, clock, holder, lease) = (
            self.warehouse.clone(),
            Arc::clone(&self.clock),
            self.holder.clone(),
            self.lease,
        );
        let job = ran.job.clone();
        let handle = self.tasks.spawn(async move {
            let claimed = Claimed {
                job,
                holder: &holder,
                lease,
                warehouse: &warehouse,
                clock: &clock,
            };
            claimed.release(&release).await;
        });
        self.running.insert(handle.id(), ran);
    }
}

fn earlier(next: Option<DateTime<Utc>>, at: DateTime<Utc>) -> DateTime<Utc> {
    next.map_or(at, |next| next.min(at))
}

/// Whether a run reads everything.
const fn is_long(work: Work, state: &JobState) -> bool {
    work.full || state.served_at.is_none()
}

/// Where the messages of an account are due before its conversations, the conversations come to their place.
fn put_conversations_first(due: &mut [(Work, usize, &JobState)]) {
    for at in 0..due.len() {
        let job = due[at].2;
        if job.resource != Resource::Messages {
            continue;
        }
        let is_its = |(_, _, other): &(Work, usize, &JobState)| {
            other.resource == Resource::Conversations && other.account == job.account
        };
        if let Some(behind) = due[at..].iter().position(is_its) {
            due[at..=at + behind].rotate_right(1);
        }
    }
}

/// A run, as a task of its own.
struct Task {
    job: JobState,
    work: Work,
    entry: Entry,
    warehouse: Warehouse,
    clock: SharedClock,
    holder: Holder,
    lease: Duration,
    cancelled: CancellationToken,
}

impl Task {
    async fn run(self) {
        let resource = self.job.resource;
        let claimed = Claimed {
            job: self.job,
            holder: &self.holder,
            lease: self.lease,
            warehouse: &self.warehouse,
            clock: &self.clock,
        };
        let progress = Progress::default();
        let work = self.work;
        let fenced = claimed.fenced();
        let held = claimed
            .hold(&self.cancelled, |token| {
                let (account, warehouse, clock, progress) = (&*self.entry.account, &fenced, &self.clock, &progress);
                async move {
                    let job = Job {
                        account,
                        warehouse,
                        clock,
                        options: Options {
                            full: work.full,
                            allow_mass_delete: false,
                        },
                        trigger: if work.requested { "manual" } else { "schedule" },
                        progress,
                        cancelled: &token,
                    };
                    (claim::run(&job, resource).await, token.is_cancelled())
                }
            })
            .await;
        // What was dropped has been taken over.
        if let Some((outcome, interrupted)) = held {
            let release: Release = claim::release(&claimed.job, work, &outcome, interrupted);
            claimed.release(&release).await;
        }
    }
}
