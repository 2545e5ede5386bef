//! The token, and requests with it.
//!
//! Invariants: there is one token for all; who needs one while another fetches it waits for that. A request whose token is
//! refused is sent once more, with a new one.

use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::{HeaderValue, Method};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{OblioConfig, SYSTEM};
use crate::error::Error;
use crate::http::{Answer, ApiClient, Request};
use crate::lenient;
use crate::time::monotonic;

/// How long a token holds that does not say.
const HOUR: Duration = Duration::from_hours(1);
/// How long before its end it is renewed, if it holds for long.
const MARGIN: Duration = Duration::from_mins(1);

pub(super) struct Session {
    client: ApiClient,
    client_id: String,
    client_secret: SecretString,
    token: Mutex<Option<Token>>,
}

struct Token {
    bearer: HeaderValue,
    until: Instant,
}

#[derive(Deserialize)]
struct Granted {
    #[serde(default, deserialize_with = "lenient::text")]
    access_token: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    expires_in: Option<String>,
}

impl Session {
    pub(super) fn new(client: ApiClient, config: &OblioConfig) -> Self {
        Self {
            client,
            client_id: config.client_id.clone(),
            client_secret: config.client_secret.clone(),
            token: Mutex::new(None),
        }
    }

    /// Logs in, whether there is a token or not.
    pub(super) async fn log_in(&self) -> Result<(), Error> {
        let mut token = self.token.lock().await;
        *token = None;
        *token = Some(self.granted().await?);
        Ok(())
    }

    /// Sends a request that only reads, and returns what `read` makes of its answer.
    pub(super) async fn get<T>(
        &self,
        doing: &str,
        path: &[&str],
        query: &[(&str, &str)],
        read: impl Fn(&Answer) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut request = Request::new(Method::GET, doing).path(path.iter().copied());
        for (name, value) in query {
            request = request.query(*name, *value);
        }
        let bearer = self.bearer().await?;
        let send = |bearer: &HeaderValue| {
            let request = request.clone().header(AUTHORIZATION, bearer.clone());
            let read = &read;
            async move { self.client.send_and_read(&request, |answer| read(&answer)).await }
        };
        match send(&bearer).await {
            Err(Error::Auth { .. }) => {
                self.forget(&bearer).await;
                send(&self.bearer().await?).await
            }
            outcome => outcome,
        }
    }

    async fn bearer(&self) -> Result<HeaderValue, Error> {
        let mut token = self.token.lock().await;
        if let Some(token) = token.as_ref().filter(|token| monotonic() < token.until) {
            return Ok(token.bearer.clone());
        }
        let granted = self.granted().await?;
        Ok(token.insert(granted).bearer.clone())
    }

    /// Forgets this token, unless another has taken its place already.
    async fn forget(&self, bearer: &HeaderValue) {
        let mut token = self.token.lock().await;
        if token.as_ref().is_some_and(|token| token.bearer == bearer) {
            *token = None;
        }
    }

    async fn granted(&self) -> Result<Token, Error> {
        let asked = monotonic();
        let request = Request::new(Method::POST, "log in")
            .path(["authorize", "token"])
            .form(&[
                ("client_id", &self.client_id),
                ("client_secret", self.client_secret.expose_secret()),
                ("grant_type", "client_credentials"),
            ])
            // A second token does the first no harm.
            .repeatable(true);
        let granted = self.client.json::<Granted>(&request, "a token").await;
        let granted = granted.map_err(|error| match error {
            Error::Rejected {
                field: None, message, ..
            } => Error::Auth {
                system: SYSTEM,
                message,
                remedy: "client_id and client_secret",
            },
            error => error,
        })?;
        let unreadable = |problem: &str| Error::Unreadable {
            system: SYSTEM,
            expected: "a token",
            problem: problem.to_owned(),
        };
        let text = granted.access_token.ok_or_else(|| unreadable("there is none in it"))?;
        let mut bearer = HeaderValue::try_from(format!("Bearer {text}"))
            .map_err(|_| unreadable("it holds characters that no header can"))?;
        bearer.set_sensitive(true);
        let holds = granted
            .expires_in
            .and_then(|seconds| seconds.parse().ok())
            .map_or(HOUR, Duration::from_secs)
            .min(24 * HOUR);
        Ok(Token {
            bearer,
            until: asked + holds.saturating_sub(MARGIN.min(holds / 10)),
        })
    }
}
