//! The harness.

pub(crate) mod browser;
#[expect(dead_code, reason = "shared with the tests of time, which use all of it")]
pub(crate) mod clock;
pub(crate) mod comparison;
pub(crate) mod database;
pub(crate) mod hostile;
pub(crate) mod json;
#[path = "../../../connectors/tests/it/support/lossy.rs"]
#[expect(dead_code, reason = "the connectors' own tests ask for more of it")]
pub(crate) mod lossy;
pub(crate) mod mail;
pub(crate) mod mirror;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod simulation;
pub(crate) mod trap;
#[path = "../../../connectors/tests/it/support/tryton.rs"]
#[expect(dead_code, reason = "the connector's own tests ask for more of it")]
pub(crate) mod tryton;

use std::time::Duration;

use allai_sync::clock::SystemClock;

/// What installs Tryton.
const TRYTON_INSTALL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/connectors/tests/tryton/install");

/// Makes a test of each of these functions for each database: `sqlite::name` and `postgres::name`.
macro_rules! on_both_databases {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
                async fn $test() {
                    super::$test($crate::support::database::Database::sqlite()).await;
                }
            )+
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
                async fn $test() {
                    super::$test($crate::support::database::Database::postgres()).await;
                }
            )+
        }
    };
}
pub(crate) use on_both_databases;

/// How large a test is: what the environment variable says, else as large as it is in every run of all tests.
pub(crate) fn size(variable: &str, otherwise: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
        Err(_) => otherwise,
    }
}

/// Waits until `condition` holds, as long as a slow machine may need.
///
/// # Panics
///
/// If it does not hold in the end.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let clock = SystemClock::shared();
    while !condition() {
        assert!(clock.monotonic() < Duration::from_mins(1), "in vain: {what}");
        clock.sleep(Duration::from_millis(1)).await;
    }
}
