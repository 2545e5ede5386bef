//! Tryton's JSON-RPC: sessions, and what its errors mean.

use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use http::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::SYSTEM;
use super::config::TrytonConfig;
use crate::error::Error;
use crate::http::{ApiClient, Request, authorization};

const REMEDY: &str = "username and password";

/// A database's RPC.
#[derive(Debug)]
pub(super) struct Rpc {
    client: ApiClient,
    database: String,
    username: String,
    password: SecretString,
    configured_path: Option<Vec<String>>,
    /// The path that was found to answer.
    path: OnceLock<Vec<String>>,
    session: Mutex<Option<Arc<Session>>>,
}

/// What a login gives: the text of the `Authorization` header.
#[derive(Debug)]
struct Session(SecretString);

/// Whether a call changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It only reads, and may be repeated.
    Reads,
    /// It changes something.
    Writes,
}

impl Rpc {
    pub(super) fn new(config: &TrytonConfig) -> Result<Self, Error> {
        let client = ApiClient::builder(SYSTEM, config.url.clone())
            .remedy(REMEDY)
            .timeout(config.timeout)
            .deadline(config.timeout.saturating_mul(3))
            .allow_http(config.allow_http)
            .build()?;
        let segments = |path: &String| path.trim_start_matches('/').split('/').map(str::to_owned).collect();
        Ok(Self {
            client,
            database: config.database.clone(),
            username: config.username.clone(),
            password: config.password.clone(),
            configured_path: config.rpc_path.as_ref().map(segments),
            path: OnceLock::new(),
            session: Mutex::new(None),
        })
    }

    /// The server's clock.
    pub(super) fn server_now(&self) -> DateTime<Utc> {
        self.client.server_now()
    }

    /// The server's series, e.g. `8.2`; needs no credentials.
    pub(super) async fn version(&self) -> Result<String, Error> {
        let ask = |segments: &[&str]| {
            let segments: Vec<String> = segments.iter().map(|&segment| segment.to_owned()).collect();
            self.post(segments, None, "common.server.version", json!([]), Effect::Reads)
        };
        let answer: Value = match ask(&["rpc", ""]).await {
            // Before 8.0.
            Err(Error::NotFound { .. } | Error::Unsupported { .. }) => ask(&[""]).await?,
            other => other?,
        };
        match answer.as_str() {
            Some(version) => Ok(version.to_owned()),
            None => Err(unreadable("a version", "it is no text")),
        }
    }

    /// Calls a method of a model, and returns its result.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        model: &str,
        method: &str,
        params: Value,
        effect: Effect,
    ) -> Result<T, Error> {
        let name = format!("model.{model}.{method}");
        let session = self.session(None).await?;
        let result = match self.in_session(&session, &name, &params, effect).await {
            // The session has ended. Who is refused has done nothing, so that a write may go again, too.
            Err(Error::Auth { .. }) => {
                let fresh = self.session(Some(&session)).await?;
                self.in_session(&fresh, &name, &params, effect).await?
            }
            other => other?,
        };
        serde_json::from_value(result).map_err(|error| {
            // The error's own text may quote a value.
            let problem = format!("{:?} error", error.classify());
            unreadable("the result of a documented method", &problem)
        })
    }

    async fn in_session(&self, session: &Session, name: &str, params: &Value, effect: Effect) -> Result<Value, Error> {
        let path = self.path.get().cloned().unwrap_or_else(|| self.paths()[0].clone());
        self.post(path, Some(session), name, params.clone(), effect).await
    }

    /// The session, a new one if there is none, or only the one that has ended.
    async fn session(&self, ended: Option<&Arc<Session>>) -> Result<Arc<Session>, Error> {
        let mut current = self.session.lock().await;
        if let Some(session) = &*current
            && !ended.is_some_and(|ended| Arc::ptr_eq(ended, session))
        {
            return Ok(Arc::clone(session));
        }
        *current = None;
        let session = Arc::new(self.login().await?);
        *current = Some(Arc::clone(&session));
        Ok(session)
    }

    /// Forgets the session, so that the next call proves the credentials.
    pub(super) async fn forget_session(&self) {
        *self.session.lock().await = None;
    }

    async fn login(&self) -> Result<Session, Error> {
        let params = json!([self.username, {"password": self.password.expose_secret()}]);
        let paths = self.path.get().map_or_else(|| self.paths(), |path| vec![path.clone()]);
        let mut failure = None;
        for path in paths {
            let answer = self
                .post(path.clone(), None, "common.db.login", params.clone(), Effect::Reads)
                .await;
            let answer = match answer {
                Err(error @ (Error::NotFound { .. } | Error::Unsupported { .. })) => {
                    failure.get_or_insert(error);
                    continue;
                }
                other => other?,
            };
            let (user, token) = (answer[0].as_i64(), answer[1].as_str());
            let (Some(user), Some(token)) = (user, token) else {
                return Err(unreadable("a session", "there is no user or no token in it"));
            };
            self.path.set(path).ok();
            let text = format!("{}:{user}:{token}", self.username);
            return Ok(Session(SecretString::from(text)));
        }
        let detail = failure.map_or_else(String::new, |error| format!(": {error}"));
        Err(Error::NotFound {
            system: SYSTEM,
            what: format!(
                "RPC for database \"{}\" at this url (or rpc_path){detail}",
                self.database
            ),
        })
    }

    fn paths(&self) -> Vec<Vec<String>> {
        self.configured_path.clone().map_or_else(
            || {
                vec![
                    vec![self.database.clone(), "rpc".to_owned(), String::new()],
                    vec![self.database.clone(), String::new()],
                ]
            },
            |path| vec![path],
        )
    }

    async fn post(
        &self,
        path: Vec<String>,
        session: Option<&Session>,
        name: &str,
        params: Value,
        effect: Effect,
    ) -> Result<Value, Error> {
        let mut request = Request::new(Method::POST, name)
            .path(path)
            .json(&json!({"id": 1, "method": name, "params": params}))
            .repeatable(effect == Effect::Reads);
        if let Some(Session(text)) = session {
            let (header, value) = authorization("Session", text.expose_secret());
            request = request.header(header, value);
        }
        self.client
            .send_and_read(&request, |answer| {
                let mut answer: Value = answer
                    .json()
                    .map_err(|problem| unreadable("a JSON-RPC answer", &problem))?;
                if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
                    return Err(meaning(name, effect, error));
                }
                match answer.get_mut("result") {
                    Some(result) => Ok(result.take()),
                    // What is no envelope: older servers answer some calls bare.
                    None => Err(unreadable("a JSON-RPC answer", "it has neither result nor error")),
                }
            })
            .await
    }
}

fn unreadable(expected: &'static str, problem: &str) -> Error {
    Error::Unreadable {
        system: SYSTEM,
        expected,
        problem: problem.to_owned(),
    }
}

/// What an `error` means, which comes with status 200. Tryton's texts are in the user's language, and quote names of
/// records: what stands in quotes is left out.
fn meaning(name: &str, effect: Effect, error: &Value) -> Error {
    let kind = error.get(0).and_then(Value::as_str).unwrap_or_default();
    let arguments = error.get(1);
    let message = |index: usize| {
        let text = arguments
            .and_then(|arguments| arguments.get(index))
            .and_then(Value::as_str);
        without_names(text.unwrap_or_default())
    };
    let rejected = |message: String| Error::Rejected {
        system: SYSTEM,
        field: None,
        message,
    };
    match kind {
        // Our own reads name nothing that a user could have got wrong.
        "UserError" if effect == Effect::Reads => Error::Forbidden {
            system: SYSTEM,
            doing: name.trim_start_matches("model.").to_owned(),
            message: message(0),
        },
        "UserError" => rejected(message(0)),
        "UserWarning" => rejected(format!("it asks whether one is sure: {}", message(1))),
        "ConcurrencyException" => Error::Conflict {
            system: SYSTEM,
            message: "another transaction changed the record meanwhile".to_owned(),
        },
        "LoginException" => Error::Auth {
            system: SYSTEM,
            message: "it wants more than a password".to_owned(),
            remedy: REMEDY,
        },
        _ => exception(name, effect, kind),
    }
}

/// What a Python exception means, by its text.
fn exception(name: &str, effect: Effect, text: &str) -> Error {
    let model = name
        .strip_prefix("model.")
        .and_then(|name| name.rsplit_once('.'))
        .map(|(model, _)| model);
    // A KeyError is its key, in quotes.
    let key = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\''));
    if key == Some("res.user") || text.contains("database is locked") {
        return Error::Transient {
            system: SYSTEM,
            message: "is busy or only starting".to_owned(),
            may_have_happened: false,
        };
    }
    if key.is_some() && key == model {
        return Error::Unsupported {
            system: SYSTEM,
            doing: format!("{}: the module is not activated", name.trim_start_matches("model.")),
        };
    }
    match effect {
        Effect::Reads => unreadable("a result", "the server raised an exception; its log says more"),
        Effect::Writes => Error::Rejected {
            system: SYSTEM,
            field: None,
            message: "the server raised an exception; its log says more".to_owned(),
        },
    }
}

/// The text without what stands in quotes: names of records, which may be people.
fn without_names(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for (index, part) in text.split('"').enumerate() {
        match index % 2 {
            0 => shown.push_str(part),
            _ => shown.push('…'),
        }
    }
    let short: String = shown.chars().take(200).collect();
    short.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_sense_and_lose_the_names() {
        let text = "A value is required for field \"Name\" in record \"Ana Pop\" of \"Party\".";
        assert_eq!(without_names(text), "A value is required for field … in record … of ….");
        assert_eq!(without_names("an open \"Ana"), "an open …");
    }

    #[test]
    fn errors_with_status_200_are_told_apart() {
        let read = |error: Value| meaning("model.sale.opportunity.search_read", Effect::Reads, &error);
        let write = |error: Value| meaning("model.sale.opportunity.create", Effect::Writes, &error);
        let denied = json!([
            "UserError",
            ["You are not allowed to access \"Sale Opportunity\".", "", null]
        ]);
        assert!(matches!(read(denied), Error::Forbidden { doing, .. } if doing == "sale.opportunity.search_read"));
        let incomplete = json!(["UserError", ["A value is required for field \"Employee\".", "", null]]);
        assert!(matches!(write(incomplete), Error::Rejected { .. }));
        assert!(matches!(
            read(json!(["'sale.opportunity'", ""])),
            Error::Unsupported { .. }
        ));
        let starting = read(json!(["'res.user'", ""]));
        assert!(starting.is_worth_repeating());
        assert!(matches!(read(json!(["'lft'", ""])), Error::Unreadable { .. }));
        assert!(matches!(
            write(json!(["ConcurrencyException", "Records have been modified"])),
            Error::Conflict { .. }
        ));
    }
}
