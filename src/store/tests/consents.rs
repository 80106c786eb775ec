//! Consents: a code is presented once, what came is kept, and a person's grant wins.

use super::*;
use crate::store::consent::{
    self, Adopted, CodeAttempted, Consent, ConsentStage, GRANTED, NewConsent, adoption, exchange,
};

fn state(n: u32) -> Secret {
    Secret::new(format!("state-{n}"))
}

fn code(n: u32) -> crate::secret::Digest {
    Secret::new(format!("code-{n}")).digest()
}

fn answer(n: u32) -> String {
    format!(r#"{{"access_token":"access-{n}","refresh_token":"refresh-{n}","expires_in":"90000"}}"#)
}

fn lost() -> Verdict {
    Verdict::Unknown { code: None, detail: "timeout".to_owned() }
}

impl Bench {
    fn begin_consent(&self, n: u32) -> Consent {
        let (app_id, redirect_uri) = (AppId::from("app"), "https://shop.example/zalo".to_owned());
        let verifier = Secret::new("v".repeat(43));
        let new = NewConsent { oa_id: oa(), app_id, redirect_uri, state: state(n).digest(), verifier };
        consent::begin(&self.conn, &new, &at(self.now)).expect("begun");
        self.consent(n).expect("there")
    }

    fn consent(&self, n: u32) -> Option<Consent> {
        consent::of_state(&self.conn, state(n).digest()).expect("read")
    }

    fn present_code(&self, consent: &Consent, n: u32) -> Option<AttemptId> {
        let attempt = AttemptId::random();
        let now = at(self.now);
        exchange::present(&self.conn, consent.id, code(n), attempt, &now).expect("asked").then_some(attempt)
    }

    fn conclude_code(
        &self,
        attempt: AttemptId,
        verdict: Verdict,
        answer: Option<&str>,
    ) -> Option<ConsentStage> {
        let attempted = CodeAttempted {
            attempt,
            obtained: Moment::at(&at(self.now)),
            verdict,
            status: Some(200),
            answer: answer.map(|answer| answer.as_bytes().to_vec()),
        };
        exchange::conclude(&self.conn, &attempted, &at(self.now)).expect("concluded")
    }

    /// A consent whose set waits to be verified.
    fn answered(&self, n: u32) -> AttemptId {
        let consent = self.begin_consent(n);
        let attempt = self.present_code(&consent, n).expect("presented");
        let stage = self.conclude_code(attempt, Verdict::Granted(tokens(n)), Some(&answer(n)));
        assert_eq!(stage, Some(ConsentStage::Answered(attempt)));
        attempt
    }

    fn adopt(&self, attempt: AttemptId) -> Adopted {
        adoption::adopt(&self.conn, attempt, None, &self.timing, &at(self.now)).expect("asked")
    }

    fn classes(&self) -> Vec<String> {
        let history = view::history(&self.conn, &oa()).expect("history");
        history.into_iter().filter_map(|entry| entry.class).collect()
    }
}

#[test]
fn a_consent_becomes_the_next_generation_once_its_set_is_verified_and_not_before() {
    let bench = Bench::with_a_set();
    let attempt = bench.answered(2);
    assert_eq!(bench.token().as_deref(), Some("access-1"), "what nobody verified does not count");
    let waiting = adoption::unverified(&bench.conn).expect("read");
    assert_eq!(waiting.len(), 1);
    assert_eq!(waiting[0].access_token.expose(), "access-2");
    assert_eq!(bench.adopt(attempt), Adopted::Granted { generation: 2 });
    assert_eq!(bench.token().as_deref(), Some("access-2"));
    assert_eq!(bench.state().0, State::Scheduled);
    assert_eq!(bench.adopt(attempt), Adopted::Gone, "once");
    assert!(adoption::unverified(&bench.conn).expect("read").is_empty());
    let stage = bench.consent(2).expect("there").stage;
    assert_eq!(stage, ConsentStage::Closed { outcome: GRANTED.to_owned(), generation: Some(2) });
    assert_eq!(bench.classes(), ["granted"]);
}

#[test]
fn i3_a_code_is_presented_once_also_through_another_consent() {
    let bench = Bench::with_a_set();
    let (first, second) = (bench.begin_consent(1), bench.begin_consent(2));
    let attempt = bench.present_code(&first, 7).expect("presented");
    assert_eq!(bench.present_code(&second, 8), None, "one request of an OA at a time");
    bench.conclude_code(attempt, lost(), None);
    assert_eq!(bench.present_code(&first, 7), None, "the consent is over");
    assert_eq!(bench.present_code(&second, 7), None, "the code was presented");
    assert!(bench.present_code(&second, 8).is_some());
}

#[test]
fn a_code_that_is_proven_unspent_may_be_presented_again() {
    let bench = Bench::with_a_set();
    let consent = bench.begin_consent(2);
    for verdict in [
        Verdict::NotPresented { detail: "no connection".to_owned(), retry_after: None },
        Verdict::Throttled { retry_after: None },
        Verdict::AppRefused(ErrorCode(-14004)),
    ] {
        let attempt = bench.present_code(&consent, 2).expect("presented");
        assert_eq!(bench.conclude_code(attempt, verdict, Some("{}")), Some(ConsentStage::Open));
        assert_eq!(bench.conclude_code(attempt, lost(), None), None, "this exchange is forgotten");
    }
    let attempt = bench.present_code(&consent, 2).expect("presented");
    bench.conclude_code(attempt, Verdict::Granted(tokens(2)), Some(&answer(2)));
    assert_eq!(bench.adopt(attempt), Adopted::Granted { generation: 2 });
    assert_eq!(bench.classes(), ["granted", "app_refused", "throttled", "not_presented"]);
}

#[test]
fn what_is_over_stays_so_and_says_why() {
    let bench = Bench::with_a_set();
    for (n, verdict, outcome, is_kept) in [
        (2, lost(), "answer_lost", true),
        (3, Verdict::Dead(ErrorCode(-14014)), "code_refused", false),
        (4, Verdict::Unknown { code: Some(ErrorCode(-14005)), detail: String::new() }, "code_refused", false),
        (5, Verdict::Granted(GrantedTokens { refresh_token: None, ..tokens(5) }), "answer_not_whole", true),
    ] {
        let consent = bench.begin_consent(n);
        let attempt = bench.present_code(&consent, n).expect("presented");
        let stage = bench.conclude_code(attempt, verdict, Some("the raw answer"));
        let closed = ConsentStage::Closed { outcome: outcome.to_owned(), generation: None };
        assert_eq!(stage.as_ref(), Some(&closed));
        assert_eq!(bench.conclude_code(attempt, Verdict::Granted(tokens(n)), None).as_ref(), Some(&closed));
        let kept: bool = bench
            .conn
            .query_row("SELECT answer IS NOT NULL FROM consent ORDER BY consent_id DESC LIMIT 1", [], |row| {
                row.get(0)
            })
            .expect("read");
        assert_eq!(kept, is_kept, "{outcome}");
    }
    assert_eq!(bench.token().as_deref(), Some("access-1"));
    assert_eq!(bench.state().0, State::Scheduled);
    bench.import(&oa(), 9);
    let kept: u32 =
        bench.conn.query_row("SELECT count(answer) FROM consent", [], |row| row.get(0)).expect("read");
    assert_eq!(kept, 0, "a set was adopted since");
}

#[test]
fn a_persons_grant_wins_over_a_late_answer_and_over_an_uncertain_attempt() {
    let bench = Bench::with_a_set();
    let refresh = bench.begin();
    let consent = bench.begin_consent(3);
    assert_eq!(bench.present_code(&consent, 3), None, "a request of this OA is under way");
    bench.unknown(refresh);
    let attempt = bench.present_code(&consent, 3).expect("presented");
    assert!(bench.claim().is_none(), "nothing else is presented meanwhile");
    bench.conclude_code(attempt, Verdict::Granted(tokens(3)), Some(&answer(3)));
    assert_eq!(bench.adopt(attempt), Adopted::Granted { generation: 2 });
    let late = bench.conclude(refresh, Verdict::Granted(tokens(2)));
    assert_eq!(late.effect, Effect::AlreadyConcluded);
    assert_eq!(bench.token().as_deref(), Some("access-3"));
    assert_eq!(bench.state().0, State::Scheduled);
}

#[test]
fn what_a_person_brought_since_is_not_overwritten_and_a_refresh_since_is() {
    let bench = Bench::with_a_set();
    let attempt = bench.answered(2);
    let refresh = bench.begin();
    bench.conclude(refresh, Verdict::Granted(tokens(5)));
    assert_eq!(bench.adopt(attempt), Adopted::Granted { generation: 3 }, "a refresh is nobody's grant");
    let mut bench = Bench::with_a_set();
    let attempt = bench.answered(2);
    bench.now = bench.now.plus(Duration::from_secs(1));
    bench.import(&oa(), 6);
    assert_eq!(bench.adopt(attempt), Adopted::Refused("superseded"));
    assert_eq!(bench.token().as_deref(), Some("access-6"));
}

#[test]
fn of_two_grants_that_wait_the_newer_one_wins_whichever_is_verified_first() {
    for is_newer_first in [true, false] {
        let mut bench = Bench::with_a_set();
        bench.now = bench.now.plus(Duration::from_secs(1));
        let older = bench.answered(2);
        bench.now = bench.now.plus(Duration::from_secs(1));
        let newer = bench.answered(3);
        let waiting = adoption::unverified(&bench.conn).expect("read");
        assert_eq!(waiting.iter().map(|one| one.attempt).collect::<Vec<_>>(), [newer, older]);
        if is_newer_first {
            assert_eq!(bench.adopt(newer), Adopted::Granted { generation: 2 });
            assert_eq!(bench.adopt(older), Adopted::Refused("superseded"));
        } else {
            assert_eq!(bench.adopt(older), Adopted::Granted { generation: 2 });
            assert_eq!(bench.adopt(newer), Adopted::Granted { generation: 3 });
        }
        assert_eq!(bench.token().as_deref(), Some("access-3"), "{is_newer_first}");
    }
}

#[test]
fn a_set_of_another_oa_is_kept_aside() {
    let bench = Bench::with_a_set();
    let attempt = bench.answered(2);
    let now = bench.now;
    assert!(adoption::refuse(&bench.conn, attempt, "other_oa", "it is OA 9's", now).expect("asked"));
    assert_eq!(bench.adopt(attempt), Adopted::Gone);
    assert_eq!(bench.token().as_deref(), Some("access-1"));
    let kept: u32 =
        bench.conn.query_row("SELECT count(answer) FROM consent", [], |row| row.get(0)).expect("read");
    assert_eq!(kept, 1, "no error deletes a token");
}

#[test]
fn a_start_that_finds_a_code_presented_calls_its_answer_lost() {
    let bench = Bench::with_a_set();
    let consent = bench.begin_consent(2);
    let attempt = bench.present_code(&consent, 2).expect("presented");
    let abandoned = exchange::abandon_presenting(&bench.conn, bench.now).expect("asked");
    assert_eq!(abandoned.iter().map(|one| one.attempt).collect::<Vec<_>>(), [attempt]);
    assert!(exchange::abandon_presenting(&bench.conn, bench.now).expect("asked").is_empty());
    assert_eq!(bench.present_code(&bench.begin_consent(3), 2), None);
    assert_eq!(bench.classes(), ["answer_lost"]);
}

#[test]
fn a_consent_ends_after_ten_minutes_and_of_those_that_nobody_came_back_from_few_are_kept() {
    let mut bench = Bench::with_a_set();
    let consent = bench.begin_consent(0);
    bench.now = bench.now.plus(Duration::from_secs(601));
    assert_eq!(bench.present_code(&consent, 1), None);
    for n in 1..=40 {
        bench.begin_consent(n);
    }
    assert!(bench.consent(0).is_none() && bench.consent(24).is_none());
    assert!(bench.consent(25).is_some() && bench.consent(40).is_some());
    assert!(consent::decline(&bench.conn, bench.consent(40).expect("there").id, bench.now).expect("asked"));
    assert!(!consent::decline(&bench.conn, bench.consent(40).expect("there").id, bench.now).expect("asked"));
    let newest = consent::newest_open(&bench.conn, &oa()).expect("read").expect("there");
    assert_eq!(newest.id, bench.consent(39).expect("there").id);
    for n in 41..=100 {
        let id = bench.begin_consent(n).id;
        assert!(consent::decline(&bench.conn, id, bench.now).expect("asked"));
    }
    let declined = "SELECT count(*) FROM consent WHERE outcome = 'declined'";
    let declined = bench.conn.query_row(declined, [], |row| row.get::<_, u32>(0)).expect("counted");
    assert!(declined == 16 && bench.consent(100).is_some(), "{declined} that were declined");
    let day = bench.now.plus(3 * 24 * HOUR);
    assert!(consent::prune(&bench.conn, day).expect("pruned") > 0);
    assert!((0..=40).all(|n| bench.consent(n).is_none()));
}
