//! `resolve`: an operator's decision about an attempt whose outcome nobody knows, or whose answer is said to be lost.

use std::sync::Arc;

use super::super::{Keeper, events};
use super::protocol::{Choice, Reply};
use super::{not_kept, store_failed};
use crate::id::OaId;
use crate::oauth::{Answer, Oddity, read_token_answer};
use crate::rotation::Reason;
use crate::store::{Decision, Resolved};

pub(super) async fn run(keeper: &Arc<Keeper>, oa_id: &OaId, choice: Choice) -> Reply {
    if keeper.managed(oa_id).is_none() {
        return not_kept(keeper, oa_id);
    }
    let (word, decision) = match choice {
        Choice::Present => ("present", Decision::Present),
        Choice::GiveUp => ("give_up", Decision::GiveUp),
        Choice::Adopt(answer) => match read(&answer) {
            Ok(tokens) => ("adopt_answer", tokens),
            Err(what) => return Reply::Failed { text: format!("OA {oa_id}: {what}; nothing was changed") },
        },
    };
    // Nothing asks or presents while it is decided.
    let Some(_hold) = keeper.claims.take(oa_id) else {
        let text = format!("OA {oa_id} is being worked on at this moment; try again in a minute");
        return Reply::NotNow { text };
    };
    let attempt = match keeper.store.undecided(oa_id.clone()).await {
        Ok(Some(attempt)) => attempt,
        Ok(None) => return nothing_to_decide(oa_id),
        Err(error) => return store_failed(&error),
    };
    let (timing, now) = (keeper.timing(), keeper.read_clock());
    let resolving = keeper.store.resolve(oa_id.clone(), attempt, decision, timing, now, keeper.roll());
    let resolved = match resolving.await {
        Ok(resolved) => resolved,
        Err(error) => return store_failed(&error),
    };
    if !matches!(resolved, Resolved::Gone | Resolved::Old) {
        events::oa_resolved(oa_id, attempt, word);
    }
    keeper.wake.notify_one();
    tell(keeper, oa_id, &resolved);
    words(oa_id, resolved)
}

fn tell(keeper: &Keeper, oa_id: &OaId, resolved: &Resolved) {
    let (refresh_at, reason) = match resolved {
        Resolved::Gone | Resolved::Old => (None, None),
        Resolved::Retry { retry_at } => (Some(*retry_at), None),
        Resolved::GivenUp => (None, Some(Reason::ResponseLost)),
        Resolved::Adopted { refresh_at, reason, .. } => (*refresh_at, *reason),
    };
    if let Some(refresh_at) = refresh_at {
        events::refresh_planned(oa_id, refresh_at);
    }
    if let Some(reason) = reason {
        keeper.call_person(oa_id, reason);
    }
}

fn words(oa_id: &OaId, resolved: Resolved) -> Reply {
    match resolved {
        Resolved::Gone => nothing_to_decide(oa_id),
        Resolved::Old => Reply::Failed {
            text: format!(
                "OA {oa_id}: these tokens were in use before, so they are not those of the lost answer; nothing was \
                 changed. To read the kept answer: zalo-tokend history {oa_id} --answer ATTEMPT_ID"
            ),
        },
        Resolved::Retry { .. } => {
            Reply::Done { text: format!("OA {oa_id}: its refresh token is presented once more, now") }
        }
        Resolved::GivenUp => {
            Reply::Done { text: format!("OA {oa_id}: grant consent again: zalo-tokend authorize {oa_id}") }
        }
        Resolved::Adopted { generation, reason, .. } => {
            let but = reason.map_or_else(String::new, |reason| {
                format!(", but a person has to grant consent again before its access token ends ({reason})")
            });
            Reply::Done {
                text: format!("OA {oa_id}: the answer is the current set now (generation {generation}){but}"),
            }
        }
    }
}

fn nothing_to_decide(oa_id: &OaId) -> Reply {
    Reply::Failed {
        text: format!(
            "OA {oa_id} has nothing to decide: it is neither uncertain nor is an answer lost; see zalo-tokend status {oa_id}"
        ),
    }
}

/// Reads what a person made out of the kept answer.
fn read(answer: &str) -> Result<Decision, String> {
    match read_token_answer(answer.as_bytes()) {
        Answer::Granted(tokens) if tokens.oddities.contains(&Oddity::CutOff) => {
            Err("the file is not a whole JSON object; complete it".to_owned())
        }
        Answer::Granted(tokens) => Ok(Decision::Adopt(tokens)),
        Answer::Error(code) => Err(format!("the file holds Zalo's error {code}, and no token")),
        Answer::Unreadable(why) => Err(format!(
            "the file cannot be taken in: {why}; write a JSON object with access_token, refresh_token and expires_in"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_takes_in_half_a_set_is_told_that_consent_is_needed_again() {
        let said = |reason| {
            let resolved = Resolved::Adopted { generation: 2, refresh_at: None, reason };
            let Reply::Done { text } = words(&OaId::from("7"), resolved) else { panic!("it was done") };
            text
        };
        assert!(said(Some(Reason::RefreshTokenMissing)).contains("grant consent again"));
        assert!(!said(None).contains("consent"));
    }
}
