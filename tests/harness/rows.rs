//! One daemon and many OAs, for tests whose rows are alike: one kind of answer an OA, each with an app of its own,
//! so that nothing that is learnt of an app comes from another row.

use std::time::Duration;

use serde_json::Value;
use zalo_tokend::clock::Time;
use zalo_tokend::simulator::{Answer, Fault, Kind, Ledger, ProbeVerdict, Rule};

use super::{Bench, Daemon, jiff_now_minus, text};

/// Quick, and no OA waits for a slot that another's slow answer holds.
pub const ROOMY: &str = r#"before_expiry = "5m"
jitter = "0s"
retry_first = "50ms"
retry_max = "400ms"
settle = "300ms"
timeout = "3s"
max_in_flight = 64
"#;

/// `settle` in [`ROOMY`], as the ledger counts.
pub const SETTLE_MS: u64 = 300;

/// Long enough for an access token to live through a test, short enough for it to be due.
pub const A_WHILE: Duration = Duration::from_secs(120);

/// An OA whose tokens are told to live for a second, so that the daemon refreshes it twice a second: by its beats
/// a test sees time pass in which the daemon was awake and free to do what it must not.
pub const PACEMAKER: &str = "999";

/// So many beats of the pacemaker are more than three times the longest timer of [`ROOMY`].
pub const LONG_AFTER: usize = 4;

/// The names of the rows' OAs.
pub fn oas() -> impl Iterator<Item = String> {
    (100..).map(|number: u32| number.to_string())
}

impl Bench {
    /// A bench with one OA a row, to each of which happens one fault.
    pub async fn with_rows<T>(rows: &[T], fault: impl Fn(&T) -> Fault) -> Bench {
        let bench = Bench::new().await;
        bench.set_refresh(ROOMY);
        let oas: Vec<String> = oas().take(rows.len()).collect();
        for (row, oa) in rows.iter().zip(&oas) {
            bench.simulator.fault(Rule::once(fault(row)).for_oa(oa));
        }
        bench.add_lone_herd(&oas, A_WHILE);
        bench
    }

    /// Adds an OA with an app of its own of the same name. It is due at once: its access token has so long to
    /// live. Returns that token.
    pub async fn add_lone_oa(&self, oa: &str, remaining: Duration) -> String {
        self.add_app(oa);
        self.add_oa_of(oa, oa);
        self.import_with(oa, oa, remaining).await
    }

    /// Imports a grant whose access token has so long to live, and returns that token.
    pub async fn import_with(&self, app: &str, oa: &str, remaining: Duration) -> String {
        let age = Duration::from_secs(90_000) - remaining;
        let obtained_at = jiff_now_minus(age);
        let answer = self.simulator.grant_aged(app, oa, age);
        let arguments = ["import", oa, "--obtained-at", &obtained_at];
        let output = self.run_with_input(&arguments, &answer.to_string()).await;
        assert!(output.status.success(), "import failed: {}", text(&output.stderr));
        answer["access_token"].as_str().expect("a text").to_owned()
    }

    /// Adds the [`PACEMAKER`].
    pub async fn add_pacemaker(&self) {
        let body = r#"{"access_token":"{access_token}","refresh_token":"{refresh_token}","expires_in":1}"#;
        let fault = Fault::spent(Answer::custom(200, body));
        self.simulator.fault(Rule::forever(fault).for_oa(PACEMAKER));
        self.add_lone_oa(PACEMAKER, A_WHILE).await;
    }

    /// Waits for so many beats of the [`PACEMAKER`] to come. Between two of them lies half a second at least.
    pub async fn beats(&self, count: usize) -> Ledger {
        let beaten = self.simulator.ledger().spends_of(PACEMAKER);
        self.ledger_until(|ledger| ledger.spends_of(PACEMAKER) >= beaten + count).await
    }

    /// The daemon hands out a token that Zalo takes.
    pub async fn assert_is_handed_out(&self, oa: &str, what: &str) {
        let token = self.token(oa).await.unwrap_or_else(|| panic!("{what}: no token"));
        assert!(self.simulator.is_valid_access_token(&token), "{what}: a token that Zalo does not take");
    }
}

impl Daemon {
    /// Waits for the n-th event of this name about an OA.
    pub async fn wait_for_oa_nth(&self, name: &str, oa: &str, n: usize) -> Value {
        let pick = |events: &[Value]| events.iter().filter(|event| event["oa_id"] == oa).nth(n - 1).cloned();
        self.wait_until(name, pick).await
    }

    /// Waits for an event about an app.
    pub async fn wait_for_app(&self, name: &str, app: &str) -> Value {
        let pick = |events: &[Value]| events.iter().find(|event| event["app_id"] == app).cloned();
        self.wait_until(name, pick).await
    }

    /// The events of this name about an OA so far.
    pub fn events_of(&self, name: &str, oa: &str) -> Vec<Value> {
        self.events(name).into_iter().filter(|event| event["oa_id"] == oa).collect()
    }
}

/// An answer with headers of its own.
pub fn with_headers(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    Answer::Custom { status, headers: owned(headers), body: body.into() }
}

/// An answer that does not wait for the last byte.
pub fn early(status: u16, headers: &[(&str, &str)], body: &str) -> Fault {
    Fault::AnswerBeforeLastByte { status, headers: owned(headers), body: body.into() }
}

fn owned(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A field of an event that is a point in time.
pub fn time(event: &Value, field: &str) -> Time {
    Time::parse(event[field].as_str().expect("a text")).expect("a point in time")
}

/// The client did nothing that it must not.
pub fn assert_clean(ledger: &Ledger) {
    assert!(ledger.is_clean(), "{}", ledger.summary());
    assert_eq!(ledger.redirects_followed(), 0);
}

/// When such things happened to an OA, in milliseconds of the ledger.
pub fn moments(ledger: &Ledger, oa: &str, is_wanted: impl Fn(&Kind) -> bool) -> Vec<u64> {
    ledger.entries_of(oa).filter(|entry| is_wanted(&entry.kind)).map(|entry| entry.at_ms).collect()
}

/// The same of what came after the OA's first presentation and before its second, if there was one. The old access
/// token may also be asked about before a presentation, to learn whether it outlives its successor.
pub fn moments_after_first(ledger: &Ledger, oa: &str, is_wanted: impl Fn(&Kind) -> bool) -> Vec<u64> {
    let since = ledger.entries_of(oa).skip_while(|entry| !is_presented(&entry.kind)).skip(1);
    let until = since.take_while(|entry| !is_presented(&entry.kind));
    until.filter(|entry| is_wanted(&entry.kind)).map(|entry| entry.at_ms).collect()
}

/// A whole request came.
pub fn is_presented(kind: &Kind) -> bool {
    matches!(kind, Kind::Presented)
}

/// Somebody asked.
pub fn is_probed(kind: &Kind) -> bool {
    matches!(kind, Kind::Probed { .. })
}

/// Somebody asked, and was told that the access token is good.
pub fn is_accepted(kind: &Kind) -> bool {
    matches!(kind, Kind::Probed { verdict: ProbeVerdict::Accepted })
}

/// Somebody asked, and was told that the access token is dead.
pub fn is_refused(kind: &Kind) -> bool {
    matches!(kind, Kind::Probed { verdict: ProbeVerdict::Refused })
}
