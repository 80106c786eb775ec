//! Events to programs of this machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::harness::Bench;
use super::harness::rows::ROOMY;
use super::{events_about, has_ended, lines, read, refresh, until};

/// A `[[publish]]` that runs this script on these events; `$1` is the OA, `$D` in it the bench's directory.
fn hook(bench: &Bench, script: &str, events: &str, more: &str) -> String {
    let script = script.replace("$D", &bench.directory.path().display().to_string());
    format!(
        "[[publish]]\noas = [\"*\"]\nexec = [\"/bin/sh\", \"-c\", '''{script}''', \"hook\", \"{{oa_id}}\", \
         \"{{event}}+{{generation}}\"]\nevents = [{events}]\n{more}\n"
    )
}

const SUCCEEDED: &str = "\"refresh.succeeded\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_gets_the_documented_environment_and_nothing_else_and_the_event_without_a_token() {
    let bench = Bench::new().await;
    let environment = bench.path("environment");
    let copy = format!(
        "[[publish]]\noas = [\"*\"]\nexec = [\"/bin/cp\", \"/proc/self/environ\", \"{}\"]\nevents = [{SUCCEEDED}]\n",
        environment.display()
    );
    let script = "cat > $D/input; printf '%s|' \"$@\" > $D/arguments; pwd > $D/where; umask >> $D/where";
    bench.set_extra(&(copy + &hook(&bench, script, SUCCEEDED, "")));
    bench.add_granted_oa("7").await;
    let mut daemon = bench.spawn(&[("ZALO_EXTRA", "secret"), ("LD_LIBRARY_PATH", "/nowhere")]);
    daemon.wait_for("daemon.ready").await;
    refresh(&bench, "7").await;
    until("both ran", || environment.exists() && !lines(&bench.path("where")).is_empty()).await;
    assert!(daemon.stop().await.success());
    let event = daemon.wait_for_oa("refresh.succeeded", "7").await;

    let environment = read(&environment).expect("there");
    let environment: BTreeMap<&str, &str> =
        environment.split_terminator('\0').filter_map(|variable| variable.split_once('=')).collect();
    let expected = [
        ("PATH", "/usr/bin:/bin"),
        ("ZALO_EVENT", "refresh.succeeded"),
        ("ZALO_GENERATION", "2"),
        ("ZALO_LEVEL", "INFO"),
        ("ZALO_MESSAGE", event["message"].as_str().expect("a text")),
        ("ZALO_OA_ID", "7"),
    ];
    assert_eq!(environment, BTreeMap::from(expected));
    let readme =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("read");
    for name in environment.keys().chain([&"ZALO_REASON"]) {
        assert!(readme.contains(&format!("| `{name}` |")), "README.md does not tell of {name}");
    }

    assert_eq!(read(&bench.path("arguments")).as_deref(), Some("7|refresh.succeeded+2|"));
    assert_eq!(lines(&bench.path("where"))[0], "/");
    let input = read(&bench.path("input")).expect("there");
    assert!(input.ends_with('\n') && input.matches('\n').count() == 1, "{input}");
    let mut input: Value = serde_json::from_str(&input).expect("JSON");
    let mut event = event;
    // Each has read the clock for itself.
    for line in [&mut input, &mut event] {
        line.as_object_mut().expect("an object").remove("timestamp").expect("a time");
    }
    assert_eq!(input, event, "it is what the log says");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_in_the_input_alone_and_masked_where_the_hook_writes_it() {
    let bench = Bench::new().await;
    let script = "cat > $D/input; echo before; cat $D/input; cat $D/input >&2; tr '\\0' '\\n' < /proc/self/environ \
                  > $D/seen; printf '%s|' \"$@\" >> $D/seen; touch $D/done";
    bench.set_extra(&hook(&bench, script, SUCCEEDED, "token = true"));
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    refresh(&bench, "7").await;
    until("it ran", || bench.path("done").exists()).await;
    daemon.wait_for_nth("publish.said", 3).await;
    let input: Value = serde_json::from_str(&read(&bench.path("input")).expect("there")).expect("JSON");
    let token = input["access_token"].as_str().expect("a token");
    assert!(bench.simulator.is_valid_access_token(token));
    assert!(
        read(&bench.path("seen")).is_some_and(|seen| seen.contains("ZALO_OA_ID") && !seen.contains(token))
    );
    assert!(daemon.stop().await.success());
    let said = daemon.events("publish.said");
    let said: Vec<_> = said.iter().map(|line| line["detail"].as_str().expect("a text")).collect();
    assert_eq!(
        said,
        ["before", "[a line with the access token in it]", "[a line with the access token in it]"]
    );
    // That the log has no token is what the harness looks for.
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_oa_no_two_hooks_run_at_once_and_they_come_in_order_while_others_run_beside() {
    let bench = Bench::new().await;
    bench.set_refresh(ROOMY);
    // OAs 1 and 2 wait for each other: only hooks that run at once get past that.
    let script = "mkdir $D/lock-$1 || echo twice >> $D/bad; echo \"$2\" >> $D/told-$1; \
                  case $1 in 1) other=2;; *) other=1;; esac; touch $D/here-$1; \
                  while ! [ -e $D/here-$other ]; do sleep 0.02; done; sleep 0.05; rmdir $D/lock-$1";
    let events = "\"refresh.started\", \"refresh.succeeded\", \"refresh.planned\"";
    bench.set_extra(&hook(&bench, script, events, ""));
    for oa in ["1", "2"] {
        bench.add_lone_oa(oa, Duration::from_secs(120)).await;
    }
    let mut daemon = bench.start().await;
    let told = |oa: &str| lines(&bench.path(&format!("told-{oa}")));
    until("all are told", || told("1").len() == 4 && told("2").len() == 4).await;
    until("all have ended", || !bench.path("lock-1").exists() && !bench.path("lock-2").exists()).await;
    for oa in ["1", "2"] {
        assert_eq!(
            told(oa),
            ["refresh.planned+", "refresh.started+1", "refresh.succeeded+2", "refresh.planned+"]
        );
    }
    assert!(!bench.path("bad").exists());
    assert!(daemon.stop().await.success());
    assert!(daemon.events("publish.failed").is_empty(), "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_hangs_is_ended_with_all_that_it_started_and_delays_nothing() {
    let bench = Bench::new().await;
    let script = "echo $1 >> $D/told; [ $1 = 7 ] || exit 0; trap '' TERM; \
                  sh -c 'trap \"\" TERM; echo $$ >> $D/pids; sleep 1000; :' & \
                  echo $$ >> $D/pids; echo 'it hangs'; sleep 1000; wait";
    bench.set_extra(&hook(&bench, script, SUCCEEDED, "timeout = \"1s\""));
    bench.add_granted_oa("7").await;
    bench.add_granted_oa("8").await;
    let mut daemon = bench.start().await;
    refresh(&bench, "7").await;
    until("it hangs", || lines(&bench.path("pids")).len() == 2).await;
    // Neither another OA's hook nor its own refresh waits.
    refresh(&bench, "8").await;
    refresh(&bench, "7").await;
    until("the other was told", || lines(&bench.path("told")).contains(&"8".to_owned())).await;
    let failed = daemon.wait_for_oa("publish.failed", "7").await;
    assert!(failed["detail"].as_str().is_some_and(|detail| detail.contains("within 1s")), "{failed}");
    assert!(failed["publisher"].as_str().is_some_and(|name| name == "exec /bin/sh"), "{failed}");
    let said = daemon.wait_for_oa("publish.said", "7").await;
    assert_eq!(said["detail"], "it hangs", "what it wrote before is told");
    let pids = lines(&bench.path("pids"));
    until("the whole group is gone", || pids[..2].iter().all(|pid| has_ended(pid))).await;
    assert!(daemon.stop().await.success());
    assert_eq!(events_about(&daemon, "publish.failed", "8"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_a_hook_that_hangs_and_leaves_none_behind() {
    let bench = Bench::new().await;
    let script = "sleep 1000 & echo $! > $D/new; mv $D/new $D/pids; sleep 1000";
    bench.set_extra(&hook(&bench, script, SUCCEEDED, "timeout = \"10m\""));
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    refresh(&bench, "7").await;
    until("it hangs", || bench.path("pids").exists()).await;
    // The harness' deadline is a tenth of what the hook may take.
    assert!(daemon.stop().await.success());
    let pid = lines(&bench.path("pids")).remove(0);
    assert!(has_ended(&pid), "{pid} goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_fails_is_told_once_and_run_again_until_it_works() {
    let bench = Bench::new().await;
    let script = "echo x >> $D/runs; [ $(wc -l < $D/runs) -ge 3 ]";
    bench.set_extra(&hook(&bench, script, SUCCEEDED, ""));
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    refresh(&bench, "7").await;
    let failed = daemon.wait_for_oa("publish.failed", "7").await;
    assert_eq!(failed["detail"], "ended with exit status: 1");
    assert!(failed["retry_at"].is_string());
    // What is under way goes on over a reload that changes other things.
    bench.add_oa("8");
    daemon.reload().await;
    daemon.wait_for_oa("publish.recovered", "7").await;
    assert_eq!(lines(&bench.path("runs")).len(), 3);
    assert_eq!(daemon.events("publish.failed").len(), 1);
    assert!(daemon.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_hook_writes_without_end_is_cut_and_a_hook_that_is_not_there_is_told() {
    let bench = Bench::new().await;
    let script = "i=0; while [ $i -lt 3000 ]; do printf 'line %s \\033[31m of many\\n' $i; i=$((i+1)); done";
    let missing =
        "[[publish]]\noas = [\"*\"]\nexec = [\"/no/such/hook\"]\nevents = [\"refresh.succeeded\"]\n";
    bench.set_extra(&(hook(&bench, script, SUCCEEDED, "") + missing));
    bench.add_granted_oa("7").await;
    let mut daemon = bench.start().await;
    refresh(&bench, "7").await;
    let failed = daemon.wait_for_oa("publish.failed", "7").await;
    assert_eq!(failed["publisher"], "exec /no/such/hook");
    assert!(failed["detail"].as_str().is_some_and(|detail| detail.starts_with("cannot be run")), "{failed}");
    daemon.wait_for_text("… more").await;
    assert!(daemon.stop().await.success());
    let said = daemon.events("publish.said");
    let said: Vec<_> = said.iter().map(|line| line["detail"].as_str().expect("a text")).collect();
    let length: usize = said.iter().map(|line| line.len()).sum();
    assert!(said.len() > 50 && length < 4_200, "{length}");
    assert_eq!((said[0], said[said.len() - 1]), ("line 0 \u{fffd}[31m of many", "… more"));
}
