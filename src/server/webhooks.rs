//! Webhook events, looked at and tried again.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::authorized::Authorized;
use super::replaying::Again;
use super::{Admin, patiently, unavailable};
use crate::warehouse::EventStatus;

/// So many events are listed unless another number is asked for, and at most.
const LISTED: u32 = 50;
const MOST_LISTED: u32 = 1_000;

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    status: Option<EventStatus>,
    limit: Option<u32>,
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
    match patiently(&admin, admin.warehouse.events(&account, status, limit)).await {
        Ok(events) if events.is_empty() && !is_known(&admin, &account) => nothing_of(&account),
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
    again: Again,
) -> Response {
    match patiently(&admin, admin.warehouse.replay_events(&account, again.ids.as_deref())).await {
        Ok(0) if !is_known(&admin, &account) => nothing_of(&account),
        Ok(replayed) => {
            admin.reads.gathered.expire();
            (StatusCode::ACCEPTED, Json(json!({ "replayed": replayed }))).into_response()
        }
        Err(problem) => unavailable(&problem),
    }
}

/// Whether an account is one of this daemon's. One that is no more may still have events.
fn is_known(admin: &Admin, account: &str) -> bool {
    admin.settings.borrow().accounts.iter().any(|known| known == account)
}

fn nothing_of(account: &str) -> Response {
    let text = format!("this daemon's configuration has no account {account:?}, and there are no such events of one\n");
    (StatusCode::NOT_FOUND, text).into_response()
}
