//! What rules did, looked at and gone on with.

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
use crate::automation::masked;
use crate::warehouse::{Error, RunFilter, RunState};

/// So many runs are listed unless another number is asked for, and at most.
const LISTED: u32 = 50;
const MOST_LISTED: u32 = 1_000;

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    rule: Option<String>,
    status: Option<RunState>,
    limit: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Again {
    /// Which runs; all that are dead if it is left out.
    ids: Option<Vec<String>>,
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
    let found = patiently(&admin, admin.warehouse.automation_runs(&account, &filter)).await;
    match found {
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
            for step in &mut steps {
                for text in [&mut step.input, &mut step.output].into_iter().flatten() {
                    *text = masked(text);
                }
            }
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
    let replaying = async {
        let ids = match ids {
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

/// What the warehouse says, if it says it in time.
async fn patiently<T>(admin: &Admin, asking: impl Future<Output = Result<T, Error>>) -> Result<T, Problem> {
    tokio::select! {
        said = asking => said.map_err(Problem::from),
        () = admin.clock.sleep(PATIENCE) => Err(Problem::Silent(PATIENCE)),
    }
}
