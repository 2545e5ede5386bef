//! What a check verifies, by one request: the list of all stock.

use super::Smartbill;
use super::answer::Lines;
use crate::error::Error;
use crate::records::Check;

impl Smartbill {
    /// Every check, until one fails without which the others make no sense.
    pub(super) async fn checks(&self) -> Vec<Check> {
        let reached = Check::good("reached", self.config.url.origin().ascii_serialization());
        let credentials = Check::good("credentials", format!("user {}", self.config.username));
        let error = match self.lines(None, None).await {
            Ok(lines) => {
                let mut checks = vec![reached, credentials, Check::good("company", &self.config.cif)];
                checks.extend(self.check_lines(&lines));
                return checks;
            }
            Err(error) => error,
        };
        let problem = error.to_string();
        match error {
            Error::Auth { .. } => {
                let remedy = "correct username and token: they are in SmartBill under Contul meu > Integrari";
                vec![reached, Check::bad("credentials", problem, remedy)]
            }
            Error::RateLimited { .. } => {
                let remedy = "wait 10 minutes, and see that no other program asks much with this token";
                vec![reached, Check::bad("limit", problem, remedy)]
            }
            Error::Forbidden { .. } | Error::Unsupported { .. } => {
                let remedy = "see that the subscription has stock (SmartBill Gestiune) and the API";
                vec![reached, Check::bad("permission to read stock", problem, remedy)]
            }
            Error::Rejected { field: Some(field), .. } if field == "url" => {
                vec![Check::bad("reached", problem, "correct url, or leave it out")]
            }
            Error::NotFound { .. } => vec![Check::bad("reached", problem, "correct url, or leave it out")],
            Error::Rejected { .. } | Error::Conflict { .. } => {
                let remedy = "correct cif: as SmartBill has it, under Configurare > Date firma; and see that the subscription \
                              has stock (SmartBill Gestiune) and the API";
                vec![reached, Check::bad("company", problem, remedy)]
            }
            Error::Transient { .. } | Error::Unreadable { .. } => {
                let remedy = "see that url is right and that no firewall or proxy is between, then check again";
                vec![Check::bad("reached", problem, remedy)]
            }
        }
    }

    fn check_lines(&self, lines: &Lines) -> Vec<Check> {
        let there = &lines.warehouses;
        let is_missing = |name: &&String| !there.iter().any(|one| one == name.trim());
        let missing: Vec<&str> = self
            .config
            .warehouses
            .iter()
            .filter(is_missing)
            .map(|name| name.trim())
            .collect();
        let warehouses = if !missing.is_empty() {
            Check::bad(
                "warehouses",
                format!("no stock is listed in {}", missing.join(", ")),
                "correct warehouses: names exactly as in SmartBill, under Gestiuni",
            )
        } else if there.is_empty() {
            Check::bad(
                "warehouses",
                "no stock is listed at all",
                "see in SmartBill whether there is any, and whether the cif is that company's",
            )
        } else {
            Check::good("warehouses", there.join(", "))
        };
        let (with, without): (Vec<_>, Vec<_>) = lines.lines.iter().partition(|line| line.code.is_some());
        let codes = if with.is_empty() && !without.is_empty() {
            Check::bad(
                "product codes",
                "no product has a code",
                "give the products codes in SmartBill: products are asked for by them",
            )
        } else if without.is_empty() {
            Check::good("product codes", format!("{} lines of stock", with.len()))
        } else {
            Check::good(
                "product codes",
                format!(
                    "{} lines of stock; {} have no code and are not found",
                    with.len(),
                    without.len()
                ),
            )
        };
        vec![warehouses, codes]
    }
}
