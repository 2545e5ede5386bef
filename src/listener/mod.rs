//! Serving HTTP to whoever comes: every wait for a client has an end, and nobody takes all the places.
//!
//! `axum::serve` waits for ever for the rest of a request's head, and takes any number of connections. Here hyper serves
//! each connection, and around it:
//!
//! - a client has a time to send a head, which is also how long a connection may keep quiet; a request has a time in all,
//!   its body and its answer; and a client has a time to take the answer;
//! - bodies are read, up to a size, before a handler sees them, unless the head says enough. What they take of memory is
//!   bounded, in all and by address, and small ones always find room;
//! - connections are counted, in all and by address. When there are too many, the one that has kept the listener waiting
//!   for longest makes room (`connections`): slow clients push each other out, and not those that have something to say;
//! - a program that has no files left for connections pauses, and goes on.
//!
//! [`serve`] takes an axum [`Router`] and [`Limits`].

mod body;
mod connections;
mod patient;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::{CONNECTION, CONTENT_TYPE, EXPECT, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use body::Room;
use connections::{Connections, Turn, network};
use patient::Patient;

const CLOSE: HeaderValue = HeaderValue::from_static("close");
/// How long no connection is accepted when there is no file left for one.
const PAUSE: Duration = Duration::from_millis(250);
/// How long the body of a request that was answered by its head may still come, so that its sender gets to see the answer.
const LINGERING: Duration = Duration::from_secs(2);
/// How much of a request's head is read.
const HEAD_BYTES: usize = 32 << 10;

/// What a listener allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections that are open at a time.
    pub connections: usize,
    /// Of these, how many from one address; of IPv6, from one network of 64 bits.
    pub per_address: usize,
    /// How long a client may take to send the head of a request, counted from the end of the last answer.
    pub head: Duration,
    /// How long a request may take from the end of its head to the beginning of its answer.
    pub request: Duration,
    /// How long a client may take to take an answer that it does not take at once.
    pub taking: Duration,
    /// How long the body of a request may be.
    pub body_bytes: usize,
    /// How much memory the bodies of all requests may take; who finds no room is answered 503. Bodies of more than 16 KiB from
    /// one address, or network of 64 bits, get an eighth of it.
    pub bodies_bytes: usize,
    /// How long requests that are under way may take when the listener stops.
    pub closing: Duration,
}

/// What a listener asks of whoever uses it, and tells them.
pub struct Hooks {
    /// Is told of answers that the router has no part in, to a request whose body did not come or was too large, or whose
    /// handler took too long: the request's method and address, and the answer's status.
    pub refused: fn(&Method, &Uri, StatusCode),
    /// Whether the router has to see the body of a request with this head. If not, it is asked for its answer at once, with
    /// an empty body, and the connection ends after it.
    pub wants_body: Box<dyn Fn(&Parts) -> bool + Send + Sync>,
    /// From which addresses as many connections may be open, and as many bodies come, as there may be in all: of proxies,
    /// who speak for many.
    pub crowded: Box<dyn Fn(IpAddr) -> bool + Send + Sync>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            refused: |_, _, _| {},
            wants_body: Box::new(|_| true),
            crowded: Box::new(|_| false),
        }
    }
}

/// Who opened the connection that a request came on; an extension of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Where a connection comes from.
#[derive(Clone, Copy)]
struct Origin {
    address: SocketAddr,
    is_crowded: bool,
}

/// What all connections share.
#[derive(Clone)]
struct Shared {
    router: Router,
    limits: Limits,
    room: Room,
    hooks: Arc<Hooks>,
    clock: SharedClock,
    stop: CancellationToken,
}

/// Serves until `stop` is cancelled: then nothing is accepted any more, what is under way is answered, and what takes longer
/// than [`Limits::closing`] is cut off. Dropped, it cuts everything off.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    hooks: Hooks,
    clock: SharedClock,
    stop: CancellationToken,
) {
    let mut connections = Connections::new(limits, Arc::clone(&clock));
    let shared = Shared {
        router,
        limits,
        room: Room::new(limits.bodies_bytes, limits.connections),
        hooks: Arc::new(hooks),
        clock,
        stop,
    };
    let mut is_failing = false;
    'serving: loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => break,
            () = connections.ended() => continue,
            accepted = listener.accept(), if connections.has_room() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                is_failing = false;
                // It has come while there was room; by now handlers may be at work for all.
                while !connections.has_room() {
                    tokio::select! {
                        () = shared.stop.cancelled() => break 'serving,
                        () = connections.ended() => {}
                    }
                }
                let shared = shared.clone();
                let is_crowded = (shared.hooks.crowded)(from.ip().to_canonical());
                let origin = Origin {
                    address: from,
                    is_crowded,
                };
                connections.open(from.ip(), is_crowded, |turn| connection(stream, origin, shared, turn));
            }
            // A client that has gone again.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::error!(%error, "no connection can be accepted; trying again");
                }
                tokio::select! {
                    () = shared.stop.cancelled() => break,
                    () = shared.clock.sleep(PAUSE) => {}
                }
            }
        }
    }
    drop(listener);
    connections.close(limits.closing).await;
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

async fn connection(stream: TcpStream, origin: Origin, shared: Shared, turn: Turn) {
    stream.set_nodelay(true).ok();
    let stream = Patient::new(stream, turn.clone(), Arc::clone(&shared.clock), shared.limits.taking);
    let service = service_fn(|request| answer(request, origin, &shared, &turn));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(shared.limits.head)
        .max_buf_size(HEAD_BYTES);
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = shared.stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, client.address = %origin.address, "a connection ended early");
    }
}

/// Answers a request, in time whatever the router does.
async fn answer(
    request: Request<Incoming>,
    origin: Origin,
    shared: &Shared,
    turn: &Turn,
) -> Result<Response<Body>, Infallible> {
    let limits = &shared.limits;
    let deadline = shared.clock.sleep(limits.request);
    let within = limits.request.as_secs_f32();
    let (mut head, body) = request.into_parts();
    head.extensions.insert(Peer(origin.address.ip()));
    let (method, uri) = (head.method.clone(), head.uri.clone());
    let refusal = |status, text: &str| {
        (shared.hooks.refused)(&method, &uri, status);
        Ok(refusal(status, text))
    };
    let asks_first = head.headers.contains_key(EXPECT);
    let mut taken = shared
        .room
        .of((!origin.is_crowded).then(|| network(origin.address.ip())));
    let is_unread = !body.is_end_stream() && !(shared.hooks.wants_body)(&head);
    let (body, deadline) = if is_unread {
        // Who asks first is told by the answer.
        if !asks_first {
            tokio::spawn(body::throw_away(body, shared.clock.sleep(LINGERING)));
        }
        (Bytes::new(), deadline)
    } else {
        let reading = pin!(body::read(asks_first, body, limits.body_bytes, &mut taken));
        match select(reading, deadline).await {
            Either::Left((Ok(body), deadline)) => (body, deadline),
            Either::Left((Err(refused), _)) => return refusal(refused.status(), &refused.to_string()),
            Either::Right(_) => {
                let text = format!("the body did not arrive within {within} s");
                return refusal(StatusCode::REQUEST_TIMEOUT, &text);
            }
        }
    };
    // Of the path alone: what follows it could be a secret.
    let what = format!("{method} {}", uri.path().chars().take(80).collect::<String>());
    let router = TowerToHyperService::new(shared.router.clone());
    let answering = {
        let _at_work = turn.take();
        select(router.call(Request::from_parts(head, Body::from(body))), deadline).await
    };
    match answering {
        Either::Left((Ok(mut answered), _)) => {
            if is_unread {
                answered.headers_mut().insert(CONNECTION, CLOSE);
            }
            Ok(answered)
        }
        Either::Right(_) => {
            tracing::warn!("{what} was not answered within {within} s");
            let text = format!("{what} was given up after {within} s: it takes too long");
            refusal(StatusCode::SERVICE_UNAVAILABLE, &text)
        }
    }
}

/// An answer after which the connection ends: there may be more of the request than was read.
fn refusal(status: StatusCode, text: &str) -> Response<Body> {
    let mut answer = Response::new(Body::from(format!("{text}\n")));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, CLOSE);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
    }
    answer
}

#[cfg(test)]
mod tests;
