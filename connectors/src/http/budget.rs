//! What requests may cost together, where a vendor counts otherwise than in requests.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::time::monotonic;

/// What a vendor allows to be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// So much, in the vendor's units…
    pub units: u32,
    /// …in any period of this length. A vendor's day may begin at any hour: any 24 hours hold no more than one of its days.
    pub per: Duration,
}

/// What of it was spent, and until when that counts.
pub(super) struct Budget {
    allowance: Allowance,
    spent: Mutex<VecDeque<(Instant, u32)>>,
}

impl Budget {
    pub(super) const fn new(allowance: Allowance) -> Self {
        Self {
            allowance,
            spent: Mutex::new(VecDeque::new()),
        }
    }

    /// Spends `cost`; if that is too much now, says how long until it is not.
    pub(super) fn spend(&self, cost: u32) -> Result<(), Duration> {
        let Allowance { units, per } = self.allowance;
        let now = monotonic();
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        while spent.front().is_some_and(|(until, _)| *until <= now) {
            spent.pop_front();
        }
        let mut over = spent.iter().map(|(_, cost)| cost).sum::<u32>().saturating_add(cost);
        if over <= units {
            // What is spent within a thousandth of the period comes back together, at the end of that.
            let until = now + per;
            match spent.back_mut() {
                Some((last, sum)) if until <= *last => *sum += cost,
                _ => spent.push_back((until + per / 1_000, cost)),
            }
            return Ok(());
        }
        let enough = spent.iter().find(|(_, cost)| {
            over = over.saturating_sub(*cost);
            over <= units
        });
        Err(enough.map_or(per, |(until, _)| until.duration_since(now)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_spent_comes_back_after_the_period_and_not_before() {
        let budget = Budget::new(Allowance {
            units: 30,
            per: Duration::from_millis(200),
        });
        budget.spend(20).unwrap();
        budget.spend(10).unwrap();
        let wait = budget.spend(1).unwrap_err();
        assert!(wait <= Duration::from_millis(201) && !wait.is_zero(), "{wait:?}");
        assert_eq!(
            budget.spend(31).unwrap_err(),
            Duration::from_millis(200),
            "more than there ever is"
        );
        while budget.spend(20).is_err() {
            std::thread::yield_now();
        }
        assert!(budget.spend(11).is_err(), "what was spent later comes back later");
    }
}
