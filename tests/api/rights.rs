//! Who may do what with which OA, asked by processes of other users.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use zalo_tokend::simulator::{Answer, Fault, Rule};

use super::harness::http::{Request, ask};
use super::harness::{Bench, DEADLINE, Daemon, lock, text};

/// The daemon's user and group in these tests. Nobody has to know them by a name.
const OWN: &str = "64900";
const SHOP: &str = "0123456789abcdef0123456789abcdef";
const BOSS: &str = "fedcba9876543210fedcba9876543210";
const WRONG: &str = "0123456789abcdef0123456789abcdee";

/// Whether this test may become other users: if it is root, and has what it takes. In CI root must have it.
fn may_be_anybody() -> bool {
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root can become other users: nothing was tested");
        return false;
    }
    let has_tools = std::process::Command::new("setpriv")
        .args(["--reuid", OWN, "--regid", OWN, "--clear-groups", "curl", "--version"])
        .stdout(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    assert!(has_tools || std::env::var_os("CI").is_none(), "setpriv or curl is missing");
    has_tools
}

/// The daemon as a user of its own, with OAs 7 and 8, a socket for everybody, and a TCP address, which is returned.
async fn of_its_own_user(mode: &str) -> (Bench, Daemon, String) {
    let bench = Bench::new().await;
    for (file, token) in [("shop.token", SHOP), ("boss.token", BOSS)] {
        std::fs::write(bench.path(file), token).expect("written");
        std::fs::set_permissions(bench.path(file), PermissionsExt::from_mode(0o600)).expect("mode set");
    }
    let rules = [
        ("uid = 64901", "[\"7\"]", "[\"read\"]"),
        ("user = \"daemon\"", "[\"8\"]", "[\"read\", \"report\"]"),
        ("gid = 64902", "[\"*\"]", "[\"report\"]"),
        ("token_file = \"shop.token\"", "[\"8\"]", "[\"read\", \"report\"]"),
        ("token_file = \"boss.token\"", "[\"*\"]", "[\"read\", \"report\", \"admin\"]"),
    ];
    let rule = |(who, oas, verbs)| format!("[[access]]\n{who}\noas = {oas}\nverbs = {verbs}\n");
    bench.set_extra(&format!(
        "[api]\nsocket = \"api.sock\"\nmode = \"{mode}\"\nlisten = \"127.0.0.1:0\"\n{}",
        rules.map(rule).concat()
    ));
    for oa in ["7", "8"] {
        bench.add_granted_oa(oa).await;
    }
    std::fs::set_permissions(bench.directory.path(), PermissionsExt::from_mode(0o755)).expect("mode set");
    // A copy, since the place of this one may be closed to other users.
    let own = std::process::Command::new("sh")
        .args(["-c", "cp \"$1\" \"$2/program\" && chown -R \"$3:$3\" \"$2\"", "sh"])
        .args([env!("CARGO_BIN_EXE_zalo-tokend").as_ref(), bench.directory.path().as_os_str(), OWN.as_ref()])
        .status();
    assert!(own.expect("sh runs").success());
    let program = bench.path("program").display().to_string();
    let words = ["setpriv", "--reuid", OWN, "--regid", OWN, "--clear-groups", "sh", "-c"];
    *lock(&bench.prefix) = words.map(str::to_owned).to_vec();
    lock(&bench.prefix).extend([format!("shift; exec {program} \"$@\""), "sh".to_owned()]);
    let daemon = bench.start().await;
    let address = daemon.wait_for("api.listening").await["address"].as_str().expect("named").to_owned();
    (bench, daemon, address)
}

/// Who asks.
#[derive(Clone, Copy)]
struct Asker {
    uid: &'static str,
    gid: &'static str,
    further_groups: &'static str,
    is_remote: bool,
    token: &'static str,
}

const STRANGER: Asker = Asker { uid: "64999", gid: "64999", further_groups: "", is_remote: false, token: "" };

impl Asker {
    /// What curl says to these requests, one after the other: the status before each newline.
    async fn curl(self, bench: &Bench, address: &str, requests: &[(&str, &str, &str)]) -> String {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", self.uid, "--regid", self.gid]);
        match self.further_groups {
            "" => command.arg("--clear-groups"),
            groups => command.args(["--groups", groups]),
        };
        command.arg("curl").stdin(Stdio::null()).kill_on_drop(true);
        for (index, (method, path, body)) in requests.iter().enumerate() {
            command.args(if index == 0 { &[][..] } else { &["--next"][..] });
            command.args(["-s", "-S", "-w", " %{http_code}\n", "-X", method, "-d", body]);
            if !self.token.is_empty() {
                command.args(["-H", &format!("Authorization: Bearer {}", self.token)]);
            }
            if !self.is_remote {
                command.arg("--unix-socket").arg(bench.path("api.sock"));
            }
            command.arg(format!("http://{address}{path}"));
        }
        let output =
            tokio::time::timeout(DEADLINE, command.output()).await.expect("in time").expect("curl runs");
        text(&output.stdout) + &text(&output.stderr)
    }

    /// `r` if he may read, `p` if he may report, `a` if he may administrate, for OA 7 and OA 8; and the OAs that are listed
    /// for him. Or the status that he has for all of it.
    async fn table(self, bench: &Bench, address: &str) -> String {
        let mut requests = Vec::new();
        let paths = ["7", "8"].map(|oa| {
            let path = format!("/v1/oas/{oa}");
            (format!("{path}/token"), format!("{path}/token/reject"), path)
        });
        for (token, reject, path) in &paths {
            requests.extend([
                ("GET", token.as_str(), ""),
                ("POST", reject.as_str(), "{\"generation\": 0}"),
                ("PUT", path.as_str(), "{\"app_id\": \"app\"}"),
            ]);
        }
        requests.push(("GET", "/v1/oas", ""));
        let said = self.curl(bench, address, &requests).await;
        let answers: Vec<_> = said.lines().map(|line| line.rsplit_once(' ').expect("a status")).collect();
        assert_eq!(answers.len(), 7, "{said}");
        let refused = answers[0].1;
        if answers.iter().all(|answer| answer.1 == refused) && refused != "200" {
            return refused.to_owned();
        }
        let letters: Vec<&str> = answers[..6]
            .iter()
            .zip(["r", "p", "a"].iter().cycle())
            .map(|((body, status), letter)| match *status {
                "403" => {
                    assert!(body.contains("access_denied") && !body.contains("access_token"), "{body}");
                    ""
                }
                "200" | "204" | "409" => letter,
                other => panic!("{other}: {body}"),
            })
            .collect();
        let listed = match answers[6] {
            (_, "403") => "none".to_owned(),
            (body, _) => listed(body),
        };
        format!("{} {} {listed}", letters[..3].concat(), letters[3..].concat())
    }
}

fn listed(body: &str) -> String {
    let list: Value = serde_json::from_str(body).expect("JSON");
    let oas = list["oas"].as_array().expect("an array").iter();
    oas.map(|oa| oa["oa_id"].as_str().expect("an id")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_may_do_what_the_table_of_rights_says_and_nothing_else() {
    if !may_be_anybody() {
        return;
    }
    let (bench, mut daemon, address) = of_its_own_user("0666").await;
    let remote = Asker { is_remote: true, ..STRANGER };
    for (who, asker, may) in [
        ("root", Asker { uid: "0", gid: "0", ..STRANGER }, "rpa rpa 78"),
        ("the daemon's own user", Asker { uid: OWN, ..STRANGER }, "rpa rpa 78"),
        ("the socket's group", Asker { gid: OWN, ..STRANGER }, "rp rp 78"),
        ("the same as a further one", Asker { further_groups: "64950,64900,64951", ..STRANGER }, "rp rp 78"),
        ("a user by number", Asker { uid: "64901", ..STRANGER }, "r  7"),
        ("a user by name", Asker { uid: "1", ..STRANGER }, " rp 8"),
        ("a group", Asker { gid: "64902", ..STRANGER }, "p p none"),
        ("the same as a further one", Asker { further_groups: "64902", ..STRANGER }, "p p none"),
        ("a user by number, in a group", Asker { uid: "64901", gid: "64902", ..STRANGER }, "rp p 7"),
        ("a stranger", STRANGER, "403"),
        ("one with a token", Asker { token: SHOP, ..STRANGER }, " rp 8"),
        ("a user with a token", Asker { token: SHOP, uid: "64901", ..STRANGER }, "r rp 78"),
        ("one with another token", Asker { token: BOSS, ..STRANGER }, "rpa rpa 78"),
        ("one with a wrong token", Asker { token: WRONG, ..STRANGER }, "401"),
        ("root with a wrong token", Asker { token: WRONG, uid: "0", ..STRANGER }, "401"),
        ("over TCP: nobody", remote, "403"),
        ("over TCP: root", Asker { uid: "0", ..remote }, "403"),
        ("over TCP: the socket's group", Asker { gid: OWN, ..remote }, "403"),
        ("over TCP: a token", Asker { token: SHOP, ..remote }, " rp 8"),
        ("over TCP: another", Asker { token: BOSS, ..remote }, "rpa rpa 78"),
        ("over TCP: a wrong one", Asker { token: WRONG, ..remote }, "401"),
    ] {
        assert_eq!(asker.table(&bench, &address).await, may, "{who}");
    }
    let denials = daemon.events("access.denied");
    let of = |caller: &str| denials.iter().filter(|event| event["caller"] == caller).count();
    assert!(of("uid 64999") > 0 && of("127.0.0.1") > 0, "{denials:?}");
    let of_user =
        denials.iter().find(|event| event["caller"] == "uid 64901").expect("he was denied something");
    assert_eq!(
        (&of_user["oa_id"], &of_user["verb"], &of_user["level"]),
        (&"7".into(), &"report".into(), &"WARN".into())
    );
    assert!(denials.iter().any(|event| event["verb"].is_null()), "a token that nobody has");
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_for_its_group_alone_is_closed_to_others() {
    if !may_be_anybody() {
        return;
    }
    let (bench, mut daemon, address) = of_its_own_user("0660").await;
    let get = [("GET", "/v1/oas/7", "")];
    let said = STRANGER.curl(&bench, &address, &get).await;
    assert!(said.contains("000"), "{said}");
    let member = Asker { further_groups: OWN, ..STRANGER };
    assert!(member.curl(&bench, &address, &get).await.ends_with(" 200\n"));
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_see_a_part_of_the_fleet_pages_through_that_part_and_learns_of_no_other() {
    if !may_be_anybody() {
        return;
    }
    let (bench, mut daemon, address) = of_its_own_user("0666").await;
    let user = Asker { uid: "64901", ..STRANGER };
    let pages = ["?limit=1", "?limit=1&after=6", "?limit=1&after=7", "?after=0", "?limit=1000"];
    let targets = pages.map(|part| format!("/v1/oas{part}"));
    let requests: Vec<_> = targets.iter().map(|target| ("GET", target.as_str(), "")).collect();
    let said = user.curl(&bench, &address, &requests).await;
    let lists: Vec<&str> = said.lines().map(|line| line.strip_suffix(" 200").expect("a list")).collect();
    assert_eq!(lists.iter().map(|list| listed(list)).collect::<Vec<_>>(), ["7", "7", "", "7", "7"]);
    assert!(lists.iter().all(|list| list.contains("\"next\":null")), "no cursor names OA 8: {said}");
    // Whether it is there is not told either.
    let said = user.curl(&bench, &address, &[("GET", "/v1/oas/8", ""), ("GET", "/v1/oas/9", "")]).await;
    assert!(said.lines().all(|line| line.ends_with(" 403")), "{said}");
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_away_while_somebody_waits_is_not_used_any_more() {
    if !may_be_anybody() {
        return;
    }
    let (bench, mut daemon, address) = of_its_own_user("0666").await;
    let user = Asker { uid: "64901", ..STRANGER };
    // What the first refresh of an app asks by itself is over before anything is counted.
    let refresh = Request { method: "POST", ..Request::get("/v1/oas/7/refresh") };
    let waiting = user.curl(&bench, &address, &[("GET", "/v1/oas/7/token?after=1&wait=1m", "")]);
    let changing = async {
        // It waits in there: nothing that can be seen says so.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let without = lock(&bench.extra).replace("uid = 64901", "uid = 64903");
        bench.set_extra(&without);
        daemon.reload().await;
        ask(&bench.path("api.sock"), refresh).await
    };
    let (said, refreshed) = tokio::join!(waiting, changing);
    assert_eq!(refreshed.status, 200);
    assert!(said.ends_with(" 403\n") && !said.contains("access_token"), "{said}");
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn denials_without_end_are_counted_and_do_not_fill_the_log() {
    let bench = Bench::new().await;
    std::fs::write(bench.path("shop.token"), SHOP).expect("written");
    std::fs::set_permissions(bench.path("shop.token"), PermissionsExt::from_mode(0o600)).expect("mode set");
    bench.set_extra(
        "[api]\nsocket = \"api.sock\"\nlisten = \"127.0.0.1:0\"\nrate = 1000000\n[[access]]\ntoken_file = \"shop.token\"\n\
         oas = [\"7\"]\nverbs = [\"report\"]\n",
    );
    bench.add_granted_oa("7").await;
    bench.simulator.fault(Rule::once(Fault::unspent(Answer::Held)));
    let mut daemon = bench.start().await;
    let address = daemon.wait_for("api.listening").await["address"].as_str().expect("named").to_owned();
    let asked = std::sync::atomic::AtomicU64::new(0);
    let mut connection = super::limits::Kept::to(&address).await;
    let mut ask = async |request: Request<'_>| {
        asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        connection.ask(request).await.status
    };
    let bearer = [("Authorization", "Bearer 0123456789abcdef0123456789abcdef")];
    let reject = Request {
        method: "POST",
        target: "/v1/oas/7/token/reject",
        headers: &bearer,
        body: "{\"generation\": 0}",
    };
    let get = || Request { headers: &bearer, ..Request::get("/v1/oas/7/token") };
    let begun = std::time::Instant::now();
    for _ in 0..300 {
        assert_eq!(ask(get()).await, 403);
        assert_eq!(ask(Request { ..reject }).await, 204, "reported, and no token for it");
    }
    // The next one after a second tells of all.
    for (name, request, status) in [("access.denied", get(), 403), ("token.reported", reject, 204)] {
        let told = |daemon: &Daemon| -> u64 {
            let events = daemon.events(name);
            events.iter().map(|event| 1 + event["more"].as_u64().unwrap_or(0)).sum()
        };
        let mut own = 300;
        while told(&daemon) < own {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(ask(Request { ..request }).await, status);
            own += 1;
            assert!(begun.elapsed() < DEADLINE, "{}", daemon.log());
        }
        let seconds = usize::try_from(begun.elapsed().as_secs()).expect("few");
        assert!(daemon.events(name).len() <= seconds + 2, "{name}: once a second");
    }
    assert!(daemon.stop().await.success());
}
