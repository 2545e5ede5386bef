//! What changed: one stream, in the order of (time of the change, id), read behind a position.
//!
//! A search sorts by one property only, and cannot be paged beyond 10,000 results. So it is never paged: what has the time of
//! the position is read by id until there is no more, then what is later, by time; of a full page the last time is left, of
//! which there may be more. However many share a time, none is skipped, and no search has more than a page of interest.
//!
//! The search lags behind, so that something may appear before a position that was passed. So in the end a position is never
//! closer to the server's present, as it was when the first was read that is so young, than some times the lag: what is younger
//! comes again.

use std::fmt::Display;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::{BATCH, Row};
use super::crm::changed_property;
use super::model::time;
use super::{Hubspot, SYSTEM, rejected};
use crate::error::Error;
use crate::records::{Changes, Entity};

/// What is younger than so many times the lag of searches comes again.
const LAGS: u32 = 4;

/// Behind the object `id` of the millisecond `at`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Position {
    at: i64,
    id: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    /// Lest it is used for the other.
    of: Entity,
    behind: Position,
    /// Where to begin again in the end, once something young was read: milliseconds.
    again: Option<i64>,
}

impl Cursor {
    const fn start(of: Entity) -> Self {
        Self {
            of,
            behind: Position { at: 0, id: 0 },
            again: None,
        }
    }

    fn parse(entity: Entity, text: &str) -> Result<Self, Error> {
        serde_json::from_str(text)
            .ok()
            .filter(|cursor: &Self| cursor.of == entity)
            .ok_or_else(|| rejected("cursor", "it is not one that came from here; begin anew"))
    }

    /// Takes what is later than the position, in the order of time, `full` if there may be more; returns what is taken.
    fn advance(&mut self, mut later: Vec<Position>, full: bool) -> Vec<Position> {
        if full && let Some(last) = later.last().copied() {
            later.retain(|step| step.at < last.at);
            self.behind = Position { at: last.at, id: 0 };
        } else if let Some(last) = later.iter().max() {
            self.behind = *last;
        }
        later
    }

    /// Notes where to begin again if it is among the young, and in the end goes back there.
    fn settle(&mut self, settled: DateTime<Utc>, more: bool) {
        let settled = settled.timestamp_millis();
        if more {
            if self.behind.at > settled {
                self.again.get_or_insert(settled);
            }
            return;
        }
        let at = self.again.take().unwrap_or(settled);
        self.behind = self.behind.min(Position { at, id: 0 });
    }
}

fn filter(property: &str, operator: &str, value: impl Display) -> Value {
    json!({"propertyName": property, "operator": operator, "value": value.to_string()})
}

impl Hubspot {
    /// See [`Crm::changes_since`](crate::Crm::changes_since).
    pub(super) async fn changes(&self, entity: Entity, cursor: Option<&str>) -> Result<Changes, Error> {
        let mut cursor = match cursor {
            Some(text) => Cursor::parse(entity, text)?,
            None => Cursor::start(entity),
        };
        let overlap = TimeDelta::from_std(self.search_lag * LAGS).unwrap_or(TimeDelta::MAX);
        let settled = self.api.client().server_now() - overlap;
        let stamp = changed_property(entity);
        let Position { at, id } = cursor.behind;
        let mut steps = Vec::new();
        if at > 0 {
            let same = [
                filter(stamp, "GTE", at),
                filter(stamp, "LTE", at),
                filter("hs_object_id", "GT", id),
            ];
            steps = self.steps(entity, &same, "hs_object_id", BATCH).await?;
            if let Some(last) = steps.last() {
                cursor.behind.id = last.id;
            }
        }
        let left = BATCH - steps.len().min(BATCH);
        let mut more = left == 0;
        if !more {
            let later = self.steps(entity, &[filter(stamp, "GT", at)], stamp, left).await?;
            more = later.len() >= left;
            steps.extend(cursor.advance(later, more));
        }
        cursor.settle(settled, more);
        let ids: Vec<String> = steps.iter().map(|step| step.id.to_string()).collect();
        let rows = self.rows(entity, &ids, None).await?;
        let mut records = self.told(entity, rows).await?;
        records.sort_by_key(|record| record.changed_at);
        let cursor = serde_json::to_string(&cursor).map_err(|error| Error::Unreadable {
            system: SYSTEM,
            expected: "a cursor",
            problem: error.to_string(),
        })?;
        Ok(Changes { records, cursor, more })
    }

    async fn steps(&self, entity: Entity, filters: &[Value], sort: &str, limit: usize) -> Result<Vec<Position>, Error> {
        let stamp = changed_property(entity);
        let groups = [json!({"filters": filters})];
        let rows = self.api.search(entity, &groups, sort, &[stamp], limit).await?;
        let step = |row: &Row| {
            Some(Position {
                at: time(row.text(stamp))?.timestamp_millis(),
                id: row.id.parse().ok()?,
            })
        };
        let steps: Option<Vec<Position>> = rows.iter().map(step).collect();
        steps.ok_or_else(|| Error::Unreadable {
            system: SYSTEM,
            expected: "ids and times of what changed",
            problem: "one is missing".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(steps: &[(i64, u64)]) -> Vec<Position> {
        steps.iter().map(|&(at, id)| Position { at, id }).collect()
    }

    #[test]
    fn of_a_full_page_the_last_time_is_left_for_the_next() {
        let mut cursor = Cursor::start(Entity::Contact);
        let taken = cursor.advance(steps(&[(1, 9), (2, 8), (2, 7), (3, 5)]), true);
        assert_eq!(taken, steps(&[(1, 9), (2, 8), (2, 7)]));
        assert_eq!(cursor.behind, Position { at: 3, id: 0 });
        assert!(cursor.advance(steps(&[(4, 2), (4, 1)]), true).is_empty());
        assert_eq!(cursor.behind, Position { at: 4, id: 0 });
        assert_eq!(cursor.advance(steps(&[(5, 9), (6, 3)]), false).len(), 2);
        assert_eq!(cursor.behind, Position { at: 6, id: 3 });
    }

    #[test]
    fn what_was_young_when_it_was_read_comes_again() {
        let time = |at| DateTime::from_timestamp_millis(at).unwrap();
        let mut cursor = Cursor::start(Entity::Lead);
        cursor.behind = Position { at: 1_050, id: 4 };
        cursor.settle(time(1_000), true);
        assert_eq!(cursor.behind.at, 1_050, "on it goes");
        cursor.settle(time(9_000), false);
        assert_eq!(cursor.behind, Position { at: 1_000, id: 0 }, "as young as it was then");
        cursor.settle(time(9_000), false);
        assert_eq!(cursor.behind, Position { at: 1_000, id: 0 }, "what is old is passed");
    }

    #[test]
    fn cursors_of_others_are_refused() {
        let own = serde_json::to_string(&Cursor::start(Entity::Contact)).unwrap();
        assert!(Cursor::parse(Entity::Contact, &own).is_ok());
        assert!(Cursor::parse(Entity::Lead, &own).is_err());
        for other in ["", "{}", "2026-01-01", "null", "{\"of\":\"contact\"}"] {
            assert!(Cursor::parse(Entity::Contact, other).is_err(), "{other}");
        }
    }
}
