//! Holds the README to the program: its events, commands, exit codes, states, reasons, and the tests that it names; and
//! `README.vi.md`, which says the same in Vietnamese, to the README.

mod events;
mod source_files;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use events::{Event, Events, events_of_the_program};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The rows of the README's table whose heads begin with these words, cell by cell.
fn table(heads: &[&str]) -> Vec<Vec<String>> {
    let readme = read("README.md");
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut lines =
        readme.lines().skip_while(|line| !line.starts_with('|') || !cells(line).starts_with(&owned(heads)));
    assert!(lines.next().is_some(), "no table in README.md with the heads {heads:?}");
    lines.skip(1).take_while(|line| line.starts_with('|')).map(cells).collect()
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// The words in backticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn first_quoted(rows: &[Vec<String>]) -> BTreeSet<String> {
    rows.iter().filter_map(|row| quoted(&row[0]).into_iter().next()).collect()
}

#[test]
fn the_event_table_is_the_log() {
    let mut told = Events::new();
    for row in table(&["event", "level", "fields", "what you do"]) {
        let name = quoted(&row[0]).pop().expect("a name in backticks");
        let levels = row[1].split(", ").map(str::to_owned).collect();
        assert!(!row[3].is_empty(), "{name}: what does the operator do?");
        let fields = quoted(&row[2]).into_iter().collect();
        let is_new = told.insert(name.clone(), Event { levels, fields }).is_none();
        assert!(is_new, "{name} stands twice");
    }
    let said = events_of_the_program();
    assert!(said.len() > 20, "the events are not where they were looked for");
    for name in said.keys().chain(told.keys()).collect::<BTreeSet<_>>() {
        assert_eq!(told.get(name), said.get(name), "{name}: README.md on the left, the program on the right");
    }
}

#[test]
fn hooks_may_be_told_of_all_events_but_those_of_their_own_and_the_last() {
    let may: BTreeSet<String> = zalo_tokend::config::EVENTS.iter().map(|event| (*event).to_owned()).collect();
    let is_told = |name: &&String| !name.starts_with("publish.") && *name != "daemon.stopped";
    let said: BTreeSet<String> = events_of_the_program().keys().filter(is_told).cloned().collect();
    assert_eq!(may, said, "src/config/publish.rs on the left, the program on the right");
    assert!(zalo_tokend::config::EVENTS.is_sorted());
}

#[test]
fn the_first_two_commands_are_there_and_ci_runs_them() {
    let readme = read("README.md");
    let commands: Vec<&str> =
        readme.split("```sh\n").skip(1).filter_map(|block| block.split("\n```").next()).take(2).collect();
    assert_eq!(commands, ["cargo run --release -- demo", "cargo test"]);
    let ci = read(".ci/run");
    assert!(ci.lines().any(|line| line == commands[1]), ".ci/run does not run the tests");
    assert!(ci.lines().any(|line| line.starts_with(commands[0])), ".ci/run does not run the demo");
}

#[test]
fn the_commands_are_those_of_the_program() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_zalo-tokend")).arg("--help").output().expect("the binary runs");
    let help = String::from_utf8(output.stdout).expect("UTF-8");
    let list = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a list");
    let real: BTreeSet<&str> = list
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    let told = first_quoted(&table(&["command", "does"]));
    let told: BTreeSet<&str> = told.iter().filter_map(|words| words.split(' ').nth(1)).collect();
    assert_eq!(told, real, "README.md on the left, --help on the right");
}

#[test]
fn every_route_is_in_the_readme() {
    let told = first_quoted_of_all(&table(&["route", "needs", "does"]));
    // The document is held to the program's own routes where they are.
    let document: serde_json::Value =
        serde_json::from_str(&read("src/api/openapi.json")).expect("a document of the API");
    let paths = document["paths"].as_object().expect("paths").keys();
    let routes: BTreeSet<String> = paths.map(|path| path.replace("{oa_id}", "OA")).collect();
    assert!(routes.len() > 5, "the routes are not where they were looked for");
    assert_eq!(told, routes, "README.md on the left, the program on the right");
}

/// The paths of all routes in the first column.
fn first_quoted_of_all(rows: &[Vec<String>]) -> BTreeSet<String> {
    let routes = rows.iter().flat_map(|row| quoted(&row[0]));
    routes.filter_map(|route| route.split_once(' ').map(|(_, path)| path.to_owned())).collect()
}

#[test]
fn the_exit_codes_are_those_of_the_program() {
    let told: BTreeSet<String> =
        table(&["exit code", "means"]).into_iter().map(|row| row[0].clone()).collect();
    let source = read("src/cli/mod.rs");
    let mut real: BTreeSet<String> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub(super) const ")?.split_once(": u8 = "))
        .map(|(_, code)| code.trim_end_matches(';').to_owned())
        .collect();
    // Done, and what clap says of wrong usage.
    real.extend(owned(&["0", "2"]));
    assert_eq!(told, real, "README.md on the left, src/cli/mod.rs on the right");
}

#[test]
fn the_states_and_reasons_are_those_of_the_program() {
    let states = first_quoted(&table(&["state", "means"]));
    let view = read("src/store/view.rs");
    let real = view.lines().filter_map(|line| line.trim().strip_prefix("State::")?.split_once(" => \""));
    let real: BTreeSet<String> = real.map(|(_, word)| word.trim_end_matches("\",").to_owned()).collect();
    assert_eq!(states, real, "README.md on the left, src/store/view.rs on the right");

    let reasons = first_quoted(&table(&["`reason`", "what happened", "what to do"]));
    let standing = read("src/rotation/standing.rs");
    let mut real: BTreeSet<String> = standing
        .lines()
        .filter_map(|line| line.split_once("f.write_str(\"")?.1.split_once('"'))
        .map(|(word, _)| word.to_owned())
        .collect();
    assert!(standing.contains("write!(f, \"error_{code}\")"), "the reason with a code is worded otherwise");
    real.insert("error_<code>".to_owned());
    assert_eq!(reasons, real, "README.md on the left, src/rotation/standing.rs on the right");
}

#[test]
fn every_test_that_the_readme_names_is_there() {
    let mut named = 0;
    for row in table(&["promise", "held by"]) {
        let mut file = None;
        for word in quoted(&row[1]) {
            if Path::new(&word).extension().is_some_and(|extension| extension == "rs") {
                file = Some(word);
                continue;
            }
            let file = file.as_deref().unwrap_or_else(|| panic!("{word}: in which file?"));
            assert!(read(file).contains(&format!("fn {word}(")), "{file} has no {word}");
            named += 1;
        }
    }
    assert!(named > 10, "the promises are not where they were looked for");
}

/// As GitHub makes it of a heading.
fn anchor(head: &str) -> String {
    head.to_lowercase().replace(' ', "-").replace([',', '.', '?', '(', ')', '`'], "")
}

#[test]
fn every_file_that_the_readme_points_to_is_there() {
    for file in ["README.md", "README.vi.md"] {
        let readme = read(file);
        for target in readme.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            match target.strip_prefix('#') {
                Some(section) => {
                    let mut heads = readme.lines().filter_map(|line| line.strip_prefix("## "));
                    assert!(heads.any(|head| anchor(head) == section), "{file} has no section {section}");
                }
                None => {
                    assert!(root().join(target).exists(), "{file} points to {target}, which is not there");
                }
            }
        }
    }
}

/// A chapter of a document, as far as it is the same in every language.
#[derive(Default)]
struct Chapter {
    /// How deep it is, and what it is called.
    level: usize,
    head: String,
    /// The blocks of code.
    blocks: Vec<String>,
    /// The rows of the tables.
    rows: Vec<Row>,
    /// What stands in backticks.
    words: BTreeSet<String>,
    /// What is linked to, but for chapters of the document itself.
    targets: BTreeSet<String>,
}

/// What is the same of a row in every language.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    /// The first cell, if there is nothing but code and numbers in it, and each cell of the log's levels.
    cells: Vec<String>,
    /// What stands in backticks.
    words: BTreeSet<String>,
    /// The numbers that do not.
    numbers: Vec<String>,
}

impl Row {
    fn of(line: &str) -> Row {
        let is_level = |cell: &str| cell.split(", ").all(|word| matches!(word, "info" | "warn" | "error"));
        let is_wordless =
            |cell: &str| !cell.split('`').step_by(2).any(|text| text.contains(char::is_alphabetic));
        let cells = line.trim_matches('|').split('|').map(str::trim).enumerate();
        let same = cells.filter(|(at, cell)| *at == 0 && is_wordless(cell) || is_level(cell));
        let plain: String = line.split('`').step_by(2).collect();
        let mut numbers: Vec<String> = plain
            .split(|c: char| !c.is_ascii_digit())
            .filter(|digits| !digits.is_empty())
            .map(str::to_owned)
            .collect();
        numbers.sort();
        Row {
            cells: same.map(|(_, cell)| cell.to_owned()).collect(),
            words: quoted(line).into_iter().collect(),
            numbers,
        }
    }
}

fn chapters(document: &str) -> Vec<Chapter> {
    let mut chapters = vec![Chapter::default()];
    // The pieces between fences are text and code in turn.
    for (number, piece) in format!("\n{document}").split("\n```").enumerate() {
        if number % 2 == 1 {
            let last = chapters.last_mut().expect("there is always one");
            last.blocks.push(piece.to_owned());
            continue;
        }
        // A word in backticks may begin on one line and end on the next.
        for paragraph in piece.split("\n\n") {
            let heads = paragraph.lines().filter(|line| line.starts_with('#'));
            for head in heads {
                let level = head.bytes().take_while(|byte| *byte == b'#').count();
                chapters.push(Chapter { level, head: head.to_owned(), ..Chapter::default() });
            }
            let last = chapters.last_mut().expect("there is always one");
            last.rows.extend(paragraph.lines().filter(|line| line.starts_with('|')).map(Row::of));
            last.words.extend(quoted(&paragraph.replace('\n', " ")));
            let targets = paragraph.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            let elsewhere =
                targets.filter(|target| !target.starts_with('#') && !target.starts_with("README"));
            last.targets.extend(elsewhere.map(str::to_owned));
        }
    }
    chapters
}

#[test]
fn the_readme_in_vietnamese_says_what_the_readme_says() {
    let (english, vietnamese) = (chapters(&read("README.md")), chapters(&read("README.vi.md")));
    assert!(english.len() > 10, "the chapters are not where they were looked for");
    let levels = |chapters: &[Chapter]| chapters.iter().map(|chapter| chapter.level).collect::<Vec<_>>();
    assert_eq!(levels(&english), levels(&vietnamese), "README.md on the left, README.vi.md on the right");
    let mut rows = 0;
    for (one, other) in english.iter().zip(&vietnamese) {
        let place =
            format!("{} / {}: README.md on the left, README.vi.md on the right", one.head, other.head);
        assert_eq!(one.blocks, other.blocks, "{place}");
        assert_eq!(one.words, other.words, "{place}");
        assert_eq!(one.targets, other.targets, "{place}");
        assert_eq!(one.rows.len(), other.rows.len(), "{place}");
        for (row, same) in one.rows.iter().zip(&other.rows) {
            assert_eq!(row, same, "{place}");
        }
        rows += one.rows.len();
    }
    assert!(rows > 150, "the tables are not where they were looked for");
}

#[test]
fn each_readme_leads_to_the_other() {
    assert!(read("README.md").lines().take(5).any(|line| line.contains("(README.vi.md)")));
    assert!(read("README.vi.md").lines().take(5).any(|line| line.contains("(README.md)")));
}
