//! `allai-sync run`, as systemd and operators meet it.

mod alerts;
mod away;
mod life;
mod metrics;
mod outages;
mod replicas;
mod room;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use allai_sync::allai::{Budget, Client, InProcess, Limits, Transport};
use allai_sync::clock::{SharedClock, SystemClock};
use allai_sync::sync;
use reqwest::StatusCode;
use serde_json::Value;

use crate::support::mirror::Mirror;
use crate::support::process::{Process, Said};

/// Every job every second, and the admin listener on a free port.
pub(crate) const OFTEN: &str = "[jobs.contacts]\nschedule = \"@every 1s\"\njitter = \"0s\"\n\
                                [jobs.conversations]\nschedule = \"@every 1s\"\njitter = \"0s\"\n\
                                [jobs.messages]\nschedule = \"@every 1s\"\njitter = \"0s\"\n\
                                [admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"sesame\"\n";

/// A daemon at work.
pub(crate) struct Daemon {
    pub(crate) process: Process,
    log: PathBuf,
}

impl Daemon {
    /// Starts one with the mirror's configuration, and waits until it is ready.
    pub(crate) async fn start(mirror: &Mirror) -> Self {
        Self::called(mirror, "daemon").await
    }

    /// The same, if there are several.
    pub(crate) async fn called(mirror: &Mirror, name: &str) -> Self {
        let mut daemon = Self::begin(mirror, name);
        daemon.until_log("ready").await;
        daemon
    }

    /// The same, without waiting.
    pub(crate) fn begin(mirror: &Mirror, name: &str) -> Self {
        Self::of(mirror, mirror.command(&["run"]), name)
    }

    /// The same, started by a command.
    fn of(mirror: &Mirror, command: Command, name: &str) -> Self {
        let log = mirror.folder().join(format!("{name}.log"));
        std::fs::remove_file(&log).ok();
        let process = Process::logging_to(command, &log);
        Self { process, log }
    }

    /// The same, with at most so many open files.
    fn with_files(mirror: &Mirror, files: u32) -> Self {
        let command = mirror.command(&["run"]);
        let mut limited = Command::new("sh");
        limited
            .args(["-c", &format!("ulimit -n {files}; exec \"$@\""), "sh"])
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(mirror.folder())
            .env_clear();
        Self::of(mirror, limited, "limited")
    }

    /// The same, as the last arguments of another program, whose own end with a path.
    pub(crate) fn under(mirror: &Mirror, other: &[&str], path: &Path) -> Self {
        let command = mirror.command(&["run"]);
        let mut under = Command::new(other[0]);
        under
            .args(&other[1..])
            .arg(path)
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(mirror.folder());
        let log = mirror.folder().join("under.log");
        let process = Process::logging_to(under, &log);
        Self { process, log }
    }

    /// Makes it take the configuration that is written.
    pub(crate) async fn reload(&mut self) {
        let said_before = self.log().len();
        self.process.signal("HUP");
        until("it is taken", async || {
            self.log()[said_before..].contains("is reloaded")
        })
        .await;
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until the log has a text.
    pub(crate) async fn until_log(&mut self, text: &str) {
        until(&format!("the log has {text:?}"), async || {
            assert!(self.process.is_running(), "it ended: {}", self.log());
            self.log().contains(text)
        })
        .await;
    }

    /// Where the status page is, by the last line that says so.
    pub(crate) fn address(&self) -> String {
        let log = self.log();
        let (_, rest) = log.rsplit_once("the status page is at ").unwrap();
        rest.split_whitespace().next().unwrap().trim_end_matches('/').to_owned()
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String) {
        let answer = reqwest::get(format!("{}{path}", self.address())).await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// Asks for a run of a job.
    async fn ask(&self, job: &str, token: Option<&str>) -> (StatusCode, String) {
        self.order(&format!("jobs/{job}"), token).await
    }

    /// Posts an empty object to the API.
    pub(crate) async fn order(&self, what: &str, token: Option<&str>) -> (StatusCode, String) {
        #[expect(clippy::disallowed_methods, reason = "this is the other side")]
        let client = reqwest::Client::new();
        let request = client
            .post(format!("{}/api/v1/{what}", self.address()))
            .json(&serde_json::json!({}));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// Sends SIGTERM and waits for the end; says how long it took.
    pub(crate) async fn stop(mut self) -> (Said, Duration) {
        let clock = SystemClock::shared();
        let since = clock.monotonic();
        self.process.signal("TERM");
        let said = self.process.end().await;
        (said, clock.monotonic().saturating_sub(since))
    }
}

/// Waits until `condition` holds, as long as a slow machine may need.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let clock = SystemClock::shared();
    while !condition().await {
        assert!(clock.monotonic() < Duration::from_mins(2), "in vain: {what}");
        clock.sleep(Duration::from_millis(20)).await;
    }
}

/// How many runs of a resource ended how the journal says.
async fn runs(mirror: &Mirror, condition: &str) -> u64 {
    let sql = format!("SELECT count(*) AS runs FROM sync_runs WHERE {condition}");
    mirror.database.rows(&sql).await[0].count("runs")
}

/// An account of an API that is a function.
fn account(name: &str, clock: &SharedClock, server: InProcess) -> sync::Account {
    let budget = Budget::new(Limits::default(), Arc::clone(clock));
    let client = Client::builder("http://127.0.0.1/v2".parse().unwrap(), "key".to_owned().into())
        .budget(Arc::new(budget))
        .clock(Arc::clone(clock))
        .transport(Transport::InProcess(server))
        .build()
        .unwrap();
    sync::Account {
        name: name.to_owned(),
        client,
        page_size: 20,
        concurrency: 4,
        in_lockstep: false,
        contact_fields: Vec::new(),
        conversation_fields: Vec::new(),
        message_fields: Vec::new(),
        periods: Vec::new(),
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
