//! A JSON object whose members are kept as JSON text.
//!
//! Text rather than `serde_json::Value`, because the sandbox also sends what no `Value` can hold: numbers of any
//! size, lone surrogates, a member twice.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::rows::Oddity;

/// A JSON object: names and the JSON text of their values, in the order in which they are sent.
#[derive(Clone, Debug, Default)]
pub(in crate::sandbox) struct Members(Vec<(String, String)>);

impl Members {
    pub(in crate::sandbox) fn push(&mut self, name: &str, json: String) {
        self.0.push((name.to_owned(), json));
    }

    pub(in crate::sandbox) fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    pub(in crate::sandbox) fn distort(&mut self, oddity: Option<&Oddity>) {
        let Some(oddity) = oddity else { return };
        self.0.retain(|(name, _)| !oddity.remove.contains(name));
        for (name, json) in &oddity.set {
            match self.0.iter_mut().find(|(known, _)| known == name) {
                Some((_, old)) => old.clone_from(json),
                None => self.push(name, json.clone()),
            }
        }
        self.0.extend(oddity.twice.iter().cloned());
    }

    /// Keeps the named members only.
    pub(in crate::sandbox) fn select(&mut self, fields: &[String]) {
        self.0.retain(|(name, _)| fields.contains(name));
    }

    pub(in crate::sandbox) fn shuffle(&mut self, rng: &mut StdRng) {
        self.0.shuffle(rng);
    }

    pub(in crate::sandbox) fn to_json(&self) -> String {
        let mut json = String::with_capacity(256);
        json.push('{');
        for (index, (name, value)) in self.0.iter().enumerate() {
            if index > 0 {
                json.push(',');
            }
            json.push_str(&text(name));
            json.push(':');
            json.push_str(value);
        }
        json.push('}');
        json
    }
}

/// A JSON string.
pub(in crate::sandbox) fn text(value: &str) -> String {
    serde_json::Value::from(value).to_string()
}
