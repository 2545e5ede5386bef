//! The rules at work: what happened is looked at as it is noted, and runs go on as they are due.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::deciding::decide;
use super::execution::Execution;
use super::rule::Rule;
use super::tools::Tools;
use crate::clock::SharedClock;
use crate::metrics;
use crate::schedule::Holder;
use crate::warehouse::{ClaimedRun, Error, RunEnd, RunState, Trigger, Warehouse};

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
/// What becomes of a run whose rule is gone: it can be replayed once there is one again.
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
        let mut others = shared.warehouse().run_holders(&shared.account).await?;
        others.retain(|other| other != shared.holder.as_str());
        let now = shared.clock.now();
        if due.is_some_and(|due| due <= now) || !others.is_empty() {
            for run in shared.claim(others, most).await? {
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
    async fn claim(&self, mut others: Vec<String>, most: u32) -> Result<Vec<ClaimedRun>, Error> {
        let is_alone = matches!(self.warehouse(), Warehouse::Sqlite(_));
        others.retain(|other| is_alone || Holder::is_dead(other));
        self.warehouse()
            .claim_runs(&self.account, self.holder.as_str(), LEASE, &others, most)
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
        metrics::automation_ended(&self.account, &run.rule, &end);
        if let Err(error) = ended {
            tracing::warn!(automation.rule = run.rule, %error, "how a run ended could not be stored");
        }
    }
}
