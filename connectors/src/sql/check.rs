//! What a check looks at.

use super::database::Task;
use super::failure::Doing;
use super::query::{Dialect, Purpose, Query, Values};
use super::{SYSTEM, Sql, rows};
use crate::{Check, Error, Found};

/// A SKU, and words, that nothing has.
const NOTHING: &str = "allai-sync:nothing-has-this";

impl Sql {
    /// Everything, one after the other; without a connection, nothing more.
    pub(super) async fn look(&self) -> Vec<Check> {
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
                checks.push(Check::good("connection", "it is reached"));
                checks.push(Check::good("credentials", "they are accepted"));
                checks.push(Check::good("version", format!("version {version}")));
            }
            // Somebody was there to refuse them.
            Err(error @ Error::Auth { .. }) => {
                checks.push(Check::good("connection", "it is reached"));
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
                Check::good("read only", "the database refuses to write for us")
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
        let standard = self.all().map(|query| (query.purpose.key().to_owned(), query));
        let own = self
            .queries
            .iter()
            .map(|(name, query)| (format!("queries.{name}"), query));
        for (what, query) in standard.chain(own) {
            checks.push(match self.database.in_time(self.check_query(query)).await {
                Ok(found) => Check { what, found },
                Err(error) => bad(&what, &error),
            });
        }
        checks
    }

    async fn check_query(&self, query: &Query) -> Result<Found, Error> {
        let nothing = [NOTHING.to_owned()];
        let values = Values {
            skus: &nothing,
            words: NOTHING,
            limit: 1,
            ..Values::default()
        };
        let (sql, bound) = query.render(&values);
        if query.purpose == Purpose::Own {
            // Its parameters are NULL, which nothing is equal to; that it can be run is all that is known of it.
            self.run(query, &values).await?;
            return Ok(Found::Good(match query.own.join(", ") {
                names if names.is_empty() => "it can be asked".to_owned(),
                names => format!("it can be asked, with {names}"),
            }));
        }
        let doing = Doing::Running(query.purpose);
        let prepared = self.database.ask(&Task::Columns { sql, bound }, doing).await?;
        let untold = match rows::judge(query.purpose, &prepared.columns) {
            Ok(untold) => untold,
            Err((problem, remedy)) => return Ok(Found::Bad { problem, remedy }),
        };
        // PostgreSQL looks at permissions, and at what writes, only now.
        let rows = self.run(query, &values).await?;
        if !rows.cells.is_empty() && query.purpose != Purpose::Catalogue {
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
    Check::bad(what, error.to_string(), remedy)
}
