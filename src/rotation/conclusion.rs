//! What follows from a verdict: how the attempt ends, how the OA stands, and what is proven.

use super::backoff::{Roll, retry_wait, slow_wait, throttled_wait};
use super::{Reason, Retrying, Standing, Timing, Uncertain, Verdict};
use crate::clock::Time;
use crate::id::AttemptId;
use crate::oauth::ErrorCode;

/// How often a token is presented while the endpoint answers with undocumented error codes.
const SLOW_TRIES: u32 = 5;

/// Why a refresh token that was, or may have been, presented is known to be unspent. One proof allows one
/// presentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// The last byte of the request never left.
    GateBarred,
    /// The answer was of a kind that is given before the token is looked at.
    Answer,
    /// The old access token was accepted twice.
    OldTokenAccepted,
    /// The answer handed the same refresh token out again.
    HandedOutAgain,
    /// An operator decided so.
    Operator,
    /// The config says so (`unprovable = "present"`), once a generation.
    Policy,
}

impl Proof {
    /// The word under which the store keeps it.
    pub fn word(self) -> &'static str {
        match self {
            Proof::GateBarred => "gate_barred",
            Proof::Answer => "answer",
            Proof::OldTokenAccepted => "old_token_accepted",
            Proof::HandedOutAgain => "handed_out_again",
            Proof::Operator => "operator",
            Proof::Policy => "policy",
        }
    }
}

/// What the refresh token of an answer is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Successor {
    /// One that was never seen before.
    New,
    /// The very one that was just presented.
    SameAgain,
    /// One that was used before, or another OA's: not to be presented.
    Known,
    /// There is none.
    Missing,
}

/// How an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// With a verdict; it is closed.
    Concluded,
    /// Without one; it stays open.
    Uncertain,
}

/// What an attempt says about the OA's app and its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppNews {
    /// Nothing: it was not reached, or it is throttling.
    Silent,
    /// Zalo gave tokens: credentials and endpoint are good.
    Granted,
    /// The endpoint answered as it should, with something else.
    Answered,
    /// Nobody knows what it did.
    Lost,
    /// Zalo refuses the credentials.
    Refused,
}

/// What follows from a verdict.
#[derive(Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// How the attempt ends.
    pub attempt: AttemptEnd,
    /// How the OA stands now. For a granted set that goes on, the plan is made by [`super::refresh_at`].
    pub standing: Option<Standing>,
    /// What is proven about the token that was presented.
    pub proof: Option<Proof>,
    /// What is said about the app.
    pub app: AppNews,
}

/// What follows from `verdict`. `failures` counts the failures in a row before this one. A `standing` of `None`
/// means: healthy, planned by the lifetimes of the set that was just granted.
pub fn conclude(
    verdict: &Verdict,
    attempt: AttemptId,
    successor: Successor,
    failures: u32,
    timing: &Timing,
    now: Time,
    roll: Roll,
) -> Conclusion {
    let retry = |wait| Some(Standing::Retrying(Retrying { retry_at: now.plus(wait) }));
    let latched = |reason| Some(Standing::ReauthorizationRequired(reason));
    let closed = |standing, proof, app| Conclusion { attempt: AttemptEnd::Concluded, standing, proof, app };
    match verdict {
        Verdict::Granted(_) => match successor {
            Successor::New => closed(None, None, AppNews::Granted),
            Successor::SameAgain => closed(None, Some(Proof::HandedOutAgain), AppNews::Granted),
            Successor::Known => closed(latched(Reason::RefreshTokenRepeated), None, AppNews::Granted),
            Successor::Missing => closed(latched(Reason::RefreshTokenMissing), None, AppNews::Granted),
        },
        Verdict::NotPresented { retry_after, .. } => {
            let wait = throttled_wait(timing, *retry_after, failures, roll);
            closed(retry(wait), Some(Proof::GateBarred), AppNews::Silent)
        }
        Verdict::Throttled { retry_after } => {
            let wait = throttled_wait(timing, *retry_after, failures, roll);
            closed(retry(wait), Some(Proof::Answer), AppNews::Silent)
        }
        Verdict::Dead(_) => closed(latched(Reason::RefreshTokenRejected), None, AppNews::Answered),
        Verdict::AppRefused(_) => {
            closed(retry(retry_wait(timing, failures, roll)), Some(Proof::Answer), AppNews::Refused)
        }
        Verdict::Unknown { .. } => Conclusion {
            attempt: AttemptEnd::Uncertain,
            standing: Some(Standing::Uncertain(Uncertain {
                attempt,
                probe_at: Some(now.plus(timing.settle)),
            })),
            proof: None,
            app: AppNews::Lost,
        },
    }
}

/// How the OA stands once its uncertain attempt is proven unspent. `code` is the undocumented error code that the
/// attempt was answered with, `slow_tries` how many such attempts there were in a row, this one included.
pub fn after_proof(
    code: Option<ErrorCode>,
    slow_tries: u32,
    failures: u32,
    timing: &Timing,
    now: Time,
    roll: Roll,
) -> Standing {
    let wait = match code {
        Some(code) if slow_tries >= SLOW_TRIES => {
            return Standing::ReauthorizationRequired(Reason::Error(code));
        }
        Some(_) => slow_wait(timing, roll),
        None => retry_wait(timing, failures, roll),
    };
    Standing::Retrying(Retrying { retry_at: now.plus(wait) })
}

/// How the OA stands once it is certain that the answer of its attempt is lost.
pub fn give_up() -> Standing {
    Standing::ReauthorizationRequired(Reason::ResponseLost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concluded(verdict: &Verdict, successor: Successor) -> Conclusion {
        let now = Time::from_millis(1_000);
        conclude(verdict, AttemptId::from_bytes([1; 16]), successor, 0, &Timing::default(), now, Roll(0.5))
    }

    #[test]
    fn a_proof_is_kept_under_the_word_that_earlier_versions_wrote() {
        let words = [
            (Proof::GateBarred, "gate_barred"),
            (Proof::Answer, "answer"),
            (Proof::OldTokenAccepted, "old_token_accepted"),
            (Proof::HandedOutAgain, "handed_out_again"),
            (Proof::Operator, "operator"),
            (Proof::Policy, "policy"),
        ];
        words.iter().for_each(|(proof, word)| assert_eq!(proof.word(), *word));
    }

    #[test]
    fn only_an_unknown_outcome_leaves_the_attempt_open_and_it_proves_nothing() {
        let unknown = Verdict::Unknown { code: None, detail: String::new() };
        let conclusion = concluded(&unknown, Successor::Missing);
        assert_eq!((conclusion.attempt, conclusion.proof), (AttemptEnd::Uncertain, None));
        assert!(matches!(
            conclusion.standing,
            Some(Standing::Uncertain(Uncertain { probe_at: Some(_), .. }))
        ));
    }

    #[test]
    fn whatever_is_tried_again_is_proven_unspent() {
        for verdict in [
            Verdict::NotPresented { detail: String::new(), retry_after: None },
            Verdict::Throttled { retry_after: None },
            Verdict::AppRefused(ErrorCode(-14004)),
        ] {
            let conclusion = concluded(&verdict, Successor::Missing);
            assert!(matches!(conclusion.standing, Some(Standing::Retrying(_))), "{verdict:?}");
            assert!(conclusion.proof.is_some(), "{verdict:?}");
        }
    }

    #[test]
    fn a_dead_token_latches() {
        let conclusion = concluded(&Verdict::Dead(ErrorCode(-14014)), Successor::Missing);
        let latched = Standing::ReauthorizationRequired(Reason::RefreshTokenRejected);
        assert_eq!((conclusion.standing, conclusion.proof), (Some(latched), None));
    }

    #[test]
    fn the_fifth_undocumented_error_in_a_row_is_the_last() {
        let (timing, now) = (Timing::default(), Time::from_millis(0));
        let code = ErrorCode(-14020);
        for tries in 1..5 {
            let standing = after_proof(Some(code), tries, tries, &timing, now, Roll(0.0));
            let Standing::Retrying(retrying) = standing else { panic!("{standing:?} after {tries}") };
            assert!(retrying.retry_at.since(now) >= timing.retry_max / 2);
        }
        let last = after_proof(Some(code), 5, 5, &timing, now, Roll(0.0));
        assert_eq!(last, Standing::ReauthorizationRequired(Reason::Error(code)));
    }
}
