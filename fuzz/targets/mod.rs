//! What each fuzz target asks of the program: one function a target, that takes bytes as they come from outside and
//! panics where a property does not hold. The fuzzer calls them, and `tests/corpus.rs` with what is in `fuzz/corpus`.
#![allow(dead_code, reason = "each fuzz target calls one of them")]

pub mod arguments;
pub mod callback;
pub mod config;
pub mod database;
pub mod import;
pub mod probe_answer;
pub mod retry_after;
pub mod slot;
pub mod token_answer;
pub mod vendor_answer;

use zalo_tokend::simulator::MARKER;

/// What a target does with an input.
pub type Check = fn(&[u8]);

/// The targets, by the name of their folder in `fuzz/corpus`.
pub const TARGETS: [(&str, Check); 10] = [
    ("arguments", arguments::check),
    ("callback", callback::check),
    ("config", config::check),
    ("database", database::check),
    ("import", import::check),
    ("probe_answer", probe_answer::check),
    ("retry_after", retry_after::check),
    ("slot", slot::check),
    ("token_answer", token_answer::check),
    ("vendor_answer", vendor_answer::check),
];

/// What is said of bad input says something, and repeats no secret.
#[track_caller]
pub fn assert_plain(said: &str) {
    assert!(!said.trim().is_empty(), "nothing is said");
    assert_no_secret(said);
}

/// Secrets in the corpus carry the marker.
#[track_caller]
pub fn assert_no_secret(said: &str) {
    assert!(!said.contains(MARKER), "a secret is said: {said}");
}
