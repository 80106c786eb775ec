//! Tokens in files.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::harness::herd::names;
use super::harness::namespace::Namespace;
use super::harness::rows::ROOMY;
use super::harness::together::at_each;
use super::harness::{Bench, FAILPOINT, text};
use super::{hold_answer, read, refresh, until};

const ALL: &str = "[[publish]]\noas = [\"*\"]\n";

/// A bench that publishes each token as JSON into `tokens/`.
async fn bench() -> Bench {
    let bench = Bench::new().await;
    bench.set_extra(&format!("{ALL}file = \"tokens/{{oa_id}}.json\"\n"));
    bench
}

fn file_of(bench: &Bench, oa: &str) -> PathBuf {
    bench.path(&format!("tokens/{oa}.json"))
}

/// The generation in the file, if it is there.
fn generation(path: &Path) -> Option<u64> {
    let file: Value = serde_json::from_str(&read(path)?).expect("whole JSON, whenever it is read");
    file["generation"].as_u64()
}

async fn until_generation(path: &Path, wanted: u64) {
    until(&format!("{} has generation {wanted}", path.display()), || generation(path) == Some(wanted)).await;
}

/// The file has what Zalo takes now, and nothing stands beside it.
fn assert_right(bench: &Bench, oa: &str, what: &str) {
    let file: Value = serde_json::from_str(&read(&file_of(bench, oa)).expect("there")).expect("JSON");
    let token = file["access_token"].as_str().expect("a token");
    assert!(bench.simulator.is_valid_access_token(token), "{what}: an old token");
    assert_eq!(file["oa_id"], oa, "{what}");
    let keys: Vec<&String> = file.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["access_token", "expires_at", "generation", "oa_id"], "{what}");
    let beside = std::fs::read_dir(bench.path("tokens")).expect("read").flatten();
    let hidden = beside.filter(|entry| entry.file_name().to_string_lossy().starts_with('.'));
    assert_eq!(hidden.count(), 0, "{what}: something is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_reader_sees_half_a_file_while_two_hundred_are_replaced() {
    let bench = bench().await;
    bench.set_refresh(ROOMY);
    let oas = names("7", 200);
    bench.add_herd("app", &oas, Duration::from_secs(120));
    let (is_over, looked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let files: Vec<PathBuf> = oas.iter().map(|oa| file_of(&bench, oa)).collect();
    let readers = [0, 1].map(|_| {
        let (files, is_over, looked) = (files.clone(), Arc::clone(&is_over), Arc::clone(&looked));
        std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !is_over.load(Ordering::SeqCst) {
                for file in &files {
                    seen.extend(generation(file));
                    looked.fetch_add(1, Ordering::SeqCst);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            seen
        })
    });
    let mut daemon = bench.start().await;
    daemon.wait_for_nth("refresh.succeeded", 200).await;
    until("all files are new", || files.iter().all(|file| generation(file) == Some(2))).await;
    is_over.store(true, Ordering::SeqCst);
    for reader in readers {
        let seen = reader.join().expect("every file was whole");
        assert!(seen.contains(&2) && seen.iter().all(|generation| *generation <= 2), "{seen:?}");
    }
    assert!(looked.load(Ordering::SeqCst) > 400);
    assert!(daemon.stop().await.success());
    oas.iter().for_each(|oa| assert_right(&bench, oa, oa));
    assert!(daemon.events("publish.failed").is_empty());
}

/// Killed at this point when the second set is published.
async fn killed_at(point: &'static str) {
    let bench = bench().await;
    bench.add_due_oa("7").await;
    hold_answer(&bench, "7");
    let mut daemon = bench.spawn(&[(FAILPOINT, &format!("{point}=kill@2"))]);
    until_generation(&file_of(&bench, "7"), 1).await;
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    bench.simulator.release();
    assert_eq!(daemon.ended().await.signal(), Some(9), "{point} is not passed twice: {}", daemon.log());
    assert_eq!(bench.status("7").await["generation"], 2, "{point}: it was durable");
    let placed = if point == "publish.file.placed" { 2 } else { 1 };
    assert_eq!(generation(&file_of(&bench, "7")), Some(placed), "{point}");
    let mut daemon = bench.start().await;
    until_generation(&file_of(&bench, "7"), 2).await;
    // What lies beside it is taken away with the same look.
    assert!(daemon.stop().await.success());
    assert_right(&bench, "7", point);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_durable_and_published_the_file_is_right_after_the_restart() {
    let points = ["publish.file.writing", "publish.file.written", "publish.file.placed"];
    at_each(points, killed_at).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_at_any_moment_the_file_is_right_after_the_restart() {
    let bench = bench().await;
    bench.add_granted_oa("7").await;
    for kill in 1..=4 {
        let mut daemon = bench.start().await;
        until_generation(&file_of(&bench, "7"), kill).await;
        refresh(&bench, "7").await;
        daemon.kill().await;
        assert_eq!(bench.status("7").await["generation"], kill + 1);
    }
    let mut daemon = bench.start().await;
    until_generation(&file_of(&bench, "7"), 5).await;
    assert!(daemon.stop().await.success());
    assert_right(&bench, "7", "killed four times");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_during_the_stop_is_in_the_file_when_the_daemon_has_ended() {
    let bench = bench().await;
    bench.add_due_oa("7").await;
    hold_answer(&bench, "7");
    let mut daemon = bench.start().await;
    bench.ledger_until(|ledger| ledger.spends() == 1).await;
    daemon.signal(Signal::TERM);
    daemon.wait_for("daemon.stopping").await;
    bench.simulator.release();
    assert!(daemon.ended().await.success());
    assert_right(&bench, "7", "stopped");
    assert_eq!(generation(&file_of(&bench, "7")), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_removed_when_its_oa_or_its_publisher_is_gone_and_no_other_is() {
    let bench = bench().await;
    let all = format!("{ALL}file = \"tokens/{{oa_id}}.json\"\n");
    let of_eight = all.replace("\"*\"", "\"8\", \"9\"");
    for oa in ["7", "8", "9"] {
        bench.add_granted_oa(oa).await;
    }
    std::fs::create_dir(bench.path("tokens")).expect("made");
    let foreign = bench.path("tokens/config.json");
    std::fs::write(&foreign, "{}").expect("written");
    let there = || ["7", "8", "9"].map(|oa| file_of(&bench, oa).exists());
    let mut daemon = bench.start().await;
    until("all are there", || there() == [true; 3]).await;
    bench.remove_oa("7");
    daemon.reload().await;
    until("that of the dropped OA is gone", || there() == [false, true, true]).await;

    // What happens to the config while no daemon runs counts as well.
    assert!(daemon.stop().await.success());
    bench.remove_oa("8");
    bench.add_oa("7");
    let mut daemon = bench.start().await;
    until("7 is back and 8 is gone", || there() == [true, false, true]).await;
    bench.set_extra(&of_eight);
    daemon.reload().await;
    until("7 is not published any more", || there() == [false, false, true]).await;
    bench.set_extra(&all.replace("tokens/", "elsewhere/"));
    daemon.reload().await;
    until("it is published elsewhere", || there() == [false; 3]).await;
    until("it is there", || bench.path("elsewhere/9.json").exists()).await;
    assert!(daemon.stop().await.success());
    bench.set_extra("");
    let mut daemon = bench.start().await;
    until("nothing is published", || !bench.path("elsewhere/9.json").exists()).await;
    assert!(daemon.stop().await.success());
    assert_eq!(read(&foreign).as_deref(), Some("{}"), "it was never ours");
    assert!(daemon.events("publish.failed").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_delays_no_refresh_and_is_made_up_for() {
    let bench = bench().await;
    bench.add_granted_oa("7").await;
    let mount = bench.path("tokens");
    std::fs::create_dir(&mount).expect("made");
    let mount = mount.display().to_string();
    let disk = Namespace::around(&bench, "mount -t tmpfs -o size=64k,mode=0700 tmpfs \"$0\"", &mount).await;
    let mut daemon = bench.start().await;
    let in_it = format!("/proc/{}/root{mount}/7.json", daemon.pid);
    until_generation(Path::new(&in_it), 1).await;
    disk.shell(&format!("cat /dev/zero > {mount}/filler 2>/dev/null; true")).await;
    refresh(&bench, "7").await;
    let failed = daemon.wait_for_oa("publish.failed", "7").await;
    assert!(failed["detail"].as_str().is_some_and(|detail| detail.contains("space")), "{failed}");
    assert!(failed["retry_at"].is_string() && failed["level"] == "WARN", "{failed}");
    assert_eq!(generation(Path::new(&in_it)), Some(1), "the old one stays whole");
    // Nothing but the next try brings it.
    disk.shell(&format!("rm {mount}/filler")).await;
    daemon.wait_for_oa("publish.recovered", "7").await;
    until_generation(Path::new(&in_it), 2).await;
    let left = disk.shell(&format!("ls -A {mount}")).await;
    assert_eq!(left.trim(), "7.json");
    assert!(daemon.stop().await.success());
    assert_eq!(daemon.events("publish.failed").len(), 1, "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_format_has_its_mode_and_group_and_what_somebody_changed_is_put_right() {
    let bench = Bench::new().await;
    let is_root = rustix::process::geteuid().is_root();
    let group = if is_root { "group = \"daemon\"\nowner = \"daemon\"\n" } else { "" };
    bench.set_extra(&format!(
        "{ALL}file = \"a/{{oa_id}}/token\"\nmode = \"0640\"\n{group}\
         [[publish]]\noas = [\"7\"]\nfile = \"a/shop.env\"\n"
    ));
    bench.add_oa("7");
    let mut daemon = bench.start().await;
    // A set that a person brings.
    let answer = bench.simulator.grant("app", "7");
    let token = answer["access_token"].as_str().expect("a token").to_owned();
    bench.import("7", &answer).await;
    let (plain, env) = (bench.path("a/7/token"), bench.path("a/shop.env"));
    until("both are there", || plain.exists() && env.exists()).await;
    assert_eq!(read(&plain), Some(format!("{token}\n")));
    let script = ". \"$0\" && printf '%s %s %s' \"$ZALO_OA_ID\" \"$ZALO_ACCESS_TOKEN\" \"$ZALO_GENERATION\"";
    let shell = std::process::Command::new("sh").args(["-c", script]).arg(&env).output().expect("sh runs");
    assert_eq!(text(&shell.stdout), format!("7 {token} 1"));
    let stands = |path: &Path| {
        let found = std::fs::symlink_metadata(path).expect("there");
        (found.is_file(), found.mode() & 0o7777, found.uid(), found.gid())
    };
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let given = if is_root { (1, 1) } else { own };
    let right = [(true, 0o640, given.0, given.1), (true, 0o600, own.0, own.1)];
    assert_eq!([stands(&plain), stands(&env)], right);
    let directory = std::fs::metadata(bench.path("a/7")).expect("there");
    assert_eq!((directory.mode() & 0o7777, directory.gid()), (0o750, given.1));

    std::fs::remove_file(&plain).expect("removed");
    symlink(bench.path("elsewhere"), &plain).expect("linked");
    std::fs::set_permissions(&env, std::fs::Permissions::from_mode(0o644)).expect("set");
    daemon.reload().await;
    until("both are put right", || [stands(&plain), stands(&env)] == right).await;
    std::fs::write(&env, "ZALO_ACCESS_TOKEN=another").expect("written");
    daemon.reload().await;
    until("its content is put right", || read(&env).is_some_and(|text| text.contains(&token))).await;
    assert!(!bench.path("elsewhere").exists(), "no link is followed");
    assert!(daemon.stop().await.success());
}
