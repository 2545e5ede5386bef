//! What the README shows is what happens: its commands and its SQL are run as they stand there.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use allai_sync::sandbox::{Options, Sandbox};
use tempfile::TempDir;

use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::on_both_databases;
use crate::support::process::Said;

const README: &str = include_str!("../../README.md");

on_both_databases! {
    the_questions_to_the_warehouse_have_answers,
    the_tables_and_views_exist,
}

/// The contents of the fenced blocks of a language.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    README
        .split(fence.as_str())
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

async fn mirror(database: Database) -> Mirror {
    let mirror = Mirror::start(database, Options::for_tests(150, 60)).await;
    mirror.sync().await;
    mirror
}

async fn the_questions_to_the_warehouse_have_answers(database: Database) {
    let mirror = mirror(database).await;
    let questions = blocks("sql");
    assert_eq!(questions.len(), 4);
    for question in questions {
        // The simulated account's last month is not always the README's.
        let question = question.replace("day >= '2026-10-01' AND day < '2026-11-01'", "day >= '2000-01-01'");
        let count = format!(
            "SELECT count(*) FROM ({}) AS answer",
            question.trim().trim_end_matches(';')
        );
        assert_ne!(mirror.database.value(&count).await, "0", "{question}");
    }
}

async fn the_tables_and_views_exist(database: Database) {
    let mirror = mirror(database).await;
    let in_the_first_column = README
        .lines()
        .skip_while(|line| !line.starts_with("| table | holds |"))
        .take_while(|line| !line.starts_with("How many"))
        .filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let names: Vec<&str> = in_the_first_column
        .flat_map(|cell| cell.split(", "))
        .map(|name| name.trim_matches('`'))
        .collect();
    assert!(names.len() > 15, "{names:?}");
    for name in &names {
        mirror.database.value(&format!("SELECT count(*) FROM {name}")).await;
    }
    for (view, _) in allai_sync::warehouse::VIEWS {
        assert!(names.contains(view), "the README leaves out {view}");
    }
}

/// Runs a line of the README in a folder, as a shell would.
fn shell(folder: &Path, line: &str) -> Said {
    let binary = Path::new(env!("CARGO_BIN_EXE_allai-sync"));
    let path = format!(
        "{}:{}",
        binary.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let said = Command::new("sh")
        .args(["-ec", line])
        .current_dir(folder)
        .env("PATH", path)
        .output();
    said.unwrap().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_commands_do_what_they_say() {
    let sandbox = Sandbox::start(Options::for_tests(30, 5)).await.unwrap();
    let folder = TempDir::new().unwrap();
    let lines: Vec<&str> = blocks("sh").into_iter().flat_map(str::lines).collect();
    let own: Vec<&&str> = lines
        .iter()
        .filter(|line| line.starts_with("allai-sync ") || line.starts_with("chmod "))
        // It goes on for ever: `daemon` tests it.
        .filter(|line| !line.starts_with("allai-sync run"))
        .collect();
    assert_eq!(own.len(), 7, "{lines:?}");
    for line in own {
        shell(folder.path(), line).expect(0);
        let config = folder.path().join("config.toml");
        if line.contains("config example") {
            // The user puts in the key; here the address as well.
            let text = std::fs::read_to_string(&config).unwrap();
            let key = format!("api_key = \"{}\"", sandbox.keys().read);
            let address = format!("base_url = \"{}\"", sandbox.base_url());
            let text = text.replace("api_key = \"paste-the-api-key-here\"", &format!("{key}\n{address}"));
            std::fs::write(&config, text).unwrap();
        }
        if line.starts_with("chmod") {
            assert_eq!(config.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}

#[test]
fn the_two_first_commands_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let first: Vec<&str> = blocks("sh").into_iter().take(2).map(str::trim).collect();
    assert_eq!(first, ["cargo run -- demo", "./scripts/test"]);
    assert!(root.join("scripts/test").metadata().unwrap().permissions().mode() & 0o111 != 0);
    assert!(root.join("docs/status-page.png").exists());
}
