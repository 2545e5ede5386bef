//! A row as it came, read no further than somebody asks.
//!
//! Most rows of most pages are unchanged. What reading a list takes of each of them, its id, its times and whether it
//! is the very text that was stored, is found in one pass over the text; the members are taken apart only where that
//! text is another one.

use std::fmt;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::members::Kind;
use super::{Json, Record, Rejected, timestamp};
use crate::allai::Listing;

/// A fingerprint of a row's text as the server wrote it: the first 128 bits of a SHA-256. Rows with equal fingerprints
/// are equal; rows that are equal may have several, if the server writes its members now so, now so.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RawHash(pub [u8; 16]);

impl RawHash {
    /// The fingerprint of a row.
    pub fn of(raw: &RawValue) -> Self {
        let digest = Sha256::digest(raw.get());
        let mut hash = [0; 16];
        hash.copy_from_slice(&digest[..16]);
        Self(hash)
    }
}

impl fmt::Debug for RawHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawHash({})", hex::encode(self.0))
    }
}

/// A row of a list with a usable `id`.
#[derive(Clone, Debug)]
pub struct Row {
    listing: Listing,
    raw: Json,
    raw_hash: RawHash,
    id: String,
    created_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
    record: OnceLock<Record>,
    cells: OnceLock<Box<[Cell]>>,
}

/// One column of a row as a database takes it.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Null,
    Text(Arc<str>),
    Number(f64),
}

/// What reading a list takes of a row. Members that occur twice, and ids other than plain texts, are left to the
/// decoder.
#[derive(Deserialize)]
struct Glance<'a> {
    id: &'a str,
    #[serde(borrow)]
    created_at: Option<&'a RawValue>,
    #[serde(borrow)]
    updated_at: Option<&'a RawValue>,
    #[serde(borrow)]
    sent_at: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
}

impl Row {
    /// Takes a row of `listing`. Fails like [`Record::decode`]: only if it is not an object with a usable `id`.
    pub fn read(listing: &Listing, raw: Json) -> Result<Self, Rejected> {
        match serde_json::from_str::<Glance<'_>>(raw.get()) {
            // An array of as many values would pass for the members.
            Ok(glance) if Kind::of(&raw) == Kind::Object && !glance.id.trim().is_empty() => {
                let time = |raw: Option<&RawValue>| raw.and_then(timestamp::read);
                let (created_at, updated_at) = match listing {
                    Listing::Messages { .. } => {
                        let sent = [glance.timestamp, glance.sent_at, glance.created_at];
                        (sent.into_iter().find_map(time), None)
                    }
                    _ => (time(glance.created_at), time(glance.updated_at)),
                };
                Ok(Self {
                    listing: listing.clone(),
                    raw_hash: RawHash::of(&raw),
                    id: glance.id.to_owned(),
                    created_at,
                    updated_at,
                    record: OnceLock::new(),
                    cells: OnceLock::new(),
                    raw,
                })
            }
            _ => Self::decode(listing, raw),
        }
    }

    /// Takes a row of `listing` and decodes it right away. Fails like [`Record::decode`].
    pub fn decode(listing: &Listing, raw: Json) -> Result<Self, Rejected> {
        let record = Record::decode(listing, &raw)?;
        Ok(Self::decoded(listing.clone(), record, raw))
    }

    /// A row that has been decoded already.
    pub fn decoded(listing: Listing, record: Record, raw: Json) -> Self {
        Self {
            listing,
            raw_hash: RawHash::of(&raw),
            id: record.id().to_owned(),
            created_at: record.created_at(),
            updated_at: record.updated_at(),
            record: OnceLock::from(record),
            cells: OnceLock::new(),
            raw,
        }
    }

    /// The row's id, unique within the account and the resource; a message's within its conversation.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whose message it is, if it is one.
    pub fn conversation_id(&self) -> Option<&str> {
        self.listing.conversation_id()
    }

    /// The row as the server wrote it.
    pub fn raw(&self) -> &RawValue {
        &self.raw
    }

    /// The fingerprint of that text.
    pub const fn raw_hash(&self) -> RawHash {
        self.raw_hash
    }

    /// When the server says the row was created (for a message: sent).
    pub const fn created_at(&self) -> Option<DateTime<Utc>> {
        self.created_at
    }

    /// When the server says the row was last changed; messages do not say.
    pub const fn updated_at(&self) -> Option<DateTime<Utc>> {
        self.updated_at
    }

    /// What the row says. Decoded when first asked for.
    ///
    /// # Panics
    ///
    /// Never: [`Row::read`] found an object with valid names and a usable id, which is all that decoding can fail for.
    pub fn record(&self) -> &Record {
        self.record.get_or_init(|| {
            #[expect(
                clippy::expect_used,
                reason = "`read` found an object with valid names and a usable id"
            )]
            Record::decode(&self.listing, &self.raw).expect("a row that can be decoded")
        })
    }

    /// The row's columns, made when they are asked for first.
    pub(crate) fn cells(&self, make: impl FnOnce(&Record) -> Box<[Cell]>) -> &[Cell] {
        self.cells.get_or_init(|| make(self.record()))
    }
}

impl super::ContentHash {
    /// The fingerprint of a row, without decoding it.
    pub fn of(raw: &RawValue) -> Self {
        super::canonical::hash(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(listing: &Listing, json: &str) -> Result<Row, Rejected> {
        Row::read(listing, RawValue::from_string(json.to_owned()).unwrap())
    }

    #[test]
    fn a_glance_sees_what_the_decoder_sees() {
        let messages = Listing::Messages {
            conversation_id: "conv_1".to_owned(),
        };
        for listing in [Listing::Contacts, Listing::Conversations, messages] {
            for json in [
                r#"{"id":"a","created_at":"2026-01-19T10:30:00Z","updated_at":1768818600123}"#,
                r#"{"id":"a","created_at":"2026-01-19T10:30:00Z","created_at":"2026-01-20T10:30:00Z"}"#,
                r#"{"id":"a","timestamp":"soon","sent_at":"2026-01-19 10:30"}"#,
                r#"{"id":"a","timestamp":null,"sent_at":null,"created_at":17.5}"#,
                r#"{"id":"\u0061b","created_at":"\u0032026-01-19"}"#,
                r#"{"id":"x","id":"y"}"#,
                r#"{"id":" x "}"#,
                r#"{"id":7,"updated_at":{}}"#,
                r#"{"x":[[]],"id":"a"}"#,
            ] {
                let row = row(&listing, json).unwrap();
                let record = Record::decode(&listing, row.raw()).unwrap();
                assert_eq!(row.id(), record.id(), "{json}");
                assert_eq!(row.created_at(), record.created_at(), "{json}");
                assert_eq!(row.updated_at(), record.updated_at(), "{json}");
                assert_eq!(row.record().content_hash(), record.content_hash(), "{json}");
            }
        }
    }

    #[test]
    fn what_the_decoder_rejects_is_rejected() {
        for json in [
            "7",
            "[]",
            "null",
            r#"{"name":"x"}"#,
            r#"{"id":""}"#,
            r#"{"id":" "}"#,
            r#"{"id":null}"#,
            r#"{"id":{}}"#,
            r#"{"id":"\ud800"}"#,
            r#"{"id":"a","\ud800":1}"#,
            r#"["a",null,null,null,null]"#,
        ] {
            assert!(row(&Listing::Contacts, json).is_err(), "{json}");
        }
    }

    #[test]
    fn another_text_has_another_fingerprint() {
        let one = row(&Listing::Contacts, r#"{"id":"a","name":"b"}"#).unwrap();
        let other = row(&Listing::Contacts, r#"{"name":"b","id":"a"}"#).unwrap();
        assert_ne!(one.raw_hash(), other.raw_hash());
        assert_eq!(one.record().content_hash(), other.record().content_hash());
    }
}
