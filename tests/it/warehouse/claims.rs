//! Claims to jobs.

use allai_sync::allai::Resource;
use allai_sync::warehouse::{Claim, Error};
use chrono::TimeDelta;

use super::harness::{ACCOUNT, Place, commit, contact};
use super::on_both;

on_both! {
    a_key_is_free_once_all_that_hold_it_are_known_to_be_dead,
    who_has_lost_a_job_writes_nothing_more_for_it,
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

async fn who_has_lost_a_job_writes_nothing_more_for_it(place: Place) {
    let warehouse = place.migrated().await;
    let contacts = (ACCOUNT, Resource::Contacts, "key");
    warehouse.add_jobs(&[contacts]).await.unwrap();
    let claim = async |holder: &str, instead_of: &[String]| {
        let claim = Claim {
            account: ACCOUNT,
            resource: Resource::Contacts,
            holder,
            lease: TimeDelta::hours(1),
            fence: None,
            full: false,
            key_alone: true,
            instead_of,
        };
        warehouse.claim_job(&claim).await.unwrap().unwrap()
    };
    let job = claim("first", &[]).await;
    let first = warehouse.fenced(&job, "first");
    commit(&first, &[contact("c1", "Ana")]).await;
    let mut writer = first.page_writer(ACCOUNT, Resource::Contacts).await.unwrap();
    // Renewing and writing are not in each other's way.
    assert!(warehouse.renew_claim(&job, "first", TimeDelta::hours(1)).await.unwrap());

    let job = claim("second", &["first".to_owned()]).await;
    let second = warehouse.fenced(&job, "second");
    second
        .save_checkpoint(ACCOUNT, Resource::Contacts, Some("new"))
        .await
        .unwrap();
    for refused in [
        first.save_checkpoint(ACCOUNT, Resource::Contacts, Some("old")).await,
        first.tombstone(ACCOUNT, Resource::Contacts, &[1]).await.map(drop),
        first.mark_missing(ACCOUNT, Resource::Contacts, &[1]).await,
        writer.commit(Some("old")).await,
    ] {
        assert!(matches!(refused, Err(Error::TakenOver)), "{refused:?}");
    }
    let state = second.state(ACCOUNT, Resource::Contacts).await.unwrap().unwrap();
    assert_eq!(state.checkpoint.as_deref(), Some("new"));
    assert_eq!(second.live_rows(ACCOUNT, Resource::Contacts).await.unwrap(), 1);
}
