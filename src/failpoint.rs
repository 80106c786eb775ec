//! Points at which a test ends the program, or has a part of it panic.
//!
//! They are compiled in by the feature `failpoints` alone, which the tests of this package turn on for themselves, and into
//! builds with debug assertions alone: also the benches turn the feature on, and leave a release build where a person may
//! install it from. With `ZALO_TOKEND_FAILPOINT=gate.opened=kill@1` in the environment the program kills itself, as
//! `kill -9` does, at its first passage of that point; `panic` panics there, `hang` goes no further, as on a disk that never
//! answers, and `1+` does so from the first one on. Lines of our own and not the crate `fail`: that one has no action that kills, and would be a dependency of the program and not
//! only of its tests. Imports nothing of ours.

/// The program passes this point.
#[cfg(not(all(feature = "failpoints", debug_assertions)))]
#[inline]
pub const fn pass(_point: &str) {}

#[cfg(all(feature = "failpoints", debug_assertions))]
pub use armed::pass;

#[cfg(all(feature = "failpoints", debug_assertions))]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Where the environment says what happens at which point.
    const VARIABLE: &str = "ZALO_TOKEND_FAILPOINT";

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        Some(
            parse(&std::env::var(VARIABLE).ok()?)
                .expect("POINT=kill@N, POINT=panic@N, POINT=hang@N or POINT=panic@N+"),
        )
    });

    #[derive(Debug)]
    struct Armed {
        point: String,
        action: Action,
        /// The passage at which it happens, counted from 1.
        at: u64,
        /// At every later one as well.
        goes_on: bool,
        passed: AtomicU64,
    }

    #[derive(Debug, PartialEq, Eq)]
    enum Action {
        Kill,
        Panic,
        Hang,
    }

    fn parse(text: &str) -> Option<Armed> {
        let (point, rest) = text.split_once('=')?;
        let (action, at) = rest.split_once('@')?;
        let action = match action {
            "kill" => Action::Kill,
            "panic" => Action::Panic,
            "hang" => Action::Hang,
            _ => return None,
        };
        let (at, goes_on) = at.strip_suffix('+').map_or((at, false), |at| (at, true));
        Some(Armed {
            point: point.to_owned(),
            action,
            at: at.parse().ok()?,
            goes_on,
            passed: AtomicU64::new(0),
        })
    }

    /// The program passes this point.
    ///
    /// # Panics
    /// When the environment says so.
    #[track_caller]
    pub fn pass(point: &str) {
        let Some(armed) = ARMED.as_ref().filter(|armed| armed.point == point) else { return };
        let passage = armed.passed.fetch_add(1, Ordering::SeqCst) + 1;
        if passage < armed.at || passage > armed.at && !armed.goes_on {
            return;
        }
        match armed.action {
            Action::Kill => kill(),
            #[expect(clippy::panic, reason = "a test wants to see what a panic costs here")]
            Action::Panic => panic!("at a failpoint"),
            Action::Hang => stand_still(),
        }
    }

    fn kill() -> ! {
        use rustix::process::{Signal, getpid, kill_process};
        kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
        stand_still()
    }

    fn stand_still() -> ! {
        loop {
            std::thread::park();
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn what_happens_where_and_when_is_read() {
            let armed = parse("gate.opened=kill@3").expect("well formed");
            assert_eq!((armed.point.as_str(), armed.action, armed.at), ("gate.opened", Action::Kill, 3));
            assert!(!armed.goes_on);
            let armed = parse("a=panic@1+").expect("well formed");
            assert!(armed.action == Action::Panic && armed.at == 1 && armed.goes_on);
            assert_eq!(parse("a=hang@1").expect("well formed").action, Action::Hang);
            for odd in ["", "a", "a=kill", "a=kill@", "a=kill@x", "a=sleep@1"] {
                assert!(parse(odd).is_none(), "{odd}");
            }
        }
    }
}
