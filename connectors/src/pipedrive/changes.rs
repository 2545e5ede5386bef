//! What changed since a second.
//!
//! Persons and deals are read in the order of their change, page by page. Leads, which cannot be read so, are read from the
//! newest on until they are old, and told in one piece: what changes meanwhile only comes twice.
//!
//! What was stamped may be seen a little later. So the next reading never begins closer to the server's present, as it was when
//! this one began, than [`OVERLAP`]: what is younger comes again, until it is older.

use chrono::{DateTime, SecondsFormat, TimeDelta};
use serde::{Deserialize, Serialize};

use super::api::{Object, PAGE, Row};
use super::model::time;
use super::{Pipedrive, SYSTEM, rejected};
use crate::error::Error;
use crate::records::{Changes, Entity};

/// What is younger than so many times the lag of searches comes again.
const OVERLAP: u32 = 4;
/// More pages of leads than this are not read at once.
const PAGES: usize = 200;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    /// Lest it is used for the other.
    of: Entity,
    /// The second since which is read.
    since: i64,
    reading: Option<Reading>,
}

/// A reading that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reading {
    /// Pipedrive's cursor.
    page: String,
    /// The latest second that was seen.
    seen: i64,
    /// The second before which nothing more appears.
    settled: i64,
}

impl Cursor {
    fn parse(entity: Entity, text: &str) -> Result<Self, Error> {
        serde_json::from_str(text)
            .ok()
            .filter(|cursor: &Self| cursor.of == entity)
            .ok_or_else(|| rejected("cursor", "it is not one that came from here; begin anew"))
    }

    /// The cursor behind a page: goes on with the next one, or begins a new reading where this one was sure to know all.
    fn behind(&self, seen: i64, settled: i64, next: Option<String>) -> Self {
        let since = match next {
            Some(_) => self.since,
            None => (seen + 1).min(settled).max(self.since),
        };
        Self {
            of: self.of,
            since,
            reading: next.map(|page| Reading { page, seen, settled }),
        }
    }
}

fn stamp(row: &Row) -> Result<i64, Error> {
    let stamp = row.values.get("update_time").or_else(|| row.values.get("add_time"));
    let at = stamp.and_then(time).ok_or_else(|| Error::Unreadable {
        system: SYSTEM,
        expected: "when a record was changed",
        problem: "it is missing".to_owned(),
    })?;
    Ok(at.timestamp())
}

impl Pipedrive {
    /// See [`Crm::changes_since`](crate::Crm::changes_since).
    pub(super) async fn changes(&self, entity: Entity, cursor: Option<&str>) -> Result<Changes, Error> {
        let cursor = match cursor {
            Some(text) => Cursor::parse(entity, text)?,
            None => Cursor {
                of: entity,
                since: 0,
                reading: None,
            },
        };
        let overlap = TimeDelta::from_std(self.search_lag * OVERLAP).unwrap_or(TimeDelta::MAX);
        let now = (self.api.client().server_now() - overlap).timestamp();
        let settled = cursor.reading.as_ref().map_or(now, |reading| reading.settled);
        let object = self.object(entity);
        let (rows, next) = match object {
            Object::Leads => (self.leads_since(cursor.since).await?, None),
            Object::Persons | Object::Deals => self.page_since(object, &cursor).await?,
        };
        let mut seen = cursor.reading.as_ref().map_or(cursor.since - 1, |reading| reading.seen);
        for row in &rows {
            seen = seen.max(stamp(row)?);
        }
        let behind = cursor.behind(seen, settled, next);
        let mut records = self.told(entity, rows).await?;
        records.sort_by_key(|record| record.changed_at);
        let text = serde_json::to_string(&behind).map_err(|error| Error::Unreadable {
            system: SYSTEM,
            expected: "a cursor",
            problem: error.to_string(),
        })?;
        Ok(Changes {
            records,
            cursor: text,
            more: behind.reading.is_some(),
        })
    }

    /// A page of what changed, and where the next one begins.
    async fn page_since(&self, object: Object, cursor: &Cursor) -> Result<(Vec<Row>, Option<String>), Error> {
        let since = DateTime::from_timestamp(cursor.since, 0).unwrap_or_default();
        let query = [
            // Fractions of a second are refused.
            ("updated_since", since.to_rfc3339_opts(SecondsFormat::Secs, true)),
            ("sort_by", "update_time".to_owned()),
            ("sort_direction", "asc".to_owned()),
            ("limit", PAGE.to_string()),
        ];
        let page = cursor.reading.as_ref().map(|reading| reading.page.as_str());
        let mut read = match self.api.list(object, &query, page).await {
            // It may not keep its cursors for as long as we do.
            Err(Error::Rejected { .. } | Error::NotFound { .. }) if page.is_some() => {
                self.api.list(object, &query, None).await?
            }
            read => read?,
        };
        read.rows.retain(|row| !row.is_deleted());
        Ok((read.rows, read.next))
    }

    /// The leads that changed since a second.
    async fn leads_since(&self, since: i64) -> Result<Vec<Row>, Error> {
        let query = [("sort", "update_time DESC".to_owned()), ("limit", PAGE.to_string())];
        let (mut rows, mut from) = (Vec::<Row>::new(), None::<String>);
        for _ in 0..PAGES {
            let page = self.api.list(Object::Leads, &query, from.as_deref()).await?;
            let mut is_old = false;
            for row in page.rows {
                is_old |= stamp(&row)? < since;
                let is_new = !is_old && !rows.iter().rev().take(PAGE).any(|known| known.id == row.id);
                if is_new {
                    rows.push(row);
                }
            }
            match page.next {
                Some(next) if !is_old => from = Some(next),
                _ => return Ok(rows),
            }
        }
        Err(Error::Unsupported {
            system: SYSTEM,
            doing: format!("tell the changes of more than {} leads", PAGES * PAGE),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_goes_on_and_the_next_begins_where_all_was_sure() {
        let start = Cursor {
            of: Entity::Contact,
            since: 100,
            reading: None,
        };
        let on = start.behind(500, 1_000, Some("abc".to_owned()));
        assert_eq!((on.since, on.reading.as_ref().unwrap().seen), (100, 500));
        assert_eq!(on.behind(700, 1_000, None).since, 701, "nothing more has that second");
        assert_eq!(on.behind(1_200, 1_000, None).since, 1_000, "what is young comes again");
        assert_eq!(start.behind(99, 50, None).since, 100, "it never goes back");
    }

    #[test]
    fn cursors_of_others_are_refused() {
        let own = r#"{"of":"contact","since":5,"reading":null}"#;
        assert!(Cursor::parse(Entity::Contact, own).is_ok());
        assert!(Cursor::parse(Entity::Lead, own).is_err());
        for other in ["", "{}", "2026-01-01", "null", "{\"of\":\"contact\"}"] {
            assert!(Cursor::parse(Entity::Contact, other).is_err(), "{other}");
        }
    }
}
