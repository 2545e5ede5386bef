//! The HTTP client of every vendor: it keeps to the vendor's limits, asks again where that is safe, and turns every failure
//! into an [`Error`].
//!
//! Invariants:
//!
//! - No error and no log holds a credential, the query of a URL, or a body.
//! - A request that changes something is repeated only if it was surely not carried out: it was never sent, or was refused
//!   with 429, or with 503 and `Retry-After`.
//! - In no period, wherever it begins, are more requests counted by the server than [`Rate`] says. Every request occupies one
//!   of the places from before it is sent until a whole period after its answer came; and they are spread evenly, so that
//!   a server that counts in shorter periods is content too.
//! - No redirect is followed: it might lead to another host, and would be a request that the limit does not know of.
//! - Every call ends within its deadline, whatever the server does.

mod address;
mod ceiling;
mod request;

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use http::header::{ACCEPT, AUTHORIZATION, DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use rand::RngExt as _;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use url::Url;

use address::{is_nearby, redirected};
use ceiling::Ceiling;
pub use ceiling::Rate;
pub use request::{Answer, Request};

use crate::error::Error;
use crate::time::{monotonic, now, sleep};

/// How a vendor answers whom it has blocked for asking too much, and for how long it does. Whoever is answered so leaves it
/// alone until then: asking on makes it worse. 429 always is such an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The other statuses that may mean it…
    pub statuses: &'static [u16],
    /// …if the body has one of these words in it, given in lower case, that the request's parameters do not have: else who
    /// asks for "blocked" would block everybody.
    pub words: &'static [&'static str],
    /// How long it lasts, unless the answer says.
    pub lasts: Duration,
}

/// An answer that is not a success, for who knows the vendor's own format of errors.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// What the request was for.
    pub doing: &'a str,
    /// The answer's status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body, as far as it is of a sensible size.
    pub body: &'a [u8],
}

/// What a vendor's refusal means; `None` leaves it to the status.
pub type Explain = fn(&Refusal<'_>) -> Option<Error>;

/// Puts an [`ApiClient`] together.
#[derive(Debug)]
pub struct ApiClientBuilder {
    system: &'static str,
    base: Url,
    remedy: &'static str,
    rate: Option<Rate>,
    block: Option<Block>,
    explain: Option<Explain>,
    concurrency: usize,
    timeout: Duration,
    deadline: Duration,
    attempts: u32,
    max_body: usize,
    allow_http: bool,
}

impl ApiClientBuilder {
    /// The keys of the configuration to correct when the credentials are refused.
    #[must_use]
    pub const fn remedy(mut self, keys: &'static str) -> Self {
        self.remedy = keys;
        self
    }

    /// The vendor's limit. Default: none.
    #[must_use]
    pub const fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Reads the vendor's format of errors. What it says takes the place of what the status alone means; whether a request is
    /// repeated does not depend on it, except that [`Error::RateLimited`] is treated as 429 is. Default: none.
    #[must_use]
    pub const fn explain(mut self, explain: Explain) -> Self {
        self.explain = Some(explain);
        self
    }

    /// How the vendor blocks who exceeds it. Default: not at all.
    #[must_use]
    pub const fn block(mut self, block: Block) -> Self {
        self.block = Some(block);
        self
    }

    /// At most so many requests at once. Default: 4.
    #[must_use]
    pub const fn concurrency(mut self, requests: usize) -> Self {
        self.concurrency = requests;
        self
    }

    /// How long one request may take, connecting and reading included. Default: 10 s.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long a call may take with all its waits and repetitions. Default: 30 s.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// A request is sent at most so often. Default: 4.
    #[must_use]
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// The largest body that is read, decompressed, in bytes. Default: 16 MiB.
    #[must_use]
    pub const fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Whether credentials may travel unencrypted to any host. Without it, `http://` reaches only this machine and its own
    /// network: private and link-local addresses, names without a dot, and names below `local`, `lan`, `internal`,
    /// `home.arpa` and `localhost`.
    #[must_use]
    pub const fn allow_http(mut self, allow: bool) -> Self {
        self.allow_http = allow;
        self
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] with the field `url` if the base URL cannot be used.
    pub fn build(self) -> Result<ApiClient, Error> {
        let refused = |message: &str| Error::Rejected {
            system: self.system,
            field: Some("url".to_owned()),
            message: message.to_owned(),
        };
        if !self.base.username().is_empty() || self.base.password().is_some() {
            return Err(refused("it holds credentials; they have keys of their own"));
        }
        if self.base.query().is_some() || self.base.fragment().is_some() {
            return Err(refused("it has a query or a fragment"));
        }
        match self.base.scheme() {
            "https" => {}
            "http" if self.allow_http || is_nearby(&self.base) => {}
            "http" => {
                return Err(refused(
                    "the password would travel unencrypted; use https://, or set allow_http = true if the way there is safe",
                ));
            }
            _ => return Err(refused("it is neither https:// nor http://")),
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the client through which the connectors' HTTP leaves"
        )]
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(self.timeout.min(Duration::from_secs(10)))
            // Servers drop idle connections silently; a request on one of those would be lost.
            .pool_idle_timeout(Duration::from_secs(30))
            .build()
            .map_err(|error| refused(&format!("no HTTP client can be set up: {}", innermost(&error))))?;
        Ok(ApiClient {
            inner: Arc::new(Inner {
                system: self.system,
                remedy: self.remedy,
                http,
                base: self.base,
                ceiling: self.rate.map(Ceiling::new),
                block: self.block,
                explain: self.explain,
                slots: Semaphore::new(self.concurrency.max(1)),
                timeout: self.timeout,
                deadline: self.deadline,
                attempts: self.attempts.max(1),
                max_body: self.max_body,
                silent_until: Mutex::new(None),
                clock_offset: AtomicI64::new(0),
            }),
        })
    }
}

/// A client of one system. Clones share connections, limits and pauses.
#[derive(Clone)]
pub struct ApiClient {
    inner: Arc<Inner>,
}

impl fmt::Debug for ApiClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiClient")
            .field("system", &self.inner.system)
            .finish_non_exhaustive()
    }
}

struct Inner {
    system: &'static str,
    remedy: &'static str,
    http: reqwest::Client,
    base: Url,
    ceiling: Option<Ceiling>,
    block: Option<Block>,
    explain: Option<Explain>,
    slots: Semaphore,
    timeout: Duration,
    deadline: Duration,
    attempts: u32,
    max_body: usize,
    /// Until when the server asked everybody to be left alone.
    silent_until: Mutex<Option<Instant>>,
    /// The server's clock minus ours, in milliseconds.
    clock_offset: AtomicI64,
}

/// An attempt that failed.
struct Setback {
    error: Error,
    /// Whether another attempt may help and does no harm.
    again: bool,
    /// How long the server asks to be left alone.
    at_least: Option<Duration>,
}

impl Setback {
    const fn last(error: Error) -> Self {
        Self {
            error,
            again: false,
            at_least: None,
        }
    }
}

impl ApiClient {
    /// Starts a client for the system of this kind, below `base`.
    pub const fn builder(system: &'static str, base: Url) -> ApiClientBuilder {
        ApiClientBuilder {
            system,
            base,
            remedy: "the credentials",
            rate: None,
            block: None,
            explain: None,
            concurrency: 4,
            timeout: Duration::from_secs(10),
            deadline: Duration::from_secs(30),
            attempts: 4,
            max_body: 16 * 1024 * 1024,
            allow_http: false,
        }
    }

    /// The server's clock, as well as it is known from the `Date` of its last answer, which has whole seconds.
    pub fn server_now(&self) -> DateTime<Utc> {
        now() + chrono::TimeDelta::milliseconds(self.inner.clock_offset.load(Ordering::Relaxed))
    }

    /// Sends `request` and returns its answer, if it is a success.
    pub async fn send(&self, request: &Request) -> Result<Answer, Error> {
        self.send_and_read(request, Ok).await
    }

    /// Sends `request`, and returns the JSON of its answer; `expected` says in errors what that should be.
    pub async fn json<T: DeserializeOwned>(&self, request: &Request, expected: &'static str) -> Result<T, Error> {
        let system = self.inner.system;
        self.send_and_read(request, |answer| {
            answer.json().map_err(|problem| Error::Unreadable {
                system,
                expected,
                problem,
            })
        })
        .await
    }

    /// Sends `request`, and returns what `read` makes of a successful answer. If it makes an error of it that is worth
    /// repeating, or [`Error::Unreadable`], a repeatable request is sent again; [`Error::RateLimited`] with a delay holds for
    /// everybody, as 429 does.
    pub async fn send_and_read<T>(
        &self,
        request: &Request,
        read: impl Fn(Answer) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let inner = &*self.inner;
        let ends = monotonic() + inner.deadline;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let outcome = match self.attempt(request, ends).await {
                Ok(answer) => read(answer).map_err(|error| {
                    let asked = match &error {
                        Error::RateLimited { retry_after, .. } => *retry_after,
                        _ => None,
                    };
                    self.keep_silent(asked);
                    Setback {
                        again: request.repeatable
                            && (error.is_worth_repeating() || matches!(error, Error::Unreadable { .. })),
                        error,
                        at_least: asked,
                    }
                }),
                Err(setback) => Err(setback),
            };
            let setback = match outcome {
                Ok(read) => return Ok(read),
                Err(setback) => setback,
            };
            let wait = backoff(attempts).max(setback.at_least.unwrap_or_default());
            if !setback.again || attempts >= inner.attempts || monotonic() + wait >= ends {
                return Err(setback.error);
            }
            tracing::debug!(
                connector.kind = inner.system,
                http.attempt = attempts,
                http.wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                error = %setback.error,
                "asking again"
            );
            sleep(wait).await;
        }
    }

    /// Sends it once, when the limits allow.
    async fn attempt(&self, request: &Request, ends: Instant) -> Result<Answer, Setback> {
        let inner = &*self.inner;
        let unsent = |message: String| Error::Transient {
            system: inner.system,
            message,
            may_have_happened: false,
        };
        if let Some(pause) = self.pause() {
            if monotonic() + pause >= ends {
                return Err(Setback::last(Error::RateLimited {
                    system: inner.system,
                    retry_after: Some(pause),
                }));
            }
            sleep(pause).await;
        }
        let turn = async {
            let slot = inner.slots.acquire().await.ok();
            let place = match &inner.ceiling {
                Some(ceiling) => Some(ceiling.enter().await),
                None => None,
            };
            (slot, place)
        };
        let left = ends.saturating_duration_since(monotonic());
        let Ok((_slot, _place)) = tokio::time::timeout(left, turn).await else {
            return Err(Setback::last(unsent(format!(
                "has no request to spare within {} s: others wait for its limit too",
                inner.deadline.as_secs_f32()
            ))));
        };
        let left = ends.saturating_duration_since(monotonic()).min(inner.timeout);
        let built = self.built(request).map_err(|error| Setback {
            error: unsent(format!("cannot be asked: {}", innermost(&error.without_url()))),
            again: false,
            at_least: None,
        })?;
        match tokio::time::timeout(left, self.exchange(request, built)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Setback {
                error: Error::Transient {
                    system: inner.system,
                    message: format!("does not answer within {} s", left.as_secs_f32()),
                    may_have_happened: !request.repeatable,
                },
                again: request.repeatable,
                at_least: None,
            }),
        }
    }

    fn built(&self, request: &Request) -> Result<reqwest::Request, reqwest::Error> {
        let mut url = self.inner.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(&request.segments);
        }
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        let mut builder = self
            .inner
            .http
            .request(request.method.clone(), url)
            .header(ACCEPT, "application/json")
            .headers(request.headers.clone());
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        builder.build()
    }

    async fn exchange(&self, request: &Request, built: reqwest::Request) -> Result<Answer, Setback> {
        let inner = &*self.inner;
        let sent = self.inner.http.execute(built).await;
        let response = sent.map_err(|error| self.unanswered(request, error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let date = headers.get(DATE).and_then(|date| http_date(date.to_str().ok()?));
        if let Some(date) = date {
            inner
                .clock_offset
                .store((date - now()).num_milliseconds(), Ordering::Relaxed);
        }
        if !status.is_success() {
            return Err(self.setback(request, status, &headers, response).await);
        }
        match self.body(response).await {
            Ok(Some(body)) => Ok(Answer { headers, body }),
            Ok(None) => Err(Setback::last(Error::Unreadable {
                system: inner.system,
                expected: "an answer of a sensible size",
                problem: format!("it is larger than {} bytes", inner.max_body),
            })),
            Err(error) => Err(self.unanswered(request, error)),
        }
    }

    /// What an answer that is not a success means.
    async fn setback(
        &self,
        request: &Request,
        status: StatusCode,
        headers: &HeaderMap,
        response: reqwest::Response,
    ) -> Setback {
        let inner = &*self.inner;
        let may_tell_a_block = inner
            .block
            .is_some_and(|block| block.statuses.contains(&status.as_u16()));
        let body = if may_tell_a_block || inner.explain.is_some() {
            self.body(response).await.ok().flatten().unwrap_or_default()
        } else {
            Bytes::new()
        };
        let blocked = self.is_block(request, status, &body);
        let mut setback = self.refused(request, status, headers, blocked);
        let refusal = Refusal {
            doing: &request.doing,
            status,
            headers,
            body: &body,
        };
        if let Some(error) = inner.explain.and_then(|explain| explain(&refusal)) {
            if let Error::RateLimited { retry_after, .. } = &error {
                self.keep_silent(*retry_after);
                setback.again = true;
                setback.at_least = *retry_after;
            }
            setback.error = error;
        }
        setback
    }

    /// Whether an answer that is not a success says that the vendor has blocked us.
    fn is_block(&self, request: &Request, status: StatusCode, body: &[u8]) -> bool {
        if status == StatusCode::TOO_MANY_REQUESTS {
            return true;
        }
        match &self.inner.block {
            Some(block) if block.statuses.contains(&status.as_u16()) => {
                let body = String::from_utf8_lossy(body).to_lowercase();
                let is_asked = |word: &str| {
                    request
                        .query
                        .iter()
                        .any(|(_, value)| value.to_lowercase().contains(word))
                };
                block.words.iter().any(|word| body.contains(word) && !is_asked(word))
            }
            _ => false,
        }
    }

    /// The body; `None` if it is too large.
    async fn body(&self, mut response: reqwest::Response) -> Result<Option<Bytes>, reqwest::Error> {
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > self.inner.max_body {
                return Ok(None);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body.freeze()))
    }

    /// No answer, or not all of it.
    fn unanswered(&self, request: &Request, error: reqwest::Error) -> Setback {
        let never_sent = error.is_connect() || error.is_builder();
        let message = if never_sent {
            format!("is not reached: {}", innermost(&error.without_url()))
        } else if error.is_decode() {
            "sent a body that cannot be decompressed".to_owned()
        } else {
            format!("broke off: {}", innermost(&error.without_url()))
        };
        Setback {
            error: Error::Transient {
                system: self.inner.system,
                message,
                may_have_happened: !never_sent && !request.repeatable,
            },
            again: never_sent || request.repeatable,
            at_least: None,
        }
    }

    /// What a status that is not a success means.
    fn refused(&self, request: &Request, status: StatusCode, headers: &HeaderMap, blocked: bool) -> Setback {
        let inner = &*self.inner;
        let (system, doing) = (inner.system, request.doing.clone());
        let message = format!("status {}", status.as_u16());
        let asked = headers
            .get(RETRY_AFTER)
            .and_then(|value| retry_after(value.to_str().ok()?, self.server_now()));
        if blocked {
            let wait = asked.or(inner.block.map(|block| block.lasts));
            self.keep_silent(wait);
            return Setback {
                error: Error::RateLimited {
                    system,
                    retry_after: wait,
                },
                again: true,
                at_least: wait,
            };
        }
        let error = match status {
            StatusCode::UNAUTHORIZED => Error::Auth {
                system,
                message,
                remedy: inner.remedy,
            },
            StatusCode::FORBIDDEN => Error::Forbidden { system, doing, message },
            StatusCode::NOT_FOUND | StatusCode::GONE => Error::NotFound {
                system,
                what: format!("what was asked for to {doing} ({message})"),
            },
            StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED => Error::Conflict {
                system,
                message: format!("{message} to {doing}"),
            },
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => Error::Unsupported {
                system,
                doing: format!("{doing} ({message})"),
            },
            status if status.is_redirection() => Error::Rejected {
                system,
                field: Some("url".to_owned()),
                message: redirected(headers, &inner.base),
            },
            status if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT => {
                // Who asks to come back later has not done what was asked.
                let not_done = status == StatusCode::SERVICE_UNAVAILABLE && asked.is_some();
                if not_done {
                    self.keep_silent(asked);
                }
                return Setback {
                    error: Error::Transient {
                        system,
                        message: format!("fails to {doing} ({message})"),
                        may_have_happened: !request.repeatable && !not_done,
                    },
                    again: request.repeatable || not_done,
                    at_least: asked,
                };
            }
            _ => Error::Rejected {
                system,
                field: None,
                message: format!("{message} to {doing}"),
            },
        };
        Setback::last(error)
    }

    fn keep_silent(&self, asked: Option<Duration>) {
        let Some(until) = asked.and_then(|asked| monotonic().checked_add(asked)) else {
            return;
        };
        let mut silent = self.inner.silent_until.lock().unwrap_or_else(PoisonError::into_inner);
        *silent = Some(silent.map_or(until, |known| known.max(until)));
    }

    /// For how long the server asked to be left alone, from now.
    fn pause(&self) -> Option<Duration> {
        let silent = *self.inner.silent_until.lock().unwrap_or_else(PoisonError::into_inner);
        silent
            .map(|until| until.saturating_duration_since(monotonic()))
            .filter(|pause| !pause.is_zero())
    }
}

/// An `Authorization` header: a scheme and base64, e.g. of `user:password` for `Basic`.
pub fn authorization(scheme: &str, text: &str) -> (HeaderName, HeaderValue) {
    let value = format!("{scheme} {}", STANDARD.encode(text));
    // A scheme and base64 are always a header.
    let value = HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static(""));
    (AUTHORIZATION, value)
}

/// Full jitter: anything from zero to a bound that doubles, so that clients which failed together do not return together.
fn backoff(failures: u32) -> Duration {
    let bound = Duration::from_millis(250)
        .saturating_mul(1 << failures.saturating_sub(1).min(10))
        .min(Duration::from_secs(5));
    bound.mul_f64(rand::rng().random_range(0.0..=1.0))
}

/// `Retry-After`, in seconds or as an HTTP date (RFC 9110, 10.2.3), which is read against the server's own clock.
fn retry_after(value: &str, server_now: DateTime<Utc>) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    Some((http_date(value)? - server_now).to_std().unwrap_or_default())
}

fn http_date(value: &str) -> Option<DateTime<Utc>> {
    Some(DateTime::parse_from_rfc2822(value.trim()).ok()?.to_utc())
}

/// The text of the last cause: the outer ones only say "error sending request".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests;
