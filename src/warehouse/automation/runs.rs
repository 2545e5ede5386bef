//! The runs of rules: which there are, whose turn it is, and how they ended.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::super::Warehouse;
use super::super::error::{Doing as _, Error};
use super::super::payloads::storable;
use super::super::statement::{Statement, in_list, on, reading};
use super::super::values::{List, Stamp};
use super::triggers::{Trigger, take_in};

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// It waits for its turn, or for its next try.
    Pending,
    /// A program is at it.
    Running,
    /// All its steps are done.
    Done,
    /// A step failed for good; it can be replayed.
    Dead,
    /// The rule did not want it after all: a cool-down, a cap, the hours.
    Skipped,
}

impl RunState {
    /// The word in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Dead => "dead",
            Self::Skipped => "skipped",
        }
    }
}

/// A run that a rule wants.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// Its id; later ones are greater.
    pub id: String,
    /// The rule's name.
    pub rule: String,
    /// What happened, e.g. `message.received`.
    pub event: String,
    /// What it is about.
    pub trigger: Trigger,
    /// The conversation it belongs to; empty if to none.
    pub conversation_id: String,
    /// The contact, if it is known.
    pub contact_id: Option<String>,
    /// Pending, or skipped.
    pub state: RunState,
    /// Whether it has no effects.
    pub dry: bool,
    /// Why it is skipped.
    pub problem: Option<String>,
    /// What the rule saw, JSON.
    pub facts: String,
}

/// A run that is to go on.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ClaimedRun {
    /// Its id.
    pub id: String,
    /// The rule's name.
    pub rule: String,
    /// The conversation it belongs to; empty if to none.
    pub conversation_id: String,
    /// The contact, if it is known.
    pub contact_id: Option<String>,
    /// Whether it has no effects.
    pub dry: bool,
    /// What the rule saw, JSON.
    pub facts: String,
}

/// How a turn of a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// It is over.
    Over {
        /// Done, dead or skipped.
        state: RunState,
        /// What there is to say of it.
        problem: Option<String>,
    },
    /// It goes on later.
    Later {
        /// When.
        due_at: DateTime<Utc>,
        /// Why not now.
        problem: String,
    },
}

/// A run, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct RunRow {
    /// The account.
    pub account: String,
    /// Its id.
    pub id: String,
    /// The rule's name.
    pub rule: String,
    /// What happened.
    pub event: String,
    /// What it is about.
    pub subject: String,
    /// Its id.
    pub subject_id: String,
    /// The conversation it belongs to; empty if to none.
    pub conversation_id: String,
    /// How it stands.
    pub status: String,
    /// Whether it has no effects.
    pub dry: bool,
    /// What is wrong, or why it was skipped.
    pub problem: Option<String>,
    /// When it is tried again.
    pub due_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was over.
    pub finished_at: Option<DateTime<Utc>>,
}

/// Which runs.
#[derive(Clone, Debug, Default)]
pub struct RunFilter<'a> {
    /// Of this rule.
    pub rule: Option<&'a str>,
    /// That stand like this.
    pub state: Option<RunState>,
    /// Only this one.
    pub id: Option<&'a str>,
    /// At most so many, the newest first.
    pub most: u32,
}

/// How much a rule did lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunVolume {
    /// Runs since then, skipped ones left out.
    pub runs: u64,
    /// When the last of them in the conversation began.
    pub last_in_conversation: Option<DateTime<Utc>>,
}

const ADD: Statement = Statement::shared(
    "INSERT INTO automation_runs (account, id, rule, event, subject, subject_id, version, conversation_id, contact_id, \
     status, dry, problem, facts, due_at, created_at, finished_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) ON CONFLICT DO NOTHING",
);
const VOLUME: Statement = Statement::shared(
    "SELECT (SELECT count(*) FROM automation_runs WHERE account = $1 AND rule = $2 AND created_at > $3 \
     AND status <> 'skipped'), (SELECT max(created_at) FROM automation_runs WHERE account = $1 AND conversation_id = $4 \
     AND conversation_id <> '' AND rule = $2 AND status <> 'skipped')",
);
// Of each rule in each conversation one at a time, the first first. A dead program's are free at once, another's when it has given no sign of
// life for so long.
macro_rules! claim {
    ($dead:literal) => {
        concat!(
            "UPDATE automation_runs SET status = 'running', holder = $2, expires_at = $4 WHERE account = $1 AND id IN (\
             SELECT id FROM automation_runs r WHERE account = $1 AND finished_at IS NULL AND due_at <= $3 \
             AND (status = 'pending' OR expires_at <= $3 OR ",
            $dead,
            ") AND (conversation_id = '' OR NOT EXISTS (SELECT 1 FROM automation_runs o WHERE o.account = r.account \
             AND o.finished_at IS NULL AND o.conversation_id = r.conversation_id AND o.rule = r.rule AND o.id < r.id)) \
             ORDER BY due_at, id LIMIT $6) AND finished_at IS NULL \
             AND (status = 'pending' OR expires_at <= $3 OR ",
            $dead,
            ") RETURNING id, rule, conversation_id, contact_id, dry, facts"
        )
    };
}
const CLAIM: Statement = Statement {
    sqlite: claim!("holder IN (SELECT value FROM json_each($5))"),
    postgres: claim!("holder = ANY($5)"),
};
const HOLDERS: Statement = Statement::shared(
    "SELECT DISTINCT holder FROM automation_runs WHERE account = $1 AND finished_at IS NULL AND holder IS NOT NULL",
);
const NEXT_DUE: Statement = Statement::shared(
    "SELECT min(CASE status WHEN 'pending' THEN due_at ELSE expires_at END) FROM automation_runs \
     WHERE account = $1 AND finished_at IS NULL",
);
const PROLONG: Statement = Statement::shared(
    "UPDATE automation_runs SET expires_at = $4 WHERE account = $1 AND id = $2 AND holder = $3 AND status = 'running'",
);
const OVER: Statement = Statement::shared(
    "UPDATE automation_runs SET status = $4, problem = $5, finished_at = $6, due_at = NULL, holder = NULL, \
     expires_at = NULL WHERE account = $1 AND id = $2 AND holder = $3",
);
const LATER: Statement = Statement::shared(
    "UPDATE automation_runs SET status = 'pending', problem = $4, due_at = $5, holder = NULL, expires_at = NULL \
     WHERE account = $1 AND id = $2 AND holder = $3",
);
const LIST: Statement = Statement::shared(
    "SELECT account, id, rule, event, subject, subject_id, conversation_id, status, dry, problem, due_at, created_at, \
     finished_at FROM automation_runs WHERE account = $1 AND (CAST($2 AS TEXT) IS NULL OR rule = $2) \
     AND (CAST($3 AS TEXT) IS NULL OR status = $3) AND (CAST($4 AS TEXT) IS NULL OR id = $4) \
     ORDER BY id DESC LIMIT $5",
);
const REPLAY: Statement = in_list!(
    "UPDATE automation_runs SET status = 'pending', problem = NULL, finished_at = NULL, due_at = $2, holder = NULL \
     WHERE account = $1 AND status = 'dead' AND ",
    "id",
    "$3",
    ""
);
// The step at which each of them ended is its last. What may have happened is looked for; all else begins anew.
macro_rules! last_step {
    ($before:literal, $which:literal) => {
        in_list!(
            concat!(
                $before,
                " WHERE account = $1 AND status IN ('failed', 'intended') AND ",
                $which,
                " AND position = (\
             SELECT max(position) FROM automation_steps l WHERE l.account = automation_steps.account \
             AND l.run_id = automation_steps.run_id) AND "
            ),
            "run_id",
            "$2",
            ""
        )
    };
}
const RETRY_STEP: Statement = last_step!(
    "UPDATE automation_steps SET status = 'intended', attempts = 0, output = NULL, problem = NULL, finished_at = NULL",
    "unsure"
);
const FORGET_STEP: Statement = last_step!("DELETE FROM automation_steps", "NOT unsure");
const FORGET_STEPS: Statement = Statement::shared(
    "DELETE FROM automation_steps WHERE account = $1 AND run_id IN (SELECT id FROM automation_runs WHERE account = $1 \
     AND finished_at < $2)",
);
const FORGET: Statement = Statement::shared("DELETE FROM automation_runs WHERE account = $1 AND finished_at < $2");

pub(super) const STATEMENTS: &[Statement] = &[
    ADD,
    VOLUME,
    CLAIM,
    HOLDERS,
    NEXT_DUE,
    PROLONG,
    OVER,
    LATER,
    LIST,
    REPLAY,
    RETRY_STEP,
    FORGET_STEP,
    FORGET_STEPS,
    FORGET,
];

impl Warehouse {
    /// Stores the runs that rules want of what happened, and that they were asked. A run that is there already, for the same
    /// rule and version of what it is about, stays as it is.
    pub async fn add_runs(&self, account: &str, asked: &[Trigger], runs: &[NewRun]) -> Result<(), Error> {
        let mut tx = self.begin_durably().await?;
        let now = self.now();
        let conn = &mut tx.conn();
        for run in runs {
            let is_over = run.state == RunState::Skipped;
            on!(conn, inner, dialect => sqlx::query(ADD.of(dialect))
                .bind(account)
                .bind(&run.id)
                .bind(&run.rule)
                .bind(&run.event)
                .bind(run.trigger.subject.as_str())
                .bind(&run.trigger.id)
                .bind(&run.trigger.version)
                .bind(storable(&run.conversation_id))
                .bind(run.contact_id.as_deref().map(storable))
                .bind(run.state.as_str())
                .bind(run.dry)
                .bind(&run.problem)
                .bind(&run.facts)
                .bind((!is_over).then_some(Stamp(now)))
                .bind(Stamp(now))
                .bind(is_over.then_some(Stamp(now)))
                .execute(inner)
                .await
                .map(drop))
            .doing("storing the run of a rule")?;
        }
        for trigger in asked {
            take_in(conn, account, trigger).await?;
        }
        tx.commit().await
    }

    /// How much a rule did since then, and when it was last at work in a conversation.
    pub async fn run_volume(
        &self,
        account: &str,
        rule: &str,
        since: DateTime<Utc>,
        conversation_id: &str,
    ) -> Result<RunVolume, Error> {
        let (runs, last): (i64, Option<DateTime<Utc>>) =
            reading!(self, pool, dialect => sqlx::query_as(VOLUME.of(dialect))
                .bind(account)
                .bind(rule)
                .bind(Stamp(since))
                .bind(conversation_id)
                .fetch_one(pool)
                .await)
            .doing("counting the runs of a rule")?;
        Ok(RunVolume {
            runs: u64::try_from(runs).unwrap_or_default(),
            last_in_conversation: last,
        })
    }

    /// Claims runs that are due, up to so many, for `lease` from now; of each rule in each conversation the first. `dead` are programs whose
    /// runs need not be waited for.
    pub async fn claim_runs(
        &self,
        account: &str,
        holder: &str,
        lease: TimeDelta,
        dead: &[String],
        most: u32,
    ) -> Result<Vec<ClaimedRun>, Error> {
        let mut tx = self.begin(account, &[]).await?;
        let conn = &mut tx.conn();
        let now = self.lease_clock(conn).await?;
        let mut claimed: Vec<ClaimedRun> = on!(conn, inner, dialect => sqlx::query_as(CLAIM.of(dialect))
            .bind(account)
            .bind(holder)
            .bind(Stamp(now))
            .bind(Stamp(now + lease))
            .bind(List(dead))
            .bind(i64::from(most))
            .fetch_all(inner)
            .await)
        .doing("claiming runs of rules")?;
        tx.commit().await?;
        claimed.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(claimed)
    }

    /// The programs that hold runs of an account.
    pub async fn run_holders(&self, account: &str) -> Result<Vec<String>, Error> {
        let rows: Vec<(String,)> = reading!(self, pool, dialect => sqlx::query_as(HOLDERS.of(dialect))
            .bind(account)
            .fetch_all(pool)
            .await)
        .doing("reading who runs rules")?;
        Ok(rows.into_iter().map(|(holder,)| holder).collect())
    }

    /// When the next run is due, or the claim to one has run out.
    pub async fn next_run_due(&self, account: &str) -> Result<Option<DateTime<Utc>>, Error> {
        let (due,): (Option<DateTime<Utc>>,) = reading!(self, pool, dialect => sqlx::query_as(NEXT_DUE.of(dialect))
            .bind(account)
            .fetch_one(pool)
            .await)
        .doing("looking for due runs")?;
        Ok(due)
    }

    /// Renews the claim to a run; `false` if another program has it by now.
    pub async fn prolong_run(&self, account: &str, id: &str, holder: &str, lease: TimeDelta) -> Result<bool, Error> {
        let mut tx = self.begin(account, &[]).await?;
        let conn = &mut tx.conn();
        let now = self.lease_clock(conn).await?;
        let kept = on!(conn, inner, dialect => sqlx::query(PROLONG.of(dialect))
            .bind(account)
            .bind(id)
            .bind(holder)
            .bind(Stamp(now + lease))
            .execute(inner)
            .await
            .map(|done| done.rows_affected()))
        .doing("renewing the claim to a run")?;
        tx.commit().await?;
        Ok(kept > 0)
    }

    /// Notes how a turn of a run ended.
    pub async fn end_run(&self, account: &str, id: &str, holder: &str, end: &RunEnd) -> Result<(), Error> {
        let mut tx = self.begin_durably().await?;
        let now = self.now();
        let conn = &mut tx.conn();
        match end {
            RunEnd::Over { state, problem } => on!(conn, inner, dialect => sqlx::query(OVER.of(dialect))
                .bind(account)
                .bind(id)
                .bind(holder)
                .bind(state.as_str())
                .bind(problem.as_deref().map(storable))
                .bind(Stamp(now))
                .execute(inner)
                .await
                .map(drop)),
            RunEnd::Later { due_at, problem } => on!(conn, inner, dialect => sqlx::query(LATER.of(dialect))
                .bind(account)
                .bind(id)
                .bind(holder)
                .bind(storable(problem))
                .bind(Stamp(*due_at))
                .execute(inner)
                .await
                .map(drop)),
        }
        .doing("noting how a run ended")?;
        tx.commit().await
    }

    /// Runs, the newest first.
    pub async fn automation_runs(&self, account: &str, filter: &RunFilter<'_>) -> Result<Vec<RunRow>, Error> {
        reading!(self, pool, dialect => sqlx::query_as(LIST.of(dialect))
            .bind(account)
            .bind(filter.rule)
            .bind(filter.state.map(RunState::as_str))
            .bind(filter.id)
            .bind(i64::from(filter.most))
            .fetch_all(pool)
            .await)
        .doing("reading the runs of rules")
    }

    /// The ids of all dead runs.
    pub async fn dead_runs(&self, account: &str) -> Result<Vec<String>, Error> {
        let dead = RunFilter {
            state: Some(RunState::Dead),
            most: u32::MAX,
            ..RunFilter::default()
        };
        let runs = self.automation_runs(account, &dead).await?;
        Ok(runs.into_iter().map(|run| run.id).collect())
    }

    /// Makes dead runs due again, from the step that ended them. Says how many.
    pub async fn replay_runs(&self, account: &str, ids: &[String]) -> Result<u64, Error> {
        let mut tx = self.begin_durably().await?;
        let now = self.now();
        let conn = &mut tx.conn();
        let replayed = on!(conn, inner, dialect => sqlx::query(REPLAY.of(dialect))
            .bind(account)
            .bind(Stamp(now))
            .bind(List(ids))
            .execute(inner)
            .await
            .map(|done| done.rows_affected()))
        .doing("replaying runs")?;
        for statement in [RETRY_STEP, FORGET_STEP] {
            on!(conn, inner, dialect => sqlx::query(statement.of(dialect))
                .bind(account)
                .bind(List(ids))
                .execute(inner)
                .await
                .map(drop))
            .doing("replaying runs")?;
        }
        tx.commit().await?;
        Ok(replayed)
    }

    /// Forgets the runs that were over before then.
    pub async fn forget_automation_runs(&self, account: &str, before: DateTime<Utc>) -> Result<(), Error> {
        let mut tx = self.begin(account, &[]).await?;
        let conn = &mut tx.conn();
        for statement in [FORGET_STEPS, FORGET] {
            on!(conn, inner, dialect => sqlx::query(statement.of(dialect))
                .bind(account)
                .bind(Stamp(before))
                .execute(inner)
                .await
                .map(drop))
            .doing("forgetting old runs")?;
        }
        tx.commit().await
    }
}
