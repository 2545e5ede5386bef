//! `allai-sync config`: looks at the configuration.

use allai_sync::config::{EXAMPLE, schema, show};
use anyhow::Context as _;
use clap::{Args, Subcommand};

use super::{Context, Outcome, output};

/// Shows the effective configuration, its JSON Schema, or an annotated example
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The effective configuration and where each value came from, with secrets redacted
    Show,
    /// The JSON Schema of the configuration, for editors
    Schema,
    /// An annotated example with every setting: allai-sync config example > config.toml
    Example,
}

impl Options {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Outcome> {
        match self.what {
            What::Show => output::print(&show(&context.load_config()?))?,
            What::Schema => {
                let text = serde_json::to_string_pretty(&schema()).context("cannot write the schema")?;
                output::print(&(text + "\n"))?;
            }
            What::Example => output::print(EXAMPLE)?,
        }
        Ok(Outcome::Done)
    }
}
