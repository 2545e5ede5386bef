//! Scenarios that failed once, as simple as they could be made. They run before anything else, for ever.
//!
//! To add one: paste the literal that a failing seed prints, with a name that says what went wrong.

#![expect(clippy::too_many_lines, reason = "scenarios are long")]
#![expect(clippy::enum_glob_use, reason = "so that a literal can be pasted as it is printed")]

use crate::scenario::Database::*;
use crate::scenario::Dates::*;
use crate::scenario::Envelope::*;
use crate::scenario::Figure::*;
use crate::scenario::Kill::*;
use crate::scenario::Order::*;
use crate::scenario::Reset::*;
use crate::scenario::Stamp::*;
use crate::scenario::WindowKind::*;
use crate::scenario::{Churn, Faults, Rate, Scenario};

/// Each with what it once broke.
pub(crate) fn all() -> Vec<(&'static str, Scenario)> {
    vec![
        (
            "pages-of-one-row-lost-the-row-behind-a-deleted-one",
            Scenario {
                seed: 12,
                database: Sqlite,
                order: UnknownStable,
                contacts: 8,
                conversations: 2,
                messages: 6,
                messages_newest_first: true,
                page_size: 2,
                clamp: 1,
                envelope: Nested,
                total: Beside,
                has_more: Absent,
                dates: Both,
                stamp: UnixMilliseconds,
                gone: true,
                churn: Churn {
                    per_hundred: 26,
                    inserts: 1,
                    backdated: 0,
                    deletes_at_head: 1,
                    deletes_at_tail: 0,
                    deletes_anywhere: 0,
                    touches: 4,
                    returns: 0,
                },
                faults: Faults {
                    server_errors: 0,
                    resets: 0,
                    truncated: 24,
                    timeouts: 0,
                    html: 0,
                    refusals: 13,
                },
                faults_at_rest: false,
                rate: Rate {
                    kind: Tiled,
                    limit: 300,
                    window_seconds: 5,
                    reset: Seconds,
                    date: true,
                    retry_after: false,
                    skew: 0,
                    jump_at: 0,
                    server_jump: 0,
                    wall_jump: 0,
                },
                latency_ms: 2000,
                first_kills: [Never, Never, AtClockReading(102), BeforeRequest(8)],
                incrementals: 1,
                fulls: 1,
                later_kills: [AtClockReading(10), Never, Never],
                reopen: false,
                concurrency: 8,
            },
        ),
        (
            "a-step-back-passed-over-small-pages-and-began-anew",
            Scenario {
                seed: 13,
                database: Sqlite,
                order: UpdatedDesc,
                contacts: 97,
                conversations: 1,
                messages: 0,
                messages_newest_first: false,
                page_size: 5,
                clamp: 0,
                envelope: Data,
                total: Absent,
                has_more: Absent,
                dates: Both,
                stamp: UnixSeconds,
                gone: false,
                churn: Churn {
                    per_hundred: 34,
                    inserts: 4,
                    backdated: 1,
                    deletes_at_head: 2,
                    deletes_at_tail: 0,
                    deletes_anywhere: 1,
                    touches: 2,
                    returns: 0,
                },
                faults: Faults {
                    server_errors: 0,
                    resets: 0,
                    truncated: 0,
                    timeouts: 5,
                    html: 9,
                    refusals: 0,
                },
                faults_at_rest: false,
                rate: Rate {
                    kind: FirstRequest,
                    limit: 1000,
                    window_seconds: 5,
                    reset: Milliseconds,
                    date: true,
                    retry_after: false,
                    skew: 0,
                    jump_at: 0,
                    server_jump: 0,
                    wall_jump: 0,
                },
                latency_ms: 2000,
                first_kills: [Never, BeforeRequest(2), AfterRequest(4), BeforeRequest(5)],
                incrementals: 1,
                fulls: 2,
                later_kills: [Never, AtClockReading(8), Never],
                reopen: false,
                concurrency: 4,
            },
        ),
    ]
}
