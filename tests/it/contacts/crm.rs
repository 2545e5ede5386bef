//! A CRM that forgets nothing, with a will of its own: it is away, loses answers, and watches its caller die.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use allai_connectors::{
    Capabilities, Changes, Check, Connector, Crm, Entity, Error, Field, FieldType, Fields, Found, Key, Kind, Record,
    Upserted,
};
use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::sync::Notify;

const SYSTEM: &str = "crm";
/// Changes that are told at a time.
const PAGE: usize = 40;
/// The fields of a record.
const FIELDS: [&str; 8] = ["name", "email", "phone", "labels", "company", "owner", "stage", "note"];

/// What goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// Share of calls that do not get through.
    pub(crate) away: f64,
    /// Share of writes whose answer is lost, after they were carried out.
    pub(crate) lost: f64,
}

#[derive(Debug)]
struct State {
    records: BTreeMap<u64, (Fields, u64)>,
    /// The records that have an address or a number, in small letters.
    known_by: BTreeMap<String, BTreeSet<u64>>,
    /// The records by when they were last changed.
    changed: BTreeMap<u64, u64>,
    next_id: u64,
    revision: u64,
    faults: Faults,
    rng: StdRng,
    calls: u64,
    writes: u64,
    creations: u64,
    /// Dies at this call.
    kill_at: Option<u64>,
    refused: BTreeSet<String>,
}

/// The CRM.
#[derive(Debug)]
pub(crate) struct FakeCrm {
    state: Mutex<State>,
    killed: Notify,
}

impl FakeCrm {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                records: BTreeMap::new(),
                known_by: BTreeMap::new(),
                changed: BTreeMap::new(),
                next_id: 1,
                revision: 0,
                faults: Faults::default(),
                rng: StdRng::seed_from_u64(seed),
                calls: 0,
                writes: 0,
                creations: 0,
                kill_at: None,
                refused: BTreeSet::new(),
            }),
            killed: Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// The caller dies in the middle of its n-th call from now, or never.
    pub(crate) fn kill_in(&self, calls: Option<u64>) {
        let mut state = self.state();
        state.kill_at = calls.map(|calls| state.calls + calls);
    }

    /// Completes when the caller is to die.
    pub(crate) async fn killed(&self) {
        self.killed.notified().await;
    }

    /// Calls, and writes among them, so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let state = self.state();
        (state.calls, state.writes)
    }

    /// Records that were ever created by its caller.
    pub(crate) fn creations(&self) -> u64 {
        self.state().creations
    }

    /// A person enters a record.
    pub(crate) fn enter(&self, fields: Value) -> String {
        let mut state = self.state();
        let fields = serde_json::from_value(fields).unwrap();
        state.add(fields).to_string()
    }

    /// A person changes a field.
    pub(crate) fn edit(&self, id: &str, field: &str, value: Value) {
        let mut state = self.state();
        state.change(id.parse().unwrap(), &Fields::from([(field.to_owned(), value)]));
    }

    /// A person deletes a record.
    pub(crate) fn delete(&self, id: &str) {
        let mut state = self.state();
        let id = id.parse().unwrap();
        state.unlist(id);
        state.records.remove(&id).unwrap();
    }

    /// A name is refused, or no longer.
    pub(crate) fn refuse(&self, name: &str, refused: bool) {
        let mut state = self.state();
        if refused {
            state.refused.insert(name.to_owned());
        } else {
            state.refused.remove(name);
        }
    }

    /// All records by id.
    pub(crate) fn records(&self) -> BTreeMap<String, Fields> {
        let state = self.state();
        let record = |(id, (fields, _)): (&u64, &(Fields, u64))| (id.to_string(), fields.clone());
        state.records.iter().map(record).collect()
    }

    /// The one record with an e-mail address.
    #[track_caller]
    pub(crate) fn by_email(&self, email: &str) -> (String, Fields) {
        let records = self.records();
        let mut found = records
            .into_iter()
            .filter(|(_, fields)| fields["email"] == json!(email));
        let one = found.next().unwrap_or_else(|| panic!("nobody has {email}"));
        assert_eq!(found.next(), None, "two have {email}");
        one
    }

    /// Counts a call; whether its caller dies of it, after it was carried out or before.
    fn begin(&self, is_write: bool) -> Result<Option<bool>, Error> {
        let mut state = self.state();
        state.calls += 1;
        if state.kill_at == Some(state.calls) {
            state.kill_at = None;
            return Ok(Some(is_write && state.rng.random_bool(0.5)));
        }
        let away = state.faults.away;
        if state.rng.random_bool(away) {
            return Err(Error::Transient {
                system: SYSTEM,
                message: "is not reached".to_owned(),
                may_have_happened: false,
            });
        }
        Ok(None)
    }

    async fn die<T>(&self) -> T {
        self.killed.notify_one();
        std::future::pending().await
    }

    async fn read<T>(&self, answer: impl FnOnce(&State) -> T) -> Result<T, Error> {
        tokio::task::yield_now().await;
        if self.begin(false)?.is_some() {
            return self.die().await;
        }
        Ok(answer(&self.state()))
    }
}

impl State {
    fn add(&mut self, mut fields: Fields) -> u64 {
        for name in FIELDS {
            fields.entry(name.to_owned()).or_insert(Value::Null);
        }
        let id = self.next_id;
        self.next_id += 1;
        self.revision += 1;
        self.records.insert(id, (fields, self.revision));
        self.list(id);
        id
    }

    fn keys(fields: &Fields) -> impl Iterator<Item = String> {
        let texts = ["email", "phone"].map(|name| fields[name].as_str().map(str::to_lowercase));
        texts.into_iter().flatten()
    }

    fn list(&mut self, id: u64) {
        let (fields, revision) = &self.records[&id];
        self.changed.insert(*revision, id);
        for key in Self::keys(fields) {
            self.known_by.entry(key).or_default().insert(id);
        }
    }

    fn unlist(&mut self, id: u64) {
        let (fields, revision) = &self.records[&id];
        self.changed.remove(revision);
        for key in Self::keys(fields) {
            self.known_by.get_mut(&key).unwrap().remove(&id);
        }
    }

    fn change(&mut self, id: u64, changes: &Fields) {
        self.unlist(id);
        self.revision += 1;
        let revision = self.revision;
        let (fields, at) = self.records.get_mut(&id).unwrap();
        fields.extend(changes.clone());
        *at = revision;
        self.list(id);
    }

    fn find(&self, key: &Key) -> Vec<u64> {
        match key {
            Key::Id(id) => id
                .parse()
                .ok()
                .filter(|id| self.records.contains_key(id))
                .into_iter()
                .collect(),
            Key::Email(text) | Key::Phone(text) => {
                let found = self.known_by.get(&text.to_lowercase());
                found.into_iter().flatten().copied().collect()
            }
            Key::Reference(_) => Vec::new(),
        }
    }

    fn record(&self, id: u64) -> Record {
        Record {
            id: id.to_string(),
            fields: self.records[&id].0.clone(),
            changed_at: None,
        }
    }

    fn upsert(&mut self, key: &Key, fields: &Fields) -> Result<Upserted, Error> {
        self.writes += 1;
        for (name, value) in fields {
            let is_refused = name == "name" && value.as_str().is_some_and(|name| self.refused.contains(name));
            if is_refused || !FIELDS.contains(&name.as_str()) {
                return Err(Error::Rejected {
                    system: SYSTEM,
                    field: Some(name.clone()),
                    message: "this is not taken".to_owned(),
                });
            }
        }
        let mut fields = fields.clone();
        // As CRMs do: addresses in small letters.
        if let Some(Value::String(email)) = fields.get_mut("email") {
            *email = email.to_lowercase();
        }
        match (self.find(key).as_slice(), key) {
            ([id], _) => {
                let id = *id;
                self.change(id, &fields);
                Ok(Upserted {
                    id: id.to_string(),
                    created: false,
                })
            }
            ([], Key::Id(_) | Key::Reference(_)) => Err(Error::NotFound {
                system: SYSTEM,
                what: "such record".to_owned(),
            }),
            ([], Key::Email(email)) => {
                fields.entry("email".to_owned()).or_insert_with(|| json!(email));
                Ok(self.create(fields))
            }
            ([], Key::Phone(phone)) => {
                fields.entry("phone".to_owned()).or_insert_with(|| json!(phone));
                Ok(self.create(fields))
            }
            (_, _) => Err(Error::Conflict {
                system: SYSTEM,
                message: "several records have this key".to_owned(),
            }),
        }
    }

    fn create(&mut self, mut fields: Fields) -> Upserted {
        self.creations += 1;
        // As CRMs do: who creates it, owns it.
        fields.entry("owner".to_owned()).or_insert_with(|| json!("nobody"));
        Upserted {
            id: self.add(fields).to_string(),
            created: true,
        }
    }
}

#[async_trait]
impl Connector for FakeCrm {
    fn kind(&self) -> Kind {
        Kind::Tryton
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            contacts: true,
            changes: true,
            ..Capabilities::default()
        }
    }

    async fn check(&self) -> Vec<Check> {
        vec![Check {
            what: "reachable".to_owned(),
            found: Found::Good("yes".to_owned()),
        }]
    }

    fn crm(&self) -> Option<&dyn Crm> {
        Some(self)
    }
}

#[async_trait]
impl Crm for FakeCrm {
    async fn describe(&self, _: Entity) -> Result<Vec<Field>, Error> {
        let field = |name: &&str| Field {
            name: (*name).to_owned(),
            label: (*name).to_owned(),
            takes: FieldType::Text,
            required: *name == "name",
            read_only: *name == "stage",
        };
        Ok(FIELDS.iter().map(field).collect())
    }

    async fn find(&self, _: Entity, key: &Key) -> Result<Vec<Record>, Error> {
        self.read(|state| state.find(key).into_iter().map(|id| state.record(id)).collect())
            .await
    }

    async fn upsert(&self, _: Entity, key: &Key, fields: &Fields) -> Result<Upserted, Error> {
        tokio::task::yield_now().await;
        let done = match self.begin(true)? {
            Some(true) => {
                let _ = self.state().upsert(key, fields);
                return self.die().await;
            }
            Some(false) => return self.die().await,
            None => self.state().upsert(key, fields)?,
        };
        tokio::task::yield_now().await;
        let mut state = self.state();
        let lost = state.faults.lost;
        if state.rng.random_bool(lost) {
            return Err(Error::Transient {
                system: SYSTEM,
                message: "broke off".to_owned(),
                may_have_happened: true,
            });
        }
        Ok(done)
    }

    async fn changes_since(&self, _: Entity, cursor: Option<&str>) -> Result<Changes, Error> {
        // The last one comes again, as the trait allows.
        let since: u64 = cursor.map_or(0, |cursor| cursor.parse().unwrap());
        self.read(|state| {
            let of_page = state.changed.range(since..).map(|(revision, id)| (*revision, *id));
            let mut changed: Vec<(u64, u64)> = of_page.take(PAGE + 1).collect();
            let more = changed.len() > PAGE;
            changed.truncate(PAGE);
            Changes {
                cursor: changed.last().map_or(since, |(revision, _)| *revision).to_string(),
                records: changed.iter().map(|(_, id)| state.record(*id)).collect(),
                more,
            }
        })
        .await
    }
}
