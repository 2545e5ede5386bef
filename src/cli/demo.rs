//! `allai-sync demo`: the whole thing without any set-up, against the embedded sandbox.

mod shop;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use allai_sync::allai::Resource;
use allai_sync::app::{App, Watch};
use allai_sync::clock::SystemClock;
use allai_sync::config::{Config, LoadOptions};
use allai_sync::lifecycle::{Daemon, Signals};
use allai_sync::sandbox::{self, MutationKinds, Sandbox};
use allai_sync::sync;
use anyhow::Context as _;
use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Context, Outcome, Usage, output, progress, runtime, summary};

/// The first line of the configuration a demo writes; a file without it is somebody's own.
const MARK: &str = "# Written by `allai-sync demo`; its API is there only while the demo runs.";
/// Where the status page listens unless something else does.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8781);
/// How often something happens in the demo's account.
const EVENTS_EVERY: Duration = Duration::from_secs(4);
/// Its jobs run more often than anybody else's.
const JOBS: &str = "
[jobs.contacts]
schedule = \"@every 10s\"
[jobs.conversations]
schedule = \"@every 10s\"
[jobs.messages]
schedule = \"@every 10s\"
";

/// Mirrors a simulated AllAI account into SQLite and shows the status page: no set-up needed
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Exit when the account is mirrored
    #[arg(long)]
    once: bool,
    /// Where the warehouse and its configuration go
    #[arg(long, value_name = "DIR", default_value = "allai-sync-demo")]
    data_dir: PathBuf,
    /// Where the status page listens [default: 127.0.0.1:8781, or a free port if that is taken]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

impl Options {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Outcome> {
        runtime::block_on(self.demo(context))
    }

    async fn demo(self, context: &Context) -> anyhow::Result<Outcome> {
        let stopped = runtime::cancelled_by_signal()?;
        // Before anything is done that would be in vain, or an earlier demo's warehouse removed.
        let listener = if self.once { None } else { Some(self.bind().await?) };
        let sandbox = Sandbox::start(sandbox_options())
            .await
            .context("cannot start the sandbox")?;
        let address = listener.as_ref().map_or(Ok(LISTEN), TcpListener::local_addr);
        let address = address.context("cannot tell where the status page listens")?;
        let config_path = prepare(&self.data_dir, &sandbox, address).await?;
        let source = LoadOptions {
            path: Some(config_path.clone()),
            search: Vec::new(),
            env: std::collections::BTreeMap::new(),
        };
        let config = Config::load(&source)?.config;
        let app = App::open(&config, SystemClock::shared()).await?;
        let outcome = mirror(&app, context, &stopped).await?;
        let goes_on = listener.is_some() && outcome == Outcome::Done && !stopped.is_cancelled();
        if goes_on {
            shop::subscribe(&app, &config).await?;
        }
        app.warehouse.close().await;
        output::print(&what_to_try(&self.data_dir, &config_path))?;
        if let Some(listener) = listener.filter(|_| goes_on) {
            // The daemon binds it itself.
            drop(listener);
            let daemon = Daemon::start(config, source, SystemClock::shared()).await?;
            output::print(&format!(
                "\nThe status page is at http://{address}/ and the account lives on. Ctrl-C ends the demo.\n"
            ))?;
            let signals = Signals {
                stop: stopped,
                ..Signals::default()
            };
            tokio::select! {
                () = Box::pin(daemon.run(&signals)) => {}
                lived = live(&sandbox) => lived?,
            }
        }
        sandbox.stop().await;
        Ok(outcome)
    }

    /// Takes the port of the status page: the one that was asked for, or one that is free.
    async fn bind(&self) -> anyhow::Result<TcpListener> {
        let address = self.listen.unwrap_or(LISTEN);
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && self.listen.is_none() => {
                let free = SocketAddr::new(address.ip(), 0);
                let listener = TcpListener::bind(free).await.context("there is no free port")?;
                let found = listener
                    .local_addr()
                    .context("cannot tell where the status page listens")?;
                output::print(&format!("{address} is taken; the status page will be at {found}.\n"))?;
                Ok(listener)
            }
            bound => bound.with_context(|| {
                format!("cannot serve the status page on {address}; choose another address with --listen")
            }),
        }
    }
}

fn sandbox_options() -> sandbox::Options {
    let mut options = sandbox::Options::default();
    options.listen.set_port(0);
    // A professional plan's pace would make the demo wait; this one is a white-label plan's.
    options.limits.limit = 10_000;
    options
}

/// Makes the folder and the shop in it, removes an earlier demo's warehouse and writes the configuration.
async fn prepare(data_dir: &Path, sandbox: &Sandbox, listen: SocketAddr) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(data_dir).with_context(|| format!("cannot create {}", data_dir.display()))?;
    let config_path = data_dir.join("config.toml");
    let database = data_dir.join("warehouse.db");
    let earlier_demo = std::fs::read_to_string(&config_path).is_ok_and(|text| text.starts_with(MARK));
    if !earlier_demo && (config_path.exists() || database.exists()) {
        return Err(Usage(format!(
            "{} holds files that are not a demo's; choose another folder with --data-dir",
            data_dir.display()
        ))
        .into());
    }
    for suffix in ["", "-wal", "-shm", "-interim"] {
        let file = data_dir.join(format!("warehouse.db{suffix}"));
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove the last demo's {}", file.display()));
            }
            _ => {}
        }
    }
    let database = std::path::absolute(&database).with_context(|| format!("cannot find {}", database.display()))?;
    let text = format!(
        "{MARK}\n[warehouse]\nurl = {:?}\n\n[accounts.demo]\nenvironment = \"sandbox\"\nbase_url = \"{}\"\napi_key = \"{}\"\n\n\
         [admin]\nlisten = \"{listen}\"\n{JOBS}{}",
        format!("sqlite://{}", database.display()),
        sandbox.base_url().as_str().trim_end_matches('/'),
        sandbox.keys().full,
        shop::open(data_dir).await?,
    );
    write_private(&config_path, &text).with_context(|| format!("cannot write {}", config_path.display()))?;
    Ok(config_path)
}

/// Writes a file that only its owner may read, for it holds a key.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

async fn mirror(app: &App, context: &Context, stopped: &CancellationToken) -> anyhow::Result<Outcome> {
    let watch = Arc::new(Watch::new(&app.accounts));
    let shown = progress::show(&watch, Arc::clone(&app.clock), context.draws_bars());
    let runs = app
        .sync(&watch, &Resource::ALL, sync::Options::default(), "manual", stopped)
        .await;
    drop(shown);
    output::print(&summary::table(&runs))?;
    Ok(summary::outcome(&runs))
}

/// A conversation, and then whatever happens in an account.
async fn live(sandbox: &Sandbox) -> anyhow::Result<()> {
    shop::converse(sandbox).await?;
    events(sandbox).await;
    Ok(())
}

/// New contacts, conversations and messages, one after the other.
async fn events(sandbox: &Sandbox) {
    let clock = SystemClock::shared();
    for seed in 0.. {
        clock.sleep(EVENTS_EVERY).await;
        sandbox.account().mutate(seed, 2, &MutationKinds::default());
    }
}

fn what_to_try(data_dir: &Path, config_path: &Path) -> String {
    let database = data_dir.join("warehouse.db");
    let database = database.display();
    format!(
        "\nThe warehouse is {database}. Three questions to ask it:\n\n  \
         sqlite3 -box {database} \"select day, channel, conversations, resolved from conversations_per_day order by day desc limit 10\"\n  \
         sqlite3 -box {database} \"select source, sum(contacts) as leads from leads group by source order by leads desc\"\n  \
         sqlite3 -box {database} \"select topic, count from topics_over_time order by captured_on desc, rank limit 5\"\n\n\
         How fresh it is: allai-sync status -c {}\n",
        config_path.display()
    )
}
