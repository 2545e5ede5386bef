//! What the databases say when they fail, by what is to be done about it.

use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;

use super::SYSTEM;
use super::query::{Dialect, Purpose};
use crate::Error;

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Connecting,
    Running(Purpose),
    /// Something of our own.
    Looking,
}

impl Doing {
    fn field(self) -> Option<String> {
        match self {
            Self::Connecting => Some("url".to_owned()),
            Self::Running(purpose) => Some(purpose.key().to_owned()),
            Self::Looking => None,
        }
    }

    fn named(self) -> String {
        self.field()
            .map_or_else(|| "look around".to_owned(), |field| format!("run {field}"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// The password is wrong, or the user unknown.
    Credentials,
    /// The user may not.
    Permission,
    /// No such table, column or function.
    Schema,
    /// It writes.
    Writes,
    /// It took too long.
    Slow,
    /// The connection or the server has gone.
    Lost,
    /// Too much is going on.
    Busy,
    /// No such database.
    Database,
    /// A value does not fit. What the database says of it quotes it.
    Value,
    /// A value that the database's encoding has no letters for: nothing there has it. MySQL says the same of columns whose
    /// collations differ.
    Unwritable,
    /// Types that cannot be compared.
    Types,
    Other,
}

/// Whether the connection is gone, and another one may do.
pub(super) fn is_lost(error: &sqlx::Error, dialect: Dialect) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => class(error.as_ref(), dialect) == Class::Lost,
        _ => false,
    }
}

/// Whether a value cannot be written in the database's encoding, so that nothing there has it.
pub(super) fn is_unwritable(error: &sqlx::Error, dialect: Dialect) -> bool {
    matches!(error, sqlx::Error::Database(error) if class(error.as_ref(), dialect) == Class::Unwritable)
}

fn class(error: &dyn DatabaseError, dialect: Dialect) -> Class {
    match dialect {
        Dialect::Postgres => postgres(error.code().as_deref().unwrap_or_default(), error.message()),
        Dialect::Mysql => error
            .try_downcast_ref::<MySqlDatabaseError>()
            .map_or(Class::Other, |error| mysql(error.number())),
        Dialect::Sqlite => sqlite(
            error.code().and_then(|code| code.parse().ok()).unwrap_or(0),
            error.message(),
        ),
    }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn postgres(code: &str, message: &str) -> Class {
    match code {
        "25006" => Class::Writes,
        "42501" => Class::Permission,
        "57014" => Class::Slow,
        "3D000" => Class::Database,
        "42P01" | "42703" | "3F000" => Class::Schema,
        // An operator for types that do not go together is told as a function that is missing.
        "42883" | "42804" | "42P08" | "42P18" => Class::Types,
        "22P05" | "22021" => Class::Unwritable,
        // What was prepared does not fit the tables any more, or went with a connection behind a pooler.
        "0A000" if message.starts_with("cached plan") => Class::Lost,
        "26000" | "57P01" | "57P02" | "57P03" | "57P05" => Class::Lost,
        _ => match code.get(..2) {
            Some("28") => Class::Credentials,
            Some("22") => Class::Value,
            Some("08") => Class::Lost,
            Some("40" | "53" | "55" | "58" | "XX") => Class::Busy,
            _ => Class::Other,
        },
    }
}

/// <https://mariadb.com/kb/en/mariadb-error-code-reference/>,
/// <https://dev.mysql.com/doc/mysql-errors/en/server-error-reference.html>
fn mysql(number: u16) -> Class {
    match number {
        1045 | 1130 | 1251 | 1698 | 1862 | 3118 | 3955 => Class::Credentials,
        1044 | 1142 | 1143 | 1227 | 1345 | 1370 => Class::Permission,
        1049 => Class::Database,
        1054 | 1051 | 1109 | 1146 | 1305 => Class::Schema,
        1290 | 1792 | 1836 => Class::Writes,
        1969 | 3024 => Class::Slow,
        1053 | 1152..=1161 | 1184 | 1243 | 1615 | 1927 | 4031 => Class::Lost,
        1040 | 1135 | 1203 | 1205 | 1213 | 1226 | 1317 => Class::Busy,
        1264 | 1292 | 1367 | 1411 | 1525 | 1690 => Class::Value,
        1267 | 1270 | 1271 | 1366 | 3854 => Class::Unwritable,
        _ => Class::Other,
    }
}

/// <https://www.sqlite.org/rescode.html>
fn sqlite(code: u32, message: &str) -> Class {
    match code & 0xff {
        3 | 23 => Class::Permission,
        5 | 6 | 7 | 10 => Class::Busy,
        8 => Class::Writes,
        9 => Class::Slow,
        14 => Class::Database,
        20 => Class::Value,
        1 if message.starts_with("no such") => Class::Schema,
        _ => Class::Other,
    }
}

/// The error that callers see.
pub(super) fn explain(error: sqlx::Error, doing: Doing, dialect: Dialect, timeout: Duration) -> Error {
    let error = match error {
        sqlx::Error::Database(error) => error,
        sqlx::Error::Io(error) if doing == Doing::Connecting => return transient(&format!("is not reached: {error}")),
        sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed => return transient("broke the connection off"),
        sqlx::Error::Tls(error) => {
            return Error::Rejected {
                system: SYSTEM,
                field: Some("url".to_owned()),
                message: format!(
                    "no secure connection: {error}; see sslmode, and sslrootcert (PostgreSQL) or ssl-ca (MySQL), in `url`"
                ),
            };
        }
        sqlx::Error::Configuration(_) | sqlx::Error::InvalidArgument(_) => {
            return Error::Rejected {
                system: SYSTEM,
                field: Some("url".to_owned()),
                message: "the server wants it otherwise: a MySQL user with caching_sha2_password needs TLS \
                          (ssl-mode=required) or a socket"
                    .to_owned(),
            };
        }
        sqlx::Error::Protocol(_) => {
            return Error::Unreadable {
                system: SYSTEM,
                expected: "its own protocol",
                problem: "it was not understood".to_owned(),
            };
        }
        // What else there is comes of programming errors, and may quote a value.
        _ => {
            return Error::Unreadable {
                system: SYSTEM,
                expected: "rows",
                problem: "the driver does not understand them".to_owned(),
            };
        }
    };
    let message = error.message().trim().to_owned();
    let rejected = |message: String| Error::Rejected {
        system: SYSTEM,
        field: doing.field(),
        message,
    };
    match class(error.as_ref(), dialect) {
        Class::Credentials => Error::Auth {
            system: SYSTEM,
            message,
            remedy: "`url`",
        },
        Class::Permission => Error::Forbidden {
            system: SYSTEM,
            doing: doing.named(),
            message: format!("{message}; grant it SELECT on what the query reads"),
        },
        Class::Schema => rejected(format!("{message}; correct the query, or name the schema in it")),
        Class::Writes => rejected(format!(
            "it writes, and everything here runs in a transaction that only reads ({message}); ask by a SELECT that \
             changes nothing"
        )),
        Class::Slow => transient(&format!(
            "was stopped: {} takes longer than there is time ({timeout:?}); make it faster (is there an index?) or raise \
             `timeout`",
            doing.field().as_deref().unwrap_or("the statement")
        )),
        Class::Lost => transient("ended the connection"),
        Class::Busy => transient(&format!("cannot answer now: {message}")),
        Class::Database => Error::NotFound {
            system: SYSTEM,
            what: match dialect {
                Dialect::Sqlite => "file that can be opened where `url` says".to_owned(),
                Dialect::Postgres | Dialect::Mysql => "database of the name in `url`".to_owned(),
            },
        },
        Class::Types => rejected(format!(
            "{message}; parameters are texts: cast the column to text, as in CAST(code AS CHAR(40)) = :sku"
        )),
        Class::Value | Class::Unwritable => rejected(format!(
            "a value does not fit (error {}); if a parameter is compared with a number, cast the column to text rather \
             than the parameter to a number",
            error.code().unwrap_or_default()
        )),
        Class::Other => rejected(message),
    }
}

pub(super) fn transient(message: &str) -> Error {
    Error::Transient {
        system: SYSTEM,
        message: message.to_owned(),
        // Nothing here changes anything.
        may_have_happened: false,
    }
}

pub(super) fn out_of_time(timeout: Duration) -> Error {
    transient(&format!("does not answer within {timeout:?}"))
}
