//! What the log says while a test runs.

use std::io;
use std::sync::{Arc, Mutex, OnceLock};

use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Level};

/// The log of this thread at level info, from its making until it is dropped.
pub(super) struct Logged {
    written: Written,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn dispatch(&self) -> Dispatch {
        let writer = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::INFO)
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .with_writer(move || writer.clone())
            .finish();
        Dispatch::new(subscriber)
    }
}

impl Logged {
    pub(super) fn here() -> Self {
        // As long as there is but one subscriber, tracing asks that of the thread which first comes by an event whether
        // anybody wants it, and remembers the answer for all: a test without a subscriber would silence this one.
        static ANOTHER: OnceLock<Dispatch> = OnceLock::new();
        ANOTHER.get_or_init(|| Written::default().dispatch());
        let written = Written::default();
        let guard = tracing::dispatcher::set_default(&written.dispatch());
        Self { written, _guard: guard }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.written.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}
