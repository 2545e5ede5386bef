//! What AllAI was last told to send, and where: of the secret alone a digest, since the API does not tell it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::types::Json;

use super::Warehouse;
use super::error::{Doing as _, Error};
use super::statement::{Statement, on, reading};
use super::values::Stamp;

/// A subscription as it was registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Subscription {
    /// The account's name in the configuration.
    pub account: String,
    /// Where events are sent.
    pub url: String,
    /// The API's id, if it gave one.
    pub webhook_id: Option<String>,
    /// Which events.
    pub events: Vec<String>,
    /// A digest of the secret that they are signed with.
    #[serde(skip)]
    pub secret_digest: String,
    /// When.
    pub registered_at: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    account: String,
    url: String,
    webhook_id: Option<String>,
    events: Json<Vec<String>>,
    secret_digest: String,
    registered_at: DateTime<Utc>,
}

const SAVE: Statement = Statement::shared(
    "INSERT INTO webhook_subscriptions (account, url, webhook_id, events, secret_digest, registered_at) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (account) DO UPDATE SET url = excluded.url, \
     webhook_id = excluded.webhook_id, events = excluded.events, secret_digest = excluded.secret_digest, \
     registered_at = excluded.registered_at",
);
const OF: Statement = Statement::shared(
    "SELECT account, url, webhook_id, events, secret_digest, registered_at FROM webhook_subscriptions WHERE account = $1",
);

pub(super) const STATEMENTS: &[Statement] = &[SAVE, OF];

impl Warehouse {
    /// Remembers what was registered for an account, in place of what was.
    pub async fn save_subscription(&self, subscription: &Subscription) -> Result<(), Error> {
        let mut tx = self.begin(&subscription.account, &[]).await?;
        let conn = &mut tx.conn();
        on!(conn, inner, dialect => sqlx::query(SAVE.of(dialect))
            .bind(&subscription.account)
            .bind(&subscription.url)
            .bind(&subscription.webhook_id)
            .bind(Json(&subscription.events))
            .bind(&subscription.secret_digest)
            .bind(Stamp(subscription.registered_at))
            .execute(inner)
            .await
            .map(drop))
        .doing("remembering a webhook")?;
        tx.commit().await
    }

    /// What was last registered for an account.
    pub async fn subscription(&self, account: &str) -> Result<Option<Subscription>, Error> {
        let row: Option<Row> = reading!(self, pool, dialect => sqlx::query_as(OF.of(dialect))
            .bind(account)
            .fetch_optional(pool)
            .await)
        .doing("reading which webhook was registered")?;
        Ok(row.map(|row| Subscription {
            account: row.account,
            url: row.url,
            webhook_id: row.webhook_id,
            events: row.events.0,
            secret_digest: row.secret_digest,
            registered_at: row.registered_at,
        }))
    }
}
