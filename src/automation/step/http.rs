//! `do = "http"`: sends a request. Gives `status`, and `body`, as JSON where it is.
//!
//! What an address says comes from a chat as often as not: nothing inside the company's own network is asked, unless
//! `allow` names it. What of the address and the headers is no template stays in the configuration, since it may be a secret: it
//! is not kept with the run. Each request carries an `Idempotency-Key` that is the same whenever it is tried
//! (<https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/>).

use std::collections::BTreeMap;

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Failure, Of, Reading};
use crate::automation::template::Template;
use crate::automation::tools::outside::Outside;

/// So much of an answer is read.
const LONGEST: usize = 256 * 1024;

/// The step.
#[derive(Debug)]
pub(in crate::automation) struct Http {
    /// What of it is made of templates: the rest of the address, and the body.
    pub(super) request: Template,
    /// The beginning of the address.
    base: String,
    method: Method,
    headers: HeaderMap,
    client: Outside,
    repeats: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    url: String,
    /// `POST`, if there is a body; else `GET`.
    method: Option<String>,
    /// No templates.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// JSON.
    body: Option<Value>,
    /// Hosts in the company's own network that may be asked.
    #[serde(default)]
    allow: Vec<String>,
    /// Whether it is sent again when it is not known what became of it; absent: only where that is harmless, as of a `GET`.
    repeat: Option<bool>,
}

pub(super) fn read(own: &BTreeMap<String, Value>, reading: &mut Reading<'_>) -> Option<Http> {
    let keys: Keys = reading.keys(own)?;
    let usual = if keys.body.is_some() { "POST" } else { "GET" };
    let wanted = keys.method.unwrap_or_else(|| usual.to_owned()).to_uppercase();
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ];
    let Some(method) = known.into_iter().find(|method| method.as_str() == wanted) else {
        reading.wrong(
            &["method"],
            "not a method of HTTP",
            "use GET, POST, PUT, PATCH or DELETE",
        );
        return None;
    };
    let starts_well = ["https://", "http://"]
        .iter()
        .any(|scheme| keys.url.starts_with(scheme));
    let host = keys.url.split('/').nth(2).unwrap_or_default();
    if !starts_well || host.is_empty() || host.contains("{{") || host.contains("{%") {
        reading.wrong(
            &["url"],
            "must begin with a scheme and a host that are no template",
            "write e.g. url = \"https://erp.example.ro/orders/{{ found.items[0].text|urlencode }}\"",
        );
    }
    let mut headers = HeaderMap::new();
    for (name, value) in &keys.headers {
        let header = name.parse::<HeaderName>().ok().zip(HeaderValue::try_from(value).ok());
        if let Some((name, value)) = header.filter(|_| !value.contains("{{")) {
            headers.insert(name, value);
        } else {
            let problem = "not a header with a plain value";
            reading.wrong(&["headers", name], problem, "headers are no templates");
        }
    }
    let first = ["{{", "{%", "{#"].iter().filter_map(|mark| keys.url.find(mark)).min();
    let (base, rest) = keys.url.split_at(first.unwrap_or(keys.url.len()));
    let request = json!({"url": rest, "body": keys.body});
    Some(Http {
        request: reading.template(&[], &request),
        base: base.to_owned(),
        repeats: keys.repeat.unwrap_or_else(|| method.is_idempotent()),
        method,
        headers,
        client: Outside::new(keys.allow),
    })
}

impl Http {
    pub(super) async fn perform(&self, input: &Value, of: Of<'_>) -> Result<Value, Failure> {
        if of.is_again && !self.repeats {
            return Err(Failure::lasting(
                "it is not known whether the request arrived, and it is not sent twice; if that is harmless: repeat = true",
            ));
        }
        let rest = match &input["url"] {
            Value::String(rest) => rest.clone(),
            rest => rest.to_string(),
        };
        let mut request = self
            .client
            .request(self.method.clone(), &format!("{}{rest}", self.base))
            .map_err(Failure::lasting)?
            .header("idempotency-key", format!("{}-{}", of.run_id, of.position))
            .headers(self.headers.clone());
        if !input["body"].is_null() {
            request = request.json(&input["body"]);
        }
        let mut response = request.send().await.map_err(|error| unsent(&error))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unsent(&error))? {
            if body.len() + chunk.len() > LONGEST {
                let unsure = true;
                let problem = format!("the answer is longer than {LONGEST} bytes");
                return Err(Failure {
                    unsure,
                    ..Failure::lasting(problem)
                });
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_server_error() || status.as_u16() == 429 {
            return Err(Failure::passing(format!("the answer is {status}")));
        }
        if !status.is_success() {
            return Err(Failure::lasting(format!("the answer is {status}")));
        }
        let text = String::from_utf8_lossy(&body);
        let body = serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned()));
        Ok(json!({"status": status.as_u16(), "body": body}))
    }
}

fn unsent(error: &reqwest::Error) -> Failure {
    let what = if error.is_timeout() {
        "it did not answer in time"
    } else if error.is_connect() {
        "it cannot be reached, or is in the company's own network, which `allow` does not name"
    } else {
        "the request broke off"
    };
    Failure {
        unsure: !error.is_connect(),
        ..Failure::passing(what)
    }
}
