//! One computer: its files, who has them open, what goes wrong with them, and whether it is up at all.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Duration;

use crate::content::{Content, Odds};
use crate::dice::Dice;
use crate::disk::Loss;
use crate::faults::{FaultKind, Faults, Trouble};
use crate::locks::{HandleId, Locks};
use crate::names::{Names, NodeId};
use crate::shared_memory::SharedMemory;

/// A file: its content, and who has it open.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) content: Content,
    pub(crate) locks: Locks,
    pub(crate) index: Weak<SharedMemory>,
    handles: usize,
}

/// Which open file asks, and in which life of the machine it was opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(crate) node: NodeId,
    pub(crate) handle: HandleId,
    life: u64,
}

/// How much of an operation is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    Whole,
    Half,
}

impl Extent {
    fn need_whole(self) -> Result<(), Trouble> {
        if self == Extent::Whole { Ok(()) } else { Err(Trouble::Io) }
    }
}

/// How a file is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    /// Make it if there is none.
    pub(crate) may_make: bool,
    /// Fail if there is one.
    pub(crate) must_make: bool,
    /// It loses its name at once, and goes with whoever has it open.
    pub(crate) is_fleeting: bool,
}

/// Everything about the computer, behind one lock.
#[derive(Debug)]
pub(crate) struct Machine {
    /// One more with each restart.
    life: u64,
    is_down: bool,
    nodes: BTreeMap<NodeId, Node>,
    names: Names,
    next_id: u64,
    pub(crate) faults: Faults,
    /// How much the files may grow together.
    pub(crate) room: Option<u64>,
    pub(crate) sync_delay: Duration,
    pub(crate) dice: Dice,
}

impl Machine {
    pub(crate) fn new() -> Machine {
        Machine {
            life: 0,
            is_down: false,
            nodes: BTreeMap::new(),
            names: Names::default(),
            next_id: 1,
            faults: Faults::default(),
            room: None,
            sync_delay: Duration::ZERO,
            dice: Dice::of(0),
        }
    }

    /// Another computer with the same disk, on which nobody has anything open and nothing is to go wrong.
    pub(crate) fn copy(&self) -> Machine {
        let copied =
            |(id, node): (&NodeId, &Node)| (*id, Node { content: node.content.clone(), ..Node::default() });
        let mut copy = Machine {
            life: self.life,
            is_down: self.is_down,
            nodes: self.nodes.iter().map(copied).collect(),
            names: self.names.clone(),
            next_id: self.next_id,
            faults: Faults::counting_from(self.faults.operations()),
            room: self.room,
            sync_delay: self.sync_delay,
            dice: self.dice.clone(),
        };
        copy.forget_unreachable();
        copy
    }

    pub(crate) fn is_down(&self) -> bool {
        self.is_down
    }

    pub(crate) fn content(&self, name: &str) -> Option<&Content> {
        self.names.find(name).and_then(|node| self.nodes.get(&node)).map(|node| &node.content)
    }

    pub(crate) fn restart(&mut self, loss: Loss) {
        self.life += 1;
        self.is_down = false;
        if let Loss::Unsynced { seed } = loss {
            let mut odds = Odds::of(seed);
            self.names = std::mem::take(&mut self.names).after_power_loss(&mut odds);
            for node in self.nodes.values_mut() {
                node.content = node.content.after_power_loss(&mut odds);
            }
        }
        for node in self.nodes.values_mut() {
            *node = Node { content: std::mem::take(&mut node.content), ..Node::default() };
        }
        self.forget_unreachable();
    }

    fn forget_unreachable(&mut self) {
        let Machine { nodes, names, .. } = self;
        nodes.retain(|id, node| node.handles > 0 || names.may_have(*id));
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The file that an open one is, unless the process that opened it is dead.
    pub(crate) fn node(&mut self, ticket: Ticket) -> Result<&mut Node, Trouble> {
        if self.is_down || ticket.life != self.life {
            return Err(Trouble::Down);
        }
        self.nodes.get_mut(&ticket.node).ok_or(Trouble::Down)
    }

    /// Does the file's name still lead to it?
    pub(crate) fn has_name(&self, ticket: Ticket) -> bool {
        self.names.has(ticket.node)
    }

    /// Counts an operation and does as much of it as the faults let through.
    fn counted<T>(
        &mut self,
        act: impl FnOnce(&mut Machine, Extent) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        match self.faults.count_operation() {
            None if self.faults.lasting() == Some(Trouble::Io) => Err(Trouble::Io),
            None | Some(FaultKind::FullForever) => act(self, Extent::Whole),
            Some(FaultKind::Io | FaultKind::IoForever | FaultKind::ReadIo) => Err(Trouble::Io),
            Some(FaultKind::Full) => Err(Trouble::Full),
            Some(FaultKind::ShortWrite) => act(self, Extent::Half).and(Err(Trouble::Full)),
            Some(FaultKind::FalseAlarm) => act(self, Extent::Whole).and(Err(Trouble::Io)),
            Some(FaultKind::CrashBefore) => {
                self.is_down = true;
                Err(Trouble::Down)
            }
            Some(FaultKind::CrashAfter) => {
                let done = act(self, Extent::Whole);
                self.is_down = true;
                done.and(Err(Trouble::Down))
            }
        }
    }

    /// Opens a file, or makes one. Without a name it is a fleeting one.
    pub(crate) fn open(&mut self, name: Option<&str>, opening: Opening) -> Result<Ticket, Trouble> {
        if self.is_down {
            return Err(Trouble::Down);
        }
        let node = match name.and_then(|name| self.names.find(name)) {
            Some(_) if opening.must_make => return Err(Trouble::Exists),
            Some(node) => node,
            None if !opening.may_make => return Err(Trouble::Missing),
            None => self.counted(|machine, extent| {
                extent.need_whole()?;
                if machine.faults.lasting() == Some(Trouble::Full) {
                    return Err(Trouble::Full);
                }
                let node = machine.new_id();
                machine.nodes.insert(node, Node::default());
                if let Some(name) = name.filter(|_| !opening.is_fleeting) {
                    machine.names.add(name, node);
                }
                Ok(node)
            })?,
        };
        let ticket = Ticket { node, handle: self.new_id(), life: self.life };
        self.node(ticket)?.handles += 1;
        Ok(ticket)
    }

    pub(crate) fn close(&mut self, ticket: Ticket) {
        if ticket.life != self.life {
            return;
        }
        if let Some(node) = self.nodes.get_mut(&ticket.node) {
            node.locks.leave(ticket.handle);
            node.handles -= 1;
        }
        self.forget_unreachable();
    }

    pub(crate) fn delete(&mut self, name: &str, is_synced: bool) -> Result<(), Trouble> {
        if self.is_down {
            return Err(Trouble::Down);
        }
        let content = self.content(name).ok_or(Trouble::Missing)?;
        let freed = content.len() as u64;
        self.counted(|machine, extent| {
            extent.need_whole()?;
            machine.names.remove(name);
            if is_synced {
                machine.names.sync();
            }
            machine.free(freed);
            machine.forget_unreachable();
            Ok(())
        })
    }

    pub(crate) fn read(
        &mut self,
        ticket: Ticket,
        offset: usize,
        buffer: &mut [u8],
    ) -> Result<usize, Trouble> {
        self.node(ticket)?;
        if self.faults.count_read() {
            return Err(Trouble::Io);
        }
        Ok(self.node(ticket)?.content.read(offset, buffer))
    }

    pub(crate) fn write(&mut self, ticket: Ticket, offset: usize, data: &[u8]) -> Result<(), Trouble> {
        self.node(ticket)?;
        self.counted(|machine, extent| {
            let data = if extent == Extent::Whole { data } else { &data[..data.len() / 2] };
            let length = machine.node(ticket)?.content.len();
            let end = length.max(offset + data.len());
            let lacking = usize::try_from(machine.claim((end - length) as u64)).unwrap_or(usize::MAX);
            let fitting = &data[..data.len().saturating_sub(lacking)];
            if !fitting.is_empty() {
                machine.node(ticket)?.content.write(offset, fitting);
            }
            if lacking > 0 { Err(Trouble::Full) } else { Ok(()) }
        })
    }

    pub(crate) fn resize(&mut self, ticket: Ticket, length: usize) -> Result<(), Trouble> {
        self.node(ticket)?;
        self.counted(|machine, extent| {
            extent.need_whole()?;
            let before = machine.node(ticket)?.content.len();
            if machine.claim(length.saturating_sub(before) as u64) > 0 {
                return Err(Trouble::Full);
            }
            machine.free(before.saturating_sub(length) as u64);
            machine.node(ticket)?.content.resize(length);
            Ok(())
        })
    }

    pub(crate) fn sync(&mut self, ticket: Ticket) -> Result<(), Trouble> {
        self.node(ticket)?;
        let synced = self.counted(|machine, extent| {
            extent.need_whole()?;
            machine.node(ticket)?.content.sync();
            machine.names.sync_with(ticket.node);
            Ok(())
        });
        if matches!(synced, Err(Trouble::Io | Trouble::Full)) {
            // After a false alarm nothing is left to be in doubt.
            self.node(ticket)?.content.doubt();
        }
        synced
    }

    pub(crate) fn drop_cache(&mut self, ticket: Ticket, seed: u64) -> Result<(), Trouble> {
        self.node(ticket)?.content.drop_cache(&mut Odds::of(seed));
        Ok(())
    }

    pub(crate) fn sync_names(&mut self) -> Result<(), Trouble> {
        if self.is_down {
            return Err(Trouble::Down);
        }
        self.counted(|machine, extent| {
            extent.need_whole()?;
            machine.names.sync();
            Ok(())
        })
    }

    /// Takes room for growing; returns how much of it there is not.
    fn claim(&mut self, growth: u64) -> u64 {
        if self.faults.lasting() == Some(Trouble::Full) {
            return growth;
        }
        let Some(room) = &mut self.room else { return 0 };
        let taken = growth.min(*room);
        *room -= taken;
        growth - taken
    }

    fn free(&mut self, bytes: u64) {
        if let Some(room) = &mut self.room {
            *room += bytes;
        }
    }
}
