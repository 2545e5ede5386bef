//! A message of a conversation.

use chrono::{DateTime, Utc};

use super::{ContentHash, Json};

/// A row of `/conversations/{id}/messages`.
#[derive(Clone, Debug)]
pub struct Message {
    /// The server's id.
    pub id: String,
    /// The conversation it belongs to.
    pub conversation_id: String,
    /// `visitor`, `bot`, `agent`, …
    pub role: Option<String>,
    /// `text`, `image`, … (the member `type`).
    pub kind: Option<String>,
    /// What was said.
    pub content: Option<String>,
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
