//! `refresh`: one OA is refreshed now, and whoever asked is told what becomes of it.
//!
//! The plan is made due in the store, and the refresh is an attempt like any other: behind its lock, its window and its
//! gate. Of a blocked app it is the trial. Of a braked one it is only if the operator says so; the waits of the brake
//! stay as they are for all the others.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::super::Keeper;
use super::super::attempt;
use super::super::told::Step;
use super::protocol::Reply;
use super::{not_kept, store_failed};
use crate::clock::{Time, spoken};
use crate::id::{AppId, OaId};
use crate::store::{AppStanding, Due, Health, Hurried, OaStatus, State};

/// Whoever asked for a refresh.
pub(in super::super) trait Asker: Send {
    /// Tells him how far it is.
    fn tell(&mut self, text: &str) -> impl Future<Output = ()> + Send;

    /// Resolves when he has gone away.
    fn gone(&mut self) -> impl Future<Output = ()> + Send;
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(in super::super) struct Wish {
    /// Also while its app is braked.
    pub(in super::super) trial: bool,
    /// Only if this is still its set.
    pub(in super::super) generation: Option<u64>,
    /// Not as the trial of an app whose credentials are refused.
    pub(in super::super) spares_blocked: bool,
    /// Not before a retry that is planned.
    pub(in super::super) spares_retrying: bool,
}

pub(in super::super) async fn run(
    keeper: &Arc<Keeper>,
    oa_id: &OaId,
    wish: Wish,
    asker: &mut impl Asker,
) -> Reply {
    match begin(keeper, oa_id, wish, asker).await {
        Ok(waiting) => waiting.until_told(keeper, oa_id, asker).await,
        Err(refusal) => refusal,
    }
}

/// A refresh that somebody waits for.
struct Waiting {
    told: Receiver<(OaId, Step)>,
    /// An attempt that was begun for this alone; it says whether it tried anything.
    own: Option<tokio::task::JoinHandle<bool>>,
}

/// Sees to it that the OA is being refreshed, or says why it is not.
async fn begin(
    keeper: &Arc<Keeper>,
    oa_id: &OaId,
    Wish { trial, generation, spares_blocked, spares_retrying }: Wish,
    asker: &mut impl Asker,
) -> Result<Waiting, Reply> {
    let Some(managed) = keeper.managed(oa_id) else { return Err(not_kept(keeper, oa_id)) };
    // Before anything is looked at, so that nothing is missed.
    let told = keeper.told.listen();
    let not_now = |text: String| Reply::NotNow { text };
    let app_id = managed.app_id.clone();
    let status = keeper.store.status(oa_id.clone(), Some(managed), keeper.read_clock()).await;
    let status = status.map_err(|error| store_failed(&error))?;
    let Some(status) = status else { return Err(not_now(no_tokens(oa_id))) };
    let newer_already = || Reply::Done { text: format!("OA {oa_id}: a newer set was stored just now") };
    let generation = generation.unwrap_or(status.generation);
    if status.generation > generation {
        return Err(newer_already());
    }
    match status.state {
        State::Presenting => {
            asker.tell("a request is under way already").await;
            return Ok(Waiting { told, own: None });
        }
        State::Retrying if spares_retrying => return Err(not_now(why_not(&status, keeper.now()))),
        State::Blocked if spares_blocked => return Err(not_now(why_not(&status, keeper.now()))),
        State::Scheduled | State::Retrying | State::Blocked => {}
        State::AwaitingGrant | State::Uncertain | State::ReauthorizationRequired | State::Unmanaged => {
            return Err(not_now(why_not(&status, keeper.now())));
        }
    }
    if let Health::Failed(detail) = &*keeper.store.health().borrow() {
        return Err(store_failed(detail));
    }
    let standing = keeper.store.app_standing(app_id.clone()).await.map_err(|error| store_failed(&error))?;
    let own = match standing {
        AppStanding::Open => {
            let hurried = keeper.store.hurry(oa_id.clone(), generation, keeper.read_clock()).await;
            match hurried.map_err(|error| store_failed(&error))? {
                Hurried::Due => {}
                Hurried::IsNewer => return Err(newer_already()),
                Hurried::HasNoPlan => return Err(not_now(no_tokens(oa_id))),
            }
            keeper.wake.notify_one();
            None
        }
        AppStanding::Braked { trial_at, .. } | AppStanding::Blocked { trial_at, is_braked: true, .. }
            if !trial =>
        {
            let now = keeper.now();
            let next = if trial_at > now {
                format!("is in {}", spoken(trial_at.since(now)))
            } else {
                "comes with the next of its OAs that is due".to_owned()
            };
            return Err(not_now(format!(
                "app {app_id} is braked, because its token endpoint left outcomes unknown; its next trial {next}. \
                 To make OA {oa_id} the trial now, at its risk: zalo-tokend refresh {oa_id} --trial"
            )));
        }
        // Of an app that is held back the sweep would choose an OA of its own.
        AppStanding::Braked { .. } | AppStanding::Blocked { .. } => Some(begin_trial(keeper, oa_id, app_id)),
    };
    asker.tell("asked for").await;
    Ok(Waiting { told, own })
}

fn begin_trial(keeper: &Arc<Keeper>, oa_id: &OaId, app_id: AppId) -> tokio::task::JoinHandle<bool> {
    let due = Due { oa_id: oa_id.clone(), app_id, most_of_app: 1, is_on_demand: true };
    keeper.tasks.spawn(attempt::run_guarded(Arc::clone(keeper), due, None))
}

impl Waiting {
    async fn until_told(mut self, keeper: &Keeper, oa_id: &OaId, asker: &mut impl Asker) -> Reply {
        loop {
            let own = async {
                match &mut self.own {
                    Some(own) => own.await.unwrap_or(false),
                    None => std::future::pending().await,
                }
            };
            let told = tokio::select! {
                biased;
                told = self.told.recv() => told,
                has_tried = own => {
                    self.own = None;
                    if has_tried {
                        continue;
                    }
                    let text = format!(
                        "OA {oa_id} could not be tried just now: another one of its app is being tried, or as many \
                         requests as may be are under way; ask again in a minute"
                    );
                    return Reply::NotNow { text };
                }
                () = asker.gone() => return Reply::NotNow { text: "nobody waits any more".to_owned() },
                () = keeper.stop.cancelled() => {
                    let text = format!("the daemon is stopping; OA {oa_id} is refreshed after its next start");
                    return Reply::NotNow { text };
                }
            };
            match told {
                Ok((about, step)) if about == *oa_id => match outcome(oa_id, step) {
                    Some(reply) => return reply,
                    None => asker.tell("the request begins").await,
                },
                Ok(_) => {}
                Err(RecvError::Lagged(_) | RecvError::Closed) => {
                    let text = format!(
                        "too much happens at once; see what became of it: zalo-tokend status {oa_id}"
                    );
                    return Reply::NotNow { text };
                }
            }
        }
    }
}

/// What a step is to whoever waits; `None`: it is not over.
fn outcome(oa_id: &OaId, step: Step) -> Option<Reply> {
    Some(match step {
        Step::Begun => return None,
        Step::Refreshed { generation, expires_at, reason: None } => {
            let end = expires_at
                .map_or_else(|| "it has no access token".to_owned(), |at| format!("valid until {at}"));
            Reply::Done { text: format!("OA {oa_id}: refreshed (generation {generation}), {end}") }
        }
        Step::Refreshed { reason: Some(reason), .. } | Step::Reauthorize { reason } => {
            Reply::NotNow { text: needs_consent(oa_id, &reason) }
        }
        Step::Failed { detail, retry_at } => Reply::Failed {
            text: format!(
                "OA {oa_id}: {detail}; its refresh token is proven unspent, the daemon tries again at {retry_at}"
            ),
        },
        Step::Uncertain { detail } => Reply::NotNow {
            text: format!(
                "OA {oa_id}: {detail}; nobody knows whether its refresh token was spent, the daemon asks Zalo: see \
                 zalo-tokend status {oa_id}"
            ),
        },
        Step::Superseded => Reply::Done { text: format!("OA {oa_id}: another set was imported meanwhile") },
    })
}

fn why_not(status: &OaStatus, now: Time) -> String {
    let OaStatus { oa_id, state, reason, next_refresh_at, .. } = status;
    match (state, reason.as_deref(), next_refresh_at) {
        (State::Uncertain, _, Some(at)) => {
            let asked = if *at > now { format!("is asked at {at}") } else { "is being asked".to_owned() };
            format!(
                "OA {oa_id} is uncertain: nobody knows whether its refresh token was spent; Zalo {asked}, try again after \
                 that"
            )
        }
        (State::Uncertain, _, None) => format!(
            "OA {oa_id} is uncertain, and nothing can prove any more whether its refresh token was spent; decide with \
             zalo-tokend resolve {oa_id}, or import a fresh grant"
        ),
        (State::Retrying, _, Some(at)) => {
            format!("OA {oa_id} is tried again at {at}, as planned after a failure")
        }
        (State::Blocked, ..) => format!(
            "Zalo refuses the credentials of OA {oa_id}'s app; correct its id or secret_key and reload"
        ),
        (State::ReauthorizationRequired, reason, _) => {
            let reason = reason.unwrap_or("unknown");
            needs_consent(oa_id, &reason)
        }
        (State::AwaitingGrant, Some(_), _) => format!(
            "the config names another app for OA {oa_id} than its tokens were granted to; correct it, or import a grant"
        ),
        _ => no_tokens(oa_id),
    }
}

fn needs_consent(oa_id: &OaId, reason: &dyn std::fmt::Display) -> String {
    format!(
        "OA {oa_id}: a person has to grant consent again ({reason}): zalo-tokend authorize {oa_id}, or zalo-tokend import \
         {oa_id} < answer.json"
    )
}

fn no_tokens(oa_id: &OaId) -> String {
    format!(
        "OA {oa_id} has no tokens yet; have consent granted: zalo-tokend authorize {oa_id}, or bring Zalo's answer in: zalo-tokend \
         import {oa_id} < answer.json"
    )
}
