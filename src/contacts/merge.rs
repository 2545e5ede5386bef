//! Who has changed what since both sides agreed, and what is to be written where.
//!
//! A value is compared with what its own side had then, never with the other side's: what a CRM makes of a number is no change.

use std::collections::BTreeMap;

use allai_connectors::Fields;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::mapping::{Mapping, Member, Unrenderable};
use super::values::{is_empty, same};

/// Who is right where both have changed a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Winner {
    /// AllAI's value is written to the CRM.
    #[default]
    Allai,
    /// The CRM's value stays, and is written to AllAI where it goes both ways.
    Crm,
}

/// Values when both sides last agreed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Base {
    /// What the template gave, on the side that the value comes from.
    pub(super) sent: Value,
    /// What was there, on the side that it goes to.
    pub(super) seen: Value,
}

/// All that was agreed on: by the CRM's fields, and by the contact's members.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Synced {
    pub(super) crm: BTreeMap<String, Base>,
    pub(super) allai: BTreeMap<String, Base>,
}

/// Where a value is to be written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Write {
    Nothing,
    Crm(Value),
    Allai(Value),
}

/// What becomes of a field of the CRM, of a member of the contact, or of both where they are the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Item {
    field: Option<(String, Base)>,
    member: Option<(String, Base)>,
    write: Write,
}

/// What is to be written, and what will be agreed on then.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Plan {
    items: Vec<Item>,
}

impl Plan {
    /// What the CRM is to be given.
    pub(super) fn to_crm(&self) -> Fields {
        let written = self.items.iter().filter_map(|item| match (&item.field, &item.write) {
            (Some((name, _)), Write::Crm(value)) => Some((name.clone(), value.clone())),
            _ => None,
        });
        written.collect()
    }

    /// What AllAI is to be given, by member.
    pub(super) fn to_allai(&self) -> BTreeMap<String, Value> {
        let written = self.items.iter().filter_map(|item| match (&item.member, &item.write) {
            (Some((name, _)), Write::Allai(value)) => Some((name.clone(), value.clone())),
            _ => None,
        });
        written.collect()
    }

    /// Whether fields are written to the CRM whose later changes there count, though they do not come back.
    pub(super) fn is_to_be_read_again(&self, winner: Winner) -> bool {
        let is_written = |item: &Item| item.member.is_none() && matches!(item.write, Write::Crm(_));
        winner == Winner::Crm && self.items.iter().any(is_written)
    }

    /// Learns what the CRM made of what it was given, an address in small letters for one: that is no change. What goes both ways
    /// is left: there, what the CRM made of it comes back.
    pub(super) fn learn_record(&mut self, record: &Fields) {
        for item in &mut self.items {
            if let (Some((name, base)), None, Write::Crm(_)) = (&mut item.field, &item.member, &item.write) {
                base.seen = record.get(name).cloned().unwrap_or_default();
            }
        }
    }

    /// The same of what AllAI made of what it was given.
    pub(super) fn learn_contact(&mut self, contact: &Value) {
        for item in &mut self.items {
            if let (None, Some((name, base)), Write::Allai(_)) = (&item.field, &mut item.member, &item.write)
                && let Some(member) = Member::parse(name)
            {
                base.seen = member.of(contact);
            }
        }
    }

    /// What is agreed on once that is written, or the part of it that was.
    pub(super) fn synced(&self, before: &Synced, crm_is_written: bool, allai_is_written: bool) -> Synced {
        let mut synced = Synced::default();
        for item in &self.items {
            let is_done = match item.write {
                Write::Nothing => true,
                Write::Crm(_) => crm_is_written,
                Write::Allai(_) => allai_is_written,
            };
            item.agree(&mut synced, (!is_done).then_some(before));
        }
        synced
    }

    /// What is agreed on if this was begun and it is not known what came of it. Each side is written in one request: where one value
    /// is as it was to be and was not before, all were written, and what differs by now was changed since. `is_key` tells which
    /// values prove nothing, because the record was found by them.
    pub(super) fn resolved(
        &self,
        before: &Synced,
        contact: &Value,
        record: Option<&Fields>,
        is_key: impl Fn(&Value) -> bool,
    ) -> Synced {
        let in_crm = |name: &str| record.and_then(|record| record.get(name)).cloned().unwrap_or_default();
        let crm_is_written = self.items.iter().any(|item| match (&item.write, &item.field) {
            (Write::Crm(value), Some((name, _))) => {
                let was = before.crm.get(name).is_some_and(|base| same(&base.seen, value));
                record.is_some() && !was && !is_key(value) && same(value, &in_crm(name))
            }
            _ => false,
        });
        let allai_is_written = self.items.iter().any(|item| match (&item.write, &item.member) {
            (Write::Allai(value), Some((name, _))) => {
                let was = before.allai.get(name).is_some_and(|base| same(&base.seen, value));
                let now = Member::parse(name).map(|member| member.of(contact));
                !was && now.is_some_and(|now| same(value, &now))
            }
            _ => false,
        });
        let mut synced = before.clone();
        for item in &self.items {
            let is_done = match item.write {
                Write::Nothing => false,
                Write::Crm(_) => crm_is_written,
                Write::Allai(_) => allai_is_written,
            };
            if is_done {
                item.agree(&mut synced, None);
            }
        }
        synced
    }
}

impl Item {
    /// Puts what this item agrees on into `synced`, or what was agreed on `before`.
    fn agree(&self, synced: &mut Synced, before: Option<&Synced>) {
        if let Some((name, base)) = &self.field {
            let base = before.map_or(Some(base), |before| before.crm.get(name));
            synced.crm.extend(base.map(|base| (name.clone(), base.clone())));
        }
        if let Some((name, base)) = &self.member {
            let base = before.map_or(Some(base), |before| before.allai.get(name));
            synced.allai.extend(base.map(|base| (name.clone(), base.clone())));
        }
    }
}

/// Merges a contact with its record; without one, with the record that is to be created.
pub(super) fn merge(
    mapping: &Mapping,
    contact: &Value,
    record: Option<&Fields>,
    before: &Synced,
) -> Result<Plan, Unrenderable> {
    let mut items = Vec::new();
    for rule in mapping.fields() {
        let sent = rule.template.render_contact(mapping, &rule.name, contact)?;
        let pair = mapping.pair_of(rule);
        let item = match (record, pair) {
            (None, _) => {
                let member = match pair {
                    Some(back) => {
                        let given = Fields::from([(rule.name.clone(), sent.clone())]);
                        let base = Base {
                            sent: back.template.render_record(mapping, &back.name, &given)?,
                            seen: back.member.of(contact),
                        };
                        Some((back.name.clone(), base))
                    }
                    None => None,
                };
                let base = Base {
                    sent: sent.clone(),
                    seen: sent.clone(),
                };
                Item {
                    field: Some((rule.name.clone(), base)),
                    member,
                    write: if is_empty(&sent) {
                        Write::Nothing
                    } else {
                        Write::Crm(sent)
                    },
                }
            }
            (Some(record), None) => {
                let seen = record.get(&rule.name).cloned().unwrap_or_default();
                let wins = mapping.winner() == Winner::Allai;
                let (written, base) = one_way(&sent, &seen, before.crm.get(&rule.name), wins);
                Item {
                    field: Some((rule.name.clone(), base)),
                    member: None,
                    write: if written { Write::Crm(sent) } else { Write::Nothing },
                }
            }
            (Some(record), Some(back)) => both_ways(mapping, rule, back, contact, record, before)?,
        };
        items.push(item);
    }
    for back in mapping.back().filter(|back| back.pair.is_none()) {
        let known = before.allai.get(&back.name);
        let item = match record {
            Some(record) => {
                let sent = back.template.render_record(mapping, &back.name, record)?;
                let seen = back.member.of(contact);
                let (written, base) = one_way(&sent, &seen, known, mapping.winner() == Winner::Crm);
                Item {
                    field: None,
                    member: Some((back.name.clone(), base)),
                    write: if written { Write::Allai(sent) } else { Write::Nothing },
                }
            }
            // What the CRM will give it, it will tell.
            None => continue,
        };
        items.push(item);
    }
    Ok(Plan { items })
}

/// Whether a value is to be written to the side that it goes to, and what is agreed on then.
fn one_way(from: &Value, to: &Value, before: Option<&Base>, wins: bool) -> (bool, Base) {
    let settled = || Base {
        sent: from.clone(),
        seen: to.clone(),
    };
    let written = || Base {
        sent: from.clone(),
        seen: from.clone(),
    };
    let Some(before) = before else {
        // Whoever has no value has said nothing.
        let is_written = !same(from, to) && !is_empty(from) && (is_empty(to) || wins);
        return (is_written, if is_written { written() } else { settled() });
    };
    if same(from, &before.sent) {
        return (false, before.clone());
    }
    let is_written = !same(from, to) && (wins || same(to, &before.seen));
    (is_written, if is_written { written() } else { settled() })
}

fn both_ways(
    mapping: &Mapping,
    rule: &super::mapping::FieldRule,
    back: &super::mapping::BackRule,
    contact: &Value,
    record: &Fields,
    before: &Synced,
) -> Result<Item, Unrenderable> {
    let to_crm = rule.template.render_contact(mapping, &rule.name, contact)?;
    let in_crm = record.get(&rule.name).cloned().unwrap_or_default();
    let to_allai = back.template.render_record(mapping, &back.name, record)?;
    let in_allai = back.member.of(contact);
    let bases = before.crm.get(&rule.name).zip(before.allai.get(&back.name));
    let (allai_has_changed, crm_has_changed) = match bases {
        Some((field, member)) => (!same(&to_crm, &field.sent), !same(&to_allai, &member.sent)),
        None => (!is_empty(&to_crm), !is_empty(&to_allai)),
    };
    let agree = same(&to_crm, &in_crm) || same(&to_allai, &in_allai);
    let write = match (allai_has_changed, crm_has_changed, mapping.winner()) {
        _ if agree => Write::Nothing,
        (true, false, _) | (true, true, Winner::Allai) => Write::Crm(to_crm.clone()),
        (false, true, _) | (true, true, Winner::Crm) => Write::Allai(to_allai.clone()),
        (false, false, _) => Write::Nothing,
    };
    let (field, member) = match &write {
        Write::Nothing => (
            Base {
                sent: to_crm,
                seen: in_crm,
            },
            Base {
                sent: to_allai,
                seen: in_allai,
            },
        ),
        Write::Crm(value) => {
            let mut written = record.clone();
            written.insert(rule.name.clone(), value.clone());
            let comes_back = back.template.render_record(mapping, &back.name, &written)?;
            (
                Base {
                    sent: to_crm,
                    seen: value.clone(),
                },
                Base {
                    sent: comes_back,
                    seen: in_allai,
                },
            )
        }
        Write::Allai(value) => {
            let written = back.member.set_in(contact, value);
            let comes_back = rule.template.render_contact(mapping, &rule.name, &written)?;
            (
                Base {
                    sent: comes_back,
                    seen: in_crm,
                },
                Base {
                    sent: to_allai,
                    seen: value.clone(),
                },
            )
        }
    };
    Ok(Item {
        field: Some((rule.name.clone(), field)),
        member: Some((back.name.clone(), member)),
        write,
    })
}

/// Whether nothing that goes to the CRM has changed since both sides agreed.
pub(super) fn is_settled(mapping: &Mapping, contact: &Value, synced: &Synced) -> Result<bool, Unrenderable> {
    for rule in mapping.fields() {
        let sent = rule.template.render_contact(mapping, &rule.name, contact)?;
        let is_known = match synced.crm.get(&rule.name) {
            Some(base) => same(&sent, &base.sent),
            None => is_empty(&sent),
        };
        if !is_known {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a record tells something new to AllAI.
pub(super) fn is_news(mapping: &Mapping, record: &Fields, synced: &Synced) -> Result<bool, Unrenderable> {
    for back in mapping.back() {
        let sent = back.template.render_record(mapping, &back.name, record)?;
        let is_known = match synced.allai.get(&back.name) {
            Some(base) => same(&sent, &base.sent),
            None => is_empty(&sent),
        };
        if !is_known {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
