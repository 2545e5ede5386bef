//! Which conversations' messages have been read, and as of which version of the conversation.

use chrono::{DateTime, Utc};
use roaring::RoaringTreemap;

use super::error::{Doing as _, Error};
use super::statement::{Statement, on, reading};
use super::values::{Stamp, from_db, to_db};
use super::{UnseenRow, Warehouse};
use crate::allai::model::ContentHash;

/// A conversation whose messages are to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationToRead {
    /// The conversation's internal number.
    pub row_num: u64,
    /// The API's id.
    pub id: String,
    /// The conversation's content as of now; goes into [`Warehouse::mark_conversation_read`].
    pub content_hash: ContentHash,
}

/// Of which conversations the messages are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToRead {
    /// Of all.
    All,
    /// Of those that are new, changed since their messages were read, or active: there messages come without a trace.
    Due,
    /// Of those that are new or changed since their messages were read.
    Changed,
}

const ACTIVE: Statement = Statement::shared(
    "SELECT row_num, id FROM conversations WHERE account = $1 AND status = 'active' AND deleted_at IS NULL",
);
const TO_READ: Statement = Statement::shared(
    "SELECT c.row_num, c.id, c.content_hash FROM conversations c \
     LEFT JOIN message_state s ON s.account = c.account AND s.conversation_id = c.id \
     WHERE c.account = $1 AND c.row_num > $2 AND c.deleted_at IS NULL \
     AND ($4 OR ($5 AND c.status = 'active') OR s.content_hash IS NULL OR s.content_hash <> c.content_hash) \
     ORDER BY c.row_num LIMIT $3",
);
const LIVE_MESSAGES: Statement = Statement::shared(
    "SELECT row_num, id, missing_since FROM messages \
     WHERE account = $1 AND conversation_id = $2 AND deleted_at IS NULL ORDER BY row_num",
);
const READ_AS_OF: Statement =
    Statement::shared("SELECT content_hash FROM message_state WHERE account = $1 AND conversation_id = $2");
const MARK_READ: Statement = Statement::shared(
    "INSERT INTO message_state (account, conversation_id, content_hash, read_at) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (account, conversation_id) DO UPDATE SET content_hash = excluded.content_hash, \
     read_at = excluded.read_at",
);

pub(super) const STATEMENTS: &[Statement] = &[ACTIVE, TO_READ, LIVE_MESSAGES, READ_AS_OF, MARK_READ];

impl Warehouse {
    /// Live conversations with status `active` that are not in `seen`: (row number, id), by row number.
    pub async fn active_unseen(&self, account: &str, seen: &RoaringTreemap) -> Result<Vec<(u64, String)>, Error> {
        let rows: Vec<(i64, String)> = reading!(self, pool, dialect => sqlx::query_as(ACTIVE.of(dialect))
            .bind(account)
            .fetch_all(pool)
            .await)
        .doing("looking for active conversations")?;
        let mut unseen: Vec<_> = rows
            .into_iter()
            .map(|(row_num, id)| (from_db(row_num), id))
            .filter(|(row_num, _)| !seen.contains(*row_num))
            .collect();
        unseen.sort_unstable();
        Ok(unseen)
    }

    /// Up to `limit` live conversations after a row number whose messages are to be read, by row number.
    pub async fn conversations_to_read(
        &self,
        account: &str,
        after_row_num: u64,
        limit: u32,
        which: ToRead,
    ) -> Result<Vec<ConversationToRead>, Error> {
        let rows: Vec<(i64, String, String)> = reading!(self, pool, dialect => sqlx::query_as(TO_READ.of(dialect))
            .bind(account)
            .bind(to_db(after_row_num))
            .bind(i64::from(limit))
            .bind(which == ToRead::All)
            .bind(which == ToRead::Due)
            .fetch_all(pool)
            .await)
        .doing("looking for conversations to read")?;
        rows.into_iter()
            .map(|(row_num, id, hash)| {
                let mut content_hash = ContentHash([0; 16]);
                hex::decode_to_slice(&hash, &mut content_hash.0)
                    .map_err(|error| sqlx::Error::Decode(Box::new(error)))
                    .doing("reading a fingerprint")?;
                Ok(ConversationToRead {
                    row_num: from_db(row_num),
                    id,
                    content_hash,
                })
            })
            .collect()
    }

    /// The live messages of a conversation that are not in `seen`, by row number.
    pub async fn unseen_messages(
        &self,
        account: &str,
        conversation_id: &str,
        seen: &RoaringTreemap,
    ) -> Result<Vec<UnseenRow>, Error> {
        let rows: Vec<(i64, String, Option<DateTime<Utc>>)> =
            reading!(self, pool, dialect => sqlx::query_as(LIVE_MESSAGES.of(dialect))
                .bind(account)
                .bind(conversation_id)
                .fetch_all(pool)
                .await)
            .doing("looking for messages that were not seen")?;
        Ok(rows
            .into_iter()
            .map(|(row_num, id, missing_since)| UnseenRow {
                id,
                row_num: from_db(row_num),
                created_at: None,
                missing_since,
            })
            .filter(|row| !seen.contains(row.row_num))
            .collect())
    }

    /// Notes that a conversation's messages were read completely when its content was `content_hash`. Writes nothing
    /// if that is what is noted.
    pub async fn mark_conversation_read(
        &self,
        account: &str,
        conversation_id: &str,
        content_hash: ContentHash,
    ) -> Result<(), Error> {
        let hash = content_hash.to_string();
        let noted: Option<(String,)> = reading!(self, pool, dialect => sqlx::query_as(READ_AS_OF.of(dialect))
            .bind(account)
            .bind(conversation_id)
            .fetch_optional(pool)
            .await)
        .doing("looking up which messages were read")?;
        if noted.is_some_and(|(noted,)| noted == hash) {
            return Ok(());
        }
        let now = self.now();
        let mut tx = self.begin(account, &[]).await?;
        let conn = &mut tx.conn();
        on!(conn, inner, dialect => sqlx::query(MARK_READ.of(dialect))
            .bind(account)
            .bind(conversation_id)
            .bind(&hash)
            .bind(Stamp(now))
            .execute(inner)
            .await
            .map(drop))
        .doing("noting which messages were read")?;
        tx.commit().await
    }
}
