//! The events of one account: whose they are, which are under way, and what keeps them waiting.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::attempt::{Trouble, Verdict, attempt, endings, unreadable, without_deadly};
use super::hands::Hands;
use super::{Shared, Watched};
use crate::allai::Resource;
use crate::metrics;
use crate::schedule::Holder;
use crate::sync;
use crate::sync::refresh::Refresher;
use crate::warehouse::{self, ClaimedEntity, ClaimedEvent, Ended, Ending, Entity, Payload, Warehouse};

/// So many events about nothing that can be fetched are ended together.
const TOGETHER: u32 = 256;
/// How long contacts that were not found may wait for others, so that one sync is asked for.
const GATHERING: Duration = Duration::from_secs(1);
/// How long an account waits whose key is refused.
const KEY_AGAIN: Duration = Duration::from_mins(1);
/// How long it waits first, and at most, when the API or the database does not answer.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// SQLite's one daemon holds its inboxes for good.
const FOR_GOOD: TimeDelta = TimeDelta::days(36_500);

/// The events of an account, as this program knows them.
#[derive(Debug)]
pub(super) struct AccountInbox {
    refresher: Refresher,
    cancelled: CancellationToken,
    /// Whether this program holds the lease, and when it is to be renewed.
    is_ours: bool,
    renew_at: Duration,
    /// Whether events may be left that a dead program was applying.
    to_recover: bool,
    hands: Hands,
    /// What could not be stored.
    unended: Vec<Attempted>,
    /// Contacts that were not found, and since when they wait for a sync to be asked for.
    lost: Vec<Attempted>,
    lost_since: Duration,
    pub(super) look_at: Duration,
    paused_until: Duration,
    setbacks: u32,
    /// Why it waits, or has waited; nothing has been applied since.
    trouble: Option<Trouble>,
}

/// An attempt that has ended.
#[derive(Debug)]
pub(super) struct Attempted {
    pub(super) account: String,
    entity: Entity,
    verdict: Verdict,
    endings: Vec<Ending>,
    told: Vec<Payload>,
    is_ended: bool,
}

impl AccountInbox {
    pub(super) fn new(account: Arc<sync::Account>, shared: &Shared) -> Self {
        Self {
            refresher: Refresher::new(account, shared.warehouse.clone(), Arc::clone(&shared.clock)),
            cancelled: shared.stop.child_token(),
            is_ours: false,
            renew_at: Duration::MAX,
            to_recover: false,
            hands: Hands::default(),
            unended: Vec::new(),
            lost: Vec::new(),
            lost_since: Duration::MAX,
            look_at: Duration::ZERO,
            paused_until: Duration::ZERO,
            setbacks: 0,
            trouble: None,
        }
    }

    fn name(&self) -> &str {
        &self.refresher.account().name
    }

    /// Takes the account of a new configuration: whoever changed it may have mended something.
    pub(super) fn take(&mut self, account: &Arc<sync::Account>, shared: &Shared) {
        if !Arc::ptr_eq(self.refresher.account(), account) {
            self.refresher = Refresher::new(Arc::clone(account), shared.warehouse.clone(), Arc::clone(&shared.clock));
            self.paused_until = Duration::ZERO;
            self.setbacks = 0;
            self.look_at = Duration::ZERO;
        }
    }

    /// Stops what is being applied.
    pub(super) fn cancel(&self) {
        self.cancelled.cancel();
    }

    /// Does what is to be done now, and says when to come again if nothing happens before.
    pub(super) async fn turn(
        &mut self,
        shared: &Shared,
        watched: &Watched,
        tasks: &mut JoinSet<Attempted>,
    ) -> Duration {
        let now = shared.clock.monotonic();
        if now >= self.paused_until
            && let Err(error) = self.work(shared, watched, tasks, now).await
        {
            self.pause(Trouble::Warehouse, &error.to_string(), now);
        }
        let gathered = self.lost_since.saturating_add(GATHERING);
        // With all hands full, it is the end of an attempt that matters.
        let look_at = if self.hands.free() > 0 {
            self.look_at
        } else {
            Duration::MAX
        };
        look_at.min(self.renew_at).min(gathered).max(self.paused_until)
    }

    async fn work(
        &mut self,
        shared: &Shared,
        watched: &Watched,
        tasks: &mut JoinSet<Attempted>,
        now: Duration,
    ) -> Result<(), warehouse::Error> {
        self.keep_lease(shared, now).await?;
        if !self.unended.is_empty() {
            self.store_endings(shared).await?;
            self.look_at = now;
        }
        if !self.lost.is_empty() && (self.lost.len() == self.hands.len() || now >= self.lost_since + GATHERING) {
            self.ask_for_contacts(shared).await?;
            self.look_at = now;
        }
        if now < self.look_at || self.hands.free() == 0 {
            return Ok(());
        }
        self.look_at = now + watched.look_every;
        let wall = shared.clock.now();
        let standing = shared.warehouse.inbox_standing(self.name()).await?;
        let is_due = standing.next_due.is_some_and(|due_at| due_at <= wall);
        if let Some(due_at) = standing.next_due.filter(|_| !is_due) {
            self.look_at = self.look_at.min(now + (due_at - wall).to_std().unwrap_or_default());
        }
        let is_left = standing.is_at_work && self.hands.is_idle();
        if !is_due && !is_left {
            return Ok(());
        }
        if !self.is_ours && !self.lease(shared, now).await? {
            return Ok(());
        }
        if self.to_recover {
            if !self.hands.is_idle() {
                return Ok(());
            }
            let left = shared.warehouse.recover_events(self.name()).await?;
            if left > 0 {
                tracing::info!(
                    webhook.account = self.name(),
                    webhook.events = left,
                    "events are applied that a program left when it ended"
                );
            }
            self.to_recover = false;
        }
        self.claim(shared, tasks).await
    }

    /// Claims and begins what is due, until all hands are full.
    async fn claim(&mut self, shared: &Shared, tasks: &mut JoinSet<Attempted>) -> Result<(), warehouse::Error> {
        while self.hands.free() > 0 {
            let (free, again, busy) = (self.hands.free(), self.hands.free_again(), self.hands.busy());
            let claimed = if again > 0 {
                let most = u32::try_from(again).unwrap_or(1);
                shared.warehouse.claim_events(self.name(), &busy, most).await?
            } else {
                let most = u32::try_from(free).unwrap_or(1);
                shared.warehouse.claim_new_events(self.name(), &busy, most).await?
            };
            if claimed.is_empty() {
                break;
            }
            let (alone, others): (Vec<_>, Vec<_>) = claimed.into_iter().partition(is_alone);
            for claimed in others {
                self.begin(claimed, shared, tasks);
            }
            self.begin_together(alone, shared, tasks).await;
        }
        Ok(())
    }

    fn begin(&mut self, claimed: ClaimedEntity, shared: &Shared, tasks: &mut JoinSet<Attempted>) {
        let was_tried = |event: &ClaimedEvent| event.attempts > u32::from(event.is_due());
        self.hands.begin(&claimed.entity, claimed.events.iter().any(was_tried));
        let (refresher, shared, cancelled) = (self.refresher.clone(), shared.clone(), self.cancelled.clone());
        tasks.spawn(async move { apply(&refresher, claimed, &shared, &cancelled).await });
    }

    /// Begins, as if they were one entity's, events for which there is nothing to fetch, and with them others that wait: where
    /// they come in masses, a transaction for each would be in everybody's way.
    async fn begin_together(&mut self, mut alone: Vec<ClaimedEntity>, shared: &Shared, tasks: &mut JoinSet<Attempted>) {
        if alone.len() > 1 {
            match shared.warehouse.claim_events_alone(self.name(), TOGETHER).await {
                Ok(more) => {
                    let (more, others): (Vec<_>, Vec<_>) = more.into_iter().partition(is_alone);
                    alone.extend(more);
                    for claimed in others {
                        self.begin(claimed, shared, tasks);
                    }
                }
                // Those that are claimed come first; who looks next meets the same.
                Err(error) => tracing::debug!(%error, "no more events are claimed"),
            }
        }
        let mut alone = alone.into_iter();
        if let Some(mut together) = alone.next() {
            together.events.extend(alone.flat_map(|claimed| claimed.events));
            self.begin(together, shared, tasks);
        }
    }

    /// Takes the lease, if nobody has it who lives.
    async fn lease(&mut self, shared: &Shared, now: Duration) -> Result<bool, warehouse::Error> {
        let holders = shared.warehouse.inbox_holders().await?;
        let is_alone = matches!(shared.warehouse, Warehouse::Sqlite(_));
        let dead: Vec<String> = holders
            .into_iter()
            .filter(|holder| is_alone || Holder::is_dead(holder))
            .collect();
        let lease = if is_alone { FOR_GOOD } else { shared.lease() };
        let holder = shared.holder.as_str();
        self.is_ours = shared.warehouse.lease_inbox(self.name(), holder, lease, &dead).await?;
        if self.is_ours {
            self.to_recover = true;
            self.renew_at = if is_alone {
                Duration::MAX
            } else {
                now + shared.lease / 3
            };
        }
        Ok(self.is_ours)
    }

    /// Renews the lease while something is under way; an idle one is left to expire.
    async fn keep_lease(&mut self, shared: &Shared, now: Duration) -> Result<(), warehouse::Error> {
        if !self.is_ours || now < self.renew_at {
            return Ok(());
        }
        if self.hands.is_idle() {
            self.is_ours = false;
            self.renew_at = Duration::MAX;
            return Ok(());
        }
        let (holder, lease) = (shared.holder.as_str(), shared.lease());
        if shared.warehouse.lease_inbox(self.name(), holder, lease, &[]).await? {
            self.renew_at = now + shared.lease / 3;
        } else {
            tracing::warn!(
                webhook.account = self.name(),
                "another program has taken over the events of this account"
            );
            self.is_ours = false;
            self.renew_at = Duration::MAX;
        }
        Ok(())
    }

    /// Asks for one sync of the contacts for all that were not found.
    async fn ask_for_contacts(&mut self, shared: &Shared) -> Result<(), warehouse::Error> {
        let is_kept = shared
            .warehouse
            .request_job(self.name(), Resource::Contacts, false)
            .await?;
        if is_kept {
            shared.runs.notify_one();
        } else {
            tracing::warn!(
                webhook.account = self.name(),
                webhook.contacts = self.lost.len(),
                "contacts that events are about were not found by the API's search, and there is no job that syncs them: \
                 run `allai-sync sync contacts`"
            );
        }
        self.lost_since = Duration::MAX;
        self.unended.append(&mut self.lost);
        self.store_endings(shared).await
    }

    /// Stores how attempts ended of which that is not stored yet. Events that tell what the warehouse refuses are dead, and in
    /// nobody's way.
    async fn store_endings(&mut self, shared: &Shared) -> Result<(), warehouse::Error> {
        while let Some(attempted) = self.unended.last_mut() {
            let Attempted {
                account, endings, told, ..
            } = attempted;
            match end(shared, account, endings, told).await {
                Err(error) if error.is_about_the_data() && !told.is_empty() => {
                    let ids = endings.iter().flat_map(|ending| ending.ids.iter().cloned());
                    let refused = Ending {
                        ids: ids.collect(),
                        ended: Ended::Dead(format!("what it tells cannot be stored: {error}")),
                    };
                    tell(account, std::slice::from_ref(&refused));
                    shared.warehouse.end_events(account, &[refused], &[]).await?;
                }
                stored => stored?,
            }
            self.hands.end(&attempted.entity);
            self.unended.pop();
        }
        Ok(())
    }

    /// Notes how an attempt ended.
    pub(super) fn ended(&mut self, attempted: Attempted, now: Duration) {
        match &attempted.verdict {
            Verdict::Trouble(trouble, problem) => self.pause(*trouble, problem, now),
            Verdict::Stopped => {}
            _ if !attempted.is_ended && attempted.verdict != Verdict::NeedsContacts => {
                self.pause(Trouble::Warehouse, "how events were applied could not be stored", now);
            }
            // Of the API, what is about nothing that can be fetched has found out nothing.
            _ if matches!(attempted.entity, Entity::Event(_)) && self.trouble != Some(Trouble::Warehouse) => {}
            _ => {
                self.hands.set_waiting(false);
                if self.trouble.take().is_some() {
                    tracing::info!(webhook.account = self.name(), "events are applied again");
                }
                self.setbacks = 0;
            }
        }
        self.look_at = now;
        if attempted.is_ended {
            self.hands.end(&attempted.entity);
        } else if attempted.verdict == Verdict::NeedsContacts {
            self.lost_since = self.lost_since.min(now);
            self.lost.push(attempted);
        } else {
            self.unended.push(attempted);
        }
    }

    /// Whether there is something to do now.
    pub(super) fn is_to_look(&self, now: Duration) -> bool {
        let is_waiting = now >= self.look_at && self.hands.free() > 0;
        now >= self.paused_until && (is_waiting || !self.unended.is_empty() || !self.lost.is_empty())
    }

    fn pause(&mut self, trouble: Trouble, problem: &str, now: Duration) {
        if now < self.paused_until && self.trouble == Some(trouble) {
            // Others that were under way meet the same.
            return;
        }
        let pause = match trouble {
            Trouble::Key => KEY_AGAIN,
            Trouble::Api | Trouble::Warehouse => {
                let pause = FIRST_PAUSE.saturating_mul(1 << self.setbacks.min(10));
                self.setbacks += 1;
                pause.min(LONGEST_PAUSE)
            }
        };
        self.paused_until = now + pause;
        if self.trouble != Some(trouble) {
            tracing::warn!(
                webhook.account = self.name(),
                webhook.wait_seconds = pause.as_secs(),
                "events wait, and are applied later: {problem}"
            );
        }
        self.trouble = Some(trouble);
        self.hands.set_waiting(true);
    }

    /// Gives the lease back, if it is worth it.
    pub(super) async fn release(&self, shared: &Shared) -> Result<(), warehouse::Error> {
        if self.is_ours && matches!(shared.warehouse, Warehouse::Postgres(_)) {
            let holder = shared.holder.as_str();
            shared.warehouse.release_inbox(self.name(), holder).await?;
        }
        Ok(())
    }
}

/// Whether there is nothing to fetch for it, and nothing to complain of.
fn is_alone(claimed: &ClaimedEntity) -> bool {
    matches!(claimed.entity, Entity::Event(_)) && unreadable(claimed).is_none()
}

/// Applies the events of an entity, and stores how that ended.
async fn apply(
    refresher: &Refresher,
    claimed: ClaimedEntity,
    shared: &Shared,
    cancelled: &CancellationToken,
) -> Attempted {
    let account = refresher.account().name.clone();
    let entity = claimed.entity.clone();
    let (claimed, deadly) = without_deadly(claimed);
    let verdict = if claimed.events.is_empty() {
        Verdict::Applied
    } else {
        attempt(refresher, &claimed, cancelled).await
    };
    let (mut endings, mut told) = endings(&claimed, &verdict, shared.clock.now());
    endings.extend(deadly);
    let mut verdict = verdict;
    let mut is_ended = false;
    if verdict != Verdict::NeedsContacts {
        let ending = end(shared, &account, &mut endings, &mut told).await;
        is_ended = ending.is_ok();
        if let Err(error) = ending
            && error.is_about_the_data()
        {
            // What they tell cannot be stored: that is their failure.
            verdict = Verdict::Failed(error.to_string());
            (endings, told) = (
                super::attempt::endings(&claimed, &verdict, shared.clock.now()).0,
                Vec::new(),
            );
            is_ended = shared.warehouse.end_events(&account, &endings, &told).await.is_ok();
        }
    }
    tell(&account, &endings);
    for event in &claimed.events {
        let ending = endings.iter().find(|ending| ending.ids.contains(&event.id));
        if let Some(ending) = ending {
            metrics::event_ended(&account, &ending.ended, shared.clock.now() - event.received_at);
        }
    }
    Attempted {
        account,
        entity,
        verdict,
        endings,
        told,
        is_ended,
    }
}

/// Stores how an attempt ended. What the events tell that has no column, and that the database refuses, is left out.
async fn end(
    shared: &Shared,
    account: &str,
    endings: &mut Vec<Ending>,
    told: &mut [Payload],
) -> Result<(), warehouse::Error> {
    let refused = match shared.warehouse.end_events(account, endings, told).await {
        Err(error) if error.is_about_the_data() => error,
        ended => return ended,
    };
    let mut is_less = false;
    for told in told.iter_mut() {
        if let Some(error) = shared.warehouse.refused_extra(told).await? {
            tracing::warn!(
                webhook.account = account,
                webhook.event = told.event_id,
                "of what an event tells, the database refuses what has no column, which is left out: {error}"
            );
            told.extra = None;
            say_of(endings, &told.event_id, &format!("its extra is left out: {error}"));
            is_less = true;
        }
    }
    if !is_less {
        return Err(refused);
    }
    shared.warehouse.end_events(account, endings, told).await
}

/// Says something of an event that is done.
fn say_of(endings: &mut Vec<Ending>, id: &str, note: &str) {
    for at in 0..endings.len() {
        let Ending { ids, ended } = &mut endings[at];
        if let (Ended::Done(said), Some(place)) = (ended, ids.iter().position(|other| other == id)) {
            let note = said
                .as_ref()
                .map_or_else(|| note.to_owned(), |said| format!("{said}; {note}"));
            let ids = vec![ids.swap_remove(place)];
            endings.push(Ending {
                ids,
                ended: Ended::Done(Some(note)),
            });
            return;
        }
    }
}

fn tell(account: &str, endings: &[Ending]) {
    for ending in endings {
        match &ending.ended {
            Ended::Dead(problem) => tracing::error!(
                webhook.account = account,
                webhook.events = ending.ids.len(),
                "events are given up: {problem}"
            ),
            Ended::Later { problem, .. } => tracing::debug!(
                webhook.account = account,
                webhook.events = ending.ids.len(),
                "events are tried again later: {problem}"
            ),
            Ended::Done(_) => {}
        }
    }
}
