//! A rule: what it is asked about, when it holds, and what it does.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};
use minijinja::Environment;
use serde_json::Value;

use super::condition::Condition;
use super::facts;
use super::happening::Happening;
use super::step::{self, Ground, Step};
use super::template;
use crate::config::{self, Config, Hours, Misfit};

/// A rule, checked and prepared.
#[derive(Debug)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// The account it belongs to.
    pub account: String,
    /// What it is asked about.
    pub(super) on: Vec<Happening>,
    pub(super) when: Option<Condition>,
    /// What happened longer ago is let be.
    pub(super) max_age: Duration,
    pub(super) cooldown: Duration,
    pub(super) max_per_hour: u32,
    pub(super) dry_run: bool,
    pub(super) hours: Option<Hours>,
    pub(super) steps: Vec<Placed>,
    pub(super) environment: Environment<'static>,
}

/// A step in its place.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) name: String,
    pub(super) when: Option<Condition>,
    pub(super) timeout: Duration,
    /// How often it is tried.
    pub(super) attempts: u32,
    /// Whether the run goes on when it fails.
    pub(super) goes_on: bool,
    pub(super) step: Step,
}

impl Placed {
    /// Whether it is to be done, given what is known.
    pub(super) fn applies(&self, context: &Value) -> Result<bool, String> {
        let holds = self.when.as_ref().map_or(Ok(true), |when| when.holds(context));
        holds.map_err(|problem| format!("`when`: {problem}"))
    }
}

impl Rule {
    /// Whether it changes anything at AllAI.
    pub fn writes_to_allai(&self) -> bool {
        let writes = |placed: &Placed| matches!(placed.step, Step::Reply(_) | Step::Contact(_) | Step::Close(_));
        !self.dry_run && self.steps.iter().any(writes)
    }

    /// Checks and prepares what a section says.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub fn new(section: &config::Automation, config: &Config) -> Result<Self, Vec<Misfit>> {
        let account = config.account(section.account.as_deref()).map(|(name, _)| name);
        let mut misfits = Vec::new();
        let on = happenings(&section.on, &mut misfits);
        let when = section.when.as_deref().and_then(|source| {
            Condition::new(source, &facts::NAMES)
                .map_err(|problem| misfits.push(Misfit::new(&["when"], problem, "")))
                .ok()
        });
        let environment = template::environment();
        let ground = Ground {
            environment: &environment,
            config,
            account,
        };
        let mut steps: Vec<Placed> = Vec::new();
        if section.steps.is_empty() {
            misfits.push(Misfit::new(
                &["steps"],
                "does nothing",
                "add a step: [[automations.steps]] with do = \"reply\", for one",
            ));
        }
        for (index, table) in section.steps.iter().enumerate() {
            match step::read(index, &table.0, &steps, ground) {
                Ok(step) => steps.push(step),
                Err(wrong) => misfits.extend(wrong.into_iter().map(|mut misfit| {
                    misfit.key.splice(0..0, ["steps".to_owned(), index.to_string()]);
                    misfit
                })),
            }
        }
        if !misfits.is_empty() {
            return Err(misfits);
        }
        Ok(Self {
            name: section.name.clone(),
            account: account.unwrap_or_default().to_owned(),
            on,
            when,
            max_age: section.max_age,
            cooldown: section.cooldown,
            max_per_hour: section.max_per_hour,
            dry_run: section.dry_run,
            hours: section.hours.clone(),
            steps,
            environment,
        })
    }

    /// Whether it is asked about one of these: the first.
    pub(super) fn is_about(&self, happenings: &[Happening]) -> Option<Happening> {
        self.on.iter().copied().find(|happening| happenings.contains(happening))
    }

    /// Whether it is at work at that time.
    pub(super) fn is_open(&self, at: DateTime<Utc>) -> bool {
        let Some(hours) = &self.hours else { return true };
        let local = at.with_timezone(&hours.timezone.0);
        let time = local.time().with_nanosecond(0).unwrap_or_else(|| local.time());
        let (today, yesterday) = (local.weekday(), local.weekday().pred());
        if hours.from <= hours.to {
            hours.days.contains(&today) && time >= hours.from && time < hours.to
        } else {
            (hours.days.contains(&today) && time >= hours.from) || (hours.days.contains(&yesterday) && time < hours.to)
        }
    }

    /// What its steps can read: what is known, and what earlier steps gave, by their names. A step that bears the name of
    /// something known, as one that changes the contact does if it is not given another, is not in the way of that.
    pub(super) fn context(known: &Value, outputs: &BTreeMap<String, Value>) -> Value {
        let mut context = known.clone();
        if let Some(members) = context.as_object_mut() {
            let outputs = outputs
                .iter()
                .filter(|(name, _)| !facts::NAMES.contains(&name.as_str()));
            members.extend(outputs.map(|(name, output)| (name.clone(), output.clone())));
        }
        context
    }
}

fn happenings(names: &[String], misfits: &mut Vec<Misfit>) -> Vec<Happening> {
    let known = || Happening::ALL.map(Happening::name).join(", ");
    if names.is_empty() {
        misfits.push(Misfit::new(
            &["on"],
            "names nothing to be asked about",
            format!("use some of: {}", known()),
        ));
    }
    let mut on = Vec::new();
    for (index, name) in names.iter().enumerate() {
        match Happening::of_name(name) {
            Some(happening) => on.push(happening),
            None => misfits.push(Misfit::new(
                &["on", &index.to_string()],
                "not something that a rule can be asked about",
                format!("use one of: {}", known()),
            )),
        }
    }
    on
}

#[cfg(test)]
mod tests {
    use chrono::NaiveTime;

    use super::*;

    #[test]
    fn hours_are_those_of_their_zone_and_may_go_past_midnight() {
        let time = |text| NaiveTime::parse_from_str(text, "%H:%M").unwrap();
        let rule = |from, to| Rule {
            name: "r".to_owned(),
            account: "a".to_owned(),
            on: vec![Happening::MessageReceived],
            when: None,
            max_age: Duration::from_mins(1),
            cooldown: Duration::ZERO,
            max_per_hour: 1,
            dry_run: false,
            hours: Some(Hours {
                from: time(from),
                to: time(to),
                ..Hours::default()
            }),
            steps: Vec::new(),
            environment: template::environment(),
        };
        let is_open = |rule: &Rule, at: &str| rule.is_open(at.parse().unwrap());
        let office = rule("09:00", "18:00");
        // Bucharest is two hours ahead in winter; 2026-01-19 is a Monday.
        for (at, open) in [
            ("2026-01-19T06:59:59Z", false),
            ("2026-01-19T07:00:00Z", true),
            ("2026-01-19T15:59:59Z", true),
            ("2026-01-19T16:00:00Z", false),
            ("2026-01-18T10:00:00Z", false),
        ] {
            assert_eq!(is_open(&office, at), open, "{at}");
        }
        let night = rule("22:00", "06:00");
        for (at, open) in [
            ("2026-01-19T20:00:00Z", true),
            ("2026-01-20T03:59:00Z", true),
            ("2026-01-20T04:00:00Z", false),
            // Friday's night goes on into Saturday; Sunday's is none.
            ("2026-01-24T03:00:00Z", true),
            ("2026-01-19T03:00:00Z", false),
        ] {
            assert_eq!(is_open(&night, at), open, "{at}");
        }
    }
}
