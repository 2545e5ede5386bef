//! A simulated account, a database, and a configuration that mirrors the one into the other.

use std::collections::BTreeMap;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use allai_sync::allai::Resource;
use allai_sync::app::{App, Watch};
use allai_sync::clock::SystemClock;
use allai_sync::config::{Config, LoadOptions};
use allai_sync::sandbox::{LogEntry, Options, Sandbox};
use allai_sync::sync;
use allai_sync::warehouse::{RunRecord, RunStatus};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::comparison;
use super::database::Database;
use super::process::{Process, Said, allai_sync};

/// The name of the account in the configuration.
pub(crate) const ACCOUNT: &str = "main";

/// An account, and the mirror of it.
pub(crate) struct Mirror {
    pub(crate) sandbox: Sandbox,
    pub(crate) database: Database,
    folder: TempDir,
}

impl Mirror {
    /// An account that behaves as `options` say, and an empty warehouse.
    pub(crate) async fn start(database: Database, mut options: Options) -> Self {
        if options.limits.limit == 0 {
            // A server that states no limit is spared; one that states a high one is not waited for.
            options.limits.limit = 1_000_000;
        }
        let mirror = Self {
            sandbox: Sandbox::start(options).await.unwrap(),
            database,
            folder: TempDir::new().unwrap(),
        };
        mirror.configure(&mirror.account_config(ACCOUNT, "page_size = 20\n"));
        mirror
    }

    /// The section of an account that is the sandbox's, with a key that may read alone.
    pub(crate) fn account_config(&self, name: &str, more: &str) -> String {
        let url = self.sandbox.base_url();
        let key = &self.sandbox.keys().read;
        format!("[accounts.{name}]\nbase_url = \"{url}\"\napi_key = \"{key}\"\n{more}")
    }

    /// Writes the configuration: the warehouse, and these accounts.
    pub(crate) fn configure(&self, accounts: &str) {
        self.write_config(&format!("{}{accounts}", self.database.config()));
    }

    pub(crate) fn write_config(&self, text: &str) {
        use std::io::Write as _;
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600);
        file.open(self.config_path())
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    pub(crate) fn config_path(&self) -> PathBuf {
        self.folder.path().join("config.toml")
    }

    /// Syncs as `allai-sync sync` does, in this process.
    pub(crate) async fn run(&self, resources: &[Resource], options: sync::Options) -> Runs {
        let loaded = Config::load(&LoadOptions {
            path: Some(self.config_path()),
            search: Vec::new(),
            env: BTreeMap::new(),
        });
        let app = App::open(&loaded.unwrap().config, SystemClock::shared()).await.unwrap();
        let watch = Watch::new(&app.accounts);
        let never = CancellationToken::new();
        let runs = app.sync(&watch, resources, options, "test", &never).await;
        app.warehouse.close().await;
        Runs(runs)
    }

    /// Syncs what is new, of everything.
    pub(crate) async fn sync(&self) -> Runs {
        self.run(&Resource::ALL, sync::Options::default()).await.complete()
    }

    /// Sweeps everything.
    pub(crate) async fn full_sync(&self) -> Runs {
        let full = sync::Options {
            full: true,
            ..sync::Options::default()
        };
        self.run(&Resource::ALL, full).await.complete()
    }

    /// The binary with this mirror's configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        allai_sync(self.folder.path(), arguments)
    }

    /// Runs the binary to its end.
    pub(crate) fn say(&self, arguments: &[&str]) -> Said {
        self.command(arguments).output().unwrap().into()
    }

    /// Starts the binary.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Process {
        Process::spawn(self.command(arguments))
    }

    /// Where the files are.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// What was asked since the last call.
    pub(crate) fn take_log(&self) -> Vec<LogEntry> {
        let log = self.sandbox.log();
        self.sandbox.clear_log();
        log
    }

    /// The warehouse holds the account, row for row and field for field, and nothing else.
    pub(crate) async fn assert_exact(&self) {
        self.assert_account_exact(ACCOUNT).await;
    }

    pub(crate) async fn assert_account_exact(&self, account: &str) {
        let found = comparison::differences(&self.database, account, &self.sandbox.account().snapshot()).await;
        assert!(
            found.is_empty(),
            "{} differences, among them:\n{}",
            found.len(),
            first_of(&found)
        );
    }
}

fn first_of(found: &[String]) -> String {
    let short = |text: &String| text.chars().take(2_000).collect::<String>();
    found.iter().take(8).map(short).collect::<Vec<_>>().join("\n")
}

/// What a sync did.
#[derive(Debug)]
pub(crate) struct Runs(pub(crate) Vec<RunRecord>);

impl Runs {
    pub(crate) fn of(&self, resource: Resource) -> &RunRecord {
        let found = self.0.iter().find(|run| run.resource == resource);
        found.unwrap_or_else(|| panic!("no run of {resource}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn complete(self) -> Self {
        assert!(self.0.iter().all(|run| run.status == RunStatus::Complete), "{self:#?}");
        self
    }

    /// Every list was proven complete.
    #[track_caller]
    pub(crate) fn verified(self) -> Self {
        let lists = self.0.iter().filter(|run| run.resource != Resource::Analytics);
        assert!(lists.clone().all(|run| run.verified), "{self:#?}");
        self
    }
}
