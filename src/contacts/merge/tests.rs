use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config;

fn mapping(winner: &str) -> Mapping {
    let text = format!(
        "winner = \"{winner}\"\nfields.name = \"{{{{ contact.name }}}}\"\nfields.mail = \"{{{{ contact.email }}}}\"\n\
         fields.labels = \"{{{{ contact.tags | join(';') }}}}\"\nback.name = \"{{{{ record.name }}}}\"\n\
         back.tags = \"{{{{ record.labels | default('', true) | split(';') }}}}\"\n\
         back.\"custom_fields.owner\" = \"{{{{ record.owner }}}}\"\n"
    );
    let config: config::ContactSync = toml_edit::de::from_str(&text).unwrap();
    Mapping::new(&config).unwrap()
}

/// Both sides, and what is remembered.
#[derive(Clone, Debug)]
struct World {
    contact: Value,
    record: Option<Fields>,
    synced: Synced,
}

impl World {
    fn new(name: &str) -> Self {
        Self {
            contact: json!({"name": name, "email": "a@x.ro", "tags": ["lead"], "custom_fields": {}}),
            record: None,
            synced: Synced::default(),
        }
    }

    fn plan(&self, mapping: &Mapping) -> Plan {
        merge(mapping, &self.contact, self.record.as_ref(), &self.synced).unwrap()
    }

    /// Does what is planned, or only a part of it, and remembers it or not.
    fn apply(&mut self, mapping: &Mapping, crm: bool, allai: bool, remember: bool) -> bool {
        let plan = self.plan(mapping);
        let writes = !plan.to_crm().is_empty() || !plan.to_allai().is_empty();
        if crm {
            self.record.get_or_insert_default().extend(plan.to_crm());
        }
        if allai {
            for (name, value) in plan.to_allai() {
                self.contact = Member::parse(&name).unwrap().set_in(&self.contact, &value);
            }
        }
        self.synced = if remember {
            plan.synced(&self.synced, crm, allai)
        } else {
            // As the next run finds it.
            let before = plan.synced(&self.synced, false, false);
            plan.resolved(&before, &self.contact, self.record.as_ref(), |value| value == "a@x.ro")
        };
        writes
    }

    fn rest(&mut self, mapping: &Mapping) {
        for _ in 0..3 {
            if !self.apply(mapping, true, true, true) {
                return;
            }
        }
        panic!("no rest: {self:?}");
    }

    fn record(&self, field: &str) -> Value {
        self.record.as_ref().unwrap().get(field).cloned().unwrap_or_default()
    }
}

#[test]
fn what_one_side_has_changed_goes_to_the_other() {
    for winner in ["allai", "crm"] {
        let mapping = mapping(winner);
        let mut world = World::new("Ion");
        world.rest(&mapping);
        assert_eq!(
            (world.record("name"), world.record("labels")),
            (json!("Ion"), json!("lead"))
        );
        world.contact["name"] = json!("Ion A.");
        world.rest(&mapping);
        assert_eq!(world.record("name"), "Ion A.");
        let record = world.record.as_mut().unwrap();
        record.insert("name".to_owned(), json!("Ion C."));
        record.insert("owner".to_owned(), json!("Maria"));
        record.insert("labels".to_owned(), json!("lead;vip"));
        world.rest(&mapping);
        assert_eq!(world.contact["name"], "Ion C.");
        assert_eq!(world.contact["tags"], json!(["lead", "vip"]));
        assert_eq!(world.contact["custom_fields"]["owner"], "Maria");
        // Emptied is changed, too.
        world.record.as_mut().unwrap().insert("name".to_owned(), Value::Null);
        world.rest(&mapping);
        assert!(is_empty(&world.contact["name"]));
        world.contact["tags"] = json!([]);
        world.rest(&mapping);
        assert!(is_empty(&world.record("labels")));
    }
}

#[test]
fn where_both_have_changed_the_winner_is_right() {
    for (winner, right) in [("allai", "A"), ("crm", "C")] {
        let mapping = mapping(winner);
        let mut world = World::new("Ion");
        world.rest(&mapping);
        world.contact["name"] = json!("A");
        world.record.as_mut().unwrap().insert("name".to_owned(), json!("C"));
        world.rest(&mapping);
        assert_eq!(
            (&world.contact["name"], &world.record("name")),
            (&json!(right), &json!(right))
        );
    }
}

#[test]
fn at_first_an_empty_side_is_filled_and_the_winner_decides_the_rest() {
    for (winner, name) in [("allai", "Ion"), ("crm", "Ioan")] {
        let mapping = mapping(winner);
        let mut world = World::new("Ion");
        world.record = Some(Fields::from([("name".to_owned(), json!("Ioan"))]));
        world.rest(&mapping);
        assert_eq!(
            (&world.contact["name"], &world.record("name")),
            (&json!(name), &json!(name))
        );
        assert_eq!(world.record("mail"), "a@x.ro");
        assert_eq!(world.contact["tags"], json!(["lead"]));
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    ChangeInAllai(u8),
    ChangeInCrm(u8),
    /// A run, of which the CRM's part and AllAI's part may fail, and the outcome may be lost.
    Run(bool, bool, bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<u8>().prop_map(Step::ChangeInAllai),
        any::<u8>().prop_map(Step::ChangeInCrm),
        any::<(bool, bool, bool)>().prop_map(|(crm, allai, remember)| Step::Run(crm, allai, remember)),
    ]
}

proptest! {
    #[test]
    fn whatever_fails_both_sides_agree_and_come_to_rest(steps in proptest::collection::vec(step(), 1..24), crm_wins: bool) {
        let mapping = mapping(if crm_wins { "crm" } else { "allai" });
        let mut world = World::new("Ion");
        let (mut allai, mut crm) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::ChangeInAllai(to) => {
                    world.contact["name"] = json!(format!("A{to}"));
                    allai.push(format!("A{to}"));
                }
                Step::ChangeInCrm(to) => {
                    if let Some(record) = &mut world.record {
                        record.insert("name".to_owned(), json!(format!("C{to}")));
                        crm.push(format!("C{to}"));
                    }
                }
                Step::Run(crm, allai, remember) => {
                    world.apply(&mapping, crm, allai, remember);
                }
            }
        }
        world.rest(&mapping);
        let name = world.record("name");
        prop_assert_eq!(&world.contact["name"], &name);
        // One of the two sides' last words.
        let last: Vec<Value> = [allai.last(), crm.last()].into_iter().flatten().map(|name| json!(name)).collect();
        prop_assert!(last.is_empty() && name == "Ion" || last.contains(&name), "{} of {:?}", name, last);
        if crm.is_empty() && !allai.is_empty() {
            prop_assert_eq!(&name, &last[0]);
        }
        prop_assert!(!world.apply(&mapping, true, true, true));
    }
}
