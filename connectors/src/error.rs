//! What goes wrong, by what is to be done about it.

use std::time::Duration;

/// Why a system did not do what it was asked. No message holds a credential, and none quotes a contact.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The credentials are refused: nobody but the administrator can help.
    #[error("{system} refuses the credentials: {message}; correct {remedy}")]
    Auth {
        /// The connector's kind.
        system: &'static str,
        /// What the system says.
        message: String,
        /// The keys of the configuration.
        remedy: &'static str,
    },
    /// The user may not do this: the administrator of the system can help.
    #[error("{system} does not let this user {doing}: {message}")]
    Forbidden {
        /// The connector's kind.
        system: &'static str,
        /// What was tried, e.g. `read product.product`.
        doing: String,
        /// What the system says.
        message: String,
    },
    /// Too many requests: worth asking again, not before the delay.
    #[error("{system} allows no more requests for now{}", delay(.retry_after.as_ref()))]
    RateLimited {
        /// The connector's kind.
        system: &'static str,
        /// How long the system asks to be left alone, if it says.
        retry_after: Option<Duration>,
    },
    /// It was not reached, broke off, took too long, or failed by itself: worth asking again.
    #[error("{system} {message}")]
    Transient {
        /// The connector's kind.
        system: &'static str,
        /// What happened, e.g. `does not answer within 3 s`.
        message: String,
        /// Whether the request may have been carried out all the same.
        may_have_happened: bool,
    },
    /// It refuses what it was given: asking again is of no use.
    #[error("{system} refuses {}: {message}", .field.as_deref().unwrap_or("the request"))]
    Rejected {
        /// The connector's kind.
        system: &'static str,
        /// The field it does not like, if it says.
        field: Option<String>,
        /// What the system says.
        message: String,
    },
    /// What was to be changed is not there, any more or at all.
    #[error("{system} has no {what}")]
    NotFound {
        /// The connector's kind.
        system: &'static str,
        /// What is missing, e.g. `database "erp"`.
        what: String,
    },
    /// It is there otherwise than it should be: several records with one key, or changed meanwhile.
    #[error("{system}: {message}")]
    Conflict {
        /// The connector's kind.
        system: &'static str,
        /// What is in the way.
        message: String,
    },
    /// The system cannot do this, or not as it is configured.
    #[error("{system} cannot {doing}")]
    Unsupported {
        /// The connector's kind.
        system: &'static str,
        /// What it cannot, e.g. `tell the stock of one warehouse`.
        doing: String,
    },
    /// Its answer is not what its documentation says.
    #[error("{system} answered with something else than {expected}: {problem}")]
    Unreadable {
        /// The connector's kind.
        system: &'static str,
        /// What was expected.
        expected: &'static str,
        /// What is wrong with it, without quoting it.
        problem: String,
    },
}

impl Error {
    /// Whether the same request may succeed later.
    pub const fn is_worth_repeating(&self) -> bool {
        matches!(self, Self::RateLimited { .. } | Self::Transient { .. })
    }

    /// Whether it is only that the system does not answer now: what is known of it from before may stand in.
    pub const fn is_outage(&self) -> bool {
        matches!(
            self,
            Self::RateLimited { .. } | Self::Transient { .. } | Self::Unreadable { .. }
        )
    }
}

fn delay(retry_after: Option<&Duration>) -> String {
    retry_after.map_or_else(String::new, |delay| {
        format!("; ask again in {} s", delay.as_secs_f32().ceil())
    })
}
