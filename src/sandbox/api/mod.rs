//! The API: one request in, one answer out. One file a resource; this one has what all requests go through.
//!
//! In this order: planned fault and delay, key, rate limit, permission, the resource itself, churn, headers. A request
//! that the rate limit refuses meets no other fault.
//!
//! To add an endpoint: a variant of [`Endpoint`] with its permission, its line in [`Endpoint::find`], and its function
//! in the resource's file.

mod analytics;
mod contacts;
mod conversations;
mod messages;
mod query;
mod reply;
mod session;
mod webhooks;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, DATE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::account::{Account, MutationKinds, scramble};
use super::faults::{self, Fault};
use super::keys::{Keys, Permission};
use super::limits::{Limits, Verdict, http_date, set};
use super::log::{Log, LogEntry};
use super::options::{Options, WebhookEndpoint};
use super::webhooks::{Outgoing, Webhook};
use crate::clock::SharedClock;
use query::Query;
pub(super) use reply::{Failure, Reply};

/// The largest request body the API takes.
pub(super) const LARGEST_BODY: usize = 1 << 20;

/// The API's shared state.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) clock: SharedClock,
    pub(super) keys: Keys,
    state: Mutex<State>,
    /// Where events go; nowhere without a listener.
    outgoing: Option<Outgoing>,
}

/// Everything that requests change.
#[derive(Debug)]
pub(super) struct State {
    pub(super) options: Options,
    pub(super) account: Account,
    pub(super) hooks: Vec<Arc<Webhook>>,
    pub(super) log: Log,
    pub(super) revoked: Vec<String>,
    sessions: HashMap<String, session::Session>,
    limits: Limits,
    requests: u64,
}

/// An answer, and what is to go wrong while it is sent.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response<Bytes>,
    pub(super) fault: Option<Fault>,
}

/// One request being answered.
struct Call<'a> {
    state: &'a mut State,
    now: DateTime<Utc>,
    query: Query,
    body: &'a [u8],
    rng: &'a mut StdRng,
    /// Some for a session token, which may do less than a key.
    session: Option<session::Session>,
}

impl Api {
    pub(super) fn new(options: Options, clock: SharedClock, outgoing: Option<Outgoing>) -> Self {
        let now = clock.now() + options.faults.clock_skew;
        let hooks = Webhook::from_options(&options.webhooks)
            .into_iter()
            .map(Arc::new)
            .collect();
        Self {
            clock,
            keys: Keys::new(options.seed),
            outgoing,
            state: Mutex::new(State {
                account: Account::new(&options, now),
                options,
                hooks,
                log: Log::default(),
                revoked: Vec::new(),
                sessions: HashMap::new(),
                limits: Limits::default(),
                requests: 0,
            }),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the state at the server's time, and sends the events it caused on their way.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut State, DateTime<Utc>) -> R) -> R {
        let mut state = self.state();
        let now = self.clock.now() + state.options.faults.clock_skew;
        let answer = act(&mut state, now);
        let events = state.account.take_events();
        if let Some(outgoing) = &self.outgoing {
            for event in events {
                let wanting = state.hooks.iter().filter(|hook| hook.wants(event.name));
                outgoing.send(&event, wanting);
            }
        }
        answer
    }

    /// Answers a request. Takes as long as the planned delay, on the clock.
    pub(super) async fn answer(&self, request: Request<Bytes>) -> Answer {
        let (mut rng, plan) = {
            let mut state = self.state();
            state.requests += 1;
            let mut rng = StdRng::seed_from_u64(scramble(state.options.seed ^ scramble(state.requests)));
            let plan = faults::plan(&state.options.faults, &mut rng);
            (rng, plan)
        };
        if !plan.delay.is_zero() {
            self.clock.sleep(plan.delay / 2).await;
        }
        let answer = self.with(|state, now| self.decide(state, now, &request, plan.fault, &mut rng));
        if !plan.delay.is_zero() {
            self.clock.sleep(plan.delay / 2).await;
        }
        answer
    }

    fn decide(
        &self,
        state: &mut State,
        now: DateTime<Utc>,
        request: &Request<Bytes>,
        fault: Option<Fault>,
        rng: &mut StdRng,
    ) -> Answer {
        let identity = self.identify(state, request.headers(), now);
        let who = identity.as_ref().ok().map(|(_, name, ..)| *name);
        let verdict = identity
            .as_ref()
            .ok()
            .and_then(|(token, ..)| state.limits.admit(token, &state.options.limits, now));
        let fault = fault.filter(|_| identity.is_ok() && verdict.is_none_or(|verdict| verdict.admitted));
        let result = match (identity, verdict) {
            (Err(failure), _) => Err(failure),
            (Ok(_), Some(Verdict { admitted: false, .. })) => Err(Failure::rate_limited()),
            (Ok(_), _) if fault.is_some_and(|fault| !fault.has_effect()) => Err(Failure::injected(fault)),
            (Ok((_, _, permissions, session)), _) => {
                let query = Query::parse(request.uri().query().unwrap_or_default());
                let mut call = Call {
                    state: &mut *state,
                    now,
                    query,
                    body: request.body(),
                    rng: &mut *rng,
                    session,
                };
                call.carry_out(request.method(), request.uri().path(), permissions)
            }
        };
        let churn = state.options.churn.churn;
        if churn > 0 && who.is_some() {
            state
                .account
                .churn(churn, &MutationKinds::from(&state.options.churn), now);
        }
        let response = respond(
            result,
            fault,
            |headers, rng| {
                if let Some(verdict) = verdict {
                    verdict.write(headers, &state.options.limits, now, rng);
                }
                if !state.options.faults.no_date {
                    set(headers, DATE, &http_date(now));
                }
            },
            rng,
        );
        let query = Query::parse(request.uri().query().unwrap_or_default());
        state.log.add(LogEntry {
            at: now,
            method: request.method().to_string(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
            offset: query.number("offset"),
            limit: query.number("limit"),
            status: response.status().as_u16(),
            key: who,
            fault: fault.map(Fault::name),
        });
        Answer { response, fault }
    }

    /// Whose request it is: token, name for the log, permissions, and the session if it is one.
    fn identify(&self, state: &State, headers: &HeaderMap, now: DateTime<Utc>) -> Result<Identity, Failure> {
        let token = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let (scheme, token) = token.split_once(' ').unwrap_or_default();
        if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
            return Err(Failure::unauthorized(
                "missing API key: send it as `Authorization: Bearer YOUR_API_KEY`",
            ));
        }
        if let Some(session) = state.sessions.get(token) {
            if session.expires <= now {
                return Err(Failure::unauthorized("the session token has expired"));
            }
            let permissions = &[Permission::Read, Permission::Write][..];
            return Ok((token.to_owned(), "session", permissions, Some(session.clone())));
        }
        if state.revoked.iter().any(|revoked| revoked == token) {
            return Err(Failure::unauthorized("this API key has been revoked"));
        }
        let Some((name, permissions)) = self.keys.permissions(token) else {
            return Err(Failure::unauthorized("unknown API key"));
        };
        Ok((token.to_owned(), name, permissions, None))
    }
}

type Identity = (String, &'static str, &'static [Permission], Option<session::Session>);

/// What the API can do.
enum Endpoint {
    SessionToken,
    Conversations,
    NewConversation,
    Conversation(String),
    ChangeConversation(String),
    Messages(String),
    NewMessage(String),
    Contacts,
    NewContact,
    ChangeContact(String),
    ContactConversations(String),
    Overview,
    Daily,
    Satisfaction,
    Webhooks,
    NewWebhook,
    ChangeWebhook(String),
    ReplaceWebhook(String),
    DeleteWebhook(String),
}

impl Endpoint {
    /// `extra` are the endpoints of webhooks that there are beside the guide's.
    fn find(method: &Method, path: &str, extra: &[WebhookEndpoint]) -> Result<Self, Failure> {
        let rest = path
            .strip_prefix("/v2/")
            .ok_or_else(|| Failure::not_found("there is nothing outside /v2/"))?;
        let segments: Vec<String> = rest.trim_end_matches('/').split('/').map(query::decode).collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (get, post) = (method == Method::GET, method == Method::POST);
        let allowed = |endpoint: Option<Self>, methods| endpoint.ok_or_else(|| Failure::method(methods));
        match segments.as_slice() {
            ["auth", "session-token"] => allowed(post.then_some(Self::SessionToken), "POST"),
            ["conversations"] if post => Ok(Self::NewConversation),
            ["conversations"] => allowed(get.then_some(Self::Conversations), "GET, POST"),
            ["conversations", id] if method == Method::PATCH => Ok(Self::ChangeConversation((*id).to_owned())),
            ["conversations", id] => allowed(get.then(|| Self::Conversation((*id).to_owned())), "GET, PATCH"),
            ["conversations", id, "messages"] if post => Ok(Self::NewMessage((*id).to_owned())),
            ["conversations", id, "messages"] => allowed(get.then(|| Self::Messages((*id).to_owned())), "GET, POST"),
            ["contacts"] if post => Ok(Self::NewContact),
            ["contacts"] => allowed(get.then_some(Self::Contacts), "GET, POST"),
            ["contacts", id] => allowed(
                (method == Method::PUT).then(|| Self::ChangeContact((*id).to_owned())),
                "PUT",
            ),
            ["contacts", id, "conversations"] => {
                allowed(get.then(|| Self::ContactConversations((*id).to_owned())), "GET")
            }
            ["analytics", "overview"] => allowed(get.then_some(Self::Overview), "GET"),
            ["analytics", "conversations"] => allowed(get.then_some(Self::Daily), "GET"),
            ["analytics", "satisfaction"] => allowed(get.then_some(Self::Satisfaction), "GET"),
            ["webhooks"] if post => Ok(Self::NewWebhook),
            ["webhooks"] if extra.contains(&WebhookEndpoint::List) => {
                allowed(get.then_some(Self::Webhooks), "GET, POST")
            }
            ["webhooks"] => Err(Failure::method("POST")),
            ["webhooks", id] => webhooks::find(method, id, extra),
            _ => Err(Failure::not_found(&format!("no such endpoint: {path}"))),
        }
    }

    const fn permission(&self) -> Permission {
        match self {
            Self::Conversations
            | Self::Conversation(_)
            | Self::Messages(_)
            | Self::Contacts
            | Self::ContactConversations(_)
            | Self::Overview
            | Self::Daily
            | Self::Satisfaction => Permission::Read,
            Self::SessionToken
            | Self::NewConversation
            | Self::ChangeConversation(_)
            | Self::NewMessage(_)
            | Self::NewContact
            | Self::ChangeContact(_) => Permission::Write,
            Self::Webhooks
            | Self::NewWebhook
            | Self::ChangeWebhook(_)
            | Self::ReplaceWebhook(_)
            | Self::DeleteWebhook(_) => Permission::Admin,
        }
    }

    /// Whether a session token, which is for one visitor's conversations, may do it.
    const fn open_to_sessions(&self) -> bool {
        matches!(
            self,
            Self::NewConversation | Self::Conversation(_) | Self::Messages(_) | Self::NewMessage(_)
        )
    }
}

impl Call<'_> {
    fn carry_out(&mut self, method: &Method, path: &str, permissions: &[Permission]) -> Result<Reply, Failure> {
        let endpoint = Endpoint::find(method, path, &self.state.options.webhooks.endpoints)?;
        let needed = endpoint.permission();
        if !permissions.contains(&needed) {
            return Err(Failure::forbidden(&format!(
                "this API key lacks the permission `{}`",
                needed.as_str()
            )));
        }
        if self.session.is_some() && !endpoint.open_to_sessions() {
            return Err(Failure::forbidden("a session token is limited to its conversations"));
        }
        if self.body.len() > LARGEST_BODY {
            return Err(Failure::too_large());
        }
        match endpoint {
            Endpoint::SessionToken => self.session_token(),
            Endpoint::Conversations => self.conversations(),
            Endpoint::NewConversation => self.new_conversation(),
            Endpoint::Conversation(id) => self.conversation(&id),
            Endpoint::ChangeConversation(id) => self.change_conversation(&id),
            Endpoint::Messages(id) => self.messages(&id),
            Endpoint::NewMessage(id) => self.new_message(&id),
            Endpoint::Contacts => self.contacts(),
            Endpoint::NewContact => self.new_contact(),
            Endpoint::ChangeContact(id) => self.change_contact(&id),
            Endpoint::ContactConversations(id) => self.contact_conversations(&id),
            Endpoint::Overview => self.overview(),
            Endpoint::Daily => self.daily(),
            Endpoint::Satisfaction => self.satisfaction(),
            Endpoint::Webhooks => self.webhooks(),
            Endpoint::NewWebhook => self.new_webhook(),
            Endpoint::ChangeWebhook(id) => self.change_webhook(&id, false),
            Endpoint::ReplaceWebhook(id) => self.change_webhook(&id, true),
            Endpoint::DeleteWebhook(id) => self.delete_webhook(&id),
        }
    }
}

fn respond(
    result: Result<Reply, Failure>,
    fault: Option<Fault>,
    write: impl FnOnce(&mut HeaderMap, &mut StdRng),
    rng: &mut StdRng,
) -> Response<Bytes> {
    let (mut status, mut kind, allow, mut body) = match result {
        Ok(reply) => (reply.status, "application/json; charset=utf-8", None, reply.body),
        Err(failure) => (failure.status, failure.content_type(), failure.allow, failure.body()),
    };
    if let Some(Fault::Invalid(nonsense)) = fault {
        status = StatusCode::OK;
        kind = if nonsense == faults::Nonsense::Html {
            "text/html; charset=utf-8"
        } else {
            kind
        };
        body = nonsense.body(&body);
    }
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    set(headers, CONTENT_TYPE, kind);
    if let Some(methods) = allow {
        set(headers, ALLOW, methods);
    }
    write(headers, rng);
    response
}
