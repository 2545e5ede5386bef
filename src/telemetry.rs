//! Logs: what is written to stderr, and in which form.
//!
//! For `journald`, entries go to the journal with their fields if it is what stderr is connected to. Elsewhere, in a
//! container for instance, they are lines with sd-daemon's `<N>` priority prefix.

mod journal;

use std::fmt;
use std::io::IsTerminal;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use journal::Journal;

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: time, level, message, fields; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
    /// For systemd's journal: entries with fields, or lines with a priority prefix; no time, which the journal adds.
    Journald,
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `RUST_LOG` holds no filter.
    #[error("RUST_LOG is not a log filter; write e.g. RUST_LOG=info,allai_sync=debug")]
    Filter(#[from] ParseError),
    /// Somebody else logs already.
    #[error("logging was started twice in one process")]
    Started(#[from] TryInitError),
}

/// Starts logging.
///
/// `verbosity` counts from 0 (what an operator wants to read), up for more and down for less. `rust_log` overrules it: a
/// filter in tracing's syntax, as `RUST_LOG` holds it.
/// Lines go to what `writer` makes; for the journal that stderr is connected to there are none.
pub fn start<W>(format: LogFormat, verbosity: i32, rust_log: Option<&str>, writer: W) -> Result<(), TelemetryError>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let filter = match rust_log.filter(|filter| !filter.is_empty()) {
        Some(filter) => EnvFilter::try_new(filter)?,
        None => EnvFilter::try_new(default_filter(verbosity))?,
    };
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        LogFormat::Text => {
            let colour =
                std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
            registry.with(lines.with_ansi(colour).with_target(false)).try_init()?;
        }
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init()?,
        LogFormat::Journald => match Journal::behind_stderr() {
            Some(journal) => registry.with(journal).try_init()?,
            None => registry
                .with(lines.with_ansi(false).event_format(Prioritized::default()))
                .try_init()?,
        },
    }
    Ok(())
}

/// The libraries beneath are heard one level later than we are: their daily business is not the operator's.
const fn default_filter(verbosity: i32) -> &'static str {
    match verbosity {
        ..=-2 => "error",
        -1 => "warn",
        0 => "warn,allai_sync=info",
        1 => "info,allai_sync=debug",
        _ => "debug,allai_sync=trace",
    }
}

/// Lines that begin with sd-daemon's priority (`sd-daemon(3)`).
struct Prioritized {
    line: Format<Full, ()>,
}

impl Default for Prioritized {
    fn default() -> Self {
        Self {
            line: Format::default().without_time().with_level(false).with_target(false),
        }
    }
}

impl<S, N> FormatEvent<S, N> for Prioritized
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut text = String::new();
        self.line.format_event(context, Writer::new(&mut text), event)?;
        write_prioritized(&mut writer, *event.metadata().level(), &text)
    }
}

fn write_prioritized(writer: &mut impl fmt::Write, level: Level, text: &str) -> fmt::Result {
    let priority = priority(level);
    // Each line of a message of several is an entry of its own to the journal.
    for line in text.trim_end().lines() {
        writeln!(writer, "<{priority}>{}", line.trim_end())?;
    }
    Ok(())
}

const fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_for_the_journal_carries_its_priority() {
        let captured = Captured::default();
        let writer = captured.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .event_format(Prioritized::default());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(sync.rows = 3, "first\nsecond");
            tracing::info!("third");
        });
        let lines = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
        assert_eq!(lines, "<4>first\n<4>second sync.rows=3\n<6>third\n");
    }

    #[test]
    fn every_default_filter_is_valid() {
        for verbosity in -5..5 {
            assert!(EnvFilter::try_new(default_filter(verbosity)).is_ok());
        }
    }
}
