//! What a check verifies.

use serde_json::{Value, json};

use super::Tryton;
use super::rpc::Effect;
use super::setup::WarehouseRow;
use crate::error::Error;
use crate::records::{Check, Entity, Found};

/// The oldest series that has what is asked for.
const OLDEST: (u32, u32) = (6, 0);

/// What is asked of a model: a right, and for what.
const RIGHTS: [(&str, &str, &str); 6] = [
    ("product.product", "read", "search and prices"),
    ("stock.location", "read", "stock"),
    ("party.party", "read", "contacts"),
    ("party.party", "create", "contacts"),
    ("sale.opportunity", "read", "leads"),
    ("sale.opportunity", "create", "leads"),
];

fn check(what: impl Into<String>, found: Found) -> Check {
    Check {
        what: what.into(),
        found,
    }
}

fn is_supported(version: &str) -> bool {
    let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= OLDEST
}

impl Tryton {
    /// Every check, until one fails without which the others make no sense.
    pub(super) async fn checks(&self) -> Vec<Check> {
        let mut checks = Vec::new();
        match self.rpc.version().await {
            Ok(version) => {
                checks.push(check(
                    "reached",
                    Found::Good(self.config.url.origin().ascii_serialization()),
                ));
                checks.push(check("version", version_found(&version)));
            }
            Err(error) => {
                let remedy = "see that url is right, that trytond runs, and that no firewall is between";
                checks.push(check("reached", Found::bad(error.to_string(), remedy)));
                return checks;
            }
        }
        self.rpc.forget_session().await;
        self.forget_setup().await;
        let login: Result<Value, Error> = self
            .rpc
            .call("res.user", "get_preferences", json!([true, {}]), Effect::Reads)
            .await;
        if let Err(error) = login {
            checks.push(check(
                "credentials",
                Found::bad(error.to_string(), login_remedy(&error)),
            ));
            return checks;
        }
        checks.push(check(
            "credentials",
            Found::Good(format!("user {}", self.config.username)),
        ));
        self.check_rights(&mut checks).await;
        self.check_setup(&mut checks).await;
        checks
    }

    async fn check_rights(&self, checks: &mut Vec<Check>) {
        for (model, right, purpose) in RIGHTS {
            let what = format!("permission to {right} {model}");
            let found = match self.has_right(model, right).await {
                Ok(true) => Found::Good(format!("for {purpose}")),
                Ok(false) => Found::bad(
                    format!("the user may not {right} {model}, which {purpose} need"),
                    "add the user to a group that may, in Administration > Users",
                ),
                Err(Error::Unsupported { .. }) => Found::bad(
                    format!("there is no {model}, which {purpose} need"),
                    "activate its module, in Administration > Modules, if that is wanted",
                ),
                Err(error) => Found::bad(error.to_string(), "see the server's log"),
            };
            checks.push(check(what, found));
        }
    }

    async fn has_right(&self, model: &str, right: &str) -> Result<bool, Error> {
        // That it is there, and may be read, shows by reading; the rules of records are not asked about.
        let read: Result<Value, Error> = self
            .rpc
            .call(model, "search_read", json!([[], 0, 1, null, ["id"], {}]), Effect::Reads)
            .await;
        match read {
            Err(Error::Forbidden { .. }) => return Ok(false),
            Err(error) => return Err(error),
            Ok(_) if right == "read" => return Ok(true),
            Ok(_) => {}
        }
        let access: Value = self
            .rpc
            .call("ir.model.access", "get_access", json!([[model], {}]), Effect::Reads)
            .await?;
        let allowed = &access[model][right];
        Ok(allowed.as_bool().unwrap_or_else(|| allowed.as_i64() == Some(1)))
    }

    async fn check_setup(&self, checks: &mut Vec<Check>) {
        let setup = match self.setup().await {
            Ok(setup) => setup,
            Err(error) => {
                let remedy = "correct company, or give the user a company in Administration > Users";
                checks.push(check("company", Found::bad(error.to_string(), remedy)));
                return;
            }
        };
        let currency = setup.currency.as_deref().unwrap_or("no currency");
        checks.push(check(
            "company",
            Found::Good(format!("{}, {currency}", setup.company_name)),
        ));
        let codes: Vec<String> = setup.warehouses.iter().map(WarehouseRow::code).collect();
        let found = if !setup.missing.is_empty() {
            Found::bad(
                format!("there is no warehouse {}", setup.missing.join(", ")),
                "correct warehouses: codes or names, as under Inventory & Stock > Locations",
            )
        } else if codes.is_empty() {
            Found::bad(
                "the user sees no warehouse",
                "create one, or let the user read locations",
            )
        } else {
            Found::Good(codes.join(", "))
        };
        checks.push(check("warehouses", found));
        let mut references = vec![(Entity::Lead, "lead_reference")];
        if self.config.contact_reference.is_some() {
            references.push((Entity::Contact, "contact_reference"));
        }
        for (entity, key) in references {
            match self.checked_reference_field(entity).await {
                Ok(field) => checks.push(check(key, Found::Good(field.to_owned()))),
                Err(error @ Error::Rejected { .. }) => {
                    checks.push(check(key, Found::bad(error.to_string(), format!("correct {key}"))));
                }
                // The permissions have said why.
                Err(_) => {}
            }
        }
        if let Some(name) = &self.config.price_list {
            let found = match self.price_list(&setup, name).await {
                Ok(_) => Found::Good(name.clone()),
                Err(error) => Found::bad(error.to_string(), "correct price_list"),
            };
            checks.push(check("price list", found));
        }
    }
}

fn version_found(version: &str) -> Found {
    if is_supported(version) {
        Found::Good(format!("version {version}"))
    } else {
        Found::bad(
            format!("version {version} is older than {}.{}", OLDEST.0, OLDEST.1),
            "upgrade Tryton",
        )
    }
}

fn login_remedy(error: &Error) -> &'static str {
    match error {
        Error::Auth { .. } => "correct username and password",
        Error::RateLimited { .. } => "wait: after several wrong passwords Tryton refuses all for some minutes",
        Error::NotFound { .. } => "correct url, database or rpc_path",
        Error::Transient { .. } => "see that the database exists (Tryton answers 503 if not), and the server's log",
        _ => "see the server's log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, supported) in [
            ("8.2", true),
            ("6.0", true),
            ("10.0", true),
            ("5.8", false),
            ("x", false),
        ] {
            assert_eq!(is_supported(version), supported, "{version}");
        }
    }
}
