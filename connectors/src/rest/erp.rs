//! Stock, prices and items.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::try_join_all;
use minijinja::Value;
use rust_decimal::Decimal;

use super::call::Values;
use super::operation::{Operation, Wanted};
use super::rows::{self, Rows};
use super::{Lookups, Rest, refused, unsupported};
use crate::Erp;
use crate::catalogue::{askable, is_searchable};
use crate::error::Error;
use crate::records::{Item, Price, PriceQuery, Stock};
use crate::time::now;

impl Rest {
    /// The operation that answers with the stock of everything, if it does.
    pub(super) fn catalogue(&self) -> Option<&Operation> {
        let stock = self.stock.as_ref()?;
        (!stock.call.uses("sku") && !stock.call.uses("skus")).then_some(stock)
    }

    /// What is answered to these SKUs, which are asked for one by one, some at a time.
    async fn one_by_one(
        &self,
        operation: &Operation,
        skus: &[String],
        values: &Values,
    ) -> Result<HashMap<String, Rows>, Error> {
        let mut found = HashMap::new();
        // Not all at once: they would wait for one another longer than a request may.
        for skus in skus.chunks(self.concurrency) {
            let each = skus.iter().map(|sku| async move {
                let mut values = values.clone();
                values.push(("sku", Value::from(sku.as_str())));
                let asked_at = now();
                let listed = operation.list(&self.api, &values, Wanted::All).await?;
                Ok::<_, Error>((sku.clone(), Rows::new(operation, listed.items, asked_at)?))
            });
            found.extend(try_join_all(each).await?);
        }
        Ok(found)
    }

    /// What is answered to all these SKUs together, or to no question at all.
    async fn together(&self, operation: &Operation, skus: &[String], values: &Values) -> Result<Rows, Error> {
        let asked_at = now();
        if !operation.call.uses("skus") {
            let listed = operation.list(&self.api, values, Wanted::All).await?;
            return Rows::new(operation, listed.items, asked_at);
        }
        let mut items = Vec::new();
        for batch in skus.chunks(operation.batch) {
            let mut values = values.clone();
            values.push(("skus", batch.iter().map(String::as_str).map(Value::from).collect()));
            items.extend(operation.list(&self.api, &values, Wanted::All).await?.items);
        }
        Rows::new(operation, items, asked_at)
    }

    /// What is told of these SKUs, in their order.
    async fn of_skus<T>(
        &self,
        operation: &Operation,
        lookups: Option<&Lookups>,
        skus: &[String],
        values: Values,
        tell: fn(&Rows, &Operation, &str) -> Result<Vec<T>, Error>,
    ) -> Result<Vec<T>, Error> {
        let skus = askable(skus);
        if skus.is_empty() {
            return Ok(Vec::new());
        }
        let mut told = Vec::new();
        if operation.call.uses("sku") {
            let found = self.one_by_one(operation, &skus, &values).await?;
            for sku in &skus {
                if let Some(rows) = found.get(sku) {
                    told.extend(tell(rows, operation, sku)?);
                }
            }
            return Ok(told);
        }
        let fetch = async |wanted: Vec<Vec<String>>| {
            let all = askable(&wanted.concat());
            self.together(operation, &all, &values).await.map(Arc::new)
        };
        let rows = match lookups {
            Some(lookups) => lookups.ask(skus.clone(), fetch).await?,
            None => fetch(vec![skus.clone()]).await?,
        };
        for sku in &skus {
            told.extend(tell(&rows, operation, sku)?);
        }
        Ok(told)
    }
}

#[async_trait]
impl Erp for Rest {
    async fn search(&self, words: &str, limit: usize) -> Result<Vec<Item>, Error> {
        let search = self.search.as_ref().ok_or_else(|| unsupported("search items"))?;
        if limit == 0 || !is_searchable(words) {
            return Ok(Vec::new());
        }
        let words = words.trim();
        let values = vec![("words", Value::from(words)), ("limit", Value::from(limit))];
        let coded = async {
            let skus = [words.to_owned()];
            if search.codes {
                self.stock(&skus).await
            } else {
                Ok(Vec::new())
            }
        };
        let (listed, coded) = tokio::try_join!(search.list(&self.api, &values, Wanted::Some(limit)), coded)?;
        let mut items: Vec<Item> = Vec::new();
        for row in &listed.items {
            items.extend(rows::item(search, row)?);
        }
        let folded = words.to_lowercase();
        let is_it = |text: &str| text.trim().to_lowercase() == folded;
        items.sort_by_key(|item| !(is_it(&item.sku) || item.barcode.as_deref().is_some_and(is_it)));
        let mut distinct: Vec<Item> = Vec::new();
        for item in coded.into_iter().map(|stock| stock.item).chain(items) {
            // The two operations may not tell the same of an item.
            if !distinct
                .iter()
                .any(|known| known.sku == item.sku && known.name == item.name)
            {
                distinct.push(item);
            }
        }
        distinct.truncate(limit);
        Ok(distinct)
    }

    async fn stock(&self, skus: &[String]) -> Result<Vec<Stock>, Error> {
        let stock = self.stock.as_ref().ok_or_else(|| unsupported("tell the stock"))?;
        self.of_skus(stock, Some(&self.stock_lookups), skus, Values::new(), Rows::stock)
            .await
    }

    async fn skus(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, Error> {
        let stock = self.catalogue().ok_or_else(|| {
            unsupported("list its products, which takes stock that is asked for without {{ sku }} and {{ skus }}")
        })?;
        let everything = async |_| self.together(stock, &[], &Values::new()).await.map(Arc::new);
        let rows = self.stock_lookups.ask(Vec::new(), everything).await?;
        Ok(rows.codes(after, limit))
    }

    async fn prices(&self, skus: &[String], query: &PriceQuery) -> Result<Vec<Price>, Error> {
        let prices = self.prices.as_ref().ok_or_else(|| unsupported("tell prices"))?;
        if query.quantity.is_some_and(|quantity| quantity <= Decimal::ZERO) {
            return Err(refused("quantity", "it is not more than zero"));
        }
        if query.price_list.is_some() && !prices.call.uses("price_list") {
            return Err(unsupported("use price lists"));
        }
        let mut values = Values::new();
        values.extend(
            query
                .quantity
                .map(|quantity| ("quantity", Value::from(quantity.to_string()))),
        );
        values.extend(
            query
                .price_list
                .as_deref()
                .map(|list| ("price_list", Value::from(list))),
        );
        // What is asked for others is the same only if nothing else is asked.
        let lookups = values.is_empty().then_some(&self.price_lookups);
        self.of_skus(prices, lookups, skus, values, Rows::prices).await
    }
}
