//! The model of Zalo: its sets of tokens, what it does with a request, what it says about an access token.
//!
//! It knows nothing of the client. What the client may do is judged in `ledger`.

use std::collections::HashMap;

use zalo_tokend::id::{AppId, OaId};

use crate::clocks::{DAY, MINUTE, SECOND};

/// How this Zalo behaves where nothing is documented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    pub old_token: OldToken,
    pub reuse_revokes_family: bool,
    /// A spent refresh token is answered with an empty body instead of a code.
    pub spent_is_empty: bool,
}

impl Variant {
    /// Does an old access token outlive its successor so long that asking with it misleads?
    pub fn may_mislead(self) -> bool {
        match self.old_token {
            OldToken::AtOnce => false,
            OldToken::After(delay) => delay >= MINUTE,
            OldToken::AtItsEnd | OldToken::Never => true,
        }
    }
}

/// When an access token dies whose successor was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OldToken {
    AtOnce,
    After(u64),
    AtItsEnd,
    Never,
}

pub type SetId = usize;

/// One set of tokens, as Zalo keeps it.
pub struct Set {
    pub oa_id: OaId,
    pub app_id: AppId,
    pub access: String,
    pub refresh: String,
    pub made_at: u64,
    family: usize,
    access_until: u64,
    refresh_until: u64,
    pub is_spent: bool,
    is_revoked: bool,
}

/// What became of a refresh token that Zalo looked at.
pub enum Refresh {
    Spent {
        successor: SetId,
    },
    /// It cannot be used: spent before, revoked, too old, another app's.
    Dead,
}

pub struct Zalo {
    pub variant: Variant,
    sets: Vec<Set>,
    by_refresh: HashMap<String, SetId>,
    by_access: HashMap<String, SetId>,
    families: usize,
    pub access_life: u64,
    pub refresh_life: u64,
}

impl Zalo {
    pub fn new(variant: Variant) -> Zalo {
        let (sets, by_refresh, by_access) = (Vec::new(), HashMap::new(), HashMap::new());
        let (access_life, refresh_life) = (90_000 * SECOND, 90 * DAY);
        Zalo { variant, sets, by_refresh, by_access, families: 0, access_life, refresh_life }
    }

    pub fn set(&self, id: SetId) -> &Set {
        &self.sets[id]
    }

    pub fn of_refresh(&self, refresh: &str) -> Option<SetId> {
        self.by_refresh.get(refresh).copied()
    }

    /// The set that this one's refresh token is of now: another one, if only the access token was renewed.
    pub fn newest_of(&self, id: SetId) -> SetId {
        self.of_refresh(&self.sets[id].refresh).unwrap_or(id)
    }

    pub fn of_access(&self, access: &str) -> Option<SetId> {
        self.by_access.get(access).copied()
    }

    /// A person grants consent.
    pub fn grant(&mut self, oa_id: &OaId, app_id: &AppId, now: u64) -> SetId {
        self.families += 1;
        self.make(oa_id.clone(), app_id.clone(), self.families, now)
    }

    fn make(&mut self, oa_id: OaId, app_id: AppId, family: usize, now: u64) -> SetId {
        let id = self.sets.len();
        // The marker is looked for in everything that the program says.
        let (access, refresh) = (format!("s3cr3t-access-{id}"), format!("s3cr3t-refresh-{id}"));
        self.by_access.insert(access.clone(), id);
        self.by_refresh.insert(refresh.clone(), id);
        let (access_until, refresh_until) = (now + self.access_life, now + self.refresh_life);
        let (is_spent, is_revoked) = (false, false);
        self.sets.push(Set {
            oa_id,
            app_id,
            access,
            refresh,
            made_at: now,
            family,
            access_until,
            refresh_until,
            is_spent,
            is_revoked,
        });
        id
    }

    pub fn can_be_spent(&self, id: SetId, now: u64) -> bool {
        let set = &self.sets[id];
        !set.is_spent && !set.is_revoked && now < set.refresh_until
    }

    pub fn accepts(&self, id: SetId, now: u64) -> bool {
        now < self.sets[id].access_until
    }

    /// Is it accepted although its own life is over?
    pub fn has_outlived_itself(&self, id: SetId, now: u64) -> bool {
        now >= self.sets[id].made_at + self.access_life
    }

    /// A whole request for tokens is worked on.
    pub fn refresh(&mut self, refresh: &str, app_id: &AppId, now: u64) -> Refresh {
        let Some(id) = self.of_refresh(refresh) else { return Refresh::Dead };
        if self.sets[id].app_id != *app_id || !self.can_be_spent(id, now) {
            if self.sets[id].is_spent && self.variant.reuse_revokes_family {
                self.revoke(self.sets[id].family, now);
            }
            return Refresh::Dead;
        }
        self.sets[id].is_spent = true;
        self.supersede(id, now);
        let old = &self.sets[id];
        let (oa_id, app_id, family) = (old.oa_id.clone(), old.app_id.clone(), old.family);
        Refresh::Spent { successor: self.make(oa_id, app_id, family, now) }
    }

    /// A new access token, and the same refresh token once more.
    pub fn renew(&mut self, refresh: &str, app_id: &AppId, now: u64) -> Option<SetId> {
        let id = self.of_refresh(refresh)?;
        if self.sets[id].app_id != *app_id || !self.can_be_spent(id, now) {
            return None;
        }
        self.supersede(id, now);
        let (oa_id, family) = (self.sets[id].oa_id.clone(), self.sets[id].family);
        let renewed = self.make(oa_id, app_id.clone(), family, now);
        self.sets[renewed].refresh = refresh.to_owned();
        self.by_refresh.insert(refresh.to_owned(), renewed);
        Some(renewed)
    }

    fn supersede(&mut self, id: SetId, now: u64) {
        let old = &mut self.sets[id];
        old.access_until = match self.variant.old_token {
            OldToken::AtOnce => old.access_until.min(now),
            OldToken::After(delay) => old.access_until.min(now + delay),
            OldToken::AtItsEnd => old.access_until,
            OldToken::Never => u64::MAX,
        };
    }

    fn revoke(&mut self, family: usize, now: u64) {
        for set in self.sets.iter_mut().filter(|set| set.family == family) {
            set.is_revoked = true;
            set.access_until = set.access_until.min(now);
        }
    }
}
