//! What a rule would do, without doing it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::happening::Happening;
use super::rule::Rule;
use super::step::{Of, failed};
use super::tools::Tools;
use crate::clock::SharedClock;

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

/// What each step would do.
async fn rehearse_steps(rule: &Rule, known: &Value, tools: &Tools, now: DateTime<Utc>) -> Vec<Value> {
    let mut outputs: BTreeMap<String, Value> = BTreeMap::new();
    let mut told = Vec::new();
    for (position, placed) in rule.steps.iter().enumerate() {
        let context = Rule::context(known, &outputs);
        let mut line = json!({"step": placed.name, "do": placed.step.kind()});
        match placed.applies(&context) {
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
