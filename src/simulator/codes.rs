//! Authorization codes: what each was made for, and whether one that is presented is good. Pure but for the making of
//! them: the time is an argument, counted from the simulator's start. Who may have one made is for `consent` to say,
//! and what comes of a good one for `model`. May import id and secret.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::model::{MARKER, Request, stem};
use crate::id::{AppId, OaId};
use crate::secret::{Digest, Secret};

#[derive(Debug)]
pub(super) struct Code {
    pub(super) app: AppId,
    pub(super) oa: OaId,
    pub(super) spent: bool,
    challenge: String,
    ends: Duration,
}

/// Why a code is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadCode {
    /// There is none such, or it is another app's.
    Invalid,
    /// It was presented before, and spent.
    Spent,
    Expired,
    /// The verifier is not the one that the challenge was made from.
    OtherVerifier,
}

#[derive(Debug, Default)]
pub(super) struct Codes {
    all: Vec<Code>,
    by_code: HashMap<Digest, usize>,
    /// Codes without their last character: what a gate that is still shut lets one see.
    by_stem: HashMap<Digest, usize>,
}

impl Codes {
    /// A new code, good until `ends`.
    pub(super) fn make(&mut self, app: AppId, oa: OaId, challenge: String, ends: Duration) -> Secret {
        // Two random names: 244 bits that nobody can guess.
        let [before, after] = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
        let code = Secret::new(format!("{}{MARKER}{}", before.simple(), after.simple()));
        self.by_code.insert(code.digest(), self.all.len());
        self.by_stem.insert(stem(code.expose()), self.all.len());
        self.all.push(Code { app, oa, spent: false, challenge, ends });
        code
    }

    pub(super) fn find(&self, code: Digest) -> Option<&Code> {
        self.by_code.get(&code).map(|index| &self.all[*index])
    }

    /// The same, by the digest of the code without its last character.
    pub(super) fn find_stem(&self, stem: Digest) -> Option<&Code> {
        self.by_stem.get(&stem).map(|index| &self.all[*index])
    }

    /// Spends the code if it is good. One that does not fit its verifier stays as it is.
    pub(super) fn spend(&mut self, request: &Request, now: Duration) -> Result<(AppId, OaId), BadCode> {
        let index = self.by_code.get(&request.presented.digest()).ok_or(BadCode::Invalid)?;
        let code = &mut self.all[*index];
        if code.app != request.app {
            return Err(BadCode::Invalid);
        }
        if code.spent {
            return Err(BadCode::Spent);
        }
        if code.ends <= now {
            return Err(BadCode::Expired);
        }
        let verifier = request.verifier.as_ref().map_or("", Secret::expose);
        if challenge_of(verifier) != code.challenge {
            return Err(BadCode::OtherVerifier);
        }
        code.spent = true;
        Ok((code.app.clone(), code.oa.clone()))
    }
}

/// The challenge of a verifier (RFC 7636 section 4.2, S256).
pub(super) fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7636, appendix B.
    #[test]
    fn the_challenge_is_that_of_the_rfc() {
        let challenge = challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
