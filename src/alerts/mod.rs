//! Telling people when something needs one: once when it begins, once when it is over.
//!
//! [`conditions`] says from what the warehouse holds what is wrong now; the warehouse keeps an incident for each
//! ([`crate::warehouse::Incident`]), so that of several daemons one tells, and none tells twice; [`Notifier`] tells. Of a warehouse that cannot be used each tells.

mod conditions;
mod events;
mod notifier;
mod outage;
mod refusal;

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::{Either, select};
use tokio_util::sync::CancellationToken;

pub use conditions::conditions;
pub use notifier::Notifier;

use self::outage::Outage;
use crate::clock::SharedClock;
use crate::config;
use crate::schedule::Plan;
use crate::warehouse::{self, Incident, Warehouse};

/// How often it is looked whether something is wrong.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long the database may take for that.
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks again and again whether somebody is to be told of something.
#[derive(Debug)]
pub struct Alerts {
    settings: config::Alerts,
    plans: Vec<Plan>,
    warehouse: Warehouse,
    clock: SharedClock,
    notifier: Option<Notifier>,
    since: DateTime<Utc>,
    /// The accounts that AllAI sends events of, among them every message; `None`: events are not received.
    receiving: Option<Vec<String>>,
}

impl Alerts {
    /// Looks after the jobs of these plans, which this program keeps since `since`.
    pub fn new(
        settings: config::Alerts,
        plans: Vec<Plan>,
        warehouse: Warehouse,
        clock: SharedClock,
        since: DateTime<Utc>,
    ) -> Self {
        let notifier = Notifier::new(&settings);
        Self {
            settings,
            plans,
            warehouse,
            clock,
            notifier,
            since,
            receiving: None,
        }
    }

    /// Looks after webhook events, too, and whether they come for these accounts, of which every message should be one.
    #[must_use]
    pub fn receiving(mut self, accounts: Vec<String>) -> Self {
        self.receiving = Some(accounts);
        self
    }

    /// Looks until `stop` is cancelled; what is being told then is told to its end.
    pub async fn watch(mut self, stop: CancellationToken) {
        let mut outage = Outage::default();
        loop {
            tokio::select! {
                () = self.clock.sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => return,
            }
            let looked = {
                let looking = std::pin::pin!(self.look());
                match select(looking, self.clock.sleep(PATIENCE)).await {
                    Either::Left((looked, _)) => looked.map_err(|error| error.to_string()),
                    Either::Right(_) => Err(format!("the database did not answer within {} s", PATIENCE.as_secs())),
                }
            };
            if let Err(problem) = &looked {
                tracing::warn!(
                    "it is not known whether somebody should be told of something, looking again: {problem}"
                );
            }
            match &looked {
                // What could not be kept up to date meanwhile gets the time for that.
                Err(problem) if outage.go_on(problem, &self.clock) => self.since = self.clock.now(),
                Err(_) => {}
                Ok(_) => outage.end(&self.clock),
            }
            if let Some(notifier) = &self.notifier {
                outage.tell(notifier, &self.clock).await;
                if let Ok(untold) = looked
                    && !untold.is_empty()
                {
                    self.tell(notifier, untold).await;
                }
            }
        }
    }

    /// Looks what is wrong; what somebody is to be told of now, by this program alone for a while.
    async fn look(&self) -> Result<Vec<Incident>, warehouse::Error> {
        let kept: Vec<_> = self
            .plans
            .iter()
            .map(|plan| (plan.account.as_str(), plan.resource))
            .collect();
        let standings = self.warehouse.standings().await?;
        let (jobs, now) = self.warehouse.jobs_now().await?;
        let mut conditions = conditions(&self.settings, &self.plans, &standings, &jobs, self.since, now);
        let accounts: BTreeSet<&str> = self.plans.iter().map(|plan| plan.account.as_str()).collect();
        conditions.extend(events::of_automations(&self.warehouse, accounts.clone()).await?);
        if let Some(receiving) = &self.receiving {
            conditions.extend(events::conditions(&self.warehouse, accounts, receiving, self.since).await?);
        }
        self.warehouse.note_conditions(&conditions, &kept).await?;
        match &self.notifier {
            Some(notifier) => self.warehouse.untold_incidents(&notifier.ways()).await,
            None => Ok(Vec::new()),
        }
    }

    /// Tells of incidents. What cannot be told is told later.
    async fn tell(&self, notifier: &Notifier, mut incidents: Vec<Incident>) {
        let told = notifier.tell(&mut incidents, Some(&self.warehouse), &self.clock, warehouse::TELLING);
        for problem in told.await {
            tracing::warn!("alerts were not delivered, they are tried again in two minutes: {problem}");
        }
    }
}
