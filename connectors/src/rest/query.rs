//! JMESPath expressions, and the answers they are asked of.
//!
//! JMESPath's numbers are floats. Those of an answer that a float holds are numbers; the others, such as a decimal of 19 digits,
//! become texts before any expression sees them, so that what is read is what was written. Functions that compute by floats
//! are refused.

use std::sync::LazyLock;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use jmespath::ast::Ast;
use jmespath::{Context, ErrorReason, Rcvar, Runtime, RuntimeError, Variable};
use rust_decimal::Decimal;
use serde_json::value::RawValue;

use super::{SYSTEM, refused};
use crate::error::Error;
use crate::http::Answer;
use crate::lenient::decimal_of;
use crate::sql::{nearest, time_of};

/// JMESPath's own functions, but for those that compute, and `from_json(text)`: the JSON in a text, or what is no text as it is.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = Runtime::new();
    runtime.register_builtin_functions();
    for computes in COMPUTING {
        runtime.deregister_function(computes);
    }
    let from_json = |arguments: &[Rcvar], _: &mut Context<'_>| {
        Ok(match arguments {
            [one] => match one.as_string() {
                Some(text) => parsed(text.as_bytes()).unwrap_or(Rcvar::new(Variable::Null)),
                None => one.clone(),
            },
            _ => Rcvar::new(Variable::Null),
        })
    };
    runtime.register_function("from_json", Box::new(from_json));
    runtime
});

const COMPUTING: [&str; 5] = ["abs", "avg", "ceil", "floor", "sum"];

/// A JMESPath expression of the configuration.
#[derive(Debug)]
pub(super) struct Query {
    key: String,
    source: String,
    ast: Ast,
}

impl Query {
    /// Reads the expression found at `key`.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] with the key, and the place of what is wrong.
    pub(super) fn compile(key: &str, source: &str) -> Result<Self, Error> {
        let ast = jmespath::parse(source).map_err(|error| {
            let reason = error.reason.to_string();
            let reason = reason.strip_prefix("Parse error: ").unwrap_or(&reason);
            refused(
                key,
                format!("line {}, column {}: {reason}", error.line + 1, error.column + 1),
            )
        })?;
        let mut called = Vec::new();
        functions(&ast, &mut called);
        for name in called {
            if COMPUTING.contains(&name) {
                let message =
                    format!("{name}() computes by floats; map the figures as they are, they are added up here");
                return Err(refused(key, message));
            }
            if RUNTIME.get_function(name).is_none() {
                let remedy = nearest(name, FUNCTIONS.into_iter())
                    .map(|near| format!("; did you mean {near}?"))
                    .unwrap_or_default();
                return Err(refused(key, format!("there is no function {name}{remedy}")));
            }
        }
        Ok(Self {
            key: key.to_owned(),
            source: source.to_owned(),
            ast,
        })
    }

    /// The key of the configuration.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// What it finds; null if nothing.
    pub(super) fn find(&self, document: &Rcvar) -> Result<Rcvar, Error> {
        let mut context = Context::new(&self.source, &RUNTIME);
        jmespath::interpret(document, &self.ast, &mut context).map_err(|error| {
            let problem = match error.reason {
                ErrorReason::Runtime(RuntimeError::InvalidType { expected, actual, .. }) => {
                    format!("{} needs {expected} and finds {actual}", self.key)
                }
                _ => format!("{} cannot be asked of it", self.key),
            };
            Error::Unreadable {
                system: SYSTEM,
                expected: "what the configuration says",
                problem,
            }
        })
    }
}

/// What can be called.
const FUNCTIONS: [&str; 22] = [
    "contains",
    "ends_with",
    "from_json",
    "join",
    "keys",
    "length",
    "map",
    "max",
    "max_by",
    "merge",
    "min",
    "min_by",
    "not_null",
    "reverse",
    "sort",
    "sort_by",
    "starts_with",
    "to_array",
    "to_number",
    "to_string",
    "type",
    "values",
];

/// The names of all functions that are called.
fn functions<'a>(ast: &'a Ast, names: &mut Vec<&'a str>) {
    match ast {
        Ast::Function { name, args, .. } => {
            names.push(name);
            for argument in args {
                functions(argument, names);
            }
        }
        Ast::Comparison { lhs, rhs, .. }
        | Ast::Projection { lhs, rhs, .. }
        | Ast::And { lhs, rhs, .. }
        | Ast::Or { lhs, rhs, .. }
        | Ast::Subexpr { lhs, rhs, .. } => {
            functions(lhs, names);
            functions(rhs, names);
        }
        Ast::Condition { predicate, then, .. } => {
            functions(predicate, names);
            functions(then, names);
        }
        Ast::Expref { ast, .. } => functions(ast, names),
        Ast::Flatten { node, .. } | Ast::Not { node, .. } | Ast::ObjectValues { node, .. } => functions(node, names),
        Ast::MultiList { elements, .. } => elements.iter().for_each(|element| functions(element, names)),
        Ast::MultiHash { elements, .. } => elements.iter().for_each(|element| functions(&element.value, names)),
        Ast::Identity { .. } | Ast::Field { .. } | Ast::Index { .. } | Ast::Literal { .. } | Ast::Slice { .. } => {}
    }
}

/// The JSON of an answer, whatever type it says it has; else what is wrong with it, without quoting it.
pub(super) fn document(answer: &Answer) -> Result<Rcvar, Error> {
    let unreadable = |problem: String| Error::Unreadable {
        system: SYSTEM,
        expected: "JSON",
        problem,
    };
    let body = answer.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&answer.body);
    // Some write nothing at all for "done".
    if body.trim_ascii().is_empty() {
        return Ok(Rcvar::new(Variable::Null));
    }
    let text = Answer {
        headers: HeaderMap::new(),
        body: Bytes::copy_from_slice(body),
    };
    let raw: Box<RawValue> = text.json().map_err(unreadable)?;
    parsed(raw.get().as_bytes()).ok_or_else(|| unreadable("it is nested too deeply".to_owned()))
}

/// The JSON of a text, its numbers exact.
fn parsed(text: &[u8]) -> Option<Rcvar> {
    let valid: &RawValue = serde_json::from_slice(text).ok()?;
    Variable::from_json(&lifted(valid.get())).ok().map(Rcvar::new)
}

/// Valid JSON, in which numbers that no float holds have become texts.
fn lifted(json: &str) -> String {
    let mut lifted = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find(['"', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) {
        lifted.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = if rest.starts_with('"') {
            let (mut escaped, mut length) = (false, 1);
            for byte in rest.bytes().skip(1) {
                length += 1;
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'"' => break,
                    _ => {}
                }
            }
            length
        } else {
            rest.find(|c: char| !c.is_ascii_digit() && !matches!(c, '+' | '-' | '.' | 'e' | 'E'))
                .unwrap_or(rest.len())
        };
        let (token, after) = rest.split_at(length);
        let fits = token.starts_with('"') || is_exact(token);
        lifted.push_str(if fits { "" } else { "\"" });
        lifted.push_str(token);
        lifted.push_str(if fits { "" } else { "\"" });
        rest = after;
    }
    lifted.push_str(rest);
    lifted
}

/// Whether a number, read as JSON's numbers are and written again, is the same number.
fn is_exact(number: &str) -> bool {
    let read: Option<serde_json::Number> = serde_json::from_str(number).ok();
    let written = read.and_then(|read| decimal_of(&read.to_string()));
    written.is_some() && written == decimal_of(number)
}

/// The items that were found: a list, or one that is none.
pub(super) fn items(found: &Rcvar, key: &str) -> Result<Vec<Rcvar>, Error> {
    let problem = match &**found {
        Variable::Array(items) => return Ok(items.clone()),
        Variable::Object(_) => return Ok(vec![found.clone()]),
        Variable::Null => format!("{key} finds nothing; if that means none, let it end in  || `[]`"),
        _ => format!("{key} finds neither a list nor a table"),
    };
    Err(Error::Unreadable {
        system: SYSTEM,
        expected: "what the configuration says",
        problem,
    })
}

/// A text, or a number's digits; `None` if there is none, or only spaces.
pub(super) fn text(found: &Variable) -> Option<String> {
    let text = match found {
        Variable::String(text) => text.trim().to_owned(),
        Variable::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}

/// A number, also one written as a text.
pub(super) fn decimal(found: &Variable) -> Option<Decimal> {
    decimal_of(&text(found)?)
}

/// A time; one without a zone is taken to be UTC, a number to be seconds since 1970, or milliseconds.
pub(super) fn time(found: &Variable) -> Option<DateTime<Utc>> {
    match found {
        Variable::Number(number) => {
            let number = number.as_i64()?;
            if number.abs() < 100_000_000_000 {
                DateTime::from_timestamp(number, 0)
            } else {
                DateTime::from_timestamp_millis(number)
            }
        }
        other => time_of(&text(other)?),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(source: &str, json: &str) -> Rcvar {
        let answer = Answer {
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(json.as_bytes()),
        };
        Query::compile("items", source)
            .unwrap()
            .find(&document(&answer).unwrap())
            .unwrap()
    }

    #[test]
    fn numbers_are_exact_whatever_a_float_would_make_of_them() {
        for number in [
            "8999.10",
            "0.1",
            "0",
            "-2.50",
            "1e3",
            "1234567890123456789",
            "12345678901234567.89",
            "-9223372036854775808",
            "18446744073709551615",
            "123456789012345678901234567",
            "0.1000000000000000000000001",
            "2.5E-3",
        ] {
            let read = decimal(&found(
                "a[0].n",
                &format!("{{\"a\": [{{\"n\": {number}, \"t\": \"1\\\"2\"}}]}}"),
            ));
            assert_eq!(read, decimal_of(number), "{number}");
            assert!(read.is_some(), "{number}");
        }
        assert_eq!(decimal(&found("n", "{\"n\": 1e400}")), None);
    }

    #[test]
    fn ordinary_numbers_stay_numbers_for_filters() {
        let json = "{\"rows\": [{\"q\": 0.10}, {\"q\": 8999.10}, {\"q\": -1}]}";
        assert_eq!(found("rows[?q > `0`].q", json).as_array().map(Vec::len), Some(2));
    }

    #[test]
    fn json_is_read_whatever_is_around_it() {
        assert_eq!(text(&found("a", "\u{feff} {\"a\": \"x\"}\n")).as_deref(), Some("x"));
        assert_eq!(
            text(&found("from_json(r)[0].a", "{\"r\": \"[{\\\"a\\\": 5}]\"}")).as_deref(),
            Some("5")
        );
        assert_eq!(
            text(&found("from_json(r)[0].a", "{\"r\": [{\"a\": 6}]}")).as_deref(),
            Some("6")
        );
        assert!(found("@", "  ").is_null());
        for body in ["<html>", "{\"a\": 01}", "{\"a\": \"0722", "{\"a\": 1.2.3}"] {
            let answer = Answer {
                headers: HeaderMap::new(),
                body: Bytes::from(body),
            };
            let error = document(&answer).unwrap_err().to_string();
            assert!(!error.contains("0722"), "{error}");
        }
    }

    #[test]
    fn expressions_are_refused_with_their_place() {
        let problem = |source| Query::compile("stock.items", source).unwrap_err().to_string();
        assert!(
            problem("a.[").contains("stock.items: line 1, column"),
            "{}",
            problem("a.[")
        );
        assert!(problem("sum(rows[].q)").contains("computes by floats"));
        assert!(problem("rows[?contian(a, 'b')]").contains("did you mean contains?"));
        assert!(problem("{a: nope(b)}").contains("no function nope"));
    }

    #[test]
    fn what_was_found_is_judged() {
        assert_eq!(items(&found("a", "{\"a\": [1, 2]}"), "items").unwrap().len(), 2);
        assert_eq!(items(&found("a", "{\"a\": {}}"), "items").unwrap().len(), 1);
        let error = items(&found("b", "{}"), "stock.items").unwrap_err().to_string();
        assert!(error.contains("stock.items finds nothing"), "{error}");
        assert!(items(&found("a", "{\"a\": \"x\"}"), "items").is_err());
        let error = Query::compile("items", "join(',', a)")
            .unwrap()
            .find(&found("@", "{\"a\": 5}"));
        assert!(error.unwrap_err().to_string().contains("items needs"));
    }

    #[test]
    fn times_are_read_in_the_forms_there_are() {
        for json in [
            "\"2026-01-19T10:00:00Z\"",
            "1768816800",
            "1768816800000",
            "\"2026-01-19 10:00:00\"",
        ] {
            let read = time(&found("t", &format!("{{\"t\": {json}}}"))).unwrap();
            assert_eq!(read.to_rfc3339(), "2026-01-19T10:00:00+00:00", "{json}");
        }
    }

    proptest! {
        #[test]
        fn every_decimal_survives(mantissa in any::<i64>(), scale in 0_u32..20) {
            let number = Decimal::new(mantissa, scale);
            let read = decimal(&found("[0].a", &format!("[{{\"a\":{number}}}]")));
            prop_assert_eq!(read, Some(number));
        }

        #[test]
        fn texts_are_left_alone(words in ".{0,40}") {
            let json = serde_json::json!({"a": words.clone(), "n": 5}).to_string();
            let found = found("a", &json);
            prop_assert_eq!(found.as_string(), Some(&words));
        }
    }
}
