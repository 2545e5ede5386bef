//! What a check verifies.

use super::Pipedrive;
use crate::error::Error;
use crate::records::{Check, Entity};

/// What to do about an error that anything may have.
fn remedy(error: &Error) -> &'static str {
    match error {
        Error::Auth { .. } => "correct token: it is in Pipedrive under Personal preferences > API",
        Error::Forbidden { .. } => {
            "let the user do that, in Pipedrive under Company settings > Manage users > Permission sets, or see the plan"
        }
        Error::RateLimited { .. } => {
            "wait, see that no other program spends much of the company's tokens, and whether daily_tokens is what the plan allows"
        }
        Error::Transient { .. } | Error::Unreadable { .. } => {
            "see that url is right and that no firewall or proxy is between, then check again"
        }
        _ => "correct url, or leave it out",
    }
}

impl Pipedrive {
    /// Every check, until one fails without which the others make no sense.
    pub(super) async fn checks(&self) -> Vec<Check> {
        self.forget_metas().await;
        let reached = Check::good("reached", self.config.url.origin().ascii_serialization());
        let me = match self.api.me().await {
            Ok(me) => me,
            Err(error) => {
                let what = match error {
                    Error::Auth { .. } => "credentials",
                    Error::Forbidden { .. } => "permissions",
                    Error::RateLimited { .. } => "limit",
                    _ => return vec![Check::bad("reached", error.to_string(), remedy(&error))],
                };
                return vec![reached, Check::bad(what, error.to_string(), remedy(&error))];
            }
        };
        let is_admin = me["is_admin"] == true || me["is_admin"] == 1;
        let sees = if is_admin {
            "an administrator, who sees everything"
        } else {
            "no administrator: what others keep to themselves is neither found nor told"
        };
        let mut checks = vec![
            reached,
            Check::good(
                "credentials",
                format!("user {} of company {}", me["id"], me["company_id"]),
            ),
            Check::good("permissions", sees),
        ];
        for entity in [Entity::Contact, Entity::Lead] {
            let readable = self.check_reading(entity).await;
            let is_readable = readable.found.is_good();
            checks.push(readable);
            if is_readable {
                checks.extend(self.check_reference(entity).await);
            }
        }
        checks
    }

    async fn check_reading(&self, entity: Entity) -> Check {
        let object = self.object(entity);
        let read = async {
            let fields = self.metas(entity).await?.len();
            self.api.list(object, &[("limit", "1".to_owned())], None).await?;
            Ok::<usize, Error>(fields)
        };
        match read.await {
            Ok(fields) => Check::good(object.name(), format!("{fields} fields")),
            Err(error) => Check::bad(object.name(), error.to_string(), remedy(&error)),
        }
    }

    async fn check_reference(&self, entity: Entity) -> Option<Check> {
        let (what, name) = match entity {
            Entity::Contact => ("contact_reference", self.config.contact_reference.as_ref()?),
            Entity::Lead => ("lead_reference", self.config.lead_reference.as_ref()?),
        };
        Some(match self.reference_field(entity).await {
            Ok(key) => Check::good(what, format!("{name}, {key}")),
            Err(error) => Check::bad(
                what,
                error.to_string(),
                format!("correct {what}, or add the field in Pipedrive under Company settings > Data fields as a text"),
            ),
        })
    }
}
