//! What has come of an answer so far. It belongs to whoever began the exchange and not to the task that reads: a panic
//! there, or its end, loses no byte.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::rotation::{AnswerBytes, Ending, Exchange, LONGEST_BODY};

/// The answer to one attempt, as far as it came.
#[derive(Debug, Default)]
pub struct Received(Mutex<Option<AnswerBytes>>);

impl Received {
    /// What an exchange past its gate came to: the answer, as far as it came, or, where not even a head did, `detail`.
    pub fn exchange(&self, detail: String) -> Exchange {
        self.lock().clone().map_or(Exchange::NoAnswer { detail }, Exchange::Answered)
    }

    /// A head came. Until more is known, what follows it has broken off.
    pub(super) fn begin(&self, status: u16) {
        let ending = Ending::CutOff("reading the answer broke off".to_owned());
        *self.lock() = Some(AnswerBytes { status, retry_after: None, body: Vec::new(), ending });
    }

    /// More of the body came. `false`: it is longer than any answer, and what is too much is not kept.
    pub(super) fn add(&self, chunk: &[u8]) -> bool {
        let mut so_far = self.lock();
        let Some(AnswerBytes { body, .. }) = so_far.as_mut() else { return false };
        let room = LONGEST_BODY - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        chunk.len() <= room
    }

    /// Nothing comes any more.
    pub(super) fn end(&self, how: Ending) {
        if let Some(answer) = self.lock().as_mut() {
            answer.ending = how;
        }
    }

    /// What the head asked for.
    pub(super) fn wait(&self, retry_after: Option<Duration>) {
        if let Some(answer) = self.lock().as_mut() {
            answer.retry_after = retry_after;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<AnswerBytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
