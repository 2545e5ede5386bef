//! What it means that a message was not taken: for itself, and for those behind it.

use lettre::transport::smtp;
use reqwest::StatusCode;

/// Why a message was not taken, in words without anything secret.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) problem: String,
    pub(super) outlook: Outlook,
}

/// What is to be expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlook {
    /// This message will never be taken, others may.
    Never,
    /// This message may be taken later, others now.
    Later,
    /// None is taken just now.
    NoneNow,
}

impl Refusal {
    /// None is taken just now, for this reason.
    pub(super) fn of_all(problem: &impl ToString) -> Self {
        Self {
            problem: problem.to_string(),
            outlook: Outlook::NoneNow,
        }
    }

    /// An answer over HTTP (RFC 9110, 15). What may only mean that the address or its secret is wrong may be mended.
    pub(super) fn of_status(status: StatusCode) -> Self {
        Self {
            problem: format!("it answered {status}"),
            outlook: match status.as_u16() {
                400 | 410 | 413 | 415 | 422 => Outlook::Never,
                429 | 503 => Outlook::NoneNow,
                _ => Outlook::Later,
            },
        }
    }

    /// An answer of a mail server (RFC 5321, 4.2.3; RFC 4954, 6), or none.
    pub(super) fn of_mail(error: &smtp::Error) -> Self {
        Self {
            problem: error.to_string(),
            outlook: match error.status().map(u16::from) {
                Some(550..=553) => Outlook::Never,
                // It closes the connection, or wants to know first who this is.
                Some(421 | 521 | 530 | 534 | 535 | 538) | None => Outlook::NoneNow,
                Some(_) => Outlook::Later,
            },
        }
    }
}
