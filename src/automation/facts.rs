//! What a rule sees: what happened, and what the mirror knows of it.

use serde_json::{Value, json};

use super::happening::Happening;
use crate::allai::Resource;
use crate::warehouse::{Entity, Error, Subject, Trigger, Warehouse};

/// What conditions and templates can read.
pub(super) const NAMES: [&str; 5] = ["event", "conversation", "contact", "message", "messages"];
/// So many messages of a conversation are seen.
const LAST_MESSAGES: u32 = 20;

/// What is known of something that happened.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// What it is, as rules name it; a change of a contact may be several.
    pub(super) happenings: Vec<Happening>,
    /// The conversation it belongs to; empty if to none.
    pub(super) conversation_id: String,
    /// The contact, if it is known.
    pub(super) contact_id: Option<String>,
    /// What can be read.
    pub(super) known: Value,
}

impl Facts {
    /// What is known of a trigger; `None` if the mirror does not have any more what it is about.
    pub(super) async fn of(warehouse: &Warehouse, account: &str, trigger: &Trigger) -> Result<Option<Self>, Error> {
        match trigger.subject {
            Subject::Message => Self::of_message(warehouse, account, trigger).await,
            Subject::Conversation => Self::of_conversation(warehouse, account, trigger).await,
            Subject::Contact => Self::of_contact(warehouse, account, trigger).await,
            Subject::Event => Self::of_event(warehouse, account, trigger).await,
        }
    }

    async fn of_message(warehouse: &Warehouse, account: &str, trigger: &Trigger) -> Result<Option<Self>, Error> {
        let conversation = trigger.conversation_id.as_str();
        let message = warehouse
            .fact(account, Resource::Messages, Some(conversation), &trigger.id)
            .await?;
        let Some(message) = message.filter(|_| trigger.is_new) else {
            return Ok(None);
        };
        let happening = match message["role"].as_str() {
            Some("visitor" | "user" | "customer") => Happening::MessageReceived,
            _ => Happening::MessageSent,
        };
        let known = json!({"event": {"name": happening.name()}, "message": message});
        Self::around(warehouse, account, vec![happening], conversation, None, known)
            .await
            .map(Some)
    }

    async fn of_conversation(warehouse: &Warehouse, account: &str, trigger: &Trigger) -> Result<Option<Self>, Error> {
        let found = warehouse
            .fact(account, Resource::Conversations, None, &trigger.id)
            .await?;
        let Some(conversation) = found else { return Ok(None) };
        let mut happenings = Vec::new();
        if trigger.is_new {
            happenings.push(Happening::ConversationStarted);
        }
        let is_closed = |status: &Value| status.as_str() == Some("closed");
        if is_closed(&conversation["status"]) {
            let before = warehouse.status_before(account, &trigger.id).await?;
            if trigger.is_new || !before.is_some_and(|before| is_closed(&before)) {
                happenings.push(Happening::ConversationEnded);
            }
        }
        let known = json!({"event": {}});
        Self::around(warehouse, account, happenings, &trigger.id, None, known)
            .await
            .map(Some)
    }

    async fn of_contact(warehouse: &Warehouse, account: &str, trigger: &Trigger) -> Result<Option<Self>, Error> {
        let found = warehouse.fact(account, Resource::Contacts, None, &trigger.id).await?;
        let Some(contact) = found else { return Ok(None) };
        let before = warehouse.tags_before(account, &trigger.id).await?;
        let was_there = |tag: &Value| {
            let before = before.as_ref().and_then(Value::as_array);
            before.is_some_and(|before| before.contains(tag))
        };
        let tags = contact["tags"].as_array().cloned().unwrap_or_default();
        let added: Vec<Value> = tags
            .into_iter()
            .filter(|tag| trigger.is_new || !was_there(tag))
            .collect();
        let mut happenings = vec![if trigger.is_new {
            Happening::ContactCreated
        } else {
            Happening::ContactUpdated
        }];
        if !added.is_empty() {
            happenings.push(Happening::ContactTagged);
        }
        Ok(Some(Self {
            happenings,
            conversation_id: String::new(),
            contact_id: Some(trigger.id.clone()),
            known: json!({"event": {"added_tags": added}, "contact": contact, "conversation": null, "message": null,
                "messages": []}),
        }))
    }

    async fn of_event(warehouse: &Warehouse, account: &str, trigger: &Trigger) -> Result<Option<Self>, Error> {
        let Some((name, entity, body)) = warehouse.event(account, &trigger.id).await? else {
            return Ok(None);
        };
        let happening = name.as_deref().and_then(Happening::of_event);
        let Some(happening) = happening else { return Ok(None) };
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        let data = ["data", "payload"].iter().find_map(|name| body.get(name)).cloned();
        let data = data.unwrap_or_default();
        let told = |name: &str| data[name].as_str().unwrap_or_default().to_owned();
        let (conversation, contact) = match entity {
            Entity::Conversation(id) => (id, told("contact_id")),
            Entity::Contact(id) => (told("conversation_id"), id),
            Entity::Event(_) => (told("conversation_id"), told("contact_id")),
        };
        let known = json!({"event": {"name": happening.name(), "data": data}});
        let contact = (!contact.is_empty()).then_some(contact);
        Self::around(warehouse, account, vec![happening], &conversation, contact, known)
            .await
            .map(Some)
    }

    /// Adds the conversation, its contact and its messages.
    async fn around(
        warehouse: &Warehouse,
        account: &str,
        happenings: Vec<Happening>,
        conversation_id: &str,
        contact_id: Option<String>,
        mut known: Value,
    ) -> Result<Self, Error> {
        let conversation = warehouse
            .fact(account, Resource::Conversations, None, conversation_id)
            .await?;
        let of_conversation = || Some(conversation.as_ref()?["contact_id"].as_str()?.to_owned());
        let contact_id = contact_id.or_else(of_conversation);
        let contact = match &contact_id {
            Some(id) => warehouse.fact(account, Resource::Contacts, None, id).await?,
            None => None,
        };
        let messages = if conversation_id.is_empty() {
            Vec::new()
        } else {
            warehouse.last_messages(account, conversation_id, LAST_MESSAGES).await?
        };
        if known.get("message").is_none() {
            known["message"] = Value::Null;
        }
        known["conversation"] = conversation.unwrap_or_default();
        known["contact"] = contact.unwrap_or_default();
        known["messages"] = messages.into();
        Ok(Self {
            happenings,
            conversation_id: conversation_id.to_owned(),
            contact_id,
            known,
        })
    }
}
