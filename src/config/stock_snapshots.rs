//! `[stock_snapshots.CONNECTOR]`: what there is on stock, now and then, for reports.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::issue::Report;
use super::{Config, KeyPath, Schedule, Timezone, duration};

/// When what a connector has on stock is written to `stock_levels`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StockSnapshots {
    /// When the daemon takes one: cron with seconds.
    pub schedule: Schedule,
    /// The IANA time zone that the schedule is in.
    pub timezone: Timezone,
    /// Of which SKUs; none: of all that the system lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skus: Vec<String>,
    /// For how long snapshots are kept.
    #[serde(with = "duration")]
    #[schemars(with = "String")]
    pub keep: Duration,
}

impl Default for StockSnapshots {
    fn default() -> Self {
        Self {
            schedule: "0 0 4 * * *".parse().expect("the default schedule is valid"),
            timezone: Timezone::default(),
            skus: Vec::new(),
            keep: Duration::from_hours(400 * 24),
        }
    }
}

pub(super) fn validate(config: &Config, at: &KeyPath, report: &mut Report) {
    for (name, section) in &config.stock_snapshots {
        let at = at.join(name);
        match config.connectors.get(name).map(super::Connector::connect) {
            None => {
                let known: Vec<&str> = config.connectors.keys().map(String::as_str).collect();
                let remedy = format!(
                    "name the section as the connector: [stock_snapshots.CONNECTOR]; there are: {}",
                    known.join(", ")
                );
                report.wrong(&at, "there is no connector of this name", remedy);
            }
            Some(Some(connector)) => {
                let can = connector.capabilities();
                if !can.stock || connector.erp().is_none() {
                    report.wrong(&at, "this connector knows no stock", "remove the section");
                } else if section.skus.is_empty() && !can.catalogue {
                    report.missing(
                        &at.join("skus"),
                        "missing: as it is configured, this connector cannot list its products",
                        "add `skus = [\"…\"]`; or let it list them: sql by `catalogue_query`, rest by a stock operation for everything",
                    );
                }
            }
            // Its own error is told.
            Some(None) => {}
        }
        if section.keep < Duration::from_hours(24) {
            report.wrong(&at.join("keep"), "must be at least 1d", "e.g. `keep = \"400d\"`");
        }
    }
}
