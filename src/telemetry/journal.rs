//! Entries of systemd's journal with their fields, so that `journalctl SYNC_ACCOUNT=main` finds them.
//!
//! In the journal's own protocol (<https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>), which std's sockets are enough for. The
//! message is the whole line, fields included, as it is in every other form of the log: most people read no more of an
//! entry than that.

use std::fmt::{Debug, Write as _};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::FormatFields as _;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::layer::Context;

use super::{priority, write_prioritized};

const SOCKET: &str = "/run/systemd/journal/socket";
/// What systemd calls the lines of this program on stderr.
const IDENTIFIER: &str = "allai-sync";

/// A layer that writes to the journal.
pub(super) struct Journal {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Journal {
    /// The journal, if it is where stderr goes to and can be reached.
    pub(super) fn behind_stderr() -> Option<Self> {
        let stream = std::env::var("JOURNAL_STREAM").ok()?;
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned().ok()?);
        if !is_stream(&stream, &stderr) {
            return None;
        }
        Self::at(Path::new(SOCKET)).ok()
    }

    fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // It tells whether somebody listens; the journal takes no notice of an empty entry.
        socket.send_to(&[], path)?;
        Ok(Self {
            socket,
            path: path.to_owned(),
        })
    }
}

/// Whether `JOURNAL_STREAM` speaks of this file: it holds the device and the inode of the stream that systemd gave to the
/// service (systemd.exec(5)), and what is redirected elsewhere inherits it.
fn is_stream(journal_stream: &str, file: &File) -> bool {
    file.metadata()
        .is_ok_and(|file| journal_stream == format!("{}:{}", file.dev(), file.ino()))
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = String::new();
        if DefaultFields::new()
            .format_fields(Writer::new(&mut text), event)
            .is_err()
        {
            text.push_str("(this line cannot be shown)");
        }
        // Each time by its path: the journal may have been started anew. What it does not take, it gets as lines.
        if self.socket.send_to(&entry(event, &text), &self.path).is_err() {
            let mut lines = String::new();
            if write_prioritized(&mut lines, *event.metadata().level(), &text).is_ok() {
                // Where neither works, there is nobody left to tell.
                let _ = io::stderr().write_all(lines.as_bytes());
            }
        }
    }
}

fn entry(event: &Event<'_>, text: &str) -> Vec<u8> {
    let metadata = event.metadata();
    let mut fields = Fields {
        entry: Vec::with_capacity(512),
        value: String::new(),
    };
    fields.put("MESSAGE", text.trim_end());
    fields.put("PRIORITY", &priority(*metadata.level()).to_string());
    fields.put("SYSLOG_IDENTIFIER", IDENTIFIER);
    fields.put("TARGET", metadata.target());
    event.record(&mut fields);
    fields.entry
}

/// An entry as it is written.
struct Fields {
    entry: Vec<u8>,
    value: String,
}

impl Fields {
    /// `name` is of capital letters, digits and underscores.
    fn put(&mut self, name: &str, value: &str) {
        self.entry.extend_from_slice(name.as_bytes());
        if value.contains('\n') {
            // In this form a value may have lines.
            self.entry.push(b'\n');
            self.entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
        } else {
            self.entry.push(b'=');
        }
        self.entry.extend_from_slice(value.as_bytes());
        self.entry.push(b'\n');
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(name) = name(field.name()) {
            self.put(&name, value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = std::mem::take(&mut self.value);
        text.clear();
        if write!(text, "{value:?}").is_ok() {
            self.record_str(field, &text);
        }
        self.value = text;
    }
}

/// What a field is called in the journal: `sync.account` is `SYNC_ACCOUNT`. `None` for the message, and for what would be
/// mistaken for a field of the journal's own.
fn name(field: &str) -> Option<String> {
    let name: String = field
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    let is_free = !matches!(&*name, "MESSAGE" | "PRIORITY" | "SYSLOG_IDENTIFIER" | "TARGET");
    // systemd.journal-fields(7): no longer than 64, and none that begins with an underscore is taken.
    (is_free && name.len() <= 64 && name.starts_with(|first: char| first.is_ascii_uppercase())).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// An entry's fields, as the protocol says that they are to be read.
    fn read(mut entry: &[u8]) -> BTreeMap<String, String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut fields = BTreeMap::new();
        while !entry.is_empty() {
            let end = entry.iter().position(|byte| *byte == b'\n').unwrap();
            let line = &entry[..end];
            entry = &entry[end + 1..];
            let (name, value) = if let Some(equals) = line.iter().position(|byte| *byte == b'=') {
                (text(&line[..equals]), text(&line[equals + 1..]))
            } else {
                let (length, rest) = entry.split_first_chunk::<8>().unwrap();
                let (value, rest) = rest.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap());
                entry = rest.strip_prefix(b"\n").unwrap();
                (text(line), text(value))
            };
            assert_eq!(fields.insert(name, value), None);
        }
        fields
    }

    #[test]
    fn an_entry_has_the_whole_line_and_each_field() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        assert!(Journal::at(&path).is_err());
        let listener = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(&path).unwrap();
        let mut buffer = [0; 4_096];
        assert_eq!(listener.recv(&mut buffer).unwrap(), 0);

        let error = "two\nlines";
        tracing::subscriber::with_default(tracing_subscriber::registry().with(journal), || {
            tracing::warn!(sync.account = "main", sync.rows = 3, %error, target = "x", _transport = 1, "it is\nso");
        });
        let length = listener.recv(&mut buffer).unwrap();
        let fields = read(&buffer[..length]);
        let expected = [
            (
                "MESSAGE",
                "it is\nso sync.account=\"main\" sync.rows=3 error=two\nlines target=\"x\" _transport=1",
            ),
            ("PRIORITY", "4"),
            ("SYSLOG_IDENTIFIER", "allai-sync"),
            ("TARGET", "allai_sync::telemetry::journal::tests"),
            ("SYNC_ACCOUNT", "main"),
            ("SYNC_ROWS", "3"),
            ("ERROR", "two\nlines"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(fields, BTreeMap::from(expected));
    }

    #[test]
    fn what_is_redirected_elsewhere_is_not_the_journal() {
        let (one, two) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let its = one.metadata().unwrap();
        let stream = format!("{}:{}", its.dev(), its.ino());
        assert!(is_stream(&stream, &one));
        assert!(!is_stream(&stream, &two));
        for nonsense in ["", ":", "9", "0:0"] {
            assert!(!is_stream(nonsense, &one), "{nonsense}");
        }
    }
}
