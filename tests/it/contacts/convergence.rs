//! Random changes on both sides, with kills and lost answers in between: both sides agree in the end, on what the stated winner
//! says, without a duplicate; and then nothing is written any more.
//!
//! `ALLAI_SYNC_CONTACTS` says how many contacts there are, `ALLAI_SYNC_CONTACTS_SEED` which changes are made.

use std::collections::{BTreeMap, BTreeSet};

use allai_sync::contacts::{Options as RunOptions, Status};
use allai_sync::sandbox::ContactDraft;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use super::Office;
use super::crm::Faults;
use crate::support::database::Database;
use crate::support::{on_both_databases, size};

on_both_databases! {
    both_sides_converge_to_allais_values,
    both_sides_converge_to_the_crms_values,
}

/// What goes both ways, or only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Name,
    Phone,
    Labels,
    /// From AllAI alone.
    Email,
    Company,
    /// From the CRM alone.
    Owner,
    Stage,
}

const THINGS: [Thing; 7] = [
    Thing::Name,
    Thing::Phone,
    Thing::Labels,
    Thing::Email,
    Thing::Company,
    Thing::Owner,
    Thing::Stage,
];

impl Thing {
    const fn goes_to_crm(self) -> bool {
        !matches!(self, Self::Owner | Self::Stage)
    }

    const fn goes_to_allai(self) -> bool {
        !matches!(self, Self::Email | Self::Company)
    }

    const fn field(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Phone => "phone",
            Self::Labels => "labels",
            Self::Email => "email",
            Self::Company => "company",
            Self::Owner => "owner",
            Self::Stage => "stage",
        }
    }

    /// How it is in a contact, as the CRM would have it.
    fn of_contact(self, contact: &Value) -> Value {
        match self {
            Self::Name | Self::Phone | Self::Email => contact[self.field()].clone(),
            Self::Labels => {
                let labels = contact["tags"].as_array().unwrap();
                json!(
                    labels
                        .iter()
                        .map(|label| label.as_str().unwrap())
                        .collect::<Vec<_>>()
                        .join(";")
                )
            }
            Self::Company | Self::Owner | Self::Stage => contact["custom_fields"][self.field()].clone(),
        }
    }

    /// A value that nothing ever had.
    fn new_value(self, number: u64) -> String {
        match self {
            Self::Name => format!("Name {number}"),
            Self::Phone => format!("+4073{number:07}"),
            Self::Labels => format!("lead;l{number}"),
            Self::Email => format!("changed{number}@exemplu.ro"),
            Self::Company => format!("Company {number} SRL"),
            Self::Owner => format!("Owner {number}"),
            Self::Stage => format!("stage-{number}"),
        }
    }
}

/// What was changed since both sides were at rest.
#[derive(Clone, Debug, Default)]
struct Edits {
    allai: Option<String>,
    crm: Option<String>,
    /// Whether a run was between changes of both sides: then either may be the later one.
    apart: bool,
}

struct Drill {
    office: Office,
    rng: StdRng,
    number: u64,
    edits: BTreeMap<(String, Thing), Edits>,
    /// The contacts that are alone in having their address.
    unique: BTreeSet<String>,
    /// Those whom the CRM knew before: until they are matched, who wins is another question.
    entered: BTreeSet<String>,
    runs_since_rest: bool,
    deaths: u64,
    crm_wins: bool,
}

async fn both_sides_converge_to_allais_values(database: Database) {
    drill(database, false).await;
}

async fn both_sides_converge_to_the_crms_values(database: Database) {
    drill(database, true).await;
}

async fn drill(database: Database, crm_wins: bool) {
    let contacts = size("ALLAI_SYNC_CONTACTS", 120);
    let seed = size("ALLAI_SYNC_CONTACTS_SEED", 11) as u64;
    let winner = if crm_wins { "crm" } else { "allai" };
    let office = Office::open(database, &format!("winner = \"{winner}\"\n")).await;
    office.synced().await;
    let mut drill = Drill {
        office,
        rng: StdRng::seed_from_u64(seed),
        number: 0,
        edits: BTreeMap::new(),
        unique: BTreeSet::new(),
        entered: BTreeSet::new(),
        runs_since_rest: false,
        deaths: 0,
        crm_wins,
    };
    drill.fill(contacts);
    // The first time, with faults from the beginning: what is being created changes what it is found by.
    drill.chaos(contacts, true).await;
    drill.rest().await;
    let rounds = if contacts > 1_000 { 3 } else { 6 };
    for round in 0..rounds {
        let edits = (contacts / 10).max(12);
        drill.change(edits);
        if round % 2 == 1 {
            drill.arrive(contacts / 50 + 1);
        }
        drill.chaos(edits, round % 3 == 2).await;
        drill.rest().await;
    }
    assert!(drill.deaths >= 5, "only {} deaths", drill.deaths);
    let links = "SELECT count(*) FROM crm_links WHERE intent IS NOT NULL OR dirty";
    assert_eq!(drill.office.mirror.database.value(links).await, "0");
    tell(&format!(
        "{contacts} contacts, {} deaths, {} calls of the CRM, writes {:?}",
        drill.deaths,
        drill.office.crm.counts().0,
        drill.office.writes()
    ));
}

/// Says what a run was of, with `--nocapture`.
#[expect(clippy::print_stdout, reason = "who runs it for long wants to know how long it was")]
fn tell(text: &str) {
    println!("{text}");
}

impl Drill {
    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Contacts, some of which the CRM has already, and some of which are the same person.
    fn fill(&mut self, contacts: usize) {
        for at in 0..contacts {
            let (email, phone) = (format!("c{at}@exemplu.ro"), format!("0722{at:06}"));
            if at % 10 == 3 {
                let known = json!({"name": format!("Name of {at}"), "email": email, "owner": "Maria", "stage": "new"});
                self.office.crm.enter(known);
            }
            let id = self
                .office
                .contact(&format!("Name of {at}"), Some(&email), Some(&phone));
            if at % 10 == 3 {
                self.entered.insert(id.clone());
            }
            self.unique.insert(id);
        }
        for at in 0..=contacts / 50 {
            let again = format!("C{at}@exemplu.ro");
            self.office.contact(&format!("Again {at}"), Some(&again), None);
        }
        // Whichever of them comes first is the record.
        let mut by_email: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (id, contact) in self.office.contacts() {
            let email = contact["email"].as_str().unwrap().to_lowercase();
            by_email.entry(email).or_default().push(id);
        }
        for ids in by_email.values().filter(|ids| ids.len() > 1) {
            for id in ids {
                self.unique.remove(id);
            }
        }
    }

    fn arrive(&mut self, contacts: usize) {
        for _ in 0..contacts {
            let number = self.next();
            let email = format!("new{number}@exemplu.ro");
            let id = self.office.contact(&format!("New {number}"), Some(&email), None);
            self.unique.insert(id);
        }
    }

    /// The record of each contact that has one.
    fn records(&self) -> BTreeMap<String, (String, allai_connectors::Fields)> {
        let note = |fields: &allai_connectors::Fields| {
            fields["note"]
                .as_str()
                .and_then(|note| note.strip_prefix("AllAI "))
                .map(str::to_owned)
        };
        let records = self.office.crm.records().into_iter();
        records
            .filter_map(|(id, fields)| Some((note(&fields)?, (id, fields))))
            .collect()
    }

    /// People change things on both sides, often the same.
    fn change(&mut self, edits: usize) {
        let (records, contacts) = (self.records(), self.office.contacts());
        let ids: Vec<String> = self.unique.iter().cloned().collect();
        for _ in 0..edits {
            let id = ids[self.rng.random_range(0..ids.len())].clone();
            let thing = THINGS[self.rng.random_range(0..THINGS.len())];
            let both = self.rng.random_bool(0.4);
            if self.entered.contains(&id) && !records.contains_key(&id) {
                continue;
            }
            let from_allai = thing.goes_to_crm() && (both || !thing.goes_to_allai() || self.rng.random_bool(0.5));
            if from_allai {
                self.change_in_allai(&id, &contacts[&id], thing);
            }
            if let Some((record, _)) = records.get(&id)
                && thing.goes_to_allai()
                && (both || !from_allai)
            {
                self.change_in_crm(&id, record, thing);
            }
        }
    }

    fn change_in_allai(&mut self, id: &str, contact: &Value, thing: Thing) {
        let value = thing.new_value(self.next());
        let mut draft = ContactDraft::default();
        match thing {
            Thing::Name => draft.name = Some(value.clone()),
            Thing::Phone => draft.phone = Some(value.clone()),
            Thing::Email => draft.email = Some(value.clone()),
            Thing::Labels => draft.tags = Some(value.split(';').map(str::to_owned).collect()),
            Thing::Company | Thing::Owner | Thing::Stage => {
                let mut members = contact["custom_fields"].clone();
                members[thing.field()] = json!(value);
                draft.custom_fields = Some(members);
            }
        }
        assert!(self.office.mirror.sandbox.account().update_contact(id, draft));
        let apart = self.runs_since_rest;
        let edits = self.edits.entry((id.to_owned(), thing)).or_default();
        edits.apart |= apart && edits.crm.is_some();
        edits.allai = Some(value);
    }

    fn change_in_crm(&mut self, id: &str, record: &str, thing: Thing) {
        let value = thing.new_value(self.next());
        self.office.crm.edit(record, thing.field(), json!(value));
        let apart = self.runs_since_rest;
        let edits = self.edits.entry((id.to_owned(), thing)).or_default();
        edits.apart |= apart && edits.allai.is_some();
        edits.crm = Some(value);
    }

    /// Runs that die, and systems that fail; with changes in between if `goes_on`.
    async fn chaos(&mut self, size: usize, goes_on: bool) {
        for attempt in 0..6 {
            self.office.mirror.sync().await;
            let most = size.max(10) as u64;
            let faults = Faults {
                away: if attempt % 2 == 0 { 0.02 } else { 0.0 },
                lost: 0.1,
            };
            self.office.crm.set_faults(faults);
            self.office
                .mirror
                .sandbox
                .set_options(|options| options.faults.reset_rate = 0.05);
            let (polls, calls) = if self.rng.random_bool(0.5) {
                (self.rng.random_range(1..most * 8), None)
            } else {
                (u64::MAX, Some(self.rng.random_range(1..most)))
            };
            self.office.crm.kill_in(calls);
            self.deaths += u64::from(self.office.run_and_die(polls).await.is_none());
            self.runs_since_rest = true;
            self.office.crm.kill_in(None);
            self.office
                .mirror
                .sandbox
                .set_options(|options| options.faults.reset_rate = 0.0);
            if goes_on {
                self.change(size / 4);
            }
        }
        self.office.crm.set_faults(Faults::default());
    }

    /// Lets both sides come to rest, and looks whether all is well.
    async fn rest(&mut self) {
        let mut runs = 0;
        loop {
            let before = self.office.writes();
            let report = self.office.sync().await;
            assert_eq!(
                (report.status, report.held, report.put_off),
                (Status::Complete, 0, 0),
                "{report:?}"
            );
            if self.office.writes() == before {
                break;
            }
            runs += 1;
            assert!(runs < 6, "it does not come to rest: {report:?}");
        }
        let writes = self.office.writes();
        self.office.mirror.full_sync().await;
        for _ in 0..2 {
            let report = self.office.sync().await;
            assert_eq!(report.status, Status::Complete, "{report:?}");
        }
        assert_eq!(self.office.writes(), writes, "it plays ping-pong");
        self.check();
        self.edits.clear();
        self.runs_since_rest = false;
    }

    fn check(&self) {
        let contacts = self.office.contacts();
        let all = self.office.crm.records();
        let emails: BTreeSet<String> = contacts
            .values()
            .map(|contact| contact["email"].as_str().unwrap().to_lowercase())
            .collect();
        let of_records: Vec<&str> = all.values().map(|fields| fields["email"].as_str().unwrap()).collect();
        let distinct: BTreeSet<String> = of_records.iter().map(|email| (*email).to_owned()).collect();
        assert_eq!(of_records.len(), distinct.len(), "two records have the same address");
        let stray: Vec<_> = all
            .iter()
            .filter(|(_, fields)| !emails.contains(fields["email"].as_str().unwrap()))
            .collect();
        let missing: Vec<&String> = emails.difference(&distinct).collect();
        assert!(
            stray.is_empty() && missing.is_empty(),
            "every person is there, once: not {missing:?}, but {stray:?}; {:?}",
            self.edits
        );
        let records = self.records();
        for id in &self.unique {
            let contact = &contacts[id];
            let (_, record) = records.get(id).unwrap_or_else(|| panic!("{id} has no record"));
            for thing in THINGS {
                let (in_allai, in_crm) = (thing.of_contact(contact), record[thing.field()].clone());
                let in_allai = match (thing, in_allai.as_str()) {
                    // The CRM has it as E.164.
                    (Thing::Phone, Some(phone)) if phone.starts_with('0') => json!(format!("+4{phone}")),
                    _ => in_allai,
                };
                assert_eq!(in_allai, in_crm, "{id} {thing:?}: {contact} {record:?}");
                let Some(edits) = self.edits.get(&(id.clone(), thing)) else {
                    continue;
                };
                let told = in_crm.as_str().unwrap();
                let right: Vec<&str> = match (&edits.allai, &edits.crm) {
                    (Some(allai), Some(crm)) if edits.apart => vec![allai, crm],
                    (Some(_), Some(crm)) if self.crm_wins => vec![crm],
                    (Some(allai), _) => vec![allai],
                    (None, Some(crm)) => vec![crm],
                    (None, None) => continue,
                };
                assert!(right.contains(&told), "{id} {thing:?} is {told}, after {edits:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_once_do_not_both_write() {
    let office = Office::open(Database::sqlite(), "").await;
    office.synced().await;
    for at in 0..40 {
        office.contact(&format!("C {at}"), Some(&format!("c{at}@exemplu.ro")), None);
    }
    office.mirror.sync().await;
    let run = || office.run_with(RunOptions::default());
    let (one, two) = tokio::join!(run(), run());
    let created = one.created + two.created;
    assert_eq!((created, office.crm.records().len()), (40, 40), "{one:?} {two:?}");
    let refused = [&one, &two].into_iter().find(|report| report.status == Status::Failed);
    if let Some(refused) = refused {
        assert!(
            refused
                .error
                .as_ref()
                .unwrap()
                .contains("is syncing these contacts just now")
        );
    }
}
