//! `status` and `check` read: they leave nothing behind, need no right to write, and say how things stand before the
//! first sync.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use allai_sync::clock::SystemClock;
use allai_sync::sandbox::Options;
use allai_sync::warehouse::{Location, Warehouse};
use tempfile::TempDir;

use crate::support::database::Database;
use crate::support::mirror::{ACCOUNT, Mirror};
use crate::support::on_both_databases;
use crate::support::postgres::not_as_root;
use crate::support::process::Said;

on_both_databases!(before_the_first_sync_everything_was_never_synced);

async fn small(database: Database) -> Mirror {
    Mirror::start(database, Options::for_tests(40, 8)).await
}

const RESOURCES: [&str; 4] = ["contacts", "conversations", "messages", "analytics"];

#[track_caller]
fn assert_never_synced(mirror: &Mirror) {
    let said = mirror.say(&["status"]).expect(0);
    for resource in RESOURCES {
        let line = said.stdout.lines().find(|line| line.contains(resource));
        assert!(
            line.is_some_and(|line| line.starts_with(ACCOUNT) || line.starts_with(" main")),
            "{said:?}"
        );
        assert!(line.is_some_and(|line| line.contains("never")), "{said:?}");
    }
    let report = mirror.say(&["status", "--json"]).expect(0).json();
    assert_eq!(report["resources"].as_array().map(Vec::len), Some(4), "{report}");
    let said = mirror.say(&["status", "--fresh-within", "2h"]).expect(1);
    for resource in RESOURCES {
        let complaint = format!("main {resource} was never synced completely");
        assert!(said.stderr.contains(&complaint), "{said:?}");
    }
}

async fn before_the_first_sync_everything_was_never_synced(database: Database) {
    let mirror = small(database).await;
    assert_never_synced(&mirror);
    mirror.say(&["check"]).expect(0);
    mirror.say(&["migrate"]).expect(0);
    assert_never_synced(&mirror);
}

/// The names in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn put_warehouse_at(mirror: &Mirror, file: &Path, more: &str) {
    let account = mirror.account_config(ACCOUNT, "");
    mirror.write_config(&format!(
        "[warehouse]\nurl = \"sqlite://{}\"\n{more}{account}",
        file.display()
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_warehouse_that_is_not_there_is_not_made_by_looking() {
    let mirror = small(Database::sqlite()).await;
    let folder = TempDir::new().unwrap();
    for file in ["warehouse.db", "not/yet/warehouse.db"] {
        let file = folder.path().join(file);
        put_warehouse_at(&mirror, &file, "");
        assert_never_synced(&mirror);
        let said = mirror.say(&["status"]).expect(0);
        assert!(said.stderr.contains("does not exist yet"), "{said:?}");
        let said = mirror.say(&["check"]).expect(0);
        let expected = format!(
            "ok    warehouse: {} does not exist yet; the next sync creates it",
            file.display()
        );
        assert!(said.stdout.contains(&expected), "{said:?}");
        put_warehouse_at(&mirror, &file, "migrate = false\n");
        let said = mirror.say(&["check"]).expect(1);
        assert!(said.stdout.contains("allai-sync migrate"), "{said:?}");
        assert_eq!(names(folder.path()), Vec::<String>::new());
    }
    // A file that is empty holds no tables, and stays as it is.
    let empty = folder.path().join("empty.db");
    std::fs::write(&empty, "").unwrap();
    put_warehouse_at(&mirror, &empty, "");
    assert_never_synced(&mirror);
    mirror.say(&["check"]).expect(0);
    assert_eq!(names(folder.path()), ["empty.db"]);
    assert_eq!(empty.metadata().unwrap().len(), 0);
}

/// A warehouse that this process may write to, and a program that may only read it.
struct Exhibit {
    mirror: Mirror,
    folder: TempDir,
    program: PathBuf,
    file: PathBuf,
}

impl Exhibit {
    async fn of_a_synced_account() -> Self {
        let mirror = small(Database::sqlite()).await;
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("warehouse.db");
        put_warehouse_at(&mirror, &file, "");
        mirror.sync().await;
        // Whoever runs it as somebody else must be able to get at it, and at its configuration.
        let program = folder.path().join("allai-sync");
        std::fs::copy(env!("CARGO_BIN_EXE_allai-sync"), &program).unwrap();
        std::fs::copy(mirror.config_path(), folder.path().join("config.toml")).unwrap();
        Self {
            mirror,
            folder,
            program,
            file,
        }
    }

    fn close(&self) {
        for name in names(self.folder.path()) {
            let mode = if name == "allai-sync" { 0o555 } else { 0o444 };
            set_mode(&self.folder.path().join(name), mode);
        }
        set_mode(self.folder.path(), 0o555);
    }

    fn say(&self, arguments: &[&str]) -> Said {
        let mut words = not_as_root();
        words.push(self.program.display().to_string());
        let mut command = Command::new(words.remove(0));
        command.args(words).args(arguments).current_dir(self.folder.path());
        command.stdin(Stdio::null()).output().unwrap().into()
    }

    #[track_caller]
    fn assert_readable(&self) {
        let before = names(self.folder.path());
        let report = self.say(&["status", "--json", "--fresh-within", "1h"]).expect(0).json();
        assert_eq!(report["resources"][0]["rows"], 40, "{report}");
        assert_eq!(names(self.folder.path()), before);
    }
}

impl Drop for Exhibit {
    fn drop(&mut self) {
        // So that it can be removed.
        set_mode(self.folder.path(), 0o755);
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn status_needs_no_right_to_write_and_check_says_that_a_sync_does() {
    let exhibit = Exhibit::of_a_synced_account().await;
    // Where it could, it leaves nothing either.
    let before = names(exhibit.folder.path());
    exhibit.mirror.say(&["status"]).expect(0);
    exhibit.mirror.say(&["check"]).expect(0);
    assert_eq!(names(exhibit.folder.path()), before);

    exhibit.close();
    exhibit.assert_readable();
    let said = exhibit.say(&["check"]).expect(1);
    let failure = said.stdout.lines().find(|line| line.starts_with("FAIL  warehouse"));
    assert!(failure.is_some_and(|line| line.contains("writable")), "{said:?}");

    // The file may be written, but not its folder, where the WAL has to be.
    set_mode(&exhibit.file, 0o666);
    exhibit.assert_readable();
    let said = exhibit.say(&["check"]).expect(1);
    let failure = said.stdout.lines().find(|line| line.starts_with("FAIL  warehouse"));
    assert!(
        failure.is_some_and(|line| line.contains("cannot create files")),
        "{said:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn status_sees_what_a_writer_has_in_its_wal() {
    let exhibit = Exhibit::of_a_synced_account().await;
    let location = Location {
        url: format!("sqlite://{}", exhibit.file.display()),
        schema: String::new(),
    };
    let writer = Warehouse::open(&location, SystemClock::shared()).await.unwrap();
    writer
        .save_rate_budget(&allai_sync::warehouse::RateBudget {
            account: "only in the WAL".to_owned(),
            rate_limit: Some(1),
            remaining: Some(1),
            resets_at: None,
            observed_at: SystemClock::shared().now(),
        })
        .await
        .unwrap();
    let names = names(exhibit.folder.path());
    assert!(names.contains(&"warehouse.db-wal".to_owned()), "{names:?}");
    exhibit.close();
    exhibit.assert_readable();
    let said = exhibit.say(&["status"]).expect(0);
    assert!(said.stdout.contains("only in the WAL: 1 of 1"), "{said:?}");

    // Without the index of the WAL, which it may not make, it cannot know.
    set_mode(&exhibit.folder.path().join("warehouse.db-shm"), 0o000);
    let said = exhibit.say(&["status"]).expect(1);
    assert!(said.stderr.contains("read it as the user that syncs"), "{said:?}");
    writer.close().await;
}
