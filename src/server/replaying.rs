//! What is to be done again, as callers say it.

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

/// `{"ids": […]}`, or `{}` for all that are dead.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Again {
    /// Which; all that are dead if it is left out.
    pub(super) ids: Option<Vec<String>>,
}

impl<S: Send + Sync> FromRequest<S> for Again {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let read = Json::<Self>::from_request(request, state).await;
        read.map(|Json(again)| again).map_err(|error| {
            let text = format!(
                "{}; send {{\"ids\": […]}}, or {{}} for all that are dead\n",
                error.body_text()
            );
            (error.status(), text).into_response()
        })
    }
}
