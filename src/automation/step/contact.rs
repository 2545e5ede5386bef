//! `do = "contact"`: changes the contact of the conversation: its members, its own members, labels added and removed. Done again, it
//! changes nothing more.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Failure, Of, Reading, texts};
use crate::allai::{ContactDetails, Resource};
use crate::automation::template::Template;
use crate::automation::tools::Tools;
use crate::config::UNREAD_REMEDY;

/// The step.
#[derive(Debug)]
pub(in crate::automation) struct Contact {
    pub(super) change: Template,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    name: Option<Value>,
    email: Option<Value>,
    phone: Option<Value>,
    /// Labels to add: one, or a list.
    add_tags: Option<Value>,
    /// Labels to take away.
    remove_tags: Option<Value>,
    /// Members of the account's own to set.
    custom_fields: Option<Map<String, Value>>,
}

pub(super) fn read(own: &BTreeMap<String, Value>, reading: &mut Reading<'_>) -> Option<Contact> {
    let keys: Keys = reading.keys(own)?;
    if own.is_empty() {
        reading.wrong(&["add_tags"], "changes nothing", "add e.g. add_tags = [\"lead\"]");
    }
    let ground = reading.ground;
    let account = ground.config.account(ground.account);
    if let Some(problem) = account.and_then(|(name, account)| account.unread_of_contacts(name)) {
        reading.wrong(&[], problem, UNREAD_REMEDY);
    }
    let change = json!({"name": keys.name, "email": keys.email, "phone": keys.phone, "add_tags": keys.add_tags,
        "remove_tags": keys.remove_tags, "custom_fields": keys.custom_fields});
    Some(Contact {
        change: reading.template(&[], &change),
    })
}

impl Contact {
    pub(super) async fn perform(&self, input: &Value, of: Of<'_>, tools: &Tools) -> Result<Value, Failure> {
        let Some(id) = of.contact_id else {
            return Err(Failure::lasting("the conversation has no contact that is known"));
        };
        let known = tools.warehouse.fact(of.account, Resource::Contacts, None, id).await?;
        let Some(known) = known else {
            return Err(Failure::passing("the contact is not in the mirror yet"));
        };
        let changed = tools.client.update_contact(id, &changed(&known, input)).await?;
        Ok(json!({"id": id, "updated_at": changed.updated_at}))
    }
}

/// The contact as it is to be: all of it, since the API may take what it is not told for nothing.
fn changed(known: &Value, change: &Value) -> ContactDetails {
    let text = |name: &str| {
        let wanted = change[name].as_str().map(str::trim).filter(|text| !text.is_empty());
        wanted.or_else(|| known[name].as_str()).map(str::to_owned)
    };
    let mut tags = texts(&known["tags"]);
    let removed = texts(&change["remove_tags"]);
    tags.retain(|tag| !removed.contains(tag));
    for tag in texts(&change["add_tags"]) {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    let mut fields = known["custom_fields"].as_object().cloned().unwrap_or_default();
    fields.extend(change["custom_fields"].as_object().cloned().unwrap_or_default());
    ContactDetails {
        name: text("name"),
        email: text("email"),
        phone: text("phone"),
        tags: Some(tags),
        custom_fields: Some(fields),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let known = json!({"name": "Ana", "email": "ana@exemplu.ro", "phone": null, "tags": ["old", "kept"],
            "custom_fields": {"city": "Iași", "size": 3}});
        let change = json!({"name": " ", "phone": "+40722123456", "add_tags": ["new", "kept"], "remove_tags": "old",
            "custom_fields": {"size": 4}});
        let details = changed(&known, &change);
        assert_eq!(details.name.as_deref(), Some("Ana"));
        assert_eq!(details.phone.as_deref(), Some("+40722123456"));
        assert_eq!(details.tags, Some(vec!["kept".to_owned(), "new".to_owned()]));
        assert_eq!(
            Value::Object(details.custom_fields.unwrap()),
            json!({"city": "Iași", "size": 4})
        );
    }
}
