//! Printing: stdout for results, stderr for errors.

use std::io::{self, ErrorKind, Write};

use anyhow::Context;
use comfy_table::Table;
use comfy_table::presets::NOTHING;

/// Prints a result. A reader that has seen enough (`allai-sync config example | head`) is no error.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to standard output"),
    }
}

/// A text from elsewhere, without what would move the terminal's cursor or turn the text around.
pub(crate) fn harmless(text: &str) -> String {
    let is_harmless = |c: &char| {
        !c.is_control() && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().filter(is_harmless).collect()
}

/// Says what went wrong, with all its causes.
pub(crate) fn error(error: &anyhow::Error) {
    // `{:#}` joins the chain of causes. If stderr is gone there is nobody left to tell.
    let _ = writeln!(io::stderr(), "error: {error:#}");
}

/// Says what is wrong where that is a result and not a failure.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Rows in columns, without lines.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    for row in rows {
        table.add_row(row.iter().map(|cell| harmless(cell)));
    }
    let table = table.to_string();
    let lines: Vec<&str> = table.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}
