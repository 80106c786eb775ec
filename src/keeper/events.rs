//! Everything the log says, in one place: one function an event.
//!
//! INFO is a change, WARN a margin that shrinks, ERROR something that will not mend without a person. Names and
//! fields are part of the outward contract; the README's table is held to this file by a test.

use std::time::Duration;
use tracing::{error, info, warn};

use crate::clock::{Time, spoken};
use crate::id::{AppId, AttemptId, OaId};
use crate::oauth::Oddity;
use crate::rotation::{Reason, Reminder};
use crate::store::{Counts, State};

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) fn daemon_started(oas: usize) {
    info!(event = "daemon.started", version = VERSION, oas, "zalo-tokend starts");
}

pub(super) fn daemon_ready(oas: usize) {
    info!(event = "daemon.ready", version = VERSION, oas, "the store is open, the daemon is at work");
}

pub(super) fn daemon_stopping(oas: usize) {
    info!(event = "daemon.stopping", version = VERSION, oas, "no new attempt; those under way are finished");
}

pub(super) fn daemon_stopped(oas: usize) {
    info!(event = "daemon.stopped", version = VERSION, oas, "everything is stored");
}

/// `added`, `changed` and `removed` count OAs and apps together.
pub(super) fn config_reloaded(added: usize, changed: usize, removed: usize, sections: &str) {
    info!(
        event = "config.reloaded",
        added, changed, removed, sections, "the config was read again and is in force"
    );
}

pub(super) fn config_rejected(problems: &str) {
    error!(
        event = "config.rejected",
        problems,
        "the config is not taken over and the one before stays in force; correct it and send SIGHUP again"
    );
}

pub(super) fn oa_imported(oa_id: &OaId, generation: u64) {
    info!(event = "oa.imported", %oa_id, generation, "a token set was imported");
}

pub(super) fn oa_enlisted(oa_id: &OaId, app_id: &AppId) {
    info!(event = "oa.enlisted", %oa_id, %app_id, "a program has this OA managed");
}

pub(super) fn oa_dismissed(oa_id: &OaId) {
    info!(event = "oa.dismissed", %oa_id, "a program does not want this OA managed any more; its tokens stay in the store");
}

pub(super) fn api_unavailable(detail: &str) {
    error!(
        event = "api.unavailable",
        detail,
        "the API cannot be opened; tokens are refreshed all the same. Correct [api] and restart the daemon"
    );
}

/// `url` is where consent is given.
pub(super) fn awaiting_grant(oa_id: &OaId, url: Option<&str>) {
    warn!(
        event = "oa.awaiting_grant", %oa_id, url,
        "no tokens yet; have consent granted with zalo-tokend authorize {oa_id}, or bring Zalo's answer in with zalo-tokend \
         import {oa_id} < answer.json"
    );
}

pub(super) fn app_changed(oa_id: &OaId) {
    error!(
        event = "oa.app_changed", %oa_id,
        "the config names another app than the tokens were granted to; correct it, or import a grant for the new app"
    );
}

pub(super) fn refresh_planned(oa_id: &OaId, refresh_at: Time) {
    info!(event = "refresh.planned", %oa_id, %refresh_at, "the next refresh is planned");
}

pub(super) fn refresh_started(oa_id: &OaId, attempt_id: AttemptId, generation: u64) {
    info!(event = "refresh.started", %oa_id, %attempt_id, generation, "a refresh begins");
}

pub(super) fn refresh_succeeded(
    oa_id: &OaId,
    attempt_id: AttemptId,
    generation: u64,
    expires_at: Option<Time>,
    duration: Duration,
) {
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let expires_at = expires_at.map(|at| at.to_string());
    info!(
        event = "refresh.succeeded", %oa_id, %attempt_id, generation, expires_at, duration_ms,
        "the new token set is stored"
    );
}

pub(super) fn answer_odd(oa_id: &OaId, attempt_id: AttemptId, oddity: Oddity) {
    warn!(event = "refresh.answer_odd", %oa_id, %attempt_id, detail = %oddity, "an odd answer was understood");
}

pub(super) fn refresh_failed(oa_id: &OaId, attempt_id: AttemptId, class: &str, detail: &str, retry_at: Time) {
    warn!(
        event = "refresh.failed", %oa_id, %attempt_id, class, detail, %retry_at,
        "a refresh failed; its refresh token is proven unspent"
    );
}

pub(super) fn refresh_uncertain(oa_id: &OaId, attempt_id: AttemptId, detail: &str, probe_at: Time) {
    warn!(
        event = "refresh.uncertain", %oa_id, %attempt_id, detail, %probe_at,
        "nobody knows whether the refresh token was spent; Zalo will be asked with the old access token"
    );
}

pub(super) fn refresh_superseded(oa_id: &OaId, attempt_id: AttemptId) {
    warn!(
        event = "refresh.superseded", %oa_id, %attempt_id,
        "an answer came after another set was imported; it is kept aside with its attempt"
    );
}

pub(super) fn refresh_probed(oa_id: &OaId, attempt_id: AttemptId, verdict: &str, detail: &str) {
    info!(
        event = "refresh.probed", %oa_id, %attempt_id, verdict, detail,
        "Zalo was asked about the old access token"
    );
}

/// `url` is where consent is given.
pub(super) fn reauthorization_required(oa_id: &OaId, reason: Reason, url: Option<&str>) {
    let look_first = if reason == Reason::ResponseLost {
        format!("look whether an answer was kept (zalo-tokend history {oa_id}); else ")
    } else {
        String::new()
    };
    let how = match url {
        Some(_) => "a person has to grant consent again, at `url`".to_owned(),
        None => format!("a person has to grant consent again: zalo-tokend authorize {oa_id}"),
    };
    error!(event = "oa.reauthorization_required", %oa_id, %reason, url, "{look_first}{how}");
}

pub(super) fn mass_reauthorization(app_id: &AppId, oas: usize, cause: &str) {
    error!(
        event = "app.mass_reauthorization", %app_id, oas, cause,
        "within a minute several OAs of this app have come to need a person: look for one cause before consent is granted again"
    );
}

pub(super) fn decision_needed(oa_id: &OaId, attempt_id: AttemptId, reason: Reason) {
    error!(
        event = "oa.decision_needed", %oa_id, %attempt_id, %reason,
        "no proof can settle this attempt any more; decide with zalo-tokend resolve {oa_id}, or import a fresh set"
    );
}

pub(super) fn oa_resolved(oa_id: &OaId, attempt_id: AttemptId, decision: &str) {
    info!(event = "oa.resolved", %oa_id, %attempt_id, decision, "an operator decided about an attempt");
}

pub(super) fn oa_unreadable(oa_id: &OaId, detail: &str) {
    error!(event = "oa.unreadable", %oa_id, detail, "the OA's row in the store cannot be worked with");
}

pub(super) fn app_refused(app_id: &AppId, detail: &str) {
    error!(
        event = "app.refused", %app_id, detail,
        "Zalo refuses the app's id or secret; all its OAs wait. Correct them and reload; one OA tries once an hour"
    );
}

pub(super) fn app_braked(app_id: &AppId, detail: &str, trial_at: Time) {
    warn!(
        event = "app.braked", %app_id, detail, %trial_at,
        "the app's token endpoint left two outcomes in a row unknown; one OA at a time tries until one succeeds"
    );
}

pub(super) fn app_released(app_id: &AppId) {
    info!(event = "app.released", %app_id, "the app's credentials are accepted; all its OAs go on");
}

pub(super) fn old_token_outlives(app_id: &AppId) {
    warn!(
        event = "app.old_token_outlives", %app_id,
        "an access token was still accepted after its successor was made; an unknown outcome cannot be settled by \
         asking for this app"
    );
}

pub(super) fn certificate_refused(app_id: &AppId, detail: &str) {
    error!(
        event = "endpoint.certificate_refused", %app_id, detail,
        "the certificate of the app's token endpoint is refused; check token_url, ca_file and the system's clock"
    );
}

/// `url` is where consent is given.
pub(super) fn refresh_token_expiring(oa_id: &OaId, reminder: &Reminder, url: Option<&str>) {
    let (remaining, step) = (spoken(reminder.remaining), spoken(reminder.step));
    if reminder.is_last {
        error!(
            event = "refresh_token.expiring", %oa_id, remaining, step, url,
            "the refresh token is about to end and nobody renews it; grant consent again"
        );
    } else {
        warn!(
            event = "refresh_token.expiring", %oa_id, remaining, step, url,
            "the refresh token will end and nobody renews it; grant consent again"
        );
    }
}

pub(super) fn grant_end_unproven(oa_id: &OaId, granted_at: Time, until: Time) {
    warn!(
        event = "refresh_token.end_unproven", %oa_id, %granted_at, %until,
        "nobody has seen yet whether renewals move the end of a grant; if they do not, this one ends then: have an \
         administrator at hand"
    );
}

/// A person is about to be sent to Zalo.
pub(super) fn consent_begun(oa_id: &OaId) {
    info!(event = "consent.begun", %oa_id, "a person is sent to Zalo to grant consent");
}

/// `attempt_id` is the exchange of the code.
pub(super) fn consent_granted(oa_id: &OaId, attempt_id: AttemptId, generation: u64) {
    info!(event = "consent.granted", %oa_id, %attempt_id, generation, "a person granted consent; its token set is stored");
}

pub(super) fn consent_unverified(oa_id: &OaId, attempt_id: AttemptId, detail: &str) {
    warn!(
        event = "consent.unverified", %oa_id, %attempt_id, detail,
        "a token set came and is kept; Zalo could not say yet whose it is, and is asked again"
    );
}

/// `why` is a stable word.
pub(super) fn consent_failed(oa_id: &OaId, attempt_id: AttemptId, why: &str, detail: &str) {
    error!(
        event = "consent.failed", %oa_id, %attempt_id, why, detail,
        "the consent that a person gave brought no token set that counts; what there was before stays. Have it granted once more"
    );
}

/// The code is unspent: whoever brought it may bring it again.
pub(super) fn consent_postponed(oa_id: &OaId, attempt_id: AttemptId, class: &str, detail: &str) {
    warn!(
        event = "consent.postponed", %oa_id, %attempt_id, class, detail,
        "a person's code could not be exchanged now and is unspent; he may load the page again"
    );
}

pub(super) fn authorize_unavailable(detail: &str) {
    error!(
        event = "authorize.unavailable",
        detail,
        "nobody can come back with consent: free the address, or correct [authorize] and restart the daemon; tokens are refreshed \
         all the same"
    );
}

pub(super) fn access_token_expired(oa_id: &OaId, since: Time) {
    error!(
        event = "access_token.expired", %oa_id, %since,
        "the access token has ended without a successor; this OA cannot send"
    );
}

pub(super) fn control_unavailable(detail: &str) {
    warn!(
        event = "control.unavailable",
        detail,
        "no control socket can be made beside the store; refresh and resolve have to wait, tokens are refreshed all the same"
    );
}

pub(super) fn store_failed(detail: &str) {
    error!(
        event = "store.failed",
        detail,
        "the store does not take writes; no token is presented until it does. Free or repair the disk"
    );
}

pub(super) fn store_recovered(detail: &str) {
    info!(event = "store.recovered", detail, "the store takes writes again");
}

pub(super) fn answer_orphaned(attempt_id: AttemptId) {
    error!(
        event = "store.answer_orphaned", %attempt_id,
        "a spill slot held the answer to an attempt that the store does not know; it is kept. Was the store replaced \
         by an older copy? Then import fresh sets"
    );
}

pub(super) fn slot_torn(detail: usize) {
    warn!(event = "store.slot_torn", detail, "an answer was cut short by a crash and could not be read");
}

pub(super) fn fleet_heartbeat(counts: &Counts, lines_dropped: u64) {
    let [
        awaiting_grant,
        scheduled,
        retrying,
        presenting,
        uncertain,
        reauthorization_required,
        blocked,
        unmanaged,
    ] = State::ALL.map(|state| counts.of(state));
    let next_refresh_at = counts.next_refresh_at.map(|at| at.to_string());
    info!(
        event = "fleet.heartbeat",
        awaiting_grant,
        scheduled,
        retrying,
        presenting,
        uncertain,
        reauthorization_required,
        blocked,
        unmanaged,
        next_refresh_at,
        lines_dropped,
        "alive"
    );
}
