//! Spill slots: where an answer goes when the store will not take it.
//!
//! **Needs.** After the gate an answer holds the only copy of a token set. A full or failing disk must not cost
//! it. **Why the naive way fails.** A file made at that moment needs new space, and a directory entry, on the very
//! disk that has none. **The design.** The slots are one file beside the store, written in full and synced at
//! start, and overwritten in place: no new space, no metadata. The gate opens only while a slot is held, so there
//! is always one free for the answer. A slot carries the attempt's id and a checksum; what a crash tore is told
//! from what is whole. **Order.** A slot is emptied, and the emptying synced, only after its answer is durable in
//! the store; a crash between the two finds the attempt closed and empties the slot then. **Accepted.** A disk
//! that accepts a sync and loses the data anyway.
//!
//! Layout of a slot, little endian, zero when empty: magic 8 · checksum 32 (SHA-256 of all that follows, to the
//! end of the body) · attempt 16 · obtained ms 8 · uptime ms 8 · boot 40 · status 2 · retry-after s 8 (all ones:
//! none) · cut off 1 · length 4 · body.

use sha2::{Digest, Sha256};
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use super::medium::SlotFile;
use super::place::Place;
use crate::clock::{Moment, Time, Uptime};
use crate::failpoint;
use crate::id::AttemptId;
use crate::rotation::{AnswerBytes, Ending, Exchange, LONGEST_BODY, Verdict, judge};

const MAGIC: &[u8; 8] = b"ZTSLOT01";
const BOOT_SIZE: usize = 40;
const HEADER_SIZE: usize = 8 + 32 + 16 + 8 + 8 + BOOT_SIZE + 2 + 8 + 1 + 4;
/// Whole sectors, so that a slot never shares one with its neighbour.
const SLOT_SIZE: usize = LONGEST_BODY + 4096;

/// An answer in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpilledAnswer {
    /// Whose answer it is.
    pub attempt: AttemptId,
    /// When a set that it brings counts as obtained.
    pub obtained: Moment,
    /// The answer.
    pub answer: AnswerBytes,
}

impl SpilledAnswer {
    /// What the answer means.
    pub fn verdict(&self) -> Verdict {
        judge(&Exchange::Answered(self.answer.clone()))
    }

    /// The beginning of a slot that holds it; the rest of the slot says nothing. As secret as a token.
    pub fn to_slot(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads it back. `None`: the slot is empty, torn, or was not marked as filled.
    pub fn from_slot(bytes: &[u8]) -> Option<SpilledAnswer> {
        match decode(bytes) {
            Content::Filled(spilled) => Some(spilled),
            Content::Empty | Content::Unmarked(_) | Content::Torn => None,
        }
    }
}

/// What is found in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Empty,
    Filled(SpilledAnswer),
    /// Whole, and not marked as filled: the program ended while it was being synced. It may be lost by a power
    /// failure, so nobody publishes it; a start that finds it takes it in.
    Unmarked(SpilledAnswer),
    /// Something was written and is not whole.
    Torn,
}

/// The file of slots.
#[derive(Debug)]
pub struct Slots {
    file: Box<dyn SlotFile>,
    /// Where the next start looks for it; `None`: nobody will.
    place: Option<Place>,
    free: Mutex<Vec<usize>>,
}

impl Slots {
    /// Uses `file` as it is, for reading: what is in it and how many slots it has is found there.
    pub(super) fn over(file: Box<dyn SlotFile>) -> Slots {
        Slots { file, place: None, free: Mutex::default() }
    }

    /// Uses `file`, which stands at `place`.
    pub(super) fn at(place: Place, file: Box<dyn SlotFile>) -> Slots {
        Slots { place: Some(place), ..Slots::over(file) }
    }

    /// How many slots the file has.
    pub(super) fn count(&self) -> io::Result<usize> {
        Ok(usize::try_from(self.file.length()? / SLOT_SIZE as u64).unwrap_or(0))
    }

    /// Gives the file exactly `count` slots, empty, written in full and synced. All of them must be free.
    pub(super) fn prepare(&self, count: usize) -> io::Result<()> {
        let empty = vec![0; SLOT_SIZE];
        for index in 0..count {
            self.file.write(&empty, (index * SLOT_SIZE) as u64)?;
        }
        self.file.resize((count * SLOT_SIZE) as u64)?;
        self.file.sync()?;
        *lock(&self.free) = (0..count).rev().collect();
        Ok(())
    }

    /// Adds empty slots, written in full and synced, until there are `count`. What cannot be had whole is given back: it
    /// would be missing on a disk that is full already.
    pub(super) fn grow(&self, count: usize) -> io::Result<()> {
        let before = self.count()?;
        if before < count {
            self.append_empty(before, count).inspect_err(|_| {
                if let Err(error) = self.file.resize((before * SLOT_SIZE) as u64) {
                    tracing::debug!(%error, "slots that were not made whole cannot be taken back");
                }
            })?;
            lock(&self.free).extend((before..count).rev());
        }
        Ok(())
    }

    fn append_empty(&self, from: usize, to: usize) -> io::Result<()> {
        let empty = vec![0; SLOT_SIZE];
        for index in from..to {
            self.file.write(&empty, (index * SLOT_SIZE) as u64)?;
        }
        self.file.sync()
    }

    /// Takes a free slot, if there is one.
    pub(super) fn take(&self) -> Option<usize> {
        lock(&self.free).pop()
    }

    /// How many slots are free.
    pub(super) fn free(&self) -> usize {
        lock(&self.free).len()
    }

    /// Gives a slot back that holds nothing, or nothing that is needed.
    pub(super) fn put_back(&self, index: usize) {
        lock(&self.free).push(index);
    }

    /// Writes an answer into a slot and syncs it. After that it survives the process and the machine. What marks the
    /// slot as filled is written last, after all else is durable, so that nobody reads what could still be lost.
    pub(super) fn fill(&self, index: usize, spilled: &SpilledAnswer) -> io::Result<()> {
        let (place, bytes) = ((index * SLOT_SIZE) as u64, encode(spilled));
        let (mark, rest) = bytes.split_at(MAGIC.len());
        failpoint::pass("slot.filling");
        self.file.write(&[0; MAGIC.len()], place)?;
        self.file.write(rest, place + MAGIC.len() as u64)?;
        self.file.sync()?;
        failpoint::pass("slot.unmarked");
        self.file.write(mark, place)?;
        self.file.sync().inspect_err(|_| {
            if let Err(error) = self.file.write(&[0; MAGIC.len()], place) {
                tracing::debug!(%error, "the mark of a spill slot cannot be taken back");
            }
        })?;
        failpoint::pass("slot.filled");
        // In a file that nobody finds it would end with the process.
        self.place.as_ref().map_or(Ok(()), Place::check).map_err(io::Error::other)
    }

    /// Empties a slot, body and all, and syncs that.
    pub(super) fn clear(&self, index: usize) -> io::Result<()> {
        failpoint::pass("slot.clearing");
        self.file.write(&vec![0; SLOT_SIZE], (index * SLOT_SIZE) as u64)?;
        self.file.sync()?;
        failpoint::pass("slot.cleared");
        Ok(())
    }

    /// What is in a slot.
    pub(super) fn read(&self, index: usize) -> io::Result<Content> {
        let mut bytes = vec![0; SLOT_SIZE];
        self.file.read(&mut bytes, (index * SLOT_SIZE) as u64)?;
        Ok(decode(&bytes))
    }

    /// The answer to this attempt, if a slot has it.
    pub(super) fn filled_by(&self, attempt: AttemptId) -> Option<SpilledAnswer> {
        let count = self.count().ok()?;
        // Most slots hold nothing, or what is another's: their beginnings say so.
        let names = |index: usize| {
            let mut beginning = [0; MAGIC.len() + 32 + 16];
            self.file.read(&mut beginning, (index * SLOT_SIZE) as u64).is_ok()
                && beginning.starts_with(MAGIC)
                && beginning.ends_with(attempt.as_bytes())
        };
        (0..count).filter(|index| names(*index)).find_map(|index| match self.read(index) {
            Ok(Content::Filled(spilled)) if spilled.attempt == attempt => Some(spilled),
            Ok(Content::Filled(_) | Content::Unmarked(_) | Content::Empty | Content::Torn) | Err(_) => None,
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn encode(spilled: &SpilledAnswer) -> Vec<u8> {
    let SpilledAnswer { attempt, obtained, answer } = spilled;
    let body = &answer.body[..answer.body.len().min(LONGEST_BODY)];
    let (uptime, boot) = match &obtained.uptime {
        Some((uptime, boot)) => (u64::try_from(uptime.0.as_millis()).unwrap_or(u64::MAX), boot.as_str()),
        None => (u64::MAX, ""),
    };
    let mut boot_field = [0; BOOT_SIZE];
    let boot = &boot.as_bytes()[..boot.len().min(BOOT_SIZE)];
    boot_field[..boot.len()].copy_from_slice(boot);
    let mut rest = Vec::with_capacity(HEADER_SIZE + body.len());
    rest.extend_from_slice(attempt.as_bytes());
    rest.extend_from_slice(&obtained.time.as_millis().to_le_bytes());
    rest.extend_from_slice(&uptime.to_le_bytes());
    rest.extend_from_slice(&boot_field);
    rest.extend_from_slice(&answer.status.to_le_bytes());
    rest.extend_from_slice(&answer.retry_after.map_or(u64::MAX, |wait| wait.as_secs()).to_le_bytes());
    rest.push(u8::from(answer.ending != Ending::Whole));
    rest.extend_from_slice(&u32::try_from(body.len()).unwrap_or(0).to_le_bytes());
    rest.extend_from_slice(body);
    let mut bytes = Vec::with_capacity(40 + rest.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&Sha256::digest(&rest));
    bytes.extend_from_slice(&rest);
    bytes
}

fn decode(bytes: &[u8]) -> Content {
    if bytes.iter().all(|byte| *byte == 0) {
        return Content::Empty;
    }
    let Some((mark, rest)) = bytes.split_first_chunk::<8>() else { return Content::Torn };
    match decode_record(rest) {
        Some(spilled) if mark == MAGIC => Content::Filled(spilled),
        Some(spilled) if *mark == [0; 8] => Content::Unmarked(spilled),
        Some(_) | None => Content::Torn,
    }
}

/// What follows the mark.
fn decode_record(rest: &[u8]) -> Option<SpilledAnswer> {
    let (checksum, rest) = rest.split_at_checked(32)?;
    let length_at = HEADER_SIZE - 40 - 4;
    let length = u32::from_le_bytes(rest.get(length_at..length_at + 4)?.try_into().ok()?) as usize;
    let rest = rest.get(..length_at + 4 + length)?;
    if Sha256::digest(rest)[..] != *checksum {
        return None;
    }
    let (attempt, rest) = rest.split_first_chunk::<16>()?;
    let (obtained_at, rest) = rest.split_first_chunk::<8>()?;
    let (uptime, rest) = rest.split_first_chunk::<8>()?;
    let (boot, rest) = rest.split_first_chunk::<BOOT_SIZE>()?;
    let (status, rest) = rest.split_first_chunk::<2>()?;
    let (retry_after, rest) = rest.split_first_chunk::<8>()?;
    let (is_cut_off, rest) = rest.split_first_chunk::<1>()?;
    let body = rest.get(4..)?.to_vec();
    let uptime = Some(u64::from_le_bytes(*uptime)).filter(|millis| *millis != u64::MAX);
    // A boot whose name is no text is nobody's: then only the wall clock is a witness.
    let boot = std::str::from_utf8(boot).ok().map(|boot| boot.trim_end_matches('\0').to_owned());
    let retry_after = Some(u64::from_le_bytes(*retry_after)).filter(|seconds| *seconds != u64::MAX);
    Some(SpilledAnswer {
        attempt: AttemptId::from_bytes(*attempt),
        obtained: Moment {
            time: Time::from_millis(i64::from_le_bytes(*obtained_at)),
            uptime: uptime.map(Duration::from_millis).map(Uptime).zip(boot),
        },
        answer: AnswerBytes {
            status: u16::from_le_bytes(*status),
            retry_after: retry_after.map(Duration::from_secs),
            body,
            ending: if *is_cut_off == [0] {
                Ending::Whole
            } else {
                Ending::CutOff("the answer broke off".to_owned())
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spilled(body: Vec<u8>) -> SpilledAnswer {
        SpilledAnswer {
            attempt: AttemptId::random(),
            obtained: Moment {
                time: Time::from_millis(1_800_000_000_123),
                uptime: Some((Uptime(Duration::from_millis(77)), "0a9c4ffe-boot".to_owned())),
            },
            answer: AnswerBytes {
                status: 200,
                retry_after: Some(Duration::from_secs(7)),
                body,
                ending: Ending::CutOff("the answer broke off".to_owned()),
            },
        }
    }

    fn slots(count: usize) -> Slots {
        let slots = Slots::over(Box::new(tempfile::tempfile().expect("a temporary file")));
        slots.prepare(count).expect("prepared");
        slots
    }

    #[test]
    fn an_answer_reads_back_from_its_slot_and_is_gone_after_clearing() {
        let slots = slots(3);
        for body in [Vec::new(), b"short".to_vec(), vec![b'x'; LONGEST_BODY]] {
            let answer = spilled(body);
            let index = slots.take().expect("free");
            slots.fill(index, &answer).expect("filled");
            assert_eq!(slots.read(index).expect("read"), Content::Filled(answer.clone()));
            assert_eq!(slots.filled_by(answer.attempt), Some(answer.clone()));
            slots.clear(index).expect("cleared");
            assert_eq!(slots.read(index).expect("read"), Content::Empty);
            slots.put_back(index);
        }
        assert_eq!((slots.free(), slots.count().expect("count")), (3, 3));
    }

    #[test]
    fn i4_a_slot_is_where_and_as_earlier_versions_wrote_it_so_that_an_upgrade_finds_its_answer() {
        let slots = slots(2);
        let answer = SpilledAnswer { attempt: AttemptId::from_bytes([7; 16]), ..spilled(b"a body".to_vec()) };
        slots.fill(1, &answer).expect("filled");
        let mut slot = vec![0; 69_632];
        slots.file.read(&mut slot, 69_632).expect("the second of two slots");
        let digest: String = Sha256::digest(slot).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, "d7ea457ff6c8de7b4b36a08341408057eb64ae980d243bbaa79fdabead389e20");
    }

    #[test]
    fn filling_needs_no_new_space() {
        let slots = slots(2);
        let before = slots.file.length().expect("length");
        slots.fill(1, &spilled(vec![b'x'; LONGEST_BODY])).expect("filled");
        assert_eq!(slots.file.length().expect("length"), before);
        assert_eq!(slots.read(0).expect("read"), Content::Empty);
    }

    #[test]
    fn i4_a_whole_answer_that_was_not_marked_yet_is_told_from_a_torn_one_and_not_handed_out() {
        let slots = slots(1);
        let answer = spilled(b"{\"access_token\":\"a\"}".to_vec());
        let mut bytes = encode(&answer);
        bytes[..MAGIC.len()].fill(0);
        slots.file.write(&bytes, 0).expect("written");
        assert_eq!(slots.read(0).expect("read"), Content::Unmarked(answer.clone()));
        assert_eq!(slots.filled_by(answer.attempt), None);
    }

    #[test]
    fn a_torn_write_is_told_from_a_whole_one_at_every_length() {
        let bytes = encode(&spilled(b"{\"access_token\":\"a\"}".to_vec()));
        for length in 1..bytes.len() {
            let mut torn = bytes[..length].to_vec();
            torn.resize(SLOT_SIZE, 0);
            // Cut inside trailing zeros the record is whole: what is missing would have been zero.
            if torn[..bytes.len()] != bytes[..] {
                assert_eq!(decode(&torn), Content::Torn, "{length}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            decode(&bytes);
            let mut with_magic = MAGIC.to_vec();
            with_magic.extend(bytes);
            decode(&with_magic);
        }
    }
}
