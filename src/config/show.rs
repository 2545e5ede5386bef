//! The effective configuration as TOML, for `config show`.

use toml_edit::{DocumentMut, Item, Table, Value};

use super::{KeyPath, Loaded, Sources};

/// The effective configuration as TOML: secrets as `[redacted]`, each value with where it came from.
#[expect(
    clippy::missing_panics_doc,
    reason = "every value came from TOML or a string, so it has a form in TOML"
)]
pub fn show(loaded: &Loaded) -> String {
    let mut config = loaded.config.clone();
    if config.warehouse.url.is_none() {
        config.warehouse.url = Some(config.warehouse.url().to_owned().into());
    }
    let pretty = toml_edit::ser::to_string_pretty(&config).expect("the configuration has a form in TOML");
    let mut document: DocumentMut = pretty.parse().expect("what was just written can be read");
    annotate(document.as_table_mut(), &KeyPath::root(), &loaded.sources);
    format!("# The effective configuration; each comment says where a value came from.\n\n{document}")
}

fn annotate(table: &mut Table, at: &KeyPath, sources: &Sources) {
    // A secret that was read from a file is shown as that file, so that the output is a configuration again.
    let read: Vec<String> = table
        .iter()
        .map(|(name, _)| name.to_owned())
        .filter(|name| table.contains_key(&format!("{name}_file")))
        .collect();
    for name in read {
        table.remove(&name);
    }
    for (name, item) in table.iter_mut() {
        let key = at.join(name.get());
        match item {
            Item::Table(table) => annotate(table, &key, sources),
            Item::ArrayOfTables(tables) => {
                for (index, table) in tables.iter_mut().enumerate() {
                    annotate(table, &key.join(index.to_string()), sources);
                }
            }
            Item::Value(value) => annotate_value(value, &key, sources),
            Item::None => {}
        }
    }
}

fn annotate_value(value: &mut Value, key: &KeyPath, sources: &Sources) {
    if let Value::Array(array) = value {
        // One line, or the comment would stand behind the closing bracket of a list several lines down.
        array.fmt();
    }
    let comment = format!("  # {}", sources.origin(key));
    value.decor_mut().set_suffix(comment);
}
