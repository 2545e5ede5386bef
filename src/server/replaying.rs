//! What is to be done again, as callers say it.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

/// `{"ids": […]}`, or `{}` for all that are dead; by whatever media type.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Again {
    /// Which; all that are dead if it is left out.
    pub(super) ids: Option<Vec<String>>,
}

impl<S: Send + Sync> FromRequest<S> for Again {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let body = Bytes::from_request(request, state)
            .await
            .map_err(IntoResponse::into_response)?;
        serde_json::from_slice(&body).map_err(|error| {
            let text =
                format!("the body is not understood: {error}; send {{\"ids\": […]}}, or {{}} for all that are dead\n");
            (StatusCode::BAD_REQUEST, text).into_response()
        })
    }
}
