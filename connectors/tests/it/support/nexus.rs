//! A Nexus that is not there, after its own pages and what public programs read of it; see the preset.

use std::sync::{Arc, Mutex, MutexGuard};

use allai_connectors::rest::Rest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use url::Url;

use super::fake::{self, Answer, Asked};

pub(crate) const KEY: &str = "2A7A4D10";

pub(crate) struct Fake {
    url: Url,
    state: Arc<Mutex<State>>,
}

pub(crate) struct State {
    /// Rows of stock: a lot each.
    pub(crate) lots: Vec<Value>,
    pub(crate) prices: Vec<Value>,
    pub(crate) asked: Vec<Asked>,
    /// Whether the rows come as a text that holds JSON.
    pub(crate) as_text: bool,
}

pub(crate) fn lot(id: &str, name: &str, place: &str, quantity: &Value) -> Value {
    json!({"id_produs": id, "den_produs": name, "id_gestiune": place, "den_gestiune": format!("Depozit {place}"),
        "cantitate": quantity, "data_expirare": "2027-01-01T00:00:00"})
}

pub(crate) fn price(id: &str, name: &str, net: &Value) -> Value {
    json!({"id_produs": id, "den_produs": name, "cod_produs": "", "tip_oferta": "Oferta generala de pret",
        "pret_vanzare": net, "pret_vanzare_tva": null, "moneda": "RON   "})
}

impl Fake {
    pub(crate) async fn start(as_text: bool) -> Self {
        let state = Arc::new(Mutex::new(State {
            lots: Vec::new(),
            prices: Vec::new(),
            asked: Vec::new(),
            as_text,
        }));
        let answering = Arc::clone(&state);
        let url = fake::start(move |asked| answering.lock().unwrap().answer(asked)).await;
        Self { url, state }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn connector(&self, more: &Value) -> Rest {
        let mut keys = json!({"preset": "nexus", "url": self.url, "api_key": KEY});
        for (key, value) in more.as_object().unwrap() {
            keys[key] = value.clone();
        }
        // It has its paths below the root, this one below /api.
        for operation in ["stock", "prices", "search"] {
            let entity = if operation == "stock" {
                "stoc_detaliat"
            } else {
                "preturi"
            };
            keys[operation]["path"] = json!(format!("v3/read/{entity}"));
        }
        Rest::new(serde_json::from_value(keys).unwrap()).unwrap()
    }
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        self.asked.push(asked.clone());
        let key = format!("Basic {}", STANDARD.encode(format!("{KEY}:")));
        if asked.header("authorization") != Some(&key) {
            return (401, String::new());
        }
        let rows = match asked.path.as_str() {
            "/api/v3/read/stoc_detaliat" => &self.lots,
            "/api/v3/read/preturi" => &self.prices,
            _ => return (404, String::new()),
        };
        let Value::Object(filters) = asked.json() else {
            return failed("Parametri incorecti");
        };
        let fits = |row: &&Value| {
            filters.iter().all(|(name, wanted)| {
                let (told, wanted) = (
                    row[name].as_str().unwrap_or_default(),
                    wanted.as_str().unwrap_or_default(),
                );
                if name == "den_produs" {
                    told.to_lowercase().contains(&wanted.to_lowercase())
                } else {
                    told == wanted
                }
            })
        };
        let found: Vec<&Value> = rows.iter().filter(fits).collect();
        let result = if self.as_text {
            json!(json!(found).to_string())
        } else {
            json!(found)
        };
        (
            200,
            json!({"isError": false, "message": "", "result": result}).to_string(),
        )
    }
}

fn failed(message: &str) -> Answer {
    (
        200,
        json!({"isError": true, "message": message, "result": null}).to_string(),
    )
}
