//! A daemon, the account it mirrors, and the time they live in.

use std::collections::BTreeMap;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use allai_sync::clock::{SharedClock, SystemClock};
use allai_sync::config::{Config, LoadOptions};
use allai_sync::lifecycle::{Daemon, Signals};
use allai_sync::metrics::Exporter;
use allai_sync::sandbox::{Options, Sandbox};
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::clock::Time;
use crate::comparison;
use crate::database::Database;

/// The daemon's two loops, the scheduler's and the alerts', wait no longer than this, and nothing else waits for so little
/// while all is well.
const LOOPS_WAIT: Duration = Duration::from_secs(5);
const LOOPS: usize = 2;
/// Where no webhooks are received, it is looked for events seldom; nothing else waits for so long.
const EVENTS_WAIT: Duration = Duration::from_mins(5);
/// How much time passes at most between two looks at who sleeps, so that what is waited for never seems late because the
/// machine stood still.
const GLIMPSE: Duration = Duration::from_millis(10);
/// Real time after which it is a bug that the daemon is not done.
const PATIENCE: Duration = Duration::from_mins(2);

/// The world.
///
/// Time passes in two ways. While the daemon works, it passes as it does outside, or slower where the machine is slow: a
/// timeout fires when it would have fired outside, and what the test measures does not depend on the machine. While the
/// daemon is idle, time leaps to the next moment of interest, over thousands of the loops' looks: one at the end of each
/// leap is all they get, and all they need.
///
/// That it is idle is known, not guessed: all that sleeps is the two loops and what looks for events, and the scheduler, when it looked last, had
/// nothing running. A run that has ended and of which the scheduler does not know yet still counts as running, and
/// nothing begins but by a look of the scheduler's. Everything here runs in one thread, except for the databases'.
pub(crate) struct World {
    pub(crate) time: Time,
    pub(crate) sandbox: Sandbox,
    pub(crate) database: Database,
    /// Leaps end at its multiples, by the machine's wall clock.
    pub(crate) leap: TimeDelta,
    outside: SharedClock,
    source: LoadOptions,
    daemon: Option<Running>,
    _folder: TempDir,
}

struct Running {
    signals: Signals,
    task: JoinHandle<()>,
    url: String,
}

impl World {
    /// An account, an empty warehouse, and no daemon yet. `config` is what the configuration has besides.
    pub(crate) async fn new(began: &str, leap: TimeDelta, mut options: Options, config: &str) -> Self {
        let time = Time::new(began.parse().unwrap());
        // One that states no limit is spared.
        options.limits.limit = 1_000_000;
        let sandbox = Sandbox::start_with_clock(options, time.server()).await.unwrap();
        let (database, folder) = (Database::sqlite(), TempDir::new().unwrap());
        let text = format!(
            "{}[accounts.main]\nbase_url = \"{}\"\napi_key = \"{}\"\n[admin]\nlisten = \"127.0.0.1:0\"\n{config}",
            database.config(),
            sandbox.base_url(),
            sandbox.keys().read,
        );
        let path = folder.path().join("config.toml");
        let mut file = std::fs::OpenOptions::new();
        let mut file = file.write(true).create_new(true).mode(0o600).open(&path).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        Self {
            time,
            sandbox,
            database,
            leap,
            outside: SystemClock::shared(),
            source: LoadOptions {
                path: Some(path),
                search: Vec::new(),
                env: BTreeMap::new(),
            },
            daemon: None,
            _folder: folder,
        }
    }

    /// Starts the daemon, and waits until it has done what it found due.
    pub(crate) async fn start(&mut self) {
        let config = Config::load(&self.source).unwrap().config;
        // On the heap: it is some 17 KiB, and so is its life.
        let starting = Box::pin(Daemon::start(config, self.source.clone(), self.time.machine()));
        let daemon = self.while_time_passes(starting).await.unwrap();
        let (signals, url) = (Signals::default(), format!("http://{}", daemon.admin_address()));
        let its = signals.clone();
        let task = tokio::spawn(async move { Box::pin(daemon.run(&its)).await });
        self.daemon = Some(Running { signals, task, url });
        self.idle().await;
    }

    /// Stops the daemon.
    pub(crate) async fn stop(&mut self) {
        let daemon = self.daemon.take().unwrap();
        daemon.signals.stop.cancel();
        self.while_time_passes(daemon.task).await.unwrap();
        assert_eq!(self.time.asleep(), Some(vec![]), "something lives on");
    }

    /// Lets time pass until it is `then`, and waits until what is due then is done.
    pub(crate) async fn until(&mut self, then: DateTime<Utc>) {
        while self.time.now() < then {
            let wall = self.time.wall();
            let leap = wall.duration_trunc(self.leap).unwrap() + self.leap - wall;
            let leap = leap.min(then - self.time.now()).to_std().unwrap();
            self.time.pass(leap);
            self.idle().await;
        }
    }

    /// Sets the machine's wall clock forward or back, and waits until the daemon has noticed.
    pub(crate) async fn set(&mut self, by: TimeDelta) {
        self.time.set(by);
        self.time.pass(LOOPS_WAIT);
        self.idle().await;
    }

    /// What the admin listener says.
    pub(crate) async fn get(&self, client: &reqwest::Client, path: &str) -> (u16, String) {
        let url = format!("{}{path}", self.daemon.as_ref().unwrap().url);
        let asking = async {
            let answer = client.get(url).send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
        self.while_time_passes(asking).await
    }

    /// Lets as much time pass as passes outside.
    pub(crate) async fn idle_for(&self, real: Duration) {
        self.while_time_passes(self.outside.sleep(real)).await;
    }

    /// The warehouse holds the account, row for row, and nothing else.
    pub(crate) async fn assert_exact(&self) {
        let found = comparison::differences(&self.database, "main", &self.sandbox.account().snapshot()).await;
        assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
    }

    async fn idle(&self) {
        if self.daemon.is_none() {
            return;
        }
        let since = self.outside.monotonic();
        while !self.is_idle() {
            assert!(
                self.outside.monotonic().saturating_sub(since) < PATIENCE,
                "it is busy at {} and nothing comes of it; asleep: {:?}",
                self.time.now(),
                self.time.asleep()
            );
            self.glimpse().await;
        }
    }

    fn is_idle(&self) -> bool {
        let asleep = self.time.asleep();
        let only_loops = asleep.is_some_and(|asleep| {
            let loops = asleep.iter().filter(|asked| **asked <= LOOPS_WAIT).count();
            let events = asleep.iter().filter(|asked| **asked > EVENTS_WAIT).count();
            loops == LOOPS && events == 1 && asleep.len() == LOOPS + 1
        });
        only_loops && {
            let seen = Exporter::install().unwrap().render(&[], &[]);
            ["allai_sync_jobs_running", "allai_sync_jobs_waiting"]
                .iter()
                .all(|name| seen.lines().any(|line| line == format!("{name} 0")))
        }
    }

    async fn while_time_passes<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = self.glimpse() => {}
            }
        }
    }

    /// Lets a little time pass, as much as does outside.
    async fn glimpse(&self) {
        let since = self.outside.monotonic();
        tokio::select! {
            () = self.time.somebody_sleeps() => {}
            () = self.outside.sleep(Duration::from_millis(1)) => {}
        }
        self.time
            .pass(self.outside.monotonic().saturating_sub(since).min(GLIMPSE));
    }
}
