//! The manual, `docs/man/`: a page a command, made from what the command line is.
//!
//! What the command line does not tell is at the end of the first page, from `docs/manual.roff`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::Cli;

const HEAD: &str = ".\\\" Made by the test the_manual_is_current from the command line and docs/manual.roff.\n";
const REST: &str = include_str!("../../docs/manual.roff");

/// Adds a command's page and those of its subcommands, by their file names.
fn add(command: &Command, pages: &mut BTreeMap<String, String>) {
    for subcommand in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        add(subcommand, pages);
    }
    // No date, in quotes: what comes after an empty one would take its place.
    let man = Man::new(command.clone())
        .date("\"\"")
        .source("allai-sync")
        .manual("User Commands");
    let mut page = Vec::from(HEAD);
    man.render(&mut page).unwrap();
    pages.insert(man.get_filename(), String::from_utf8(page).unwrap());
}

#[test]
fn the_manual_is_current() {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut pages = BTreeMap::new();
    add(&command, &mut pages);
    pages.get_mut("allai-sync.1").unwrap().push_str(REST);

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/man");
    let there: BTreeMap<String, String> = fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .map(|file| {
            let file = file.unwrap();
            let page = fs::read_to_string(file.path()).unwrap();
            (file.file_name().into_string().unwrap(), page)
        })
        .collect();
    if there == pages {
        return;
    }
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    for (name, page) in &pages {
        fs::write(folder.join(name), page).unwrap();
    }
    panic!("docs/man was not what the command line is. It is now: see what has changed, and commit it");
}
