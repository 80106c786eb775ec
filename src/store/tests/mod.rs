//! Tests of the verbs, over a database in memory: the rules that hold even if the daemon is wrong. Here is the bench; the
//! tests are in a file for each matter.

mod brake;
mod claims;
mod clocks;
mod consents;
mod grants;
mod history;
mod managed;
mod needing;
mod proofs;
mod refused_apps;
mod resolve;
mod sets;
mod versions;

use rusqlite::Connection;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::conclude::{Attempted, Concluded, Effect, conclude};
use super::fleet::{self, Due, Sweep};
use super::held::{self, TokenAnswer};
use super::import::{Import, Imported, import};
use super::present::{Claim, Claimed, Journalled, claim, latch_unproven, present};
use super::settle::{self, Settled};
use super::view::{self, State};
use super::{AppChange, apps, day, ends, journal, resolve as decisions, rows, schema};
use crate::clock::{Moment, Reading, Time, Uptime};
use crate::id::{AppId, AttemptId, Managed, OaId};
use crate::oauth::{ErrorCode, GrantedTokens};
use crate::rotation::{Proof, Reason, Roll, Timing, Verdict};
use crate::secret::Secret;

const START: Time = Time::from_millis(1_800_000_000_000);
const HOUR: Duration = Duration::from_secs(3_600);

struct Bench {
    conn: Connection,
    timing: Timing,
    now: Time,
}

fn tokens(n: u32) -> GrantedTokens {
    GrantedTokens {
        access_token: Some(Secret::new(format!("access-{n}"))),
        refresh_token: Some(Secret::new(format!("refresh-{n}"))),
        access_token_life: 25 * HOUR,
        refresh_token_life: None,
        oddities: Vec::new(),
    }
}

/// Both clocks, in agreement.
fn at(time: Time) -> Reading {
    Reading { time, uptime: Uptime(HOUR * 1_000 + time.since(START)), boot: "this boot".into() }
}

/// The same in another boot of the machine.
fn after_restart(time: Time) -> Reading {
    Reading { uptime: Uptime(HOUR), boot: "another boot".into(), ..at(time) }
}

/// A sweep with ten places, beside these.
fn sweep(under_way: &[&Due]) -> Sweep {
    Sweep {
        under_way: under_way.iter().map(|due| (due.oa_id.clone(), due.app_id.clone())).collect(),
        passed_over: BTreeSet::new(),
        apps: Arc::new(["app", "other"].map(AppId::from).into()),
        free: 10,
        most: 8,
    }
}

fn oa() -> OaId {
    OaId::from("oa-1")
}

impl Bench {
    fn new() -> Bench {
        let conn = Connection::open_in_memory().expect("in memory");
        schema::migrate(&conn).expect("migrated");
        Bench { conn, timing: Timing::default(), now: START }
    }

    /// With one OA that holds the set number 1.
    fn with_a_set() -> Bench {
        let bench = Bench::new();
        assert!(matches!(bench.import(&oa(), 1), Imported::Adopted { generation: 1, .. }));
        bench
    }

    fn import(&self, oa_id: &OaId, n: u32) -> Imported {
        self.import_of("app", oa_id, n)
    }

    fn import_of(&self, app_id: &str, oa_id: &OaId, n: u32) -> Imported {
        self.bring(app_id, oa_id, n, Moment::of_wall_clock(self.now))
    }

    fn import_obtained(&self, oa_id: &OaId, n: u32, obtained: Moment) -> Imported {
        self.bring("app", oa_id, n, obtained)
    }

    fn bring(&self, app_id: &str, oa_id: &OaId, n: u32, obtained: Moment) -> Imported {
        let app_id = AppId::from(app_id);
        let brought = Import { oa_id: oa_id.clone(), app_id, name: None, tokens: tokens(n), obtained };
        import(&self.conn, &brought, &self.timing, &at(self.now)).expect("imported")
    }

    /// What a sweep would begin, if nothing were under way.
    fn due_by(&self, now: &Reading) -> rusqlite::Result<Vec<Due>> {
        fleet::due_refreshes(&self.conn, &sweep(&[]), now)
    }

    /// When every plan is due.
    fn due(&self) -> Time {
        self.now.plus(30 * 24 * HOUR)
    }

    fn claim(&self) -> Option<Claim> {
        match claim(&self.conn, &oa(), false, &at(self.due())).expect("claimed") {
            Claimed::Due(claim) => Some(claim),
            Claimed::NotNow | Claimed::Unproven => None,
        }
    }

    fn present(&self, claim: &Claim) -> (AttemptId, Journalled) {
        let attempt = AttemptId::random();
        (attempt, present(&self.conn, claim, attempt, self.now, 8, &at(self.due())).expect("presented"))
    }

    /// Claims and presents; both have to work.
    fn begin(&self) -> AttemptId {
        let (attempt, journalled) = self.present(&self.claim().expect("claimable"));
        assert_eq!(journalled, Journalled::Written);
        attempt
    }

    fn conclude(&self, attempt: AttemptId, verdict: Verdict) -> Concluded {
        self.conclude_with(attempt, None, verdict)
    }

    fn conclude_with(&self, attempt: AttemptId, claim: Option<Claim>, verdict: Verdict) -> Concluded {
        let attempted = Attempted {
            attempt,
            claim,
            started_at: self.now,
            obtained: Moment::at(&at(self.now)),
            verdict,
            status: Some(200),
            answer: Some(b"the raw answer".to_vec()),
        };
        conclude(&self.conn, &attempted, &self.timing, &at(self.now), Roll(0.5)).expect("concluded")
    }

    fn unknown(&self, attempt: AttemptId) {
        let verdict = Verdict::Unknown { code: None, detail: "timeout".to_owned() };
        assert!(matches!(self.conclude(attempt, verdict).effect, Effect::Uncertain { .. }));
    }

    fn prove(&self, attempt: AttemptId) -> Settled {
        settle::prove_unspent(
            &self.conn,
            attempt,
            Proof::OldTokenAccepted,
            &self.timing,
            &at(self.now),
            Roll(0.5),
        )
        .expect("proven")
    }

    fn state(&self) -> (State, Option<String>) {
        let managed = [(oa(), Managed { app_id: AppId::from("app"), name: None })].into();
        let mut statuses =
            view::statuses(&self.conn, None, &managed, view::Page::WHOLE, &at(self.now)).expect("statuses");
        let status = statuses.remove(0);
        (status.state, status.reason)
    }

    fn token(&self) -> Option<String> {
        let managed = [(oa(), Managed { app_id: AppId::from("app"), name: None })].into();
        match held::token(&self.conn, None, &managed, &oa(), &at(self.now)).expect("token") {
            TokenAnswer::Valid(valid) => Some(valid.access_token.expose().to_owned()),
            TokenAnswer::NoSuchOa | TokenAnswer::NoneValid(_) => None,
        }
    }

    fn kept_answers(&self) -> usize {
        view::history(&self.conn, &oa()).expect("history").iter().filter(|entry| entry.answer_kept).count()
    }
}
