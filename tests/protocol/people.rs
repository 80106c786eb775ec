//! What people do: they grant consent and import, sometimes the wrong thing, and decide where nothing is proven.

use super::world::{Set, World};
use super::{Action, Mistake, Protocol, zalo::number};

impl Protocol {
    pub(super) fn steps_of_people(&self, world: &World, oa: usize, actions: &mut Vec<Action>) {
        if world.left.imports > 0 {
            actions.push(Action::Grant { oa });
            let granted = (0..).zip(&world.oas[oa].sets).filter(|(_, set)| set.is_from_consent);
            actions.extend(granted.map(|(set, _)| Action::ImportAgain { oa, set }));
        }
        if world.left.decisions > 0 && world.oas[oa].row.undecided().is_some() {
            actions.push(Action::ResolvePresent { oa });
            actions.push(Action::ResolveGiveUp { oa });
        }
    }

    pub(super) fn grant(&self, world: &mut World, oa: usize) -> bool {
        let place = &mut world.oas[oa];
        place.sets.push(Set::from_consent());
        let set = number(place.sets.len() - 1);
        place.row.import(self, set);
        world.left.imports -= 1;
        true
    }

    /// Refused: the current set, and one that was presented and is not proven unspent.
    pub(super) fn import_again(&self, world: &mut World, oa: usize, set: u8) -> bool {
        let row = &mut world.oas[oa].row;
        let is_used = row.is_used(set) && !self.makes(Mistake::ImportTakesUsedSets);
        if row.set == set || is_used {
            return false;
        }
        row.import(self, set);
        world.left.imports -= 1;
        true
    }
}

impl World {
    pub(super) fn decide(&mut self, oa: usize, present: bool) -> bool {
        self.left.decisions -= 1;
        self.oas[oa].row.resolve(present)
    }
}
