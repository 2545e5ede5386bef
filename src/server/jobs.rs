//! Running a job on demand.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::authorized::Authorized;
use super::read::Problem;
use super::{Admin, PATIENCE, unavailable};
use crate::allai::Resource;
use crate::schedule::Plan;

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
    job: Result<Path<String>, PathRejection>,
    how: Result<Query<How>, QueryRejection>,
) -> Response {
    let none = |text: String| (StatusCode::NOT_FOUND, format!("there is no such job: {text}\n")).into_response();
    let is_a = || none("a job is ACCOUNT.RESOURCE, such as main.contacts".to_owned());
    let Ok(Path(job)) = job else { return is_a() };
    let Ok(Query(How { full })) = how else {
        return (StatusCode::BAD_REQUEST, "full is true or false\n").into_response();
    };
    let Some((account, resource)) = job.rsplit_once('.') else {
        return is_a();
    };
    let Some(resource) = Resource::ALL.into_iter().find(|known| known.as_str() == resource) else {
        return is_a();
    };
    if let Some(why) = why_nobody_runs_it(&admin, account, resource) {
        return none(why);
    }
    let asked = tokio::select! {
        asked = admin.warehouse.request_job(account, resource, full) => asked.map_err(Problem::from),
        () = admin.clock.sleep(PATIENCE) => Err(Problem::Silent(PATIENCE)),
    };
    match asked {
        Ok(true) => {
            admin.reads.gathered.expire();
            if let Some(schedules) = &admin.schedules {
                schedules.woken.notify_one();
            }
            (StatusCode::ACCEPTED, Json(json!({ "job": job, "full": full }))).into_response()
        }
        Ok(false) => none(format!("{job} was never one of this warehouse")),
        Err(problem) => unavailable(&problem),
    }
}

/// A job that was one before has a row in the warehouse, where a request for it would wait for ever.
fn why_nobody_runs_it(admin: &Admin, account: &str, resource: Resource) -> Option<String> {
    admin.schedules.as_ref()?;
    let settings = admin.settings.borrow();
    let is_it = |plan: &Plan| plan.account == account && plan.resource == resource;
    if settings.plans.iter().any(is_it) {
        None
    } else if settings.accounts.iter().any(|known| known == account) {
        Some(format!(
            "jobs.{resource}.enabled is false in this daemon's configuration"
        ))
    } else {
        Some(format!(
            "this daemon's configuration has no account {account:?}, or has it switched off"
        ))
    }
}
