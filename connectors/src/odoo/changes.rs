//! What changed, by `write_date`.
//!
//! Odoo keeps it in microseconds, sorts by them, and tells whole seconds. So a second is the smallest step, however many records
//! it has: a page takes whole seconds, and one that does not fit is read by id. A record that is written meanwhile leaves its
//! second for a later one, so that none is skipped.
//!
//! A record is stamped when its transaction begins and seen when that ends, so that one may appear before a position that was
//! passed. So a position is never kept closer to the server's present than [`OVERLAP`]: what is younger comes again, until
//! it is older. What was never stamped, as some of the first data of a database, comes once, first of all.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::model::model_of;
use super::rpc::{Call, unreadable};
use super::setup::Setup;
use super::values::{encoded_time, time};
use super::{Odoo, SYSTEM};
use crate::error::Error;
use crate::records::{Changes, Entity};

/// At most so many records at once.
const PAGE: usize = 100;
/// No transaction is thought to last longer, the difference of clocks included.
const OVERLAP: TimeDelta = TimeDelta::seconds(120);

/// The cursor: the entity, lest it is used for the other, and the last record that came: its second and its id. Second 0 is of
/// those that were never stamped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    of: Entity,
    at: i64,
    id: i64,
}

/// A record and the second in which it changed.
type Step = (i64, i64);

impl Cursor {
    fn parse(entity: Entity, text: &str) -> Result<Self, Error> {
        serde_json::from_str(text)
            .ok()
            .filter(|cursor: &Self| cursor.of == entity && moment(cursor.at).is_some())
            .ok_or_else(|| Error::Rejected {
                system: SYSTEM,
                field: Some("cursor".to_owned()),
                message: "it is not one that came from here; begin anew".to_owned(),
            })
    }

    /// Goes on: `rest` is what is left of its second, by id; `later` what comes after that, by time. Both have one record more
    /// than a page, if there are. Returns the records that come now, and whether there are more.
    fn advance(&mut self, rest: &[i64], mut later: Vec<Step>) -> (Vec<i64>, bool) {
        let mut records: Vec<i64> = rest.iter().take(PAGE).copied().collect();
        if let Some(last) = records.last() {
            self.id = *last;
        }
        if rest.len() > PAGE {
            return (records, true);
        }
        let is_cut = later.len() > PAGE;
        let last = later.last().map(|(at, _)| *at);
        if let Some(last) = last.filter(|_| is_cut) {
            // Of the last second some are missing, and which ones is not known.
            later.retain(|(at, _)| *at < last);
        }
        later.sort_unstable();
        let room = PAGE - records.len();
        if later.len() > room {
            later.truncate(room);
            if let Some((at, id)) = later.last() {
                (self.at, self.id) = (*at, *id);
            }
            records.extend(later.iter().map(|(_, id)| *id));
            return (records, true);
        }
        records.extend(later.iter().map(|(_, id)| *id));
        match last {
            Some(last) if is_cut => (self.at, self.id) = (last, 0),
            _ => {
                if let Some((at, id)) = later.last() {
                    (self.at, self.id) = (*at, *id);
                }
            }
        }
        (records, is_cut)
    }

    /// Keeps the position at least so far in the past.
    fn no_later_than(&mut self, latest: DateTime<Utc>) {
        (self.at, self.id) = (self.at, self.id).min((latest.timestamp(), 0));
    }
}

fn moment(second: i64) -> Option<String> {
    // What comes after it must be a date, too.
    let after = second
        .checked_add(1)
        .and_then(|after| DateTime::from_timestamp(after, 0))?;
    let is_plausible = second >= 0 && chrono::Datelike::year(&after) < 10_000;
    DateTime::from_timestamp(second, 0)
        .filter(|_| is_plausible)
        .map(encoded_time)
}

impl Odoo {
    /// See [`Crm::changes_since`](crate::Crm::changes_since).
    pub(super) async fn changes(&self, entity: Entity, cursor: Option<&str>) -> Result<Changes, Error> {
        let mut cursor = match cursor {
            Some(text) => Cursor::parse(entity, text)?,
            None => Cursor {
                of: entity,
                at: 0,
                id: 0,
            },
        };
        let setup = self.setup().await?;
        let metas = self.metas(entity).await?;
        let asked_at = self.rpc.server_now();
        let (rest, later) = tokio::try_join!(self.rest(&cursor, &setup), self.later(&cursor, &setup))?;
        let (ids, more) = cursor.advance(&rest, later);
        if !more {
            cursor.no_later_than(asked_at - OVERLAP);
        }
        let mut records = self.records(entity, &ids, &metas, &setup).await?;
        records.sort_by_key(|record| record.changed_at);
        let cursor = serde_json::to_string(&cursor).map_err(|error| unreadable("a cursor", &error.to_string()))?;
        Ok(Changes { records, cursor, more })
    }

    /// What is left of the cursor's second, by id.
    async fn rest(&self, cursor: &Cursor, setup: &Setup) -> Result<Vec<i64>, Error> {
        let mut domain = vec![json!(["id", ">", cursor.id])];
        if cursor.at == 0 {
            domain.push(json!(["write_date", "=", false]));
        } else {
            domain.push(json!(["write_date", ">=", moment(cursor.at)]));
            domain.push(json!(["write_date", "<", moment(cursor.at + 1)]));
        }
        let rows = self.stamps(cursor.of, domain, "id", setup).await?;
        let ids: Option<Vec<i64>> = rows.iter().map(|row| row["id"].as_i64()).collect();
        ids.ok_or_else(|| unreadable("ids of what changed", "one is missing"))
    }

    /// What comes after the cursor's second, by time.
    async fn later(&self, cursor: &Cursor, setup: &Setup) -> Result<Vec<Step>, Error> {
        let domain = vec![json!(["write_date", ">=", moment(cursor.at + 1)])];
        let rows = self.stamps(cursor.of, domain, "write_date, id", setup).await?;
        let steps: Option<Vec<Step>> = rows
            .iter()
            .map(|row| Some((time(&row["write_date"])?.timestamp(), row["id"].as_i64()?)))
            .collect();
        steps.ok_or_else(|| unreadable("ids and times of what changed", "one is missing"))
    }

    async fn stamps(
        &self,
        entity: Entity,
        domain: Vec<Value>,
        order: &str,
        setup: &Setup,
    ) -> Result<Vec<Value>, Error> {
        // What was archived has changed, too.
        let call = Call::search_read(model_of(entity), Value::Array(domain), &["write_date"])
            .with("order", json!(order))
            .with("limit", json!(PAGE + 1))
            .context(setup.context(&[("active_test", json!(false))]));
        self.rpc.call(call).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn start() -> Cursor {
        Cursor {
            of: Entity::Lead,
            at: 0,
            id: 0,
        }
    }

    /// Reads everything, as Odoo would tell it.
    fn drained(all: &[Step]) -> Vec<i64> {
        let mut cursor = start();
        let mut told = Vec::new();
        for _ in 0..all.len() + 2 {
            let mut rest: Vec<i64> = all
                .iter()
                .filter(|(at, id)| *at == cursor.at && *id > cursor.id)
                .map(|(_, id)| *id)
                .collect();
            rest.sort_unstable();
            rest.truncate(PAGE + 1);
            // In the order of microseconds, which is not that of ids.
            let mut later: Vec<Step> = all.iter().filter(|(at, _)| *at > cursor.at).copied().collect();
            later.sort_by_key(|(at, id)| (*at, id.wrapping_mul(7919) % 1009, *id));
            later.truncate(PAGE + 1);
            let (records, more) = cursor.advance(&rest, later);
            assert!(records.len() <= PAGE);
            told.extend(records);
            if !more {
                return told;
            }
        }
        panic!("it does not end");
    }

    proptest! {
        #[test]
        fn each_record_comes_once_however_many_share_a_second(seconds in proptest::collection::vec(0_i64..6, 0..700)) {
            let all: Vec<Step> = seconds.iter().zip(1..).map(|(at, id)| (*at, id)).collect();
            let told = drained(&all);
            prop_assert_eq!(told.len(), all.len());
            prop_assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), all.iter().map(|(_, id)| *id).collect());
        }
    }

    #[test]
    fn a_position_stays_behind_the_present() {
        let mut cursor = Cursor {
            at: 1_001,
            id: 4,
            ..start()
        };
        cursor.no_later_than(DateTime::from_timestamp(1_000, 0).unwrap());
        assert_eq!((cursor.at, cursor.id), (1_000, 0));
        cursor.no_later_than(DateTime::from_timestamp(2_000, 0).unwrap());
        assert_eq!((cursor.at, cursor.id), (1_000, 0));
    }

    #[test]
    fn cursors_of_others_are_refused() {
        let own = serde_json::to_string(&start()).unwrap();
        assert!(Cursor::parse(Entity::Lead, &own).is_ok());
        assert!(Cursor::parse(Entity::Contact, &own).is_err());
        for other in [
            "",
            "{}",
            "2026-01-01",
            "null",
            r#"{"of":"lead","at":-1,"id":0}"#,
            r#"{"of":"lead","at":9223372036854775807,"id":0}"#,
        ] {
            assert!(Cursor::parse(Entity::Lead, other).is_err(), "{other}");
        }
    }
}
