//! What templates have in common, wherever the configuration has them.

use minijinja::value::{Serde, Value as Rendered};
use minijinja::{Environment, Error, ErrorKind};
use serde_json::Value;

/// The expression that a template is, if it is one `{{ expression }}` and nothing else: its value is meant then, not its text.
pub(crate) fn sole_expression(source: &str) -> Option<&str> {
    let inner = source.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let is_one = !["{{", "}}", "{%", "{#"].iter().any(|mark| inner.contains(mark));
    is_one.then(|| inner.trim_matches(['-', '+']).trim())
}

/// What an expression gives.
pub(crate) fn evaluated(environment: &Environment<'static>, source: &str, context: &Value) -> Result<Value, Error> {
    let value = environment
        .compile_expression_owned(source.to_owned())?
        .eval(Rendered::from(Serde(context)))?;
    serde_json::to_value(value).map_err(|_| Error::new(ErrorKind::BadSerialization, "it gives no value"))
}
