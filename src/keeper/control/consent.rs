//! `authorize`: a person is sent to Zalo, and whoever asked for that hears what becomes of it.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;

use super::super::Keeper;
use super::super::consent::Came;
use super::conversation::Conversation;
use super::protocol::{Brought, Reply};
use super::refresh::Asker;
use crate::authorize::{Back, NoConsent};
use crate::id::OaId;
use crate::oauth::Callback;
use crate::rotation::CONSENT_LIFE;
use crate::secret::Secret;
use crate::store::ConsentId;

/// Says where a person is to be sent, and waits until he has come back.
pub(super) async fn begin(keeper: &Arc<Keeper>, oa_id: &OaId, asker: &mut Conversation) -> Reply {
    // Before he can come back.
    let mut told = keeper.consents.listen();
    let (url, own) = match keeper.send_out(oa_id).await {
        Ok((url, own)) => (url.to_string(), own),
        Err(refusal) => return refused(refusal),
    };
    if !asker.say(&Reply::Link { url }).await {
        tracing::debug!("a program went away before it was answered");
    }
    if let Some(vendor) = keeper.vendor_of(oa_id) {
        let text = format!(
            "OA {oa_id}: vendor {vendor}, who holds it, takes consent at this address; see zalo-tokend status {oa_id} for \
             whether he has noticed it"
        );
        return Reply::Done { text };
    }
    let mut time_is_up = std::pin::pin!(tokio::time::sleep(CONSENT_LIFE));
    loop {
        let told = tokio::select! {
            biased;
            told = told.recv() => told,
            () = asker.gone() => return not_now("nobody waits any more"),
            () = keeper.stop.cancelled() => {
                return not_now("the daemon is stopping; begin again after its next start");
            }
            () = &mut time_is_up => {
                let text = format!("nobody came back within ten minutes; begin again: zalo-tokend authorize {oa_id}");
                return Reply::NotNow { text };
            }
        };
        match told {
            Ok(came) if is_awaited(&came, own, oa_id) => match words(oa_id, &came.back) {
                Reply::Progress { text } => asker.tell(&text).await,
                last @ (Reply::Link { .. }
                | Reply::Done { .. }
                | Reply::Failed { .. }
                | Reply::NotNow { .. }
                | Reply::Status(_)
                | Reply::Undurable { .. }) => return last,
            },
            Ok(_) => {}
            Err(RecvError::Lagged(_) | RecvError::Closed) => {
                let text =
                    format!("too much happens at once; see what became of it: zalo-tokend status {oa_id}");
                return Reply::NotNow { text };
            }
        }
    }
}

/// Is it what somebody waits for who began `own`? Of another consent for the same OA only that it is granted: whoever opens
/// an old page of his once more says nothing about this one.
fn is_awaited(came: &Came, own: Option<ConsentId>, oa_id: &OaId) -> bool {
    Some(came.consent) == own || came.oa_id == *oa_id && matches!(came.back, Back::Granted { .. })
}

/// Takes what somebody came back with from whoever carries it here by hand.
pub(super) async fn bring(keeper: &Arc<Keeper>, oa_id: &OaId, brought: Brought) -> Reply {
    let back = match brought {
        Brought::Code(code) => match keeper.bring_code(oa_id, Secret::new(code)).await {
            Ok(back) => back,
            Err(refusal) => return refused(refusal),
        },
        Brought::Query(query) => {
            let callback = Callback::read(&query);
            let consent = match &callback.state {
                Some(state) => keeper.store.consent_of(state.digest()).await,
                None => Ok(None),
            };
            match consent {
                Ok(Some(consent)) if consent.oa_id != *oa_id => {
                    let text = format!(
                        "this address belongs to a consent for OA {}; bring it with zalo-tokend authorize {} \
                         --callback-url",
                        consent.oa_id, consent.oa_id
                    );
                    return Reply::Failed { text };
                }
                Ok(_) => keeper.come_back(callback).await,
                Err(error) => return super::store_failed(&error),
            }
        }
    };
    match words(oa_id, &back) {
        // It goes on without him.
        Reply::Progress { text } => Reply::NotNow { text },
        last @ (Reply::Link { .. }
        | Reply::Done { .. }
        | Reply::Failed { .. }
        | Reply::NotNow { .. }
        | Reply::Status(_)
        | Reply::Undurable { .. }) => last,
    }
}

fn not_now(text: &str) -> Reply {
    Reply::NotNow { text: text.to_owned() }
}

fn refused(refusal: NoConsent) -> Reply {
    match refusal {
        NoConsent::NotNow(text) => Reply::NotNow { text },
        NoConsent::Impossible(text) => Reply::Failed { text },
    }
}

/// What became of somebody who came back, for people. Progress is what may still go well.
fn words(oa_id: &OaId, back: &Back) -> Reply {
    let again = format!("begin again: zalo-tokend authorize {oa_id}");
    let progress = |text: String| Reply::Progress { text };
    let failed = |text: String| Reply::Failed { text };
    match back {
        Back::Granted { generation, next_refresh_at, .. } => {
            let next = next_refresh_at.map(|at| format!("; next refresh at {at}")).unwrap_or_default();
            Reply::Done { text: format!("OA {oa_id}: consent is granted (generation {generation}){next}") }
        }
        Back::AlreadyGranted { .. } => {
            Reply::Done { text: format!("OA {oa_id}: this consent was granted already; nothing changed") }
        }
        Back::Checking { .. } => progress(
            "its set is kept, and Zalo is asked whose it is until it says so; see zalo-tokend status".to_owned(),
        ),
        Back::InProgress { .. } => progress("its code is being exchanged".to_owned()),
        Back::UnknownState => {
            failed(format!("no consent was begun with this state, or it is over; nothing was changed; {again}"))
        }
        Back::StateExpired { .. } => {
            failed(format!("it took longer than ten minutes; the code was not used; {again}"))
        }
        Back::OtherOa { got, .. } => {
            let got = got.as_ref().map_or("another OA".to_owned(), |got| format!("OA {got}"));
            failed(format!("consent was given for {got}, not for OA {oa_id}; nothing was changed; {again}"))
        }
        Back::Declined { .. } => failed(format!("it was declined; nothing was changed; {again}")),
        Back::CodeRefused { .. } => {
            failed(format!("Zalo refuses the code, or it was used before; what there was stays; {again}"))
        }
        Back::AnswerLost { .. } => failed(format!(
            "the code was presented and no whole answer came; it is never presented again; what there was stays; {again}"
        )),
        Back::NotReached { detail, .. } => progress(format!(
            "Zalo could not be reached ({detail}); the code is unspent: load the page again within ten minutes"
        )),
        Back::AppRefused { .. } => failed(
            "Zalo refuses the app's id or secret; the code is unspent: correct them, reload, and load the page again"
                .to_owned(),
        ),
        Back::SetRefused { why, .. } => failed(format!(
            "the set that came does not count ({why}); it is kept, and what there was stays; see zalo-tokend history {oa_id}"
        )),
        Back::NotNow(text) => progress(text.clone()),
    }
}
