//! What the payload of an event tells: what no list of the API has, and what a contact can be found by.
//!
//! AllAI's guide names the events and not their members: every usual name is taken, and what fits no column stays in
//! `extra`.

use serde_json::value::RawValue;

use super::event::{contact_of, conversation_of};
use crate::allai::model::Members;
use crate::warehouse::{ClaimedEvent, Entity, Payload, PayloadKind};

/// What an event tells that is kept in a table of its own.
pub(super) fn told(entity: &Entity, event: &ClaimedEvent) -> Option<Payload> {
    let name = event.event.as_deref()?;
    let raw: &RawValue = serde_json::from_str(&event.body).ok()?;
    let body = Members::parse(raw)?;
    let mut payload = payload(&body)?;
    let ids = Ids::of(&payload, entity);
    let kind = match name {
        "satisfaction.rated" => PayloadKind::Rating {
            score: first_number(
                &mut payload,
                &["score", "rating", "value", "stars", "satisfaction_score"],
            ),
            comment: first_text(&mut payload, &["comment", "feedback", "text", "message"]),
        },
        "handoff.requested" => PayloadKind::Handoff {
            reason: first_text(&mut payload, &["reason", "handoff_reason", "message", "comment"]),
        },
        "lead.created" | "lead.qualified" => PayloadKind::Lead {
            event: name.to_owned(),
            score: first_number(&mut payload, &["score", "lead_score", "qualification_score"]),
        },
        _ => return None,
    };
    take_if_known(&mut payload, "conversation_id", ids.conversation.as_deref());
    take_if_known(&mut payload, "contact_id", ids.contact.as_deref());
    Some(Payload {
        event_id: event.id.clone(),
        kind,
        conversation_id: ids.conversation,
        contact_id: ids.contact,
        at: event.occurred_at.unwrap_or(event.received_at),
        extra: payload.rest(),
    })
}

/// What a contact may be found by, by what its event says: the best first.
pub(super) fn searches(contact_id: &str, event: &ClaimedEvent) -> Vec<String> {
    let mut found = Vec::new();
    let raw: Option<&RawValue> = serde_json::from_str(&event.body).ok();
    let body = raw.and_then(Members::parse);
    if let Some(mut payload) = body.as_ref().and_then(payload) {
        let inner = ["contact", "lead"].map(|name| payload.get(name).and_then(Members::parse));
        let mut objects: Vec<&mut Members<'_>> = Vec::new();
        objects.push(&mut payload);
        let mut inner: Vec<Members<'_>> = inner.into_iter().flatten().collect();
        objects.extend(inner.iter_mut());
        for name in ["email", "phone", "name"] {
            found.extend(objects.iter_mut().filter_map(|object| object.text(name)));
        }
    }
    found.push(contact_id.to_owned());
    found.retain(|text| !text.trim().is_empty());
    found.dedup();
    found
}

struct Ids {
    conversation: Option<String>,
    contact: Option<String>,
}

impl Ids {
    fn of(payload: &Members<'_>, entity: &Entity) -> Self {
        let (conversation, contact) = match entity {
            Entity::Conversation(id) => (Some(id.clone()), None),
            Entity::Contact(id) => (None, Some(id.clone())),
            Entity::Event(_) => (None, None),
        };
        Self {
            conversation: conversation.or_else(|| conversation_of(payload)),
            contact: contact.or_else(|| contact_of(payload)),
        }
    }
}

fn payload<'a>(body: &Members<'a>) -> Option<Members<'a>> {
    Members::parse(body.get("data").or_else(|| body.get("payload"))?)
}

fn first_number(payload: &mut Members<'_>, names: &[&str]) -> Option<f64> {
    names.iter().find_map(|name| payload.number(name))
}

fn first_text(payload: &mut Members<'_>, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| payload.text(name))
}

/// Takes a member that says no more than a column does.
fn take_if_known(payload: &mut Members<'_>, name: &str, known: Option<&str>) {
    if let Some(known) = known {
        payload.take_if_text(name, known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, data: &str) -> ClaimedEvent {
        let at = "2026-01-19T10:30:00Z".parse().unwrap();
        ClaimedEvent {
            id: "e1".to_owned(),
            event: Some(name.to_owned()),
            occurred_at: None,
            received_at: at,
            body: format!(r#"{{"event":"{name}","data":{data}}}"#),
            attempts: 1,
            crashes: 0,
            is_due: true,
        }
    }

    #[test]
    fn a_payload_is_read_whatever_its_members_are_called() {
        let conversation = Entity::Conversation("c1".to_owned());
        let contact = Entity::Contact("p1".to_owned());
        for (name, data, entity, kind, extra) in [
            (
                "satisfaction.rated",
                r#"{"conversation_id":"c1","score":5,"comment":"bun","at":1}"#,
                &conversation,
                PayloadKind::Rating {
                    score: Some(5.0),
                    comment: Some("bun".to_owned()),
                },
                Some(r#"{"at":1}"#),
            ),
            (
                "satisfaction.rated",
                r#"{"conversation":{"id":"c1"},"rating":"4.5","feedback":null}"#,
                &conversation,
                PayloadKind::Rating {
                    score: Some(4.5),
                    comment: None,
                },
                Some(r#"{"conversation":{"id":"c1"},"rating":"4.5"}"#),
            ),
            (
                "handoff.requested",
                r#"{"conversation_id":"c1","reason":"visitor_asked"}"#,
                &conversation,
                PayloadKind::Handoff {
                    reason: Some("visitor_asked".to_owned()),
                },
                None,
            ),
            (
                "lead.qualified",
                r#"{"contact_id":"p1","lead_score":87}"#,
                &contact,
                PayloadKind::Lead {
                    event: "lead.qualified".to_owned(),
                    score: Some(87.0),
                },
                None,
            ),
        ] {
            let told = told(entity, &event(name, data)).unwrap();
            assert_eq!(told.kind, kind, "{data}");
            assert_eq!(told.extra.as_deref().map(RawValue::get), extra, "{data}");
        }
        assert!(told(&conversation, &event("message.sent", r#"{"score":1}"#)).is_none());
        assert!(told(&conversation, &event("satisfaction.rated", "[]")).is_none());
    }

    #[test]
    fn a_contact_is_searched_by_the_best_that_is_known_of_it() {
        let searched = |data| searches("p1", &event("lead.created", data));
        assert_eq!(
            searched(r#"{"id":"p1","name":"Ana","email":"a@b.ro"}"#),
            ["a@b.ro", "Ana", "p1"]
        );
        assert_eq!(
            searched(r#"{"contact":{"id":"p1","phone":"+40722","email":" "}}"#),
            ["+40722", "p1"]
        );
        assert_eq!(searched("{}"), ["p1"]);
    }
}
