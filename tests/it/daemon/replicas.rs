//! Several daemons on one Postgres.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use allai_sync::clock::SystemClock;
use allai_sync::sandbox::{Options, Sandbox};
use chrono::{DateTime, Utc};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;

use super::until;
use crate::support::database::Database;
use crate::support::process::{Process, allai_sync};

const REPLICAS: usize = 3;
const ACCOUNTS: usize = 50;
/// Each program asks for pages of its own size from this one on, so that the API's log shows whose request it was.
const PAGE_SIZE: usize = 20;

/// Accounts, a warehouse for all of them, and a configuration for each replica.
struct Company {
    sandboxes: Vec<Sandbox>,
    database: Database,
    lease: &'static str,
    schedule: &'static str,
    folder: TempDir,
}

impl Company {
    async fn new(accounts: usize, lease: &'static str, schedule: &'static str) -> Self {
        let mut sandboxes = Vec::new();
        for seed in 0..accounts {
            let mut options = Options::for_tests(8, 2);
            options.limits.limit = 1_000_000;
            options.seed = seed as u64;
            sandboxes.push(Sandbox::start(options).await.unwrap());
        }
        let company = Self {
            sandboxes,
            database: Database::postgres(),
            lease,
            schedule,
            folder: TempDir::new().unwrap(),
        };
        for replica in 0..REPLICAS {
            std::fs::create_dir(company.of(replica)).unwrap();
        }
        company.configure(0, PAGE_SIZE);
        let migrated = allai_sync(&company.of(0), &["migrate"]).output().unwrap();
        assert!(migrated.status.success(), "{migrated:?}");
        company
    }

    /// Writes the configuration of a replica, which is known by its page size.
    fn configure(&self, replica: usize, page_size: usize) {
        let mut text = self.database.config();
        for (number, sandbox) in self.sandboxes.iter().enumerate() {
            let _ = write!(
                text,
                "[accounts.a{number}]\nbase_url = \"{}\"\napi_key = \"{}\"\npage_size = {page_size}\n",
                sandbox.base_url(),
                sandbox.keys().read
            );
        }
        for resource in ["contacts", "conversations", "messages", "analytics"] {
            let _ = write!(text, "[jobs.{resource}]\nschedule = \"{}\"\n", self.schedule);
        }
        let _ = write!(
            text,
            "[daemon]\nlease = \"{}\"\nstop_within = \"1m\"\n[admin]\nlisten = \"127.0.0.1:0\"\n",
            self.lease
        );
        std::fs::write(self.of(replica).join("config.toml"), text).unwrap();
    }

    fn of(&self, replica: usize) -> PathBuf {
        self.folder.path().join(format!("replica{replica}"))
    }

    fn start(&self, replica: usize, page_size: usize) -> Process {
        self.configure(replica, page_size);
        let folder = self.of(replica);
        Process::logging_to(allai_sync(&folder, &["-q", "run"]), &folder.join("log"))
    }

    /// None has ended, whatever became of the others: not even one that the server had no connection left for, since those of
    /// programs that were killed are not all noticed at once.
    fn assert_all_run(&self, replicas: &mut [(usize, Process)]) {
        for (replica, running) in replicas.iter_mut().enumerate() {
            let log = || std::fs::read_to_string(self.of(replica).join("log")).unwrap();
            assert!(running.1.is_running(), "{}", log());
        }
    }

    async fn count(&self, sql: &str) -> u64 {
        self.database.rows(sql).await[0].count("count")
    }

    /// No request of a run was another program's than the rest of it, and no two runs of a job overlap. `deaths` says when
    /// the programs of a page size were killed; what they had sent before may arrive a little later.
    async fn assert_each_job_was_one_programs_at_a_time(&self, deaths: &BTreeMap<u64, DateTime<Utc>>) {
        let was_on_its_way = |limit: u64, at: DateTime<Utc>| deaths.get(&limit).is_some_and(|death| *death <= at);
        let runs = self
            .database
            .rows("SELECT account, resource, started_at, finished_at FROM sync_runs ORDER BY started_at")
            .await;
        let mut ended: BTreeMap<(String, String), DateTime<Utc>> = BTreeMap::new();
        let mut attributed = 0;
        for run in &runs {
            let job = (run.text("account").to_owned(), run.text("resource").to_owned());
            let (from, to) = (run.time("started_at").unwrap(), run.time("finished_at").unwrap());
            if let Some(before) = ended.insert(job.clone(), to) {
                assert!(before <= from, "{job:?} ran twice at {from}");
            }
            let number: usize = job.0[1..].parse().unwrap();
            let log = self.sandboxes[number].log();
            let its_own = log.iter().filter(|entry| entry.at >= from && entry.at <= to);
            let whose: BTreeSet<u64> = its_own
                .filter(|entry| entry.path.ends_with(&format!("/{}", job.1)))
                .filter_map(|entry| Some((entry.limit?, entry.at)))
                .filter(|(limit, at)| !was_on_its_way(*limit, *at))
                .map(|(limit, _)| limit)
                .collect();
            assert!(whose.len() <= 1, "{job:?} at {from}: {whose:?}");
            attributed += whose.len();
        }
        assert!(attributed > self.sandboxes.len(), "{attributed} of {}", runs.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn replicas_share_two_hundred_jobs_whatever_dies() {
    let company = Company::new(ACCOUNTS, "20s", "@every 15s").await;
    let clock = SystemClock::shared();
    let mut random = StdRng::seed_from_u64(11);
    let mut page_sizes = PAGE_SIZE..;
    let mut start = |replica| {
        let page_size = page_sizes.next().unwrap();
        (page_size, company.start(replica, page_size))
    };
    let mut replicas: Vec<(usize, Process)> = (0..REPLICAS).map(&mut start).collect();
    let since = clock.monotonic();
    let mut deaths = BTreeMap::new();
    while clock.monotonic().saturating_sub(since) < Duration::from_mins(1) {
        clock
            .sleep(Duration::from_millis(random.random_range(300..3_000)))
            .await;
        let victim = random.random_range(0..REPLICAS);
        company.assert_all_run(&mut replicas);
        let (page_size, process) = replicas.remove(victim);
        deaths.insert(page_size as u64, clock.now());
        process.kill();
        replicas.insert(victim, start(victim));
    }
    assert!(deaths.len() > 15, "{deaths:?}");
    // Then they are left in peace: every job runs again, wherever its last run was killed.
    let peace = clock.now();
    let again = format!(
        "SELECT count(*) AS count FROM jobs WHERE served_at > '{}' AND failures = 0",
        peace.format("%Y-%m-%d %H:%M:%S%.6f+00")
    );
    until("every job ran again", async || {
        company.assert_all_run(&mut replicas);
        company.count(&again).await == (ACCOUNTS * 4) as u64
    })
    .await;
    company.assert_all_run(&mut replicas);
    for (_, replica) in &mut replicas {
        replica.signal("TERM");
    }
    for (_, replica) in replicas {
        replica.end().await.expect(0);
    }
    let held = "SELECT account, resource, holder FROM jobs WHERE holder IS NOT NULL";
    assert_eq!(company.database.rows(held).await, []);
    let failed = "SELECT account, resource, started_at, finished_at, error FROM sync_runs WHERE status = 'failed'";
    assert_eq!(company.database.rows(failed).await, []);
    company.assert_each_job_was_one_programs_at_a_time(&deaths).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_a_silent_replica_holds_is_taken_over_after_one_lease() {
    let company = Company::new(1, "3s", "@every 1s").await;
    let clock = SystemClock::shared();
    let mut silent = company.start(0, PAGE_SIZE);
    let held = "SELECT count(*) AS count FROM jobs WHERE holder IS NOT NULL";
    until("it runs", async || {
        company.count("SELECT count(*) AS count FROM sync_runs").await > 0
    })
    .await;
    // Stopped while it holds something: it can neither go on nor renew.
    loop {
        silent.signal("STOP");
        if company.count(held).await > 0 {
            break;
        }
        silent.signal("CONT");
        clock.sleep(Duration::from_millis(20)).await;
    }
    let before = company.count("SELECT count(*) AS count FROM sync_runs").await;
    let since = clock.monotonic();
    let other = company.start(1, PAGE_SIZE + 1);
    until("another takes over", async || {
        company.count("SELECT count(*) AS count FROM sync_runs").await > before
    })
    .await;
    let took = clock.monotonic().saturating_sub(since);
    // It may have been stopped with a row locked, which the server ends after 15 s.
    assert!(took < Duration::from_secs(3 + 15 + 27), "{took:?}");
    // It wakes up, finds that it is late, and both go on.
    silent.signal("CONT");
    let before = company.count("SELECT count(*) AS count FROM sync_runs").await;
    until("both go on", async || {
        company.count("SELECT count(*) AS count FROM sync_runs").await > before + 10
    })
    .await;
    for mut replica in [silent, other] {
        assert!(replica.is_running());
        replica.signal("TERM");
        replica.end().await.expect(0);
    }
}
