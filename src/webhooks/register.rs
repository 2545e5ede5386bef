//! Registering at AllAI: that there is exactly one subscription for an account's address, as the configuration wants it.
//!
//! The guide documents `POST /webhooks` alone. What else an API of this kind may have, a list, changes in place, removal,
//! is tried, and done without where it is not offered. A new subscription is made before an old one is removed: events that
//! come twice do no harm, events that do not come wait for the next sync.

use serde::Serialize;
use url::Url;

use super::KNOWN_EVENTS;
use super::subscription::{Drift, Existing, Listed, Standing, Wanted};
use crate::allai::{self, Client, Webhook, WebhookChange};
use crate::clock::SharedClock;
use crate::warehouse::{self, Subscription, Warehouse};

/// What a registration did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing: it is as wanted.
    Unchanged,
    /// A first subscription was made.
    Created,
    /// The one that was there was changed.
    Updated,
    /// A new one was made in the place of another.
    Replaced,
}

/// How a registration ended.
#[derive(Clone, Debug, Serialize)]
pub struct Registration {
    /// The account's name in the configuration.
    pub account: String,
    /// Where events are sent.
    pub url: Url,
    /// Which events.
    pub events: Vec<String>,
    /// What was done.
    pub action: Action,
    /// The API's id of the subscription, if it gives one.
    pub webhook_id: Option<String>,
    /// Whether AllAI lists its subscriptions; else what this warehouse remembers has decided.
    pub listed: bool,
    /// How many others of this account were removed.
    pub removed: usize,
    /// Those that could not be removed, by their ids if they have one: somebody has to, in the dashboard.
    pub left_over: Vec<String>,
    /// In what AllAI's list is still not what is wanted, beside what is left over.
    pub drift: Vec<Drift>,
}

/// Why a subscription could not be registered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key may not.
    #[error(
        "the API key may not register webhooks (403: {message}); that needs a key with the permissions write and admin (AllAI \
         Dashboard, Settings > API), as accounts.{account}.api_key or, for this command alone, as {} in the environment",
        variable_of(account)
    )]
    Forbidden {
        /// The account's name in the configuration.
        account: String,
        /// The API's own message.
        message: String,
    },
    /// The API does not know an event that is asked for.
    #[error(
        "the API refuses {}: {message}; name in accounts.{account}.webhook.events those that it knows, and register again",
        if events.is_empty() { "the events".to_owned() } else { events.join(", ") }
    )]
    Events {
        /// The account's name in the configuration.
        account: String,
        /// The events it does not know, as far as it says so.
        events: Vec<String>,
        /// The API's own message.
        message: String,
    },
    /// There is one for the address already, that can be neither changed nor removed from here.
    #[error(
        "the API has a subscription for {0} already (409) and offers neither to change nor to remove it: remove it in the \
         AllAI Dashboard, and register again"
    )]
    Occupied(Url),
    /// The old one had to be removed first, and the new one is refused.
    #[error("the old subscription was removed, and the new one is refused, so no event comes now: {0}; register again")]
    Unregistered(Box<Self>),
    /// The API does something else.
    #[error(transparent)]
    Api(allai::Error),
    /// The warehouse does not say what is remembered, or does not remember what was done.
    #[error(transparent)]
    Warehouse(#[from] warehouse::Error),
}

fn variable_of(account: &str) -> String {
    format!(
        "ALLAI_SYNC__ACCOUNTS__{}__API_KEY",
        account.to_uppercase().replace('-', "_")
    )
}

impl Error {
    fn of(error: allai::Error, wanted: &Wanted) -> Self {
        let account = wanted.account.clone();
        match error {
            allai::Error::Forbidden { message, .. } => Self::Forbidden { account, message },
            allai::Error::BadRequest { status, message, .. }
                if matches!(status.as_u16(), 400 | 422) && is_about_events(&message, &wanted.events) =>
            {
                Self::Events {
                    account,
                    events: refused(&message, &wanted.events),
                    message,
                }
            }
            error => Self::Api(error),
        }
    }
}

fn is_about_events(message: &str, wanted: &[String]) -> bool {
    message.to_ascii_lowercase().contains("event") || wanted.iter().any(|event| message.contains(event))
}

/// The events that are refused. A message may name those that are known, too: those that the guide does not have are
/// suspected first.
fn refused(message: &str, wanted: &[String]) -> Vec<String> {
    let (strange, usual): (Vec<String>, Vec<String>) = wanted
        .iter()
        .cloned()
        .partition(|event| !KNOWN_EVENTS.contains(&event.as_str()));
    let suspects = if strange.is_empty() { usual } else { strange };
    let is_named = |event: &&String| message.contains(event.as_str());
    let named: Vec<String> = suspects.iter().filter(is_named).cloned().collect();
    match named.len() {
        0 if suspects.len() < wanted.len() => suspects,
        // To name all is to name none.
        named if named == suspects.len() && named > 1 => Vec::new(),
        _ => named,
    }
}

/// Makes sure that AllAI has exactly one subscription as it is wanted. `force` sends it even if it seems to be there.
pub async fn register(
    client: &Client,
    warehouse: &Warehouse,
    clock: &SharedClock,
    wanted: &Wanted,
    force: bool,
) -> Result<Registration, Error> {
    let remembered = warehouse.subscription(&wanted.account).await?;
    let listed = Listed::by(client).await.map_err(|error| Error::of(error, wanted))?;
    let standing = Standing::of(listed, wanted, remembered);
    let is_wrong = |drift: &Drift| !matches!(drift, Drift::Several { .. });
    let changes = force || standing.drift.iter().any(is_wrong);

    let mut others = standing.existing.clone();
    let (action, webhook_id, mut removed) = if changes {
        make(client, wanted, &mut others).await?
    } else {
        (Action::Unchanged, others.remove(0).id, 0)
    };
    if changes {
        let subscription = Subscription {
            account: wanted.account.clone(),
            url: wanted.url.to_string(),
            webhook_id: webhook_id.clone(),
            events: wanted.events.clone(),
            secret_digest: wanted.secret_digest(),
            registered_at: clock.now(),
        };
        warehouse.save_subscription(&subscription).await?;
    }
    // An API may answer a second registration of an address with the first one.
    others.retain(|other| other.id.is_none() || other.id != webhook_id);
    removed += remove(client, &mut others).await;

    let mut drift = Vec::new();
    if standing.is_listed() && (changes || removed > 0) {
        let remembered = warehouse.subscription(&wanted.account).await?;
        // It is registered, whatever becomes of this question.
        if let Ok(listed) = Listed::by(client).await {
            let now = Standing::of(listed, wanted, remembered);
            others.retain(|other| now.existing.len() > 1 && now.existing.contains(other));
            drift = now.drift;
            drift.retain(|drift| is_wrong(drift) || others.is_empty());
        }
    }
    let name = |other: Existing| other.id.unwrap_or_else(|| "one without an id".to_owned());
    Ok(Registration {
        account: wanted.account.clone(),
        url: wanted.url.clone(),
        events: wanted.events.clone(),
        action,
        webhook_id,
        listed: standing.is_listed(),
        removed,
        left_over: others.into_iter().map(name).collect(),
        drift,
    })
}

/// Makes the first of those that exist as it is wanted, or a new one. Leaves those that are to go, and says how many have
/// gone already.
async fn make(
    client: &Client,
    wanted: &Wanted,
    existing: &mut Vec<Existing>,
) -> Result<(Action, Option<String>, usize), Error> {
    let refused = |error| Error::of(error, wanted);
    if let Some(best) = existing.first().cloned()
        && let Some(changed) = change(client, wanted, &best).await.map_err(refused)?
    {
        existing.remove(0);
        return Ok((Action::Updated, changed.id.or(best.id), 0));
    }
    let action = if existing.is_empty() {
        Action::Created
    } else {
        Action::Replaced
    };
    let new = wanted.new_webhook();
    match client.create_webhook(&new).await {
        Ok(made) => Ok((action, made.id, 0)),
        Err(allai::Error::BadRequest { status, .. }) if status == http::StatusCode::CONFLICT => {
            // Two for one address are not allowed, so the old one goes first.
            let removed = remove(client, existing).await;
            if removed == 0 {
                return Err(Error::Occupied(wanted.url.clone()));
            }
            let made = client.create_webhook(&new).await;
            let made = made.map_err(|error| Error::Unregistered(Box::new(refused(error))))?;
            Ok((action, made.id, removed))
        }
        Err(error) => Err(refused(error)),
    }
}

/// Changes a subscription in place; `None` if that is not offered.
async fn change(client: &Client, wanted: &Wanted, existing: &Existing) -> Result<Option<Webhook>, allai::Error> {
    let Some(id) = &existing.id else { return Ok(None) };
    let change = WebhookChange {
        webhook: wanted.new_webhook(),
        activate: existing.is_off,
    };
    let mut changed = client.update_webhook(id, &change).await;
    if changed.as_ref().is_err_and(allai::Error::is_not_offered) {
        changed = client.replace_webhook(id, &change).await;
    }
    match changed {
        Err(error) if error.is_not_offered() => Ok(None),
        changed => changed.map(Some),
    }
}

/// Removes what can be removed, leaves the others, and says how many have gone.
async fn remove(client: &Client, existing: &mut Vec<Existing>) -> usize {
    let before = existing.len();
    let mut left = Vec::new();
    for other in existing.drain(..) {
        let Some(id) = &other.id else {
            left.push(other);
            continue;
        };
        let removed = client.delete_webhook(id).await;
        // Not even 404 says that it is gone: there may be no such endpoint. It does no harm, and is told of.
        if let Err(error) = removed {
            tracing::debug!(%error, "a subscription is left over");
            left.push(other);
        }
    }
    *existing = left;
    before - existing.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refused_events_are_those_that_the_api_means() {
        let own = |events: &[&str]| events.iter().map(|&event| event.to_owned()).collect::<Vec<_>>();
        let all = KNOWN_EVENTS.join(", ");
        for (message, wanted, expected) in [
            (
                format!("unknown event \"lead.lost\"; known are {all}"),
                &["lead.created", "lead.lost"][..],
                &["lead.lost"][..],
            ),
            (
                "invalid events".to_owned(),
                &["lead.created", "lead.lost"],
                &["lead.lost"],
            ),
            (
                "lead.qualified needs another plan".to_owned(),
                &["lead.created", "lead.qualified"],
                &["lead.qualified"],
            ),
            (
                "bad event lead.created".to_owned(),
                &["lead.created"],
                &["lead.created"],
            ),
            (
                format!("events must be among {all}"),
                &["lead.created", "lead.qualified"],
                &[],
            ),
            ("no such event".to_owned(), &["lead.created", "lead.qualified"], &[]),
        ] {
            assert_eq!(refused(&message, &own(wanted)), expected, "{message}");
        }
    }
}
