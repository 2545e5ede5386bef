//! The system: requests with what they need, and answers that are what was asked for.

use std::fmt;

use jmespath::Rcvar;
use minijinja::Value;
use minijinja::value::ValueKind;
use secrecy::ExposeSecret as _;
use url::Url;

use super::auth::{Auth, Grant};
use super::call::{Call, Headers, Values, with_headers};
use super::query;
use super::rules::{Asked, Rules, Verdict};
use crate::error::Error;
use crate::http::{Answer, ApiClient};

/// Texts that are shorter are in every message.
const TELLING: usize = 3;

pub(super) struct Api {
    pub(super) client: ApiClient,
    pub(super) auth: Auth,
    pub(super) headers: Headers,
    pub(super) rules: Rules,
    /// The values that every template is given.
    pub(super) values: Values,
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// What templates are given; of values with one name, the last.
pub(super) fn context<'a>(values: impl IntoIterator<Item = &'a Values>) -> Value {
    Value::from_pairs(values.into_iter().flatten().map(|(name, value)| (*name, value.clone())))
}

/// The texts in values, in lower case, the longest first: what a system may repeat.
pub(super) fn texts(values: &Values) -> Vec<String> {
    let mut texts = Vec::new();
    for (_, value) in values {
        collect_texts(value, &mut texts);
    }
    texts.sort_by_key(|text: &String| std::cmp::Reverse(text.len()));
    texts
}

fn collect_texts(value: &Value, texts: &mut Vec<String>) {
    match value.kind() {
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default().trim().to_lowercase();
            if text.len() >= TELLING {
                texts.push(text);
            }
        }
        ValueKind::Seq => {
            for item in value.try_iter().into_iter().flatten() {
                collect_texts(&item, texts);
            }
        }
        ValueKind::Map => {
            for name in value.try_iter().into_iter().flatten() {
                collect_texts(&value.get_item(&name).unwrap_or_default(), texts);
            }
        }
        _ => {}
    }
}

impl Api {
    /// Sends a request with these values in it, to `elsewhere` if that is given, and returns what `read` makes of the answer and
    /// of where it came from; `None` if what was asked for is not there.
    pub(super) async fn ask<T>(
        &self,
        call: &Call,
        values: &Values,
        elsewhere: Option<&Url>,
        read: impl Fn(&Answer, &Rcvar, &Url) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let grant = self.auth.grant(&self.rules).await?;
        match self.send(call, values, elsewhere, &grant, &read).await {
            Err(Error::Auth { .. }) if self.auth.forget(&grant).await => {
                let grant = self.auth.grant(&self.rules).await?;
                self.send(call, values, elsewhere, &grant, &read).await
            }
            outcome => outcome,
        }
    }

    async fn send<T>(
        &self,
        call: &Call,
        values: &Values,
        elsewhere: Option<&Url>,
        grant: &Grant,
        read: &impl Fn(&Answer, &Rcvar, &Url) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let token = grant
            .token
            .as_ref()
            .map(|token| ("token", Value::from(token.expose_secret())));
        let token: Values = token.into_iter().collect();
        let context = context([&self.values, &token, values]);
        let mut request = match call.request(&context) {
            Err(Error::NotFound { .. }) => return Ok(None),
            request => with_headers(request?, &self.headers, &context)?,
        };
        for (name, value) in &grant.headers {
            request = request.header(name.clone(), value.clone());
        }
        if let Some(elsewhere) = elsewhere {
            request = request.elsewhere(elsewhere.clone());
        }
        let url = request.url(self.client.base());
        let mut asked = Asked {
            doing: call.doing(),
            texts: texts(values),
            repeatable: call.is_repeatable(),
        };
        asked.texts.extend(texts(&token));
        let outcome = self.client.send_and_read(&request, |answer| {
            let document = query::document(&answer)?;
            match self.rules.judge(&document, &asked)? {
                Verdict::Fine => read(&answer, &document, &url).map(Some),
                Verdict::NotThere(_) => Ok(None),
            }
        });
        match outcome.await {
            Err(Error::NotFound { .. }) if call.asks_by_path() => Ok(None),
            outcome => outcome,
        }
    }
}
