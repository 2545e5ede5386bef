//! `/auth/session-token`: tokens with which a browser or an app may hold one conversation.

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::Serialize;

use crate::allai::call::Call;
use crate::allai::client::single;
use crate::allai::model::Members;
use crate::allai::{Client, Error};

/// For whom a session token is.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The chatbot to talk to, e.g. `cb_abc123`.
    pub chatbot_id: String,
    /// Who talks to it, in your own naming, e.g. `visitor_xyz`.
    pub visitor_id: String,
    /// How long the token is to be valid, in whole seconds.
    pub expires_in: Duration,
}

/// A token that stands for one visitor.
#[derive(Clone, Debug)]
pub struct SessionToken {
    /// The token to hand to the browser or app.
    pub session_token: SecretString,
    /// Until when it is valid.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Client {
    /// `POST /auth/session-token`: a token for one visitor, for use outside your servers. Repeated only when it is certain that
    /// the server did not make one.
    ///
    /// ```
    /// # use allai_sync::allai::Client;
    /// # use allai_sync::sandbox::{Options, Sandbox};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let sandbox = Sandbox::start(Options::for_tests(3, 2)).await?;
    /// # let client = Client::builder(sandbox.base_url().clone(), sandbox.keys().full.as_str().into()).build()?;
    /// use allai_sync::allai::NewSession;
    ///
    /// let session = client.session_token(&NewSession {
    ///     chatbot_id: "cb_abc123".into(),
    ///     visitor_id: "visitor_xyz".into(),
    ///     expires_in: std::time::Duration::from_secs(3600),
    /// }).await?;
    /// assert!(session.expires_at > Some(client.server_now()));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn session_token(&self, new: &NewSession) -> Result<SessionToken, Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            chatbot_id: &'a str,
            visitor_id: &'a str,
            expires_in: u64,
        }
        let body = Body {
            chatbot_id: &new.chatbot_id,
            visitor_id: &new.visitor_id,
            expires_in: new.expires_in.as_secs(),
        };
        let call = Call::create(&["auth", "session-token"], &body);
        self.execute(&call, |body| {
            let raw = single(body, "session")?;
            let mut members = Members::parse(&raw).ok_or("it is not an object")?;
            Ok(SessionToken {
                session_token: members.text("session_token").ok_or("it has no session_token")?.into(),
                expires_at: members.time("expires_at"),
            })
        })
        .await
    }
}
