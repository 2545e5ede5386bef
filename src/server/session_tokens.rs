//! Session tokens for web and mobile front ends: their backend asks here, so that the API key never leaves the daemon.
//!
//! What is handed out is bounded in how long it lasts and how much of it there is, and noted in `session_tokens` before it
//! is handed out; the token itself is nowhere but in the answer.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::json;

use super::authorized::Authorized;
use super::{Admin, PATIENCE, Settings, refused};
use crate::allai::{self, Client, NewSession, Priority};
use crate::clock::{Monotonic, SharedClock};
use crate::listener::Peer;
use crate::warehouse::IssuedToken;

/// What is longer is no id of a chatbot or a visitor.
const LONGEST_ID: usize = 255;
/// How long the warehouse is waited for; with what AllAI is waited for, it is less than a request may take.
const NOTED: Duration = Duration::from_secs(5);
/// After how many seconds it is worth while to ask again, if nothing else is known.
const COME_AGAIN: u64 = 5;

type Limiter = RateLimiter<NotKeyed, InMemoryState, Monotonic, NoOpMiddleware<Duration>>;

/// How many tokens may be handed out.
#[derive(Debug)]
pub(super) struct Allowance {
    clock: SharedClock,
    /// The rate that the limiter keeps.
    limiter: Mutex<Option<(u32, Limiter)>>,
}

impl Allowance {
    pub(super) fn new(clock: &SharedClock) -> Self {
        Self {
            clock: SharedClock::clone(clock),
            limiter: Mutex::default(),
        }
    }

    /// Takes one; else says how long until there is one.
    fn take(&self, per_minute: u32) -> Result<(), Duration> {
        let mut limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        if limiter.as_ref().is_none_or(|(rate, _)| *rate != per_minute) {
            let quota = Quota::per_minute(NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN));
            let clock = Monotonic(SharedClock::clone(&self.clock));
            *limiter = Some((per_minute, RateLimiter::direct_with_clock(quota, clock)));
        }
        match &*limiter {
            Some((_, limiter)) => limiter
                .check()
                .map_err(|refusal| refusal.wait_time_from(self.clock.monotonic())),
            None => Ok(()),
        }
    }
}

/// By so much a token may seem to be valid for longer than it was asked for: clocks differ.
const SKEW: Duration = Duration::from_mins(5);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    account: Option<String>,
    chatbot_id: String,
    visitor_id: String,
    /// In seconds.
    expires_in: Option<u64>,
}

/// `POST /api/v1/session-token` with `{"account"?, "chatbot_id", "visitor_id", "expires_in"?}`: a token with which one visitor
/// may talk to one chatbot.
pub(super) async fn issue(
    _: Authorized,
    State(admin): State<Admin>,
    Extension(Peer(from)): Extension<Peer>,
    body: Bytes,
) -> Response {
    let settings = admin.settings.borrow().clone();
    let (account, client, new) = match understood(&settings, &body) {
        Ok(understood) => understood,
        Err(problem) => return refused(StatusCode::BAD_REQUEST, &problem),
    };
    if let Err(wait) = admin.allowance.take(settings.session_tokens_per_minute) {
        let text = "more session tokens are asked for than admin.session_tokens_per_minute allows";
        return later(StatusCode::TOO_MANY_REQUESTS, text, wait);
    }
    let client = client.with_priority(Priority::Interactive);
    let session = tokio::select! {
        session = client.session_token(&new) => session,
        () = admin.clock.sleep(PATIENCE) => return refused(StatusCode::GATEWAY_TIMEOUT, "AllAI does not answer in time"),
    };
    let session = match session {
        Ok(session) => session,
        Err(error) => return explained(account, &error),
    };
    if session.expires_at.is_none_or(|at| {
        (at - client.server_now())
            .to_std()
            .is_ok_and(|left| left > new.expires_in + SKEW)
    }) {
        tracing::warn!(
            session.account = account,
            session.seconds = new.expires_in.as_secs(),
            "AllAI's session token is valid for longer than was asked for, or does not say until when; it is not handed out"
        );
        let text = "AllAI's token is valid for longer than was asked for, or does not say until when, and so is not handed out";
        return refused(StatusCode::BAD_GATEWAY, text);
    }
    let issued = IssuedToken {
        account,
        chatbot_id: &new.chatbot_id,
        visitor_id: &new.visitor_id,
        expires_at: session.expires_at,
        requested_from: from,
    };
    let problem = tokio::select! {
        noted = admin.warehouse.session_token_issued(&issued) => noted.err().map(|error| error.to_string()),
        () = admin.clock.sleep(NOTED) => Some("the database does not answer".to_owned()),
    };
    if let Some(problem) = problem {
        tracing::warn!(
            session.account = account,
            "a session token is not handed out, because it cannot be noted: {problem}"
        );
        let text = "the token cannot be noted, and so is not handed out";
        return later(StatusCode::SERVICE_UNAVAILABLE, text, Duration::from_secs(COME_AGAIN));
    }
    tracing::info!(
        session.account = account, session.chatbot = new.chatbot_id, client.address = %from,
        session.seconds = new.expires_in.as_secs(), "a session token is handed out"
    );
    // The layer around all routes has Cache-Control: no-store.
    let token = session.session_token.expose_secret();
    Json(json!({ "session_token": token, "expires_at": session.expires_at })).into_response()
}

/// What is asked for, of which account; else what is wrong with it, without quoting it.
fn understood<'s>(settings: &'s Settings, body: &[u8]) -> Result<(&'s str, &'s Client, NewSession), String> {
    let asked: Asked = serde_json::from_slice(body).map_err(|error| {
        format!(
            "the body must be {{\"account\"?, \"chatbot_id\", \"visitor_id\", \"expires_in\"?}} in JSON, with the time in whole \
             seconds (line {}, column {})",
            error.line(),
            error.column()
        )
    })?;
    let names = || {
        settings
            .clients
            .keys()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let found = match &asked.account {
        Some(name) => settings.clients.get_key_value(name),
        None if settings.clients.len() == 1 => settings.clients.first_key_value(),
        None => return Err(format!("account is missing: there is more than one, {}", names())),
    };
    let Some((account, client)) = found else {
        return Err(format!("there is no such account; there is: {}", names()));
    };
    for (name, id) in [("chatbot_id", &asked.chatbot_id), ("visitor_id", &asked.visitor_id)] {
        if id.trim().is_empty() || id.len() > LONGEST_ID || id.chars().any(char::is_control) {
            return Err(format!(
                "{name} must be a text of 1 to {LONGEST_ID} bytes, without control characters"
            ));
        }
    }
    let longest = settings.session_token_max.as_secs();
    let seconds = asked.expires_in.unwrap_or(longest);
    if !(1..=longest).contains(&seconds) {
        return Err(format!(
            "expires_in must be from 1 to {longest} seconds (admin.session_token_max)"
        ));
    }
    let new = NewSession {
        chatbot_id: asked.chatbot_id,
        visitor_id: asked.visitor_id,
        expires_in: Duration::from_secs(seconds),
    };
    Ok((account, client, new))
}

/// What an error of the API means for the one who asked. What is wrong with the key is not their fault.
fn explained(account: &str, error: &allai::Error) -> Response {
    match error {
        allai::Error::BadRequest { message, .. } | allai::Error::NotFound { message, .. } => {
            refused(StatusCode::BAD_REQUEST, &format!("AllAI refuses it: {message}"))
        }
        allai::Error::Postponed { wait, .. } => later(StatusCode::SERVICE_UNAVAILABLE, &error.to_string(), *wait),
        allai::Error::RateLimited { .. } => {
            let wait = Duration::from_secs(COME_AGAIN);
            later(StatusCode::SERVICE_UNAVAILABLE, &error.to_string(), wait)
        }
        error => {
            tracing::warn!(session.account = account, %error, "no session token can be had");
            let remedy = if error.stops_account() {
                format!("; session tokens need a key with write permission as accounts.{account}.api_key")
            } else {
                String::new()
            };
            refused(StatusCode::BAD_GATEWAY, &format!("{error}{remedy}"))
        }
    }
}

fn later(status: StatusCode, text: &str, wait: Duration) -> Response {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let mut answer = refused(status, text);
    answer.headers_mut().insert(header::RETRY_AFTER, seconds.max(1).into());
    answer
}
