//! From a row as the server wrote it to a [`Record`].

use serde_json::value::RawValue;

use super::canonical;
use super::members::{Kind, Members, text};
use super::{Contact, Conversation, Message, Record, Rejected};
use crate::allai::Listing;

impl Record {
    /// Reads a row of `listing`. Fails only if it is not an object with a usable `id`; whatever else is odd about it
    /// ends up in `extra`.
    pub fn decode(listing: &Listing, raw: &RawValue) -> Result<Self, Rejected> {
        match listing {
            Listing::Contacts => Contact::decode(raw).map(Self::Contact),
            Listing::Conversations | Listing::ContactConversations { .. } => {
                Conversation::decode(raw).map(Self::Conversation)
            }
            Listing::Messages { conversation_id } => Message::decode(conversation_id, raw).map(Self::Message),
        }
    }
}

impl Contact {
    /// Reads a row of `/contacts`; fails only without a usable `id`.
    pub fn decode(raw: &RawValue) -> Result<Self, Rejected> {
        let (id, mut members) = open(raw)?;
        Ok(Self {
            id,
            name: members.text("name"),
            email: members.text("email"),
            phone: members.text("phone"),
            tags: members.json("tags", Kind::Array),
            custom_fields: members.json("custom_fields", Kind::Object),
            created_at: members.time("created_at"),
            updated_at: members.time("updated_at"),
            content_hash: canonical::hash_of(&members),
            extra: members.rest(),
        })
    }
}

impl Conversation {
    /// Reads a row of `/conversations`; fails only without a usable `id`.
    pub fn decode(raw: &RawValue) -> Result<Self, Rejected> {
        let (id, mut members) = open(raw)?;
        let visitor = members.json("visitor", Kind::Object);
        let of_visitor = |name| text(Members::parse(visitor.as_deref()?)?.get(name)?);
        Ok(Self {
            id,
            chatbot_id: members.text("chatbot_id"),
            contact_id: members.text("contact_id"),
            visitor_name: of_visitor("name"),
            visitor_email: of_visitor("email"),
            visitor,
            channel: members.text("channel"),
            status: members.text("status"),
            resolution: members.text("resolution"),
            metadata: members.json("metadata", Kind::Object),
            created_at: members.time("created_at"),
            updated_at: members.time("updated_at"),
            closed_at: members.time("closed_at"),
            content_hash: canonical::hash_of(&members),
            extra: members.rest(),
        })
    }
}

impl Message {
    /// Reads a row of `/conversations/{id}/messages`, of the conversation given; fails only without a usable `id`.
    pub fn decode(conversation_id: &str, raw: &RawValue) -> Result<Self, Rejected> {
        let (id, mut members) = open(raw)?;
        // A different id is the server's mistake: the list that was asked for decides, and `extra` keeps the other.
        members.take_if_text("conversation_id", conversation_id);
        let sent_at = ["timestamp", "sent_at", "created_at"]
            .into_iter()
            .find_map(|name| members.time(name));
        Ok(Self {
            id,
            conversation_id: conversation_id.to_owned(),
            role: members.text("role"),
            kind: members.text("type"),
            content: members.text("content"),
            confidence: members.number("confidence"),
            sources: members.json("sources", Kind::Array),
            sent_at,
            content_hash: canonical::hash_of(&members),
            extra: members.rest(),
        })
    }
}

fn open(raw: &RawValue) -> Result<(String, Members<'_>), Rejected> {
    let rejected = |reason: &str| Rejected {
        id: None,
        reason: reason.to_owned(),
        raw: raw.to_owned(),
    };
    if Kind::of(raw) != Kind::Object {
        return Err(rejected("the row is not an object"));
    }
    let mut members = Members::parse(raw).ok_or_else(|| rejected("a member's name is not valid Unicode"))?;
    let id = members
        .id()
        .map_err(|reason| rejected(&format!("the row is not usable: {reason}")))?;
    Ok((id, members))
}

#[cfg(test)]
mod tests;
