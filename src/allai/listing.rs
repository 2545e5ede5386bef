//! The lists the API offers, and what can be asked of them.

use super::Resource;

/// A list that is read by limit and offset.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Listing {
    /// `GET /contacts`.
    Contacts,
    /// `GET /conversations`.
    Conversations,
    /// `GET /conversations/{id}/messages`.
    Messages {
        /// The conversation whose messages are listed.
        conversation_id: String,
    },
    /// `GET /contacts/{id}/conversations`.
    ContactConversations {
        /// The contact whose conversations are listed.
        contact_id: String,
    },
}

impl Listing {
    /// The conversation whose messages are listed.
    pub(crate) fn conversation_id(&self) -> Option<&str> {
        match self {
            Self::Messages { conversation_id } => Some(conversation_id),
            _ => None,
        }
    }

    /// What the rows of the list are.
    pub const fn resource(&self) -> Resource {
        match self {
            Self::Contacts => Resource::Contacts,
            Self::Conversations | Self::ContactConversations { .. } => Resource::Conversations,
            Self::Messages { .. } => Resource::Messages,
        }
    }

    /// The path below the base URL, one element a segment.
    pub(super) fn segments(&self) -> Vec<&str> {
        match self {
            Self::Contacts => vec!["contacts"],
            Self::Conversations => vec!["conversations"],
            Self::Messages { conversation_id } => vec!["conversations", conversation_id, "messages"],
            Self::ContactConversations { contact_id } => vec!["contacts", contact_id, "conversations"],
        }
    }
}

/// Which slice of a list is wanted, and what of each row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// At most this many rows; 0 leaves it to the server. The server may return fewer.
    pub limit: u32,
    /// How many rows to pass over.
    pub offset: u64,
    /// The members wanted of each row; empty means all. `id` is always asked for, since no row is usable without.
    pub fields: Vec<String>,
    /// Only rows in this status, e.g. `active`; conversations alone know it.
    pub status: Option<String>,
    /// Only rows that match this text; contacts alone know it.
    pub search: Option<String>,
}

impl ListQuery {
    /// The query's parameters, as the guide names them.
    pub(super) fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut parameters = Vec::with_capacity(5);
        if self.limit > 0 {
            parameters.push(("limit", self.limit.to_string()));
        }
        parameters.push(("offset", self.offset.to_string()));
        if let Some(fields) = joined_fields(&self.fields) {
            parameters.push(("fields", fields));
        }
        if let Some(status) = &self.status {
            parameters.push(("status", status.clone()));
        }
        if let Some(search) = &self.search {
            parameters.push(("search", search.clone()));
        }
        parameters
    }
}

/// The value of the `fields` parameter; `None` asks for everything.
pub(super) fn joined_fields(fields: &[String]) -> Option<String> {
    if fields.is_empty() {
        return None;
    }
    let mut joined = fields.join(",");
    if !fields.iter().any(|field| field == "id") {
        joined.insert_str(0, "id,");
    }
    Some(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_always_among_the_fields() {
        assert_eq!(joined_fields(&[]), None);
        assert_eq!(
            joined_fields(&["name".into(), "email".into()]).unwrap(),
            "id,name,email"
        );
        assert_eq!(joined_fields(&["name".into(), "id".into()]).unwrap(), "name,id");
    }
}
