//! What becomes of contacts, case by case.

use allai_sync::contacts::{Options as RunOptions, Status};
use allai_sync::sandbox::ContactDraft;
use serde_json::json;

use super::Office;
use super::crm::Faults;
use crate::support::database::Database;
use crate::support::on_both_databases;

on_both_databases! {
    new_and_changed_contacts_reach_the_crm_and_nothing_is_written_twice,
    what_was_there_before_waits_until_it_changes_or_is_asked_for,
    owner_stage_and_labels_come_back,
    who_wins_is_who_the_configuration_says,
    a_record_that_is_there_is_matched_by_address_or_number,
    two_contacts_that_are_the_same_make_one_record,
    of_several_records_none_is_guessed,
    a_refused_contact_is_held_and_the_others_go_on,
    a_lost_answer_makes_no_second_record,
    a_lost_answer_about_a_key_is_no_change_by_the_crm,
    a_crm_that_is_away_ends_the_run_and_the_next_goes_on,
    what_the_crm_makes_of_a_value_is_no_change,
    what_the_mirror_has_not_seen_is_not_overwritten,
    a_dry_run_writes_nothing,
    a_deleted_record_is_not_created_again,
    the_record_of_a_deleted_contact_goes_to_the_one_that_comes_back,
}

const LEADS: &str = "filter = \"'lead' in contact.tags\"\n";

async fn new_and_changed_contacts_reach_the_crm_and_nothing_is_written_twice(database: Database) {
    let office = Office::open(database, LEADS).await;
    office.synced().await;
    let ion = office.contact("Ion Popescu", Some("Ion@Exemplu.ro"), Some("0722 123 456"));
    office.contact("Ana", None, Some("+40 733 123 456"));
    let nobody = office.contact("Nobody", None, None);
    let filtered = ContactDraft {
        name: Some("Not a lead".to_owned()),
        email: Some("x@exemplu.ro".to_owned()),
        ..ContactDraft::default()
    };
    office.mirror.sandbox.account().insert_contact(filtered);
    let report = office.synced().await;
    assert_eq!((report.created, report.skipped), (2, 2), "{report:?}");
    let (id, fields) = office.crm.by_email("ion@exemplu.ro");
    assert_eq!(fields["name"], "Ion Popescu");
    assert_eq!(fields["phone"], "+40722123456");
    assert_eq!(fields["labels"], "lead");
    assert_eq!(fields["company"], "Ion Popescu SRL");
    assert_eq!(fields["note"], format!("AllAI {ion}"));

    office.rename(&ion, "Ion A. Popescu");
    let report = office.synced().await;
    assert_eq!((report.created, report.updated), (0, 1), "{report:?}");
    assert_eq!(office.crm.records()[&id]["name"], "Ion A. Popescu");

    // Its owner, which the CRM has given it, comes back once; then there is rest.
    office.synced().await;
    let (calls, writes) = (office.crm.counts().0, office.writes());
    for _ in 0..3 {
        let report = office.synced().await;
        assert_eq!(report.looked_at, 0, "{report:?}");
    }
    assert_eq!(office.writes(), writes);
    assert_eq!(
        office.crm.counts().0,
        calls + 3,
        "it asks what has changed, and nothing else"
    );
    office.mirror.sandbox.account().touch_contact(&ion);
    office.mirror.sandbox.account().touch_contact(&nobody);
    office.synced().await;
    assert_eq!(office.writes(), writes);
}

async fn what_was_there_before_waits_until_it_changes_or_is_asked_for(database: Database) {
    let office = Office::open(database, "").await;
    let old = office.contact("Old", Some("old@exemplu.ro"), None);
    office.contact("Older", Some("older@exemplu.ro"), None);
    assert_eq!(office.synced().await.created, 0);
    office.contact("New", Some("new@exemplu.ro"), None);
    assert_eq!(office.synced().await.created, 1);
    office.rename(&old, "Old, but changed");
    assert_eq!(office.synced().await.created, 1);
    assert_eq!(office.crm.by_email("old@exemplu.ro").1["name"], "Old, but changed");
    let backfill = RunOptions {
        backfill: true,
        dry_run: false,
    };
    assert_eq!(office.run_with(backfill).await.created, 1);
    assert_eq!(office.crm.records().len(), 3);
}

async fn owner_stage_and_labels_come_back(database: Database) {
    let office = Office::open(database, "").await;
    office.synced().await;
    let ion = office.contact("Ion", Some("ion@exemplu.ro"), Some("0722123456"));
    office.synced().await;
    office.synced().await;
    let (id, _) = office.crm.by_email("ion@exemplu.ro");
    office.crm.edit(&id, "owner", json!("Maria"));
    office.crm.edit(&id, "stage", json!("won"));
    office.crm.edit(&id, "labels", json!("lead;vip"));
    office.crm.edit(&id, "company", json!("not mapped back"));
    let report = office.synced().await;
    assert_eq!((report.written_back, report.updated), (1, 0), "{report:?}");
    let contact = &office.contacts()[&ion];
    assert_eq!(contact["tags"], json!(["lead", "vip"]));
    assert_eq!(
        contact["custom_fields"],
        json!({"company": "Ion SRL", "owner": "Maria", "stage": "won"})
    );
    assert_eq!(
        contact["phone"], "0722123456",
        "what was not changed stays as it was written"
    );
    let writes = office.writes();
    office.mirror.full_sync().await;
    office.synced().await;
    assert_eq!(office.writes(), writes, "our own change is no change");
    // What a person has changed in the CRM is theirs as long as AllAI does not change it.
    assert_eq!(office.crm.records()[&id]["company"], "not mapped back");
    office.crm.edit(&id, "labels", json!(""));
    office.synced().await;
    assert_eq!(office.contacts()[&ion]["tags"], json!([]));
}

async fn who_wins_is_who_the_configuration_says(database: Database) {
    for (winner, name, in_crm) in [("allai", "Ion A.", "Ion A."), ("crm", "Ion C.", "Ion C.")] {
        let office = Office::open(database.another(), &format!("winner = \"{winner}\"\n")).await;
        office.synced().await;
        let ion = office.contact("Ion", Some("ion@exemplu.ro"), Some("0722123456"));
        office.synced().await;
        let (id, _) = office.crm.by_email("ion@exemplu.ro");
        office.rename(&ion, "Ion A.");
        office.crm.edit(&id, "name", json!("Ion C."));
        office.crm.edit(&id, "phone", json!("+40733123456"));
        office.synced().await;
        office.synced().await;
        let contact = &office.contacts()[&ion];
        assert_eq!(
            (&contact["name"], &contact["phone"]),
            (&json!(name), &json!("+40733123456")),
            "{winner}"
        );
        assert_eq!(office.crm.records()[&id]["name"], in_crm);
        let writes = office.writes();
        office.synced().await;
        assert_eq!(office.writes(), writes);
    }
}

async fn a_record_that_is_there_is_matched_by_address_or_number(database: Database) {
    let office = Office::open(database, "winner = \"crm\"\n").await;
    office.synced().await;
    let one = office
        .crm
        .enter(json!({"name": "Ion (old customer)", "email": "ION@exemplu.ro", "owner": "Maria"}));
    let two = office.crm.enter(json!({"name": "Ana", "phone": "+40733123456"}));
    let ion = office.contact("Ion", Some("ion@exemplu.ro"), Some("0722123456"));
    let ana = office.contact("Ana", Some("ana@exemplu.ro"), Some("0733-123-456"));
    let report = office.synced().await;
    assert_eq!((report.matched, report.created), (2, 0), "{report:?}");
    let (records, contacts) = (office.crm.records(), office.contacts());
    assert_eq!(records.len(), 2);
    assert_eq!(records[&one]["name"], "Ion (old customer)", "the CRM wins");
    assert_eq!(contacts[&ion]["name"], "Ion (old customer)");
    assert_eq!(contacts[&ion]["custom_fields"]["owner"], "Maria");
    assert_eq!(records[&one]["phone"], "+40722123456", "what it had not is filled in");
    assert_eq!(records[&two]["email"], "ana@exemplu.ro");
    assert_eq!(contacts[&ana]["name"], "Ana");
}

async fn two_contacts_that_are_the_same_make_one_record(database: Database) {
    let office = Office::open(database, "").await;
    office.synced().await;
    office.contact("Ion", Some("ion@exemplu.ro"), None);
    office.contact("Ion again", Some(" ION@exemplu.ro"), None);
    office.contact("Ana", None, Some("0722 123 456"));
    office.contact("Ana again", None, Some("+40722123456"));
    let report = office.sync().await;
    assert_eq!((report.created, report.conflicts), (2, 2), "{report:?}");
    assert_eq!(office.crm.records().len(), 2);
    let told = office.mirror.say(&["contacts", "held", "--json"]).expect(0).json();
    let told = told["contacts"].as_array().unwrap();
    assert_eq!(told.len(), 2, "{told:?}");
    for one in told {
        let reason = one["reason"].as_str().unwrap();
        assert!(reason.contains("is known by the same, and is record"), "{one}");
        assert!(!reason.contains("exemplu") && !reason.contains("0722"), "{one}");
    }
    let writes = office.writes();
    office.sync().await;
    // The owner of each comes back once.
    assert_eq!(office.writes().0, writes.0);
    assert_eq!(office.crm.records().len(), 2);
    // One of them is corrected.
    let held = told[0]["contact_id"].as_str().unwrap();
    let other = ContactDraft {
        email: Some("another@exemplu.ro".to_owned()),
        phone: Some("0733123456".to_owned()),
        ..ContactDraft::default()
    };
    assert!(office.mirror.sandbox.account().update_contact(held, other));
    assert_eq!(office.synced().await.created, 1);
    // One takes the address of another: no two records have it.
    let thief = ContactDraft {
        email: Some("ion@exemplu.ro".to_owned()),
        ..ContactDraft::default()
    };
    assert!(office.mirror.sandbox.account().update_contact(held, thief));
    let report = office.sync().await;
    assert_eq!(report.conflicts, 1, "{report:?}");
    office.crm.by_email("ion@exemplu.ro");
}

async fn of_several_records_none_is_guessed(database: Database) {
    let office = Office::open(database, "").await;
    office.synced().await;
    let one = office.crm.enter(json!({"name": "Ion", "email": "ion@exemplu.ro"}));
    let two = office.crm.enter(json!({"name": "Ion P.", "phone": "+40722123456"}));
    let before = office.crm.records();
    let ion = office.contact("Ion Popescu", Some("ion@exemplu.ro"), Some("0722123456"));
    let report = office.sync().await;
    assert_eq!((report.conflicts, report.created), (1, 0), "{report:?}");
    assert_eq!(office.crm.records(), before);
    let told = office.mirror.say(&["contacts", "held"]).expect(0);
    assert!(told.stdout.contains(&format!("({one}, {two})")), "{told:?}");
    office.crm.delete(&two);
    office.rename(&ion, "Ion Popescu!");
    assert_eq!(office.synced().await.matched, 1);
    assert_eq!(office.crm.records().len(), 1);
}

async fn a_refused_contact_is_held_and_the_others_go_on(database: Database) {
    let office = Office::open(database, "").await;
    office.synced().await;
    office.crm.refuse("Robert'); DROP", true);
    let bad = office.contact("Robert'); DROP", Some("bad@exemplu.ro"), None);
    for number in 0..20 {
        office.contact(
            &format!("Good {number}"),
            Some(&format!("good{number}@exemplu.ro")),
            None,
        );
    }
    let report = office.sync().await;
    assert_eq!(
        (report.status, report.created, report.held),
        (Status::Complete, 20, 1),
        "{report:?}"
    );
    let told = office.mirror.say(&["contacts", "held"]).expect(0).stdout;
    assert!(
        told.contains(&bad) && told.contains("refuses name: this is not taken"),
        "{told}"
    );
    office.synced().await;
    let writes = office.writes();
    office.synced().await;
    assert_eq!(office.writes(), writes, "it is not tried again as it is");
    office.rename(&bad, "Robert");
    assert_eq!(office.synced().await.created, 1);
    assert_eq!(office.mirror.say(&["contacts", "held"]).expect(0).stdout, "");
    // The same with one that is linked.
    office.crm.refuse("Roberta", true);
    office.rename(&bad, "Roberta");
    assert_eq!(office.sync().await.held, 1);
    assert_eq!(office.crm.by_email("bad@exemplu.ro").1["name"], "Robert");
    office.crm.refuse("Roberta", false);
    office
        .mirror
        .database
        .execute("UPDATE crm_links SET retry_at = changed_at")
        .await;
    assert_eq!(office.synced().await.updated, 1, "it is tried again after a day");
    assert_eq!(office.crm.by_email("bad@exemplu.ro").1["name"], "Roberta");
}

async fn a_lost_answer_makes_no_second_record(database: Database) {
    let office = Office::open(database, "winner = \"crm\"\n").await;
    office.synced().await;
    let ion = office.contact("Ion", Some("ion@exemplu.ro"), None);
    office.crm.set_faults(Faults { away: 0.0, lost: 1.0 });
    let report = office.sync().await;
    assert_eq!((report.status, report.put_off), (Status::Incomplete, 1), "{report:?}");
    assert_eq!(office.crm.creations(), 1);
    // Meanwhile everything by which it would be found is changed, and its name.
    let draft = ContactDraft {
        name: Some("Ion P.".to_owned()),
        email: Some("ion.popescu@exemplu.ro".to_owned()),
        ..ContactDraft::default()
    };
    assert!(office.mirror.sandbox.account().update_contact(&ion, draft));
    office.crm.set_faults(Faults::default());
    office.synced().await;
    assert_eq!(office.crm.creations(), 1);
    let (_, fields) = office.crm.by_email("ion.popescu@exemplu.ro");
    assert_eq!(
        fields["name"], "Ion P.",
        "what was created is no change by the CRM, though the CRM wins"
    );
    assert_eq!(office.contacts()[&ion]["name"], "Ion P.");
}

async fn a_lost_answer_about_a_key_is_no_change_by_the_crm(database: Database) {
    let office = Office::open(database, "winner = \"crm\"\n").await;
    office.synced().await;
    let ion = office.contact("Ion", Some("ion@exemplu.ro"), None);
    office.synced().await;
    office.synced().await;
    let (id, _) = office.crm.by_email("ion@exemplu.ro");
    for (email, lost) in [("ion.p@exemplu.ro", 1.0), ("ion.popescu@exemplu.ro", 0.0)] {
        let draft = ContactDraft {
            email: Some(email.to_owned()),
            ..ContactDraft::default()
        };
        assert!(office.mirror.sandbox.account().update_contact(&ion, draft));
        office.crm.set_faults(Faults { away: 0.0, lost });
        office.sync().await;
        assert_eq!(office.crm.records()[&id]["email"], email);
    }
    office.synced().await;
}

async fn a_crm_that_is_away_ends_the_run_and_the_next_goes_on(database: Database) {
    let office = Office::open(database, "").await;
    office.synced().await;
    for number in 0..50 {
        office.contact(&format!("C {number}"), Some(&format!("c{number}@exemplu.ro")), None);
    }
    office.crm.set_faults(Faults { away: 1.0, lost: 0.0 });
    let report = office.sync().await;
    assert_eq!(report.status, Status::Failed);
    assert!(report.error.unwrap().contains("is not reached"));
    assert!(office.crm.counts().0 < 20, "it is not asked for each");
    let recorded = office.mirror.database.value("SELECT report FROM crm_syncs").await;
    assert!(recorded.contains("is not reached"), "{recorded}");
    office.crm.set_faults(Faults::default());
    assert_eq!(office.synced().await.created, 50);
}

async fn what_the_crm_makes_of_a_value_is_no_change(database: Database) {
    let office = Office::open(database, "winner = \"crm\"\n").await;
    office.synced().await;
    let ion = office.contact("Ion", Some("Ion@Exemplu.ro"), None);
    office.synced().await;
    let (id, _) = office.crm.by_email("ion@exemplu.ro");
    let draft = |email: &str| ContactDraft {
        email: Some(email.to_owned()),
        ..ContactDraft::default()
    };
    let account = office.mirror.sandbox.account();
    assert!(account.update_contact(&ion, draft("Ion.P@Exemplu.ro")));
    office.synced().await;
    assert_eq!(
        office.crm.records()[&id]["email"],
        "ion.p@exemplu.ro",
        "nobody has changed it in the CRM"
    );
    // Now somebody has.
    office.crm.edit(&id, "email", json!("ion@firma.ro"));
    assert!(account.update_contact(&ion, draft("ion.popescu@exemplu.ro")));
    office.synced().await;
    assert_eq!(office.crm.records()[&id]["email"], "ion@firma.ro", "the CRM wins");
}

async fn what_the_mirror_has_not_seen_is_not_overwritten(database: Database) {
    let office = Office::open(database, "winner = \"allai\"\n").await;
    office.synced().await;
    let ion = office.contact("Ion", Some("ion@exemplu.ro"), Some("0722123456"));
    office.synced().await;
    let (id, _) = office.crm.by_email("ion@exemplu.ro");
    office.crm.edit(&id, "name", json!("Ion of the CRM"));
    office.crm.edit(&id, "stage", json!("won"));
    // Not mirrored before the CRM's change is written.
    office.rename(&ion, "Ion of AllAI");
    let report = office.run_with(RunOptions::default()).await;
    assert_eq!((report.updated, report.written_back), (1, 1), "{report:?}");
    assert_eq!(office.contacts()[&ion]["name"], "Ion of AllAI");
    assert_eq!(office.contacts()[&ion]["custom_fields"]["stage"], "won");
    assert_eq!(office.crm.records()[&id]["name"], "Ion of AllAI");
    office.mirror.assert_exact().await;
}

async fn a_dry_run_writes_nothing(database: Database) {
    let office = Office::open(database, "").await;
    office.synced().await;
    let ion = office.contact("Ion", Some("ion@exemplu.ro"), None);
    office.synced().await;
    office.synced().await;
    let (id, _) = office.crm.by_email("ion@exemplu.ro");
    office.contact("Ana", Some("ana@exemplu.ro"), None);
    office.crm.edit(&id, "stage", json!("won"));
    office.mirror.sync().await;
    let dump = "SELECT * FROM crm_links ORDER BY contact_id";
    let (links, writes, records) = (
        office.mirror.database.rows(dump).await,
        office.writes(),
        office.crm.records(),
    );
    let dry = RunOptions {
        dry_run: true,
        backfill: false,
    };
    let report = office.run_with(dry).await;
    assert_eq!(
        (report.created, report.written_back, report.status),
        (1, 1, Status::Complete),
        "{report:?}"
    );
    let planned = report.planned.iter().find(|planned| planned.contact == ion).unwrap();
    assert_eq!(planned.to_allai, ["custom_fields.stage"]);
    assert_eq!(office.mirror.database.rows(dump).await, links);
    assert_eq!((office.writes(), office.crm.records()), (writes, records));
    let report = office.synced().await;
    assert_eq!((report.created, report.written_back), (1, 1), "{report:?}");
}

async fn a_deleted_record_is_not_created_again(database: Database) {
    let office = Office::open(database, "").await;
    office.synced().await;
    let ion = office.contact("Ion", Some("ion@exemplu.ro"), None);
    office.synced().await;
    let (id, _) = office.crm.by_email("ion@exemplu.ro");
    office.crm.delete(&id);
    office.rename(&ion, "Ion P.");
    let report = office.sync().await;
    assert_eq!((report.held, report.created), (1, 0), "{report:?}");
    assert!(office.crm.records().is_empty());
    // Merged into another record there, it is that one.
    office
        .crm
        .enter(json!({"name": "Ion and Ioan", "email": "ion@exemplu.ro"}));
    office.rename(&ion, "Ion Popescu");
    let report = office.synced().await;
    assert_eq!((report.matched, report.created), (1, 0), "{report:?}");
    assert_eq!(office.crm.by_email("ion@exemplu.ro").1["name"], "Ion Popescu");
}

async fn the_record_of_a_deleted_contact_goes_to_the_one_that_comes_back(database: Database) {
    let office = Office::open(database, "").await;
    office.synced().await;
    let old = office.contact("Ion", Some("ion@exemplu.ro"), None);
    office.contact("Stays", Some("stays@exemplu.ro"), None);
    office.synced().await;
    office.mirror.sandbox.account().delete_contact(&old);
    office.mirror.full_sync().await;
    office.mirror.full_sync().await;
    assert_eq!(office.crm.records().len(), 2, "nothing is deleted");
    office.contact("Ion is back", Some("ion@exemplu.ro"), None);
    let report = office.synced().await;
    assert_eq!((report.matched, report.created), (1, 0), "{report:?}");
    assert_eq!(office.crm.by_email("ion@exemplu.ro").1["name"], "Ion is back");
}
