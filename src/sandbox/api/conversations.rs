//! `/conversations`.

use serde_json::Map;

use super::query::{self, Span};
use super::{Call, Failure, Reply};
use crate::sandbox::account::{Account, ConversationDraft, Key, RESOLUTIONS, STATUSES};
use crate::sandbox::render;

impl Call<'_> {
    pub(super) fn conversations(&mut self) -> Result<Reply, Failure> {
        let span = self.span()?;
        let status = self.query.get("status").filter(|status| !status.is_empty());
        if let Some(status) = status.filter(|status| !STATUSES.contains(status)) {
            return Err(Failure::invalid(&format!(
                "unknown status `{status}`; known are {}",
                STATUSES.join(", ")
            )));
        }
        let Span { offset, limit } = span;
        let account = &self.state.account;
        let rows = account.conversations.slice(status, offset, limit);
        let rows = rows.into_iter().map(|row| row.members(account.time_format())).collect();
        let total = status.map_or(account.conversations.len(), |status| {
            account.conversations.group_len(status)
        });
        Ok(self.list("conversations", rows, total, span))
    }

    pub(super) fn conversation(&mut self, id: &str) -> Result<Reply, Failure> {
        let key = self.find_conversation(id)?;
        self.conversation_object(key).map(Reply::ok)
    }

    pub(super) fn new_conversation(&mut self) -> Result<Reply, Failure> {
        let object = self.object()?;
        let chatbot = query::required(&object, "chatbot_id")?;
        if !Account::has_chatbot(&chatbot) {
            return Err(Failure::invalid(&format!("unknown chatbot `{chatbot}`")));
        }
        if self
            .session
            .as_ref()
            .is_some_and(|session| session.chatbot_id != chatbot)
        {
            return Err(Failure::forbidden("the session token is for another chatbot"));
        }
        let channel = query::text(&object, "channel")?.unwrap_or_else(|| "api".to_owned());
        if !Account::is_channel(&channel) {
            return Err(Failure::invalid(&format!("unknown channel `{channel}`")));
        }
        let visitor = query::object(&object, "visitor")?;
        let visitor = visitor
            .as_ref()
            .and_then(|visitor| visitor.as_object())
            .cloned()
            .unwrap_or_else(Map::new);
        let visitor_email = query::email(&visitor)?;
        let draft = ConversationDraft {
            chatbot_id: Some(chatbot),
            contact_id: visitor_email.as_deref().and_then(|email| self.contact_with(email)),
            visitor_name: query::text(&visitor, "name")?,
            visitor_email,
            channel: Some(channel),
            metadata: query::object(&object, "metadata")?,
        };
        let key = self.state.account.insert_conversation(draft, self.now);
        if let (Some(session), Some(row)) = (&self.session, self.state.account.conversations.get(key)) {
            let id = row.id.clone();
            if let Some(session) = self.state.sessions.get_mut(&session.token) {
                session.conversations.push(id);
            }
        }
        self.conversation_object(key).map(Reply::created)
    }

    pub(super) fn change_conversation(&mut self, id: &str) -> Result<Reply, Failure> {
        let key = self.find_conversation(id)?;
        let object = self.object()?;
        let (status, resolution) = (query::text(&object, "status")?, query::text(&object, "resolution")?);
        if let Some(status) = status.as_deref().filter(|status| !STATUSES.contains(status)) {
            return Err(Failure::invalid(&format!(
                "unknown status `{status}`; known are {}",
                STATUSES.join(", ")
            )));
        }
        if let Some(resolution) = resolution
            .as_deref()
            .filter(|resolution| !RESOLUTIONS.contains(resolution))
        {
            let known = RESOLUTIONS.join(", ");
            return Err(Failure::invalid(&format!(
                "unknown resolution `{resolution}`; known are {known}"
            )));
        }
        if status.is_none() && resolution.is_none() {
            return Err(Failure::invalid("nothing to change: send `status` or `resolution`"));
        }
        self.state.account.edit_conversation(key, self.now, |row| {
            if let Some(status) = status {
                row.status = status;
            }
            row.resolution = if row.status == "active" {
                None
            } else {
                resolution.or(row.resolution.take())
            };
        });
        self.conversation_object(key).map(Reply::ok)
    }

    pub(super) fn find_conversation(&self, id: &str) -> Result<Key, Failure> {
        if self
            .session
            .as_ref()
            .is_some_and(|session| !session.conversations.iter().any(|own| own == id))
        {
            return Err(Failure::forbidden("a session token is limited to its conversations"));
        }
        let key = self.state.account.conversations.key_of(id);
        key.ok_or_else(|| Failure::not_found(&format!("no conversation with id `{id}`")))
    }

    fn contact_with(&self, email: &str) -> Option<String> {
        let same = |other: &Option<String>| other.as_deref().is_some_and(|other| other.eq_ignore_ascii_case(email));
        let contact = self
            .state
            .account
            .contacts
            .iter()
            .find(|contact| same(&contact.email))?;
        Some(contact.id.clone())
    }

    fn conversation_object(&mut self, key: Key) -> Result<String, Failure> {
        let account = &self.state.account;
        let row = account
            .conversations
            .get(key)
            .ok_or_else(|| Failure::not_found("no such conversation"))?;
        let members = row.members(account.time_format());
        Ok(render::object(
            members,
            "conversation",
            &self.query.fields(),
            &self.state.options.shape,
            self.rng,
        ))
    }
}
