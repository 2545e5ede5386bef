//! What the payload of an event tells: what no list of the API has, and what a contact can be found by.
//!
//! AllAI's guide names the events and not their members: every usual name is taken, and what fits no column stays in
//! `extra`.

use serde_json::value::RawValue;

use super::event::{contact_of, conversation_of};
use crate::allai::model::Members;
use crate::warehouse::{ClaimedEvent, Entity, Payload, PayloadKind};

/// Members that say which event it is, and not what it tells.
const ENVELOPE: [&str; 7] = ["id", "event", "type", "timestamp", "created_at", "data", "payload"];

/// The members that tell what happened: of `data`, else of `payload`, else those beside what says which event it is. An error
/// if what should be an object is none.
pub(super) fn payload<'a>(body: &Members<'a>) -> Result<Members<'a>, String> {
    let is_there = |raw: &&RawValue| raw.get() != "null";
    let mut unreadable = None;
    for name in ["data", "payload"] {
        if let Some(raw) = body.get(name).filter(is_there) {
            match Members::parse(raw) {
                Some(payload) => return Ok(payload),
                None => unreadable = unreadable.or(Some(name)),
            }
        }
    }
    match unreadable {
        Some(name) => Err(format!("its `{name}` is no JSON object")),
        None => Ok(body.without(&ENVELOPE)),
    }
}

/// What an event tells that is kept in a table of its own, if it is of a kind that does. An error if it is, and nothing can be
/// read that is worth keeping.
pub(super) fn told(entity: &Entity, event: &ClaimedEvent) -> Result<Option<Payload>, String> {
    let Some(name @ ("satisfaction.rated" | "handoff.requested" | "lead.created" | "lead.qualified")) =
        event.event.as_deref()
    else {
        return Ok(None);
    };
    let unreadable = |problem: &str| format!("what this {name} tells cannot be read: {problem}");
    let raw: Option<&RawValue> = serde_json::from_str(&event.body).ok();
    let body = raw
        .and_then(Members::parse)
        .ok_or_else(|| unreadable("it is no JSON object"))?;
    let mut payload = payload(&body).map_err(|problem| unreadable(&problem))?;
    let ids = Ids::of(&payload, entity);
    let kind = match name {
        "satisfaction.rated" => rating(&mut payload).ok_or_else(|| {
            unreadable("it has neither the score of a rating, which is a number, nor a comment; look at its body in webhook_events")
        })?,
        "handoff.requested" => PayloadKind::Handoff {
            reason: first_text(&mut payload, &["reason", "handoff_reason", "message", "comment"]),
        },
        _ => {
            let scores = ["score", "lead_score", "qualification_score"];
            PayloadKind::Lead {
                event: name.to_owned(),
                score: first_number(&mut payload, &scores)
                    .or_else(|| first_number(&mut inside(&payload, &["lead"])?, &scores)),
            }
        }
    };
    take_if_known(&mut payload, "conversation_id", ids.conversation.as_deref());
    take_if_known(&mut payload, "contact_id", ids.contact.as_deref());
    Ok(Some(Payload {
        event_id: event.id.clone(),
        kind,
        conversation_id: ids.conversation,
        contact_id: ids.contact,
        at: event.occurred_at.unwrap_or(event.received_at),
        extra: payload.rest(),
    }))
}

/// A rating, if it has a score or a comment.
fn rating(payload: &mut Members<'_>) -> Option<PayloadKind> {
    let scores = ["score", "rating", "value", "stars", "satisfaction_score"];
    let comments = ["comment", "feedback", "text", "message"];
    let mut inner = inside(payload, &["rating", "satisfaction"]);
    let score = first_number(payload, &scores).or_else(|| first_number(inner.as_mut()?, &scores));
    let comment = first_text(payload, &comments).or_else(|| first_text(inner.as_mut()?, &comments));
    (score.is_some() || comment.is_some()).then_some(PayloadKind::Rating { score, comment })
}

/// The first of these members that is an object; it stays in `extra` as well.
fn inside<'a>(payload: &Members<'a>, names: &[&str]) -> Option<Members<'a>> {
    names.iter().find_map(|name| Members::parse(payload.get(name)?))
}

/// What a contact may be found by, by what its event says: the best first.
pub(super) fn searches(contact_id: &str, event: &ClaimedEvent) -> Vec<String> {
    let mut found = Vec::new();
    let raw: Option<&RawValue> = serde_json::from_str(&event.body).ok();
    let body = raw.and_then(Members::parse);
    if let Some(mut payload) = body.and_then(|body| payload(&body).ok()) {
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
            due_later: None,
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
            let told = told(entity, &event(name, data)).unwrap().unwrap();
            assert_eq!(told.kind, kind, "{data}");
            assert_eq!(told.extra.as_deref().map(RawValue::get), extra, "{data}");
        }
        assert!(matches!(
            told(&conversation, &event("message.sent", r#"{"score":1}"#)),
            Ok(None)
        ));
        assert!(told(&conversation, &event("satisfaction.rated", "[]")).is_err());
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
