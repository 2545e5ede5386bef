//! `[connectors.NAME]`: CRM and ERP systems.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use allai_connectors::{self as connectors, files, hubspot, oblio, odoo, pipedrive, rest, smartbill, sql, tryton};
use figment::error::Kind;
use figment::providers::Serialized;
use figment::{Error, Figment};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::issue::Report;
use super::{KeyPath, OpenTable, duration, words};

/// One CRM or ERP system.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct Connector {
    /// What system it is; decides which other keys there are.
    #[serde(deserialize_with = "words::name")]
    pub kind: ConnectorKind,
    /// For how long a figure is told without asking again.
    #[serde(with = "duration", default = "cache_for")]
    #[schemars(with = "String")]
    pub cache_for: Duration,
    /// For how long a figure is remembered, to be told, marked stale, while the system does not answer.
    #[serde(with = "duration", default = "stale_for")]
    #[schemars(with = "String")]
    pub stale_for: Duration,
    /// How long whoever asks waits for the system.
    #[serde(with = "duration", default = "deadline")]
    #[schemars(with = "String")]
    pub deadline: Duration,
    /// The keys of that kind. Values from the environment are strings.
    #[serde(flatten)]
    pub options: OpenTable,
}

const fn cache_for() -> Duration {
    Duration::from_secs(30)
}

const fn stale_for() -> Duration {
    Duration::from_hours(24)
}

const fn deadline() -> Duration {
    Duration::from_secs(3)
}

/// The systems that can be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectorKind {
    /// Tryton, an ERP.
    Tryton,
    /// Odoo, an ERP and CRM.
    Odoo,
    /// SmartBill, invoicing and stock.
    Smartbill,
    /// Oblio, invoicing and stock.
    Oblio,
    /// HubSpot, a CRM.
    Hubspot,
    /// Pipedrive, a CRM.
    Pipedrive,
    /// Any JSON API.
    Rest,
    /// Any SQL database.
    Sql,
    /// CSV or other files.
    Files,
}

/// Why a connector cannot be made of its options.
enum Misfit {
    /// Keys are wrong.
    Keys(Vec<Error>),
    /// A value is not understood.
    Value { key: Option<String>, problem: String },
}

impl From<Vec<Error>> for Misfit {
    fn from(errors: Vec<Error>) -> Self {
        Self::Keys(errors)
    }
}

impl From<connectors::Error> for Misfit {
    fn from(error: connectors::Error) -> Self {
        match error {
            connectors::Error::Rejected { field, message, .. } => Self::Value {
                key: field,
                problem: message,
            },
            error => Self::Value {
                key: None,
                problem: error.to_string(),
            },
        }
    }
}

impl Connector {
    /// The connector, which has not connected yet; `None` if its options are wrong, which a configuration that was loaded has none of.
    pub fn connect(&self) -> Option<Arc<dyn connectors::Connector>> {
        self.make().ok()
    }

    fn make(&self) -> Result<Arc<dyn connectors::Connector>, Misfit> {
        match self.kind {
            ConnectorKind::Files => self.make_of(|options: files::FilesConfig| files::Files::new(&options)),
            ConnectorKind::Hubspot => self.make_of(hubspot::Hubspot::new),
            ConnectorKind::Oblio => self.make_of(oblio::Oblio::new),
            ConnectorKind::Odoo => self.make_of(odoo::Odoo::new),
            ConnectorKind::Pipedrive => self.make_of(pipedrive::Pipedrive::new),
            ConnectorKind::Rest => self.make_of(rest::Rest::new),
            ConnectorKind::Smartbill => self.make_of(smartbill::Smartbill::new),
            ConnectorKind::Sql => self.make_of(|options: sql::Config| sql::Sql::new(&options)),
            ConnectorKind::Tryton => self.make_of(tryton::Tryton::new),
        }
    }

    fn make_of<O, C>(
        &self,
        make: impl FnOnce(O) -> Result<C, connectors::Error>,
    ) -> Result<Arc<dyn connectors::Connector>, Misfit>
    where
        O: DeserializeOwned,
        C: connectors::Connector + 'static,
    {
        Ok(Arc::new(make(read(self.options.0.clone())?)?))
    }
}

/// Reads options as what a connector takes, or says all that is wrong with them. A variable's string is read as the number or
/// boolean it spells, where one is wanted.
fn read<O: DeserializeOwned>(mut options: BTreeMap<String, Value>) -> Result<O, Vec<Error>> {
    let (mut errors, mut set_aside) = (Vec::new(), Vec::new());
    // Who gives a secret as a file has it by now, or has been told why not.
    for (secret, _) in OpenTable(options.clone()).secret_files() {
        options.remove(&format!("{secret}_file"));
        if !options.contains_key(&secret) {
            set_aside.push(secret);
        }
    }
    loop {
        let error = match Figment::from(Serialized::defaults(&options)).extract::<O>() {
            Ok(read) if errors.is_empty() => return Ok(read),
            Ok(_) => return Err(errors),
            Err(error) => error,
        };
        let key = error.path.first().cloned();
        let value = key.as_ref().and_then(|key| options.remove(key));
        let retyped = match (&error.kind, &value) {
            (Kind::InvalidType(..), Some(Value::String(text))) => spelled(text),
            _ => None,
        };
        match (key, retyped, value) {
            (Some(key), Some(retyped), _) => {
                options.insert(key, retyped);
            }
            (Some(key), None, Some(_)) => {
                set_aside.push(key);
                errors.push(error);
            }
            // What is missing now may be what was set aside.
            _ => {
                let is_known =
                    matches!(&error.kind, Kind::MissingField(name) if set_aside.iter().any(|key| key == name));
                if !is_known {
                    errors.push(error);
                }
                return Err(errors);
            }
        }
    }
}

fn spelled(text: &str) -> Option<Value> {
    serde_json::from_str(text)
        .ok()
        .filter(|value: &Value| value.is_number() || value.is_boolean())
}

pub(super) fn validate(connectors: &BTreeMap<String, Connector>, at: &KeyPath, report: &mut Report) {
    for (name, connector) in connectors {
        let at = at.join(name);
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if !(1..=64).contains(&name.len()) || !name.chars().all(allowed) {
            report.wrong(
                &at,
                "not a name for a connector",
                "use 1 to 64 letters, digits, _ and -",
            );
        }
        let shortest = Duration::from_millis(10);
        if !(shortest..=Duration::from_mins(1)).contains(&connector.deadline) {
            let problem = "must be between 10ms and 1m";
            report.wrong(&at.join("deadline"), problem, "write e.g. deadline = \"3s\"");
        }
        match connector.make() {
            Ok(_) => {}
            Err(Misfit::Keys(errors)) => {
                for error in errors {
                    let key = error.path.iter().fold(at.clone(), |key, part| key.join(part));
                    report.refused(&key, &error.kind);
                }
            }
            Err(Misfit::Value { key, problem }) => {
                // A key of a table within the options is told by its path.
                let path = key.iter().flat_map(|key| key.split('.'));
                let key = path.fold(at.clone(), |key, part| key.join(part));
                report.wrong(&key, problem, "");
            }
        }
    }
}
