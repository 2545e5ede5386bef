//! The real program against a real CRM, killed where it happens to be.

use std::time::Duration;

use allai_connectors::{Crm as _, Entity, Fields, Key};
use allai_sync::clock::SystemClock;
use allai_sync::sandbox::{ContactDraft, Options, Order};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::support::database::Database;
use crate::support::mirror::Mirror;
use crate::support::tryton::Server;

const CONTACTS: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_the_program_makes_one_party_of_each_contact() {
    let server = Server::own();
    let crm = server.connector(&json!({}));
    let mut options = Options::for_tests(0, 0);
    options.shape.order = Order::UpdatedDesc;
    let mirror = Mirror::start(Database::sqlite(), options).await;
    let config = serde_json::to_value(server.url()).unwrap();
    mirror.configure(&format!(
        "[accounts.main]\nbase_url = \"{}\"\napi_key = \"{}\"\n[connectors.crm]\nkind = \"tryton\"\nurl = {config}\n\
         database = \"erp\"\nusername = \"allai\"\npassword = \"pw-Demo-2-allai\"\n[contact_sync.sales]\nconnector = \"crm\"\n\
         fields.name = \"{{{{ contact.name }}}}\"\nfields.email = \"{{{{ contact.email }}}}\"\n\
         fields.mobile = \"{{{{ contact.phone | e164 }}}}\"\nback.name = \"{{{{ record.name }}}}\"\n",
        mirror.sandbox.base_url(),
        mirror.sandbox.keys().full,
    ));
    let account = mirror.sandbox.account();
    let email = |at: usize| format!("killed{at}@example.ro");
    let contacts: Vec<String> = (0..CONTACTS)
        .map(|at| {
            account.insert_contact(ContactDraft {
                name: Some(format!("Killed {at}")),
                email: Some(email(at)),
                phone: Some(format!("07220001{at:02}")),
                ..ContactDraft::default()
            })
        })
        .collect();
    mirror.say(&["sync", "contacts"]).expect(0);
    let checked = mirror.say(&["check"]);
    assert!(checked.stdout.contains("ok    contact_sync sales: "), "{checked:?}");

    let clock = SystemClock::shared();
    let mut rng = StdRng::seed_from_u64(0x7472_7974);
    let mut kills = 0;
    for _ in 0..6 {
        let mut process = mirror.spawn(&["contacts", "sync", "--backfill", "-q"]);
        let intended = "SELECT count(*) FROM crm_links WHERE intent IS NOT NULL";
        // Those of the run before are looked at first.
        clock.sleep(Duration::from_millis(500)).await;
        while process.is_running() && mirror.database.value(intended).await == "0" {
            clock.sleep(Duration::from_millis(20)).await;
        }
        clock.sleep(Duration::from_millis(rng.random_range(0..1_000))).await;
        if process.is_running() {
            process.kill();
            kills += u64::from(mirror.database.value(intended).await != "0");
        }
    }
    assert!(kills >= 2, "killed {kills} times while something was being written");
    settle(&mirror, &["contacts", "sync", "--backfill", "--json"]).await;
    for at in 0..CONTACTS {
        let found = crm.find(Entity::Contact, &Key::Email(email(at))).await.unwrap();
        assert_eq!(found.len(), 1, "{}: {found:?}", email(at));
        assert_eq!(found[0].fields["name"], format!("Killed {at}"));
    }

    // Each side changes something, and learns of the other's.
    let party = crm.find(Entity::Contact, &Key::Email(email(0))).await.unwrap();
    let changed = Fields::from([("name".to_owned(), json!("Changed in Tryton"))]);
    crm.upsert(Entity::Contact, &Key::Id(party[0].id.clone()), &changed)
        .await
        .unwrap();
    let renamed = ContactDraft {
        name: Some("Changed in AllAI".to_owned()),
        ..ContactDraft::default()
    };
    assert!(account.update_contact(&contacts[1], renamed));
    mirror.say(&["sync", "contacts"]).expect(0);
    let run = settle(&mirror, &["contacts", "sync", "--json"]).await;
    assert_eq!((&run["updated"], &run["written_back"]), (&json!(1), &json!(1)), "{run}");
    let rows = account.snapshot().contacts;
    let row = rows.iter().find(|row| row.id().as_ref() == Some(&contacts[0])).unwrap();
    assert_eq!(row.value().unwrap()["name"], "Changed in Tryton");
    let party = crm.find(Entity::Contact, &Key::Email(email(1))).await.unwrap();
    assert_eq!(party[0].fields["name"], "Changed in AllAI");
    for _ in 0..2 {
        mirror.say(&["sync", "contacts"]).expect(0);
        let run = settle(&mirror, &["contacts", "sync", "--json"]).await;
        let written = ["created", "updated", "written_back"].map(|what| run[what].as_u64().unwrap());
        assert_eq!(written, [0, 0, 0], "{run}");
    }
}

/// Runs until nothing is held: on SQLite, a party that is created while one of a killed program's is may be refused once.
async fn settle(mirror: &Mirror, arguments: &[&str]) -> Value {
    for _ in 0..3 {
        let said = mirror.say(arguments);
        if said.code == Some(0) {
            return said.json()["runs"][0].clone();
        }
        let again = "UPDATE crm_links SET retry_at = changed_at WHERE status = 'held'";
        mirror.database.execute(again).await;
    }
    panic!("{:?}", mirror.say(&["contacts", "held"]));
}
