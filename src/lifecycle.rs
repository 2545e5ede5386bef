//! The daemon's life: start, reload, stop, and what the service manager hears of it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::alerts::{self, Notifier};
use crate::app::{self, App};
use crate::clock::SharedClock;
use crate::config::{self, Config, LoadOptions};
use crate::metrics::Exporter;
use crate::schedule::{Holder, Scheduler, Turn};
use crate::server::{Schedules, Server, Settings};
use crate::sync;
use crate::warehouse::{self, DaemonLock};

/// How long the database may take when the daemon stops.
const CLOSING: Duration = Duration::from_secs(1);

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
    /// The admin listener cannot listen.
    #[error("cannot listen on {address}: {source}; choose another address as admin.listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
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
    alerts: Alerts,
    _alone: Option<DaemonLock>,
}

/// The admin listener at work.
#[derive(Debug)]
struct Listener {
    address: SocketAddr,
    settings: Arc<tokio::sync::watch::Sender<Settings>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Daemon {
    /// Starts: opens the warehouse, looks at the jobs and listens. `source` is where a new configuration is read from.
    ///
    /// Fails where another daemon keeps the same SQLite file.
    pub async fn start(config: Config, source: LoadOptions, clock: SharedClock) -> Result<Self, Error> {
        let holder = Holder::new("run");
        // Before anything is migrated under the feet of another.
        let alone = DaemonLock::take(&app::location(&config), holder.as_str())?;
        let app = App::open(&config, Arc::clone(&clock)).await?;
        let mut scheduler = Scheduler::new(app.warehouse.clone(), clock, holder, config.daemon.lease);
        scheduler
            .set_entries(app::entries(&config, &app.accounts), config.daemon.concurrent_runs)
            .await?;
        let settings = Arc::new(tokio::sync::watch::Sender::new(settings(&config, &app.accounts)));
        let listener = Listener::start(config.admin.listen, &app, settings, &scheduler).await?;
        let alerts = Alerts::start(&app, &config);
        Ok(Self {
            app,
            config,
            source,
            scheduler,
            listener,
            alerts,
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
            tell(&[
                NotifyState::Watchdog,
                NotifyState::Status(&describe(&turn, &self.app.clock)),
            ]);
            if turn.problem.is_none() && !is_ready {
                is_ready = true;
                tell(&[NotifyState::Ready]);
                tracing::info!("ready; the status page is at http://{}/", self.listener.address);
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
        tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
        tracing::info!("stopping");
        self.stop().await;
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
        let accounts = self.app.accounts_of(&config)?;
        let elsewhere = if config.admin.listen == self.config.admin.listen {
            None
        } else {
            let settings = Arc::clone(&self.listener.settings);
            Some(Listener::start(config.admin.listen, &self.app, settings, &self.scheduler).await?)
        };
        let jobs = app::entries(&config, &accounts);
        self.scheduler.set_entries(jobs, config.daemon.concurrent_runs).await?;
        self.app.accounts = accounts;
        if let Some(listener) = elsewhere {
            std::mem::replace(&mut self.listener, listener).stop().await;
            tracing::info!("the status page is at http://{}/ now", self.listener.address);
        }
        self.listener
            .settings
            .send_replace(settings(&config, &self.app.accounts));
        self.alerts.stop();
        self.alerts = Alerts::start(&self.app, &config);
        self.config = config;
        Ok(())
    }

    async fn stop(mut self) {
        self.alerts.stop();
        self.scheduler.stop(self.config.daemon.stop_within).await;
        self.listener.stop().await;
        let closing = self.app.clock.sleep(CLOSING);
        tokio::select! {
            () = self.app.warehouse.close() => {}
            () = closing => tracing::warn!("the database did not close in time"),
        }
    }
}

/// Looks again and again whether somebody is to be told of something.
#[derive(Debug)]
struct Alerts(JoinHandle<()>);

impl Alerts {
    fn start(app: &App, config: &Config) -> Self {
        let (warehouse, clock, config) = (app.warehouse.clone(), Arc::clone(&app.clock), config.clone());
        Self(tokio::spawn(async move {
            let notifier = Notifier::new(&config.alerts);
            loop {
                clock.sleep(alerts::LOOK_EVERY).await;
                if let Err(error) = alerts::look(&warehouse, &config, &clock, notifier.as_ref()).await {
                    tracing::warn!(%error, "it is not known whether somebody should be told of something; looking again");
                }
            }
        }))
    }

    fn stop(&self) {
        self.0.abort();
    }
}

impl Listener {
    async fn start(
        address: SocketAddr,
        app: &App,
        settings: Arc<tokio::sync::watch::Sender<Settings>>,
        scheduler: &Scheduler,
    ) -> Result<Self, Error> {
        let refused = |source| Error::Listen { address, source };
        let listener = tokio::net::TcpListener::bind(address).await.map_err(refused)?;
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
        let address = server.address().map_err(refused)?;
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

fn settings(config: &Config, accounts: &[sync::Account]) -> Settings {
    let entries = app::entries(config, accounts).into_iter();
    Settings {
        accounts: accounts.iter().map(|account| account.name.clone()).collect(),
        plans: entries.map(|entry| entry.plan).collect(),
        token: config.admin.token.clone(),
    }
}

/// What `systemctl status` shows.
fn describe(turn: &Turn, clock: &SharedClock) -> String {
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
        let wait = (next - clock.now()).num_seconds().max(0);
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
