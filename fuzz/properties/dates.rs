//! Points in time, in whatever notation.

use allai_sync::allai::model::Contact;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::value::RawValue;

use super::page::storable;

/// A text is a point in time or is kept as it is; and a point in time reads the same however it is written again.
pub(crate) fn hold(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let quoted = serde_json::Value::from(text).to_string();
    let read = read(&quoted);
    if serde_json::from_str::<serde_json::Number>(text).is_ok() {
        assert_eq!(read, self::read(text), "a number, quoted or not");
    }
    let Some(time) = read else { return };
    storable(time);
    let padded = serde_json::Value::from(format!(" {text}\n")).to_string();
    assert_eq!(Some(time), self::read(&padded), "white space around it says nothing");
    for written in [
        time.to_rfc3339_opts(SecondsFormat::Micros, true),
        time.to_rfc3339_opts(SecondsFormat::Nanos, false),
        time.format("%Y-%m-%d %H:%M:%S%.6f").to_string(),
        time.format("%Y-%m-%dT%H:%M:%S%.6f+0000").to_string(),
        time.format("%Y-%m-%d %H:%M:%S%.6f UTC").to_string(),
    ] {
        assert_eq!(Some(time), self::read(&format!("\"{written}\"")), "{written}");
    }
}

/// Reads the JSON of a date as the mirror does; what is no date must stay in `extra`.
fn read(json: &str) -> Option<DateTime<Utc>> {
    let row = RawValue::from_string(format!(r#"{{"id":1,"created_at":{json}}}"#)).expect("the JSON of a row");
    let contact = Contact::decode(&row).expect("a row with an id");
    assert_eq!(contact.created_at.is_none(), contact.extra.is_some(), "{json}");
    contact.created_at
}
