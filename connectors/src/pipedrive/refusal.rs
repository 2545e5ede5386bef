//! Pipedrive's format of errors.
//!
//! Its messages are for people and may quote values, so that of one only what stands where a field's name does is told on; who
//! knows the fields keeps it only if it is one.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::SYSTEM;
use crate::error::Error;
use crate::http::Refusal;

/// How many of the day's tokens are left.
pub(super) const TOKENS_LEFT: &str = "x-daily-ratelimit-token-remaining";
/// When to ask again after the day's tokens are spent; the day ends at midnight where the account is.
pub(super) const DAILY: Duration = Duration::from_mins(15);

/// A field's name as it stands in a path (`custom_fields.<key>`, `emails.0.value`).
fn field_of(path: &str) -> Option<String> {
    let mut parts = path
        .split('.')
        .filter(|part| !matches!(*part, "custom_fields" | "body"));
    let name = match parts.next()? {
        "emails" => "email",
        "phones" => "phone",
        name => name,
    };
    let is_name =
        (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then(|| name.to_owned())
}

/// The field that an error may be about.
fn field(body: &Value) -> Option<String> {
    let mut details = ["data", "errors"]
        .into_iter()
        .filter_map(|key| body[key].as_array())
        .flatten();
    let told = details.find_map(|detail| {
        let path = match &detail["path"] {
            Value::Array(parts) => parts.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("."),
            other => other.as_str().or(detail["field"].as_str())?.to_owned(),
        };
        field_of(&path)
    });
    told.or_else(|| {
        // "Validation failed: name: must not be empty"
        let message = body["error"].as_str()?;
        let (_, rest) = message.split_once(": ")?;
        let (path, _) = rest.split_once([':', ' '])?;
        field_of(path)
    })
}

fn pause(refusal: &Refusal<'_>) -> Duration {
    let header = |name: &str| refusal.headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    if header(TOKENS_LEFT).is_some_and(|left| left <= 0.0) {
        return DAILY;
    }
    let reset = header("x-ratelimit-reset").and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    refusal.retry_after.max(reset).unwrap_or(Duration::from_secs(2))
}

/// What an answer that is not a success means.
pub(super) fn explain(refusal: &Refusal<'_>) -> Option<Error> {
    let body: Value = serde_json::from_slice(refusal.body).unwrap_or_default();
    match refusal.status {
        StatusCode::TOO_MANY_REQUESTS => Some(Error::RateLimited {
            system: SYSTEM,
            retry_after: Some(pause(refusal)),
        }),
        StatusCode::PAYMENT_REQUIRED => Some(Error::Forbidden {
            system: SYSTEM,
            doing: refusal.doing.to_owned(),
            message: "the account is not paid for".to_owned(),
        }),
        StatusCode::FORBIDDEN => {
            let is_capped = body["code"]
                .as_str()
                .is_some_and(|code| code.starts_with("feature_capping"));
            is_capped.then(|| Error::Forbidden {
                system: SYSTEM,
                doing: refusal.doing.to_owned(),
                message: "the plan's limit of such records is reached".to_owned(),
            })
        }
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Some(invalid(&body, refusal.doing)),
        _ => None,
    }
}

/// That something is not valid.
pub(super) fn invalid(body: &Value, doing: &str) -> Error {
    Error::Rejected {
        system: SYSTEM,
        field: field(body),
        message: format!("it is not valid to {doing}"),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use serde_json::json;

    use super::*;

    fn explained(status: u16, headers: &[(&'static str, &'static str)], body: &Value) -> Option<Error> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        explain(&Refusal {
            doing: "create persons",
            status: StatusCode::from_u16(status).unwrap(),
            headers: &map,
            retry_after: None,
            body: body.to_string().as_bytes(),
        })
    }

    #[test]
    fn a_field_is_found_wherever_it_stands_and_a_value_is_not_told() {
        for (body, wanted) in [
            (
                json!({"error": "Validation failed: name: \"ana\" is no name"}),
                Some("name"),
            ),
            (
                json!({"error": "Validation failed: emails.0.value: ana"}),
                Some("email"),
            ),
            (
                json!({"error": "Validation failed: custom_fields.00aa: ana"}),
                Some("00aa"),
            ),
            (
                json!({"error": "Bad", "data": [{"path": ["value", "amount"], "message": "ana"}]}),
                Some("value"),
            ),
            (json!({"error": "no idea"}), None),
            (json!({"error": "Bad: ana@x.ro: no"}), None),
            (json!(null), None),
        ] {
            let error = explained(400, &[], &body).unwrap();
            assert!(
                matches!(&error, Error::Rejected { field, .. } if field.as_deref() == wanted),
                "{body}: {error:?}"
            );
            assert!(!error.to_string().contains("ana"), "{error}");
        }
    }

    #[test]
    fn limits_are_told_with_their_delays() {
        for (headers, seconds) in [
            (vec![], 2),
            (vec![("x-ratelimit-reset", "10")], 10),
            (vec![(TOKENS_LEFT, "0"), ("x-ratelimit-reset", "1")], 900),
            (vec![(TOKENS_LEFT, "17")], 2),
        ] {
            let error = explained(429, &headers, &json!({}));
            assert!(
                matches!(error, Some(Error::RateLimited { retry_after: Some(wait), .. }) if wait.as_secs() == seconds),
                "{headers:?}"
            );
        }
        let capped = explained(403, &[], &json!({"code": "feature_capping_deals_limit"})).unwrap();
        assert!(capped.to_string().contains("the plan's limit"), "{capped}");
        assert!(explained(403, &[], &json!({})).is_none());
    }
}
