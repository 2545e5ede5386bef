//! Making a scenario that fails as simple as it can be while it still fails.

use crate::scenario::{Database, Dates, Envelope, Faults, Figure, Kill, Oddities, Reset, Scenario, Stamp, WindowKind};

/// Attempts after which what is found is good enough.
const MOST_ATTEMPTS: u32 = 600;

type Step = fn(&mut Scenario);

/// What makes a scenario simpler, the boldest first. One that changes nothing is passed over.
const STEPS: &[Step] = &[
    |s| s.faults = Faults::none(),
    |s| s.oddities = Oddities::NONE,
    |s| s.first_kills = [Kill::Never; 4],
    |s| s.later_kills = [Kill::Never; 3],
    |s| (s.incrementals, s.fulls) = (0, 0),
    |s| s.churn.per_hundred = 0,
    |s| s.contacts = 0,
    |s| s.conversations = 0,
    |s| s.messages = 0,
    |s| s.contacts /= 2,
    |s| s.conversations /= 2,
    |s| s.messages /= 2,
    |s| s.churn.per_hundred /= 2,
    |s| s.fulls = s.fulls.saturating_sub(1),
    |s| s.incrementals = s.incrementals.saturating_sub(1),
    |s| s.first_kills[0] = Kill::Never,
    |s| s.first_kills[1] = Kill::Never,
    |s| s.first_kills[2] = Kill::Never,
    |s| s.first_kills[3] = Kill::Never,
    |s| s.later_kills[0] = Kill::Never,
    |s| s.later_kills[1] = Kill::Never,
    |s| s.later_kills[2] = Kill::Never,
    |s| s.database = Database::Sqlite,
    |s| s.concurrency = 1,
    |s| s.reopen = false,
    |s| s.latency_ms = 2,
    |s| s.rate.jump_at = 0,
    |s| (s.rate.server_jump, s.rate.wall_jump) = (0, 0),
    |s| s.rate.skew = 0,
    |s| s.rate.date = true,
    |s| s.rate.reset = Reset::Seconds,
    |s| s.rate.kind = WindowKind::Tiled,
    |s| (s.rate.limit, s.rate.window_seconds) = (1000, 60),
    |s| s.rate.retry_after = true,
    |s| s.faults.server_errors = 0,
    |s| s.faults.resets = 0,
    |s| s.faults.truncated = 0,
    |s| s.faults.timeouts = 0,
    |s| s.faults.html = 0,
    |s| s.faults.refusals = 0,
    |s| s.faults_at_rest = false,
    |s| s.churn.returns = 0,
    |s| s.churn.backdated = 0,
    |s| s.churn.touches = 0,
    |s| s.churn.inserts = 0,
    |s| s.churn.deletes_at_head = 0,
    |s| s.churn.deletes_at_tail = 0,
    |s| s.churn.deletes_anywhere = 0,
    |s| s.clamp = 0,
    |s| s.oddities.wavers = 0,
    |s| (s.oddities.falls_at, s.oddities.falls_to) = (0, 0),
    |s| s.oddities.hides = 0,
    |s| s.oddities.large = 0,
    |s| s.oddities.caps = 0,
    |s| s.oddities.ahead = 0,
    |s| (s.oddities.purge_at, s.oddities.purged) = (0, 0),
    |s| s.oddities.wavers /= 2,
    |s| s.envelope = Envelope::Data,
    |s| s.total = Figure::Absent,
    |s| s.has_more = Figure::Absent,
    |s| s.dates = Dates::Both,
    |s| s.stamp = Stamp::Rfc3339,
    |s| s.gone = false,
    |s| s.messages_newest_first = false,
    |s| s.contacts = s.contacts.saturating_sub(1),
    |s| s.conversations = s.conversations.saturating_sub(1),
    |s| s.messages = s.messages.saturating_sub(1),
    |s| s.churn.per_hundred = s.churn.per_hundred.saturating_sub(10),
    |s| s.page_size += 5,
];

/// The simplest scenario found that still fails, with how it fails; `try_out` says how one fails, if it does.
pub(crate) fn shrink(
    failing: &Scenario,
    what: &str,
    mut try_out: impl FnMut(&Scenario) -> Option<String>,
) -> (Scenario, String) {
    let (mut best, mut what) = (failing.clone(), what.to_owned());
    let mut attempts = 0;
    loop {
        let mut simpler = false;
        for step in STEPS {
            let mut candidate = best.clone();
            step(&mut candidate);
            if format!("{candidate:?}") == format!("{best:?}") || candidate.page_size > 50 {
                continue;
            }
            attempts += 1;
            if attempts > MOST_ATTEMPTS {
                return (best, what);
            }
            let found = try_out(&candidate);
            if let Some(found) = found.filter(|found| kind(found) == kind(&what)) {
                (best, what, simpler) = (candidate, found, true);
            }
        }
        if !simpler {
            return (best, what);
        }
    }
}

/// What kind of failure it is: the words, without the figures and what was found.
fn kind(what: &str) -> String {
    let expected = what.split("; found").next().unwrap_or_default();
    let words = expected
        .split(|c: char| !c.is_alphabetic())
        .filter(|word| word.len() > 2);
    words.take(8).collect::<Vec<_>>().join(" ")
}
