//! A network and a server that fail in every way: the mirror is exact all the same.

use allai_sync::sandbox::{MutationKinds, Options};

use crate::support::database::Database;
use crate::support::mirror::{ACCOUNT, Mirror};
use crate::support::on_both_databases;

on_both_databases!(
    answers_that_fail_in_every_way_are_asked_for_again,
    changes_and_faults_together_are_mirrored,
);

fn faulty() -> Options {
    let mut options = Options::for_tests(400, 60);
    options.account.messages_per_conversation = Some(4);
    options.seed = 6;
    let faults = &mut options.faults;
    (faults.error_rate, faults.reset_rate, faults.truncate_rate) = (0.10, 0.03, 0.03);
    (faults.stall_rate, faults.invalid_body_rate) = (0.01, 0.02);
    options
}

async fn answers_that_fail_in_every_way_are_asked_for_again(database: Database) {
    let mirror = Mirror::start(database, faulty()).await;
    mirror.configure(&mirror.account_config(ACCOUNT, "page_size = 10\ntimeout = \"1s\"\n"));
    let said = mirror.say(&["sync", "--json"]).expect(0);
    mirror.assert_exact().await;
    let log = mirror.take_log();
    for fault in ["error", "reset", "truncate", "stall", "invalid-body"] {
        assert!(
            log.iter().any(|entry| entry.fault == Some(fault)),
            "no {fault} happened"
        );
    }
    let report = said.json();
    let sum = |member: &str| -> u64 {
        let runs = report["runs"].as_array().unwrap();
        runs.iter().map(|run| run[member].as_u64().unwrap()).sum()
    };
    let arrived = u64::try_from(log.len()).unwrap();
    let failed = log.iter().filter(|entry| entry.fault.is_some()).count();
    // A connection that the server has just closed is found out by sending on it: such a request does not arrive.
    let lost = sum("requests").checked_sub(arrived).expect("every request is counted");
    // Nearly all of what failed was asked for again: nobody waits any more for a page behind the end of a list.
    let failed = u64::try_from(failed).unwrap() + lost;
    assert!(
        (failed.saturating_sub(10)..=failed).contains(&sum("retries")),
        "{} retries of {failed}",
        sum("retries")
    );
    assert!(lost <= 10, "{lost} requests were lost");
}

async fn changes_and_faults_together_are_mirrored(database: Database) {
    let mirror = Mirror::start(database, faulty()).await;
    mirror.configure(&mirror.account_config(ACCOUNT, "timeout = \"1s\"\n"));
    mirror.sync().await;
    mirror.sandbox.account().mutate(7, 40, &MutationKinds::default());
    mirror.full_sync().await.verified();
    mirror.assert_exact().await;
}
