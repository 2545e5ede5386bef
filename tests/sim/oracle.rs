//! What must hold of the mirror, judged by the model alone.

use std::collections::BTreeSet;

use crate::mirror::{Columns, Presence, columns, table};
use crate::model::{Account, Kind, Row, Value, number_of};

use chrono::{DateTime, NaiveDateTime};

type Key = (String, String);

/// What the model remembers of a row of the mirror: the row, and the conversation it belongs to if it is a message.
fn remembered<'a>(account: &'a Account, kind: Kind, key: &Key) -> Option<(&'a Row, Option<&'a Row>)> {
    let number = number_of(&key.1, kind)?;
    Some(match kind {
        Kind::Contact => (account.contacts.rows.get(number)?, None),
        Kind::Conversation => (account.conversations.rows.get(number)?, None),
        Kind::Message => {
            let conversation = account.conversation(&key.0)?;
            (
                account.messages[conversation.number].rows.get(number)?,
                Some(conversation),
            )
        }
    })
}

/// The rows that live and are shown, by their key in the mirror; a message lives if its conversation does.
fn living(account: &Account, kind: Kind) -> Vec<(Key, &Row, Option<&Row>)> {
    let plain = |row: &Row| (String::new(), row.id());
    match kind {
        Kind::Contact => account.contacts.shown().map(|row| (plain(row), row, None)).collect(),
        Kind::Conversation => account
            .conversations
            .living()
            .map(|row| (plain(row), row, None))
            .collect(),
        Kind::Message => account
            .living_messages()
            .map(|(number, row)| {
                let conversation = &account.conversations.rows[number];
                ((conversation.id(), row.id()), row, Some(conversation))
            })
            .collect(),
    }
}

fn lives_since(row: &Row, conversation: Option<&Row>, event: u64) -> bool {
    row.lives_since(event) && conversation.is_none_or(|row| row.lives_since(event))
}

/// The rows a run has tombstoned: how many; an error if one of them was there from `since` on.
pub(crate) fn tombstones(
    account: &Account,
    kind: Kind,
    before: &Presence,
    after: &Presence,
    since: u64,
) -> Result<u64, String> {
    let mut count = 0;
    for (key, held) in after {
        if held.live || before.get(key).is_some_and(|held| !held.live) {
            continue;
        }
        count += 1;
        if remembered(account, kind, key).is_some_and(|(row, conversation)| lives_since(row, conversation, since)) {
            return Err(format!(
                "{} {key:?} was there all the time (since event {since}, now {}) and was marked as deleted",
                table(kind),
                account.event
            ));
        }
    }
    Ok(count)
}

/// Nothing in the mirror is made up.
pub(crate) fn nothing_made_up(account: &Account, kind: Kind, after: &Presence) -> Result<(), String> {
    for (key, held) in after {
        let known = remembered(account, kind, key);
        let possible = known.is_some_and(|(row, _)| held.version.is_some_and(|version| version <= row.version()));
        if !possible {
            return Err(format!("{} {key:?} never was like {held:?}", table(kind)));
        }
    }
    Ok(())
}

/// What a run promises of the rows that were there from `since` to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// They are in the mirror, live.
    There,
    /// Likewise, with content that they had then or later.
    Current,
}

/// Whether every row that was there from `since` to now is in the mirror as promised.
pub(crate) fn nothing_lost(
    account: &Account,
    kind: Kind,
    after: &Presence,
    since: u64,
    promise: Promise,
) -> Result<(), String> {
    for (key, row, conversation) in living(account, kind) {
        if !lives_since(row, conversation, since) {
            continue;
        }
        let what = match after.get(&key) {
            None => "is missing".to_owned(),
            Some(held) if !held.live => "is marked as deleted".to_owned(),
            Some(held) if promise == Promise::Current && held.version < Some(row.version_at(since)) => {
                format!(
                    "has the content of version {:?}; it had {} when the run began",
                    held.version,
                    row.version_at(since)
                )
            }
            Some(_) => continue,
        };
        return Err(format!(
            "{} {key:?} was there all the time (since event {since}, now {}) and {what}, after a run that promises it \
             to be {promise:?}",
            table(kind),
            account.event
        ));
    }
    Ok(())
}

/// Every way in which the live rows of the mirror are not those of the account: the account's, …
pub(crate) fn differences(account: &Account, kind: Kind, mirror: &Columns, found: &mut Vec<String>) {
    let name = table(kind);
    for (key, row, _) in living(account, kind) {
        let Some(held) = mirror.get(&key) else {
            found.push(format!("{name} {key:?} is missing"));
            continue;
        };
        for ((column, held), expected) in columns(kind).iter().zip(held).zip(expected(account, row)) {
            if !is_same(held.as_deref(), &expected) {
                found.push(format!(
                    "{name} {key:?}: {column} is {held:?}, the API has {expected:?}"
                ));
            }
        }
    }
}

/// … and those that are the mirror's alone.
pub(crate) fn ghosts(account: &Account, kind: Kind, mirror: &Columns, found: &mut Vec<String>) {
    let name = table(kind);
    let there: BTreeSet<Key> = living(account, kind).into_iter().map(|(key, ..)| key).collect();
    for key in mirror.keys().filter(|key| !there.contains(key)) {
        found.push(format!("{name} {key:?} is live in the mirror, and gone from the API"));
    }
}

/// What the columns of a row should hold, in their order.
fn expected(account: &Account, row: &Row) -> Vec<Value> {
    let members = row.members(account.style);
    let of = |name: &str| {
        let member = members.iter().find(|member| member.0 == name);
        member.map_or(Value::Null, |member| member.1.clone())
    };
    let columns = columns(row.kind);
    columns
        .iter()
        .map(|column| match *column {
            "extra" => {
                let known = |name: &str| columns.contains(&name) || name == "timestamp";
                let rest = members.iter().filter(|member| !known(member.0));
                let rest: Vec<String> = rest
                    .filter_map(|(name, value)| match value {
                        Value::Json(raw) => Some(format!("\"{name}\":{raw}")),
                        _ => None,
                    })
                    .collect();
                Value::Json(format!("{{{}}}", rest.join(",")))
            }
            "visitor_name" => Value::Text(format!("Ana {}", row.number)),
            "visitor_email" => Value::Text(format!("ana{}@exemplu.ro", row.number)),
            "sent_at" => of("timestamp"),
            column => of(column),
        })
        .collect()
}

fn is_same(held: Option<&str>, expected: &Value) -> bool {
    let Some(held) = held else {
        return *expected == Value::Null;
    };
    match expected {
        Value::Null => false,
        Value::Text(text) => held == text,
        Value::Json(raw) => {
            let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
            held == raw || (parse(held).is_some() && parse(held) == parse(raw))
        }
        Value::Number(number) => held.parse::<f64>().is_ok_and(|held| (held - number).abs() < 1e-12),
        Value::Time(seconds) => seconds_of(held) == Some(*seconds),
    }
}

/// A timestamp as either database shows it.
fn seconds_of(text: &str) -> Option<i64> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp());
    }
    let utc = text.strip_suffix("+00")?;
    let time = NaiveDateTime::parse_from_str(utc, "%Y-%m-%d %H:%M:%S").ok()?;
    Some(time.and_utc().timestamp())
}
