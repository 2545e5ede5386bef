//! `do = "stock"`: what is on stock. Gives `items`, as `stock --json` has them, and `found`, whether all are.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Failure, Reading, texts};
use crate::automation::template::Template;
use crate::automation::tools::Tools;
use crate::stock::{MOST_SKUS, Report};

/// The step.
#[derive(Debug)]
pub(in crate::automation) struct Stock {
    pub(super) skus: Template,
    connector: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    /// One SKU, or a list.
    skus: Value,
    /// Only this connector is asked.
    connector: Option<String>,
}

pub(super) fn read(own: &BTreeMap<String, Value>, reading: &mut Reading<'_>) -> Option<Stock> {
    let keys: Keys = reading.keys(own)?;
    if let Some(connector) = &keys.connector {
        reading.connector("connector", connector, "does not tell stock", |connector| {
            connector.capabilities().stock && connector.erp().is_some()
        });
    } else if reading.ground.config.connectors.is_empty() {
        reading.wrong(&["skus"], "no connector knows stock", "add one, e.g. [connectors.erp]");
    }
    Some(Stock {
        skus: reading.template(&["skus"], &keys.skus),
        connector: keys.connector,
    })
}

impl Stock {
    pub(super) async fn perform(&self, input: &Value, tools: &Tools) -> Result<Value, Failure> {
        let skus = texts(input);
        if skus.is_empty() {
            return Ok(json!({"items": [], "found": false}));
        }
        if skus.len() > MOST_SKUS {
            return Err(Failure::lasting(format!("more than {MOST_SKUS} SKUs at once")));
        }
        let answers = tools.stocks.look_up(&skus, self.connector.as_deref()).await;
        let answers = answers.map_err(|failure| Failure::lasting(failure.to_string()))?;
        let failed = answers.iter().find_map(|answer| answer.figure.as_ref().err());
        if let Some(failure) = failed {
            return Err(if failure.is_outage() {
                Failure::passing(failure.to_string())
            } else {
                Failure::lasting(failure.to_string())
            });
        }
        let report = Report::from(answers.as_slice());
        let found = report.items.iter().all(|item| item.found);
        let items = serde_json::to_value(report.items).unwrap_or_default();
        Ok(json!({"items": items, "found": found}))
    }
}
