//! What a webhook's body says: which event it is, and what it is about.
//!
//! From the contract: `{"id"?, "event"|"type", "timestamp"|"created_at"?, "data"|"payload": {…}}`. The event's types and
//! what they mean are those of AllAI's guide; of types it does not name, whatever names a conversation or a contact is
//! taken at its word.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Utc};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::payload::payload;
use crate::allai::model::Members;
use crate::warehouse::{Entity, NewEvent};

/// An id of an event, a conversation or a contact that is longer is none: no database could look it up.
const LONGEST_ID: usize = 255;
/// What is longer is no name of an event.
const LONGEST_NAME: usize = 100;
/// Before a body that is not text.
const ENCODED: &str = "base64:";

/// The events of AllAI's guide.
pub const KNOWN: [&str; 8] = [
    "conversation.started",
    "conversation.ended",
    "message.received",
    "message.sent",
    "lead.created",
    "lead.qualified",
    "handoff.requested",
    "satisfaction.rated",
];

/// Reads a body whose signature was found right. A body of which nothing can be made is an event, too: with its problem.
pub fn read(account: &str, body: &[u8], received_at: DateTime<Utc>) -> NewEvent {
    let mut event = NewEvent {
        account: account.to_owned(),
        id: String::new(),
        event: None,
        entity: Entity::Event(String::new()),
        occurred_at: None,
        received_at,
        body: String::new(),
        problem: None,
        passed_on: false,
    };
    // Neither database keeps a NUL in a text.
    match std::str::from_utf8(body) {
        Ok(text) if !text.contains('\0') => {
            text.clone_into(&mut event.body);
            event.problem = fill(&mut event, text).err();
        }
        _ => {
            event.body = format!("{ENCODED}{}", BASE64.encode(body));
            event.problem = Some("the body is not text in UTF-8; it is kept in Base64".to_owned());
        }
    }
    if event.id.is_empty() {
        event.id = hex::encode(Sha256::digest(body));
    }
    if matches!(&event.entity, Entity::Event(_)) {
        event.entity = Entity::Event(event.id.clone());
    }
    event
}

fn fill(event: &mut NewEvent, text: &str) -> Result<(), String> {
    let raw: &RawValue = serde_json::from_str(text)
        .map_err(|error| format!("the body is not JSON: line {}, column {}", error.line(), error.column()))?;
    let mut members = Members::parse(raw).ok_or("the body is not a JSON object")?;
    if let Ok(id) = members.id()
        && is_usable(&id, LONGEST_ID)
    {
        event.id = id;
    }
    let name = members.text("event").or_else(|| members.text("type"));
    let name = name.ok_or("the body does not say which event it is: it has neither `event` nor `type`")?;
    if !is_usable(&name, LONGEST_NAME) {
        return Err(format!(
            "the event's name is empty, has control characters, or is longer than {LONGEST_NAME} bytes"
        ));
    }
    event.occurred_at = members.time("timestamp").or_else(|| members.time("created_at"));
    let payload = payload(&members).ok();
    let inside = payload.as_ref().and_then(|payload| entity(&name, payload, true));
    // Some put it beside the payload; the event's own id is not the entity's.
    let entity = inside.or_else(|| entity(&name, &members, false));
    // What these tell is kept whomever it is about.
    let tells_by_itself = ["satisfaction.", "handoff.", "lead."]
        .iter()
        .any(|kind| name.starts_with(kind));
    let tells = tells_by_itself && payload.is_none_or(|payload| payload.len() > 0);
    let is_known = KNOWN.contains(&name.as_str());
    event.event = Some(name);
    match entity {
        Some(entity) => event.entity = entity,
        None if is_known && !tells => {
            return Err("the event does not say which conversation or contact it is about".to_owned());
        }
        None => {}
    }
    Ok(())
}

/// What the payload of an event is about; whether its own `id` is that of what the event is named after.
fn entity(name: &str, payload: &Members<'_>, has_own_id: bool) -> Option<Entity> {
    let conversation = || conversation_of(payload).map(Entity::Conversation);
    let contact = || contact_of(payload).map(Entity::Contact);
    let own = || has_own_id.then(|| id(payload.get("id")?)).flatten();
    match name.split_once('.').map_or(name, |(kind, _)| kind) {
        "conversation" => conversation().or_else(|| own().map(Entity::Conversation)),
        // The payload's own id is the contact's.
        "lead" | "contact" => contact().or_else(|| own().map(Entity::Contact)).or_else(conversation),
        _ => conversation().or_else(contact),
    }
}

/// The conversation that a payload names: as `conversation_id`, as an object or a text `conversation`, or in its message.
pub(super) fn conversation_of(payload: &Members<'_>) -> Option<String> {
    let of_message = || {
        Members::parse(payload.get("message")?)
            .and_then(|message| id_of(&message, "conversation_id", &["conversation"]))
    };
    id_of(payload, "conversation_id", &["conversation"])
        .or_else(|| payload.get("conversationId").and_then(id))
        .or_else(|| payload.get("conversation").and_then(id))
        .or_else(of_message)
}

/// The contact that a payload names.
pub(super) fn contact_of(payload: &Members<'_>) -> Option<String> {
    id_of(payload, "contact_id", &["contact", "lead"])
        .or_else(|| payload.get("contactId").and_then(id))
        .or_else(|| payload.get("contact").and_then(id))
}

/// The member of this name, or else `id` of one of the objects.
fn id_of(payload: &Members<'_>, member: &str, objects: &[&str]) -> Option<String> {
    payload.get(member).and_then(id).or_else(|| {
        objects.iter().find_map(|object| {
            let object = Members::parse(payload.get(object)?)?;
            id(object.get("id")?)
        })
    })
}

/// A usable id: a text that is not blank, or a whole number.
fn id(raw: &RawValue) -> Option<String> {
    let id = match serde_json::from_str(raw.get()).ok()? {
        serde_json::Value::String(text) => text,
        serde_json::Value::Number(number) if number.is_i64() || number.is_u64() => number.to_string(),
        _ => return None,
    };
    is_usable(&id, LONGEST_ID).then_some(id)
}

fn is_usable(text: &str, longest: usize) -> bool {
    !text.trim().is_empty() && text.len() <= longest && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> DateTime<Utc> {
        "2026-01-19T10:30:00Z".parse().unwrap()
    }

    fn event(body: &str) -> NewEvent {
        read("main", body.as_bytes(), at())
    }

    #[test]
    fn each_event_of_the_guide_says_what_it_is_about() {
        let conversation = |id: &str| Entity::Conversation(id.to_owned());
        let contact = |id: &str| Entity::Contact(id.to_owned());
        for (name, data, entity) in [
            (
                "conversation.started",
                r#"{"id":"c1","contact_id":"p1"}"#,
                conversation("c1"),
            ),
            ("conversation.ended", r#"{"conversation_id":"c1"}"#, conversation("c1")),
            (
                "message.received",
                r#"{"id":"m1","conversation_id":"c1"}"#,
                conversation("c1"),
            ),
            (
                "message.sent",
                r#"{"id":"m1","conversation":{"id":17}}"#,
                conversation("17"),
            ),
            ("lead.created", r#"{"id":"p1","email":"a@b.ro"}"#, contact("p1")),
            ("lead.qualified", r#"{"id":"l1","contact_id":"p1"}"#, contact("p1")),
            (
                "lead.created",
                r#"{"contact":{"id":"p1"},"conversation_id":"c1"}"#,
                contact("p1"),
            ),
            (
                "handoff.requested",
                r#"{"conversation_id":"c1","reason":"x"}"#,
                conversation("c1"),
            ),
            (
                "satisfaction.rated",
                r#"{"conversation_id":"c1","score":5}"#,
                conversation("c1"),
            ),
            (
                "ticket.opened",
                r#"{"id":"t1","conversation_id":"c1"}"#,
                conversation("c1"),
            ),
            (
                "message.sent",
                r#"{"message":{"id":"m1","conversation_id":"c1"}}"#,
                conversation("c1"),
            ),
            ("message.sent", r#"{"conversation":"c1"}"#, conversation("c1")),
            ("satisfaction.rated", r#"{"conversationId":"c1"}"#, conversation("c1")),
        ] {
            for (what, payload) in [("event", "data"), ("type", "payload")] {
                let body = format!(r#"{{"id":"e1","{what}":"{name}","{payload}":{data}}}"#);
                let read = event(&body);
                assert_eq!(read.entity, entity, "{body}");
                assert_eq!((read.id.as_str(), read.problem.as_deref()), ("e1", None), "{body}");
                assert_eq!(read.event.as_deref(), Some(name));
                assert_eq!(read.body, body);
            }
        }
    }

    #[test]
    fn an_event_without_an_id_is_known_by_its_body() {
        let body = r#"{"type":"ticket.opened","created_at":"2026-01-19T10:29:59Z"}"#;
        let read = event(body);
        assert_eq!(read.id, hex::encode(Sha256::digest(body)));
        assert_eq!(read.entity, Entity::Event(read.id.clone()));
        assert_eq!(read.occurred_at, Some(at() - chrono::TimeDelta::seconds(1)));
        assert_eq!(read.problem, None);
        assert_ne!(event(r#"{"type":"ticket.opened"}"#).id, read.id);
    }

    #[test]
    fn what_tells_something_by_itself_is_no_problem_whomever_it_is_about() {
        let beside = event(r#"{"id":"e1","event":"satisfaction.rated","conversation_id":"c9","data":{"score":4}}"#);
        assert_eq!(beside.entity, Entity::Conversation("c9".to_owned()));
        let alone = event(r#"{"id":"e1","event":"satisfaction.rated","data":{"score":4}}"#);
        assert_eq!((alone.entity, alone.problem), (Entity::Event("e1".to_owned()), None));
    }

    #[test]
    fn what_nothing_can_be_made_of_is_kept_with_the_reason() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        let deep_inside = format!(r#"{{"event":"conversation.ended","data":{{"x":{deep}}}}}"#);
        let long_id = format!(
            r#"{{"event":"conversation.ended","data":{{"id":"{}"}}}}"#,
            "x".repeat(3_000)
        );
        for body in [
            "",
            "lead",
            "[1]",
            "null",
            r#"{"data":{}}"#,
            r#"{"event":"  "}"#,
            r#"{"event":"lead.created"}"#,
            r#"{"event":"conversation.ended","data":{"id":null}}"#,
            r#"{"event":"message.received","data":{"id":"m1"}}"#,
            deep.as_str(),
            deep_inside.as_str(),
            long_id.as_str(),
        ] {
            let read = event(body);
            assert!(read.problem.is_some(), "{body:.80}");
            assert!(read.body == body);
            assert!(read.id.len() <= LONGEST_ID && !read.id.is_empty());
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_kept_in_base64() {
        for body in [&b"\xff\xfe{}"[..], b"{\"event\":\"a\0\"}"] {
            let read = read("main", body, at());
            let kept = read.body.strip_prefix(ENCODED).unwrap();
            assert_eq!(BASE64.decode(kept).unwrap(), body);
            assert!(read.problem.unwrap().contains("UTF-8"));
        }
    }

    #[test]
    fn an_id_that_no_database_could_look_up_is_none() {
        let id = "x".repeat(300);
        let read = event(&format!(r#"{{"id":"{id}","type":"ticket.opened"}}"#));
        assert_eq!(read.id.len(), 64);
    }
}
