//! A Pipedrive that is not there, after its documentation; see the connector's page.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use allai_connectors::http::Allowance;
use allai_connectors::pipedrive::{Limits, Pipedrive, PipedriveConfig};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use url::Url;

use super::fake::{self, Asked, Gate, Reply, now};
use super::hubspot::rate;

pub(crate) const TOKEN: &str = "pd-very-secret";
/// The key of the text field that holds our reference.
pub(crate) const REFERENCE: &str = "946947d1b02fd3ef20798d6112ec5d895a686a21";
const HEAT: &str = "aa6947d1b02fd3ef20798d6112ec5d895a686a22";
const TWICE: [&str; 2] = [
    "bb6947d1b02fd3ef20798d6112ec5d895a686a23",
    "cc6947d1b02fd3ef20798d6112ec5d895a686a24",
];
const BUDGET: &str = "dd6947d1b02fd3ef20798d6112ec5d895a686a25";

pub(crate) struct Fake {
    pub(crate) url: Url,
    state: Arc<Mutex<State>>,
}

/// A record, as it was from some moments on.
type Versions = Vec<(Instant, Map<String, Value>)>;

pub(crate) struct State {
    /// By object and number.
    records: BTreeMap<(&'static str, u64), Versions>,
    last: u64,
    /// How far searches lag behind.
    pub(crate) lag: Duration,
    /// What the company may spend in a day, and has.
    pub(crate) tokens: u32,
    pub(crate) spent: u32,
    /// Whether it was asked for more.
    overspent: bool,
    pub(crate) tells_tokens: bool,
    all: Gate,
    search: Gate,
    pub(crate) asked: Vec<Asked>,
    /// So many of the next writes are carried out, and not answered.
    pub(crate) lose: usize,
    /// Cursors from before are not known any more.
    pub(crate) forgets_cursors: bool,
    /// Answered to everything, if it is there.
    pub(crate) instead: Option<Reply>,
}

type Failure = (u16, Value);

fn failure(status: u16, error: &str) -> Failure {
    let body = json!({"success": false, "error": error, "error_info": "Please check developers.pipedrive.com", "data": null,
        "additional_data": null});
    (status, body)
}

fn invalid(field: &str, value: &Value) -> Failure {
    failure(400, &format!("Validation failed: {field}: {value} is not valid"))
}

fn wall_clock() -> DateTime<Utc> {
    #[expect(clippy::disallowed_methods, reason = "a vendor stamps by a clock of its own")]
    Utc::now()
}

/// The vendor's limits in a twentieth of the time.
pub(crate) fn short() -> Limits {
    Limits {
        all: rate(20, 100),
        search: rate(10, 100),
        tokens: Allowance {
            units: 10_000_000,
            per: Duration::from_hours(24),
        },
        search_lag: Duration::from_millis(200),
    }
}

fn fields() -> Value {
    let own = |code: &str, name: &str, kind: &str| {
        json!({"field_code": code, "field_name": name, "field_type": kind, "options": null, "subfields": null,
            "is_custom_field": false, "is_optional_response_field": false})
    };
    let custom = |code: &str, name: &str, kind: &str| {
        let mut field = own(code, name, kind);
        field["is_custom_field"] = json!(true);
        field
    };
    let mut heat = custom(HEAT, "Heat", "enum");
    heat["options"] = json!([{"id": 11, "label": "Hot"}, {"id": 12, "label": "Cold"}]);
    json!([
        own("name", "Name", "varchar"),
        own("email", "E-mail", "varchar"),
        own("title", "Titlu", "varchar"),
        custom(REFERENCE, "AllAI reference", "varchar"),
        custom(TWICE[0], "Twice", "varchar"),
        custom(TWICE[1], "Twice", "double"),
        custom(BUDGET, "Budget", "monetary"),
        heat,
    ])
}

/// A lead's id, of its number.
fn uuid(number: u64) -> String {
    format!("adf21080-0e10-11eb-879b-{number:012x}")
}

fn number(object: &str, id: &str) -> Option<u64> {
    if object == "leads" {
        u64::from_str_radix(id.rsplit('-').next()?, 16).ok()
    } else {
        id.parse().ok()
    }
}

/// What a request costs, by the documentation.
fn cost(asked: &Asked) -> u32 {
    let path: Vec<&str> = asked.path.split('/').skip(3).collect();
    match (asked.method.as_str(), path.as_slice()) {
        ("GET", ["v2", _, "search"] | ["v1", _]) => 20,
        ("GET", ["v1", "users" | "leads", _]) => 2,
        ("GET", ["v2", _, _]) => 1,
        ("GET", ["v2", _]) | (_, ["v1", ..]) => 10,
        _ => 5,
    }
}

impl Fake {
    /// With the vendor's limits in a twentieth of the time.
    pub(crate) async fn short() -> Self {
        Self::start(short()).await
    }

    /// With the vendor's own limits.
    pub(crate) async fn real() -> Self {
        Self::start(Limits {
            all: rate(20, 2_000),
            search: rate(10, 2_000),
            ..short()
        })
        .await
    }

    async fn start(limits: Limits) -> Self {
        let state = Arc::new(Mutex::new(State {
            records: BTreeMap::new(),
            last: 100,
            lag: Duration::ZERO,
            tokens: u32::MAX,
            spent: 0,
            overspent: false,
            tells_tokens: true,
            all: Gate::new(&[limits.all]),
            search: Gate::new(&[limits.search]),
            asked: Vec::new(),
            lose: 0,
            forgets_cursors: false,
            instead: None,
        }));
        let answering = Arc::clone(&state);
        let url = fake::start_replying(move |asked| answering.lock().unwrap().reply(asked)).await;
        Self { url, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Puts a record there, as if by somebody else; returns its id.
    pub(crate) fn put(&self, object: &'static str, values: &Value, changed: Option<DateTime<Utc>>) -> String {
        let number = self.state().store(object, None, values.as_object().unwrap(), changed);
        if object == "leads" {
            uuid(number)
        } else {
            number.to_string()
        }
    }

    /// A person who is reached so.
    pub(crate) fn person(&self, name: &str, email: &str, phone: &str) -> String {
        let list = |value: &str| {
            let one = json!([{"value": value, "primary": true, "label": "work"}]);
            if value.is_empty() { json!([]) } else { one }
        };
        let values = json!({"name": name, "emails": list(email), "phones": list(phone)});
        self.put("persons", &values, None)
    }

    /// How many records of an object there are.
    pub(crate) fn count(&self, object: &str) -> usize {
        self.state().records.keys().filter(|(kind, _)| *kind == object).count()
    }

    pub(crate) fn config(&self, more: &Value) -> PipedriveConfig {
        let mut keys = json!({"token": TOKEN, "url": self.url.join("/api").unwrap(), "timeout": "5s",
            "contact_reference": "AllAI reference", "lead_reference": REFERENCE});
        for (key, value) in more.as_object().unwrap() {
            keys[key] = value.clone();
        }
        serde_json::from_value(keys).unwrap()
    }

    pub(crate) fn connector(&self, more: &Value) -> Pipedrive {
        self.connector_with(more, short())
    }

    pub(crate) fn connector_with(&self, more: &Value, limits: Limits) -> Pipedrive {
        let mut state = self.state();
        state.all.begin_anew();
        state.search.begin_anew();
        drop(state);
        Pipedrive::with_limits(self.config(more), limits).unwrap()
    }

    /// No limit was exceeded; how many requests there were, and how many of them were searches.
    pub(crate) fn unblocked(&self) -> (usize, usize) {
        let state = self.state();
        assert!(!state.all.is_blocked(), "the burst limit was exceeded");
        assert!(!state.search.is_blocked(), "the limit of searches was exceeded");
        assert!(!state.overspent, "more tokens were asked for than there are");
        (state.all.count(), state.search.count())
    }
}

impl State {
    fn reply(&mut self, asked: &Asked) -> Reply {
        let is_search = asked.path.ends_with("/search");
        let passes = self.all.lets_through(asked.at) & (!is_search || self.search.lets_through(asked.at));
        self.asked.push(asked.clone());
        if let Some(instead) = &self.instead {
            return instead.clone();
        }
        let cost = cost(asked);
        self.overspent |= self.spent + cost > self.tokens;
        if !passes || self.overspent {
            let left = self.tokens.saturating_sub(self.spent).min(cost - 1);
            let headers = vec![
                ("x-daily-ratelimit-token-remaining", left.to_string()),
                ("x-ratelimit-reset", "10".to_owned()),
            ];
            return Reply::WithHeaders((429, failure(429, "request over limit").1.to_string()), headers);
        }
        self.spent += cost;
        let (status, body) = self.answer(asked).unwrap_or_else(|failure| failure);
        if asked.method != "GET" && self.lose > 0 && status < 300 {
            self.lose -= 1;
            return Reply::Nothing;
        }
        let left = if self.tells_tokens {
            vec![(
                "x-daily-ratelimit-token-remaining",
                (self.tokens - self.spent).to_string(),
            )]
        } else {
            Vec::new()
        };
        Reply::WithHeaders((status, body.to_string()), left)
    }

    fn answer(&mut self, asked: &Asked) -> Result<(u16, Value), Failure> {
        if asked.header("x-api-token") != Some(TOKEN) {
            return Err(failure(401, "unauthorized access"));
        }
        let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        let path: Vec<&str> = asked.path.split('/').skip(3).collect();
        match (asked.method.as_str(), path.as_slice()) {
            ("GET", ["v1", "users", "me"]) => {
                Ok(success(&json!({"id": 7, "company_id": 9, "is_admin": 1}), &Value::Null))
            }
            ("GET", ["v2", "personFields" | "dealFields"]) => Ok(success(&fields(), &Value::Null)),
            ("GET", ["v2", object, "search"]) => self.search(known(object), asked),
            ("GET", ["v2", object @ ("persons" | "deals")]) => self.list(known(object), asked),
            ("GET", ["v1", "leads"]) => Ok(self.leads(asked)),
            (method, ["v2", object @ ("persons" | "deals"), id] | ["v1", object @ "leads", id]) => {
                let object = known(object);
                let there = number(object, id).filter(|number| self.records.contains_key(&(object, *number)));
                let there = there.ok_or_else(|| failure(404, "not found"))?;
                if method == "PATCH" {
                    let values = Self::valid(object, &body, false)?;
                    self.store(object, Some(there), &values, None);
                }
                Ok(success(&self.told(object, there), &Value::Null))
            }
            ("POST", ["v2", object @ ("persons" | "deals")] | ["v1", object @ "leads"]) => {
                let object = known(object);
                let values = Self::valid(object, &body, true)?;
                let there = self.store(object, None, &values, None);
                let (_, body) = success(&self.told(object, there), &Value::Null);
                Ok((201, body))
            }
            _ => Err(failure(404, "unknown method")),
        }
    }

    fn current(&self, object: &'static str, number: u64) -> &Map<String, Value> {
        &self.records[&(object, number)].last().unwrap().1
    }

    fn told(&self, object: &'static str, number: u64) -> Value {
        Value::Object(self.current(object, number).clone())
    }

    /// The body, if Pipedrive takes it.
    fn valid(object: &str, body: &Value, is_new: bool) -> Result<Map<String, Value>, Failure> {
        let needed = if object == "persons" { "name" } else { "title" };
        let values = body.as_object().unwrap();
        for (key, value) in values {
            let is_valid = match key.as_str() {
                "name" | "title" => value.as_str().is_some_and(|text| !text.trim().is_empty()),
                "emails" => {
                    let entries = value.as_array().unwrap();
                    entries
                        .iter()
                        .all(|entry| !entry["value"].as_str().unwrap().contains('<'))
                }
                "phones" => value.is_array(),
                "person_id" | "owner_id" | "org_id" | "organization_id" => value.is_u64(),
                "value" if object == "leads" => value["amount"].is_number() && value["currency"].is_string(),
                "value" => value.is_number(),
                "custom_fields" if object != "leads" => {
                    let known = [REFERENCE, HEAT, TWICE[0], TWICE[1]];
                    value
                        .as_object()
                        .unwrap()
                        .keys()
                        .all(|key| known.contains(&key.as_str()))
                }
                REFERENCE | HEAT if object == "leads" => true,
                "currency" | "status" | "expected_close_date" | "is_archived" | "lost_reason" => true,
                _ => false,
            };
            if !is_valid {
                return Err(invalid(key, value));
            }
        }
        if is_new && !values.contains_key(needed) {
            return Err(invalid(needed, &Value::Null));
        }
        if is_new && object == "leads" && !values.contains_key("person_id") && !values.contains_key("organization_id") {
            return Err(failure(400, "A lead must be linked to a person or an organization."));
        }
        Ok(values.clone())
    }

    fn store(
        &mut self,
        object: &'static str,
        there: Option<u64>,
        values: &Map<String, Value>,
        changed: Option<DateTime<Utc>>,
    ) -> u64 {
        let number = there.unwrap_or_else(|| {
            self.last += 1;
            self.last
        });
        let versions = self.records.entry((object, number)).or_default();
        let mut all = versions.last().map(|(_, all)| all.clone()).unwrap_or_default();
        for (key, value) in values {
            match (all.get_mut(key), value) {
                (Some(Value::Object(there)), Value::Object(more)) if key == "custom_fields" => {
                    there.extend(more.clone());
                }
                _ => {
                    all.insert(key.clone(), value.clone());
                }
            }
        }
        if object == "deals" {
            all.entry("status").or_insert_with(|| json!("open"));
        }
        let changed = changed.unwrap_or_else(wall_clock);
        // v2 has whole seconds, v1 milliseconds.
        let format = if object == "leads" {
            SecondsFormat::Millis
        } else {
            SecondsFormat::Secs
        };
        all.insert("update_time".to_owned(), json!(changed.to_rfc3339_opts(format, true)));
        let id = if object == "leads" {
            json!(uuid(number))
        } else {
            json!(number)
        };
        all.insert("id".to_owned(), id);
        all.entry("is_deleted").or_insert(json!(false));
        versions.push((now(), all));
        number
    }

    fn search(&self, object: &'static str, asked: &Asked) -> Result<(u16, Value), Failure> {
        let term = asked.param("term").unwrap_or_default().trim().to_lowercase();
        let is_exact = asked.param("exact_match") == Some("true");
        if term.chars().count() < if is_exact { 1 } else { 2 } {
            return Err(invalid("term", &json!(term)));
        }
        let is_found = |text: &str| {
            let text = text.trim().to_lowercase();
            let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
            text == term || !is_exact && (text.contains(&term) || digits(&text).contains(&term))
        };
        let texts = |all: &Map<String, Value>| -> Vec<String> {
            let list = |key: &str| {
                let entries = all.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
                entries
                    .iter()
                    .filter_map(|entry| entry["value"].as_str().map(str::to_owned))
                    .collect()
            };
            match asked.param("fields") {
                Some("email") => list("emails"),
                Some("phone") => list("phones"),
                Some("custom_fields") => {
                    let custom = all.get("custom_fields").and_then(Value::as_object).unwrap_or(all);
                    let keys = [REFERENCE, TWICE[0]];
                    keys.iter()
                        .filter_map(|key| custom.get(*key)?.as_str().map(str::to_owned))
                        .collect()
                }
                other => panic!("no fields {other:?}"),
            }
        };
        let mut items = Vec::new();
        for ((kind, _), versions) in &self.records {
            let indexed = versions.iter().rev().find(|(at, _)| at.elapsed() >= self.lag);
            let Some((_, all)) = indexed.filter(|_| *kind == object) else {
                continue;
            };
            if texts(all).iter().any(|text| is_found(text)) {
                items.push(
                    json!({"result_score": 0.5, "item": {"id": all["id"], "type": object.trim_end_matches('s')}}),
                );
            }
        }
        items.truncate(100);
        Ok(success(&json!({"items": items}), &Value::Null))
    }

    fn list(&self, object: &'static str, asked: &Asked) -> Result<(u16, Value), Failure> {
        let limit: usize = asked.param("limit").map_or(100, |limit| limit.parse().unwrap());
        assert!(limit <= 500, "at most 500");
        let ids: Option<Vec<&str>> = asked.param("ids").map(|ids| ids.split(',').collect());
        if ids.as_ref().is_some_and(|ids| ids.len() > 100) {
            return Err(invalid("ids", &Value::Null));
        }
        let person: Option<u64> = asked.param("person_id").map(|person| person.parse().unwrap());
        let since = asked.param("updated_since");
        if since.is_some_and(|since| since.len() != "2026-01-01T00:00:00Z".len()) {
            return Err(invalid("updated_since", &json!(since)));
        }
        let mut found: Vec<&Map<String, Value>> = self
            .records
            .iter()
            .filter(|((kind, _), _)| *kind == object)
            .map(|(_, versions)| &versions.last().unwrap().1)
            .filter(|all| {
                ids.as_ref()
                    .is_none_or(|ids| ids.contains(&all["id"].to_string().as_str()))
            })
            .filter(|all| since.is_none_or(|since| all["update_time"].as_str().unwrap() >= since))
            .filter(|all| person.is_none() || all.get("person_id").and_then(Value::as_u64) == person)
            .collect();
        if asked.param("sort_by") == Some("update_time") {
            found.sort_by_key(|all| all["update_time"].as_str().unwrap().to_owned());
        }
        let start = match asked.param("cursor") {
            Some(_) if self.forgets_cursors => return Err(invalid("cursor", &Value::Null)),
            Some(cursor) => cursor.strip_prefix("page-").unwrap().parse().unwrap(),
            None => 0,
        };
        let more = (start + limit < found.len()).then(|| format!("page-{}", start + limit));
        let page: Vec<_> = found.into_iter().skip(start).take(limit).collect();
        Ok(success(&json!(page), &json!({"next_cursor": more})))
    }

    fn leads(&self, asked: &Asked) -> (u16, Value) {
        let limit: usize = asked.param("limit").map_or(100, |limit| limit.parse().unwrap());
        let person: Option<u64> = asked.param("person_id").map(|person| person.parse().unwrap());
        let start: usize = asked.param("start").map_or(0, |start| start.parse().unwrap());
        let mut found: Vec<&Map<String, Value>> = self
            .records
            .iter()
            .filter(|((kind, _), _)| *kind == "leads")
            .map(|(_, versions)| &versions.last().unwrap().1)
            .filter(|all| person.is_none() || all.get("person_id").and_then(Value::as_u64) == person)
            .collect();
        if asked.param("sort") == Some("update_time DESC") {
            found.sort_by_key(|all| std::cmp::Reverse(all["update_time"].as_str().unwrap().to_owned()));
        }
        let more = start + limit < found.len();
        let page: Vec<_> = found.into_iter().skip(start).take(limit).collect();
        let mut pagination = json!({"start": start, "limit": limit, "more_items_in_collection": more});
        if more {
            pagination["next_start"] = json!(start + limit);
        }
        success(&json!(page), &json!({"pagination": pagination}))
    }
}

fn success(data: &Value, more: &Value) -> (u16, Value) {
    (200, json!({"success": true, "data": data, "additional_data": more}))
}

fn known(object: &str) -> &'static str {
    match object {
        "persons" => "persons",
        "deals" => "deals",
        "leads" => "leads",
        other => panic!("no objects {other}"),
    }
}
