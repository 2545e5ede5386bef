//! The audit finds whatever the mirror holds that the API does not say, names it without showing it, and is silent
//! where nothing is wrong.

use std::collections::{BTreeMap, BTreeSet};

use allai_sync::allai::{Priority, Resource};
use allai_sync::app::App;
use allai_sync::clock::{SharedClock, SystemClock};
use allai_sync::config::{Config, LoadOptions};
use allai_sync::sandbox::{ChurnKind, OddKind, Options, Order, Totals};
use allai_sync::sync::parity::{AuditJob, Depth, audit, describe};
use allai_sync::sync::{self, Job, Progress};
use allai_sync::warehouse::{AuditScope, AuditVerdict, ColumnKind, DifferenceKind, ParityAudit, columns};
use chrono::TimeDelta;
use clap::ValueEnum as _;
use tokio_util::sync::CancellationToken;

use crate::support::database::Database;
use crate::support::mirror::{ACCOUNT, Mirror};
use crate::support::on_both_databases;
use crate::support::simulation::Simulation;

on_both_databases!(
    a_difference_planted_in_any_column_is_found_and_named,
    rows_that_are_missing_extra_or_wrongly_deleted_are_found,
    a_wrong_number_of_rows_is_found_by_a_sample,
    nothing_is_found_where_nothing_is_wrong,
    nothing_is_found_in_rows_however_odd,
    nothing_is_reported_of_an_account_that_changes_while_it_is_audited,
    what_is_new_at_the_api_is_no_difference,
    what_the_api_has_deleted_since_is_no_difference,
    conversations_that_the_list_hides_are_no_difference,
    a_verified_sweep_is_followed_by_an_audit,
    a_sync_whose_audit_cannot_be_kept_is_complete,
    check_tells_what_differs_and_what_to_do,
);

const LISTS: [Resource; 3] = [Resource::Contacts, Resource::Conversations, Resource::Messages];

fn account() -> Options {
    let mut options = Options::for_tests(65, 20);
    options.account.messages_per_conversation = Some(4);
    options
}

impl Mirror {
    async fn audit_with(&self, resource: Resource, depth: Depth, seed: u64) -> Option<ParityAudit> {
        let loaded = Config::load(&LoadOptions {
            path: Some(self.config_path()),
            search: Vec::new(),
            env: BTreeMap::new(),
        });
        let app = App::open(&loaded.unwrap().config, SystemClock::shared()).await.unwrap();
        let job = AuditJob {
            account: &app.accounts[0],
            warehouse: &app.warehouse,
            clock: &app.clock,
            depth,
            trigger: "test",
            seed: Some(seed),
            priority: Priority::Interactive,
            cancelled: &CancellationToken::new(),
        };
        let found = audit(&job, resource).await.unwrap();
        app.warehouse.close().await;
        found
    }

    async fn audit(&self, resource: Resource, depth: Depth) -> ParityAudit {
        self.audit_with(resource, depth, 1).await.unwrap()
    }

    /// What is not as it is at the API: (id, what or which columns).
    async fn differences(&self, resource: Resource) -> BTreeSet<(String, String)> {
        let audit = self.audit(resource, Depth::Full).await;
        assert_eq!(audit.scope, AuditScope::Full);
        assert_eq!(audit.rows_differing, audit.differences.len() as u64, "{audit:#?}");
        let names = audit.differences.iter().map(|difference| {
            let what = match difference.kind {
                DifferenceKind::Columns => difference.fields.join(" "),
                kind => format!("{kind:?}").to_lowercase(),
            };
            (difference.id.clone().unwrap_or_default(), what)
        });
        names.collect()
    }

    async fn assert_equal(&self, depth: Depth) {
        for resource in LISTS {
            let audit = self.audit(resource, depth).await;
            assert_eq!(audit.verdict, AuditVerdict::Equal, "{audit:#?}");
            assert!(audit.differences.is_empty() && audit.rows_compared > 0, "{audit:#?}");
        }
    }
}

async fn a_difference_planted_in_any_column_is_found_and_named(database: Database) {
    let mirror = Mirror::start(database, account()).await;
    mirror.full_sync().await.verified();
    for resource in LISTS {
        let ids = mirror
            .database
            .rows(&format!("SELECT id FROM {resource} ORDER BY id"))
            .await;
        let mut planted = BTreeSet::new();
        for (row, (column, kind)) in ids.iter().zip(columns(resource)) {
            let id = row.text("id");
            let value = match kind {
                ColumnKind::Text => "'a planted value'",
                ColumnKind::Number => "0.1234",
                ColumnKind::Json => r#"'{"planted": [1]}'"#,
                ColumnKind::Time => "'2001-02-03T04:05:06Z'",
            };
            mirror
                .database
                .execute(&format!("UPDATE {resource} SET {column} = {value} WHERE id = '{id}'"))
                .await;
            planted.insert((id.to_owned(), (*column).to_owned()));
        }
        assert_eq!(planted.len(), columns(resource).len());
        assert_eq!(mirror.differences(resource).await, planted, "{resource}");
        let kept = mirror
            .database
            .value(&format!(
                "SELECT differences FROM parity_audits WHERE resource = '{resource}' AND verdict = 'differs'"
            ))
            .await;
        assert!(!kept.contains("planted") && !kept.contains("2001"), "{kept}");
    }
    // The remedy that is named helps, though the fingerprints were those of the API's rows.
    mirror.full_sync().await.verified();
    mirror.assert_exact().await;
    mirror.assert_equal(Depth::Full).await;
}

/// Copies a row under another id.
async fn plant_extra(mirror: &Mirror, resource: Resource, id: &str) {
    let names: Vec<&str> = columns(resource).iter().map(|(name, _)| *name).collect();
    let of_conversation = if resource == Resource::Messages {
        "conversation_id, "
    } else {
        ""
    };
    let names = format!("{of_conversation}{}", names.join(", "));
    mirror
        .database
        .execute(&format!(
            "INSERT INTO {resource} (account, id, {names}, content_hash, first_seen_at, changed_at, row_num) \
             SELECT account, '{id}', {names}, content_hash, first_seen_at, changed_at, \
             (SELECT max(row_num) + 1 FROM {resource}) \
             FROM {resource} ORDER BY id LIMIT 1"
        ))
        .await;
}

async fn rows_that_are_missing_extra_or_wrongly_deleted_are_found(database: Database) {
    let mirror = Mirror::start(database, account()).await;
    mirror.full_sync().await.verified();
    for resource in LISTS {
        let ids = mirror
            .database
            .rows(&format!("SELECT id FROM {resource} ORDER BY id"))
            .await;
        let (missing, deleted) = (ids[2].text("id"), ids[5].text("id"));
        mirror
            .database
            .execute(&format!("DELETE FROM {resource} WHERE id = '{missing}'"))
            .await;
        mirror
            .database
            .execute(&format!(
                "UPDATE {resource} SET deleted_at = '2026-01-19T10:00:00.000000Z' WHERE id = '{deleted}'"
            ))
            .await;
        plant_extra(&mirror, resource, "nobody").await;
        // The messages of conversations that the mirror does not have are not asked for, so these come last.
        if resource != Resource::Conversations {
            let expected = [(missing, "missing"), (deleted, "deleted"), ("nobody", "extra")];
            let expected = expected.map(|(id, what)| (id.to_owned(), what.to_owned()));
            assert_eq!(mirror.differences(resource).await, expected.into(), "{resource}");
            assert_eq!(
                mirror.audit(resource, Depth::Sample).await.verdict,
                AuditVerdict::Differs
            );
            mirror.full_sync().await;
            continue;
        }
        let found = mirror.differences(resource).await;
        assert_eq!(found.len(), 3, "{found:?}");
        mirror.full_sync().await;
    }
    mirror.full_sync().await.verified();
    mirror.assert_exact().await;
    mirror.assert_equal(Depth::Full).await;
}

async fn a_wrong_number_of_rows_is_found_by_a_sample(database: Database) {
    let mut options = Options::for_tests(900, 3);
    options.account.messages_per_conversation = Some(1);
    let mirror = Mirror::start(database, options).await;
    mirror.full_sync().await.verified();
    let sample = async || mirror.audit(Resource::Contacts, Depth::Sample).await;
    let equal = sample().await;
    assert_eq!(
        (equal.verdict, equal.rows_api),
        (AuditVerdict::Equal, Some(900)),
        "{equal:#?}"
    );
    assert!((200..=260).contains(&equal.rows_compared), "{equal:#?}");
    assert!(equal.requests <= 14, "{equal:#?}");

    plant_extra(&mirror, Resource::Contacts, "nobody").await;
    let surplus = sample().await;
    assert_eq!(surplus.verdict, AuditVerdict::Differs, "{surplus:#?}");
    assert_eq!(surplus.differences[0].kind, DifferenceKind::Count, "{surplus:#?}");
    assert!(describe(&surplus).contains("the API states 900 rows and the mirror has 901"));

    // One of the 900, wherever it is: named if the sample met it, else missed from the count.
    let delete = "DELETE FROM contacts WHERE id IN (SELECT id FROM contacts WHERE id <> 'nobody' ORDER BY id LIMIT 3)";
    mirror.database.execute(delete).await;
    let shortage = sample().await;
    assert_eq!(shortage.verdict, AuditVerdict::Differs, "{shortage:#?}");
}

async fn nothing_is_found_where_nothing_is_wrong(database: Database) {
    for (order, totals, fields) in [
        (Order::CreatedDesc, Totals::Beside, ""),
        (Order::UpdatedAsc, Totals::None, ""),
        (
            Order::Id,
            Totals::Meta,
            "[accounts.main.contacts]\nfields = [\"id\", \"tags\", \"created_at\"]\n",
        ),
    ] {
        let mut options = account();
        (options.shape.order, options.shape.totals) = (order, totals);
        options.shape.shuffle_members = true;
        let mirror = Mirror::start(database.another(), options).await;
        mirror.configure(&mirror.account_config(ACCOUNT, &format!("page_size = 20\n{fields}")));
        assert!(mirror.audit_with(Resource::Contacts, Depth::Sample, 1).await.is_none());
        mirror.full_sync().await.verified();
        for depth in [Depth::Sample, Depth::Full] {
            mirror.assert_equal(depth).await;
        }
        let all = mirror.audit(Resource::Contacts, Depth::Full).await;
        assert_eq!((all.rows_compared, all.rows_mirror, all.rows_api), (65, 65, Some(65)));
        let all = mirror.audit(Resource::Messages, Depth::Full).await;
        assert_eq!((all.rows_compared, all.rows_mirror, all.rows_api), (80, 80, Some(80)));
    }
}

async fn nothing_is_found_in_rows_however_odd(database: Database) {
    let mut options = Options::for_tests(150, 40);
    options.account.messages_per_conversation = Some(4);
    options.account.odd_rows = 0.6;
    let kinds = OddKind::value_variants().iter().copied();
    options.account.odd_kinds = kinds.filter(|kind| *kind != OddKind::LongText).collect();
    let mirror = Mirror::start(database, options).await;
    mirror.full_sync().await;
    mirror.assert_exact().await;
    for depth in [Depth::Sample, Depth::Full] {
        mirror.assert_equal(depth).await;
    }
}

/// However much is gone from the account.
async fn sweep(mirror: &Mirror) {
    let options = sync::Options {
        full: true,
        allow_mass_delete: true,
    };
    mirror.run(&LISTS, options).await.complete();
}

async fn nothing_is_reported_of_an_account_that_changes_while_it_is_audited(database: Database) {
    let mut options = Options::for_tests(160, 25);
    options.account.messages_per_conversation = Some(3);
    options.churn.churn_kinds = vec![
        ChurnKind::Insert,
        ChurnKind::Delete,
        ChurnKind::Update,
        ChurnKind::Touch,
    ];
    let mirror = Mirror::start(database, options).await;
    for order in [Order::CreatedDesc, Order::UpdatedDesc] {
        mirror.sandbox.set_options(|options| options.shape.order = order);
        mirror.sandbox.set_options(|options| options.churn.churn = 0);
        sweep(&mirror).await;
        sweep(&mirror).await;
        mirror.sandbox.set_options(|options| options.churn.churn = 1);
        for resource in LISTS {
            for (seed, depth) in [(1, Depth::Sample), (2, Depth::Sample), (3, Depth::Full)] {
                let audit = mirror.audit_with(resource, depth, seed).await.unwrap();
                assert_ne!(audit.verdict, AuditVerdict::Differs, "{audit:#?}");
            }
        }
        sweep(&mirror).await;
    }
    let reported = "SELECT count(*) FROM parity_audits WHERE verdict = 'differs'";
    assert_eq!(mirror.database.value(reported).await, "0");
}

async fn what_the_api_has_deleted_since_is_no_difference(database: Database) {
    let mirror = Mirror::start(database, account()).await;
    mirror.full_sync().await.verified();
    let account = mirror.sandbox.account();
    assert!(account.delete_contact(&account.contact_ids()[20]));
    assert!(account.delete_conversation(&account.conversation_ids()[10]));
    for create in [false, true] {
        if create {
            // As many as before.
            account.insert_contact(allai_sync::sandbox::ContactDraft::default());
        }
        for depth in [Depth::Sample, Depth::Full] {
            for resource in LISTS {
                let audit = mirror.audit(resource, depth).await;
                assert_ne!(audit.verdict, AuditVerdict::Differs, "{audit:#?}");
            }
        }
        for resource in [Resource::Contacts, Resource::Conversations] {
            let audit = mirror.audit(resource, Depth::Full).await;
            assert_eq!(audit.verdict, AuditVerdict::Behind, "{audit:#?}");
        }
    }
}

async fn what_is_new_at_the_api_is_no_difference(database: Database) {
    let mirror = Mirror::start(database, account()).await;
    mirror.full_sync().await.verified();
    // The server's clock has whole seconds: what follows is later beyond doubt.
    mirror
        .sandbox
        .set_options(|options| options.faults.clock_skew = chrono::TimeDelta::seconds(30));
    let account = mirror.sandbox.account();
    account.insert_contact(allai_sync::sandbox::ContactDraft::default());
    assert!(account.touch_contact(&account.contact_ids()[7]));
    assert!(account.close(&account.conversation_ids()[3], "resolved_by_bot"));
    for depth in [Depth::Sample, Depth::Full] {
        for (resource, pending) in [(Resource::Contacts, 2), (Resource::Conversations, 1)] {
            let audit = mirror.audit(resource, depth).await;
            assert_eq!(audit.verdict, AuditVerdict::Behind, "{audit:#?}");
            assert_eq!(audit.rows_pending, pending, "{audit:#?}");
        }
    }
}

async fn conversations_that_the_list_hides_are_no_difference(database: Database) {
    let mirror = Mirror::start(database, account()).await;
    mirror.full_sync().await.verified();
    let account = mirror.sandbox.account();
    assert!(account.hide_conversation(&account.conversation_ids()[4], true));
    mirror.full_sync().await.verified();
    for depth in [Depth::Sample, Depth::Full, Depth::Sample] {
        let audit = mirror.audit(Resource::Conversations, depth).await;
        assert_eq!(audit.verdict, AuditVerdict::Equal, "{audit:#?}");
        assert_eq!((audit.rows_unlisted, audit.rows_mirror), (1, 20), "{audit:#?}");
    }
}

async fn a_verified_sweep_is_followed_by_an_audit(database: Database) {
    let mirror = Mirror::start(database, account()).await;
    mirror.full_sync().await.verified();
    let runs = mirror.full_sync().await.verified();
    let log = mirror.take_log();
    let requests: u64 = runs.0.iter().map(|run| run.requests).sum();
    assert!(log.len() as u64 >= requests);
    let audits = mirror.database.table("parity_audits").await;
    for resource in Resource::ALL {
        let mut of = audits.iter().filter(|row| row.text("resource") == resource.as_str());
        let last = of.next_back().unwrap();
        assert_eq!(
            (last.text("verdict"), last.text("trigger")),
            ("equal", "sync"),
            "{last:?}"
        );
        assert!(last.count("rows_compared") > 0, "{last:?}");
        if resource != Resource::Analytics {
            let asked = last.count("requests");
            assert!((1..=6).contains(&asked), "{last:?}");
            assert!(runs.of(resource).requests > asked, "{runs:?}");
        }
    }
    // An incremental run proves nothing, and is not followed by one.
    mirror.sync().await;
    assert_eq!(mirror.database.table("parity_audits").await.len(), audits.len());

    let health = mirror.database.table("mirror_health").await;
    assert_eq!(health.len(), 4);
    for row in health {
        assert_eq!(row.text("verdict"), "equal", "{row:?}");
        assert!(row.count("freshness_seconds") < 600, "{row:?}");
        assert!(row.text("completeness").parse::<f64>().unwrap() > 0.99, "{row:?}");
    }
    let report = mirror.say(&["status", "--json"]).expect(0).json();
    assert_eq!(report["resources"][0]["last_audit"]["verdict"], "equal", "{report}");
    let said = mirror.say(&["status"]).expect(0);
    assert!(said.stdout.contains("equal"), "{said:?}");
}

async fn a_sync_whose_audit_cannot_be_kept_is_complete(database: Database) {
    let mirror = Mirror::start(database, account()).await;
    mirror.sync().await;
    mirror.database.execute("DROP VIEW mirror_health").await;
    mirror.database.execute("DROP TABLE parity_audits").await;
    mirror.full_sync().await.verified();
    mirror.assert_exact().await;
}

async fn check_tells_what_differs_and_what_to_do(database: Database) {
    let mirror = Mirror::start(database, account()).await;
    let said = mirror.say(&["check", "--parity"]).expect(1);
    assert!(said.stdout.contains("allai-sync sync"), "{said:?}");
    mirror.full_sync().await.verified();
    for more in [&[][..], &["--full"], &["--account", ACCOUNT]] {
        let said = mirror.say(&[&["check", "--parity"], more].concat()).expect(0);
        for resource in Resource::ALL {
            let line = format!("ok    parity main {resource}: ");
            assert!(said.stdout.contains(&line), "{said:?}");
        }
    }
    mirror.say(&["check", "--full"]).expect(2);
    mirror.say(&["check", "--account", "nobody"]).expect(2);

    let contact = mirror.sandbox.account().contact_ids().remove(5);
    mirror
        .database
        .execute(&format!(
            "UPDATE contacts SET email = 'planted@example.ro' WHERE id = '{contact}'"
        ))
        .await;
    let said = mirror.say(&["check", "--parity", "--full"]).expect(1);
    let expected = format!(
        "FAIL  parity main contacts: all 65 rows compared, 1 not equal: {contact} (email); run: allai-sync sync contacts \
         --account main --full"
    );
    assert!(said.stdout.contains(&expected), "{said:?}");
    assert!(!format!("{said:?}").contains("planted@"), "{said:?}");
    mirror
        .say(&["sync", "contacts", "--account", "main", "--full"])
        .expect(0);
    mirror.say(&["check", "--parity", "--full"]).expect(0);
    mirror.assert_exact().await;
}

async fn sync_all(simulation: &Simulation) {
    let clock: SharedClock = simulation.clock.shared();
    let job = Job {
        account: &simulation.account,
        warehouse: &simulation.warehouse,
        clock: &clock,
        options: sync::Options {
            full: true,
            allow_mass_delete: false,
        },
        trigger: "test",
        progress: &Progress::default(),
        cancelled: &CancellationToken::new(),
    };
    assert!(sync::run(&job, Resource::Contacts).await.record.verified);
}

async fn audit_of(simulation: &Simulation, depth: Depth) -> ParityAudit {
    let clock: SharedClock = simulation.clock.shared();
    let job = AuditJob {
        account: &simulation.account,
        warehouse: &simulation.warehouse,
        clock: &clock,
        depth,
        trigger: "test",
        seed: None,
        priority: Priority::Full,
        cancelled: &CancellationToken::new(),
    };
    audit(&job, Resource::Contacts).await.unwrap().unwrap()
}

/// Plants one wrong field in so many contacts, and has it found by a full comparison.
async fn find_one_wrong_field_in(contacts: usize) {
    let mut simulation = Simulation::new(Database::sqlite(), Options::for_tests(contacts, 0)).await;
    simulation.account.page_size = 100;
    sync_all(&simulation).await;
    let id = simulation.sandbox.account().contact_ids().remove(contacts * 2 / 3);
    simulation
        .database
        .execute(&format!("UPDATE contacts SET phone = '+40' WHERE id = '{id}'"))
        .await;
    let found = audit_of(&simulation, Depth::Full).await;
    assert_eq!(
        (found.rows_compared, found.rows_differing),
        (contacts as u64, 1),
        "{found:#?}"
    );
    assert_eq!(found.differences[0].id.as_deref(), Some(id.as_str()));
    assert_eq!(found.differences[0].fields, ["phone"]);
}

/// A date that is yet to come is no sign that the API has changed the row since.
#[tokio::test]
async fn one_wrong_field_in_a_row_that_is_dated_ahead_is_found() {
    let simulation = Simulation::new(Database::sqlite(), Options::for_tests(30, 0)).await;
    let id = simulation.sandbox.account().contact_ids().remove(20);
    assert!(simulation.sandbox.account().touch_contact(&id));
    simulation.clock.jump(TimeDelta::hours(-3));
    sync_all(&simulation).await;
    simulation
        .database
        .execute(&format!("UPDATE contacts SET phone = '+40' WHERE id = '{id}'"))
        .await;
    let found = audit_of(&simulation, Depth::Full).await;
    assert_eq!(found.rows_differing, 1, "{found:#?}");
    assert_eq!(found.differences[0].fields, ["phone"]);
}

#[tokio::test]
async fn one_wrong_field_in_three_thousand_rows_is_found() {
    find_one_wrong_field_in(3_000).await;
}

#[tokio::test]
#[ignore = "takes a while; run it in release"]
async fn one_wrong_field_in_a_hundred_thousand_rows_is_found() {
    find_one_wrong_field_in(100_000).await;
}

#[tokio::test]
async fn an_audit_writes_next_to_nothing() {
    let mut simulation = Simulation::new(Database::sqlite(), Options::for_tests(3_000, 0)).await;
    simulation.account.page_size = 100;
    sync_all(&simulation).await;
    simulation.database.forbid_writes().await;
    simulation.database.execute("PRAGMA wal_checkpoint(TRUNCATE)").await;
    let file = simulation.database.url().replace("sqlite://", "") + "-wal";
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 0);
    for depth in [Depth::Glance, Depth::Sample] {
        let found = audit_of(&simulation, depth).await;
        assert_eq!(found.verdict, AuditVerdict::Equal, "{found:#?}");
    }
    let bytes = std::fs::metadata(&file).unwrap().len();
    assert!(bytes < 32 * 1024, "{bytes} bytes of WAL");
}
