//! What an endpoint answers.

use http::StatusCode;
use serde_json::json;

use crate::sandbox::faults::Fault;

/// A success: status and JSON.
#[derive(Debug)]
pub(in crate::sandbox) struct Reply {
    pub(in crate::sandbox) status: StatusCode,
    pub(in crate::sandbox) body: String,
}

/// An error, in the API's form `{"error": {"code", "message"}}`.
#[derive(Debug)]
pub(in crate::sandbox) struct Failure {
    pub(in crate::sandbox) status: StatusCode,
    code: &'static str,
    message: String,
    pub(in crate::sandbox) allow: Option<&'static str>,
}

impl Reply {
    pub(super) fn ok(body: String) -> Self {
        Self {
            status: StatusCode::OK,
            body,
        }
    }

    /// There is nothing more to say (204).
    pub(super) fn nothing() -> Self {
        Self {
            status: StatusCode::NO_CONTENT,
            body: String::new(),
        }
    }

    pub(super) fn created(body: String) -> Self {
        Self {
            status: StatusCode::CREATED,
            body,
        }
    }
}

impl Failure {
    fn new(status: StatusCode, code: &'static str, message: &str) -> Self {
        Self {
            status,
            code,
            message: message.to_owned(),
            allow: None,
        }
    }

    pub(super) fn invalid(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    pub(super) fn unauthorized(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    pub(super) fn forbidden(message: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    pub(super) fn not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn method(allowed: &'static str) -> Self {
        let message = format!("this endpoint allows {allowed} only");
        Self {
            allow: Some(allowed),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message)
        }
    }

    pub(super) fn conflict(message: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    pub(super) fn too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "payload_too_large",
            "the request body is larger than 1 MiB",
        )
    }

    pub(super) fn rate_limited() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "too many requests; wait until X-RateLimit-Reset",
        )
    }

    /// The failure a fault asks for; what is never answered at all has one too, for the log.
    pub(super) fn injected(fault: Option<Fault>) -> Self {
        let status = match fault {
            Some(Fault::Status(status)) => StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, "internal_error", "something went wrong on our side")
    }

    /// A 502 or 504 comes from a proxy in front of the API, which speaks HTML.
    fn by_proxy(&self) -> bool {
        matches!(self.status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT)
    }

    pub(super) fn content_type(&self) -> &'static str {
        if self.by_proxy() {
            "text/html"
        } else {
            "application/json; charset=utf-8"
        }
    }

    pub(super) fn body(&self) -> String {
        if self.by_proxy() {
            let title = self.status.to_string();
            return format!(
                "<html><head><title>{title}</title></head><body><center><h1>{title}</h1></center></body></html>"
            );
        }
        json!({"error": {"code": self.code, "message": self.message}}).to_string()
    }
}
