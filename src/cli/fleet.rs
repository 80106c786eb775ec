//! What several commands show of the OAs.

use super::table::{Table, Tone};
use crate::clock::{Time, spoken};
use crate::store::{OaStatus, State};

/// `in 3h 05m`, `5m 10s ago` or `-`.
pub(super) fn relative(at: Option<Time>, now: Time) -> String {
    match at {
        None => "-".to_owned(),
        Some(at) if at >= now => format!("in {}", spoken(at.since(now))),
        Some(at) => format!("{} ago", spoken(now.since(at))),
    }
}

fn left(at: Option<Time>, now: Time) -> String {
    match at {
        None => "-".to_owned(),
        Some(at) if at > now => spoken(at.since(now)),
        Some(at) => format!("ended {} ago", spoken(now.since(at))),
    }
}

pub(super) fn tone(state: State) -> Tone {
    match state {
        State::Scheduled | State::Presenting => Tone::Good,
        State::AwaitingGrant | State::Unmanaged => Tone::Plain,
        State::Retrying | State::Uncertain => Tone::Warning,
        State::ReauthorizationRequired | State::Blocked => Tone::Bad,
    }
}

/// The OAs as a table that a person reads at a glance.
pub(super) fn table(oas: &[OaStatus], now: Time) -> String {
    let mut table =
        Table::new(&["OA", "NAME", "STATE", "ACCESS TOKEN", "NEXT REFRESH", "REFRESH TOKEN", "LAST ERROR"]);
    for oa in oas {
        let state = match &oa.reason {
            Some(reason) => format!("{} ({reason})", oa.state.word()),
            None => oa.state.word().to_owned(),
        };
        table.row([
            (oa.oa_id.to_string(), Tone::Plain),
            (oa.name.clone().unwrap_or_else(|| "-".to_owned()), Tone::Plain),
            (state, tone(oa.state)),
            (
                left(oa.access_token_expires_at, now),
                if oa.access_token_valid || oa.generation == 0 { Tone::Plain } else { Tone::Bad },
            ),
            (relative(oa.next_refresh_at, now), Tone::Plain),
            (left(oa.refresh_token_expires_at, now), Tone::Plain),
            (oa.last_error.clone().unwrap_or_else(|| "-".to_owned()), Tone::Plain),
        ]);
    }
    table.render()
}
