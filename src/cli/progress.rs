//! Progress: on a terminal a bar per account with rows, rate, time left and what is waited for; elsewhere log lines.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use allai_sync::allai::{Resource, Wait, WaitReason};
use allai_sync::app::{Watch, Watched};
use allai_sync::clock::SharedClock;
use allai_sync::figures::{duration, grouped};
use allai_sync::sync::ProgressSnapshot;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

/// How often the bars are drawn.
const FRAME: Duration = Duration::from_millis(100);
/// How often a line is logged where there are no bars.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// The bars on the terminal; log lines are written above them.
static BARS: OnceLock<MultiProgress> = OnceLock::new();

/// Standard error, with the bars out of the way while a log line is written.
pub(crate) fn stderr() -> impl io::Write {
    AboveBars
}

struct AboveBars;

impl io::Write for AboveBars {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match BARS.get() {
            Some(bars) => bars.suspend(|| io::stderr().write(line)),
            None => io::stderr().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Draws a bar per account until the task is aborted.
fn draw(watch: &Arc<Watch>, clock: SharedClock) -> JoinHandle<()> {
    let bars = BARS.get_or_init(MultiProgress::new).clone();
    let watch = Arc::clone(watch);
    tokio::spawn(async move {
        let mut lines: Vec<Line> = watch.accounts.iter().map(|_| Line::new(&bars)).collect();
        loop {
            for (line, watched) in lines.iter_mut().zip(&watch.accounts) {
                line.draw(watched, clock.monotonic());
            }
            clock.sleep(FRAME).await;
        }
    })
}

/// Progress that is being shown; ends when dropped.
pub(crate) struct Shown(JoinHandle<()>);

impl Drop for Shown {
    fn drop(&mut self) {
        self.0.abort();
        if let Some(bars) = BARS.get() {
            // A terminal that is gone needs no clearing.
            let _ = bars.clear();
        }
    }
}

/// Shows what `watch` sees: as bars, or now and then as a line of the log.
pub(crate) fn show(watch: &Arc<Watch>, clock: SharedClock, bars: bool) -> Shown {
    Shown(if bars { draw(watch, clock) } else { log(watch, clock) })
}

fn log(watch: &Arc<Watch>, clock: SharedClock) -> JoinHandle<()> {
    let watch = Arc::clone(watch);
    tokio::spawn(async move {
        loop {
            clock.sleep(LINE_EVERY).await;
            for watched in &watch.accounts {
                if let Some((resource, progress)) = watched.current() {
                    let waits = watched
                        .budget
                        .snapshot()
                        .waiting
                        .map_or(Duration::ZERO, |wait| wait.lasts);
                    tracing::info!(
                        sync.account = watched.name, sync.resource = %resource, sync.rows = progress.rows,
                        sync.expected = progress.expected, sync.written = progress.changed,
                        http.wait_seconds = waits.as_secs(), "syncing"
                    );
                }
            }
        }
    })
}

struct Line {
    bar: ProgressBar,
    resource: Option<Resource>,
    since: Duration,
}

impl Line {
    fn new(bars: &MultiProgress) -> Self {
        let bar = bars.add(ProgressBar::no_length());
        bar.set_style(style(false));
        Self {
            bar,
            resource: None,
            since: Duration::ZERO,
        }
    }

    fn draw(&mut self, watched: &Watched, now: Duration) {
        let Some((resource, progress)) = watched.current() else {
            return;
        };
        if self.resource != Some(resource) {
            self.resource = Some(resource);
            self.since = now;
        }
        let waiting = watched.budget.snapshot().waiting;
        let elapsed = now.saturating_sub(self.since);
        self.bar.set_prefix(format!("{} {resource}", watched.name));
        self.bar.set_style(style(progress.expected > 0));
        if progress.expected > 0 {
            self.bar.set_length(progress.expected.max(progress.rows));
        }
        self.bar.set_position(progress.rows);
        self.bar.set_message(describe(resource, &progress, elapsed, waiting));
        self.bar.tick();
    }
}

fn style(with_length: bool) -> ProgressStyle {
    let template = if with_length {
        "{prefix:24} {bar:24} {msg}"
    } else {
        "{prefix:24} {spinner} {msg}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
fn describe(resource: Resource, progress: &ProgressSnapshot, elapsed: Duration, waiting: Option<Wait>) -> String {
    let unit = if resource == Resource::Messages {
        "conversations"
    } else {
        "rows"
    };
    let rows = if progress.expected > 0 {
        format!("{}/{} {unit}", grouped(progress.rows), grouped(progress.expected))
    } else {
        format!("{} {unit}", grouped(progress.rows))
    };
    let mut parts = vec![rows];
    let seconds = elapsed.as_secs_f64();
    if seconds > 1.0 && progress.rows > 0 {
        let rate = progress.rows as f64 / seconds;
        parts.push(format!("{rate:.0}/s"));
        let left = progress.expected.saturating_sub(progress.rows);
        if left > 0 {
            #[expect(clippy::cast_possible_truncation, reason = "seconds left, for people to read")]
            let left = (left as f64 / rate) as i64;
            parts.push(format!("{} left", duration(left)));
        }
    }
    if let Some(wait) = waiting.filter(|wait| wait.lasts >= Duration::from_secs(1)) {
        let what = match wait.reason {
            WaitReason::Window => "the rate limit's next window",
            WaitReason::Pause => "the pause the API asked for",
            WaitReason::Ceiling => "the plan's rate",
            WaitReason::Probe => "the API's first answer",
            WaitReason::Concurrency => "requests under way",
        };
        parts.push(format!("waiting {} s for {what}", wait.lasts.as_secs()));
    }
    parts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_says_how_far_how_fast_and_what_it_waits_for() {
        let progress = ProgressSnapshot {
            rows: 1_500,
            changed: 0,
            expected: 2_000,
        };
        let wait = Wait {
            reason: WaitReason::Window,
            lasts: Duration::from_secs(23),
        };
        assert_eq!(
            describe(Resource::Contacts, &progress, Duration::from_secs(10), Some(wait)),
            "1,500/2,000 rows  150/s  3 s left  waiting 23 s for the rate limit's next window"
        );
    }
}
