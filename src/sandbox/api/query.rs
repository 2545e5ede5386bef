//! Query strings, paths and request bodies.

use serde_json::{Map, Value};
use url::form_urlencoded;

use super::{Call, Failure};

/// The parameters of a request.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

/// Which part of a list is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) offset: usize,
    /// As the server grants it.
    pub(super) limit: usize,
}

impl Query {
    pub(super) fn parse(query: &str) -> Self {
        Self(form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        Some(value)
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// The members asked for with `fields`; none is all.
    pub(super) fn fields(&self) -> Vec<String> {
        let fields = self.get("fields").unwrap_or_default();
        fields
            .split(',')
            .map(str::trim)
            .filter(|field| !field.is_empty())
            .map(str::to_owned)
            .collect()
    }
}

impl Call<'_> {
    /// `limit` and `offset`, checked and clamped.
    pub(super) fn span(&self) -> Result<Span, Failure> {
        let shape = &self.state.options.shape;
        let limit = match self.query.get("limit") {
            None => shape.default_limit.min(shape.max_limit),
            Some(text) => match text.parse::<u64>() {
                Ok(limit) if limit > 0 => u32::try_from(limit).unwrap_or(u32::MAX).min(shape.max_limit),
                _ => {
                    return Err(Failure::invalid(&format!(
                        "`limit` must be a positive integer, not `{text}`"
                    )));
                }
            },
        };
        let offset = match self.query.get("offset") {
            None => 0,
            Some(text) => text
                .parse()
                .map_err(|_| Failure::invalid(&format!("`offset` must be zero or a positive integer, not `{text}`")))?,
        };
        Ok(Span {
            offset,
            limit: limit as usize,
        })
    }

    /// The request's body, which must be a JSON object.
    pub(super) fn object(&self) -> Result<Map<String, Value>, Failure> {
        match serde_json::from_slice(self.body) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(_) => Err(Failure::invalid("the body must be a JSON object")),
            Err(error) => Err(Failure::invalid(&format!("the body is not valid JSON: {error}"))),
        }
    }
}

/// A member that is a text; absent and null are the same.
pub(super) fn text(object: &Map<String, Value>, name: &str) -> Result<Option<String>, Failure> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Failure::invalid(&format!("`{name}` must be a string"))),
    }
}

/// A member that is a text and must be there.
pub(super) fn required(object: &Map<String, Value>, name: &str) -> Result<String, Failure> {
    match text(object, name)? {
        Some(text) if !text.trim().is_empty() => Ok(text),
        _ => Err(Failure::invalid(&format!("`{name}` is required"))),
    }
}

/// A member that is an object; absent and null are the same.
pub(super) fn object(from: &Map<String, Value>, name: &str) -> Result<Option<Value>, Failure> {
    match from.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) if value.is_object() => Ok(Some(value.clone())),
        Some(_) => Err(Failure::invalid(&format!("`{name}` must be an object"))),
    }
}

/// An e-mail address, checked as far as a form would.
pub(super) fn email(from: &Map<String, Value>) -> Result<Option<String>, Failure> {
    let email = text(from, "email")?;
    if let Some(email) = &email {
        let good = email.split_once('@').is_some_and(|(local, host)| {
            !local.is_empty()
                && host.contains('.')
                && !host.starts_with('.')
                && !host.ends_with('.')
                && !host.contains('@')
        });
        if !good || email.chars().any(char::is_whitespace) {
            return Err(Failure::invalid("`email` is not a valid e-mail address"));
        }
    }
    Ok(email)
}

/// A segment of a path without its percent signs.
pub(super) fn decode(segment: &str) -> String {
    let safe = segment.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(safe.as_bytes())
        .map(|(name, _)| name.into_owned())
        .collect()
}
