//! A day in the life of an idle daemon: what it holds at the end is what it held in the beginning.

use std::fs;
use std::time::Duration;

use allai_sync::clock::SystemClock;
use allai_sync::sandbox::{ChurnKind, ChurnOf, MutationKinds, Options};
use chrono::TimeDelta;
use futures_util::future::join_all;
use tokio::runtime::Handle;

use crate::TURN;
use crate::world::World;

/// What this process holds.
#[derive(Clone, Copy, Debug, Default)]
struct Holding {
    files: usize,
    threads: usize,
    tasks: usize,
    /// Resident, in KiB.
    memory: usize,
}

impl Holding {
    fn now() -> Self {
        let pages: usize = fs::read_to_string("/proc/self/statm")
            .unwrap()
            .split(' ')
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        Self {
            // One of them lists the others.
            files: fs::read_dir("/proc/self/fd").unwrap().count() - 1,
            threads: fs::read_dir("/proc/self/task").unwrap().count(),
            tasks: Handle::current().metrics().num_alive_tasks(),
            memory: pages * 4,
        }
    }

    /// Whether there is nothing more of what can be counted.
    const fn is_within(&self, other: &Self) -> bool {
        self.files <= other.files && self.threads <= other.threads && self.tasks <= other.tasks
    }
}

/// What a reading of the admin listener asks for.
const PATHS: [&str; 6] = ["/", "/metrics", "/api/v1/status", "/healthz", "/readyz", "/nowhere"];
/// What memory may grow by, in KiB, besides what SQLite keeps of the database. Measured are 1.2 to 1.5 MiB, most of it in
/// the first hours and in the night, when everything is read: the allocator's free memory, and what it lies between.
const GROWTH: usize = 3 * 1_024;
/// Each connection of the daemon's, a writer and four readers, may keep every page of a small file.
const CONNECTIONS: usize = 5;
/// Real time within which connections are closed and idle threads end.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_day_leaves_no_files_threads_tasks_or_memory_behind() {
    let _turn = TURN.lock().await;
    let mut options = Options::for_tests(400, 60);
    options.account.messages_per_conversation = Some(6);
    // In the beginning answers are slow: as many requests as ever are under way at once, and have connections.
    options.faults.latency = Duration::from_millis(20);
    // With the schedules that the program has if nobody says otherwise.
    let mut world = World::new("2026-05-11T09:00:00Z", TimeDelta::minutes(1), options, "").await;
    let began = world.time.now();
    world.start().await;
    world
        .sandbox
        .set_options(|options| options.faults.latency = Duration::ZERO);
    #[expect(clippy::disallowed_methods, reason = "this is the other side")]
    let visitor = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    // The account stays as large as it is.
    let changes = MutationKinds {
        kinds: vec![ChurnKind::Update, ChurnKind::Touch],
        of: vec![ChurnOf::Contacts, ChurnOf::Conversations],
        ..MutationKinds::default()
    };
    let mut before = None;
    for hour in 1..=24 {
        for minute in (10..=60).step_by(10) {
            world
                .until(began + TimeDelta::hours(hour - 1) + TimeDelta::minutes(minute))
                .await;
            let visits = PATHS.iter().chain(&PATHS).map(|path| world.get(&visitor, path));
            for (status, text) in join_all(visits).await {
                assert!(status == 200 || status == 404, "{status}: {text}");
            }
        }
        world.sandbox.account().mutate(hour.unsigned_abs(), 5, &changes);
        world.sandbox.clear_log();
        if hour == 2 {
            before = Some((Holding::now(), kept(&world).await));
        }
    }

    let (before, kept_before) = before.unwrap();
    let real = SystemClock::shared();
    let mut now = Holding::now();
    while !now.is_within(&before) && real.monotonic() < PATIENCE {
        world.idle_for(Duration::from_millis(20)).await;
        now = Holding::now();
    }
    println!("after 2 hours: {before:?}\nafter 24 hours: {now:?}");
    assert!(now.is_within(&before), "{now:?} is more than {before:?}");
    let grown = now.memory.saturating_sub(before.memory);
    let cached = kept(&world).await - kept_before;
    assert!(
        grown < GROWTH + CONNECTIONS * cached,
        "{grown} KiB more in memory, the database {cached} KiB larger"
    );
    let runs = world.database.value("SELECT count(*) FROM sync_runs").await;
    // Every five minutes, every five, every quarter of an hour; by day and at night; and what never ran.
    assert!((670..=690).contains(&runs.parse().unwrap()), "{runs} runs");
    world.stop().await;
}

/// The size of the database, in KiB.
async fn kept(world: &World) -> usize {
    let pages = world.database.value("SELECT page_count FROM pragma_page_count").await;
    4 * pages.parse::<usize>().unwrap()
}
