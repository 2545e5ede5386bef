//! What the warehouse holds against what the API has, member by member; an independent reading of the contract.

use std::collections::{BTreeMap, BTreeSet};

use allai_sync::sandbox::{Snapshot, SnapshotRow};
use chrono::{DateTime, NaiveDateTime, Utc};

use super::database::{Database, Row};
use super::json::{Json, Members};

/// How a table's columns stand for a row's members.
struct Table {
    name: &'static str,
    texts: &'static [&'static str],
    numbers: &'static [&'static str],
    arrays: &'static [&'static str],
    objects: &'static [&'static str],
    /// Member and column.
    times: &'static [(&'static str, &'static str)],
}

const CONTACTS: Table = Table {
    name: "contacts",
    texts: &["name", "email", "phone"],
    numbers: &[],
    arrays: &["tags"],
    objects: &["custom_fields"],
    times: &[("created_at", "created_at"), ("updated_at", "updated_at")],
};

const CONVERSATIONS: Table = Table {
    name: "conversations",
    texts: &["chatbot_id", "contact_id", "channel", "status", "resolution"],
    numbers: &[],
    arrays: &[],
    objects: &["visitor", "metadata"],
    times: &[
        ("created_at", "created_at"),
        ("updated_at", "updated_at"),
        ("closed_at", "closed_at"),
    ],
};

const MESSAGES: Table = Table {
    name: "messages",
    texts: &["role", "type", "content"],
    numbers: &["confidence"],
    arrays: &["sources"],
    objects: &[],
    times: &[("timestamp", "sent_at")],
};

/// Every way in which the mirror of an account is not the account.
pub(crate) async fn differences(database: &Database, account: &str, snapshot: &Snapshot) -> Vec<String> {
    let mut found = Vec::new();
    let contacts = Held::read(database, account, &CONTACTS).await;
    contacts.compare(snapshot.contacts.iter().map(|row| (row, None)), &mut found);

    let conversations = Held::read(database, account, &CONVERSATIONS).await;
    conversations.compare(snapshot.conversations.iter().map(|row| (row, None)), &mut found);

    let messages = Held::read(database, account, &MESSAGES).await;
    // A conversation without a usable id cannot be asked for its messages.
    let askable = snapshot.messages.iter().filter(|(id, _)| conversations.knows(id));
    messages.compare(
        askable.flat_map(|(id, rows)| rows.iter().map(move |row| (row, Some(id.as_str())))),
        &mut found,
    );
    found
}

/// Whether a row of a table, or of its history, is what the API had: `json`.
pub(crate) fn is_version(table: &str, row: &Row, json: &str) -> bool {
    let table = [&CONTACTS, &CONVERSATIONS, &MESSAGES]
        .into_iter()
        .find(|known| known.name == table);
    let mut found = Vec::new();
    table.unwrap().compare(&Json::members(json), row, &mut found);
    found.is_empty()
}

/// What the warehouse holds of one resource.
struct Held {
    table: &'static Table,
    rows: BTreeMap<String, Row>,
    quarantine: Vec<Row>,
}

impl Held {
    async fn read(database: &Database, account: &str, table: &'static Table) -> Self {
        let name = table.name;
        let rows = database
            .rows(&format!("SELECT * FROM {name} WHERE account = '{account}'"))
            .await;
        let quarantine = database
            .rows(&format!(
                "SELECT id, reason, raw FROM quarantine WHERE account = '{account}' AND resource = '{name}'"
            ))
            .await;
        Self {
            table,
            rows: rows.into_iter().map(|row| (row.text("id").to_owned(), row)).collect(),
            quarantine,
        }
    }

    /// Whether a row of this id is live, or in quarantine.
    fn knows(&self, id: &str) -> bool {
        self.rows.get(id).is_some_and(|row| row.get("deleted_at").is_none())
            || self.quarantine.iter().any(|bad| bad.get("id") == Some(id))
    }

    fn compare<'a>(&self, truth: impl Iterator<Item = (&'a SnapshotRow, Option<&'a str>)>, found: &mut Vec<String>) {
        let name = self.table.name;
        let mut there = BTreeSet::new();
        for (row, conversation) in truth {
            let members = Json::members(row.json.get());
            let Some(id) = row.id() else {
                self.find_in_quarantine(None, &members, found);
                continue;
            };
            let conversation_is_right =
                |row: &Row| conversation.is_none_or(|conversation| row.text("conversation_id") == conversation);
            match self.rows.get(&id) {
                _ if self.quarantine.iter().any(|bad| bad.get("id") == Some(&id)) => {
                    self.find_in_quarantine(Some(&id), &members, found);
                }
                Some(row) if row.get("deleted_at").is_some() => {
                    found.push(format!("{name} {id} is marked as deleted and exists"));
                }
                Some(row) if conversation_is_right(row) => {
                    let mut of_row = Vec::new();
                    self.table.compare(&members, row, &mut of_row);
                    found.extend(of_row.into_iter().map(|what| format!("{name} {id}: {what}")));
                }
                Some(row) => found.push(format!("{name} {id} is of another conversation: {row:?}")),
                None => found.push(format!("{name} {id} is missing")),
            }
            there.insert(id);
        }
        for (id, row) in &self.rows {
            if row.get("deleted_at").is_none() && !there.contains(id) {
                found.push(format!("{name} {id} is not marked as deleted and is gone from the API"));
            }
        }
    }

    /// What the warehouse cannot hold is in quarantine, whole, with a reason.
    fn find_in_quarantine(&self, id: Option<&str>, members: &Members, found: &mut Vec<String>) {
        let same = |bad: &&Row| bad.get("id") == id && Json::members(bad.text("raw")) == *members;
        match self.quarantine.iter().find(same) {
            Some(bad) if bad.text("reason").is_empty() => found.push(format!("{id:?} has no reason")),
            Some(_) => {}
            None => found.push(format!("{} {id:?} is not in quarantine: {members:?}", self.table.name)),
        }
    }
}

impl Table {
    fn compare(&self, members: &Members, row: &Row, found: &mut Vec<String>) {
        let extra = row.get("extra").map(Json::members).unwrap_or_default();
        let mut in_columns = BTreeSet::from(["id"]);
        // (member, column, whether the column is what the member says, whether it says all of it)
        let mut judge = |member: &'static str, column: &str, right: bool, whole: bool| {
            if !right {
                found.push(format!(
                    "{column} is {:?}, the API has {:?}",
                    row.get(column),
                    members.get(member)
                ));
            }
            if right && whole {
                in_columns.insert(member);
            }
        };
        let null = Json::Null;
        let of = |member: &str| members.get(member).unwrap_or(&null);
        for &name in self.texts {
            let value = of(name);
            let right = row.get(name).map(str::to_owned) == value.text();
            judge(name, name, right, matches!(value, Json::Text(_) | Json::Null));
        }
        for &name in self.numbers {
            let value = of(name);
            let number = match value {
                Json::Number(_) | Json::Text(_) => value.text().and_then(|text| text.parse::<f64>().ok()),
                _ => None,
            };
            let held = row.get(name).map(|text| text.parse::<f64>().unwrap());
            let right = match (held, number) {
                (Some(held), Some(number)) => (held - number).abs() <= number.abs() * 1e-12,
                (held, number) => held.is_none() && number.is_none(),
            };
            judge(name, name, right, matches!(value, Json::Number(_) | Json::Null));
        }
        for &name in self.arrays.iter().chain(self.objects) {
            let fitting = match of(name) {
                value @ Json::Array(_) if self.arrays.contains(&name) => Some(value),
                value @ Json::Object(_) if self.objects.contains(&name) => Some(value),
                _ => None,
            };
            let right = row.get(name).map(Json::parse).as_ref() == fitting;
            judge(name, name, right, fitting.is_some() || *of(name) == Json::Null);
        }
        for &(member, column) in self.times {
            let at = time(of(member));
            judge(
                member,
                column,
                row.time(column) == at,
                at.is_some() || *of(member) == Json::Null,
            );
        }
        for (name, value) in members {
            let in_extra = extra.get(name);
            match (in_columns.contains(name.as_str()), in_extra) {
                (true, None) => {}
                (false, Some(held)) if held == value => {}
                _ => found.push(format!("{name} is {value:?} in the API, and in extra {in_extra:?}")),
            }
        }
        for name in extra.keys().filter(|name| !members.contains_key(*name)) {
            found.push(format!("extra has {name}, the API has not"));
        }
        if self.name == "conversations" {
            for (column, member) in [("visitor_name", "name"), ("visitor_email", "email")] {
                let value = match of("visitor") {
                    Json::Object(visitor) => visitor.get(member).and_then(Json::text),
                    _ => None,
                };
                if row.get(column).map(str::to_owned) != value {
                    found.push(format!("{column} is {:?}, the API has {value:?}", row.get(column)));
                }
            }
        }
    }
}

/// The forms of time that the sandbox sends and that mean something.
fn time(value: &Json) -> Option<DateTime<Utc>> {
    let text = match value {
        Json::Text(text) => text.clone(),
        Json::Number(_) => value.text()?,
        _ => return None,
    };
    if let Ok(time) = DateTime::parse_from_rfc3339(&text) {
        return Some(time.to_utc());
    }
    if let Ok(time) = NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S") {
        return Some(time.and_utc());
    }
    match text.parse::<i64>() {
        Ok(milliseconds) if text.len() >= 12 => DateTime::from_timestamp_millis(milliseconds),
        Ok(seconds) => DateTime::from_timestamp(seconds, 0),
        Err(_) => None,
    }
}
