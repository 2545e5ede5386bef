//! A system with a JSON API that is like nobody's in particular: it lets itself be logged in to, and lists what it has, in all
//! the ways there are.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use allai_connectors::rest::{Rest, RestConfig};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use url::Url;

use super::fake::{self, Answer, Asked, Reply};

pub(crate) const SECRET: &str = "secret&very=secret";
/// Pages have no more items than this, whatever is asked.
const MOST: usize = 3;

/// How it wants to be logged in to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Open,
    Basic,
    Bearer,
    Header,
    Oauth,
    /// A token from a login, in a header; when it has ended, status 401.
    Session,
    /// The same, but that it has ended is told in a 200.
    PoliteSession,
    Cookie,
}

/// How it lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    Number,
    Offset,
    Cursor,
    Link,
    NextUrl,
}

pub(crate) struct Fake {
    pub(crate) url: Url,
    state: Arc<Mutex<State>>,
}

pub(crate) struct State {
    pub(crate) door: Door,
    pub(crate) pages: Pages,
    pub(crate) products: Vec<Value>,
    pub(crate) contacts: Vec<Value>,
    pub(crate) asked: Vec<Asked>,
    /// How many tokens or sessions there were.
    pub(crate) granted: usize,
    /// How many requests one holds.
    pub(crate) holds: usize,
    /// How long it says that it holds, in seconds.
    pub(crate) says: u64,
    used: usize,
    /// Answered to everything but a login, if it is there.
    pub(crate) instead: Option<Answer>,
    /// Whether the next record is created, and the answer to that lost.
    pub(crate) loses: bool,
    /// Where the next page is said to be, if it is there.
    pub(crate) leads_to: Option<String>,
    url: String,
}

/// A product in warehouses: (code, quantity, reserved).
pub(crate) fn product(sku: &str, name: &str, net: &Value, places: &[(&str, Value, Value)]) -> Value {
    let places: Vec<Value> = places
        .iter()
        .map(|(code, quantity, reserved)| json!({"code": code, "name": format!("Depozit {code}"), "qty": quantity, "reserved": reserved}))
        .collect();
    json!({"sku": sku, "name": name, "ean": null, "unit": "buc", "net": net, "currency": "ron", "places": places})
}

fn error(status: u16, message: &str) -> Answer {
    (status, json!({"error": message}).to_string())
}

fn found(value: &Value) -> Answer {
    (200, json!({"data": value}).to_string())
}

fn millis() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "a system stamps by a clock of its own")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).unwrap().as_millis().try_into().unwrap()
}

impl Fake {
    pub(crate) async fn start(door: Door, pages: Pages) -> Self {
        let state = Arc::new(Mutex::new(State {
            door,
            pages,
            products: Vec::new(),
            contacts: Vec::new(),
            asked: Vec::new(),
            granted: 0,
            holds: usize::MAX,
            says: 3_600,
            used: 0,
            instead: None,
            loses: false,
            leads_to: None,
            url: String::new(),
        }));
        let answering = Arc::clone(&state);
        let url = fake::start_replying(move |asked| answering.lock().unwrap().answer(asked)).await;
        state.lock().unwrap().url = url.to_string();
        Self { url, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn put(&self, product: Value) {
        self.state().products.push(product);
    }

    /// The keys for its door.
    fn auth(&self) -> String {
        let login = "path = \"login\"\nbody = { user = \"{{ username }}\", pass = \"{{ password }}\" }";
        match self.state().door {
            Door::Open => String::new(),
            Door::Basic => format!("auth = \"basic\"\nusername = \"ana\"\npassword = \"{SECRET}\""),
            Door::Bearer => format!("auth = \"bearer\"\ntoken = \"{SECRET}\""),
            Door::Header => format!("auth = \"header\"\nheader = \"X-Key\"\napi_key = \"{SECRET}\""),
            Door::Oauth => format!(
                "auth = \"oauth2\"\nclient_id = \"ana\"\nclient_secret = \"{SECRET}\"\noauth = {{ url = \"{}/oauth/token\", scope = \"read\" }}",
                self.url
            ),
            Door::Session | Door::PoliteSession => format!(
                "auth = \"session\"\nusername = \"ana\"\npassword = \"{SECRET}\"\nheaders = {{ X-Session = \"{{{{ token }}}}\" }}\n\
                 [session]\nvalue = \"data.session\"\nexpires_in = \"data.seconds\"\n{login}"
            ),
            Door::Cookie => format!(
                "auth = \"session\"\nusername = \"ana\"\npassword = \"{SECRET}\"\n[session]\ncookie = \"SID\"\n{login}"
            ),
        }
    }

    /// A configuration of these tables, after the keys that say where it is and how it is logged in to.
    pub(crate) fn config(&self, tables: &str) -> RestConfig {
        let errors = "[[errors]]\nwhen = \"error\"\nlike = [\"expired\"]\nis = \"auth\"\n[[errors]]\nwhen = \"error\"\nis = \"rejected\"\n";
        let text = format!(
            "url = \"{}\"\ntimeout = \"5s\"\n{}\n{errors}\n{tables}",
            self.url,
            self.auth()
        );
        toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    pub(crate) fn connector(&self, tables: &str) -> Rest {
        Rest::new(self.config(tables)).unwrap()
    }
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Reply {
        self.asked.push(asked.clone());
        let segments = asked.segments();
        let path: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (asked.method.as_str(), path.as_slice()) {
            ("POST", ["oauth", "token"]) => return self.grant(asked).into(),
            ("POST", ["login"]) => return self.log_in(asked),
            _ => {}
        }
        if let Err(refusal) = self.let_in(asked) {
            return refusal.into();
        }
        if let Some(instead) = &self.instead {
            return instead.clone().into();
        }
        match (asked.method.as_str(), path.as_slice()) {
            ("GET", ["items", sku, "stock"] | ["prices", sku]) => match self.product(sku) {
                Some(product) => found(product).into(),
                None => error(404, "there is none").into(),
            },
            ("POST", ["stock"]) => {
                let wanted = asked.json()["skus"].as_array().cloned().unwrap_or_default();
                let rows: Vec<&Value> = self
                    .products
                    .iter()
                    .filter(|one| wanted.contains(&one["sku"]))
                    .collect();
                found(&json!(rows)).into()
            }
            ("GET", ["search"]) => {
                let words = asked.param("q").unwrap_or_default().to_lowercase();
                let has = |one: &&Value| {
                    let is_in = |key: &str| {
                        one[key]
                            .as_str()
                            .is_some_and(|text| text.to_lowercase().contains(&words))
                    };
                    is_in("sku") || is_in("name")
                };
                let rows: Vec<&Value> = self.products.iter().filter(has).collect();
                found(&json!(rows)).into()
            }
            ("GET", ["list"]) => self.page(asked, self.products.clone()),
            ("GET", ["contacts"]) => {
                let rows = self.wanted_contacts(asked);
                self.page(asked, rows)
            }
            ("GET", ["contacts", id]) => match self.contacts.iter().find(|one| has_id(one, id)) {
                Some(contact) => found(contact).into(),
                None => error(404, "there is none").into(),
            },
            ("POST", ["contacts"]) => {
                let mut contact = asked.json()["contact"].clone();
                contact["id"] = json!(1_001 + self.contacts.len());
                contact["updated_ms"] = json!(millis());
                self.contacts.push(contact.clone());
                if std::mem::take(&mut self.loses) {
                    return error(502, "bad gateway").into();
                }
                found(&json!({"id": contact["id"]})).into()
            }
            ("PATCH", ["contacts", id]) => {
                let changes = asked.json()["contact"].clone();
                match self.contacts.iter_mut().find(|one| has_id(one, id)) {
                    Some(contact) => {
                        for (name, value) in changes.as_object().unwrap() {
                            contact[name] = value.clone();
                        }
                        contact["updated_ms"] = json!(millis());
                        (204, String::new()).into()
                    }
                    None => error(404, "there is none").into(),
                }
            }
            _ => error(404, "no such path").into(),
        }
    }

    fn product(&self, sku: &str) -> Option<&Value> {
        self.products
            .iter()
            .find(|one| one["sku"].as_str().unwrap().eq_ignore_ascii_case(sku.trim()))
    }

    fn wanted_contacts(&self, asked: &Asked) -> Vec<Value> {
        let mut rows = self.contacts.clone();
        // It finds what is only similar, as systems do.
        for key in ["email", "phone"] {
            if let Some(wanted) = asked.param(key) {
                let part: String = wanted.chars().take(8).collect::<String>().to_lowercase();
                rows.retain(|one| {
                    one[key]
                        .as_str()
                        .is_some_and(|text| text.to_lowercase().contains(&part))
                });
            }
        }
        if let Some(since) = asked.param("since") {
            let since = millis_of(since);
            rows.retain(|one| one["updated_ms"].as_i64().unwrap() >= since);
        }
        rows.sort_by_key(|one| one["updated_ms"].as_i64());
        rows
    }

    /// A page, in its own way, of no more items than it likes.
    fn page(&self, asked: &Asked, all: Vec<Value>) -> Reply {
        let number = |name: &str| asked.param(name).and_then(|text| text.parse::<usize>().ok());
        let size = number("size").unwrap_or(MOST).min(MOST);
        let from = match self.pages {
            Pages::Number => number("page").map_or(0, |page| (page - 1) * size),
            Pages::Offset => number("offset").unwrap_or(0),
            Pages::Cursor => asked.param("after").map_or(0, |cursor| cursor[7..].parse().unwrap()),
            Pages::Link | Pages::NextUrl => number("from").unwrap_or(0),
        };
        let total = all.len();
        let rows: Vec<Value> = all.into_iter().skip(from).take(size).collect();
        let next = from + rows.len();
        let mut answer = json!({"data": rows});
        let mut headers = Vec::new();
        if next < total {
            let target = self
                .leads_to
                .clone()
                .unwrap_or_else(|| format!("{}/list?from={next}", self.url));
            match self.pages {
                Pages::Cursor => answer["next"] = json!(format!("cursor-{next}")),
                Pages::NextUrl => answer["next"] = json!(target),
                Pages::Link => headers.push((
                    "Link",
                    format!("<{}/list>; rel=first, <{target}>; rel=\"next\"", self.url),
                )),
                Pages::Number | Pages::Offset => {}
            }
        }
        Reply::WithHeaders((200, answer.to_string()), headers)
    }

    fn token(&self) -> String {
        format!("token-{}", self.granted)
    }

    fn grant(&mut self, asked: &Asked) -> Answer {
        let is_known = asked.field("client_secret").as_deref() == Some(SECRET)
            && asked.field("client_id").as_deref() == Some("ana")
            && asked.field("scope").as_deref() == Some("read")
            && asked.field("grant_type").as_deref() == Some("client_credentials");
        if !is_known {
            return (400, json!({"error": "invalid_client"}).to_string());
        }
        self.granted += 1;
        self.used = 0;
        (
            200,
            json!({"access_token": self.token(), "token_type": "Bearer", "expires_in": self.says}).to_string(),
        )
    }

    fn log_in(&mut self, asked: &Asked) -> Reply {
        if asked.json() != json!({"user": "ana", "pass": SECRET}) {
            return error(200, "wrong password").into();
        }
        self.granted += 1;
        self.used = 0;
        let body = json!({"data": {"session": self.token(), "seconds": self.says}}).to_string();
        let cookies = vec![
            ("Set-Cookie", "other=1; Path=/".to_owned()),
            ("Set-Cookie", format!("SID={}; Path=/; HttpOnly", self.token())),
        ];
        Reply::WithHeaders((200, body), cookies)
    }

    fn let_in(&mut self, asked: &Asked) -> Result<(), Answer> {
        let bearer = |token: &str| Some(format!("Bearer {token}"));
        let token = self.token();
        let (header, wanted) = match self.door {
            Door::Open => return Ok(()),
            Door::Basic => (
                "authorization",
                Some(format!("Basic {}", STANDARD.encode(format!("ana:{SECRET}")))),
            ),
            Door::Bearer => ("authorization", bearer(SECRET)),
            Door::Header => ("x-key", Some(SECRET.to_owned())),
            Door::Oauth => ("authorization", bearer(&token)),
            Door::Session | Door::PoliteSession => ("x-session", Some(token)),
            Door::Cookie => ("cookie", Some(format!("SID={token}"))),
        };
        self.used += 1;
        if asked.header(header) == wanted.as_deref() && self.used <= self.holds {
            return Ok(());
        }
        let status = if self.door == Door::PoliteSession { 200 } else { 401 };
        Err(error(status, "the session has EXPIRED"))
    }
}

/// The milliseconds of a time.
fn millis_of(text: &str) -> i64 {
    chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
}

fn has_id(contact: &Value, id: &str) -> bool {
    id.parse().is_ok_and(|id: u64| contact["id"] == id)
}
