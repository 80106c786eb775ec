//! Publishers over a store, without a daemon: what programs manage, and what goes before what.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use tempfile::TempDir;

use super::*;
use crate::clock::{Moment, Reading, SystemClock};
use crate::config::{Environment, Secrets, parse};
use crate::id::Managed;
use crate::oauth::{Answer, read_token_answer};
use crate::rotation::{Roll, Timing};
use crate::store::{Import, Opened, Recovered};

const DEADLINE: Duration = Duration::from_secs(60);

struct Bench {
    publishers: Publishers,
    store: Store,
    thread: JoinHandle<()>,
    directory: TempDir,
}

impl Bench {
    fn new() -> Bench {
        let directory = tempfile::tempdir().expect("a directory");
        let opened = Opened::open(&directory.path().join("tokens.db")).expect("opened");
        let mut recovered = Recovered::default();
        opened.recover(2, &Timing::default(), &now(), &mut || Roll(0.5), &mut recovered).expect("recovered");
        let (store, thread) = opened.start().expect("started");
        let publishers = Publishers::new(store.clone(), Arc::new(SystemClock::new()), Feed::default());
        Bench { publishers, store, thread, directory }
    }

    /// The file of an OA, and where those of all of them are.
    fn place(&self, oa: &str) -> PathBuf {
        self.directory.path().join(format!("tokens/{oa}"))
    }

    async fn begin(&self, fleet: Fleet) {
        let text = "[[publish]]\noas = [\"*\"]\nfile = \"tokens/{oa_id}\"\nformat = \"json\"\n";
        let file = self.directory.path().join("c.toml");
        let mut config = parse(&file, text, Secrets::LeaveAlone, &Environment::default()).expect("valid");
        config.oas = Arc::new(fleet);
        let prepared = self.publishers.prepare(&config).await.expect("prepared");
        self.publishers.go_over_to(prepared);
    }

    async fn import(&self, oa: &str, number: u32) {
        import(self.store.clone(), oa.to_owned(), number).await;
    }

    async fn end(self) {
        self.publishers.stop().await;
        drop((self.publishers, self.store));
        self.thread.join().expect("nobody holds the store");
    }
}

async fn import(store: Store, oa: String, number: u32) {
    let body = format!(
        r#"{{"access_token":"access{oa}-{number}","refresh_token":"refresh{oa}-{number}","expires_in":90000}}"#
    );
    let Answer::Granted(tokens) = read_token_answer(body.as_bytes()) else { panic!("a grant") };
    let obtained = Moment::at(&now());
    let import = Import { oa_id: oa.into(), app_id: "1".into(), name: None, tokens, obtained };
    store.import(Arc::new(import), Arc::default(), now()).await.expect("imported");
}

fn now() -> Reading {
    SystemClock::new().read()
}

fn managed() -> Managed {
    Managed { app_id: "1".into(), name: None }
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(DEADLINE, async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    waited.await.expect("it comes to that");
}

fn holds(path: &Path, text: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|content| content.contains(text))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_manages_is_published_until_it_does_not_any_more() {
    let bench = Bench::new();
    let (theirs, ours) = (OaId::from("8"), OaId::from("9"));
    bench.store.enlist(theirs.clone(), managed(), Arc::default(), now().time).await.expect("enlisted");
    for oa in ["7", "8", "9"] {
        bench.import(oa, 1).await;
    }
    bench.publishers.manage_all([theirs.clone()].into());
    bench.begin(Fleet::from([(ours, managed())])).await;
    until(|| bench.place("8").exists() && bench.place("9").exists()).await;
    assert!(!bench.place("7").exists(), "nobody manages it");
    bench.publishers.leave(&theirs);
    until(|| !bench.place("8").exists()).await;
    bench.publishers.manage(&theirs);
    until(|| bench.place("8").exists()).await;
    bench.publishers.manage_all(BTreeSet::new());
    until(|| !bench.place("8").exists()).await;
    assert!(holds(&bench.place("9"), "access9-1"), "another's is not touched");
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_set_goes_before_all_that_a_round_has_still_to_look_at() {
    const MANY: u32 = 200;
    let bench = Bench::new();
    let oas: Vec<String> = (0..MANY).map(|number| format!("{number:05}")).collect();
    // Many at once, so that they are committed together.
    let mut importing = tokio::task::JoinSet::new();
    oas.iter().for_each(|oa| drop(importing.spawn(import(bench.store.clone(), oa.clone(), 1))));
    importing.join_all().await;
    // One more comes after it, so that the round has been past it when all are there.
    let late = &oas[oas.len() - 2];
    bench.begin(oas.iter().map(|oa| (oa.as_str().into(), managed())).collect()).await;
    until(|| bench.place("00000").exists()).await;
    let newer = format!("access{late}-2");
    bench.import(late, 2).await;
    until(|| holds(&bench.place(late), &newer)).await;
    let written = std::fs::read_dir(bench.directory.path().join("tokens")).expect("read").count();
    assert!(written < oas.len(), "it came after all others");
    until(|| oas.iter().all(|oa| bench.place(oa).exists())).await;
    assert!(holds(&bench.place(late), &newer), "the round did not put an older one over it");
    bench.end().await;
}
