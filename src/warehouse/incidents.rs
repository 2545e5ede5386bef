//! What needed a person, and whether somebody was told.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Warehouse;
use super::error::{Doing as _, Error};
use super::statement::{Statement, on, reading};
use super::values::Stamp;
use crate::allai::Resource;

/// How long a program has for telling of incidents before another one may.
pub const TELLING: Duration = Duration::from_mins(2);

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentKind {
    /// No run was complete for too long.
    Stale,
    /// Runs fail again and again.
    Failing,
    /// The API refuses the key.
    KeyRefused,
    /// The API knows the key, and does not let it read this.
    Forbidden,
    /// More rows are gone from the API than may be marked as deleted without asking.
    DeletionsHeldBack,
    /// Webhook events that could not be applied.
    EventsDead,
    /// Runs of rules that ended at a step that failed.
    AutomationsDead,
    /// No webhook events come, although there is something new.
    WebhooksSilent,
    /// The warehouse cannot be used; never kept there.
    Warehouse,
}

impl IncidentKind {
    const ALL: [Self; 8] = [
        Self::Stale,
        Self::Failing,
        Self::KeyRefused,
        Self::Forbidden,
        Self::DeletionsHeldBack,
        Self::EventsDead,
        Self::AutomationsDead,
        Self::WebhooksSilent,
    ];

    /// The word kept in the warehouse and told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Failing => "failing",
            Self::KeyRefused => "key_refused",
            Self::Forbidden => "forbidden",
            Self::DeletionsHeldBack => "deletions_held_back",
            Self::EventsDead => "events_dead",
            Self::AutomationsDead => "automations_dead",
            Self::WebhooksSilent => "webhooks_silent",
            Self::Warehouse => "warehouse",
        }
    }
}

/// What makes an incident, for as long as it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The account's name in the configuration.
    pub account: String,
    /// The resource; empty if it is the whole account.
    pub resource: String,
    /// What is wrong.
    pub kind: IncidentKind,
    /// What is wrong, in a sentence.
    pub summary: String,
    /// What to do about it.
    pub remedy: String,
}

/// An incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Incident {
    /// The account's name in the configuration.
    pub account: String,
    /// The resource; empty if it is the whole account.
    pub resource: String,
    /// What is wrong.
    pub kind: IncidentKind,
    /// Since when.
    pub opened_at: DateTime<Utc>,
    /// What is wrong, in a sentence.
    pub summary: String,
    /// What to do about it.
    pub remedy: String,
    /// When it was over.
    pub resolved_at: Option<DateTime<Utc>>,
    /// What was told of it.
    #[serde(skip)]
    pub told: Told,
}

/// A way to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `[alerts.webhook]`.
    Webhook,
    /// `[alerts.mail]`.
    Mail,
}

/// What was told of an incident: 0 nothing, 1 that it is there, 2 that it is over, or nothing and nothing ever will.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    webhook: i64,
    mail: i64,
}

impl Incident {
    /// Whether people are to be told of it this way: that it is there, or, if they know that, that it is over.
    pub const fn is_due(&self, way: Way) -> bool {
        let told = match way {
            Way::Webhook => self.told.webhook,
            Way::Mail => self.told.mail,
        };
        matches!((told, self.resolved_at.is_some()), (0, false) | (1, true))
    }

    /// Whether it is one of a job, or of the whole account.
    fn is_about(&self, account: &str, resource: &str) -> bool {
        self.account == account && (self.resource == resource || self.resource.is_empty())
    }

    /// Notes that they were.
    pub const fn note_told(&mut self, way: Way) {
        self.set_told(way, if self.resolved_at.is_some() { 2 } else { 1 });
    }

    /// Notes that nothing more is to be told of it this way.
    pub const fn give_up(&mut self, way: Way) {
        self.set_told(way, 2);
    }

    const fn set_told(&mut self, way: Way, told: i64) {
        match way {
            Way::Webhook => self.told.webhook = told,
            Way::Mail => self.told.mail = told,
        }
    }
}

const OPEN: Statement = Statement::shared(
    "INSERT INTO incidents (account, resource, kind, opened_at, summary, remedy) VALUES ($1, $2, $3, $4, $5, $6) \
     ON CONFLICT DO NOTHING",
);
const UNRESOLVED: Statement = Statement::shared(
    "SELECT account, resource, kind, opened_at, summary, remedy, resolved_at, webhook_told, mail_told FROM incidents \
     WHERE resolved_at IS NULL ORDER BY opened_at, account, resource, kind",
);
const RESOLVE: Statement = Statement::shared(
    "UPDATE incidents SET resolved_at = $4 WHERE account = $1 AND resource = $2 AND kind = $3 AND resolved_at IS NULL",
);
// One that was over before anybody was told of it is not told of.
const UNTOLD: Statement = Statement::shared(
    "UPDATE incidents SET telling_until = $2 WHERE (telling_until IS NULL OR telling_until < $1) AND (\
     ($3 AND ((webhook_told = 0 AND resolved_at IS NULL) OR (webhook_told = 1 AND resolved_at IS NOT NULL))) OR \
     ($4 AND ((mail_told = 0 AND resolved_at IS NULL) OR (mail_told = 1 AND resolved_at IS NOT NULL)))) \
     RETURNING account, resource, kind, opened_at, summary, remedy, resolved_at, webhook_told, mail_told",
);
const TOLD: Statement = Statement::shared(
    "UPDATE incidents SET webhook_told = $5, mail_told = $6, telling_until = CASE WHEN $7 THEN NULL ELSE telling_until END \
     WHERE account = $1 AND resource = $2 AND kind = $3 AND opened_at = $4",
);

pub(super) const STATEMENTS: &[Statement] = &[OPEN, UNRESOLVED, RESOLVE, UNTOLD, TOLD];

/// A row of `incidents`.
#[derive(sqlx::FromRow)]
struct Row {
    account: String,
    resource: String,
    kind: String,
    opened_at: DateTime<Utc>,
    summary: String,
    remedy: String,
    resolved_at: Option<DateTime<Utc>>,
    webhook_told: i64,
    mail_told: i64,
}

impl Row {
    /// `None` if it is of a kind that this program does not know.
    fn into_incident(self) -> Option<Incident> {
        Some(Incident {
            kind: IncidentKind::ALL.into_iter().find(|kind| kind.as_str() == self.kind)?,
            account: self.account,
            resource: self.resource,
            opened_at: self.opened_at,
            summary: self.summary,
            remedy: self.remedy,
            resolved_at: self.resolved_at,
            told: Told {
                webhook: self.webhook_told,
                mail: self.mail_told,
            },
        })
    }
}

impl Warehouse {
    /// Opens an incident for each condition that has none, and resolves those whose condition holds no more: of the jobs that
    /// this program keeps, and of those that no program keeps ([`Self::keep_jobs`]). Of others, other programs know.
    pub async fn note_conditions(&self, conditions: &[Condition], kept: &[(&str, Resource)]) -> Result<(), Error> {
        let open = self.open_incidents().await?;
        let is_of = |incident: &Incident, condition: &Condition| {
            incident.account == condition.account
                && incident.resource == condition.resource
                && incident.kind == condition.kind
        };
        let new = conditions
            .iter()
            .filter(|condition| !open.iter().any(|incident| is_of(incident, condition)));
        let (own, others): (Vec<&Incident>, Vec<&Incident>) = open.iter().partition(|incident| {
            let is_of = |(account, resource): &(&str, Resource)| incident.is_about(account, resource.as_str());
            kept.iter().any(is_of)
        });
        let kept_by_anyone = if others.is_empty() {
            Vec::new()
        } else {
            self.kept_jobs().await?
        };
        let of_nobody = others.into_iter().filter(|incident| {
            let is_of = |(account, resource): &(String, String)| incident.is_about(account, resource);
            !kept_by_anyone.iter().any(is_of)
        });
        let over = own
            .into_iter()
            .filter(|incident| !conditions.iter().any(|condition| is_of(incident, condition)))
            .chain(of_nobody);
        let (new, over): (Vec<_>, Vec<_>) = (new.collect(), over.collect());
        if new.is_empty() && over.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let mut tx = self.begin("", &[]).await?;
        let conn = &mut tx.conn();
        for condition in new {
            on!(conn, inner, dialect => sqlx::query(OPEN.of(dialect))
                .bind(&condition.account)
                .bind(&condition.resource)
                .bind(condition.kind.as_str())
                .bind(Stamp(now))
                .bind(condition.summary.replace('\0', "\u{2400}"))
                .bind(condition.remedy.replace('\0', "\u{2400}"))
                .execute(inner)
                .await
                .map(drop))
            .doing("opening an incident")?;
        }
        for incident in over {
            on!(conn, inner, dialect => sqlx::query(RESOLVE.of(dialect))
                .bind(&incident.account)
                .bind(&incident.resource)
                .bind(incident.kind.as_str())
                .bind(Stamp(now))
                .execute(inner)
                .await
                .map(drop))
            .doing("resolving an incident")?;
        }
        tx.commit().await
    }

    /// The incidents that are not over, the oldest first.
    pub async fn open_incidents(&self) -> Result<Vec<Incident>, Error> {
        let rows: Vec<Row> =
            reading!(self, pool, dialect => sqlx::query_as(UNRESOLVED.of(dialect)).fetch_all(pool).await)
                .doing("reading the incidents")?;
        Ok(rows.into_iter().filter_map(Row::into_incident).collect())
    }

    /// The incidents of which people are to be told now in one of these ways, by this program alone for a while.
    pub async fn untold_incidents(&self, ways: &[Way]) -> Result<Vec<Incident>, Error> {
        let mut tx = self.begin("", &[]).await?;
        let conn = &mut tx.conn();
        let now = self.lease_clock(conn).await?;
        let rows: Vec<Row> = on!(conn, inner, dialect => sqlx::query_as(UNTOLD.of(dialect))
            .bind(Stamp(now))
            .bind(Stamp(now + TELLING))
            .bind(ways.contains(&Way::Webhook))
            .bind(ways.contains(&Way::Mail))
            .fetch_all(inner)
            .await)
        .doing("looking for incidents to tell of")?;
        tx.commit().await?;
        Ok(rows.into_iter().filter_map(Row::into_incident).collect())
    }

    /// Keeps what was told of an incident. If that is not all, the rest is told when this program's time is over.
    pub async fn incident_told(&self, incident: &Incident, is_all: bool) -> Result<(), Error> {
        let mut tx = self.begin(&incident.account, &[]).await?;
        let conn = &mut tx.conn();
        on!(conn, inner, dialect => sqlx::query(TOLD.of(dialect))
            .bind(&incident.account)
            .bind(&incident.resource)
            .bind(incident.kind.as_str())
            .bind(Stamp(incident.opened_at))
            .bind(incident.told.webhook)
            .bind(incident.told.mail)
            .bind(is_all)
            .execute(inner)
            .await
            .map(drop))
        .doing("noting that an incident was told of")?;
        tx.commit().await
    }
}
