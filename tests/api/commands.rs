//! The commands at the API: they tell the same as by the store, and to those who may not read the store as well.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::harness::{Bench, Daemon, lock, text};
use super::{healthy, section};

/// Exit code, stdout, stderr.
type Said = (i32, String, String);

impl Bench {
    async fn said(&self, arguments: &[&str]) -> Said {
        let output = self.run(arguments).await;
        (output.status.code().expect("it ended by itself"), text(&output.stdout), text(&output.stderr))
    }

    /// From now on the config of the commands names another store, in which nothing is: what they know of the OAs they have
    /// from the API. The daemon's stays as it was.
    fn hide_the_store(&self) {
        self.write_config_with_store(&self.path("elsewhere/tokens.db"));
    }
}

fn parsed((code, out, err): Said) -> Value {
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_tell_by_the_api_the_very_same_as_by_the_store() {
    let (bench, mut daemon) = healthy().await;
    bench.add_oa("8");
    daemon.reload().await;
    assert_eq!(bench.said(&["refresh", "7"]).await.0, 0);
    let mut stored = parsed(bench.said(&["status", "--json", "--offline"]).await);
    assert_eq!(stored["daemon"], Value::Null, "nobody was asked");
    let commands = [
        ["history", "7", "--json"],
        ["history", "8", "--json"],
        ["history", "9", "--json"],
        ["token", "8", "--json"],
        ["token", "9", "--json"],
        ["status", "9", "--json"],
        ["token", "7", "--min-ttl=1h"],
    ];
    let mut by_store = Vec::new();
    for command in commands {
        by_store.push(bench.said(&[&command[..], &["--offline"]].concat()).await);
    }
    let seen = parsed(bench.said(&["status", "--json"]).await);
    assert_eq!(seen["daemon"]["store"], "well");
    stored["daemon"] = seen["daemon"].clone();
    assert_eq!(seen, stored);

    bench.hide_the_store();
    for (command, wanted) in commands.iter().zip(&by_store) {
        assert_eq!(&bench.said(command).await, wanted, "{command:?}");
    }
    let one = parsed(bench.said(&["status", "7", "--json"]).await);
    assert_eq!((&one["oas"][0], &one["held_apps"]), (&stored["oas"][0], &stored["held_apps"]));
    let record = parsed(bench.said(&["token", "7", "--json"]).await);
    assert_eq!(record["generation"], 2);
    assert!(bench.said(&["status"]).await.1.contains("scheduled"));
    assert_eq!(bench.said(&["token", "7", "--offline"]).await.0, 75, "nothing is in that store");
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_what_is_printed_is_the_same_by_the_api_and_by_the_store() {
    let (bench, mut daemon) = healthy().await;
    assert_eq!(bench.said(&["refresh", "7"]).await.0, 0);
    let (_, by_api, _) = bench.said(&["history", "7", "--json"]).await;
    assert_eq!(by_api, bench.said(&["history", "7", "--json", "--offline"]).await.1);
    let oas = |said: &Said| said.1.split("\"daemon\"").next().expect("a part").to_owned();
    let by_api = bench.said(&["status", "--json"]).await;
    assert_eq!(oas(&by_api), oas(&bench.said(&["status", "--json", "--offline"]).await));
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_of_more_oas_than_one_answer_has_is_shown_whole() {
    let bench = Bench::new().await;
    bench.set_extra(&section(""));
    (0..2_003).for_each(|number| bench.add_oa(&format!("{number:05}")));
    let mut daemon = bench.start().await;
    let by_store = parsed(bench.said(&["status", "--json", "--offline"]).await);
    assert_eq!(by_store["oas"].as_array().map(Vec::len), Some(2_003));
    bench.hide_the_store();
    let by_api = parsed(bench.said(&["status", "--json"]).await);
    assert!(by_api["oas"] == by_store["oas"], "some are left out, or shown otherwise");
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_daemon_is_down_the_store_tells() {
    let (bench, mut daemon) = healthy().await;
    let told = bench.token("7").await.expect("by the API");
    daemon.signal(Signal::KILL);
    daemon.ended().await;
    assert!(bench.api().exists(), "its socket is left behind");
    assert_eq!(bench.token("7").await.as_ref(), Some(&told));
    std::fs::remove_file(bench.api()).expect("removed");
    assert_eq!(bench.token("7").await.as_ref(), Some(&told));
    assert_eq!(bench.status("7").await["state"], "scheduled");
    assert!(bench.said(&["status"]).await.1.contains("daemon: not running"));
    assert!(bench.history("7").await.is_empty());
    assert_eq!(bench.said(&["refresh", "7"]).await.0, 69);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_needs_more_life_has_a_token_refreshed_and_is_told_when_none_has_it() {
    let bench = Bench::new().await;
    bench.set_extra(&section(""));
    bench.add_lone_oa("7", Duration::from_secs(600)).await;
    let ttl = |life: &str, more: &[&str]| {
        let arguments: Vec<String> =
            ["token", "7", "--min-ttl", life].iter().chain(more).map(|word| (*word).to_owned()).collect();
        let bench = &bench;
        async move { bench.said(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await }
    };
    let (code, out, err) = ttl("1h", &[]).await;
    assert_eq!((code, out.as_str()), (75, ""), "no daemon, and ten minutes are left: {err}");
    assert!(err.contains("and not 1h 00m") && err.lines().count() == 1, "{err}");
    assert_eq!(ttl("5m", &[]).await.0, 0);
    let mut daemon = bench.start().await;
    assert_eq!(ttl("1h", &["--offline"]).await.0, 75, "nobody is asked");
    assert_eq!(bench.simulator.ledger().presentations(), 0);
    let (code, token, err) = ttl("1h", &[]).await;
    assert_eq!(code, 0, "{err}");
    assert!(bench.simulator.is_valid_access_token(token.trim_end()));
    assert_eq!(bench.simulator.ledger().presentations(), 1);
    assert_eq!(ttl("90d", &[]).await.0, 75, "no token lives so long");
    assert_eq!(bench.simulator.ledger().presentations(), 1, "and none is refreshed for that");
    assert_eq!(ttl("soon", &[]).await.0, 2);
    assert!(daemon.stop().await.success());
}

/// A daemon whose config and store are root's, and whose socket is the group `daemon`'s. What is run from then on is run by
/// another user, in these groups.
async fn as_another_user(groups: &str, more: &str) -> Option<(Bench, Daemon)> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: this user is not root, and cannot become another");
        return None;
    }
    let bench = Bench::new().await;
    bench.set_extra(&format!("{}{more}", section("group = \"daemon\"\n")));
    bench.add_granted_oa("7").await;
    let daemon = bench.start().await;
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("mode set");
    };
    open(bench.directory.path(), 0o711);
    open(&bench.config(), 0o600);
    // Where others may execute it.
    let program = bench.path("zalo-tokend");
    std::fs::copy(env!("CARGO_BIN_EXE_zalo-tokend"), &program).expect("copied");
    open(&program, 0o755);
    let instead = "shift; exec \"$0\" \"$@\"";
    let user = ["setpriv", "--reuid=65534", "--regid=65534", groups, "sh", "-c", instead];
    let words = user.into_iter().chain(program.to_str());
    *lock(&bench.prefix) = words.map(str::to_owned).collect();
    Some((bench, daemon))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_the_sockets_group_has_tokens_and_states_and_reads_neither_config_nor_store() {
    let rule = "[[access]]\nuid = 65534\noas = [\"8\"]\nverbs = [\"admin\"]\n";
    let Some((bench, mut daemon)) = as_another_user("--groups=1", rule).await else { return };
    let socket = bench.api();
    let socket = socket.to_str().expect("UTF-8");
    let (code, token, err) = bench.said(&["token", "7", "--socket", socket]).await;
    assert_eq!(code, 0, "{err}");
    assert!(bench.simulator.is_valid_access_token(token.trim_end()));
    let seen = parsed(bench.said(&["status", "--json", "--socket", socket]).await);
    assert_eq!((&seen["oas"][0]["state"], &seen["daemon"]), (&"scheduled".into(), &Value::Null));
    let (_, table, _) = bench.said(&["status", "--socket", socket]).await;
    assert!(table.contains("daemon: this user may not ask it"), "{table}");
    assert_eq!(bench.said(&["history", "7", "--socket", socket]).await.0, 0);

    let (code, _, err) = bench.said(&["refresh", "7", "--socket", socket]).await;
    assert_eq!(code, 77, "the right to do that is another one: {err}");
    assert!(err.contains("the right to admin OA 7"), "{err}");
    assert_eq!(bench.said(&["refresh", "8", "--socket", socket]).await.0, 1, "nobody knows OA 8");
    assert_eq!(bench.said(&["refresh", "7", "--trial", "--socket", socket]).await.0, 77);
    assert_eq!(bench.said(&["token", "7", "--offline", "--socket", socket]).await.0, 77);
    let (code, _, err) = bench.said(&["token", "7"]).await;
    assert_eq!(code, 77);
    assert!(err.contains("/run/zalo-tokend/api.sock") && err.contains("config.toml"), "{err}");
    assert_eq!(bench.said(&["refresh", "7"]).await.0, 69, "at the usual socket nobody listens");
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_outside_the_sockets_group_is_told_what_is_missing() {
    let Some((bench, mut daemon)) = as_another_user("--clear-groups", "").await else { return };
    let socket = bench.api();
    let socket = socket.to_str().expect("UTF-8");
    for command in [["token", "7"], ["status", "7"], ["history", "7"], ["refresh", "7"]] {
        let (code, out, err) = bench.said(&[&command[..], &["--socket", socket]].concat()).await;
        assert_eq!((code, out.as_str()), (77, ""), "{command:?} {err}");
        assert!(err.contains("let it join the group of that socket"), "{err}");
    }
    assert!(daemon.stop().await.success());
}
