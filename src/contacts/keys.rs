//! What a contact is known by in a CRM.

use allai_connectors::Key;
use phonenumber::Mode;
use phonenumber::country::Id as Region;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest text that is looked at as an address or a number.
const LONGEST: usize = 254;
/// The longest text that may be a telephone number.
const LONGEST_NUMBER: usize = 40;

/// What a contact is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// Its e-mail address.
    Email,
    /// Its telephone number, as E.164.
    Phone,
    /// Its id at AllAI, in the field that the connector's configuration names.
    Reference,
}

/// What one contact is known by, as it is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Keys {
    pub(super) email: Option<String>,
    pub(super) phone: Option<String>,
    pub(super) reference: Option<String>,
}

impl Keys {
    /// Those of `kinds` that a contact has.
    pub(super) fn new(kinds: &[KeyKind], region: Region, id: &str, email: Option<&str>, phone: Option<&str>) -> Self {
        let wants = |kind| kinds.contains(&kind);
        Self {
            email: email.filter(|_| wants(KeyKind::Email)).and_then(self::email),
            phone: phone
                .filter(|_| wants(KeyKind::Phone))
                .and_then(|text| self::phone(text, region)),
            reference: wants(KeyKind::Reference).then(|| id.to_owned()),
        }
    }

    /// As the CRM is asked for them, in the order of `kinds`.
    pub(super) fn asked(&self, kinds: &[KeyKind]) -> Vec<Key> {
        let key = |kind: &KeyKind| match kind {
            KeyKind::Email => self.email.clone().map(Key::Email),
            KeyKind::Phone => self.phone.clone().map(Key::Phone),
            KeyKind::Reference => self.reference.clone().map(Key::Reference),
        };
        kinds.iter().filter_map(key).collect()
    }

    /// Whether a text is one of them.
    pub(super) fn are(&self, text: &str) -> bool {
        let text = text.trim();
        let is_same = |key: &Option<String>| key.as_ref().is_some_and(|key| key.eq_ignore_ascii_case(text));
        is_same(&self.email) || is_same(&self.phone) || is_same(&self.reference)
    }

    /// Whether both are known by the same.
    pub(super) fn overlap(&self, other: &Self) -> bool {
        let is_shared = |a: &Option<String>, b: &Option<String>| a.is_some() && a == b;
        is_shared(&self.email, &other.email) || is_shared(&self.phone, &other.phone)
    }
}

/// An e-mail address as it is compared; `None` if it is none.
pub(super) fn email(text: &str) -> Option<String> {
    let text = text.trim();
    let (local, host) = text.rsplit_once('@')?;
    let is_usable = text.len() <= LONGEST && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    (is_usable && !local.is_empty() && !host.is_empty()).then(|| text.to_lowercase())
}

/// A telephone number in E.164; one without a country is of `region`. `None` if there is no such number.
pub(super) fn phone(text: &str, region: Region) -> Option<String> {
    let text = text.trim();
    if text.len() > LONGEST_NUMBER {
        return None;
    }
    // The international prefix, as people write it.
    let international = text.strip_prefix("00").map(|rest| format!("+{rest}"));
    let number = phonenumber::parse(Some(region), international.as_deref().unwrap_or(text)).ok()?;
    number.is_valid().then(|| number.format().mode(Mode::E164).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_as_e164() {
        for written in [
            "0722 123 456",
            "0722-123-456",
            "+40722123456",
            "0040 722 123 456",
            "+40 (722) 123.456",
            "  0722123456 ",
        ] {
            assert_eq!(phone(written, Region::RO).as_deref(), Some("+40722123456"), "{written}");
        }
        assert_eq!(phone("030 901820", Region::DE).as_deref(), Some("+4930901820"));
        assert_eq!(phone("+4930901820", Region::RO).as_deref(), Some("+4930901820"));
        for nothing in ["", "abc", "12", "0722 123", "+", "{{ 7 }}", &"0722123456".repeat(20)] {
            assert_eq!(phone(nothing, Region::RO), None, "{nothing}");
        }
    }

    #[test]
    fn addresses_are_compared_whatever_their_case() {
        assert_eq!(email(" Ion@Exemplu.RO "), Some("ion@exemplu.ro".to_owned()));
        for nothing in ["", "ion", "@x.ro", "ion@", "i on@x.ro", "ion@x\0.ro"] {
            assert_eq!(email(nothing), None, "{nothing}");
        }
    }
}
