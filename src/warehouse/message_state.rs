//! Which conversations' messages have been read, and as of which version of the conversation.

use roaring::RoaringTreemap;

use super::error::Error;
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

impl Warehouse {
    /// Live conversations with status `active` that are not in `seen`: (row number, id).
    pub async fn active_unseen(&self, account: &str, seen: &RoaringTreemap) -> Result<Vec<(u64, String)>, Error> {
        let _ = (account, seen);
        todo!()
    }

    /// Up to `limit` live conversations after a row number whose messages are to be read, by row number: all of them,
    /// or those that are new, changed since their messages were read, or active.
    pub async fn conversations_to_read(
        &self,
        account: &str,
        after_row_num: u64,
        limit: u32,
        all: bool,
    ) -> Result<Vec<ConversationToRead>, Error> {
        let _ = (account, after_row_num, limit, all);
        todo!()
    }

    /// The live messages of a conversation that are not in `seen`.
    pub async fn unseen_messages(
        &self,
        account: &str,
        conversation_id: &str,
        seen: &RoaringTreemap,
    ) -> Result<Vec<UnseenRow>, Error> {
        let _ = (account, conversation_id, seen);
        todo!()
    }

    /// Notes that a conversation's messages were read completely when its content was `content_hash`. Writes nothing
    /// if that is what is noted.
    pub async fn mark_conversation_read(
        &self,
        account: &str,
        conversation_id: &str,
        content_hash: ContentHash,
    ) -> Result<(), Error> {
        let _ = (account, conversation_id, content_hash);
        todo!()
    }
}
