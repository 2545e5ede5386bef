//! The program's parts, put together from the configuration.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use crate::allai::{self, Budget, Client, Limits, Resource, RetryPolicy};
use crate::clock::SharedClock;
use crate::config::{self, Config};
use crate::sync::{self, Job, Options, Progress, ProgressSnapshot};
use crate::warehouse::{self, Location, RateBudget, RunRecord, Warehouse};

/// Requests under way at once, per API key.
const CONCURRENCY: usize = 16;

/// The warehouse and the accounts that are mirrored into it.
#[derive(Debug)]
pub struct App {
    /// Where everything goes.
    pub warehouse: Warehouse,
    /// The accounts that are enabled, by name.
    pub accounts: Vec<sync::Account>,
    /// The time.
    pub clock: SharedClock,
}

/// Why the program cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The warehouse cannot be used.
    #[error(transparent)]
    Warehouse(#[from] warehouse::Error),
    /// The API client of an account cannot be made.
    #[error("account {account}: {source}")]
    Client {
        /// The account's name.
        account: String,
        /// Why.
        source: allai::Error,
    },
    /// The warehouse's tables are missing or old, and the configuration forbids to change them.
    #[error(
        "the warehouse's tables are not those of this version, and warehouse.migrate is false: run `allai-sync migrate` \
         with a user that may change them"
    )]
    NotMigrated,
}

impl App {
    /// Opens the warehouse, creates or upgrades its tables unless that is switched off, and makes the clients.
    pub async fn open(config: &Config, clock: SharedClock) -> Result<Self, Error> {
        let accounts = accounts(config, &clock, &RetryPolicy::default())?;
        let warehouse = Warehouse::open(&location(config), Arc::clone(&clock)).await?;
        if config.warehouse.migrate {
            warehouse.migrate().await?;
        } else if !warehouse.schema_is_current().await? {
            return Err(Error::NotMigrated);
        }
        Ok(Self {
            warehouse,
            accounts,
            clock,
        })
    }

    /// Syncs the resources of the accounts that `watch` names: the accounts at the same time, the resources of each in
    /// order. What one account meets does not stop another; an account whose key is refused is not tried further.
    pub async fn sync(
        &self,
        watch: &Watch,
        resources: &[Resource],
        options: Options,
        trigger: &str,
        cancelled: &CancellationToken,
    ) -> Vec<RunRecord> {
        let runs = watch.accounts.iter().filter_map(|watched| {
            let account = self.accounts.iter().find(|account| account.name == watched.name)?;
            Some(self.sync_account(account, watched, resources, options, trigger, cancelled))
        });
        join_all(runs).await.into_iter().flatten().collect()
    }

    async fn sync_account(
        &self,
        account: &sync::Account,
        watched: &Watched,
        resources: &[Resource],
        options: Options,
        trigger: &str,
        cancelled: &CancellationToken,
    ) -> Vec<RunRecord> {
        let mut runs = Vec::with_capacity(resources.len());
        for &resource in resources {
            let progress = watched.begin(resource);
            let job = Job {
                account,
                warehouse: &self.warehouse,
                clock: &self.clock,
                options,
                trigger,
                progress: &progress,
                cancelled,
            };
            let outcome = sync::run(&job, resource).await;
            runs.push(outcome.record);
            if outcome.stops_account {
                break;
            }
        }
        watched.end();
        self.keep_budget(account).await;
        runs
    }

    /// Keeps what the API said of the rate limit, for `status`. Losing it costs nobody anything.
    async fn keep_budget(&self, account: &sync::Account) {
        let seen = account.client.budget().snapshot();
        let now = self.clock.now();
        let budget = RateBudget {
            account: account.name.clone(),
            rate_limit: seen.limit.map(i64::from),
            remaining: seen.remaining.map(i64::from),
            resets_at: seen.resets_in.map(|wait| now + wait),
            observed_at: now,
        };
        if let Err(error) = self.warehouse.save_rate_budget(&budget).await {
            tracing::warn!(sync.account = account.name, %error, "the rate budget was not kept");
        }
    }
}

/// Where the configuration puts the warehouse.
pub fn location(config: &Config) -> Location {
    Location {
        url: config.warehouse.url().to_owned(),
        schema: config.warehouse.schema.clone(),
    }
}

/// The accounts that are enabled, each with its client. Accounts that use the same key of the same API share its budget.
pub fn accounts(config: &Config, clock: &SharedClock, retry: &RetryPolicy) -> Result<Vec<sync::Account>, Error> {
    let mut budgets: HashMap<(String, String), Arc<Budget>> = HashMap::new();
    let enabled = config.accounts.iter().filter(|(_, account)| account.enabled);
    enabled
        .map(|(name, account)| {
            let key = account.api_key.as_ref().map_or("", |key| key.expose());
            let budget = budgets
                .entry((account.base_url().into(), key.to_owned()))
                .or_insert_with(|| Arc::new(Budget::new(limits(account), Arc::clone(clock))));
            let client = Client::builder(account.base_url(), SecretString::from(key))
                .budget(Arc::clone(budget))
                .clock(Arc::clone(clock))
                .timeout(account.timeout)
                .retry(retry.clone())
                .build()
                .map_err(|source| Error::Client {
                    account: name.clone(),
                    source,
                })?;
            Ok(sync::Account {
                name: name.clone(),
                client,
                page_size: account.page_size,
                concurrency: CONCURRENCY,
                in_lockstep: false,
                contact_fields: account.contacts.fields.clone(),
                conversation_fields: account.conversations.fields.clone(),
                message_fields: account.messages.fields.clone(),
                periods: account.analytics.periods.clone(),
            })
        })
        .collect()
}

fn limits(account: &config::Account) -> Limits {
    Limits {
        ceiling_per_minute: account.plan.ceiling_per_minute(),
        fallback_per_minute: account.fallback_per_minute(),
        reserve: account.reserve,
        max_in_flight: CONCURRENCY,
    }
}

/// What a sync of several accounts is doing, for whoever watches it.
#[derive(Debug)]
pub struct Watch {
    /// The accounts, in order.
    pub accounts: Vec<Watched>,
}

impl Watch {
    /// Watches these accounts.
    pub fn new<'a>(accounts: impl IntoIterator<Item = &'a sync::Account>) -> Self {
        let watched = accounts.into_iter().map(|account| Watched {
            name: account.name.clone(),
            budget: Arc::clone(account.client.budget()),
            current: Mutex::new(None),
        });
        Self {
            accounts: watched.collect(),
        }
    }
}

/// What the sync of one account is doing.
#[derive(Debug)]
pub struct Watched {
    /// The account's name.
    pub name: String,
    /// The budget of its key.
    pub budget: Arc<Budget>,
    current: Mutex<Option<(Resource, Arc<Progress>)>>,
}

impl Watched {
    /// The resource that is being synced and how far it is; `None` before and after.
    pub fn current(&self) -> Option<(Resource, ProgressSnapshot)> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current
            .as_ref()
            .map(|(resource, progress)| (*resource, progress.snapshot()))
    }

    fn begin(&self, resource: Resource) -> Arc<Progress> {
        let progress = Arc::new(Progress::default());
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some((resource, Arc::clone(&progress)));
        progress
    }

    fn end(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
