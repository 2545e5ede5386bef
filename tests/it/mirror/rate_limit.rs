//! The server's rate limit is never met with a refusal that could have been foreseen, and costs no more time than it
//! demands.

use std::time::Duration;

use allai_sync::sandbox::{Options, RateHeaders, ResetFormat, Sandbox, WindowKind};
use chrono::TimeDelta;

use crate::support::comparison::differences;
use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::on_both_databases;
use crate::support::simulation::Simulation;

on_both_databases!(
    a_real_sync_at_a_small_limit_is_never_refused,
    a_hundred_requests_a_minute_are_used_up_and_never_exceeded,
    a_program_knows_what_the_one_before_it_has_used_up,
);

async fn a_real_sync_at_a_small_limit_is_never_refused(database: Database) {
    let mut options = Options::for_tests(200, 40);
    options.account.messages_per_conversation = Some(3);
    (options.limits.limit, options.limits.window) = (30, Duration::from_secs(1));
    let mirror = Mirror::start(database, options).await;
    let said = mirror.say(&["sync", "--json"]).expect(0);
    mirror.assert_exact().await;
    let stats = mirror.sandbox.stats();
    assert_eq!(stats.rate_limited, 0, "{stats:?}");
    assert!(stats.requests > 60, "the limit had no part in it: {stats:?}");
    assert_eq!(said.json()["runs"][0]["rate_limited"], 0);
}

/// Each sync is a process of its own, and begins in a window that the one before may have spent.
async fn a_program_knows_what_the_one_before_it_has_used_up(database: Database) {
    // Contacts take so many requests, windows have so many: now and then one ends with the other.
    let mut options = Options::for_tests(60, 0);
    (options.limits.limit, options.limits.window) = (5, Duration::from_millis(1_500));
    let mirror = Mirror::start(database, options).await;
    for _ in 0..6 {
        mirror.say(&["sync", "contacts", "--full"]).expect(0);
    }
    let stats = mirror.sandbox.stats();
    assert_eq!(stats.rate_limited, 0, "{stats:?}");
    assert!(stats.requests > 25, "{stats:?}");
}

/// The time that the requests must take: all windows but the last one, the answers of that one, and a breath.
fn demanded(sandbox: &Sandbox) -> Duration {
    let options = sandbox.options();
    let windows = u32::try_from(sandbox.stats().requests)
        .unwrap()
        .div_ceil(options.limits.limit);
    options.limits.window * (windows - 1) + options.faults.latency * options.limits.limit + Duration::from_secs(2)
}

async fn a_hundred_requests_a_minute_are_used_up_and_never_exceeded(database: Database) {
    let mut options = Options::for_tests(400, 250);
    options.account.messages_per_conversation = Some(2);
    (options.limits.limit, options.limits.window) = (100, Duration::from_mins(1));
    options.faults.latency = Duration::from_millis(80);
    options.faults.clock_skew = TimeDelta::seconds(7);
    let simulation = Simulation::new(database, options).await;
    let took = simulation.sync().await;

    let found = differences(&simulation.database, "main", &simulation.sandbox.account().snapshot()).await;
    assert_eq!(found, Vec::<String>::new());
    let stats = simulation.sandbox.stats();
    assert_eq!(stats.rate_limited, 0, "{stats:?}");
    assert!(stats.requests > 250, "{stats:?}");
    let demanded = demanded(&simulation.sandbox);
    assert!(
        took <= demanded,
        "{} requests took {took:?}, the limit demands {demanded:?}",
        stats.requests
    );
}

/// However the server tells of its limit, it is met, on SQLite alone: the budget knows nothing of databases.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn however_the_limit_is_stated_it_is_kept() {
    let forms = [
        (WindowKind::Fixed, ResetFormat::EpochMs, RateHeaders::All, 0),
        (WindowKind::Fixed, ResetFormat::Delta, RateHeaders::All, -40),
        (WindowKind::Fixed, ResetFormat::Fractional, RateHeaders::Partial, 90),
        (WindowKind::FirstRequest, ResetFormat::Epoch, RateHeaders::All, 3),
        (WindowKind::FirstRequest, ResetFormat::Delta, RateHeaders::All, 0),
        (WindowKind::Sliding, ResetFormat::Epoch, RateHeaders::All, 0),
    ];
    for (window_kind, reset_format, rate_headers, skew) in forms {
        let mut options = Options::for_tests(150, 120);
        (options.limits.limit, options.limits.window) = (100, Duration::from_mins(1));
        let limits = &mut options.limits;
        (limits.window_kind, limits.reset_format, limits.rate_headers) = (window_kind, reset_format, rate_headers);
        options.faults.clock_skew = TimeDelta::seconds(skew);
        options.faults.latency = Duration::from_millis(50);
        let simulation = Simulation::new(Database::sqlite(), options).await;
        let took = simulation.sync().await;
        let stats = simulation.sandbox.stats();
        let form = format!("{window_kind:?} {reset_format:?} {rate_headers:?} {skew}: {took:?} {stats:?}");
        assert_eq!(stats.rate_limited, 0, "{form}");
        assert!(took <= demanded(&simulation.sandbox), "{form}");
    }
}
