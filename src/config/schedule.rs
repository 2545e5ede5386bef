//! Cron expressions and time zones.
//!
//! The cron crate is stricter and stranger than what people write: it wants six fields, counts weekdays from Sunday = 1, and
//! takes "the 1st *and* a Monday" where crontab(5) takes "or". What could be read in two ways is refused here. `@hourly` and
//! its like stand for an expression; so does `@every 15m`, counted from the full hour or from midnight.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{duration, words};

/// A cron expression: second, minute, hour, day of month, month, day of week.
#[derive(Clone, JsonSchema)]
#[schemars(transparent)]
pub struct Schedule {
    text: String,
    #[schemars(skip)]
    cron: cron::Schedule,
}

impl Schedule {
    /// The expression as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parsed expression. Evaluate it on civil time: it knows nothing of time zones.
    pub const fn cron(&self) -> &cron::Schedule {
        &self.cron
    }
}

/// Why a text is not a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotASchedule {
    /// Neither five nor six fields.
    #[error(
        "expected a cron expression: second, minute, hour, day of month, month, day of week, such as \"0 */15 * * * *\" \
         (or five fields, without the second)"
    )]
    Fields,
    /// A shorthand that is none.
    #[error(
        "not a shorthand: there are @hourly, @daily, @weekly, @monthly, @yearly, and @every with a duration that divides a \
         minute, an hour or a day evenly, such as \"@every 15m\""
    )]
    Shorthand,
    /// A weekday given as a number.
    #[error("weekdays by number mean different days to different programs; write names, such as \"Mon-Fri\"")]
    NumericWeekday,
    /// Both day fields are restricted.
    #[error("restricts both the day of month and the day of week; leave one of them `*`")]
    BothDays,
    /// The parser refuses a field.
    #[error("not a cron expression: a field is out of range or misspelt; write e.g. \"0 */15 * * * *\"")]
    Syntax,
    /// No such moment exists.
    #[error("never fires: there is no such date; write e.g. \"0 30 2 * * *\" for every night at 02:30")]
    Never,
}

impl FromStr for Schedule {
    type Err = NotASchedule;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expression = match text.trim().strip_prefix('@') {
            Some(shorthand) => expand(shorthand).ok_or(NotASchedule::Shorthand)?,
            None => text.to_owned(),
        };
        let mut fields: Vec<&str> = expression.split_whitespace().collect();
        if fields.len() == 5 {
            fields.insert(0, "0");
        }
        let [_, _, _, day, _, weekday] = fields[..] else {
            return Err(NotASchedule::Fields);
        };
        // The step of "*/2" is a number, not a day.
        let names_number = |part: &str| {
            part.split('/')
                .next()
                .unwrap_or(part)
                .contains(|c: char| c.is_ascii_digit())
        };
        if weekday.split(',').any(names_number) {
            return Err(NotASchedule::NumericWeekday);
        }
        let free = |field: &str| matches!(field, "*" | "?");
        if !free(day) && !free(weekday) {
            return Err(NotASchedule::BothDays);
        }
        let cron: cron::Schedule = fields.join(" ").parse().map_err(|_| NotASchedule::Syntax)?;
        if cron.after(&DateTime::<Utc>::UNIX_EPOCH).next().is_none() {
            return Err(NotASchedule::Never);
        }
        Ok(Self {
            text: text.trim().to_owned(),
            cron,
        })
    }
}

/// The expression that a shorthand, without its `@`, stands for.
fn expand(shorthand: &str) -> Option<String> {
    let expression = match shorthand {
        "hourly" => "0 0 * * * *",
        "daily" | "midnight" => "0 0 0 * * *",
        "weekly" => "0 0 0 * * Sun",
        "monthly" => "0 0 0 1 * *",
        "yearly" | "annually" => "0 0 0 1 1 *",
        other => {
            let every = duration::parse(other.strip_prefix("every ")?).ok()?;
            let seconds = every.as_secs();
            if seconds == 0 || every.subsec_nanos() > 0 {
                return None;
            }
            return match seconds {
                1..60 if 60 % seconds == 0 => Some(format!("*/{seconds} * * * * *")),
                60..3_600 if seconds % 60 == 0 && 3_600 % seconds == 0 => Some(format!("0 */{} * * * *", seconds / 60)),
                3_600..=86_400 if seconds % 3_600 == 0 && 86_400 % seconds == 0 => match seconds / 3_600 {
                    24 => Some("0 0 0 * * *".to_owned()),
                    hours => Some(format!("0 0 */{hours} * * *")),
                },
                _ => None,
            };
        }
    };
    Some(expression.to_owned())
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = words::text(deserializer, "a cron expression such as \"0 */15 * * * *\"")?;
        text.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// An IANA time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub struct Timezone(#[schemars(with = "String")] pub Tz);

impl Default for Timezone {
    /// Bucharest: AllAI is a Romanian service, and nights are where its users sleep.
    fn default() -> Self {
        Self(Tz::Europe__Bucharest)
    }
}

impl<'de> Deserialize<'de> for Timezone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        words::parsed(
            deserializer,
            "an IANA time zone such as \"Europe/Bucharest\" or \"UTC\"",
        )
        .map(Self)
    }
}

impl Serialize for Timezone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_fields_mean_second_zero() {
        let schedule: Schedule = "*/15 * * * *".parse().unwrap();
        assert_eq!(schedule.as_str(), "*/15 * * * *");
        assert_eq!(schedule.cron().source(), "0 */15 * * * *");
    }

    #[test]
    fn shorthands_stand_for_expressions() {
        for (text, expression) in [
            ("@hourly", "0 0 * * * *"),
            ("@daily", "0 0 0 * * *"),
            ("@weekly", "0 0 0 * * Sun"),
            ("@every 10s", "*/10 * * * * *"),
            ("@every 1m", "0 */1 * * * *"),
            (" @every 15m ", "0 */15 * * * *"),
            ("@every 2h", "0 0 */2 * * *"),
            ("@every 1d", "0 0 0 * * *"),
        ] {
            let schedule: Schedule = text.parse().unwrap();
            assert_eq!(schedule.cron().source(), expression, "{text}");
            assert_eq!(schedule.as_str(), text.trim());
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (text, why) in [
            ("", NotASchedule::Fields),
            ("@reboot", NotASchedule::Shorthand),
            ("@every 7m", NotASchedule::Shorthand),
            ("@every 90m", NotASchedule::Shorthand),
            ("@every 0s", NotASchedule::Shorthand),
            ("@every 1500ms", NotASchedule::Shorthand),
            ("@every day", NotASchedule::Shorthand),
            ("0 0 0 * * * 2030", NotASchedule::Fields),
            ("0 0 9 * * 1-5", NotASchedule::NumericWeekday),
            ("0 0 9 1 * Mon", NotASchedule::BothDays),
            ("0 0 99 * * *", NotASchedule::Syntax),
            ("0 0 0 30 2 *", NotASchedule::Never),
        ] {
            assert_eq!(text.parse::<Schedule>().unwrap_err(), why, "{text}");
        }
        for text in ["0 0 9 * * Mon-Fri", "0 0 0 29 2 *", "0 9 * * Mon,Wed", "0 30 2 1 * ?"] {
            assert!(text.parse::<Schedule>().is_ok(), "{text}");
        }
    }
}
