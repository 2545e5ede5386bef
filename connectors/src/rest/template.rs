//! Texts and JSON trees with `{{ expressions }}` in them.
//!
//! An expression is minijinja's, with its filters. What it yields is put where it stands as a value: the caller encodes it, as
//! a segment of a path, a parameter, a header or a JSON value, so that no value can become more than that. A text which is one
//! expression and nothing else keeps the type of its value; if that is undefined or none, it is left out.

use std::sync::LazyLock;

use minijinja::value::ValueKind;
use minijinja::{Environment, ErrorKind, Expression, UndefinedBehavior, Value};
use serde_json::{Map, Value as Json};

use super::refused;
use crate::error::Error;
use crate::sql::nearest;

/// One for all: expressions that are kept point to it.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.add_filter("quoted", |text: &str| format!("'{}'", text.replace('\'', "''")));
    environment
});

/// A text with expressions in it.
#[derive(Debug)]
pub(super) struct Text {
    key: String,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Literal(String),
    Value {
        expression: Expression<'static, 'static>,
        source: String,
    },
}

impl Text {
    /// Reads a text of the configuration, found at `key`, whose expressions may use the `known` variables.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] with the key, and the column of what is wrong.
    pub(super) fn compile(key: &str, source: &str, known: &[&str]) -> Result<Self, Error> {
        let wrong = |at: usize, message: &str| {
            let column = source[..at].chars().count() + 1;
            refused(key, format!("column {column}: {message}"))
        };
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(open) = source[at..].find('{').map(|found| at + found) {
            match source.as_bytes().get(open + 1) {
                Some(b'{') => {}
                Some(b'%' | b'#') => {
                    let remedy = "only {{ expression }} is understood here, such as {{ a if b else c }}";
                    return Err(wrong(open, remedy));
                }
                _ => {
                    push(&mut parts, &source[at..=open]);
                    at = open + 1;
                    continue;
                }
            }
            let close = end_of_expression(source, open + 2).ok_or_else(|| wrong(open, "{{ has no }} that ends it"))?;
            push(&mut parts, &source[at..open]);
            let inner = source[open + 2..close].trim();
            let expression = ENVIRONMENT
                .compile_expression_owned(inner.to_owned())
                .map_err(|error| {
                    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
                    wrong(open, &format!("{}{detail}", error.kind()))
                })?;
            // Filters are looked up when they are used; without values, it comes as far as the first branch.
            if let Err(error) = expression.eval(())
                && matches!(
                    error.kind(),
                    ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction
                )
            {
                let detail = error.detail().unwrap_or_default().to_owned();
                return Err(wrong(open, &format!("{}: {detail}", error.kind())));
            }
            let mut unknown: Vec<String> = expression
                .undeclared_variables(true)
                .iter()
                .map(|path| named(path).to_owned())
                .filter(|name| !known.contains(&name.as_str()))
                .collect();
            unknown.sort();
            if let Some(name) = unknown.first() {
                let remedy = nearest(name, known.iter().copied()).map_or_else(
                    || format!("there are {}", known.join(", ")),
                    |near| format!("did you mean {near}?"),
                );
                return Err(wrong(open, &format!("there is no {name} here; {remedy}")));
            }
            parts.push(Part::Value {
                expression,
                source: inner.to_owned(),
            });
            at = close + 2;
        }
        push(&mut parts, &source[at..]);
        Ok(Self {
            key: key.to_owned(),
            parts,
        })
    }

    /// Splits a path into its segments, at the slashes that stand outside of expressions.
    pub(super) fn segments(key: &str, source: &str, known: &[&str]) -> Result<Vec<Self>, Error> {
        let mut segments = Vec::new();
        let (mut start, mut at) = (0, 0);
        while let Some(found) = source[at..].find(['/', '{']).map(|found| at + found) {
            if source[found..].starts_with("{{") {
                at = end_of_expression(source, found + 2).unwrap_or(source.len());
                continue;
            }
            if source[found..].starts_with('/') {
                segments.push(&source[start..found]);
                start = found + 1;
            }
            at = found + 1;
        }
        segments.push(&source[start..]);
        // The slash at the beginning says nothing: all paths are below the URL.
        if segments.first() == Some(&"") {
            segments.remove(0);
        }
        if segments.iter().any(|segment| matches!(*segment, "." | "..")) || source.contains(['?', '#']) {
            return Err(refused(
                key,
                "it has a . or .. segment, a ? or a #; parameters go to query",
            ));
        }
        segments
            .into_iter()
            .map(|segment| Self::compile(key, segment, known))
            .collect()
    }

    /// Whether a variable is used in it.
    pub(super) fn uses(&self, name: &str) -> bool {
        self.parts.iter().any(|part| match part {
            Part::Literal(_) => false,
            Part::Value { expression, .. } => expression.undeclared_variables(false).contains(name),
        })
    }

    /// Whether it has expressions at all.
    pub(super) fn varies(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Value { .. }))
    }

    /// The text; `None` if it is one expression, without a value.
    pub(super) fn text(&self, context: &Value) -> Result<Option<String>, Error> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Value { expression, source } => {
                    let value = self.evaluated(expression, context)?;
                    match value.kind() {
                        ValueKind::Undefined | ValueKind::None if self.parts.len() == 1 => return Ok(None),
                        ValueKind::Undefined | ValueKind::None => {
                            return Err(refused(&self.key, format!("{{{{ {source} }}}} has no value")));
                        }
                        ValueKind::String | ValueKind::Number | ValueKind::Bool => text.push_str(&value.to_string()),
                        _ => {
                            let message = format!("{{{{ {source} }}}} is a list or a table, not a text");
                            return Err(refused(&self.key, message));
                        }
                    }
                }
            }
        }
        Ok(Some(text))
    }

    /// The JSON value; `None` if it is one expression, without a value.
    fn json(&self, context: &Value) -> Result<Option<Json>, Error> {
        let [Part::Value { expression, .. }] = self.parts.as_slice() else {
            return Ok(self.text(context)?.map(Json::String));
        };
        let value = self.evaluated(expression, context)?;
        if value.is_undefined() || value.is_none() {
            return Ok(None);
        }
        serde_json::to_value(&value)
            .map(Some)
            .map_err(|_| refused(&self.key, "its value cannot be written as JSON"))
    }

    fn evaluated(&self, expression: &Expression<'static, 'static>, context: &Value) -> Result<Value, Error> {
        // The detail may quote a value.
        expression
            .eval(context.clone())
            .map_err(|error| refused(&self.key, error.kind().to_string()))
    }
}

/// What of a path such as `vars.company.code` has to be known: of our own values the name, of others the variable.
fn named(path: &str) -> &str {
    let depth = if path.starts_with("vars.") { 2 } else { 1 };
    let end = path.match_indices('.').nth(depth - 1).map_or(path.len(), |(at, _)| at);
    &path[..end]
}

fn push(parts: &mut Vec<Part>, literal: &str) {
    match parts.last_mut() {
        _ if literal.is_empty() => {}
        Some(Part::Literal(before)) => before.push_str(literal),
        _ => parts.push(Part::Literal(literal.to_owned())),
    }
}

/// Where the `}}` is that ends an expression, from `start` on: not one within a string or a table.
fn end_of_expression(source: &str, start: usize) -> Option<usize> {
    let (mut quote, mut escaped, mut depth) = (None, false, 0_usize);
    let bytes = source.as_bytes();
    for (at, &byte) in bytes.iter().enumerate().skip(start) {
        if let Some(open) = quote {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                _ if byte == open => quote = None,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' | b'\'' => quote = Some(byte),
            b'{' => depth += 1,
            b'}' if depth > 0 => depth -= 1,
            b'}' if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            _ => {}
        }
    }
    None
}

/// A JSON tree whose texts are templates.
#[derive(Debug)]
pub(super) enum Tree {
    Text(Text),
    Fixed(Json),
    List(Vec<Self>),
    Table(Vec<(String, Self)>),
}

impl Tree {
    pub(super) fn compile(key: &str, source: &Json, known: &[&str]) -> Result<Self, Error> {
        Ok(match source {
            Json::String(text) => Self::Text(Text::compile(key, text, known)?),
            Json::Array(items) => {
                let items = items.iter().enumerate();
                let compiled = items.map(|(at, item)| Self::compile(&format!("{key}.{at}"), item, known));
                Self::List(compiled.collect::<Result<_, _>>()?)
            }
            Json::Object(table) => {
                let compiled = table
                    .iter()
                    .map(|(name, item)| Ok((name.clone(), Self::compile(&format!("{key}.{name}"), item, known)?)));
                Self::Table(compiled.collect::<Result<_, Error>>()?)
            }
            fixed => Self::Fixed(fixed.clone()),
        })
    }

    pub(super) fn uses(&self, name: &str) -> bool {
        match self {
            Self::Text(text) => text.uses(name),
            Self::Fixed(_) => false,
            Self::List(items) => items.iter().any(|item| item.uses(name)),
            Self::Table(items) => items.iter().any(|(_, item)| item.uses(name)),
        }
    }

    /// The JSON, without what has no value.
    pub(super) fn json(&self, context: &Value) -> Result<Option<Json>, Error> {
        Ok(match self {
            Self::Text(text) => text.json(context)?,
            Self::Fixed(fixed) => Some(fixed.clone()),
            Self::List(items) => {
                let mut list = Vec::new();
                for item in items {
                    list.extend(item.json(context)?);
                }
                Some(Json::Array(list))
            }
            Self::Table(items) => {
                let mut table = Map::new();
                for (name, item) in items {
                    if let Some(value) = item.json(context)? {
                        table.insert(name.clone(), value);
                    }
                }
                Some(Json::Object(table))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use minijinja::context;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn text(source: &str, context: &Value) -> Option<String> {
        Text::compile("query.q", source, &["sku", "skus", "fields"])
            .unwrap()
            .text(context)
            .unwrap()
    }

    fn problem(source: &str) -> String {
        Text::compile("query.q", source, &["sku", "skus", "fields"])
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn expressions_are_put_in_and_what_has_no_value_is_left_out() {
        let context = context! { sku => "A}}'\"", skus => ["a", "b"], fields => context! { n => 5, none => () } };
        let text = |source| text(source, &context);
        assert_eq!(text("x {y} {{ sku }}!").as_deref(), Some("x {y} A}}'\"!"));
        assert_eq!(text("{{ skus | join(',') }}").as_deref(), Some("a,b"));
        assert_eq!(text("{{ '}}' ~ {'a': {'b': 1}}.a.b }}").as_deref(), Some("}}1"));
        assert_eq!(text("{{ sku | quoted }}").as_deref(), Some("'A}}''\"'"));
        assert_eq!(text("{{ fields.n if sku else 1 }}").as_deref(), Some("5"));
        assert_eq!(text("{{ fields.missing.more }}"), None);
        assert_eq!(text("{{ fields.none }}"), None);
        assert_eq!(text("").as_deref(), Some(""));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_key_and_column() {
        assert!(problem("é {{ sku").contains("query.q: column 3: {{ has no }}"));
        assert!(problem("{{ skuu }}").contains("column 1: there is no skuu here; did you mean sku?"));
        assert!(problem("{{ sku | nofilter }}").contains("column 1"));
        assert!(problem("{{ sku + }}").contains("column 1: syntax error"));
        assert!(problem("a{% if sku %}").contains("column 2: only {{ expression }}"));
        let mixed = Text::compile("query.q", "x={{ fields.n }}", &["fields"]).unwrap();
        let error = mixed.text(&context! { fields => context! {} }).unwrap_err();
        assert!(error.to_string().contains("{{ fields.n }} has no value"), "{error}");
        let list = Text::compile("query.q", "{{ fields }}", &["fields"]).unwrap();
        assert!(list.text(&context! { fields => [1] }).is_err());
    }

    #[test]
    fn own_values_are_known_by_name() {
        let known = ["vars", "vars.database", "fields"];
        Text::compile("body", "{{ vars.database }}{{ fields.a.b }}", &known).unwrap();
        let error = Text::compile("body", "{{ vars.databse.x }}", &known)
            .unwrap_err()
            .to_string();
        assert!(error.contains("did you mean vars.database?"), "{error}");
    }

    #[test]
    fn a_path_is_split_before_values_are_put_in() {
        let segments = Text::segments("path", "/items/{{ sku ~ '/' }}/stock-{{ sku }}", &["sku"]).unwrap();
        let context = context! { sku => "a/../b" };
        let texts: Vec<_> = segments
            .iter()
            .map(|one| one.text(&context).unwrap().unwrap())
            .collect();
        assert_eq!(texts, ["items", "a/../b/", "stock-a/../b"]);
        for wrong in ["a/../b", "./a", "a?b=c", "a#b"] {
            assert!(Text::segments("path", wrong, &[]).is_err(), "{wrong}");
        }
        assert_eq!(
            Text::segments("path", "a/", &[]).unwrap().len(),
            2,
            "the slash at the end stays"
        );
    }

    #[test]
    fn a_leaf_that_is_one_expression_keeps_its_type() {
        let source = json!({"list": "{{ skus }}", "one": ["{{ skus[0] }}", "{{ fields.missing }}"], "n": "{{ fields.n }}",
            "text": "n={{ fields.n }}", "all": "{{ fields }}", "fixed": 7, "gone": "{{ sku }}"});
        let tree = Tree::compile("body", &source, &["sku", "skus", "fields"]).unwrap();
        assert!(tree.uses("skus") && !tree.uses("words"));
        let fields = json!({"n": 12.5, "flag": true, "none": null});
        let context = context! { skus => ["{{ a }}", "\"b"], fields => Value::from(minijinja::value::Serde(&fields)) };
        assert_eq!(
            tree.json(&context).unwrap().unwrap(),
            json!({"list": ["{{ a }}", "\"b"], "one": ["{{ a }}"], "n": 12.5, "text": "n=12.5", "all": fields, "fixed": 7})
        );
        let error = Tree::compile("body", &json!({"a": [{"b": "{{ x }}"}]}), &["sku"]).unwrap_err();
        assert!(error.to_string().contains("body.a.0.b"), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(source in "[{}%#'\"a-z /.|]{0,30}") {
            let _ = Text::compile("key", &source, &["a"]);
            let _ = Text::segments("key", &source, &["a"]);
        }

        /// A value comes out of a body as it went in, whatever it is.
        #[test]
        fn a_value_stays_a_value(sku in ".{0,40}") {
            let tree = Tree::compile("body", &json!({"a": {"b": "{{ sku }}", "c": "x{{ sku }}"}}), &["sku"]).unwrap();
            let body = tree.json(&context! { sku => sku.clone() }).unwrap().unwrap();
            prop_assert_eq!(body, json!({"a": {"b": sku.clone(), "c": format!("x{sku}")}}));
        }
    }
}
