//! A conversation between a visitor and a chatbot.

use chrono::{DateTime, Utc};

use super::{ContentHash, Json};

/// A row of `/conversations`.
#[derive(Clone, Debug)]
pub struct Conversation {
    /// The server's id.
    pub id: String,
    /// The chatbot that answers.
    pub chatbot_id: Option<String>,
    /// The contact the visitor is known as.
    pub contact_id: Option<String>,
    /// `visitor.name`.
    pub visitor_name: Option<String>,
    /// `visitor.email`.
    pub visitor_email: Option<String>,
    /// The whole `visitor` object.
    pub visitor: Option<Json>,
    /// `website`, `whatsapp`, `messenger`, `api`, …
    pub channel: Option<String>,
    /// `active`, `closed`, …
    pub status: Option<String>,
    /// How it ended, e.g. `resolved_by_bot`.
    pub resolution: Option<String>,
    /// Free-form data given at creation, a JSON object.
    pub metadata: Option<Json>,
    /// When the conversation started.
    pub created_at: Option<DateTime<Utc>>,
    /// When it last changed.
    pub updated_at: Option<DateTime<Utc>>,
    /// When it was closed.
    pub closed_at: Option<DateTime<Utc>>,
    /// Every member that has no column or does not fit it; `None` if there is none.
    pub extra: Option<Json>,
    /// Fingerprint of the whole row.
    pub content_hash: ContentHash,
}
