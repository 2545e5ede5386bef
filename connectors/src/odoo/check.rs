//! What a check verifies.

use serde_json::{Value, json};

use super::rpc::Call;
use super::setup::WarehouseRow;
use super::{Odoo, SYSTEM};
use crate::error::Error;
use crate::records::{Check, Entity};

/// The oldest version that has what is asked for.
const OLDEST: u32 = 11;

/// What is asked of a model: rights, for what, and the app that has it.
const RIGHTS: [(&str, &[&str], &str, &str); 4] = [
    ("product.product", &["read"], "search and prices", "Inventory or Sales"),
    ("stock.warehouse", &["read"], "stock", "Inventory"),
    ("res.partner", &["read", "create", "write"], "contacts", "Contacts"),
    ("crm.lead", &["read", "create", "write"], "leads", "CRM"),
];

/// The main number of a version such as `17.0`, `saas~17.2` or `19.1+e`.
fn main_number(version: &str) -> Option<u32> {
    let start = version.find(|c: char| c.is_ascii_digit())?;
    let digits = version[start..].split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

impl Odoo {
    /// Every check, until one fails without which the others make no sense.
    pub(super) async fn checks(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        match self.rpc.version().await {
            Ok(version) => {
                checks.push(Check::good("reached", self.config.url.origin().ascii_serialization()));
                checks.push(self.version_found(&version));
            }
            Err(error) => {
                let remedy = match error {
                    Error::NotFound { .. } if self.rpc.is_json_2() => {
                        "see that url is right; before Odoo 19, give username and password (from 14 on, the API key as password) \
                         instead of api_key"
                    }
                    _ => "see that url is right, that Odoo runs, and that no firewall is between",
                };
                checks.push(Check::bad("reached", error.to_string(), remedy));
                return checks;
            }
        }
        self.rpc.forget_login().await;
        self.forget_setup().await;
        self.forget_models().await;
        let user: Result<Value, Error> = self.rpc.call(Call::new("res.users", "context_get")).await;
        match user {
            Err(error) => {
                checks.push(Check::bad("credentials", error.to_string(), login_remedy(&error)));
                return checks;
            }
            Ok(_) => checks.push(Check::good(
                "credentials",
                match &self.config.username {
                    Some(username) => format!("user {username}"),
                    None => "API key".to_owned(),
                },
            )),
        }
        for (model, rights, purpose, app) in RIGHTS {
            checks.push(self.check_rights(model, rights, purpose, app).await);
        }
        self.check_setup(&mut checks).await;
        checks
    }

    fn version_found(&self, version: &str) -> Check {
        let number = main_number(version);
        match number {
            None => Check::bad(
                "version",
                "it has no version that is understood",
                "see that url leads to Odoo",
            ),
            Some(number) if number < OLDEST => Check::bad(
                "version",
                format!("version {version} is older than {OLDEST}"),
                "upgrade Odoo",
            ),
            Some(19..) if !self.rpc.is_json_2() => Check::good(
                "version",
                format!(
                    "version {version}; it has JSON-2, for which api_key is given alone, and loses JSON-RPC with 22"
                ),
            ),
            Some(_) => Check::good("version", format!("version {version}")),
        }
    }

    async fn check_rights(&self, model: &'static str, rights: &[&str], purpose: &str, app: &str) -> Check {
        let what = format!("permission to {} {model}", rights.join(", "));
        let mut lacking = Vec::new();
        for right in rights {
            match self.has_right(model, right).await {
                Ok(true) => {}
                Ok(false) => lacking.push(*right),
                Err(Error::Unsupported { .. }) => {
                    return Check::bad(
                        what,
                        format!("there is no {model}, which {purpose} need"),
                        format!("install {app}, in Apps, if that is wanted"),
                    );
                }
                Err(error) => return Check::bad(what, error.to_string(), "see the server's log"),
            }
        }
        if lacking.is_empty() {
            return Check::good(what, format!("for {purpose}"));
        }
        Check::bad(
            what,
            format!(
                "the user may not {} {model}, which {purpose} need",
                lacking.join(" or ")
            ),
            format!("give the user the rights of {app}, in Settings > Users"),
        )
    }

    /// Whether the user has a right; [`Error::Unsupported`] if there is no such model.
    async fn has_right(&self, model: &'static str, right: &str) -> Result<bool, Error> {
        let granted: Result<Value, Error> = if self.rpc.is_json_2() {
            Err(Error::Unsupported {
                system: SYSTEM,
                doing: "ask as before 18".to_owned(),
            })
        } else {
            let call = Call::new(model, "check_access_rights")
                .argument("operation", json!(right))
                .with("raise_exception", json!(false));
            self.rpc.call(call).await
        };
        let granted = match granted {
            // From 18 on under another name; or there is no such model under any.
            Err(Error::Unsupported { .. }) => {
                let call = Call::new(model, "has_access")
                    .on(Vec::new())
                    .argument("operation", json!(right));
                self.rpc.call(call).await?
            }
            other => other?,
        };
        Ok(granted == json!(true))
    }

    async fn check_setup(&self, checks: &mut Vec<Check>) {
        let setup = match self.setup().await {
            Ok(setup) => setup,
            Err(error) => {
                let remedy = "correct company: a name or number, as under Settings > Companies";
                checks.push(Check::bad("company", error.to_string(), remedy));
                return;
            }
        };
        if let Some((_, name)) = &setup.company {
            checks.push(Check::good("company", name));
        }
        // Without stock, the permissions have said why.
        if setup.has_stock() {
            let codes: Vec<String> = setup.warehouses.iter().map(WarehouseRow::code).collect();
            checks.push(if !setup.missing.is_empty() {
                Check::bad(
                    "warehouses",
                    format!("there is no warehouse {}", setup.missing.join(", ")),
                    "correct warehouses: codes or names, as under Inventory > Configuration > Warehouses",
                )
            } else if codes.is_empty() {
                Check::bad(
                    "warehouses",
                    "the user sees no warehouse",
                    "create one, or let the user read warehouses",
                )
            } else {
                Check::good("warehouses", codes.join(", "))
            });
        }
        for (entity, key) in [(Entity::Contact, "contact_reference"), (Entity::Lead, "lead_reference")] {
            let Ok(metas) = self.metas(entity).await else {
                // The permissions have said why.
                continue;
            };
            checks.push(match self.reference_field(entity, &metas) {
                Ok(field) => Check::good(key, field),
                Err(error) => Check::bad(key, error.to_string(), format!("correct {key}")),
            });
        }
        if let Some(name) = &self.config.price_list {
            checks.push(match self.price_list(&setup, name).await {
                Ok(_) => Check::good("price list", name),
                Err(error) => Check::bad("price list", error.to_string(), "correct price_list"),
            });
        }
    }
}

fn login_remedy(error: &Error) -> &'static str {
    match error {
        Error::Auth { .. } => "correct username and password, or api_key",
        Error::NotFound { .. } => "correct url or database",
        Error::Unsupported { .. } => "before Odoo 19, give username and password instead of api_key",
        Error::Transient { .. } => "see that the database exists, and the server's log",
        _ => "see the server's log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_a_main_number() {
        for (version, number) in [
            ("11.0", Some(11)),
            ("saas~17.2", Some(17)),
            ("19.0+e-20260101", Some(19)),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(main_number(version), number, "{version}");
        }
    }
}
