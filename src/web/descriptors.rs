//! File descriptors: each connection takes one, and the refreshes need theirs. Under systemd a process may have 1,024 unless
//! it asks for more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is left for everything else: requests to Zalo, the store, the log, hooks.
const FOR_OTHERS: u64 = 512;

/// So many of the wanted connections can be had without taking anything away from a refresh.
pub(super) fn affordable(wanted: u32) -> u32 {
    let limit = getrlimit(Resource::Nofile);
    let raised = raised(limit, u64::from(wanted) + FOR_OTHERS);
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised,
        Err(error) => {
            tracing::debug!(%error, "the limit of open files cannot be raised");
            limit
        }
    };
    let affordable = now.current.map_or(wanted, |most| within(most, wanted));
    if affordable < wanted {
        tracing::warn!(
            wanted,
            affordable,
            "fewer connections than max_connections; raise the limit of open files (LimitNOFILE=)"
        );
    }
    affordable
}

/// With as many as are needed, or as the system allows, and never fewer than before.
fn raised(limit: Rlimit, needed: u64) -> Rlimit {
    let allowed = limit.maximum.map_or(needed, |most| most.min(needed));
    Rlimit { current: limit.current.map(|now| now.max(allowed)), maximum: limit.maximum }
}

fn within(most: u64, wanted: u32) -> u32 {
    // Where even that is scarce, each side has half.
    let for_connections = most.saturating_sub(FOR_OTHERS).max(most / 2).max(2);
    wanted.min(u32::try_from(for_connections).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(current: Option<u64>, maximum: Option<u64>) -> Rlimit {
        Rlimit { current, maximum }
    }

    #[test]
    fn the_limit_is_raised_as_far_as_is_needed_and_allowed_and_never_lowered() {
        let now = |before, needed| raised(before, needed).current;
        assert_eq!(now(limit(Some(1_024), Some(524_288)), 2_560), Some(2_560));
        assert_eq!(now(limit(Some(1_024), Some(2_000)), 2_560), Some(2_000));
        assert_eq!(now(limit(Some(20_000), Some(20_000)), 2_560), Some(20_000));
        assert_eq!(now(limit(Some(1_024), None), 2_560), Some(2_560));
        assert_eq!(now(limit(None, None), 2_560), None);
    }

    #[test]
    fn connections_leave_to_the_refreshes_what_those_need() {
        assert_eq!([within(2_560, 2_048), within(1_024, 2_048), within(256, 2_048)], [2_048, 512, 128]);
        assert_eq!(within(1_000_000, 2_048), 2_048);
    }
}
