//! The gate: a request whose last byte leaves only after its attempt is durable.
//!
//! **Needs.** A refresh token dies when Zalo has read the whole request. Before that moment the attempt must be in
//! the journal, or a crash makes a spent token look unspent. **Why the naive way fails.** Journal first and
//! connect afterwards, and every refused connection leaves a token of unknown fate; connect first and journal
//! afterwards, and a crash between loses the fact. Telling the two apart from the error's type is guessing: the
//! same error comes before and after the request was read. **The design.** The body is a stream that yields all
//! but its last byte, the last of the refresh token. When the connection asks for that byte, and only then, the
//! attempt is journalled; when that is durable the gate opens and the byte goes. The gate is one atomic with
//! three values. `Shut → Open` happens once, after the commit. Whoever wants to give up has to win
//! `Shut → Barred` first. So a barred gate proves that the token was never presented, and after an open one
//! nothing is proven without an answer. **The races.** A cap that ends during the commit bars the gate; the row is
//! then written for nothing, and is closed as not presented. An answer that comes before the last byte bars it
//! too. **Accepted.** A gate that opened over a connection that had just died counts as presented.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use tokio::sync::oneshot;

use crate::secret::Secret;

const SHUT: u8 = 0;
const OPEN: u8 = 1;
const BARRED: u8 = 2;

/// The gate of one attempt.
#[derive(Debug, Default)]
pub struct Gate(AtomicU8);

impl Gate {
    /// Opens the gate, after the attempt's row is durable. `false`: it is barred, the byte must not leave.
    pub fn open(&self) -> bool {
        self.0.compare_exchange(SHUT, OPEN, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Bars the gate for good. `false`: it is open, the byte may have left.
    pub fn bar(&self) -> bool {
        match self.0.compare_exchange(SHUT, BARRED, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => true,
            Err(now) => now == BARRED,
        }
    }

    /// Is it open?
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::SeqCst) == OPEN
    }
}

/// The body never yields its last byte: the gate was barred.
#[derive(Debug, thiserror::Error)]
#[error("the gate is barred")]
pub(super) struct Barred;

/// A request body that asks before it gives its last byte.
pub(super) struct GatedBody {
    length: u64,
    beginning: Option<Bytes>,
    has_paused: bool,
    ask: Option<oneshot::Sender<()>>,
    release: Option<oneshot::Receiver<()>>,
    last: Option<Bytes>,
}

/// The other end: hears the question, gives the answer.
pub(super) struct Gatekeeper {
    /// Resolves when the connection asks for the last byte; fails when there is nothing left to ask.
    pub(super) asked: oneshot::Receiver<()>,
    /// Releases the last byte. Dropped instead, the body fails.
    pub(super) release: oneshot::Sender<()>,
}

/// Splits a form before its last byte.
pub(super) fn gated(form: &Secret) -> (GatedBody, Gatekeeper) {
    let mut beginning = Bytes::copy_from_slice(form.expose().as_bytes());
    let length = beginning.len() as u64;
    let last = beginning.split_off(beginning.len().saturating_sub(1));
    let (ask, asked) = oneshot::channel();
    let (release, released) = oneshot::channel();
    let body = GatedBody {
        length,
        beginning: Some(beginning),
        has_paused: false,
        ask: Some(ask),
        release: Some(released),
        last: Some(last),
    };
    (body, Gatekeeper { asked, release })
}

impl Body for GatedBody {
    type Data = Bytes;
    type Error = Barred;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Barred>>> {
        if let Some(beginning) = self.beginning.take() {
            return Poll::Ready(Some(Ok(Frame::data(beginning))));
        }
        if !self.has_paused {
            // Lets the connection flush first: one that is broken is noticed before anything is journalled.
            self.has_paused = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(ask) = self.ask.take()
            && ask.send(()).is_err()
        {
            // Nobody waits for the question any more: the attempt was given up.
            return Poll::Ready(Some(Err(Barred)));
        }
        let Some(release) = self.release.as_mut() else { return Poll::Ready(None) };
        let released = std::task::ready!(Pin::new(release).poll(context));
        self.release = None;
        match released {
            Ok(()) => Poll::Ready(self.last.take().map(|last| Ok(Frame::data(last)))),
            Err(_) => Poll::Ready(Some(Err(Barred))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_moves_once() {
        let gate = Gate::default();
        assert!(gate.open() && gate.is_open());
        assert!(!gate.bar() && !gate.open() && gate.is_open());
        let gate = Gate::default();
        assert!(gate.bar() && gate.bar());
        assert!(!gate.open() && !gate.is_open());
    }

    #[test]
    fn of_two_that_race_exactly_one_wins() {
        for _ in 0..1_000 {
            let gate = std::sync::Arc::new(Gate::default());
            let other = std::sync::Arc::clone(&gate);
            let opener = std::thread::spawn(move || other.open());
            let is_barred = gate.bar();
            assert_ne!(opener.join().expect("no panic"), is_barred);
        }
    }
}
