//! What rules did, looked at and gone on with.

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
use crate::automation::mask_persons;
use crate::warehouse::{RunFilter, RunState};

/// So many runs are listed unless another number is asked for, and at most.
const LISTED: u32 = 50;
const MOST_LISTED: u32 = 1_000;

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    rule: Option<String>,
    status: Option<RunState>,
    limit: Option<u32>,
}

/// `GET /api/v1/automations/ACCOUNT/runs?status=dead&rule=NAME&limit=50`: the newest runs.
pub(super) async fn runs(
    State(admin): State<Admin>,
    Path(account): Path<String>,
    which: Result<Query<Which>, QueryRejection>,
) -> Response {
    let Ok(Query(Which { rule, status, limit })) = which else {
        let text = "status is pending, running, done, dead or skipped, and limit a number\n";
        return (StatusCode::BAD_REQUEST, text).into_response();
    };
    let filter = RunFilter {
        rule: rule.as_deref(),
        state: status,
        id: None,
        most: limit.unwrap_or(LISTED).min(MOST_LISTED),
    };
    match patiently(&admin, admin.warehouse.automation_runs(&account, &filter)).await {
        Ok(runs) => Json(json!({ "runs": runs })).into_response(),
        Err(problem) => unavailable(&problem),
    }
}

/// `GET /api/v1/automations/ACCOUNT/runs/ID`: a run with its steps, in which addresses and numbers of persons are masked.
pub(super) async fn run(State(admin): State<Admin>, Path((account, id)): Path<(String, String)>) -> Response {
    let filter = RunFilter {
        id: Some(&id),
        most: 1,
        ..RunFilter::default()
    };
    let reading = async {
        let run = admin.warehouse.automation_runs(&account, &filter).await?.pop();
        let steps = admin.warehouse.steps(&account, &id).await?;
        Ok(run.map(|run| (run, steps)))
    };
    match patiently(&admin, reading).await {
        Ok(Some((run, mut steps))) => {
            mask_persons(&mut steps);
            Json(json!({ "run": run, "steps": steps })).into_response()
        }
        Ok(None) => (StatusCode::NOT_FOUND, "there is no such run\n").into_response(),
        Err(problem) => unavailable(&problem),
    }
}

/// `POST /api/v1/automations/ACCOUNT/replay` with `{"ids": […]}`, or `{}` for all that are dead: 202, and they go on from the step
/// that failed.
pub(super) async fn replay(
    _: Authorized,
    State(admin): State<Admin>,
    Path(account): Path<String>,
    again: Again,
) -> Response {
    let replaying = async {
        let ids = match again.ids {
            Some(ids) => ids,
            None => admin.warehouse.dead_runs(&account).await?,
        };
        admin.warehouse.replay_runs(&account, &ids).await
    };
    match patiently(&admin, replaying).await {
        Ok(replayed) => (StatusCode::ACCEPTED, Json(json!({ "replayed": replayed }))).into_response(),
        Err(problem) => unavailable(&problem),
    }
}
