//! A page of a list, in any envelope.
//!
//! The guide shows no list response. A bare array is taken, and an array under `data`, `items` or the resource's own
//! name, also one level down (`{"data":{"items":[…]}}`); `total` and `has_more` stand beside it, under `meta` or
//! `pagination`, or nowhere.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Listing;
use super::model::{Json, Members, Name};

/// A page as the server sent it.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The rows, each as the server wrote it; not necessarily objects.
    pub items: Vec<Json>,
    /// How many rows the whole list has, if the server says so.
    pub total: Option<u64>,
    /// Whether there are rows after these, if the server says so.
    pub has_more: Option<bool>,
}

impl Page {
    /// Reads the usual answers in one pass; `None` leaves the others, and the errors, to a closer look.
    fn parse_plain(name: &'static str, body: &[u8]) -> Option<Self> {
        let body = str::from_utf8(body).ok()?;
        let mut json = serde_json::Deserializer::from_str(body);
        let plain = PlainOf(name).deserialize(&mut json).ok()?;
        json.end().ok()?;
        let envelope = Members::of(plain.others);
        Some(Self {
            items: plain.items.into_iter().map(ToOwned::to_owned).collect(),
            total: beside(&envelope, None, total),
            has_more: beside(&envelope, None, has_more),
        })
    }

    /// Reads a list response. Fails, saying why, if there is no list in it.
    pub fn parse(listing: &Listing, body: &[u8]) -> Result<Self, String> {
        Self::parse_list(listing.resource().as_str(), body)
    }

    /// The same, of a list that has this name.
    pub(super) fn parse_list(name: &'static str, body: &[u8]) -> Result<Self, String> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        if let Some(page) = Self::parse_plain(name, body) {
            return Ok(page);
        }
        let raw: &RawValue = serde_json::from_slice(body).map_err(|error| not_json(&error, body))?;
        if let Some(items) = array(raw) {
            return Ok(Self {
                items: items?,
                total: None,
                has_more: None,
            });
        }
        let Some(envelope) = Members::parse(raw) else {
            return Err("neither a list nor an object that holds one".to_owned());
        };
        let names = list_names(name);
        let inner = envelope.get("data").and_then(Members::parse);
        for members in [Some(&envelope), inner.as_ref()].into_iter().flatten() {
            for name in names {
                if let Some(items) = members.get(name).and_then(array) {
                    return Ok(Self {
                        items: items?,
                        total: beside(&envelope, inner.as_ref(), total),
                        has_more: beside(&envelope, inner.as_ref(), has_more),
                    });
                }
            }
        }
        Err(if envelope.get("error").or_else(|| envelope.get("errors")).is_some() {
            "an error message instead of a list".to_owned()
        } else {
            format!("an object without a list under {}", names.join(", "))
        })
    }
}

/// What the usual answers are read into: a bare array, or an object with one list in it.
struct Plain<'a> {
    items: Vec<&'a RawValue>,
    others: Vec<(Cow<'a, str>, &'a RawValue)>,
}

/// Reads a [`Plain`] answer that is a list of this name.
struct PlainOf(&'static str);

impl<'de> DeserializeSeed<'de> for PlainOf {
    type Value = Plain<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Plain<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PlainOf {
    type Value = Plain<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list, or an object that holds one")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Plain<'de>, A::Error> {
        let mut items = Vec::with_capacity(100);
        while let Some(row) = rows.next_element()? {
            items.push(row);
        }
        let others = Vec::new();
        Ok(Plain { items, others })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Plain<'de>, A::Error> {
        let names = list_names(self.0);
        let mut list = None;
        let mut others = Vec::new();
        while let Some(Name(name)) = members.next_key()? {
            if !names.contains(&&*name) {
                others.push((name, members.next_value()?));
            } else if list.replace(members.next_value()?).is_some() {
                return Err(A::Error::custom("several lists"));
            }
        }
        let items = list.ok_or_else(|| A::Error::custom("no list"))?;
        Ok(Plain { items, others })
    }
}

/// The members under which a list of this name may stand, the likeliest first.
const fn list_names(name: &'static str) -> [&'static str; 4] {
    [name, "data", "items", "results"]
}

/// What is wrong with a body that is no JSON, without quoting it.
pub(super) fn not_json(error: &serde_json::Error, body: &[u8]) -> String {
    let start = body.trim_ascii_start();
    if start.is_empty() {
        "it is empty".to_owned()
    } else if start.starts_with(b"<") {
        "it is HTML or XML, not JSON".to_owned()
    } else if let Err(error) = str::from_utf8(body) {
        format!("it is not UTF-8, from byte {} on", error.valid_up_to() + 1)
    } else if error.is_eof() {
        format!("the JSON breaks off after {} bytes", body.len())
    } else {
        format!("it is not JSON (line {}, column {})", error.line(), error.column())
    }
}

/// The elements, if `raw` is an array.
fn array(raw: &RawValue) -> Option<Result<Vec<Json>, String>> {
    raw.get().starts_with('[').then(|| {
        let items: Vec<&RawValue> =
            serde_json::from_str(raw.get()).map_err(|error| not_json(&error, raw.get().as_bytes()))?;
        Ok(items.into_iter().map(ToOwned::to_owned).collect())
    })
}

/// Looks for a figure beside the list, and under `meta` or `pagination`, outside first.
fn beside<T>(
    envelope: &Members<'_>,
    inner: Option<&Members<'_>>,
    find: impl Fn(&Members<'_>) -> Option<T>,
) -> Option<T> {
    for members in [Some(envelope), inner].into_iter().flatten() {
        if let Some(found) = find(members) {
            return Some(found);
        }
        for name in ["meta", "pagination", "paging", "page_info"] {
            if let Some(found) = members.get(name).and_then(Members::parse).and_then(|meta| find(&meta)) {
                return Some(found);
            }
        }
    }
    None
}

fn total(members: &Members<'_>) -> Option<u64> {
    // Not `count` or `size`: as often as not they count the page.
    ["total", "total_count", "totalCount", "total_items", "totalItems"]
        .into_iter()
        .filter_map(|name| members.get(name))
        .find_map(|raw| unquoted(raw).parse().ok())
}

fn has_more(members: &Members<'_>) -> Option<bool> {
    ["has_more", "hasMore"]
        .into_iter()
        .filter_map(|name| members.get(name))
        .find_map(|raw| match unquoted(raw) {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        })
}

fn unquoted(raw: &RawValue) -> &str {
    raw.get().trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Page, String> {
        Page::parse(&Listing::Contacts, body.as_bytes())
    }

    #[test]
    fn every_envelope_is_opened() {
        for (body, total, has_more) in [
            (r#"[{"id":1},{"id":2}]"#, None, None),
            (r#"{"data":[{"id":1},{"id":2}],"total":7}"#, Some(7), None),
            (r#"{"items":[{"id":1},{"id":2}],"has_more":false}"#, None, Some(false)),
            (
                r#"{"contacts":[{"id":1},{"id":2}],"meta":{"total":"7","has_more":true}}"#,
                Some(7),
                Some(true),
            ),
            (
                r#"{"pagination":{"total_count":7,"hasMore":"true"},"data":{"items":[{"id":1},{"id":2}]}}"#,
                Some(7),
                Some(true),
            ),
            (r#"{"data":{"contacts":[{"id":1},{"id":2}],"total":7}}"#, Some(7), None),
            ("\u{feff}[{\"id\":1},{\"id\":2}]", None, None),
        ] {
            let page = parse(body).unwrap();
            let items: Vec<&str> = page.items.iter().map(|item| item.get()).collect();
            assert_eq!(items, [r#"{"id":1}"#, r#"{"id":2}"#], "{body}");
            assert_eq!((page.total, page.has_more), (total, has_more), "{body}");
        }
    }

    #[test]
    fn a_count_of_the_page_is_not_taken_for_the_total() {
        assert_eq!(parse(r#"{"data":[],"count":0,"total":-1}"#).unwrap().total, None);
        assert_eq!(parse(r#"{"data":[],"total":null}"#).unwrap().total, None);
    }

    #[test]
    fn items_that_are_no_objects_are_passed_on() {
        assert_eq!(parse(r#"{"data":[1,null,"x",[]]}"#).unwrap().items.len(), 4);
    }

    #[test]
    fn what_is_not_a_list_is_refused_without_quoting_it() {
        for (body, reason) in [
            ("", "it is empty"),
            ("<html>Ion</html>", "it is HTML or XML, not JSON"),
            (r#"{"data":[{"id":1,"name":"Io"#, "the JSON breaks off after 28 bytes"),
            (r#"[{"id":1}]Ion"#, "it is not JSON (line 1, column 11)"),
            (r#"{"error":"Ion"}"#, "an error message instead of a list"),
            (
                r#"{"data":null}"#,
                "an object without a list under contacts, data, items, results",
            ),
            ("17", "neither a list nor an object that holds one"),
        ] {
            let refusal = parse(body).unwrap_err();
            assert!(!refusal.contains("Ion"));
            if body.starts_with("{\"data\":[") {
                assert!(refusal.starts_with("the JSON breaks off"), "{refusal}");
            } else {
                assert_eq!(refusal, reason, "{body}");
            }
        }
    }
}
