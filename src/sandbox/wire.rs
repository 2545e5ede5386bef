//! The listener: connections, and faults that only a connection can have.
//!
//! Served with hyper itself, because a reset, a cut body and silence need the connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::api::{Answer, Api};
use super::faults::Fault;

/// How much of a body that is too large is read, so that its sender gets to see the 413.
const PATIENCE: usize = 16 << 20;
/// How long a connection may take to send a request's head.
const HEAD_WITHIN: Duration = Duration::from_mins(1);

/// An answer that does not arrive whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The connection was closed before the answer.
    #[error("the connection was closed before the answer")]
    Reset,
    /// The connection was closed in the middle of the body.
    #[error("the connection was closed in the middle of the body")]
    Truncated,
    /// No answer, or no more of it, will ever come; the caller's timeout is over.
    #[error("no answer within the time allowed")]
    Stalled,
}

type Body = UnsyncBoxBody<Bytes, Broken>;

/// Serves until the future is dropped, and with it every connection.
pub(super) async fn serve(listener: TcpListener, api: Arc<Api>) -> Infallible {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, Arc::clone(&api)));
            }
            Err(error) => {
                tracing::warn!(%error, "the sandbox could not accept a connection");
                api.clock.sleep(Duration::from_millis(50)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, api: Arc<Api>) {
    stream.set_nodelay(true).ok();
    let service = service_fn(|request: Request<Incoming>| {
        let api = Arc::clone(&api);
        async move {
            let (head, body) = request.into_parts();
            let Ok(body) = Limited::new(body, PATIENCE).collect().await else {
                return Err(Broken::Reset);
            };
            let answer = api.answer(Request::from_parts(head, body.to_bytes())).await;
            send(answer).await
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .auto_date_header(false);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection to the sandbox ended early");
    }
}

/// Turns an answer into what goes over the wire.
async fn send(answer: Answer) -> Result<Response<Body>, Broken> {
    let (mut head, body) = answer.response.into_parts();
    let part = |share: f64| body.slice(..portion(share, body.len()));
    let (start, forever) = match answer.fault {
        Some(Fault::Reset { .. }) => return Err(Broken::Reset),
        Some(Fault::Stall) => return std::future::pending().await,
        Some(Fault::Truncate(share)) => (part(share), false),
        Some(Fault::StallMidway(share)) => (part(share), true),
        Some(Fault::Status(_) | Fault::Invalid(_)) | None => {
            let whole = Full::new(body).map_err(|never| match never {}).boxed_unsync();
            return Ok(Response::from_parts(head, whole));
        }
    };
    // With a length the client can see what is missing, without one it sees a chunked body that never ends.
    if start.len() % 2 == 0 {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let frames = stream::unfold(Some(start), move |start| async move {
        if let Some(start) = start {
            return Some((Ok(Frame::data(start)), None));
        }
        if forever {
            std::future::pending::<()>().await;
        }
        // A pause lets hyper flush what it has; an error that comes at once would swallow it.
        tokio::task::yield_now().await;
        Some((Err(Broken::Truncated), None))
    });
    Ok(Response::from_parts(head, StreamBody::new(frames).boxed_unsync()))
}

/// Answers a request without a connection; a stall takes `timeout` on the clock.
pub(super) async fn call(api: &Api, request: Request<Bytes>, timeout: Duration) -> Result<Response<Bytes>, Broken> {
    let answer = api.answer(request).await;
    match answer.fault {
        Some(Fault::Reset { .. }) => Err(Broken::Reset),
        Some(Fault::Truncate(_)) => Err(Broken::Truncated),
        Some(Fault::Stall | Fault::StallMidway(_)) => {
            api.clock.sleep(timeout).await;
            Err(Broken::Stalled)
        }
        Some(Fault::Status(_) | Fault::Invalid(_)) | None => Ok(answer.response),
    }
}

/// A share of a length, always less than all of it.
fn portion(share: f64, length: usize) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a body's length, which is small"
    )]
    let portion = (share.clamp(0.0, 1.0) * length as f64) as usize;
    portion.min(length.saturating_sub(1))
}
