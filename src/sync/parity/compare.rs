//! One row of the API against the same row of the mirror, column by column.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use chrono::{DateTime, Utc};

use super::{Auditor, json};
use crate::allai::model::{ContentHash, Json, Record};
use crate::allai::{ListQuery, Listing, Page, Resource};
use crate::sync::Error;
use crate::sync::sweep::{Item, Mark, PageView};
use crate::warehouse::{ColumnKind, Difference, DifferenceKind, HeldRow, HeldValue, columns};

/// What the comparison of a row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Nothing: the row is an earlier copy of one further down the page, or has no id.
    Passed,
    /// Every column is what the API says.
    Equal,
    /// The database cannot hold it; it is in quarantine.
    Quarantined,
    /// It differs, and the API changed it after the last proof, or while it was looked at.
    Pending,
    /// The mirror has no such row, and the API created it after the last proof.
    New,
    /// The mirror has no such row.
    Missing,
    /// The mirror marks it as deleted.
    Deleted,
    /// These columns hold something else.
    Columns(Vec<&'static str>),
}

impl Judgement {
    pub(super) const fn is_difference(&self) -> bool {
        matches!(self, Self::Missing | Self::Deleted | Self::Columns(_))
    }
}

/// A row of a page, compared.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) id: Option<String>,
    /// Its number in the mirror.
    pub(super) num: Option<u64>,
    pub(super) judgement: Judgement,
    hash: Option<ContentHash>,
    /// A fingerprint of its content.
    version: u64,
    pub(super) item: Item,
}

impl Judged {
    fn of(record: &Record, held: Option<&HeldRow>, judgement: Judgement) -> Self {
        let key = fingerprint(record.id().as_bytes());
        Self {
            id: Some(record.id().to_owned()),
            num: held.map(|row| row.row_num),
            judgement,
            hash: Some(record.content_hash()),
            version: fingerprint(&record.content_hash().0),
            item: Item {
                key,
                named: true,
                created_at: record.created_at(),
                updated_at: record.updated_at(),
            },
        }
    }

    fn unusable(raw: &Json) -> Self {
        let key = fingerprint(raw.get().as_bytes());
        Self {
            id: None,
            num: None,
            judgement: Judgement::Passed,
            hash: None,
            version: key,
            item: Item {
                key,
                named: false,
                created_at: None,
                updated_at: None,
            },
        }
    }

    /// How the difference is told of; `None` if there is none.
    pub(super) fn difference(&self, conversation: Option<&str>) -> Option<Difference> {
        let (kind, fields) = match &self.judgement {
            Judgement::Missing => (DifferenceKind::Missing, &[][..]),
            Judgement::Deleted => (DifferenceKind::Deleted, &[][..]),
            Judgement::Columns(fields) => (DifferenceKind::Columns, fields.as_slice()),
            _ => return None,
        };
        Some(Difference {
            kind,
            id: self.id.clone(),
            conversation_id: conversation.map(str::to_owned),
            fields: fields.iter().map(|&field| field.to_owned()).collect(),
            api: None,
            mirror: None,
        })
    }
}

/// A page compared, with what a sweep wants to know of it.
#[derive(Clone, Debug, Default)]
pub(super) struct JudgedPage {
    pub(super) rows: Vec<Judged>,
    pub(super) items: Vec<Item>,
    pub(super) total: Option<u64>,
    pub(super) has_more: Option<bool>,
}

impl JudgedPage {
    /// Shows the page to `look` as a sweep sees it.
    pub(super) fn view<T>(&self, look: impl FnOnce(&PageView<'_>) -> T) -> T {
        look(&PageView {
            items: &self.items,
            version: &|position| self.rows[position].version,
            total: self.total,
            has_more: self.has_more,
            is_early: false,
        })
    }

    /// The rows met for the first time on this page, each as it was compared: of several with one id the last.
    pub(super) fn compared_first(&self, first_seen: &[bool]) -> Vec<&Judged> {
        let new = self.rows.iter().zip(first_seen).filter(|(_, first_seen)| **first_seen);
        let new: HashSet<u64> = new.map(|(row, _)| row.item.key).collect();
        let compared = |row: &&Judged| row.judgement != Judgement::Passed && new.contains(&row.item.key);
        self.rows.iter().filter(compared).collect()
    }

    /// An audit writes nothing: no row is ever one that had to be written.
    pub(super) fn marks(&self) -> Vec<Mark> {
        let mark = |row: &Judged| Mark {
            num: row.num,
            changed: false,
            recent: false,
        };
        self.rows.iter().map(mark).collect()
    }
}

impl Auditor<'_> {
    /// Fetches a page, compares it, and looks a second time at what differs.
    pub(super) async fn look(&self, listing: &Listing, query: &ListQuery) -> Result<JudgedPage, Error> {
        let mut page = self.look_once(listing, query).await?;
        if page.rows.iter().any(|row| row.judgement.is_difference()) {
            self.look_again(listing, query, &mut page).await?;
        }
        Ok(page)
    }

    pub(super) async fn look_once(&self, listing: &Listing, query: &ListQuery) -> Result<JudgedPage, Error> {
        let page = self.unless_cancelled(self.client.list(listing, query)).await??;
        self.judge(listing, page).await
    }

    /// What differs may have changed between the reading of the one side and of the other: a difference is one only if
    /// both sides still say what they said.
    async fn look_again(&self, listing: &Listing, query: &ListQuery, page: &mut JudgedPage) -> Result<(), Error> {
        let mut again = HashMap::new();
        let width = (page.rows.len() as u64).max(1);
        let offsets = [
            query.offset,
            query.offset.saturating_sub(width),
            query.offset.saturating_add(width),
        ];
        for offset in offsets {
            let found = |row: &Judged| row.id.as_ref().is_none_or(|id| again.contains_key(id));
            if page.rows.iter().filter(|row| row.judgement.is_difference()).all(found) {
                break;
            }
            let query = ListQuery {
                offset,
                ..query.clone()
            };
            for row in self.look_once(listing, &query).await?.rows {
                if let (Some(id), true) = (row.id.clone(), row.judgement != Judgement::Passed) {
                    again.entry(id).or_insert(row);
                }
            }
        }
        for row in &mut page.rows {
            if !row.judgement.is_difference() {
                continue;
            }
            let second = row.id.as_ref().and_then(|id| again.get(id));
            match second {
                Some(second) if second.judgement == row.judgement && second.hash == row.hash => {}
                Some(second) if second.judgement == Judgement::Equal => row.judgement = Judgement::Equal,
                Some(_) | None => row.judgement = Judgement::Pending,
            }
        }
        Ok(())
    }

    /// Whether the row may have been created after the last proof.
    pub(super) fn is_fresh(&self, row: &Judged) -> bool {
        row.item.created_at.is_none_or(|at| at > self.as_of)
    }

    async fn judge(&self, listing: &Listing, page: Page) -> Result<JudgedPage, Error> {
        let decoded: Vec<Result<Record, &Json>> = page
            .items
            .iter()
            .map(|raw| Record::decode(listing, raw).map_err(|_| raw))
            .collect();
        let ids: Vec<&str> = decoded.iter().flatten().map(Record::id).collect();
        let (warehouse, account, resource) = (self.job.warehouse, self.account(), listing.resource());
        let conversation = listing.conversation_id();
        let held = warehouse.held_rows(account, resource, conversation, &ids).await?;
        let held: HashMap<&str, &HeldRow> = held.iter().map(|row| (row.id.as_str(), row)).collect();

        // Of several rows with one id the last counts.
        let mut later = HashSet::new();
        let mut rows: Vec<Judged> = Vec::with_capacity(decoded.len());
        for decoded in decoded.iter().rev() {
            let record = match decoded {
                Ok(record) => record,
                Err(raw) => {
                    rows.push(Judged::unusable(raw));
                    continue;
                }
            };
            self.watch(record.created_at().max(record.updated_at()));
            let held = held.get(record.id()).copied();
            let judgement = if later.insert(record.id()) {
                self.compare(record, held)
            } else {
                Judgement::Passed
            };
            rows.push(Judged::of(record, held, judgement));
        }
        rows.reverse();

        let suspicious: Vec<&str> = rows
            .iter()
            .filter(|row| row.judgement.is_difference())
            .filter_map(|row| row.id.as_deref())
            .collect();
        let quarantined = warehouse
            .quarantined_among(account, resource, conversation, &suspicious)
            .await?;
        for row in &mut rows {
            if row.judgement.is_difference() && row.id.as_ref().is_some_and(|id| quarantined.contains(id)) {
                row.judgement = Judgement::Quarantined;
            }
        }
        Ok(JudgedPage {
            items: rows.iter().map(|row| row.item).collect(),
            rows,
            total: page.total,
            has_more: page.has_more,
        })
    }

    fn compare(&self, record: &Record, held: Option<&HeldRow>) -> Judgement {
        let judgement = match held {
            None if self.job.warehouse.cannot_hold(record) => Judgement::Quarantined,
            None => Judgement::Missing,
            Some(row) if row.deleted => Judgement::Deleted,
            Some(row) => {
                let fields = differing_columns(record, row);
                if fields.is_empty() {
                    Judgement::Equal
                } else if self.job.warehouse.cannot_hold(record) {
                    Judgement::Quarantined
                } else {
                    Judgement::Columns(fields)
                }
            }
        };
        if !judgement.is_difference() {
            return judgement;
        }
        let news = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at > self.as_of);
        let is_news = news(record.created_at()) || news(record.updated_at());
        match judgement {
            Judgement::Missing if news(record.created_at()) => Judgement::New,
            // It is dated ahead, and has not changed since it was mirrored.
            Judgement::Columns(fields)
                if record.updated_at().is_some_and(|at| at > self.began_at) && !fields.contains(&"updated_at") =>
            {
                Judgement::Columns(fields)
            }
            _ if is_news => Judgement::Pending,
            judgement => judgement,
        }
    }
}

/// A value as the API has it.
enum Value<'a> {
    Text(Option<&'a str>),
    Json(Option<&'a Json>),
    Time(Option<DateTime<Utc>>),
    Number(Option<f64>),
}

/// The record's values, in the order of [`columns`].
fn values(record: &Record) -> Vec<Value<'_>> {
    use Value::{Json, Number, Text, Time};
    match record {
        Record::Contact(row) => vec![
            Text(row.name.as_deref()),
            Text(row.email.as_deref()),
            Text(row.phone.as_deref()),
            Json(row.tags.as_ref()),
            Json(row.custom_fields.as_ref()),
            Time(row.created_at),
            Time(row.updated_at),
            Json(row.extra.as_ref()),
        ],
        Record::Conversation(row) => vec![
            Text(row.chatbot_id.as_deref()),
            Text(row.contact_id.as_deref()),
            Text(row.visitor_name.as_deref()),
            Text(row.visitor_email.as_deref()),
            Json(row.visitor.as_ref()),
            Text(row.channel.as_deref()),
            Text(row.status.as_deref()),
            Text(row.resolution.as_deref()),
            Json(row.metadata.as_ref()),
            Time(row.created_at),
            Time(row.updated_at),
            Time(row.closed_at),
            Json(row.extra.as_ref()),
        ],
        Record::Message(row) => vec![
            Text(row.role.as_deref()),
            Text(row.kind.as_deref()),
            Text(row.content.as_deref()),
            Number(row.confidence),
            Json(row.sources.as_ref()),
            Time(row.sent_at),
            Json(row.extra.as_ref()),
        ],
    }
}

/// The columns that do not hold what the API says.
fn differing_columns(record: &Record, held: &HeldRow) -> Vec<&'static str> {
    let columns: &[(&'static str, ColumnKind)] = columns(record.resource());
    let values = values(record);
    debug_assert_eq!((columns.len(), values.len()), (held.values.len(), columns.len()));
    columns
        .iter()
        .zip(values.iter().zip(&held.values))
        .filter(|(_, (value, held))| !is_same(value, held))
        .map(|((name, _), _)| *name)
        .collect()
}

fn is_same(value: &Value<'_>, held: &HeldValue) -> bool {
    match (value, held) {
        (Value::Text(None) | Value::Json(None) | Value::Time(None) | Value::Number(None), HeldValue::Null) => true,
        (Value::Text(Some(text)), HeldValue::Text(held)) => text == held,
        (Value::Json(Some(json)), HeldValue::Text(held)) => json::same(json.get(), held),
        (Value::Time(Some(at)), HeldValue::Text(held)) => {
            DateTime::parse_from_rfc3339(held).is_ok_and(|held| held == *at)
        }
        // What is stored is the same double, bit for bit, but for the sign of zero.
        (Value::Number(Some(number)), HeldValue::Number(held)) => {
            number.to_bits() == held.to_bits() || (*number == 0.0 && *held == 0.0)
        }
        _ => false,
    }
}

fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// The list that tells of a resource: for messages, that of their conversations.
pub(super) const fn listing_of(resource: Resource) -> Listing {
    match resource {
        Resource::Contacts => Listing::Contacts,
        _ => Listing::Conversations,
    }
}
