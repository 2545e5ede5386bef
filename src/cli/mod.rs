//! The command line: the only home of `anyhow` and of printing.
//!
//! A subcommand is one file with its `Options` and their `run`, a variant of [`Command`] and a line in [`Command::run`].
//! `run` gets the [`Context`] of the global options and says whether all was [`Done`](Outcome::Done); an error ends the
//! program with 1, or with 2 if it says that the user has to change something first: [`config::Errors`] and [`Usage`].
//! The manual in `docs/man/` follows: a test writes it anew when the command line has changed.

mod automations;
mod check;
mod completions;
mod config;
mod contacts;
mod demo;
#[cfg(test)]
mod manual;
mod migrate;
mod output;
mod parity;
mod progress;
mod reading;
mod run;
mod runtime;
mod sandbox;
mod status;
mod stock;
mod subscription;
mod summary;
mod sync;
mod webhooks;

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use allai_sync::config::{Config, Errors, LoadOptions, Loaded};
use allai_sync::telemetry::{self, LogFormat};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

/// Mirrors an AllAI account into SQLite or PostgreSQL, exactly: nothing lost, nothing stale, nothing written twice.
#[derive(Debug, Parser)]
#[command(
    name = "allai-sync",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What can stand before or after the subcommand.
#[derive(Args, Debug)]
struct Global {
    /// The configuration file [default: ./config.toml, else /etc/allai-sync/config.toml]
    #[arg(short, long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Log more; twice for everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Log warnings only; twice for errors only
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "verbose")]
    quiet: u8,
    /// The form of the log on stderr
    #[arg(long, global = true, value_enum, default_value_t = LogFormatOption::Text, value_name = "FORMAT")]
    log_format: LogFormatOption,
}

/// [`LogFormat`], by the names it has on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormatOption {
    Text,
    Json,
    Journald,
}

impl From<LogFormatOption> for LogFormat {
    fn from(option: LogFormatOption) -> Self {
        match option {
            LogFormatOption::Text => Self::Text,
            LogFormatOption::Json => Self::Json,
            LogFormatOption::Journald => Self::Journald,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Options),
    Sync(sync::Options),
    Demo(demo::Options),
    Sandbox(Box<sandbox::Options>),
    Check(check::Options),
    Status(status::Options),
    Migrate(migrate::Options),
    Stock(stock::Options),
    Contacts(contacts::Options),
    Automations(automations::Options),
    Webhooks(webhooks::Options),
    Config(config::Options),
    Completions(completions::Options),
}

impl Command {
    const fn draws_bars(&self) -> bool {
        matches!(self, Self::Sync(_) | Self::Demo(_))
    }

    fn run(self, context: &Context) -> anyhow::Result<Outcome> {
        match self {
            Self::Run(options) => options.run(context),
            Self::Sync(options) => options.run(context),
            Self::Demo(options) => options.run(context),
            Self::Sandbox(options) => options.run(),
            Self::Check(options) => options.run(context),
            Self::Status(options) => options.run(context),
            Self::Migrate(options) => options.run(context),
            Self::Stock(options) => options.run(context),
            Self::Contacts(options) => options.run(context),
            Self::Automations(options) => options.run(context),
            Self::Webhooks(options) => options.run(context),
            Self::Config(options) => options.run(context),
            Self::Completions(options) => options.run(),
        }
    }
}

/// What the global options give every subcommand.
#[derive(Debug)]
pub(crate) struct Context {
    config: Option<PathBuf>,
    bars: bool,
}

impl Context {
    /// Whether progress is drawn: a person watches, and has not asked for another kind of log.
    pub(crate) const fn draws_bars(&self) -> bool {
        self.bars
    }

    /// Loads the configuration and logs what is unwise about it.
    pub(crate) fn load_config(&self) -> anyhow::Result<Loaded> {
        let loaded = Config::load(&LoadOptions::from_process(self.config.clone()))?;
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        Ok(loaded)
    }
}

/// How a subcommand that did its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is done: exit code 0.
    Done,
    /// Something failed or was left out, and has been said: exit code 1.
    Incomplete,
}

/// Something the user has to change on the command line or in the environment: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(String);

/// Fails if `--account` names none that is enabled.
fn check_account(config: &Config, name: Option<&str>) -> Result<(), Usage> {
    let Some(name) = name else { return Ok(()) };
    match config.accounts.get(name) {
        Some(account) if account.enabled => Ok(()),
        Some(_) => Err(Usage(format!(
            "account {name} is switched off: set accounts.{name}.enabled = true in the configuration"
        ))),
        None => {
            let names: Vec<&str> = config.accounts.keys().map(String::as_str).collect();
            Err(Usage(format!(
                "there is no account {name}; the configuration has: {}",
                names.join(", ")
            )))
        }
    }
}

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    // Ends the process itself on a usage error, with 2, and on --help and --version, with 0.
    let cli = Cli::parse();
    match run(cli) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Incomplete) => ExitCode::FAILURE,
        Err(error) => {
            output::error(&error);
            exit_code(&error)
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<Outcome> {
    let rust_log = std::env::var("RUST_LOG").ok();
    let verbosity = i32::from(cli.global.verbose) - i32::from(cli.global.quiet);
    let bars = verbosity == 0 && matches!(cli.global.log_format, LogFormatOption::Text) && io::stderr().is_terminal();
    let context = Context {
        config: cli.global.config,
        bars,
    };
    // Where bars show what goes on, the log is left with what is wrong.
    let verbosity = if bars && cli.command.draws_bars() {
        -1
    } else {
        verbosity
    };
    telemetry::start(
        cli.global.log_format.into(),
        verbosity,
        rust_log.as_deref(),
        progress::stderr,
    )
    .map_err(|error| Usage(error.to_string()))?;
    cli.command.run(&context)
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    let for_the_user = error.chain().any(|cause| cause.is::<Errors>() || cause.is::<Usage>());
    ExitCode::from(if for_the_user { 2 } else { 1 })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_options_work_before_and_after_the_subcommand() {
        for arguments in [
            ["allai-sync", "-c", "x.toml", "-vv", "config", "show"],
            ["allai-sync", "config", "show", "-c", "x.toml", "-vv"],
        ] {
            let cli = Cli::parse_from(arguments);
            assert_eq!(cli.global.config.as_deref(), Some(std::path::Path::new("x.toml")));
            assert_eq!(cli.global.verbose, 2);
        }
    }

    #[test]
    fn an_error_that_the_user_has_to_fix_exits_with_2() {
        let usage = anyhow::Error::from(Usage("no such thing".into())).context("cannot begin");
        assert_eq!(exit_code(&usage), ExitCode::from(2));
        assert_eq!(exit_code(&anyhow::anyhow!("the disk is full")), ExitCode::from(1));
    }
}
