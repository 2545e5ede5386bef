//! HubSpot's format of errors.
//!
//! Its messages are for people and quote values, so that of an error only what has the shape of a name is told: the category,
//! the code, the properties, the scopes.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::SYSTEM;
use crate::error::Error;
use crate::http::Refusal;

/// When to ask again after the daily limit; it ends at midnight where the account is, and may be raised before.
const DAILY: Duration = Duration::from_mins(15);

/// A text, if it can only be a name of the vendor's: no value of a contact has its shape by accident.
fn name(text: &str) -> Option<&str> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    ((1..=100).contains(&text.len()) && text.bytes().all(is_name)).then_some(text)
}

/// A name, or the first of a list of names.
fn first_name(value: &Value) -> Option<&str> {
    let first = value.as_array().and_then(|list| list.first()).unwrap_or(value);
    name(first.as_str()?)
}

/// What is wrong with the properties, as the message says it: `Property values were not valid: [{"name": …, "error": …}]`.
fn embedded(message: &str) -> Option<(String, Option<String>)> {
    let list = message.get(message.find("[{")?..=message.rfind("}]")? + 1)?;
    let list: Vec<Value> = serde_json::from_str(list).ok()?;
    let of = |key: &str| list.iter().find_map(|entry| name(entry[key].as_str()?));
    Some((of("name")?.to_owned(), of("error").map(str::to_owned)))
}

/// The property that an error is about, and what is wrong with it.
fn property(error: &Value) -> (Option<String>, Option<String>) {
    let details = || error["errors"].as_array().into_iter().flatten().chain([error]);
    if let Some((property, code)) = details().find_map(|detail| embedded(detail["message"].as_str()?)) {
        return (Some(property), code);
    }
    let property = details()
        .find_map(|detail| first_name(&detail["context"]["propertyName"]).or_else(|| first_name(&detail["in"])))
        .map(str::to_owned);
    let code = details().find_map(|detail| first_name(&detail["code"]));
    (property, code.map(str::to_owned))
}

/// The scopes that are missing.
fn scopes(error: &Value) -> Option<String> {
    let contexts = error["errors"].as_array().into_iter().flatten().chain([error]);
    let named = contexts
        .flat_map(|detail| {
            ["requiredGranularScopes", "missingScopes", "requiredScopes"].map(|key| &detail["context"][key])
        })
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(|scope| name(scope.as_str()?));
    let named: Vec<&str> = named.take(8).collect();
    (!named.is_empty()).then(|| named.join(" or "))
}

/// How long to wait, by the limit that was met.
fn pause(refusal: &Refusal<'_>, body: &Value) -> Duration {
    let interval = || {
        let header = refusal.headers.get("x-hubspot-ratelimit-interval-milliseconds")?;
        header.to_str().ok()?.parse().ok().map(Duration::from_millis)
    };
    refusal
        .retry_after
        .unwrap_or_else(|| match body["policyName"].as_str().unwrap_or_default() {
            "DAILY" => DAILY,
            "SECONDLY" => Duration::from_secs(1),
            _ => interval().unwrap_or(Duration::from_secs(10)),
        })
}

/// What an answer that is not a success means.
pub(super) fn explain(refusal: &Refusal<'_>) -> Option<Error> {
    let body: Value = serde_json::from_slice(refusal.body).unwrap_or_default();
    if refusal.status == StatusCode::TOO_MANY_REQUESTS {
        return Some(Error::RateLimited {
            system: SYSTEM,
            retry_after: Some(pause(refusal, &body)),
        });
    }
    let category = body["category"].as_str().and_then(name)?;
    match refusal.status {
        StatusCode::UNAUTHORIZED => Some(Error::Auth {
            system: SYSTEM,
            message: category.to_owned(),
            remedy: "token",
        }),
        StatusCode::FORBIDDEN => Some(Error::Forbidden {
            system: SYSTEM,
            doing: refusal.doing.to_owned(),
            message: scopes(&body).map_or_else(|| category.to_owned(), |scopes| format!("the token lacks {scopes}")),
        }),
        StatusCode::BAD_REQUEST | StatusCode::CONFLICT => Some(of_category(&body, category, refusal.doing)),
        _ => None,
    }
}

/// What one of the errors of a batch means (207).
pub(super) fn of_batch(error: &Value, doing: &str) -> Error {
    let category = error["category"].as_str().and_then(name).unwrap_or("an error");
    of_category(error, category, doing)
}

fn of_category(error: &Value, category: &str, doing: &str) -> Error {
    let (field, code) = property(error);
    match category {
        "CONFLICT" | "OBJECT_ALREADY_EXISTS" => Error::Conflict {
            system: SYSTEM,
            message: match field {
                Some(field) => format!("another record has this {field} already"),
                None => "another record has this e-mail address, or another unique value, already".to_owned(),
            },
        },
        "OBJECT_NOT_FOUND" => Error::NotFound {
            system: SYSTEM,
            what: format!("what was asked for to {doing}"),
        },
        _ => Error::Rejected {
            system: SYSTEM,
            field,
            message: code.map_or_else(|| category.to_owned(), |code| format!("{category}, {code}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use serde_json::json;

    use super::*;

    fn explained(status: u16, body: &Value) -> Option<Error> {
        explain(&Refusal {
            doing: "create contacts",
            status: StatusCode::from_u16(status).unwrap(),
            headers: &HeaderMap::new(),
            retry_after: None,
            body: body.to_string().as_bytes(),
        })
    }

    #[test]
    fn the_property_is_told_and_its_value_is_not() {
        let embedded = json!({"status": "error", "category": "VALIDATION_ERROR", "message":
            "Property values were not valid: [{\"isValid\":false,\"message\":\"Email address ana[x] is invalid\",\
             \"error\":\"INVALID_EMAIL\",\"name\":\"email\"}]"});
        let detailed = json!({"status": "error", "category": "VALIDATION_ERROR", "message": "no ana[x]",
            "errors": [{"message": "no ana[x]", "code": "INVALID_EMAIL", "context": {"propertyName": ["email"]}}]});
        for body in [embedded, detailed] {
            let error = explained(400, &body).unwrap();
            let shown = error.to_string();
            assert_eq!(shown, "hubspot refuses email: VALIDATION_ERROR, INVALID_EMAIL");
        }
        let broken = json!({"category": "VALIDATION_ERROR", "message": "not valid: [{\"name\": \"ana}]"});
        assert_eq!(
            explained(400, &broken).unwrap().to_string(),
            "hubspot refuses the request: VALIDATION_ERROR"
        );
        assert!(explained(400, &json!("ana")).is_none());
    }

    #[test]
    fn limits_scopes_and_conflicts_are_told_apart() {
        for (policy, seconds) in [("SECONDLY", 1), ("TEN_SECONDLY_ROLLING", 10), ("DAILY", 900), ("", 10)] {
            let error = explained(429, &json!({"errorType": "RATE_LIMIT", "policyName": policy}));
            assert!(
                matches!(error, Some(Error::RateLimited { retry_after: Some(wait), .. }) if wait.as_secs() == seconds),
                "{policy}"
            );
        }
        let lacking = json!({"category": "MISSING_SCOPES", "errors": [{"context":
            {"requiredGranularScopes": ["crm.objects.deals.write"]}}]});
        let error = explained(403, &lacking).unwrap().to_string();
        assert!(error.contains("the token lacks crm.objects.deals.write"), "{error}");
        let taken = json!({"category": "CONFLICT", "message": "Contact already exists. Existing ID: 7"});
        assert!(matches!(explained(409, &taken), Some(Error::Conflict { .. })));
    }
}
