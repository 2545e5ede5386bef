//! Products, stock and prices.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures_util::future::try_join_all;
use rust_decimal::Decimal;

use super::answer::{ProductRow, read};
use super::{FEW, Oblio, SYSTEM};
use crate::Erp;
use crate::catalogue::{Catalogue, askable, is_searchable};
use crate::error::Error;
use crate::records::{Item, Price, PriceQuery, Stock};
use crate::time::now;

/// How many products a page has.
const PAGE: usize = 250;
/// The most pages that are read; a list that does not end is no list.
const PAGES: usize = 1_000;
/// The most pages that a search looks at.
const SEARCH_PAGES: usize = 4;

const EXPECTED: &str = "a list of products";

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

/// A list, and on how many pages it was.
struct Listed {
    rows: Vec<ProductRow>,
    pages: usize,
}

impl Oblio {
    /// One page of the products that this filter lets through.
    pub(super) async fn page(&self, filter: Option<(&str, &str)>, offset: usize) -> Result<Vec<ProductRow>, Error> {
        let (offset, limit) = (offset.to_string(), PAGE.to_string());
        let mut query = vec![("cif", self.config.cif.as_str())];
        query.extend(filter);
        query.extend([("limitPerPage", limit.as_str()), ("offset", offset.as_str())]);
        let quote = filter.is_none();
        self.session
            .get("read products", &["nomenclature", "products"], &query, |answer| {
                read(answer, EXPECTED, quote)
            })
            .await
    }

    /// The products that this filter lets through, on at most so many pages.
    async fn list(&self, filter: Option<(&str, &str)>, most: usize) -> Result<Listed, Error> {
        let mut rows: Vec<ProductRow> = Vec::new();
        for pages in 1..=most {
            let page = self.page(filter, rows.len()).await?;
            let is_again = !page.is_empty() && rows.len() >= page.len() && rows.ends_with(&page);
            let is_last = page.len() < PAGE;
            if is_again && !is_last {
                return Err(Error::Unreadable {
                    system: SYSTEM,
                    expected: EXPECTED,
                    problem: "the next page is the same as the one before".to_owned(),
                });
            }
            rows.extend(page);
            if is_last {
                return Ok(Listed { rows, pages });
            }
        }
        if most == PAGES {
            return Err(Error::Unreadable {
                system: SYSTEM,
                expected: EXPECTED,
                problem: format!("it does not end after {PAGES} pages"),
            });
        }
        Ok(Listed { rows, pages: most })
    }

    fn catalogue(&self, rows: Vec<ProductRow>, asked_at: DateTime<Utc>) -> Catalogue {
        Catalogue::new(rows.into_iter().filter_map(|row| row.product(&self.config)), asked_at)
    }

    /// What is answered to one code; nothing if that is refused, and products without a code are not.
    async fn of_code(&self, code: &str) -> Result<Catalogue, Error> {
        let asked_at = now();
        let listed = match self.list(Some(("code", code.trim())), PAGES).await {
            Ok(listed) => listed.rows,
            Err(Error::Rejected { .. } | Error::NotFound { .. }) => {
                self.page(None, 0).await?;
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        Ok(self.catalogue(listed, asked_at))
    }

    async fn fetch(&self, wanted: Vec<Vec<String>>) -> Result<Arc<Found>, Error> {
        let codes: BTreeSet<String> = wanted.into_iter().flatten().collect();
        if codes.len() <= FEW.max(self.pages.load(Ordering::Relaxed).saturating_sub(1)) {
            let codes: Vec<String> = codes.into_iter().collect();
            let mut found = HashMap::new();
            // Not all at once: they would wait for one another longer than a request may.
            for codes in codes.chunks(FEW) {
                let each = codes.iter().map(|code| async move {
                    let catalogue = self.of_code(code).await?;
                    Ok::<_, Error>((code.clone(), catalogue))
                });
                found.extend(try_join_all(each).await?);
            }
            return Ok(Arc::new(Found::Codes(found)));
        }
        let asked_at = now();
        let listed = self.list(None, PAGES).await?;
        self.pages.store(listed.pages, Ordering::Relaxed);
        Ok(Arc::new(Found::Everything(self.catalogue(listed.rows, asked_at))))
    }

    async fn find<T>(&self, skus: &[String], tell: fn(&Catalogue, &str) -> Vec<T>) -> Result<Vec<T>, Error> {
        let skus = askable(skus);
        if skus.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.lookups.ask(skus.clone(), |wanted| self.fetch(wanted)).await?;
        Ok(skus
            .iter()
            .filter_map(|sku| Some(tell(found.about(sku)?, sku)))
            .flatten()
            .collect())
    }
}

#[async_trait]
impl Erp for Oblio {
    async fn search(&self, words: &str, limit: usize) -> Result<Vec<Item>, Error> {
        if limit == 0 || !is_searchable(words) {
            return Ok(Vec::new());
        }
        let whole = words.trim();
        // The others are compared here: whether `name` would find them apart is not documented.
        let longest = whole.split_whitespace().max_by_key(|word| word.len()).unwrap_or(whole);
        let named = async {
            match self.list(Some(("name", longest)), SEARCH_PAGES).await {
                Ok(listed) => Ok(listed.rows),
                // If it is not the words, the question for the code says so.
                Err(Error::Rejected { .. } | Error::NotFound { .. }) => Ok(Vec::new()),
                Err(error) => Err(error),
            }
        };
        let coded = async {
            let asked = vec![whole.to_owned()];
            self.lookups.ask(asked, |wanted| self.fetch(wanted)).await
        };
        let asked_at = now();
        let (named, coded) = tokio::try_join!(named, coded)?;
        let named = self.catalogue(named, asked_at);
        let mut items: Vec<Item> = coded
            .about(whole)
            .map(|catalogue| catalogue.coded(whole))
            .unwrap_or_default();
        for item in named.search(whole, usize::MAX) {
            if !items.contains(&item) {
                items.push(item);
            }
        }
        items.truncate(limit);
        Ok(items)
    }

    async fn stock(&self, skus: &[String]) -> Result<Vec<Stock>, Error> {
        self.find(skus, Catalogue::stock).await
    }

    async fn skus(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, Error> {
        let asked_at = now();
        let listed = self.list(None, PAGES).await?;
        Ok(self.catalogue(listed.rows, asked_at).codes(after, limit))
    }

    async fn prices(&self, skus: &[String], query: &PriceQuery) -> Result<Vec<Price>, Error> {
        if query.quantity.is_some_and(|quantity| quantity <= Decimal::ZERO) {
            return Err(Error::Rejected {
                system: SYSTEM,
                field: Some("quantity".to_owned()),
                message: "it is not more than zero".to_owned(),
            });
        }
        if query.price_list.is_some() {
            return Err(Error::Unsupported {
                system: SYSTEM,
                doing: "use price lists: its API has list prices only".to_owned(),
            });
        }
        self.find(skus, Catalogue::prices).await
    }
}
