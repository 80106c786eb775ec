//! The completions and the manual page: they know every command and option, and no reader is an error.

use std::collections::BTreeSet;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_zalo-tokend")).args(arguments).output().expect("the binary runs")
}

fn printed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The commands of `--help`.
fn commands() -> Vec<String> {
    let help = printed(&["--help"]);
    let list = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a list");
    let heads = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = heads.filter_map(|line| line.split_whitespace().next());
    // clap's own, which takes a command and no option.
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// The options of a command's `--help`, as `--file`.
fn options(command: &str) -> BTreeSet<String> {
    let help = printed(&[command, "--help"]);
    let words = help.split_whitespace().filter(|word| word.starts_with("--"));
    words.map(|word| word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()).collect()
}

#[test]
fn every_shell_completes_every_command_and_option() {
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]);
        for command in commands() {
            assert!(script.contains(&command), "{shell}: no {command}");
            for option in options(&command) {
                let name = option.trim_start_matches("--");
                assert!(script.contains(name), "{shell}: no {option} of {command}");
            }
        }
    }
}

#[test]
fn a_shell_that_is_not_known_is_wrong_usage_and_the_known_ones_are_told() {
    let output = run(&["completions", "tcsh"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("tcsh") && told.contains("bash") && told.contains("fish"), "{told}");
}

#[test]
fn the_manual_page_has_every_command_with_its_options_and_every_heading() {
    // In roff a hyphen that is meant as one is written so.
    let page = printed(&["man"]).replace("\\-", "-");
    for heading in [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "COMMANDS",
        "EXIT STATUS",
        "FILES",
        "ENVIRONMENT",
        "SIGNALS",
        "SEE ALSO",
    ] {
        let quoted = format!(".SH \"{heading}\"\n");
        assert!(page.contains(&format!(".SH {heading}\n")) || page.contains(&quoted), "no {heading}");
    }
    let common =
        page.split(".SH OPTIONS\n").nth(1).and_then(|rest| rest.split(".SH").next()).expect("a part");
    assert!(common.contains("--config") && common.contains("--socket"), "{common}");
    for command in commands() {
        let head = format!(".SS \"zalo-tokend {command}\"\n");
        let described = page.split(&head).nth(1).unwrap_or_else(|| panic!("{command} is not described"));
        let described = described.split("\n.S").next().expect("a part");
        let synopsis = page.lines().find(|line| line.starts_with(&format!("\\fBzalo-tokend {command}\\fR")));
        let synopsis = synopsis.unwrap_or_else(|| panic!("no synopsis of {command}"));
        for option in options(&command) {
            if ["--config", "--socket", "--help"].contains(&option.as_str()) {
                continue;
            }
            assert!(described.contains(option.as_str()), "{command}: {option} is not described");
            assert!(synopsis.contains(option.as_str()), "{command}: {option} is not in the synopsis");
        }
    }
}

#[test]
fn the_manual_page_tells_the_exit_codes_of_the_program() {
    let page = printed(&["man"]);
    let status = page.split("EXIT STATUS").nth(1).and_then(|rest| rest.split(".SH").next()).expect("a part");
    let told: BTreeSet<&str> = status
        .lines()
        .filter_map(|line| line.strip_prefix("\\fB")?.strip_suffix("\\fR"))
        .filter(|word| word.parse::<u8>().is_ok())
        .collect();
    let source = include_str!("../src/cli/mod.rs");
    let consts = source.lines().filter_map(|line| line.trim().strip_prefix("pub(super) const "));
    let mut real: BTreeSet<&str> = consts
        .filter_map(|line| line.split_once(": u8 = "))
        .map(|(_, code)| code.trim_end_matches(';'))
        .collect();
    // Done, and what clap says of wrong usage.
    real.extend(["0", "2"]);
    assert_eq!(told, real, "the page on the left, src/cli/mod.rs on the right");
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    for arguments in [&["man"][..], &["completions", "bash"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_zalo-tokend"));
        let output = command.args(arguments).stdout(writer).output().expect("the binary runs");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
