//! Calling a person: with the link where consent is given, and once more where many are called at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::{Keeper, events, lock};
use crate::clock::Uptime;
use crate::id::{AppId, OaId};
use crate::rotation::Reason;

/// So many OAs of one app …
const MANY: usize = 3;
/// … within so long are not several misfortunes but one.
const AT_ONCE: Duration = Duration::from_secs(60);

/// For which OAs of an app people were called of late.
#[derive(Default)]
pub(super) struct Calls(BTreeMap<AppId, OfApp>);

#[derive(Default)]
struct OfApp {
    calls: VecDeque<(Uptime, OaId, Reason)>,
    /// It was said that they are many; until there are none any more.
    is_said: bool,
}

/// Many OAs of one app need a person at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mass {
    /// How many, so far.
    pub(super) oas: usize,
    /// What is the likely cause.
    pub(super) cause: &'static str,
}

impl Calls {
    /// Notes a call. Says whether with this one they are many.
    fn note(&mut self, app_id: &AppId, oa_id: &OaId, reason: Reason, now: Uptime) -> Option<Mass> {
        self.0.retain(|_, of_app| {
            of_app.calls.retain(|(at, ..)| now.since(*at) < AT_ONCE);
            !of_app.calls.is_empty()
        });
        let of_app = self.0.entry(app_id.clone()).or_default();
        of_app.calls.push_back((now, oa_id.clone(), reason));
        let oas: BTreeSet<&OaId> = of_app.calls.iter().map(|(_, oa_id, _)| oa_id).collect();
        if oas.len() < MANY || of_app.is_said {
            return None;
        }
        of_app.is_said = true;
        let cause = likely_cause(of_app.calls.iter().map(|(.., reason)| *reason));
        Some(Mass { oas: oas.len(), cause })
    }
}

/// What has happened, if all of these have one cause.
fn likely_cause(reasons: impl Iterator<Item = Reason>) -> &'static str {
    let words: BTreeSet<&'static str> = reasons.map(cause_of).collect();
    let mut words = words.into_iter();
    match (words.next(), words.next()) {
        (Some(only), None) => only,
        _ => {
            "the reasons differ: look at the app in Zalo's console, and whether another program uses the same tokens"
        }
    }
}

fn cause_of(reason: Reason) -> &'static str {
    match reason {
        Reason::RefreshTokenRejected => {
            "Zalo refuses the refresh tokens: the app was disabled or its permissions were withdrawn, or another program \
             refreshes the same OAs"
        }
        Reason::ResponseLost => {
            "refresh tokens were spent and the answers lost: the way to Zalo breaks, or another program refreshes the same OAs"
        }
        Reason::RefreshTokenMissing | Reason::RefreshTokenRepeated => {
            "Zalo's answers bring no new refresh tokens: its token endpoint has changed or is at fault"
        }
        Reason::Error(_) => {
            "Zalo keeps answering with an error that is not documented: look at the app in Zalo's console"
        }
        Reason::Unprovable
        | Reason::AppRefused
        | Reason::AppBraked
        | Reason::AppChanged
        | Reason::RowUnreadable
        | Reason::ConsentDue
        | Reason::Disconnected
        | Reason::VendorMisconfigured
        | Reason::VendorRefused => "look at the app in Zalo's console, and at the disk of the store",
    }
}

impl Keeper {
    /// A person has to grant consent again: says so, and where.
    pub(super) fn call_person(&self, oa_id: &OaId, reason: Reason) {
        let url = self.consent_link(oa_id);
        events::reauthorization_required(oa_id, reason, url.as_deref());
        let Some(app_id) = self.managed(oa_id).map(|managed| managed.app_id) else { return };
        let now = self.clock.read().uptime;
        let mass = lock(&self.calls).note(&app_id, oa_id, reason, now);
        if let Some(Mass { oas, cause }) = mass {
            events::mass_reauthorization(&app_id, oas, cause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        calls: Calls,
        now: u64,
    }

    impl Bench {
        fn call(&mut self, app: &str, oa: &str, reason: Reason) -> Option<Mass> {
            let now = Uptime(Duration::from_secs(self.now));
            self.calls.note(&AppId::from(app), &OaId::from(oa), reason, now)
        }
    }

    const DEAD: Reason = Reason::RefreshTokenRejected;

    #[test]
    fn three_oas_of_an_app_within_a_minute_are_said_once_with_the_likely_cause() {
        let mut bench = Bench { calls: Calls::default(), now: 0 };
        assert_eq!(bench.call("a", "1", DEAD), None);
        assert_eq!(bench.call("a", "1", DEAD), None, "the same OA is one");
        assert_eq!(bench.call("b", "2", DEAD), None, "another app is another matter");
        bench.now = 59;
        assert_eq!(bench.call("a", "3", DEAD), None);
        let mass = bench.call("a", "4", DEAD).expect("three");
        assert!(mass.oas == 3 && mass.cause.contains("another program"), "{mass:?}");
        assert_eq!(bench.call("a", "5", DEAD), None, "said already");
        bench.now = 100;
        assert_eq!(bench.call("a", "6", DEAD), None, "it goes on");
        bench.now = 161;
        assert_eq!(bench.call("a", "7", DEAD), None);
        assert_eq!(bench.call("a", "8", Reason::ResponseLost), None);
        let mass = bench.call("a", "9", DEAD).expect("once more, after a quiet minute");
        assert!(mass.cause.contains("differ"), "{mass:?}");
    }

    #[test]
    fn calls_that_come_one_after_another_are_not_many() {
        let mut bench = Bench { calls: Calls::default(), now: 0 };
        for oa in 0..50 {
            assert_eq!(bench.call("a", &oa.to_string(), DEAD), None);
            bench.now += 31;
        }
        assert!(bench.calls.0.len() == 1 && bench.calls.0.values().all(|of_app| of_app.calls.len() <= 2));
    }
}
