//! The steps of a run, as far as it has come.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::super::Warehouse;
use super::super::error::{Doing as _, Error};
use super::super::payloads::storable;
use super::super::statement::{Statement, on, reading};
use super::super::values::Stamp;

/// How a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    /// It is, or was, tried.
    Intended,
    /// It is done.
    Done,
    /// Its condition did not hold.
    Skipped,
    /// It failed for good.
    Failed,
}

impl StepState {
    /// The word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }

    fn parse(word: &str) -> Self {
        [Self::Done, Self::Skipped, Self::Failed]
            .into_iter()
            .find(|state| state.as_str() == word)
            .unwrap_or(Self::Intended)
    }
}

/// A step of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepRow {
    /// Its place in the rule, from 0.
    pub position: u32,
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: String,
    /// How it stands.
    pub state: StepState,
    /// How often it was tried.
    pub attempts: u32,
    /// Whether it may have had its effect, which only the other side knows.
    pub unsure: bool,
    /// What it was to do, JSON.
    pub input: Option<String>,
    /// What came of it, JSON.
    pub output: Option<String>,
    /// What went wrong last.
    pub problem: Option<String>,
    /// When it was tried first.
    pub started_at: DateTime<Utc>,
    /// When it was over.
    pub finished_at: Option<DateTime<Utc>>,
}

const STORE: Statement = Statement::shared(
    "INSERT INTO automation_steps (account, run_id, position, name, kind, status, attempts, unsure, input, output, problem, \
     started_at, finished_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
     ON CONFLICT (account, run_id, position) DO UPDATE SET status = excluded.status, attempts = excluded.attempts, \
     unsure = excluded.unsure, input = excluded.input, output = excluded.output, problem = excluded.problem, finished_at = excluded.finished_at",
);
const READ: Statement = Statement::shared(
    "SELECT position, name, kind, status, attempts, unsure, input, output, problem, started_at, finished_at \
     FROM automation_steps WHERE account = $1 AND run_id = $2 ORDER BY position",
);
const OURS: Statement = Statement::shared(
    "SELECT s.input, s.output FROM automation_steps s JOIN automation_runs r ON r.account = s.account AND r.id = s.run_id \
     WHERE s.account = $1 AND s.kind = $2 AND s.status <> 'skipped' \
     AND ((r.conversation_id <> '' AND r.conversation_id = $3) OR r.contact_id = $4) \
     ORDER BY s.started_at DESC LIMIT 100",
);

pub(super) const STATEMENTS: &[Statement] = &[STORE, READ, OURS];

#[derive(sqlx::FromRow)]
struct Columns {
    position: i64,
    name: String,
    kind: String,
    status: String,
    attempts: i64,
    unsure: bool,
    input: Option<String>,
    output: Option<String>,
    problem: Option<String>,
    started_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

impl From<Columns> for StepRow {
    fn from(row: Columns) -> Self {
        let number = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            position: number(row.position),
            name: row.name,
            kind: row.kind,
            state: StepState::parse(&row.status),
            attempts: number(row.attempts),
            unsure: row.unsure,
            input: row.input,
            output: row.output,
            problem: row.problem,
            started_at: row.started_at,
            finished_at: row.finished_at,
        }
    }
}

impl Warehouse {
    /// Stores how a step of a run stands; on the disk when it returns.
    pub async fn store_step(&self, account: &str, run_id: &str, step: &StepRow) -> Result<(), Error> {
        let mut tx = self.begin_durably().await?;
        let conn = &mut tx.conn();
        let text = |text: &Option<String>| text.as_deref().map(storable);
        on!(conn, inner, dialect => sqlx::query(STORE.of(dialect))
            .bind(account)
            .bind(run_id)
            .bind(i64::from(step.position))
            .bind(&step.name)
            .bind(&step.kind)
            .bind(step.state.as_str())
            .bind(i64::from(step.attempts))
            .bind(step.unsure)
            .bind(text(&step.input))
            .bind(text(&step.output))
            .bind(text(&step.problem))
            .bind(Stamp(step.started_at))
            .bind(step.finished_at.map(Stamp))
            .execute(inner)
            .await
            .map(drop))
        .doing("storing a step of a run")?;
        tx.commit().await
    }

    /// The steps of a run that were begun, in order.
    pub async fn steps(&self, account: &str, run_id: &str) -> Result<Vec<StepRow>, Error> {
        let rows: Vec<Columns> = reading!(self, pool, dialect => sqlx::query_as(READ.of(dialect))
            .bind(account)
            .bind(run_id)
            .fetch_all(pool)
            .await)
        .doing("reading the steps of a run")?;
        Ok(rows.into_iter().map(StepRow::from).collect())
    }

    /// What steps of this kind did lately in a conversation, or with a contact: their inputs and outputs, JSON.
    pub async fn steps_about(
        &self,
        account: &str,
        kind: &str,
        conversation_id: &str,
        contact_id: &str,
    ) -> Result<Vec<(Option<String>, Option<String>)>, Error> {
        reading!(self, pool, dialect => sqlx::query_as(OURS.of(dialect))
            .bind(account)
            .bind(kind)
            .bind(conversation_id)
            .bind(contact_id)
            .fetch_all(pool)
            .await)
        .doing("reading what rules did")
    }
}
