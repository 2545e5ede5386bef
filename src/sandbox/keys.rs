//! API keys and what they may do.

use serde::Serialize;

use super::account::scramble;

/// The keys of the account; each is the value of `Authorization: Bearer …`.
#[derive(Clone, Debug, Serialize)]
pub struct Keys {
    /// May read, write and administer.
    pub full: String,
    /// May read only.
    pub read: String,
    /// May write only.
    pub write: String,
    /// May administer (register webhooks) only.
    pub admin: String,
}

impl Keys {
    /// The keys that belong to a seed.
    pub(super) fn new(seed: u64) -> Self {
        let key = |name: &str, number: u64| format!("ak_sandbox_{name}_{:016x}", scramble(seed ^ (number << 48)));
        Self {
            full: key("full", 1),
            read: key("read", 2),
            write: key("write", 3),
            admin: key("admin", 4),
        }
    }

    /// What a key may do; nothing is known of a key that is not one of these.
    pub(super) fn permissions(&self, key: &str) -> Option<(&'static str, &'static [Permission])> {
        use Permission::{Admin, Read, Write};
        match key {
            _ if key == self.full => Some(("full", &[Read, Write, Admin])),
            _ if key == self.read => Some(("read", &[Read])),
            _ if key == self.write => Some(("write", &[Write])),
            _ if key == self.admin => Some(("admin", &[Admin])),
            _ => None,
        }
    }
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    Read,
    Write,
    Admin,
}

impl Permission {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}
