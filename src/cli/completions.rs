//! `allai-sync completions`: completion for shells.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Outcome, output};

/// Prints a completion script for a shell
///
/// bash: allai-sync completions bash > /etc/bash_completion.d/allai-sync
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The shell to complete in
    shell: Shell,
}

impl Options {
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        // Into memory first: clap_complete panics if it cannot write.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "allai-sync", &mut script);
        output::print(&String::from_utf8(script)?)?;
        Ok(Outcome::Done)
    }
}
