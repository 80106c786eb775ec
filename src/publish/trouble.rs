//! What of a publisher does not work, so that it is said once and not with each try.

use std::collections::BTreeMap;

use super::events;
use crate::clock::Time;
use crate::id::OaId;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    /// It is tried again.
    TriedAgain,
    /// Something was given up.
    GivenUp,
}

/// The troubles of one publisher, by OA.
#[derive(Debug, Default)]
pub(super) struct Troubles(BTreeMap<Option<OaId>, Trouble>);

impl Troubles {
    /// It did not work. Without `retry_at` it is not tried again.
    pub(super) fn failed(
        &mut self,
        publisher: &str,
        oa_id: Option<&OaId>,
        detail: &str,
        retry_at: Option<Time>,
    ) {
        let now = if retry_at.is_some() { Trouble::TriedAgain } else { Trouble::GivenUp };
        if self.worsens(oa_id, now) {
            events::failed(publisher, oa_id, detail, retry_at);
        }
    }

    fn worsens(&mut self, oa_id: Option<&OaId>, now: Trouble) -> bool {
        let before = self.0.get(&oa_id.cloned()).copied();
        let is_worse = before.is_none_or(|before| before < now);
        if is_worse {
            self.0.insert(oa_id.cloned(), now);
        }
        is_worse
    }

    /// It worked.
    pub(super) fn worked(&mut self, publisher: &str, oa_id: Option<&OaId>) {
        if !self.0.is_empty() && self.0.remove(&oa_id.cloned()).is_some() {
            events::recovered(publisher, oa_id);
        }
    }

    /// Whatever it was, it is over without having worked.
    pub(super) fn forget(&mut self, oa_id: Option<&OaId>) {
        self.0.remove(&oa_id.cloned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_said_once_and_once_more_when_it_gets_worse() {
        let mut troubles = Troubles::default();
        let (seven, eight) = (OaId::from("7"), OaId::from("8"));
        let said: Vec<bool> = [
            (&seven, Trouble::TriedAgain),
            (&seven, Trouble::TriedAgain),
            (&eight, Trouble::TriedAgain),
            (&seven, Trouble::GivenUp),
            (&seven, Trouble::TriedAgain),
            (&seven, Trouble::GivenUp),
        ]
        .into_iter()
        .map(|(oa_id, now)| troubles.worsens(Some(oa_id), now))
        .collect();
        assert_eq!(said, [true, false, true, true, false, false]);
        troubles.worked("file", Some(&seven));
        assert!(troubles.worsens(Some(&seven), Trouble::TriedAgain), "it may fail anew");
    }
}
