//! What changed: several streams, merged by time.
//!
//! A record's revision is `coalesce(write_date, create_date)`, by which no version sorts: so the written ones are one stream,
//! in the order of (`write_date`, id), and those never written another, in the order of (`create_date`, id). A change of a
//! contact mechanism does not touch its party: two more streams. Each is read behind its own position, so that however many
//! records share a timestamp, none is skipped.
//!
//! A record is stamped when its transaction begins and seen when that ends, so that one may appear before a position that was
//! passed. So a position is never kept closer to the server's present than [`OVERLAP`]: what is younger comes again, until
//! it is older.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::crm::active_or_not;
use super::model::{MECHANISM, Metas, model_of};
use super::rpc::Effect;
use super::setup::Setup;
use super::values::{encoded_time, time};
use super::{SYSTEM, Tryton};
use crate::error::Error;
use crate::records::{Changes, Entity};

/// At most so many records at once.
const PAGE: usize = 100;
/// No transaction is thought to last longer, the difference of clocks included.
const OVERLAP: TimeDelta = TimeDelta::seconds(120);

/// Where a stream stands: behind the record `id` of the microsecond `at`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Position {
    at: i64,
    id: i64,
}

/// The cursor: the entity, lest it is used for the other, and the streams' positions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    of: Entity,
    behind: Vec<Position>,
}

/// A stream.
#[derive(Clone, Copy, Debug)]
struct Stream {
    model: &'static str,
    /// The field that sorts it.
    stamp: &'static str,
    /// Whether its records are only those that were never written.
    unwritten: bool,
    /// The field that holds the id of the record that changed.
    record: &'static str,
}

fn streams(entity: Entity) -> Vec<Stream> {
    let of = |model, record| {
        let stream = |stamp, unwritten| Stream {
            model,
            stamp,
            unwritten,
            record,
        };
        [stream("write_date", false), stream("create_date", true)]
    };
    let mut streams = of(model_of(entity), "id").to_vec();
    if entity == Entity::Contact {
        streams.extend(of(MECHANISM, "party"));
    }
    streams
}

/// Something that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    position: Position,
    stream: usize,
    record: i64,
}

impl Cursor {
    fn start(entity: Entity) -> Self {
        Self {
            of: entity,
            behind: vec![Position::default(); streams(entity).len()],
        }
    }

    fn parse(entity: Entity, text: &str) -> Result<Self, Error> {
        serde_json::from_str(text)
            .ok()
            .filter(|cursor: &Self| cursor.of == entity && cursor.behind.len() == streams(entity).len())
            .ok_or_else(|| Error::Rejected {
                system: SYSTEM,
                field: Some("cursor".to_owned()),
                message: "it is not one that came from here; begin anew".to_owned(),
            })
    }

    /// Takes the first steps, until they change [`PAGE`] records; returns these, and whether steps are left.
    fn advance(&mut self, mut steps: Vec<Step>) -> (Vec<i64>, bool) {
        steps.sort_unstable();
        let (mut records, mut seen) = (Vec::new(), BTreeSet::new());
        for step in &steps {
            if records.len() == PAGE && !seen.contains(&step.record) {
                return (records, true);
            }
            if seen.insert(step.record) {
                records.push(step.record);
            }
            self.behind[step.stream] = step.position;
        }
        (records, false)
    }

    /// Keeps every position at least so far in the past.
    fn no_later_than(&mut self, latest: DateTime<Utc>) {
        let latest = Position {
            at: latest.timestamp_micros(),
            id: 0,
        };
        for position in &mut self.behind {
            *position = (*position).min(latest);
        }
    }
}

impl Tryton {
    /// See [`Crm::changes_since`](crate::Crm::changes_since).
    pub(super) async fn changes(&self, entity: Entity, cursor: Option<&str>) -> Result<Changes, Error> {
        let mut cursor = match cursor {
            Some(text) => Cursor::parse(entity, text)?,
            None => Cursor::start(entity),
        };
        let setup = self.setup().await?;
        let metas = self.metas(entity).await?;
        let asked_at = self.rpc.server_now();
        let streams = streams(entity);
        let read = |(index, stream): (usize, &Stream)| self.steps(index, *stream, cursor.behind[index], &metas, &setup);
        let pages = try_join_all(streams.iter().enumerate().map(read).collect::<Vec<_>>()).await?;
        // A stream of which there is more may have steps before the others' last ones: those wait.
        let full: Option<Position> = pages
            .iter()
            .filter(|page| page.len() > PAGE)
            .filter_map(|page| page.last().map(|step| step.position))
            .min();
        let steps = pages
            .into_iter()
            .flatten()
            .filter(|step| full.is_none_or(|full| step.position < full))
            .collect();
        let (ids, left) = cursor.advance(steps);
        let more = left || full.is_some();
        if !more {
            cursor.no_later_than(asked_at - OVERLAP);
        }
        let mut records = self.records(entity, &ids, &setup).await?;
        records.sort_by_key(|record| record.changed_at);
        let cursor = serde_json::to_string(&cursor).map_err(|error| Error::Unreadable {
            system: SYSTEM,
            expected: "a cursor",
            problem: error.to_string(),
        })?;
        Ok(Changes { records, cursor, more })
    }

    /// The next steps of a stream; one more than a page, if there are.
    async fn steps(
        &self,
        index: usize,
        stream: Stream,
        behind: Position,
        metas: &Metas,
        setup: &Setup,
    ) -> Result<Vec<Step>, Error> {
        let stamp = stream.stamp;
        let at = encoded_time(DateTime::from_timestamp_micros(behind.at).unwrap_or_default());
        let mut domain = vec![json!([
            "OR",
            [stamp, ">", at],
            [[stamp, "=", at], ["id", ">", behind.id]]
        ])];
        if stream.unwritten {
            domain.push(json!(["write_date", "=", null]));
        }
        // Both models know of deactivation; what was deactivated has changed.
        if stream.model == MECHANISM {
            domain.push(json!(["active", "in", [true, false]]));
        } else {
            domain.push(active_or_not(metas));
        }
        let order = json!([[stamp, "ASC"], ["id", "ASC"]]);
        let params = json!([domain, 0, PAGE + 1, order, [stamp, stream.record], setup.context()]);
        let rows: Vec<Value> = self
            .rpc
            .call(stream.model, "search_read", params, Effect::Reads)
            .await?;
        rows.iter()
            .map(|row| {
                let at = time(&row[stamp])?.timestamp_micros();
                let id = row["id"].as_i64()?;
                let record = row[stream.record].as_i64()?;
                let position = Position { at, id };
                Some(Step {
                    position,
                    stream: index,
                    record,
                })
            })
            .collect::<Option<Vec<Step>>>()
            .ok_or_else(|| Error::Unreadable {
                system: SYSTEM,
                expected: "ids and times of what changed",
                problem: "one is missing".to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(at: i64, id: i64, stream: usize, record: i64) -> Step {
        Step {
            position: Position { at, id },
            stream,
            record,
        }
    }

    #[test]
    fn a_page_ends_between_records_and_each_stream_stays_where_it_was_read_to() {
        let mut cursor = Cursor::start(Entity::Contact);
        let mut steps: Vec<Step> = (1..=120).map(|id| step(10, id, 0, id)).collect();
        steps.push(step(9, 7, 2, 55));
        steps.push(step(11, 8, 2, 1));
        let (records, left) = cursor.advance(steps);
        assert!(left);
        assert_eq!(records.len(), PAGE);
        assert_eq!(records[0], 55);
        assert_eq!(cursor.behind[0], Position { at: 10, id: 100 });
        assert_eq!(cursor.behind[2], Position { at: 9, id: 7 });
        assert_eq!(cursor.behind[1], Position::default());
    }

    #[test]
    fn a_position_stays_behind_the_present() {
        let mut cursor = Cursor::start(Entity::Lead);
        let now = DateTime::from_timestamp_micros(1_000_000_000).unwrap();
        cursor.behind[0] = Position {
            at: 1_000_000_001,
            id: 4,
        };
        cursor.behind[1] = Position { at: 5, id: 4 };
        cursor.no_later_than(now);
        assert_eq!(
            cursor.behind[0],
            Position {
                at: 1_000_000_000,
                id: 0
            }
        );
        assert_eq!(cursor.behind[1], Position { at: 5, id: 4 });
    }

    #[test]
    fn cursors_of_others_are_refused() {
        let own = serde_json::to_string(&Cursor::start(Entity::Contact)).unwrap();
        assert!(Cursor::parse(Entity::Contact, &own).is_ok());
        for other in ["", "{}", "2026-01-01", "{\"of\":\"contact\",\"behind\":[]}", "null"] {
            assert!(Cursor::parse(Entity::Contact, other).is_err(), "{other}");
        }
        assert!(Cursor::parse(Entity::Lead, &own).is_err());
    }
}
