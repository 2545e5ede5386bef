//! A disk that is full, and files that may not be written: see [`super::storage`].

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::storage::{assert_recovers, slow};
use crate::support::database::Database;
use crate::support::eventually;
use crate::support::mirror::Mirror;
use crate::support::postgres::not_as_root;
use crate::support::process::{Process, Said};

/// The program, as words for a shell that has set something up before.
fn sync_in_shell(mirror: &Mirror, setup: &str, shell: &[&str]) -> Said {
    let config = mirror.config_path();
    let script = format!("{setup}\nexec \"$0\" sync --json -c \"$1\"");
    let mut command = Command::new(shell[0]);
    command
        .args(&shell[1..])
        .args(["-c", &script, env!("CARGO_BIN_EXE_allai-sync")])
        .arg(&config)
        .current_dir(config.parent().unwrap())
        .stdin(Stdio::null());
    command.output().unwrap().into()
}

/// What a full disk looks like to SQLite depends on how it is full; here no file may grow further, as with a quota.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn files_that_may_grow_no_further_fail_the_sync_and_harm_nothing() {
    let mut said_in_all = String::new();
    let mut partly = 0;
    // In blocks of 512 bytes: from a limit that the empty tables exceed to one that the rows do.
    for blocks in [40, 200, 700, 1_000, 1_300] {
        let mirror = slow(Database::sqlite()).await;
        mirror
            .sandbox
            .set_options(|options| options.faults.latency = Duration::ZERO);
        let setup = format!("ulimit -f {blocks}");
        let said = sync_in_shell(&mirror, &setup, &["sh"]).expect(1);
        assert!(said.stderr.contains("the disk may be full"), "{blocks}: {said:?}");
        assert!(said.stderr.contains("warehouse.db"), "{blocks}: {said:?}");
        assert!(!said.stderr.contains("panicked"), "{said:?}");
        write!(said_in_all, "{blocks}: {}", said.stderr).unwrap();
        mirror.database.assert_sound().await;
        let tables = "SELECT count(*) FROM sqlite_schema WHERE name = 'contacts'";
        if mirror.database.value(tables).await == "1" {
            let rows = mirror.database.value("SELECT count(*) FROM contacts").await;
            partly += u32::from(rows != "0" && rows != "760");
        }
        assert_recovers(&mirror).await;
    }
    assert!(partly > 0, "no limit was met among the contacts:\n{said_in_all}");
}

/// Whether this machine lets us have a file system of our own.
fn can_mount() -> bool {
    let tried = Command::new("unshare")
        .args([
            "-rm",
            "sh",
            "-c",
            "mount -t tmpfs -o size=64k none /mnt || mount -t tmpfs none /tmp",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

/// Mounts a small disk, fills it up with a sync, saves what that leaves, makes room, syncs again and saves that.
const ON_A_SMALL_DISK: &str = r#"
disk=$1 config=$2 size=$3 out=$4
mount -t tmpfs -o "size=$size" none "$disk" || exit 3
"$0" sync --json -c "$config" >"$out/full.out" 2>"$out/full.err"; echo $? >"$out/full.code"
mkdir "$out/full" && cp "$disk"/* "$out/full/"
mount -o remount,size=64m none "$disk" || exit 3
"$0" sync --json -c "$config" >"$out/room.out" 2>"$out/room.err"; echo $? >"$out/room.code"
mkdir "$out/room" && cp "$disk"/* "$out/room/"
"#;

/// A disk of its own that is really full. Where nothing can be mounted, the limit of the test above stands for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_full_disk_fails_the_sync_and_harms_nothing() {
    if !can_mount() {
        eprintln!("no file system can be mounted here: a full disk is shown by a limit on the size of files alone");
        return;
    }
    let mut partly = 0;
    for size in ["200k", "500k", "800k", "1100k"] {
        let out = TempDir::new().unwrap();
        let disk = out.path().join("disk");
        std::fs::create_dir(&disk).unwrap();
        let mut mirror = slow(Database::file(&disk.join("warehouse.db"))).await;
        mirror
            .sandbox
            .set_options(|options| options.faults.latency = Duration::ZERO);
        let done = Command::new("unshare")
            .args(["-rm", "sh", "-c", ON_A_SMALL_DISK, env!("CARGO_BIN_EXE_allai-sync")])
            .args([&disk, &mirror.config_path()])
            .arg(size)
            .arg(out.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        let read = |name: &str| std::fs::read_to_string(out.path().join(name)).unwrap();
        let errors = read("full.err");
        assert_eq!(read("full.code").trim(), "1", "{size}: {errors}");
        assert!(
            errors.contains("make room") && errors.contains("warehouse.db"),
            "{size}: {errors}"
        );
        assert!(!errors.contains("panicked"), "{errors}");

        let full = Database::file(&out.path().join("full/warehouse.db"));
        full.assert_sound().await;
        if full
            .value("SELECT count(*) FROM sqlite_schema WHERE name = 'contacts'")
            .await
            == "1"
        {
            let rows = full.value("SELECT count(*) FROM contacts").await;
            partly += u32::from(rows != "0" && rows != "760");
        }
        assert_eq!(read("room.code").trim(), "0", "{size}: {}", read("room.err"));
        mirror.database = Database::file(&out.path().join("room/warehouse.db"));
        mirror.database.assert_sound().await;
        mirror.assert_exact().await;
    }
    assert!(partly > 0, "no disk was full among the contacts");
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Who has a file open may go on writing; whoever opens it next may not.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_file_made_read_only_during_a_sync_is_named_by_the_next() {
    let folder = TempDir::new().unwrap();
    let within = folder.path().join("warehouse");
    std::fs::create_dir(&within).unwrap();
    set_mode(folder.path(), 0o755);
    set_mode(&within, 0o777);
    let mirror = slow(Database::file(&within.join("warehouse.db"))).await;
    let program = folder.path().join("allai-sync");
    std::fs::copy(env!("CARGO_BIN_EXE_allai-sync"), &program).unwrap();
    let config = folder.path().join("config.toml");
    std::fs::copy(mirror.config_path(), &config).unwrap();
    set_mode(&config, 0o644);
    let command = || {
        let mut words = not_as_root();
        words.push(program.display().to_string());
        let mut command = Command::new(words.remove(0));
        command.args(words).args(["sync", "--json"]).current_dir(folder.path());
        command.stdin(Stdio::null());
        command
    };
    let all = |mode| {
        for entry in std::fs::read_dir(&within).unwrap() {
            set_mode(&entry.unwrap().path(), mode);
        }
    };

    let mut first = Process::spawn(command());
    eventually("some pages", || mirror.sandbox.stats().requests >= 15).await;
    all(0o444);
    set_mode(&within, 0o555);
    assert!(first.is_running(), "it was over before it was in trouble");
    let said = first.end().await;
    assert!(!said.stderr.contains("panicked"), "{said:?}");
    assert!(said.code == Some(0) || said.stderr.contains("writable"), "{said:?}");

    let before = mirror.sandbox.stats().requests;
    let said: Said = command().output().unwrap().into();
    let said = said.expect(1);
    assert!(
        said.stderr.contains("warehouse.db") && said.stderr.contains("writable"),
        "{said:?}"
    );
    assert!(
        mirror.sandbox.stats().requests - before < 40,
        "it read what it could not store"
    );

    set_mode(&within, 0o777);
    all(0o666);
    assert_recovers(&mirror).await;
}
