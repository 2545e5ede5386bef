//! Odoo 19 as its page "External JSON-2 API" describes it: `POST /json/2/<model>/<method>` with a bearer key and arguments by name,
//! statuses for errors, and what its models have become. It keeps what it is told and forgets nothing.
//!
//! It is stricter than the real one: an argument or a context that Odoo 19 does not have is refused, where Odoo would ignore it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use allai_connectors::odoo::{Odoo, OdooConfig};
use serde_json::{Map, Value, json};
use url::Url;

use super::fake::{self, Answer, Asked};

const KEY: &str = "6578616d706c65206a736f6e20617069206b6579";
const DATABASE: &str = "mycompany";

type Row = Map<String, Value>;

/// It.
pub(crate) struct Odoo19 {
    url: Url,
    state: Arc<Mutex<State>>,
}

struct State {
    models: BTreeMap<&'static str, BTreeMap<i64, Row>>,
    /// What there is of a product in a warehouse: on hand and forecast.
    stock: BTreeMap<(i64, i64), (f64, f64)>,
    /// When the next record of the seed was written, in microseconds since the epoch; `None` once it is the present.
    clock: Option<i64>,
    /// Rights that the user has not, e.g. `crm.lead.create`.
    forbidden: Vec<&'static str>,
    asked: Vec<Asked>,
}

fn row(values: &Value) -> Row {
    values.as_object().unwrap().clone()
}

/// The fields of a model: name, type, whether required, whether read only.
fn fields_of(model: &str) -> Vec<(&'static str, &'static str, bool, bool)> {
    let stamps = [
        ("create_date", "datetime", false, true),
        ("write_date", "datetime", false, true),
    ];
    let own: &[(&str, &str, bool, bool)] = match model {
        "res.users" | "res.company" => &[("name", "char", true, false), ("company_id", "many2one", false, false)],
        "product.product" => &[
            ("name", "char", true, false),
            ("default_code", "char", false, false),
            ("barcode", "char", false, false),
            ("type", "selection", true, false),
            ("is_storable", "boolean", false, false),
            ("uom_id", "many2one", true, false),
            ("qty_available", "float", false, true),
            ("virtual_available", "float", false, true),
            ("lst_price", "float", false, false),
            ("currency_id", "many2one", false, true),
            ("taxes_id", "many2many", false, false),
        ],
        "stock.warehouse" => &[
            ("name", "char", true, false),
            ("code", "char", true, false),
            ("company_id", "many2one", true, false),
        ],
        "account.tax" => &[
            ("amount", "float", true, false),
            ("amount_type", "selection", true, false),
            ("price_include", "boolean", false, true),
            ("include_base_amount", "boolean", false, false),
            ("company_id", "many2one", true, false),
        ],
        "res.partner" => &[
            ("name", "char", false, false),
            ("email", "char", false, false),
            ("email_normalized", "char", false, true),
            ("phone", "char", false, false),
            ("phone_sanitized", "char", false, true),
            ("ref", "char", false, false),
            ("comment", "html", false, false),
            ("user_id", "many2one", false, false),
            ("active", "boolean", false, false),
        ],
        "crm.lead" => &[
            ("name", "char", true, false),
            ("contact_name", "char", false, false),
            ("email_from", "char", false, false),
            ("email_normalized", "char", false, true),
            ("phone", "char", false, false),
            ("referred", "char", false, false),
            ("expected_revenue", "monetary", false, false),
            ("probability", "float", false, false),
            ("description", "html", false, false),
            ("active", "boolean", false, false),
        ],
        _ => &[],
    };
    own.iter().copied().chain(stamps).collect()
}

impl Odoo19 {
    pub(crate) async fn start() -> Self {
        let mut state = State {
            models: BTreeMap::new(),
            stock: BTreeMap::new(),
            clock: Some(now() - MONTH),
            forbidden: Vec::new(),
            asked: Vec::new(),
        };
        state.seed();
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let url = fake::start(move |asked| shared.lock().unwrap().answer(asked)).await;
        Self { url, state }
    }

    /// A connector to it, with these keys besides.
    pub(crate) fn connector(&self, more: &Value) -> Odoo {
        let mut config = json!({"url": self.url, "database": DATABASE, "api_key": KEY});
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        Odoo::new(serde_json::from_value::<OdooConfig>(config).unwrap()).unwrap()
    }

    /// Takes a right from the user.
    pub(crate) fn forbid(&self, what: &'static str) {
        self.state.lock().unwrap().forbidden.push(what);
    }

    /// How many requests there were to this method.
    pub(crate) fn count(&self, model: &str, method: &str) -> usize {
        let path = format!("/api/json/2/{model}/{method}");
        self.state
            .lock()
            .unwrap()
            .asked
            .iter()
            .filter(|asked| asked.path == path)
            .count()
    }
}

/// In microseconds.
const MONTH: i64 = 30 * 86_400 * 1_000_000;

fn now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "a server has a clock of its own")]
    chrono::Utc::now().timestamp_micros()
}

impl State {
    fn stamp(&mut self) -> i64 {
        let Some(clock) = &mut self.clock else { return now() };
        *clock += 300_000;
        *clock
    }

    fn add(&mut self, model: &'static str, values: Row) -> i64 {
        let rows = self.models.entry(model).or_default();
        let id = rows.keys().next_back().map_or(1, |last| last + 1);
        // Every field has a value; an empty one is false.
        let mut whole: Row = fields_of(model)
            .iter()
            .map(|(name, ..)| ((*name).to_owned(), json!(false)))
            .collect();
        if whole.contains_key("active") {
            whole.insert("active".to_owned(), json!(true));
        }
        if model == "crm.lead" {
            whole.insert("probability".to_owned(), json!(10.0));
            whole.insert("expected_revenue".to_owned(), json!(0.0));
        }
        whole.insert("id".to_owned(), json!(id));
        whole.extend(values);
        let stamp = json!(self.stamp());
        whole.insert("create_date".to_owned(), stamp.clone());
        whole.insert("write_date".to_owned(), stamp);
        normalize(&mut whole);
        self.models.entry(model).or_default().insert(id, whole);
        id
    }

    fn seed(&mut self) {
        let put = |state: &mut Self, model, values: Value| state.add(model, row(&values));
        let (company, lei, unit) = (json!([1, "AllAI Demo SRL"]), json!([1, "RON"]), json!([1, "Units"]));
        put(self, "res.company", json!({"name": "AllAI Demo SRL"}));
        put(self, "res.users", json!({"name": "allai", "company_id": company}));
        put(
            self,
            "stock.warehouse",
            json!({"name": "Depozit central", "code": "WH", "company_id": company}),
        );
        put(
            self,
            "stock.warehouse",
            json!({"name": "Depozit Cluj", "code": "CLJ", "company_id": company}),
        );
        put(
            self,
            "account.tax",
            json!({"amount": 21.0, "amount_type": "percent", "price_include": false, "company_id": company}),
        );
        let products = [
            (
                "PH-1000",
                "Pompa de caldura 10 kW",
                8999.0,
                true,
                [(7.0, 5.0), (3.0, 3.0)],
            ),
            ("FT-200", "Filtru aer 200 mm", 45.5, true, [(120.0, 120.0), (0.0, 0.0)]),
            ("CZ-24", "Centrala termica 24 kW", 3499.99, true, [(0.0, 0.0); 2]),
            ("SV-1", "Montaj pompa", 500.0, false, [(0.0, 0.0); 2]),
            ("NP-1", "Fara pret", 0.0, true, [(0.0, 0.0); 2]),
            (
                "100%_\\",
                "Teava 100% PVC_2 \\ \"dubla\"",
                12.34,
                true,
                [(5.0, 5.0), (0.0, 0.0)],
            ),
            ("[\"code\",\"ilike\",\"%\"]", "Domeniu", 1.0, true, [(0.0, 0.0); 2]),
        ];
        for (code, name, price, storable, stock) in products {
            let taxes = if code == "PH-1000" { json!([1]) } else { json!([]) };
            let id = put(
                self,
                "product.product",
                json!({"default_code": code, "name": name, "lst_price": price, "is_storable": storable, "taxes_id": taxes,
                    "type": if storable { "consu" } else { "service" }, "uom_id": unit, "currency_id": lei}),
            );
            for (warehouse, figures) in [1, 2].into_iter().zip(stock) {
                self.stock.insert((id, warehouse), figures);
            }
        }
        for name in ["Dublu Unu", "Dublu Doi"] {
            put(self, "res.partner", json!({"name": name, "email": "dublu@example.ro"}));
        }
        put(
            self,
            "res.partner",
            json!({"name": "National", "phone": "0722 000 111"}),
        );
        self.models.get_mut("res.partner").unwrap().get_mut(&3).unwrap()["phone_sanitized"] = json!("+40722000111");
        for number in 0..230 {
            put(self, "res.partner", json!({"name": format!("Mass {number}")}));
        }
        // Most of them within one second, later ones first.
        let second = (now() - 2 * MONTH) / 1_000_000 * 1_000_000;
        for (id, partner) in self.models.get_mut("res.partner").unwrap() {
            if (10..200).contains(id) {
                partner.insert("write_date".to_owned(), json!(second + 999_999 - id * 1_000));
            }
        }
        self.clock = None;
    }

    fn answer(&mut self, asked: &Asked) -> Answer {
        self.asked.push(asked.clone());
        if asked.method == "GET" && asked.path == "/api/web/version" {
            return (
                200,
                json!({"version_info": [19, 0, 0, "final", 0, ""], "version": "19.0"}).to_string(),
            );
        }
        match self.called(asked) {
            Ok(value) => (200, value.to_string()),
            Err((status, name, message)) => {
                let error = json!({"name": name, "message": message, "arguments": [message], "context": {}, "debug": "Traceback"});
                (status, error.to_string())
            }
        }
    }

    fn called(&mut self, asked: &Asked) -> Result<Value, (u16, &'static str, String)> {
        let not_found = |message: &str| (404, "werkzeug.exceptions.NotFound", message.to_owned());
        let unprocessable = |message: String| (422, "werkzeug.exceptions.UnprocessableEntity", message);
        let path: Vec<&str> = asked.path.split('/').collect();
        let ["", "api", "json", "2", model, method] = path[..] else {
            return Err(not_found("Did you mean POST /json/2/<model>/<method>?"));
        };
        if asked.header("authorization") != Some(&format!("bearer {KEY}")) {
            return Err((401, "werkzeug.exceptions.Unauthorized", "Invalid apikey".to_owned()));
        }
        if asked.header("x-odoo-database") != Some(DATABASE) || asked.method != "POST" {
            return Err(not_found("no database is selected"));
        }
        let model = [
            "res.users",
            "res.company",
            "product.product",
            "stock.warehouse",
            "account.tax",
            "res.partner",
            "crm.lead",
        ]
        .into_iter()
        .find(|known| *known == model)
        .ok_or_else(|| not_found("the model does not exist"))?;
        let mut body: Row =
            serde_json::from_str(&asked.body).map_err(|_| unprocessable("no JSON object".to_owned()))?;
        let context = body.remove("context").unwrap_or_else(|| json!({}));
        let known: &[&str] = match method {
            "search_read" => &["domain", "fields", "offset", "limit", "order"],
            "fields_get" => &["allfields", "attributes"],
            "default_get" => &["fields"],
            "create" => &["vals_list"],
            "write" => &["ids", "vals"],
            "has_access" => &["ids", "operation"],
            "context_get" => &[],
            _ => return Err(not_found("the method does not exist")),
        };
        if let Some(unknown) = body.keys().find(|name| !known.contains(&name.as_str())) {
            return Err(unprocessable(format!("got an unexpected keyword argument '{unknown}'")));
        }
        let right = match method {
            "create" | "write" => method,
            "has_access" => body["operation"].as_str().unwrap_or_default(),
            _ => "read",
        };
        let is_allowed = !self.forbidden.iter().any(|what| *what == format!("{model}.{right}"));
        if method == "has_access" {
            return Ok(json!(is_allowed));
        }
        if !is_allowed {
            let message = format!("You are not allowed to access '{model}' ({model}) records.");
            return Err((403, "odoo.exceptions.AccessError", message));
        }
        match method {
            "context_get" => Ok(json!({"lang": "ro_RO", "tz": "Europe/Bucharest", "uid": 1})),
            "fields_get" => Ok(described(model, &body)),
            "default_get" => Ok(json!({})),
            "search_read" => Ok(self.search_read(model, &body, &context)),
            "create" => self.create(model, &body),
            _ => self.write(model, &body),
        }
    }

    fn search_read(&self, model: &str, body: &Row, context: &Value) -> Value {
        let domain = body["domain"].as_array().unwrap();
        let all = context["active_test"] == json!(false);
        let is_found = |row: &&Row| matches(domain, row) && (all || row.get("active") != Some(&json!(false)));
        let empty = BTreeMap::new();
        let rows = self.models.get(model).unwrap_or(&empty);
        let mut found: Vec<&Row> = rows.values().filter(is_found).collect();
        match body.get("order").and_then(Value::as_str) {
            None | Some("id") => {}
            Some("write_date, id") => found.sort_by_key(|row| (row["write_date"].as_i64(), row["id"].as_i64())),
            Some("default_code, id") => {
                found.sort_by_key(|row| (row["default_code"].as_str(), row["id"].as_i64()));
            }
            Some(other) => panic!("unknown order {other}"),
        }
        if let Some(limit) = body.get("limit").and_then(Value::as_u64) {
            found.truncate(usize::try_from(limit).unwrap());
        }
        let fields: Vec<&str> = body["fields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap())
            .collect();
        found
            .iter()
            .map(|row| self.told(model, row, &fields, context))
            .collect()
    }

    fn told(&self, model: &str, row: &Row, fields: &[&str], context: &Value) -> Value {
        let id = row["id"].as_i64().unwrap();
        // Of all warehouses, unless the context names one, as it is called from 18 on.
        let warehouse = context["warehouse_id"].as_i64();
        let figures = self
            .stock
            .iter()
            .filter(|((product, place), _)| *product == id && warehouse.is_none_or(|warehouse| warehouse == *place));
        let (on_hand, forecast) = figures.fold((0.0, 0.0), |(a, b), (_, (on_hand, forecast))| {
            (a + on_hand, b + forecast)
        });
        let value = |name: &str| match name {
            "qty_available" if model == "product.product" => json!(on_hand),
            "virtual_available" if model == "product.product" => json!(forecast),
            "create_date" | "write_date" => json!(moment(row[name].as_i64().unwrap())),
            _ => row
                .get(name)
                .unwrap_or_else(|| panic!("{model} has no field {name}"))
                .clone(),
        };
        let told = fields.iter().map(|name| ((*name).to_owned(), value(name)));
        Value::Object([("id".to_owned(), json!(id))].into_iter().chain(told).collect())
    }

    fn create(&mut self, model: &'static str, body: &Row) -> Result<Value, (u16, &'static str, String)> {
        let invalid = |message: &str| (422, "odoo.exceptions.ValidationError", message.to_owned());
        let mut ids = Vec::new();
        for values in body["vals_list"].as_array().unwrap() {
            check(model, row(values).keys())?;
            if values["name"].as_str().is_none_or(str::is_empty) {
                return Err(invalid("Missing required value for the field 'Name' (name)."));
            }
            ids.push(self.add(model, row(values)));
        }
        Ok(json!(ids))
    }

    fn write(&mut self, model: &'static str, body: &Row) -> Result<Value, (u16, &'static str, String)> {
        let values = row(&body["vals"]);
        check(model, values.keys())?;
        for id in body["ids"].as_array().unwrap() {
            let stamp = json!(self.stamp());
            let rows = self.models.get_mut(model).unwrap();
            let row = rows.get_mut(&id.as_i64().unwrap()).ok_or_else(|| {
                (
                    404,
                    "odoo.exceptions.MissingError",
                    "Record does not exist or has been deleted.".to_owned(),
                )
            })?;
            row.extend(values.clone());
            row.insert("write_date".to_owned(), stamp);
            normalize(row);
        }
        Ok(json!(true))
    }
}

fn check<'a>(model: &str, mut names: impl Iterator<Item = &'a String>) -> Result<(), (u16, &'static str, String)> {
    let fields = fields_of(model);
    match names.find(|name| !fields.iter().any(|(known, ..)| known == name)) {
        None => Ok(()),
        Some(name) => Err((
            500,
            "builtins.ValueError",
            format!("Invalid field '{name}' in '{model}'"),
        )),
    }
}

fn described(model: &str, body: &Row) -> Value {
    let wanted = body.get("allfields").and_then(Value::as_array);
    let is_wanted = |name: &str| wanted.is_none_or(|wanted| wanted.iter().any(|other| other == name));
    let describe = |(name, kind, required, readonly): (&str, &str, bool, bool)| {
        let field = json!({"string": name.to_uppercase(), "type": kind, "required": required, "readonly": readonly, "store": true});
        (name.to_owned(), field)
    };
    let fields = fields_of(model)
        .into_iter()
        .filter(|(name, ..)| is_wanted(name))
        .map(describe);
    Value::Object(fields.collect())
}

fn normalize(row: &mut Row) {
    let email = row
        .get("email")
        .or_else(|| row.get("email_from"))
        .and_then(Value::as_str);
    let normal = email.map(|email| {
        let inner = email
            .rsplit_once('<')
            .map_or(email, |(_, inner)| inner.trim_end_matches('>'));
        inner.trim().to_lowercase()
    });
    if row.contains_key("email_normalized") {
        row.insert("email_normalized".to_owned(), normal.map_or(json!(false), Value::from));
    }
}

fn moment(micros: i64) -> String {
    let time = chrono::DateTime::from_timestamp_micros(micros).unwrap();
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// Whether a domain, in its prefix notation, is true of a row.
fn matches(domain: &[Value], row: &Row) -> bool {
    let mut rest = domain;
    let mut all = true;
    while !rest.is_empty() {
        let (is_true, left) = term(rest, row);
        all &= is_true;
        rest = left;
    }
    all
}

fn term<'a>(domain: &'a [Value], row: &Row) -> (bool, &'a [Value]) {
    let (first, rest) = domain.split_first().unwrap();
    if first == "|" {
        let (one, rest) = term(rest, row);
        let (other, rest) = term(rest, row);
        return (one || other, rest);
    }
    let (name, operator, wanted) = (first[0].as_str().unwrap(), first[1].as_str().unwrap(), &first[2]);
    let stored = row.get(name).unwrap_or_else(|| panic!("no field {name} to search by"));
    // A related record is compared by its id, a time as it is kept.
    let stored = if stored.is_array() { &stored[0] } else { stored };
    let wanted = match name {
        "write_date" if wanted.is_string() => {
            let text = wanted.as_str().unwrap();
            let time = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap();
            json!(time.and_utc().timestamp_micros())
        }
        _ => wanted.clone(),
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_lowercase();
    let is_true = match operator {
        "=" => *stored == wanted,
        "!=" => *stored != wanted,
        "in" => wanted.as_array().unwrap().contains(stored),
        ">" if wanted.is_string() => stored.as_str() > wanted.as_str(),
        "<" => stored.as_f64() < wanted.as_f64(),
        ">" => stored.as_f64() > wanted.as_f64(),
        ">=" => stored.as_f64() >= wanted.as_f64(),
        "=ilike" => stored.is_string() && is_like(&text(stored), &text(&wanted)),
        "ilike" => stored.is_string() && is_like(&text(stored), &format!("%{}%", text(&wanted))),
        other => panic!("unknown operator {other}"),
    };
    (is_true, rest)
}

/// PostgreSQL's LIKE.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut pattern = pattern.chars();
    match pattern.next() {
        None => text.is_empty(),
        Some('%') => {
            let rest = pattern.as_str();
            let mut starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            starts.any(|at| is_like(&text[at..], rest))
        }
        Some('_') => {
            let mut characters = text.chars();
            characters.next().is_some() && is_like(characters.as_str(), pattern.as_str())
        }
        Some(wanted) => {
            let wanted = if wanted == '\\' {
                pattern.next().unwrap_or('\\')
            } else {
                wanted
            };
            text.strip_prefix(wanted)
                .is_some_and(|rest| is_like(rest, pattern.as_str()))
        }
    }
}
