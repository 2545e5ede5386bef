//! The rows of the account, and how each is written as JSON.

use chrono::{DateTime, FixedOffset, SecondsFormat, Utc};
use serde_json::Value;

use super::members::{Members, text};
use super::store::Row;
use crate::sandbox::options::TimeFormat;

/// A number that identifies a row within the sandbox; later rows have larger ones.
pub(in crate::sandbox) type Key = u64;

/// When a row was created and last changed; `version` breaks ties between changes at the same instant.
#[derive(Clone, Copy, Debug)]
pub(in crate::sandbox) struct Stamps {
    pub(in crate::sandbox) created: DateTime<Utc>,
    pub(in crate::sandbox) updated: DateTime<Utc>,
    pub(in crate::sandbox) version: u64,
}

/// What makes a row odd: members it has (in JSON) instead of, or beside, the proper ones, and members it lacks.
#[derive(Clone, Debug, Default)]
pub(in crate::sandbox) struct Oddity {
    pub(in crate::sandbox) set: Vec<(String, String)>,
    pub(in crate::sandbox) twice: Vec<(String, String)>,
    pub(in crate::sandbox) remove: Vec<String>,
}

#[derive(Clone, Debug)]
pub(in crate::sandbox) struct Contact {
    pub(in crate::sandbox) key: Key,
    pub(in crate::sandbox) id: String,
    pub(in crate::sandbox) name: Option<String>,
    pub(in crate::sandbox) email: Option<String>,
    pub(in crate::sandbox) phone: Option<String>,
    pub(in crate::sandbox) tags: Vec<String>,
    /// A JSON object.
    pub(in crate::sandbox) custom_fields: String,
    pub(in crate::sandbox) language: &'static str,
    pub(in crate::sandbox) stamps: Stamps,
    pub(in crate::sandbox) odd: Option<Box<Oddity>>,
}

#[derive(Clone, Debug)]
pub(in crate::sandbox) struct Conversation {
    pub(in crate::sandbox) key: Key,
    pub(in crate::sandbox) id: String,
    pub(in crate::sandbox) chatbot_id: String,
    pub(in crate::sandbox) contact_id: Option<String>,
    pub(in crate::sandbox) visitor_name: Option<String>,
    pub(in crate::sandbox) visitor_email: Option<String>,
    pub(in crate::sandbox) language: &'static str,
    pub(in crate::sandbox) channel: String,
    pub(in crate::sandbox) status: String,
    pub(in crate::sandbox) resolution: Option<String>,
    /// A JSON object.
    pub(in crate::sandbox) metadata: String,
    pub(in crate::sandbox) topic: &'static str,
    pub(in crate::sandbox) score: Option<u8>,
    pub(in crate::sandbox) closed: Option<DateTime<Utc>>,
    pub(in crate::sandbox) stamps: Stamps,
    pub(in crate::sandbox) odd: Option<Box<Oddity>>,
}

#[derive(Clone, Debug)]
pub(in crate::sandbox) struct Message {
    pub(in crate::sandbox) id: String,
    pub(in crate::sandbox) role: String,
    pub(in crate::sandbox) kind: String,
    pub(in crate::sandbox) content: String,
    pub(in crate::sandbox) confidence: Option<f64>,
    pub(in crate::sandbox) sources: Vec<String>,
    pub(in crate::sandbox) sent: DateTime<Utc>,
    /// How long the bot took; known for its answers.
    pub(in crate::sandbox) response_ms: Option<u32>,
    pub(in crate::sandbox) odd: Option<Box<Oddity>>,
}

/// What is known of a contact that is to be created, or changes of one that exists: `None` leaves a member as it is.
#[derive(Clone, Debug, Default)]
pub struct ContactDraft {
    /// Full name.
    pub name: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// Telephone number.
    pub phone: Option<String>,
    /// Labels.
    pub tags: Option<Vec<String>>,
    /// A JSON object.
    pub custom_fields: Option<Value>,
}

/// What is known of a conversation that is to be created.
#[derive(Clone, Debug, Default)]
pub struct ConversationDraft {
    /// The chatbot; without one, the account's first.
    pub chatbot_id: Option<String>,
    /// The contact the visitor is known as.
    pub contact_id: Option<String>,
    /// The visitor's name.
    pub visitor_name: Option<String>,
    /// The visitor's e-mail address.
    pub visitor_email: Option<String>,
    /// `website`, `whatsapp`, `messenger` or `api` (which is the default).
    pub channel: Option<String>,
    /// A JSON object.
    pub metadata: Option<Value>,
}

/// A message that is to be added to a conversation.
#[derive(Clone, Debug)]
pub struct MessageDraft {
    /// `visitor`, `bot` or `agent`.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Row for Contact {
    fn key(&self) -> Key {
        self.key
    }
    fn id(&self) -> &str {
        &self.id
    }
    fn stamps(&self) -> Stamps {
        self.stamps
    }
    fn group(&self) -> Option<&str> {
        None
    }
}

impl Row for Conversation {
    fn key(&self) -> Key {
        self.key
    }
    fn id(&self) -> &str {
        &self.id
    }
    fn stamps(&self) -> Stamps {
        self.stamps
    }
    fn group(&self) -> Option<&str> {
        Some(&self.status)
    }
}

impl Contact {
    pub(in crate::sandbox) fn members(&self, format: TimeFormat) -> Members {
        let mut members = Members::default();
        members.push("id", text(&self.id));
        members.push("name", optional(self.name.as_deref()));
        members.push("email", optional(self.email.as_deref()));
        members.push("phone", optional(self.phone.as_deref()));
        members.push("tags", list(&self.tags));
        members.push("custom_fields", self.custom_fields.clone());
        members.push("language", text(self.language));
        members.push("created_at", time(self.stamps.created, format));
        members.push("updated_at", time(self.stamps.updated, format));
        members.distort(self.odd.as_deref());
        members
    }
}

impl Conversation {
    pub(in crate::sandbox) fn members(&self, format: TimeFormat) -> Members {
        let mut visitor = Members::default();
        visitor.push("name", optional(self.visitor_name.as_deref()));
        visitor.push("email", optional(self.visitor_email.as_deref()));
        visitor.push("language", text(self.language));
        let mut members = Members::default();
        members.push("id", text(&self.id));
        members.push("chatbot_id", text(&self.chatbot_id));
        members.push("contact_id", optional(self.contact_id.as_deref()));
        members.push("visitor", visitor.to_json());
        members.push("channel", text(&self.channel));
        members.push("status", text(&self.status));
        members.push("resolution", optional(self.resolution.as_deref()));
        members.push("metadata", self.metadata.clone());
        if let Some(score) = self.score {
            members.push("satisfaction", format!("{{\"score\":{score}}}"));
        }
        members.push("created_at", time(self.stamps.created, format));
        members.push("updated_at", time(self.stamps.updated, format));
        members.push(
            "closed_at",
            self.closed.map_or_else(|| "null".to_owned(), |at| time(at, format)),
        );
        members.distort(self.odd.as_deref());
        members
    }
}

impl Message {
    pub(in crate::sandbox) fn members(&self, format: TimeFormat) -> Members {
        let mut members = Members::default();
        members.push("id", text(&self.id));
        members.push("role", text(&self.role));
        members.push("type", text(&self.kind));
        members.push("content", text(&self.content));
        if let Some(confidence) = self.confidence {
            members.push("confidence", confidence.to_string());
            members.push("sources", list(&self.sources));
        }
        members.push("timestamp", time(self.sent, format));
        members.distort(self.odd.as_deref());
        members
    }
}

/// A timestamp as a JSON string.
pub(in crate::sandbox) fn time(at: DateTime<Utc>, format: TimeFormat) -> String {
    let written = match format {
        TimeFormat::Seconds => at.to_rfc3339_opts(SecondsFormat::Secs, true),
        TimeFormat::Micros => at.to_rfc3339_opts(SecondsFormat::Micros, true),
        TimeFormat::Offset => match FixedOffset::east_opt(2 * 3600) {
            Some(offset) => at.with_timezone(&offset).to_rfc3339_opts(SecondsFormat::Secs, false),
            None => at.to_rfc3339(),
        },
    };
    format!("\"{written}\"")
}

fn optional(value: Option<&str>) -> String {
    value.map_or_else(|| "null".to_owned(), text)
}

fn list(values: &[String]) -> String {
    let items: Vec<String> = values.iter().map(|value| text(value)).collect();
    format!("[{}]", items.join(","))
}
