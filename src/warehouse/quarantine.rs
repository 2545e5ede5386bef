//! What could not be stored, with the reason and the raw JSON: nothing is lost.
//!
//! A bad row is known by a hash of what it says, so that meeting it again writes nothing. It leaves the
//! quarantine when a row of its id is stored; for messages, whose ids are their conversation's own, of both ids.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::Warehouse;
use super::error::{Doing as _, Error};
use super::look_up::Of;
use super::statement::{Conn, Statement, in_list, in_time, on, reading};
use super::values::{List, Stamp, from_db};
use crate::allai::Resource;
use crate::allai::model::{Json, Record, Rejected};

/// Two searches rather than one with OR, for which SQLite would read the whole quarantine of the resource.
const HELD: Statement = Statement {
    sqlite: "SELECT raw_hash, id FROM quarantine WHERE account = $1 AND resource = $2 AND \
             id IN (SELECT value FROM json_each($3)) AND conversation_id IS NOT DISTINCT FROM $5 \
             UNION ALL SELECT raw_hash, id FROM quarantine WHERE account = $1 AND resource = $2 AND \
             raw_hash IN (SELECT value FROM json_each($4))",
    postgres: "SELECT raw_hash, id FROM quarantine WHERE account = $1 AND resource = $2 AND id = ANY($3) \
               AND conversation_id IS NOT DISTINCT FROM $5 \
               UNION ALL SELECT raw_hash, id FROM quarantine WHERE account = $1 AND resource = $2 AND \
               raw_hash = ANY($4)",
};
const HOLD: Statement = Statement {
    sqlite: "INSERT INTO quarantine (account, resource, raw_hash, id, conversation_id, reason, raw, seen_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
    postgres: "INSERT INTO quarantine (account, resource, raw_hash, id, conversation_id, reason, raw, seen_at) \
               SELECT $1, $2, raw_hash, id, conversation_id, reason, raw::json, $8 \
               FROM UNNEST($3::text[], $4::text[], $5::text[], $6::text[], $7::text[]) \
               AS bad (raw_hash, id, conversation_id, reason, raw) \
               ON CONFLICT DO NOTHING",
};
const RELEASE: Statement = in_list!(
    "DELETE FROM quarantine WHERE account = $1 AND resource = $2 AND ",
    "id",
    "$3",
    " AND conversation_id IS NOT DISTINCT FROM $4"
);
const IS_EMPTY: Statement =
    Statement::shared("SELECT NOT EXISTS (SELECT 1 FROM quarantine WHERE account = $1 AND resource = $2)");
const COUNT: Statement = Statement::shared("SELECT count(*) FROM quarantine WHERE account = $1 AND resource = $2");
const IDS: Statement =
    Statement::shared("SELECT DISTINCT id FROM quarantine WHERE account = $1 AND resource = $2 AND id IS NOT NULL");

/// The reasons met most often, each with its rows and those of all reasons.
const REASONS: Statement = Statement::shared(
    "SELECT account, resource, reason, rows, CAST(total AS BIGINT) AS total FROM (\
     SELECT account, resource, reason, count(*) AS rows, sum(count(*)) OVER (PARTITION BY account, resource) AS total, \
     row_number() OVER (PARTITION BY account, resource ORDER BY count(*) DESC, reason) AS place \
     FROM quarantine GROUP BY account, resource, reason) AS counted WHERE place <= $1 ORDER BY place",
);

pub(super) const STATEMENTS: &[Statement] = &[HELD, HOLD, RELEASE, IS_EMPTY, COUNT, IDS, REASONS];

/// Longer ids might not fit an index of Postgres (2,704 bytes with the other columns); they are found in the raw JSON.
const LONGEST_ID: usize = 1_000;
/// Postgres's JSON parser recurses; what is nested deeper is kept as a JSON string.
const DEEPEST: usize = 1_000;

/// Why rows of a resource are in quarantine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QuarantineReason {
    /// The reason. What it quotes is left out: it may be a value.
    pub reason: String,
    /// How many rows there are for it.
    pub rows: u64,
}

/// The quarantine of a resource, in brief.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quarantined {
    /// How many rows are in it.
    pub rows: u64,
    /// The reasons met most often, the first of them first.
    pub reasons: Vec<QuarantineReason>,
}

/// The text without what stands in quotation marks.
fn without_quoted(text: &str) -> String {
    let parts: Vec<&str> = text.split('"').step_by(2).collect();
    parts.join("…")
}

/// A row on its way into quarantine, in a form either database can hold.
#[derive(Clone, Debug)]
pub(super) struct Bad {
    raw_hash: String,
    id: Option<String>,
    /// Whose message it is, if it is one.
    conversation: Option<String>,
    reason: String,
    raw: String,
}

impl Bad {
    pub(super) fn from_rejected(rejected: &Rejected, conversation: Option<&str>) -> Self {
        let mut hash = Sha256::new_with_prefix(rejected.raw.get());
        if let Some(conversation) = conversation {
            hash.update(" of ");
            hash.update(conversation);
        }
        Self::new(
            hex::encode(hash.finalize()),
            rejected.id.as_deref(),
            conversation,
            &rejected.reason,
            &rejected.raw,
        )
    }

    /// A record that was understood but that the database cannot hold.
    pub(super) fn from_record(record: &Record, raw: &RawValue, reason: &str) -> Self {
        Self::new(hash_of(record), Some(record.id()), conversation_of(record), reason, raw)
    }

    fn new(raw_hash: String, id: Option<&str>, conversation: Option<&str>, reason: &str, raw: &RawValue) -> Self {
        let visible = |text: &str| text.replace('\0', "\u{2400}");
        Self {
            raw_hash,
            id: id.filter(|id| id.len() <= LONGEST_ID).map(visible),
            conversation: conversation.map(visible),
            reason: visible(reason),
            raw: shallow(raw.get()).into_owned(),
        }
    }

    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }
}

/// What a record is known by. The server may write its members in another order the next time: the content counts.
fn hash_of(record: &Record) -> String {
    let mut hash = Sha256::new_with_prefix("record ");
    hash.update(record.id());
    hash.update(record.content_hash().0);
    if let Some(conversation) = conversation_of(record) {
        hash.update(" of ");
        hash.update(conversation);
    }
    hex::encode(hash.finalize())
}

fn conversation_of(record: &Record) -> Option<&str> {
    match record {
        Record::Message(message) => Some(&message.conversation_id),
        _ => None,
    }
}

fn shallow(raw: &str) -> Cow<'_, str> {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in raw.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    if deepest > DEEPEST {
        Cow::Owned(serde_json::Value::from(raw).to_string())
    } else {
        Cow::Borrowed(raw)
    }
}

/// Why a record is not even tried on Postgres: it has no way to store the character NUL, in text or in JSONB, and its
/// indexes have no room for long ids.
pub(super) fn foreseeable_problem(record: &Record) -> Option<String> {
    if record.id().len() > LONGEST_ID {
        return Some(format!(
            "PostgreSQL cannot index it: the id is longer than {LONGEST_ID} bytes"
        ));
    }
    let text = |name, value: Option<&str>| value.is_some_and(|value| value.contains('\0')).then_some(name);
    let json = |name, value: &Option<Json>| value.as_ref().is_some_and(|value| has_nul(value.get())).then_some(name);
    let member = match record {
        Record::Contact(row) => text("id", Some(&row.id))
            .or_else(|| text("name", row.name.as_deref()))
            .or_else(|| text("email", row.email.as_deref()))
            .or_else(|| text("phone", row.phone.as_deref()))
            .or_else(|| json("tags", &row.tags))
            .or_else(|| json("custom_fields", &row.custom_fields))
            .or_else(|| json("extra", &row.extra)),
        Record::Conversation(row) => text("id", Some(&row.id))
            .or_else(|| text("chatbot_id", row.chatbot_id.as_deref()))
            .or_else(|| text("contact_id", row.contact_id.as_deref()))
            .or_else(|| text("visitor_name", row.visitor_name.as_deref()))
            .or_else(|| text("visitor_email", row.visitor_email.as_deref()))
            .or_else(|| json("visitor", &row.visitor))
            .or_else(|| text("channel", row.channel.as_deref()))
            .or_else(|| text("status", row.status.as_deref()))
            .or_else(|| text("resolution", row.resolution.as_deref()))
            .or_else(|| json("metadata", &row.metadata))
            .or_else(|| json("extra", &row.extra)),
        Record::Message(row) => text("id", Some(&row.id))
            .or_else(|| text("conversation_id", Some(&row.conversation_id)))
            .or_else(|| text("role", row.role.as_deref()))
            .or_else(|| text("type", row.kind.as_deref()))
            .or_else(|| text("content", row.content.as_deref()))
            .or_else(|| json("sources", &row.sources))
            .or_else(|| json("extra", &row.extra)),
    };
    member.map(|member| format!("PostgreSQL cannot hold it: {member} contains the character NUL (\\u0000)"))
}

/// Whether a JSON text has the escape of NUL, rather than an escaped backslash before `u0000`.
pub(super) fn has_nul(json: &str) -> bool {
    json.match_indices("\\u0000").any(|(at, _)| {
        let backslashes = json.as_bytes()[..at]
            .iter()
            .rev()
            .take_while(|&&byte| byte == b'\\')
            .count();
        backslashes % 2 == 0
    })
}

/// Whether Postgres's JSONB is sure to take a JSON text: no NUL, no half of a surrogate pair, no number beyond its
/// `numeric`, no deep nesting. <https://www.postgresql.org/docs/15/datatype-json.html>
pub(super) fn fits_jsonb(json: &str) -> bool {
    // serde_json's own value refuses lone surrogates, numbers beyond a float and more than 128 levels.
    !has_nul(json) && serde_json::from_str::<serde_json::Value>(json).is_ok()
}

/// What the quarantine holds of a page.
#[derive(Debug, Default)]
pub(super) struct Held {
    hashes: HashSet<String>,
    ids: HashSet<String>,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.hashes.is_empty() && self.ids.is_empty()
    }

    pub(super) fn holds(&self, bad: &Bad) -> bool {
        self.hashes.contains(&bad.raw_hash)
    }

    pub(super) fn names(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// Whether this very record was found impossible to store before; trying again would only write a transaction to
    /// roll it back.
    pub(super) fn holds_record(&self, record: &Record) -> bool {
        self.names(record.id()) && self.hashes.contains(&hash_of(record))
    }
}

pub(super) async fn held(conn: &mut Conn<'_>, of: Of<'_>, ids: &[&str], bad: &[Bad]) -> Result<Held, Error> {
    let hashes: Vec<&str> = bad.iter().map(|bad| bad.raw_hash.as_str()).collect();
    let rows: Vec<(String, Option<String>)> = on!(conn, inner, dialect => sqlx::query_as(HELD.of(dialect))
        .bind(of.account)
        .bind(of.resource.as_str())
        .bind(List(ids))
        .bind(List(&hashes))
        .bind(of.conversation)
        .fetch_all(inner)
        .await)
    .doing("looking into the quarantine")?;
    let mut held = Held::default();
    for (hash, id) in rows {
        held.hashes.insert(hash);
        held.ids.extend(id);
    }
    Ok(held)
}

pub(super) async fn hold(
    conn: &mut Conn<'_>,
    account: &str,
    resource: Resource,
    now: DateTime<Utc>,
    bad: &[Bad],
) -> Result<(), Error> {
    if bad.is_empty() {
        return Ok(());
    }
    match conn {
        Conn::Sqlite(conn) => {
            for bad in bad {
                sqlx::query(HOLD.sqlite)
                    .bind(account)
                    .bind(resource.as_str())
                    .bind(&bad.raw_hash)
                    .bind(&bad.id)
                    .bind(&bad.conversation)
                    .bind(&bad.reason)
                    .bind(&bad.raw)
                    .bind(Stamp(now))
                    .execute(&mut **conn)
                    .await
                    .doing("filling the quarantine")?;
            }
            Ok(())
        }
        Conn::Postgres(conn) => {
            let holding = sqlx::query(HOLD.postgres)
                .bind(account)
                .bind(resource.as_str())
                .bind(bad.iter().map(|bad| bad.raw_hash.as_str()).collect::<Vec<_>>())
                .bind(bad.iter().map(|bad| bad.id.as_deref()).collect::<Vec<_>>())
                .bind(bad.iter().map(|bad| bad.conversation.as_deref()).collect::<Vec<_>>())
                .bind(bad.iter().map(|bad| bad.reason.as_str()).collect::<Vec<_>>())
                .bind(bad.iter().map(|bad| bad.raw.as_str()).collect::<Vec<_>>())
                .bind(Stamp(now))
                .execute(&mut **conn);
            in_time(holding).await.map(drop).doing("filling the quarantine")
        }
    }
}

pub(super) async fn release(conn: &mut Conn<'_>, of: Of<'_>, ids: &[String]) -> Result<(), Error> {
    if ids.is_empty() {
        return Ok(());
    }
    on!(conn, inner, dialect => sqlx::query(RELEASE.of(dialect))
        .bind(of.account)
        .bind(of.resource.as_str())
        .bind(List(ids))
        .bind(of.conversation)
        .execute(inner)
        .await
        .map(drop))
    .doing("emptying the quarantine")
}

impl Warehouse {
    pub(super) async fn quarantine_is_empty(&self, account: &str, resource: Resource) -> Result<bool, Error> {
        let (is_empty,): (bool,) = reading!(self, pool, dialect => sqlx::query_as(IS_EMPTY.of(dialect))
            .bind(account)
            .bind(resource.as_str())
            .fetch_one(pool)
            .await)
        .doing("looking into the quarantine")?;
        Ok(is_empty)
    }

    /// How many rows of a resource are in quarantine.
    pub async fn quarantined(&self, account: &str, resource: Resource) -> Result<u64, Error> {
        let (count,): (i64,) = reading!(self, pool, dialect => sqlx::query_as(COUNT.of(dialect))
            .bind(account)
            .bind(resource.as_str())
            .fetch_one(pool)
            .await)
        .doing("counting the quarantine")?;
        Ok(from_db(count))
    }

    /// What each resource of each account has in quarantine, with at most `reasons` reasons; those that have nothing are
    /// left out.
    pub(super) async fn quarantined_of_all(
        &self,
        reasons: u32,
    ) -> Result<HashMap<(String, String), Quarantined>, Error> {
        let rows: Vec<(String, String, String, i64, i64)> =
            reading!(self, pool, dialect => sqlx::query_as(REASONS.of(dialect))
                .bind(i64::from(reasons))
                .fetch_all(pool)
                .await)
            .doing("counting the quarantine")?;
        let mut all: HashMap<(String, String), Quarantined> = HashMap::new();
        for (account, resource, reason, rows, total) in rows {
            let found = all.entry((account, resource)).or_default();
            found.rows = from_db(total);
            found.reasons.push(QuarantineReason {
                reason: without_quoted(&reason),
                rows: from_db(rows),
            });
        }
        Ok(all)
    }

    /// The ids of a resource's rows in quarantine, each once, in the order of their bytes. Rows without a usable id
    /// have none; an id the quarantine cannot hold as it is (NUL, too long) is there as it is shown, or not at all.
    pub async fn quarantined_ids(&self, account: &str, resource: Resource) -> Result<Vec<String>, Error> {
        let rows: Vec<(String,)> = reading!(self, pool, dialect => sqlx::query_as(IDS.of(dialect))
            .bind(account)
            .bind(resource.as_str())
            .fetch_all(pool)
            .await)
        .doing("listing the quarantine")?;
        let mut ids: Vec<String> = rows.into_iter().map(|(id,)| id).collect();
        // Not by the database, whose collation may differ.
        ids.sort_unstable();
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nul_is_told_from_an_escaped_backslash() {
        assert!(has_nul(r#""a\u0000b""#));
        assert!(has_nul(r#""a\\\u0000b""#));
        assert!(!has_nul(r#""a\\u0000b""#));
        assert!(!has_nul(r#""a\u00001""#.replace("0000", "0001").as_str()));
    }

    #[test]
    fn a_reason_quotes_nobody() {
        assert_eq!(without_quoted("it has no id"), "it has no id");
        assert_eq!(
            without_quoted("invalid text \"ana@exemplu.ro\" for \"x\", at 1"),
            "invalid text … for …, at 1"
        );
        assert_eq!(without_quoted("cut off \"ana"), "cut off ");
    }

    #[test]
    fn what_is_nested_too_deeply_is_kept_as_a_string() {
        let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
        assert_eq!(shallow(&deep), format!("\"{deep}\""));
        assert_eq!(shallow(r#"{"a":"[[\"["}"#), r#"{"a":"[[\"["}"#);
    }
}
