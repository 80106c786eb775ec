//! Who may do what with which OA. Pure.
//!
//! The daemon's own user and root may do everything; members of the socket's group may read and report; further rights are
//! those of `[[access]]`. Nothing is taken away by a rule.

use std::collections::BTreeSet;

use subtle::ConstantTimeEq;

use super::caller::Caller;
use crate::config::{Access, Api, Verb, Who};
use crate::id::OaId;
use crate::secret::Digest;
use crate::web::Peer;

/// The rights in force.
#[derive(Debug)]
pub(super) struct Rights {
    /// The daemon's own user.
    own_uid: u32,
    /// The socket's group.
    socket_group: u32,
    access: Vec<Access>,
}

/// With which OAs something may be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reach {
    All,
    These(BTreeSet<OaId>),
}

impl Rights {
    pub(super) fn of(api: &Api) -> Rights {
        Rights {
            own_uid: rustix::process::geteuid().as_raw(),
            socket_group: api.group.unwrap_or_else(|| rustix::process::getegid().as_raw()),
            access: api.access.clone(),
        }
    }

    /// With this OA?
    pub(super) fn may(&self, caller: &Caller, verb: Verb, oa_id: &OaId) -> bool {
        self.is_granted(caller, verb, |access| access.oas.as_ref().is_none_or(|oas| oas.contains(oa_id)))
    }

    /// With all OAs?
    pub(super) fn may_all(&self, caller: &Caller, verb: Verb) -> bool {
        self.is_granted(caller, verb, |access| access.oas.is_none())
    }

    /// With any OA?
    pub(super) fn may_any(&self, caller: &Caller, verb: Verb) -> bool {
        self.is_granted(caller, verb, |access| access.oas.as_ref().is_none_or(|oas| !oas.is_empty()))
    }

    /// With which ones?
    pub(super) fn oas(&self, caller: &Caller, verb: Verb) -> Reach {
        if self.may_all(caller, verb) {
            return Reach::All;
        }
        let granting = self.access.iter().filter(|access| access.grants(caller, verb));
        Reach::These(granting.flat_map(|access| access.oas.iter().flatten()).cloned().collect())
    }

    /// Is the token that the caller shows, if he shows one, nobody's?
    pub(super) fn is_stranger(&self, caller: &Caller) -> bool {
        caller.bearer.as_ref().is_some_and(|token| !self.has(token))
    }

    /// Has a token with this digest any rights?
    pub(super) fn has(&self, token: &Digest) -> bool {
        self.access.iter().any(|access| is_token(&access.who, token))
    }

    fn is_granted(&self, caller: &Caller, verb: Verb, is_about: impl Fn(&Access) -> bool) -> bool {
        self.by_default(&caller.peer, verb)
            || self.access.iter().any(|access| access.grants(caller, verb) && is_about(access))
    }

    fn by_default(&self, peer: &Peer, verb: Verb) -> bool {
        match peer {
            Peer::Process { uid, .. } if *uid == 0 || *uid == self.own_uid => true,
            Peer::Process { groups, .. } => {
                matches!(verb, Verb::Read | Verb::Report) && groups.contains(&self.socket_group)
            }
            Peer::Address(_) => false,
        }
    }
}

impl Access {
    fn grants(&self, caller: &Caller, verb: Verb) -> bool {
        self.verbs.contains(&verb) && is_meant(&self.who, caller)
    }
}

fn is_meant(who: &Who, caller: &Caller) -> bool {
    match (who, &*caller.peer) {
        (Who::User(meant), Peer::Process { uid, .. }) => uid == meant,
        (Who::Group(meant), Peer::Process { groups, .. }) => groups.contains(meant),
        (Who::User(_) | Who::Group(_), Peer::Address(_)) => false,
        (Who::Bearer(_), _) => caller.bearer.as_ref().is_some_and(|token| is_token(who, token)),
    }
}

/// Compared by digests, and in a time that tells nothing.
fn is_token(who: &Who, shown: &Digest) -> bool {
    match who {
        Who::Bearer(Some(token)) => token.digest().as_bytes().ct_eq(shown.as_bytes()).into(),
        Who::Bearer(None) | Who::User(_) | Who::Group(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use std::net::IpAddr;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn rights() -> Rights {
        let oa = |id: &str| Some([OaId::from(id)].into());
        Rights {
            own_uid: 900,
            socket_group: 901,
            access: vec![
                Access { who: Who::User(33), oas: oa("7"), verbs: [Verb::Read].into() },
                Access { who: Who::Group(50), oas: None, verbs: [Verb::Admin].into() },
                Access {
                    who: Who::Bearer(Some(Secret::new(TOKEN.to_owned()))),
                    oas: oa("8"),
                    verbs: [Verb::Read, Verb::Report].into(),
                },
                Access { who: Who::Bearer(None), oas: None, verbs: [Verb::Admin].into() },
            ],
        }
    }

    fn process(uid: u32, groups: &[u32]) -> Caller {
        Caller {
            peer: Peer::Process { uid, groups: groups.to_vec() }.into(),
            bearer: None,
            has_session: false,
        }
    }

    fn remote(token: Option<&str>) -> Caller {
        let bearer = token.map(|token| Secret::new(token.to_owned()).digest());
        Caller { peer: Peer::Address(IpAddr::from([127, 0, 0, 1])).into(), bearer, has_session: false }
    }

    /// The verbs that the caller has with OA 7, OA 8, and all OAs.
    fn table(caller: &Caller) -> [String; 3] {
        let rights = rights();
        let letters = |may: &dyn Fn(Verb) -> bool| -> String {
            [Verb::Read, Verb::Report, Verb::Admin]
                .into_iter()
                .filter(|verb| may(*verb))
                .map(|verb| &verb.word()[..2])
                .collect()
        };
        [
            letters(&|verb| rights.may(caller, verb, &"7".into())),
            letters(&|verb| rights.may(caller, verb, &"8".into())),
            letters(&|verb| rights.may_all(caller, verb)),
        ]
    }

    #[test]
    fn everybody_may_what_the_table_says_and_nothing_else() {
        assert_eq!(table(&process(0, &[])), ["reread", "reread", "reread"]);
        assert_eq!(table(&process(900, &[])), ["reread", "reread", "reread"]);
        assert_eq!(table(&process(34, &[901])), ["rere", "rere", "rere"]);
        assert_eq!(table(&process(33, &[1])), ["re", "", ""]);
        assert_eq!(table(&process(34, &[1, 50])), ["ad", "ad", "ad"]);
        assert_eq!(table(&process(34, &[1])), ["", "", ""]);
        assert_eq!(table(&remote(None)), ["", "", ""]);
        assert_eq!(table(&remote(Some(TOKEN))), ["", "rere", ""]);
        assert_eq!(table(&remote(Some("other"))), ["", "", ""]);
        assert_eq!(
            table(&Caller { bearer: remote(Some(TOKEN)).bearer, ..process(33, &[]) }),
            ["re", "rere", ""]
        );
    }

    #[test]
    fn a_token_that_nobody_has_makes_a_stranger() {
        let rights = rights();
        assert!(rights.is_stranger(&remote(Some("other"))));
        assert!(!rights.is_stranger(&remote(Some(TOKEN))) && !rights.is_stranger(&remote(None)));
        assert!(rights.may_any(&remote(Some(TOKEN)), Verb::Read));
        assert_eq!(rights.oas(&remote(Some(TOKEN)), Verb::Read), Reach::These([OaId::from("8")].into()));
        assert_eq!(rights.oas(&process(34, &[901]), Verb::Read), Reach::All);
        assert!(!rights.may_any(&remote(Some(TOKEN)), Verb::Admin));
    }
}
