//! What events alone tell, and no list of the API has: ratings, handoffs, leads and their scores.
//!
//! It is stored under the event's key, in the transaction that ends the event: however often an event is applied, it is
//! there once.

use chrono::{DateTime, Utc};

use super::error::{Doing as _, Error};
use super::statement::{Statement, on, reading};
use super::values::Stamp;
use super::{Tx, Warehouse};
use crate::allai::model::Json;

/// What an event tells.
#[derive(Clone, Debug)]
pub struct Payload {
    /// The event's key.
    pub event_id: String,
    /// What kind of thing it is.
    pub kind: PayloadKind,
    /// The conversation it is about.
    pub conversation_id: Option<String>,
    /// The contact it is about.
    pub contact_id: Option<String>,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What has no column.
    pub extra: Option<Json>,
}

/// What kind of thing an event tells.
#[derive(Clone, Debug, PartialEq)]
pub enum PayloadKind {
    /// A visitor's rating of a conversation.
    Rating {
        /// The figure given.
        score: Option<f64>,
        /// The words given.
        comment: Option<String>,
    },
    /// The chatbot asked for a person.
    Handoff {
        /// Why.
        reason: Option<String>,
    },
    /// A contact became a lead, or one that is worth it.
    Lead {
        /// The event's type.
        event: String,
        /// How good a lead.
        score: Option<f64>,
    },
}

const RATING: Statement = Statement {
    sqlite: "INSERT INTO satisfaction_ratings (account, event_id, conversation_id, contact_id, rated_at, extra, score, comment) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (account, event_id) DO NOTHING",
    postgres: "INSERT INTO satisfaction_ratings (account, event_id, conversation_id, contact_id, rated_at, extra, score, comment) \
               VALUES ($1, $2, $3, $4, $5, $6::text::jsonb, $7, $8) ON CONFLICT (account, event_id) DO NOTHING",
};
const HANDOFF: Statement = Statement {
    sqlite: "INSERT INTO handoff_requests (account, event_id, conversation_id, contact_id, requested_at, extra, reason) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (account, event_id) DO NOTHING",
    postgres: "INSERT INTO handoff_requests (account, event_id, conversation_id, contact_id, requested_at, extra, reason) \
               VALUES ($1, $2, $3, $4, $5, $6::text::jsonb, $7) ON CONFLICT (account, event_id) DO NOTHING",
};
const LEAD: Statement = Statement {
    sqlite: "INSERT INTO lead_events (account, event_id, conversation_id, contact_id, occurred_at, extra, score, event) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (account, event_id) DO NOTHING",
    postgres: "INSERT INTO lead_events (account, event_id, conversation_id, contact_id, occurred_at, extra, score, event) \
               VALUES ($1, $2, $3, $4, $5, $6::text::jsonb, $7, $8) ON CONFLICT (account, event_id) DO NOTHING",
};

const HOLD: Statement = Statement::postgres_only("SELECT $1::text::jsonb IS NULL");

pub(super) const STATEMENTS: &[Statement] = &[RATING, HANDOFF, LEAD, HOLD];

impl Warehouse {
    /// Why the database cannot hold what of an event has no column, if it cannot: numbers have a limit in PostgreSQL, and JSON
    /// a depth.
    pub(crate) async fn refused_extra(&self, told: &Payload) -> Result<Option<Error>, Error> {
        let (Self::Postgres(_), Some(extra)) = (self, &told.extra) else {
            return Ok(None);
        };
        let held: Result<(bool,), Error> = reading!(self, pool, dialect => sqlx::query_as(HOLD.of(dialect))
            .bind(storable_json(extra.get()))
            .fetch_one(pool)
            .await)
        .doing("trying what an event tells");
        match held {
            Err(error) if error.is_about_the_data() => Ok(Some(error)),
            held => held.map(|_| None),
        }
    }
}

/// Stores what an event tells, as part of a transaction; what is there under its key stays.
pub(super) async fn store_told_in(tx: &mut Tx, account: &str, told: &Payload) -> Result<(), Error> {
    let conn = &mut tx.conn();
    let statement = match told.kind {
        PayloadKind::Rating { .. } => RATING,
        PayloadKind::Handoff { .. } => HANDOFF,
        PayloadKind::Lead { .. } => LEAD,
    };
    let text = |text: &Option<String>| text.as_deref().map(storable);
    on!(conn, inner, dialect => {
        let query = sqlx::query(statement.of(dialect))
            .bind(account)
            .bind(&told.event_id)
            .bind(text(&told.conversation_id))
            .bind(text(&told.contact_id))
            .bind(Stamp(told.at))
            .bind(told.extra.as_deref().map(|extra| storable_json(extra.get())));
        let query = match &told.kind {
            PayloadKind::Rating { score, comment } => query.bind(*score).bind(text(comment)),
            PayloadKind::Handoff { reason } => query.bind(text(reason)),
            PayloadKind::Lead { event, score } => query.bind(*score).bind(storable(event)),
        };
        query.execute(inner).await.map(drop)
    })
    .doing("storing what an event tells")
}

/// Neither database keeps a NUL in a text: it becomes its picture.
pub(super) fn storable(text: &str) -> String {
    text.replace('\0', "\u{2400}")
}

/// JSON that Postgres can hold: it has neither NUL nor halves of surrogate pairs
/// (<https://www.postgresql.org/docs/current/datatype-json.html>).
fn storable_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = match code_unit(rest) {
            Some(0) => {
                out.push_str("\\u2400");
                6
            }
            Some(0xd800..=0xdbff) if matches!(rest.get(6..).and_then(code_unit), Some(0xdc00..=0xdfff)) => {
                out.push_str(&rest[..12]);
                12
            }
            Some(0xd800..=0xdfff) => {
                out.push_str("\\ufffd");
                6
            }
            // JSON has a character behind each backslash.
            _ => {
                let length = rest.chars().take(2).map(char::len_utf8).sum();
                out.push_str(&rest[..length]);
                length
            }
        };
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

/// The number of the `\uXXXX` that a text begins with.
fn code_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_becomes_what_postgres_can_hold_and_says_the_same_otherwise() {
        for (json, stored) in [
            (r#"{"a":"b\\u0000\n"}"#, r#"{"a":"b\\u0000\n"}"#),
            (r#"{"a":"\u0000"}"#, r#"{"a":"\u2400"}"#),
            (
                r#"["\ud83d\ude00","\ud83d","\ude00x"]"#,
                r#"["\ud83d\ude00","\ufffd","\ufffdx"]"#,
            ),
            (r#"["\ud83d\n","ă\\"]"#, r#"["\ufffd\n","ă\\"]"#),
            ("17.50", "17.50"),
        ] {
            assert_eq!(storable_json(json), stored);
        }
    }
}
