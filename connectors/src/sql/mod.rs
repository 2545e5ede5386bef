//! A company's own database, asked by the administrator's SQL: for ERPs that have no API, or none that tells the stock.
//!
//! ```toml
//! url = "postgres://reader:…@erp.example.com/erp"
//! stock_query = "SELECT code AS sku, depot AS warehouse, qty AS on_hand FROM stock WHERE code IN (:skus)"
//! price_query = "SELECT code AS sku, price AS net, 'RON' AS currency FROM prices WHERE code IN (:skus)"
//! search_query = "SELECT code AS sku, name FROM products WHERE name ILIKE :pattern ORDER BY name LIMIT :limit"
//! catalogue_query = "SELECT code AS sku FROM products WHERE code > :after ORDER BY code LIMIT :limit"
//! queries.order_status = "SELECT status, delivery_day FROM orders WHERE number = :number AND lower(email) = lower(:email)"
//! ```
//!
//! One of them at least is there.
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
//! | `:limit` | search, catalogue | how many items are wanted |
//! | `:after` | catalogue | the SKU behind which the list goes on; at first an empty text |
//!
//! Those under `queries` have the parameters that they name, all of them texts, or NULL.
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
//! - Catalogue: `sku`.
//! - Those under `queries`: any, of types that are text, number or time; told as texts.
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
//! [`ODOO_STOCK_QUERY`] reads the schema of Odoo 16 and later, on PostgreSQL.
//!
//! # What was tested
//!
//! SQLite 3.51, PostgreSQL 15 and MariaDB 10.11, and Odoo's query on the tables it names. MySQL itself was not: where it differs
//! from MariaDB (`max_execution_time`, the numbers of some errors), its documentation was followed.

mod asking;
mod check;
mod config;
mod database;
mod failure;
mod query;
mod rows;
mod value;

use std::collections::BTreeMap;
use std::fmt;

use async_trait::async_trait;
use secrecy::ExposeSecret as _;

pub use config::Config;
use database::Database;
pub(crate) use query::nearest;
use query::{Dialect, Purpose, Query, Values};
pub(crate) use value::time as time_of;

use crate::catalogue::once;
use crate::time;
use crate::{Capabilities, Check, Connector, Erp, Error, Item, Kind, Price, PriceQuery, Row, Stock};

const SYSTEM: &str = Kind::Sql.as_str();

/// Stock by warehouse, for `stock_query` on Odoo's own database.
///
/// What lies in the internal locations below each warehouse's view location; free to promise is what is not reserved. Products
/// that are not in any warehouse now are told with 0 in each warehouse of their company, as Odoo does; archived ones are not
/// found. Names are JSON by language since Odoo 16: here `en_US`, or else the first there is; replace it by yours.
pub const ODOO_STOCK_QUERY: &str = include_str!("odoo_stock.sql");

/// A database and its queries.
pub struct Sql {
    database: Database,
    max_rows: usize,
    stock: Option<Query>,
    prices: Option<Query>,
    search: Option<Query>,
    catalogue: Option<Query>,
    queries: BTreeMap<String, Query>,
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
        if dialect == Dialect::Postgres
            && let Some(message) = unknown_parameter(url)
        {
            return Err(Error::Rejected {
                system: SYSTEM,
                field: Some("url".to_owned()),
                message,
            });
        }
        let parse = |sql: &str, purpose: Purpose| {
            Query::parse(sql, purpose, dialect).map_err(|unsuitable| Error::Rejected {
                system: SYSTEM,
                field: Some(purpose.key().to_owned()),
                message: unsuitable.to_string(),
            })
        };
        let optional = |sql: Option<&String>, purpose: Purpose| sql.map(|sql| parse(sql, purpose)).transpose();
        let own = config.queries.iter().map(|(name, sql)| {
            let query = parse(sql, Purpose::Own).map_err(|error| of_query(error, name))?;
            Ok((name.clone(), query))
        });
        let sql = Self {
            stock: optional(config.stock_query.as_ref(), Purpose::Stock)?,
            prices: optional(config.price_query.as_ref(), Purpose::Prices)?,
            search: optional(config.search_query.as_ref(), Purpose::Search)?,
            catalogue: optional(config.catalogue_query.as_ref(), Purpose::Catalogue)?,
            queries: own.collect::<Result<_, Error>>()?,
            database: Database::new(config, url, dialect)?,
            max_rows: config.max_rows.get(),
        };
        if sql.queries.is_empty() && sql.all().next().is_none() {
            return Err(Error::Rejected {
                system: SYSTEM,
                field: None,
                message: "it has no query: write a stock_query, or any of the others".to_owned(),
            });
        }
        Ok(sql)
    }

    /// The queries that there are for what every ERP is asked.
    fn all(&self) -> impl Iterator<Item = &Query> {
        [&self.stock, &self.prices, &self.search, &self.catalogue]
            .into_iter()
            .flatten()
    }
}

/// An error with one of the administrator's own queries, which is named.
fn of_query(error: Error, name: &str) -> Error {
    match error {
        Error::Rejected { system, field, message } if field.as_deref() == Some(Purpose::Own.key()) => Error::Rejected {
            system,
            field: Some(format!("{}.{name}", Purpose::Own.key())),
            message,
        },
        error => error,
    }
}

/// What can follow a PostgreSQL URL's `?`, beside `options[…]`.
const POSTGRES_PARAMETERS: [&str; 18] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// Why a PostgreSQL URL has a parameter that the driver does not know, if so: it would be passed over, with its value in the
/// log, which may be a password. It is not quoted.
pub fn unknown_parameter(url: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let names = query
        .split('&')
        .map(|parameter| parameter.split('=').next().unwrap_or_default());
    let is_known = |name: &&str| name.is_empty() || POSTGRES_PARAMETERS.contains(name) || name.starts_with("options[");
    let unknown = names.into_iter().find(|name| !is_known(name))?;
    let remedy = match nearest(unknown, POSTGRES_PARAMETERS.into_iter()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("those there are: {}", POSTGRES_PARAMETERS.join(", ")),
    };
    Some(format!(
        "it has a parameter that PostgreSQL's URLs do not have; {remedy}"
    ))
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

#[async_trait]
impl Connector for Sql {
    fn kind(&self) -> Kind {
        Kind::Sql
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            search: self.search.is_some(),
            stock: self.stock.is_some(),
            // Only the database knows what its rows name; without the word there is no such column.
            warehouses: self
                .stock
                .as_ref()
                .is_some_and(|query| query.says("warehouse") || query.says("*")),
            prices: self.prices.is_some(),
            catalogue: self.catalogue.is_some(),
            ..Capabilities::default()
        }
    }

    async fn check(&self) -> Vec<Check> {
        self.look().await
    }

    fn erp(&self) -> Option<&dyn Erp> {
        Some(self)
    }

    fn queries(&self) -> BTreeMap<&str, &[String]> {
        let named = self.queries.iter();
        named
            .map(|(name, query)| (name.as_str(), query.own.as_slice()))
            .collect()
    }

    async fn query(&self, name: &str, parameters: &BTreeMap<String, String>) -> Result<Vec<Row>, Error> {
        let query = self.queries.get(name).ok_or_else(|| Error::Unsupported {
            system: SYSTEM,
            doing: format!("ask {name}: there is no queries.{name} in the configuration"),
        })?;
        if parameters.values().any(|value| value.contains('\0')) {
            return Ok(Vec::new());
        }
        let own: Vec<Option<String>> = query.own.iter().map(|name| parameters.get(name).cloned()).collect();
        let values = Values {
            own: &own,
            ..Values::default()
        };
        let rows = self.database.in_time(self.run(query, &values)).await;
        rows.map_err(|error| of_query(error, name))?.objects()
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
        let Some(query) = &self.stock else {
            return Err(Error::Unsupported {
                system: SYSTEM,
                doing: "tell stock: there is no stock_query in the configuration".to_owned(),
            });
        };
        let values = Values::default();
        let found = self.database.in_time(self.by_sku(query, skus, &values)).await?;
        let now = time::now();
        let mut stock = Vec::new();
        for (asked, rows) in found {
            stock.extend(rows.stock(asked, now)?);
        }
        Ok(stock)
    }

    async fn skus(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, Error> {
        let Some(query) = &self.catalogue else {
            return Err(Error::Unsupported {
                system: SYSTEM,
                doing: "list its products: there is no catalogue_query in the configuration".to_owned(),
            });
        };
        let values = Values {
            after: after.unwrap_or_default(),
            limit,
            ..Values::default()
        };
        let rows = self.database.in_time(self.run(query, &values)).await?;
        Ok(once(rows.skus(Purpose::Catalogue)?.into_iter().flatten()))
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
