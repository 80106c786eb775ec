//! The directory: which name leads to which file, now and on the platter.

use std::collections::BTreeMap;

use crate::content::Odds;

/// What tells one file from all others.
pub(crate) type NodeId = u64;

#[derive(Clone, Debug)]
struct Change {
    name: String,
    node: NodeId,
    is_made: bool,
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, NodeId>) {
        if self.is_made {
            names.insert(self.name.clone(), self.node);
        } else {
            names.remove(&self.name);
        }
    }
}

/// The names of the files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    now: BTreeMap<String, NodeId>,
    synced: BTreeMap<String, NodeId>,
    unsynced: Vec<Change>,
}

impl Names {
    pub(crate) fn find(&self, name: &str) -> Option<NodeId> {
        self.now.get(name).copied()
    }

    pub(crate) fn has(&self, node: NodeId) -> bool {
        self.now.values().any(|named| *named == node)
    }

    /// Could a power loss bring a name of this file back?
    pub(crate) fn may_have(&self, node: NodeId) -> bool {
        self.has(node)
            || self.synced.values().any(|named| *named == node)
            || self.unsynced.iter().any(|change| change.node == node)
    }

    pub(crate) fn add(&mut self, name: &str, node: NodeId) {
        self.change(Change { name: name.to_owned(), node, is_made: true });
    }

    pub(crate) fn remove(&mut self, name: &str) {
        if let Some(node) = self.find(name) {
            self.change(Change { name: name.to_owned(), node, is_made: false });
        }
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.unsynced.push(change);
    }

    /// Brings the whole directory to the platter.
    pub(crate) fn sync(&mut self) {
        self.sync_first(self.unsynced.len());
    }

    /// A file was synced: its names are durable, and what the directory's journal has before them.
    pub(crate) fn sync_with(&mut self, node: NodeId) {
        let last = self.unsynced.iter().rposition(|change| change.node == node);
        self.sync_first(last.map_or(0, |index| index + 1));
    }

    fn sync_first(&mut self, count: usize) {
        for change in self.unsynced.drain(..count) {
            change.apply(&mut self.synced);
        }
    }

    /// What a machine finds after it lost its power: the changes up to some point in the directory's journal.
    pub(crate) fn after_power_loss(mut self, odds: &mut Odds) -> Names {
        self.sync_first(odds.kept_of(self.unsynced.len()));
        Names { now: self.synced.clone(), synced: self.synced, unsynced: Vec::new() }
    }
}
