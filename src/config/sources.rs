//! Where each value of the configuration came from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml_edit::{ImDocument, Item, TableLike, Value};

use super::KeyPath;

/// A place that a user can go to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A position in a file; line and column count from 1.
    File {
        /// The path as the user gave it.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
    /// A file as a whole.
    WholeFile(PathBuf),
    /// An environment variable.
    Variable(String),
    /// No file was found and no variable says it.
    Nowhere,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Self::WholeFile(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Nowhere => f.write_str("no configuration file found"),
        }
    }
}

/// Where each key was set. Holds no values.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    file: Option<PathBuf>,
    positions: BTreeMap<KeyPath, (usize, usize)>,
    variables: BTreeMap<KeyPath, String>,
}

impl Sources {
    /// The keys of a parsed file.
    pub(super) fn of_file(path: &Path, document: &ImDocument<&str>) -> Self {
        let mut sources = Self {
            file: Some(path.to_owned()),
            ..Self::default()
        };
        sources.note_table(document.raw(), document.as_table(), &KeyPath::root());
        sources
    }

    /// Notes that a variable sets `key`.
    pub(super) fn note_variable(&mut self, key: KeyPath, name: &str) {
        self.variables.insert(key, name.to_owned());
    }

    /// The configuration file, if one was found.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Whether the file (and no variable over it) sets `key`.
    pub fn is_from_file(&self, key: &KeyPath) -> bool {
        self.variable(key).is_none() && self.positions.contains_key(key)
    }

    /// Where to change `key`: where it is set, else where the innermost table that could hold it is.
    pub fn place_of(&self, key: &KeyPath) -> Place {
        if let Some(name) = self.variable(key) {
            return Place::Variable(name.to_owned());
        }
        if !self.positions.contains_key(key)
            && let Some((_, name)) = self.variables.iter().find(|(variable, _)| variable.is_within(key))
        {
            return Place::Variable(name.clone());
        }
        let mut nearest = Some(key.clone());
        while let Some(path) = nearest {
            if let (Some(file), Some((line, column))) = (&self.file, self.positions.get(&path)) {
                return Place::File {
                    path: file.clone(),
                    line: *line,
                    column: *column,
                };
            }
            nearest = path.parent();
        }
        match &self.file {
            Some(file) => Place::WholeFile(file.clone()),
            None => Place::Nowhere,
        }
    }

    /// Where the effective value of `key` came from, for a reader: `config.toml:12`, `env NAME` or `default`.
    pub fn origin(&self, key: &KeyPath) -> String {
        match (self.variable(key), self.positions.get(key), &self.file) {
            (Some(name), _, _) => format!("env {name}"),
            (None, Some((line, _)), Some(file)) => format!("{}:{line}", file.display()),
            _ => "default".to_owned(),
        }
    }

    /// The variable that sets `key` or a table around it.
    fn variable(&self, key: &KeyPath) -> Option<&str> {
        let mut path = Some(key.clone());
        while let Some(current) = path {
            if let Some(name) = self.variables.get(&current) {
                return Some(name);
            }
            path = current.parent();
        }
        None
    }

    fn note_table(&mut self, text: &str, table: &dyn TableLike, at: &KeyPath) {
        for (name, item) in table.iter() {
            let key = at.join(name);
            let span = table.get_key_value(name).and_then(|(key, _)| key.span());
            if let Some(span) = span.or_else(|| item.span()) {
                self.positions.insert(key.clone(), position(text, span.start));
            }
            self.note_item(text, item, &key);
        }
    }

    fn note_item(&mut self, text: &str, item: &Item, at: &KeyPath) {
        if let Some(table) = item.as_table_like() {
            self.note_table(text, table, at);
        } else if let Some(tables) = item.as_array_of_tables() {
            for (index, table) in tables.iter().enumerate() {
                let key = at.join(index.to_string());
                if let Some(span) = table.span() {
                    self.positions.insert(key.clone(), position(text, span.start));
                }
                self.note_table(text, table, &key);
            }
        } else if let Some(array) = item.as_array() {
            for (index, value) in array.iter().enumerate() {
                let key = at.join(index.to_string());
                if let Some(span) = value.span() {
                    self.positions.insert(key.clone(), position(text, span.start));
                }
                if let Value::InlineTable(table) = value {
                    self.note_table(text, table, &key);
                }
            }
        }
    }
}

/// The line and column, from 1, of a byte offset.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_knows_its_line_and_a_missing_one_its_table() {
        let text = "a = 1\n[accounts.main]\n  api_key = \"x\"\n[accounts.main.contacts]\nfields = [\n  \"id\",\n]\n";
        let document = ImDocument::parse(text).unwrap();
        let sources = Sources::of_file(Path::new("c.toml"), &document);
        let place = |key: &str| sources.place_of(&KeyPath::new(key.split('.'))).to_string();
        assert_eq!(place("accounts.main.api_key"), "c.toml:3:3");
        assert_eq!(place("accounts.main.contacts.fields.0"), "c.toml:6:3");
        assert_eq!(place("accounts.main.page_size"), "c.toml:2:11");
        assert_eq!(place("warehouse.url"), "c.toml");
    }
}
