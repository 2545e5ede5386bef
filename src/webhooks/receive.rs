//! The public listener: `POST /webhooks/allai/{account}`, and nothing else.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures_util::future::{Either, select};
use ipnet::IpNet;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::inbox::{Inbox, NotStored};
use super::{event, verify};
use crate::allai::signature;
use crate::clock::SharedClock;
use crate::config::{Config, SignedBody};
use crate::listener::{self, Hooks, Limits, Peer};
use crate::metrics;

/// What the path of a webhook begins with; the account's name follows.
const WEBHOOKS: &str = "/webhooks/allai/";
/// Where the signature is.
const SIGNATURE: &str = "x-allai-signature";
/// How long an event may take to be stored. AllAI wants an answer within five seconds.
const STORED_WITHIN: Duration = Duration::from_secs(3);
/// After how many seconds a sender should come again.
const COME_AGAIN: HeaderValue = HeaderValue::from_static("5");
/// Requests at work at a time from one address behind a proxy.
const PER_CLIENT: usize = 128;
/// How often it is told of what is refused, for each account.
const TELL_EVERY: Duration = Duration::from_mins(1);

const LIMITS: Limits = Limits {
    connections: 1_024,
    per_address: 512,
    head: Duration::from_millis(4_900),
    request: Duration::from_millis(4_500),
    taking: Duration::from_secs(10),
    body_bytes: 1 << 20,
    bodies_bytes: 64 << 20,
    closing: Duration::from_secs(4),
};

/// Who may send what: what a new configuration may change.
#[derive(Clone, Debug, Default)]
pub struct Senders {
    accounts: BTreeMap<String, Sender>,
    trusted_proxies: Vec<IpNet>,
    /// Whether events are to be passed on.
    passes_on: bool,
}

#[derive(Clone, Debug)]
struct Sender {
    secrets: Vec<SecretString>,
    signed: SignedBody,
}

impl Senders {
    /// The accounts of a configuration that accept webhooks.
    pub fn of(config: &Config) -> Self {
        let accounts = config.accounts.iter().filter(|(_, account)| account.enabled);
        let accounts = accounts.filter_map(|(name, account)| {
            let webhook = account.webhook.as_ref()?;
            let secrets = webhook.secrets().map(|secret| SecretString::from(secret.expose()));
            let sender = Sender {
                secrets: secrets.collect(),
                signed: webhook.signed,
            };
            Some((name.clone(), sender))
        });
        Self {
            accounts: accounts.collect(),
            trusted_proxies: config
                .webhooks
                .as_ref()
                .map(|webhooks| webhooks.trusted_proxies.clone())
                .unwrap_or_default(),
            passes_on: config.webhooks.as_ref().is_some_and(|webhooks| webhooks.nats.is_some()),
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }

    /// Whether a request may be a webhook, as far as its head tells.
    fn may_take(&self, head: &Parts) -> bool {
        let account = head.uri.path().strip_prefix(WEBHOOKS).unwrap_or_default();
        // There are other ways to write a name, which nobody uses.
        let is_known = self.accounts.contains_key(account) || account.contains('%');
        let signature = head.headers.get(SIGNATURE).and_then(|value| value.to_str().ok());
        head.method == Method::POST && is_known && signature.is_some_and(signature::is_well_formed)
    }

    /// Who sent a request: the last address in `X-Forwarded-For` that is not a proxy's, if it came from a proxy.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let forwarded = headers.get_all("x-forwarded-for").iter().rev();
        let said = forwarded.filter_map(|value| value.to_str().ok());
        for text in said.flat_map(|list| list.rsplit(',')) {
            if !self.trusts(client) {
                break;
            }
            match address(text.trim()) {
                Some(address) => client = address.to_canonical(),
                None => break,
            }
        }
        client
    }
}

/// An address as proxies write it, some with a port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port)
}

/// The public listener, bound and not yet serving.
#[derive(Debug)]
pub struct Receiver {
    listener: TcpListener,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    senders: watch::Receiver<Senders>,
    inbox: Inbox,
    clock: SharedClock,
    at_work: Mutex<HashMap<IpAddr, usize>>,
    told: Mutex<HashMap<String, Duration>>,
}

impl Receiver {
    /// Serves on a listener that is bound already.
    pub fn on(listener: TcpListener, senders: watch::Receiver<Senders>, inbox: Inbox, clock: SharedClock) -> Self {
        Self {
            listener,
            shared: Arc::new(Shared {
                senders,
                inbox,
                clock,
                at_work: Mutex::default(),
                told: Mutex::default(),
            }),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is cancelled; then what is under way is answered.
    pub async fn serve(self, stop: CancellationToken) {
        let clock = Arc::clone(&self.shared.clock);
        let (proxies, accounts) = (self.shared.senders.clone(), self.shared.senders.clone());
        let hooks = Hooks {
            refused,
            wants_body: Box::new(move |head| accounts.borrow().may_take(head)),
            crowded: Box::new(move |address| proxies.borrow().trusts(address)),
        };
        listener::serve(self.listener, router(self.shared), LIMITS, hooks, clock, stop).await;
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(&format!("{WEBHOOKS}{{account}}"), post(receive))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is nothing here\n") })
        .with_state(shared)
}

/// Counts the webhooks that the listener answers itself.
fn refused(method: &Method, uri: &Uri, status: StatusCode) {
    if method == Method::POST && uri.path().starts_with(WEBHOOKS) {
        metrics::webhook_answered(status);
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    account: Result<Path<String>, PathRejection>,
    Extension(Peer(peer)): Extension<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // What is no text is no account's name.
    let account = account.map(|Path(account)| account).unwrap_or_default();
    let answer = shared.receive(&account, peer, &headers, &body).await;
    metrics::webhook_answered(answer.status());
    answer
}

impl Shared {
    async fn receive(&self, account: &str, peer: IpAddr, headers: &HeaderMap, body: &[u8]) -> Response {
        let (sender, client, passed_on) = {
            let senders = self.senders.borrow();
            let client = senders.client(peer, headers);
            match senders.accounts.get(account) {
                Some(sender) => (sender.clone(), client, senders.passes_on),
                None => return (StatusCode::NOT_FOUND, "there is no such account\n").into_response(),
            }
        };
        let Some(_at_work) = AtWork::begin(self, client) else {
            return unavailable("too many requests from your address are under way");
        };
        let signature = headers.get(SIGNATURE).and_then(|value| value.to_str().ok());
        let verified = signature.and_then(|header| verify::verified(&sender.secrets, sender.signed, body, header));
        let Some(body) = verified else {
            self.tell_of_refusal(account, client, signature.is_some());
            let text = "the signature in X-AllAI-Signature is missing or wrong\n";
            return (StatusCode::UNAUTHORIZED, text).into_response();
        };
        let mut event = event::read(account, &body, self.clock.now());
        event.passed_on = passed_on;
        let storing = std::pin::pin!(self.inbox.store(event));
        match select(storing, self.clock.sleep(STORED_WITHIN)).await {
            Either::Left((Ok(()), _)) => (StatusCode::OK, "stored\n").into_response(),
            Either::Left((Err(NotStored::Stopping), _)) => unavailable("the service is being restarted"),
            Either::Left((Err(NotStored::Full), _)) => unavailable("too many events are waiting to be stored"),
            Either::Left((Err(NotStored::Warehouse(_)), _)) => unavailable("the event cannot be stored just now"),
            Either::Right(_) => unavailable("the event could not be stored in time"),
        }
    }

    fn tell_of_refusal(&self, account: &str, client: IpAddr, has_signature: bool) {
        let now = self.clock.monotonic();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.get(account).is_some_and(|at| now.saturating_sub(*at) < TELL_EVERY) {
            return;
        }
        told.insert(account.to_owned(), now);
        let what = if has_signature {
            "has a wrong signature"
        } else {
            "is not signed"
        };
        tracing::warn!(
            webhook.account = account, client.address = %client,
            "a webhook {what} and is refused; if AllAI sent it, accounts.{account}.webhook.secret is not the one that it was \
             registered with: run `allai-sync webhooks register`"
        );
    }
}

fn unavailable(text: &str) -> Response {
    let mut answer = (StatusCode::SERVICE_UNAVAILABLE, format!("{text}\n")).into_response();
    answer.headers_mut().insert(header::RETRY_AFTER, COME_AGAIN);
    answer
}

/// A request of a client is at work, until this is dropped.
struct AtWork<'a> {
    shared: &'a Shared,
    client: IpAddr,
}

impl<'a> AtWork<'a> {
    fn begin(shared: &'a Shared, client: IpAddr) -> Option<Self> {
        let mut at_work = shared.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        let count = at_work.entry(client).or_default();
        if *count >= PER_CLIENT {
            return None;
        }
        *count += 1;
        Some(Self { shared, client })
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        let mut at_work = self.shared.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = at_work.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                at_work.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_client_is_waited_for_as_long_as_five_seconds() {
        let Limits { head, request, .. } = LIMITS;
        let longest = head.max(request);
        assert!(longest < Duration::from_secs(5), "{longest:?}");
    }

    #[test]
    fn a_client_is_who_the_trusted_proxies_say_and_nobody_else() {
        let senders = Senders {
            accounts: BTreeMap::new(),
            trusted_proxies: vec!["127.0.0.1/32".parse().unwrap(), "10.0.0.0/8".parse().unwrap()],
            passes_on: false,
        };
        for (peer, forwarded, client) in [
            ("127.0.0.1", &["203.0.113.9"][..], "203.0.113.9"),
            ("::ffff:127.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("127.0.0.1", &["198.51.100.1, 203.0.113.9, 10.1.2.3"], "203.0.113.9"),
            ("127.0.0.1", &["198.51.100.1", "203.0.113.9, 10.1.2.3"], "203.0.113.9"),
            ("127.0.0.1", &["[2001:db8::1]:80"], "2001:db8::1"),
            ("127.0.0.1", &["nonsense"], "127.0.0.1"),
            ("127.0.0.1", &[], "127.0.0.1"),
            // Not a proxy: what it says of others counts for nothing.
            ("203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
        ] {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", value.parse().unwrap());
            }
            assert_eq!(
                senders.client(peer.parse().unwrap(), &headers),
                client.parse::<IpAddr>().unwrap(),
                "{peer} {forwarded:?}"
            );
        }
    }
}
