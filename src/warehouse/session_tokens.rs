//! Who was given a session token: the audit, which never has the token itself.

use std::net::IpAddr;

use chrono::{DateTime, Utc};

use super::Warehouse;
use super::error::{Doing as _, Error};
use super::runs::time_ordered_id;
use super::statement::{Statement, on};
use super::values::Stamp;

/// At most so many are forgotten at a time: nobody is to wait for that.
const AT_ONCE: u64 = 1_000;

/// A session token that is about to be handed out.
#[derive(Clone, Copy, Debug)]
pub struct IssuedToken<'a> {
    /// The account's name in the configuration.
    pub account: &'a str,
    /// The chatbot that may be talked to.
    pub chatbot_id: &'a str,
    /// Who may talk to it.
    pub visitor_id: &'a str,
    /// Until when, if the API says so.
    pub expires_at: Option<DateTime<Utc>>,
    /// Who asked for it.
    pub requested_from: IpAddr,
}

const ADD: Statement = Statement::shared(
    "INSERT INTO session_tokens (account, id, issued_at, chatbot_id, visitor_id, expires_at, requested_from) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)",
);
// An id begins with the time (RFC 9562, version 7): the oldest are the first, and only they are looked at.
const FORGET: Statement = Statement::shared(
    "DELETE FROM session_tokens WHERE account = $1 AND id IN (SELECT id FROM (SELECT id, issued_at FROM session_tokens \
     WHERE account = $1 ORDER BY id LIMIT $3) oldest WHERE issued_at < $2)",
);

pub(super) const STATEMENTS: &[Statement] = &[ADD, FORGET];

impl Warehouse {
    /// Notes that a token is handed out. When this returns, the note outlasts a power cut.
    pub async fn session_token_issued(&self, token: &IssuedToken<'_>) -> Result<(), Error> {
        let mut tx = self.begin_durably().await?;
        let now = self.now();
        let conn = &mut tx.conn();
        on!(conn, inner, dialect => sqlx::query(ADD.of(dialect))
            .bind(token.account)
            .bind(time_ordered_id(now))
            .bind(Stamp(now))
            .bind(token.chatbot_id)
            .bind(token.visitor_id)
            .bind(token.expires_at.map(Stamp))
            .bind(token.requested_from.to_string())
            .execute(inner)
            .await
            .map(drop))
        .doing("noting a session token")?;
        tx.commit().await
    }

    /// Forgets who was given a token before a time. `false` if there are more.
    pub async fn forget_session_tokens(&self, account: &str, before: DateTime<Utc>) -> Result<bool, Error> {
        let mut tx = self.begin(account, &[]).await?;
        let conn = &mut tx.conn();
        let forgotten = on!(conn, inner, dialect => sqlx::query(FORGET.of(dialect))
            .bind(account)
            .bind(Stamp(before))
            .bind(i64::try_from(AT_ONCE).unwrap_or(i64::MAX))
            .execute(inner)
            .await
            .map(|done| done.rows_affected()))
        .doing("forgetting old session tokens")?;
        tx.commit().await?;
        Ok(forgotten < AT_ONCE)
    }
}
