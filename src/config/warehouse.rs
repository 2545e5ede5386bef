//! `[warehouse]`: the database that mirrors the accounts.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::KeyPath;
use super::issue::Report;
use super::secret::{REDACTED, Secret};

/// Where the mirror lives if nothing is said.
const DEFAULT_URL: &str = "sqlite://warehouse.db";

/// The database that mirrors the accounts.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Warehouse {
    /// `sqlite://PATH` (created if missing) or `postgres://USER:PASSWORD@HOST/DATABASE`. Default: `sqlite://warehouse.db`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<DatabaseUrl>,
    /// A file that holds the URL, if it holds a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_file: Option<PathBuf>,
    /// The Postgres schema that holds the tables; ignored by SQLite.
    pub schema: String,
    /// Create or upgrade the tables at start. If false, run `allai-sync migrate` with a user that may.
    pub migrate: bool,
}

impl Default for Warehouse {
    fn default() -> Self {
        Self {
            url: None,
            url_file: None,
            schema: "allai".to_owned(),
            migrate: true,
        }
    }
}

impl Warehouse {
    /// The URL to connect to, with its password.
    pub fn url(&self) -> &str {
        self.url.as_ref().map_or(DEFAULT_URL, DatabaseUrl::expose)
    }

    pub(super) fn validate(&self, at: &KeyPath, report: &mut Report) {
        let key = at.join("url");
        let url = self.url();
        let place = url
            .split_once(':')
            .map(|(scheme, rest)| (scheme, rest.trim_start_matches("//")));
        match place {
            Some(("sqlite", path)) if !path.trim().is_empty() => {}
            Some(("postgres" | "postgresql", _)) if url::Url::parse(url).is_ok() && url.contains("://") => {
                if let Some(problem) = allai_connectors::sql::unknown_parameter(url) {
                    report.wrong(&key, problem, "");
                }
                self.validate_schema(&at.join("schema"), report);
            }
            Some(("postgres" | "postgresql", _)) => report.wrong(
                &key,
                "not a URL that can be read",
                "write postgres://USER:PASSWORD@HOST/DATABASE, with special characters of the password percent-encoded",
            ),
            Some(("sqlite", _)) => report.wrong(&key, "names no file", "write e.g. sqlite://warehouse.db"),
            _ => report.wrong(
                &key,
                "neither a SQLite nor a PostgreSQL URL",
                "write e.g. sqlite://warehouse.db or postgres://USER:PASSWORD@HOST/DATABASE",
            ),
        }
    }

    fn validate_schema(&self, key: &KeyPath, report: &mut Report) {
        let letter = |c: char| c.is_ascii_lowercase() || c == '_';
        let valid = self.schema.starts_with(letter)
            && self.schema.len() <= 63
            && self.schema.chars().all(|c| letter(c) || c.is_ascii_digit());
        if !valid {
            report.wrong(
                key,
                "not a schema name that needs no quoting in SQL",
                "use up to 63 of a-z, 0-9 and _, beginning with a letter",
            );
        } else if self.schema.starts_with("pg_") || self.schema == "information_schema" {
            report.wrong(
                key,
                "a schema of PostgreSQL itself",
                "choose another name, such as \"allai\"",
            );
        }
    }
}

/// A database URL. `Debug` and `Serialize` show it without its password.
#[derive(Clone, JsonSchema)]
#[schemars(transparent, description = "A database URL.")]
pub struct DatabaseUrl(#[schemars(with = "String")] Secret);

impl DatabaseUrl {
    /// The URL with its password.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Whether the URL holds a password.
    pub fn has_password(&self) -> bool {
        without_password(self.expose()) != self.expose()
    }
}

impl From<String> for DatabaseUrl {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(self.expose()))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl Serialize for DatabaseUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Parameters of a URL that hold no secret.
const HARMLESS: [&str; 24] = [
    "application_name",
    "cache",
    "charset",
    "collation",
    "dbname",
    "host",
    "hostaddr",
    "immutable",
    "mode",
    "port",
    "socket",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "ssl-root-cert",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "timezone",
    "user",
    "vfs",
];

/// A URL without the password it may hold; any other text as it is.
///
/// Everything between the first colon and the last `@` counts as the password, even where a strict reader would see a path:
/// an unencoded `/` or `@` in a password must not make it visible.
pub(super) fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let mut shown = match rest.rsplit_once('@') {
        Some((user_info, host)) => match user_info.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:{REDACTED}@{host}"),
            None => url.to_owned(),
        },
        None => url.to_owned(),
    };
    let query = shown.find('?').map_or(shown.len(), |mark| mark + 1);
    let parameters: Vec<String> = shown[query..]
        .split('&')
        .map(|parameter| match parameter.split_once('=') {
            // What is not known may be a password under a name that is written wrong.
            Some((name, _)) if !HARMLESS.contains(&name) => format!("{name}={REDACTED}"),
            _ => parameter.to_owned(),
        })
        .collect();
    shown.replace_range(query.., &parameters.join("&"));
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_never_shown() {
        for (url, shown) in [
            ("postgres://me:pw@db:5432/x", "postgres://me:[redacted]@db:5432/x"),
            ("postgres://me:p/w@p:w@db/x", "postgres://me:[redacted]@db/x"),
            (
                "postgres://db/x?user=me&password=pw&sslmode=require&passwrod=pw",
                "postgres://db/x?user=me&password=[redacted]&sslmode=require&passwrod=[redacted]",
            ),
            ("sqlite://warehouse.db", "sqlite://warehouse.db"),
            ("postgres://me@db/x", "postgres://me@db/x"),
        ] {
            assert_eq!(DatabaseUrl::from(url.to_owned()).to_string(), shown);
        }
    }
}
