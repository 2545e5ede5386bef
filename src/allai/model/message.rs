//! A message of a conversation.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{ContentHash, Json};

/// A row of `/conversations/{id}/messages`.
#[derive(Clone, Debug)]
pub struct Message {
    /// The server's id.
    pub id: Arc<str>,
    /// The conversation it belongs to.
    pub conversation_id: Arc<str>,
    /// `visitor`, `bot`, `agent`, …
    pub role: Option<Arc<str>>,
    /// `text`, `image`, … (the member `type`).
    pub kind: Option<Arc<str>>,
    /// What was said.
    pub content: Option<Arc<str>>,
    /// How sure the bot was of its answer, 0 to 1.
    pub confidence: Option<f64>,
    /// The knowledge-base articles an answer came from, a JSON array of strings.
    pub sources: Option<Json>,
    /// When it was sent (the member `timestamp`).
    pub sent_at: Option<DateTime<Utc>>,
    /// Every member that has no column or does not fit it; `None` if there is none.
    pub extra: Option<Json>,
    /// Fingerprint of the whole row.
    pub content_hash: ContentHash,
}
