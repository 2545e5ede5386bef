//! One request of the API, before it is sent.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use url::{Host, Url};

use super::Error;

/// Method, path, query and body of a request.
#[derive(Clone, Debug)]
pub(super) struct Call {
    method: Method,
    segments: Vec<String>,
    query: Vec<(&'static str, String)>,
    body: Option<Bytes>,
    /// Whether sending it twice does no more than sending it once.
    repeatable: bool,
    /// What it carries that no error may repeat, should the API do so.
    secret: Option<SecretString>,
}

impl Call {
    pub(super) fn get<S: AsRef<str>>(segments: &[S]) -> Self {
        Self::new(Method::GET, segments, None, true)
    }

    /// A request that replaces or amends something: doing it twice changes nothing more.
    pub(super) fn change<S: AsRef<str>>(method: Method, segments: &[S], body: &impl Serialize) -> Self {
        Self::new(method, segments, Some(encoded(body)), true)
    }

    /// A request that takes something away: it is gone, however often it is sent.
    pub(super) fn delete<S: AsRef<str>>(segments: &[S]) -> Self {
        Self::new(Method::DELETE, segments, None, true)
    }

    /// A request that makes something new each time it is sent.
    pub(super) fn create<S: AsRef<str>>(segments: &[S], body: &impl Serialize) -> Self {
        Self::new(Method::POST, segments, Some(encoded(body)), false)
    }

    fn new<S: AsRef<str>>(method: Method, segments: &[S], body: Option<Bytes>, repeatable: bool) -> Self {
        Self {
            method,
            segments: segments.iter().map(|segment| segment.as_ref().to_owned()).collect(),
            query: Vec::new(),
            body,
            repeatable,
            secret: None,
        }
    }

    /// Nothing that is said of this request repeats `secret`.
    pub(super) fn keeping(mut self, secret: &SecretString) -> Self {
        self.secret = Some(secret.clone());
        self
    }

    /// What no error may repeat.
    pub(super) fn secret(&self) -> &str {
        self.secret.as_ref().map_or("", |secret| secret.expose_secret())
    }

    pub(super) fn query(mut self, parameters: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        self.query.extend(parameters);
        self
    }

    pub(super) const fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    /// Method and path, for messages. Not the query: a search may be for a person.
    pub(super) fn name(&self) -> String {
        format!("{} /{}", self.method, self.segments.join("/"))
    }

    /// The request in full.
    pub(super) fn request(&self, base_url: &Url, bearer: &HeaderValue) -> Result<Request<Bytes>, Error> {
        let mut url = base_url.clone();
        for segment in &self.segments {
            // A URL swallows these, even percent-encoded, and the request would go to another path.
            if segment.is_empty() || matches!(segment.as_str(), "." | "..") {
                return Err(Error::Argument {
                    call: self.name(),
                    reason: format!("{segment:?} is not a usable id"),
                });
            }
        }
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(&self.segments);
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        let json = HeaderValue::from_static("application/json");
        Request::builder()
            .method(self.method.clone())
            .uri(url.as_str())
            .header(AUTHORIZATION, bearer)
            .header(ACCEPT, &json)
            .header(CONTENT_TYPE, &json)
            .header(USER_AGENT, concat!("allai-sync/", env!("CARGO_PKG_VERSION")))
            .body(self.body.clone().unwrap_or_default())
            .map_err(|_| Error::Argument {
                call: self.name(),
                reason: "it does not make a valid request".to_owned(),
            })
    }
}

fn encoded(body: &impl Serialize) -> Bytes {
    // Our own request types hold nothing that JSON cannot.
    serde_json::to_vec(body).map(Bytes::from).unwrap_or_default()
}

/// Checks a base URL. Over the network the API is reached by https alone: the key travels with every request.
pub(super) fn checked_base_url(url: Url, over_network: bool) -> Result<Url, Error> {
    let mut shown = url.clone();
    let _ = shown.set_password(None);
    let _ = shown.set_username("");
    shown.set_query(None);
    let refuse = |reason| {
        let url = shown.to_string();
        Err(Error::BaseUrl { url, reason })
    };
    if url.cannot_be_a_base() || url.host().is_none() {
        return refuse("it names no host; it should look like https://api.allai.ro/v2");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("it holds a user or password; the API is used with a key, given as api_key");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("it has a query or a fragment; leave out what follows ? or #");
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if !over_network || is_loopback(&url) => Ok(url),
        "http" => {
            refuse("http:// would send the API key unprotected, it is allowed for this machine only; use https://")
        }
        _ => refuse("only https:// can be used (http:// for this machine)"),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(base: &str, call: &Call) -> String {
        let base = checked_base_url(Url::parse(base).unwrap(), true).unwrap();
        let request = call.request(&base, &HeaderValue::from_static("Bearer k")).unwrap();
        request.uri().to_string()
    }

    #[test]
    fn the_base_url_may_end_with_a_slash_or_not() {
        let call = Call::get(&["contacts"]).query([("search", "ion+1@exemplu.ro&x".to_owned())]);
        for base in ["https://api.allai.ro/v2", "https://api.allai.ro/v2/"] {
            assert_eq!(
                url(base, &call),
                "https://api.allai.ro/v2/contacts?search=ion%2B1%40exemplu.ro%26x"
            );
        }
        assert_eq!(
            url("http://127.0.0.1:8790", &Call::get(&["contacts"])),
            "http://127.0.0.1:8790/contacts"
        );
    }

    #[test]
    fn ids_cannot_leave_their_place_in_the_path() {
        let call = Call::get(&["conversations", "a/../b?c#d e%2F", "messages"]);
        assert_eq!(
            url("https://api.allai.ro/v2", &call),
            "https://api.allai.ro/v2/conversations/a%2F..%2Fb%3Fc%23d%20e%252F/messages"
        );
        let base = Url::parse("https://api.allai.ro/v2").unwrap();
        for id in ["", ".", ".."] {
            let call = Call::get(&["conversations", id]);
            assert!(
                call.request(&base, &HeaderValue::from_static("Bearer k")).is_err(),
                "{id:?}"
            );
        }
    }

    #[test]
    fn only_this_machine_is_reached_without_https() {
        for (base, usable) in [
            ("https://api.allai.ro/v2", true),
            ("http://localhost:1/v2", true),
            ("http://127.8.8.8/v2", true),
            ("http://[::1]:9/", true),
            ("http://api.allai.ro/v2", false),
            ("http://127.0.0.1.example.com/", false),
            ("http://localhost.example.com/", false),
            ("ftp://api.allai.ro/v2", false),
            ("mailto:dev@allai.ro", false),
            ("https://u:hunter2@api.allai.ro/", false),
            ("https://api.allai.ro/v2?key=hunter2", false),
        ] {
            let checked = checked_base_url(Url::parse(base).unwrap(), true);
            assert_eq!(checked.is_ok(), usable, "{base}");
            if let Err(error) = checked {
                assert!(!error.to_string().contains("hunter2"), "{error}");
            }
        }
    }
}
