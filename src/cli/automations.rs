//! `allai-sync automations`: the rules, what they did, and what they would do.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use allai_sync::app::{self, App};
use allai_sync::automation::{Rehearsed, mask_persons, rehearse};
use allai_sync::clock::SystemClock;
use allai_sync::config::{Automation, Config};
use allai_sync::warehouse::{RunFilter, RunRow, RunState, StepRow};
use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Context, Outcome, Usage, output, reading, runtime};

/// Shows the rules and what they did, tries one out, and repeats what failed
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    List(List),
    Runs(Runs),
    Replay(Replay),
    Test(Test),
}

/// Lists the rules
#[derive(Args, Debug)]
struct List {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Shows what rules did, the newest first; one run with its steps
#[derive(Args, Debug)]
struct Runs {
    /// Only this run, with its steps
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Only those of this rule
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Only those in this status
    #[arg(long, value_enum, value_name = "STATUS")]
    status: Option<Status>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Has dead runs go on, by the daemon, from the step that failed
#[derive(Args, Debug)]
struct Replay {
    /// The ids of the runs, as `automations runs` shows them
    #[arg(value_name = "ID", required_unless_present = "all_dead")]
    ids: Vec<String>,
    /// All that are dead
    #[arg(long, conflicts_with = "ids")]
    all_dead: bool,
}

/// Shows what rules would do about something, without doing it; stock and prices are really looked up
#[derive(Args, Debug)]
struct Test {
    /// A file with what happened, JSON: `event`, and `message`, `conversation`, `contact`, `messages` as far as rules read them; `-` reads standard input
    #[arg(value_name = "FILE", required_unless_present = "event")]
    file: Option<PathBuf>,
    /// The same, on the command line
    #[arg(long, value_name = "JSON", conflicts_with = "file")]
    event: Option<String>,
    /// Only this rule
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Status {
    Pending,
    Running,
    Done,
    Dead,
    Skipped,
}

impl From<Status> for RunState {
    fn from(status: Status) -> Self {
        match status {
            Status::Pending => Self::Pending,
            Status::Running => Self::Running,
            Status::Done => Self::Done,
            Status::Dead => Self::Dead,
            Status::Skipped => Self::Skipped,
        }
    }
}

impl Options {
    pub(crate) fn run(self, context: &Context) -> anyhow::Result<Outcome> {
        let config = context.load_config()?.config;
        match self.what {
            What::List(options) => options.run(&config),
            What::Runs(options) => runtime::block_on(options.run(&config)),
            What::Replay(options) => runtime::block_on(options.run(&config)),
            What::Test(options) => runtime::block_on(options.run(&config)),
        }
    }
}

impl List {
    fn run(self, config: &Config) -> anyhow::Result<Outcome> {
        if self.json {
            let text = json!({"automations": config.automations}).to_string();
            output::print(&(text + "\n"))?;
        } else if config.automations.is_empty() {
            output::print("There are no rules; the example of the configuration shows some.\n")?;
        } else {
            let steps = |section: &Automation| {
                let kinds = section
                    .steps
                    .iter()
                    .map(|step| step.0.get("do").and_then(Value::as_str));
                kinds.flatten().collect::<Vec<_>>().join(", ")
            };
            let rows = config.automations.iter().map(|section| {
                let state = match (section.enabled, section.dry_run) {
                    (false, _) => "off",
                    (true, true) => "dry run",
                    (true, false) => "on",
                };
                vec![
                    section.name.clone(),
                    config
                        .account(section.account.as_deref())
                        .map_or("-", |(name, _)| name)
                        .to_owned(),
                    state.to_owned(),
                    section.on.join(", "),
                    steps(section),
                ]
            });
            output::print(&output::table(&["rule", "account", "state", "on", "steps"], rows))?;
        }
        Ok(Outcome::Done)
    }
}

/// A run with its steps, as `runs ID --json` prints it.
#[derive(Serialize)]
struct Whole {
    #[serde(flatten)]
    run: RunRow,
    steps: Vec<StepRow>,
}

impl Runs {
    async fn run(self, config: &Config) -> anyhow::Result<Outcome> {
        let accounts = accounts(config);
        let filter = RunFilter {
            rule: self.rule.as_deref(),
            state: self.status.map(RunState::from),
            id: self.id.as_deref(),
            most: self.limit,
        };
        let location = app::location(config);
        let found = reading::read(&location, true, async |warehouse| {
            let mut found = Vec::new();
            for account in &accounts {
                for run in warehouse.automation_runs(account, &filter).await? {
                    let steps = match self.id {
                        Some(_) => warehouse.steps(account, &run.id).await?,
                        None => Vec::new(),
                    };
                    found.push(Whole { run, steps });
                }
            }
            Ok(found)
        });
        let mut found = found.await?.unwrap_or_default();
        found.sort_by(|one, other| other.run.id.cmp(&one.run.id));
        found.truncate(usize::try_from(self.limit).unwrap_or(usize::MAX));
        if let (Some(id), true) = (&self.id, found.is_empty()) {
            output::complain(&format!(
                "there is no run {id}; `allai-sync automations runs` shows them"
            ));
            return Ok(Outcome::Incomplete);
        }
        for whole in &mut found {
            mask_persons(&mut whole.steps);
        }
        let text = match (self.json, &self.id) {
            (true, _) => serde_json::to_string(&json!({"runs": found})).context("cannot write the report")? + "\n",
            (false, Some(_)) => found.iter().map(one).collect(),
            (false, None) => several(&found),
        };
        output::print(&text)?;
        Ok(Outcome::Done)
    }
}

fn several(found: &[Whole]) -> String {
    if found.is_empty() {
        return "No rule did anything, as far as this goes.\n".to_owned();
    }
    let rows = found.iter().map(|Whole { run, .. }| {
        vec![
            run.id.clone(),
            run.rule.clone(),
            run.event.clone(),
            format!("{} {}", run.subject, run.subject_id),
            run.created_at.format("%Y-%m-%d %H:%M:%S").to_string(),
            if run.dry {
                format!("{} (dry)", run.status)
            } else {
                run.status.clone()
            },
            run.problem.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    });
    output::table(&["run", "rule", "event", "about", "at", "status", "why"], rows)
}

fn one(whole: &Whole) -> String {
    let Whole { run, steps } = whole;
    let mut text = format!(
        "{} of {}: {}{}\n  {} {} {}, {}\n",
        run.id,
        run.rule,
        run.status,
        if run.dry { ", a dry run" } else { "" },
        run.event,
        run.subject,
        output::harmless(&run.subject_id),
        run.created_at.format("%Y-%m-%d %H:%M:%S"),
    );
    if let Some(problem) = &run.problem {
        let _ = writeln!(text, "  {}", output::harmless(problem));
    }
    for step in steps {
        text += &format!(
            "  {}. {} ({}): {:?}, tried {}\n",
            step.position + 1,
            step.name,
            step.kind,
            step.state,
            step.attempts
        )
        .to_lowercase();
        for (what, value) in [
            ("input", &step.input),
            ("output", &step.output),
            ("problem", &step.problem),
        ] {
            if let Some(value) = value {
                let _ = writeln!(text, "     {what}: {}", output::harmless(value));
            }
        }
    }
    text
}

impl Replay {
    async fn run(self, config: &Config) -> anyhow::Result<Outcome> {
        let app = App::open(config, SystemClock::shared()).await?;
        let mut replayed = 0;
        for account in accounts(config) {
            let ids = if self.all_dead {
                app.warehouse.dead_runs(&account).await?
            } else {
                self.ids.clone()
            };
            replayed += app.warehouse.replay_runs(&account, &ids).await?;
        }
        app.warehouse.close().await;
        output::print(&match replayed {
            0 => "No run goes on.\n".to_owned(),
            1 => "1 run goes on, as soon as the daemon runs.\n".to_owned(),
            more => format!("{more} runs go on, as soon as the daemon runs.\n"),
        })?;
        if !self.all_dead && replayed < self.ids.len() as u64 {
            output::complain("not all of them are dead runs; `allai-sync automations runs --status dead` shows those");
            return Ok(Outcome::Incomplete);
        }
        Ok(Outcome::Done)
    }
}

impl Test {
    async fn run(self, config: &Config) -> anyhow::Result<Outcome> {
        let text = match (&self.event, &self.file) {
            (Some(text), _) => text.clone(),
            (None, Some(path)) if path.as_os_str() == "-" => {
                let mut text = String::new();
                std::io::stdin()
                    .read_to_string(&mut text)
                    .context("cannot read standard input")?;
                text
            }
            (None, Some(path)) => std::fs::read_to_string(path)
                .map_err(|error| Usage(format!("cannot read {}: {error}", path.display())))?,
            (None, None) => String::new(),
        };
        let event: Value = serde_json::from_str(&text).map_err(|error| {
            Usage(format!(
                "what happened is not JSON: {error}; write e.g. {{\"event\": \"message.received\", \
                \"message\": {{\"content\": \"Aveți PH-1000?\"}}}}"
            ))
        })?;
        let rules = app::rules(config);
        let rules: Vec<_> = rules
            .iter()
            .filter(|rule| self.rule.as_deref().is_none_or(|name| name == rule.name))
            .collect();
        if rules.is_empty() {
            return Err(Usage(
                "there is no such rule that is enabled; `allai-sync automations list` shows them".to_owned(),
            )
            .into());
        }
        let clock = SystemClock::shared();
        let app = App::open(config, Arc::clone(&clock)).await?;
        let stocks = app::stocks(config, &clock);
        let mut told = BTreeMap::new();
        let mut text = String::new();
        for rule in rules {
            let Some(account) = app.accounts.iter().find(|account| account.name == rule.account) else {
                continue;
            };
            let tools = app::tools(config, account, &app.warehouse, &stocks, &clock);
            let rehearsed = rehearse(rule, &event, &tools, &clock).await;
            text += &describe(&rule.name, &rehearsed);
            told.insert(rule.name.clone(), rehearsed);
        }
        app.warehouse.close().await;
        output::print(&text)?;
        let is_well = told.values().any(|rehearsed| !rehearsed.steps.is_empty())
            && told
                .values()
                .all(|rehearsed| rehearsed.steps.iter().all(|step| step["problem"].is_null()));
        Ok(if is_well { Outcome::Done } else { Outcome::Incomplete })
    }
}

fn describe(name: &str, rehearsed: &Rehearsed) -> String {
    let mut text = match &rehearsed.verdict {
        Ok(()) => format!("{name}: runs\n"),
        Err(why) => format!("{name}: {why}\n"),
    };
    for step in &rehearsed.steps {
        let what = if step["skipped"] == true {
            "is skipped".to_owned()
        } else if step["problem"].is_string() {
            format!("fails: {}", step["problem"].as_str().unwrap_or_default())
        } else if step["would"] == true {
            format!("would do: {}", step["input"])
        } else {
            format!("gives: {}", step["output"])
        };
        let _ = writeln!(
            text,
            "  {} ({}) {}",
            step["step"].as_str().unwrap_or_default(),
            step["do"].as_str().unwrap_or_default(),
            output::harmless(&what)
        );
    }
    text
}

fn accounts(config: &Config) -> Vec<String> {
    config.accounts.keys().cloned().collect()
}
