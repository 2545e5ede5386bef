//! The last runs of a resource as a small chart: a bar each, as high as the run was long, of a shape and a colour that say
//! how it ended. The newest is at the right.

use std::fmt::Write as _;

use crate::figures::took;
use crate::status::RecentRun;
use crate::warehouse::RunStatus;

/// How many runs there is room for.
const PLACES: u16 = 30;
/// The width of a bar with the gap after it, and without it.
const STEP: u16 = 7;
const BAR: f64 = 5.0;
/// Where bars stand, and how much of the height is theirs; what is left above is for marks.
const GROUND: f64 = 35.0;
const HIGHEST: f64 = 26.0;
const LOWEST: f64 = 3.0;

/// How a run ended, as it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A bar with a dot above it.
    Verified,
    /// A bar.
    Complete,
    /// A bar that is hollow.
    Incomplete,
    /// A line with a cross on top.
    Failed,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Verified, Self::Complete, Self::Incomplete, Self::Failed];

    /// What the style sheet calls it, and people.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Complete => "complete",
            Self::Incomplete => "incomplete",
            Self::Failed => "failed",
        }
    }

    pub(super) const fn of(run: &RecentRun) -> Self {
        match (run.status, run.verified) {
            (RunStatus::Complete, true) => Self::Verified,
            (RunStatus::Complete, false) => Self::Complete,
            (RunStatus::Incomplete, _) => Self::Incomplete,
            (RunStatus::Failed, _) => Self::Failed,
        }
    }
}

/// A chart's parts.
pub(super) struct Chart {
    /// What it shows, in words.
    pub(super) text: String,
    /// One path for each outcome there is: its name, and the commands of SVG that draw it.
    pub(super) paths: Vec<(&'static str, String)>,
}

/// How wide and how high charts are.
pub(super) const SIZE: (u16, u16) = (PLACES * STEP - 2, 37);

/// Draws runs, of which the newest is first.
pub(super) fn draw(runs: &[RecentRun]) -> Chart {
    let runs = &runs[..runs.len().min(PLACES.into())];
    let longest = runs.iter().map(|run| run.seconds).fold(0.0, f64::max);
    let mut paths = Vec::new();
    let mut counts = Vec::new();
    for outcome in Outcome::ALL {
        let mut path = String::new();
        let mut count = 0;
        for (place, run) in (1..=PLACES).rev().zip(runs) {
            if Outcome::of(run) == outcome {
                count += 1;
                put(
                    &mut path,
                    outcome,
                    f64::from((place - 1) * STEP),
                    height(run.seconds, longest),
                );
            }
        }
        if count > 0 {
            counts.push(format!("{count} {}", outcome.as_str()));
            paths.push((outcome.as_str(), path));
        }
    }
    let text = match runs {
        [] => "No runs yet".to_owned(),
        [run] => format!("One run: {}, {}", Outcome::of(run).as_str(), took(run.seconds)),
        [last, ..] => format!(
            "Last {} runs: {}. The longest took {}, the last one {}",
            runs.len(),
            counts.join(", "),
            took(longest),
            took(last.seconds)
        ),
    };
    Chart { text, paths }
}

/// One bar, of middle height, for a legend.
pub(super) fn sample(outcome: Outcome) -> String {
    let mut path = String::new();
    put(&mut path, outcome, 0.0, HIGHEST / 2.0);
    path
}

/// By the root, so that short runs are seen beside a long one.
fn height(seconds: f64, longest: f64) -> f64 {
    if longest > 0.0 {
        LOWEST + (HIGHEST - LOWEST) * (seconds.max(0.0) / longest).sqrt()
    } else {
        LOWEST
    }
}

fn put(path: &mut String, outcome: Outcome, x: f64, height: f64) {
    let top = GROUND - height;
    let middle = x + BAR / 2.0;
    let drawn = match outcome {
        Outcome::Complete => write!(path, "M{x} {GROUND}v{:.1}h{BAR}v{height:.1}z", -height),
        Outcome::Verified => write!(
            path,
            "M{x} {GROUND}v{:.1}h{BAR}v{height:.1}zM{x} {:.1}a2.5 2.5 0 1 0 5 0a2.5 2.5 0 1 0-5 0z",
            -height,
            top - 4.5
        ),
        Outcome::Incomplete => write!(
            path,
            "M{} {}v{:.1}h{}v{:.1}z",
            x + 0.75,
            GROUND - 0.75,
            1.5 - height,
            BAR - 1.5,
            height - 1.5
        ),
        Outcome::Failed => write!(
            path,
            "M{middle} {GROUND}V{:.1}M{x} {:.1}l{BAR} {BAR}m0-{BAR}l-{BAR} {BAR}",
            top - 1.0,
            top - 5.5
        ),
    };
    debug_assert!(drawn.is_ok(), "a String takes what is written to it");
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn run(status: RunStatus, verified: bool, seconds: f64) -> RecentRun {
        RecentRun {
            finished_at: DateTime::UNIX_EPOCH,
            status,
            verified,
            seconds,
            rows_written: 0,
        }
    }

    #[test]
    fn each_outcome_has_a_shape_of_its_own_and_the_newest_run_is_at_the_right() {
        let chart = draw(&[
            run(RunStatus::Failed, false, 0.5),
            run(RunStatus::Complete, true, 16.0),
            run(RunStatus::Complete, false, 4.0),
            run(RunStatus::Incomplete, false, 0.0),
        ]);
        assert_eq!(
            chart.text,
            "Last 4 runs: 1 verified, 1 complete, 1 incomplete, 1 failed. The longest took 16.0 s, the last one 500 ms"
        );
        let path = |name: &str| &chart.paths.iter().find(|(outcome, _)| *outcome == name).unwrap().1;
        assert!(path("failed").starts_with("M205.5 35V"), "{}", path("failed"));
        assert!(
            path("verified").starts_with("M196 35v-26.0h5v26.0zM196 4.5a"),
            "{}",
            path("verified")
        );
        assert_eq!(path("complete"), "M189 35v-14.5h5v14.5z");
        assert_eq!(path("incomplete"), "M182.75 34.25v-1.5h3.5v1.5z");
    }

    #[test]
    fn more_runs_than_there_is_room_for_are_left_out_and_none_is_no_trouble() {
        assert_eq!(draw(&[]).text, "No runs yet");
        assert!(draw(&[]).paths.is_empty());
        let many = vec![run(RunStatus::Complete, false, 0.0); 40];
        let chart = draw(&many);
        assert!(chart.text.starts_with("Last 30 runs: 30 complete."), "{}", chart.text);
        assert!(chart.paths[0].1.ends_with("M0 35v-3.0h5v3.0z"), "{}", chart.paths[0].1);
    }
}
