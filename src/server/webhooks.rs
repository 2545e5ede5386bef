//! Webhook events, looked at and tried again.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::authorized::Authorized;
use super::read::Problem;
use super::{Admin, PATIENCE, unavailable};
use crate::warehouse::EventStatus;

/// So many events are listed unless another number is asked for, and at most.
const LISTED: u32 = 50;
const MOST_LISTED: u32 = 1_000;

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    status: Option<EventStatus>,
    limit: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Again {
    /// Which events; all that are dead if it is left out.
    ids: Option<Vec<String>>,
}

/// `GET /api/v1/webhooks/ACCOUNT/events?status=dead&limit=50`: the newest events in a status, without their bodies.
pub(super) async fn events(
    State(admin): State<Admin>,
    Path(account): Path<String>,
    which: Result<Query<Which>, QueryRejection>,
) -> Response {
    let Ok(Query(Which { status, limit })) = which else {
        let text = "status is pending, processing, done or dead, and limit a number\n";
        return (StatusCode::BAD_REQUEST, text).into_response();
    };
    let status = status.unwrap_or(EventStatus::Dead);
    let limit = limit.unwrap_or(LISTED).min(MOST_LISTED);
    let found = tokio::select! {
        found = admin.warehouse.events(&account, status, limit) => found.map_err(Problem::from),
        () = admin.clock.sleep(PATIENCE) => Err(Problem::Silent(PATIENCE)),
    };
    match found {
        Ok(events) => Json(json!({ "events": events })).into_response(),
        Err(problem) => unavailable(&problem),
    }
}

/// `POST /api/v1/webhooks/ACCOUNT/replay` with `{"ids": […]}`, or `{}` for all that are dead: 202, and they are applied again as if
/// they had just come.
pub(super) async fn replay(
    _: Authorized,
    State(admin): State<Admin>,
    Path(account): Path<String>,
    again: Result<Json<Again>, JsonRejection>,
) -> Response {
    let Again { ids } = match again {
        Ok(Json(again)) => again,
        Err(error) => {
            let text = format!(
                "{}; send {{\"ids\": […]}}, or {{}} for all that are dead\n",
                error.body_text()
            );
            return (error.status(), text).into_response();
        }
    };
    let replayed = tokio::select! {
        replayed = admin.warehouse.replay_events(&account, ids.as_deref()) => replayed.map_err(Problem::from),
        () = admin.clock.sleep(PATIENCE) => Err(Problem::Silent(PATIENCE)),
    };
    match replayed {
        Ok(replayed) => {
            admin.reads.gathered.expire();
            (StatusCode::ACCEPTED, Json(json!({ "replayed": replayed }))).into_response()
        }
        Err(problem) => unavailable(&problem),
    }
}
