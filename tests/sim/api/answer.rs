//! What is asked for, and the proper answer to it.

use http::{StatusCode, Uri};

use crate::model::{Account, Kind, List, Place, number_of};
use crate::scenario::{Envelope, Figure, Scenario};

/// What the server returns when no limit is asked for.
const DEFAULT_LIMIT: usize = 50;

/// A request of the guide, as far as a mirror makes any.
pub(super) enum Asked {
    List {
        path: ListPath,
        limit: usize,
        offset: usize,
        /// Only conversations that go on.
        active: bool,
    },
    Conversation {
        id: String,
        id_only: bool,
    },
    Nothing,
}

pub(super) enum ListPath {
    Contacts,
    Conversations,
    Messages(String),
}

impl Asked {
    pub(super) fn parse(uri: &Uri) -> Self {
        let (mut limit, mut offset, mut active, mut id_only) = (DEFAULT_LIMIT, 0, false, false);
        for pair in uri.query().unwrap_or_default().split('&') {
            match pair.split_once('=') {
                Some(("limit", value)) => limit = value.parse().unwrap_or(DEFAULT_LIMIT),
                Some(("offset", value)) => offset = value.parse().unwrap_or(0),
                Some(("status", value)) => active = value == "active",
                Some(("fields", value)) => id_only = value == "id",
                _ => {}
            }
        }
        let segments: Vec<&str> = uri.path().split('/').skip(2).collect();
        let path = match segments[..] {
            ["contacts"] => ListPath::Contacts,
            ["conversations"] => ListPath::Conversations,
            ["conversations", id, "messages"] => ListPath::Messages(id.to_owned()),
            ["conversations", id] => {
                let id = id.to_owned();
                return Self::Conversation { id, id_only };
            }
            _ => return Self::Nothing,
        };
        Self::List {
            path,
            limit,
            offset,
            active,
        }
    }

    /// Where the request looks; `None` if there never was such a place.
    pub(super) fn place(&self, account: &Account) -> Option<Place> {
        Some(match self {
            Self::List { path, .. } => match path {
                ListPath::Contacts => Place::Contacts,
                ListPath::Conversations => Place::Conversations,
                ListPath::Messages(id) => Place::Messages(account.conversation(id)?.number),
            },
            Self::Conversation { .. } => Place::Conversations,
            Self::Nothing => return None,
        })
    }

    /// The answer, in pages of `most` rows.
    pub(super) fn answer(&self, account: &Account, scenario: &Scenario, most: usize) -> (StatusCode, String) {
        let missing = || {
            let status = if scenario.gone {
                StatusCode::GONE
            } else {
                StatusCode::NOT_FOUND
            };
            (status, "{\"error\":\"not found\"}".to_owned())
        };
        let living = |id: &str| account.conversation(id).filter(|row| row.alive);
        match self {
            Self::Nothing => missing(),
            Self::Conversation { id, id_only } => match living(id) {
                None => missing(),
                Some(row) if *id_only => (StatusCode::OK, format!("{{\"id\":\"{}\"}}", row.id())),
                Some(row) => (StatusCode::OK, row.json.clone()),
            },
            Self::List {
                path,
                limit,
                offset,
                active,
            } => {
                let (list, name) = match path {
                    ListPath::Contacts => (&account.contacts, "contacts"),
                    ListPath::Conversations => (&account.conversations, "conversations"),
                    ListPath::Messages(id) => match living(id) {
                        None => return missing(),
                        Some(row) => (&account.messages[row.number], "messages"),
                    },
                };
                let limit = most.min(*limit);
                (StatusCode::OK, page(list, name, limit, *offset, *active, scenario))
            }
        }
    }
}

fn page(list: &List, name: &str, limit: usize, offset: usize, active: bool, scenario: &Scenario) -> String {
    let filtered = list.living().filter(|row| !active || row.active);
    let total = if active {
        filtered.clone().count()
    } else {
        list.listed.len()
    };
    let mut items = String::from("[");
    let mut end = offset;
    for row in filtered.skip(offset).take(limit) {
        if row.large && end > offset {
            break;
        }
        end += 1;
        if row.hidden {
            continue;
        }
        if items.len() > 1 {
            items.push(',');
        }
        items.push_str(&row.json);
    }
    items.push(']');
    let is_last = end >= total;
    let total = match scenario.oddities.caps {
        0 => total,
        caps => total.min(caps as usize),
    };
    let figures = [
        (scenario.total, "total", total.to_string()),
        (scenario.has_more, "has_more", (!is_last).to_string()),
    ];
    let of = |place: Figure| -> String {
        figures
            .iter()
            .filter(|figure| figure.0 == place)
            .map(|(_, name, value)| format!("\"{name}\":{value}"))
            .collect::<Vec<_>>()
            .join(",")
    };
    let mut beside = of(Figure::Beside);
    if !beside.is_empty() {
        beside.insert(0, ',');
    }
    let meta = of(Figure::Meta);
    if !meta.is_empty() {
        beside.push_str(",\"meta\":{");
        beside.push_str(&meta);
        beside.push('}');
    }
    match scenario.envelope {
        Envelope::Bare => items,
        Envelope::Data => format!("{{\"data\":{items}{beside}}}"),
        Envelope::Items => format!("{{\"items\":{items}{beside}}}"),
        Envelope::Resource => format!("{{\"{name}\":{items}{beside}}}"),
        Envelope::Nested => format!("{{\"data\":{{\"items\":{items}}}{beside}}}"),
    }
}

/// The ids on a page, for the log.
pub(super) fn ids(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let ids: Vec<&str> = text
        .split("\"id\":\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .filter(|id| number_of(id, Kind::Contact).is_some() || id.starts_with(['v', 'm']))
        .collect();
    ids.join(" ")
}
