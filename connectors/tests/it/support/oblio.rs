//! An Oblio that is not there, after its documentation; see the connector's page.

use std::sync::{Arc, Mutex, MutexGuard};

use allai_connectors::http::Rate;
use allai_connectors::oblio::{self, Oblio, OblioConfig};
use serde_json::{Value, json};
use url::Url;

use super::fake::{self, Answer, Asked, Gate};

pub(crate) const USER: &str = "nume+api@exemplu.ro";
pub(crate) const SECRET: &str = "secret&very=secret";
pub(crate) const CIF: &str = "RO37311090";
const PAGE: usize = 250;

/// How it behaves where sources do not say.
#[derive(Clone, Copy, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent answers to independent questions"
)]
pub(crate) struct Manner {
    /// `code` finds parts of codes too, and `name` nothing but whole names.
    pub(crate) the_other_way: bool,
    /// A code or name that nothing has is an error.
    pub(crate) unknown_is_error: bool,
    /// Every page is the first.
    pub(crate) ignores_offset: bool,
    /// Stock is not activated.
    pub(crate) without_stock: bool,
}

pub(crate) struct Fake {
    pub(crate) url: Url,
    state: Arc<Mutex<State>>,
}

pub(crate) struct State {
    pub(crate) products: Vec<Value>,
    pub(crate) manner: Manner,
    pub(crate) gate: Gate,
    pub(crate) asked: Vec<Asked>,
    /// How long a token holds, as it says, in seconds.
    pub(crate) says: u64,
    /// How many requests a token really holds.
    pub(crate) holds: usize,
    pub(crate) tokens: usize,
    used: usize,
    /// Answered to everything but the login, if it is there.
    pub(crate) instead: Option<Answer>,
}

/// Goods in warehouses: (work station, warehouse, quantity).
pub(crate) fn goods(code: &str, name: &str, price: &str, places: &[(&str, &str, Value)]) -> Value {
    let stock: Vec<Value> = places
        .iter()
        .map(|(station, management, quantity)| {
            json!({"workStation": station, "management": management, "quantity": quantity, "price": price,
                "currency": "RON", "vatName": "Normala", "vatPercentage": 21, "vatIncluded": false})
        })
        .collect();
    json!({"name": name, "code": code, "description": "", "measuringUnit": "buc", "productType": "Marfa", "stock": stock})
}

pub(crate) fn service(code: &str, name: &str, price: &str) -> Value {
    json!({"name": name, "code": code, "description": "", "measuringUnit": "ora", "productType": "Serviciu",
        "price": price, "currency": "RON", "vatName": "Normala", "vatPercentage": 21, "vatIncluded": true})
}

impl Fake {
    /// With the vendor's limits in a twentieth of the time.
    pub(crate) async fn short() -> Self {
        Self::start(&[fake::short()]).await
    }

    /// With the vendor's own limits: 3 requests a second, and 30 in 10 s.
    pub(crate) async fn real() -> Self {
        Self::start(&[oblio::RATE, fake::thirty()]).await
    }

    async fn start(limits: &[Rate]) -> Self {
        let state = Arc::new(Mutex::new(State {
            products: Vec::new(),
            manner: Manner::default(),
            gate: Gate::new(limits),
            asked: Vec::new(),
            says: 3_600,
            holds: usize::MAX,
            tokens: 0,
            used: 0,
            instead: None,
        }));
        let answering = Arc::clone(&state);
        let url = fake::start(move |asked| answering.lock().unwrap().answer(asked)).await;
        Self { url, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn put(&self, product: Value) {
        self.state().products.push(product);
    }

    pub(crate) fn config(&self, more: &Value) -> OblioConfig {
        let mut keys =
            json!({"client_id": USER, "client_secret": SECRET, "cif": CIF, "url": self.url, "timeout": "5s"});
        for (key, value) in more.as_object().unwrap() {
            keys[key] = value.clone();
        }
        serde_json::from_value(keys).unwrap()
    }

    pub(crate) fn connector(&self, more: &Value) -> Oblio {
        self.state().gate.begin_anew();
        Oblio::with_rate(self.config(more), fake::short()).unwrap()
    }

    /// No limit was exceeded; how many requests there were.
    pub(crate) fn unblocked(&self) -> usize {
        let state = self.state();
        assert!(!state.gate.is_blocked(), "the limit was exceeded");
        state.gate.count()
    }
}

fn failed(status: u16, message: &str) -> Answer {
    (status, json!({"status": status, "statusMessage": message}).to_string())
}

fn success(data: &Value) -> Answer {
    (
        200,
        json!({"status": 200, "statusMessage": "Success", "data": data}).to_string(),
    )
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let is_let_through = self.gate.lets_through(asked.at);
        self.asked.push(asked.clone());
        if !is_let_through {
            return failed(401, "Token-ul este blocat 10 minute");
        }
        if (asked.method.as_str(), asked.path.as_str()) == ("POST", "/api/authorize/token") {
            return self.log_in(asked);
        }
        if let Some(instead) = &self.instead {
            return instead.clone();
        }
        self.used += 1;
        let bearer = format!("Bearer token-{}", self.tokens);
        if asked.header("authorization") != Some(bearer.as_str()) || self.used > self.holds {
            return failed(401, "The access token provided is invalid");
        }
        if asked.path == "/api/nomenclature/companies" {
            return success(&json!([{"cif": CIF, "company": "EXEMPLU SRL", "userTypeAccess": "admin"}]));
        }
        if asked.param("cif") != Some(CIF) {
            return failed(400, "Nu aveti acces la aceasta companie");
        }
        match asked.path.as_str() {
            "/api/nomenclature/management" if self.manner.without_stock => failed(400, "Stocurile nu sunt activate"),
            "/api/nomenclature/management" => success(&json!([
                {"management": "Magazin", "workStation": "Sediu", "managementType": "Cantitativ Valorica"},
                {"management": "Mobila", "workStation": "Depozit", "managementType": "Cantitativ Valorica"},
            ])),
            "/api/nomenclature/products" => self.products(asked),
            _ => failed(404, "Not found"),
        }
    }

    fn log_in(&mut self, asked: &Asked) -> Answer {
        assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
        let fields: Vec<(String, String)> = url::form_urlencoded::parse(asked.body.as_bytes())
            .into_owned()
            .collect();
        let field = |name: &str| {
            fields
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
        };
        if field("client_id") != Some(USER) || field("client_secret") != Some(SECRET) {
            return (401, json!({"error": "invalid_client"}).to_string());
        }
        self.tokens += 1;
        self.used = 0;
        let token = json!({"access_token": format!("token-{}", self.tokens), "expires_in": self.says.to_string(),
            "token_type": "Bearer", "scope": "", "request_time": "1540471129"});
        (200, token.to_string())
    }

    fn products(&self, asked: &Asked) -> Answer {
        let has = |product: &Value, key: &str, in_part: bool| {
            asked.param(key).is_none_or(|wanted| {
                let told = product[key].as_str().unwrap_or_default().to_lowercase();
                let wanted = wanted.to_lowercase();
                told == wanted || in_part && told.contains(&wanted)
            })
        };
        let found: Vec<&Value> = self
            .products
            .iter()
            .filter(|product| {
                has(product, "code", self.manner.the_other_way) && has(product, "name", !self.manner.the_other_way)
            })
            .collect();
        let is_filtered = asked.param("code").or(asked.param("name")).is_some();
        if found.is_empty() && is_filtered && self.manner.unknown_is_error {
            return failed(400, "Nu exista produse");
        }
        let offset = asked
            .param("offset")
            .and_then(|offset| offset.parse().ok())
            .unwrap_or(0);
        let offset = if self.manner.ignores_offset { 0 } else { offset };
        let page: Vec<&Value> = found.into_iter().skip(offset).take(PAGE).collect();
        success(&json!(page))
    }
}
