//! The rules at work: what happened is looked at as it is noted, and runs go on as they are due.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::deciding::decide;
use super::execution::{Execution, rehearse_steps};
use super::rule::{Happening, Rule};
use super::tools::Tools;
use crate::clock::SharedClock;
use crate::schedule::Holder;
use crate::warehouse::{ClaimedRun, Error, Interest, RunEnd, RunState, Trigger, Warehouse};

/// So many runs of an account go on side by side.
const AT_ONCE: usize = 8;
/// So many triggers are looked at together.
const TOGETHER: u32 = 100;
/// How long a claim lasts before the first step prolongs it.
const LEASE: TimeDelta = TimeDelta::minutes(2);
/// How often is looked for what another program noted.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long the warehouse is left alone when it does not answer.
const PAUSE: Duration = Duration::from_secs(2);
/// A run whose rule is gone is kept for one that may come back.
const RULE_GONE: &str = "there is no rule of this name any more";

/// The rules of one account, at work until they are stopped.
#[derive(Debug)]
pub struct Automations {
    shared: Arc<Shared>,
    noted: watch::Receiver<()>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    account: String,
    rules: Vec<Rule>,
    tools: Tools,
    clock: SharedClock,
    holder: Holder,
}

/// What of accounts is to be noted for these rules.
pub(crate) fn interests<'a>(rules: impl IntoIterator<Item = &'a Rule>) -> HashMap<String, Vec<Interest>> {
    let mut interests: HashMap<String, Vec<Interest>> = HashMap::new();
    for rule in rules {
        let of_account = interests.entry(rule.account.clone()).or_default();
        for happening in &rule.on {
            of_account.push(Interest {
                subject: happening.subject(),
                within: TimeDelta::from_std(rule.max_age).unwrap_or(TimeDelta::MAX),
            });
        }
    }
    interests
}

impl Automations {
    /// The rules of an account.
    pub fn new(account: String, rules: Vec<Rule>, tools: Tools, clock: &SharedClock, holder: Holder) -> Self {
        Self {
            noted: tools.warehouse.news(),
            shared: Arc::new(Shared {
                account,
                rules,
                tools,
                clock: Arc::clone(clock),
                holder,
            }),
            tasks: JoinSet::new(),
        }
    }

    /// Works until it is told to `stop`; then what is being done is done.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let wait = match self.turn().await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(automation.account = self.shared.account, %error, "automations wait");
                    PAUSE
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                Ok(()) = self.noted.changed() => {}
                Some(_) = self.tasks.join_next(), if !self.tasks.is_empty() => {}
                () = self.shared.clock.sleep(wait) => {}
            }
        }
        while self.tasks.join_next().await.is_some() {}
    }

    /// Looks at what is noted and begins what is due; says how long there is nothing to do.
    async fn turn(&mut self) -> Result<Duration, Error> {
        let shared = &self.shared;
        while shared.ask_rules().await? {}
        if self.tasks.len() >= AT_ONCE {
            return Ok(LOOK_EVERY);
        }
        let most = u32::try_from(AT_ONCE - self.tasks.len()).unwrap_or(1);
        let due = shared.warehouse().next_run_due(&shared.account).await?;
        let others: Vec<String> = shared.warehouse().run_holders(&shared.account).await?;
        let others: Vec<String> = others
            .into_iter()
            .filter(|other| other != shared.holder.as_str())
            .collect();
        let now = shared.clock.now();
        if due.is_some_and(|due| due <= now) || !others.is_empty() {
            for run in shared.claim(&others, most).await? {
                let shared = Arc::clone(shared);
                self.tasks.spawn(async move { shared.go_on(run).await });
            }
        }
        // One that is due and was not claimed waits for another of its conversation.
        let wait = due.map(|due| (due - now).to_std().unwrap_or_default());
        Ok(wait
            .filter(|wait| !wait.is_zero())
            .unwrap_or(LOOK_EVERY)
            .min(LOOK_EVERY))
    }
}

impl Shared {
    const fn warehouse(&self) -> &Warehouse {
        &self.tools.warehouse
    }

    /// Asks the rules about what was noted; `false` if there was nothing.
    async fn ask_rules(&self) -> Result<bool, Error> {
        let triggers: Vec<Trigger> = self.warehouse().triggers(&self.account, TOGETHER).await?;
        let rules: Vec<&Rule> = self.rules.iter().collect();
        for trigger in &triggers {
            let now = self.clock.now();
            // One at a time: what a rule did about one counts for the next.
            let server_now = self.tools.client.server_now();
            let runs = decide(&rules, self.warehouse(), &self.account, trigger, now, server_now).await?;
            self.warehouse()
                .add_runs(&self.account, std::slice::from_ref(trigger), &runs)
                .await?;
        }
        Ok(!triggers.is_empty())
    }

    /// Claims due runs, those too of programs among `others` that are dead.
    async fn claim(&self, others: &[String], most: u32) -> Result<Vec<ClaimedRun>, Error> {
        let is_alone = matches!(self.warehouse(), Warehouse::Sqlite(_));
        let dead = others.iter().filter(|other| is_alone || Holder::is_dead(other));
        let dead: Vec<String> = dead.cloned().collect();
        self.warehouse()
            .claim_runs(&self.account, self.holder.as_str(), LEASE, &dead, most)
            .await
    }

    async fn go_on(&self, run: ClaimedRun) {
        let end = match self.rules.iter().find(|rule| rule.name == run.rule) {
            None => Some(RunEnd::Over {
                state: RunState::Dead,
                problem: Some(RULE_GONE.to_owned()),
            }),
            Some(rule) => {
                let execution = Execution {
                    rule,
                    run: &run,
                    tools: &self.tools,
                    clock: &self.clock,
                    holder: self.holder.as_str(),
                };
                match AssertUnwindSafe(Box::pin(execution.go_on())).catch_unwind().await {
                    Ok(Ok(end)) => end,
                    Ok(Err(error)) => {
                        // Claimed as it is, it is gone on with when the claim has run out.
                        tracing::warn!(automation.rule = run.rule, %error, "a run waits for the warehouse");
                        return;
                    }
                    Err(_) => Some(RunEnd::Over {
                        state: RunState::Dead,
                        problem: Some("a step broke off; please report this".to_owned()),
                    }),
                }
            }
        };
        let Some(end) = end else { return };
        let ended = self
            .warehouse()
            .end_run(&self.account, &run.id, self.holder.as_str(), &end)
            .await;
        if let Err(error) = ended {
            tracing::warn!(automation.rule = run.rule, %error, "how a run ended could not be stored");
        }
    }
}

/// What a rule would make of something, without effects.
#[derive(Clone, Debug)]
pub struct Rehearsed {
    /// Whether it would run at all, and if not, why.
    pub verdict: Result<(), String>,
    /// What each step would do.
    pub steps: Vec<Value>,
}

/// Asks a rule about something that is written down: an object with `event`, the name of what happened, and as many of
/// `message`, `conversation`, `contact` and `messages` as it reads.
pub async fn rehearse(rule: &Rule, event: &Value, tools: &Tools, clock: &SharedClock) -> Rehearsed {
    let refused = |why: String| Rehearsed {
        verdict: Err(why),
        steps: Vec::new(),
    };
    let name = event["event"].as_str().or_else(|| event["event"]["name"].as_str());
    let Some(happening) = name.and_then(Happening::of_name) else {
        let known = Happening::ALL.map(Happening::name).join(", ");
        return refused(format!("`event` must name what happened, one of: {known}"));
    };
    if !rule.on.contains(&happening) {
        return refused(format!("the rule is not asked about {}", happening.name()));
    }
    let mut known = json!({"event": {"name": happening.name(), "data": event["data"]}});
    for name in ["conversation", "contact", "message", "messages"] {
        known[name] = event[name].clone();
    }
    if known["messages"].is_null() {
        known["messages"] = json!([]);
    }
    match rule.when.as_ref().map_or(Ok(true), |when| when.holds(&known)) {
        Ok(true) => {}
        Ok(false) => return refused("its condition does not hold".to_owned()),
        Err(problem) => return refused(format!("`when`: {problem}")),
    }
    let now = clock.now();
    let steps = Box::pin(rehearse_steps(rule, &known, tools, now)).await;
    Rehearsed {
        verdict: if rule.is_open(now) {
            Ok(())
        } else {
            Err("it is outside the rule's hours now; within them:".to_owned())
        },
        steps,
    }
}
