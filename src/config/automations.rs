//! `[[automations]]`: rules that act on what happens in an account.

use std::time::Duration;

use chrono::{NaiveTime, Weekday};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::issue::Report;
use super::{Config, KeyPath, OpenTable, Timezone, duration};
use crate::automation::Rule;

/// A rule: when something happens and its condition holds, it does its steps.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Automation {
    /// Its name, unique among the rules.
    pub name: String,
    /// Whether it is at work.
    pub enabled: bool,
    /// The account's name; with one account it need not be given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// What it is asked about: `message.received`, `message.sent`, `conversation.started`, `conversation.ended`, `contact.created`,
    /// `contact.updated`, `contact.tagged`, or an event that webhooks alone tell of: `lead.created`, `lead.qualified`,
    /// `handoff.requested`, `satisfaction.rated`.
    pub on: Vec<String>,
    /// A CEL expression over `event`, `conversation`, `contact`, `message` and `messages`; absent: always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What happened longer ago is let be.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub max_age: Duration,
    /// How long it rests in a conversation after it was at work there.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub cooldown: Duration,
    /// At most so many runs an hour: a rule that goes wild stops there.
    pub max_per_hour: u32,
    /// Whether it has no effects: what it would do is in its runs.
    pub dry_run: bool,
    /// When it is at work; absent: always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
    /// What it does, in order.
    pub steps: Vec<OpenTable>,
}

impl Default for Automation {
    fn default() -> Self {
        Self {
            name: String::new(),
            enabled: true,
            account: None,
            on: Vec::new(),
            when: None,
            max_age: Duration::from_mins(10),
            cooldown: Duration::ZERO,
            max_per_hour: 600,
            dry_run: false,
            hours: None,
            steps: Vec::new(),
        }
    }
}

/// Hours of the week.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Hours {
    /// The days, e.g. `["Mon", "Tue"]`.
    #[serde(deserialize_with = "days", serialize_with = "write_days")]
    #[schemars(with = "Vec<String>")]
    pub days: Vec<Weekday>,
    /// From this time, e.g. `"09:00"`.
    #[serde(deserialize_with = "time", serialize_with = "write_time")]
    #[schemars(with = "String")]
    pub from: NaiveTime,
    /// To this time; an earlier one than `from` is on the next day.
    #[serde(deserialize_with = "time", serialize_with = "write_time")]
    #[schemars(with = "String")]
    pub to: NaiveTime,
    /// The IANA time zone that they are in.
    pub timezone: Timezone,
}

impl Default for Hours {
    fn default() -> Self {
        use Weekday::{Fri, Mon, Thu, Tue, Wed};
        let hour = |hour| NaiveTime::from_hms_opt(hour, 0, 0).unwrap_or_default();
        Self {
            days: vec![Mon, Tue, Wed, Thu, Fri],
            from: hour(9),
            to: hour(18),
            timezone: Timezone::default(),
        }
    }
}

fn days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Weekday>, D::Error> {
    let words = Vec::<String>::deserialize(deserializer)?;
    let day = |word: &String| {
        word.parse()
            .map_err(|_| serde::de::Error::custom("not days of the week, e.g. [\"Mon\", \"Tue\"]"))
    };
    words.iter().map(day).collect()
}

fn write_days<S: serde::Serializer>(days: &[Weekday], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(days.iter().map(ToString::to_string))
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NaiveTime, D::Error> {
    let word = String::deserialize(deserializer)?;
    NaiveTime::parse_from_str(&word, "%H:%M").map_err(|_| serde::de::Error::custom("not a time, e.g. \"09:00\""))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn write_time<S: serde::Serializer>(time: &NaiveTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.format("%H:%M"))
}

pub(super) fn validate(config: &Config, at: &KeyPath, report: &mut Report) {
    let mut names: Vec<&str> = Vec::new();
    for (index, section) in config.automations.iter().enumerate() {
        let at = at.join(index.to_string());
        if section.name.is_empty() && section.on.is_empty() && section.steps.is_empty() {
            report.warn(format!("{at} is empty, and does nothing"));
            continue;
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if section.name.is_empty() {
            report.missing(&at.join("name"), "missing", "add e.g. name = \"stock-answer\"");
        } else if section.name.len() > 64 || !section.name.chars().all(allowed) {
            report.wrong(
                &at.join("name"),
                "not a name for a rule",
                "use 1 to 64 letters, digits, _ and -",
            );
        } else if names.contains(&section.name.as_str()) {
            report.wrong(
                &at.join("name"),
                "another rule has this name",
                "choose another: runs are told apart by it",
            );
        }
        names.push(&section.name);
        config.account_of(section.account.as_deref(), &at, report);
        if section.max_age < Duration::from_secs(1) {
            report.wrong(
                &at.join("max_age"),
                "too short",
                "write at least \"1s\"; \"10m\" is usual",
            );
        }
        if section.max_per_hour == 0 {
            report.wrong(
                &at.join("max_per_hour"),
                "never lets it run",
                "write enabled = false to switch it off",
            );
        }
        if let Err(misfits) = Rule::new(section, config) {
            report.misfits(&at, misfits);
        }
    }
}
