//! Whether two bodies under one id are one event.
//!
//! A sender that got no answer sends an event again, and may say when, and for which time: that makes no other event of it.
//! Whatever else differs does, and then none of them is to be lost.

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::{Entity, NewEvent};
use crate::allai::model::{ContentHash, Members};

/// Members that may tell of a delivery alone. AllAI's guide names none, so every usual name is taken.
const OF_A_DELIVERY: [&str; 14] = [
    "timestamp",
    "created_at",
    "sent_at",
    "delivered_at",
    "delivery",
    "delivery_id",
    "delivery_attempt",
    "attempt",
    "attempts",
    "attempt_number",
    "retry",
    "retries",
    "retry_count",
    "retry_number",
];

/// What makes two bodies tell of the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// They are JSON objects with the same members, but for those of a delivery.
    Members(ContentHash),
    /// They are the same text.
    Text([u8; 32]),
}

impl Content {
    pub(super) fn of(body: &str) -> Self {
        let raw: Option<&RawValue> = serde_json::from_str(body).ok();
        match raw.and_then(Members::parse) {
            Some(members) => Self::Members(members.without(&OF_A_DELIVERY).content_hash()),
            None => Self::Text(Sha256::digest(body).into()),
        }
    }

    fn to_hex(self) -> String {
        match self {
            Self::Members(hash) => hex::encode(hash.0),
            Self::Text(hash) => hex::encode(&hash[..16]),
        }
    }
}

/// The event under an id of its own, which is the same whenever it comes.
pub(super) fn with_own_id(event: &NewEvent) -> NewEvent {
    let id = format!("{}~{}", event.id, Content::of(&event.body).to_hex());
    let entity = match &event.entity {
        Entity::Event(_) => Entity::Event(id.clone()),
        fetched => fetched.clone(),
    };
    NewEvent {
        id,
        entity,
        ..event.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_makes_no_other_event_and_all_else_does() {
        let is_same = |one: &str, other: &str| Content::of(one) == Content::of(other);
        let event = r#"{"id":"e1","event":"x","timestamp":1,"data":{"a":1,"b":[1,2]}}"#;
        for same in [
            r#"{"id":"e1","event":"x","timestamp":2,"data":{"a":1,"b":[1,2]}}"#,
            r#"{"event":"x", "id":"e1", "data":{"b":[1, 2],"a":1}, "attempt":3}"#,
        ] {
            assert!(is_same(event, same), "{same}");
        }
        for other in [
            r#"{"id":"e1","event":"y","timestamp":1,"data":{"a":1,"b":[1,2]}}"#,
            r#"{"id":"e1","event":"x","timestamp":1,"data":{"a":1,"b":[2,1]}}"#,
            r#"{"id":"e1","event":"x","timestamp":1,"data":{"a":1,"b":[1,2],"attempt":1}}"#,
            r#"{"id":"e1","event":"x","timestamp":1}"#,
            "e1",
        ] {
            assert!(!is_same(event, other), "{other}");
        }
        assert!(is_same("<html>", "<html>") && !is_same("<html>", "<html> "));
    }
}
