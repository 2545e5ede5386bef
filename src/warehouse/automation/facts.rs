//! What rules see of the mirror.

use serde_json::{Map, Value};

use super::super::error::{Doing as _, Error};
use super::super::held::{ColumnKind, HeldRow, HeldValue, columns};
use super::super::statement::{Statement, reading};
use super::super::{Entity, Warehouse};
use crate::allai::Resource;

const LAST_MESSAGES: Statement = Statement::shared(
    "SELECT id FROM messages WHERE account = $1 AND conversation_id = $2 AND deleted_at IS NULL \
     ORDER BY sent_at DESC, row_num DESC LIMIT $3",
);
const TAGS_BEFORE: Statement = Statement {
    sqlite: "SELECT tags FROM contacts_history WHERE account = $1 AND id = $2 ORDER BY valid_to DESC LIMIT 1",
    postgres: "SELECT tags::text FROM contacts_history WHERE account = $1 AND id = $2 ORDER BY valid_to DESC LIMIT 1",
};
const STATUS_BEFORE: Statement = Statement::shared(
    "SELECT status FROM conversations_history WHERE account = $1 AND id = $2 ORDER BY valid_to DESC LIMIT 1",
);

const EVENT: Statement =
    Statement::shared("SELECT event, entity, body FROM webhook_events WHERE account = $1 AND id = $2");

pub(super) const STATEMENTS: &[Statement] = &[LAST_MESSAGES, TAGS_BEFORE, STATUS_BEFORE, EVENT];

impl Warehouse {
    /// A contact or a conversation as the mirror has it, or a message of `conversation`; `None` if it has none.
    pub async fn fact(
        &self,
        account: &str,
        resource: Resource,
        conversation: Option<&str>,
        id: &str,
    ) -> Result<Option<Value>, Error> {
        let rows = self.held_rows(account, resource, conversation, &[id]).await?;
        Ok(rows.into_iter().next().map(|row| object(resource, row)))
    }

    /// The last messages of a conversation, the oldest of them first.
    pub async fn last_messages(&self, account: &str, conversation: &str, most: u32) -> Result<Vec<Value>, Error> {
        let ids: Vec<(String,)> = reading!(self, pool, dialect => sqlx::query_as(LAST_MESSAGES.of(dialect))
            .bind(account)
            .bind(conversation)
            .bind(i64::from(most))
            .fetch_all(pool)
            .await)
        .doing("reading the last messages of a conversation")?;
        let ids: Vec<&str> = ids.iter().rev().map(|(id,)| id.as_str()).collect();
        let mut rows = self
            .held_rows(account, Resource::Messages, Some(conversation), &ids)
            .await?;
        rows.sort_by_key(|row| ids.iter().position(|id| *id == row.id));
        Ok(rows.into_iter().map(|row| object(Resource::Messages, row)).collect())
    }

    /// The labels that a contact had before its last change; `None` if it never changed.
    pub async fn tags_before(&self, account: &str, id: &str) -> Result<Option<Value>, Error> {
        let before = self.before(TAGS_BEFORE, account, id).await?;
        Ok(before.map(|text| {
            text.and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or_default()
        }))
    }

    /// The status that a conversation had before its last change; `None` if it never changed.
    pub async fn status_before(&self, account: &str, id: &str) -> Result<Option<Value>, Error> {
        let before = self.before(STATUS_BEFORE, account, id).await?;
        Ok(before.map(Value::from))
    }

    async fn before(&self, statement: Statement, account: &str, id: &str) -> Result<Option<Option<String>>, Error> {
        let row: Option<(Option<String>,)> = reading!(self, pool, dialect => sqlx::query_as(statement.of(dialect))
            .bind(account)
            .bind(id)
            .fetch_optional(pool)
            .await)
        .doing("reading how a row was before")?;
        Ok(row.map(|(value,)| value))
    }

    /// Type, subject and body of an event, by its key.
    pub async fn event(&self, account: &str, id: &str) -> Result<Option<(Option<String>, Entity, String)>, Error> {
        let row: Option<(Option<String>, Option<String>, String)> =
            reading!(self, pool, dialect => sqlx::query_as(EVENT.of(dialect))
                .bind(account)
                .bind(id)
                .fetch_optional(pool)
                .await)
            .doing("reading an event")?;
        Ok(row.map(|(event, entity, body)| (event, Entity::of_column(entity.as_deref().unwrap_or(id)), body)))
    }
}

/// A row as an object: what does not fit a column is among the rest.
fn object(resource: Resource, row: HeldRow) -> Value {
    let mut members = Map::new();
    members.insert("id".to_owned(), row.id.into());
    for ((name, kind), value) in columns(resource).iter().zip(row.values) {
        let value = match (value, kind) {
            (HeldValue::Null, _) => Value::Null,
            (HeldValue::Number(number), _) => number.into(),
            (HeldValue::Text(text), ColumnKind::Json) => serde_json::from_str(&text).unwrap_or_default(),
            (HeldValue::Text(text), _) => text.into(),
        };
        members.insert((*name).to_owned(), value);
    }
    Value::Object(members)
}
