//! What is on stock, for whoever asks the daemon: its answers are shared by all of them.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use url::form_urlencoded;

use super::{Admin, refused};
use crate::stock::{Answer, Failure, MOST_SKUS, Report};

/// After how many seconds it is worth while to ask again.
const COME_AGAIN: u64 = 5;

/// `GET /api/v1/stock/{sku}`, with `?connector=NAME` of one connector: 404 if the SKU is not known, 503 if nothing is known of
/// it and the ERP does not answer.
pub(super) async fn one(State(admin): State<Admin>, uri: Uri, sku: Result<Path<String>, PathRejection>) -> Response {
    let Ok(Path(sku)) = sku else {
        return refused(StatusCode::BAD_REQUEST, "a SKU is UTF-8, percent-encoded");
    };
    let (_, connector) = asked(&uri);
    match admin.stocks().look_up(&[sku], connector.as_deref()).await {
        Ok(answers) => {
            let status = answers.first().map_or(StatusCode::NOT_FOUND, status);
            told(status, &answers)
        }
        Err(failure) => refused(StatusCode::NOT_FOUND, &failure.to_string()),
    }
}

/// `GET /api/v1/stock?sku=A&sku=B`: the same of several SKUs; 200 whatever is known of each.
pub(super) async fn several(State(admin): State<Admin>, uri: Uri) -> Response {
    let (skus, connector) = asked(&uri);
    if skus.is_empty() || skus.len() > MOST_SKUS {
        let text = format!("ask for 1 to {MOST_SKUS} SKUs: /api/v1/stock?sku=A&sku=B");
        return refused(StatusCode::BAD_REQUEST, &text);
    }
    match admin.stocks().look_up(&skus, connector.as_deref()).await {
        Ok(answers) => told(StatusCode::OK, &answers),
        Err(failure) => refused(StatusCode::NOT_FOUND, &failure.to_string()),
    }
}

/// The SKUs and the connector in a query.
fn asked(uri: &Uri) -> (Vec<String>, Option<String>) {
    let (mut skus, mut connector) = (Vec::new(), None);
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        match &*name {
            "sku" => skus.push(value.into_owned()),
            "connector" => connector = Some(value.into_owned()),
            _ => {}
        }
    }
    (skus, connector)
}

fn status(answer: &Answer) -> StatusCode {
    match &answer.figure {
        Ok(Some(_)) => StatusCode::OK,
        Ok(None) => StatusCode::NOT_FOUND,
        Err(failure) if failure.is_outage() => StatusCode::SERVICE_UNAVAILABLE,
        Err(Failure::Connector { error, .. }) if matches!(**error, allai_connectors::Error::Conflict { .. }) => {
            StatusCode::CONFLICT
        }
        Err(_) => StatusCode::BAD_GATEWAY,
    }
}

fn told(status: StatusCode, answers: &[Answer]) -> Response {
    let mut response = (status, Json(Report::from(answers))).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, COME_AGAIN.into());
    }
    response
}
