//! The two ways to ask: JSON-RPC with a password, and JSON-2 with an API key.
//!
//! Sources: the pages "External API" of Odoo 11 to 18 and "External JSON-2 API" of 19.

use http::header::AUTHORIZATION;
use http::{HeaderName, Method};
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use super::SYSTEM;
use super::config::{Credentials, OdooConfig};
use super::failure::{self, Fault, REMEDY, is_write};
use crate::error::Error;
use crate::http::{ApiClient, Request};

const DATABASE: HeaderName = HeaderName::from_static("x-odoo-database");

/// A call of a model's method.
#[derive(Debug)]
pub(super) struct Call {
    model: &'static str,
    method: &'static str,
    ids: Option<Vec<i64>>,
    /// Arguments whose names differ between versions: JSON-RPC gives them by position, JSON-2 by the name that they have there.
    positional: Vec<(&'static str, Value)>,
    named: Map<String, Value>,
}

impl Call {
    pub(super) fn new(model: &'static str, method: &'static str) -> Self {
        Self {
            model,
            method,
            ids: None,
            positional: Vec::new(),
            named: Map::new(),
        }
    }

    /// The records that have `domain`, and these fields of theirs.
    pub(super) fn search_read(model: &'static str, domain: Value, fields: &[&str]) -> Self {
        Self::new(model, "search_read")
            .with("domain", domain)
            .with("fields", json!(fields))
    }

    /// The records that it is called on.
    pub(super) fn on(mut self, ids: Vec<i64>) -> Self {
        self.ids = Some(ids);
        self
    }

    /// One more argument by position; `name` is its name from Odoo 19 on.
    pub(super) fn argument(mut self, name: &'static str, value: Value) -> Self {
        self.positional.push((name, value));
        self
    }

    /// An argument whose name is the same in all versions.
    pub(super) fn with(mut self, name: &str, value: Value) -> Self {
        self.named.insert(name.to_owned(), value);
        self
    }

    /// What the call depends on besides its arguments.
    pub(super) fn context(self, context: Value) -> Self {
        self.with("context", context)
    }

    fn doing(&self) -> String {
        format!("{}.{}", self.model, self.method)
    }
}

/// A database's methods.
#[derive(Debug)]
pub(super) struct Rpc {
    client: ApiClient,
    credentials: Credentials,
    /// The user's number, which JSON-RPC wants with every call.
    user: Mutex<Option<i64>>,
}

impl Rpc {
    pub(super) fn new(config: &OdooConfig) -> Result<Self, Error> {
        let credentials = config.credentials()?;
        let client = ApiClient::builder(SYSTEM, config.url.clone())
            .remedy(REMEDY)
            .explain(failure::explain)
            .timeout(config.timeout)
            .deadline(config.timeout.saturating_mul(3))
            .allow_http(config.allow_http)
            .build()?;
        Ok(Self {
            client,
            credentials,
            user: Mutex::new(None),
        })
    }

    /// The server's clock.
    pub(super) fn server_now(&self) -> chrono::DateTime<chrono::Utc> {
        self.client.server_now()
    }

    /// Whether it is asked by JSON-2.
    pub(super) const fn is_json_2(&self) -> bool {
        matches!(self.credentials, Credentials::ApiKey { .. })
    }

    /// The server's version, e.g. `17.0`; needs no credentials.
    pub(super) async fn version(&self) -> Result<String, Error> {
        let (answer, member) = match &self.credentials {
            Credentials::Password { .. } => (self.service("common", "version", json!([])).await?, "server_version"),
            Credentials::ApiKey { .. } => {
                let request = Request::new(Method::GET, "tell its version").path(["web", "version"]);
                (self.client.json(&request, "a version").await?, "version")
            }
        };
        match answer[member].as_str() {
            Some(version) => Ok(version.to_owned()),
            None => Err(unreadable("a version", "it has none")),
        }
    }

    /// Calls a method, and returns its result.
    pub(super) async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, Error> {
        let result = match &self.credentials {
            Credentials::Password { database, password, .. } => {
                let user = self.log_in().await?;
                let doing = call.doing();
                let ids = call.ids.map(|ids| json!(ids));
                let positional = call.positional.into_iter().map(|(_, value)| value);
                let arguments: Vec<Value> = ids.into_iter().chain(positional).collect();
                let all = json!([
                    database,
                    user,
                    password.expose_secret(),
                    call.model,
                    call.method,
                    arguments,
                    call.named
                ]);
                let result = self.post("object", "execute_kw", &doing, all).await;
                if matches!(result, Err(Error::Auth { .. })) {
                    self.forget_login().await;
                }
                result?
            }
            Credentials::ApiKey { bearer, database } => {
                let doing = call.doing();
                let mut body = call.named;
                body.extend(
                    call.positional
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value)),
                );
                if let Some(ids) = call.ids {
                    body.insert("ids".to_owned(), json!(ids));
                }
                let mut request = Request::new(Method::POST, &doing)
                    .path(["json", "2", call.model, call.method])
                    .header(AUTHORIZATION, bearer.clone())
                    .json(&Value::Object(body))
                    .repeatable(!is_write(&doing));
                if let Some(database) = database {
                    request = request.header(DATABASE, database.clone());
                }
                self.client.json(&request, "a JSON-2 answer").await?
            }
        };
        serde_json::from_value(result).map_err(|error| {
            // The error's own text may quote a value.
            let problem = format!("{:?} error", error.classify());
            unreadable("the result of a documented method", &problem)
        })
    }

    /// The user's number; JSON-2 does not tell.
    pub(super) async fn user(&self) -> Result<Option<i64>, Error> {
        match self.credentials {
            Credentials::Password { .. } => self.log_in().await.map(Some),
            Credentials::ApiKey { .. } => Ok(None),
        }
    }

    /// Forgets the login, so that the next call proves the credentials.
    pub(super) async fn forget_login(&self) {
        *self.user.lock().await = None;
    }

    /// The user's number, asked for if it is not known.
    async fn log_in(&self) -> Result<i64, Error> {
        let Credentials::Password {
            database,
            username,
            password,
        } = &self.credentials
        else {
            return Err(unreadable("a login", "an API key needs none"));
        };
        let mut known = self.user.lock().await;
        if let Some(user) = *known {
            return Ok(user);
        }
        let arguments = json!([database, username, password.expose_secret()]);
        let answer = self.service("common", "login", arguments).await?;
        let user = answer.as_i64().ok_or_else(|| Error::Auth {
            system: SYSTEM,
            message: "it does not know this user with this password".to_owned(),
            remedy: REMEDY,
        })?;
        *known = Some(user);
        Ok(user)
    }

    /// Calls a method of one of JSON-RPC's services that changes nothing.
    async fn service(&self, service: &str, method: &str, arguments: Value) -> Result<Value, Error> {
        self.post(service, method, &format!("{service}.{method}"), arguments)
            .await
    }

    async fn post(&self, service: &str, method: &str, doing: &str, arguments: Value) -> Result<Value, Error> {
        let request = Request::new(Method::POST, doing)
            .path(["jsonrpc"])
            .json(&json!({
                "jsonrpc": "2.0",
                "method": "call",
                "id": 1,
                "params": {"service": service, "method": method, "args": arguments},
            }))
            .repeatable(!is_write(doing));
        self.client
            .send_and_read(&request, |answer| {
                let mut answer: Value = answer
                    .json()
                    .map_err(|problem| unreadable("a JSON-RPC answer", &problem))?;
                if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
                    let fault = Fault::of_rpc(error);
                    return Err(fault.meaning(doing).unwrap_or_else(|| fault.unknown(doing)));
                }
                match answer.get_mut("result") {
                    Some(result) => Ok(result.take()),
                    None => Err(unreadable("a JSON-RPC answer", "it has neither result nor error")),
                }
            })
            .await
    }
}

pub(super) fn unreadable(expected: &'static str, problem: &str) -> Error {
    Error::Unreadable {
        system: SYSTEM,
        expected,
        problem: problem.to_owned(),
    }
}
