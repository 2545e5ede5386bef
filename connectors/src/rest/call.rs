//! A request as the configuration describes it.

use std::collections::BTreeMap;

use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method};
use minijinja::Value;

use super::config::{OperationConfig, SessionConfig};
use super::refused;
use super::template::{Text, Tree};
use crate::error::Error;
use crate::http::Request;

/// Values that templates are given, by their names.
pub(super) type Values = Vec<(&'static str, Value)>;

/// A request whose parts are templates.
#[derive(Debug)]
pub(super) struct Call {
    doing: String,
    method: Method,
    path: Vec<Text>,
    query: Vec<(String, Text)>,
    headers: Headers,
    body: Body,
    content_type: Option<HeaderValue>,
    repeatable: bool,
}

/// Headers whose values are templates.
pub(super) type Headers = Vec<(HeaderName, Text)>;

#[derive(Debug)]
enum Body {
    None,
    Json(Tree),
    Form(Vec<(String, Text)>),
}

/// The parts of a request in the configuration.
pub(super) struct Parts<'a> {
    method: Option<&'a String>,
    path: Option<&'a String>,
    query: &'a BTreeMap<String, String>,
    headers: &'a BTreeMap<String, String>,
    body: Option<&'a serde_json::Value>,
    form: Option<&'a BTreeMap<String, String>>,
}

impl<'a> From<&'a OperationConfig> for Parts<'a> {
    fn from(config: &'a OperationConfig) -> Self {
        Self {
            method: config.method.as_ref(),
            path: config.path.as_ref(),
            query: &config.query,
            headers: &config.headers,
            body: config.body.as_ref(),
            form: config.form.as_ref(),
        }
    }
}

impl<'a> From<&'a SessionConfig> for Parts<'a> {
    fn from(config: &'a SessionConfig) -> Self {
        Self {
            method: config.method.as_ref(),
            path: config.path.as_ref(),
            query: &config.query,
            headers: &config.headers,
            body: config.body.as_ref(),
            form: config.form.as_ref(),
        }
    }
}

/// What a request is for, beside what the configuration says of it.
pub(super) struct Purpose<'a> {
    /// In errors and logs.
    pub(super) doing: &'a str,
    /// The method, if the configuration names none.
    pub(super) method: Option<Method>,
    /// Whether carrying it out twice does no harm, whatever its method.
    pub(super) reads: bool,
    /// The variables there are.
    pub(super) known: &'a [&'a str],
    /// The type that its body is said to have.
    pub(super) content_type: Option<&'a HeaderValue>,
}

impl Call {
    /// Reads the request found at `key`.
    pub(super) fn compile(key: &str, parts: &Parts<'_>, purpose: &Purpose<'_>) -> Result<Self, Error> {
        let at = |name: &str| format!("{key}.{name}");
        let known = purpose.known;
        let path = parts
            .path
            .ok_or_else(|| refused(&at("path"), "it is missing: the path below url"))?;
        let body = match (parts.body, parts.form) {
            (None, None) => Body::None,
            (Some(body), None) => Body::Json(Tree::compile(&at("body"), body, known)?),
            (None, Some(form)) => Body::Form(texts(&at("form"), form, known)?),
            (Some(_), Some(_)) => return Err(refused(&at("form"), "there is a body too; leave one out")),
        };
        let method = match parts.method {
            Some(method) => method_of(&at("method"), method)?,
            None => purpose.method.clone().unwrap_or(match body {
                Body::None => Method::GET,
                _ => Method::POST,
            }),
        };
        Ok(Self {
            doing: purpose.doing.to_owned(),
            repeatable: purpose.reads || method.is_idempotent(),
            method,
            path: Text::segments(&at("path"), path, known)?,
            query: texts(&at("query"), parts.query, known)?,
            headers: headers(&at("headers"), parts.headers, known)?,
            body,
            content_type: purpose.content_type.cloned(),
        })
    }

    /// Whether a variable is used anywhere in it.
    pub(super) fn uses(&self, name: &str) -> bool {
        self.path.iter().any(|segment| segment.uses(name))
            || self.query.iter().any(|(_, text)| text.uses(name))
            || self.headers.iter().any(|(_, text)| text.uses(name))
            || match &self.body {
                Body::None => false,
                Body::Json(tree) => tree.uses(name),
                Body::Form(fields) => fields.iter().any(|(_, text)| text.uses(name)),
            }
    }

    /// Whether what is asked for is in its path: then, "not found" is about that.
    pub(super) fn asks_by_path(&self) -> bool {
        self.path.iter().any(Text::varies)
    }

    /// What it is for.
    pub(super) fn doing(&self) -> &str {
        &self.doing
    }

    /// Whether a repetition is safe.
    pub(super) const fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    /// The request, with these values in it; each is encoded for where it stands.
    pub(super) fn request(&self, context: &Value) -> Result<Request, Error> {
        let mut segments = Vec::new();
        for segment in &self.path {
            let text = segment.text(context)?.unwrap_or_default();
            // URLs have no way to write these two as names.
            if matches!(text.as_str(), "." | "..") || (text.is_empty() && segment.varies()) {
                return Err(nameless());
            }
            segments.push(text);
        }
        let mut request = Request::new(self.method.clone(), &self.doing)
            .path(segments)
            .repeatable(self.repeatable);
        for (name, text) in &self.query {
            if let Some(value) = text.text(context)? {
                request = request.query(name, value);
            }
        }
        request = match &self.body {
            Body::None => request,
            Body::Json(tree) => request.json(&tree.json(context)?.unwrap_or(serde_json::Value::Null)),
            Body::Form(fields) => {
                let mut pairs = Vec::new();
                for (name, text) in fields {
                    pairs.extend(text.text(context)?.map(|value| (name.as_str(), value)));
                }
                let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
                request.form(&pairs)
            }
        };
        if let (Body::Json(_), Some(content_type)) = (&self.body, &self.content_type) {
            request = request.header(CONTENT_TYPE, content_type.clone());
        }
        with_headers(request, &self.headers, context)
    }
}

/// What no path can ask for: there is no such thing.
fn nameless() -> Error {
    Error::NotFound {
        system: super::SYSTEM,
        what: "name that is empty, . or .. in a path".to_owned(),
    }
}

/// Adds headers; one without a value is left out.
pub(super) fn with_headers(mut request: Request, headers: &Headers, context: &Value) -> Result<Request, Error> {
    for (name, text) in headers {
        if let Some(value) = text.text(context)? {
            let value = HeaderValue::try_from(value)
                .map_err(|_| refused(name.as_str(), "its value holds characters that no header can"))?;
            request = request.header(name.clone(), value);
        }
    }
    Ok(request)
}

fn method_of(key: &str, method: &str) -> Result<Method, Error> {
    let known = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    known
        .into_iter()
        .find(|known| known.as_str().eq_ignore_ascii_case(method))
        .ok_or_else(|| refused(key, "it is none of GET, POST, PUT, PATCH and DELETE"))
}

fn texts(key: &str, of: &BTreeMap<String, String>, known: &[&str]) -> Result<Vec<(String, Text)>, Error> {
    of.iter()
        .map(|(name, source)| Ok((name.clone(), Text::compile(&format!("{key}.{name}"), source, known)?)))
        .collect()
}

/// Reads the headers found at `key`.
pub(super) fn headers(key: &str, of: &BTreeMap<String, String>, known: &[&str]) -> Result<Headers, Error> {
    of.iter()
        .map(|(name, source)| {
            let key = format!("{key}.{name}");
            let text = Text::compile(&key, source, known)?;
            let name = HeaderName::try_from(name).map_err(|_| refused(&key, "it is not the name of a header"))?;
            Ok((name, text))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use minijinja::context;
    use serde_json::json;
    use url::Url;

    use super::*;

    fn call(config: &serde_json::Value) -> Result<Call, Error> {
        let config: OperationConfig = serde_json::from_value(config.clone()).unwrap();
        let purpose = Purpose {
            doing: "read stock",
            method: None,
            reads: true,
            known: &["sku"],
            content_type: None,
        };
        Call::compile("stock", &Parts::from(&config), &purpose)
    }

    #[test]
    fn a_value_is_encoded_for_where_it_stands() {
        let call = call(&json!({"path": "items/{{ sku }}/stock", "query": {"q": "{{ sku }}", "none": "{{ sku.x }}"}}));
        let base = Url::parse("https://erp.example.ro/api/").unwrap();
        let url = |sku: &str| {
            let request = call.as_ref().unwrap().request(&context! { sku => sku })?;
            Ok::<_, Error>(request.url(&base).to_string())
        };
        assert_eq!(
            url("a/../b?c=d&e#f%2f").unwrap(),
            "https://erp.example.ro/api/items/a%2F..%2Fb%3Fc=d&e%23f%252f/stock?q=a%2F..%2Fb%3Fc%3Dd%26e%23f%252f"
        );
        for name in ["", ".", ".."] {
            assert!(matches!(url(name), Err(Error::NotFound { .. })), "{name:?}");
        }
    }

    #[test]
    fn a_header_cannot_be_broken_out_of() {
        let call = call(&json!({"path": "x", "headers": {"X-Sku": "{{ sku }}"}})).unwrap();
        assert!(call.request(&context! { sku => "a" }).is_ok());
        let error = call.request(&context! { sku => "a\r\nX-Other: 1" }).unwrap_err();
        assert!(matches!(error, Error::Rejected { .. }), "{error:?}");
    }

    #[test]
    fn what_is_missing_or_too_much_is_named() {
        for (config, key) in [
            (json!({}), "stock.path"),
            (json!({"path": "x", "body": {}, "form": {}}), "stock.form"),
            (json!({"path": "x", "method": "FETCH"}), "stock.method"),
            (json!({"path": "x", "headers": {"a b": "x"}}), "stock.headers.a b"),
            (json!({"path": "x", "query": {"q": "{{ skus }}"}}), "stock.query.q"),
        ] {
            match call(&config) {
                Err(Error::Rejected { field, .. }) => assert_eq!(field.as_deref(), Some(key), "{config}"),
                other => panic!("{config}: {other:?}"),
            }
        }
    }
}
