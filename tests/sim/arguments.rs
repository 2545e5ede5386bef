//! The command line.

use std::num::NonZeroUsize;

use crate::regressions;
use crate::scenario::{Database, Order, Scenario};

pub(crate) const USAGE: &str = "\
cargo test --test sim -- [OPTIONS]

  --seeds N         lives for each order (and database); default: a few minutes' worth, over both databases
  --from N          the first seed; default 1
  --seed N          live this seed alone and show what happens
  --regression NAME live this scenario of tests/sim/regressions.rs alone, likewise
  --order ORDER     created-desc, created-asc, updated-desc, unknown-stable, updated-asc,
                    updated-nulls-first or updated-nulls-last; default: all
  --database DB     sqlite or postgres; default: both
  --threads N       default: one a processor
  --failures N      stop after so many failures; default 1
  --no-shrink       do not make what fails simpler";

/// What is run without a command line: seeds for each order.
const SQLITE_SEEDS: u64 = 150;
const POSTGRES_SEEDS: u64 = 30;

pub(crate) struct Arguments {
    pub(crate) seeds: Option<u64>,
    pub(crate) from: u64,
    pub(crate) seed: Option<u64>,
    pub(crate) regression: Option<String>,
    pub(crate) orders: Vec<Order>,
    pub(crate) databases: Vec<Database>,
    pub(crate) threads: usize,
    pub(crate) most_failures: usize,
    pub(crate) shrink: bool,
    /// Whether nothing special is asked for, as by `cargo test`.
    pub(crate) is_default: bool,
}

impl Arguments {
    /// `None` if nothing is to be run: a filter of test names that is not ours, or a question.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut arguments = Self {
            seeds: None,
            from: 1,
            seed: None,
            regression: None,
            orders: Order::ALL.to_vec(),
            databases: vec![Database::Sqlite, Database::Postgres],
            threads: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            most_failures: 1,
            shrink: true,
            is_default: true,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            let number = |text: String| {
                text.parse::<u64>()
                    .map_err(|_| format!("{word}: {text:?} is not a number"))
            };
            let small = |text: String| number(text).map(|number| usize::try_from(number).unwrap_or(usize::MAX).max(1));
            let mut ours = true;
            match word.as_str() {
                "--seeds" => arguments.seeds = Some(number(value()?)?),
                "--from" => arguments.from = number(value()?)?,
                "--seed" => arguments.seed = Some(number(value()?)?),
                "--regression" => arguments.regression = Some(value()?),
                "--threads" => arguments.threads = small(value()?)?,
                "--failures" => arguments.most_failures = small(value()?)?,
                "--no-shrink" => arguments.shrink = false,
                "--order" => {
                    let name = value()?;
                    let known = Order::ALL.into_iter().find(|order| order.name() == name);
                    arguments.orders = vec![known.ok_or_else(|| format!("{name:?} is no order"))?];
                }
                "--database" => {
                    let name = value()?;
                    let both = [Database::Sqlite, Database::Postgres];
                    let known = both.into_iter().find(|database| database.name() == name);
                    arguments.databases = vec![known.ok_or_else(|| format!("{name:?} is no database"))?];
                }
                "--help" | "-h" => {
                    println!("{USAGE}");
                    return Ok(None);
                }
                "--list" => return Ok(None),
                // What the usual harness takes, and cargo passes to every test binary.
                "--test-threads" | "--skip" | "--format" | "--color" => {
                    value()?;
                    ours = false;
                }
                word if word.starts_with('-') => {
                    let harness = [
                        "--nocapture",
                        "--no-capture",
                        "--exact",
                        "--quiet",
                        "-q",
                        "--show-output",
                    ];
                    let with_value = ["--test-threads=", "--skip=", "--format=", "--color="];
                    if !harness.contains(&word) && !with_value.iter().any(|start| word.starts_with(start)) {
                        return Err(format!("{word} is not known"));
                    }
                    ours = false;
                }
                filter if "sim".contains(filter) => ours = false,
                // The name of a test elsewhere.
                _ => return Ok(None),
            }
            arguments.is_default &= !ours;
        }
        Ok(Some(arguments))
    }

    /// What is to be lived before somebody's eyes.
    pub(crate) fn to_replay(&self) -> Vec<Scenario> {
        let named = regressions::all()
            .into_iter()
            .filter(|(name, _)| self.regression.as_deref() == Some(name));
        let mut scenarios: Vec<Scenario> = named.map(|(_, scenario)| scenario).collect();
        if let Some(seed) = self.seed {
            for &database in &self.databases {
                let drawn = self.orders.iter().map(|order| Scenario::draw(seed, *order, database));
                scenarios.extend(drawn);
            }
        }
        scenarios
    }

    /// What is to be lived, the orders and databases in turn.
    pub(crate) fn jobs(&self) -> Vec<(u64, Order, Database)> {
        let of = |database| {
            self.seeds.unwrap_or(match database {
                Database::Sqlite => SQLITE_SEEDS,
                Database::Postgres => POSTGRES_SEEDS,
            })
        };
        let most = self.databases.iter().map(|database| of(*database)).max().unwrap_or(0);
        let mut jobs = Vec::new();
        for n in 0..most {
            for &database in self.databases.iter().filter(|database| n < of(**database)) {
                jobs.extend(self.orders.iter().map(|order| (self.from + n, *order, database)));
            }
        }
        jobs
    }
}
