//! A NextUp that is not there, after its own pages and what public programs read of it; see the preset.

use std::sync::{Arc, Mutex, MutexGuard};

use allai_connectors::rest::Rest;
use serde_json::{Value, json};
use url::Url;

use super::fake::{self, Answer, Asked};

pub(crate) const PASSWORD: &str = "Demo\"1234";

pub(crate) struct Fake {
    url: Url,
    state: Arc<Mutex<State>>,
}

pub(crate) struct State {
    pub(crate) articles: Vec<Value>,
    pub(crate) asked: Vec<Asked>,
    /// How many tokens were given.
    pub(crate) tokens: usize,
    /// How many requests a token holds.
    pub(crate) holds: usize,
    used: usize,
}

/// An article in warehouses: (name, quantity).
pub(crate) fn article(code: &str, name: &str, net: &Value, places: &[(&str, Value)]) -> Value {
    let places: Vec<Value> = places
        .iter()
        .map(|(name, quantity)| json!({"WarehouseName": name, "StockQuantity": quantity}))
        .collect();
    let places = if places.is_empty() { Value::Null } else { json!(places) };
    json!({"Id": 7, "Code": code, "Name": name, "MeasuringUnitName": "buc", "GenericSalePriceEnGross": net,
        "GenericSalePriceEnDetail": 0, "ArticlesWarehouseStocks": places})
}

fn result(value: &Value) -> Answer {
    (200, json!({"Result": value, "Error": null}).to_string())
}

fn failed(message: &str) -> Answer {
    (200, json!({"Result": false, "Error": message}).to_string())
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            articles: Vec::new(),
            asked: Vec::new(),
            tokens: 0,
            holds: usize::MAX,
            used: 0,
        }));
        let answering = Arc::clone(&state);
        let url = fake::start(move |asked| answering.lock().unwrap().answer(asked)).await;
        Self { url, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn connector(&self, more: &Value) -> Rest {
        let mut keys = json!({"preset": "nextup", "url": format!("{}/NextUpServices/Services/POST", self.url),
            "username": "demo_user", "password": PASSWORD, "vars": {"database": "99999999"}});
        for (key, value) in more.as_object().unwrap() {
            keys[key] = value.clone();
        }
        Rest::new(serde_json::from_value(keys).unwrap()).unwrap()
    }
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        self.asked.push(asked.clone());
        let is_endpoint = asked.method == "POST" && asked.path == "/api/NextUpServices/Services/POST/";
        if !is_endpoint || asked.header("content-type") != Some("text/plain") {
            return (200, String::new());
        }
        let question = asked.json();
        let params = &question["Params"];
        if question["Method"] == "GetAuthenticationToken" {
            if *params != json!({"UserName": "demo_user", "Password": PASSWORD, "Database": "99999999"}) {
                return failed("Invalid credentials.");
            }
            self.tokens += 1;
            self.used = 0;
            return result(&json!(format!("{:032x}", self.tokens)));
        }
        self.used += 1;
        if question["AuthenticationToken"] != json!(format!("{:032x}", self.tokens)) || self.used > self.holds {
            return failed("AuthenticationToken lipseste, este invalid sau a expirat.");
        }
        match question["Method"].as_str() {
            Some("GetArticleByCode") => {
                let Some(code) = params["code"].as_str() else {
                    return failed("Parametrul \"code\" este obligatoriu.");
                };
                let is_it = |one: &&Value| one["Code"].as_str().unwrap().eq_ignore_ascii_case(code.trim());
                match self.articles.iter().find(is_it) {
                    Some(article) => {
                        let mut article = article.clone();
                        if params["includeArticleWarehouseStock"] != true {
                            article.as_object_mut().unwrap().remove("ArticlesWarehouseStocks");
                        }
                        result(&article)
                    }
                    None => failed(&format!("Articol cu codul \"{code}\" nu a fost gasit.")),
                }
            }
            Some("GetArticlesByNameAndCode") => {
                let name = params["name"].as_str().unwrap_or_default().to_lowercase();
                let has = |one: &&Value| one["Name"].as_str().unwrap().to_lowercase().contains(&name);
                let found: Vec<&Value> = self.articles.iter().filter(has).collect();
                result(&json!(found))
            }
            _ => failed("Campul \"Method\" este obligatoriu."),
        }
    }
}
