//! A reader of the log that stalls, dies, or has no room costs lines and nothing else; the lines are counted. By the
//! real binary, and by the simulator's ledger: what the daemon goes on doing, nobody else could tell.

mod harness;

use std::fs::File;
use std::io::Write;
use std::process::Stdio;

use harness::Bench;
use harness::reader::{Reader, Unheard};
use harness::rows::{A_WHILE, PACEMAKER, ROOMY, oas};
use rustix::process::Signal;
use zalo_tokend::simulator::{Answer, Fault, Rule};

/// More than the log keeps for a slow reader, the kernel's pipe and a line under way included.
const FLOOD: usize = 20_000;

const HEARTBEATS: &str = "[schedule]\nheartbeat = \"* * * * * *\"\n";

/// A daemon that says much: OAs that are put off and try again at once, and the level that hides nothing. The
/// pacemaker is refreshed meanwhile, again and again.
async fn a_talkative_fleet() -> Bench {
    let bench = Bench::new().await;
    bench.set_refresh(&ROOMY.replace("400ms", "50ms"));
    bench.set_extra(&format!("[log]\nlevel = \"trace\"\nformat = \"json\"\n{HEARTBEATS}"));
    for oa in oas().take(12) {
        bench.simulator.fault(Rule::forever(Fault::unspent(Answer::custom(429, ""))).for_oa(&oa));
        bench.add_lone_oa(&oa, A_WHILE).await;
    }
    bench.add_pacemaker().await;
    bench
}

/// Reads for a while, and learns how many lines the daemon says for each request, as the ledger counts them.
async fn lines_per_request(bench: &Bench, reader: &mut Reader) -> f64 {
    reader.until("daemon.ready", |_| true).await;
    let (begun, read) = (bench.simulator.ledger().presentations(), reader.read.len());
    for beat in 1..=3 {
        reader
            .until("refresh.succeeded", |event| {
                event["oa_id"] == PACEMAKER && event["generation"].as_u64() > Some(beat)
            })
            .await;
    }
    let requests = bench.simulator.ledger().presentations() - begun;
    // What is still in the pipe was not read: that many lines a request, or more.
    (reader.read.len() - read) as f64 / requests as f64
}

/// Waits, and reads nothing, until the daemon has said so many lines. That it comes to this is the proof that it
/// goes on; the pacemaker shows that refreshes do.
async fn stall(bench: &Bench, lines_per_request: f64, lines: usize) {
    let wanted = bench.simulator.ledger().presentations() + (lines as f64 / lines_per_request) as usize + 1;
    // Step by step, so that a slow machine has its deadline for each.
    while bench.simulator.ledger().presentations() < wanted {
        let next = bench.simulator.ledger().presentations() + 50;
        bench.ledger_until(|ledger| ledger.presentations() >= next).await;
    }
    bench.beats(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f49_a_reader_that_stalls_costs_lines_which_are_counted_and_neither_refreshes_nor_the_stop_wait_for_it()
 {
    let bench = a_talkative_fleet().await;
    let (mut reader, stderr, stdout) = Reader::of_a_pipe().expect("a pipe");
    let mut daemon = bench.spawn_into(stderr, stdout);
    let lines_per_request = lines_per_request(&bench, &mut reader).await;

    stall(&bench, lines_per_request, FLOOD).await;
    let heartbeat = reader.until("fleet.heartbeat", |event| event["lines_dropped"] != 0).await;
    assert!(heartbeat["lines_dropped"].as_u64() > Some(0), "{heartbeat}");

    // Nobody reads any more, stdout neither, and the queue is full.
    stall(&bench, lines_per_request, FLOOD).await;
    daemon.ask_to_stop();
    assert_eq!(daemon.ended().await.code(), Some(0));
    reader.rest().await;
    let ledger = bench.simulator.ledger();
    assert!(ledger.is_clean(), "{}", ledger.summary());
}

/// Starts the daemon into a log that takes nothing, and sees it go on and end.
async fn assert_goes_on(bench: &Bench, daemon: &mut Unheard) {
    bench.beats(3).await;
    daemon.ask_to_stop();
    assert_eq!(daemon.ended().await.code(), Some(0));
    let ledger = bench.simulator.ledger();
    assert!(ledger.is_clean(), "{}", ledger.summary());
}

#[tokio::test(flavor = "multi_thread")]
async fn f49_a_reader_that_dies_costs_lines_which_the_next_reader_is_told_of() {
    let bench = Bench::new().await;
    bench.set_refresh(ROOMY);
    bench.set_extra(HEARTBEATS);
    bench.add_pacemaker().await;
    let fifo = bench.path("log");
    let (mut first, stderr) = Reader::of_a_fifo(&fifo).expect("a fifo");
    let mut daemon = bench.spawn_into(stderr, Stdio::null());
    first.until("fleet.heartbeat", |event| event["lines_dropped"] == 0).await;
    drop(first);
    bench.beats(3).await;
    let mut second = Reader::again(&fifo).expect("a reader again");
    let heartbeat = second.until("fleet.heartbeat", |_| true).await;
    // Three lines a beat at the least; of the first and the last beat some may have met a reader.
    assert!(heartbeat["lines_dropped"].as_u64() >= Some(3), "{heartbeat}");
    drop(second);
    assert_goes_on(&bench, &mut daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f49_a_log_on_a_full_device_stops_nothing() {
    let bench = Bench::new().await;
    bench.set_refresh(ROOMY);
    bench.add_pacemaker().await;
    let full = File::options().write(true).open("/dev/full").expect("a full device");
    let mut daemon = bench.spawn_into(full, Stdio::null());
    assert_goes_on(&bench, &mut daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f49_a_log_that_is_closed_or_whose_socket_has_no_other_end_stops_nothing() {
    for is_closed in [false, true] {
        let bench = Bench::new().await;
        bench.set_refresh(ROOMY);
        bench.add_pacemaker().await;
        let (log, other_end) = std::os::unix::net::UnixStream::pair().expect("a socket");
        drop(other_end);
        if is_closed {
            let closing = ["sh", "-c", "exec \"$@\" 2>&-", "sh"];
            *bench.prefix.lock().expect("not poisoned") = closing.map(str::to_owned).to_vec();
        }
        let mut daemon = bench.spawn_into(std::os::fd::OwnedFd::from(log), Stdio::null());
        assert_goes_on(&bench, &mut daemon).await;
    }
}

/// Writes into a pipe until nothing more has room. The other copies of this end wait again afterwards.
fn fill(pipe: &mut File) {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let flags = fcntl_getfl(&*pipe).expect("flags");
    fcntl_setfl(&*pipe, flags | OFlags::NONBLOCK).expect("set");
    // Large pieces, then single bytes: a small write is taken whole or not at all.
    for piece in [&[b'\n'; 65_536][..], b"\n"] {
        while pipe.write(piece).is_ok() {}
    }
    fcntl_setfl(&*pipe, flags).expect("set");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_by_failure_does_not_wait_for_a_reader_that_stalls() {
    let bench = Bench::new().await;
    bench.add_granted_oa("7").await;
    let mut first = bench.start().await;
    let (reader, stderr, mut filler) = {
        let (reader, stderr, filler) = Reader::of_a_pipe().expect("a pipe");
        (reader, stderr, File::from(filler))
    };
    // So that not even the first line finds room.
    fill(&mut filler);
    let mut second = bench.spawn_into(stderr, Stdio::null());
    assert_eq!(second.ended().await.code(), Some(75), "the store is the first daemon's");
    drop((reader, filler));
    first.signal(Signal::TERM);
    assert!(first.ended().await.success());
}
