//! The warehouse's conformance suite: every test is written once and runs on SQLite and on PostgreSQL.

mod analytics;
mod audits;
mod claims;
mod failing;
mod harness;
mod interim;
mod pages;
mod presence;
mod refusals;
mod runs;
mod schema;
mod stale;
mod unstorable;
mod views;
mod writer;

/// Expands test functions, which take a [`harness::Place`], for both databases.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::warehouse::harness::Place::sqlite()).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::warehouse::harness::Place::postgres()).await;
            })+
        }
    };
}

use on_both;
