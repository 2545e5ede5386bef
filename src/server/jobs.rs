//! Running a job on demand.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::authorized::Authorized;
use super::{Admin, unavailable};
use crate::allai::Resource;

#[derive(Debug, Deserialize)]
pub(super) struct How {
    /// Whether everything is to be read.
    #[serde(default)]
    full: bool,
}

/// `POST /api/v1/jobs/ACCOUNT.RESOURCE/run`, with `?full=true` for a full run: 202, and the job begins as soon as nobody
/// else runs it.
pub(super) async fn run(
    _: Authorized,
    State(admin): State<Admin>,
    Path(job): Path<String>,
    Query(how): Query<How>,
) -> Response {
    let none = || {
        let text = format!("there is no job {job}; a job is ACCOUNT.RESOURCE, such as main.contacts\n");
        (StatusCode::NOT_FOUND, text).into_response()
    };
    let Some((account, resource)) = job.rsplit_once('.') else {
        return none();
    };
    let Some(resource) = Resource::ALL.into_iter().find(|known| known.as_str() == resource) else {
        return none();
    };
    match admin.warehouse.request_job(account, resource, how.full).await {
        Ok(true) => {
            if let Some(schedules) = &admin.schedules {
                schedules.woken.notify_one();
            }
            (StatusCode::ACCEPTED, Json(json!({ "job": job, "full": how.full }))).into_response()
        }
        Ok(false) => none(),
        Err(error) => unavailable(&error),
    }
}
