//! How requests say who asks.
//!
//! Invariants: there is one token or session for all; who needs one while another fetches it waits for that. It is renewed
//! shortly before its end; a request that is refused for it is sent once more, with a new one.

use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use minijinja::Value;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::api::context;
use super::call::{Call, Parts, Purpose, Values};
use super::config::{AuthKind, OauthConfig, OauthSend, RestConfig, SessionConfig};
use super::query::{self, Query};
use super::rules::{Asked, Rules, Verdict};
use super::{SYSTEM, refused};
use crate::error::Error;
use crate::http::{Answer, ApiClient, Request, authorization};
use crate::lenient;
use crate::time::monotonic;

/// How long a token holds that does not say.
const HOUR: Duration = Duration::from_hours(1);
/// How long before its end it is renewed, if it holds for long.
const MARGIN: Duration = Duration::from_mins(1);

/// The keys to correct when the credentials are refused.
pub(super) const fn remedy(kind: AuthKind) -> &'static str {
    match kind {
        AuthKind::None => "auth: the system wants credentials",
        AuthKind::Basic => "username and password, or api_key",
        AuthKind::Bearer => "token",
        AuthKind::Header => "api_key and header",
        AuthKind::Oauth2 => "client_id, client_secret and oauth",
        AuthKind::Session => "username and password, or what else session sends",
    }
}

/// What is sent along, and until when it holds.
#[derive(Clone)]
pub(super) struct Grant {
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) token: Option<SecretString>,
    number: u64,
    until: Option<Instant>,
}

pub(super) enum Auth {
    Fixed(Grant),
    Renewed { how: How, held: Mutex<Held> },
}

#[derive(Default)]
pub(super) struct Held {
    grant: Option<Grant>,
    granted: u64,
}

pub(super) enum How {
    Oauth(Box<Oauth>),
    Session(Box<Session>),
}

pub(super) struct Oauth {
    client: ApiClient,
    config: OauthConfig,
    id: String,
    secret: SecretString,
}

pub(super) struct Session {
    client: ApiClient,
    call: Call,
    values: Values,
    value: Option<Query>,
    cookie: Option<String>,
    expires_in: Option<Query>,
    lasts: Option<Duration>,
}

#[derive(Deserialize)]
struct Granted {
    #[serde(default, deserialize_with = "lenient::text")]
    access_token: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    expires_in: Option<String>,
}

fn unreadable(expected: &'static str, problem: &str) -> Error {
    Error::Unreadable {
        system: SYSTEM,
        expected,
        problem: problem.to_owned(),
    }
}

/// What cannot log in for a reason that is not known better is refused for its credentials.
fn about_credentials(error: Error, remedy: &'static str) -> Error {
    let message = match error {
        Error::Rejected {
            field: None, message, ..
        }
        | Error::Conflict { message, .. }
        | Error::Forbidden { message, .. } => message,
        error => return error,
    };
    Error::Auth {
        system: SYSTEM,
        message,
        remedy,
    }
}

impl Auth {
    /// Reads how requests say who asks.
    pub(super) fn compile(
        config: &RestConfig,
        client: &ApiClient,
        elsewhere: impl Fn(&Url) -> Result<ApiClient, Error>,
        content_type: Option<&HeaderValue>,
    ) -> Result<Self, Error> {
        let kind = config.auth.unwrap_or(AuthKind::None);
        let (username, api_key) = (config.username.as_ref(), config.api_key.as_ref());
        let fixed = |name: HeaderName, value: HeaderValue| {
            Ok(Self::Fixed(Grant {
                headers: vec![(name, value)],
                token: None,
                number: 0,
                until: None,
            }))
        };
        let secret = |key: &str, secret: &str| {
            HeaderValue::try_from(secret).map_err(|_| refused(key, "it holds characters that no header can"))
        };
        match kind {
            AuthKind::None => Ok(Self::Fixed(Grant {
                headers: Vec::new(),
                token: None,
                number: 0,
                until: None,
            })),
            AuthKind::Basic => {
                let pair = match (username, config.password.as_ref(), api_key) {
                    (None, None, Some(key)) => format!("{}:", key.expose_secret()),
                    (Some(username), password, None) if !username.contains(':') => {
                        let password = password.map(ExposeSecret::expose_secret).unwrap_or_default();
                        format!("{username}:{password}")
                    }
                    (Some(_), _, None) => return Err(refused("username", "it has a colon, which basic cannot send")),
                    _ => {
                        return Err(refused(
                            "username",
                            "basic needs username and password, or api_key alone",
                        ));
                    }
                };
                let (name, value) = authorization("Basic", &pair);
                fixed(name, value)
            }
            AuthKind::Bearer => {
                let token = present("token", config.token.as_ref())?;
                fixed(
                    AUTHORIZATION,
                    secret("token", &format!("Bearer {}", token.expose_secret()))?,
                )
            }
            AuthKind::Header => {
                let key = present("api_key", api_key)?;
                let name = config.header.as_deref().unwrap_or("X-Api-Key");
                let name =
                    HeaderName::try_from(name).map_err(|_| refused("header", "it is not the name of a header"))?;
                fixed(name, secret("api_key", key.expose_secret())?)
            }
            AuthKind::Oauth2 => {
                let oauth = present("oauth", config.oauth.as_ref())?;
                let client = if oauth.url.origin() == client.base().origin() {
                    client.clone()
                } else {
                    elsewhere(&oauth.url)?
                };
                Ok(Self::renewed(How::Oauth(Box::new(Oauth {
                    client,
                    config: oauth.clone(),
                    id: present("client_id", config.client_id.as_ref())?.clone(),
                    secret: present("client_secret", config.client_secret.as_ref())?.clone(),
                }))))
            }
            AuthKind::Session => {
                let session = present("session", config.session.as_ref())?;
                let session = Session::compile(config, session, client, content_type)?;
                Ok(Self::renewed(How::Session(Box::new(session))))
            }
        }
    }

    fn renewed(how: How) -> Self {
        Self::Renewed {
            how,
            held: Mutex::default(),
        }
    }

    /// Whether there is something to log in to.
    pub(super) const fn logs_in(&self) -> bool {
        matches!(self, Self::Renewed { .. })
    }

    /// Logs in, whatever was granted before.
    pub(super) async fn log_in(&self, rules: &Rules) -> Result<(), Error> {
        if let Self::Renewed { held, .. } = self {
            held.lock().await.grant = None;
        }
        self.grant(rules).await.map(|_| ())
    }

    /// What is to be sent along.
    pub(super) async fn grant(&self, rules: &Rules) -> Result<Grant, Error> {
        let (how, held) = match self {
            Self::Fixed(grant) => return Ok(grant.clone()),
            Self::Renewed { how, held } => (how, held),
        };
        let mut held = held.lock().await;
        if let Some(grant) = &held.grant
            && grant.until.is_none_or(|until| monotonic() < until)
        {
            return Ok(grant.clone());
        }
        held.grant = None;
        let mut grant = match how {
            How::Oauth(oauth) => oauth.granted().await?,
            How::Session(session) => session.opened(rules).await?,
        };
        held.granted += 1;
        grant.number = held.granted;
        Ok(held.grant.insert(grant).clone())
    }

    /// Forgets what was granted, unless something else has taken its place already; whether there may be something else.
    pub(super) async fn forget(&self, grant: &Grant) -> bool {
        let Self::Renewed { held, .. } = self else {
            return false;
        };
        let mut held = held.lock().await;
        if held.grant.as_ref().is_some_and(|known| known.number == grant.number) {
            held.grant = None;
        }
        true
    }
}

/// What is needed at `key`.
fn present<'a, T>(key: &str, value: Option<&'a T>) -> Result<&'a T, Error> {
    value.ok_or_else(|| refused(key, "it is missing, and needed by this auth"))
}

/// Until when something holds, with time to renew it.
fn until(asked: Instant, holds: Duration) -> Option<Instant> {
    asked.checked_add(holds.saturating_sub(MARGIN.min(holds / 10)))
}

impl Oauth {
    async fn granted(&self) -> Result<Grant, Error> {
        let asked = monotonic();
        let secret = self.secret.expose_secret();
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(self.config.scope.as_deref().map(|scope| ("scope", scope)));
        form.extend(
            self.config
                .form
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let basic = self.config.send == Some(OauthSend::Basic);
        if !basic {
            form.extend([("client_id", self.id.as_str()), ("client_secret", secret)]);
        }
        let mut request = Request::new(Method::POST, "get a token")
            .elsewhere(self.config.url.clone())
            .form(&form)
            // A second token does the first no harm.
            .repeatable(true);
        if basic {
            // RFC 6749, 2.3.1: both are encoded first.
            let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let (name, value) = authorization("Basic", &format!("{}:{}", encoded(&self.id), encoded(secret)));
            request = request.header(name, value);
        }
        let granted = self.client.json::<Granted>(&request, "a token").await;
        let granted = granted.map_err(|error| about_credentials(error, remedy(AuthKind::Oauth2)))?;
        let token = granted
            .access_token
            .ok_or_else(|| unreadable("a token", "there is none in it"))?;
        let bearer = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| unreadable("a token", "it holds characters that no header can"))?;
        let holds = granted
            .expires_in
            .and_then(|seconds| seconds.parse().ok())
            .map_or(HOUR, Duration::from_secs);
        Ok(Grant {
            headers: vec![(AUTHORIZATION, bearer)],
            token: Some(token.into()),
            number: 0,
            until: until(asked, holds),
        })
    }
}

/// What the request that opens a session may use beside `vars`.
const SESSION_KNOWS: [&str; 6] = ["vars", "username", "password", "api_key", "client_id", "client_secret"];

impl Session {
    fn compile(
        config: &RestConfig,
        session: &SessionConfig,
        client: &ApiClient,
        content_type: Option<&HeaderValue>,
    ) -> Result<Self, Error> {
        if session.value.is_none() && session.cookie.is_none() {
            return Err(refused(
                "session.value",
                "it is missing: what finds the token in the answer; or session.cookie, the name of a cookie",
            ));
        }
        let own = super::var_names(config);
        let known: Vec<&str> = SESSION_KNOWS
            .into_iter()
            .chain(own.iter().map(String::as_str))
            .collect();
        let purpose = Purpose {
            doing: "log in",
            method: Some(Method::POST),
            reads: true,
            known: &known,
            content_type,
        };
        let call = Call::compile("session", &Parts::from(session), &purpose)?;
        let texts = [("username", &config.username), ("client_id", &config.client_id)];
        let secrets = [
            ("password", &config.password),
            ("api_key", &config.api_key),
            ("client_secret", &config.client_secret),
        ];
        let exposed =
            secrets.map(|(name, secret)| (name, secret.as_ref().map(|secret| secret.expose_secret().to_owned())));
        let mut values = vec![("vars", super::vars(config))];
        for (name, text) in texts
            .map(|(name, text)| (name, text.clone()))
            .into_iter()
            .chain(exposed)
        {
            match text {
                Some(text) => values.push((name, Value::from(text))),
                None if call.uses(name) => return Err(refused(name, "it is missing, and used by session")),
                None => {}
            }
        }
        let query = |name: &str, source: Option<&String>| {
            source
                .map(|source| Query::compile(&format!("session.{name}"), source))
                .transpose()
        };
        Ok(Self {
            client: client.clone(),
            call,
            values,
            value: query("value", session.value.as_ref())?,
            cookie: session.cookie.clone(),
            expires_in: query("expires_in", session.expires_in.as_ref())?,
            lasts: session.lasts.map(|lasts| lasts.0),
        })
    }

    async fn opened(&self, rules: &Rules) -> Result<Grant, Error> {
        let asked_at = monotonic();
        let context = context([&self.values]);
        let request = self.call.request(&context)?;
        let remedy = remedy(AuthKind::Session);
        let asked = Asked {
            doing: "log in",
            texts: super::api::texts(&self.values),
            repeatable: true,
        };
        let opened = self.client.send_and_read(&request, |answer| {
            let document = query::document(&answer)?;
            if let Verdict::NotThere(message) = rules.judge(&document, &asked)? {
                return Err(Error::Auth {
                    system: SYSTEM,
                    message,
                    remedy,
                });
            }
            let token = match &self.value {
                Some(value) => {
                    let token = query::text(&*value.find(&document)?);
                    Some(token.ok_or_else(|| unreadable("a token", "session.value finds none"))?)
                }
                None => None,
            };
            let says = match &self.expires_in {
                Some(expires_in) => query::text(&*expires_in.find(&document)?),
                None => None,
            };
            Ok((token, self.cookie_of(&answer)?, says))
        });
        let (token, cookie, says) = opened.await.map_err(|error| about_credentials(error, remedy))?;
        let holds = says
            .and_then(|seconds| seconds.parse().ok())
            .map(Duration::from_secs)
            .or(self.lasts);
        Ok(Grant {
            headers: cookie.map(|cookie| (COOKIE, cookie)).into_iter().collect(),
            token: token.map(Into::into),
            number: 0,
            until: holds.and_then(|holds| until(asked_at, holds)),
        })
    }

    fn cookie_of(&self, answer: &Answer) -> Result<Option<HeaderValue>, Error> {
        let Some(name) = &self.cookie else {
            return Ok(None);
        };
        cookie(&answer.headers, name)
            .and_then(|value| HeaderValue::try_from(format!("{name}={value}")).ok())
            .map(Some)
            .ok_or_else(|| unreadable("a cookie", "there is none of the name in session.cookie"))
    }
}

/// The value of a cookie that an answer sets.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get_all(SET_COOKIE).iter().find_map(|cookie| {
        let (pair, _) = cookie
            .to_str()
            .ok()?
            .split_once(';')
            .unwrap_or((cookie.to_str().ok()?, ""));
        let (key, value) = pair.split_once('=')?;
        (key.trim() == name).then_some(value.trim())
    })
}
