//! A page of any list, and the reports: from the bytes of an answer to records.

use std::collections::BTreeMap;
use std::fmt::Debug;

use allai_sync::allai::model::{DailyReport, Overview, Record, Rejected, Row, Satisfaction};
use allai_sync::allai::{Listing, Page};
use chrono::{DateTime, Datelike, Timelike, Utc};
use serde_json::value::RawValue;

/// A reason is for people, and no place for the row itself.
const LONGEST_REASON: usize = 200;

/// Every body is a page or is refused; every row of a page is a record or is rejected whole; and what a record says
/// depends on what the row says, not on how it is written.
pub(crate) fn hold(input: &[u8]) {
    let conversation_id = "conv_1".to_owned();
    for listing in [
        Listing::Contacts,
        Listing::Conversations,
        Listing::Messages { conversation_id },
    ] {
        match Page::parse(&listing, input) {
            Ok(page) => page.items.iter().for_each(|row| row_holds(&listing, row)),
            Err(reason) => assert!(reason.len() < LONGEST_REASON, "{reason}"),
        }
    }
    if let Ok(raw) = serde_json::from_slice::<&RawValue>(input) {
        same_again(|| Overview::decode(raw));
        same_again(|| DailyReport::decode(raw));
        same_again(|| Satisfaction::decode(raw));
    }
}

fn row_holds(listing: &Listing, row: &RawValue) {
    let decoded = Record::decode(listing, row);
    glance_agrees(listing, row, &decoded);
    let record = match decoded {
        Ok(record) => record,
        Err(rejected) => {
            assert_eq!(rejected.raw.get(), row.get(), "a rejected row is kept as it came");
            assert!(rejected.reason.len() < LONGEST_REASON, "{}", rejected.reason);
            return;
        }
    };
    assert!(!record.id().trim().is_empty());
    for time in [record.created_at(), record.updated_at()].into_iter().flatten() {
        storable(time);
    }
    same_again(|| Record::decode(listing, row));

    let members: BTreeMap<String, &RawValue> =
        serde_json::from_str(row.get()).expect("what has become a record is an object");
    nothing_is_dropped(&record, &members);

    let rewritten = rewritten(&members);
    let again = Record::decode(listing, &rewritten).expect("another way to write the same row");
    assert_eq!(record.id(), again.id());
    assert_eq!(record.content_hash(), again.content_hash(), "{rewritten}");
    let (record, again) = (without_extra(record), without_extra(again));
    assert_eq!(record, again, "{rewritten}");
}

/// What a glance at a row says of it, decoding it says, too.
fn glance_agrees(listing: &Listing, row: &RawValue, decoded: &Result<Record, Rejected>) {
    match (Row::read(listing, row.to_owned()), decoded) {
        (Ok(glance), Ok(record)) => {
            assert_eq!(glance.id(), record.id());
            assert_eq!(glance.created_at(), record.created_at());
            assert_eq!(glance.updated_at(), record.updated_at());
            assert_eq!(format!("{:?}", glance.record()), format!("{record:?}"));
        }
        (Err(glance), Err(rejected)) => assert_eq!(glance.reason, rejected.reason),
        (glance, _) => panic!("{glance:?} is not {decoded:?}"),
    }
}

/// The same object with its members the other way round, each once, and white space between them.
fn rewritten(members: &BTreeMap<String, &RawValue>) -> Box<RawValue> {
    let members: Vec<String> = members
        .iter()
        .rev()
        .map(|(name, value)| format!("\n\t{} : {value} ", serde_json::Value::from(name.as_str())))
        .collect();
    RawValue::from_string(format!("{{{}}}", members.join(","))).expect("an object again")
}

/// The columns, and what `extra` holds in whatever order.
fn without_extra(mut record: Record) -> (String, BTreeMap<String, String>) {
    let extra = match &mut record {
        Record::Contact(row) => row.extra.take(),
        Record::Conversation(row) => row.extra.take(),
        Record::Message(row) => row.extra.take(),
    };
    (format!("{record:?}"), members_of(extra.as_deref()))
}

fn members_of(extra: Option<&RawValue>) -> BTreeMap<String, String> {
    let Some(extra) = extra else { return BTreeMap::new() };
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(extra.get()).expect("extra is an object");
    members
        .into_iter()
        .map(|(name, value)| (name, value.to_string()))
        .collect()
}

/// Every member that says something is in its column or in `extra`.
fn nothing_is_dropped(record: &Record, members: &BTreeMap<String, &RawValue>) {
    let (columns, extra): (Vec<(&str, bool)>, _) = match record {
        Record::Contact(row) => (
            vec![
                ("name", row.name.is_some()),
                ("email", row.email.is_some()),
                ("phone", row.phone.is_some()),
                ("tags", row.tags.is_some()),
                ("custom_fields", row.custom_fields.is_some()),
                ("created_at", row.created_at.is_some()),
                ("updated_at", row.updated_at.is_some()),
            ],
            &row.extra,
        ),
        Record::Conversation(row) => (
            vec![
                ("chatbot_id", row.chatbot_id.is_some()),
                ("contact_id", row.contact_id.is_some()),
                ("visitor", row.visitor.is_some()),
                ("channel", row.channel.is_some()),
                ("status", row.status.is_some()),
                ("resolution", row.resolution.is_some()),
                ("metadata", row.metadata.is_some()),
                ("created_at", row.created_at.is_some()),
                ("updated_at", row.updated_at.is_some()),
                ("closed_at", row.closed_at.is_some()),
            ],
            &row.extra,
        ),
        Record::Message(row) => (
            vec![
                // The list that was asked for decides, and may agree.
                (
                    "conversation_id",
                    members
                        .get("conversation_id")
                        .is_some_and(|raw| text(raw) == row.conversation_id),
                ),
                ("role", row.role.is_some()),
                ("type", row.kind.is_some()),
                ("content", row.content.is_some()),
                ("confidence", row.confidence.is_some()),
                ("sources", row.sources.is_some()),
                ("timestamp", row.sent_at.is_some()),
                ("sent_at", row.sent_at.is_some()),
                ("created_at", row.sent_at.is_some()),
            ],
            &row.extra,
        ),
    };
    let extra = members_of(extra.as_deref());
    for (name, value) in members {
        let in_column = columns.iter().any(|(column, filled)| column == name && *filled);
        let said_nothing = value.get() == "null" && columns.iter().any(|(column, _)| column == name);
        assert!(
            name == "id" || in_column || said_nothing || extra.contains_key(name),
            "{name} is neither in its column nor in extra"
        );
    }
}

fn text(raw: &RawValue) -> String {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

/// Both databases can hold it.
pub(super) fn storable(time: DateTime<Utc>) {
    assert!((1..=9999).contains(&time.year()), "{time:?}");
    assert_eq!(time.nanosecond() % 1000, 0, "{time:?}");
}

fn same_again<T: Debug>(decode: impl Fn() -> T) {
    assert_eq!(format!("{:?}", decode()), format!("{:?}", decode()));
}
