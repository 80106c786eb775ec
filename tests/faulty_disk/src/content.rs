//! What is in a file: as it is read now, as it stands on the platter, and what lies between.

use crate::dice::Dice;

/// A part of a file that was written.
#[derive(Clone, Debug)]
struct Piece {
    offset: usize,
    data: Vec<u8>,
}

impl Piece {
    fn end(&self) -> usize {
        self.offset + self.data.len()
    }

    fn put_into(&self, bytes: &mut Vec<u8>) {
        put(bytes, self.offset, &self.data);
    }
}

#[derive(Clone, Debug)]
enum Change {
    Written(Piece),
    Resized(usize),
}

/// The content of a file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    /// What everybody reads.
    bytes: Vec<u8>,
    /// What is on the platter, as far as it is known.
    synced: Vec<u8>,
    /// What a failed sync was to bring there: each piece may be there or not.
    doubts: Vec<Piece>,
    /// What happened since the last sync, in its order.
    unsynced: Vec<Change>,
}

impl Content {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Copies what is there; returns how much that was.
    pub(crate) fn read(&self, offset: usize, buffer: &mut [u8]) -> usize {
        let there = self.bytes.get(offset..).unwrap_or_default();
        let length = there.len().min(buffer.len());
        buffer[..length].copy_from_slice(&there[..length]);
        length
    }

    pub(crate) fn write(&mut self, offset: usize, data: &[u8]) {
        put(&mut self.bytes, offset, data);
        self.unsynced.push(Change::Written(Piece { offset, data: data.to_vec() }));
    }

    pub(crate) fn resize(&mut self, length: usize) {
        self.bytes.resize(length, 0);
        self.unsynced.push(Change::Resized(length));
    }

    /// Brings everything to the platter.
    pub(crate) fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Written(piece) => {
                    piece.put_into(&mut self.synced);
                    self.settle(piece.offset, piece.end());
                }
                Change::Resized(length) => {
                    self.synced.resize(length, 0);
                    self.settle(length, usize::MAX);
                }
            }
        }
    }

    /// A sync failed: what was written is in doubt, and no later sync will try it again. Lengths are not, they are in the
    /// file system's own journal.
    pub(crate) fn doubt(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            match change {
                Change::Written(piece) => self.doubts.push(piece),
                resized @ Change::Resized(_) => self.unsynced.push(resized),
            }
        }
    }

    /// What is clean is read anew: what was in doubt turns out to be there or not. What is dirty stays.
    pub(crate) fn drop_cache(&mut self, odds: &mut Odds) {
        for piece in std::mem::take(&mut self.doubts) {
            odds.keep_some_of(&piece, &mut self.synced);
        }
        self.bytes.clone_from(&self.synced);
        for change in &self.unsynced {
            match change {
                Change::Written(piece) => piece.put_into(&mut self.bytes),
                Change::Resized(length) => self.bytes.resize(*length, 0),
            }
        }
    }

    /// Of what is in doubt, nothing is within this range any more.
    fn settle(&mut self, from: usize, to: usize) {
        let pieces = std::mem::take(&mut self.doubts);
        self.doubts = pieces.into_iter().flat_map(|piece| without(piece, from, to)).collect();
    }

    /// What a machine finds after it lost its power: of all that is not certain each write is there, or is not, or parts
    /// of it are; each change of the length is there or not.
    pub(crate) fn after_power_loss(&self, dice: &mut Odds) -> Content {
        let mut bytes = self.synced.clone();
        for piece in &self.doubts {
            dice.keep_some_of(piece, &mut bytes);
        }
        for change in &self.unsynced {
            match change {
                Change::Written(piece) => dice.keep_some_of(piece, &mut bytes),
                Change::Resized(length) if dice.is_kept() => bytes.resize(*length, 0),
                Change::Resized(_) => {}
            }
        }
        Content { synced: bytes.clone(), bytes, ..Content::default() }
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(data);
}

/// What remains of a piece outside of a range.
fn without(piece: Piece, from: usize, to: usize) -> Vec<Piece> {
    let (offset, end) = (piece.offset, piece.end());
    if to <= offset || end <= from {
        return vec![piece];
    }
    let mut left = Vec::new();
    if offset < from {
        left.push(Piece { offset, data: piece.data[..from - offset].to_vec() });
    }
    if to < end {
        left.push(Piece { offset: to, data: piece.data[to - offset..].to_vec() });
    }
    left
}

/// How much of what is not durable a power failure spares.
#[derive(Debug)]
pub(crate) struct Odds {
    dice: Dice,
    /// Of eight changes, so many are kept, and so many are torn.
    kept: usize,
    torn: usize,
    sector: usize,
}

impl Odds {
    /// Seed 0 spares nothing; each other one has odds of its own.
    pub(crate) fn of(seed: u64) -> Odds {
        let mut dice = Dice::of(seed);
        let kept = [1, 4, 6][dice.below(3)];
        let torn = [0, 1, 2][dice.below(3)];
        let sector = [512, 4096][dice.below(2)];
        if seed == 0 { Odds { dice, kept: 0, torn: 0, sector } } else { Odds { dice, kept, torn, sector } }
    }

    pub(crate) fn is_kept(&mut self) -> bool {
        self.dice.below(8) < self.kept
    }

    /// How many of so many are kept, counted from the first.
    pub(crate) fn kept_of(&mut self, count: usize) -> usize {
        if self.kept == 0 { 0 } else { self.dice.below(count + 1) }
    }

    fn keep_some_of(&mut self, piece: &Piece, bytes: &mut Vec<u8>) {
        let roll = self.dice.below(8);
        if roll < self.kept {
            piece.put_into(bytes);
        } else if roll < self.kept + self.torn {
            self.tear(piece, bytes);
        }
    }

    /// Of each sector: what was to be written, what was there before, or rubbish. Bytes beside what was written are
    /// never touched, as SQLite assumes by default (`SQLITE_IOCAP_POWERSAFE_OVERWRITE`).
    fn tear(&mut self, piece: &Piece, bytes: &mut Vec<u8>) {
        let mut from = piece.offset;
        while from < piece.end() {
            let to = ((from / self.sector + 1) * self.sector).min(piece.end());
            let mut part = piece.data[from - piece.offset..to - piece.offset].to_vec();
            match self.dice.below(8) {
                0..4 => put(bytes, from, &part),
                7 => {
                    self.dice.fill(&mut part);
                    put(bytes, from, &part);
                }
                _ => {}
            }
            from = to;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(offset: usize, data: &[u8]) -> Content {
        let mut content = Content::default();
        content.write(offset, data);
        content
    }

    #[test]
    fn what_was_synced_is_found_after_every_power_loss() {
        let mut content = written(0, &[7; 10_000]);
        content.sync();
        content.write(2_000, &[8; 5_000]);
        for seed in 0..100 {
            let found = content.after_power_loss(&mut Odds::of(seed));
            assert_eq!(found.bytes[..2_000], [7; 2_000]);
            assert_eq!(found.bytes[7_000..], [7; 3_000]);
        }
    }

    #[test]
    fn what_was_not_synced_is_kept_by_some_seeds_lost_by_others_and_torn_by_others() {
        let content = written(0, &[7; 20_000]);
        let found: Vec<Vec<u8>> =
            (0..100).map(|seed| content.after_power_loss(&mut Odds::of(seed)).bytes).collect();
        assert!(found.iter().any(|bytes| *bytes == [7; 20_000]));
        assert!(found.iter().any(Vec::is_empty));
        assert!(found.iter().any(|bytes| bytes.contains(&7) && bytes.contains(&0)));
        assert!(found[0].is_empty());
    }

    #[test]
    fn a_failed_sync_leaves_in_doubt_what_the_next_one_takes_for_written() {
        let mut content = written(0, &[7; 100]);
        content.doubt();
        content.sync();
        assert_eq!(content.bytes, [7; 100]);
        assert!(content.after_power_loss(&mut Odds::of(0)).bytes.is_empty());
        content.write(50, &[8; 10]);
        content.drop_cache(&mut Odds::of(0));
        assert_eq!(content.bytes, [[0; 50].as_slice(), &[8; 10]].concat(), "what is dirty stays");
    }

    #[test]
    fn what_was_in_doubt_is_certain_when_it_was_written_anew_and_synced() {
        let mut content = written(0, &[7; 100]);
        content.doubt();
        content.write(20, &[8; 60]);
        content.sync();
        assert_eq!(content.doubts.len(), 2);
        content.write(0, &[9; 100]);
        content.sync();
        assert!(content.doubts.is_empty());
        assert_eq!(content.after_power_loss(&mut Odds::of(0)).bytes, [9; 100]);
    }
}
