//! The properties that are fuzzed, on the seeds that fuzzing starts from.

use std::path::{Path, PathBuf};

#[path = "../../fuzz/properties/mod.rs"]
mod properties;

/// Holds the target's property for each of its seeds.
fn seeds_hold(target: &str, hold: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let seeds: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(!seeds.is_empty(), "{} is empty", folder.display());
    for seed in seeds {
        let input = std::fs::read(&seed).unwrap();
        let outcome = std::panic::catch_unwind(|| hold(&input));
        assert!(outcome.is_ok(), "{} breaks the property", seed.display());
    }
}

#[test]
fn any_page_is_records_or_rejected_rows_or_refused() {
    seeds_hold("page", properties::page::hold);
}

#[test]
fn any_text_is_a_date_or_is_kept() {
    seeds_hold("dates", properties::dates::hold);
}

#[test]
fn any_file_is_a_configuration_that_shows_itself_or_a_list_of_errors() {
    seeds_hold("config", properties::config::hold);
}

#[test]
fn no_server_can_make_the_client_wait_for_ever() {
    seeds_hold("rate_limit", properties::rate_limit::hold);
}

#[test]
fn any_webhook_is_an_event_that_can_be_kept_and_only_if_it_is_signed() {
    seeds_hold("webhook", properties::webhook::hold);
}

#[test]
fn whatever_a_visitor_writes_is_data() {
    seeds_hold("automation", properties::automation::hold);
}
