//! One life of an account under the mirror's eyes: syncs, deaths, and after each the oracle.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use allai_sync::allai::{Budget, Client, Limits, Resource, RetryPolicy};
use allai_sync::sync::{self, Job, Progress};
use allai_sync::warehouse::{RunRecord, RunStatus};
use futures_util::FutureExt as _;
use tokio_util::sync::CancellationToken;

use crate::api::{Api, Counts, Log};
use crate::clock::{Killed, Stuck};
use crate::mirror::Presence;
use crate::model::Kind;
use crate::oracle::{self, Promise};
use crate::place::Place;
use crate::random::Random;
use crate::scenario::{Kill, Scenario};
use crate::tally::Tally;

const LISTS: [(Resource, Kind); 3] = [
    (Resource::Contacts, Kind::Contact),
    (Resource::Conversations, Kind::Conversation),
    (Resource::Messages, Kind::Message),
];
/// Full syncs at rest within which the mirror must be exact.
const SYNCS_TO_CONVERGE: u64 = 3;
/// Syncs at rest that may fail for the faults there are.
const PATIENCE: u32 = 25;

/// What was expected, and what was found.
pub(crate) type Verdict<T> = Result<T, String>;

/// How a sync ended.
enum Ended {
    Killed,
    With(Vec<RunRecord>),
}

/// Lives a scenario through; what it was worth, or what went wrong. The log is what was asked and answered, if kept.
pub(crate) async fn live(place: &mut Place, scenario: &Scenario, log: Log) -> (Verdict<Tally>, Vec<String>) {
    let name = place.begin().await;
    let api = Api::new(scenario, &place.clock, log);
    let mut life = Life {
        account: account(name, &api, place, scenario, 0),
        place,
        api: api.clone(),
        scenario,
        since: [None; 3],
        conversations_since: 0,
        full: true,
        complete: [false; 3],
        proven: [false; 3],
        ordered: [false; 3],
        held: Default::default(),
        clients: 0,
        random: Random::new(scenario.seed, 300),
        tally: Tally::default(),
    };
    let lived = AssertUnwindSafe(Box::pin(life.live())).catch_unwind().await;
    let verdict = match lived {
        Ok(Ok(())) => {
            life.tally.lives = 1;
            Ok(std::mem::take(&mut life.tally))
        }
        Ok(Err(what)) => Err(what),
        Err(panic) => Err(format!("a panic: {}", words(&*panic))),
    };
    let log = std::mem::take(&mut api.lock().lines);
    (verdict, log)
}

/// A client as after a start of the program.
fn account(name: String, api: &Api, place: &Place, scenario: &Scenario, number: u64) -> sync::Account {
    let limits = Limits {
        max_in_flight: scenario.concurrency,
        ..Limits::default()
    };
    let seed = scenario.seed.wrapping_mul(31).wrapping_add(number);
    let budget = Budget::new(limits, place.clock.shared()).seeded(seed);
    let client = Client::builder("https://api.allai.ro/v2".parse().unwrap(), "sk_sim".into())
        .budget(Arc::new(budget))
        .clock(place.clock.shared())
        .retry(RetryPolicy {
            seed: Some(seed),
            ..RetryPolicy::default()
        })
        .transport(api.transport())
        .build()
        .unwrap();
    sync::Account {
        name,
        client,
        page_size: scenario.page_size,
        concurrency: scenario.concurrency,
        in_lockstep: true,
        contact_fields: Vec::new(),
        conversation_fields: Vec::new(),
        message_fields: Vec::new(),
        periods: Vec::new(),
    }
}

struct Life<'a> {
    place: &'a mut Place,
    api: Api,
    scenario: &'a Scenario,
    account: sync::Account,
    /// The event with which the reading of each list began that is not finished: a run that was cut short is gone on
    /// with, and what it read before counts.
    since: [Option<u64>; 3],
    /// The event with which the last reading of the conversations began.
    conversations_since: u64,
    /// Whether the run under way reads everything.
    full: bool,
    /// Whether each list was ever read completely.
    complete: [bool; 3],
    /// Whether the last complete full run was verified.
    proven: [bool; 3],
    /// Whether the order of each list was learned, so that one knows where it grows.
    ordered: [bool; 3],
    /// What the mirror held of each list after the last run.
    held: [Presence; 3],
    clients: u64,
    /// When syncs begin, and in which order.
    random: Random,
    tally: Tally,
}

impl Life<'_> {
    async fn live(&mut self) -> Verdict<()> {
        for kill in self.scenario.first_kills {
            if kill != Kill::Never {
                self.sync(sync::Options::default(), kill).await?;
            }
        }
        self.sync(sync::Options::default(), Kill::Never).await?;

        let full = sync::Options {
            full: true,
            ..sync::Options::default()
        };
        let mut later: Vec<sync::Options> = vec![sync::Options::default(); self.scenario.incrementals as usize];
        for _ in 0..self.scenario.fulls {
            later.insert(self.random.index(later.len() + 1), full);
        }
        let kills = self
            .scenario
            .later_kills
            .into_iter()
            .chain(std::iter::repeat(Kill::Never));
        for (options, kill) in later.into_iter().zip(kills) {
            self.sync(options, kill).await?;
        }
        Box::pin(self.rest()).await
    }

    /// Nothing changes any more: the mirror becomes exact, and then nothing is written.
    async fn rest(&mut self) -> Verdict<()> {
        self.api.rest();
        let mut options = sync::Options {
            full: true,
            allow_mass_delete: false,
        };
        let mut syncs = 0;
        loop {
            self.complete(&mut options).await?;
            syncs += 1;
            let found = self.differences().await;
            if found.is_empty() {
                break;
            }
            if syncs == SYNCS_TO_CONVERGE {
                let shown: Vec<&String> = found.iter().take(5).collect();
                return Err(format!(
                    "expected: the mirror is exact after {SYNCS_TO_CONVERGE} full syncs at rest; found: {} differences, \
                     among them {shown:#?}",
                    found.len()
                ));
            }
        }
        self.tally.converged_after(syncs);

        for full in [true, false] {
            let mut options = sync::Options { full, ..options };
            for record in self.complete(&mut options).await? {
                let written = record.inserted + record.updated + record.restored + record.quarantined;
                // What may be gone is not, until a run proves it.
                let written = written + if self.scenario.is_provable() { record.deleted } else { 0 };
                // Where the clock was set back, an earlier run may be taken for the conversations' last.
                let told_apart = record.resource != Resource::Messages || self.scenario.rate.wall_jump >= 0;
                let provable = self.scenario.is_provable() && told_apart;
                if written > 0 || (full && provable && !record.verified) {
                    return Err(format!(
                        "expected: once the mirror is exact, a sync (full: {full}) changes nothing and, if full, is \
                         verified; found: {record:?}"
                    ));
                }
            }
        }
        let quarantined = self.place.reader.quarantined(&self.account.name).await;
        if quarantined > 0 {
            return Err(format!("expected: nothing in quarantine; found: {quarantined} rows"));
        }
        Ok(())
    }

    /// Syncs until it is complete, as an operator would: allows what the brake holds back, tries again what failed.
    async fn complete(&mut self, options: &mut sync::Options) -> Verdict<Vec<RunRecord>> {
        let mut last = String::new();
        for _ in 0..PATIENCE {
            let Ended::With(records) = self.sync(*options, Kill::Never).await? else {
                continue;
            };
            let Some(failed) = records.iter().find(|record| record.status != RunStatus::Complete) else {
                return Ok(records);
            };
            last = failed.error.clone().unwrap_or_default();
            options.allow_mass_delete |= last.contains("--allow-mass-delete");
        }
        Err(format!(
            "expected: a sync that completes at rest; found: {PATIENCE} that do not, the last for {last:?}"
        ))
    }

    /// One sync of all lists; what must hold after any sync is looked after.
    async fn sync(&mut self, options: sync::Options, kill: Kill) -> Verdict<Ended> {
        let cancelled = CancellationToken::new();
        let pause = self.random.between(1, 900);
        self.place.clock.advance(Duration::from_secs(u64::from(pause)));
        self.api.begin(kill, &cancelled);
        self.api
            .lock()
            .note(|| format!("-- sync, full {}, to end: {kill:?}", options.full));
        let mut records = Vec::new();
        for (at, (resource, _)) in LISTS.into_iter().enumerate() {
            let event = {
                let mut state = self.api.lock();
                state.counts = Counts::default();
                state.account.event
            };
            self.full = options.full || !self.complete[at] || self.since[at].is_some();
            self.since[at].get_or_insert(event);
            let clock = self.place.clock.shared();
            let job = Job {
                account: &self.account,
                warehouse: &self.place.warehouse,
                clock: &clock,
                options,
                trigger: "simulation",
                progress: &Progress::default(),
                cancelled: &cancelled,
            };
            let outcome = AssertUnwindSafe(sync::run(&job, resource)).catch_unwind().await;
            let outcome = match outcome {
                Ok(outcome) => Some(outcome),
                Err(panic) if panic.is::<Killed>() => None,
                Err(panic) => return Err(format!("the sync of the {resource} panicked: {}", words(&*panic))),
            };
            let record = outcome.as_ref().map(|outcome| &outcome.record);
            // The name is another in each life.
            let nameless = record.map(|record| RunRecord {
                account: String::new(),
                error: record.error.as_ref().map(|error| error.replace(&record.account, "")),
                ..record.clone()
            });
            self.api.lock().note(|| format!("-- {resource}: {nameless:?}"));
            self.judge(at, record, cancelled.is_cancelled()).await?;
            let Some(outcome) = outcome else {
                self.start_again().await;
                return Ok(Ended::Killed);
            };
            let stops = outcome.stops_account;
            records.push(outcome.record);
            if stops {
                break;
            }
        }
        self.place.clock.die_at(None);
        Ok(Ended::With(records))
    }

    /// After a death: nothing is known but what is in the warehouse.
    async fn start_again(&mut self) {
        self.place.clock.die_at(None);
        self.tally.kills += 1;
        if self.scenario.reopen {
            self.place.reopen().await;
        }
        self.clients += 1;
        let name = std::mem::take(&mut self.account.name);
        self.account = account(name, &self.api, self.place, self.scenario, self.clients);
        self.api.forget_client();
    }

    /// What must hold after a run, however it ended (`None`: by death).
    async fn judge(&mut self, at: usize, record: Option<&RunRecord>, cancelled: bool) -> Verdict<()> {
        let (resource, kind) = LISTS[at];
        let name = self.account.name.clone();
        let since = self.since[at].unwrap_or(0);
        let counts = self.api.lock().counts;
        self.judge_requests(record, counts, cancelled)?;

        let after = self.place.reader.presence(&name, kind).await;
        let messages_after = match kind {
            Kind::Conversation => Some(self.place.reader.presence(&name, Kind::Message).await),
            _ => None,
        };
        let at_rest = self.judge_rows(at, record, &after, messages_after.as_ref())?;

        self.held[at] = after;
        if let Some(messages) = messages_after {
            self.held[2] = messages;
        }
        if kind == Kind::Conversation {
            self.conversations_since = since;
        }
        let unfinished = self.place.warehouse.state(&name, resource).await;
        let unfinished = unfinished.map_err(|error| format!("the state cannot be read: {error}"))?;
        if unfinished.as_ref().is_none_or(|state| state.checkpoint.is_none()) {
            self.since[at] = None;
        }
        let order = unfinished.and_then(|state| state.order);
        self.ordered[at] = order.is_some_and(|order| order != "unknown");
        self.complete[at] |= record.is_some_and(|record| record.status == RunStatus::Complete);
        self.tally.count(resource, record, counts, self.full && !at_rest);
        Ok(())
    }

    /// What must hold of the rows the mirror holds `after` a run; says whether the account is at rest.
    fn judge_rows(
        &mut self,
        at: usize,
        record: Option<&RunRecord>,
        after: &Presence,
        messages_after: Option<&Presence>,
    ) -> Verdict<bool> {
        let (resource, kind) = LISTS[at];
        let since = self.since[at].unwrap_or(0);
        let state = self.api.lock();
        let account = &state.account;
        oracle::nothing_made_up(account, kind, after)?;
        let deleted = oracle::tombstones(account, kind, &self.held[at], after, since)?;
        if let Some(record) = record.filter(|record| record.deleted != deleted) {
            return Err(format!(
                "expected: {} {resource} reported as deleted; found: {deleted} marked as deleted",
                record.deleted
            ));
        }
        if let Some(after) = messages_after {
            oracle::tombstones(account, Kind::Message, &self.held[2], after, since)?;
        }
        let since_both = match kind {
            Kind::Message => since.min(self.conversations_since),
            _ => since,
        };
        if record.is_some_and(|record| record.verified) {
            oracle::nothing_lost(account, kind, after, since_both, Promise::Current)?;
        }
        let complete = record.is_some_and(|record| record.status == RunStatus::Complete);
        if complete && self.full {
            self.proven[at] = record.is_some_and(|record| record.verified);
        } else if complete
            && self.proven[at]
            && self.ordered[at]
            && kind != Kind::Message
            && let Some(promise) = self.scenario.promise_of_the_growing_end()
        {
            oracle::nothing_lost(account, kind, after, since, promise)?;
        }
        Ok(state.at_rest)
    }

    fn judge_requests(&self, record: Option<&RunRecord>, counts: Counts, cancelled: bool) -> Verdict<()> {
        if let Some(record) = record {
            if record.status != RunStatus::Complete && record.error.is_none() {
                return Err(format!("expected: a reason; found: none in {record:?}"));
            }
            let (asked, refused) = (
                u64::from(counts.requests),
                u64::from(counts.over_limit + counts.spurious),
            );
            // Pages fetched ahead may be given up on their way.
            let given_up = cancelled || self.scenario.concurrency > 1;
            let wrong = (record.requests, record.rate_limited) != (asked, refused);
            if record.requests < asked || record.rate_limited > refused || (wrong && !given_up) {
                return Err(format!(
                    "expected: {asked} requests counted, {refused} of them refused; found: {} and {}",
                    record.requests, record.rate_limited
                ));
            }
        }
        let foreseeable = counts.over_limit - counts.unforeseeable;
        // Whoever is refused for no reason, or is told nothing, cannot know what is left.
        let allowed = self.scenario.rate.unforeseeable() + 2 * (counts.spurious + counts.faults);
        if foreseeable > allowed {
            return Err(format!(
                "expected: at most {allowed} requests beyond the rate limit in a run; found: {foreseeable} of {}",
                counts.requests
            ));
        }
        Ok(())
    }

    /// Every way in which the mirror is not the account.
    async fn differences(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        for (_, kind) in LISTS {
            let content = self.place.reader.content(&self.account.name, kind).await;
            let state = self.api.lock();
            oracle::differences(&state.account, kind, &content, &mut found);
            if self.scenario.is_provable() {
                oracle::ghosts(&state.account, kind, &content, &mut found);
            }
        }
        found
    }
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> String {
    if let Some(stuck) = panic.downcast_ref::<Stuck>() {
        return format!("no end in sight: {}", stuck.0);
    }
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "it does not say why".to_owned())
}
