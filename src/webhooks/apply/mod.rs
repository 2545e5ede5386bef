//! Applying events: what they are about is fetched from the API and stored as a sweep would.
//!
//! One task looks after the events of all accounts. Of each account it holds the lease while there is something to do, so
//! that of several programs one applies its events; it claims all open events of an entity together, and fetches the entity
//! once for them. Events that arrive while the fetch is under way get another one after it: their news may be later than
//! the answer. How each ended is stored with what it tells in one transaction.
//!
//! Nothing is written while nothing arrives. What a dead program was applying is applied again.

mod attempt;
mod hands;
mod inbox;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::{Either, select};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::inbox::{AccountInbox, Attempted};
use crate::clock::SharedClock;
use crate::schedule::Holder;
use crate::sync;
use crate::warehouse::Warehouse;

/// How long after something has come to nothing it is looked at again, at the soonest: no loop is to spin.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// Whose events are applied: what a new configuration may change.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The accounts.
    pub accounts: Vec<Arc<sync::Account>>,
    /// How often is looked for events that this program has not been told of.
    pub look_every: Duration,
}

/// What tells of work, and of whom work is asked.
#[derive(Clone, Debug, Default)]
pub struct Calls {
    /// Notified when events have been stored here.
    pub arrived: Arc<Notify>,
    /// Notified here when a run of a job is wanted.
    pub runs: Arc<Notify>,
}

/// Applies the events of accounts.
#[derive(Debug)]
pub struct Applying {
    shared: Shared,
    arrived: Arc<Notify>,
    watched: watch::Receiver<Watched>,
    inboxes: BTreeMap<String, AccountInbox>,
    tasks: JoinSet<Attempted>,
}

#[derive(Clone, Debug)]
struct Shared {
    warehouse: Warehouse,
    clock: SharedClock,
    holder: Holder,
    lease: Duration,
    runs: Arc<Notify>,
    stop: CancellationToken,
}

impl Shared {
    fn lease(&self) -> TimeDelta {
        TimeDelta::from_std(self.lease).unwrap_or(TimeDelta::MAX)
    }
}

impl Applying {
    /// For these accounts; `lease` is how long another program waits for this one when it gives no sign of life.
    pub fn new(
        warehouse: Warehouse,
        clock: SharedClock,
        holder: Holder,
        lease: Duration,
        watched: watch::Receiver<Watched>,
        calls: Calls,
    ) -> Self {
        Self {
            shared: Shared {
                warehouse,
                clock,
                holder,
                lease,
                runs: calls.runs,
                stop: CancellationToken::new(),
            },
            arrived: calls.arrived,
            watched,
            inboxes: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Applies what arrives until it is told to `stop`, and within which time: then what is being stored is stored.
    pub async fn run(mut self, stop: impl Future<Output = Duration>) {
        let clock = Arc::clone(&self.shared.clock);
        let mut stop = pin!(stop);
        let within = loop {
            let next = match select(pin!(self.turn()), &mut stop).await {
                Either::Left((next, _)) => next,
                Either::Right((within, turn)) => {
                    // What the database is doing comes to its end, if it does so in time.
                    let asked = clock.monotonic();
                    select(turn, clock.sleep(within)).await;
                    break within.saturating_sub(clock.monotonic().saturating_sub(asked));
                }
            };
            let wait = next.saturating_sub(self.shared.clock.monotonic()).max(SHORTEST_WAIT);
            let arrived = Arc::clone(&self.arrived);
            tokio::select! {
                biased;
                within = &mut stop => break within,
                Some(attempted) = self.tasks.join_next() => self.ended(attempted.ok()),
                () = arrived.notified() => self.look_now(),
                Ok(()) = self.watched.changed() => {}
                () = self.shared.clock.sleep(wait) => {}
            }
        };
        self.stop(within).await;
    }

    /// Applies everything that is due, and returns when nothing is any more, or nothing can be done.
    pub async fn run_once(&mut self) {
        self.look_now();
        loop {
            self.turn().await;
            let now = self.shared.clock.monotonic();
            match self.tasks.join_next().await {
                Some(attempted) => self.ended(attempted.ok()),
                None if self.inboxes.values().any(|inbox| inbox.is_to_look(now)) => {}
                None => return,
            }
        }
    }

    /// Stops: what is being stored is stored, the rest is left for the next program.
    pub async fn stop(mut self, within: Duration) {
        self.shared.stop.cancel();
        let all = async {
            while self.tasks.join_next().await.is_some() {}
            for inbox in self.inboxes.values() {
                if let Err(error) = inbox.release(&self.shared).await {
                    tracing::debug!("an inbox was not given back, it is free when its lease expires: {error}");
                }
            }
        };
        let deadline = self.shared.clock.sleep(within);
        if let Either::Right(_) = select(pin!(all), deadline).await {
            tracing::warn!("events were not applied in time; they are when the daemon starts again");
        }
        self.tasks.shutdown().await;
    }

    /// Looks after every account, and says when to come again if nothing happens before.
    async fn turn(&mut self) -> Duration {
        let watched = self.watched.borrow_and_update().clone();
        self.inboxes.retain(|name, inbox| {
            let is_kept = watched.accounts.iter().any(|account| account.name == *name);
            if !is_kept {
                inbox.cancel();
            }
            is_kept
        });
        let mut next = Duration::MAX;
        for account in &watched.accounts {
            let inbox = self
                .inboxes
                .entry(account.name.clone())
                .or_insert_with(|| AccountInbox::new(Arc::clone(account), &self.shared));
            inbox.take(account, &self.shared);
            next = next.min(inbox.turn(&self.shared, &watched, &mut self.tasks).await);
        }
        next
    }

    fn look_now(&mut self) {
        for inbox in self.inboxes.values_mut() {
            inbox.look_at = Duration::ZERO;
        }
    }

    fn ended(&mut self, attempted: Option<Attempted>) {
        let now = self.shared.clock.monotonic();
        if let Some(attempted) = attempted
            && let Some(inbox) = self.inboxes.get_mut(&attempted.account)
        {
            inbox.ended(attempted, now);
        }
    }
}
