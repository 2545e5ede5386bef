//! How an account's subscription at AllAI stands beside the one that the configuration wants.
//!
//! Where AllAI lists its subscriptions, the list decides. Of the secret, which it does not tell, and without a list of
//! everything, what this warehouse remembers of the last registration decides.

use std::collections::BTreeSet;

use secrecy::SecretString;
use serde::Serialize;
use url::Url;

use super::KNOWN_EVENTS;
use crate::allai::{self, Client, NewWebhook, Webhook, signature};
use crate::config::Config;
use crate::warehouse::Subscription;

/// What is signed with a secret to know it again; no webhook's body is that.
const REMEMBERED: &[u8] = b"the secret that a webhook of allai-sync was registered with";
/// What stands for every event in some APIs.
const EVERY: [&str; 2] = ["*", "all"];

/// The subscription that the configuration wants for an account.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The account's name in the configuration.
    pub account: String,
    /// Where events are to be sent.
    pub url: Url,
    /// Which events, in order.
    pub events: Vec<String>,
    secret: SecretString,
}

impl Wanted {
    /// `None` if the account accepts no webhooks, or nothing says where AllAI reaches the listener.
    pub fn of(config: &Config, account: &str) -> Option<Self> {
        let webhook = config.accounts.get(account)?.webhook.as_ref()?;
        let events: BTreeSet<String> = if webhook.events.is_empty() {
            KNOWN_EVENTS.map(str::to_owned).into()
        } else {
            webhook.events.iter().cloned().collect()
        };
        Some(Self {
            account: account.to_owned(),
            url: config.webhooks.as_ref()?.url_of(account)?,
            events: events.into_iter().collect(),
            secret: webhook.secret.as_ref()?.expose().into(),
        })
    }

    pub(super) fn new_webhook(&self) -> NewWebhook {
        NewWebhook {
            url: self.url.clone(),
            events: self.events.clone(),
            secret: self.secret.clone(),
        }
    }

    /// Tells whether a secret is still the same, and nothing else of one that cannot be guessed.
    pub(super) fn secret_digest(&self) -> String {
        signature::sign(&self.secret, REMEMBERED)
    }

    /// Whether this is the wanted address, however it is written.
    pub fn is_at(&self, url: &str) -> bool {
        // The case of the host, and a port that goes without saying, are the parser's to settle.
        let place = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
        Url::parse(url).is_ok_and(|url| place(&url) == place(&self.url))
    }

    fn has_events(&self, events: &[String]) -> bool {
        let are: BTreeSet<&str> = events.iter().map(String::as_str).collect();
        let wanted: BTreeSet<&str> = self.events.iter().map(String::as_str).collect();
        are == wanted || (wanted == BTreeSet::from(KNOWN_EVENTS) && are.iter().any(|name| EVERY.contains(name)))
    }
}

/// What AllAI says of its subscriptions.
#[derive(Clone, Debug)]
pub enum Listed {
    /// These are all.
    All(Vec<Webhook>),
    /// It does not list them.
    NotOffered,
    /// It does not list them to this key.
    Forbidden,
}

/// In what a subscription is not what the configuration wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Drift {
    /// There is none.
    Missing,
    /// It is for another address.
    Elsewhere,
    /// It is switched off.
    Inactive,
    /// It is for other events.
    Events {
        /// Those it is for.
        has: Vec<String>,
    },
    /// It was registered with another secret.
    Secret,
    /// It was not registered from here, so its secret is not known.
    Unknown,
    /// There are several, and every event comes as often.
    Several {
        /// How many.
        count: usize,
    },
}

impl Drift {
    /// For people.
    pub fn describe(&self) -> String {
        let text = match self {
            Self::Missing => "there is no subscription for this address",
            Self::Elsewhere => "the subscription is for another address",
            Self::Inactive => "AllAI has switched the subscription off",
            Self::Events { has } => return format!("the subscription is for other events ({})", has.join(", ")),
            Self::Secret => "the subscription was registered with another secret",
            Self::Unknown => {
                "nothing was registered from this warehouse, so which secret the subscription has is not known"
            }
            Self::Several { count } => {
                return format!(
                    "there are {count} subscriptions, so every event comes {count} times; those that registering cannot remove are \
                     removed in AllAI's dashboard"
                );
            }
        };
        text.to_owned()
    }
}

/// How the subscription of an account stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// What AllAI has.
    pub listed: Listed,
    /// What this warehouse remembers.
    pub remembered: Option<Subscription>,
    /// In what it is not what is wanted; empty: in nothing.
    pub drift: Vec<Drift>,
    /// The subscriptions that AllAI sends this account's events by, the best one first.
    pub(super) existing: Vec<Existing>,
}

/// A subscription that there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Existing {
    pub(super) id: Option<String>,
    pub(super) is_off: bool,
}

impl Listed {
    /// Asks AllAI. A list in which no address can be found says nothing, and counts as none.
    pub async fn by(client: &Client) -> Result<Self, allai::Error> {
        match client.webhooks().await {
            Ok(all) if !all.is_empty() && all.iter().all(|webhook| webhook.url.is_none()) => Ok(Self::NotOffered),
            Ok(all) => Ok(Self::All(all)),
            Err(error) if error.is_not_offered() => Ok(Self::NotOffered),
            Err(allai::Error::Forbidden { .. }) => Ok(Self::Forbidden),
            Err(error) => Err(error),
        }
    }
}

impl Standing {
    /// Compares what AllAI has, and what the warehouse remembers, with what is wanted.
    pub fn of(listed: Listed, wanted: &Wanted, remembered: Option<Subscription>) -> Self {
        let (drift, existing) = match (&listed, &remembered) {
            (Listed::All(all), _) => judge_list(all, wanted, remembered.as_ref()),
            (Listed::NotOffered | Listed::Forbidden, Some(known)) => judge_memory(wanted, known),
            (Listed::NotOffered, None) => (vec![Drift::Missing], Vec::new()),
            (Listed::Forbidden, None) => (vec![Drift::Unknown], Vec::new()),
        };
        Self {
            listed,
            remembered,
            drift,
            existing,
        }
    }

    /// Whether a list was judged, and not what this warehouse remembers.
    pub const fn is_listed(&self) -> bool {
        matches!(self.listed, Listed::All(_))
    }

    /// Whether a webhook of the list is this account's: for its address, or registered from here for another.
    pub fn is_ours(&self, webhook: &Webhook, wanted: &Wanted) -> bool {
        is_ours(webhook, wanted, self.remembered.as_ref())
    }
}

fn is_ours(webhook: &Webhook, wanted: &Wanted, remembered: Option<&Subscription>) -> bool {
    let is_known = |known: &Subscription| webhook.id.is_some() && webhook.id == known.webhook_id;
    webhook.url.as_deref().is_some_and(|url| wanted.is_at(url)) || remembered.is_some_and(is_known)
}

fn judge_list(all: &[Webhook], wanted: &Wanted, remembered: Option<&Subscription>) -> (Vec<Drift>, Vec<Existing>) {
    let ours = all.iter().filter(|webhook| is_ours(webhook, wanted, remembered));
    let mut ours: Vec<(Vec<Drift>, &Webhook)> = ours
        .map(|webhook| (differences(webhook, wanted, remembered), webhook))
        .collect();
    // Of two as good, the one that is known.
    ours.sort_by_key(|(drift, _)| (drift.len(), drift.iter().any(|drift| matches!(drift, Drift::Unknown))));
    let mut drift = match ours.first() {
        None => vec![Drift::Missing],
        Some((drift, _)) => drift.clone(),
    };
    if ours.len() > 1 {
        drift.push(Drift::Several { count: ours.len() });
    }
    let existing = ours.into_iter().map(|(_, webhook)| Existing {
        id: webhook.id.clone(),
        is_off: webhook.active == Some(false),
    });
    (drift, existing.collect())
}

fn differences(webhook: &Webhook, wanted: &Wanted, remembered: Option<&Subscription>) -> Vec<Drift> {
    let may_be_it = |known: &&Subscription| {
        wanted.is_at(&known.url) && (webhook.id.is_none() || known.webhook_id.is_none())
            || webhook.id.is_some() && webhook.id == known.webhook_id
    };
    let known = remembered.filter(may_be_it);
    let mut drift = Vec::new();
    if !webhook.url.as_deref().is_some_and(|url| wanted.is_at(url)) {
        drift.push(Drift::Elsewhere);
    }
    if webhook.active == Some(false) {
        drift.push(Drift::Inactive);
    }
    match webhook.events.as_ref().or(known.map(|known| &known.events)) {
        Some(events) if !wanted.has_events(events) => drift.push(Drift::Events { has: events.clone() }),
        _ => {}
    }
    match known {
        None => drift.push(Drift::Unknown),
        Some(known) if known.secret_digest != wanted.secret_digest() => drift.push(Drift::Secret),
        Some(_) => {}
    }
    drift
}

fn judge_memory(wanted: &Wanted, known: &Subscription) -> (Vec<Drift>, Vec<Existing>) {
    let mut drift = Vec::new();
    if !wanted.is_at(&known.url) {
        drift.push(Drift::Elsewhere);
    }
    if !wanted.has_events(&known.events) {
        let has = known.events.clone();
        drift.push(Drift::Events { has });
    }
    if known.secret_digest != wanted.secret_digest() {
        drift.push(Drift::Secret);
    }
    let existing = Existing {
        id: known.webhook_id.clone(),
        is_off: false,
    };
    (drift, vec![existing])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_same_however_it_is_written() {
        let wanted = Wanted {
            account: "main".to_owned(),
            url: "https://hooks.example.ro/webhooks/allai/main".parse().unwrap(),
            events: KNOWN_EVENTS.map(str::to_owned).to_vec(),
            secret: "s".into(),
        };
        for (url, is_it) in [
            ("https://hooks.example.ro/webhooks/allai/main", true),
            ("HTTPS://Hooks.Example.RO:443/webhooks/allai/main/", true),
            ("https://hooks.example.ro/webhooks/allai/Main", false),
            ("https://hooks.example.ro/webhooks/allai/main2", false),
            ("http://hooks.example.ro/webhooks/allai/main", false),
            ("hooks.example.ro/webhooks/allai/main", false),
        ] {
            assert_eq!(wanted.is_at(url), is_it, "{url}");
        }
        assert!(wanted.has_events(&["*".to_owned()]));
        let mut backwards = wanted.events.clone();
        backwards.reverse();
        assert!(wanted.has_events(&backwards));
        assert!(!wanted.has_events(&backwards[1..]));
    }
}
