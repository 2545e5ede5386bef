//! What in an answer means that it is an error, whatever its status.

use std::time::Duration;

use jmespath::Rcvar;

use super::config::{ErrorConfig, ErrorKind};
use super::query::{self, Query};
use super::{SYSTEM, refused};
use crate::error::Error;

/// The longest message that is passed on, in characters.
const LONGEST: usize = 200;

/// Rules, the first of which that holds counts.
#[derive(Debug)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    remedy: &'static str,
}

#[derive(Debug)]
struct Rule {
    when: Query,
    message: Option<Query>,
    like: Vec<String>,
    is: ErrorKind,
    wait: Option<Duration>,
}

/// What an answer is.
pub(super) enum Verdict {
    /// What was asked for.
    Fine,
    /// What was asked for is not there.
    NotThere(String),
}

/// What was asked, as far as a system might repeat it in what it says.
pub(super) struct Asked<'a> {
    pub(super) doing: &'a str,
    pub(super) texts: Vec<String>,
    pub(super) repeatable: bool,
}

impl Rules {
    pub(super) fn compile(configs: &[ErrorConfig], remedy: &'static str) -> Result<Self, Error> {
        let rule = |(at, config): (usize, &ErrorConfig)| {
            let key = format!("errors.{at}");
            if config.wait.is_some() && config.is != ErrorKind::RateLimited {
                return Err(refused(&format!("{key}.wait"), "only what is rate_limited has to wait"));
            }
            Ok(Rule {
                when: Query::compile(&format!("{key}.when"), &config.when)?,
                message: config
                    .message
                    .as_ref()
                    .map(|message| Query::compile(&format!("{key}.message"), message))
                    .transpose()?,
                like: config.like.iter().map(|like| like.to_lowercase()).collect(),
                is: config.is,
                wait: config.wait.map(|wait| wait.0),
            })
        };
        Ok(Self {
            rules: configs.iter().enumerate().map(rule).collect::<Result<_, _>>()?,
            remedy,
        })
    }

    /// Judges an answer.
    ///
    /// What the system says is passed on unless it holds something that was asked: that may be a contact's, and is not compared
    /// with `like`, else whoever asks for a SKU named "expired" would end the session.
    pub(super) fn judge(&self, document: &Rcvar, asked: &Asked<'_>) -> Result<Verdict, Error> {
        for rule in &self.rules {
            let found = rule.when.find(document)?;
            if !found.is_truthy() {
                continue;
            }
            let said = match &rule.message {
                Some(message) => query::text(&*message.find(document)?),
                None => query::text(&found),
            };
            let said = said.unwrap_or_default();
            let mut compared = said.to_lowercase();
            let mut quotes = false;
            for text in &asked.texts {
                quotes |= compared.contains(text);
                compared = compared.replace(text, " ");
            }
            if !rule.like.is_empty() && !rule.like.iter().any(|like| compared.contains(like)) {
                continue;
            }
            let message = match said.as_str() {
                "" => format!("{} holds", rule.when.key()),
                _ if quotes => format!("{} holds, and what it says repeats what was asked", rule.when.key()),
                said => said.chars().filter(|c| !c.is_control()).take(LONGEST).collect(),
            };
            return self.meaning(rule, message, asked);
        }
        Ok(Verdict::Fine)
    }

    fn meaning(&self, rule: &Rule, message: String, asked: &Asked<'_>) -> Result<Verdict, Error> {
        let system = SYSTEM;
        Err(match rule.is {
            ErrorKind::NotFound => return Ok(Verdict::NotThere(message)),
            ErrorKind::Auth => Error::Auth {
                system,
                message,
                remedy: self.remedy,
            },
            ErrorKind::Forbidden => Error::Forbidden {
                system,
                doing: asked.doing.to_owned(),
                message,
            },
            ErrorKind::RateLimited => Error::RateLimited {
                system,
                retry_after: rule.wait,
            },
            ErrorKind::Transient => Error::Transient {
                system,
                message: format!("fails to {}: {message}", asked.doing),
                may_have_happened: !asked.repeatable,
            },
            ErrorKind::Rejected => Error::Rejected {
                system,
                field: None,
                message,
            },
            ErrorKind::Conflict => Error::Conflict { system, message },
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;
    use serde_json::{Value, json};

    use super::*;
    use crate::http::Answer;

    fn judged(answer: &Value, asked: &[&str]) -> Result<Verdict, Error> {
        let configs = json!([
            {"when": "error", "like": ["Expired", "token"], "is": "auth"},
            {"when": "error.code == `429`", "is": "rate_limited", "wait": "10m"},
            {"when": "error", "message": "error.text", "like": ["unknown"], "is": "not_found"},
            {"when": "error || errors", "message": "error.text", "is": "rejected"},
        ]);
        let configs: Vec<ErrorConfig> = serde_json::from_value(configs).unwrap();
        let answer = Answer {
            headers: HeaderMap::new(),
            body: Bytes::from(answer.to_string()),
        };
        let asked = Asked {
            doing: "read stock",
            texts: asked.iter().map(|text| (*text).to_owned()).collect(),
            repeatable: true,
        };
        let rules = Rules::compile(&configs, "token").unwrap();
        rules.judge(&query::document(&answer).unwrap(), &asked)
    }

    #[test]
    fn the_first_that_holds_counts() {
        assert!(matches!(judged(&json!({"error": null}), &[]), Ok(Verdict::Fine)));
        assert!(matches!(
            judged(&json!({"error": "", "errors": []}), &[]),
            Ok(Verdict::Fine)
        ));
        assert!(matches!(
            judged(&json!({"error": "The TOKEN has expired"}), &[]),
            Err(Error::Auth { .. })
        ));
        let limited = judged(&json!({"error": {"code": 429}}), &[]);
        assert!(matches!(limited, Err(Error::RateLimited { retry_after: Some(wait), .. }) if wait.as_secs() == 600));
        let missing = judged(&json!({"error": {"text": "unknown code"}}), &[]);
        assert!(matches!(missing, Ok(Verdict::NotThere(_))));
        assert!(matches!(
            judged(&json!({"errors": [1]}), &[]),
            Err(Error::Rejected { .. })
        ));
    }

    #[test]
    fn what_was_asked_is_neither_compared_nor_passed_on() {
        let error = judged(&json!({"error": "no expired-0722 here"}), &["expired-0722"]);
        let error = error.err().unwrap();
        assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
        assert!(!format!("{error:?}").contains("0722"), "{error:?}");
        let error = judged(&json!({"error": {"text": "bad\u{1} value"}}), &["x1x"])
            .err()
            .unwrap();
        assert!(error.to_string().contains("bad value"), "{error}");
    }
}
