//! What a check verifies.

use super::Oblio;
use super::answer::{CompanyRow, ManagementRow, read};
use crate::error::Error;
use crate::records::{Check, Found};

/// What to do about an error that anything may have.
fn remedy(error: &Error) -> &'static str {
    match error {
        Error::Auth { .. } => {
            "correct client_id and client_secret: the secret is in Oblio under Setari > Date Cont, and is another one after each \
             change of the password"
        }
        Error::RateLimited { .. } => "wait 10 minutes, and see that no other program asks much with this account",
        Error::Forbidden { .. } => "let the account see this company's products, in Oblio under Setari",
        Error::Transient { .. } | Error::Unreadable { .. } => {
            "see that url is right and that no firewall or proxy is between, then check again"
        }
        _ => "correct url, or leave it out",
    }
}

/// The digits of a fiscal code: with RO before them or without, it is one company.
fn digits(cif: &str) -> &str {
    let cif = cif.trim();
    match cif.get(..2) {
        Some(prefix) if prefix.eq_ignore_ascii_case("ro") => cif[2..].trim_start(),
        _ => cif,
    }
}

impl Oblio {
    /// Every check, until one fails without which the others make no sense.
    pub(super) async fn checks(&self) -> Vec<Check> {
        let reached = Check::good("reached", self.config.url.origin().ascii_serialization());
        if let Err(error) = self.session.log_in().await {
            let what = match error {
                Error::Auth { .. } => "credentials",
                Error::RateLimited { .. } => "limit",
                _ => return vec![Check::bad("reached", error.to_string(), remedy(&error))],
            };
            return vec![reached, Check::bad(what, error.to_string(), remedy(&error))];
        }
        let mut checks = vec![
            reached,
            Check::good("credentials", format!("user {}", self.config.client_id)),
        ];
        let company = self.check_company().await;
        let is_there = matches!(company.found, Found::Good(_));
        checks.push(company);
        if is_there {
            checks.push(self.check_warehouses().await);
            checks.push(self.check_products().await);
        }
        checks
    }

    async fn check_company(&self) -> Check {
        let companies: Result<Vec<CompanyRow>, Error> = self
            .session
            .get("read companies", &["nomenclature", "companies"], &[], |answer| {
                read(answer, "a list of companies", true)
            })
            .await;
        let companies = match companies {
            Ok(companies) => companies,
            Err(error) => return Check::bad("company", error.to_string(), remedy(&error)),
        };
        let wanted = digits(&self.config.cif);
        let is_it = |row: &&CompanyRow| row.cif.as_deref().is_some_and(|cif| digits(cif) == wanted);
        if let Some(row) = companies.iter().find(is_it) {
            return Check::good("company", row.company.as_deref().unwrap_or(&self.config.cif));
        }
        let known: Vec<&str> = companies.iter().filter_map(|row| row.cif.as_deref()).collect();
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        Check::bad(
            "company",
            format!("the account has no company {}; it has {known}", self.config.cif),
            "correct cif, or client_id",
        )
    }

    async fn check_warehouses(&self) -> Check {
        let what = "warehouses";
        let cif = [("cif", self.config.cif.as_str())];
        let there: Result<Vec<ManagementRow>, Error> = self
            .session
            .get("read warehouses", &["nomenclature", "management"], &cif, |answer| {
                read(answer, "a list of warehouses", true)
            })
            .await;
        let activate = "activate stock in Oblio, under Setari > Stocuri: without it there is none to tell";
        let there = match there {
            Ok(there) if there.is_empty() => return Check::bad(what, "the company has no warehouse", activate),
            Ok(there) => there,
            Err(error @ (Error::Rejected { .. } | Error::NotFound { .. })) => {
                return Check::bad(what, error.to_string(), activate);
            }
            Err(error) => return Check::bad(what, error.to_string(), remedy(&error)),
        };
        let name = |row: &ManagementRow| {
            let management = row.management.as_deref().unwrap_or("?");
            let station = row.work_station.as_deref().unwrap_or("?");
            format!("{management} ({station})")
        };
        let counting: Vec<String> = there
            .iter()
            .filter(|row| {
                self.config
                    .counts(row.work_station.as_deref(), row.management.as_deref())
            })
            .map(name)
            .collect();
        if counting.is_empty() {
            let all: Vec<String> = there.iter().map(name).collect();
            return Check::bad(
                what,
                format!("none is the one that counts; there are {}", all.join(", ")),
                "correct management and workstation: names exactly as in Oblio",
            );
        }
        Check::good(what, counting.join(", "))
    }

    async fn check_products(&self) -> Check {
        match self.page(None, 0).await {
            Ok(rows) if rows.is_empty() => Check::bad(
                "products",
                "the company has no products",
                "see in Oblio whether there are any, and whether cif is that company's",
            ),
            Ok(rows) if rows.iter().all(|row| row.code.is_none()) => Check::bad(
                "products",
                "none of the first products has a code",
                "give the products codes in Oblio: products are asked for by them",
            ),
            Ok(rows) => {
                let without = rows.iter().filter(|row| row.code.is_none()).count();
                Check::good(
                    "products",
                    format!("of the first {}, {without} have no code and are not found", rows.len()),
                )
            }
            Err(error) => Check::bad("products", error.to_string(), remedy(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_company_is_one_with_ro_and_without() {
        assert_eq!(digits("RO37311090"), digits(" 37311090 "));
        assert_ne!(digits("RO37311090"), digits("RO3731109"));
        assert_eq!(digits("r"), "r");
    }
}
