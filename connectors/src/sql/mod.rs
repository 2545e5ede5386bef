//! A company's own database, asked by the administrator's SQL: for ERPs that have no API, or none that tells the stock.
//!
//! ```toml
//! url = "postgres://reader:…@erp.example.com/erp"
//! stock_query = "SELECT code AS sku, depot AS warehouse, qty AS on_hand FROM stock WHERE code IN (:skus)"
//! price_query = "SELECT code AS sku, price AS net, 'RON' AS currency FROM prices WHERE code IN (:skus)"
//! search_query = "SELECT code AS sku, name FROM products WHERE name ILIKE :pattern ORDER BY name LIMIT :limit"
//! ```
//!
//! # What queries are given
//!
//! | parameter | in | stands for |
//! |---|---|---|
//! | `:skus` | stock, prices | the SKUs that are asked for, as a list: `IN (:skus)` |
//! | `:sku` | stock, prices | one SKU; the query runs once for each |
//! | `:quantity` | prices | how many are to be bought, 1 if that is not said |
//! | `:price_list` | prices | the customer's price list or group, NULL if that is not said |
//! | `:words` | search | what was typed, e.g. for a full-text search |
//! | `:pattern` | search | the same for `LIKE`: `%…%`, with `\` before its own `%`, `_` and `\`. SQLite is to be told: `LIKE :pattern ESCAPE '\'` |
//! | `:limit` | search | how many items are wanted |
//!
//! They are bound as texts (`:limit` as an integer, `:quantity` as a decimal), never put into the text of the query: what a
//! customer types is compared and nothing else. Colons in literals, quoted identifiers and comments, `::casts` and `:=` are
//! left alone.
//!
//! # What queries answer
//!
//! Columns are known by their names, in any order and case; one that is missing or NULL is not known.
//!
//! - Stock: `sku`, `name`, `barcode`, `uom`, `warehouse` (its code), `warehouse_name`, `on_hand`, `available`, `as_of`. One row a
//!   product and warehouse; the totals are their sums, not known if one of them is not. A row whose warehouse is NULL is the
//!   total itself. Rows of one SKU that differ in name, barcode or unit are several products.
//! - Prices: `sku`, `net`, `gross`, `currency`.
//! - Search: `sku`, `name`, `barcode`.
//!
//! Times without a zone are taken to be UTC. Without a column `sku`, the query is asked for one SKU after the other.
//!
//! # What protects the database
//!
//! Each lookup is one SELECT in a transaction that only reads and is rolled back; SQLite's file is opened for reading. The
//! server itself stops what takes longer than nine tenths of `timeout`; after all of it, the lookup fails whatever happens.
//! No more than `connections` lookups run at a time; the server may be busy with one that nobody waits for any more, but not
//! for longer than that. No query returns more than `max_rows` rows or 8 MiB. This is no reason to
//! connect as a user who may write: create one who may SELECT, from the tables in the queries.
//!
//! On MySQL and MariaDB the session's `sql_mode` is `PIPES_AS_CONCAT` alone, whatever the server's. A MySQL user with
//! `caching_sha2_password` needs TLS or a socket: over a plain connection the password would have to be encrypted by RSA, which
//! is left out of this program.
//!
//! # Odoo's database
//!
//! [`ODOO_STOCK_QUERY`] reads the schema of Odoo 17 and later, on PostgreSQL.

mod config;
mod database;
mod failure;
mod query;
mod rows;
mod value;

use std::fmt;

use async_trait::async_trait;
use secrecy::ExposeSecret as _;

pub use config::Config;
use database::{Database, Task, time_of_asking};
use failure::Doing;
use query::{Dialect, Parameter, Purpose, Query, Values, nearest};
use rows::Rows;

use crate::{Capabilities, Check, Connector, Erp, Error, Found, Item, Kind, Price, PriceQuery, Stock};

const SYSTEM: &str = Kind::Sql.as_str();

/// How many SKUs one query is given at most: the databases have limits for parameters, and optimizers for lists.
const BATCH: usize = 500;

/// A SKU, and words, that nothing has.
const NOTHING: &str = "allai-sync:nothing-has-this";

/// Stock by warehouse, for `stock_query` on Odoo's own database.
///
/// What lies in the internal locations below each warehouse's view location; free to promise is what is not reserved. Products
/// that are not in any warehouse now are told with 0 in each warehouse of their company, as Odoo does; archived ones are not
/// found. Names are JSON by language since Odoo 16: replace `en_US` by yours. `barcode`, `default_code` and `name` are those of
/// the variant and its template.
pub const ODOO_STOCK_QUERY: &str = include_str!("odoo_stock.sql");

/// A database and its queries.
pub struct Sql {
    database: Database,
    max_rows: usize,
    stock: Query,
    prices: Option<Query>,
    search: Option<Query>,
}

impl fmt::Debug for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sql")
            .field("dialect", &self.database.dialect())
            .finish_non_exhaustive()
    }
}

impl Sql {
    /// Reads the configuration; nothing is connected yet, and no tokio runtime is needed.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] with the key whose value is not understood.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let url = config.url.expose_secret();
        let dialect = dialect_of(url)?;
        let parse = |sql: &str, purpose: Purpose| {
            Query::parse(sql, purpose, dialect).map_err(|unsuitable| Error::Rejected {
                system: SYSTEM,
                field: Some(purpose.key().to_owned()),
                message: unsuitable.to_string(),
            })
        };
        let optional = |sql: Option<&String>, purpose: Purpose| sql.map(|sql| parse(sql, purpose)).transpose();
        Ok(Self {
            stock: parse(&config.stock_query, Purpose::Stock)?,
            prices: optional(config.price_query.as_ref(), Purpose::Prices)?,
            search: optional(config.search_query.as_ref(), Purpose::Search)?,
            database: Database::new(config, url, dialect)?,
            max_rows: config.max_rows.get(),
        })
    }

    /// Runs a query once.
    async fn run(&self, query: &Query, values: &Values<'_>) -> Result<Rows, Error> {
        let (sql, bound) = query.render(values);
        let is_search = query.purpose == Purpose::Search;
        let max = if is_search {
            values.limit.min(self.max_rows)
        } else {
            self.max_rows
        };
        let task = Task::Rows {
            sql,
            bound,
            max,
            again: !query.uses(Parameter::Skus) || values.skus.len() == 1,
        };
        let rows = self.database.ask(&task, Doing::Running(query.purpose)).await?;
        if rows.cut && !is_search {
            return Err(Error::Rejected {
                system: SYSTEM,
                field: Some(query.purpose.key().to_owned()),
                message: format!(
                    "it returns more than {max} rows, or more than {} MiB; let it return less, or raise `max_rows`",
                    database::MOST_BYTES >> 20
                ),
            });
        }
        Ok(rows)
    }

    /// The rows of each SKU, each SKU once.
    ///
    /// The database decides which SKUs are the same: it may ignore case, accents or blanks at the end. Rows that bear a SKU
    /// exactly as it was asked for belong to it; the SKUs that have none are asked for again, and if there is something then,
    /// one after the other, so that the database says what belongs to which.
    async fn by_sku<'a>(
        &self,
        query: &Query,
        skus: &'a [String],
        values: &Values<'_>,
    ) -> Result<Vec<(&'a str, Rows)>, Error> {
        let mut wanted: Vec<String> = Vec::new();
        for sku in skus {
            // No database that is asked here has texts with a NUL in them, and SQLite would read on to it only.
            if !sku.contains('\0') && !wanted.contains(sku) {
                wanted.push(sku.clone());
            }
        }
        let mut found: Vec<(String, Rows)> = Vec::new();
        let mut alone: Vec<String> = Vec::new();
        if query.uses(Parameter::Sku) {
            alone = wanted;
        } else {
            for batch in wanted.chunks(BATCH) {
                alone.extend(self.batch(query, batch, values, &mut found).await?);
            }
        }
        for sku in alone {
            let one = Values {
                skus: std::slice::from_ref(&sku),
                ..values.clone()
            };
            let rows = self.run(query, &one).await?;
            if !rows.cells.is_empty() {
                found.push((sku, rows));
            }
        }
        let mut in_order = Vec::new();
        for (at, sku) in skus.iter().enumerate() {
            if skus[..at].contains(sku) {
                continue;
            }
            if let Some(at) = found.iter().position(|(asked, _)| asked == sku) {
                in_order.push((sku.as_str(), found.swap_remove(at).1));
            }
        }
        Ok(in_order)
    }

    /// Asks for a batch of SKUs; returns those that are to be asked for alone.
    async fn batch(
        &self,
        query: &Query,
        batch: &[String],
        values: &Values<'_>,
        found: &mut Vec<(String, Rows)>,
    ) -> Result<Vec<String>, Error> {
        if let [_] = batch {
            return Ok(batch.to_vec());
        }
        let rows = self
            .run(
                query,
                &Values {
                    skus: batch,
                    ..values.clone()
                },
            )
            .await?;
        if rows.unwritable {
            // One of them, which is not to take the others with it.
            return Ok(batch.to_vec());
        }
        let skus = rows.skus(query.purpose)?;
        let mut missing = Vec::new();
        for sku in batch {
            let own = rows.only(|at| skus[at].as_ref() == Some(sku));
            if own.cells.is_empty() {
                missing.push(sku.clone());
            } else {
                found.push((sku.clone(), own));
            }
        }
        if missing.is_empty() || rows.cells.is_empty() {
            return Ok(Vec::new());
        }
        if missing.len() < batch.len() && missing.len() > 1 {
            let again = self
                .run(
                    query,
                    &Values {
                        skus: &missing,
                        ..values.clone()
                    },
                )
                .await?;
            if again.cells.is_empty() && !again.unwritable {
                return Ok(Vec::new());
            }
        }
        Ok(missing)
    }

    async fn check_query(&self, query: &Query) -> Result<Found, Error> {
        let nothing = [NOTHING.to_owned()];
        let values = Values {
            skus: &nothing,
            words: NOTHING,
            limit: 1,
            ..Values::default()
        };
        let (sql, _) = query.render(&values);
        let doing = Doing::Running(query.purpose);
        let prepared = self.database.ask(&Task::Columns { sql }, doing).await?;
        let untold = match rows::judge(query.purpose, &prepared.columns) {
            Ok(untold) => untold,
            Err((problem, remedy)) => return Ok(Found::Bad { problem, remedy }),
        };
        // PostgreSQL looks at permissions, and at what writes, only now.
        let rows = self.run(query, &values).await?;
        if !rows.cells.is_empty() {
            return Ok(Found::Bad {
                problem: "it returns rows for what nothing has".to_owned(),
                remedy: "let it return only rows whose SKU (or, in a search, words) is the parameter".to_owned(),
            });
        }
        Ok(Found::Good(if untold.is_empty() {
            "it tells everything".to_owned()
        } else {
            format!("it does not tell {}", untold.join(", "))
        }))
    }

    /// One text that the database tells about itself, in the last column.
    async fn tell(&self, sql: &str) -> Result<String, Error> {
        let task = Task::Rows {
            sql: sql.to_owned(),
            bound: Vec::new(),
            max: 1,
            again: false,
        };
        let rows = self.database.in_time(self.database.ask(&task, Doing::Looking)).await?;
        let cell = rows.cells.into_iter().next().and_then(|mut row| row.pop());
        let text = cell.and_then(|cell| cell.text().ok().flatten());
        text.ok_or(Error::Unreadable {
            system: SYSTEM,
            expected: "a text",
            problem: "there is none".to_owned(),
        })
    }
}

/// The database that a URL is of.
fn dialect_of(url: &str) -> Result<Dialect, Error> {
    const SCHEMES: [(&str, Dialect); 5] = [
        ("sqlite", Dialect::Sqlite),
        ("postgres", Dialect::Postgres),
        ("postgresql", Dialect::Postgres),
        ("mysql", Dialect::Mysql),
        ("mariadb", Dialect::Mysql),
    ];
    // What is not a scheme may be a password: it is never quoted.
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    let known = SCHEMES.iter().find(|(name, _)| Some(*name) == scheme);
    known.map(|(_, dialect)| *dialect).ok_or_else(|| {
        let meant = scheme.and_then(|scheme| nearest(scheme, SCHEMES.iter().map(|(name, _)| *name)));
        Error::Rejected {
            system: SYSTEM,
            field: Some("url".to_owned()),
            message: format!(
                "it is to begin with {}",
                meant.map_or_else(
                    || "sqlite://, postgres://, mysql:// or mariadb://".to_owned(),
                    |meant| format!("{meant}://")
                )
            ),
        }
    })
}

fn good(what: &str, seen: impl Into<String>) -> Check {
    Check {
        what: what.to_owned(),
        found: Found::Good(seen.into()),
    }
}

fn bad(what: &str, error: &Error) -> Check {
    let remedy = match error {
        Error::Auth { .. } => "correct user and password in `url`",
        Error::Forbidden { .. } => "let the database's administrator GRANT this user SELECT on it",
        Error::NotFound { .. } => "correct the path, or the name of the database, in `url`",
        Error::Transient { .. } | Error::RateLimited { .. } => {
            "see that the server runs and is reached from here (host, port, firewall), then check again"
        }
        Error::Rejected { field: Some(field), .. } if field == "url" => "correct `url`",
        Error::Rejected { .. } => "correct the query, as the message says",
        Error::Conflict { .. } | Error::Unsupported { .. } | Error::Unreadable { .. } => {
            "correct what the message names"
        }
    };
    Check {
        what: what.to_owned(),
        found: Found::Bad {
            problem: error.to_string(),
            remedy: remedy.to_owned(),
        },
    }
}

#[async_trait]
impl Connector for Sql {
    fn kind(&self) -> Kind {
        Kind::Sql
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            search: self.search.is_some(),
            stock: true,
            // Only the database knows what its rows name; without the word there is no such column.
            warehouses: self.stock.says("warehouse") || self.stock.says("*"),
            prices: self.prices.is_some(),
            ..Capabilities::default()
        }
    }

    async fn check(&self) -> Vec<Check> {
        let (version, read_only) = match self.database.dialect() {
            Dialect::Sqlite => ("SELECT sqlite_version()", "PRAGMA query_only"),
            Dialect::Postgres => ("SHOW server_version", "SHOW transaction_read_only"),
            Dialect::Mysql => (
                "SELECT VERSION()",
                "SHOW VARIABLES WHERE Variable_name IN ('tx_read_only', 'transaction_read_only')",
            ),
        };
        let mut checks = Vec::new();
        match self.tell(version).await {
            Ok(version) => {
                checks.push(good("connection", "it is reached"));
                checks.push(good("credentials", "they are accepted"));
                checks.push(good("version", format!("version {version}")));
            }
            // Somebody was there to refuse them.
            Err(error @ Error::Auth { .. }) => {
                checks.push(good("connection", "it is reached"));
                checks.push(bad("credentials", &error));
                return checks;
            }
            Err(error) => {
                checks.push(bad("connection", &error));
                return checks;
            }
        }
        checks.push(match self.tell(read_only).await {
            Ok(value) if ["1", "on", "ON"].contains(&value.as_str()) => {
                good("read only", "the database refuses to write for us")
            }
            Ok(_) => Check {
                what: "read only".to_owned(),
                found: Found::Bad {
                    problem: "the database does not say that the transaction only reads".to_owned(),
                    remedy: "connect as a user who may only SELECT".to_owned(),
                },
            },
            Err(error) => bad("read only", &error),
        });
        for query in [Some(&self.stock), self.prices.as_ref(), self.search.as_ref()]
            .into_iter()
            .flatten()
        {
            let what = query.purpose.key();
            checks.push(match self.database.in_time(self.check_query(query)).await {
                Ok(found) => Check {
                    what: what.to_owned(),
                    found,
                },
                Err(error) => bad(what, &error),
            });
        }
        checks
    }

    fn erp(&self) -> Option<&dyn Erp> {
        Some(self)
    }
}

#[async_trait]
impl Erp for Sql {
    async fn search(&self, words: &str, limit: usize) -> Result<Vec<Item>, Error> {
        let Some(query) = &self.search else {
            return Err(Error::Unsupported {
                system: SYSTEM,
                doing: "search: there is no search_query in the configuration".to_owned(),
            });
        };
        let words = words.trim();
        if words.is_empty() || words.contains('\0') || limit == 0 {
            return Ok(Vec::new());
        }
        let values = Values {
            words,
            limit,
            ..Values::default()
        };
        let rows = self.database.in_time(self.run(query, &values)).await?;
        let mut items = rows.items()?;
        items.sort_by_key(|item| item.sku != words && item.barcode.as_deref() != Some(words));
        Ok(items)
    }

    async fn stock(&self, skus: &[String]) -> Result<Vec<Stock>, Error> {
        let values = Values::default();
        let found = self.database.in_time(self.by_sku(&self.stock, skus, &values)).await?;
        let now = time_of_asking();
        let mut stock = Vec::new();
        for (asked, rows) in found {
            stock.extend(rows.stock(asked, now)?);
        }
        Ok(stock)
    }

    async fn prices(&self, skus: &[String], query: &PriceQuery) -> Result<Vec<Price>, Error> {
        let Some(price_query) = &self.prices else {
            return Err(Error::Unsupported {
                system: SYSTEM,
                doing: "tell prices: there is no price_query in the configuration".to_owned(),
            });
        };
        let values = Values {
            quantity: query.quantity,
            price_list: query.price_list.as_deref(),
            ..Values::default()
        };
        if values.price_list.is_some_and(|list| list.contains('\0')) {
            return Ok(Vec::new());
        }
        let found = self.database.in_time(self.by_sku(price_query, skus, &values)).await?;
        let mut prices = Vec::new();
        for (asked, rows) in found {
            prices.extend(rows.prices(asked)?);
        }
        Ok(prices)
    }
}
