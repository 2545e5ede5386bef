//! Writing what was planned for one contact, to the CRM first and then to AllAI.

use std::collections::BTreeMap;

use allai_connectors::{Crm, Key};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::ContactSync;
use super::found::{ToWrite, Trouble, as_text, contact_of};
use super::mapping::Member;
use super::merge::{Synced, is_settled};
use super::values::{is_empty, same, text};
use crate::allai::{ContactDetails, Priority};
use crate::warehouse::{Candidate, Link, LinkStatus};

/// What came of writing.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) link: Link,
    pub(super) created: bool,
    pub(super) updated: bool,
    pub(super) came_back: bool,
    pub(super) trouble: Option<Trouble>,
}

impl ContactSync {
    /// The link while it is not known what comes of it.
    pub(super) fn intended(&self, work: &ToWrite) -> Link {
        let status = LinkStatus::Linked;
        Link {
            crm_id: work.crm_id.clone(),
            // What is not to be written is agreed on already.
            synced: Some(as_text(&work.plan.synced(&work.before, false, false))),
            intent: Some(as_text(&work.intent())),
            // Not yet dealt with.
            contact_hash: String::new(),
            dirty: true,
            ..self.link(&work.candidate, &work.keys, status, None)
        }
    }

    /// Writes. What it returns is to be kept; nothing is kept here.
    pub(super) async fn write(&self, crm: &dyn Crm, work: &ToWrite, cancelled: &CancellationToken) -> Written {
        let mut written = Written {
            link: self.intended(work),
            created: false,
            updated: false,
            came_back: false,
            trouble: None,
        };
        let mut plan = work.plan.clone();
        let to_crm = plan.to_crm();
        if work.crm_id.is_none() || !to_crm.is_empty() {
            let key = match &work.crm_id {
                Some(id) => Some(Key::Id(id.clone())),
                None => work.keys.asked(self.mapping.keys()).into_iter().next(),
            };
            let Some(key) = key else {
                return self.refuse(
                    work,
                    written,
                    Trouble::Held("has nothing that it could be known by".to_owned()),
                );
            };
            match crm.upsert(self.entity, &key, &to_crm).await {
                Ok(upserted) => {
                    written.created = upserted.created;
                    written.updated = !upserted.created;
                    if plan.is_to_be_read_again(self.mapping.winner())
                        && let Ok(found) = crm.find(self.entity, &Key::Id(upserted.id.clone())).await
                        && let [record] = found.as_slice()
                    {
                        plan.learn_record(&record.fields);
                    }
                    written.link.crm_id = Some(upserted.id);
                }
                Err(error) => {
                    // Then it may be there all the same.
                    let is_known = !matches!(error, allai_connectors::Error::Unreadable { .. });
                    let trouble = Trouble::from(error);
                    if is_known && matches!(trouble, Trouble::Held(_) | Trouble::Conflict(_)) {
                        written.link.intent = None;
                    }
                    return self.refuse(work, written, trouble);
                }
            }
        }
        let to_allai = plan.to_allai();
        let mut candidate = work.candidate.clone();
        if !to_allai.is_empty() {
            let told = async {
                self.put(&work.contact, &to_allai).await?;
                let gone = || Trouble::PutOff("it is gone from the mirror just now".to_owned());
                self.ask_again(&work.candidate, cancelled).await?.ok_or_else(gone)
            };
            match told.await {
                Ok(fresh) => {
                    written.came_back = true;
                    plan.learn_contact(&contact_of(&fresh));
                    candidate = fresh;
                }
                Err(trouble) => {
                    written.link.synced = Some(as_text(&plan.synced(&work.before, true, false)));
                    if matches!(trouble, Trouble::Held(_)) {
                        written.link.intent = None;
                    }
                    return self.refuse(work, written, trouble);
                }
            }
        }
        let synced = plan.synced(&work.before, true, true);
        let keys = self.keys_of(&candidate);
        // A change that came between is looked at by the next run.
        let is_dealt_with = self.is_dealt_with(&candidate, &to_allai, &synced);
        written.link = Link {
            crm_id: written.link.crm_id,
            synced: Some(as_text(&synced)),
            contact_hash: if is_dealt_with {
                candidate.content_hash.clone()
            } else {
                String::new()
            },
            ..self.link(&candidate, &keys, LinkStatus::Linked, None)
        };
        written
    }

    fn is_dealt_with(&self, candidate: &Candidate, to_allai: &BTreeMap<String, Value>, synced: &Synced) -> bool {
        let contact = contact_of(candidate);
        let is_there = |(name, value): (&String, &Value)| {
            Member::parse(name).is_some_and(|member| same(&member.of(&contact), value))
        };
        to_allai.iter().all(is_there) && is_settled(&self.mapping, &contact, synced).unwrap_or(false)
    }

    fn refuse(&self, work: &ToWrite, mut written: Written, trouble: Trouble) -> Written {
        let (status, reason) = match &trouble {
            Trouble::Held(reason) => (LinkStatus::Held, Some(reason.clone())),
            Trouble::Conflict(reason) => (LinkStatus::Conflict, Some(reason.clone())),
            Trouble::Stop(_) | Trouble::PutOff(_) => (LinkStatus::Linked, None),
        };
        if reason.is_some() {
            let link = self.link(&work.candidate, &work.keys, status, reason);
            written.link = Link {
                crm_id: written.link.crm_id,
                synced: written.link.synced,
                intent: written.link.intent,
                ..link
            };
        }
        written.trouble = Some(trouble);
        written
    }

    /// `PUT /contacts/{id}`, with all that is known of the contact: the guide does not say that what is left out stays.
    async fn put(&self, contact: &Value, changes: &BTreeMap<String, Value>) -> Result<(), Trouble> {
        let mut whole = contact.clone();
        for (name, value) in changes {
            if let Some(member) = Member::parse(name) {
                whole = member.set_in(&whole, value);
            }
        }
        let word = |name: &str| match &whole[name] {
            // What somebody emptied is sent as nothing; what was never there is left out.
            value if is_empty(value) => Ok(changes.contains_key(name).then(String::new)),
            value => text(value)
                .map(Some)
                .ok_or_else(|| Trouble::Held(format!("back.{name} gives no text"))),
        };
        let account = self.refresher.account();
        let id = contact["id"].as_str().unwrap_or_default();
        let details = ContactDetails {
            name: word("name")?,
            email: word("email")?,
            phone: word("phone")?,
            tags: labels(&whole["tags"], changes.contains_key("tags"))?,
            custom_fields: whole["custom_fields"]
                .as_object()
                .filter(|members| !members.is_empty())
                .cloned(),
        };
        let client = account.client.with_priority(Priority::Incremental);
        match client.update_contact(id, &details).await {
            Ok(_) => Ok(()),
            Err(error) => Err(Trouble::of_allai(&account.name, &error)),
        }
    }
}

/// Labels as the API takes them.
fn labels(value: &Value, is_changed: bool) -> Result<Option<Vec<String>>, Trouble> {
    let wrong = || Trouble::Held("back.tags gives no list of texts: end it with | split(\",\") or the like".to_owned());
    match value {
        value if is_empty(value) => Ok(is_changed.then(Vec::new)),
        Value::Array(values) => {
            let texts: Option<Vec<String>> = values
                .iter()
                .filter(|value| !is_empty(value))
                .map(|value| text(value).map(|text| text.trim().to_owned()))
                .collect();
            texts.map(Some).ok_or_else(wrong)
        }
        _ => Err(wrong()),
    }
}
