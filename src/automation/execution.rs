//! Doing the steps of a run, from where it was.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::rule::{Placed, Rule};
use super::step::{Failure, Of, failed};
use super::tools::Tools;
use crate::clock::SharedClock;
use crate::schedule::{delta, retry_wait};
use crate::warehouse::{ClaimedRun, Error, RunEnd, RunState, StepRow, StepState};

/// After how many seconds a step is tried again that was tried once, twice, …
const WAITS: [i64; 6] = [1, 5, 30, 120, 600, 1_800];
/// How long a run is claimed beyond the time that a step may take.
const MARGIN: Duration = Duration::from_mins(1);
/// A problem is kept up to so many bytes.
const LONGEST_PROBLEM: usize = 1_000;

/// A run under way.
pub(super) struct Execution<'a> {
    pub(super) rule: &'a Rule,
    pub(super) run: &'a ClaimedRun,
    pub(super) tools: &'a Tools,
    pub(super) clock: &'a SharedClock,
    pub(super) holder: &'a str,
}

impl Execution<'_> {
    /// Does what is left to do; says how the turn ended. `None`: another program has taken the run over.
    pub(super) async fn go_on(&self) -> Result<Option<RunEnd>, Error> {
        let known: Value = serde_json::from_str(&self.run.facts).unwrap_or_default();
        let done = self.tools.warehouse.steps(&self.rule.account, &self.run.id).await?;
        let mut outputs: BTreeMap<String, Value> = BTreeMap::new();
        for (position, placed) in self.rule.steps.iter().enumerate() {
            let before = done.iter().find(|row| row.position as usize == position);
            if let Some(row) = before.filter(|row| row.state != StepState::Intended) {
                let output = row.output.as_deref().and_then(|text| serde_json::from_str(text).ok());
                outputs.insert(placed.name.clone(), output.unwrap_or_default());
                if row.state == StepState::Failed && !placed.goes_on {
                    return Ok(Some(over(RunState::Dead, row.problem.clone())));
                }
                continue;
            }
            let lease = delta(placed.timeout + MARGIN);
            let warehouse = &self.tools.warehouse;
            if !warehouse
                .prolong_run(&self.rule.account, &self.run.id, self.holder, lease)
                .await?
            {
                return Ok(None);
            }
            let context = Rule::context(&known, &outputs);
            match self.step(position, placed, before, &context).await? {
                Stepped::On(output) => {
                    outputs.insert(placed.name.clone(), output);
                }
                Stepped::End(end) => return Ok(Some(end)),
            }
        }
        Ok(Some(over(RunState::Done, None)))
    }

    async fn step(
        &self,
        position: usize,
        placed: &Placed,
        before: Option<&StepRow>,
        context: &Value,
    ) -> Result<Stepped, Error> {
        let now = self.clock.now();
        let mut row = before.cloned().unwrap_or_else(|| StepRow {
            position: u32::try_from(position).unwrap_or(u32::MAX),
            name: placed.name.clone(),
            kind: placed.step.kind().to_owned(),
            state: StepState::Intended,
            attempts: 0,
            unsure: false,
            input: None,
            output: None,
            problem: None,
            started_at: now,
            finished_at: None,
        });
        if before.is_none() {
            match placed.applies(context) {
                Ok(true) => {}
                Ok(false) => {
                    row.state = StepState::Skipped;
                    row.finished_at = Some(now);
                    self.store(&row).await?;
                    return Ok(Stepped::On(Value::Null));
                }
                Err(problem) => return self.give_up(placed, row, problem).await,
            }
        }
        // What it is to do stays as it was when it was first tried.
        let kept = row.input.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let input = match kept.map_or_else(|| placed.step.prepare(&self.rule.environment, context), Ok) {
            Ok(input) => input,
            Err(failure) => return self.give_up(placed, row, failure.problem).await,
        };
        row.input = Some(input.to_string());
        let was_unsure = row.unsure;
        row.attempts += 1;
        if self.run.dry && placed.step.has_effect() {
            let output = json!({"dry_run": true});
            return self.finish(row, output).await;
        }
        if placed.step.has_effect() {
            row.unsure = true;
            self.store(&row).await?;
        }
        let of = Of {
            account: &self.rule.account,
            run_id: &self.run.id,
            position,
            conversation_id: &self.run.conversation_id,
            contact_id: self.run.contact_id.as_deref(),
            is_again: was_unsure,
            since: row.started_at,
        };
        let performing = placed.step.perform(&input, of, self.tools);
        let performed = tokio::select! {
            performed = performing => performed,
            () = self.clock.sleep(placed.timeout) => Err(Failure::passing(format!(
                "it took longer than {} s", placed.timeout.as_secs_f32()
            ))),
        };
        match performed {
            Ok(output) => self.finish(row, output).await,
            Err(failure) => {
                row.unsure = was_unsure || (failure.unsure && placed.step.has_effect());
                self.try_again(placed, row, failure).await
            }
        }
    }

    /// The step failed: it is tried again later, if that may help.
    async fn try_again(&self, placed: &Placed, mut row: StepRow, failure: Failure) -> Result<Stepped, Error> {
        match failure.again {
            Some(least) if row.attempts < placed.attempts => {
                let least = delta(least);
                row.problem = Some(shortened(&failure.problem));
                self.store(&row).await?;
                let problem = format!("{}: {}", placed.name, failure.problem);
                Ok(Stepped::End(RunEnd::Later {
                    due_at: self.clock.now() + retry_wait(row.attempts, &WAITS).max(least),
                    problem: shortened(&problem),
                }))
            }
            _ => self.give_up(placed, row, failure.problem).await,
        }
    }

    async fn finish(&self, mut row: StepRow, output: Value) -> Result<Stepped, Error> {
        row.state = StepState::Done;
        row.unsure = false;
        row.output = Some(output.to_string());
        row.problem = None;
        row.finished_at = Some(self.clock.now());
        self.store(&row).await?;
        Ok(Stepped::On(output))
    }

    /// The step failed for good.
    async fn give_up(&self, placed: &Placed, mut row: StepRow, problem: String) -> Result<Stepped, Error> {
        let problem = shortened(&problem);
        let output = failed(&problem);
        row.state = StepState::Failed;
        row.output = Some(output.to_string());
        row.problem = Some(problem.clone());
        row.finished_at = Some(self.clock.now());
        self.store(&row).await?;
        tracing::warn!(
            automation.rule = self.rule.name,
            automation.account = self.rule.account,
            automation.step = placed.name,
            "a step failed: {problem}"
        );
        if placed.goes_on {
            return Ok(Stepped::On(output));
        }
        let problem = format!("{}: {problem}", placed.name);
        Ok(Stepped::End(over(RunState::Dead, Some(problem))))
    }

    async fn store(&self, row: &StepRow) -> Result<(), Error> {
        self.tools
            .warehouse
            .store_step(&self.rule.account, &self.run.id, row)
            .await
    }
}

/// What came of a step.
enum Stepped {
    /// The run goes on, with this for the steps after it.
    On(Value),
    /// The turn ends.
    End(RunEnd),
}

const fn over(state: RunState, problem: Option<String>) -> RunEnd {
    RunEnd::Over { state, problem }
}

fn shortened(problem: &str) -> String {
    problem[..problem.floor_char_boundary(LONGEST_PROBLEM)].to_owned()
}
