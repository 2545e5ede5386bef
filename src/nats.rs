//! A NATS server with `JetStream`, and the stream in it.

use std::time::Duration;

use async_nats::ServerAddr;
use async_nats::jetstream::{self, stream};
use secrecy::{ExposeSecret as _, SecretString};

use crate::config;

/// How long the server may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Where messages go.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    url: SecretString,
    subject: String,
    stream: String,
}

/// The server does not do it.
#[derive(Debug, thiserror::Error)]
#[error("NATS at {place}: {problem}")]
pub(crate) struct Error {
    /// Host and port.
    place: String,
    /// Why.
    problem: String,
}

impl Target {
    /// What the configuration says.
    pub(crate) fn new(nats: &config::Nats) -> Self {
        let url = nats.url.as_ref().map_or("", |url| url.expose());
        Self {
            url: url.into(),
            subject: nats.subject.clone(),
            stream: nats.stream.clone(),
        }
    }

    /// Connects, and makes the stream if there is none.
    ///
    /// # Errors
    ///
    /// The server is away, refuses, or has no `JetStream`.
    pub(crate) async fn connect(&self) -> Result<jetstream::Context, Error> {
        let address: ServerAddr = self
            .url
            .expose_secret()
            .parse()
            .map_err(|error: std::io::Error| self.failed(&error))?;
        let mut options = async_nats::ConnectOptions::new()
            .name("allai-sync")
            .connection_timeout(ANSWER)
            .request_timeout(Some(ANSWER));
        // The client takes both from the URL; a user alone is a token.
        if let (Some(token), None) = (address.username(), address.password()) {
            options = options.token(token.to_owned());
        }
        let client = options.connect(address).await.map_err(|error| self.failed(&error))?;
        let mut context = jetstream::new(client);
        context.set_timeout(ANSWER);
        let wanted = stream::Config {
            name: self.stream.clone(),
            subjects: vec![format!("{}.>", self.subject)],
            ..stream::Config::default()
        };
        context
            .get_or_create_stream(wanted)
            .await
            .map_err(|error| self.failed(&error))?;
        Ok(context)
    }

    /// An error of the server's, with where it is.
    pub(crate) fn failed(&self, error: &dyn std::error::Error) -> Error {
        let address: Option<ServerAddr> = self.url.expose_secret().parse().ok();
        let place = address.map_or_else(String::new, |address| format!("{}:{}", address.host(), address.port()));
        Error {
            place,
            problem: error.to_string(),
        }
    }

    /// The subject for something of an account. Names are those that AllAI or a template gave; what NATS gives a meaning is replaced.
    pub(crate) fn subject_of(&self, account: &str, what: Option<&str>) -> String {
        let token = |token: &str| {
            let letter = |c: char| {
                if c.is_ascii_alphanumeric() || "_-".contains(c) {
                    c
                } else {
                    '_'
                }
            };
            if token.is_empty() {
                "_".to_owned()
            } else {
                token.chars().map(letter).collect()
            }
        };
        let what: Vec<String> = what.unwrap_or("unknown").split('.').map(token).collect();
        format!("{}.{account}.{}", self.subject, what.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_has_the_account_and_the_type_and_no_wildcards() {
        let target = Target {
            url: "nats://127.0.0.1".into(),
            subject: "allai".to_owned(),
            stream: "ALLAI".to_owned(),
        };
        for (event, subject) in [
            (Some("lead.created"), "allai.main.lead.created"),
            (Some("lead.*.>"), "allai.main.lead._._"),
            (Some("a b..c"), "allai.main.a_b._.c"),
            (None, "allai.main.unknown"),
        ] {
            assert_eq!(target.subject_of("main", event), subject);
        }
    }
}
