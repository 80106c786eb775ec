//! What has to be so at the gate, at the death of a process, and at the end.

use faulty_disk::{Disk, Loss};
use rusqlite::{Connection, OpenFlags};

use zalo_tokend::id::AttemptId;
use zalo_tokend::store::{Direct, Effect, TakenIn, TokenAnswer};

use crate::ledger;
use crate::memory_store::DATABASE;
use crate::world::{World, managed, oa};

impl World {
    /// I1: a machine that loses its power when the gate opens, and everything with it that is not durable, knows of the
    /// attempt.
    pub fn judge_gate(&self, attempt: AttemptId) {
        const KNOWN: &str = "SELECT EXISTS (SELECT 1 FROM attempt WHERE attempt_id = ?1)";
        let after = self.after(Loss::Unsynced { seed: 0 });
        let is_known: bool =
            look(&after.disk).query_row(KNOWN, [attempt.as_bytes()], |row| row.get(0)).expect("asked");
        assert!(is_known, "I1: the gate opens before the attempt is durable");
    }

    /// I5: what a command that looks at the dead process's files would hand out of a slot has to be durable.
    pub fn note_what_is_handed_out(&mut self) {
        if !self.ledger.has_answer_in_hand() {
            return;
        }
        let mut seen = self.after(Loss::Nothing);
        let direct = seen.opened(Direct::open_on).expect("the disk is well");
        let is_open =
            direct.history(&oa()).expect("read").first().is_some_and(|last| last.phase == "presenting");
        let answer = direct.token(&[(oa(), managed())].into(), &oa(), &self.reading()).expect("read");
        let newest = ledger::access_token_of(self.ledger.newest());
        if is_open && matches!(answer, TokenAnswer::Valid(token) if token.access_token.expose() == newest) {
            self.ledger.is_durable();
        }
    }

    /// The disk is well again: whatever happened, the newest set is there, once, and nothing is left to be done.
    pub fn judge(&mut self) {
        self.disk.disarm();
        let newest: (String, u64) = {
            let conn = look(&self.disk);
            let found: String =
                conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checked");
            assert_eq!(found, "ok");
            conn.query_row("SELECT access_token, generation FROM oa", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .expect("one OA")
        };
        assert_eq!(newest, (ledger::access_token_of(self.ledger.newest()), self.ledger.generation()));
        let (_, recovered) = self.start().expect("the disk is well");
        let is_passed_over = |taken: &TakenIn| taken.concluded.effect == Effect::AlreadyConcluded;
        assert!(recovered.taken_in.iter().all(is_passed_over), "{recovered:?}");
        assert!(recovered.abandoned.is_empty(), "{recovered:?}");
    }
}

/// Opens the database beside everything.
fn look(disk: &Disk) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags_and_vfs(DATABASE, flags, disk.vfs()).expect("opened")
}
