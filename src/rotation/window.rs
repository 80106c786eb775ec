//! The window and the brake: how many requests of one app may be under way, so that a broken endpoint costs few tokens.
//!
//! **Needs.** Every request risks the OA that it is made for: a gateway that lets requests through and answers
//! nonsense spends a token with each. **The design.** An app's window says how many of its requests may be under way
//! at once. It opens at two and doubles with each success. After an outcome that nobody knows it is one, and nothing
//! is admitted beside what is still under way; the second such outcome in a row, over any of the app's OAs, brakes the
//! app: one request at a time, each after a wait that grows, until one succeeds. While the questions about its
//! attempts find them *spent*, not even that: the next trial waits until the OA nearest to its end has a quarter of
//! its lead left. **After a pause** the window opens at two again, as a congestion window does (RFC 5681, 4.1): what
//! was learnt from successes is old. **A restart** changes nothing: all of this is kept, and an attempt that a crash
//! left open counts as an outcome that nobody knows.

use std::time::Duration;

use super::backoff::{Roll, doubled};
use super::{AppNews, Timing};
use crate::clock::{CLOCK_TOLERANCE, Time};

/// How many requests of an app may be under way before anything is known of its endpoint: what a broken one costs.
const FIRST_SIZE: u32 = 2;
/// So many unknown outcomes in a row brake the app.
const STRIKES: u32 = 2;
/// After so long without a verdict what was learnt from successes is old.
const PAUSE: Duration = Duration::from_secs(60);

/// What is known of an app's endpoint, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// How many requests may be under way at once.
    pub size: u32,
    /// How many verdicts in a row left the outcome unknown or refused the app.
    pub strikes: u32,
    /// When a verdict last said something.
    pub moved_at: Option<Time>,
    /// One request at a time, with waits, while this is there.
    pub brake: Option<Brake>,
}

/// Why and until when an app is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brake {
    /// Since when.
    pub since: Time,
    /// How many trials have failed.
    pub failed_trials: u32,
    /// The next trial comes no sooner than this …
    pub wait_until: Time,
    /// … nor, while attempts turn out to have been spent, than this.
    pub hold_until: Option<Time>,
    /// When that was decided.
    pub decided_at: Time,
}

impl Brake {
    /// When the next request may go.
    pub fn trial_at(&self) -> Time {
        self.hold_until.map_or(self.wait_until, |hold_until| hold_until.max(self.wait_until))
    }

    /// Is an attempt that began then a trial? What was under way already when the brake was put on is none.
    fn is_trial(&self, began_at: Time, now: Time) -> bool {
        began_at > self.since || self.since > now
    }

    /// May one go now? A decision of the future was made by a clock that has been set back since.
    pub fn is_trial_due(&self, now: Time) -> bool {
        self.trial_at() <= now || self.decided_at > now.plus(CLOCK_TOLERANCE)
    }
}

impl Default for Window {
    fn default() -> Window {
        Window { size: FIRST_SIZE, strikes: 0, moved_at: None, brake: None }
    }
}

/// What a verdict changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// Nothing that is to be told.
    None,
    /// The app is braked from now on.
    Braked {
        /// When the first trial may go.
        trial_at: Time,
    },
    /// The brake is off.
    Released,
}

impl Window {
    /// How many more requests may be begun beside those under way. `most` is the config's limit over all apps.
    pub fn room(&self, under_way: u32, most: u32, now: Time) -> u32 {
        if let Some(brake) = &self.brake {
            return u32::from(under_way == 0 && brake.is_trial_due(now));
        }
        self.size_now(now).clamp(1, most.max(1)).saturating_sub(under_way)
    }

    /// What was learnt before a pause is old, also when requests have been under way since without a verdict.
    fn size_now(&self, now: Time) -> u32 {
        let is_old = self.moved_at.is_none_or(|at| at > now || now.since(at) > PAUSE);
        if is_old { self.size.min(FIRST_SIZE) } else { self.size }
    }

    /// Takes in what a verdict says. `began_at` is when its attempt began.
    pub fn hear(&mut self, news: AppNews, began_at: Time, timing: &Timing, now: Time, roll: Roll) -> Shift {
        // A trial that did not succeed, whatever it brought, is followed by a wait.
        if let Some(brake) = self.brake.as_mut().filter(|brake| brake.is_trial(began_at, now)) {
            brake.failed_trials = brake.failed_trials.saturating_add(u32::from(news == AppNews::Lost));
            brake.wait_until = now.plus(trial_wait(timing, brake.failed_trials, roll));
            brake.decided_at = now;
        }
        let shift = match news {
            AppNews::Silent => return Shift::None,
            AppNews::Answered => {
                self.strikes = if self.brake.is_some() { self.strikes } else { 0 };
                Shift::None
            }
            AppNews::Granted => {
                self.strikes = 0;
                match self.brake.take() {
                    Some(_) => {
                        self.size = FIRST_SIZE;
                        Shift::Released
                    }
                    None => {
                        self.size =
                            self.size_now(now).saturating_mul(2).clamp(1, timing.max_in_flight.max(1));
                        Shift::None
                    }
                }
            }
            AppNews::Lost => self.strike(timing, now, roll),
            // It is blocked by that, which holds it back more than a brake.
            AppNews::Refused => {
                self.strikes = self.strikes.saturating_add(1);
                self.size = 1;
                Shift::None
            }
        };
        self.moved_at = Some(now);
        shift
    }

    fn strike(&mut self, timing: &Timing, now: Time, roll: Roll) -> Shift {
        self.strikes = self.strikes.saturating_add(1);
        self.size = 1;
        if self.strikes < STRIKES || self.brake.is_some() {
            return Shift::None;
        }
        let trial_at = now.plus(trial_wait(timing, 0, roll));
        self.brake = Some(Brake {
            since: now,
            failed_trials: 0,
            wait_until: trial_at,
            hold_until: None,
            decided_at: now,
        });
        Shift::Braked { trial_at }
    }

    /// Zalo was asked about an attempt of this app, and it was spent: a further trial is put off to `last_call`. Or
    /// it was not spent (`None`): the usual wait is enough.
    pub fn hold(&mut self, last_call: Option<Time>, now: Time) {
        if let Some(brake) = &mut self.brake {
            // Decided by a clock that has been set back since: the wait would be as long as it was ahead.
            if brake.decided_at > now.plus(CLOCK_TOLERANCE) {
                brake.wait_until = now;
            }
            brake.hold_until = last_call;
            brake.decided_at = now;
        }
    }

    /// The questions about attempts of this braked app begin anew, as after a restart: the next trial leaves them the
    /// time that the first of them takes.
    pub fn leave_time_to_ask(&mut self, timing: &Timing, now: Time) {
        if let Some(brake) = &mut self.brake {
            brake.wait_until = brake.wait_until.max(now.plus(time_to_ask(timing)));
        }
    }

    /// Do attempts of this braked app turn out to have been spent?
    pub fn is_spending(&self) -> bool {
        self.brake.as_ref().is_some_and(|brake| brake.hold_until.is_some())
    }
}

/// Uniform in the upper half of `retry_first`·2ⁿ, at most `retry_max`; and long enough for the first question about the
/// attempt before, so that a trial is not begun while it is about to turn out that the last one was spent.
fn trial_wait(timing: &Timing, failed_trials: u32, roll: Roll) -> Duration {
    let full = doubled(timing.retry_first, failed_trials, timing.retry_max);
    full.mul_f64(0.5 + roll.0 / 2.0).max(time_to_ask(timing))
}

/// The first question comes `settle` after the attempt; its answer takes some time as well.
fn time_to_ask(timing: &Timing) -> Duration {
    timing.settle.saturating_mul(3) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: u32 = 8;

    fn at(seconds: u64) -> Time {
        Time::from_millis(1_800_000_000_000).plus(Duration::from_secs(seconds))
    }

    fn hear(window: &mut Window, news: AppNews, now: Time) -> Shift {
        window.hear(news, now, &Timing::default(), now, Roll(0.5))
    }

    fn braked() -> Window {
        let mut window = Window::default();
        assert_eq!(hear(&mut window, AppNews::Lost, at(0)), Shift::None);
        assert!(matches!(hear(&mut window, AppNews::Lost, at(1)), Shift::Braked { .. }));
        window
    }

    #[test]
    fn it_opens_at_two_and_doubles_with_each_success_up_to_the_limit() {
        let mut window = Window::default();
        let mut rooms = vec![window.room(0, MOST, at(0))];
        for second in 0..4 {
            hear(&mut window, AppNews::Granted, at(second));
            rooms.push(window.room(0, MOST, at(second)));
        }
        assert_eq!(rooms, [2, 4, 8, 8, 8]);
        assert_eq!(window.room(7, MOST, at(4)), 1);
        assert_eq!(window.room(9, MOST, at(4)), 0);
        assert_eq!(window.room(0, 3, at(4)), 3, "a lower limit counts at once");
    }

    #[test]
    fn after_a_pause_it_opens_at_two_again() {
        let mut window = Window { size: 8, moved_at: Some(at(0)), ..Window::default() };
        assert_eq!(window.room(0, MOST, at(60)), 8);
        assert_eq!(window.room(0, MOST, at(61)), 2);
        assert_eq!(window.room(2, MOST, at(61)), 0, "also while those are under way that went first");
        hear(&mut window, AppNews::Granted, at(62));
        assert_eq!(window.room(0, MOST, at(62)), 4, "and it grows from there");
        assert_eq!(window.room(0, MOST, at(0)), 2, "a clock that was set back");
    }

    #[test]
    fn after_one_lost_outcome_nothing_is_admitted_beside_what_is_under_way_and_then_one() {
        let mut window = Window { size: 8, ..Window::default() };
        hear(&mut window, AppNews::Lost, at(0));
        assert_eq!(window.room(1, MOST, at(0)), 0);
        assert_eq!(window.room(0, MOST, at(0)), 1);
        hear(&mut window, AppNews::Granted, at(1));
        assert_eq!(window.room(0, MOST, at(1)), 2);
    }

    #[test]
    fn an_answer_in_between_breaks_the_row_and_silence_does_not() {
        let mut window = Window::default();
        hear(&mut window, AppNews::Lost, at(0));
        hear(&mut window, AppNews::Answered, at(1));
        assert_eq!(hear(&mut window, AppNews::Lost, at(2)), Shift::None);
        hear(&mut window, AppNews::Silent, at(3));
        assert!(matches!(hear(&mut window, AppNews::Lost, at(4)), Shift::Braked { .. }));
    }

    #[test]
    fn a_refusal_counts_as_a_strike_and_leaves_the_holding_back_to_the_block() {
        let mut window = Window::default();
        hear(&mut window, AppNews::Refused, at(0));
        hear(&mut window, AppNews::Refused, at(1));
        assert_eq!(window.brake, None);
        assert!(matches!(hear(&mut window, AppNews::Lost, at(2)), Shift::Braked { .. }));
    }

    #[test]
    fn a_braked_app_tries_one_after_each_wait_until_one_succeeds() {
        let mut window = braked();
        let trial_at = window.brake.as_ref().expect("braked").trial_at();
        assert_eq!(window.room(0, MOST, trial_at.minus(Duration::from_millis(1))), 0);
        assert_eq!((window.room(0, MOST, trial_at), window.room(1, MOST, trial_at)), (1, 0));
        assert_eq!(hear(&mut window, AppNews::Lost, trial_at), Shift::None, "it is said once");
        assert_eq!(window.room(0, MOST, trial_at), 0);
        for news in [AppNews::Answered, AppNews::Silent, AppNews::Refused] {
            let trial_at = window.brake.as_ref().expect("only a success releases").trial_at();
            hear(&mut window, news, trial_at);
            assert_eq!(window.room(0, MOST, trial_at), 0, "{news:?} is followed by a wait as well");
        }
        assert_eq!(hear(&mut window, AppNews::Granted, at(999)), Shift::Released);
        assert_eq!(window.room(0, MOST, at(999)), 2);
    }

    #[test]
    fn the_wait_grows_with_each_trial_that_is_lost_and_not_with_one_that_is_answered() {
        let mut window = braked();
        let mut wait_after = |news| {
            let trial_at = window.brake.as_ref().expect("braked").trial_at();
            hear(&mut window, news, trial_at);
            window.brake.as_ref().expect("braked").trial_at().since(trial_at)
        };
        let answered = [AppNews::Answered; 9].map(&mut wait_after);
        assert_eq!(answered, [time_to_ask(&Timing::default()); 9]);
        let lost = [AppNews::Lost; 9].map(&mut wait_after);
        assert!(lost[0] < lost[5] && lost[5] < lost[8], "{lost:?}");
        assert_eq!(wait_after(AppNews::Answered), lost[8], "nor is it shortened by one");
    }

    #[test]
    fn what_was_under_way_when_the_brake_was_put_on_is_no_trial() {
        let mut window = braked();
        let before = window.brake.clone();
        for now in [at(1), at(2)] {
            window.hear(AppNews::Lost, at(1), &Timing::default(), now, Roll(0.5));
            assert_eq!(window.brake, before, "also in the millisecond in which it was");
        }
    }

    #[test]
    fn a_trial_that_seems_to_have_begun_before_the_brake_by_a_clock_that_was_set_back_is_one() {
        let mut window = braked();
        let back = at(0).minus(Duration::from_secs(3_600));
        assert_eq!(window.room(0, MOST, back), 1);
        hear(&mut window, AppNews::Lost, back);
        assert_eq!(window.room(0, MOST, back), 0, "it is followed by a wait");
        assert_eq!(window.brake.expect("still braked").failed_trials, 1);
    }

    #[test]
    fn while_attempts_turn_out_spent_the_next_trial_is_put_off() {
        let mut window = braked();
        window.hold(Some(at(5_000)), at(60));
        assert!(window.is_spending() && !braked().is_spending());
        assert_eq!((window.room(0, MOST, at(4_999)), window.room(0, MOST, at(5_000))), (0, 1));
        window.hold(None, at(70));
        assert_eq!(window.room(0, MOST, at(4_000)), 1);
        assert!(!window.is_spending());
    }

    #[test]
    fn what_is_learnt_of_an_attempt_shortens_no_wait() {
        let mut window = braked();
        let trial_at = window.brake.as_ref().expect("braked").trial_at();
        window.hold(None, at(60));
        assert_eq!(window.brake.as_ref().expect("braked").trial_at(), trial_at);
        // As a clock says that was set back by no more than clocks may differ.
        let back = at(60).minus(CLOCK_TOLERANCE);
        assert_eq!(window.room(0, MOST, back), 0);
        window.hold(None, back);
        assert_eq!(window.brake.as_ref().expect("braked").trial_at(), trial_at);
    }

    #[test]
    fn where_the_questions_begin_anew_the_next_trial_leaves_them_their_time_and_comes_no_sooner_than_before()
    {
        let timing = Timing::default();
        let mut window = braked();
        let trial_at = |window: &Window| window.brake.as_ref().expect("braked").trial_at();
        let before = trial_at(&window);
        window.leave_time_to_ask(&timing, at(0).minus(timing.settle));
        assert_eq!(trial_at(&window), before);
        window.leave_time_to_ask(&timing, before);
        assert_eq!(trial_at(&window), before.plus(timing.settle * 3 / 2));
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_hold_the_brake_for_years() {
        let mut window = braked();
        let back = at(0).minus(Duration::from_secs(61));
        assert_eq!(window.room(0, MOST, back), 1);
        window.hold(None, back);
        assert_eq!(window.room(0, MOST, back), 1, "also after something else was decided");
    }

    proptest! {
        #[test]
        fn a_wait_is_in_the_upper_half_of_its_step_and_leaves_room_for_a_question(
            failed in 0u32..100, roll in 0.0..1.0f64, settle in 1u64..600,
        ) {
            let timing = Timing { settle: Duration::from_secs(settle), ..Timing::default() };
            let full = doubled(timing.retry_first, failed, timing.retry_max);
            let floor = timing.settle * 3 / 2;
            let wait = trial_wait(&timing, failed, Roll(roll));
            prop_assert!(wait >= full / 2 && wait >= floor && wait <= full.max(floor));
        }
    }
}
