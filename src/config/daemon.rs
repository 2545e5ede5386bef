//! `[daemon]`: how `allai-sync run` behaves.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::issue::Report;
use super::{KeyPath, duration};

/// A shorter lease would be lost to one slow commit.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);
const LONGEST_LEASE: Duration = Duration::from_hours(1);
/// The status page shows the last runs.
const SHORTEST_JOURNAL: Duration = Duration::from_hours(24);
/// A shorter stop finishes nothing; a longer one is taken for a hang by whoever waits for it.
const SHORTEST_STOP: Duration = Duration::from_millis(500);
const LONGEST_STOP: Duration = Duration::from_mins(5);

/// How the daemon, `allai-sync run`, behaves.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Daemon {
    /// Jobs that run at the same time, 1 to 64. Each holds a few pages in memory.
    #[schemars(range(min = 1, max = 64))]
    pub concurrent_runs: usize,
    /// How long another daemon on the same Postgres waits for one that gives no sign of life before it takes over its
    /// jobs.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub lease: Duration,
    /// How long a stop may take: what is being stored is finished, the rest is left for the next start.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub stop_within: Duration,
    /// For how long `sync_runs`, `parity_audits`, `incidents` and `session_tokens` keep what is over.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub keep_journal: Duration,
}

impl Default for Daemon {
    fn default() -> Self {
        Self {
            concurrent_runs: 4,
            lease: Duration::from_secs(30),
            stop_within: Duration::from_secs(5),
            keep_journal: Duration::from_hours(400 * 24),
        }
    }
}

impl Daemon {
    pub(super) fn validate(&self, at: &KeyPath, report: &mut Report) {
        if !(1..=64).contains(&self.concurrent_runs) {
            report.wrong(
                &at.join("concurrent_runs"),
                "must be from 1 to 64",
                "e.g. `concurrent_runs = 4`",
            );
        }
        if !(SHORTEST_LEASE..=LONGEST_LEASE).contains(&self.lease) {
            report.wrong(&at.join("lease"), "must be from 1s to 1h", "e.g. `lease = \"30s\"`");
        }
        if self.keep_journal < SHORTEST_JOURNAL {
            report.wrong(
                &at.join("keep_journal"),
                "must be at least 1d",
                "e.g. `keep_journal = \"400d\"`",
            );
        }
        if !(SHORTEST_STOP..=LONGEST_STOP).contains(&self.stop_within) {
            report.wrong(
                &at.join("stop_within"),
                "must be from 500ms to 5m",
                "e.g. `stop_within = \"5s\"`",
            );
        }
    }
}
