//! The ladder of reminders before a refresh token ends: each step is said once.

use std::time::Duration;

use crate::clock::Time;

/// A step of the ladder that is to be said now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reminder {
    /// The step: this much or less is left.
    pub step: Duration,
    /// What is really left.
    pub remaining: Duration,
    /// There is no later step.
    pub is_last: bool,
}

/// The step to say now, or `None`. Of several steps reached at once only the nearest is said. `said` is the step
/// that was said last for this set.
pub fn reminder(ladder: &[Duration], ends_at: Time, said: Option<Duration>, now: Time) -> Option<Reminder> {
    let remaining = ends_at.since(now);
    let step = ladder.iter().copied().filter(|step| remaining <= *step).min()?;
    let is_news = said.is_none_or(|said| step < said);
    let is_last = ladder.iter().all(|other| *other >= step);
    is_news.then_some(Reminder { step, remaining, is_last })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn each_step_is_said_once_and_the_last_is_marked() {
        let ladder = [30 * DAY, 14 * DAY, 7 * DAY, 3 * DAY, DAY];
        let end = Time::from_millis(0).plus(90 * DAY);
        let (mut said, mut steps) = (None, Vec::new());
        for hour in 0..95 * 24 {
            let now = Time::from_millis(0).plus(DAY / 24 * hour);
            if let Some(reminder) = reminder(&ladder, end, said, now) {
                said = Some(reminder.step);
                steps.push((reminder.step.as_secs() / 86_400, reminder.is_last));
            }
        }
        assert_eq!(steps, [(30, false), (14, false), (7, false), (3, false), (1, true)]);
    }

    #[test]
    fn of_steps_reached_together_the_nearest_is_said() {
        let ladder = [30 * DAY, 7 * DAY, DAY];
        let said = reminder(&ladder, Time::from_millis(0).plus(2 * DAY), None, Time::from_millis(0));
        assert_eq!(said.map(|r| r.step), Some(7 * DAY));
        assert_eq!(reminder(&[], Time::from_millis(0), None, Time::from_millis(0)), None);
    }
}
