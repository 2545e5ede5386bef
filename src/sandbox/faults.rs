//! What goes wrong with a request, decided by the seed and the request's number.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::options::FaultOptions;

/// What is decided about a request before it is looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    /// How long the answer takes.
    pub(super) delay: Duration,
    pub(super) fault: Option<Fault>,
}

/// A thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    /// A 5xx, without effect.
    Status(u16),
    /// The connection is closed before the answer; with `effect`, after the request was carried out.
    Reset { effect: bool },
    /// The connection is closed after this share of the body.
    Truncate(f64),
    /// Status 200, and a body that is not what it says.
    Invalid(Nonsense),
    /// Never answered.
    Stall,
    /// The answer stops after this share of the body, and the connection stays open.
    StallMidway(f64),
}

/// A body that is not what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nonsense {
    Html,
    HalfJson,
    Empty,
    OtherJson,
}

impl Fault {
    /// The fault's name in the log.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Status(_) => "error",
            Self::Reset { .. } => "reset",
            Self::Truncate(_) => "truncate",
            Self::Invalid(_) => "invalid-body",
            Self::Stall | Self::StallMidway(_) => "stall",
        }
    }

    /// Whether the request is carried out all the same.
    pub(super) const fn has_effect(self) -> bool {
        !matches!(self, Self::Status(_) | Self::Reset { effect: false } | Self::Stall)
    }
}

impl Nonsense {
    /// The body instead of the true one.
    pub(super) fn body(self, truth: &str) -> String {
        match self {
            Self::Html => "<!doctype html><title>Întreținere</title><h1>We'll be right back!</h1>".to_owned(),
            Self::HalfJson => truth.chars().take(truth.chars().count() / 2).collect(),
            Self::Empty => String::new(),
            Self::OtherJson => "{\"ok\":true}".to_owned(),
        }
    }
}

/// Decides about one request. Always draws the same number of random values, so that one switch does not change what
/// the others do.
pub(super) fn plan(options: &FaultOptions, rng: &mut StdRng) -> Plan {
    let jitter = options.jitter.mul_f64(rng.random::<f64>());
    let (dice, share, effect): (f64, f64, bool) = (rng.random(), rng.random(), rng.random());
    let status = *[500_u16, 502, 503, 504].choose(rng).unwrap_or(&500);
    let nonsense = [Nonsense::Html, Nonsense::HalfJson, Nonsense::Empty, Nonsense::OtherJson];
    let nonsense = *nonsense.choose(rng).unwrap_or(&Nonsense::Html);
    let stall = if effect {
        Fault::StallMidway(share)
    } else {
        Fault::Stall
    };
    let chances = [
        (options.error_rate, Fault::Status(status)),
        (options.reset_rate, Fault::Reset { effect }),
        (options.truncate_rate, Fault::Truncate(share)),
        (options.invalid_body_rate, Fault::Invalid(nonsense)),
        (options.stall_rate, stall),
    ];
    let mut from = 0.0;
    let mut fault = None;
    for (rate, candidate) in chances {
        if (from..from + rate).contains(&dice) {
            fault = Some(candidate);
        }
        from += rate;
    }
    Plan {
        delay: options.latency + jitter,
        fault,
    }
}

/// Makes a list wrong in the ways that leave it well-formed.
pub(super) fn tamper<T: Clone>(options: &FaultOptions, rows: &mut Vec<T>, total: &mut usize, rng: &mut StdRng) {
    if rng.random_bool(options.empty_list_rate) {
        rows.clear();
        *total = 0;
    }
    if rows.len() > 1 && rng.random_bool(options.short_page_rate) {
        rows.truncate(rng.random_range(1..rows.len()));
    }
    if !rows.is_empty() && rng.random_bool(options.repeat_row_rate) {
        let twice = rng.random_range(0..rows.len());
        rows.insert(twice, rows[twice].clone());
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::sandbox::Options;

    fn plans(seed: u64, options: &FaultOptions) -> Vec<Plan> {
        let mut rng = StdRng::seed_from_u64(seed);
        (0..10_000).map(|_| plan(options, &mut rng)).collect()
    }

    #[test]
    fn faults_happen_at_about_their_rate() {
        let mut options = Options::default().faults;
        (options.error_rate, options.reset_rate, options.truncate_rate) = (0.1, 0.03, 0.03);
        (options.invalid_body_rate, options.stall_rate) = (0.02, 0.01);
        let plans = plans(7, &options);
        for (name, rate) in [
            ("error", 1000),
            ("reset", 300),
            ("truncate", 300),
            ("invalid-body", 200),
            ("stall", 100),
        ] {
            let seen = plans
                .iter()
                .filter(|plan| plan.fault.is_some_and(|fault| fault.name() == name))
                .count();
            assert!(seen.abs_diff(rate) < rate / 3, "{name}: {seen} of 10,000");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let mut options = Options::default().faults;
        (options.error_rate, options.jitter) = (0.5, Duration::from_secs(1));
        assert_eq!(plans(3, &options), plans(3, &options));
        assert_ne!(plans(3, &options), plans(4, &options));
    }
}
