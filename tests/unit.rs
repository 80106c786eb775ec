//! Holds the systemd unit to its rules, by reading it. `.ci/run` lets systemd itself read it; `tests/systemd/run` and
//! `tests/package/run` run it.

use std::collections::BTreeMap;
use std::time::Duration;

/// The longest attempt that a config may ask for: 10 s to connect, and then `timeout`, which goes to 10 minutes.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(610);

/// The unit's settings: each key, with its section, and all that it is set to, in order.
fn settings(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut section = "";
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if !line.is_empty() && !line.starts_with('#') {
            let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("no setting: {line}"));
            found.entry(format!("{section} {key}")).or_default().push(value.to_owned());
        }
    }
    found
}

fn unit() -> BTreeMap<String, Vec<String>> {
    settings(include_str!("../systemd/zalo-tokend.service"))
}

/// The value of a key that is set once.
fn value(key: &str) -> String {
    let unit = unit();
    let values = unit.get(key).unwrap_or_else(|| panic!("{key} is not set"));
    assert_eq!(values.len(), 1, "{key} is set more than once: {values:?}");
    values[0].clone()
}

fn duration(key: &str) -> Duration {
    humantime::parse_duration(&value(key)).unwrap_or_else(|error| panic!("{key}: {error}"))
}

fn hold(rules: &[(&str, &str, &str)]) {
    for (key, wanted, why) in rules {
        assert_eq!(value(key), *wanted, "{key}: {why}");
    }
}

#[test]
fn the_daemon_tells_when_it_is_ready_and_how_it_reloads_on_systemd_252() {
    hold(&[
        ("Service Type", "notify", "systemd 252 does not know notify-reload"),
        ("Service NotifyAccess", "main", "nobody else may say that it is ready or alive"),
        ("Service ExecStart", "/usr/bin/zalo-tokend run", "the config is the one that commands take too"),
        ("Service ExecReload", "/bin/kill -HUP $MAINPID", "Type=notify has no reload of its own"),
    ]);
}

#[test]
fn it_is_started_again_without_end_unless_only_a_person_can_help() {
    hold(&[
        ("Unit StartLimitIntervalSec", "0", "a keeper that has given up lets the tokens die"),
        ("Service Restart", "always", "nobody starts it again after a `kill` by mistake"),
        (
            "Service RestartPreventExitStatus",
            "2 77 78",
            "wrong usage, not permitted and wrong config do not mend by themselves",
        ),
    ]);
    assert!(duration("Service RestartSec") >= Duration::from_secs(1), "a loop of starts burns the machine");
}

#[test]
fn f25_it_is_never_killed_while_the_longest_request_is_under_way() {
    for key in ["Service WatchdogSec", "Service TimeoutStopSec"] {
        assert!(duration(key) > LONGEST_ATTEMPT, "{key}: a kill there loses the only copy of new tokens");
    }
    assert!(!unit().contains_key("Service RuntimeMaxSec"), "it would be ended in the middle of a request");
    assert!(
        unit()["Unit After"].iter().any(|names| names.split(' ').any(|name| name == "network.target")),
        "at a shutdown the network has to be there until the answer is"
    );
}

#[test]
fn the_store_belongs_to_one_lasting_user_and_to_nobody_else() {
    hold(&[
        ("Service User", "zalo-tokend", "sysusers makes it"),
        ("Service Group", "zalo-tokend", "a secret of root with mode 0640 is read by this group"),
        ("Service StateDirectory", "zalo-tokend", "the store's default place is /var/lib/zalo-tokend"),
        ("Service StateDirectoryMode", "0700", "the tokens are in it"),
        ("Service RuntimeDirectory", "zalo-tokend", "what is handed out is in /run/zalo-tokend"),
        ("Service UMask", "0077", "the tokens are in what it makes"),
        ("Service LimitCORE", "0", "the tokens are in its memory"),
        ("Service MemorySwapMax", "0", "the tokens are in its memory"),
    ]);
    let unit = unit();
    for (key, why) in [
        ("Service DynamicUser", "a command of root has to find the same owner"),
        ("Service ConfigurationDirectory", "the config and its secrets stay root's"),
        ("Service LoadCredential", "a file that is not there would keep the service from starting"),
    ] {
        assert!(!unit.contains_key(key), "{key}: {why}");
    }
    assert!(users().lines().any(|line| line.starts_with("u zalo-tokend ")), "sysusers makes the unit's user");
}

fn users() -> &'static str {
    include_str!("../systemd/zalo-tokend.sysusers")
}

#[test]
fn programs_reach_the_socket_by_a_group_that_may_read_no_secret() {
    let own = value("Service Group");
    let socket = settings(include_str!("../systemd/activation/zalo-tokend.socket"));
    let of_socket = |key: &str| socket[&format!("Socket {key}")].concat();
    let example = include_str!("../config.example.toml");
    let clients = of_socket("SocketGroup");
    assert_ne!(clients, own, "the group {own} may read the app's secret");
    assert!(example.lines().any(|line| line == format!("group = \"{clients}\"")), "the example names it");
    assert!(users().lines().any(|line| line == format!("g {clients} -")), "sysusers makes it");
    assert!(
        users().lines().any(|line| line == format!("m {own} {clients}")),
        "who is not in it cannot give to it"
    );
    assert_eq!(
        (of_socket("SocketUser"), of_socket("SocketMode")),
        (value("Service User"), "0660".to_owned())
    );
    let path = of_socket("ListenStream");
    assert_eq!(path, format!("/run/{}/api.sock", value("Service RuntimeDirectory")));
    assert!(example.contains(&format!("#socket = \"{path}\"")), "it is where the daemon would make it");
    hold(&[
        ("Service RuntimeDirectoryMode", "0755", "others reach the socket in it"),
        ("Service RuntimeDirectoryPreserve", "yes", "a stop would take the socket unit's socket away"),
    ]);
    let makes = format!("/usr/bin/install -d -o {own} -g {own} -m 0755 /run/zalo-tokend");
    assert_eq!(of_socket("ExecStartPre"), makes, "the service would take what is in a directory of others");
}

#[test]
fn it_may_do_nothing_that_it_does_not_need_and_all_that_it_needs() {
    hold(&[
        ("Service CapabilityBoundingSet", "", "it needs none"),
        ("Service ProtectSystem", "strict", "it writes into directories of its own only"),
        ("Service NoNewPrivileges", "yes", "what it starts, hooks alone, needs no more"),
        ("Service RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX", "Zalo, and this machine's services"),
        ("Service MemoryDenyWriteExecute", "yes", "it makes no code"),
    ]);
    assert_eq!(
        unit()["Service SystemCallFilter"],
        ["@system-service", "~@privileged @resources", "@chown"],
        "the first line is what is allowed, the second takes away from it, and the third is for the API's socket"
    );
    let unit = unit();
    for (key, why) in [
        (
            "Service ProcSubset",
            "the id of the boot is read in /proc/sys, and who holds the lock in /proc/locks",
        ),
        ("Service PrivateNetwork", "it talks to Zalo"),
        ("Service SocketBindDeny", "it listens where [api] and [authorize] say"),
        ("Service IPAddressDeny", "Zalo's addresses change, and browsers come from anywhere"),
        ("Service PrivateUsers", "the API would take all who ask for nobody"),
    ] {
        assert!(!unit.contains_key(key), "{key}: {why}");
    }
}

#[test]
fn what_newer_systemd_adds_stands_apart_and_names_its_version() {
    let text = include_str!("../systemd/newer-systemd.conf");
    let mut version = None;
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let number = comment.split(':').next().and_then(|word| word.parse::<u32>().ok());
            version = number.or(version);
        } else if line.contains('=') {
            assert!(version.is_some_and(|version| version > 252), "{line}: since which version?");
        }
    }
    let unit = unit();
    for key in settings(text).keys().filter(|key| key.contains("Restart")) {
        assert!(!unit.contains_key(key), "{key}: systemd 252 does not know it");
    }
}
