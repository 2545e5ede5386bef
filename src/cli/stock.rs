//! `allai-sync stock`: what is on stock, as the company's own systems say.

use allai_sync::app;
use allai_sync::clock::SystemClock;
use allai_sync::stock::{Item, Origin, Report};
use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::Args;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use rust_decimal::Decimal;

use super::{Context, Outcome, Usage, output, runtime};

/// Looks up stock and prices in the ERP
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// What to look up
    #[arg(required = true, value_name = "SKU")]
    skus: Vec<String>,
    /// Only the connector of this name
    #[arg(long, value_name = "NAME")]
    connector: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Options {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Outcome> {
        let config = context.load_config()?.config;
        let stocks = app::stocks(&config, &SystemClock::shared());
        let looked_up = stocks.look_up(&self.skus, self.connector.as_deref());
        let answers =
            runtime::block_on(async { Ok(looked_up.await) })?.map_err(|failure| Usage(failure.to_string()))?;
        let report = Report::from(&answers[..]);
        for item in &report.items {
            match &item.error {
                Some(error) => output::complain(&format!("{}: {error}", output::harmless(&item.sku))),
                None if !item.found => output::complain(&format!("{}: not found", output::harmless(&item.sku))),
                None => {}
            }
        }
        if self.json {
            let text = serde_json::to_string(&report).context("cannot write the report")?;
            output::print(&(text + "\n"))?;
        } else {
            output::print(&table(&report.items))?;
        }
        Ok(if report.items.iter().all(|item| item.found) {
            Outcome::Done
        } else {
            Outcome::Incomplete
        })
    }
}

fn table(items: &[Item]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header([
        "SKU",
        "name",
        "warehouse",
        "on hand",
        "available",
        "unit",
        "net",
        "gross",
        "as of",
    ]);
    for item in items.iter().filter(|item| item.found) {
        let price = item.price.as_ref();
        let currency = price.and_then(|price| price.currency.clone()).unwrap_or_default();
        let money = |amount: Option<Decimal>| match amount {
            Some(amount) => format!("{amount} {currency}").trim_end().to_owned(),
            None => "?".to_owned(),
        };
        table.add_row([
            output::harmless(&item.sku),
            output::harmless(item.name.as_deref().unwrap_or_default()),
            "all".to_owned(),
            figure(item.total.on_hand),
            figure(item.total.available),
            output::harmless(item.uom.as_deref().unwrap_or_default()),
            money(price.and_then(|price| price.net)),
            money(price.and_then(|price| price.gross)),
            as_of(item.as_of, item.source),
        ]);
        for warehouse in &item.warehouses {
            table.add_row([
                String::new(),
                String::new(),
                output::harmless(warehouse.name.as_deref().unwrap_or(&warehouse.code)),
                figure(warehouse.figures.on_hand),
                figure(warehouse.figures.available),
            ]);
        }
    }
    for at in 3..5 {
        if let Some(column) = table.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    if table.row_count() == 0 {
        return String::new();
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn figure(figure: Option<Decimal>) -> String {
    figure.map_or_else(|| "?".to_owned(), |figure| figure.normalize().to_string())
}

fn as_of(at: Option<DateTime<Utc>>, origin: Option<Origin>) -> String {
    let at = at.map_or_else(String::new, |at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string());
    match origin {
        Some(Origin::Stale) => format!("{at} (stale)"),
        _ => at,
    }
}
