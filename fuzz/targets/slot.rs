//! A spill slot: as it is, and with the mark and the checksum that it would have if this program had written it.

use sha2::{Digest, Sha256};
use zalo_tokend::store::SpilledAnswer;

use super::assert_no_secret;

const MARK: &[u8; 8] = b"ZTSLOT01";
/// From the attempt to the length of the body.
const HEADER: usize = 16 + 8 + 8 + 40 + 2 + 8 + 1 + 4;

pub fn check(bytes: &[u8]) {
    if let Some(spilled) = SpilledAnswer::from_slot(bytes) {
        assert_reads_back(&spilled);
    }
    let sealed = sealed(bytes);
    let Some(spilled) = SpilledAnswer::from_slot(&sealed) else { return };
    assert_reads_back(&spilled);
    let mut torn = sealed;
    let last = torn.len() - 1;
    torn[last] ^= 1;
    assert_eq!(SpilledAnswer::from_slot(&torn), None, "its checksum holds for another body");
}

/// What is in a slot is the same however often it moves on.
fn assert_reads_back(spilled: &SpilledAnswer) {
    let written = spilled.to_slot();
    assert_eq!(SpilledAnswer::from_slot(&written).as_ref(), Some(spilled), "read as it was");
    assert_no_secret(&spilled.verdict().detail());
    // The boot of the machine is no secret, and may look like one here.
    assert_no_secret(&format!("{:?}", spilled.answer));
}

fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut record = bytes.to_vec();
    if record.len() < HEADER {
        record.resize(HEADER, 0);
    }
    // The length of the body is what there is, unless the input names less.
    let body = record.len() - HEADER;
    let named = u32::from_le_bytes(record[HEADER - 4..HEADER].try_into().expect("four bytes")) as usize;
    if named > body {
        record[HEADER - 4..HEADER].copy_from_slice(&u32::try_from(body).expect("small").to_le_bytes());
    } else {
        record.truncate(HEADER + named);
    }
    [&MARK[..], &Sha256::digest(&record)[..], &record].concat()
}
