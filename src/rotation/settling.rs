//! Was it spent? What the old access token's fate says about a refresh token of unknown fate.
//!
//! **Needs.** After an attempt without verdict somebody must find out whether Zalo spent the refresh token,
//! without presenting it. **The lever.** Zalo kills the old access token the moment it makes a new one: as long as
//! the old one is accepted, no successor was made. **The races.** A request may wait in a queue and be worked on
//! after the client gave up, so one acceptance is too early a proof: two are needed, `settle` apart. **The
//! premise** that the old token dies at once is itself measured for each app ([`Premise`]): where it was seen to
//! outlive its successor, acceptance proves nothing; where that was not measured yet, acceptance is believed once
//! a generation, and again only as long as every attempt of that generation was answered with an error code. So one
//! lost answer costs at most one mistaken presentation, also where the premise is wrong. **Refusal** proves the
//! opposite only while the token should live and only where the two clocks agree that it should.

use std::time::Duration;

use super::Timing;
use super::backoff::doubled;
use crate::clock::{Moment, Reading, Time};
use crate::oauth::ErrorCode;

/// Does this app's old access token die when its successor is made?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Premise {
    /// Nobody has looked yet.
    #[default]
    Unmeasured,
    /// It was seen dead after a success.
    OldTokenDies,
    /// It was seen alive after a success.
    OldTokenOutlives,
}

/// What Zalo said about the old access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Testimony {
    /// It is alive and this OA's.
    Accepted,
    /// It is dead.
    Refused(ErrorCode),
    /// No clear answer, in words.
    Unclear(String),
}

/// The questions asked so far about one attempt. Kept in memory: after a restart the count begins anew, because
/// the time between two questions is measured on a clock that the restart may have stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settling {
    /// How often the old token was accepted.
    pub accepted: u32,
    /// How often no clear answer came, in a row.
    pub unclear: u32,
    /// How long it was waited between them.
    pub waited: Duration,
}

/// Everything that decides.
#[derive(Debug)]
pub struct Evidence {
    /// What Zalo said just now.
    pub testimony: Testimony,
    /// The questions before.
    pub settling: Settling,
    /// What is known of this app's old tokens.
    pub premise: Premise,
    /// Acceptance was believed once already in this generation, and this attempt or an earlier one brought no error
    /// code.
    pub was_believed_before: bool,
    /// How long the old access token lives from when it was obtained.
    pub life: Duration,
    /// What is left of that; zero if it should be dead anyway.
    pub remaining: Duration,
    /// The wall clock and the clock that nobody sets agree about the time since the set was obtained.
    pub clocks_agree: bool,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask again after a while.
    AskAgain {
        /// How long to wait.
        after: Duration,
        /// What is to be remembered.
        settling: Settling,
    },
    /// The refresh token is unspent.
    Unspent,
    /// It was spent, and the answer is lost.
    Spent,
    /// Nothing can prove it any more.
    Unprovable,
}

/// What it says about an app's old tokens that one of them is asked about `since` its successor was asked for. A refusal
/// says that they die only of one that was to live, and that was asked about no later than the second acceptance of an
/// uncertain attempt is believed: else one that lives for some minutes more would pass for one that dies at once.
pub fn measure(
    testimony: &Testimony,
    was_to_live: bool,
    since: Option<Duration>,
    settle: Duration,
) -> Option<Premise> {
    // Where `settle` is a second or less, a busy machine takes longer than twice that.
    let latest = (2 * settle).max(settle + Duration::from_secs(3));
    match testimony {
        Testimony::Accepted => Some(Premise::OldTokenOutlives),
        Testimony::Refused(_) if was_to_live && since.is_some_and(|since| since <= latest) => {
            Some(Premise::OldTokenDies)
        }
        Testimony::Refused(_) | Testimony::Unclear(_) => None,
    }
}

/// How long an access token that was obtained then, and ends at `end`, lives.
pub fn whole_life(end: Option<Time>, obtained: &Moment) -> Duration {
    end.map_or(Duration::ZERO, |end| end.since(obtained.time))
}

/// For how long an access token that was obtained then, and ends at `end`, can be counted on to live: a little less than
/// until its end, because the clocks of two machines differ. How much of its life has passed, the clock that nobody sets
/// knows best.
pub fn remaining_life(end: Option<Time>, obtained: &Moment, now: &Reading) -> Duration {
    let Some(end) = end else { return Duration::ZERO };
    let life = whole_life(Some(end), obtained);
    let margin = (life / 20).min(Duration::from_secs(30));
    match obtained.uptime_since(now) {
        Some(elapsed) => life.saturating_sub(margin).saturating_sub(elapsed),
        None => end.minus(margin).since(now.time),
    }
}

/// Weighs what is known.
pub fn weigh(evidence: &Evidence, timing: &Timing) -> Step {
    let Evidence { testimony, settling, premise, was_believed_before, life, remaining, clocks_agree } =
        evidence;
    let ask_again = |after: Duration, settling: Settling| {
        let waited = settling.waited.saturating_add(after);
        Step::AskAgain { after, settling: Settling { waited, ..settling } }
    };
    match testimony {
        Testimony::Accepted => match premise {
            Premise::OldTokenOutlives => Step::Unprovable,
            Premise::Unmeasured if *was_believed_before => Step::Unprovable,
            Premise::Unmeasured | Premise::OldTokenDies if settling.accepted == 0 => {
                ask_again(timing.settle, Settling { accepted: 1, unclear: 0, ..*settling })
            }
            Premise::Unmeasured | Premise::OldTokenDies => Step::Unspent,
        },
        Testimony::Refused(_) if *clocks_agree && !remaining.is_zero() => Step::Spent,
        Testimony::Refused(_) | Testimony::Unclear(_) if remaining.is_zero() => Step::Unprovable,
        // Whatever the clocks say of when it was obtained, it cannot have lived longer.
        Testimony::Refused(_) | Testimony::Unclear(_) if settling.waited >= *life => Step::Unprovable,
        Testimony::Refused(_) | Testimony::Unclear(_) => {
            let longest = timing.retry_max.min(*remaining / 2).max(timing.settle);
            let after = doubled(timing.settle, settling.unclear, longest);
            ask_again(after, Settling { unclear: settling.unclear.saturating_add(1), ..*settling })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(testimony: Testimony) -> Evidence {
        Evidence {
            testimony,
            settling: Settling::default(),
            premise: Premise::OldTokenDies,
            was_believed_before: false,
            life: Duration::from_secs(90_000),
            remaining: Duration::from_secs(7_200),
            clocks_agree: true,
        }
    }

    fn refused() -> Testimony {
        Testimony::Refused(ErrorCode(-216))
    }

    fn once() -> Settling {
        Settling { accepted: 1, unclear: 0, waited: Timing::default().settle }
    }

    #[test]
    fn two_acceptances_settle_apart_prove_a_token_unspent_and_one_does_not() {
        let timing = Timing::default();
        let first = weigh(&evidence(Testimony::Accepted), &timing);
        assert_eq!(first, Step::AskAgain { after: timing.settle, settling: once() });
        let second = weigh(&Evidence { settling: once(), ..evidence(Testimony::Accepted) }, &timing);
        assert_eq!(second, Step::Unspent);
    }

    #[test]
    fn a_refusal_proves_it_spent_even_after_an_acceptance() {
        let timing = Timing::default();
        assert_eq!(weigh(&evidence(refused()), &timing), Step::Spent);
        assert_eq!(weigh(&Evidence { settling: once(), ..evidence(refused()) }, &timing), Step::Spent);
    }

    #[test]
    fn a_refusal_proves_nothing_where_the_clocks_disagree_or_the_token_has_ended() {
        let timing = Timing::default();
        let disagree = Evidence { clocks_agree: false, ..evidence(refused()) };
        assert!(matches!(weigh(&disagree, &timing), Step::AskAgain { .. }));
        let ended = Evidence { remaining: Duration::ZERO, ..evidence(refused()) };
        assert_eq!(weigh(&ended, &timing), Step::Unprovable);
    }

    #[test]
    fn a_token_of_which_no_clock_says_when_it_ends_is_asked_about_no_longer_than_one_can_live() {
        let timing = Timing::default();
        // Obtained in the future, by a clock that was ahead and has been set right since; no other witness.
        let mut asked = Evidence { clocks_agree: false, remaining: Duration::MAX, ..evidence(refused()) };
        let mut questions = 0;
        while let Step::AskAgain { settling, .. } = weigh(&asked, &timing) {
            asked.settling = settling;
            questions += 1;
        }
        assert_eq!(weigh(&asked, &timing), Step::Unprovable);
        assert!((150..160).contains(&questions), "every ten minutes of 25 hours, and not {questions} times");
    }

    #[test]
    fn a_token_is_counted_on_for_a_little_less_than_its_life_by_the_clock_that_nobody_sets() {
        let at = |seconds: u64| Reading {
            time: Time::from_millis(0).plus(Duration::from_secs(seconds)),
            uptime: crate::clock::Uptime(Duration::from_secs(seconds)),
            boot: "this boot".into(),
        };
        let (obtained, end) = (Moment::at(&at(1_000)), Some(at(91_000).time));
        assert_eq!(whole_life(end, &obtained), Duration::from_secs(90_000));
        assert_eq!(remaining_life(end, &obtained, &at(2_000)), Duration::from_secs(89_000 - 30));
        let jumped = Reading { time: at(80_000).time, ..at(2_000) };
        assert_eq!(remaining_life(end, &obtained, &jumped), Duration::from_secs(89_000 - 30));
        let rebooted = Reading { boot: "another boot".into(), ..at(80_000) };
        assert_eq!(remaining_life(end, &obtained, &rebooted), Duration::from_secs(11_000 - 30));
        assert_eq!(remaining_life(end, &obtained, &at(91_000)), Duration::ZERO);
        assert_eq!(
            (whole_life(None, &obtained), remaining_life(None, &obtained, &at(0))),
            Default::default()
        );
    }

    #[test]
    fn of_a_token_that_lives_ten_seconds_half_a_second_is_not_counted_on() {
        let at = |millis| Reading {
            time: Time::from_millis(millis),
            uptime: crate::clock::Uptime(Duration::from_millis(millis.unsigned_abs())),
            boot: "this boot".into(),
        };
        let (obtained, end) = (Moment::at(&at(0)), Some(at(10_000).time));
        assert_eq!(remaining_life(end, &obtained, &at(2_000)), Duration::from_millis(7_500));
    }

    #[test]
    fn where_old_tokens_outlive_their_successors_acceptance_proves_nothing_and_refusal_still_does() {
        let timing = Timing::default();
        let outlives = |testimony| Evidence { premise: Premise::OldTokenOutlives, ..evidence(testimony) };
        assert_eq!(weigh(&outlives(Testimony::Accepted), &timing), Step::Unprovable);
        assert_eq!(weigh(&outlives(refused()), &timing), Step::Spent);
    }

    #[test]
    fn a_refusal_long_after_the_successor_was_made_says_nothing_of_how_soon_old_tokens_die() {
        let settle = Timing::default().settle;
        let asked = |testimony, minutes: u64| {
            measure(&testimony, true, Some(Duration::from_secs(60 * minutes)), settle)
        };
        assert_eq!(asked(refused(), 2), Some(Premise::OldTokenDies));
        assert_eq!(asked(refused(), 3), None, "its answer waited for the disk, or the machine slept");
        assert_eq!(asked(Testimony::Accepted, 3), Some(Premise::OldTokenOutlives));
        assert_eq!(measure(&refused(), true, None, settle), None, "nobody knows how long ago it was");
        let short = Duration::from_millis(300);
        let soon = measure(&refused(), true, Some(Duration::from_secs(3)), short);
        assert_eq!(soon, Some(Premise::OldTokenDies), "a busy machine has some seconds");
        assert_eq!(measure(&refused(), true, Some(Duration::from_secs(4)), short), None);
        assert_eq!(measure(&refused(), false, Some(settle), settle), None, "it died of age");
    }

    #[test]
    fn an_unmeasured_premise_is_believed_once_a_generation() {
        let timing = Timing::default();
        let unmeasured = |was_believed_before| Evidence {
            premise: Premise::Unmeasured,
            settling: once(),
            was_believed_before,
            ..evidence(Testimony::Accepted)
        };
        assert_eq!(weigh(&unmeasured(false), &timing), Step::Unspent);
        assert_eq!(weigh(&unmeasured(true), &timing), Step::Unprovable);
    }

    #[test]
    fn without_a_clear_answer_it_is_asked_again_ever_more_slowly_while_the_old_token_lives() {
        let timing = Timing::default();
        let (mut settling, mut waits) = (Settling::default(), Vec::new());
        for _ in 0..8 {
            let unclear = Evidence { settling, ..evidence(Testimony::Unclear("down".to_owned())) };
            let Step::AskAgain { after, settling: next } = weigh(&unclear, &timing) else {
                panic!("gave up")
            };
            waits.push(after);
            settling = next;
        }
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!((waits[0], waits[7]), (timing.settle, timing.retry_max));
        let ended = Evidence { remaining: Duration::ZERO, ..evidence(Testimony::Unclear(String::new())) };
        assert_eq!(weigh(&ended, &timing), Step::Unprovable);
    }

    #[test]
    fn no_question_waits_for_more_than_half_of_what_is_left_of_the_old_token() {
        let timing = Timing::default();
        let long_unclear = Settling { unclear: 20, ..Settling::default() };
        let wait = |seconds| {
            let remaining = Duration::from_secs(seconds);
            let unclear = evidence(Testimony::Unclear("down".to_owned()));
            match weigh(&Evidence { settling: long_unclear, remaining, ..unclear }, &timing) {
                Step::AskAgain { after, .. } => after,
                step @ (Step::Unspent | Step::Spent | Step::Unprovable) => panic!("{step:?}"),
            }
        };
        assert_eq!(wait(600), Duration::from_secs(300));
        assert_eq!(wait(60), timing.settle, "but always for as long as a request may be on its way");
    }

    #[test]
    fn a_clear_answer_ends_the_row_of_unclear_ones() {
        let after_five = Settling { unclear: 5, ..Settling::default() };
        let accepted = Evidence { settling: after_five, ..evidence(Testimony::Accepted) };
        let Step::AskAgain { settling, .. } = weigh(&accepted, &Timing::default()) else {
            panic!("one acceptance is too early a proof")
        };
        assert_eq!((settling.accepted, settling.unclear), (1, 0));
    }
}
