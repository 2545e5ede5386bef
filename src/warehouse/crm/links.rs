//! The links themselves.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::super::Warehouse;
use super::super::error::{Doing as _, Error};
use super::super::statement::{Statement, in_list, on, reading};
use super::super::values::{List, Stamp};
use super::Bridge;

/// How a contact stands with a CRM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkStatus {
    /// It was there before the first run, and is sent when it changes.
    Waiting,
    /// The configuration leaves it out.
    Skipped,
    /// It is a record of the CRM, or is about to be.
    Linked,
    /// One of the two systems refuses it.
    Held,
    /// It is not clear which record it is.
    Conflict,
}

impl LinkStatus {
    const ALL: [Self; 5] = [Self::Waiting, Self::Skipped, Self::Linked, Self::Held, Self::Conflict];

    /// The word kept in the warehouse.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Skipped => "skipped",
            Self::Linked => "linked",
            Self::Held => "held",
            Self::Conflict => "conflict",
        }
    }
}

/// A contact's link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The contact.
    pub contact_id: String,
    /// The record's id in the CRM, if it is known.
    pub crm_id: Option<String>,
    /// How it stands.
    pub status: LinkStatus,
    /// Why, if it is held, in conflict or skipped.
    pub reason: Option<String>,
    /// The contact's e-mail address, as it is compared.
    pub email: Option<String>,
    /// The contact's telephone number, E.164.
    pub phone: Option<String>,
    /// The values of both sides when they last agreed, JSON.
    pub synced: Option<String>,
    /// What is being done, as long as it is not known what came of it, JSON.
    pub intent: Option<String>,
    /// The fingerprint of the contact that was last looked at.
    pub contact_hash: String,
    /// The fingerprint of the mapping by which it was.
    pub mapping_hash: String,
    /// Whether the record has changed since.
    pub dirty: bool,
    /// When it is looked at again though nothing changes.
    pub retry_at: Option<DateTime<Utc>>,
}

/// A contact as the mirror has it, with its link.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The contact's id.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Its e-mail address, as entered.
    pub email: Option<String>,
    /// Its telephone number, as entered.
    pub phone: Option<String>,
    /// Its labels, JSON.
    pub tags: Option<String>,
    /// The account's own members, JSON.
    pub custom_fields: Option<String>,
    /// When it was created.
    pub created_at: Option<DateTime<Utc>>,
    /// When it was last changed, by the API.
    pub updated_at: Option<DateTime<Utc>>,
    /// Fingerprint of the whole row.
    pub content_hash: String,
    /// Its link, if it has one.
    pub link: Option<Link>,
}

/// Which contacts are looked at.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Those whose ids come after this one.
    pub after: &'a str,
    /// The fingerprint of the mapping: what was done by another one is done again.
    pub mapping_hash: &'a str,
    /// Whether those too that were there before the first run.
    pub backfill: bool,
    /// At most so many.
    pub most: i64,
}

/// Another contact that has the same record, or is known by the same.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Other {
    /// The other contact.
    pub contact_id: String,
    /// Its record.
    pub crm_id: Option<String>,
    /// Its e-mail address.
    pub email: Option<String>,
    /// Its telephone number.
    pub phone: Option<String>,
    /// Whether the mirror still has it.
    pub is_live: bool,
}

/// A record of the CRM and what was last synced of it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct LinkedRecord {
    /// The contact.
    pub contact_id: String,
    /// The record.
    pub crm_id: String,
    /// The values of both sides when they last agreed, JSON.
    pub synced: Option<String>,
}

/// A contact that needs a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Troubled {
    /// The account's name in the configuration.
    pub account: String,
    /// The connector's name in the configuration.
    pub connector: String,
    /// `contact` or `lead`.
    pub entity: String,
    /// The contact.
    pub contact_id: String,
    /// Its record, if it has one.
    pub crm_id: Option<String>,
    /// `held` or `conflict`.
    pub status: String,
    /// What is wrong.
    pub reason: Option<String>,
    /// Since when.
    pub since: DateTime<Utc>,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    name: Option<String>,
    contact_email: Option<String>,
    contact_phone: Option<String>,
    tags: Option<String>,
    custom_fields: Option<String>,
    created_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
    content_hash: String,
    crm_id: Option<String>,
    status: Option<String>,
    reason: Option<String>,
    email: Option<String>,
    phone: Option<String>,
    synced: Option<String>,
    intent: Option<String>,
    contact_hash: Option<String>,
    mapping_hash: Option<String>,
    dirty: Option<bool>,
    retry_at: Option<DateTime<Utc>>,
}

impl Row {
    fn into_candidate(self) -> Candidate {
        let status = self
            .status
            .and_then(|name| LinkStatus::ALL.into_iter().find(|status| status.as_str() == name));
        let link = status.map(|status| Link {
            contact_id: self.id.clone(),
            crm_id: self.crm_id,
            status,
            reason: self.reason,
            email: self.email,
            phone: self.phone,
            synced: self.synced,
            intent: self.intent,
            contact_hash: self.contact_hash.unwrap_or_default(),
            mapping_hash: self.mapping_hash.unwrap_or_default(),
            dirty: self.dirty.unwrap_or(false),
            retry_at: self.retry_at,
        });
        Candidate {
            id: self.id,
            name: self.name,
            email: self.contact_email,
            phone: self.contact_phone,
            tags: self.tags,
            custom_fields: self.custom_fields,
            created_at: self.created_at,
            updated_at: self.updated_at,
            content_hash: self.content_hash,
            link,
        }
    }
}

macro_rules! candidates {
    ($text:literal, $which:expr) => {
        concat!(
            "SELECT c.id, c.name, c.email AS contact_email, c.phone AS contact_phone, c.tags",
            $text,
            " AS tags, c.custom_fields",
            $text,
            " AS custom_fields, c.created_at, c.updated_at, c.content_hash, l.crm_id, l.status, l.reason, l.email, l.phone, \
             l.synced, l.intent, l.contact_hash, l.mapping_hash, l.dirty, l.retry_at FROM contacts c LEFT JOIN crm_links l \
             ON l.account = c.account AND l.connector = $2 AND l.entity = $3 AND l.contact_id = c.id \
             WHERE c.account = $1 AND c.deleted_at IS NULL AND ",
            $which
        )
    };
}

macro_rules! wanted {
    () => {
        "c.id > $4 AND (l.contact_id IS NULL OR l.dirty OR l.intent IS NOT NULL OR l.contact_hash <> c.content_hash \
         OR (l.status <> 'waiting' AND l.mapping_hash <> $5) OR (l.status = 'waiting' AND $6) OR l.retry_at <= $7) \
         ORDER BY c.id LIMIT $8"
    };
}

const WANTED: Statement = Statement {
    sqlite: candidates!("", wanted!()),
    postgres: candidates!("::text", wanted!()),
};
const ONE: Statement = Statement {
    sqlite: candidates!("", "c.id = $4"),
    postgres: candidates!("::text", "c.id = $4"),
};
const SAVE: Statement = Statement::shared(
    "INSERT INTO crm_links (account, connector, entity, contact_id, crm_id, status, reason, email, phone, synced, intent, \
     contact_hash, mapping_hash, dirty, intended_at, linked_at, changed_at, retry_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, \
     $9, $10, $11, $12, $13, $14, $15, $16, $17, $18) ON CONFLICT (account, connector, entity, contact_id) DO UPDATE SET \
     crm_id = excluded.crm_id, status = excluded.status, reason = excluded.reason, email = excluded.email, \
     phone = excluded.phone, synced = excluded.synced, intent = excluded.intent, contact_hash = excluded.contact_hash, \
     mapping_hash = excluded.mapping_hash, dirty = excluded.dirty, intended_at = excluded.intended_at, \
     linked_at = coalesce(crm_links.linked_at, excluded.linked_at), \
     changed_at = CASE WHEN crm_links.status = excluded.status AND crm_links.reason IS NOT DISTINCT FROM excluded.reason \
     AND crm_links.status IN ('held', 'conflict') THEN crm_links.changed_at ELSE excluded.changed_at END, \
     retry_at = excluded.retry_at",
);
const RELEASE: Statement = Statement::shared(
    "UPDATE crm_links SET crm_id = NULL, intent = NULL, status = 'skipped', reason = 'deleted, and another contact has its record' \
     WHERE account = $1 AND connector = $2 AND entity = $3 AND contact_id = $4",
);
// What was there before the first run.
const WAIT: Statement = Statement::shared(
    "INSERT INTO crm_links (account, connector, entity, contact_id, status, contact_hash, mapping_hash, dirty, changed_at) \
     SELECT account, $2, $3, id, 'waiting', content_hash, '', FALSE, $4 FROM contacts \
     WHERE account = $1 AND deleted_at IS NULL ON CONFLICT DO NOTHING",
);
const OTHERS: Statement = Statement::shared(
    "SELECT l.contact_id, l.crm_id, l.email, l.phone, (c.id IS NOT NULL AND c.deleted_at IS NULL) AS is_live \
     FROM crm_links l LEFT JOIN contacts c ON c.account = l.account AND c.id = l.contact_id \
     WHERE l.account = $1 AND l.connector = $2 AND l.entity = $3 AND l.contact_id <> $4 \
     AND (l.crm_id IS NOT NULL OR l.intent IS NOT NULL) AND (l.email = $5 OR l.phone = $6) ORDER BY l.contact_id",
);
const OWNER: Statement = Statement::shared(
    "SELECT l.contact_id, l.crm_id, l.email, l.phone, (c.id IS NOT NULL AND c.deleted_at IS NULL) AS is_live \
     FROM crm_links l LEFT JOIN contacts c ON c.account = l.account AND c.id = l.contact_id \
     WHERE l.account = $1 AND l.connector = $2 AND l.entity = $3 AND l.crm_id = $4",
);
const OF_RECORDS: Statement = in_list!(
    "SELECT contact_id, crm_id, synced FROM crm_links WHERE account = $1 AND connector = $2 AND entity = $3 AND ",
    "crm_id",
    "$4",
    ""
);
const SOIL: Statement = in_list!(
    "UPDATE crm_links SET dirty = TRUE WHERE account = $1 AND connector = $2 AND entity = $3 AND ",
    "contact_id",
    "$4",
    ""
);
const TROUBLED: Statement = Statement::shared(
    "SELECT account, connector, entity, contact_id, crm_id, status, reason, changed_at AS since FROM crm_links \
     WHERE account = $1 AND status IN ('held', 'conflict') ORDER BY connector, entity, contact_id",
);

pub(super) const STATEMENTS: &[Statement] = &[
    WANTED, ONE, SAVE, RELEASE, WAIT, OTHERS, OWNER, OF_RECORDS, SOIL, TROUBLED,
];

impl Warehouse {
    /// The next contacts that are to be looked at, by id: those that are new or have changed, whose record has changed, whose last
    /// effect is not known, that were refused a while ago.
    pub async fn crm_candidates(&self, bridge: &Bridge, wanted: Wanted<'_>) -> Result<Vec<Candidate>, Error> {
        let now = self.now();
        let rows: Vec<Row> = reading!(self, pool, dialect => sqlx::query_as(WANTED.of(dialect))
            .bind(&bridge.account)
            .bind(&bridge.connector)
            .bind(&bridge.entity)
            .bind(wanted.after)
            .bind(wanted.mapping_hash)
            .bind(wanted.backfill)
            .bind(Stamp(now))
            .bind(wanted.most)
            .fetch_all(pool)
            .await)
        .doing("looking for contacts to sync with a CRM")?;
        Ok(rows.into_iter().map(Row::into_candidate).collect())
    }

    /// One contact with its link; `None` if the mirror does not have it, or has it as deleted.
    pub async fn crm_candidate(&self, bridge: &Bridge, contact_id: &str) -> Result<Option<Candidate>, Error> {
        let row: Option<Row> = reading!(self, pool, dialect => sqlx::query_as(ONE.of(dialect))
            .bind(&bridge.account)
            .bind(&bridge.connector)
            .bind(&bridge.entity)
            .bind(contact_id)
            .fetch_optional(pool)
            .await)
        .doing("looking for a contact to sync with a CRM")?;
        Ok(row.map(Row::into_candidate))
    }

    /// Saves links, in place of what was known; `released` are contacts that are gone, and give up their records first. When this
    /// returns, they are on the disk.
    pub async fn save_links(
        &self,
        bridge: &Bridge,
        holder: &str,
        links: &[Link],
        released: &[String],
    ) -> Result<(), Error> {
        if links.is_empty() && released.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let mut tx = self.begin_as_holder(bridge, holder).await?;
        let conn = &mut tx.conn();
        for contact_id in released {
            on!(conn, inner, dialect => sqlx::query(RELEASE.of(dialect))
                .bind(&bridge.account)
                .bind(&bridge.connector)
                .bind(&bridge.entity)
                .bind(contact_id)
                .execute(inner)
                .await
                .map(drop))
            .doing("giving up a link to a CRM")?;
        }
        for link in links {
            on!(conn, inner, dialect => sqlx::query(SAVE.of(dialect))
                .bind(&bridge.account)
                .bind(&bridge.connector)
                .bind(&bridge.entity)
                .bind(&link.contact_id)
                .bind(&link.crm_id)
                .bind(link.status.as_str())
                .bind(link.reason.as_deref().map(without_nul))
                .bind(&link.email)
                .bind(&link.phone)
                .bind(&link.synced)
                .bind(&link.intent)
                .bind(&link.contact_hash)
                .bind(&link.mapping_hash)
                .bind(link.dirty)
                .bind(link.intent.as_ref().map(|_| Stamp(now)))
                .bind(link.crm_id.as_ref().map(|_| Stamp(now)))
                .bind(Stamp(now))
                .bind(link.retry_at.map(Stamp))
                .execute(inner)
                .await
                .map(drop))
            .doing("saving a link to a CRM")?;
        }
        tx.commit().await
    }

    /// Notes that a bridge is used from now on, and that the contacts that are there wait until they change.
    pub async fn begin_bridge(&self, bridge: &Bridge, holder: &str, backfill: bool) -> Result<(), Error> {
        let now = self.now();
        let mut tx = self.begin_as_holder(bridge, holder).await?;
        if !backfill {
            on!(&mut tx.conn(), inner, dialect => sqlx::query(WAIT.of(dialect))
                .bind(&bridge.account)
                .bind(&bridge.connector)
                .bind(&bridge.entity)
                .bind(Stamp(now))
                .execute(inner)
                .await
                .map(drop))
            .doing("noting which contacts were there before")?;
        }
        self.note_begun(&mut tx, bridge).await?;
        tx.commit().await
    }

    /// Other contacts that are, or are about to be, records of the CRM and have the same e-mail address or telephone number.
    pub async fn others_known_by(
        &self,
        bridge: &Bridge,
        contact_id: &str,
        email: Option<&str>,
        phone: Option<&str>,
    ) -> Result<Vec<Other>, Error> {
        reading!(self, pool, dialect => sqlx::query_as(OTHERS.of(dialect))
            .bind(&bridge.account)
            .bind(&bridge.connector)
            .bind(&bridge.entity)
            .bind(contact_id)
            .bind(email)
            .bind(phone)
            .fetch_all(pool)
            .await)
        .doing("looking for contacts that are the same")
    }

    /// The contact that a record of the CRM is linked with.
    pub async fn owner_of(&self, bridge: &Bridge, crm_id: &str) -> Result<Option<Other>, Error> {
        reading!(self, pool, dialect => sqlx::query_as(OWNER.of(dialect))
            .bind(&bridge.account)
            .bind(&bridge.connector)
            .bind(&bridge.entity)
            .bind(crm_id)
            .fetch_optional(pool)
            .await)
        .doing("looking whose a record of a CRM is")
    }

    /// What was last synced of these records; those that are no contacts' are left out.
    pub async fn linked_records(&self, bridge: &Bridge, crm_ids: &[&str]) -> Result<Vec<LinkedRecord>, Error> {
        reading!(self, pool, dialect => sqlx::query_as(OF_RECORDS.of(dialect))
            .bind(&bridge.account)
            .bind(&bridge.connector)
            .bind(&bridge.entity)
            .bind(List(crm_ids))
            .fetch_all(pool)
            .await)
        .doing("looking whose records of a CRM are")
    }

    /// Notes that the records of these contacts have changed, and up to where the CRM's changes are read by that.
    pub async fn note_changes(
        &self,
        bridge: &Bridge,
        holder: &str,
        contact_ids: &[&str],
        cursor: &str,
    ) -> Result<(), Error> {
        let mut tx = self.begin_as_holder(bridge, holder).await?;
        if !contact_ids.is_empty() {
            on!(&mut tx.conn(), inner, dialect => sqlx::query(SOIL.of(dialect))
                .bind(&bridge.account)
                .bind(&bridge.connector)
                .bind(&bridge.entity)
                .bind(List(contact_ids))
                .execute(inner)
                .await
                .map(drop))
            .doing("noting what has changed in a CRM")?;
        }
        self.save_cursor(&mut tx, bridge, cursor).await?;
        tx.commit().await
    }

    /// The contacts of an account that need a person.
    pub async fn troubled_contacts(&self, account: &str) -> Result<Vec<Troubled>, Error> {
        reading!(self, pool, dialect => sqlx::query_as(TROUBLED.of(dialect)).bind(account).fetch_all(pool).await)
            .doing("listing contacts that are held")
    }
}

/// Postgres has no NUL in texts.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{2400}")
}
