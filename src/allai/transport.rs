//! How a request reaches the server: over HTTP, or straight into a function.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode};

/// The largest body that is read, in bytes. A page of 100 rows is some 60 KB; what is larger than this is not one.
pub const MAX_BODY: usize = 64 * 1024 * 1024;
/// For how much of a body there is room at once.
const LIKELY_BODY: usize = 256 * 1024;

/// A function that answers requests in place of a server, for simulations.
pub type InProcess =
    Arc<dyn Fn(Request<Bytes>) -> BoxFuture<'static, Result<Response<Bytes>, TransportError>> + Send + Sync>;

/// How requests are sent.
#[derive(Clone)]
pub enum Transport {
    /// Over the network. The client must follow no redirects: the budget would not know of those requests, and the API
    /// key might reach another host.
    Http(reqwest::Client),
    /// Into a function. It keeps its own time: the client's timeout does not apply, the function answers
    /// [`TransportError::Timeout`] itself.
    InProcess(InProcess),
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http(_) => "Http",
            Self::InProcess(_) => "InProcess",
        })
    }
}

/// Why no complete answer arrived.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection could be made; the server did not see the request.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The answer did not arrive in time; the server may have acted on the request.
    #[error("no complete answer in time")]
    Timeout,
    /// The connection broke; the server may have acted on the request.
    #[error("the connection broke: {0}")]
    Interrupted(String),
    /// The answer is larger than [`MAX_BODY`].
    #[error("the answer is larger than {} MiB", MAX_BODY / 1024 / 1024)]
    TooLarge,
}

impl TransportError {
    /// Whether it is certain that the server never saw the request.
    pub const fn never_sent(&self) -> bool {
        matches!(self, Self::Connect(_))
    }

    /// Whether asking again may help.
    pub const fn is_transient(&self) -> bool {
        !matches!(self, Self::TooLarge)
    }
}

impl From<reqwest::Error> for TransportError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() && !error.is_connect() {
            return Self::Timeout;
        }
        let connect = error.is_connect();
        let text = innermost(&error.without_url());
        if connect {
            Self::Connect(text)
        } else {
            Self::Interrupted(text)
        }
    }
}

/// The text of the last cause: the outer ones only say "error sending request".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

impl Transport {
    /// Sends `request` and reads the whole answer. `on_head` sees status and headers as soon as they are there: what
    /// they say about the rate limit must not wait for a slow body.
    pub(super) async fn exchange(
        &self,
        request: Request<Bytes>,
        timeout: Duration,
        on_head: impl FnOnce(StatusCode, &HeaderMap) + Send,
    ) -> Result<Response<Bytes>, TransportError> {
        match self {
            Self::Http(client) => {
                let mut request = reqwest::Request::try_from(request)?;
                *request.timeout_mut() = Some(timeout);
                let mut response = client.execute(request).await?;
                on_head(response.status(), response.headers());
                let mut whole = Response::new(Bytes::new());
                *whole.status_mut() = response.status();
                *whole.headers_mut() = std::mem::take(response.headers_mut());
                *whole.body_mut() = read_body(response).await?;
                Ok(whole)
            }
            Self::InProcess(server) => {
                let response = server(request).await?;
                on_head(response.status(), response.headers());
                if response.body().len() > MAX_BODY {
                    return Err(TransportError::TooLarge);
                }
                Ok(response)
            }
        }
    }
}

async fn read_body(mut response: reqwest::Response) -> Result<Bytes, TransportError> {
    let Some(first) = response.chunk().await? else {
        return Ok(Bytes::new());
    };
    // What the server says may be wrong, or compressed.
    let announced = response
        .content_length()
        .and_then(|length| usize::try_from(length).ok());
    let mut body = BytesMut::with_capacity(announced.unwrap_or_default().min(LIKELY_BODY).max(first.len()));
    body.extend_from_slice(&first);
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(TransportError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
