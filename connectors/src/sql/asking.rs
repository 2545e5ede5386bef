//! Running the queries: once, for many SKUs, for one after the other.

use std::collections::{HashMap, HashSet};

use super::database::{self, Task};
use super::failure::Doing;
use super::query::{Parameter, Purpose, Query, Values};
use super::rows::Rows;
use super::{SYSTEM, Sql};
use crate::Error;

/// How many SKUs one query is given at most: the databases have limits for parameters, and optimizers for lists.
const BATCH: usize = 500;

/// What became of a batch.
enum Batch {
    /// It is done, but for these SKUs, which are to be asked for one by one.
    Done(Vec<String>),
    /// Its rows are more than there may be: half of it may do.
    TooLarge,
}

impl Sql {
    /// Runs a query once, for everything.
    pub(super) async fn run(&self, query: &Query, values: &Values<'_>) -> Result<Rows, Error> {
        let rows = self.run_some(query, values).await?;
        if rows.cut && matches!(query.purpose, Purpose::Stock | Purpose::Prices | Purpose::Own) {
            let of = if query.purpose == Purpose::Own {
                ""
            } else {
                ", of one SKU"
            };
            return Err(Error::Rejected {
                system: SYSTEM,
                field: Some(query.purpose.key().to_owned()),
                message: format!(
                    "it returns more than {} rows, or more than {} MiB{of}; let it return less, or raise `max_rows`",
                    self.max_rows,
                    database::MOST_BYTES >> 20
                ),
            });
        }
        Ok(rows)
    }

    /// Runs a query once, for as many rows as there may be.
    async fn run_some(&self, query: &Query, values: &Values<'_>) -> Result<Rows, Error> {
        let (sql, bound) = query.render(values);
        let max = match query.purpose {
            Purpose::Search | Purpose::Catalogue => values.limit.min(self.max_rows),
            Purpose::Stock | Purpose::Prices | Purpose::Own => self.max_rows,
        };
        let task = Task::Rows {
            sql,
            bound,
            max,
            again: !query.uses(Parameter::Skus) || values.skus.len() == 1,
        };
        self.database.ask(&task, Doing::Running(query.purpose)).await
    }

    /// The rows of each SKU, each SKU once.
    ///
    /// The database decides which SKUs are the same: it may ignore case, accents or blanks at the end. Rows that bear a SKU
    /// exactly as it was asked for belong to it; the SKUs that have none are asked for again, and if there is something then,
    /// one after the other, so that the database says what belongs to which.
    pub(super) async fn by_sku<'a>(
        &self,
        query: &Query,
        skus: &'a [String],
        values: &Values<'_>,
    ) -> Result<Vec<(&'a str, Rows)>, Error> {
        let mut seen = HashSet::new();
        // No database that is asked here has texts with a NUL in them, and SQLite would read up to it only.
        let wanted: Vec<String> = skus
            .iter()
            .filter(|sku| !sku.contains('\0') && seen.insert(sku.as_str()))
            .cloned()
            .collect();
        let mut found: HashMap<String, Rows> = HashMap::new();
        let mut alone: Vec<String> = Vec::new();
        if query.uses(Parameter::Sku) {
            alone.clone_from(&wanted);
        } else {
            let mut batches: Vec<_> = wanted.chunks(BATCH).collect();
            while let Some(batch) = batches.pop() {
                match self.batch(query, batch, values, &mut found).await? {
                    Batch::Done(rest) => alone.extend(rest),
                    Batch::TooLarge => {
                        let (one, other) = batch.split_at(batch.len() / 2);
                        batches.extend([one, other]);
                    }
                }
            }
        }
        for sku in alone {
            let one = Values {
                skus: std::slice::from_ref(&sku),
                ..values.clone()
            };
            let rows = self.run(query, &one).await?;
            if !rows.cells.is_empty() {
                found.insert(sku, rows);
            }
        }
        let in_order = skus.iter().filter_map(|sku| Some((sku.as_str(), found.remove(sku)?)));
        Ok(in_order.collect())
    }

    /// Asks for a batch of SKUs.
    async fn batch(
        &self,
        query: &Query,
        batch: &[String],
        values: &Values<'_>,
        found: &mut HashMap<String, Rows>,
    ) -> Result<Batch, Error> {
        if let [_] = batch {
            return Ok(Batch::Done(batch.to_vec()));
        }
        let of = |skus| Values { skus, ..values.clone() };
        let rows = self.run_some(query, &of(batch)).await?;
        if rows.cut {
            return Ok(Batch::TooLarge);
        }
        if rows.unwritable {
            // One of them, which is not to take the others with it.
            return Ok(Batch::Done(batch.to_vec()));
        }
        let skus = rows.skus(query.purpose)?;
        let mut missing = Vec::new();
        for sku in batch {
            let own = rows.only(|at| skus[at].as_ref() == Some(sku));
            if own.cells.is_empty() {
                missing.push(sku.clone());
            } else {
                found.insert(sku.clone(), own);
            }
        }
        if missing.is_empty() || rows.cells.is_empty() {
            return Ok(Batch::Done(Vec::new()));
        }
        if missing.len() < batch.len() && missing.len() > 1 {
            let again = self.run_some(query, &of(&missing)).await?;
            if again.cells.is_empty() && !again.unwritable {
                return Ok(Batch::Done(Vec::new()));
            }
        }
        Ok(Batch::Done(missing))
    }
}
