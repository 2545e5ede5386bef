//! Claims to jobs.

use allai_sync::allai::Resource;
use allai_sync::warehouse::Claim;
use chrono::TimeDelta;

use super::harness::{ACCOUNT, Place};
use super::on_both;

on_both! {
    a_key_is_free_once_all_that_hold_it_are_known_to_be_dead,
}

async fn a_key_is_free_once_all_that_hold_it_are_known_to_be_dead(place: Place) {
    let warehouse = place.migrated().await;
    let jobs = [Resource::Contacts, Resource::Conversations].map(|resource| (ACCOUNT, resource, "key"));
    warehouse.add_jobs(&jobs).await.unwrap();
    let claim = async |holder: &str, resource, key_alone, instead_of: &[&str]| {
        let instead_of: Vec<String> = instead_of.iter().map(|name| (*name).to_owned()).collect();
        let claim = Claim {
            account: ACCOUNT,
            resource,
            holder,
            lease: TimeDelta::hours(1),
            fence: None,
            full: false,
            key_alone,
            instead_of: &instead_of,
        };
        warehouse.claim_job(&claim).await.unwrap().is_some()
    };
    // One died, and the one that came after it died, too, before it had taken over everything.
    assert!(claim("first", Resource::Contacts, true, &[]).await);
    assert!(claim("second", Resource::Conversations, false, &[]).await);
    assert!(!claim("third", Resource::Contacts, true, &[]).await);
    assert!(!claim("third", Resource::Contacts, true, &["first"]).await);
    assert!(!claim("third", Resource::Contacts, true, &["second"]).await);
    assert!(claim("third", Resource::Contacts, true, &["first", "second"]).await);
    assert!(claim("third", Resource::Conversations, true, &["first", "second"]).await);
    assert!(!claim("fourth", Resource::Contacts, false, &["first", "second"]).await);
}
