//! A contact: somebody the chatbot talked to, or a lead.

use chrono::{DateTime, Utc};

use super::{ContentHash, Json};

/// A row of `/contacts`.
#[derive(Clone, Debug)]
pub struct Contact {
    /// The server's id.
    pub id: String,
    /// Full name.
    pub name: Option<String>,
    /// E-mail address, as entered.
    pub email: Option<String>,
    /// Telephone number, as entered.
    pub phone: Option<String>,
    /// Labels, a JSON array of strings.
    pub tags: Option<Json>,
    /// The account's own members, a JSON object.
    pub custom_fields: Option<Json>,
    /// When the contact was created.
    pub created_at: Option<DateTime<Utc>>,
    /// When the contact was last changed.
    pub updated_at: Option<DateTime<Utc>>,
    /// Every member that has no column or does not fit it; `None` if there is none.
    pub extra: Option<Json>,
    /// Fingerprint of the whole row.
    pub content_hash: ContentHash,
}
