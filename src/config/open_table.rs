//! Tables whose keys this crate does not know: they belong to a connector or a rule.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::secret::REDACTED;
use super::{KeyPath, warehouse};

/// A table with keys of any name. `Debug` and `Serialize` redact what looks like a secret by its name.
#[derive(Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(description = "A table with keys of any name.")]
pub struct OpenTable(pub BTreeMap<String, Value>);

impl OpenTable {
    /// The keys in this table, which is at `at`, that hold a secret.
    pub(super) fn secret_keys(&self, at: &KeyPath) -> Vec<KeyPath> {
        let mut keys = Vec::new();
        for (name, value) in &self.0 {
            collect_secrets(name, value, &at.join(name), &mut keys);
        }
        keys
    }

    /// The secrets that are given as files: the secret's own key, and the path.
    pub(super) fn secret_files(&self) -> Vec<(String, PathBuf)> {
        let given = |(name, value): (&String, &Value)| {
            let secret = name.strip_suffix("_file")?;
            let known = ["password", "secret", "token", "api_key", "url"];
            let path = value.as_str()?;
            known
                .iter()
                .any(|end| secret.ends_with(end))
                .then(|| (secret.to_owned(), PathBuf::from(path)))
        };
        self.0.iter().filter_map(given).collect()
    }
}

impl fmt::Debug for OpenTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let redacted = self.0.iter().map(|(name, value)| (name, redact(name, value)));
        f.debug_map().entries(redacted).finish()
    }
}

impl Serialize for OpenTable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, redact(name, value))))
    }
}

/// Whether a key of this name holds a secret; rather one too many than one too few.
fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    let telling = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "credential",
        "authorization",
        "cookie",
    ];
    !name.ends_with("_file")
        && (name.ends_with("key") || name == "pass" || telling.iter().any(|part| name.contains(part)))
}

fn redact(name: &str, value: &Value) -> Value {
    if is_secret(name) {
        return REDACTED.into();
    }
    match value {
        Value::String(text) => warehouse::without_password(text).into(),
        Value::Array(items) => items.iter().map(|item| redact(name, item)).collect(),
        Value::Object(table) => table
            .iter()
            .map(|(name, value)| (name.clone(), redact(name, value)))
            .collect(),
        other => other.clone(),
    }
}

fn collect_secrets(name: &str, value: &Value, at: &KeyPath, keys: &mut Vec<KeyPath>) {
    match value {
        _ if is_secret(name) => keys.push(at.clone()),
        Value::String(text) if warehouse::without_password(text) != *text => keys.push(at.clone()),
        Value::Object(table) => {
            for (name, value) in table {
                collect_secrets(name, value, &at.join(name), keys);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_neither_printed_nor_serialized() {
        let table: OpenTable = serde_json::from_str(
            r#"{"url": "postgres://erp:hunter2@db/x", "password": "hunter2", "password_file": "erp", "port": 1,
                "headers": {"X-Api-Key": "hunter2"}, "steps": [{"auth_token": "hunter2"}]}"#,
        )
        .unwrap();
        for shown in [format!("{table:?}"), serde_json::to_string(&table).unwrap()] {
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(shown.contains("erp:[redacted]@db") && shown.contains("port"), "{shown}");
        }
        assert_eq!(table.secret_files(), [("password".to_owned(), PathBuf::from("erp"))]);
        assert_eq!(table.secret_keys(&KeyPath::root()).len(), 3);
    }
}
