//! What Odoo's errors mean: Python exceptions by name, with a text for people.
//!
//! JSON-RPC sends them with status 200, JSON-2 with one of their own. Their texts are in the user's language and may quote names
//! of records or values: what stands in quotes and what looks like an address is left out.

use serde_json::Value;

use super::SYSTEM;
use crate::error::Error;
use crate::http::Refusal;

pub(super) const REMEDY: &str = "username and password, or api_key";
/// The longest message that is passed on, in characters.
const LONGEST: usize = 300;

/// An exception.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault<'a> {
    /// Its class, with the module, e.g. `odoo.exceptions.AccessError`.
    name: &'a str,
    /// Its text.
    message: &'a str,
}

impl<'a> Fault<'a> {
    /// Of JSON-RPC's `error`.
    pub(super) fn of_rpc(error: &'a Value) -> Self {
        Self::of(&error["data"]).unwrap_or_else(|| Self {
            name: "",
            message: error["message"].as_str().unwrap_or_default(),
        })
    }

    /// Of the object that an exception is told as, in both ways.
    fn of(told: &'a Value) -> Option<Self> {
        // The message of old versions is all the arguments, a line each, those too that are None.
        let argument = told["arguments"].get(0).and_then(Value::as_str);
        Some(Self {
            name: told["name"].as_str()?,
            message: argument.or_else(|| told["message"].as_str()).unwrap_or_default(),
        })
    }

    /// What it means, of a call of `doing`, e.g. `res.partner.create`; `None` if it is no exception that is known.
    pub(super) fn meaning(self, doing: &str) -> Option<Error> {
        let class = self.name.rsplit('.').next().unwrap_or_default();
        let writes = is_write(doing);
        let transient = |message: &str, may_have_happened| Error::Transient {
            system: SYSTEM,
            message: message.to_owned(),
            may_have_happened,
        };
        Some(match class {
            "AccessDenied" | "SessionExpiredException" | "Unauthorized" => Error::Auth {
                system: SYSTEM,
                message: told(self.message),
                remedy: REMEDY,
            },
            "AccessError" | "Forbidden" => Error::Forbidden {
                system: SYSTEM,
                doing: doing.to_owned(),
                message: told(self.message),
            },
            "MissingError" => Error::NotFound {
                system: SYSTEM,
                what: format!("such record any more to {doing}"),
            },
            "NotFound" => no_such(doing),
            "UserError" | "KeyError" | "AttributeError" if self.is_about(doing) => no_such(doing),
            "UserError" | "ValidationError" | "RedirectWarning" | "Warning" => self.rejected(),
            "OperationalError" if is_about_a_database(self.message) => Error::NotFound {
                system: SYSTEM,
                what: "database of this name; correct database".to_owned(),
            },
            "OperationalError" | "InterfaceError" => transient("has lost its own database for a moment", writes),
            "TransactionRollbackError" | "SerializationFailure" | "DeadlockDetected" | "LockNotAvailable" => {
                transient("is busy: others change the same records", false)
            }
            "QueryCanceled" | "QueryCanceledError" | "PoolError" => transient("is busy", false),
            _ => return None,
        })
    }

    /// What an exception means that is not known.
    pub(super) fn unknown(self, doing: &str) -> Error {
        if is_write(doing) {
            return self.rejected();
        }
        Error::Unreadable {
            system: SYSTEM,
            expected: "a result",
            problem: "the server raised an exception; its log says more".to_owned(),
        }
    }

    /// Whether it names the model or the method that was called: then there is none.
    fn is_about(self, doing: &str) -> bool {
        let (model, method) = doing.rsplit_once('.').unwrap_or(("", doing));
        let names = |name: &str| {
            self.message
                .split(|c: char| c.is_whitespace() || c == '\'')
                .any(|word| word == name)
        };
        !is_write(doing) && (names(model) || (self.name.ends_with("AttributeError") && names(method)))
    }

    fn rejected(self) -> Error {
        Error::Rejected {
            system: SYSTEM,
            field: field_in(self.message).map(str::to_owned),
            message: told(self.message),
        }
    }
}

/// What a refusal of JSON-2 means: an exception as an object, or in the first releases of 19 its text alone.
pub(super) fn explain(refusal: &Refusal<'_>) -> Option<Error> {
    let body: Value = serde_json::from_slice(refusal.body).ok()?;
    if let Some(text) = body.as_str() {
        let name = match refusal.status.as_u16() {
            401 => "Unauthorized",
            403 => "AccessError",
            404 => "NotFound",
            422 => "ValidationError",
            _ => return None,
        };
        return Fault { name, message: text }.meaning(refusal.doing);
    }
    let fault = Fault::of(&body)?;
    match fault.meaning(refusal.doing) {
        None if refusal.status.as_u16() == 422 => Some(fault.rejected()),
        None if refusal.status.as_u16() == 500 => Some(fault.unknown(refusal.doing)),
        meaning => meaning,
    }
}

fn no_such(doing: &str) -> Error {
    Error::Unsupported {
        system: SYSTEM,
        doing: format!("{doing}: there is no such model or method; its app may not be installed"),
    }
}

/// Whether the method changes something. All others that are called here only read.
pub(super) fn is_write(doing: &str) -> bool {
    matches!(doing.rsplit('.').next(), Some("create" | "write"))
}

fn is_about_a_database(message: &str) -> bool {
    message.contains("database \"") && message.contains("does not exist")
}

/// The field that a message is about. Only names of fields, which are not translated, are looked for.
fn field_in(message: &str) -> Option<&str> {
    let is_name = |name: &&str| {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        !name.is_empty() && name.chars().all(allowed)
    };
    // `Wrong value for res.partner.type: 'x'`
    if let Some(rest) = message.strip_prefix("Wrong value for ") {
        let name = rest.split(':').next()?.rsplit('.').next()?;
        return Some(name).filter(is_name);
    }
    // `Invalid field 'x' on model 'crm.lead'`
    if let Some(rest) = message.strip_prefix("Invalid field ") {
        return rest.split(['\'', '"']).nth(1).filter(is_name);
    }
    // `…Model: Lead (crm.lead), Field: Stage (stage_id)`
    message
        .rsplit('(')
        .filter_map(|part| part.split(')').next())
        .find(is_name)
}

/// A message as it may be passed on.
fn told(message: &str) -> String {
    // What PostgreSQL adds quotes values.
    let message = message.split("DETAIL:").next().unwrap_or_default();
    let mut shown = String::with_capacity(message.len());
    let mut quote: Option<char> = None;
    let mut before = ' ';
    let mut characters = message.chars().peekable();
    while let Some(character) = characters.next() {
        let follows = characters.peek().copied().unwrap_or(' ');
        match quote {
            Some('\'') if character == '\'' && follows.is_alphanumeric() => {}
            Some(open) if character == open => {
                quote = None;
                shown.push('…');
            }
            Some(_) => {}
            // An apostrophe stands between letters.
            None if character == '"' || (character == '\'' && !before.is_alphanumeric()) => quote = Some(character),
            None => shown.push(character),
        }
        before = character;
    }
    if quote.is_some() {
        shown.push('…');
    }
    let words = shown
        .split_whitespace()
        .map(|word| if word.contains('@') { "…" } else { word });
    let line = words.collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};
    use serde_json::json;

    use super::*;

    fn meaning(doing: &str, name: &str, message: &str) -> Error {
        let error = json!({"code": 200, "message": "Odoo Server Error",
            "data": {"name": name, "message": format!("{message}\nNone"), "arguments": [message, null]}});
        let fault = Fault::of_rpc(&error);
        fault.meaning(doing).unwrap_or_else(|| fault.unknown(doing))
    }

    #[test]
    fn messages_keep_their_sense_and_lose_names_and_addresses() {
        for (message, shown) in [
            ("Contacts require a name.", "Contacts require a name."),
            ("Object x doesn't exist", "Object x doesn't exist"),
            (
                "Wrong value for res.partner.type: 'Ana Pop'",
                "Wrong value for res.partner.type: …",
            ),
            ("of \"Ana\"\nand ana@x.ro", "of … and …"),
            ("an open \"Ana", "an open …"),
            ("'O'Neil' is taken", "… is taken"),
            ("duplicate key\nDETAIL: Key (ref)=(Ana)", "duplicate key"),
        ] {
            assert_eq!(told(message), shown);
        }
        assert!(told(&"x".repeat(10_000)).chars().count() <= LONGEST + 1);
    }

    #[test]
    fn errors_with_status_200_are_told_apart() {
        let odoo = |class: &str| format!("odoo.exceptions.{class}");
        let read = "res.partner.search_read";
        let write = "res.partner.write";
        assert!(matches!(
            meaning(read, &odoo("AccessDenied"), "Access denied"),
            Error::Auth { .. }
        ));
        assert!(
            matches!(meaning(read, &odoo("AccessError"), "Sorry"), Error::Forbidden { doing, .. } if doing == read)
        );
        assert!(matches!(
            meaning(write, &odoo("MissingError"), "gone"),
            Error::NotFound { .. }
        ));
        assert!(matches!(
            meaning(
                "no.model.search_read",
                &odoo("UserError"),
                "Object no.model doesn't exist"
            ),
            Error::Unsupported { .. }
        ));
        assert!(matches!(
            meaning(
                "res.partner.has_access",
                "builtins.AttributeError",
                "type object 'res.partner' has no attribute 'has_access'"
            ),
            Error::Unsupported { .. }
        ));
        assert!(matches!(
            meaning(read, "builtins.KeyError", "'colour'"),
            Error::Unreadable { .. }
        ));
        assert!(matches!(
            meaning(write, &odoo("UserError"), "No"),
            Error::Rejected { field: None, .. }
        ));
        let missing = "connection failed: FATAL:  database \"nodb\" does not exist\n";
        assert!(matches!(
            meaning("login", "psycopg2.OperationalError", missing),
            Error::NotFound { .. }
        ));
        let busy = meaning(
            write,
            "psycopg2.errors.SerializationFailure",
            "could not serialize access",
        );
        assert!(busy.is_worth_repeating());
        assert!(matches!(
            busy,
            Error::Transient {
                may_have_happened: false,
                ..
            }
        ));
        assert!(matches!(
            meaning(write, "psycopg2.OperationalError", "server closed the connection"),
            Error::Transient {
                may_have_happened: true,
                ..
            }
        ));
        assert!(matches!(
            meaning(read, "builtins.ValueError", "x"),
            Error::Unreadable { .. }
        ));
    }

    #[test]
    fn the_field_is_known_where_it_is_named() {
        for (message, field) in [
            ("Wrong value for res.partner.type: 'bad'", Some("type")),
            ("Invalid field 'colour' on model 'crm.lead'", Some("colour")),
            (
                "The operation cannot be completed:\n- Create/update: a mandatory field is not set.\n\nModel: Lead (crm.lead)\nField: Stage (stage_id)",
                Some("stage_id"),
            ),
            ("Contacts require a name.", None),
            ("[object with reference: Contact - res.partner]", None),
        ] {
            match meaning("res.partner.create", "odoo.exceptions.ValidationError", message) {
                Error::Rejected { field: found, .. } => assert_eq!(found.as_deref(), field, "{message}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn refusals_of_json_2_are_explained_by_their_body() {
        let explained = |status: u16, body: Value| {
            explain(&Refusal {
                doing: "crm.lead.create",
                status: StatusCode::from_u16(status).unwrap(),
                headers: &HeaderMap::new(),
                retry_after: None,
                body: body.to_string().as_bytes(),
            })
        };
        let told = |name: &str| json!({"name": name, "message": "m", "arguments": ["m"], "context": {}, "debug": "t"});
        assert!(matches!(
            explained(401, told("werkzeug.exceptions.Unauthorized")),
            Some(Error::Auth { .. })
        ));
        assert!(matches!(
            explained(401, json!("Invalid apikey")),
            Some(Error::Auth { .. })
        ));
        assert!(matches!(
            explained(403, told("odoo.exceptions.AccessError")),
            Some(Error::Forbidden { .. })
        ));
        assert!(matches!(
            explained(404, told("werkzeug.exceptions.NotFound")),
            Some(Error::Unsupported { .. })
        ));
        assert!(matches!(
            explained(422, told("odoo.exceptions.ValidationError")),
            Some(Error::Rejected { .. })
        ));
        assert!(matches!(
            explained(422, told("werkzeug.exceptions.UnprocessableEntity")),
            Some(Error::Rejected { .. })
        ));
        assert!(matches!(
            explained(500, told("builtins.ValueError")),
            Some(Error::Rejected { .. })
        ));
        assert!(explained(502, json!({"error": "x"})).is_none());
    }
}
