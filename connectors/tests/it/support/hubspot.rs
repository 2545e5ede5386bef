//! A HubSpot that is not there, after its documentation; see the connector's page.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use allai_connectors::http::Rate;
use allai_connectors::hubspot::{Hubspot, HubspotConfig, Limits};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use url::Url;

use super::fake::{self, Asked, Gate, Reply, now};

pub(crate) const TOKEN: &str = "pat-eu1-very-secret";
/// What a token is usually allowed.
pub(crate) const SCOPES: [&str; 6] = [
    "crm.objects.contacts.read",
    "crm.objects.contacts.write",
    "crm.objects.deals.read",
    "crm.objects.deals.write",
    "crm.schemas.contacts.read",
    "crm.schemas.deals.read",
];
/// The largest body of a search, in characters.
const SEARCH_BODY: usize = 3_000;
/// A search cannot be paged further.
const WINDOW: usize = 10_000;
const CALCULATED: [(&str, &str); 2] = [
    ("phone", "hs_searchable_calculated_phone_number"),
    ("mobilephone", "hs_searchable_calculated_mobile_number"),
];

pub(crate) struct Fake {
    pub(crate) url: Url,
    state: Arc<Mutex<State>>,
}

/// An object, as it was from some moments on.
type Versions = Vec<(Instant, Map<String, Value>)>;

pub(crate) struct State {
    /// By type of object and id.
    objects: BTreeMap<(&'static str, u64), Versions>,
    /// (contact, deal).
    associations: Vec<(u64, u64)>,
    last_id: u64,
    /// How far searches lag behind.
    pub(crate) lag: Duration,
    pub(crate) scopes: Vec<&'static str>,
    /// Whether the token tells its scopes.
    pub(crate) tells_scopes: bool,
    all: Gate,
    search: Gate,
    pub(crate) asked: Vec<Asked>,
    /// So many of the next writes are carried out, and not answered.
    pub(crate) lose: usize,
    /// Answered to everything, if it is there.
    pub(crate) instead: Option<Reply>,
}

/// What goes wrong: a status and a body.
type Failure = (u16, Value);

fn failure(status: u16, category: &str, message: &str) -> Failure {
    let body = json!({"status": "error", "message": message, "correlationId": "c033cdaa", "category": category});
    (status, body)
}

/// As HubSpot writes it, the properties as JSON within the message.
fn invalid(property: &str, code: &str, value: &str) -> Failure {
    let list =
        json!([{"isValid": false, "message": format!("{value} was not valid"), "error": code, "name": property}]);
    failure(
        400,
        "VALIDATION_ERROR",
        &format!("Property values were not valid: {list}"),
    )
}

fn property(name: &str, kind: &str, field_type: &str) -> Value {
    json!({"name": name, "label": name, "type": kind, "fieldType": field_type, "options": [], "hidden": false,
        "calculated": false, "hasUniqueValue": false, "modificationMetadata": {"readOnlyValue": false}})
}

fn with(mut property: Value, key: &str, value: Value) -> Value {
    property[key] = value;
    property
}

fn read_only(property: Value) -> Value {
    with(property, "modificationMetadata", json!({"readOnlyValue": true}))
}

/// The properties of a type of object.
fn properties(object: &str) -> Vec<Value> {
    let text = |name| property(name, "string", "text");
    let unique = |name| with(text(name), "hasUniqueValue", json!(true));
    let choices = |property, values: &[&str]| {
        let options: Vec<Value> = values
            .iter()
            .map(|value| json!({"label": value, "value": value}))
            .collect();
        with(property, "options", json!(options))
    };
    if object == "contacts" {
        let calculated = CALCULATED.map(|(_, name)| read_only(text(name)));
        let mut list = vec![
            text("email"),
            text("firstname"),
            text("lastname"),
            property("phone", "string", "phonenumber"),
            property("mobilephone", "string", "phonenumber"),
            unique("allai_id"),
            text("not_unique"),
            choices(
                property("lifecyclestage", "enumeration", "radio"),
                &["lead", "customer"],
            ),
            choices(property("interests", "enumeration", "checkbox"), &["pumps", "boilers"]),
            property("annualrevenue", "number", "number"),
            property("birthday", "date", "date"),
            read_only(property("lastmodifieddate", "datetime", "date")),
            read_only(property("createdate", "datetime", "date")),
            with(read_only(text("hs_internal")), "hidden", json!(true)),
        ];
        list.extend(calculated);
        return list;
    }
    vec![
        text("dealname"),
        choices(property("dealstage", "enumeration", "radio"), &["new", "won", "lost"]),
        choices(property("pipeline", "enumeration", "select"), &["default"]),
        property("amount", "number", "number"),
        unique("allai_lead"),
        read_only(property("hs_is_closed", "bool", "booleancheckbox")),
        read_only(property("hs_lastmodifieddate", "datetime", "date")),
    ]
}

fn wall_clock() -> DateTime<Utc> {
    #[expect(clippy::disallowed_methods, reason = "a vendor stamps by a clock of its own")]
    Utc::now()
}

pub(crate) fn rate(requests: u32, milliseconds: u64) -> Rate {
    Rate {
        requests: NonZeroU32::new(requests).unwrap(),
        per: Duration::from_millis(milliseconds),
    }
}

/// The vendor's limits in a twentieth of the time.
pub(crate) fn short() -> Limits {
    Limits {
        all: rate(190, 500),
        search: rate(4, 50),
        search_lag: Duration::from_millis(200),
    }
}

impl Fake {
    /// With the vendor's limits in a twentieth of the time.
    pub(crate) async fn short() -> Self {
        Self::start(short().all, short().search).await
    }

    /// With the vendor's own limits.
    pub(crate) async fn real() -> Self {
        Self::start(rate(190, 10_000), rate(4, 1_000)).await
    }

    async fn start(all: Rate, search: Rate) -> Self {
        let state = Arc::new(Mutex::new(State {
            objects: BTreeMap::new(),
            associations: Vec::new(),
            last_id: 100,
            lag: Duration::ZERO,
            scopes: SCOPES.to_vec(),
            tells_scopes: true,
            all: Gate::new(&[all]),
            search: Gate::new(&[search]),
            asked: Vec::new(),
            lose: 0,
            instead: None,
        }));
        let answering = Arc::clone(&state);
        let url = fake::start_replying(move |asked| answering.lock().unwrap().reply(asked)).await;
        Self { url, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Puts an object there, as if by somebody else; returns its id.
    pub(crate) fn put(&self, object: &'static str, properties: Value, changed: Option<DateTime<Utc>>) -> String {
        let Value::Object(properties) = properties else {
            panic!("properties are an object");
        };
        self.state().store(object, None, &properties, changed).to_string()
    }

    /// How many objects of a type there are.
    pub(crate) fn count(&self, object: &str) -> usize {
        self.state().objects.keys().filter(|(kind, _)| *kind == object).count()
    }

    pub(crate) fn config(&self, more: &Value) -> HubspotConfig {
        let mut keys = json!({"token": TOKEN, "url": self.url, "timeout": "5s", "deal_stage": "new",
            "contact_reference": "allai_id", "lead_reference": "allai_lead"});
        for (key, value) in more.as_object().unwrap() {
            keys[key] = value.clone();
        }
        serde_json::from_value(keys).unwrap()
    }

    pub(crate) fn connector(&self, more: &Value) -> Hubspot {
        let mut state = self.state();
        state.all.begin_anew();
        state.search.begin_anew();
        drop(state);
        Hubspot::with_limits(self.config(more), short()).unwrap()
    }

    /// No limit was exceeded; how many requests there were, and how many of them were searches.
    pub(crate) fn unblocked(&self) -> (usize, usize) {
        let state = self.state();
        assert!(!state.all.is_blocked(), "the limit was exceeded");
        assert!(!state.search.is_blocked(), "the limit of searches was exceeded");
        (state.all.count(), state.search.count())
    }
}

impl State {
    fn reply(&mut self, asked: &Asked) -> Reply {
        let is_search = asked.path.ends_with("/search");
        let passes = self.all.lets_through(asked.at) & (!is_search || self.search.lets_through(asked.at));
        self.asked.push(asked.clone());
        if !passes {
            let policy = if is_search { "SECONDLY" } else { "TEN_SECONDLY_ROLLING" };
            let body = json!({"status": "error", "message": format!("You have reached your {policy} limit."),
                "errorType": "RATE_LIMIT", "policyName": policy});
            return Reply::Answer((429, body.to_string()));
        }
        if let Some(instead) = &self.instead {
            return instead.clone();
        }
        let (status, body) = self.answer(asked).unwrap_or_else(|failure| failure);
        if is_write(asked) && self.lose > 0 && status < 300 {
            self.lose -= 1;
            return Reply::Nothing;
        }
        Reply::Answer((status, body.to_string()))
    }

    fn answer(&mut self, asked: &Asked) -> Result<(u16, Value), Failure> {
        if asked.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            return Err(failure(
                401,
                "INVALID_AUTHENTICATION",
                "Authentication credentials not found.",
            ));
        }
        let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        let path: Vec<&str> = asked.path.split('/').skip(2).collect();
        match (asked.method.as_str(), path.as_slice()) {
            ("GET", ["account-info", "v3", "details"]) => {
                Ok((200, json!({"portalId": 4242, "timeZone": "Europe/Bucharest"})))
            }
            ("POST", ["oauth", "v2", "private-apps", "get", "access-token-info"]) if self.tells_scopes => {
                assert_eq!(body["tokenKey"], TOKEN);
                Ok((200, json!({"hubId": 4242, "scopes": self.scopes})))
            }
            ("GET", ["crm", "v3", "pipelines", "deals"]) => Ok((
                200,
                json!({"results": [{"id": "default", "label": "Sales", "stages": [{"id": "new"}, {"id": "won"}]}]}),
            )),
            ("GET", ["crm", "v3", "properties", object]) => {
                self.allows(object, "read")?;
                Ok((200, json!({"results": properties(object)})))
            }
            ("POST", ["crm", "v3", "objects", object, "search"]) => {
                self.allows(object, "read")?;
                self.search(object, &body, asked.body.chars().count())
            }
            ("POST", ["crm", "v3", "objects", object, "batch", "read"]) => {
                self.allows(object, "read")?;
                self.batch_read(object, &body)
            }
            ("POST", ["crm", "v3", "objects", object, "batch", "upsert"]) => {
                self.allows(object, "write")?;
                self.batch_upsert(object, &body)
            }
            ("POST", ["crm", "v3", "objects", object]) => {
                self.allows(object, "write")?;
                self.create(object, &body)
            }
            ("PATCH", ["crm", "v3", "objects", object, id]) => {
                self.allows(object, "write")?;
                let object = known(object);
                let id = id.parse().ok().filter(|id| self.objects.contains_key(&(object, *id)));
                let id = id.ok_or_else(|| failure(404, "OBJECT_NOT_FOUND", "resource not found"))?;
                let properties = self.valid(object, &body["properties"], Some(id))?;
                self.store(object, Some(id), &properties, None);
                Ok((200, self.told(object, id, &[])))
            }
            ("GET", ["crm", "v4", "objects", "contacts", id, "associations", "deals"]) => {
                let id: u64 = id.parse().unwrap();
                let of_it = self.associations.iter().filter(|(contact, _)| *contact == id);
                let results: Vec<Value> = of_it
                    .map(|(_, deal)| json!({"toObjectId": deal, "associationTypes": [{"typeId": 4}]}))
                    .collect();
                Ok((200, json!({"results": results})))
            }
            _ => Err((404, json!({}))),
        }
    }

    fn allows(&self, object: &str, right: &str) -> Result<(), Failure> {
        let scope = format!("crm.objects.{object}.{right}");
        if self.scopes.contains(&scope.as_str()) {
            return Ok(());
        }
        let (status, mut body) = failure(
            403,
            "MISSING_SCOPES",
            "This app hasn't been granted all required scopes",
        );
        body["errors"] = json!([{"message": "One or more of the following scopes are required.",
            "context": {"requiredGranularScopes": [scope]}}]);
        Err((status, body))
    }

    fn current(&self, object: &'static str, id: u64) -> &Map<String, Value> {
        &self.objects[&(object, id)].last().unwrap().1
    }

    fn told(&self, object: &'static str, id: u64, wanted: &[&str]) -> Value {
        let all = self.current(object, id);
        let told: Map<String, Value> = wanted
            .iter()
            .map(|name| ((*name).to_owned(), all.get(*name).cloned().unwrap_or_default()))
            .collect();
        json!({"id": id.to_string(), "properties": told, "updatedAt": all[changed_property(object)], "archived": false})
    }

    /// The id of the object that has this unique value.
    fn with_value(&self, object: &'static str, property: &str, value: &str) -> Option<u64> {
        let ids = self.objects.keys().filter(|(kind, _)| *kind == object);
        ids.map(|(_, id)| *id).find(|id| {
            let text = self.current(object, *id).get(property).and_then(Value::as_str);
            text.is_some_and(|text| !text.is_empty() && text.eq_ignore_ascii_case(value))
        })
    }

    fn is_unique(object: &str, property: &str) -> bool {
        let listed = properties(object);
        property == "email"
            || listed
                .iter()
                .any(|it| it["name"] == property && it["hasUniqueValue"] == true)
    }

    /// The properties, if HubSpot takes them.
    fn valid(&self, object: &'static str, given: &Value, of: Option<u64>) -> Result<Map<String, Value>, Failure> {
        let listed = properties(object);
        for (name, value) in given.as_object().unwrap() {
            let text = value.as_str().expect("values are texts");
            let refuse = |code| Err(invalid(name, code, text));
            let Some(property) = listed.iter().find(|property| property["name"] == name.as_str()) else {
                return refuse("PROPERTY_DOESNT_EXIST");
            };
            let options = property["options"].as_array().unwrap();
            let is_option = |part: &str| options.iter().any(|option| option["value"] == part);
            if property["modificationMetadata"]["readOnlyValue"] == true {
                return refuse("READ_ONLY_VALUE");
            }
            if name == "email" && !text.is_empty() && (!text.contains('.') || text.contains('<')) {
                return refuse("INVALID_EMAIL");
            }
            if !options.is_empty() && !text.is_empty() && !text.split(';').all(is_option) {
                return refuse("INVALID_OPTION");
            }
            let other = self.with_value(object, name, text).filter(|other| Some(*other) != of);
            if let Some(other) = other.filter(|_| Self::is_unique(object, name)) {
                let message = format!("Contact already exists. Existing ID: {other}");
                return Err(failure(409, "CONFLICT", &message));
            }
        }
        Ok(given.as_object().unwrap().clone())
    }

    fn store(
        &mut self,
        object: &'static str,
        id: Option<u64>,
        properties: &Map<String, Value>,
        changed: Option<DateTime<Utc>>,
    ) -> u64 {
        let id = id.unwrap_or_else(|| {
            self.last_id += 1;
            self.last_id
        });
        let versions = self.objects.entry((object, id)).or_default();
        let mut all = versions.last().map(|(_, all)| all.clone()).unwrap_or_default();
        all.extend(properties.clone());
        if let Some(email) = all.get("email").and_then(Value::as_str).map(str::to_lowercase) {
            all.insert("email".to_owned(), json!(email));
        }
        for (phone, calculated) in CALCULATED {
            let digits: String = all
                .get(phone)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .chars()
                .filter(char::is_ascii_digit)
                .collect();
            let national = digits[digits.len().saturating_sub(9)..].to_owned();
            all.insert(calculated.to_owned(), json!(national));
        }
        let is_closed = all.get("dealstage").is_some_and(|stage| stage != "new");
        all.insert("hs_is_closed".to_owned(), json!(is_closed.to_string()));
        let changed = changed.unwrap_or_else(wall_clock);
        let changed = changed.to_rfc3339_opts(SecondsFormat::Millis, true);
        all.insert(changed_property(object).to_owned(), json!(changed));
        all.insert("hs_object_id".to_owned(), json!(id.to_string()));
        versions.push((now(), all));
        id
    }

    fn create(&mut self, object: &str, body: &Value) -> Result<(u16, Value), Failure> {
        let object = known(object);
        let properties = self.valid(object, &body["properties"], None)?;
        if object == "deals"
            && !["dealname", "dealstage"]
                .iter()
                .all(|name| properties.contains_key(*name))
        {
            return Err(failure(400, "VALIDATION_ERROR", "Required properties are missing"));
        }
        let id = self.store(object, None, &properties, None);
        for association in body["associations"].as_array().into_iter().flatten() {
            assert_eq!(
                association["types"],
                json!([{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 3}])
            );
            let contact = association["to"]["id"].as_str().unwrap().parse().unwrap();
            self.associations.push((contact, id));
        }
        Ok((201, self.told(object, id, &[])))
    }

    fn batch_read(&self, object: &str, body: &Value) -> Result<(u16, Value), Failure> {
        let object = known(object);
        let inputs = body["inputs"].as_array().unwrap();
        let id_property = body["idProperty"].as_str();
        if inputs.is_empty() || inputs.len() > 100 {
            return Err(failure(400, "VALIDATION_ERROR", "The batch is empty or too large"));
        }
        if let Some(property) = id_property.filter(|property| !Self::is_unique(object, property)) {
            return Err(invalid(property, "NOT_UNIQUE", property));
        }
        let wanted: Vec<&str> = body["properties"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        for input in inputs {
            let value = input["id"].as_str().unwrap();
            let id = match id_property {
                Some(property) => self.with_value(object, property, value),
                None => value
                    .parse()
                    .ok()
                    .filter(|id| self.objects.contains_key(&(object, *id))),
            };
            match id {
                Some(id) => results.push(self.told(object, id, &wanted)),
                None => errors.push(json!({"status": "error", "category": "OBJECT_NOT_FOUND",
                    "message": "Could not get some objects", "context": {"ids": [value]}})),
            }
        }
        let status = if errors.is_empty() { 200 } else { 207 };
        let count = errors.len();
        Ok((
            status,
            json!({"status": "COMPLETE", "results": results, "numErrors": count, "errors": errors}),
        ))
    }

    fn batch_upsert(&mut self, object: &str, body: &Value) -> Result<(u16, Value), Failure> {
        let object = known(object);
        let mut results = Vec::new();
        for input in body["inputs"].as_array().unwrap() {
            let property = input["idProperty"].as_str().unwrap();
            if !Self::is_unique(object, property) {
                return Err(invalid(property, "NOT_UNIQUE", property));
            }
            let there = self.with_value(object, property, input["id"].as_str().unwrap());
            let mut properties = self.valid(object, &input["properties"], there)?;
            properties.entry(property).or_insert_with(|| input["id"].clone());
            let id = self.store(object, there, &properties, None);
            let mut told = self.told(object, id, &[]);
            told["new"] = json!(there.is_none());
            results.push(told);
        }
        Ok((200, json!({"status": "COMPLETE", "results": results})))
    }

    fn search(&self, object: &str, body: &Value, length: usize) -> Result<(u16, Value), Failure> {
        let object = known(object);
        let limit = usize::try_from(body["limit"].as_u64().unwrap()).unwrap();
        let after: usize = body["after"].as_str().map_or(0, |after| after.parse().unwrap());
        let groups = body["filterGroups"].as_array().unwrap();
        if length > SEARCH_BODY || limit == 0 || limit > 200 || groups.len() > 5 || after + limit > WINDOW {
            return Err(failure(
                400,
                "VALIDATION_ERROR",
                "There was a problem with the request.",
            ));
        }
        let known_then = |versions: &Versions| {
            let seen = versions.iter().rev().find(|(at, _)| at.elapsed() >= self.lag);
            seen.map(|(_, all)| all.clone())
        };
        let indexed = self.objects.iter().filter(|((kind, _), _)| *kind == object);
        let mut found: Vec<Map<String, Value>> = indexed
            .filter_map(|(_, versions)| known_then(versions))
            .filter(|all| groups.is_empty() || groups.iter().any(|group| is_in(all, group)))
            .collect();
        let sort = body["sorts"][0]["propertyName"].as_str().unwrap();
        // What is equal comes in no order that one might expect.
        found.reverse();
        found.sort_by_key(|all| comparable(all.get(sort).and_then(Value::as_str).unwrap_or_default()));
        let total = found.len();
        let results: Vec<Value> = found
            .into_iter()
            .skip(after)
            .take(limit)
            .map(|all| json!({"id": all["hs_object_id"], "properties": all}))
            .collect();
        let mut page = json!({"total": total, "results": results});
        if after + limit < total {
            page["paging"] = json!({"next": {"after": (after + limit).to_string()}});
        }
        Ok((200, page))
    }
}

fn is_write(asked: &Asked) -> bool {
    let reads = ["/search", "/batch/read", "/access-token-info"];
    asked.method != "GET" && !reads.iter().any(|read| asked.path.ends_with(read))
}

fn known(object: &str) -> &'static str {
    match object {
        "contacts" => "contacts",
        "deals" => "deals",
        other => panic!("no objects {other}"),
    }
}

fn changed_property(object: &str) -> &'static str {
    if object == "contacts" {
        "lastmodifieddate"
    } else {
        "hs_lastmodifieddate"
    }
}

/// A number or a time, as a number.
fn comparable(text: &str) -> i64 {
    let time = || {
        DateTime::parse_from_rfc3339(text)
            .ok()
            .map(|time| time.timestamp_millis())
    };
    text.parse().ok().or_else(time).unwrap_or_default()
}

fn is_in(all: &Map<String, Value>, group: &Value) -> bool {
    group["filters"].as_array().unwrap().iter().all(|filter| {
        let has = all
            .get(filter["propertyName"].as_str().unwrap())
            .and_then(Value::as_str)
            .unwrap_or_default();
        let value = filter["value"].as_str().unwrap();
        match filter["operator"].as_str().unwrap() {
            "EQ" => has.eq_ignore_ascii_case(value),
            "GT" => comparable(has) > comparable(value),
            "GTE" => comparable(has) >= comparable(value),
            "LTE" => comparable(has) <= comparable(value),
            "CONTAINS_TOKEN" => has.ends_with(value.strip_prefix('*').unwrap()),
            other => panic!("no operator {other}"),
        }
    })
}
