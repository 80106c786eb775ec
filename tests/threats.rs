//! What `THREATS.md` says and nothing else shows; and that each of its lines has a test, or says that it has none.

mod harness;

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::{Bench, QUICK, text};
use rustix::process::Uid;
use zalo_tokend::simulator::{Answer, Fault, MARKER, Rule};

const NOBODY: u32 = 65_534;

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The lines of all tables, but for their heads: what is said, and what shows it.
fn lines() -> Vec<(String, String)> {
    let threats = read("THREATS.md");
    let rows = threats.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = rows.filter_map(|row| row.rsplit_once(" | ")).filter(|row| row.1 != "shown by");
    rows.map(|(said, shown)| (said.to_owned(), shown.to_owned())).collect()
}

#[test]
fn each_line_ends_with_a_test_that_is_there_or_says_that_it_is_not_defended() {
    let lines = lines();
    assert!(lines.len() > 40, "the lines are not where they were looked for");
    for (said, shown) in lines.into_iter().filter(|(_, shown)| shown != "not defended") {
        for of_one_file in shown.split("; ") {
            let mut words = of_one_file.split('`').skip(1).step_by(2);
            let file = words.next().unwrap_or_else(|| panic!("{said}: shown by what?"));
            let source = read(file);
            let mut named = 0;
            for word in words {
                let is_there = if file.ends_with(".rs") {
                    source.contains(&format!("fn {word}("))
                } else {
                    source.contains(&format!("step \"{word}\""))
                };
                assert!(is_there, "{said}: {file} has no {word}");
                named += 1;
            }
            assert!(named > 0, "{said}: by what in {file}?");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_store_holds_the_current_set_alone_and_neither_the_app_secret_nor_what_was_spent() {
    let bench = Bench::new().await;
    // An answer that is kept for a person until there is a set, and that is too long for one page of the file.
    let odd = format!("{{\"odd\":\"{}\"}}", format!("{MARKER}-kept ").repeat(500));
    bench.simulator.fault(Rule::once(Fault::unspent(Answer::custom(200, odd))));
    bench.add_due_oa("7").await;
    let before = bench.simulator.current_set("7").expect("granted");
    let mut daemon = bench.start().await;
    daemon.wait_for_oa("refresh.succeeded", "7").await;
    assert!(bench.run(&["refresh", "7"]).await.status.success());
    assert!(daemon.stop().await.success());
    let current = bench.simulator.current_set("7").expect("granted");
    let mut stolen = Vec::new();
    for file in std::fs::read_dir(bench.path("state")).expect("read") {
        stolen.extend(std::fs::read(file.expect("read").path()).expect("read"));
    }
    let holds = |secret: &str| stolen.windows(secret.len()).any(|window| window == secret.as_bytes());
    assert!(holds(current.access_token.expose()) && holds(current.refresh_token.expose()));
    assert!(!holds(before.access_token.expose()) && !holds(before.refresh_token.expose()));
    assert!(!holds(&format!("{MARKER}-secret-of-")), "the app's secret");
    let all = stolen.windows(MARKER.len()).filter(|window| *window == MARKER.as_bytes()).count();
    assert_eq!(all, 2, "what has the marker is the access token and the refresh token");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_listens_in_the_daemons_place_is_told_nothing() {
    if !rustix::process::geteuid().is_root() {
        // Only root can become another user here; CI is.
        return;
    }
    let bench = Bench::new().await;
    bench.set_refresh(QUICK);
    bench.add_granted_oa("7").await;
    let socket = bench.path("state/tokens.db-control");
    let (tell, told) = std::sync::mpsc::channel();
    open_to_all(&bench);
    // Only this thread is another user; who listens is asked of the system for each socket.
    let stranger = std::thread::spawn(move || {
        rustix::thread::set_thread_uid(Uid::from_raw(NOBODY)).expect("another user");
        let listener = UnixListener::bind(&socket).expect("bound");
        tell.send(()).expect("heard");
        let mut heard = Vec::new();
        for _ in 0..3 {
            let (mut stream, _) = listener.accept().expect("somebody came");
            std::io::Read::read_to_end(&mut stream, &mut heard).expect("read to the end");
        }
        heard
    });
    tokio::task::spawn_blocking(move || told.recv_timeout(Duration::from_secs(60)))
        .await
        .expect("waited")
        .expect("it listens");
    let output = bench.run(&["refresh", "7"]).await;
    assert_eq!(output.status.code(), Some(77), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("uid 65534 listens"), "{}", text(&output.stderr));
    let output = bench.run_with_input(&["resolve", "7", "--adopt-answer", "-"], MARKER).await;
    assert_eq!(output.status.code(), Some(77), "{}", text(&output.stderr));
    let status = bench.run(&["status"]).await;
    assert!(
        text(&status.stdout).contains("daemon: uid 65534 listens in its place"),
        "{}",
        text(&status.stdout)
    );
    let heard =
        tokio::task::spawn_blocking(move || stranger.join()).await.expect("waited").expect("no panic");
    assert_eq!(text(&heard), "", "nothing was said to a stranger");
}

/// As if the store were in a directory into which everybody may write, but nobody may delete what is another's.
fn open_to_all(bench: &Bench) {
    let state = bench.path("state");
    for (mode, directory) in [("0755", bench.directory.path()), ("1777", state.as_path())] {
        let status = Command::new("chmod").arg(mode).arg(directory).status().expect("chmod runs");
        assert!(status.success());
    }
}
