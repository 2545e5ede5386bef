//! The requests, and what they answer.

use http::header::AUTHORIZATION;
use http::{HeaderValue, Method};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{HubspotConfig, Limits, SYSTEM, object_of, refusal, rejected};
use crate::error::Error;
use crate::http::{ApiClient, Request};
use crate::records::Entity;

/// At most so many records in a batch.
pub(super) const BATCH: usize = 100;
/// The type of the association from a deal to its contact.
const DEAL_TO_CONTACT: u32 = 3;
/// A contact that has more pages of deals than that has no more that are looked at.
const PAGES: usize = 20;

/// An account's API.
#[derive(Debug)]
pub(super) struct Api {
    client: ApiClient,
    bearer: HeaderValue,
}

/// An object.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) id: String,
    #[serde(default)]
    pub(super) properties: Map<String, Value>,
    #[serde(default)]
    pub(super) updated_at: Option<String>,
    /// Whether an upsert created it.
    #[serde(default)]
    new: bool,
}

impl Row {
    /// A property's text; empty if it has none.
    pub(super) fn text(&self, property: &str) -> &str {
        self.properties
            .get(property)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

#[derive(Debug, Deserialize)]
struct Rows {
    results: Vec<Row>,
    #[serde(default)]
    errors: Vec<Value>,
}

/// A page of a list.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Page<T> {
    results: Vec<T>,
    #[serde(default)]
    paging: Value,
}

#[derive(Debug, Deserialize)]
struct Associated {
    #[serde(rename = "toObjectId")]
    to: Value,
}

impl Api {
    pub(super) fn new(config: &HubspotConfig, limits: Limits) -> Result<Self, Error> {
        let client = ApiClient::builder(SYSTEM, config.url.clone())
            .remedy("token")
            .rate(limits.all)
            .narrow(limits.search)
            .explain(refusal::explain)
            .timeout(config.timeout)
            .deadline(config.timeout * 3)
            .build()?;
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", config.token.expose_secret().trim()))
            .map_err(|_| rejected("token", "it holds characters that no token has"))?;
        bearer.set_sensitive(true);
        Ok(Self { client, bearer })
    }

    pub(super) const fn client(&self) -> &ApiClient {
        &self.client
    }

    fn request(&self, method: Method, doing: impl Into<String>, path: &[&str]) -> Request {
        Request::new(method, doing)
            .path(path.iter().copied())
            .header(AUTHORIZATION, self.bearer.clone())
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        doing: &str,
        path: &[&str],
        expected: &'static str,
    ) -> Result<T, Error> {
        self.client
            .json(&self.request(Method::GET, doing, path), expected)
            .await
    }

    /// What the token is allowed, as far as HubSpot tells.
    pub(super) async fn token_info(&self, token: &str) -> Result<Value, Error> {
        let request = self
            .request(
                Method::POST,
                "read the token's scopes",
                &["oauth", "v2", "private-apps", "get", "access-token-info"],
            )
            .json(&json!({"tokenKey": token}))
            .repeatable(true);
        self.client.json(&request, "a token's scopes").await
    }

    /// The objects with these values of `id_property`, or these ids; those that are not there are left out.
    pub(super) async fn read(
        &self,
        entity: Entity,
        ids: &[String],
        id_property: Option<&str>,
        properties: &[&str],
    ) -> Result<Vec<Row>, Error> {
        let object = object_of(entity);
        let mut rows = Vec::new();
        for ids in ids.chunks(BATCH) {
            let inputs: Vec<Value> = ids.iter().map(|id| json!({"id": id})).collect();
            let mut body = json!({"inputs": inputs, "properties": properties, "propertiesWithHistory": []});
            if let Some(property) = id_property {
                body["idProperty"] = json!(property);
            }
            let doing = format!("read {object}");
            let request = self
                .request(
                    Method::POST,
                    doing.clone(),
                    &["crm", "v3", "objects", object, "batch", "read"],
                )
                .json(&body)
                .repeatable(true);
            let batch: Rows = self.client.json(&request, "a batch of objects").await?;
            let is_missing = |error: &&Value| error["category"] == "OBJECT_NOT_FOUND";
            if let Some(error) = batch.errors.iter().find(|error| !is_missing(error)) {
                return Err(refusal::of_batch(error, &doing));
            }
            rows.extend(batch.results);
        }
        Ok(rows)
    }

    /// The ids and these few properties of what a search finds, at most `limit`.
    pub(super) async fn search(
        &self,
        entity: Entity,
        filter_groups: &[Value],
        sort: &str,
        properties: &[&str],
        limit: usize,
    ) -> Result<Vec<Row>, Error> {
        let object = object_of(entity);
        let request = self
            .request(
                Method::POST,
                format!("search {object}"),
                &["crm", "v3", "objects", object, "search"],
            )
            .json(&json!({
                "filterGroups": filter_groups,
                "sorts": [{"propertyName": sort, "direction": "ASCENDING"}],
                "properties": properties,
                "limit": limit,
            }))
            .repeatable(true)
            .narrow();
        let page: Page<Row> = self.client.json(&request, "a page of objects").await?;
        Ok(page.results)
    }

    /// Creates what has this unique value, or changes it; returns its id, and whether it was created. Repeated, it does no harm.
    pub(super) async fn upsert(
        &self,
        entity: Entity,
        id_property: &str,
        value: &str,
        properties: &Map<String, Value>,
    ) -> Result<(String, bool), Error> {
        let object = object_of(entity);
        let doing = format!("create {object}");
        let request = self
            .request(
                Method::POST,
                doing.clone(),
                &["crm", "v3", "objects", object, "batch", "upsert"],
            )
            .json(&json!({"inputs": [{"idProperty": id_property, "id": value, "properties": properties}]}))
            .repeatable(true);
        let batch: Rows = self.client.json(&request, "a batch of objects").await?;
        match (batch.results.into_iter().next(), batch.errors.first()) {
            (Some(row), _) => Ok((row.id, row.new)),
            (None, Some(error)) => Err(refusal::of_batch(error, &doing)),
            (None, None) => Err(Error::Unreadable {
                system: SYSTEM,
                expected: "what was created",
                problem: "there is none".to_owned(),
            }),
        }
    }

    /// Creates an object, a deal with its contact. Repeated, it creates another.
    pub(super) async fn create(
        &self,
        entity: Entity,
        properties: &Map<String, Value>,
        contact: Option<&str>,
    ) -> Result<String, Error> {
        let object = object_of(entity);
        let associations: Vec<Value> = contact
            .iter()
            .map(|id| {
                let kind = json!({"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": DEAL_TO_CONTACT});
                json!({"to": {"id": id}, "types": [kind]})
            })
            .collect();
        let request = self
            .request(
                Method::POST,
                format!("create {object}"),
                &["crm", "v3", "objects", object],
            )
            .json(&json!({"properties": properties, "associations": associations}));
        let row: Row = self.client.json(&request, "what was created").await?;
        Ok(row.id)
    }

    /// Changes an object.
    pub(super) async fn change(&self, entity: Entity, id: &str, properties: &Map<String, Value>) -> Result<(), Error> {
        let object = object_of(entity);
        let request = self
            .request(
                Method::PATCH,
                format!("change {object}"),
                &["crm", "v3", "objects", object, id],
            )
            .json(&json!({"properties": properties}))
            .repeatable(true);
        let _: Row = self.client.json(&request, "what was changed").await?;
        Ok(())
    }

    /// The ids of a contact's deals.
    pub(super) async fn deals_of(&self, contact: &str) -> Result<Vec<String>, Error> {
        let mut deals = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..PAGES {
            let mut request = self
                .request(
                    Method::GET,
                    "read the deals of contacts",
                    &["crm", "v4", "objects", "contacts", contact, "associations", "deals"],
                )
                .query("limit", "500");
            if let Some(after) = &after {
                request = request.query("after", after);
            }
            let page: Page<Associated> = self.client.json(&request, "a page of associations").await?;
            deals.extend(page.results.iter().map(|associated| match &associated.to {
                Value::String(id) => id.clone(),
                id => id.to_string(),
            }));
            match page.paging["next"]["after"].as_str() {
                Some(next) if after.as_deref() != Some(next) => after = Some(next.to_owned()),
                _ => break,
            }
        }
        Ok(deals)
    }
}
