//! The layers of the configuration, and how they become one [`Config`].

use std::collections::BTreeMap;

use figment::error::Kind;
use figment::providers::Serialized;
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::issue::Report;
use super::sources::{Place, Sources};
use super::{Config, KeyPath, shape};

/// What variables that configure allai-sync begin with; `__` also separates the levels.
const PREFIX: &str = "ALLAI_SYNC__";

/// What the file and the environment say.
pub(super) struct Layers {
    file: Dict,
    env: Dict,
}

impl Layers {
    /// The layers of a file and of the variables among `env` that configure allai-sync.
    pub(super) fn new(file: Dict, env: &BTreeMap<String, String>, sources: &mut Sources, report: &mut Report) -> Self {
        let mut layers = Self { file, env: Dict::new() };
        for (name, value) in env {
            if let Some(path) = name.strip_prefix(PREFIX) {
                layers.add_variable(name, path, value, sources, report);
            }
        }
        layers
    }

    fn add_variable(&mut self, name: &str, path: &str, value: &str, sources: &mut Sources, report: &mut Report) {
        let mut refuse = |problem: &str| {
            report.wrong_at(
                Place::Variable(name.to_owned()),
                problem,
                "write it like ALLAI_SYNC__WAREHOUSE__URL",
            );
        };
        let segments: Vec<&str> = path.split("__").collect();
        if segments.iter().any(|segment| segment.is_empty()) {
            return refuse("names no key");
        }
        let mut keys: Vec<String> = Vec::new();
        let mut known = Some(&self.file);
        for segment in segments {
            let key = spelling(segment, known);
            known = known.and_then(|dict| dict.get(&key)).and_then(Value::as_dict);
            keys.push(key);
        }
        // A variable stays a string until a key refuses a string: a key or password of digits must not become a number.
        if !insert(&mut self.env, &keys, Value::from(value)) {
            return refuse("sets a key inside of one that another variable sets");
        }
        // A secret is given as `x` or as `x_file`: the environment wins whichever of them the file has.
        if let Some((last, parents)) = keys.split_last() {
            let other = match last.strip_suffix("_file") {
                Some(secret) => secret.to_owned(),
                None => format!("{last}_file"),
            };
            remove(&mut self.file, &[parents, &[other]].concat());
        }
        sources.note_variable(KeyPath::new(keys), name);
    }

    /// The merged configuration; what cannot be read is reported, set aside, and read as if it were not there, so that one
    /// pass finds everything.
    pub(super) fn extract(mut self, report: &mut Report) -> Config {
        for key in shape::arrays_for_tables(&self.file) {
            report.wrong(
                &key,
                "expected a table, found an array",
                format!("write the header as [{key}]"),
            );
            remove(&mut self.file, key.keys());
        }
        loop {
            let figment = Figment::from(Serialized::defaults(Config::default()))
                .merge(Layer("file", &self.file))
                .merge(Layer("environment", &self.env));
            let error = match figment.extract::<Config>() {
                Ok(config) => return config,
                Err(error) => error,
            };
            if matches!(error.kind, Kind::InvalidType(..)) && self.retype_variable(&error.path) {
                continue;
            }
            report.refused(&KeyPath::new(error.path.iter()), &error.kind);
            // Each round removes something, so this ends.
            if !remove(&mut self.env, &error.path) && !remove(&mut self.file, &error.path) {
                return Config::default();
            }
        }
    }

    /// Reads a variable's string as the number, boolean or array it spells; false if it spells none of them.
    fn retype_variable(&mut self, path: &[String]) -> bool {
        let Some(value) = get_mut(&mut self.env, path) else {
            return false;
        };
        let Some(text) = value.as_str() else { return false };
        match text.parse::<Value>() {
            // A variable sets one key, so that each key knows the variable that set it.
            Ok(Value::String(..) | Value::Dict(..)) | Err(_) => false,
            Ok(typed) => {
                *value = typed;
                // serde would take an array for a table.
                shape::arrays_for_tables(&self.env).is_empty()
            }
        }
    }
}

/// One layer, as figment wants it.
struct Layer<'d>(&'static str, &'d Dict);

impl Provider for Layer<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.0)
    }

    fn data(&self) -> figment::Result<Map<Profile, Dict>> {
        Ok(Profile::Default.collect(self.1.clone()))
    }
}

/// How the file spells the key that a variable calls `segment`: variables know neither lower case nor dashes.
fn spelling(segment: &str, known: Option<&Dict>) -> String {
    let lower = segment.to_lowercase();
    let same = |key: &&String| key.to_lowercase().replace('-', "_") == lower.replace('-', "_");
    match known {
        Some(dict) if !dict.contains_key(&lower) => dict.keys().find(same).cloned().unwrap_or(lower),
        _ => lower,
    }
}

fn insert(dict: &mut Dict, keys: &[String], value: Value) -> bool {
    match keys {
        [] => false,
        [key] => !dict.contains_key(key) && dict.insert(key.clone(), value).is_none(),
        [key, rest @ ..] => {
            let inner = dict.entry(key.clone()).or_insert_with(|| Value::from(Dict::new()));
            match inner {
                Value::Dict(_, inner) => insert(inner, rest, value),
                _ => false,
            }
        }
    }
}

fn get_mut<'d>(dict: &'d mut Dict, path: &[String]) -> Option<&'d mut Value> {
    let (key, rest) = path.split_first()?;
    let value = dict.get_mut(key)?;
    match (rest, value) {
        ([], value) => Some(value),
        (rest, Value::Dict(_, inner)) => get_mut(inner, rest),
        _ => None,
    }
}

/// Removes what is at `path`, or the array or scalar that `path` leads into; false if there is nothing.
fn remove(dict: &mut Dict, path: &[String]) -> bool {
    let Some((key, rest)) = path.split_first() else {
        return false;
    };
    match dict.get_mut(key) {
        None => false,
        Some(Value::Dict(_, inner)) if !rest.is_empty() => remove(inner, rest),
        Some(_) => dict.remove(key).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dict(toml: &str) -> Dict {
        toml_edit::de::from_str(toml).unwrap()
    }

    fn extract(file: &str, env: &[(&str, &str)]) -> (Config, Vec<String>) {
        let env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut report = Report::default();
        let mut sources = Sources::default();
        let layers = Layers::new(dict(file), &env, &mut sources, &mut report);
        let config = layers.extract(&mut report);
        let issues = match report.finish(&sources) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.issues.iter().map(ToString::to_string).collect(),
        };
        (config, issues)
    }

    #[test]
    fn the_environment_overrides_the_file_and_keeps_the_type_a_key_wants() {
        let (config, issues) = extract(
            "[accounts.my-shop]\napi_key = \"from file\"\npage_size = 7",
            &[
                ("ALLAI_SYNC__ACCOUNTS__MY_SHOP__API_KEY", "0123456789"),
                ("ALLAI_SYNC__ACCOUNTS__MY_SHOP__PAGE_SIZE", "50"),
                ("ALLAI_SYNC__ACCOUNTS__MY_SHOP__CONTACTS__FIELDS", r#"["id", "name"]"#),
                ("ALLAI_SYNC__ACCOUNTS__MY_SHOP__ENABLED", "false"),
            ],
        );
        assert_eq!(issues, Vec::<String>::new());
        let account = &config.accounts["my-shop"];
        assert_eq!(account.api_key.as_ref().unwrap().expose(), "0123456789");
        assert_eq!(account.page_size, 50);
        assert_eq!(account.contacts.fields, ["id", "name"]);
        assert!(!account.enabled);
    }

    #[test]
    fn everything_wrong_is_found_in_one_pass() {
        let (config, issues) = extract(
            "accounts.main.plan = 2\naccounts.main.page_size = -1\naccounts.main.fields = []\n\
             jobs.contacts.schedule = \"never\"\nwarehouse = 3\n[connectors.erp]\nurl = \"x\"\n[connectors.crm]\nkind = 4\n",
            &[
                ("ALLAI_SYNC__ADMIN__PORT", "1"),
                ("ALLAI_SYNC__ADMIN__LISTEN", "here"),
                ("ALLAI_SYNC__", "1"),
            ],
        );
        assert_eq!(issues.len(), 10, "{issues:#?}");
        assert_eq!(
            config.jobs.contacts.schedule.as_str(),
            Config::default().jobs.contacts.schedule.as_str(),
            "the default stands in"
        );
    }
}
