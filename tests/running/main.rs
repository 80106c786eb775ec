//! The running daemon. Nearly all that these tests do is wait, for a timer, a clock, a question's turn: in one program they
//! wait at the same time, which as many programs one after the other would not.

mod brake;
mod clocks;
mod control;
mod daemon;
mod disk;
mod duties;
mod grants;
mod hang;
#[path = "../harness/mod.rs"]
mod harness;
mod network;
mod premise;
mod refused;
mod reload;
mod systemd;
mod unknown;
mod verdicts;
