//! The connections that are open, and which of them makes room for another.
//!
//! A connection is either waited for (its client has not sent a request, or not taken its answer), or a handler is at work
//! for it. When there is no place left, the one that has been waited for longest is closed. Where handlers are at work for
//! all of them, a new one waits; that ends, since a request's time does.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use super::Limits;
use crate::clock::SharedClock;

/// How often it is told that there are too many connections.
const TELL_EVERY: Duration = Duration::from_mins(1);
/// In the place of a time: a handler is at work, …
const AT_WORK: u64 = u64::MAX;
/// … or has done its work, and its answer is on its way.
const ANSWERED: u64 = u64::MAX - 1;

/// The connections that are open.
pub(super) struct Connections {
    limits: Limits,
    clock: SharedClock,
    tasks: JoinSet<()>,
    open: HashMap<Id, Open>,
    /// It is waited for another one.
    freed: Arc<Notify>,
    told_at: Option<Duration>,
}

struct Open {
    address: IpAddr,
    task: AbortHandle,
    /// Since when it is waited for, in microseconds of the clock.
    waited_since: Arc<AtomicU64>,
}

/// Whose turn it is on a connection: the client's, or a handler's.
#[derive(Clone)]
pub(super) struct Turn {
    waited_since: Arc<AtomicU64>,
    clock: SharedClock,
    freed: Arc<Notify>,
}

/// A handler is at work, until this is dropped.
pub(super) struct AtWork<'a>(&'a Turn);

impl Turn {
    /// It is a handler's.
    pub(super) fn take(&self) -> AtWork<'_> {
        self.waited_since.store(AT_WORK, Ordering::Relaxed);
        AtWork(self)
    }

    /// The answer is sent, or the client does not take it: it is the client's turn.
    pub(super) fn give(&self) {
        let now = u64::try_from(self.clock.monotonic().as_micros()).unwrap_or(0);
        let given = self
            .waited_since
            .compare_exchange(ANSWERED, now, Ordering::Relaxed, Ordering::Relaxed);
        if given.is_ok() {
            self.freed.notify_one();
        }
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.waited_since.store(ANSWERED, Ordering::Relaxed);
    }
}

impl Connections {
    pub(super) fn new(limits: Limits, clock: SharedClock) -> Self {
        Self {
            limits,
            clock,
            tasks: JoinSet::new(),
            open: HashMap::new(),
            freed: Arc::default(),
            told_at: None,
        }
    }

    /// Whether another one has a place, or can get one.
    pub(super) fn has_room(&self) -> bool {
        self.open.len() < self.limits.connections || self.longest_waited_for(|_| true).is_some()
    }

    /// Completes when there may be more room than before.
    pub(super) async fn ended(&mut self) {
        let is_full = self.open.len() >= self.limits.connections;
        tokio::select! {
            Some(ended) = self.tasks.join_next_with_id() => self.forget(ended),
            () = self.freed.notified(), if is_full => {}
            else => std::future::pending().await,
        }
    }

    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        self.open.remove(&id);
        if let Err(error) = ended
            && error.is_panic()
        {
            tracing::error!("a request broke off: {error}; please report this");
        }
    }

    /// Serves a connection, or drops it if its address has too many at work, unless it may have many.
    pub(super) fn open<F>(&mut self, from: IpAddr, is_crowded: bool, serve: impl FnOnce(Turn) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let address = network(from);
        let of_address = self.open.values().filter(|open| open.address == address).count();
        let has_place = if of_address >= self.limits.per_address && !is_crowded {
            self.tell(of_address, Some(address));
            self.close_longest_waited_for(|open| open.address == address)
        } else if self.open.len() >= self.limits.connections {
            self.tell(self.open.len(), None);
            self.close_longest_waited_for(|_| true)
        } else {
            true
        };
        if !has_place {
            return;
        }
        let waited_since = Arc::new(AtomicU64::new(ANSWERED));
        let turn = Turn {
            waited_since: Arc::clone(&waited_since),
            clock: Arc::clone(&self.clock),
            freed: Arc::clone(&self.freed),
        };
        turn.give();
        let task = self.tasks.spawn(serve(turn));
        let open = Open {
            address,
            task: task.clone(),
            waited_since,
        };
        self.open.insert(task.id(), open);
    }

    fn longest_waited_for(&self, among: impl Fn(&Open) -> bool) -> Option<Id> {
        let since = |open: &Open| open.waited_since.load(Ordering::Relaxed);
        self.open
            .iter()
            .filter(|(_, open)| among(open))
            .map(|(id, open)| (since(open), *id))
            .filter(|(since, _)| *since < ANSWERED)
            .min_by_key(|(since, _)| *since)
            .map(|(_, id)| id)
    }

    fn close_longest_waited_for(&mut self, among: impl Fn(&Open) -> bool) -> bool {
        let closed = self.longest_waited_for(among).and_then(|id| self.open.remove(&id));
        if let Some(open) = &closed {
            open.task.abort();
        }
        closed.is_some()
    }

    fn tell(&mut self, count: usize, address: Option<IpAddr>) {
        let now = self.clock.monotonic();
        if self.told_at.is_some_and(|at| now.saturating_sub(at) < TELL_EVERY) {
            return;
        }
        self.told_at = Some(now);
        let from = address.map(|address| format!(" from {address}")).unwrap_or_default();
        tracing::warn!("{count} connections{from} are open, which is the most: those that keep quiet are closed");
    }

    /// Waits for what is under way, for at most so long.
    pub(super) async fn close(mut self, within: Duration) {
        let deadline = self.clock.sleep(within);
        tokio::select! {
            () = async { while self.tasks.join_next().await.is_some() {} } => {}
            () = deadline => self.tasks.shutdown().await,
        }
    }
}

/// What counts as one address: of IPv6, everybody has a network of 64 bits (RFC 6177).
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_count_as_one() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
