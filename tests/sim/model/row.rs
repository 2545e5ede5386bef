//! A row of the account: what it holds in each of its versions, as JSON and as the warehouse's columns should have it.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat};

use crate::scenario::{Dates, Stamp};

/// Which list a row is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Contact,
    Conversation,
    Message,
}

/// How all rows of an account are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) dates: Dates,
    pub(crate) stamp: Stamp,
    /// One contact in so many is hidden; 0: none.
    pub(crate) hides: u32,
    /// One row in so many is large; 0: none.
    pub(crate) large: u32,
    /// Whether rows that never changed have null for when they last did.
    pub(crate) nulls: bool,
}

/// A member of a row, as the API means it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Text(String),
    /// Valid JSON.
    Json(String),
    Number(f64),
    /// Seconds since 1970.
    Time(i64),
}

#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "separate facts: none of them follows from or excludes another"
)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    /// Its number in the list's memory.
    pub(crate) number: usize,
    /// Where it stands: the list is sorted by it.
    pub(crate) place: u64,
    pub(crate) alive: bool,
    /// The event with which it came, or came back.
    pub(crate) born: u64,
    /// The event with which each version began.
    pub(crate) versions: Vec<u64>,
    /// Seconds since 1970.
    pub(crate) created: i64,
    pub(crate) updated: i64,
    /// A conversation that goes on.
    pub(crate) active: bool,
    /// Takes a place in its list and is not shown.
    pub(crate) hidden: bool,
    /// Fits no page with a row before it.
    pub(crate) large: bool,
    pub(crate) json: String,
}

impl Row {
    pub(crate) fn id(&self) -> String {
        let letter = match self.kind {
            Kind::Contact => 'c',
            Kind::Conversation => 'v',
            Kind::Message => 'm',
        };
        format!("{letter}{}", self.number)
    }

    /// Whether it was there at `event`, and ever since.
    pub(crate) fn lives_since(&self, event: u64) -> bool {
        self.alive && self.born <= event
    }

    pub(crate) fn has_changed(&self) -> bool {
        self.version() > 0
    }

    pub(crate) fn version(&self) -> usize {
        self.versions.len() - 1
    }

    /// The version it had at `event`.
    pub(crate) fn version_at(&self, event: u64) -> usize {
        self.versions.iter().take_while(|began| **began <= event).count().max(1) - 1
    }

    /// All members but the id, in the order in which they are written.
    pub(crate) fn members(&self, style: Style) -> Vec<(&'static str, Value)> {
        let (n, version) = (self.number, self.version());
        let text = |text: String| Value::Text(text);
        let mut members = match self.kind {
            Kind::Contact => vec![
                (
                    "name",
                    if n % 7 == 3 {
                        Value::Null
                    } else {
                        text(format!("Ștefan \"{n}\" Ion\\{version}"))
                    },
                ),
                ("phone", text(format!("+4072{n:07}"))),
                ("tags", Value::Json(format!("[\"lead\",\"v{version}\"]"))),
                (
                    "custom_fields",
                    Value::Json(format!("{{\"company\":\"SRL {n}\",\"score\":{version}}}")),
                ),
            ],
            Kind::Conversation => vec![
                ("chatbot_id", text("cb_1".to_owned())),
                (
                    "contact_id",
                    if n % 3 == 0 {
                        Value::Null
                    } else {
                        text(format!("c{}", n * 2))
                    },
                ),
                (
                    "visitor",
                    Value::Json(format!("{{\"name\":\"Ana {n}\",\"email\":\"ana{n}@exemplu.ro\"}}")),
                ),
                ("channel", text(["website", "whatsapp", "messenger"][n % 3].to_owned())),
                ("status", text(if self.active { "active" } else { "closed" }.to_owned())),
                ("metadata", Value::Json(format!("{{\"page\":\"/p/{version}\"}}"))),
            ],
            Kind::Message => vec![
                ("role", text(if n % 2 == 0 { "visitor" } else { "bot" }.to_owned())),
                ("type", text("text".to_owned())),
                ("content", text(format!("Aveți „{n}”?\n{version}"))),
                (
                    "confidence",
                    if n % 2 == 0 {
                        Value::Null
                    } else {
                        Value::Number(0.5 + f64::from(u32::try_from(version % 4).unwrap_or(0)) / 8.0)
                    },
                ),
                ("sources", Value::Json("[\"kb_1\"]".to_owned())),
            ],
        };
        if self.kind == Kind::Contact && n % 5 != 1 {
            members.insert(1, ("email", text(format!("c{n}@exemplu.ro"))));
        }
        if self.kind == Kind::Conversation && !self.active {
            members.push(("resolution", text("resolved_by_bot".to_owned())));
            if style.dates == Dates::Both {
                members.push(("closed_at", Value::Time(self.updated)));
            }
        }
        if style.dates != Dates::Neither {
            let name = if self.kind == Kind::Message {
                "timestamp"
            } else {
                "created_at"
            };
            members.push((name, Value::Time(self.created)));
        }
        if style.dates == Dates::Both && self.kind != Kind::Message {
            let unsaid = style.nulls && !self.has_changed();
            members.push((
                "updated_at",
                if unsaid { Value::Null } else { Value::Time(self.updated) },
            ));
        }
        // Members without a column.
        members.push(("version", Value::Json(version.to_string())));
        if n % 4 == 0 {
            members.push(("note", Value::Json("{\"b\":[1,2.50],\"a\":null}".to_owned())));
        }
        members
    }

    /// Writes the version it is in.
    pub(crate) fn render(&mut self, style: Style) {
        let mut json = format!("{{\"id\":\"{}\"", self.id());
        for (name, value) in self.members(style) {
            let _ = write!(json, ",\"{name}\":");
            match value {
                Value::Null => json.push_str("null"),
                Value::Text(text) => json.push_str(&serde_json::Value::from(text).to_string()),
                Value::Json(raw) => json.push_str(&raw),
                Value::Number(number) => {
                    let _ = write!(json, "{number}");
                }
                Value::Time(seconds) => json.push_str(&style.stamp.write(seconds)),
            }
        }
        json.push('}');
        self.json = json;
    }
}

impl Stamp {
    fn write(self, seconds: i64) -> String {
        let time = || DateTime::from_timestamp(seconds, 0).unwrap_or_default();
        match self {
            Self::Rfc3339 => format!("\"{}\"", time().to_rfc3339_opts(SecondsFormat::Secs, true)),
            Self::Spaced => time().format("\"%Y-%m-%d %H:%M:%S\"").to_string(),
            Self::UnixSeconds => seconds.to_string(),
            Self::UnixMilliseconds => (seconds * 1000).to_string(),
        }
    }
}
