//! Every input in `fuzz/corpus` through what its fuzz target asserts: what was found once stays mended.

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use std::path::{Path, PathBuf};

use targets::TARGETS;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The names of what is in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<String> =
        entries.map(|entry| name(entry).into_string().expect("a plain name")).collect();
    names.sort();
    names
}

fn run(target: &str) {
    let (_, check) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target of this name");
    let folder = fuzz().join("corpus").join(target);
    let files = names(&folder);
    assert!(!files.is_empty(), "no input for {target}");
    for file in files {
        let bytes = std::fs::read(folder.join(&file)).expect("readable");
        let outcome = std::panic::catch_unwind(|| check(&bytes));
        assert!(outcome.is_ok(), "fuzz/corpus/{target}/{file}");
    }
}

#[test]
fn every_target_has_a_program_and_a_corpus() {
    let targets: Vec<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let programs: Vec<String> = targets.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(names(&fuzz().join("fuzz_targets")), programs);
    assert_eq!(names(&fuzz().join("corpus")), targets);
}

#[test]
fn i9_any_answer_of_the_token_endpoint_is_judged() {
    run("token_answer");
}

#[test]
fn any_answer_to_the_question_is_read() {
    run("probe_answer");
}

#[test]
fn i9_any_config_file_is_accepted_whole_or_refused_in_plain_lines() {
    run("config");
}

#[test]
fn i9_any_import_is_taken_in_once_or_refused_in_plain_words() {
    run("import");
}

#[test]
fn any_retry_after_leads_to_a_wait_within_bounds() {
    run("retry_after");
}

#[test]
fn i4_any_slot_reads_back_as_it_was() {
    run("slot");
}

#[test]
fn i3_a_store_of_any_bytes_is_refused_or_presents_no_token_twice() {
    run("database");
}

#[test]
fn any_command_line_is_understood_or_refused_in_words() {
    run("arguments");
}

#[test]
fn i9_whatever_anybody_comes_back_with_is_read_or_left_and_makes_no_link() {
    run("callback");
}

#[test]
fn i9_any_answer_of_a_vendor_is_read_and_nothing_of_it_does_harm() {
    run("vendor_answer");
}
