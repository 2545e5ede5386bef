//! What a check verifies.

use minijinja::Value;

use super::Rest;
use super::operation::{Operation, Wanted};
use super::records::Records;
use crate::Erp as _;
use crate::error::Error;
use crate::records::{Check, Figures, PriceQuery};

/// Asked for where nothing is known to be there: that it is not is no failure.
const NOWHERE: &str = "allai-sync-check";

/// What to do about an error that anything may have.
fn remedy(error: &Error) -> String {
    match error {
        Error::Auth { remedy, .. } => format!("correct {remedy}"),
        Error::RateLimited { .. } => "wait, and set rate to what the system allows".to_owned(),
        Error::Forbidden { .. } => "let the user read this in the system".to_owned(),
        Error::Transient { .. } => "see that url is right and that no firewall or proxy is between".to_owned(),
        Error::Unreadable { .. } => "see what the system answers, and correct url, path, items and errors".to_owned(),
        Error::Rejected { field: Some(field), .. } => format!("correct {field}"),
        Error::NotFound { .. } => "correct url and path".to_owned(),
        _ => "correct the operation in the configuration".to_owned(),
    }
}

impl Rest {
    /// Every check, until one fails without which the others make no sense.
    pub(super) async fn checks(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        if self.api.auth.logs_in() {
            match self.api.auth.log_in(&self.api.rules).await {
                Ok(()) => checks.push(Check::good("credentials", "a session was opened")),
                Err(error) => {
                    let what = match error {
                        Error::Auth { .. } => "credentials",
                        Error::RateLimited { .. } => "limit",
                        _ => "reached",
                    };
                    return vec![Check::bad(what, error.to_string(), remedy(&error))];
                }
            }
        }
        if self.stock.is_some() {
            checks.push(self.check_stock().await);
        }
        if self.prices.is_some() {
            checks.push(self.check_prices().await);
        }
        if let Some(search) = &self.search {
            let words = self.check_sku.as_deref().unwrap_or(NOWHERE);
            let values = vec![("words", Value::from(words)), ("limit", Value::from(1))];
            checks.push(self.check_answer(search, &values).await);
        }
        for records in [&self.contacts, &self.leads].into_iter().flatten() {
            checks.extend(self.check_records(records).await);
        }
        checks
    }

    async fn check_answer(&self, operation: &Operation, values: &super::call::Values) -> Check {
        match operation.list(&self.api, values, Wanted::Some(1)).await {
            Ok(listed) => Check::good(&operation.key, format!("it answers, with {} items", listed.items.len())),
            Err(error) => Check::bad(&operation.key, error.to_string(), remedy(&error)),
        }
    }

    /// Whether stock is told, and of what is there, everything that the columns are to find.
    async fn check_stock(&self) -> Check {
        let what = "stock";
        let sku = self.check_sku.as_deref().unwrap_or(NOWHERE).to_owned();
        let stock = match self.stock(std::slice::from_ref(&sku)).await {
            Ok(stock) => stock,
            Err(error) => return Check::bad(what, error.to_string(), remedy(&error)),
        };
        let Some(check_sku) = &self.check_sku else {
            return Check::good(what, "it answers; set check_sku to have what it answers verified");
        };
        match stock.as_slice() {
            [] => Check::bad(
                what,
                format!("{check_sku} is not found"),
                "set check_sku to a product that there is, or correct stock.items and stock.columns.sku",
            ),
            [stock] if stock.total == Figures::default() => Check::bad(
                what,
                format!("{check_sku} is found, and no figure of it"),
                "correct stock.columns.on_hand and stock.columns.available, or stock.places",
            ),
            [stock] => {
                let figure = |name: &str, figure: Option<rust_decimal::Decimal>| match figure {
                    Some(figure) => format!("{figure} {name}"),
                    None => format!("not known how much {name}"),
                };
                let seen = [
                    figure("on hand", stock.total.on_hand),
                    figure("available", stock.total.available),
                    format!("{} warehouses", stock.warehouses.len()),
                ];
                Check::good(what, format!("{check_sku}: {}", seen.join(", ")))
            }
            several => Check::good(what, format!("{check_sku}: {} products have this SKU", several.len())),
        }
    }

    async fn check_prices(&self) -> Check {
        let what = "prices";
        let sku = self.check_sku.as_deref().unwrap_or(NOWHERE).to_owned();
        let prices = match self.prices(std::slice::from_ref(&sku), &PriceQuery::default()).await {
            Ok(prices) => prices,
            Err(error) => return Check::bad(what, error.to_string(), remedy(&error)),
        };
        match (&self.check_sku, prices.first()) {
            (Some(sku), Some(price)) => {
                let amount = price
                    .net
                    .or(price.gross)
                    .map(|amount| amount.to_string())
                    .unwrap_or_default();
                let currency = price.currency.as_deref().unwrap_or("of no currency");
                Check::good(what, format!("{sku}: {amount} {currency}"))
            }
            (Some(sku), None) => Check::bad(
                what,
                format!("no price of {sku} is found"),
                "set check_sku to a product that has a price, or correct prices.items and prices.columns",
            ),
            (None, _) => Check::good(what, "it answers; set check_sku to have what it answers verified"),
        }
    }

    async fn check_records(&self, records: &Records) -> Vec<Check> {
        let mut checks = Vec::new();
        if let Some((find, nobodys)) = records.probe() {
            let values = vec![("key", Value::from(nobodys))];
            checks.push(self.check_answer(find, &values).await);
        }
        if let Some(changes) = &records.changes {
            let now = self.api.client.server_now();
            let values = vec![
                (
                    "since",
                    Value::from(now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)),
                ),
                ("since_seconds", Value::from(now.timestamp())),
            ];
            checks.push(self.check_answer(changes, &values).await);
        }
        checks
    }
}
