//! Reading a request's body, as far as it is allowed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::future::select;
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much of a body that is too large is read and thrown away, so that its sender gets to see why it is refused.
const THROWN_AWAY: usize = 32 << 20;

/// Why a body is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    #[error("the body cannot be read")]
    Broken,
    #[error("too many large bodies are under way")]
    Crowded,
}

impl Refused {
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::Crowded => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Room is taken for so many KiB at a time.
const STEP: usize = 16;
/// A body of at most so many bytes has room of its own. On every connection, if half of all the room is enough for that.
const SMALL: usize = STEP << 10;
/// Larger bodies from one address get such a part of all the room.
const SHARE: usize = 8;

/// How much all bodies together may take in memory: whoever sends bodies and never ends them must not take all of it, nor
/// keep out others.
#[derive(Clone, Debug)]
pub(super) struct Room {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    /// How many KiB large bodies from one address may take, and do.
    share: usize,
    shares: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Room {
    /// For so many bytes, on so many connections.
    pub(super) fn new(bytes: usize, connections: usize) -> Self {
        let small = connections.saturating_mul(SMALL).min(bytes / 2);
        Self {
            small: Arc::new(Semaphore::new(small / 1_024)),
            large: Arc::new(Semaphore::new((bytes - small) / 1_024)),
            share: bytes / SHARE / 1_024,
            shares: Arc::default(),
        }
    }

    /// None of it yet, for a body from an address; from none if it is that of many.
    pub(super) const fn of(&self, address: Option<IpAddr>) -> Taken<'_> {
        Taken {
            room: self,
            address,
            held: None,
            large: None,
        }
    }
}

/// The room that a body takes, until this is dropped.
#[derive(Debug)]
pub(super) struct Taken<'r> {
    room: &'r Room,
    address: Option<IpAddr>,
    /// The first step.
    held: Option<OwnedSemaphorePermit>,
    large: Option<OwnedSemaphorePermit>,
}

impl Taken<'_> {
    /// Has room for a body of so many bytes.
    fn grow(&mut self, bytes: usize) -> Result<(), Refused> {
        if self.held.is_none() {
            let step = permit(&self.room.small, STEP).or_else(|_| permit(&self.room.large, STEP));
            self.held = Some(step?);
        }
        if bytes <= SMALL {
            return Ok(());
        }
        let held = self.large();
        // It grows by doubling.
        let wanted = (2 * bytes).div_ceil(1_024).next_multiple_of(STEP);
        if wanted <= held {
            return Ok(());
        }
        let more = permit(&self.room.large, wanted - held)?;
        self.take_share(wanted - held)?;
        match &mut self.large {
            Some(large) => large.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }

    fn large(&self) -> usize {
        self.large.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn take_share(&self, kib: usize) -> Result<(), Refused> {
        let Some(address) = self.address else { return Ok(()) };
        let mut shares = self.room.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let share = shares.entry(address).or_default();
        if *share + kib > self.room.share {
            return Err(Refused::Crowded);
        }
        *share += kib;
        Ok(())
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let large = self.large();
        let mut shares = self.room.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut share) = shares.entry(address) {
            *share.get_mut() -= large;
            if *share.get() == 0 {
                share.remove();
            }
        }
    }
}

fn permit(room: &Arc<Semaphore>, kib: usize) -> Result<OwnedSemaphorePermit, Refused> {
    let kib = u32::try_from(kib).map_err(|_| Refused::Crowded)?;
    Arc::clone(room)
        .try_acquire_many_owned(kib)
        .map_err(|_| Refused::Crowded)
}

/// Reads a body that nobody wants, so that its sender gets to see why: not for longer than `within`, and not much of it.
pub(super) async fn throw_away(mut body: Incoming, within: impl Future<Output = ()>) {
    let reading = async {
        let mut length = 0;
        while length <= THROWN_AWAY
            && let Some(Ok(frame)) = body.frame().await
        {
            length += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    select(pin!(reading), pin!(within)).await;
}

/// The whole body, if it is at most `limit` bytes and there is room. A client that `asks_first` (RFC 9110, 10.1.1) sends
/// nothing of it before.
pub(super) async fn read(
    asks_first: bool,
    mut body: Incoming,
    limit: usize,
    taken: &mut Taken<'_>,
) -> Result<Bytes, Refused> {
    let too_large = Refused::TooLarge(limit);
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit + if asks_first { 0 } else { THROWN_AWAY } {
        return Err(too_large);
    }
    let mut read = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refused::Broken)?.into_data() else {
            continue;
        };
        length += data.len();
        if length > limit + THROWN_AWAY {
            return Err(too_large);
        }
        if length <= limit {
            taken.grow(length)?;
            read.extend_from_slice(&data);
        }
    }
    if length > limit {
        Err(too_large)
    } else {
        Ok(read.freeze())
    }
}
