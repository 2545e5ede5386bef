//! What a check verifies.

use std::collections::BTreeSet;

use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::{Hubspot, object_of};
use crate::error::Error;
use crate::records::{Check, Entity};

/// What the token must be allowed.
const SCOPES: [&str; 6] = [
    "crm.objects.contacts.read",
    "crm.objects.contacts.write",
    "crm.objects.deals.read",
    "crm.objects.deals.write",
    "crm.schemas.contacts.read",
    "crm.schemas.deals.read",
];

/// What to do about an error that anything may have.
fn remedy(error: &Error) -> &'static str {
    match error {
        Error::Auth { .. } => {
            "correct token: in HubSpot under Settings > Integrations, the access token of the private app or the service key"
        }
        Error::Forbidden { .. } => {
            "add the scope to the private app, under Scopes, and take its token again if it is another"
        }
        Error::RateLimited { .. } => "wait, and see that no other program asks much of this account",
        Error::Transient { .. } | Error::Unreadable { .. } => {
            "see that url is right and that no firewall or proxy is between, then check again"
        }
        _ => "correct url, or leave it out",
    }
}

impl Hubspot {
    /// Every check, until one fails without which the others make no sense.
    pub(super) async fn checks(&self) -> Vec<Check> {
        self.forget_metas().await;
        let reached = Check::good("reached", self.config.url.origin().ascii_serialization());
        let details: Result<Value, Error> = self
            .api
            .get("read the account", &["account-info", "v3", "details"], "an account")
            .await;
        let account = match details {
            Ok(details) => format!("account {}", details["portalId"]),
            // That it may not read this says that it is a token.
            Err(Error::Forbidden { .. }) => "the token is accepted".to_owned(),
            Err(error) => {
                let what = match error {
                    Error::Auth { .. } => "credentials",
                    Error::RateLimited { .. } => "limit",
                    _ => return vec![Check::bad("reached", error.to_string(), remedy(&error))],
                };
                return vec![reached, Check::bad(what, error.to_string(), remedy(&error))];
            }
        };
        let mut checks = vec![reached, Check::good("credentials", account), self.check_scopes().await];
        for entity in [Entity::Contact, Entity::Lead] {
            let readable = self.check_reading(entity).await;
            let is_readable = readable.found.is_good();
            checks.push(readable);
            if is_readable && self.reference_name(entity).is_some() {
                checks.push(self.check_reference(entity).await);
            }
        }
        checks.extend(self.check_pipeline().await);
        checks
    }

    async fn check_scopes(&self) -> Check {
        let what = "scopes";
        let token = self.config.token.expose_secret().trim();
        let info = match self.api.token_info(token).await {
            Ok(info) => info,
            // Only private apps' tokens tell; reading is tried, and writing shows.
            Err(
                Error::NotFound { .. } | Error::Rejected { .. } | Error::Forbidden { .. } | Error::Unsupported { .. },
            ) => {
                return Check::good(what, format!("the token does not tell; it needs {}", SCOPES.join(", ")));
            }
            Err(error) => return Check::bad(what, error.to_string(), remedy(&error)),
        };
        let granted: BTreeSet<&str> = info["scopes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let missing: Vec<&str> = SCOPES.into_iter().filter(|scope| !granted.contains(scope)).collect();
        if missing.is_empty() {
            return Check::good(what, "to read and write contacts and deals");
        }
        Check::bad(
            what,
            format!("the token lacks {}", missing.join(", ")),
            "add them to the private app, under Scopes",
        )
    }

    async fn check_reading(&self, entity: Entity) -> Check {
        let what = object_of(entity);
        let read = async {
            let properties = self.metas(entity).await?.len();
            self.api
                .search(entity, &[], "hs_object_id", &["hs_object_id"], 1)
                .await?;
            Ok::<usize, Error>(properties)
        };
        match read.await {
            Ok(properties) => Check::good(what, format!("{properties} properties")),
            Err(error) => Check::bad(what, error.to_string(), remedy(&error)),
        }
    }

    async fn check_reference(&self, entity: Entity) -> Check {
        let what = match entity {
            Entity::Contact => "contact_reference",
            Entity::Lead => "lead_reference",
        };
        match self.reference_property(entity).await {
            Ok(property) => Check::good(what, property),
            Err(error) => Check::bad(
                what,
                error.to_string(),
                format!(
                    "correct {what}, or create the property in HubSpot under Settings > Properties as a single-line text with \
                     unique values"
                ),
            ),
        }
    }

    /// Whether the pipeline and the stage of new deals are there.
    async fn check_pipeline(&self) -> Option<Check> {
        let what = "pipeline";
        let (pipeline, stage) = (&self.config.pipeline, &self.config.deal_stage);
        if pipeline.is_none() && stage.is_none() {
            return None;
        }
        let listed: Result<Value, Error> = self
            .api
            .get(
                "read the pipelines of deals",
                &["crm", "v3", "pipelines", "deals"],
                "a list of pipelines",
            )
            .await;
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => return Some(Check::bad(what, error.to_string(), remedy(&error))),
        };
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let ids = |list: &[Value]| {
            let ids: Vec<&str> = list.iter().filter_map(|entry| entry["id"].as_str()).collect();
            ids.join(", ")
        };
        let pipelines = list(&listed["results"]);
        let mut chosen = pipelines.clone();
        if let Some(id) = pipeline {
            chosen.retain(|entry| entry["id"] == id.as_str());
            if chosen.is_empty() {
                let problem = format!("there is no pipeline {id}; there are {}", ids(&pipelines));
                return Some(Check::bad(what, problem, "correct pipeline: its id, not its name"));
            }
        }
        let stages: Vec<Value> = chosen.iter().flat_map(|entry| list(&entry["stages"])).collect();
        match stage {
            Some(id) if !stages.iter().any(|entry| entry["id"] == id.as_str()) => {
                let problem = format!("there is no stage {id}; there are {}", ids(&stages));
                Some(Check::bad(what, problem, "correct deal_stage: its id, not its name"))
            }
            _ => Some(Check::good(
                what,
                [pipeline, stage]
                    .map(|id| id.as_deref().unwrap_or("as HubSpot chooses"))
                    .join(", "),
            )),
        }
    }
}
