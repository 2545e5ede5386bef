//! `/conversations/{id}/messages`.

use rand::RngExt;

use super::query::{self, Span};
use super::{Call, Failure, Reply};
use crate::sandbox::account::{Members, Message, MessageDraft, text, time};
use crate::sandbox::options::MessageOrder;

/// The longest text a message may have.
const LONGEST: usize = 10_000;
const ROLES: [&str; 3] = ["visitor", "agent", "bot"];
const KINDS: [&str; 1] = ["text"];

impl Call<'_> {
    pub(super) fn messages(&mut self, id: &str) -> Result<Reply, Failure> {
        let span = self.span()?;
        let key = self.find_conversation(id)?;
        if self.rng.random_bool(self.state.options.faults.lost_messages_rate) {
            return Err(Failure::not_found("no messages of this conversation"));
        }
        let Span { offset, limit } = span;
        let format = self.state.account.time_format();
        let messages = self.state.account.messages(key);
        let total = messages.len();
        let members = |message: &Message| message.members(format);
        let rows = match self.state.options.shape.message_order {
            MessageOrder::OldestFirst => messages.iter().skip(offset).take(limit).map(members).collect(),
            MessageOrder::NewestFirst => messages.iter().rev().skip(offset).take(limit).map(members).collect(),
        };
        Ok(self.list("messages", rows, total, span))
    }

    pub(super) fn new_message(&mut self, id: &str) -> Result<Reply, Failure> {
        let key = self.find_conversation(id)?;
        let object = self.object()?;
        let content = query::required(&object, "content")?;
        if content.chars().count() > LONGEST {
            return Err(Failure::invalid("`content` is longer than 10,000 characters"));
        }
        let role = query::text(&object, "role")?.unwrap_or_else(|| "visitor".to_owned());
        let kind = query::text(&object, "type")?.unwrap_or_else(|| "text".to_owned());
        if !ROLES.contains(&role.as_str()) {
            return Err(Failure::invalid(&format!(
                "unknown role `{role}`; known are {}",
                ROLES.join(", ")
            )));
        }
        if !KINDS.contains(&kind.as_str()) {
            return Err(Failure::invalid(&format!("unknown type `{kind}`; known is text")));
        }
        let account = &mut self.state.account;
        if account.conversations.get(key).is_some_and(|row| row.status == "closed") {
            return Err(Failure::invalid("the conversation is closed"));
        }
        let format = account.time_format();
        let visitor = role == "visitor";
        let draft = MessageDraft {
            role,
            content: content.clone(),
        };
        let said = account
            .insert_message(key, draft, self.now)
            .ok_or_else(|| Failure::not_found("no such conversation"))?;
        let mut body = Members::default();
        let mut message = Members::default();
        message.push("id", text(&said.id));
        message.push("content", text(&said.content));
        message.push("timestamp", time(said.sent, format));
        if !visitor {
            body.push("message", message.to_json());
            return Ok(Reply::created(body.to_json()));
        }
        body.push("visitor_message", message.to_json());
        if let Some(answer) = account.answer(key, &content, self.now) {
            let mut response = Members::default();
            response.push("id", text(&answer.id));
            response.push("content", text(&answer.content));
            response.push("confidence", answer.confidence.unwrap_or_default().to_string());
            response.push("sources", serde_json::Value::from(answer.sources).to_string());
            response.push("timestamp", time(answer.sent, format));
            body.push("bot_response", response.to_json());
        }
        Ok(Reply::created(body.to_json()))
    }
}
