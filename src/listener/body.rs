//! Reading a request's body, as far as it is allowed.

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

/// How much of a body that is too large is read and thrown away, so that its sender gets to see why it is refused.
const THROWN_AWAY: usize = 1 << 20;

/// Why a body is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    #[error("the body cannot be read")]
    Broken,
}

impl Refused {
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Broken => StatusCode::BAD_REQUEST,
        }
    }
}

/// The whole body, if it is at most `limit` bytes. A client that `asks_first` (RFC 9110, 10.1.1) sends nothing of it before.
pub(super) async fn read(asks_first: bool, mut body: Incoming, limit: usize) -> Result<Bytes, Refused> {
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
            read.extend_from_slice(&data);
        }
    }
    if length > limit {
        Err(too_large)
    } else {
        Ok(read.freeze())
    }
}
