//! The simulation: the real client, budget, sweep and warehouse against a model of the API, in one process, on a virtual
//! clock, driven by seeds.
//!
//! A seed stands for a [`scenario::Scenario`]: the life of an account with everything that can go wrong in it. The model
//! ([`model`]) is a reading of AllAI's guide of its own; the [`oracle`] judges the mirror by it after every run
//! ([`life`]). A scenario that fails is made as simple as possible ([`shrink`]), printed, and belongs into
//! [`regressions`]. The command line is in [`arguments`].

#![expect(clippy::unwrap_used, reason = "a harness that cannot go on ends its test")]
#![expect(clippy::print_stdout, reason = "its output is read by people")]

mod api;
mod arguments;
mod clock;
mod life;
mod limits;
mod mirror;
mod model;
mod oracle;
mod place;
#[path = "../it/support/postgres.rs"]
#[expect(dead_code, reason = "shared with the integration tests, which use all of it")]
mod postgres;
mod random;
mod regressions;
mod scenario;
mod shrink;
mod tally;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use allai_sync::clock::SystemClock;
use futures_util::future::{Either, select};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tokio::runtime::Runtime;

use self::api::Log;
use self::arguments::Arguments;
use self::place::Place;
use self::scenario::{Database, Order, Scenario};
use self::tally::Tally;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(Some(arguments)) => arguments,
        Ok(None) => return ExitCode::SUCCESS,
        Err(problem) => {
            println!("{problem}\n\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    let replayed = arguments.to_replay();
    if !replayed.is_empty() {
        return replay(&replayed, arguments.shrink);
    }
    let mut worker = Worker::new();
    for (name, scenario) in regressions::all() {
        if let Err(what) = worker.live(&scenario) {
            println!("{name}: {what}");
            return ExitCode::FAILURE;
        }
    }
    if arguments.is_default && !repeats_itself(&mut worker, &arguments) {
        return ExitCode::FAILURE;
    }
    drop(worker);
    run_all(&arguments)
}

/// One thread's runtime, and its place in each database.
struct Worker {
    runtime: Runtime,
    sqlite: Option<Place>,
    postgres: Option<Place>,
}

impl Worker {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self {
            runtime: runtime.unwrap(),
            sqlite: None,
            postgres: None,
        }
    }

    fn live(&mut self, scenario: &Scenario) -> Result<Tally, String> {
        self.live_with_log(scenario, Log::Off).0
    }

    fn live_with_log(&mut self, scenario: &Scenario, log: Log) -> (Result<Tally, String>, Vec<String>) {
        let slot = match scenario.database {
            Database::Sqlite => &mut self.sqlite,
            Database::Postgres => &mut self.postgres,
        };
        self.runtime.block_on(async {
            let mut place = match slot.take() {
                Some(place) => place,
                None => Place::new(scenario.database).await,
            };
            let lived = {
                let life = std::pin::pin!(life::live(&mut place, scenario, log));
                match select(life, SystemClock::shared().sleep(HANGS)).await {
                    Either::Left((lived, _)) => lived,
                    // Who knows what is still open there: the next life gets another place.
                    Either::Right(_) => return (Err(HANGING.to_owned()), Vec::new()),
                }
            };
            *slot = Some(place);
            lived
        })
    }

    /// Makes a failing scenario as simple as it gets, and says all there is to say.
    fn explain(&mut self, scenario: &Scenario, what: &str) -> String {
        let (simple, found) = if what == HANGING {
            // Each candidate would take as long.
            (scenario.clone(), what.to_owned())
        } else {
            shrink::shrink(scenario, what, |candidate| self.live(candidate).err())
        };
        format!(
            "FAILED: seed {}, order {}, database {}\n{what}\n\nas simple as it gets, for \
             tests/sim/regressions.rs:\n{simple:#?}\n{found}\n",
            scenario.seed,
            scenario.order.name(),
            scenario.database.name(),
        )
    }
}

/// A life takes a tenth of a second, on a slow machine ten; in one that takes so long nothing happens any more.
const HANGS: Duration = Duration::from_mins(3);
const HANGING: &str = "it hangs: nothing happens any more";

/// Lives scenarios through, and shows what happens.
fn replay(scenarios: &[Scenario], shrink: bool) -> ExitCode {
    // What the program itself says, among what is asked and answered; RUST_LOG chooses.
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "allai_sync=debug".to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .without_time()
        .init();
    let mut worker = Worker::new();
    let mut code = ExitCode::SUCCESS;
    for scenario in scenarios {
        println!("{scenario:#?}");
        match worker.live_with_log(scenario, Log::Shown).0 {
            Ok(tally) => println!("as it should be: {tally}"),
            Err(what) if shrink => {
                println!("{what}");
                let nothing = tracing::subscriber::NoSubscriber::default();
                let explained = tracing::subscriber::with_default(nothing, || worker.explain(scenario, &what));
                println!("{explained}");
                code = ExitCode::FAILURE;
            }
            Err(what) => {
                println!("FAILED: {what}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

/// The same seed is the same run, to the last byte of what is asked and answered.
fn repeats_itself(worker: &mut Worker, arguments: &Arguments) -> bool {
    for &database in &arguments.databases {
        for &order in &arguments.orders {
            for seed in 1..=3 {
                let scenario = Scenario::draw(seed, order, database);
                let logs = [0, 1].map(|_| worker.live_with_log(&scenario, Log::Kept).1);
                let differs = logs[0].iter().zip(&logs[1]).position(|(one, other)| one != other);
                if differs.is_some() || logs[0].len() != logs[1].len() {
                    let at = differs.unwrap_or(logs[0].len().min(logs[1].len()));
                    println!(
                        "seed {seed}, {order:?}, {database:?} is not the same run twice:\n{:?}\n{:?}",
                        logs[0].get(at),
                        logs[1].get(at)
                    );
                    return false;
                }
            }
        }
    }
    true
}

/// Keeps this thread, and those it begins, on one of the processors it may use: a life's runtime and its database take turns, and to
/// wake each other on another processor takes them a third of their time. It is not worth an error.
fn stay_on_one_processor(nth: usize) {
    let Ok(allowed) = sched_getaffinity(None) else { return };
    let allowed: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    let mut one = CpuSet::new();
    if !allowed.is_empty() {
        one.set(allowed[nth % allowed.len()]);
        let _ = sched_setaffinity(None, &one);
    }
}

/// All seeds, on as many threads as there are processors.
fn run_all(arguments: &Arguments) -> ExitCode {
    let clock = SystemClock::shared();
    let jobs = arguments.jobs();
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let tallies: Mutex<BTreeMap<(usize, usize), Tally>> = Mutex::default();
    let failures: Mutex<Vec<String>> = Mutex::default();
    let work = || {
        let mut worker = Worker::new();
        while !stop.load(Ordering::Relaxed) {
            let Some(&(seed, order, database)) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else {
                break;
            };
            let scenario = Scenario::draw(seed, order, database);
            match worker.live(&scenario) {
                Ok(tally) => {
                    let mut tallies = tallies.lock().unwrap_or_else(PoisonError::into_inner);
                    let key = (database as usize, order as usize);
                    tallies.entry(key).or_default().add(&tally);
                }
                Err(what) => {
                    let explained = if arguments.shrink {
                        worker.explain(&scenario, &what)
                    } else {
                        format!("FAILED: seed {seed}, {order:?}, {database:?}\n{what}")
                    };
                    println!("{explained}");
                    let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                    failures.push(format!("seed {seed}, {}, {}", order.name(), database.name()));
                    if failures.len() >= arguments.most_failures {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for nth in 0..arguments.threads {
            let work = &work;
            scope.spawn(move || {
                stay_on_one_processor(nth);
                work();
            });
        }
    });

    let seconds = clock.monotonic().as_secs_f64();
    let tallies = tallies.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut lives = 0;
    for ((database, order), tally) in &tallies {
        lives += tally.lives;
        let (database, order) = ([Database::Sqlite, Database::Postgres][*database], Order::ALL[*order]);
        println!("{}, {}: {tally}", database.name(), order.name());
    }
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let per_minute = lives as f64 * 60.0 / seconds;
    println!(
        "sim: {lives} seeds as they should be, {} not, in {seconds:.1} s: {per_minute:.0} seeds a minute",
        failures.len()
    );
    if failures.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {}", failures.join("; "));
    ExitCode::FAILURE
}
