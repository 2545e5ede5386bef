//! Which rules want something of what happened.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::facts::Facts;
use super::happening::Happening;
use super::rule::Rule;
use crate::schedule::delta;
use crate::warehouse::{Error, NewRun, RunState, Subject, Trigger, Warehouse};

/// The runs that rules want of a trigger; a rule that cannot be asked says why in a run that is skipped. It is `now` here, and
/// `server_now` by the API's clock.
pub(super) async fn decide(
    rules: &[&Rule],
    warehouse: &Warehouse,
    account: &str,
    trigger: &Trigger,
    now: DateTime<Utc>,
    server_now: DateTime<Utc>,
) -> Result<Vec<NewRun>, Error> {
    if !rules
        .iter()
        .any(|rule| rule.on.iter().any(|on| on.subject() == trigger.subject))
    {
        return Ok(Vec::new());
    }
    let Some(facts) = Facts::of(warehouse, account, trigger).await? else {
        return Ok(Vec::new());
    };
    if is_ours(warehouse, account, &facts).await? {
        return Ok(Vec::new());
    }
    let mut runs = Vec::new();
    for rule in rules {
        let Some(happening) = rule.is_about(&facts.happenings) else {
            continue;
        };
        let max_age = delta(rule.max_age);
        let is_old = |at: DateTime<Utc>, now: DateTime<Utc>| now - at > max_age;
        if is_old(trigger.noted_at, now) || happened_at(&facts).is_some_and(|at| is_old(at, server_now)) {
            continue;
        }
        let mut known = facts.known.clone();
        known["event"]["name"] = happening.name().into();
        let verdict = match rule.when.as_ref().map(|when| when.holds(&known)) {
            None | Some(Ok(true)) => hindrance(rule, warehouse, account, &facts, now).await?,
            Some(Ok(false)) => continue,
            Some(Err(problem)) => Some(format!("`when`: {problem}")),
        };
        runs.push(NewRun {
            id: Uuid::now_v7().to_string(),
            rule: rule.name.clone(),
            event: happening.name().to_owned(),
            trigger: once(trigger, happening),
            conversation_id: facts.conversation_id.clone(),
            contact_id: facts.contact_id.clone(),
            state: if verdict.is_some() {
                RunState::Skipped
            } else {
                RunState::Pending
            },
            dry: rule.dry_run,
            problem: verdict,
            facts: known.to_string(),
        });
    }
    Ok(runs)
}

/// For what can happen to a subject but once, the version does not matter: a row that is tombstoned and comes back is not new.
fn once(trigger: &Trigger, happening: Happening) -> Trigger {
    let is_once = matches!(
        happening,
        Happening::MessageReceived
            | Happening::MessageSent
            | Happening::ConversationStarted
            | Happening::ContactCreated
    );
    let mut trigger = trigger.clone();
    if is_once {
        happening.name().clone_into(&mut trigger.version);
    }
    trigger
}

/// Why a rule whose condition holds is not to run.
async fn hindrance(
    rule: &Rule,
    warehouse: &Warehouse,
    account: &str,
    facts: &Facts,
    now: DateTime<Utc>,
) -> Result<Option<String>, Error> {
    if !rule.is_open(now) {
        return Ok(Some("it is outside the rule's hours".to_owned()));
    }
    let volume = warehouse
        .run_volume(account, &rule.name, now - TimeDelta::hours(1), &facts.conversation_id)
        .await?;
    if volume.runs >= u64::from(rule.max_per_hour) {
        tracing::warn!(
            automation.rule = rule.name,
            automation.account = account,
            "the rule has had its {} runs in this hour and rests",
            rule.max_per_hour
        );
        return Ok(Some(format!(
            "the rule has had its {} runs in an hour",
            rule.max_per_hour
        )));
    }
    let cooldown = delta(rule.cooldown);
    let is_resting = volume.last_in_conversation.is_some_and(|last| last > now - cooldown);
    Ok(is_resting.then(|| "the rule rests in this conversation after it was at work there".to_owned()))
}

/// When it happened, if the API says.
fn happened_at(facts: &Facts) -> Option<DateTime<Utc>> {
    facts.known["message"]["sent_at"].as_str()?.parse().ok()
}

/// Whether a step of ours made it happen: that is not to make rules go round in circles.
async fn is_ours(warehouse: &Warehouse, account: &str, facts: &Facts) -> Result<bool, Error> {
    let sent = facts.happenings.contains(&Happening::MessageSent);
    let changed = facts
        .happenings
        .iter()
        .any(|happening| happening.subject() == Subject::Contact);
    let of_step = |text: Option<String>| text.and_then(|text| serde_json::from_str::<Value>(&text).ok());
    if sent {
        let steps = warehouse
            .steps_about(account, "reply", &facts.conversation_id, "")
            .await?;
        let message = &facts.known["message"];
        return Ok(steps.into_iter().any(|(input, output)| {
            let said = of_step(input).is_some_and(|input| {
                let text = input["text"].as_str().map(str::trim);
                text.is_some() && text == message["content"].as_str().map(str::trim)
            });
            said || of_step(output).is_some_and(|output| output["id"].is_string() && output["id"] == message["id"])
        }));
    }
    if changed && let Some(contact) = &facts.contact_id {
        let steps = warehouse.steps_about(account, "contact", "", contact).await?;
        let at = facts.known["contact"]["updated_at"].as_str().and_then(parsed);
        return Ok(at.is_some()
            && steps.into_iter().any(|(_, output)| {
                of_step(output).is_some_and(|output| output["updated_at"].as_str().and_then(parsed) == at)
            }));
    }
    Ok(false)
}

fn parsed(text: &str) -> Option<DateTime<Utc>> {
    text.parse().ok()
}
