//! Products and stock.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Datelike as _, NaiveDate, TimeDelta, Utc};
use futures_util::future::try_join_all;
use http::Method;

use super::answer::{Lines, read};
use super::{FEW, SYSTEM, Smartbill};
use crate::Erp;
use crate::catalogue::{Catalogue, askable, is_searchable};
use crate::error::Error;
use crate::http::Request;
use crate::records::{Item, Price, PriceQuery, Stock};
use crate::time::now;

/// What somebody wants to know.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    Codes(Vec<String>),
    Everything,
}

/// What was found: everything, or what was answered to each code.
#[derive(Debug)]
pub(super) enum Found {
    Everything(Catalogue),
    Codes(HashMap<String, Catalogue>),
}

impl Found {
    /// What is to be looked at for this SKU.
    fn about(&self, sku: &str) -> Option<&Catalogue> {
        match self {
            Self::Everything(catalogue) => Some(catalogue),
            Self::Codes(by_code) => by_code.get(sku),
        }
    }
}

impl Smartbill {
    /// One request: the stock of one code, or of everything; in one warehouse, or in all.
    pub(super) async fn lines(&self, code: Option<&str>, warehouse: Option<&str>) -> Result<Lines, Error> {
        let (name, value) = self.authorization.clone();
        let mut request = Request::new(Method::GET, "read stock")
            .path(["stocks"])
            .header(name, value)
            .query("cif", &self.config.cif)
            .query("date", romanian_day(now()).to_string());
        if let Some(warehouse) = warehouse {
            request = request.query("warehouseName", warehouse);
        }
        if let Some(code) = code {
            request = request.query("productCode", code);
        }
        self.client
            .send_and_read(&request, |answer| read(&answer.body, code))
            .await
    }

    async fn catalogue(&self, code: Option<&str>) -> Result<Catalogue, Error> {
        let asked_at = now();
        let warehouse = match &self.config.warehouses[..] {
            [only] => Some(only.trim()),
            _ => None,
        };
        let mut lines = self.lines(code, warehouse).await?.lines;
        for line in &mut lines {
            // A product in no warehouse that counts is known, and how much there is of it is not.
            if line.warehouse.is_none() {
                line.warehouse = warehouse.map(str::to_owned);
            }
        }
        let products = lines.into_iter().filter_map(|line| {
            let counts = self.config.counts(line.warehouse.as_deref());
            let mut product = line.product()?;
            if !counts {
                product.places.clear();
            }
            Some(product)
        });
        Ok(Catalogue::new(products, asked_at))
    }

    async fn fetch(&self, wanted: Vec<Wanted>) -> Result<Arc<Found>, Error> {
        let mut codes = BTreeSet::new();
        let mut everything = false;
        for wanted in wanted {
            match wanted {
                Wanted::Codes(more) => codes.extend(more),
                Wanted::Everything => everything = true,
            }
        }
        if !everything && codes.len() <= FEW {
            let each = codes.iter().map(|code| async move {
                let catalogue = self.catalogue(Some(code.trim())).await?;
                Ok::<_, Error>((code.clone(), catalogue))
            });
            match try_join_all(each).await {
                Ok(found) => return Ok(Arc::new(Found::Codes(found.into_iter().collect()))),
                // A code that nothing has, or something worse: the list tells.
                Err(Error::Rejected { .. } | Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Arc::new(Found::Everything(self.catalogue(None).await?)))
    }

    async fn find(&self, wanted: Wanted) -> Result<Arc<Found>, Error> {
        self.lookups.ask(wanted, |wanted| self.fetch(wanted)).await
    }
}

/// The day it is in Romania: UTC+2, and UTC+3 from the last Sunday of March until the last of October, 01:00 UTC.
fn romanian_day(now: DateTime<Utc>) -> NaiveDate {
    let change = |month: u32| {
        let last = NaiveDate::from_ymd_opt(now.year(), month, 31)?;
        let sunday = last - TimeDelta::days(i64::from(last.weekday().num_days_from_sunday()));
        Some(sunday.and_hms_opt(1, 0, 0)?.and_utc())
    };
    let is_summer = change(3).is_some_and(|begin| begin <= now) && change(10).is_some_and(|end| now < end);
    (now + TimeDelta::hours(if is_summer { 3 } else { 2 })).date_naive()
}

#[async_trait]
impl Erp for Smartbill {
    async fn search(&self, words: &str, limit: usize) -> Result<Vec<Item>, Error> {
        if limit == 0 || !is_searchable(words) {
            return Ok(Vec::new());
        }
        // Whether `productName` finds parts of names is not documented: the list is looked through here.
        let found = self.find(Wanted::Everything).await?;
        Ok(found
            .about(words)
            .map(|catalogue| catalogue.search(words, limit))
            .unwrap_or_default())
    }

    async fn stock(&self, skus: &[String]) -> Result<Vec<Stock>, Error> {
        let skus = askable(skus);
        if skus.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.find(Wanted::Codes(skus.clone())).await?;
        Ok(skus
            .iter()
            .filter_map(|sku| Some(found.about(sku)?.stock(sku)))
            .flatten()
            .collect())
    }

    async fn skus(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, Error> {
        match &*self.find(Wanted::Everything).await? {
            Found::Everything(catalogue) => Ok(catalogue.codes(after, limit)),
            Found::Codes(_) => Ok(Vec::new()),
        }
    }

    async fn prices(&self, _: &[String], _: &PriceQuery) -> Result<Vec<Price>, Error> {
        Err(Error::Unsupported {
            system: SYSTEM,
            doing: "tell prices: its API has none".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_is_that_of_romania() {
        for (utc, day) in [
            ("2026-01-19T21:59:59Z", "2026-01-19"),
            ("2026-01-19T22:00:00Z", "2026-01-20"),
            ("2026-07-19T20:59:59Z", "2026-07-19"),
            ("2026-07-19T21:00:00Z", "2026-07-20"),
            ("2026-03-28T21:30:00Z", "2026-03-28"),
            ("2026-03-29T21:30:00Z", "2026-03-30"),
            ("2026-10-24T21:30:00Z", "2026-10-25"),
            ("2026-10-25T21:30:00Z", "2026-10-25"),
            ("2026-12-31T23:00:00Z", "2027-01-01"),
        ] {
            let now = DateTime::parse_from_rfc3339(utc).unwrap().to_utc();
            assert_eq!(romanian_day(now).to_string(), day, "{utc}");
        }
    }
}
