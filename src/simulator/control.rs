//! The simulator's own requests under `/_simulator/`, for users' tests in whatever language: apps, grants, whose consent
//! can be had, dead tokens, faults, the variant, the ledger. Bad input is answered with 400 and one plain sentence. May import id and secret.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::connection::{Connection, Head, Next, Reply};
use super::fault::Rule;
use super::shared::Shared;
use super::variant::Variant;
use super::{duration, simulate, vendor};
use crate::id::{AppId, OaId};
use crate::secret::Secret;

/// Under what the simulator's own requests stand.
pub(super) const PREFIX: &str = "/_simulator/";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewApp {
    app_id: String,
    secret_key: String,
    /// Where the browser may be sent; without any, anywhere.
    #[serde(default)]
    redirect_uris: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewGrant {
    app_id: String,
    oa_id: String,
    /// How long ago consent was given.
    #[serde(default, with = "duration")]
    age: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Administered {
    app_id: String,
    oa_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decision {
    oa_id: String,
}

/// Serves one such request, the head of which has been read.
pub(super) async fn serve(shared: &Shared, connection: &mut Connection, head: &Head) -> Next {
    let reply = match head.body_length() {
        Err(why) => Reply::text(400, &sentence(why)),
        Ok(length) => {
            if connection.fill_to(length).await.is_err() {
                return Next::Close;
            }
            let body = connection.take(length);
            decide(shared, head, &body).unwrap_or_else(|why| Reply::text(400, &sentence(&why)))
        }
    };
    if connection.write(&reply.bytes).await.is_err() || reply.status == 400 {
        return Next::Close;
    }
    Next::KeepOpen
}

fn sentence(why: &str) -> String {
    format!("{}.\n", why.trim_end_matches(['.', '\n']))
}

fn decide(shared: &Shared, head: &Head, body: &[u8]) -> Result<Reply, String> {
    let what = head.path.strip_prefix(PREFIX).unwrap_or_default();
    match (head.method.as_str(), what) {
        ("POST", "apps") => {
            let app: NewApp = read(body)?;
            let (id, secret) = (AppId::from(app.app_id), Secret::new(app.secret_key));
            let core = &mut shared.lock().core;
            for uri in app.redirect_uris {
                core.consents.register(id.clone(), uri);
            }
            core.model.add_app(id, secret);
            done()
        }
        ("POST", "grants") => {
            let grant: NewGrant = read(body)?;
            let app = known_app(shared, grant.app_id)?;
            let answer = simulate::grant(shared, app, OaId::from(grant.oa_id), grant.age);
            Ok(Reply::json(200, &answer.to_string()))
        }
        ("POST", "administered") => {
            let one: Administered = read(body)?;
            let app = known_app(shared, one.app_id)?;
            shared.lock().core.consents.administers(app, OaId::from(one.oa_id));
            done()
        }
        ("POST", "faults") => {
            let rule: Rule = read(body)?;
            if let Some(objection) = rule.objection() {
                return Err(objection);
            }
            shared.lock().core.faults.add(rule);
            done()
        }
        ("DELETE", "faults") => {
            shared.lock().core.faults.clear();
            done()
        }
        ("POST", "release") => {
            shared.released.send_modify(|count| *count += 1);
            done()
        }
        ("POST", "allow") => {
            let decision: Decision = read(body)?;
            let oa = OaId::from(decision.oa_id);
            match simulate::allow_last_presented(shared, &oa) {
                true => done(),
                false => Err(format!("OA {oa} has presented no refresh token or code yet")),
            }
        }
        ("POST", "kill") => {
            let decision: Decision = read(body)?;
            let oa = OaId::from(decision.oa_id);
            match shared.lock().core.model.kill_access_token(&oa) {
                true => done(),
                false => Err(format!("OA {oa} was granted no tokens yet")),
            }
        }
        ("PUT", "variant") => {
            let mut locked = shared.lock();
            let changed = overlaid(&locked.core.model.variant, read(body)?)?;
            locked.core.model.variant = changed;
            written(&locked.core.model.variant)
        }
        ("GET", "variant") => written(&shared.lock().core.model.variant),
        ("GET", "ledger") => written(&shared.ledger()),
        ("GET", "ledger.txt") => Ok(Reply::text(200, &shared.ledger().summary())),
        (method, _) => {
            let of_vendor = what.strip_prefix("vendor/");
            let decided = of_vendor.and_then(|what| vendor::control::decide(shared, method, what, body));
            decided.unwrap_or_else(|| Err(format!("There is no {method} {}", head.path)))
        }
    }
}

pub(super) fn done() -> Result<Reply, String> {
    Ok(Reply::json(200, "{}"))
}

fn known_app(shared: &Shared, id: String) -> Result<AppId, String> {
    let app = AppId::from(id);
    match shared.lock().core.model.has_app(&app) {
        true => Ok(app),
        false => Err(format!("There is no app {app} yet: POST {PREFIX}apps first")),
    }
}

pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|cause| format!("The body is not as it should be: {cause}"))
}

fn written(value: &impl serde::Serialize) -> Result<Reply, String> {
    let text = serde_json::to_string(value);
    text.map(|text| Reply::json(200, &text)).map_err(|cause| format!("This cannot be written: {cause}"))
}

/// The variant with the given fields changed and the others as they were.
fn overlaid(variant: &Variant, changes: serde_json::Map<String, Value>) -> Result<Variant, String> {
    let cannot = |cause: serde_json::Error| format!("The body is not as it should be: {cause}");
    let mut fields = serde_json::to_value(variant).map_err(cannot)?;
    for (name, value) in changes {
        fields[name] = value;
    }
    serde_json::from_value(fields).map_err(cannot)
}
