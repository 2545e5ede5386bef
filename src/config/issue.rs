//! What is wrong with a configuration, and how to say it.

use std::fmt;

use figment::error::{Actual, Kind};

use super::KeyPath;
use super::sources::{Place, Sources};

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Where it is: a position in the file or an environment variable.
    pub place: Place,
    /// The key it concerns; the root if it concerns the file.
    pub key: KeyPath,
    /// What is wrong. Never repeats a value.
    pub problem: String,
    /// What to do about it; empty if the problem says it.
    pub remedy: String,
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.keys().is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.problem)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// Something that is wrong with a section, as those say that make something of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The key, below the section's table.
    pub key: Vec<String>,
    /// What is wrong.
    pub problem: String,
    /// What to do about it; empty if the problem says it.
    pub remedy: String,
}

impl Misfit {
    pub(crate) fn new(key: &[&str], problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            key: key.iter().map(|&part| part.to_owned()).collect(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }
}

/// Everything that is wrong with the configuration, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Errors {
    /// At least one.
    pub issues: Vec<Issue>,
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.issues.len() {
            1 => f.write_str("the configuration has an error:")?,
            count => write!(f, "the configuration has {count} errors:")?,
        }
        for issue in &self.issues {
            write!(f, "\n  {issue}")?;
        }
        Ok(())
    }
}

/// Remedies that make sense in TOML alone: an environment variable has no quotes.
const QUOTE: &str = "put the value in quotes";
const UNQUOTE: &str = "write the value without quotes";

/// Collects what is wrong while the configuration is read and checked.
#[derive(Debug, Default)]
pub(super) struct Report {
    found: Vec<Finding>,
    /// Keys already complained about: a second complaint would only confuse.
    settled: Vec<KeyPath>,
    /// Keys that were probably meant by a misspelt one, and so are not missing.
    meant: Vec<KeyPath>,
    warnings: Vec<String>,
}

#[derive(Debug)]
struct Finding {
    key: KeyPath,
    problem: String,
    remedy: String,
    /// Set if no key says where it is.
    place: Option<Place>,
}

impl Report {
    /// Notes that the value of `key` is wrong, unless the key was complained about before.
    pub(super) fn wrong(&mut self, key: &KeyPath, problem: impl Into<String>, remedy: impl Into<String>) {
        if self.settled.iter().any(|settled| key.is_within(settled)) {
            return;
        }
        self.settle(key.clone());
        self.push(key, problem, remedy);
    }

    /// Notes what is wrong with the section at `at`.
    pub(super) fn misfits(&mut self, at: &KeyPath, misfits: Vec<Misfit>) {
        for misfit in misfits {
            let key = misfit.key.iter().fold(at.clone(), |key, part| key.join(part));
            self.wrong(&key, misfit.problem, misfit.remedy);
        }
    }

    /// Notes that `key` is missing or empty, unless that follows from another complaint.
    pub(super) fn missing(&mut self, key: &KeyPath, problem: impl Into<String>, remedy: impl Into<String>) {
        let follows = self.meant.contains(key) || self.settled.iter().any(|settled| settled.is_within(key));
        if !follows {
            self.wrong(key, problem, remedy);
        }
    }

    fn push(&mut self, key: &KeyPath, problem: impl Into<String>, remedy: impl Into<String>) {
        self.found.push(Finding {
            key: key.clone(),
            problem: problem.into(),
            remedy: remedy.into(),
            place: None,
        });
    }

    /// Notes that something is wrong that concerns no key.
    pub(super) fn wrong_at(&mut self, place: Place, problem: &str, remedy: &str) {
        self.found.push(Finding {
            key: KeyPath::root(),
            problem: problem.into(),
            remedy: remedy.into(),
            place: Some(place),
        });
    }

    /// Notes something that works and is unwise.
    pub(super) fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// Keeps `key` from being complained about: the user already has to look at it.
    pub(super) fn settle(&mut self, key: KeyPath) {
        self.settled.push(key);
    }

    /// Notes what serde found at `key`.
    pub(super) fn refused(&mut self, key: &KeyPath, kind: &Kind) {
        match kind {
            Kind::UnknownField(name, known) => {
                let table = key.parent().unwrap_or_default();
                let remedy = match nearest(name, known) {
                    Some(near) => {
                        self.meant.push(table.join(near));
                        format!("did you mean `{near}`?")
                    }
                    None => format!("known keys here: {}", known.join(", ")),
                };
                self.push(key, "unknown key", remedy);
            }
            Kind::UnknownVariant(value, known) => {
                let meant = nearest(value, known).map_or_else(String::new, |near| format!("did you mean \"{near}\"? "));
                let list = known.join(", ");
                self.wrong(key, "not a known value", format!("{meant}use one of: {list}"));
            }
            Kind::MissingField(name) => {
                self.missing(
                    &key.join(name.as_ref()),
                    "missing",
                    format!("add `{name} = …` to this table"),
                );
            }
            Kind::InvalidType(actual, expected) => {
                let expected = words(expected);
                let remedy = match (expected, actual) {
                    ("a string", Actual::Bool(_) | Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_)) => QUOTE,
                    ("true or false" | "a whole number" | "a number", Actual::Str(_)) => UNQUOTE,
                    _ => "",
                };
                self.wrong(key, format!("expected {expected}, found {}", found(actual)), remedy);
            }
            Kind::InvalidValue(_, expected) | Kind::InvalidLength(_, expected) => {
                self.wrong(key, format!("out of range: expected {}", words(expected)), "");
            }
            Kind::Message(message) => self.wrong(key, message.clone(), ""),
            _ => self.wrong(key, "cannot be read", "compare it with `allai-sync config example`"),
        }
    }

    /// The warnings, or the errors if there are any.
    pub(super) fn finish(self, sources: &Sources) -> Result<Vec<String>, Errors> {
        if self.found.is_empty() {
            return Ok(self.warnings);
        }
        let mut issues: Vec<Issue> = self
            .found
            .into_iter()
            .map(|finding| {
                let place = finding.place.unwrap_or_else(|| sources.place_of(&finding.key));
                let pointless =
                    matches!(place, Place::Variable(_)) && [QUOTE, UNQUOTE].contains(&finding.remedy.as_str());
                Issue {
                    place,
                    key: finding.key,
                    problem: finding.problem,
                    remedy: if pointless { String::new() } else { finding.remedy },
                }
            })
            .collect();
        issues.sort_by(|a, b| (&a.place, &a.key).cmp(&(&b.place, &b.key)));
        Err(Errors { issues })
    }
}

/// The known word nearest to `word`, if one is near enough to have been meant.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = word.to_lowercase().replace('-', "_");
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(word.len()) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

/// serde's words for a type, in a user's words.
fn words(expected: &str) -> &str {
    match expected {
        "u16" | "u32" | "u64" | "usize" => "a whole number",
        "f64" => "a number",
        "a boolean" => "true or false",
        "path string" => "a string",
        "a sequence" => "an array",
        "a map" => "a table",
        table if table.starts_with("struct ") => "a table",
        other => other,
    }
}

/// What was found, by its type alone: the value itself may be a secret.
fn found(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) => "a whole number",
        Actual::Float(_) => "a number",
        Actual::Char(_) | Actual::Str(_) => "a string",
        Actual::Seq => "an array",
        Actual::Map => "a table",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_finds_the_one_that_was_meant() {
        let known = ["api_key", "api_key_file", "page_size"];
        assert_eq!(nearest("api_kye", &known), Some("api_key"));
        assert_eq!(nearest("page-size", &known), Some("page_size"));
        assert_eq!(nearest("banana", &known), None);
    }

    #[test]
    fn a_key_is_complained_about_once() {
        let mut report = Report::default();
        let table = KeyPath::new(["accounts", "main"]);
        let known: &'static [&'static str] = &["api_key"];
        report.refused(&table.join("api_kye"), &Kind::UnknownField("api_kye".into(), known));
        report.missing(&table.join("api_key"), "missing", "");
        report.wrong(&table.join("plan"), "first", "");
        report.wrong(&table.join("plan"), "second", "");
        let errors = report.finish(&Sources::default()).unwrap_err();
        assert_eq!(errors.issues.len(), 2, "{errors}");
    }

    #[test]
    fn a_misspelt_table_does_not_hide_what_is_wrong_in_the_right_one() {
        let mut report = Report::default();
        let known: &'static [&'static str] = &["accounts"];
        report.refused(&KeyPath::new(["account"]), &Kind::UnknownField("account".into(), known));
        report.wrong(&KeyPath::new(["accounts", "main", "plan"]), "wrong", "");
        let errors = report.finish(&Sources::default()).unwrap_err();
        assert_eq!(errors.issues.len(), 2, "{errors}");
    }
}
