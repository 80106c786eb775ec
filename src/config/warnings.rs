//! What is accepted but unwise in production.

use std::time::Duration;

use super::values::{self, said};
use super::{Config, Publisher, Vendor};
use crate::clock::{Clock, SystemClock};
use crate::rotation::timing::Unprovable;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// One plain sentence each, in the order of the file's sections.
pub(super) fn of(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    refresh(config, &mut warnings);
    refresh_token(config, &mut warnings);
    schedule(config, &mut warnings);
    fleet(config, &mut warnings);
    authorize(config, &mut warnings);
    publish(config, &mut warnings);
    warnings.extend(config.notes.iter().cloned());
    warnings
}

fn refresh(config: &Config, warnings: &mut Vec<String>) {
    let timing = &config.timing;
    let mut warn_if = |unwise: bool, sentence: String| {
        if unwise {
            warnings.push(sentence);
        }
    };
    warn_if(
        timing.before_expiry < 10 * MINUTE,
        format!(
            "before_expiry is {}: under 10m there is little time to retry before the access token ends.",
            said(timing.before_expiry)
        ),
    );
    warn_if(
        config.timeout < Duration::from_secs(20),
        format!(
            "timeout is {}: under 20s a slow answer is given up, and with it perhaps the new refresh token.",
            said(config.timeout)
        ),
    );
    warn_if(
        timing.retry_max > HOUR,
        format!(
            "retry_max is {}: over 1h a short outage of Zalo keeps an OA waiting for long.",
            said(timing.retry_max)
        ),
    );
    warn_if(
        timing.settle < Duration::from_secs(10),
        format!(
            "settle is {}: under 10s Zalo may still be working on the request that is asked about.",
            said(timing.settle)
        ),
    );
    warn_if(
        timing.settle > 30 * MINUTE,
        format!(
            "settle is {}: over 30m the old access token may end before it can show what became of a request.",
            said(timing.settle)
        ),
    );
    warn_if(
        timing.unprovable == Unprovable::Present,
        "unprovable is \"present\": a refresh token that may be spent is presented once more, which costs the \
         grant if it was."
            .to_owned(),
    );
}

fn refresh_token(config: &Config, warnings: &mut Vec<String>) {
    let lifetime = config.timing.refresh_token_lifetime;
    if lifetime < DAY {
        warnings.push(format!("lifetime is {}: Zalo's refresh tokens live for months.", said(lifetime)));
    }
    match (config.remind.first(), config.remind.last()) {
        (Some(longest), _) if *longest >= lifetime => warnings.push(format!(
            "remind begins {} before the end, but lifetime is {}: every new refresh token is reminded of at once.",
            said(*longest),
            said(lifetime)
        )),
        (Some(_), Some(last)) if *last < HOUR => warnings.push(format!(
            "remind ends {} before the end: under 1h nobody grants again in time.",
            said(*last)
        )),
        (Some(_), _) => {}
        (None, _) => {
            warnings.push("remind is empty: nobody is told before a refresh token ends.".to_owned());
        }
    }
}

fn schedule(config: &Config, warnings: &mut Vec<String>) {
    if values::skips_minutes(&config.schedule.sweep) {
        warnings.push(
            "sweep does not come in every minute: what is due waits for it, so let it come every second."
                .to_owned(),
        );
    }
    let keep = config.schedule.keep_history;
    if keep < 7 * DAY {
        let keep = said(keep);
        warnings
            .push(format!("keep_history is {keep}: under 7d an incident is forgotten before it is studied."));
    }
}

fn fleet(config: &Config, warnings: &mut Vec<String>) {
    for app in config.apps.values() {
        for (key, url) in [("token_url", &app.token_url), ("api_url", &app.api_url)] {
            if url.scheme() == "http" {
                let id = &app.id;
                warnings.push(format!("{key} of app {id} is http:// to this machine: is it a simulator?"));
            }
        }
        if !config.oas.values().any(|oa| oa.app_id == app.id) {
            warnings.push(format!("App {} has no OA.", app.id));
        }
    }
    for vendor in config.vendors.values() {
        warnings.extend(of_vendor(config, vendor));
    }
    let now = SystemClock::new().now();
    for (oa_id, oa) in config.vendor_oas.iter() {
        if oa.authorized_at.is_some_and(|at| at > now) {
            warnings.push(format!("authorized_at of OA {oa_id} lies in the future: now is taken instead."));
        }
    }
    if config.oas.is_empty() && config.vendor_oas.is_empty() {
        warnings.push("There is no OA: nothing is kept alive until an [[oa]] is added.".to_owned());
    }
}

fn of_vendor(config: &Config, vendor: &Vendor) -> Vec<String> {
    let Vendor { id, base_url, terms, link_hosts, .. } = vendor;
    let (renew_before, lifetime) = (said(terms.renew_before), said(terms.lifetime));
    let half = terms.lifetime / 2;
    let unwise = [
        (
            base_url.scheme() == "http",
            format!("base_url of vendor {id} is http:// to this machine: is it a simulator?"),
        ),
        (link_hosts.is_empty(), format!("link_hosts of vendor {id} is empty: every link is refused.")),
        (
            terms.lifetime < DAY,
            format!("lifetime of vendor {id} is {lifetime}: consent to a vendor lives for months."),
        ),
        (
            terms.renew_before < DAY,
            format!("renew_before of vendor {id} is {renew_before}: under 1d nobody grants again in time."),
        ),
        (
            terms.renew_before > half,
            format!(
                "renew_before of vendor {id} is {renew_before}: more than half of a lifetime of {lifetime} is not taken."
            ),
        ),
        (!config.vendor_oas.values().any(|oa| oa.vendor_id == *id), format!("Vendor {id} has no OA.")),
    ];
    unwise.into_iter().filter(|(is_unwise, _)| *is_unwise).map(|(_, sentence)| sentence).collect()
}

fn authorize(config: &Config, warnings: &mut Vec<String>) {
    let mut of_apps =
        config.apps.values().filter_map(|app| Some((&app.id, app.consenting.as_ref()?))).peekable();
    if config.authorize.listen.is_some() && of_apps.peek().is_none() {
        warnings.push(
            "[authorize] listens, and no [[app]] has a redirect_uri: nobody is sent to consent, so nobody comes back."
                .to_owned(),
        );
    }
    for (app_id, consenting) in of_apps.filter(|(_, consenting)| consenting.redirect_uri.scheme() == "http") {
        warnings.push(format!(
            "redirect_uri of app {app_id} is {}: only a browser of this machine comes back there.",
            consenting.redirect_text
        ));
    }
}

fn publish(config: &Config, warnings: &mut Vec<String>) {
    for publish in &config.publish {
        let name = publish.to.name();
        match &publish.to {
            Publisher::File(file) if file.mode & 0o004 != 0 => warnings.push(format!(
                "mode of {name} is {:04o}: every user of the machine may read the tokens.",
                file.mode
            )),
            Publisher::Webhook(hook) if hook.url.scheme() == "http" => {
                warnings.push(format!("{name} is http:// to this machine: is it a test?"));
            }
            Publisher::File(_) | Publisher::Exec(_) | Publisher::Webhook(_) => {}
        }
    }
}
