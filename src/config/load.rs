//! From a path and an environment to a checked configuration.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Value};
use toml_edit::ImDocument;

use super::issue::{Errors, Issue, Report};
use super::layers::Layers;
use super::secret::SecretFiles;
use super::sources::{Place, Sources};
use super::{Config, KeyPath, example, secret, syntax};

/// What to load.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// The file to read; it must exist. `None`: the first that exists of `search`, or none.
    pub path: Option<PathBuf>,
    /// Where to look for a file if no path is given.
    pub search: Vec<PathBuf>,
    /// The environment: `ALLAI_SYNC__…` and `CREDENTIALS_DIRECTORY` are read, the rest is ignored.
    pub env: BTreeMap<String, String>,
}

impl LoadOptions {
    /// The file at `path`, or else the usual places, and this process's environment.
    pub fn from_process(path: Option<PathBuf>) -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Self {
            path,
            search: vec!["config.toml".into(), "/etc/allai-sync/config.toml".into()],
            env: std::env::vars_os()
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
        }
    }
}

/// A configuration that was loaded and found valid.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration, with its secrets read.
    pub config: Config,
    /// What works and is unwise, in words for the log.
    pub warnings: Vec<String>,
    /// Where each value came from.
    pub sources: Sources,
}

pub(super) fn load(options: &LoadOptions) -> Result<Loaded, Errors> {
    let file = find(options)?;
    let file = file.as_ref().map(|(path, text)| (&**path, &**text));
    check(file, &options.env, |config, sources, report| {
        let files = SecretFiles::new(options.env.get("CREDENTIALS_DIRECTORY"), sources.file());
        secret::read_files(config, &files, report);
    })
}

/// Checks a configuration without reading the files that it names: for fuzzing, which would make up names of files.
#[doc(hidden)]
pub fn check_text(text: &str, env: &BTreeMap<String, String>) -> Result<Loaded, Errors> {
    check(Some((Path::new("config.toml"), text)), env, |_, _, _| {})
}

/// What a file's text and the environment add up to; `read_files` puts the secrets in that are given as files.
fn check(
    file: Option<(&Path, &str)>,
    env: &BTreeMap<String, String>,
    read_files: impl FnOnce(&mut Config, &Sources, &mut Report),
) -> Result<Loaded, Errors> {
    let mut report = Report::default();
    let (dict, mut sources) = match file {
        Some((path, text)) => parse(path, text)?,
        None => (Dict::new(), Sources::default()),
    };
    let mut config = Layers::new(dict, env, &mut sources, &mut report).extract(&mut report);
    let inline = secret::inline(&mut config);
    read_files(&mut config, &sources, &mut report);
    config.inherit();
    config.validate(&mut report);
    if let Some(path) = sources.file()
        && inline.iter().any(|key| sources.is_from_file(key))
        && secret::is_world_readable(path)
    {
        report.warn(secret::world_readable(path));
    }
    let warnings = report.finish(&sources)?;
    Ok(Loaded {
        config,
        warnings,
        sources,
    })
}

/// The configuration file and its text; `None` if none was asked for and none is in the usual places.
fn find(options: &LoadOptions) -> Result<Option<(PathBuf, String)>, Errors> {
    if let Some(path) = &options.path {
        return match std::fs::read(path) {
            Ok(bytes) => decode(path, bytes).map(Some),
            Err(error) => Err(unreadable(path, &error)),
        };
    }
    for path in &options.search {
        match std::fs::read(path) {
            Ok(bytes) => return decode(path, bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(path, &error)),
        }
    }
    Ok(None)
}

fn decode(path: &Path, bytes: Vec<u8>) -> Result<(PathBuf, String), Errors> {
    match String::from_utf8(bytes) {
        Ok(text) => Ok((path.to_owned(), text)),
        Err(_) => Err(whole_file(path, "not UTF-8 text", "save the file as UTF-8")),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Errors {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => "write one with `allai-sync config example > config.toml`",
        io::ErrorKind::PermissionDenied => "let the user that runs allai-sync read it",
        _ => "give the path of a configuration file with --config",
    };
    whole_file(path, &format!("cannot be read: {error}"), remedy)
}

fn whole_file(path: &Path, problem: &str, remedy: &str) -> Errors {
    Errors {
        issues: vec![Issue {
            place: Place::WholeFile(path.to_owned()),
            key: KeyPath::root(),
            problem: problem.to_owned(),
            remedy: remedy.to_owned(),
        }],
    }
}

fn parse(path: &Path, text: &str) -> Result<(Dict, Sources), Errors> {
    let refused = |error: &toml_edit::TomlError| Errors {
        issues: vec![syntax::issue(path, text, error, &example::key_names())],
    };
    let document = ImDocument::parse(text).map_err(|error| refused(&error))?;
    let sources = Sources::of_file(path, &document);
    match toml_edit::de::from_document::<Dict>(document.into_mut()) {
        Ok(mut dict) => {
            dict.values_mut().for_each(plain_dates);
            Ok((dict, sources))
        }
        Err(_) => Err(whole_file(
            path,
            "holds a value that no setting takes",
            "compare it with `allai-sync config example`",
        )),
    }
}

/// Makes strings of dates, which figment has no type for: toml hands them over as tables of one private key.
fn plain_dates(value: &mut Value) {
    match value {
        Value::Dict(_, dict) => match dict.get("$__toml_private_datetime") {
            Some(date) => *value = date.clone(),
            None => dict.values_mut().for_each(plain_dates),
        },
        Value::Array(_, items) => items.iter_mut().for_each(plain_dates),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_reads_as_a_string() {
        let (dict, _) = parse(Path::new("c.toml"), "[connectors.erp]\nsince = [2024-01-31]\n").unwrap();
        let since = Value::from(dict).find("connectors.erp.since").unwrap();
        let [date] = since.as_array().unwrap() else {
            panic!("{since:?}")
        };
        assert_eq!(date.as_str(), Some("2024-01-31"));
    }
}
