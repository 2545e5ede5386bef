//! `/auth/session-token`: tokens for frontends, limited to the conversations they begin.

use chrono::{DateTime, TimeDelta, Utc};
use rand::RngExt;

use super::{Call, Failure, Reply, query};
use crate::sandbox::account::{Account, Members, text, time};

/// A session token.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) token: String,
    pub(super) chatbot_id: String,
    pub(super) expires: DateTime<Utc>,
    /// The conversations begun with it.
    pub(super) conversations: Vec<String>,
}

impl Call<'_> {
    pub(super) fn session_token(&mut self) -> Result<Reply, Failure> {
        let object = self.object()?;
        let chatbot_id = query::required(&object, "chatbot_id")?;
        if !Account::has_chatbot(&chatbot_id) {
            return Err(Failure::invalid(&format!("unknown chatbot `{chatbot_id}`")));
        }
        query::required(&object, "visitor_id")?;
        let seconds = match object.get("expires_in") {
            None => 3600,
            Some(value) => match value.as_i64().filter(|seconds| (1..=86_400).contains(seconds)) {
                Some(seconds) => seconds,
                None => return Err(Failure::invalid("`expires_in` must be between 1 and 86400 seconds")),
            },
        };
        let token = format!("st_live_{:032x}", self.rng.random::<u128>());
        let expires = self.now + TimeDelta::seconds(seconds);
        let mut body = Members::default();
        body.push("session_token", text(&token));
        body.push("expires_at", time(expires, self.state.account.time_format()));
        let session = Session {
            token: token.clone(),
            chatbot_id,
            expires,
            conversations: Vec::new(),
        };
        self.state.sessions.insert(token, session);
        Ok(Reply::ok(body.to_json()))
    }
}
