//! What was asked of the sandbox, for tests to count.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// How many requests are remembered one by one.
const REMEMBERED: usize = 200_000;

/// One request and what became of it.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// When it came, on the server's clock.
    pub at: DateTime<Utc>,
    /// The method.
    pub method: String,
    /// The path, e.g. `/v2/contacts`.
    pub path: String,
    /// The query as it was sent, without `?`.
    pub query: String,
    /// The query's `offset`, if it is a number.
    pub offset: Option<u64>,
    /// The query's `limit`, if it is a number.
    pub limit: Option<u64>,
    /// The status that was decided on; with a fault it may never have arrived.
    pub status: u16,
    /// The name of the key: `full`, `read`, `write`, `admin`, `session`.
    pub key: Option<&'static str>,
    /// What went wrong by intent: `error`, `reset`, `truncate`, `invalid-body`, `stall`.
    pub fault: Option<&'static str>,
}

/// Counts of what was asked of the sandbox.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// All requests.
    pub requests: u64,
    /// How many were answered 429.
    pub rate_limited: u64,
    /// Requests by method and path with ids left out (`GET /v2/conversations/{id}/messages`) and status.
    pub by_path: BTreeMap<(String, u16), u64>,
    /// The most requests one key made within any span as long as the rate window, refused ones included.
    pub most_in_a_window: usize,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<LogEntry>,
    stats: Stats,
}

impl Log {
    pub(super) fn add(&mut self, entry: LogEntry) {
        self.stats.requests += 1;
        self.stats.rate_limited += u64::from(entry.status == 429);
        let path = format!("{} {}", entry.method, without_ids(&entry.path));
        *self.stats.by_path.entry((path, entry.status)).or_default() += 1;
        if self.entries.len() == REMEMBERED {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    pub(super) fn entries(&self) -> Vec<LogEntry> {
        self.entries.iter().cloned().collect()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn stats(&self, window: Duration) -> Stats {
        let window = TimeDelta::from_std(window).unwrap_or(TimeDelta::days(1));
        let mut spans: HashMap<&str, VecDeque<DateTime<Utc>>> = HashMap::new();
        let mut most = 0;
        for (key, at) in self.entries.iter().filter_map(|entry| Some((entry.key?, entry.at))) {
            let span = spans.entry(key).or_default();
            while span.front().is_some_and(|first| *first + window <= at) {
                span.pop_front();
            }
            span.push_back(at);
            most = most.max(span.len());
        }
        Stats {
            most_in_a_window: most,
            ..self.stats.clone()
        }
    }
}

fn without_ids(path: &str) -> String {
    let mut segments: Vec<&str> = path.split('/').collect();
    if segments.len() > 3 && matches!(segments[2], "contacts" | "conversations") {
        segments[3] = "{id}";
    }
    segments.join("/")
}
