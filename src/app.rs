//! The program's parts, put together from the configuration.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use allai_connectors::Connector;
use futures_util::future::join_all;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::allai::{self, Budget, Client, Limits, Resource, RetryPolicy};
use crate::automation::{self, Automations, Rule, Tools};
use crate::clock::SharedClock;
use crate::config::{self, Config};
use crate::contacts::ContactSync;
use crate::schedule::{self, Claimed, Entry, Holder, Plan, Work};
use crate::stock::{Snapshots, Stocks, Terms};
use crate::sync::{self, Job, Options, Progress, ProgressSnapshot};
use crate::warehouse::{self, Claim, JobState, Location, Outages, RunRecord, Warehouse};

/// Requests under way at once, per API key.
const CONCURRENCY: usize = 16;
/// How long a sync that somebody started by hand keeps its claim to a job without a sign of life.
const LEASE: Duration = Duration::from_secs(30);
/// How often a claim is tried again that the database refused for the moment.
const TRIES: u32 = 10;
/// How often is looked whether a job is free.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The warehouse and the accounts that are mirrored into it.
#[derive(Debug)]
pub struct App {
    /// Where everything goes.
    pub warehouse: Warehouse,
    /// The accounts that are enabled, by name.
    pub accounts: Vec<sync::Account>,
    /// The time.
    pub clock: SharedClock,
    /// Who claims the jobs that are synced.
    holder: Holder,
    keys: Keys,
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
        let app = Self::assemble(config, clock).await?;
        app.reach(config).await?;
        Ok(app)
    }

    /// Makes the clients and opens the warehouse, whose server need not be there yet: [`Self::reach`] does the rest.
    pub(crate) async fn assemble(config: &Config, clock: SharedClock) -> Result<Self, Error> {
        let (accounts, keys) = Keys::default().accounts(config, &clock, &RetryPolicy::default())?;
        let warehouse = Warehouse::at(&location(config), Arc::clone(&clock)).await?;
        warehouse.set_interests(automation::interests(config));
        Ok(Self {
            warehouse,
            accounts,
            clock,
            holder: Holder::new("sync"),
            keys,
        })
    }

    /// Connects to the warehouse's server, and creates or upgrades the tables unless that is switched off.
    pub(crate) async fn reach(&self, config: &Config) -> Result<(), Error> {
        self.warehouse.reach().await?;
        if config.warehouse.migrate {
            self.warehouse.migrate().await?;
        } else if !self.warehouse.schema_is_current().await? {
            return Err(Error::NotMigrated);
        }
        Ok(())
    }

    /// The accounts of another configuration. What is known of the rate limit of a key stays known.
    pub(crate) fn accounts_of(&self, config: &Config) -> Result<NewAccounts, Error> {
        let (accounts, keys) = self.keys.accounts(config, &self.clock, &RetryPolicy::default())?;
        Ok(NewAccounts { accounts, keys })
    }

    /// Takes other accounts in place of those it has. Says which of them have another key, address or limits than before.
    pub(crate) fn take(&mut self, new: NewAccounts) -> Vec<String> {
        let old = std::mem::replace(&mut self.accounts, new.accounts);
        self.keys = new.keys;
        let is_as_before = |account: &sync::Account| {
            old.iter()
                .any(|old| old.name == account.name && Arc::ptr_eq(old.client.budget(), account.client.budget()))
        };
        let changed = self.accounts.iter().filter(|account| !is_as_before(account));
        changed.map(|account| account.name.clone()).collect()
    }

    /// Syncs the resources of the accounts that `watch` names: the accounts at the same time, the resources of each in
    /// order. What one account meets does not stop another; an account whose key is refused is not tried further, and its
    /// other resources end in the same way, with no run.
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
            let claimed = self.claim(account, resource, options.full, cancelled).await;
            let progress = watched.begin(resource);
            let run = async |warehouse: &Warehouse, token: CancellationToken| {
                let job = Job {
                    account,
                    warehouse,
                    clock: &self.clock,
                    options,
                    trigger,
                    progress: &progress,
                    cancelled: &token,
                };
                (schedule::run(&job, resource).await, token.is_cancelled())
            };
            let outcome = match claimed {
                None => run(&self.warehouse, cancelled.clone()).await.0,
                Some(claimed) => {
                    let begun = self.clock.now();
                    let fenced = claimed.fenced();
                    let held = claimed.hold(cancelled, |token| run(&fenced, token)).await;
                    let Some((outcome, interrupted)) = held else {
                        let why = "another program has taken over this job, because this one gave no sign of life";
                        runs.push(RunRecord::failed(
                            &account.name,
                            resource,
                            trigger,
                            begun,
                            self.clock.now(),
                            why,
                        ));
                        break;
                    };
                    let work = Work {
                        full: options.full,
                        requested: true,
                    };
                    let release = schedule::release(&claimed.job, work, &outcome, interrupted);
                    claimed.release(&release).await;
                    outcome
                }
            };
            runs.push(outcome.record);
            if outcome.stops_account {
                break;
            }
        }
        if let Some(last) = runs.last().cloned() {
            let now = self.clock.now();
            let why = format!("not tried, because of what ended the sync of {}", last.resource);
            runs.extend(resources.iter().skip(runs.len()).map(|&resource| RunRecord {
                status: last.status,
                ..RunRecord::failed(&account.name, resource, trigger, now, now, &why)
            }));
        }
        watched.end();
        runs
    }

    /// Claims a job, waiting for the program that has it. `None` if the warehouse is in trouble, of which the run itself
    /// will tell, or if `cancelled` comes first.
    async fn claim(
        &self,
        account: &sync::Account,
        resource: Resource,
        full: bool,
        cancelled: &CancellationToken,
    ) -> Option<Claimed<'_>> {
        let mut outages = Outages::default();
        let mut waits_for: Option<String> = None;
        let mut tries = 0;
        loop {
            let claiming = self.try_claim(account, resource, full);
            let claimed = tokio::select! {
                () = cancelled.cancelled() => return None,
                claimed = claiming => claimed,
            };
            match claimed {
                Ok(Ok(job)) => {
                    return Some(Claimed {
                        job,
                        holder: &self.holder,
                        lease: LEASE,
                        warehouse: &self.warehouse,
                        clock: &self.clock,
                    });
                }
                Ok(Err(by)) => {
                    if waits_for.as_ref() != Some(&by) {
                        tracing::info!(sync.account = account.name, sync.resource = %resource, "{by} syncs this just now; waiting for it");
                        waits_for = Some(by);
                    }
                }
                // Whoever has the job still has it when the database is back.
                Err(error) if self.warehouse.outlast(&error, &mut outages).await => {}
                // Such as a deadlock, of which the database has chosen this one to be tried again.
                Err(error) if error.is_transient() && !error.is_locked() && tries < TRIES => tries += 1,
                Err(_) => return None,
            }
            tokio::select! {
                () = cancelled.cancelled() => return None,
                () = self.clock.sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Claims a job, or says who has it.
    async fn try_claim(
        &self,
        account: &sync::Account,
        resource: Resource,
        full: bool,
    ) -> Result<Result<JobState, String>, warehouse::Error> {
        let name = account.name.as_str();
        self.warehouse
            .add_jobs(&[(name, resource, key_group(&self.accounts, account))])
            .await?;
        let jobs = self.warehouse.jobs().await?;
        let free = self.holder.dead_or(&jobs);
        let job = jobs
            .into_iter()
            .find(|job| job.account == name && job.resource == resource);
        let held = job.and_then(|job| job.held).map(|held| held.holder);
        let claim = Claim {
            account: name,
            resource,
            holder: self.holder.as_str(),
            lease: schedule::delta(LEASE),
            fence: None,
            full,
            key_alone: false,
            instead_of: &free,
        };
        let claimed = self.warehouse.claim_job(&claim).await?;
        Ok(claimed.ok_or_else(|| held.unwrap_or_else(|| "another program".to_owned())))
    }
}

/// Accounts that are not taken yet.
#[derive(Debug)]
pub(crate) struct NewAccounts {
    pub(crate) accounts: Vec<sync::Account>,
    keys: Keys,
}

/// When the jobs that the configuration wants are to run.
pub fn plans(config: &Config) -> Vec<Plan> {
    let enabled = config.accounts.iter().filter(|(_, account)| account.enabled);
    let of_account = |(name, account): (&String, &config::Account)| {
        let salt = account.api_key.as_ref().map_or("", |key| key.expose());
        let jobs = Resource::ALL.into_iter().filter_map(|resource| {
            let job = config.jobs.get(resource);
            job.enabled.then(|| Plan::new(name, resource, job, salt))
        });
        jobs.collect::<Vec<_>>()
    };
    enabled.flat_map(of_account).collect()
}

/// The jobs that the configuration wants, each with its account.
pub fn entries(config: &Config, accounts: &[sync::Account]) -> Vec<Entry> {
    let shared: Vec<Arc<sync::Account>> = accounts.iter().cloned().map(Arc::new).collect();
    let entry = |plan: Plan| {
        let account = shared.iter().find(|account| account.name == plan.account)?;
        Some(Entry {
            plan,
            account: Arc::clone(account),
            key_group: key_group(accounts, account).to_owned(),
        })
    };
    plans(config).into_iter().filter_map(entry).collect()
}

/// The first account that has the same API key.
fn key_group<'a>(accounts: &'a [sync::Account], account: &'a sync::Account) -> &'a str {
    let same_key = |other: &&sync::Account| Arc::ptr_eq(other.client.budget(), account.client.budget());
    accounts
        .iter()
        .find(same_key)
        .map_or(&account.name, |first| &first.name)
}

/// The connectors of the configuration, by name, which have not connected yet.
pub fn connectors(config: &Config) -> BTreeMap<String, Arc<dyn Connector>> {
    let connect = |(name, connector): (&String, &config::Connector)| Some((name.clone(), connector.connect()?));
    config.connectors.iter().filter_map(connect).collect()
}

/// What keeps contacts the same in CRMs, by the sections of the configuration; an error says why one cannot.
pub fn contact_syncs(
    config: &Config,
    accounts: &[sync::Account],
    warehouse: &Warehouse,
    clock: &SharedClock,
) -> Vec<Result<ContactSync, String>> {
    let connectors = connectors(config);
    let make = |(name, section): (&String, &config::ContactSync)| {
        let wanted = config.account(section.account.as_deref()).map_or("", |(name, _)| name);
        let Some(account) = accounts.iter().find(|account| account.name == wanted) else {
            return Err(format!("contact_sync.{name}: account {wanted} is switched off"));
        };
        let Some(connector) = connectors.get(&section.connector) else {
            return Err(format!(
                "contact_sync.{name}: this version does not connect to what connectors.{} is",
                section.connector
            ));
        };
        let account = Arc::new(account.clone());
        ContactSync::new(name, section, account, Arc::clone(connector), warehouse, clock).map_err(|misfits| {
            let told = misfits.into_iter().map(|misfit| misfit.problem);
            format!("contact_sync.{name}: {}", told.collect::<Vec<_>>().join("; "))
        })
    };
    config.contact_sync.iter().map(make).collect()
}

/// What the connectors of the configuration know of stock.
pub fn stocks(config: &Config, clock: &SharedClock) -> Stocks {
    let with_terms = connectors(config).into_iter().map(|(name, connector)| {
        let options = &config.connectors[&name];
        let terms = Terms {
            fresh: options.cache_for,
            kept: options.stale_for,
            deadline: options.deadline,
        };
        (name, connector, terms)
    });
    Stocks::new(with_terms, clock)
}

/// What takes snapshots of stock, by the sections of the configuration.
pub fn stock_snapshots(config: &Config, warehouse: &Warehouse, clock: &SharedClock) -> Vec<Snapshots> {
    let connectors = connectors(config);
    let make = |(name, section): (&String, &config::StockSnapshots)| {
        let connector = Arc::clone(connectors.get(name)?);
        Some(Snapshots::new(name, section, connector, warehouse, clock))
    };
    config.stock_snapshots.iter().filter_map(make).collect()
}

/// The rules of the configuration that are at work.
pub fn rules(config: &Config) -> Vec<Rule> {
    let enabled = config.automations.iter().filter(|section| section.enabled);
    // What is wrong with one, a configuration that was loaded has none of.
    enabled.filter_map(|section| Rule::new(section, config).ok()).collect()
}

/// What the steps of an account's rules work with.
pub fn tools(
    config: &Config,
    account: &sync::Account,
    warehouse: &Warehouse,
    stocks: &Stocks,
    clock: &SharedClock,
) -> Tools {
    Tools::new(&account.client, warehouse, stocks, connectors(config), clock)
}

/// What does the rules' work, an account each.
pub fn automations(
    config: &Config,
    accounts: &[sync::Account],
    warehouse: &Warehouse,
    stocks: &Stocks,
    clock: &SharedClock,
    holder: &Holder,
) -> Vec<Automations> {
    let mut by_account: BTreeMap<String, Vec<Rule>> = BTreeMap::new();
    for rule in rules(config) {
        by_account.entry(rule.account.clone()).or_default().push(rule);
    }
    let make = |(name, rules): (String, Vec<Rule>)| {
        let account = accounts.iter().find(|account| account.name == name)?;
        let tools = tools(config, account, warehouse, stocks, clock);
        Some(Automations::new(name, rules, tools, clock, holder.clone()))
    };
    by_account.into_iter().filter_map(make).collect()
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
    let (accounts, _) = Keys::default().accounts(config, clock, retry)?;
    Ok(accounts)
}

/// The budget of each API key, by a digest of the API's address and the key.
#[derive(Debug, Default)]
struct Keys(HashMap<[u8; 32], (Limits, Arc<Budget>)>);

impl Keys {
    /// The accounts of a configuration, and its keys.
    fn accounts(
        &self,
        config: &Config,
        clock: &SharedClock,
        retry: &RetryPolicy,
    ) -> Result<(Vec<sync::Account>, Self), Error> {
        let mut used = HashMap::new();
        let mut accounts = Vec::new();
        for (name, account) in config.accounts.iter().filter(|(_, account)| account.enabled) {
            let key = account.api_key.as_ref().map_or("", |key| key.expose());
            let digest: [u8; 32] = Sha256::digest(format!("{}\n{key}", account.base_url())).into();
            let limits = limits(account);
            let (_, budget) = used.entry(digest).or_insert_with(|| match self.0.get(&digest) {
                Some((known, budget)) if *known == limits => (limits, Arc::clone(budget)),
                _ => (limits, Arc::new(Budget::new(limits, Arc::clone(clock)))),
            });
            let client = Client::builder(account.base_url(), SecretString::from(key))
                .name(name)
                .budget(Arc::clone(budget))
                .clock(Arc::clone(clock))
                .timeout(account.timeout)
                .retry(retry.clone())
                .build()
                .map_err(|source| Error::Client {
                    account: name.clone(),
                    source,
                })?;
            accounts.push(sync::Account {
                name: name.clone(),
                client,
                page_size: account.page_size,
                concurrency: CONCURRENCY,
                in_lockstep: false,
                contact_fields: account.contacts.fields.clone(),
                conversation_fields: account.conversations.fields.clone(),
                message_fields: account.messages.fields.clone(),
                periods: account.analytics.periods.clone(),
            });
        }
        Ok((accounts, Self(used)))
    }
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
