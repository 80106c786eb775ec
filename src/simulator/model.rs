//! What this Zalo knows and decides: apps, grants, token sets, which token or code is good at what moment.
//! Pure but for the making of tokens: the time is an argument, counted from the simulator's start. What goes
//! over the wire and what the ledger writes down is left to others. May import id and secret.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::codes::{BadCode, Code, Codes};
use super::variant::{OldAccessToken, SpentCodeAnswer, SpentTokenAnswer, Variant};
use crate::id::{AppId, OaId};
use crate::secret::{Digest, Secret};

/// Every token and code has this in it, so that one can look for leaked tokens in logs and files.
pub const MARKER: &str = "CANARY";

/// The grant type of a request that presents a code.
pub(super) const CODE_GRANT: &str = "authorization_code";

/// The tokens of an OA that are good now.
#[derive(Clone, Debug)]
pub struct CurrentSet {
    /// The access token.
    pub access_token: Secret,
    /// The refresh token.
    pub refresh_token: Secret,
    /// How many refreshes lie between the grant and this set.
    pub generation: u32,
}

/// One access token with the refresh token that came with it.
#[derive(Debug)]
struct TokenSet {
    app: AppId,
    oa: OaId,
    family: usize,
    generation: u32,
    access: Secret,
    refresh: Secret,
    refresh_spent: bool,
    access_ends: Duration,
    refresh_ends: Duration,
    /// When the access token died, or will, because it was superseded.
    access_superseded: Option<Duration>,
}

/// What is known of a refresh token or code that somebody presented; a code has no set yet.
#[derive(Clone, Debug)]
pub(super) struct Presented {
    pub(super) app: AppId,
    pub(super) oa: OaId,
    pub(super) family: Option<usize>,
    pub(super) generation: Option<u32>,
    pub(super) spent: bool,
    pub(super) access: Option<Secret>,
}

/// What became of a request for tokens. No `Debug`: the body has tokens in it.
#[derive(Clone)]
pub(super) enum Outcome {
    Granted { access: Secret, refresh: Secret, body: String },
    Refused { code: Option<i64>, body: String },
}

/// A request for tokens, as far as the model cares.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) grant_type: String,
    pub(super) app: AppId,
    pub(super) app_secret: Option<Secret>,
    /// The refresh token, or the code.
    pub(super) presented: Secret,
    pub(super) verifier: Option<Secret>,
}

impl Request {
    /// Whether a code is presented, and no refresh token.
    pub(super) fn is_code(&self) -> bool {
        self.grant_type == CODE_GRANT
    }
}

/// What an access token is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AccessToken {
    Good,
    Invalid,
    Expired,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) variant: Variant,
    apps: HashMap<AppId, Secret>,
    sets: Vec<TokenSet>,
    by_refresh: HashMap<Digest, usize>,
    by_access: HashMap<Digest, usize>,
    /// Refresh tokens without their last character: what a gate that is still shut lets one see.
    by_stem: HashMap<Digest, usize>,
    current: HashMap<OaId, usize>,
    families_revoked: Vec<bool>,
    codes: Codes,
}

impl Model {
    pub(super) fn add_app(&mut self, app: AppId, secret: Secret) {
        self.apps.insert(app, secret);
    }

    pub(super) fn has_app(&self, app: &AppId) -> bool {
        self.apps.contains_key(app)
    }

    /// Consent was given: a new family, made `age` ago.
    pub(super) fn grant(&mut self, app: AppId, oa: OaId, age: Duration, now: Duration) -> Value {
        let set = self.new_family(app, oa, now);
        set.access_ends = set.access_ends.saturating_sub(age);
        set.refresh_ends = set.refresh_ends.saturating_sub(age);
        let (access, refresh) = (set.access.clone(), set.refresh.clone());
        self.answer(&access, &refresh)
    }

    fn new_family(&mut self, app: AppId, oa: OaId, now: Duration) -> &mut TokenSet {
        if self.variant.grant_revokes_older_families
            && let Some(older) = self.current.get(&oa)
        {
            self.families_revoked[self.sets[*older].family] = true;
        }
        self.families_revoked.push(false);
        let family = self.families_revoked.len() - 1;
        self.new_set(app, oa, family, 0, now)
    }

    /// Consent was given: a code that is good for this app, this OA and whoever knows the verifier.
    pub(super) fn new_code(&mut self, app: AppId, oa: OaId, challenge: String, now: Duration) -> Secret {
        let ends = now.saturating_add(self.variant.code_life);
        self.codes.make(app, oa, challenge, ends)
    }

    fn new_set(
        &mut self,
        app: AppId,
        oa: OaId,
        family: usize,
        generation: u32,
        now: Duration,
    ) -> &mut TokenSet {
        let (access, refresh) = (new_token(), new_token());
        let index = self.sets.len();
        self.by_access.insert(access.digest(), index);
        self.by_refresh.insert(refresh.digest(), index);
        self.by_stem.insert(stem(refresh.expose()), index);
        self.current.insert(oa.clone(), index);
        self.sets.push(TokenSet {
            app,
            oa,
            family,
            generation,
            access,
            refresh,
            refresh_spent: false,
            access_ends: now.saturating_add(self.variant.access_token_life),
            refresh_ends: now.saturating_add(self.variant.refresh_token_life),
            access_superseded: None,
        });
        &mut self.sets[index]
    }

    fn answer(&self, access: &Secret, refresh: &Secret) -> Value {
        let mut answer = Map::new();
        answer.insert("access_token".to_owned(), Value::from(access.expose()));
        answer.insert("refresh_token".to_owned(), Value::from(refresh.expose()));
        let told = |life: Duration| Value::from(life.as_secs().to_string());
        answer.insert("expires_in".to_owned(), told(self.variant.access_token_life));
        if self.variant.tells_refresh_token_life {
            answer.insert("refresh_token_expires_in".to_owned(), told(self.variant.refresh_token_life));
        }
        Value::Object(answer)
    }

    /// Whose refresh token this is, and whether it is spent by now.
    pub(super) fn recognise(&self, refresh: &Secret) -> Option<Presented> {
        self.by_refresh.get(&refresh.digest()).map(|index| self.presented(*index))
    }

    /// Whose code this is, and whether it is spent by now.
    pub(super) fn recognise_code(&self, code: &Secret) -> Option<Presented> {
        self.codes.find(code.digest()).map(presented_code)
    }

    /// Whose refresh token or code this is, of which the last character is still missing.
    pub(super) fn recognise_stem(&self, without_last: &str) -> Option<Presented> {
        let digest = Secret::new(without_last.to_owned()).digest();
        let of_token = self.by_stem.get(&digest).map(|index| self.presented(*index));
        of_token.or_else(|| self.codes.find_stem(digest).map(presented_code))
    }

    fn presented(&self, index: usize) -> Presented {
        let set = &self.sets[index];
        Presented {
            app: set.app.clone(),
            oa: set.oa.clone(),
            family: Some(set.family),
            generation: Some(set.generation),
            spent: set.refresh_spent,
            access: Some(set.access.clone()),
        }
    }

    /// Judges a request, and spends its refresh token or code if it is good. The order of the checks is Zalo's.
    pub(super) fn exchange(&mut self, request: &Request, rotates: bool, now: Duration) -> Outcome {
        if request.grant_type != "refresh_token" && !request.is_code() {
            let reason = "grant_type must be refresh_token or authorization_code";
            return refused(-14001, "Invalid grant type", reason);
        }
        let Some(secret) = self.apps.get(&request.app) else {
            return refused(-14002, "Invalid app id", "App id is invalid");
        };
        if request.app_secret.as_ref() != Some(secret) {
            return refused(-14004, "Invalid secret key", "Secret key is invalid");
        }
        if request.is_code() {
            return self.exchange_code(request, now);
        }
        let index = match self.by_refresh.get(&request.presented.digest()) {
            Some(index) if self.sets[*index].app == request.app => *index,
            Some(_) | None => return invalid_refresh_token(),
        };
        let family = self.sets[index].family;
        if self.sets[index].refresh_spent {
            if self.variant.reuse_revokes_family {
                self.families_revoked[family] = true;
            }
            return match self.variant.spent_token_answer {
                SpentTokenAnswer::Empty => Outcome::Refused { code: None, body: String::new() },
                SpentTokenAnswer::Error14014 => invalid_refresh_token(),
            };
        }
        if self.families_revoked[family] || self.sets[index].refresh_ends <= now {
            return invalid_refresh_token();
        }
        self.succeed(index, rotates, now)
    }

    /// The codes of these refusals are guesses: nobody has told them apart at the real Zalo, and nobody knows whether
    /// a verifier that does not fit spends the code there.
    fn exchange_code(&mut self, request: &Request, now: Duration) -> Outcome {
        match self.codes.spend(request, now) {
            Ok((app, oa)) => {
                let set = self.new_family(app, oa, now);
                let (access, refresh) = (set.access.clone(), set.refresh.clone());
                let body = self.answer(&access, &refresh).to_string();
                Outcome::Granted { access, refresh, body }
            }
            Err(BadCode::Spent) if self.variant.spent_code_answer == SpentCodeAnswer::Empty => {
                Outcome::Refused { code: None, body: String::new() }
            }
            Err(BadCode::Invalid | BadCode::Spent) => {
                refused(-14005, "Invalid authorization code", "Authorization code is invalid")
            }
            Err(BadCode::Expired) => {
                refused(-14019, "Authorization code expired", "Authorization code is expired")
            }
            Err(BadCode::OtherVerifier) => {
                refused(-14010, "Invalid code verifier", "Code verifier is invalid")
            }
        }
    }

    fn succeed(&mut self, index: usize, rotates: bool, now: Duration) -> Outcome {
        let old_access = self.variant.old_access_token;
        let old = &mut self.sets[index];
        old.refresh_spent = true;
        match old_access {
            OldAccessToken::DiesAtOnce => old.access_superseded = Some(now),
            OldAccessToken::DiesAfter(grace) => old.access_superseded = Some(now.saturating_add(grace)),
            OldAccessToken::DiesAtExpiry => {}
            OldAccessToken::NeverDies => old.access_ends = Duration::MAX,
        }
        let (app, oa, family) = (old.app.clone(), old.oa.clone(), old.family);
        let (generation, kept, kept_ends) = (old.generation + 1, old.refresh.clone(), old.refresh_ends);
        let new = self.new_set(app, oa, family, generation, now);
        if !rotates {
            new.refresh = kept.clone();
            new.refresh_ends = kept_ends;
        }
        let (access, refresh) = (new.access.clone(), new.refresh.clone());
        if !rotates {
            let new = self.sets.len() - 1;
            self.by_refresh.insert(kept.digest(), new);
            self.by_stem.insert(stem(kept.expose()), new);
        }
        let body = self.answer(&access, &refresh).to_string();
        Outcome::Granted { access, refresh, body }
    }

    /// What this access token is worth, whose it is, and the refresh token of its set.
    pub(super) fn access_token(
        &self,
        access: &Secret,
        now: Duration,
    ) -> (AccessToken, Option<(Presented, Digest)>) {
        let Some(index) = self.by_access.get(&access.digest()) else {
            return (AccessToken::Invalid, None);
        };
        let set = &self.sets[*index];
        let dead =
            self.families_revoked[set.family] || set.access_superseded.is_some_and(|death| death <= now);
        let worth = match (dead, set.access_ends <= now) {
            (true, _) => AccessToken::Invalid,
            (false, true) => AccessToken::Expired,
            (false, false) => AccessToken::Good,
        };
        (worth, Some((self.presented(*index), set.refresh.digest())))
    }

    /// The OA's access token is dead from now on, though its refresh token is not; `false`: it has none.
    pub(super) fn kill_access_token(&mut self, oa: &OaId) -> bool {
        let Some(index) = self.current.get(oa) else { return false };
        self.sets[*index].access_superseded = Some(Duration::ZERO);
        true
    }

    pub(super) fn current_set(&self, oa: &OaId) -> Option<CurrentSet> {
        let set = &self.sets[*self.current.get(oa)?];
        Some(CurrentSet {
            access_token: set.access.clone(),
            refresh_token: set.refresh.clone(),
            generation: set.generation,
        })
    }
}

fn presented_code(code: &Code) -> Presented {
    Presented {
        app: code.app.clone(),
        oa: code.oa.clone(),
        family: None,
        generation: None,
        spent: code.spent,
        access: None,
    }
}

/// By what a refresh token or code without its last character is found.
pub(super) fn stem(whole: &str) -> Digest {
    let mut text = whole.to_owned();
    text.pop();
    Secret::new(text).digest()
}

fn refused(code: i64, name: &str, reason: &str) -> Outcome {
    let body = json!({
        "error": code,
        "error_name": name,
        "error_reason": reason,
        "error_description": reason,
        "ref_doc": "https://developers.zalo.me/docs/official-account/phu-luc/ma-loi",
    });
    Outcome::Refused { code: Some(code), body: body.to_string() }
}

fn invalid_refresh_token() -> Outcome {
    refused(-14014, "Invalid refresh token", "Refresh token is invalid")
}

/// 250 to 430 characters of the set that Zalo was seen to use, with the marker somewhere among them.
fn new_token() -> Secret {
    const CHARACTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    let length = fastrand::usize(250..=430) - MARKER.len();
    let mut token: String =
        (0..length).map(|_| char::from(CHARACTERS[fastrand::usize(..CHARACTERS.len())])).collect();
    token.insert_str(fastrand::usize(..=length), MARKER);
    Secret::new(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &Value, field: &str) -> Secret {
        Secret::new(value[field].as_str().expect("a string").to_owned())
    }

    fn granted(model: &mut Model) -> Value {
        model.add_app(AppId::from("app"), Secret::new("secret".to_owned()));
        model.grant(AppId::from("app"), OaId::from("oa"), Duration::ZERO, Duration::ZERO)
    }

    fn request(refresh: &Secret) -> Request {
        Request {
            grant_type: "refresh_token".to_owned(),
            app: AppId::from("app"),
            app_secret: Some(Secret::new("secret".to_owned())),
            presented: refresh.clone(),
            verifier: None,
        }
    }

    fn worth(model: &Model, access: &Secret, now: u64) -> AccessToken {
        model.access_token(access, Duration::from_secs(now)).0
    }

    #[test]
    fn tokens_vary_in_length_and_carry_the_marker() {
        let tokens: Vec<Secret> = (0..50).map(|_| new_token()).collect();
        assert!(tokens.iter().all(|token| (250..=430).contains(&token.expose().len())));
        assert!(tokens.iter().all(|token| token.expose().contains(MARKER)));
        let lengths: std::collections::HashSet<usize> = tokens.iter().map(|t| t.expose().len()).collect();
        assert!(lengths.len() > 1);
    }

    #[test]
    fn a_spent_refresh_token_can_take_its_whole_family_with_it() {
        let mut model = Model::default();
        model.variant.reuse_revokes_family = true;
        let first = text(&granted(&mut model), "refresh_token");
        let Outcome::Granted { access, refresh, .. } =
            model.exchange(&request(&first), true, Duration::from_secs(1))
        else {
            panic!("a good token was refused")
        };
        assert_eq!(worth(&model, &access, 2), AccessToken::Good);
        model.exchange(&request(&first), true, Duration::from_secs(2));
        assert_eq!(worth(&model, &access, 3), AccessToken::Invalid);
        let again = model.exchange(&request(&refresh), true, Duration::from_secs(3));
        assert!(matches!(again, Outcome::Refused { code: Some(-14014), .. }));
    }

    #[test]
    fn the_old_access_token_dies_when_the_variant_says_so() {
        for (rule, at_once, later, after_expiry) in [
            (OldAccessToken::DiesAtOnce, AccessToken::Invalid, AccessToken::Invalid, AccessToken::Invalid),
            (
                OldAccessToken::DiesAfter(Duration::from_secs(10)),
                AccessToken::Good,
                AccessToken::Invalid,
                AccessToken::Invalid,
            ),
            (OldAccessToken::DiesAtExpiry, AccessToken::Good, AccessToken::Good, AccessToken::Expired),
            (OldAccessToken::NeverDies, AccessToken::Good, AccessToken::Good, AccessToken::Good),
        ] {
            let mut model = Model::default();
            model.variant.old_access_token = rule;
            let grant = granted(&mut model);
            model.exchange(&request(&text(&grant, "refresh_token")), true, Duration::from_secs(5));
            let old = text(&grant, "access_token");
            let seen = [6, 20, 100_000].map(|now| worth(&model, &old, now));
            assert_eq!(seen, [at_once, later, after_expiry], "{rule:?}");
        }
    }

    #[test]
    fn a_refresh_token_past_its_end_is_invalid() {
        let mut model = Model::default();
        let refresh = text(&granted(&mut model), "refresh_token");
        let outcome = model.exchange(&request(&refresh), true, Duration::from_secs(91 * 86_400));
        assert!(matches!(outcome, Outcome::Refused { code: Some(-14014), .. }));
    }

    #[test]
    fn a_set_that_is_not_rotated_keeps_its_refresh_token_alive() {
        let mut model = Model::default();
        let grant = granted(&mut model);
        let refresh = text(&grant, "refresh_token");
        let Outcome::Granted { refresh: again, .. } =
            model.exchange(&request(&refresh), false, Duration::ZERO)
        else {
            panic!("a good token was refused")
        };
        assert_eq!(again, refresh);
        let next = model.exchange(&request(&refresh), true, Duration::from_secs(1));
        assert!(matches!(next, Outcome::Granted { .. }));
    }
}
