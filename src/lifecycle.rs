//! The daemon's life: start, reload, stop, and what the service manager hears of it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::alerts::Alerts;
use crate::allai::Resource;
use crate::app::{self, App};
use crate::clock::SharedClock;
use crate::config::{self, Config, LoadOptions};
use crate::metrics::Exporter;
use crate::schedule::{Holder, Scheduler, Turn};
use crate::server::{Schedules, Server, Settings};
use crate::sync;
use crate::warehouse::{self, DaemonLock, EventStatus, Warehouse};
use crate::webhooks::{Applying, Calls, Inbox, Receiver, Senders, Watched};

/// How long the database may take when the daemon stops.
const CLOSING: Duration = Duration::from_secs(1);
/// How often old runs are forgotten, and how long that may take.
const TIDYING: Duration = Duration::from_hours(1);
const TIDYING_WITHIN: Duration = Duration::from_secs(10);
/// How long the database may take while the configuration is reloaded: the watchdog waits.
const RELOADING: Duration = Duration::from_secs(10);
/// The service manager is asked so often for so much time while the daemon starts: upgrading large tables takes a while.
const STARTING: (Duration, u32) = (Duration::from_secs(20), 60_000_000);

/// How often is looked for events that another daemon stored on the same Postgres; on SQLite there is none, and what somebody
/// replays is seen soon enough; and where none are received, only those that came before matter.
const LOOK_AMONG_SEVERAL: Duration = Duration::from_millis(500);
const LOOK_ALONE: Duration = Duration::from_secs(5);
const LOOK_UNTOLD: Duration = Duration::from_mins(1);

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
    alerts: Watching,
    since: DateTime<Utc>,
    tidied_at: Duration,
    _alone: Option<DaemonLock>,
}

/// The admin listener at work.
#[derive(Debug)]
struct Listener {
    address: SocketAddr,
    settings: Arc<watch::Sender<Settings>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Daemon {
    /// Starts: opens the warehouse, looks at the jobs and listens. `source` is where a new configuration is read from.
    ///
    /// Fails where another daemon keeps the same SQLite file.
    pub async fn start(config: Config, source: LoadOptions, clock: SharedClock) -> Result<Self, Error> {
        let starting = async {
            loop {
                tell(&[
                    NotifyState::ExtendTimeoutUsec(STARTING.1),
                    NotifyState::Status("starting"),
                ]);
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
        let app = App::open(&config, Arc::clone(&clock)).await?;
        let since = clock.now();
        let mut scheduler = Scheduler::new(app.warehouse.clone(), clock, holder.clone(), config.daemon.lease);
        scheduler
            .set_entries(app::entries(&config, &app.accounts), config.daemon.concurrent_runs)
            .await?;
        // Whoever starts it again has mended something.
        let names: Vec<&str> = app.accounts.iter().map(|account| account.name.as_str()).collect();
        app.warehouse.retry_jobs(&names).await?;
        let listening = listen(config.admin.listen, ADMIN_LISTEN).await?;
        let settings = Arc::new(watch::Sender::new(settings(&config, &app.accounts)));
        let listener = Listener::serve(listening, &app, settings, &scheduler)?;
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
        let applying = Events::apply(&app, &config, holder, calls);
        let alerts = Watching::start(&app, &config, since);
        Ok(Self {
            app,
            config,
            source,
            scheduler,
            listener,
            public,
            arrived,
            applying,
            alerts,
            since,
            tidied_at: Duration::ZERO,
            _alone: alone,
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
                    () = self.tidy() => {}
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
        let keep_events = self.config.webhooks.clone().unwrap_or_default().keep_events;
        let kept = TimeDelta::from_std(keep_events).unwrap_or(TimeDelta::MAX);
        let events_before = self.app.clock.now().checked_sub_signed(kept);
        let forgetting = async {
            let mut is_all = true;
            for account in &self.app.accounts {
                for (status, before) in [(EventStatus::Done, events_before), (EventStatus::Dead, Some(before))] {
                    if let Some(before) = before {
                        let name = &account.name;
                        is_all &= self.app.warehouse.forget_events(name, status, before).await?;
                    }
                }
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
        let settings = settings(&config, &self.app.accounts);
        self.listener.settings.send_replace(settings);
        if let Some(listening) = elsewhere {
            let settings = Arc::clone(&self.listener.settings);
            let listener = Listener::serve(listening, &self.app, settings, &self.scheduler)?;
            std::mem::replace(&mut self.listener, listener).stop().await;
            tracing::info!("the status page is at http://{}/ now", self.listener.address);
        }
        // No event is refused meanwhile: the old listener goes when the new one is there.
        if let Some(listening) = public {
            let public = Public::serve(listening, &self.app, &config, &self.arrived)?;
            if let Some(old) = self.public.replace(public) {
                old.stop().await;
            }
        } else if config.webhooks.is_none() {
            if let Some(old) = self.public.take() {
                old.stop().await;
            }
        } else if let Some(public) = &self.public {
            public.senders.send_replace(Senders::of(&config));
        }
        self.applying.watched.send_replace(watched(&self.app, &config));
        self.alerts.stop.cancel();
        self.alerts = Watching::start(&self.app, &config, self.since);
        self.config = config;
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
                public.stop().await;
            }
        };
        tokio::join!(
            self.scheduler.stop(before),
            self.listener.stop(),
            public,
            self.applying.stop(before),
            self.alerts.stop(before)
        );
        let too_long = self.app.clock.sleep(closing);
        tokio::select! {
            () = self.app.warehouse.close() => {}
            () = too_long => tracing::warn!("the database did not close in time"),
        }
    }
}

/// Somebody looks whether others are to be told of something.
#[derive(Debug)]
struct Watching {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Watching {
    fn start(app: &App, config: &Config, since: DateTime<Utc>) -> Self {
        let stop = CancellationToken::new();
        let (warehouse, clock) = (app.warehouse.clone(), Arc::clone(&app.clock));
        let alerts = Alerts::new(Arc::new(config.clone()), warehouse, clock, since);
        let task = tokio::spawn(alerts.watch(stop.clone()));
        Self { stop, task }
    }

    /// What is being told is told to its end, `within` that time.
    async fn stop(mut self, within: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(within, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

async fn listen(address: SocketAddr, key: &'static str) -> Result<TcpListener, Error> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| Error::Listen { address, key, source })
}

impl Listener {
    fn serve(
        listener: TcpListener,
        app: &App,
        settings: Arc<watch::Sender<Settings>>,
        scheduler: &Scheduler,
    ) -> Result<Self, Error> {
        let address = listener.local_addr().map_err(|source| Error::Listen {
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            key: ADMIN_LISTEN,
            source,
        })?;
        let server = Server::on(
            listener,
            app.warehouse.clone(),
            Arc::clone(&app.clock),
            settings.subscribe(),
        );
        let server = server.with_metrics(Exporter::install()).with_schedules(Schedules {
            woken: scheduler.waker(),
            health: scheduler.health(),
        });
        let stop = CancellationToken::new();
        let task = tokio::spawn(server.serve(stop.clone()));
        Ok(Self {
            address,
            settings,
            stop,
            task,
        })
    }

    /// Takes a second at most.
    async fn stop(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::error!("the admin listener broke off: {error}; please report this");
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The public listener at work, and what stores its events.
#[derive(Debug)]
struct Public {
    senders: watch::Sender<Senders>,
    stop: CancellationToken,
    receiving: JoinHandle<()>,
    storing: JoinHandle<()>,
}

impl Public {
    fn serve(listener: TcpListener, app: &App, config: &Config, arrived: &Arc<Notify>) -> Result<Self, Error> {
        let (inbox, storing) = Inbox::new(app.warehouse.clone(), Arc::clone(arrived));
        let senders = watch::Sender::new(Senders::of(config));
        let receiver = Receiver::on(listener, senders.subscribe(), inbox, Arc::clone(&app.clock));
        let address = receiver.address().map_err(|source| Error::Listen {
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            key: WEBHOOKS_LISTEN,
            source,
        })?;
        tracing::info!("webhooks are received at http://{address}/webhooks/allai/ACCOUNT");
        let stop = CancellationToken::new();
        Ok(Self {
            senders,
            receiving: tokio::spawn(receiver.serve(stop.clone())),
            // It ends when nobody hands anything in any more: what is under way is still answered.
            storing: tokio::spawn(storing.run()),
            stop,
        })
    }

    /// Answers what is under way, and takes no more.
    async fn stop(mut self) {
        self.stop.cancel();
        for (what, task) in [("receiving", &mut self.receiving), ("storing", &mut self.storing)] {
            if let Err(error) = task.await {
                tracing::error!("{what} webhooks broke off: {error}; please report this");
            }
        }
    }
}

impl Drop for Public {
    fn drop(&mut self) {
        self.stop.cancel();
        self.storing.abort();
    }
}

/// What has arrived is being applied.
#[derive(Debug)]
struct Events {
    watched: watch::Sender<Watched>,
    /// How long there is for a stop, once it is told to.
    stop: watch::Sender<Option<Duration>>,
    task: JoinHandle<()>,
}

impl Events {
    fn apply(app: &App, config: &Config, holder: Holder, calls: Calls) -> Self {
        let watched = watch::Sender::new(watched(app, config));
        let (stop, mut stopping) = watch::channel(None);
        let (warehouse, clock) = (app.warehouse.clone(), Arc::clone(&app.clock));
        let lease = config.daemon.lease;
        let applying = Applying::new(warehouse, clock, holder, lease, watched.subscribe(), calls);
        let task = tokio::spawn(async move {
            let told = async move {
                // Gone without a word, it is told to stop at once.
                stopping
                    .wait_for(Option::is_some)
                    .await
                    .ok()
                    .and_then(|within| *within)
                    .unwrap_or_default()
            };
            applying.run(told).await;
        });
        Self { watched, stop, task }
    }

    /// What is being stored is stored, `within` that time.
    async fn stop(self, within: Duration) {
        self.stop.send_replace(Some(within));
        if let Err(error) = self.task.await {
            tracing::error!("applying events broke off: {error}; please report this");
        }
    }
}

/// Whose events are applied.
fn watched(app: &App, config: &Config) -> Watched {
    Watched {
        accounts: app.accounts.iter().cloned().map(Arc::new).collect(),
        look_every: match (&config.webhooks, &app.warehouse) {
            (None, _) => LOOK_UNTOLD,
            (Some(_), Warehouse::Postgres(_)) => LOOK_AMONG_SEVERAL,
            (Some(_), Warehouse::Sqlite(_)) => LOOK_ALONE,
        },
    }
}

fn settings(config: &Config, accounts: &[sync::Account]) -> Settings {
    let entries = app::entries(config, accounts).into_iter();
    Settings {
        accounts: accounts.iter().map(|account| account.name.clone()).collect(),
        plans: entries.map(|entry| entry.plan).collect(),
        token: config.admin.token.clone(),
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
