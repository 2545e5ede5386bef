//! The rate budget of each account as its last sync left it: what `status` shows without asking the API.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Warehouse;
use super::error::{Doing as _, Error};
use super::statement::{Statement, on, reading};
use super::values::Stamp;

/// What the API said of an account's rate limit, last time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct RateBudget {
    /// The account's name in the configuration.
    pub account: String,
    /// Requests allowed in a window; `None` if the API does not say.
    pub rate_limit: Option<i64>,
    /// Requests left in the window.
    pub remaining: Option<i64>,
    /// When the window ends.
    pub resets_at: Option<DateTime<Utc>>,
    /// When this was seen.
    pub observed_at: DateTime<Utc>,
}

const SAVE: Statement = Statement::shared(
    "INSERT INTO rate_budgets (account, rate_limit, remaining, resets_at, observed_at) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (account) DO UPDATE SET rate_limit = excluded.rate_limit, remaining = excluded.remaining, \
     resets_at = excluded.resets_at, observed_at = excluded.observed_at",
);
const ALL: Statement = Statement::shared(
    "SELECT account, rate_limit, remaining, resets_at, observed_at FROM rate_budgets ORDER BY account",
);

pub(super) const STATEMENTS: &[Statement] = &[SAVE, ALL];

impl Warehouse {
    /// Keeps what is known of an account's budget, in place of what was.
    pub async fn save_rate_budget(&self, budget: &RateBudget) -> Result<(), Error> {
        let mut tx = self.begin(&budget.account, &[]).await?;
        let conn = &mut tx.conn();
        on!(conn, inner, dialect => sqlx::query(SAVE.of(dialect))
            .bind(&budget.account)
            .bind(budget.rate_limit)
            .bind(budget.remaining)
            .bind(budget.resets_at.map(Stamp))
            .bind(Stamp(budget.observed_at))
            .execute(inner)
            .await
            .map(drop))
        .doing("saving the rate budget")?;
        tx.commit().await
    }

    /// The budget of every account, by name.
    pub async fn rate_budgets(&self) -> Result<Vec<RateBudget>, Error> {
        reading!(self, pool, dialect => sqlx::query_as(ALL.of(dialect)).fetch_all(pool).await)
            .doing("reading the rate budgets")
    }
}
