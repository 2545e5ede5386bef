//! What CRMs have in common about keys: which are none, when two telephone numbers are one, and what was created so lately that
//! a search may not find it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::records::{Entity, Key};
use crate::time::monotonic;

/// The longest key, in bytes.
pub(crate) const LONGEST: usize = 255;

/// The digits of a telephone number in international form: `+40…` or `0040…`.
pub(crate) fn international(number: &str) -> Option<String> {
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    match number.trim_start().chars().next()? {
        '+' => Some(digits),
        _ => digits.strip_prefix("00").map(str::to_owned),
    }
}

/// Whether both are one telephone number in international form, whatever stands between the digits.
pub(crate) fn is_same_number(one: &str, other: &str) -> bool {
    international(one).is_some_and(|digits| international(other) == Some(digits))
}

/// What is wrong with a key under which nothing could be found again: its field, and why. `Key::Id` is the system's matter.
pub(crate) fn problem(key: &Key) -> Option<(&'static str, &'static str)> {
    let (field, value) = match key {
        Key::Id(_) => return None,
        Key::Email(email) => ("email", email),
        Key::Phone(phone) => ("phone", phone),
        Key::Reference(reference) => ("reference", reference),
    };
    let length = value.trim_matches(|c: char| c.is_whitespace() || c.is_control()).len();
    if length == 0 || length > LONGEST || value.contains('\0') {
        return Some((field, "the key is empty, too long, or holds NUL characters"));
    }
    match key {
        Key::Email(_) if !value.contains('@') || value.contains(char::is_whitespace) => {
            Some((field, "the key is no e-mail address"))
        }
        Key::Phone(_) if international(value).is_none_or(|digits| digits.len() < 7) => {
            Some((field, "the key is no telephone number in international form"))
        }
        _ => None,
    }
}

/// The key as one text; equal for keys that find the same.
fn folded(key: &Key) -> String {
    match key {
        Key::Id(id) => format!("id:{id}"),
        Key::Email(email) => format!("email:{}", email.trim().to_lowercase()),
        Key::Phone(phone) => format!("phone:{}", international(phone).unwrap_or_default()),
        Key::Reference(reference) => format!("reference:{}", reference.trim()),
    }
}

/// What was created, or may have been, so lately that the system's search need not know of it yet.
///
/// A search that finds nothing proves nothing until this long after the last time that something may have been created under
/// the key: by an answer that was lost, or by a process before this one, of which nothing is known here.
#[derive(Debug)]
pub(crate) struct Lately {
    lag: Duration,
    began: Instant,
    made: Mutex<BTreeMap<(Entity, String), Made>>,
}

#[derive(Debug)]
struct Made {
    at: Instant,
    /// `None` if it may have been created.
    id: Option<String>,
}

impl Lately {
    /// For a search that lags behind by `lag` at most.
    pub(crate) fn new(lag: Duration) -> Self {
        Self {
            lag,
            began: monotonic(),
            made: Mutex::default(),
        }
    }

    /// The id of what was created under the key lately.
    pub(crate) fn created(&self, entity: Entity, key: &Key) -> Option<String> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let made = made.get(&(entity, folded(key)))?;
        made.id.clone().filter(|_| made.at.elapsed() < self.lag)
    }

    /// How long until a search that finds nothing means that there is nothing.
    pub(crate) fn unsettled(&self, entity: Entity, key: &Key) -> Option<Duration> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let since = made.get(&(entity, folded(key))).map_or(self.began, |made| made.at);
        self.lag.checked_sub(since.elapsed()).filter(|wait| !wait.is_zero())
    }

    /// Creates something under the key, and notes what came of it; also if whoever waits for it gives up.
    pub(crate) async fn create(
        &self,
        entity: Entity,
        key: &Key,
        create: impl Future<Output = Result<String, Error>>,
    ) -> Result<String, Error> {
        let attempt = Attempt {
            lately: self,
            of: Some((entity, folded(key))),
        };
        let outcome = create.await;
        attempt.ended(&outcome);
        outcome
    }

    fn note(&self, of: (Entity, String), id: Option<String>) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|_, made| made.at.elapsed() < self.lag);
        made.insert(of, Made { at: monotonic(), id });
    }
}

/// An attempt to create something. Dropped before its end, it may have succeeded.
struct Attempt<'a> {
    lately: &'a Lately,
    of: Option<(Entity, String)>,
}

impl Attempt<'_> {
    fn ended(mut self, outcome: &Result<String, Error>) {
        let Some(of) = self.of.take() else { return };
        match outcome {
            Ok(id) => self.lately.note(of, Some(id.clone())),
            // An answer that cannot be read is one to something that was done.
            Err(
                Error::Transient {
                    may_have_happened: true,
                    ..
                }
                | Error::Unreadable { .. },
            ) => self.lately.note(of, None),
            Err(_) => {}
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(of) = self.of.take() {
            self.lately.note(of, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_same_whatever_stands_between_the_digits() {
        for number in [
            "+40722123456",
            "+40 722 123 456",
            "0040-722-123456",
            "+40 (722) 123.456",
        ] {
            assert_eq!(international(number).as_deref(), Some("40722123456"), "{number}");
        }
        assert_eq!(international("0722123456"), None);
        assert_eq!(international(""), None);
        assert!(!is_same_number("0722", "0722"), "which country's?");
    }

    #[test]
    fn keys_that_could_not_be_found_again_are_none() {
        for key in [
            Key::Email("ana".to_owned()),
            Key::Email("a b@x.ro".to_owned()),
            Key::Email("a\0@x.ro".to_owned()),
            Key::Phone("0722".to_owned()),
            Key::Reference(" \u{1c}".to_owned()),
            Key::Reference("x".repeat(256)),
        ] {
            assert!(problem(&key).is_some(), "{key:?}");
        }
        assert_eq!(problem(&Key::Email("ana@x.ro".to_owned())), None);
        assert_eq!(problem(&Key::Phone("+40722123456".to_owned())), None);
    }

    #[tokio::test]
    async fn a_lost_answer_unsettles_its_key_and_a_refusal_does_not() {
        let settled = || Lately {
            began: monotonic().checked_sub(Duration::from_hours(2)).unwrap(),
            ..Lately::new(Duration::from_hours(1))
        };
        let key = Key::Phone("+40 722 123 456".to_owned());
        let same = Key::Phone("0040722123456".to_owned());
        let (contact, lead) = (Entity::Contact, Entity::Lead);
        let new = Lately::new(Duration::from_hours(1));
        assert!(new.unsettled(contact, &key).is_some(), "what was before is not known");
        let failed = |may_have_happened| async move {
            Err(Error::Transient {
                system: "test",
                message: "broke off".to_owned(),
                may_have_happened,
            })
        };
        let lately = settled();
        assert_eq!(lately.unsettled(contact, &key), None);
        lately.create(contact, &key, failed(false)).await.unwrap_err();
        assert_eq!(lately.unsettled(contact, &key), None);
        lately.create(contact, &key, failed(true)).await.unwrap_err();
        assert!(lately.unsettled(contact, &same).is_some());
        assert_eq!(lately.unsettled(lead, &same), None);
        assert_eq!(lately.created(contact, &same), None);
        lately
            .create(contact, &key, async { Ok("7".to_owned()) })
            .await
            .unwrap();
        assert_eq!(lately.created(contact, &same).as_deref(), Some("7"));
        // Nobody waited for the answer.
        let lately = settled();
        let never = lately.create(contact, &key, std::future::pending());
        tokio::time::timeout(Duration::from_millis(1), never).await.unwrap_err();
        assert!(lately.unsettled(contact, &same).is_some());
    }
}
