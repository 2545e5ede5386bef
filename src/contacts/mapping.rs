//! What of a contact is what in the CRM: templates, checked once and rendered for each contact.
//!
//! A template that is one `{{ expression }}` gives the value as it is, a list of labels for one; any other gives text. A CRM's field and
//! a contact's member whose templates read nothing but each other are the same value, kept in both places; any other circle would
//! never come to rest, and is refused.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use allai_connectors::{Field, Fields};
use minijinja::value::{Serde, Value as Rendered};
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use phonenumber::country::Id as Region;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::keys::{self, KeyKind};
use super::merge::Winner;
use crate::config::{self, Misfit};
use crate::templates::{evaluated, sole_expression};

/// What templates can read of a contact.
const MEMBERS: [&str; 8] = [
    "id",
    "name",
    "email",
    "phone",
    "tags",
    "custom_fields",
    "created_at",
    "updated_at",
];
/// The start of the names of the account's own members.
const CUSTOM: &str = "custom_fields.";

/// A template that cannot be rendered for one contact or record. Says nothing of what is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the template of {key} cannot be rendered: {problem}")]
pub(super) struct Unrenderable {
    key: String,
    problem: String,
}

/// The mapping of one section.
#[derive(Debug)]
pub struct Mapping {
    environment: Environment<'static>,
    fields: Vec<FieldRule>,
    back: Vec<BackRule>,
    filter: Option<String>,
    keys: Vec<KeyKind>,
    region: Region,
    winner: Winner,
    hash: String,
}

/// What a field of the CRM is made of.
#[derive(Debug)]
pub(super) struct FieldRule {
    pub(super) name: String,
    pub(super) template: Template,
    /// The member that is the same, by its place in `back`.
    pair: Option<usize>,
}

/// What a member of a contact is made of.
#[derive(Debug)]
pub(super) struct BackRule {
    pub(super) name: String,
    pub(super) member: Member,
    pub(super) template: Template,
    /// The field that is the same, by its place in `fields`.
    pub(super) pair: Option<usize>,
}

/// A member of a contact that can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Member {
    Name,
    Email,
    Phone,
    Tags,
    Custom(String),
}

impl Member {
    /// The member of this name, if there is one.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "name" => Self::Name,
            "email" => Self::Email,
            "phone" => Self::Phone,
            "tags" => Self::Tags,
            name => Self::Custom(name.strip_prefix(CUSTOM).filter(|name| !name.is_empty())?.to_owned()),
        })
    }

    fn path(&self) -> String {
        match self {
            Self::Name => "contact.name".to_owned(),
            Self::Email => "contact.email".to_owned(),
            Self::Phone => "contact.phone".to_owned(),
            Self::Tags => "contact.tags".to_owned(),
            Self::Custom(name) => format!("contact.{CUSTOM}{name}"),
        }
    }

    /// Its value.
    pub(super) fn of(&self, contact: &Value) -> Value {
        match self {
            Self::Name => contact["name"].clone(),
            Self::Email => contact["email"].clone(),
            Self::Phone => contact["phone"].clone(),
            Self::Tags => contact["tags"].clone(),
            Self::Custom(name) => contact["custom_fields"][name.as_str()].clone(),
        }
    }

    /// The contact with another value.
    pub(super) fn set_in(&self, contact: &Value, value: &Value) -> Value {
        let mut contact = contact.clone();
        let (name, value) = match self {
            Self::Name => ("name", value.clone()),
            Self::Email => ("email", value.clone()),
            Self::Phone => ("phone", value.clone()),
            Self::Tags => ("tags", value.clone()),
            Self::Custom(name) => {
                let mut members = contact["custom_fields"].as_object().cloned().unwrap_or_default();
                members.insert(name.clone(), value.clone());
                ("custom_fields", Value::Object(members))
            }
        };
        if let Some(contact) = contact.as_object_mut() {
            contact.insert(name.to_owned(), value);
        }
        contact
    }
}

/// A template, as it was written.
#[derive(Debug)]
pub(super) enum Template {
    /// One expression, whose value is given as it is.
    Value(String),
    /// Anything else, which gives a text.
    Text(String),
}

impl Template {
    fn new(source: &str) -> Self {
        match sole_expression(source) {
            Some(expression) => Self::Value(expression.to_owned()),
            None => Self::Text(source.to_owned()),
        }
    }

    /// What it reads, as `contact.name`. A text was added to the environment under `key`.
    fn reads(&self, environment: &Environment<'static>, key: &str) -> Result<HashSet<String>, minijinja::Error> {
        Ok(match self {
            Self::Value(source) => environment
                .compile_expression_owned(source.clone())?
                .undeclared_variables(true),
            Self::Text(_) => environment.get_template(key)?.undeclared_variables(true),
        })
    }

    /// What it gives for a contact.
    pub(super) fn render_contact(&self, mapping: &Mapping, name: &str, contact: &Value) -> Result<Value, Unrenderable> {
        self.render(mapping, &format!("fields.{name}"), &json!({ "contact": contact }))
    }

    /// What it gives for a record.
    pub(super) fn render_record(&self, mapping: &Mapping, name: &str, record: &Fields) -> Result<Value, Unrenderable> {
        self.render(mapping, &format!("back.{name}"), &json!({ "record": record }))
    }

    fn render(&self, mapping: &Mapping, key: &str, context: &Value) -> Result<Value, Unrenderable> {
        let environment = &mapping.environment;
        let rendered = match self {
            Self::Value(source) => evaluated(environment, source, context),
            Self::Text(_) => environment
                .get_template(key)
                .and_then(|template| template.render(Rendered::from(Serde(context))))
                .map(Value::String),
        };
        rendered.map_err(|error| Unrenderable {
            key: key.to_owned(),
            problem: error.kind().to_string(),
        })
    }
}

impl Mapping {
    /// Checks and prepares what a section says.
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub fn new(config: &config::ContactSync) -> Result<Self, Vec<Misfit>> {
        let mut misfits = Vec::new();
        let mut wrong = |key: &[&str], problem: String, remedy: &'static str| {
            misfits.push(Misfit::new(key, problem, remedy));
        };
        let region = config
            .default_region
            .to_uppercase()
            .parse::<Region>()
            .unwrap_or_else(|_| {
                let remedy = "write the two letters of a country, e.g. default_region = \"RO\"";
                wrong(&["default_region"], "not a country".to_owned(), remedy);
                Region::RO
            });
        if config.key.is_empty() {
            let remedy = "write e.g. key = [\"email\", \"phone\"]";
            wrong(&["key"], "names nothing that contacts are known by".to_owned(), remedy);
        }
        if config.fields.is_empty() {
            let remedy = "write e.g. fields = { name = \"{{ contact.name }}\" }";
            wrong(&["fields"], "maps no field".to_owned(), remedy);
        }
        let mut environment = environment(region);
        let mut read = Reading {
            environment: &mut environment,
            wrong: &mut wrong,
        };
        let (mut fields, mut back) = (Vec::new(), Vec::new());
        let (mut fields_read, mut back_read) = (Vec::new(), Vec::new());
        for (name, source) in &config.fields {
            let (template, reads) = read.template("fields", name, source, "contact", &MEMBERS);
            fields_read.push(reads);
            fields.push(FieldRule {
                name: name.clone(),
                template,
                pair: None,
            });
        }
        for (name, source) in &config.back {
            let Some(member) = Member::parse(name) else {
                let remedy = "there are name, email, phone, tags and, in quotes, \"custom_fields.NAME\"";
                (read.wrong)(
                    &["back", name],
                    "not a member of a contact that can be written".to_owned(),
                    remedy,
                );
                continue;
            };
            let (template, reads) = read.template("back", name, source, "record", &[]);
            back_read.push(reads);
            back.push(BackRule {
                name: name.clone(),
                member,
                template,
                pair: None,
            });
        }
        if let Some(filter) = &config.filter {
            read.filter(filter);
        }
        pair(&mut fields, &fields_read, &mut back, &back_read);
        if let Some(at) = circle(&fields, &fields_read, &back, &back_read) {
            let problem = "what it reads depends on what it writes: it would never come to rest".to_owned();
            let remedy = "have the member and the CRM's field read each other and nothing else, or remove one of them";
            wrong(&["back", &back[at].name], problem, remedy);
        }
        if !misfits.is_empty() {
            return Err(misfits);
        }
        let hash = Sha256::digest(
            json!([
                config.fields,
                config.back,
                config.filter,
                config.key,
                config.default_region,
                config.winner
            ])
            .to_string(),
        );
        Ok(Self {
            environment,
            fields,
            back,
            filter: config.filter.clone(),
            keys: config.key.clone(),
            region,
            winner: config.winner,
            hash: hex::encode(&hash[..16]),
        })
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = &FieldRule> {
        self.fields.iter()
    }

    pub(super) fn back(&self) -> impl Iterator<Item = &BackRule> {
        self.back.iter()
    }

    /// The member that is the same as a field.
    pub(super) fn pair_of(&self, rule: &FieldRule) -> Option<&BackRule> {
        self.back.get(rule.pair?)
    }

    pub(super) const fn winner(&self) -> Winner {
        self.winner
    }

    pub(super) fn keys(&self) -> &[KeyKind] {
        &self.keys
    }

    pub(super) const fn region(&self) -> Region {
        self.region
    }

    /// Tells one mapping from another.
    pub(super) fn hash(&self) -> &str {
        &self.hash
    }

    /// Whether anything goes from the CRM to AllAI.
    pub(super) const fn reads_records(&self) -> bool {
        !self.back.is_empty()
    }

    /// Whether a contact is to be in the CRM.
    pub(super) fn wants(&self, contact: &Value) -> Result<bool, Unrenderable> {
        let Some(filter) = &self.filter else { return Ok(true) };
        let context = Rendered::from(Serde(json!({ "contact": contact })));
        let expression = self.environment.compile_expression_owned(filter.clone());
        let wanted = expression.and_then(|expression| expression.eval(context));
        wanted.map(|wanted| wanted.is_true()).map_err(|error| Unrenderable {
            key: "filter".to_owned(),
            problem: error.kind().to_string(),
        })
    }

    /// Compares the mapping with the fields that a CRM has.
    pub(super) fn compare(&self, known: &[Field]) -> Result<String, Vec<String>> {
        let known: BTreeMap<&str, &Field> = known.iter().map(|field| (field.name.as_str(), field)).collect();
        let mut problems = Vec::new();
        let missing = |name: &str| {
            let nearest = known
                .keys()
                .map(|other| (strsim::jaro_winkler(name, other), *other))
                .filter(|(likeness, _)| *likeness > 0.8)
                .max_by(|a, b| a.0.total_cmp(&b.0));
            nearest.map_or_else(String::new, |(_, near)| format!("; did you mean {near}?"))
        };
        for rule in &self.fields {
            match known.get(rule.name.as_str()) {
                None => problems.push(format!(
                    "fields.{0}: the CRM has no field {0}{1}",
                    rule.name,
                    missing(&rule.name)
                )),
                Some(field) if field.read_only => {
                    problems.push(format!("fields.{}: the field can only be read; remove it", rule.name));
                }
                Some(_) => {}
            }
        }
        for back in &self.back {
            let reads = back.template.reads(&self.environment, &format!("back.{}", back.name));
            for read in reads.unwrap_or_default() {
                let name = read.split('.').nth(1).unwrap_or_default();
                if !name.is_empty() && !known.contains_key(name) {
                    problems.push(format!(
                        "back.{}: the CRM has no field {name}{}",
                        back.name,
                        missing(name)
                    ));
                }
            }
        }
        let required = known.values().filter(|field| field.required);
        let unmapped: Vec<&str> = required
            .map(|field| field.name.as_str())
            .filter(|name| !self.fields.iter().any(|rule| rule.name == *name))
            .collect();
        if !problems.is_empty() {
            return Err(problems);
        }
        let note = if unmapped.is_empty() {
            String::new()
        } else {
            format!(
                "; the CRM wants {} too, where it has no value of its own",
                unmapped.join(", ")
            )
        };
        let both = self.fields.iter().filter(|rule| rule.pair.is_some()).count();
        Ok(format!(
            "{} fields to the CRM and {} back exist there, {both} of them both ways{note}",
            self.fields.len(),
            self.back.len()
        ))
    }
}

fn environment(region: Region) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.add_filter("e164", move |value: &Rendered| {
        value.as_str().and_then(|text| keys::phone(text, region))
    });
    environment
}

/// Reading the templates of a section.
struct Reading<'a> {
    environment: &'a mut Environment<'static>,
    wrong: &'a mut dyn FnMut(&[&str], String, &'static str),
}

impl Reading<'_> {
    /// A template, and what it reads. It may read members of `root` alone, of those that are `known`, if any are.
    fn template(
        &mut self,
        table: &str,
        name: &str,
        source: &str,
        root: &str,
        known: &[&str],
    ) -> (Template, HashSet<String>) {
        let key = format!("{table}.{name}");
        let template = Template::new(source);
        let added = match &template {
            Template::Value(_) => Ok(()),
            Template::Text(source) => self.environment.add_template_owned(key.clone(), source.clone()),
        };
        let reads = added.and_then(|()| template.reads(self.environment, &key));
        let reads = self.checked(&[table, name], reads, root, known);
        (template, reads)
    }

    fn filter(&mut self, source: &str) {
        let expression = self.environment.compile_expression_owned(source.to_owned());
        let reads = expression.map(|expression| expression.undeclared_variables(true));
        self.checked(&["filter"], reads, "contact", &MEMBERS);
    }

    fn checked(
        &mut self,
        key: &[&str],
        reads: Result<HashSet<String>, minijinja::Error>,
        root: &str,
        known: &[&str],
    ) -> HashSet<String> {
        // No message repeats what is written there: it may be a secret in the wrong place.
        let reads = reads.unwrap_or_else(|error| {
            let problem = format!("not a template: {}", error.kind());
            (self.wrong)(key, problem, "write e.g. \"{{ contact.name }}\"");
            HashSet::new()
        });
        for read in &reads {
            let mut parts = read.split('.');
            let (first, member) = (parts.next().unwrap_or_default(), parts.next());
            if first != root {
                let remedy = if root == "contact" {
                    "it can read contact.name, contact.email, contact.phone, contact.tags, contact.custom_fields.NAME"
                } else {
                    "it can read the fields of the CRM's record, e.g. record.owner"
                };
                (self.wrong)(key, format!("reads something else than {root}"), remedy);
            } else if member.is_some_and(|member| !known.is_empty() && !known.contains(&member)) {
                let remedy = "contacts have id, name, email, phone, tags, custom_fields, created_at and updated_at";
                (self.wrong)(key, "reads a member that contacts have not".to_owned(), remedy);
            }
        }
        reads
    }
}

/// Finds the fields and members that are the same.
fn pair(
    fields: &mut [FieldRule],
    fields_read: &[HashSet<String>],
    back: &mut [BackRule],
    back_read: &[HashSet<String>],
) {
    let only = |reads: &HashSet<String>, path: &str| reads.len() == 1 && reads.contains(path);
    for (at, rule) in fields.iter_mut().enumerate() {
        let path = format!("record.{}", rule.name);
        let found = back.iter().enumerate().position(|(other, back)| {
            back.pair.is_none() && only(&back_read[other], &path) && only(&fields_read[at], &back.member.path())
        });
        if let Some(other) = found {
            rule.pair = Some(other);
            back[other].pair = Some(at);
        }
    }
}

/// A member, by its place in `back`, that depends on itself otherwise than by its own field.
fn circle(
    fields: &[FieldRule],
    fields_read: &[HashSet<String>],
    back: &[BackRule],
    back_read: &[HashSet<String>],
) -> Option<usize> {
    // Reading `contact.tags[0]` may be told as reading `contact`.
    let touches = |read: &str, path: &str| {
        let within = |a: &str, b: &str| a == b || a.strip_prefix(b).is_some_and(|rest| rest.starts_with('.'));
        within(read, path) || within(path, read)
    };
    let reads = |reads: &HashSet<String>, path: &str| reads.iter().any(|read| touches(read, path));
    // From each member, over the fields that read it, to the members that read those. A pair counts as one.
    let next = |from: usize| {
        let through = fields
            .iter()
            .enumerate()
            .filter(move |(at, rule)| rule.pair == Some(from) || reads(&fields_read[*at], &back[from].member.path()));
        through.flat_map(move |(_, rule)| {
            let path = format!("record.{}", rule.name);
            let own = rule.pair;
            (0..back.len()).filter(move |&to| reads(&back_read[to], &path) && !(own == Some(to) && to == from))
        })
    };
    (0..back.len()).find(|&start| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![start]);
        while let Some(at) = open.pop() {
            for to in next(at) {
                if to == start {
                    return true;
                }
                if seen.insert(to) {
                    open.push(to);
                }
            }
        }
        false
    })
}

#[cfg(test)]
mod tests;
