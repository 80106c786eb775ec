//! Many OAs of one app, and what the window and the brake allow of them, worked out from the ledger alone.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;
use zalo_tokend::clock::{Clock, Moment, SystemClock};
use zalo_tokend::config::{self, Secrets};
use zalo_tokend::id::{AppId, OaId};
use zalo_tokend::oauth::{Answer, read_token_answer};
use zalo_tokend::simulator::{Entry, Kind, Ledger, Said};
use zalo_tokend::store::{Direct, Import, Imported};

use super::{Bench, lock};

/// How long an access token lives that the simulator grants.
const LIFE: Duration = Duration::from_secs(90_000);

impl Bench {
    /// Adds so many OAs of `app` and imports a grant for each, whose access token has so long to live. In this process,
    /// because a process for each would take longer than the test.
    pub fn add_herd(&self, app: &str, oas: &[String], remaining: Duration) {
        self.add_all(oas.iter().map(|oa| (oa.clone(), app.to_owned())).collect(), remaining);
    }

    /// The same, each with an app of its own of the same name.
    pub fn add_lone_herd(&self, oas: &[String], remaining: Duration) {
        for oa in oas {
            self.add_app_unwritten(oa);
        }
        self.add_all(oas.iter().map(|oa| (oa.clone(), oa.clone())).collect(), remaining);
    }

    fn add_all(&self, oas: Vec<(String, String)>, remaining: Duration) {
        lock(&self.oas).extend(oas.iter().cloned());
        self.write_config();
        let timing = config::load(&self.config(), Secrets::LeaveAlone).expect("a good config").timing;
        std::fs::create_dir_all(self.store().parent().expect("in a directory")).expect("made");
        let mut store = Direct::open_to_write(&self.store()).expect("opened");
        for (oa, app) in &oas {
            let age = LIFE - remaining;
            let now = SystemClock::new().read();
            let body = self.simulator.grant_aged(app, oa, age).to_string();
            let Answer::Granted(tokens) = read_token_answer(body.as_bytes()) else { panic!("no grant") };
            let import = Import {
                oa_id: OaId::from(oa.as_str()),
                app_id: AppId::from(app.as_str()),
                name: None,
                tokens,
                obtained: Moment::of_wall_clock(now.time.minus(age)),
            };
            let imported = store.import(&import, &timing, &now).expect("the store takes it");
            assert!(matches!(imported, Imported::Adopted { .. }), "{imported:?}");
        }
    }

    /// The whole of `status --json`.
    pub async fn report(&self) -> Value {
        let output = self.run(&["status", "--json"]).await;
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

/// `prefix` with the numbers of so many OAs.
pub fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{prefix}{n:03}")).collect()
}

/// What happened to the OAs of an app, oldest first.
pub fn entries_of_app<'l>(ledger: &'l Ledger, app: &'l str) -> impl Iterator<Item = &'l Entry> {
    let is_of = move |entry: &&Entry| entry.subject.app_id.as_ref().is_some_and(|id| id.as_str() == app);
    ledger.entries().iter().filter(is_of)
}

/// How many whole requests came for OAs of an app.
pub fn presentations_of_app(ledger: &Ledger, app: &str) -> usize {
    entries_of_app(ledger, app).filter(|entry| entry.kind == Kind::Presented).count()
}

/// When whole requests came for OAs of an app, and when each of them was over, in milliseconds of the ledger.
pub fn requests_of_app(ledger: &Ledger, app: &str) -> (Vec<u64>, Vec<u64>) {
    let at = |is_wanted: fn(&Kind) -> bool| {
        entries_of_app(ledger, app).filter(|entry| is_wanted(&entry.kind)).map(|entry| entry.at_ms).collect()
    };
    (at(|kind| *kind == Kind::Presented), at(is_over))
}

fn is_over(kind: &Kind) -> bool {
    matches!(kind, Kind::AnswerSent { .. } | Kind::AnswerLost { .. } | Kind::Unanswered { .. })
}

/// Never were more requests of the app under way than its window allowed: two at first, twice as many with each success
/// up to `most`, one after an outcome that nobody knows, and two again after the success that follows two such.
pub fn assert_window_held(ledger: &Ledger, app: &str, most: usize) {
    let (mut size, mut strikes, mut open) = (2, 0, HashSet::new());
    for entry in entries_of_app(ledger, app) {
        if entry.kind == Kind::Presented {
            open.insert(entry.connection);
            let allowed = if strikes > 0 { 1 } else { size };
            assert!(open.len() <= allowed, "{} under way, {allowed} allowed: {entry:?}", open.len());
        } else if is_over(&entry.kind) {
            open.remove(&entry.connection);
            let is_success = matches!(entry.kind, Kind::AnswerSent { says: Said::NewTokens, .. });
            (size, strikes) = match (is_success, strikes) {
                (true, 0 | 1) => ((size * 2).min(most), 0),
                (true, _) => (2, 0),
                (false, _) => (1, strikes + 1),
            };
        }
    }
}
