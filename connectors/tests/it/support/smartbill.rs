//! A SmartBill that is not there, after what is known of it; see the connector's page.

use std::sync::{Arc, Mutex, MutexGuard};

use allai_connectors::http::Rate;
use allai_connectors::smartbill::{self, Smartbill, SmartbillConfig};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use url::Url;

use super::fake::{self, Answer, Asked, Gate};

pub(crate) const USER: &str = "contabil@firma.ro";
pub(crate) const TOKEN: &str = "token-very-secret";
pub(crate) const CIF: &str = "RO12345678";

/// How it behaves where sources do not say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// `productCode` finds parts of codes too.
    pub(crate) in_part: bool,
    /// A code that nothing has is an error.
    pub(crate) unknown_is_error: bool,
    /// Quantities are texts.
    pub(crate) texts: bool,
}

pub(crate) struct Fake {
    pub(crate) url: Url,
    state: Arc<Mutex<State>>,
}

pub(crate) struct State {
    /// (warehouse, code, name, unit, quantity).
    pub(crate) stock: Vec<(String, Value, String, String, Value)>,
    pub(crate) manner: Manner,
    pub(crate) gate: Gate,
    pub(crate) asked: Vec<Asked>,
    /// Answered to everything, if it is there.
    pub(crate) instead: Option<Answer>,
}

impl Fake {
    /// With the vendor's limits in a twentieth of the time.
    pub(crate) async fn short() -> Self {
        Self::start(&[fake::short()]).await
    }

    /// With the vendor's own limits: 30 requests in 10 s, and, as others have it, 3 a second.
    pub(crate) async fn real() -> Self {
        Self::start(&[smartbill::RATE, fake::thirty()]).await
    }

    async fn start(limits: &[Rate]) -> Self {
        let state = Arc::new(Mutex::new(State {
            stock: Vec::new(),
            manner: Manner::default(),
            gate: Gate::new(limits),
            asked: Vec::new(),
            instead: None,
        }));
        let answering = Arc::clone(&state);
        let url = fake::start(move |asked| answering.lock().unwrap().answer(asked)).await;
        Self { url, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn put(&self, warehouse: &str, code: &str, name: &str, quantity: impl Into<Value>) {
        let line = (
            warehouse.to_owned(),
            Value::from(code),
            name.to_owned(),
            "buc".to_owned(),
            quantity.into(),
        );
        self.state().stock.push(line);
    }

    pub(crate) fn config(&self, more: &Value) -> SmartbillConfig {
        let mut keys = json!({"username": USER, "token": TOKEN, "cif": CIF, "url": self.url, "timeout": "5s"});
        for (key, value) in more.as_object().unwrap() {
            keys[key] = value.clone();
        }
        serde_json::from_value(keys).unwrap()
    }

    pub(crate) fn connector(&self, more: &Value) -> Smartbill {
        self.state().gate.begin_anew();
        Smartbill::with_rate(self.config(more), fake::short()).unwrap()
    }

    /// No limit was exceeded; how many requests there were.
    pub(crate) fn unblocked(&self) -> usize {
        let state = self.state();
        assert!(!state.gate.is_blocked(), "the limit was exceeded");
        state.gate.count()
    }
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        let is_let_through = self.gate.lets_through(asked.at);
        self.asked.push(asked.clone());
        let failed = |status, text: &str| (status, json!({"errorText": text, "message": ""}).to_string());
        if !is_let_through {
            return failed(403, "Ati depasit numarul de apeluri; accesul este blocat 10 minute");
        }
        if let Some(instead) = &self.instead {
            return instead.clone();
        }
        let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{TOKEN}")));
        if asked.header("authorization") != Some(basic.as_str()) {
            return failed(401, "Autentificare esuata");
        }
        if (asked.method.as_str(), asked.path.as_str()) != ("GET", "/api/stocks") {
            return failed(404, "");
        }
        let is_day = |date: &str| chrono::NaiveDate::parse_from_str(date, "%Y-%m-%d").is_ok();
        if asked.param("cif") != Some(CIF) || !asked.param("date").is_some_and(is_day) {
            return failed(400, "Firma este invalida");
        }
        let mut list: Vec<Value> = Vec::new();
        for (warehouse, code, name, unit, quantity) in &self.stock {
            let told = code.as_str().unwrap_or_default();
            let has_code = asked.param("productCode").is_none_or(|wanted| {
                told == wanted || self.manner.in_part && told.to_lowercase().contains(&wanted.to_lowercase())
            });
            let has_name = asked.param("productName").is_none_or(|wanted| name == wanted);
            let is_there = asked.param("warehouseName").is_none_or(|wanted| warehouse == wanted);
            if !(has_code && has_name && is_there) {
                continue;
            }
            let quantity = match quantity {
                Value::Number(number) if self.manner.texts => Value::from(number.to_string()),
                other => other.clone(),
            };
            let product =
                json!({"productCode": code, "productName": name, "measuringUnit": unit, "quantity": quantity});
            let at = list
                .iter()
                .position(|entry| entry["warehouse"]["warehouseName"] == warehouse.as_str());
            let at = at.unwrap_or_else(|| {
                let head = json!({"warehouseName": warehouse, "warehouseType": "en gros"});
                list.push(json!({"warehouse": head, "products": []}));
                list.len() - 1
            });
            list[at]["products"].as_array_mut().unwrap().push(product);
        }
        if list.is_empty() && self.manner.unknown_is_error && asked.param("productCode").is_some() {
            return failed(200, "Produsul nu exista");
        }
        (
            200,
            json!({"errorText": "", "message": "", "number": "", "series": "", "list": list}).to_string(),
        )
    }
}
