//! Places that there are only so many of: in all, and for one account. Whoever has one gives it back by dropping it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::peer::Account;

/// The places.
pub(crate) struct Places {
    most: usize,
    most_of_one: usize,
    taken: Mutex<BTreeMap<Account, usize>>,
}

/// One of them.
pub(crate) struct Place {
    all: Arc<Places>,
    account: Account,
}

impl Places {
    pub(crate) fn new(most: usize, most_of_one: usize) -> Arc<Places> {
        Arc::new(Places { most, most_of_one, taken: Mutex::default() })
    }

    /// Takes one, if there is one for this account. Nothing is kept of who gets none.
    pub(crate) fn take(self: &Arc<Places>, account: Account) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.get(&account).copied().unwrap_or_default();
        if all >= self.most || own >= self.most_of_one {
            return None;
        }
        taken.insert(account, own + 1);
        Some(Place { all: Arc::clone(self), account })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.all.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.account) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_peer_has_more_than_half_of_the_connections_and_a_place_that_is_left_is_free() {
        let places = Places::new(4, 2);
        let enter = |uid| places.take(Account::User(uid));
        let (first, second) = (enter(1), enter(1));
        assert!(first.is_some() && second.is_some());
        assert!(enter(1).is_none(), "half of them are taken by one");
        let (third, fourth) = (enter(2), enter(3));
        assert!(third.is_some() && fourth.is_some());
        assert!(enter(4).is_none(), "all are taken");
        assert_eq!(places.taken.lock().expect("no panic").len(), 3, "nothing is kept of who was turned away");
        drop(first);
        assert!(enter(4).is_some());
        drop((second, third, fourth));
        assert!(places.taken.lock().expect("no panic").is_empty());
    }
}
