//! Contacts and leads.

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use minijinja::Value;
use minijinja::value::Serde;
use serde::{Deserialize, Serialize};

use super::call::Values;
use super::operation::{Operation, Wanted};
use super::query;
use super::records::{Records, check_key};
use super::{Rest, SYSTEM, refused, unsupported};
use crate::Crm;
use crate::error::Error;
use crate::records::{Changes, Entity, Field, Fields, Key, Record, Upserted};

/// The longest text that is looked for, in bytes.
const LONGEST: usize = 1_000;

/// The cursor: the entity, lest it is used for the other, and the millisecond up to which changes are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cursor {
    of: Entity,
    at: Option<i64>,
}

impl Cursor {
    fn parse(entity: Entity, text: &str) -> Result<Self, Error> {
        serde_json::from_str(text)
            .ok()
            .filter(|cursor: &Self| cursor.of == entity && cursor.at.is_none_or(|at| time(at).is_some()))
            .ok_or_else(|| refused("cursor", "it is not one that came from here; begin anew"))
    }
}

fn time(millis: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(millis)
}

impl Rest {
    fn records(&self, entity: Entity) -> Result<&Records, Error> {
        let (records, doing) = match entity {
            Entity::Contact => (&self.contacts, "keep contacts"),
            Entity::Lead => (&self.leads, "keep leads"),
        };
        records.as_ref().ok_or_else(|| unsupported(doing))
    }

    async fn found(&self, records: &Records, key: &Key) -> Result<Vec<Record>, Error> {
        let (find, _, value) = records.find(key);
        let find = find.ok_or_else(|| unsupported("find records by this key"))?;
        if value.trim().is_empty() || value.contains('\0') || value.len() > LONGEST {
            return Ok(Vec::new());
        }
        let values = vec![("key", Value::from(value))];
        let listed = find.list(&self.api, &values, Wanted::All).await?;
        let mut found: Vec<Record> = Vec::new();
        for item in &listed.items {
            let record = records.record(item)?;
            if records.has(&record, key) && !found.iter().any(|known| known.id == record.id) {
                found.push(record);
            }
        }
        Ok(found)
    }

    async fn create(&self, records: &Records, key: &Key, fields: &Fields) -> Result<String, Error> {
        if let Key::Id(_) = key {
            return Err(not_there(records));
        }
        let create = records.create.as_ref().ok_or_else(|| unsupported("create records"))?;
        if records.find(key).1.is_none() {
            return Err(unsupported("create records by this key"));
        }
        let fields = records.created(key, fields)?;
        let values = vec![("fields", Value::from(Serde(&fields)))];
        let created = self.api.ask(&create.call, &values, None, |_, document, _| {
            let id = create.column("id", document)?;
            Ok(id.and_then(|id| query::text(&id)))
        });
        match created.await? {
            Some(Some(id)) => Ok(id),
            // It was created, and its answer does not say as what.
            Some(None) => match self.found(records, key).await?.as_slice() {
                [record] => Ok(record.id.clone()),
                _ => Err(Error::Unreadable {
                    system: SYSTEM,
                    expected: "the id of what was created",
                    problem: format!(
                        "{}.columns.id finds none, and the key finds no single record",
                        create.key
                    ),
                }),
            },
            None => Err(not_there(records)),
        }
    }

    async fn update(&self, records: &Records, record: &Record, fields: &Fields) -> Result<(), Error> {
        let fields = records.different(record, fields);
        if fields.is_empty() {
            return Ok(());
        }
        let update = records.update.as_ref().ok_or_else(|| unsupported("change records"))?;
        let values = vec![
            ("id", Value::from(record.id.as_str())),
            ("fields", Value::from(Serde(&fields))),
        ];
        let done = self.api.ask(&update.call, &values, None, |_, _, _| Ok(())).await?;
        done.ok_or_else(|| not_there(records))
    }

    async fn changed(&self, records: &Records, changes: &Operation, cursor: Cursor) -> Result<Changes, Error> {
        let since = cursor.at.and_then(time);
        let mut values = Values::new();
        if let Some(since) = since {
            values.push(("since", Value::from(since.to_rfc3339_opts(SecondsFormat::Millis, true))));
            values.push(("since_seconds", Value::from(since.timestamp())));
        }
        let asked_at = self.api.client.server_now();
        let wanted = if changes.oldest_first {
            Wanted::AsManyAsMayBe
        } else {
            Wanted::All
        };
        let listed = changes.list(&self.api, &values, wanted).await?;
        let mut stamped = Vec::new();
        for item in &listed.items {
            let record = records.record(item)?;
            let at = record.changed_at.ok_or_else(|| Error::Unreadable {
                system: SYSTEM,
                expected: "when a record was changed",
                problem: format!("{}.changed_at finds no time", records.key),
            })?;
            stamped.push((at, record));
        }
        stamped.sort_by_key(|(at, _)| *at);
        // A change may become visible after its time: what is younger than the overlap comes again.
        let overlap = TimeDelta::from_std(changes.overlap).unwrap_or(TimeDelta::MAX);
        let safe = asked_at.checked_sub_signed(overlap).unwrap_or(DateTime::UNIX_EPOCH);
        let last = stamped.last().map(|(at, _)| (*at).min(safe));
        let at = since.max(last);
        if listed.cut && at == since {
            return Err(Error::Unreadable {
                system: SYSTEM,
                expected: "changes that go on",
                problem: format!(
                    "more records changed at one time than {}.paging.max_pages lets be read",
                    changes.key
                ),
            });
        }
        let cursor = Cursor {
            of: records.entity,
            at: at.map(|at| at.timestamp_millis()),
        };
        Ok(Changes {
            records: stamped.into_iter().map(|(_, record)| record).collect(),
            // A cursor is always JSON.
            cursor: serde_json::to_string(&cursor).unwrap_or_default(),
            more: listed.cut,
        })
    }
}

fn not_there(records: &Records) -> Error {
    Error::NotFound {
        system: SYSTEM,
        what: format!("record with this id in {}", records.key),
    }
}

#[async_trait]
impl Crm for Rest {
    async fn describe(&self, entity: Entity) -> Result<Vec<Field>, Error> {
        Ok(self.records(entity)?.describe())
    }

    async fn find(&self, entity: Entity, key: &Key) -> Result<Vec<Record>, Error> {
        self.found(self.records(entity)?, key).await
    }

    async fn upsert(&self, entity: Entity, key: &Key, fields: &Fields) -> Result<Upserted, Error> {
        let records = self.records(entity)?;
        check_key(key)?;
        records.check_fields(fields)?;
        let _alone = self.writing.lock().await;
        match self.found(records, key).await?.as_slice() {
            [] => Ok(Upserted {
                id: self.create(records, key, fields).await?,
                created: true,
            }),
            [record] => {
                self.update(records, record, fields).await?;
                Ok(Upserted {
                    id: record.id.clone(),
                    created: false,
                })
            }
            _ => Err(Error::Conflict {
                system: SYSTEM,
                message: format!("several {} have this key; none was changed", records.key),
            }),
        }
    }

    async fn changes_since(&self, entity: Entity, cursor: Option<&str>) -> Result<Changes, Error> {
        let records = self.records(entity)?;
        let changes = records.changes.as_ref().ok_or_else(|| unsupported("tell changes"))?;
        let cursor = match cursor {
            Some(text) => Cursor::parse(entity, text)?,
            None => Cursor { of: entity, at: None },
        };
        self.changed(records, changes, cursor).await
    }
}
