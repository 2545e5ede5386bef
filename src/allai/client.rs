//! The client: sends calls within the budget, and asks again where that may help.

use std::future::ready;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::future::{Either, select};
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use url::Url;

use super::announced::{Announced, seconds};
use super::budget::{Budget, Limits, Priority};
use super::call::{Call, checked_base_url};
use super::error::{Error, api_message};
use super::listing::{ListQuery, Listing, joined_fields};
use super::model::{Json, Members};
use super::page::{Page, not_json};
use super::retry::{Backoff, LONGEST_RETRY_AFTER, Patience, RetryPolicy, retry_after};
use super::transport::{Transport, TransportError};
use crate::clock::{SharedClock, SystemClock};
use crate::metrics;

/// A client of the AllAI API. Clones share connections, budget and counters.
///
/// Every call waits for the key's rate budget, is repeated where that may help (see [`RetryPolicy`]), and returns a
/// classified [`Error`] otherwise. Dropping the future of a call gives everything back.
///
/// ```
/// # use allai_sync::sandbox::{Options, Sandbox};
/// use allai_sync::allai::{Client, ListQuery};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let sandbox = Sandbox::start(Options::for_tests(3, 0)).await?;
/// # let (base_url, api_key) = (sandbox.base_url().clone(), sandbox.keys().read.as_str());
/// let client = Client::builder(base_url, api_key.into()).build()?;
/// let page = client.list_contacts(&ListQuery { limit: 100, ..ListQuery::default() }).await?;
/// for contact in &page.items {
///     println!("{} {}", contact.id, contact.name.as_deref().unwrap_or_default());
/// }
/// # assert_eq!(page.items.len(), 3);
/// assert_eq!(client.counters().requests, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
    priority: Priority,
    patience: Option<Patience>,
    counters: Arc<AtomicCounters>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    base_url: Url,
    api_key: SecretString,
    bearer: HeaderValue,
    timeout: Duration,
    backoff: Backoff,
    transport: Transport,
    budget: Arc<Budget>,
    clock: SharedClock,
    announced: Mutex<Announced>,
}

/// What a client handle has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests sent, repeated ones included.
    pub requests: u64,
    /// Requests that repeated an earlier one.
    pub retries: u64,
    /// Requests refused for the rate limit (429).
    pub rate_limited: u64,
}

impl std::ops::Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            retries: self.retries + other.retries,
            rate_limited: self.rate_limited + other.rate_limited,
        }
    }
}

#[derive(Debug, Default)]
struct AtomicCounters {
    requests: AtomicU64,
    retries: AtomicU64,
    rate_limited: AtomicU64,
}

/// Puts a [`Client`] together.
#[derive(Debug)]
pub struct ClientBuilder {
    name: String,
    base_url: Url,
    api_key: SecretString,
    budget: Option<Arc<Budget>>,
    clock: Option<SharedClock>,
    timeout: Duration,
    retry: RetryPolicy,
    transport: Option<Transport>,
}

impl ClientBuilder {
    /// What its requests are counted under in the metrics; an account's name.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The budget of the key, to share it with other clients of the same key. Default: one of its own, for the lowest
    /// limit the guide documents.
    #[must_use]
    pub fn budget(mut self, budget: Arc<Budget>) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Where time comes from. Default: the machine's clock.
    #[must_use]
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// How long one request may take, connecting and reading included. Default: 30 s.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How often and how soon a failed request is repeated.
    #[must_use]
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// How requests are sent. Default: HTTP, following no redirects.
    #[must_use]
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = Some(transport);
        self
    }

    /// The client. Fails if the base URL or the key cannot be used.
    pub fn build(self) -> Result<Client, Error> {
        let over_network = !matches!(self.transport, Some(Transport::InProcess(_)));
        let base_url = checked_base_url(self.base_url, over_network)?;
        let key = self.api_key.expose_secret();
        let mut bearer = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| Error::ApiKey)?;
        if key.trim().is_empty() {
            return Err(Error::ApiKey);
        }
        bearer.set_sensitive(true);
        let transport = match self.transport {
            Some(transport) => transport,
            None => Transport::Http(http_client()?),
        };
        let clock = self.clock.unwrap_or_else(SystemClock::shared);
        let budget = self
            .budget
            .unwrap_or_else(|| Arc::new(Budget::new(Limits::default(), Arc::clone(&clock))));
        Ok(Client {
            inner: Arc::new(Inner {
                name: self.name,
                base_url,
                api_key: self.api_key,
                bearer,
                timeout: self.timeout,
                backoff: Backoff::new(self.retry),
                transport,
                budget,
                clock,
                announced: Mutex::default(),
            }),
            priority: Priority::Interactive,
            patience: None,
            counters: Arc::default(),
        })
    }
}

fn http_client() -> Result<reqwest::Client, Error> {
    #[expect(clippy::disallowed_methods, reason = "the client through which HTTP leaves")]
    reqwest::Client::builder()
        // A followed redirect would be a request that neither budget nor counters know of.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(10))
        // Servers drop idle connections silently, often after a minute; a request on one of those would be lost.
        .pool_idle_timeout(Duration::from_secs(30))
        .build()
        .map_err(|error| Error::Setup(error.to_string()))
}

impl Client {
    /// Starts a client for the API at `base_url` (with or without a slash at its end).
    pub fn builder(base_url: Url, api_key: SecretString) -> ClientBuilder {
        ClientBuilder {
            name: String::new(),
            base_url,
            api_key,
            budget: None,
            clock: None,
            timeout: Duration::from_secs(30),
            retry: RetryPolicy::default(),
            transport: None,
        }
    }

    /// The same client, whose calls have this priority in the budget; its counters start at zero.
    #[must_use]
    pub fn with_priority(&self, priority: Priority) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            priority,
            patience: self.patience,
            counters: Arc::default(),
        }
    }

    /// The same client, which gives up earlier; its counters start at zero.
    #[must_use]
    pub fn with_patience(&self, patience: Patience) -> Self {
        let answer = patience.answer.min(self.inner.timeout);
        Self {
            inner: Arc::clone(&self.inner),
            priority: self.priority,
            patience: Some(Patience { answer, ..patience }),
            counters: Arc::default(),
        }
    }

    /// What was done through this handle and its clones.
    pub fn counters(&self) -> Counters {
        Counters {
            requests: self.counters.requests.load(Ordering::Relaxed),
            retries: self.counters.retries.load(Ordering::Relaxed),
            rate_limited: self.counters.rate_limited.load(Ordering::Relaxed),
        }
    }

    /// The budget the calls draw on.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.inner.budget
    }

    /// The server's clock, as well as it is known from the `Date` of its answers.
    pub fn server_now(&self) -> DateTime<Utc> {
        self.inner.budget.server_now()
    }

    /// One page of a list, as the server sent it.
    pub async fn list(&self, listing: &Listing, query: &ListQuery) -> Result<Page, Error> {
        let call = Call::get(&listing.segments()).query(query.parameters());
        self.execute(&call, |body| Page::parse(listing, body)).await
    }

    /// What `read` makes of one page of a list, on a thread for it: reading a page takes as long as storing it.
    pub async fn list_read<T, F>(&self, listing: &Listing, query: &ListQuery, read: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: Fn(Page) -> T + Clone + Send + 'static,
    {
        let call = Call::get(&listing.segments()).query(query.parameters());
        let parse = |body: Bytes| {
            let (listing, read) = (listing.clone(), read.clone());
            elsewhere(move || Page::parse(&listing, &body).map(read))
        };
        self.execute_async(&call, parse).await
    }

    /// A conversation as the server sent it, with these members only (none given: all); `None` if it does not exist
    /// (404, 410).
    pub async fn conversation_raw(&self, id: &str, fields: &[String]) -> Result<Option<Json>, Error> {
        let call = Call::get(&["conversations", id]).query(joined_fields(fields).map(|fields| ("fields", fields)));
        match self.execute(&call, |body| single(body, "conversation")).await {
            Ok(raw) => Ok(Some(raw)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends `call` and returns what `parse` makes of a successful answer. Repeats it within the policy after 429, 5xx,
    /// broken connections and bodies that `parse` refuses.
    pub(super) async fn execute<T>(&self, call: &Call, parse: impl Fn(&[u8]) -> Result<T, String>) -> Result<T, Error> {
        self.execute_async(call, |body| ready(parse(&body))).await
    }

    async fn execute_async<T, F>(&self, call: &Call, parse: impl Fn(Bytes) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, String>>,
    {
        let policy = self.inner.backoff.policy();
        let most = self.patience.map_or(u32::MAX, |patience| patience.attempts);
        let most = most.min(policy.attempts);
        let (mut failures, mut refusals) = (0, 0);
        loop {
            let outcome = self.attempt(call, failures + refusals > 0).await?;
            let attempts = failures + refusals + 1;
            let setback = match outcome {
                Ok(response) if response.status().is_success() => match parse(response.into_body()).await {
                    Ok(parsed) => return Ok(parsed),
                    Err(reason) => Setback::unusable(call, reason, attempts),
                },
                Ok(response) => self.setback(call, &response, attempts),
                Err(source @ TransportError::Timeout) if self.patience.is_some() => {
                    let call = call.name();
                    Setback::last(Error::Transport { call, source, attempts })
                }
                Err(source) => Setback::unanswered(call, source, attempts),
            };
            if matches!(setback.error, Error::RateLimited { .. }) {
                refusals += 1;
                if refusals >= policy.rate_limited_attempts {
                    return Err(setback.error);
                }
                // The budget knows of the pause, and keeps everybody waiting.
                continue;
            }
            failures += 1;
            if !setback.again || failures >= most {
                return Err(setback.error);
            }
            let wait = self.inner.backoff.pause(failures).max(setback.at_least);
            tracing::debug!(
                http.attempt = attempts,
                http.wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                error = %setback.error,
                "asking again"
            );
            self.tell_of(wait, setback.at_least);
            self.inner.clock.sleep(wait).await;
        }
    }

    /// Logs a long wait before a request is repeated; requests that wait together are told of once.
    fn tell_of(&self, wait: Duration, asked: Duration) {
        let now = self.inner.clock.monotonic();
        let mut announced = self.inner.announced.lock().unwrap_or_else(PoisonError::into_inner);
        let news = announced.is_news(now, now + wait);
        drop(announced);
        if news {
            let reason = if wait == asked {
                "the server asked for a pause"
            } else {
                "the last attempts failed"
            };
            tracing::info!(http.wait_seconds = seconds(wait), %reason, "waiting before asking again");
        }
    }

    /// Sends `call` once, when the budget allows.
    async fn attempt(&self, call: &Call, repeated: bool) -> Result<Result<Response<Bytes>, TransportError>, Error> {
        let inner = &*self.inner;
        let request = call.request(&inner.base_url, &inner.bearer)?;
        let since = inner.clock.monotonic();
        let permit = inner.budget.acquire(self.priority).await;
        metrics::waited(&inner.name, inner.clock.monotonic().saturating_sub(since));
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        self.counters.retries.fetch_add(u64::from(repeated), Ordering::Relaxed);
        let answered = |status, headers: &HeaderMap| permit.answered(status, headers);
        let outcome = {
            let exchange = pin!(inner.transport.exchange(request, inner.timeout, answered));
            match self.patience {
                None => exchange.await,
                Some(patience) => match select(exchange, inner.clock.sleep(patience.answer)).await {
                    Either::Left((outcome, _)) => outcome,
                    Either::Right(_) => Err(TransportError::Timeout),
                },
            }
        };
        drop(permit);
        let status = outcome.as_ref().ok().map(|response| response.status().as_u16());
        metrics::request(&inner.name, status);
        Ok(outcome)
    }

    /// What an answer that is not a success means.
    fn setback(&self, call: &Call, response: &Response<Bytes>, attempts: u32) -> Setback {
        let status = response.status();
        let asked = retry_after(response.headers(), self.server_now());
        if status == StatusCode::TOO_MANY_REQUESTS {
            self.counters.rate_limited.fetch_add(1, Ordering::Relaxed);
        }
        let transient = status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT;
        // Who asks to come back later has not done what was asked.
        let not_done = status == StatusCode::SERVICE_UNAVAILABLE && asked.is_some();
        let again = transient && (call.is_repeatable() || not_done);
        let longest = match self.patience {
            // What the budget waits for is for everybody.
            Some(patience) if status != StatusCode::TOO_MANY_REQUESTS => patience.answer.min(LONGEST_RETRY_AFTER),
            _ => LONGEST_RETRY_AFTER,
        };
        if let Some(wait) = asked.filter(|asked| *asked > longest)
            && (again || status == StatusCode::TOO_MANY_REQUESTS)
        {
            let call = call.name();
            return Setback::last(Error::Postponed { call, status, wait });
        }
        if status.is_redirection() {
            let host = redirect_host(response.headers(), &self.inner.base_url);
            let call = call.name();
            return Setback::last(Error::Redirected { call, status, host });
        }
        let message = api_message(response.body(), &[self.inner.api_key.expose_secret(), call.secret()]);
        Setback {
            error: Error::from_status(call.name(), status, message, attempts),
            again,
            at_least: asked.unwrap_or_default(),
        }
    }
}

/// Does work that takes time on a thread for it; not on many, each of which has memory of its own.
async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    static AT_ONCE: Semaphore = Semaphore::const_new(2);
    let _turn = AT_ONCE.acquire().await;
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is ending, and this future with it.
            Err(_) => std::future::pending().await,
        },
    }
}

/// An attempt that failed.
struct Setback {
    /// What to return if this was the last attempt.
    error: Error,
    /// Whether another attempt may help and does no harm.
    again: bool,
    /// How long the server asks to be left alone.
    at_least: Duration,
}

impl Setback {
    /// Nothing to be gained by asking again.
    const fn last(error: Error) -> Self {
        Self {
            error,
            again: false,
            at_least: Duration::ZERO,
        }
    }

    /// The server claims success, and its answer cannot be read.
    fn unusable(call: &Call, reason: String, attempts: u32) -> Self {
        let again = call.is_repeatable();
        let call = call.name();
        Self {
            error: Error::InvalidBody { call, reason, attempts },
            again,
            at_least: Duration::ZERO,
        }
    }

    /// No answer, or not all of it.
    fn unanswered(call: &Call, source: TransportError, attempts: u32) -> Self {
        let again = source.is_transient() && (call.is_repeatable() || source.never_sent());
        let call = call.name();
        if source == TransportError::TooLarge {
            return Self::last(Error::TooLarge { call });
        }
        Self {
            error: Error::Transport { call, source, attempts },
            again,
            at_least: Duration::ZERO,
        }
    }
}

/// Scheme, host and port that a redirect points to. The rest may hold what was asked for, or a key.
fn redirect_host(headers: &HeaderMap, base_url: &Url) -> Option<String> {
    let target = base_url.join(headers.get(LOCATION)?.to_str().ok()?).ok()?;
    let origin = target.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

/// The one object in an answer, out of its envelope (`data`, or the resource's name) if it has one.
pub(super) fn single(body: &[u8], name: &str) -> Result<Json, String> {
    let raw: &RawValue = serde_json::from_slice(body).map_err(|error| not_json(&error, body))?;
    let Some(members) = Members::parse(raw) else {
        return Err("it is not an object".to_owned());
    };
    if members.get("id").is_none() {
        for envelope in [name, "data"] {
            if let Some(inner) = members.get(envelope).filter(|inner| inner.get().starts_with('{')) {
                return Ok(inner.to_owned());
            }
        }
        if members.get("error").is_some() {
            return Err("an error message instead of the object".to_owned());
        }
    }
    Ok(raw.to_owned())
}

#[cfg(test)]
mod tests;
