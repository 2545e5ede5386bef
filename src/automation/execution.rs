//! Doing the steps of a run, from where it was.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::rule::{Placed, Rule};
use super::step::{Failure, Of, failed};
use super::tools::Tools;
use crate::clock::SharedClock;
use crate::warehouse::{ClaimedRun, Error, RunEnd, RunState, StepRow, StepState};

/// After how many seconds a step is tried again that was tried once, twice, …
const WAITS: [u64; 6] = [1, 5, 30, 120, 600, 1_800];
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
            let lease = TimeDelta::from_std(placed.timeout + MARGIN).unwrap_or(TimeDelta::MAX);
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
            input: None,
            output: None,
            problem: None,
            started_at: now,
            finished_at: None,
        });
        if before.is_none() {
            match placed.when.as_ref().map_or(Ok(true), |when| when.holds(context)) {
                Ok(true) => {}
                Ok(false) => {
                    row.state = StepState::Skipped;
                    row.finished_at = Some(now);
                    self.store(&row).await?;
                    return Ok(Stepped::On(Value::Null));
                }
                Err(problem) => return self.give_up(placed, row, format!("`when`: {problem}")).await,
            }
        }
        // What it is to do stays as it was when it was first tried.
        let kept = row.input.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let input = match kept.map_or_else(|| placed.step.prepare(&self.rule.environment, context), Ok) {
            Ok(input) => input,
            Err(failure) => return self.give_up(placed, row, failure.problem).await,
        };
        row.input = Some(input.to_string());
        let is_again = row.attempts > 0;
        row.attempts += 1;
        if self.run.dry && placed.step.has_effect() {
            let output = json!({"dry_run": true});
            return self.finish(row, output).await;
        }
        if placed.step.has_effect() {
            self.store(&row).await?;
        }
        let of = Of {
            account: &self.rule.account,
            run_id: &self.run.id,
            position,
            conversation_id: &self.run.conversation_id,
            contact_id: self.run.contact_id.as_deref(),
            is_again,
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
            Err(failure) => match failure.again {
                Some(least) if row.attempts < placed.attempts => {
                    row.problem = Some(shortened(&failure.problem));
                    self.store(&row).await?;
                    let problem = format!("{}: {}", placed.name, failure.problem);
                    Ok(Stepped::End(RunEnd::Later {
                        due_at: now + wait(row.attempts, least),
                        problem: shortened(&problem),
                    }))
                }
                _ => self.give_up(placed, row, failure.problem).await,
            },
        }
    }

    async fn finish(&self, mut row: StepRow, output: Value) -> Result<Stepped, Error> {
        row.state = StepState::Done;
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

/// How long a step waits that was tried so often.
fn wait(attempts: u32, least: Duration) -> TimeDelta {
    let step = usize::try_from(attempts.max(1) - 1).unwrap_or(usize::MAX);
    let seconds = Duration::from_secs(WAITS[step.min(WAITS.len() - 1)]);
    let share = 0.8 + 0.4 * rand::random::<f64>();
    TimeDelta::from_std(seconds.mul_f64(share).max(least)).unwrap_or(TimeDelta::MAX)
}

/// What a rule would do, without doing it.
pub(super) async fn rehearse_steps(rule: &Rule, known: &Value, tools: &Tools, now: DateTime<Utc>) -> Vec<Value> {
    let mut outputs: BTreeMap<String, Value> = BTreeMap::new();
    let mut told = Vec::new();
    for (position, placed) in rule.steps.iter().enumerate() {
        let context = Rule::context(known, &outputs);
        let mut line = json!({"step": placed.name, "do": placed.step.kind()});
        match placed.when.as_ref().map_or(Ok(true), |when| when.holds(&context)) {
            Ok(true) => {}
            Ok(false) => {
                line["skipped"] = true.into();
                outputs.insert(placed.name.clone(), Value::Null);
                told.push(line);
                continue;
            }
            Err(problem) => {
                line["problem"] = problem.into();
                told.push(line);
                return told;
            }
        }
        let input = match placed.step.prepare(&rule.environment, &context) {
            Ok(input) => input,
            Err(failure) => {
                line["problem"] = failure.problem.into();
                told.push(line);
                return told;
            }
        };
        line["input"] = input.clone();
        if placed.step.has_effect() {
            line["would"] = true.into();
            outputs.insert(placed.name.clone(), json!({"dry_run": true}));
            told.push(line);
            continue;
        }
        let of = Of {
            account: &rule.account,
            run_id: "rehearsal",
            position,
            conversation_id: known["conversation"]["id"].as_str().unwrap_or_default(),
            contact_id: known["contact"]["id"].as_str(),
            is_again: false,
            since: now,
        };
        match placed.step.perform(&input, of, tools).await {
            Ok(output) => {
                line["output"] = output.clone();
                outputs.insert(placed.name.clone(), output);
                told.push(line);
            }
            Err(failure) => {
                line["problem"] = failure.problem.clone().into();
                told.push(line);
                if !placed.goes_on {
                    return told;
                }
                outputs.insert(placed.name.clone(), failed(&failure.problem));
            }
        }
    }
    told
}
