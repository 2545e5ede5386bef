//! The annotated example and the JSON Schema of the configuration.

use std::collections::BTreeSet;

use schemars::Schema;
use serde_json::Value;

use super::Config;

/// `config.example.toml`: every key, described, with its default.
pub const EXAMPLE: &str = include_str!("../../config.example.toml");

/// The JSON Schema of the configuration, for editors.
pub fn schema() -> Schema {
    schemars::schema_for!(Config)
}

/// The names of all known keys, of tables too.
pub(super) fn key_names() -> Vec<String> {
    let mut names = BTreeSet::new();
    collect_names(schema().as_value(), &mut names);
    names.into_iter().collect()
}

fn collect_names(schema: &Value, names: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Object(properties)) = members.get("properties") {
                names.extend(properties.keys().cloned());
            }
            members.values().for_each(|member| collect_names(member, names));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_names(item, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{KeyPath, LoadOptions, Loaded};

    /// The example with its commented-out settings (`#key`, `#[table]`) switched on.
    fn uncommented(keep: impl Fn(&str) -> bool) -> String {
        let line = |line: &'static str| match line.strip_prefix('#') {
            Some(setting) if setting.starts_with(|c: char| c == '[' || c.is_ascii_alphabetic()) => setting,
            _ => line,
        };
        let lines: Vec<&str> = EXAMPLE.lines().map(line).filter(|line| keep(line)).collect();
        lines.join("\n")
    }

    fn load(text: &str) -> Result<Loaded, crate::config::Errors> {
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&LoadOptions {
            path: Some(path),
            search: Vec::new(),
            env: std::collections::BTreeMap::new(),
        })
    }

    #[test]
    fn the_example_is_a_valid_configuration() {
        let loaded = load(EXAMPLE).unwrap();
        assert_eq!(loaded.config.accounts.len(), 1);
        let defaults = serde_json::to_value(crate::config::Account::default()).unwrap();
        let mut example = serde_json::to_value(&loaded.config.accounts["main"]).unwrap();
        example.as_object_mut().unwrap().remove("api_key");
        assert_eq!(example, defaults, "the example shows the defaults");
        let jobs = serde_json::to_value(&loaded.config.jobs).unwrap();
        assert_eq!(jobs, serde_json::to_value(crate::config::Jobs::default()).unwrap());
    }

    #[test]
    fn every_line_of_the_example_that_is_commented_out_is_valid_too() {
        let is_secret_file = |line: &str| {
            let key = line.split('=').next().unwrap_or_default().trim();
            key.ends_with("_file")
        };
        load(&uncommented(|line| !is_secret_file(line))).unwrap();
    }

    #[test]
    fn a_secret_in_the_place_of_any_value_is_not_repeated_by_any_error() {
        let lines: Vec<&str> = EXAMPLE.lines().collect();
        let mut refused = 0;
        for (index, line) in lines.iter().enumerate() {
            let Some((key, _)) = line.trim_start_matches('#').split_once(" = ") else {
                continue;
            };
            if key.contains(' ') {
                continue;
            }
            for value in [
                "\"hunter2:hunter2@hunter2/1\"",
                "hunter2",
                "[\"hunter2\"]",
                "{ a = \"hunter2\" }",
                "4242424242",
            ] {
                let mut lines = lines.clone();
                let line = format!("{key} = {value}");
                lines[index] = &line;
                let Err(errors) = load(&lines.join("\n")) else {
                    continue;
                };
                refused += 1;
                let shown = format!("{errors} {errors:?}");
                let path = key.ends_with("_file");
                assert!(path || !shown.contains("hunter2"), "{key}: {shown}");
                assert!(!shown.contains("4242424242"), "{key}: {shown}");
            }
        }
        assert!(refused > 100, "{refused}");
    }

    #[test]
    fn every_key_of_the_schema_is_in_the_example() {
        let text = uncommented(|_| true);
        let document = toml_edit::ImDocument::parse(text.as_str()).unwrap();
        let sources = crate::config::Sources::of_file(std::path::Path::new("x"), &document);
        let schema = schema();
        let mut paths = Vec::new();
        paths_of(schema.as_value(), schema.as_value(), &KeyPath::root(), &mut paths);
        assert!(paths.len() > 40, "{paths:?}");
        let missing: Vec<String> = paths
            .iter()
            .filter(|path| !sources.is_from_file(path))
            .map(ToString::to_string)
            .collect();
        assert_eq!(missing, Vec::<String>::new());
    }

    /// The paths of all keys; a table with names of the user's choice is looked into under the example's names.
    fn paths_of(root: &Value, schema: &Value, at: &KeyPath, paths: &mut Vec<KeyPath>) {
        let pointer = schema.get("$ref").and_then(Value::as_str);
        if let Some(pointer) = pointer.and_then(|pointer| pointer.strip_prefix('#')) {
            paths_of(root, root.pointer(pointer).unwrap(), at, paths);
        }
        for variant in schema.get("anyOf").and_then(Value::as_array).into_iter().flatten() {
            paths_of(root, variant, at, paths);
        }
        for (name, property) in schema
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            let path = at.join(name);
            paths.push(path.clone());
            paths_of(root, property, &path, paths);
        }
        if let Some(inner) = schema.get("additionalProperties").filter(|inner| inner.is_object()) {
            let name = if at.last() == "accounts" { "main" } else { "erp" };
            paths_of(root, inner, &at.join(name), paths);
        }
    }
}
