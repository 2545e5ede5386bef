//! The keys of a file connector in the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::refused;
use crate::error::Error;
use crate::settings;
use crate::sql::nearest;

/// The columns that mean something.
pub(super) const COLUMNS: [&str; 9] = [
    "sku",
    "name",
    "uom",
    "warehouse",
    "warehouse_name",
    "on_hand",
    "net",
    "gross",
    "currency",
];

/// A folder with exports, and how they are read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesConfig {
    /// Where the files are dropped.
    pub folder: PathBuf,
    /// How long a file must have been left alone to be complete.
    #[serde(default = "settings::ten_seconds", deserialize_with = "settings::duration")]
    pub settle: Duration,
    /// The files that tell the stock, and prices, if there are none for them.
    pub stock: TableConfig,
    /// The files that tell prices.
    #[serde(default)]
    pub prices: Option<TableConfig>,
}

/// Files of one kind, and how they are read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableConfig {
    /// Their names, whatever their case: `*` stands for any letters, `?` for one.
    pub files: String,
    /// What they are. Default: what their names end in.
    #[serde(default)]
    pub format: Option<Format>,
    /// How their letters are written. Default: UTF-8, and of DBF what the file says.
    #[serde(default)]
    pub encoding: Option<Encoding>,
    /// What stands between the cells of a CSV file.
    #[serde(default = "comma")]
    pub delimiter: char,
    /// Whether decimals come after a comma, and points and spaces may stand between thousands.
    #[serde(default)]
    pub decimal_comma: bool,
    /// The names, in the file, of the columns that are known here; whatever their case.
    pub columns: BTreeMap<String, String>,
    /// What prices are in, if no column says.
    #[serde(default)]
    pub currency: Option<String>,
}

const fn comma() -> char {
    ','
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Values separated by a delimiter, with the columns' names in the first line.
    Csv,
    /// dBase and FoxPro.
    Dbf,
}

/// How letters are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Encoding {
    /// UTF-8.
    #[serde(rename = "utf-8")]
    Utf8,
    /// Windows, Central Europe.
    #[serde(rename = "cp1250")]
    Cp1250,
    /// DOS, Central Europe.
    #[serde(rename = "cp852")]
    Cp852,
    /// ISO, Central Europe.
    #[serde(rename = "iso-8859-2")]
    Latin2,
}

impl TableConfig {
    pub(super) fn has(&self, column: &str) -> bool {
        self.columns.contains_key(column)
    }

    pub(super) fn tells_prices(&self) -> bool {
        self.has("net") || self.has("gross")
    }

    /// What a file of this name is.
    pub(super) fn format_of(&self, name: &str) -> Format {
        let is_dbf = name.to_lowercase().ends_with(".dbf");
        self.format.unwrap_or(if is_dbf { Format::Dbf } else { Format::Csv })
    }

    /// Whether the values can be used at all.
    pub(super) fn validate(&self, key: &str) -> Result<(), Error> {
        let at = |name: &str| format!("{key}.{name}");
        if self.files.trim().is_empty() || self.files.contains(['/', '\\']) {
            return Err(refused(
                &at("files"),
                "it is not the name of files in the folder, such as stoc*.dbf",
            ));
        }
        if !self.delimiter.is_ascii() || matches!(self.delimiter, '"' | '\r' | '\n') {
            return Err(refused(
                &at("delimiter"),
                "it is no character that can stand between cells",
            ));
        }
        if self.decimal_comma && self.delimiter == ',' && self.format_of(&self.files) == Format::Csv {
            let message =
                "decimals and cells cannot both be separated by a comma, unless cells are quoted; set delimiter";
            return Err(refused(&at("delimiter"), message));
        }
        for name in self.columns.keys() {
            if !COLUMNS.contains(&name.as_str()) {
                let remedy = nearest(name, COLUMNS.into_iter()).map_or_else(
                    || format!("there are {}", COLUMNS.join(", ")),
                    |near| format!("did you mean {near}?"),
                );
                return Err(refused(
                    &at(&format!("columns.{name}")),
                    format!("it means nothing here; {remedy}"),
                ));
            }
        }
        let needed = match key {
            "prices" => self.tells_prices(),
            _ => self.has("on_hand"),
        };
        if !self.has("sku") || !needed {
            let needed = if key == "prices" {
                "sku, and net or gross"
            } else {
                "sku and on_hand"
            };
            return Err(refused(&at("columns"), format!("it needs {needed}")));
        }
        Ok(())
    }

    /// Whether a file's name fits.
    pub(super) fn fits(&self, name: &str) -> bool {
        let lower = |text: &str| text.to_lowercase().chars().collect::<Vec<char>>();
        fits(&lower(&self.files), &lower(name))
    }
}

/// Whether a name fits a pattern. Where a star has taken too little, it takes one more: no more than length by length steps.
fn fits(pattern: &[char], name: &[char]) -> bool {
    let (mut at, mut seen, mut star) = (0, 0, None);
    while seen < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(&letter) if letter == '?' || letter == name[seen] => {
                at += 1;
                seen += 1;
            }
            _ => match star {
                Some((of, taken)) => {
                    star = Some((of, taken + 1));
                    at = of + 1;
                    seen = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&letter| letter == '*')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn table(change: &Value) -> Result<TableConfig, serde_json::Error> {
        let mut keys = json!({"files": "stoc*.csv", "delimiter": ";", "columns": {"sku": "COD", "on_hand": "STOC"}});
        for (key, value) in change.as_object().unwrap() {
            keys[key] = value.clone();
        }
        serde_json::from_value(keys)
    }

    #[test]
    fn names_fit_whatever_their_case() {
        let files = table(&json!({"files": "st?c*_*.dbf"})).unwrap();
        for (name, fit) in [
            ("STOC_1.DBF", true),
            ("stoc2026_01_19.dbf", true),
            ("stocuri.dbf", false),
            ("stc_.dbf", false),
            ("stoc_1.dbf.tmp", false),
            ("", false),
        ] {
            assert_eq!(files.fits(name), fit, "{name}");
        }
        assert!(table(&json!({"files": "*"})).unwrap().fits("x"));
    }

    #[test]
    fn values_that_cannot_be_used_are_named() {
        table(&json!({})).unwrap().validate("stock").unwrap();
        for (change, key) in [
            (json!({"files": "../x"}), "stock.files"),
            (json!({"delimiter": "\""}), "stock.delimiter"),
            (json!({"delimiter": ",", "decimal_comma": true}), "stock.delimiter"),
            (json!({"columns": {"sku": "A", "onhand": "B"}}), "stock.columns.onhand"),
            (json!({"columns": {"sku": "A"}}), "stock.columns"),
        ] {
            match table(&change).unwrap().validate("stock") {
                Err(Error::Rejected { field, .. }) => assert_eq!(field.as_deref(), Some(key), "{change}"),
                other => panic!("{change}: {other:?}"),
            }
        }
        assert!(table(&json!({"encoding": "cp999"})).is_err());
    }
}
