//! Mail, through a server of the company's.

use std::time::Duration;

use lettre::transport::smtp;
use lettre::{AsyncSmtpTransport, Tokio1Executor};

/// How long a server may take to answer.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// The mail server that a URL names: `smtps://USER:PASSWORD@HOST` and its kin.
///
/// # Errors
///
/// The URL is not one of a mail server.
pub(crate) fn server(url: &str) -> Result<AsyncSmtpTransport<Tokio1Executor>, smtp::Error> {
    Ok(AsyncSmtpTransport::<Tokio1Executor>::from_url(url)?
        .timeout(Some(TIMEOUT))
        .build())
}
