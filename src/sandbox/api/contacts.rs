//! `/contacts`. There is no `GET /contacts/{id}`: the guide knows none.

use serde_json::{Map, Value};

use super::query::{self, Span};
use super::{Call, Failure, Reply};
use crate::sandbox::account::{Contact, ContactDraft, Key, Members};
use crate::sandbox::faults;
use crate::sandbox::render::{self, Page};

impl Call<'_> {
    pub(super) fn contacts(&mut self) -> Result<Reply, Failure> {
        let Span { offset, limit } = self.span()?;
        let format = self.state.account.time_format();
        let contacts = &self.state.account.contacts;
        let (rows, total): (Vec<Members>, usize) =
            match self.query.get("search").map(str::trim).filter(|s| !s.is_empty()) {
                None => {
                    let rows = contacts.slice(None, offset, limit);
                    (
                        rows.into_iter().map(|row| row.members(format)).collect(),
                        contacts.len(),
                    )
                }
                Some(search) => {
                    let search = search.to_lowercase();
                    let found: Vec<&Contact> = contacts.iter().filter(|row| matches(row, &search)).collect();
                    let rows = found.iter().skip(offset).take(limit).map(|row| row.members(format));
                    (rows.collect(), found.len())
                }
            };
        Ok(self.list("contacts", rows, total, Span { offset, limit }))
    }

    pub(super) fn new_contact(&mut self) -> Result<Reply, Failure> {
        let draft = draft(&self.object()?)?;
        if draft.name.is_none() && draft.email.is_none() && draft.phone.is_none() {
            return Err(Failure::invalid("a contact needs a `name`, an `email` or a `phone`"));
        }
        let key = self.state.account.insert_contact(draft, self.now);
        self.contact_object(key).map(Reply::created)
    }

    pub(super) fn change_contact(&mut self, id: &str) -> Result<Reply, Failure> {
        let key = self.state.account.contacts.key_of(id).ok_or_else(|| no_contact(id))?;
        let draft = draft(&self.object()?)?;
        self.state.account.update_contact(key, draft, self.now);
        self.contact_object(key).map(Reply::ok)
    }

    pub(super) fn contact_conversations(&mut self, id: &str) -> Result<Reply, Failure> {
        let span = self.span()?;
        let account = &self.state.account;
        account.contacts.key_of(id).ok_or_else(|| no_contact(id))?;
        let keys = account.conversations_of(id);
        let newest_first = keys.iter().rev().skip(span.offset).take(span.limit);
        let rows = newest_first.filter_map(|key| account.conversations.get(*key));
        let rows = rows.map(|row| row.members(account.time_format())).collect();
        let total = keys.len();
        Ok(self.list("conversations", rows, total, span))
    }

    /// A page of any list.
    pub(super) fn list(&mut self, resource: &str, mut rows: Vec<Members>, mut total: usize, span: Span) -> Reply {
        faults::tamper(&self.state.options.faults, &mut rows, &mut total, self.rng);
        let fields = self.query.fields();
        let Span { offset, limit } = span;
        let page = Page {
            resource,
            rows,
            total,
            offset,
            limit,
            fields: &fields,
        };
        Reply::ok(render::page(page, &self.state.options.shape, self.rng))
    }

    fn contact_object(&mut self, key: Key) -> Result<String, Failure> {
        let account = &self.state.account;
        let contact = account
            .contacts
            .get(key)
            .ok_or_else(|| Failure::not_found("no such contact"))?;
        let members = contact.members(account.time_format());
        Ok(render::object(
            members,
            "contact",
            &self.query.fields(),
            &self.state.options.shape,
            self.rng,
        ))
    }
}

fn no_contact(id: &str) -> Failure {
    Failure::not_found(&format!("no contact with id `{id}`"))
}

fn matches(contact: &Contact, search: &str) -> bool {
    let texts = [&contact.name, &contact.email, &contact.phone];
    texts
        .into_iter()
        .flatten()
        .any(|text| text.to_lowercase().contains(search))
}

fn draft(object: &Map<String, Value>) -> Result<ContactDraft, Failure> {
    let tags = match object.get("tags") {
        None | Some(Value::Null) => None,
        Some(tags) => match serde_json::from_value(tags.clone()) {
            Ok(tags) => Some(tags),
            Err(_) => return Err(Failure::invalid("`tags` must be an array of strings")),
        },
    };
    Ok(ContactDraft {
        name: query::text(object, "name")?,
        email: query::email(object)?,
        phone: query::text(object, "phone")?,
        tags,
        custom_fields: query::object(object, "custom_fields")?,
    })
}
