//! What can go wrong between here and the API.

use std::time::Duration;

use http::StatusCode;
use serde_json::Value;

use super::transport::{MAX_BODY, TransportError};

/// Why a call failed, after all the attempts that made sense.
///
/// No variant holds the API key, a request's query or body, or a piece of a broken answer; `message` is the API's own
/// word, shortened.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The base URL cannot be used.
    #[error("base URL {url}: {reason}")]
    BaseUrl {
        /// The URL, without user and password.
        url: String,
        /// What is wrong, and what to do.
        reason: &'static str,
    },
    /// The API key cannot be sent.
    #[error("the API key is empty or holds characters that no header can carry; copy it again from the dashboard")]
    ApiKey,
    /// The HTTP client cannot be built.
    #[error("cannot set up HTTP: {0}")]
    Setup(String),
    /// An argument cannot be made part of a request.
    #[error("{call}: {reason}")]
    Argument {
        /// Method and path.
        call: String,
        /// What is wrong.
        reason: String,
    },
    /// The API refuses the request as it is (400, 422 and other 4xx): asking again will not help.
    #[error("{call}: the API refused the request ({}): {message}", status.as_u16())]
    BadRequest {
        /// Method and path.
        call: String,
        /// The status the API answered with.
        status: StatusCode,
        /// The API's own message.
        message: String,
    },
    /// 401: the key is unknown, expired or revoked.
    #[error("{call}: the API does not accept the API key (401): {message}")]
    Unauthorized {
        /// Method and path.
        call: String,
        /// The API's own message.
        message: String,
    },
    /// 403: the key may not do this.
    #[error("{call}: the API key lacks the permission for this (403): {message}")]
    Forbidden {
        /// Method and path.
        call: String,
        /// The API's own message.
        message: String,
    },
    /// 404: there is no such thing, or no longer.
    #[error("{call}: not found (404): {message}")]
    NotFound {
        /// Method and path.
        call: String,
        /// The API's own message.
        message: String,
    },
    /// 410: it existed and is gone.
    #[error("{call}: gone (410): {message}")]
    Gone {
        /// Method and path.
        call: String,
        /// The API's own message.
        message: String,
    },
    /// 429, again and again: something else uses up the key's limit.
    #[error(
        "{call}: over the rate limit (429) {attempts} times in a row; another program may be using the same key: \
         set a reserve or a plan for this account"
    )]
    RateLimited {
        /// Method and path.
        call: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// 5xx: the API failed, however often it was asked.
    #[error("{call}: the API failed ({}) after {attempts} attempt(s): {message}", status.as_u16())]
    Server {
        /// Method and path.
        call: String,
        /// The last status.
        status: StatusCode,
        /// The API's own message.
        message: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The API asks to be left alone for so long that nobody should wait for it (429 or 5xx with `Retry-After`).
    #[error(
        "{call}: the API asks to come back in {} (Retry-After); the next sync goes on from here ({})",
        roughly(*wait), status.as_u16()
    )]
    Postponed {
        /// Method and path.
        call: String,
        /// The status the API answered with.
        status: StatusCode,
        /// How long the API asks to be left alone.
        wait: Duration,
    },
    /// No answer, however often it was asked.
    #[error("{call}: {source} (after {attempts} attempt(s)); check the network and the base URL")]
    Transport {
        /// Method and path.
        call: String,
        /// What happened the last time.
        source: TransportError,
        /// How often it was tried.
        attempts: u32,
    },
    /// The answer is larger than [`MAX_BODY`](super::MAX_BODY): no page of a sensible size is.
    #[error(
        "{call}: the answer is larger than {} MiB; set a smaller page_size, or name the members needed in fields",
        MAX_BODY / 1024 / 1024
    )]
    TooLarge {
        /// Method and path.
        call: String,
    },
    /// 3xx: the API is elsewhere. Redirects are not followed, the key goes nowhere but to the base URL.
    #[error(
        "{call}: the API redirects to {}; correct base_url ({})",
        host.as_ref().map_or_else(|| "somewhere else".to_owned(), |host| format!("{host}…")), status.as_u16()
    )]
    Redirected {
        /// Method and path.
        call: String,
        /// The status the API answered with.
        status: StatusCode,
        /// Scheme, host and port of where it points to; `None` if it does not say, or not to a host.
        host: Option<String>,
    },
    /// An answer that claims success and is not what the guide describes: cut short, HTML, an error object, …
    #[error("{call}: the answer is not usable after {attempts} attempt(s): {reason}; if it goes on, check base_url")]
    InvalidBody {
        /// Method and path.
        call: String,
        /// What is wrong with it.
        reason: String,
        /// How often it was tried.
        attempts: u32,
    },
}

impl Error {
    /// Whether nothing at all can be done with this key: every further call would fail the same way.
    pub const fn stops_account(&self) -> bool {
        matches!(self, Self::Unauthorized { .. } | Self::Forbidden { .. })
    }

    /// Whether the API as a whole is not to be had now, whatever is asked for: no connection, a redirect elsewhere, or
    /// its word to come back later.
    pub const fn is_unreachable(&self) -> bool {
        match self {
            Self::Transport { source, .. } => source.never_sent(),
            Self::Redirected { .. } | Self::Postponed { .. } => true,
            _ => false,
        }
    }

    /// Whether the API says that the thing asked for does not exist (404, 410).
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Gone { .. })
    }

    /// Whether the API has no such endpoint, as far as its answer tells: 404, 405, 410, 415 or 501. Of something named by
    /// its id, a 404 may also mean that it is gone.
    pub const fn is_not_offered(&self) -> bool {
        match self {
            Self::BadRequest { status, .. } => matches!(
                *status,
                StatusCode::METHOD_NOT_ALLOWED | StatusCode::UNSUPPORTED_MEDIA_TYPE
            ),
            Self::Server { status, .. } => matches!(*status, StatusCode::NOT_IMPLEMENTED),
            _ => self.is_not_found(),
        }
    }

    /// The error for a final answer that is not a success.
    pub(super) fn from_status(call: String, status: StatusCode, message: String, attempts: u32) -> Self {
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthorized { call, message },
            StatusCode::FORBIDDEN => Self::Forbidden { call, message },
            StatusCode::NOT_FOUND => Self::NotFound { call, message },
            StatusCode::GONE => Self::Gone { call, message },
            StatusCode::TOO_MANY_REQUESTS => Self::RateLimited { call, attempts },
            status if status.is_server_error() => Self::Server {
                call,
                status,
                message,
                attempts,
            },
            status => Self::BadRequest { call, status, message },
        }
    }
}

/// A long time, for people; rounded up.
fn roughly(wait: Duration) -> String {
    let minutes = wait.as_secs().div_ceil(60);
    match minutes {
        0..120 => format!("{minutes} min"),
        120..2880 => format!("{} h", minutes.div_ceil(60)),
        _ => format!("{} days", minutes.div_ceil(24 * 60)),
    }
}

/// The longest message taken over from the API, in characters.
const LONGEST_MESSAGE: usize = 300;

/// The API's own message in an error answer: the guide promises "descriptive messages" and no shape, so the usual
/// ones are tried. The `secrets` are struck out should the server echo them, and so are addresses and telephone numbers: a
/// message ends up in logs and in the journal of runs.
pub(super) fn api_message(body: &[u8], secrets: &[&str]) -> String {
    let message = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|body| message_in(&body));
    let Some(mut message) = message else {
        return "it gave no reason".to_owned();
    };
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        message = message.replace(secret, "[key]");
    }
    tidy(&message)
}

fn message_in(body: &Value) -> Option<String> {
    match body {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Array(items) => {
            let messages: Vec<String> = items.iter().take(5).filter_map(message_in).collect();
            (!messages.is_empty()).then(|| messages.join("; "))
        }
        Value::Object(members) => ["error", "message", "errors", "detail", "title", "error_description"]
            .iter()
            .filter_map(|name| members.get(*name))
            .find_map(message_in),
        _ => None,
    }
}

/// One line, no control characters, nobody's address or number, not too long.
fn tidy(message: &str) -> String {
    let words = message.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let mut tidy = Vec::with_capacity(words.len());
    // A number may be written as several words.
    for group in words.chunk_by(|one, next| is_of_a_number(one) && is_of_a_number(next)) {
        match group {
            [word] if word.contains('@') => tidy.push("[address]"),
            number if is_telephone_number(number) => tidy.push("[number]"),
            words => tidy.extend(words),
        }
    }
    let mut tidy = tidy.join(" ");
    if let Some((end, _)) = tidy.char_indices().nth(LONGEST_MESSAGE) {
        tidy.truncate(end);
        tidy.push('…');
    }
    tidy
}

/// Whether the word may be a part of a telephone number.
fn is_of_a_number(word: &str) -> bool {
    word.contains(|c: char| c.is_ascii_digit())
        && word.chars().all(|c| c.is_ascii_digit() || "+-./(),;:!?'\"".contains(c))
}

/// Whether the words are a telephone number: seven digits or more, that begin as one does or are many in a row.
fn is_telephone_number(words: &[&str]) -> bool {
    let digits = |word: &str| word.bytes().filter(u8::is_ascii_digit).count();
    let starts_as_one = words[0].trim_start_matches(['(', '"', '\'']).starts_with(['+', '0']);
    let is_long = words.iter().any(|word| digits(word) >= 9 && !word.contains(':'));
    let all: usize = words.iter().map(|word| digits(word)).sum();
    words.iter().all(|word| is_of_a_number(word)) && all >= 7 && (starts_as_one || is_long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_is_found_in_every_usual_shape() {
        for body in [
            r#"{"error":"bad limit"}"#,
            r#"{"error":{"code":"invalid","message":"bad limit"}}"#,
            r#"{"message":"bad limit"}"#,
            r#"{"errors":["bad limit"]}"#,
            r#"{"errors":[{"field":"limit","message":"bad limit"}]}"#,
            r#"{"detail":"bad\n\tlimit"}"#,
        ] {
            assert_eq!(api_message(body.as_bytes(), &["k"]), "bad limit", "{body}");
        }
        assert_eq!(api_message(b"<html>", &["k"]), "it gave no reason");
    }

    #[test]
    fn a_message_names_nobody_by_address_or_number() {
        for (said, told) in [
            (
                "contact <ion.popescu@exemplu.ro> +40722123456 is locked",
                "contact [address] [number] is locked",
            ),
            ("0722 123 456, please", "[number] please"),
            ("(0722) 123-456: taken", "[number] taken"),
            ("40722123456 is known", "[number] is known"),
            (
                "limit 1000 of 2026-01-19 10:30:00, retry in 30",
                "limit 1000 of 2026-01-19 10:30:00, retry in 30",
            ),
            ("con_0000000000030cdb is gone", "con_0000000000030cdb is gone"),
        ] {
            let body = serde_json::json!({ "error": said }).to_string();
            assert_eq!(api_message(body.as_bytes(), &["a-key"]), told);
        }
    }

    #[test]
    fn the_message_is_short_and_never_holds_the_key() {
        let body = format!(r#"{{"message":"key sk_secret hush {}"}}"#, "x".repeat(1000));
        let message = api_message(body.as_bytes(), &["sk_secret", "hush", ""]);
        assert!(message.starts_with("key [key] [key] xxx"), "{message}");
        assert_eq!(message.chars().count(), LONGEST_MESSAGE + 1);
    }
}
