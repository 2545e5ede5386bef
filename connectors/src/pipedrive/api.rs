//! The requests, what they cost, and what they answer.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use http::{HeaderName, HeaderValue, Method};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::refusal::{self, DAILY, TOKENS_LEFT};
use super::{LeadsAre, Limits, PipedriveConfig, SYSTEM, rejected};
use crate::error::Error;
use crate::http::{ApiClient, Request};
use crate::records::Entity;
use crate::time::monotonic;

/// At most so many records by their ids at once.
pub(super) const BATCH: usize = 100;
/// The largest page of a list.
pub(super) const PAGE: usize = 500;
const TOKEN: HeaderName = HeaderName::from_static("x-api-token");

/// What an entity is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Object {
    Persons,
    Deals,
    /// Of API v1, but for their search.
    Leads,
}

impl Object {
    pub(super) const fn of(entity: Entity, leads_are: LeadsAre) -> Self {
        match (entity, leads_are) {
            (Entity::Contact, _) => Self::Persons,
            (Entity::Lead, LeadsAre::Deals) => Self::Deals,
            (Entity::Lead, LeadsAre::Leads) => Self::Leads,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Persons => "persons",
            Self::Deals => "deals",
            Self::Leads => "leads",
        }
    }

    const fn version(self) -> &'static str {
        match self {
            Self::Persons | Self::Deals => "v2",
            Self::Leads => "v1",
        }
    }

    /// What API v1 costs of what v2 does: twice as much.
    const fn cost(self, of_v2: u32) -> u32 {
        match self {
            Self::Persons | Self::Deals => of_v2,
            Self::Leads => of_v2 * 2,
        }
    }

    /// Whether a text is an id: a number, or a lead's UUID.
    pub(super) fn is_id(self, id: &str) -> bool {
        match self {
            Self::Persons | Self::Deals => {
                (1..=18).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit()) && !id.starts_with('0')
            }
            Self::Leads => {
                let dashes = [8, 13, 18, 23];
                let is_right = |(at, byte): (usize, u8)| {
                    if dashes.contains(&at) {
                        byte == b'-'
                    } else {
                        byte.is_ascii_hexdigit()
                    }
                };
                id.len() == 36 && id.bytes().enumerate().all(is_right)
            }
        }
    }
}

/// Costs of API v2, in tokens.
const RECORD: u32 = 1;
const LIST: u32 = 10;
const SEARCH: u32 = 20;
const CHANGE: u32 = 5;

/// A record, with all values beside each other: custom ones by their keys.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) values: Map<String, Value>,
}

impl Row {
    /// `None` if it has no id.
    fn new(raw: Map<String, Value>) -> Option<Self> {
        let id = match raw.get("id")? {
            Value::String(id) => id.clone(),
            Value::Number(id) => id.to_string(),
            _ => return None,
        };
        let mut values = raw;
        if let Some(Value::Object(custom)) = values.remove("custom_fields") {
            values.extend(custom);
        }
        // A lead's value is an amount with its currency.
        if let Some(Value::Object(mut money)) = values.get("value").cloned() {
            values.insert("value".to_owned(), money.remove("amount").unwrap_or_default());
            values.insert("currency".to_owned(), money.remove("currency").unwrap_or_default());
        }
        Some(Self { id, values })
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.values.get("is_deleted").and_then(Value::as_bool) == Some(true)
    }

    /// The values of a list such as `emails`.
    pub(super) fn listed(&self, list: &str) -> Vec<&str> {
        let entries = self.values.get(list).and_then(Value::as_array);
        entries
            .into_iter()
            .flatten()
            .filter_map(|entry| entry["value"].as_str())
            .collect()
    }
}

/// A page of records.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) rows: Vec<Row>,
    /// Where the next one begins, if there is one.
    pub(super) next: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Body<T> {
    #[serde(default = "Option::default")]
    data: Option<T>,
    #[serde(default)]
    additional_data: Value,
}

#[derive(Debug, Deserialize)]
struct Found {
    #[serde(default)]
    items: Vec<Value>,
}

/// An account's API.
#[derive(Debug)]
pub(super) struct Api {
    client: ApiClient,
    token: HeaderValue,
    /// How many of the company's tokens were left, and when.
    left: Mutex<Option<(Instant, u32)>>,
}

impl Api {
    pub(super) fn new(config: &PipedriveConfig, limits: Limits) -> Result<Self, Error> {
        let client = ApiClient::builder(SYSTEM, config.url.clone())
            .remedy("token")
            .rate(limits.all)
            .narrow(limits.search)
            .allowance(limits.tokens)
            .explain(refusal::explain)
            .timeout(config.timeout)
            .deadline(config.timeout * 3)
            .build()?;
        let mut token = HeaderValue::try_from(config.token.expose_secret().trim())
            .map_err(|_| rejected("token", "it holds characters that no token has"))?;
        token.set_sensitive(true);
        Ok(Self {
            client,
            token,
            left: Mutex::new(None),
        })
    }

    pub(super) const fn client(&self) -> &ApiClient {
        &self.client
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: Request,
        cost: u32,
        expected: &'static str,
    ) -> Result<(Option<T>, Value), Error> {
        if let Some(wait) = self.has_spent(cost) {
            return Err(Error::RateLimited {
                system: SYSTEM,
                retry_after: Some(wait),
            });
        }
        let request = request.header(TOKEN, self.token.clone()).cost(cost);
        let body: Body<T> = self
            .client
            .send_and_read(&request, |answer| {
                let left = answer
                    .headers
                    .get(TOKENS_LEFT)
                    .and_then(|left| left.to_str().ok()?.parse().ok());
                if let Some(left) = left {
                    *self.left.lock().unwrap_or_else(PoisonError::into_inner) = Some((monotonic(), left));
                }
                answer.json().map_err(|problem| Error::Unreadable {
                    system: SYSTEM,
                    expected,
                    problem,
                })
            })
            .await?;
        Ok((body.data, body.additional_data))
    }

    /// How long to wait if the company has not so many tokens left today, as it was told lately.
    fn has_spent(&self, cost: u32) -> Option<std::time::Duration> {
        let left = *self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, _) = left.filter(|(_, left)| *left < cost)?;
        DAILY.checked_sub(at.elapsed()).filter(|wait| !wait.is_zero())
    }

    fn request(method: Method, doing: String, path: &[&str]) -> Request {
        Request::new(method, doing).path(["api"].iter().chain(path).copied())
    }

    /// The user whose token it is.
    pub(super) async fn me(&self) -> Result<Value, Error> {
        let request = Self::request(Method::GET, "read the user".to_owned(), &["v1", "users", "me"]);
        Ok(self.send(request, RECORD * 2, "a user").await?.0.unwrap_or_default())
    }

    /// The fields of persons or of deals, which leads share.
    pub(super) async fn fields(&self, object: Object) -> Result<Vec<Value>, Error> {
        let (name, path) = match object {
            Object::Persons => ("persons", "personFields"),
            Object::Deals | Object::Leads => ("deals", "dealFields"),
        };
        let (mut fields, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let mut request = Self::request(Method::GET, format!("read the fields of {name}"), &["v2", path])
                .query("limit", PAGE.to_string());
            if let Some(cursor) = &cursor {
                request = request.query("cursor", cursor);
            }
            let (page, more): (Option<Vec<Value>>, Value) = self.send(request, LIST, "a list of fields").await?;
            fields.extend(page.unwrap_or_default());
            match more["next_cursor"].as_str() {
                Some(next) if cursor.as_deref() != Some(next) => cursor = Some(next.to_owned()),
                _ => return Ok(fields),
            }
        }
    }

    /// The ids of what a search finds.
    pub(super) async fn search(
        &self,
        object: Object,
        term: &str,
        field: &str,
        exact: bool,
    ) -> Result<Vec<String>, Error> {
        let request = Self::request(
            Method::GET,
            format!("search {}", object.name()),
            &["v2", object.name(), "search"],
        )
        .query("term", term)
        .query("fields", field)
        .query("exact_match", exact.to_string())
        .query("limit", BATCH.to_string())
        .narrow();
        let (found, _): (Option<Found>, Value) = self.send(request, SEARCH, "what was found").await?;
        let id = |found: &Value| match &found["item"]["id"] {
            Value::String(id) => Some(id.clone()),
            Value::Number(id) => Some(id.to_string()),
            _ => None,
        };
        Ok(found
            .map(|found| found.items.iter().filter_map(id).collect())
            .unwrap_or_default())
    }

    /// The records with these ids; those that are not there are left out.
    pub(super) async fn read(&self, object: Object, ids: &[String]) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::new();
        match (object, ids) {
            (_, [id]) => rows.extend(self.read_one(object, id).await?),
            (Object::Leads, ids) => {
                for id in ids {
                    rows.extend(self.read_one(object, id).await?);
                }
            }
            (_, ids) => {
                for ids in ids.chunks(BATCH) {
                    let query = [("ids", ids.join(",")), ("limit", BATCH.to_string())];
                    rows.extend(self.list(object, &query, None).await?.rows);
                }
            }
        }
        rows.retain(|row| !row.is_deleted());
        Ok(rows)
    }

    async fn read_one(&self, object: Object, id: &str) -> Result<Option<Row>, Error> {
        let request = Self::request(
            Method::GET,
            format!("read {}", object.name()),
            &[object.version(), object.name(), id],
        );
        match self
            .send::<Map<String, Value>>(request, object.cost(RECORD), "a record")
            .await
        {
            Ok((raw, _)) => Ok(raw.and_then(Row::new)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A page of records: of API v2 from a cursor, of v1 from a position.
    pub(super) async fn list(
        &self,
        object: Object,
        query: &[(&str, String)],
        from: Option<&str>,
    ) -> Result<Page, Error> {
        let mut request = Self::request(
            Method::GET,
            format!("read {}", object.name()),
            &[object.version(), object.name()],
        );
        for (name, value) in query {
            request = request.query(*name, value);
        }
        if let Some(from) = from {
            request = request.query(if object == Object::Leads { "start" } else { "cursor" }, from);
        }
        let (raw, more): (Option<Vec<Map<String, Value>>>, Value) =
            self.send(request, object.cost(LIST), "a page of records").await?;
        let rows: Option<Vec<Row>> = raw.unwrap_or_default().into_iter().map(Row::new).collect();
        let rows = rows.ok_or_else(|| Error::Unreadable {
            system: SYSTEM,
            expected: "a page of records",
            problem: "one has no id".to_owned(),
        })?;
        let pagination = &more["pagination"];
        let next = if pagination["more_items_in_collection"] == true {
            pagination["next_start"].as_u64().map(|start| start.to_string())
        } else {
            more["next_cursor"].as_str().map(str::to_owned)
        };
        Ok(Page { rows, next })
    }

    /// Creates a record; returns its id. Repeated, it creates another.
    pub(super) async fn create(&self, object: Object, body: &Value) -> Result<String, Error> {
        let request = Self::request(
            Method::POST,
            format!("create {}", object.name()),
            &[object.version(), object.name()],
        )
        .json(body);
        let (raw, _) = self
            .send::<Map<String, Value>>(request, object.cost(CHANGE), "what was created")
            .await?;
        let row = raw.and_then(Row::new).ok_or_else(|| Error::Unreadable {
            system: SYSTEM,
            expected: "what was created",
            problem: "it has no id".to_owned(),
        })?;
        Ok(row.id)
    }

    /// Changes a record.
    pub(super) async fn change(&self, object: Object, id: &str, body: &Value) -> Result<(), Error> {
        let request = Self::request(
            Method::PATCH,
            format!("change {}", object.name()),
            &[object.version(), object.name(), id],
        )
        .json(body)
        .repeatable(true);
        let _: (Option<Value>, Value) = self.send(request, object.cost(CHANGE), "what was changed").await?;
        Ok(())
    }
}
