//! Looking at one contact: which record it is, and what is to be written.

use std::collections::BTreeMap;

use allai_connectors::{self as connectors, Crm, Key, Record};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::ContactSync;
use super::keys::Keys;
use super::mapping::Unrenderable;
use super::merge::{Plan, Synced, is_settled, merge};
use crate::allai;
use crate::sync::{self, refresh::Refreshed};
use crate::warehouse::{self, Candidate, Link, LinkStatus, Other};

/// How long what is refused is left alone if nothing changes.
const HELD_FOR: TimeDelta = TimeDelta::hours(24);

/// What is about to be done, as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Intent {
    /// What the contact was known by: what was created is found by that.
    pub(super) keys: Keys,
    pub(super) plan: Plan,
}

/// Why a contact, or all of them, cannot be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It is the same with every other contact.
    Stop(String),
    /// The next run may have more luck.
    PutOff(String),
    /// A system refuses this contact.
    Held(String),
    /// It is not clear which record it is.
    Conflict(String),
}

impl From<Unrenderable> for Trouble {
    fn from(error: Unrenderable) -> Self {
        Self::Held(error.to_string())
    }
}

impl From<warehouse::Error> for Trouble {
    fn from(error: warehouse::Error) -> Self {
        Self::Stop(error.to_string())
    }
}

impl From<connectors::Error> for Trouble {
    fn from(error: connectors::Error) -> Self {
        use connectors::Error;
        match error {
            Error::Auth { .. } | Error::Forbidden { .. } | Error::RateLimited { .. } | Error::Unsupported { .. } => {
                Self::Stop(error.to_string())
            }
            Error::Transient { .. } | Error::NotFound { .. } => Self::PutOff(error.to_string()),
            Error::Rejected { .. } | Error::Unreadable { .. } => Self::Held(error.to_string()),
            Error::Conflict { .. } => Self::Conflict(error.to_string()),
        }
    }
}

impl Trouble {
    /// What an error of AllAI's means for a contact.
    pub(super) fn of_allai(account: &str, error: &allai::Error) -> Self {
        let told = sync::explain(account, error);
        match error {
            allai::Error::Forbidden { .. } => Self::Stop(format!(
                "{error}; what goes back to AllAI needs a key with write permission as accounts.{account}.api_key"
            )),
            error if error.stops_account() || error.is_unreachable() => Self::Stop(told),
            allai::Error::BadRequest { .. } | allai::Error::Argument { .. } => Self::Held(format!("AllAI: {told}")),
            _ => Self::PutOff(told),
        }
    }
}

/// A contact that was looked at.
#[derive(Debug)]
pub(super) enum Found {
    /// Nothing is to be done outside; its link is this.
    Settled(Box<Link>),
    /// Nothing is to be done outside, and a record that was there is its own from now on.
    Matched(Box<Link>, Option<String>),
    /// Something is to be written.
    ToWrite(Box<ToWrite>),
}

/// What is to be written of a contact.
#[derive(Debug)]
pub(super) struct ToWrite {
    pub(super) candidate: Candidate,
    pub(super) contact: Value,
    pub(super) keys: Keys,
    /// The record; `None` if it is to be created.
    pub(super) crm_id: Option<String>,
    pub(super) before: Synced,
    pub(super) plan: Plan,
    /// Whether the record was not its own before.
    pub(super) is_new: bool,
    /// A contact that is gone, and has the record still.
    pub(super) released: Option<String>,
}

impl ToWrite {
    pub(super) fn intent(&self) -> Intent {
        Intent {
            keys: self.keys.clone(),
            plan: self.plan.clone(),
        }
    }
}

/// The contact as templates read it.
pub(super) fn contact_of(candidate: &Candidate) -> Value {
    let parsed = |text: &Option<String>| {
        text.as_deref()
            .and_then(|text| serde_json::from_str::<Value>(text).ok())
    };
    let time = |at: Option<DateTime<Utc>>| at.map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true));
    json!({
        "id": candidate.id,
        "name": candidate.name,
        "email": candidate.email,
        "phone": candidate.phone,
        "tags": parsed(&candidate.tags).unwrap_or_else(|| json!([])),
        "custom_fields": parsed(&candidate.custom_fields).unwrap_or_else(|| json!({})),
        "created_at": time(candidate.created_at),
        "updated_at": time(candidate.updated_at),
    })
}

impl ContactSync {
    pub(super) fn keys_of(&self, candidate: &Candidate) -> Keys {
        let (email, phone) = (candidate.email.as_deref(), candidate.phone.as_deref());
        Keys::new(self.mapping.keys(), self.mapping.region(), &candidate.id, email, phone)
    }

    /// A link of a contact as it was looked at, with nothing under way.
    pub(super) fn link(&self, candidate: &Candidate, keys: &Keys, status: LinkStatus, reason: Option<String>) -> Link {
        let known = candidate.link.as_ref();
        let is_refused = matches!(status, LinkStatus::Held | LinkStatus::Conflict);
        Link {
            contact_id: candidate.id.clone(),
            crm_id: known.and_then(|link| link.crm_id.clone()),
            status,
            reason,
            email: keys.email.clone(),
            phone: keys.phone.clone(),
            synced: known.and_then(|link| link.synced.clone()),
            intent: None,
            contact_hash: candidate.content_hash.clone(),
            mapping_hash: self.mapping.hash().to_owned(),
            dirty: false,
            retry_at: is_refused.then(|| self.clock.now() + HELD_FOR),
        }
    }

    /// The link of a contact that cannot be synced; what may be under way is not forgotten.
    pub(super) fn refused(&self, candidate: &Candidate, status: LinkStatus, reason: String) -> Link {
        let intent = candidate.link.as_ref().and_then(|link| link.intent.clone());
        Link {
            intent,
            ..self.link(candidate, &self.keys_of(candidate), status, Some(reason))
        }
    }

    /// Looks which record a contact is, and what is to be written. Changes nothing outside.
    pub(super) async fn look(
        &self,
        crm: &dyn Crm,
        mut candidate: Candidate,
        cancelled: &CancellationToken,
    ) -> Result<Found, (Candidate, Trouble)> {
        let mut is_fresh = false;
        loop {
            let found = match self.look_once(crm, &candidate).await {
                Ok(found) => found,
                Err(trouble) => return Err((candidate, trouble)),
            };
            match &found {
                Found::ToWrite(work) if !is_fresh && !work.plan.to_allai().is_empty() => {}
                _ => return Ok(found),
            }
            // The mirror may be old, and what somebody has changed meanwhile must not be lost.
            is_fresh = true;
            match self.ask_again(&candidate, cancelled).await {
                Ok(Some(fresh)) => {
                    let was_dirty = candidate.link.as_ref().is_some_and(|link| link.dirty);
                    candidate = fresh;
                    if let Some(link) = &mut candidate.link {
                        link.dirty |= was_dirty;
                    }
                }
                Ok(None) => {
                    let gone = Trouble::PutOff("it is gone from the mirror just now".to_owned());
                    return Err((candidate, gone));
                }
                Err(trouble) => return Err((candidate, trouble)),
            }
        }
    }

    /// Has the mirror take in how a contact is at AllAI now, and reads it again. `None` if it is gone.
    pub(super) async fn ask_again(
        &self,
        candidate: &Candidate,
        cancelled: &CancellationToken,
    ) -> Result<Option<Candidate>, Trouble> {
        match self.refresher.contact(&candidate.id, &[], cancelled).await {
            // Not every contact can be searched for; then what the mirror has is what is known.
            Ok(Refreshed::Stored | Refreshed::NotFound | Refreshed::NotThere) => {}
            Ok(Refreshed::Unsettled) => {
                return Err(Trouble::PutOff(
                    "others store it faster than it can be asked for".to_owned(),
                ));
            }
            Err(sync::Error::Api(error)) => return Err(Trouble::of_allai(&self.bridge.account, &error)),
            Err(error) => return Err(Trouble::Stop(error.to_string())),
        }
        Ok(self.warehouse.crm_candidate(&self.bridge, &candidate.id).await?)
    }

    async fn look_once(&self, crm: &dyn Crm, candidate: &Candidate) -> Result<Found, Trouble> {
        let contact = contact_of(candidate);
        let keys = self.keys_of(candidate);
        let settled = |status, reason: Option<&str>| {
            let link = self.link(candidate, &keys, status, reason.map(str::to_owned));
            Ok(Found::Settled(Box::new(link)))
        };
        let known = candidate.link.as_ref();
        let intent: Option<Intent> = known
            .and_then(|link| link.intent.as_deref())
            .and_then(|text| serde_json::from_str(text).ok());
        let before: Synced = known
            .and_then(|link| link.synced.as_deref())
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let own = known.and_then(|link| link.crm_id.as_deref());
        if intent.is_none() && !self.mapping.wants(&contact)? {
            return settled(LinkStatus::Skipped, Some("left out by the filter"));
        }
        if keys.asked(self.mapping.keys()).is_empty() && own.is_none() && intent.is_none() {
            return settled(LinkStatus::Skipped, Some("has nothing that it could be known by"));
        }
        let is_linked = own.is_some() && known.is_some_and(|link| link.status == LinkStatus::Linked);
        let is_clean = known.is_some_and(|link| !link.dirty && link.mapping_hash == self.mapping.hash());
        if is_linked && is_clean && intent.is_none() && is_settled(&self.mapping, &contact, &before)? {
            return settled(LinkStatus::Linked, None);
        }
        let has_same_keys = known.is_some_and(|link| (&link.email, &link.phone) == (&keys.email, &keys.phone));

        let mut released = None;
        let own_record = match own {
            Some(id) => crm.find(self.entity, &Key::Id(id.to_owned())).await?.into_iter().next(),
            None => None,
        };
        let is_new = own_record.is_none();
        let (record, before) = match (own_record, own) {
            (Some(record), _) => (Some(record), before),
            (None, own) => {
                let record = self
                    .search(crm, candidate, &keys, intent.as_ref(), &mut released)
                    .await?;
                if let (Some(own), None) = (own, &record) {
                    let reason = format!("its record {own} is gone from the CRM; nothing is created in its place");
                    return Err(Trouble::Held(reason));
                }
                // What was agreed on with another record says nothing of this one.
                (record, if own.is_some() { Synced::default() } else { before })
            }
        };
        let fields = record.as_ref().map(|record| &record.fields);
        let before = match &intent {
            Some(intent) => {
                // Its own record is found by its id.
                let is_key = |value: &Value| is_new && value.as_str().is_some_and(|text| intent.keys.are(text));
                intent.plan.resolved(&before, &contact, fields, is_key)
            }
            None => before,
        };
        let plan = merge(&self.mapping, &contact, fields, &before)?;
        let to_crm = plan.to_crm();
        if !is_new && !has_same_keys && !to_crm.is_empty() {
            self.check_new_keys(crm, candidate, &keys, record.as_ref()).await?;
        }
        let crm_id = record.map(|record| record.id);
        if crm_id.is_some() && to_crm.is_empty() && plan.to_allai().is_empty() {
            let mut link = self.link(candidate, &keys, LinkStatus::Linked, None);
            link.crm_id = crm_id;
            link.synced = Some(as_text(&plan.synced(&before, true, true)));
            return Ok(if is_new {
                Found::Matched(Box::new(link), released)
            } else {
                Found::Settled(Box::new(link))
            });
        }
        Ok(Found::ToWrite(Box::new(ToWrite {
            candidate: candidate.clone(),
            contact,
            keys,
            crm_id,
            before,
            plan,
            is_new,
            released,
        })))
    }

    /// The record that a contact without one is; `None` if there is none. More than one is a conflict, and so is one that another
    /// contact has.
    async fn search(
        &self,
        crm: &dyn Crm,
        candidate: &Candidate,
        keys: &Keys,
        intent: Option<&Intent>,
        released: &mut Option<String>,
    ) -> Result<Option<Record>, Trouble> {
        let mut asked = keys.asked(self.mapping.keys());
        // It may have been created under what the contact was known by then.
        let earlier = intent.map(|intent| intent.keys.asked(self.mapping.keys()));
        for key in earlier.into_iter().flatten() {
            if !asked.contains(&key) {
                asked.push(key);
            }
        }
        self.check_others(candidate, keys).await?;
        let mut records: BTreeMap<String, Record> = BTreeMap::new();
        for key in &asked {
            let found = crm.find(self.entity, key).await?;
            records.extend(found.into_iter().map(|record| (record.id.clone(), record)));
        }
        if records.len() > 1 {
            let ids: Vec<&str> = records.keys().take(5).map(String::as_str).collect();
            let reason = format!(
                "{} records of the CRM are known by the same ({}): merge them there, or correct the contact",
                records.len(),
                ids.join(", ")
            );
            return Err(Trouble::Conflict(reason));
        }
        let Some((_, record)) = records.pop_first() else {
            return Ok(None);
        };
        match self.warehouse.owner_of(&self.bridge, &record.id).await? {
            Some(other) if other.contact_id == candidate.id => {}
            Some(other) if other.is_live => return Err(same_as(&other)),
            Some(other) => *released = Some(other.contact_id),
            None => {}
        }
        Ok(Some(record))
    }

    /// Fails if another contact is known by the same, and is a record or about to be one.
    async fn check_others(&self, candidate: &Candidate, keys: &Keys) -> Result<(), Trouble> {
        let (email, phone) = (keys.email.as_deref(), keys.phone.as_deref());
        let others = self
            .warehouse
            .others_known_by(&self.bridge, &candidate.id, email, phone)
            .await?;
        match others.iter().find(|other| other.is_live) {
            Some(other) => Err(same_as(other)),
            None => Ok(()),
        }
    }

    /// Fails if what a contact is known by from now on is another contact's, or another record's.
    async fn check_new_keys(
        &self,
        crm: &dyn Crm,
        candidate: &Candidate,
        keys: &Keys,
        record: Option<&Record>,
    ) -> Result<(), Trouble> {
        self.check_others(candidate, keys).await?;
        let own = record.map(|record| record.id.as_str());
        for key in keys.asked(self.mapping.keys()) {
            let found = crm.find(self.entity, &key).await?;
            if let Some(other) = found.iter().find(|found| Some(found.id.as_str()) != own) {
                let reason = format!(
                    "record {} of the CRM is known by the same: merge them there, or correct the contact",
                    other.id
                );
                return Err(Trouble::Conflict(reason));
            }
        }
        Ok(())
    }
}

fn same_as(other: &Other) -> Trouble {
    let record = match &other.crm_id {
        Some(id) => format!("is record {id} of the CRM"),
        None => "is being created in the CRM".to_owned(),
    };
    Trouble::Conflict(format!(
        "contact {} is known by the same, and {record}: correct or delete one of the two contacts",
        other.contact_id
    ))
}

/// What is kept of a value of the program's own.
pub(super) fn as_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
