//! The programs of `examples/`, each by its real interpreter: a message goes, the token dies, the next message goes as well.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use zalo_tokend::simulator::Messages;

use super::harness::{Bench, DEADLINE, assert_no_secret, text};
use super::{healthy, section};

/// The most lines that a program has which a shop copies.
const MOST_LINES: usize = 40;

/// Each with its interpreter.
const PROGRAMS: [(&str, &str); 4] = [
    ("php", "examples/php/send.php"),
    ("python3", "examples/python/send.py"),
    ("node", "examples/node/send.mjs"),
    ("bash", "examples/curl/send"),
];

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Whether what runs the program is here. In CI it has to be.
async fn is_there(interpreter: &str) -> bool {
    let tool = if interpreter == "bash" { "curl" } else { interpreter };
    let asked =
        Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().await;
    let is_there = asked.is_ok_and(|status| status.success());
    assert!(is_there || std::env::var_os("CI").is_none(), "{tool} is missing");
    if !is_there {
        eprintln!("{tool} is missing, so its example was not tested");
    }
    is_there
}

/// One of the programs at work.
struct Program {
    child: Child,
    stdin: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Program {
    fn start(bench: &Bench, (interpreter, name): (&str, &str), oa: &str) -> Program {
        let mut child = Command::new(interpreter)
            .arg(file(name))
            .args([oa, "user-1"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").expect("a path"))
            .env("HOME", std::env::var_os("HOME").unwrap_or_default())
            .env("ZALO_TOKEND_SOCKET", bench.api())
            .env("ZALO_API", bench.simulator.api_url())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it runs");
        let stdin = child.stdin.take().expect("piped");
        let said = BufReader::new(child.stdout.take().expect("piped")).lines();
        Program { child, stdin, said }
    }

    /// Sends a message, and says what the program says of it.
    async fn send(&mut self, message: &str) -> String {
        self.stdin.write_all(format!("{message}\n").as_bytes()).await.expect("written");
        let line = tokio::time::timeout(DEADLINE, self.said.next_line()).await.expect("it says something");
        line.expect("read").unwrap_or_else(|| "nothing".to_owned())
    }

    /// How it ends, and what it complained of.
    async fn ended(self) -> (bool, String) {
        drop((self.stdin, self.said));
        let ended = tokio::time::timeout(DEADLINE, self.child.wait_with_output()).await;
        let output = ended.expect("it ends").expect("waited for");
        assert_no_secret(&output.stderr, "its stderr");
        (output.status.success(), text(&output.stderr))
    }
}

/// A token dies between two messages, and one refresh brings the next.
async fn goes_on_after_its_token_died(program: (&str, &str)) {
    if !is_there(program.0).await {
        return;
    }
    let (bench, mut daemon) = healthy().await;
    let mut shop = Program::start(&bench, program, "7");
    assert_eq!(shop.send("Xin chào, \"bạn\" \\ nhé").await, "sent", "{program:?}");
    assert_eq!(shop.send("one more with the token that it has").await, "sent");
    bench.simulator.kill_access_token("7");
    assert_eq!(shop.send("after the token died").await, "sent");
    assert_eq!(shop.send("with the newer one").await, "sent");
    assert_eq!(shop.ended().await, (true, String::new()), "{program:?}");
    assert_eq!(bench.simulator.messages("7"), Messages { taken: 4, refused: 1 });
    assert_eq!(bench.simulator.ledger().presentations(), 1, "one refresh");
    assert_eq!(daemon.wait_for("token.reported").await["verdict"], "refreshed");
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_php_example_goes_on_after_its_token_died() {
    goes_on_after_its_token_died(PROGRAMS[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_example_goes_on_after_its_token_died() {
    goes_on_after_its_token_died(PROGRAMS[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_example_goes_on_after_its_token_died() {
    goes_on_after_its_token_died(PROGRAMS[2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_curl_example_goes_on_after_its_token_died() {
    goes_on_after_its_token_died(PROGRAMS[3]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_example_says_why_there_is_no_token_and_takes_another_when_its_own_has_ended() {
    let bench = Bench::new().await;
    bench.set_extra(&section(""));
    // Six seconds are left, and nothing is refreshed by itself before the last one.
    bench.set_refresh("before_expiry = \"1s\"\njitter = \"0s\"\n");
    bench.add_lone_oa("7", Duration::from_secs(6)).await;
    bench.add_oa("8");
    let mut daemon = bench.start().await;
    for program in PROGRAMS {
        if !is_there(program.0).await {
            continue;
        }
        let mut shop = Program::start(&bench, program, "8");
        let said = shop.send("to nobody").await;
        let (_, complained) = shop.ended().await;
        assert!((said + &complained).contains("no valid access token now"), "{program:?}: {complained}");
    }
    assert!(daemon.stop().await.success());
}

#[test]
fn each_example_is_short_and_needs_nothing_but_its_standard_library() {
    for (interpreter, name) in PROGRAMS {
        let source = std::fs::read_to_string(file(name)).expect("readable");
        assert!(source.lines().count() <= MOST_LINES, "{name} has more than {MOST_LINES} lines");
        assert!(
            source.lines().all(|line| line.chars().count() <= 130),
            "{name} has a line that nobody reads"
        );
        let foreign: Vec<&str> = match interpreter {
            "php" => words_after(&source, &["require", "require_once", "include", "use"]),
            "python3" => words_after(&source, &["import", "from"])
                .into_iter()
                .filter(|module| !PYTHONS.contains(&module.split('.').next().unwrap_or_default()))
                .collect(),
            "node" => source
                .lines()
                .filter(|line| line.contains("import ") || line.contains("require("))
                .filter(|line| !line.contains(" from \"node:"))
                .collect(),
            _ => ["jq", "sed", "awk", "python3", "perl", "grep"]
                .into_iter()
                .filter(|tool| source.split(|c: char| !c.is_alphanumeric()).any(|word| word == *tool))
                .collect(),
        };
        assert!(foreign.is_empty(), "{name} needs {foreign:?}");
    }
}

/// Of Python's own, those that the example takes.
const PYTHONS: [&str; 7] = ["http", "json", "os", "socket", "sys", "time", "urllib"];

/// What stands behind one of these words at the beginning of a line, name by name.
fn words_after<'s>(source: &'s str, heads: &[&str]) -> Vec<&'s str> {
    let lines = source.lines().filter_map(|line| line.trim_start().split_once(' '));
    let named = lines.filter(|(head, _)| heads.contains(head)).map(|(_, rest)| rest);
    named.flat_map(|rest| rest.split(", ")).collect()
}
