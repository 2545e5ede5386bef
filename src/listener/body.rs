//! Reading a request's body, as far as it is allowed.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much of a body that is too large is read and thrown away, so that its sender gets to see why it is refused.
const THROWN_AWAY: usize = 1 << 20;

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

/// How much all bodies together may take in memory: whoever sends bodies and never ends them must not take all of it.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Semaphore>);

impl Room {
    /// For so many bytes.
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes / 1_024)))
    }
}

/// The room that a body takes, until this is dropped.
#[derive(Debug, Default)]
pub(super) struct Taken(Option<OwnedSemaphorePermit>);

impl Taken {
    /// Has room for so many bytes in all.
    fn grow(&mut self, room: &Room, bytes: usize) -> Result<(), Refused> {
        let held = self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let wanted = bytes.div_ceil(1_024).next_multiple_of(STEP);
        if wanted <= held {
            return Ok(());
        }
        let more = u32::try_from(wanted - held).map_err(|_| Refused::Crowded)?;
        let more = Arc::clone(&room.0).try_acquire_many_owned(more);
        let more = more.map_err(|_| Refused::Crowded)?;
        match &mut self.0 {
            Some(taken) => taken.merge(more),
            none => *none = Some(more),
        }
        Ok(())
    }
}

/// The whole body, if it is at most `limit` bytes, with the room that it takes. A client that `asks_first` (RFC 9110, 10.1.1)
/// sends nothing of it before.
pub(super) async fn read(
    asks_first: bool,
    mut body: Incoming,
    limit: usize,
    room: &Room,
) -> Result<(Bytes, Taken), Refused> {
    let mut taken = Taken::default();
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
            // It grows by doubling.
            taken.grow(room, 2 * length)?;
            read.extend_from_slice(&data);
        }
    }
    if length > limit {
        Err(too_large)
    } else {
        Ok((read.freeze(), taken))
    }
}
