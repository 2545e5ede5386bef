//! The daemon's life: start, reload, stop, and what the service manager hears of it.

mod applying;
mod at_work;
mod keeping;
mod listening;
mod receiving;
mod sections;
mod watching;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sd_notify::NotifyState;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::allai::Resource;
use crate::app::{self, App};
use crate::automation;
use crate::clock::SharedClock;
use crate::config::{self, Config, LoadOptions};
use crate::metrics::Exporter;
use crate::schedule::{Holder, Scheduler, Turn};
use crate::server::Settings;
use crate::stock::Stocks;
use crate::sync;
use crate::warehouse::{self, DaemonLock, EventStatus, Keeper};
use crate::webhooks::{Calls, Senders};
use applying::Events;
use at_work::AtWork;
use keeping::{keep, keeper};
use listening::{Listener, listen};
use receiving::Public;
use sections::keep_sections;
use watching::Watching;

/// How long the database may take when the daemon stops.
const CLOSING: Duration = Duration::from_secs(1);
/// How often old runs are forgotten and it is said which jobs are kept, and how long that may take.
const TIDYING: Duration = Duration::from_hours(1);
const TIDYING_WITHIN: Duration = Duration::from_secs(10);
/// How long the database may take while the configuration is reloaded: the watchdog waits.
const RELOADING: Duration = Duration::from_secs(10);
/// How long after it was away the database is tried again while the daemon starts.
const AWAY: Duration = Duration::from_secs(2);
/// The service manager is asked so often for so much time while the daemon starts: upgrading large tables takes a while.
const STARTING: (Duration, u32) = (Duration::from_secs(20), 60_000_000);

/// Where the listeners' addresses are in the configuration.
const ADMIN_LISTEN: &str = "admin.listen";
const WEBHOOKS_LISTEN: &str = "webhooks.listen";

/// Why the daemon cannot start, or not take a new configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The parts cannot be put together.
    #[error(transparent)]
    App(#[from] app::Error),
    /// The warehouse cannot be used.
    #[error(transparent)]
    Warehouse(#[from] warehouse::Error),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] config::Errors),
    /// A listener cannot listen.
    #[error("cannot listen on {address}: {source}; choose another address as {key}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The key of the configuration that says where.
        key: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The warehouse is needed to take a new configuration, and does not answer.
    #[error("the database does not answer: reload again when it does")]
    DatabaseIsSilent,
    /// What cannot change while the daemon runs has changed.
    #[error("{0} cannot change while the daemon runs: restart it")]
    NeedsRestart(&'static str),
}

impl Error {
    /// Whether the database's server is away.
    fn is_outage(&self) -> bool {
        match self {
            Self::App(app::Error::Warehouse(error)) | Self::Warehouse(error) => error.is_outage(),
            _ => false,
        }
    }
}

/// What tells the daemon to do something.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// Cancelled: stop.
    pub stop: CancellationToken,
    /// Notified: read the configuration again.
    pub reload: Arc<Notify>,
}

/// The daemon, started.
#[derive(Debug)]
pub struct Daemon {
    app: App,
    config: Config,
    source: LoadOptions,
    scheduler: Scheduler,
    listener: Listener,
    public: Option<Public>,
    arrived: Arc<Notify>,
    applying: Events,
    sections: AtWork,
    automations: AtWork,
    holder: Holder,
    alerts: Watching,
    since: DateTime<Utc>,
    tidied_at: Duration,
    kept_at: Option<Duration>,
    keeper: Keeper,
    alone: Option<DaemonLock>,
}

impl Daemon {
    /// Starts: listens, opens the warehouse and looks at the jobs. `source` is where a new configuration is read from.
    ///
    /// Waits for a database server that is away, without end: meanwhile the admin listener says so, and people are told. Fails
    /// where another daemon keeps the same SQLite file, and where waiting would not help.
    pub async fn start(config: Config, source: LoadOptions, clock: SharedClock) -> Result<Self, Error> {
        tell(&[NotifyState::Status("starting")]);
        let starting = async {
            loop {
                tell(&[NotifyState::ExtendTimeoutUsec(STARTING.1)]);
                clock.sleep(STARTING.0).await;
            }
        };
        tokio::select! {
            started = Self::begin(config, source, Arc::clone(&clock)) => started,
            () = starting => unreachable!("it goes on for ever"),
        }
    }

    async fn begin(config: Config, source: LoadOptions, clock: SharedClock) -> Result<Self, Error> {
        let holder = Holder::new("run");
        // Before anything is migrated under the feet of another.
        let alone = DaemonLock::take(&app::location(&config), holder.as_str())?;
        let app = App::assemble(&config, Arc::clone(&clock)).await?;
        let since = clock.now();
        let keeper = keeper(&holder, &source);
        let mut scheduler = Scheduler::new(
            app.warehouse.clone(),
            Arc::clone(&clock),
            holder.clone(),
            config.daemon.lease,
        );
        let listening = listen(config.admin.listen, ADMIN_LISTEN).await?;
        let settings = Arc::new(watch::Sender::new(settings(
            &config,
            &app.accounts,
            app::stocks(&config, &clock),
        )));
        let listener = Listener::serve(listening, &app, settings, &scheduler)?;
        let mut alerts = None;
        while let Err(error) = make_ready(&app, &config, &mut scheduler).await {
            if !error.is_outage() || alone.is_some() {
                return Err(error);
            }
            let problem = format!("waiting for the database: {error}");
            tell(&[NotifyState::Status(&problem)]);
            scheduler.note_problem(problem);
            if alerts.is_none() {
                tracing::info!(
                    "the status page is at http://{}/ once the database is there",
                    listener.address
                );
                alerts = Some(Watching::start(&app, &config, since));
            }
            clock.sleep(AWAY).await;
        }
        let arrived: Arc<Notify> = Arc::default();
        let public = match &config.webhooks {
            Some(webhooks) => {
                let listening = listen(webhooks.listen, WEBHOOKS_LISTEN).await?;
                Some(Public::serve(listening, &app, &config, &arrived)?)
            }
            None => None,
        };
        let calls = Calls {
            arrived: Arc::clone(&arrived),
            runs: scheduler.waker(),
        };
        let stocks = listener.settings.borrow().stocks.clone();
        let automations = automate(&app, &config, &stocks, &holder);
        let applying = Events::apply(&app, &config, holder.clone(), calls);
        let sections = keep_sections(&app, &config);
        let alerts = alerts.unwrap_or_else(|| Watching::start(&app, &config, since));
        Ok(Self {
            app,
            config,
            source,
            scheduler,
            listener,
            public,
            arrived,
            applying,
            sections,
            automations,
            holder,
            alerts,
            since,
            tidied_at: Duration::ZERO,
            kept_at: None,
            keeper,
            alone,
        })
    }

    /// Where the admin listener listens.
    pub const fn admin_address(&self) -> SocketAddr {
        self.listener.address
    }

    /// Keeps the schedules until it is told to stop, and then stops in time.
    pub async fn run(mut self, signals: &Signals) {
        let exporter = Exporter::install();
        let mut is_ready = false;
        loop {
            let turn = tokio::select! {
                turn = self.scheduler.turn() => turn,
                () = signals.stop.cancelled() => break,
            };
            if let Some(exporter) = &exporter {
                exporter.tidy();
            }
            tell(&[NotifyState::Watchdog, NotifyState::Status(&describe(&turn))]);
            if turn.problem.is_none() && !is_ready {
                is_ready = true;
                tell(&[NotifyState::Ready]);
                tracing::info!("ready; the status page is at http://{}/", self.listener.address);
            }
            if turn.problem.is_none() {
                tokio::select! {
                    () = async { self.keep().await; self.tidy().await } => {}
                    () = signals.stop.cancelled() => break,
                }
            }
            tokio::select! {
                () = self.scheduler.wait(&turn) => {}
                () = signals.reload.notified() => tokio::select! {
                    () = self.reload(is_ready) => {}
                    () = signals.stop.cancelled() => break,
                },
                () = signals.stop.cancelled() => break,
            }
        }
        let most = (self.config.daemon.stop_within + CLOSING).as_micros();
        tell(&[
            NotifyState::Stopping,
            NotifyState::Status("stopping"),
            NotifyState::ExtendTimeoutUsec(u32::try_from(most).unwrap_or(u32::MAX)),
        ]);
        tracing::info!("stopping");
        self.stop().await;
    }

    /// Says which jobs it keeps, unless it has lately.
    async fn keep(&mut self) {
        let now = self.app.clock.monotonic();
        if self.kept_at.is_some_and(|at| now.saturating_sub(at) < TIDYING) {
            return;
        }
        let kept = tokio::select! {
            kept = keep(&self.app.warehouse, &self.keeper, &self.config, self.alone.is_some()) => kept.map_err(Error::from),
            () = self.app.clock.sleep(TIDYING_WITHIN) => Err(Error::DatabaseIsSilent),
        };
        match kept {
            Ok(()) => self.kept_at = Some(now),
            Err(error) => tracing::warn!(%error, "it is not noted which jobs this daemon keeps; trying again"),
        }
    }

    /// Forgets what was told of long ago: some of it, if it is much.
    async fn tidy(&mut self) {
        let now = self.app.clock.monotonic();
        if self.tidied_at != Duration::ZERO && now.saturating_sub(self.tidied_at) < TIDYING {
            return;
        }
        let kept = TimeDelta::from_std(self.config.daemon.keep_journal).unwrap_or(TimeDelta::MAX);
        let Some(before) = self.app.clock.now().checked_sub_signed(kept) else {
            return;
        };
        let webhooks = self.config.webhooks.clone().unwrap_or_default();
        let (keep_events, are_passed_on) = (webhooks.keep_events, webhooks.nats.is_some());
        let kept = TimeDelta::from_std(keep_events).unwrap_or(TimeDelta::MAX);
        let events_before = self.app.clock.now().checked_sub_signed(kept);
        let forgetting = async {
            let mut is_all = true;
            for account in &self.app.accounts {
                let name = &account.name;
                for (status, before, are_passed_on) in [
                    (EventStatus::Done, events_before, are_passed_on),
                    (EventStatus::Dead, Some(before), false),
                ] {
                    if let Some(before) = before {
                        let forgetting = self.app.warehouse.forget_events(name, status, before, are_passed_on);
                        is_all &= forgetting.await?;
                    }
                }
                is_all &= self.app.warehouse.forget_session_tokens(&account.name, before).await?;
                self.app.warehouse.forget_automation_runs(&account.name, before).await?;
                for resource in Resource::ALL {
                    is_all &= self
                        .app
                        .warehouse
                        .forget_before(&account.name, resource, before)
                        .await?;
                }
            }
            Ok::<bool, warehouse::Error>(is_all)
        };
        let forgotten = tokio::select! {
            forgotten = forgetting => forgotten,
            () = self.app.clock.sleep(TIDYING_WITHIN) => Ok(false),
        };
        match forgotten {
            Ok(true) => self.tidied_at = now,
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "old runs and events are not forgotten; trying again in an hour");
                self.tidied_at = now;
            }
        }
    }

    /// Reads the configuration again, and takes it if all of it can be used.
    async fn reload(&mut self, is_ready: bool) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
        match self.take_new_configuration().await {
            Ok(()) => tracing::info!("the configuration is reloaded"),
            Err(error) => tracing::error!("the configuration is not reloaded, the old one is kept: {error}"),
        }
        if is_ready {
            tell(&[NotifyState::Ready]);
        }
    }

    async fn take_new_configuration(&mut self) -> Result<(), Error> {
        let loaded = Config::load(&self.source)?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let config = loaded.config;
        let (old, new) = (app::location(&self.config), app::location(&config));
        if old.url != new.url || old.schema != new.schema {
            return Err(Error::NeedsRestart("warehouse"));
        }
        if config.daemon.lease != self.config.daemon.lease {
            return Err(Error::NeedsRestart("daemon.lease"));
        }
        let (from, to) = (self.config.admin.listen, config.admin.listen);
        if from != to && from.port() == to.port() && to.port() != 0 {
            // One of them would be in the other's way.
            return Err(Error::NeedsRestart("the address of admin.listen, with the same port,"));
        }
        let new = self.app.accounts_of(&config)?;
        let elsewhere = if config.admin.listen == self.config.admin.listen {
            None
        } else {
            Some(listen(config.admin.listen, ADMIN_LISTEN).await?)
        };
        let listen_at = |config: &Config| config.webhooks.as_ref().map(|webhooks| webhooks.listen);
        let public = match (listen_at(&self.config), listen_at(&config)) {
            (Some(from), Some(to)) if from != to && from.port() == to.port() && to.port() != 0 => {
                return Err(Error::NeedsRestart(
                    "the address of webhooks.listen, with the same port,",
                ));
            }
            (from, Some(to)) if from != Some(to) => Some(listen(to, WEBHOOKS_LISTEN).await?),
            _ => None,
        };
        let jobs = app::entries(&config, &new.accounts);
        tokio::select! {
            taken = self.scheduler.set_entries(jobs, config.daemon.concurrent_runs) => taken?,
            () = self.app.clock.sleep(RELOADING) => return Err(Error::DatabaseIsSilent),
        }
        // From here on nothing is refused.
        let changed = self.app.take(new);
        let stocks = {
            let before = &self.listener.settings.borrow().stocks;
            let is_as_it_was = |name: &str| self.config.connectors.get(name) == config.connectors.get(name);
            app::stocks(&config, &self.app.clock).keeping(before, is_as_it_was)
        };
        let settings = settings(&config, &self.app.accounts, stocks);
        self.listener.settings.send_replace(settings);
        if let Some(listening) = elsewhere {
            let settings = Arc::clone(&self.listener.settings);
            let listener = Listener::serve(listening, &self.app, settings, &self.scheduler)?;
            std::mem::replace(&mut self.listener, listener).stop().await;
            tracing::info!("the status page is at http://{}/ now", self.listener.address);
        }
        let within = config.daemon.stop_within;
        // No event is refused meanwhile: the old listener goes when the new one is there.
        if let Some(listening) = public {
            let public = Public::serve(listening, &self.app, &config, &self.arrived)?;
            if let Some(old) = self.public.replace(public) {
                old.stop(within).await;
            }
        } else if config.webhooks.is_none() {
            if let Some(old) = self.public.take() {
                old.stop(within).await;
            }
        } else if let Some(public) = &self.public {
            public.senders.send_replace(Senders::of(&config));
        }
        self.applying.take(&self.app, &config).await;
        self.sections.give_way(keep_sections(&self.app, &config), within).await;
        let stocks = self.listener.settings.borrow().stocks.clone();
        self.app.warehouse.set_interests(automation::interests(&config));
        let automations = automate(&self.app, &config, &stocks, &self.holder);
        self.automations.give_way(automations, within).await;
        self.alerts = Watching::start(&self.app, &config, self.since);
        self.config = config;
        self.kept_at = None;
        let changed: Vec<&str> = changed.iter().map(String::as_str).collect();
        let retried = tokio::select! {
            retried = self.app.warehouse.retry_jobs(&changed) => retried.map_err(Error::from),
            () = self.app.clock.sleep(RELOADING) => Err(Error::DatabaseIsSilent),
        };
        if let Err(error) = retried {
            tracing::warn!(%error, "what failed with the old configuration is tried again later, not now");
        }
        Ok(())
    }

    async fn stop(mut self) {
        let within = self.config.daemon.stop_within;
        let closing = CLOSING.min(within / 5);
        // The rest is for the process to end.
        let before = within.saturating_sub(closing * 2);
        let public = async {
            if let Some(public) = self.public {
                public.stop(before).await;
            }
        };
        tokio::join!(
            self.scheduler.stop(before),
            self.listener.stop(),
            public,
            self.applying.stop(before),
            self.sections.stop(before),
            self.automations.stop(before),
            self.alerts.stop(before)
        );
        let too_long = self.app.clock.sleep(closing);
        tokio::select! {
            () = self.app.warehouse.close() => {}
            () = too_long => tracing::warn!("the database did not close in time"),
        }
    }
}

/// Opens the warehouse and looks which jobs there are.
async fn make_ready(app: &App, config: &Config, scheduler: &mut Scheduler) -> Result<(), Error> {
    app.reach(config).await?;
    let jobs = app::entries(config, &app.accounts);
    scheduler.set_entries(jobs, config.daemon.concurrent_runs).await?;
    // Whoever starts it again has mended something.
    let names: Vec<&str> = app.accounts.iter().map(|account| account.name.as_str()).collect();
    app.warehouse.retry_jobs(&names).await?;
    Ok(())
}

/// Begins to follow the rules of all accounts. What is not known to be done when they stop is looked at by whoever goes on.
fn automate(app: &App, config: &Config, stocks: &Stocks, holder: &Holder) -> AtWork {
    let mut at_work = AtWork::new(&app.clock);
    for automations in app::automations(config, &app.accounts, &app.warehouse, stocks, &app.clock, holder) {
        at_work.begin(|stop| automations.run(stop));
    }
    at_work
}

fn settings(config: &Config, accounts: &[sync::Account], stocks: Stocks) -> Settings {
    Settings {
        accounts: accounts.iter().map(|account| account.name.clone()).collect(),
        plans: app::plans(config),
        stale_after: config.alerts.stale_after,
        token: config.admin.token.clone(),
        clients: accounts
            .iter()
            .map(|account| (account.name.clone(), account.client.clone()))
            .collect(),
        session_token_max: config.admin.session_token_max,
        session_tokens_per_minute: config.admin.session_tokens_per_minute,
        stocks,
    }
}

/// What `systemctl status` shows.
fn describe(turn: &Turn) -> String {
    if let Some(problem) = &turn.problem {
        return format!("schedules are not kept: {problem}");
    }
    let mut text = match turn.running.as_slice() {
        [] => "nothing to do".to_owned(),
        jobs => {
            let jobs: Vec<String> = jobs
                .iter()
                .map(|(account, resource)| format!("{account}.{resource}"))
                .collect();
            format!("syncing {}", jobs.join(", "))
        }
    };
    if let Some(next) = turn.next {
        let wait = i64::try_from(next.as_secs()).unwrap_or(i64::MAX);
        let _ = write!(text, "; next in {}", crate::figures::duration(wait));
    }
    text
}

/// Tells the service manager, if there is one. It is not worth an error if it does not listen.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager was not told");
    }
}

/// The listeners' connections, the warehouse's and the API's, and files, with room to spare.
const MANY_FILES: u64 = 4_096;

/// Lets as many files be open as the administrator allows: the usual 1,024 are fewer than the listeners' connections alone. They are
/// so few for programs that use select(2), which this one does not (<https://0pointer.net/blog/file-descriptor-limits.html>).
pub fn allow_many_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!(%error, "no more files than before can be open");
    }
    if let Some(most) = limit.maximum.filter(|most| *most < MANY_FILES) {
        tracing::warn!(
            process.open_files = most,
            "no more than {most} files and connections may be open at a time, so many clients at once would leave none for the \
             warehouse: allow {MANY_FILES} (LimitNOFILE in the unit, or `ulimit -Hn`)"
        );
    }
}
