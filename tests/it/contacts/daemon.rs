//! The command line, the check and the daemon.

use serde_json::json;

use super::Office;
use crate::daemon::Daemon;
use crate::support::database::Database;

#[tokio::test(flavor = "multi_thread")]
async fn a_crm_that_is_not_there_is_said_and_the_run_fails() {
    let office = Office::open(Database::sqlite(), "").await;
    let said = office.mirror.say(&["contacts", "sync", "--json"]).expect(1);
    let run = &said.json()["runs"][0];
    assert_eq!(
        (&run["status"], &run["connector"]),
        (&json!("failed"), &json!("crm")),
        "{run}"
    );
    assert!(run["error"].as_str().unwrap().contains("tryton"), "{run}");
    let said = office.mirror.say(&["contacts", "sync", "--connector", "erp"]).expect(2);
    assert!(said.stderr.contains("there are: crm"), "{said:?}");
    let said = office.mirror.say(&["check"]).expect(1);
    assert!(said.stdout.contains("FAIL  contact_sync sales: "), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_before_the_contacts_are_mirrored() {
    let office = Office::open(Database::sqlite(), "").await;
    std::fs::remove_file(office.mirror.database.url().trim_start_matches("sqlite://")).unwrap();
    let said = office.mirror.say(&["contacts", "sync"]).expect(1);
    assert!(said.stdout.contains("run `allai-sync sync contacts"), "{said:?}");
}

#[tokio::test]
async fn a_mapping_is_compared_with_the_fields_of_the_crm() {
    let office = Office::open(
        Database::sqlite(),
        "fields.stage = \"x\"\nfields.ownr = \"{{ contact.name }}\"\n",
    )
    .await;
    let config = office.config();
    let section = &config.contact_sync["sales"];
    let problems = allai_sync::contacts::check("sales", section, office.crm.as_ref())
        .await
        .unwrap_err();
    assert_eq!(
        problems,
        [
            "fields.ownr: the CRM has no field ownr; did you mean owner?",
            "fields.stage: the field can only be read; remove it",
        ]
    );
    office.configure("");
    let config = office.config();
    let section = &config.contact_sync["sales"];
    let seen = allai_sync::contacts::check("sales", section, office.crm.as_ref())
        .await
        .unwrap();
    assert!(seen.contains("3 of them both ways"), "{seen}");
}

#[tokio::test]
async fn what_is_wrong_with_a_section_is_said_with_its_place() {
    let office = Office::open(Database::sqlite(), "").await;
    office.configure("winner = \"both\"\n");
    let said = office.mirror.say(&["config", "show"]).expect(2);
    assert!(said.stderr.contains("contact_sync.sales.winner: "), "{}", said.stderr);
    office.configure(
        "filter = \"contact.nmae\"\nfields.b = \"{{ kontact.name }}\"\nfields.c = \"{{ contact.name\"\n\
         back.id = \"{{ record.x }}\"\nback.email = \"{{ record.circle }}\"\n\
         fields.circle = \"{{ contact.email }} {{ contact.name }}\"\ndefault_region = \"Mars\"\n",
    );
    let said = office.mirror.say(&["config", "show"]).expect(2);
    for problem in [
        "contact_sync.sales.filter: reads a member that contacts have not",
        "contact_sync.sales.fields.b: reads something else than contact",
        "contact_sync.sales.fields.c: not a template",
        "contact_sync.sales.back.id: not a member of a contact that can be written",
        "contact_sync.sales.back.email: what it reads depends on what it writes",
        "contact_sync.sales.default_region: not a country",
    ] {
        assert!(said.stderr.contains(problem), "{problem}: {}", said.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_runs_it_on_its_schedule() {
    let office = Office::open(Database::sqlite(), "schedule = \"@every 1s\"\n").await;
    let mut daemon = Daemon::start(&office.mirror).await;
    daemon.until_log("contacts are not all synced").await;
    let recorded = office.mirror.database.value("SELECT report FROM crm_syncs").await;
    assert!(recorded.contains("\"status\":\"failed\""), "{recorded}");
    office.configure("");
    daemon.reload().await;
}
