//! What is asked, and what is answered.

use std::fmt;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::de::DeserializeOwned;
use url::Url;

/// A request, relative to the client's base URL. Path, query and body are encoded by construction.
#[derive(Clone)]
pub struct Request {
    pub(super) method: Method,
    pub(super) doing: String,
    pub(super) segments: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) elsewhere: Option<Url>,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pub(super) repeatable: bool,
    pub(super) narrow: bool,
    pub(super) cost: u32,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("doing", &self.doing)
            .finish_non_exhaustive()
    }
}

impl Request {
    /// A request with this method. `doing` says in errors and logs what it is for, e.g. `read product.product`; it holds
    /// nothing that comes from a chat. What is sent with GET, HEAD, PUT or DELETE is repeatable, until
    /// [`repeatable`](Self::repeatable) says otherwise.
    pub fn new(method: Method, doing: impl Into<String>) -> Self {
        let repeatable = method.is_idempotent();
        Self {
            method,
            doing: doing.into(),
            segments: Vec::new(),
            query: Vec::new(),
            elsewhere: None,
            headers: HeaderMap::new(),
            body: None,
            repeatable,
            narrow: false,
            cost: 1,
        }
    }

    /// The segments of the path below the base URL; each is percent-encoded. An empty one at the end is a slash at the end.
    #[must_use]
    pub fn path<S: Into<String>>(mut self, segments: impl IntoIterator<Item = S>) -> Self {
        self.segments = segments.into_iter().map(Into::into).collect();
        self
    }

    /// One more parameter of the query.
    #[must_use]
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// Goes to this URL, which the server itself named, instead of path and query. One of another origin than the client's is
    /// refused when it is to be sent: it would get the credentials.
    #[must_use]
    pub fn elsewhere(mut self, url: Url) -> Self {
        self.elsewhere = Some(url);
        self
    }

    /// Where it goes, if everything is below `base`.
    pub fn url(&self, base: &Url) -> Url {
        if let Some(elsewhere) = &self.elsewhere {
            return elsewhere.clone();
        }
        let mut url = base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(&self.segments);
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }

    /// A header. Its value is never logged.
    #[must_use]
    pub fn header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        self.headers.insert(name, value);
        self
    }

    /// A JSON body.
    #[must_use]
    pub fn json(mut self, body: &serde_json::Value) -> Self {
        self.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.body = Some(Bytes::from(body.to_string()));
        self
    }

    /// A body as a form sends it, `application/x-www-form-urlencoded`.
    #[must_use]
    pub fn form(mut self, fields: &[(&str, &str)]) -> Self {
        self.headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        self.body = Some(Bytes::from(body));
        self
    }

    /// It is of the kind for which the vendor has a limit of its own.
    #[must_use]
    pub const fn narrow(mut self) -> Self {
        self.narrow = true;
        self
    }

    /// What it costs of the vendor's allowance, if that counts otherwise than in requests.
    #[must_use]
    pub const fn cost(mut self, cost: u32) -> Self {
        self.cost = cost;
        self
    }

    /// Whether carrying it out twice does no harm.
    #[must_use]
    pub const fn repeatable(mut self, repeatable: bool) -> Self {
        self.repeatable = repeatable;
        self
    }
}

/// A successful answer.
#[derive(Clone)]
pub struct Answer {
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, decompressed.
    pub body: Bytes,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl Answer {
    /// The body as JSON; else what is wrong with it, without quoting it.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, String> {
        let start = self.body.iter().find(|byte| !byte.is_ascii_whitespace());
        match start {
            None => Err("the answer is empty".to_owned()),
            Some(b'<') => Err("an HTML or XML page".to_owned()),
            // The error's own text may quote a value.
            Some(_) => serde_json::from_slice(&self.body).map_err(|error| {
                let what = match error.classify() {
                    serde_json::error::Category::Data => "not the expected JSON",
                    serde_json::error::Category::Eof => "JSON that breaks off",
                    _ => "no JSON",
                };
                format!("{what} (line {}, column {})", error.line(), error.column())
            }),
        }
    }
}
