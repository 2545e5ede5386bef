//! A configuration file.

use std::collections::BTreeMap;

use allai_sync::config::{check_text, show};

/// A value that must not come back in an error.
const PLANTED: &str = "hunter2hunter2";

/// A file is a valid configuration or a list of errors with places, none of which repeats a value; and what `config show`
/// prints of a valid one is a configuration that shows the same.
pub(crate) fn hold(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let loaded = match check_text(text, &BTreeMap::new()) {
        Ok(loaded) => loaded,
        Err(errors) => {
            assert!(!errors.issues.is_empty());
            assert!(errors.issues.iter().all(|issue| !issue.problem.is_empty()));
            if is_planted_as_value(text) {
                assert!(!format!("{errors} {errors:?}").contains(PLANTED), "{errors}");
            }
            return;
        }
    };
    assert!(!loaded.warnings.iter().any(|warning| warning.contains(PLANTED)));
    let shown = show(&loaded);
    let again = check_text(&shown, &BTreeMap::new());
    let again = again.unwrap_or_else(|errors| panic!("{errors}\nin what was shown:\n{shown}"));
    assert_eq!(without_origins(&shown), without_origins(&show(&again)));
}

/// What is shown, but for where each value came from.
fn without_origins(shown: &str) -> Vec<&str> {
    shown
        .lines()
        .map(|line| line.rsplit_once("  # ").map_or(line, |(setting, _)| setting))
        .collect()
}

/// Whether the planted text is a value wherever it stands, as far as can be told without reading TOML: a key may be repeated.
fn is_planted_as_value(text: &str) -> bool {
    let as_value = format!("= \"{PLANTED}\"\n");
    let plain = !text.contains(['\'', '\\', '#']) && !text.contains("\"\"");
    plain && text.contains(PLANTED) && text.matches(PLANTED).count() == text.matches(&as_value).count()
}
