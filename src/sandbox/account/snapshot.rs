//! The whole account as the API would render it, for tests to compare with.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use super::members::Members;
use super::{Account, TimeFormat};

/// The whole account at one moment, in the API's own rendering.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Every contact, in the order of the list.
    pub contacts: Vec<SnapshotRow>,
    /// Every conversation, in the order of the list.
    pub conversations: Vec<SnapshotRow>,
    /// The messages of every conversation as they were said, by the conversation's id.
    pub messages: BTreeMap<String, Vec<SnapshotRow>>,
}

/// A row as the API would render it.
#[derive(Clone, Debug)]
pub struct SnapshotRow {
    /// The row, digit for digit.
    pub json: Box<RawValue>,
}

impl SnapshotRow {
    /// The row's id as text; `None` if it has none that can be used.
    pub fn id(&self) -> Option<String> {
        let members: BTreeMap<String, Box<RawValue>> = serde_json::from_str(self.json.get()).ok()?;
        match serde_json::from_str(members.get("id")?.get()).ok()? {
            Value::String(id) if !id.is_empty() => Some(id),
            Value::Number(id) => Some(id.to_string()),
            _ => None,
        }
    }

    /// The row as a value; `None` if it holds what a value cannot (an odd row may).
    pub fn value(&self) -> Option<Value> {
        serde_json::from_str(self.json.get()).ok()
    }
}

impl Snapshot {
    /// How many messages there are in all.
    pub fn message_count(&self) -> usize {
        self.messages.values().map(Vec::len).sum()
    }
}

impl Account {
    pub(in crate::sandbox) fn snapshot(&self) -> Snapshot {
        let format = self.time_format;
        let of = |key| {
            self.messages(key)
                .iter()
                .map(|message| row(&message.members(format)))
                .collect()
        };
        Snapshot {
            contacts: self
                .contacts
                .iter()
                .map(|contact| row(&contact.members(format)))
                .collect(),
            conversations: self
                .conversations
                .iter()
                .map(|conversation| row(&conversation.members(format)))
                .collect(),
            messages: self
                .conversations
                .iter()
                .map(|row| (row.id.clone(), of(row.key)))
                .collect(),
        }
    }

    pub(in crate::sandbox) const fn time_format(&self) -> TimeFormat {
        self.time_format
    }
}

fn row(members: &Members) -> SnapshotRow {
    let json = RawValue::from_string(members.to_json());
    SnapshotRow {
        json: json.unwrap_or_else(|error| panic!("the sandbox rendered no JSON: {error}")),
    }
}
