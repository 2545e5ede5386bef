//! The records of the API, as the mirror keeps them: one file a resource.
//!
//! Decoding is tolerant: a member may be missing, null, of another type or unknown, and nothing is dropped. What does
//! not fit its column is kept, as it came, under its own name in `extra`; a row without a usable `id` is
//! [`Rejected`].

mod analytics;
mod canonical;
mod contact;
mod conversation;
mod decode;
mod members;
mod message;
mod row;
mod timestamp;

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use analytics::{DailyReport, DayCount, Overview, Satisfaction};
pub use contact::Contact;
pub use conversation::Conversation;
pub(crate) use members::{Members, Name};
pub use message::Message;
pub(crate) use row::Cell;
pub use row::{RawHash, Row};

use super::Resource;

/// A JSON value kept as the server wrote it, digit for digit.
pub type Json = Box<RawValue>;

/// A fingerprint of a row's whole content: the first 128 bits of the SHA-256 of its canonical JSON (members sorted,
/// no insignificant white space). Two equal fingerprints mean an unchanged row.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ContentHash(pub [u8; 16]);

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 32];
        hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str(str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({self})")
    }
}

/// A row that cannot be mirrored, with what is known of it.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// The row's id, where it has a usable one.
    pub id: Option<String>,
    /// Why it was rejected, for a person to read.
    pub reason: String,
    /// The row as the server sent it.
    pub raw: Json,
}

impl Rejected {
    /// When the server says the row was created, if it can be read at all.
    pub fn created_at(&self) -> Option<DateTime<Utc>> {
        #[derive(Deserialize)]
        struct Glance<'a> {
            #[serde(borrow)]
            created_at: &'a RawValue,
        }
        let glance = serde_json::from_str::<Glance<'_>>(self.raw.get()).ok();
        glance.and_then(|glance| timestamp::read(glance.created_at))
    }
}

/// One row of a mirrored list.
#[derive(Clone, Debug)]
pub enum Record {
    /// A row of `/contacts`.
    Contact(Contact),
    /// A row of `/conversations`.
    Conversation(Conversation),
    /// A row of `/conversations/{id}/messages`.
    Message(Message),
}

impl Record {
    /// Which resource the record belongs to.
    pub const fn resource(&self) -> Resource {
        match self {
            Self::Contact(_) => Resource::Contacts,
            Self::Conversation(_) => Resource::Conversations,
            Self::Message(_) => Resource::Messages,
        }
    }

    /// The row's id, unique within the account and the resource.
    pub fn id(&self) -> &str {
        match self {
            Self::Contact(row) => &row.id,
            Self::Conversation(row) => &row.id,
            Self::Message(row) => &row.id,
        }
    }

    /// The fingerprint of the row's content.
    pub const fn content_hash(&self) -> ContentHash {
        match self {
            Self::Contact(row) => row.content_hash,
            Self::Conversation(row) => row.content_hash,
            Self::Message(row) => row.content_hash,
        }
    }

    /// When the server says the row was created (for a message: sent).
    pub const fn created_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Contact(row) => row.created_at,
            Self::Conversation(row) => row.created_at,
            Self::Message(row) => row.sent_at,
        }
    }

    /// When the server says the row was last changed; messages do not say.
    pub const fn updated_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Contact(row) => row.updated_at,
            Self::Conversation(row) => row.updated_at,
            Self::Message(_) => None,
        }
    }
}
