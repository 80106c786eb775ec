//! SQLite's locks on one file: the five levels of the database, and the eight places of the write-ahead log's index.

use std::collections::BTreeMap;

/// What tells one open file from all others.
pub(crate) type HandleId = u64;

/// How much of the file somebody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    None,
    Shared,
    Reserved,
    Pending,
    Exclusive,
}

/// Somebody else holds what was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Busy;

/// The places of the index that one holds, a bit each.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    shared: u8,
    exclusive: u8,
}

/// Who holds what of one file.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    levels: BTreeMap<HandleId, Level>,
    places: BTreeMap<HandleId, Places>,
}

impl Locks {
    fn of(&self, holder: HandleId) -> Level {
        self.levels.get(&holder).copied().unwrap_or(Level::None)
    }

    fn highest_but(&self, holder: HandleId) -> Level {
        self.levels
            .iter()
            .filter(|(other, _)| **other != holder)
            .map(|(_, level)| *level)
            .max()
            .unwrap_or(Level::None)
    }

    /// Raises the holder's lock. Who wants the file alone keeps newcomers out from the first try on.
    pub(crate) fn raise(&mut self, holder: HandleId, wanted: Level) -> Result<(), Busy> {
        if self.of(holder) >= wanted {
            return Ok(());
        }
        let others = self.highest_but(holder);
        let most = match wanted {
            Level::None => Level::Exclusive,
            Level::Shared => Level::Reserved,
            Level::Reserved | Level::Pending => Level::Shared,
            Level::Exclusive if others == Level::Shared => {
                self.levels.insert(holder, Level::Pending);
                return Err(Busy);
            }
            Level::Exclusive => Level::None,
        };
        if others > most {
            return Err(Busy);
        }
        self.levels.insert(holder, wanted);
        Ok(())
    }

    pub(crate) fn lower(&mut self, holder: HandleId, kept: Level) {
        if self.of(holder) > kept {
            self.levels.insert(holder, kept);
        }
    }

    /// Does anybody intend to write?
    pub(crate) fn is_reserved(&self) -> bool {
        self.levels.values().any(|level| *level >= Level::Reserved)
    }

    /// Takes the places of a mask, to share or alone.
    pub(crate) fn take(&mut self, holder: HandleId, mask: u8, is_shared: bool) -> Result<(), Busy> {
        let is_in_the_way = |(other, held): (&HandleId, &Places)| {
            let blocked = if is_shared { held.exclusive } else { held.exclusive | held.shared };
            *other != holder && blocked & mask != 0
        };
        if self.places.iter().any(is_in_the_way) {
            return Err(Busy);
        }
        let own = self.places.entry(holder).or_default();
        if is_shared {
            own.shared |= mask;
        } else {
            own.exclusive |= mask;
        }
        Ok(())
    }

    pub(crate) fn give_back(&mut self, holder: HandleId, mask: u8) {
        if let Some(own) = self.places.get_mut(&holder) {
            own.shared &= !mask;
            own.exclusive &= !mask;
        }
    }

    /// The holder has closed the index.
    pub(crate) fn leave_index(&mut self, holder: HandleId) {
        self.places.remove(&holder);
    }

    /// The holder has closed the file.
    pub(crate) fn leave(&mut self, holder: HandleId) {
        self.levels.remove(&holder);
        self.leave_index(holder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_and_one_writer_reserves_and_waits_for_them() {
        let mut locks = Locks::default();
        locks.raise(1, Level::Shared).expect("the first reader");
        locks.raise(2, Level::Shared).expect("the second reader");
        locks.raise(1, Level::Reserved).expect("the first writer");
        assert!(locks.is_reserved());
        assert_eq!(locks.raise(2, Level::Reserved), Err(Busy));
        assert_eq!(locks.raise(1, Level::Exclusive), Err(Busy));
        assert_eq!(locks.raise(3, Level::Shared), Err(Busy), "a writer waits, newcomers are kept out");
        locks.leave(2);
        locks.raise(1, Level::Exclusive).expect("alone");
        locks.lower(1, Level::None);
        locks.raise(3, Level::Shared).expect("free again");
    }

    #[test]
    fn a_place_of_the_index_is_held_by_many_to_share_or_by_one() {
        let mut locks = Locks::default();
        locks.take(1, 0b001, true).expect("shared");
        locks.take(2, 0b001, true).expect("shared");
        assert_eq!(locks.take(2, 0b011, false), Err(Busy));
        locks.give_back(1, 0b001);
        locks.take(2, 0b011, false).expect("nobody else holds it");
        assert_eq!(locks.take(1, 0b010, true), Err(Busy));
        locks.leave_index(2);
        locks.take(1, 0b010, true).expect("free again");
    }
}
