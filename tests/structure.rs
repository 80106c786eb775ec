//! Holds the source to the rules of `src/lib.rs`: who may import whom, and what is named where.
//!
//! It reads the text of `src/` with comments, strings and `#[cfg(test)]` items taken out; those may use what they
//! like. It is no compiler: it sees paths that begin with `crate::` or with enough `super::`, which are the only
//! ways from one room to another that the source uses, and it refuses the ways that it could not see through.

mod source_files;

use std::path::Path;

use source_files::source_files;

/// The rooms that each room may import, beside itself.
const IMPORTS: [(&str, &[&str]); 21] = [
    ("main", &["cli"]),
    (
        "api",
        &[
            "store",
            "authorize",
            "config",
            "telemetry",
            "page",
            "web",
            "clock",
            "id",
            "secret",
            "oauth",
            "failpoint",
        ],
    ),
    ("authorize", &["page", "web", "config", "clock", "id", "secret", "oauth"]),
    ("cli", ALL),
    (
        "keeper",
        &[
            "api",
            "authorize",
            "publish",
            "store",
            "zalo",
            "vendor",
            "config",
            "rotation",
            "oauth",
            "telemetry",
            "page",
            "web",
            "clock",
            "secret",
            "id",
            "failpoint",
        ],
    ),
    ("page", &["store", "clock", "id"]),
    ("publish", &["store", "config", "telemetry", "http", "clock", "secret", "id", "failpoint"]),
    ("store", &["vendor", "rotation", "oauth", "clock", "secret", "id", "failpoint"]),
    ("zalo", &["rotation", "oauth", "http", "clock", "secret", "id", "failpoint"]),
    ("vendor", &["rotation", "http", "clock", "secret", "id"]),
    ("rotation", &["oauth", "clock", "secret", "id"]),
    ("oauth", &["secret", "id"]),
    (
        "config",
        &[
            "rotation::timing",
            "vendor::terms",
            "oauth::is_verifier",
            "http::is_loopback",
            "clock",
            "secret",
            "id",
        ],
    ),
    ("failpoint", &[]),
    ("http", &[]),
    ("simulator", &["clock", "secret", "id"]),
    ("telemetry", &["clock"]),
    ("web", &["secret"]),
    ("clock", &[]),
    ("secret", &[]),
    ("id", &[]),
];

const ALL: &[&str] = &[
    "api",
    "authorize",
    "keeper",
    "publish",
    "store",
    "zalo",
    "vendor",
    "rotation",
    "oauth",
    "config",
    "http",
    "simulator",
    "telemetry",
    "page",
    "web",
    "clock",
    "secret",
    "id",
];

/// The most lines of a file, without what is there for its tests.
const MOST_LINES: usize = 450;

/// One file of `src/`.
struct Source {
    /// From `src/`, as `keeper/attempt.rs`.
    name: String,
    /// As it stands.
    raw: String,
    /// Without comments, the content of strings, and `#[cfg(test)]` items; the lines are where they were.
    code: String,
    /// How many lines the `#[cfg(test)]` items took.
    test_lines: usize,
}

impl Source {
    fn room(&self) -> &str {
        self.name.split('/').next().map_or("", |first| first.trim_end_matches(".rs"))
    }

    /// How many `super::` lead from here to the root of the crate.
    fn depth(&self) -> usize {
        let steps = self.name.split('/').count();
        if self.name.ends_with("/mod.rs") { steps - 1 } else { steps }
    }

    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// All files of `src/` that are in the program.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    let mut for_tests = Vec::new();
    for file in source_files("src") {
        let raw = std::fs::read_to_string(&file).expect("a readable file");
        let bare = blanked(&raw);
        let (code, test_lines, modules) = without_tests(&bare);
        let folder = match file.file_stem().and_then(|stem| stem.to_str()) {
            Some("mod" | "lib" | "main") | None => file.parent().expect("in src").to_owned(),
            Some(stem) => file.with_file_name(stem),
        };
        for_tests.extend(modules.iter().map(|module| folder.join(module)));
        let name = file.strip_prefix(&root).expect("below src").to_str().expect("UTF-8").to_owned();
        sources.push((file, Source { name, raw, code, test_lines }));
    }
    let is_for_tests = |file: &Path| {
        for_tests.iter().any(|module| file.starts_with(module) || file == module.with_extension("rs"))
    };
    let kept: Vec<Source> =
        sources.into_iter().filter(|(file, _)| !is_for_tests(file)).map(|(_, source)| source).collect();
    assert!(kept.len() > 40, "the source is not where it was looked for");
    kept
}

/// The text with the insides of comments, strings and characters made blank. Lines stay where they are.
fn blanked(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_or_comment(&chars, at);
        if end > at {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// Where the comment, string or character that begins here ends; `at` if none begins here.
fn literal_or_comment(chars: &[char], at: usize) -> usize {
    let next = |by: usize| chars.get(at + by).copied();
    let until = |from: usize, is_end: &dyn Fn(usize) -> bool| {
        (from..chars.len()).find(|index| is_end(*index)).map_or(chars.len(), |index| index + 1)
    };
    match chars[at] {
        '/' if next(1) == Some('/') => until(at, &|index| chars[index] == '\n') - 1,
        '/' if next(1) == Some('*') => until(at + 3, &|index| chars[index] == '/' && chars[index - 1] == '*'),
        '"' => until_unescaped(chars, at + 1, '"'),
        'r' if matches!(next(1), Some('"' | '#')) && !is_word(chars, at) => {
            let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
            if next(1 + hashes) != Some('"') {
                return at;
            }
            until(at + hashes + 2, &|index| {
                index >= hashes
                    && chars[index - hashes] == '"'
                    && chars[index - hashes + 1..=index].iter().all(|c| *c == '#')
            })
        }
        '\'' if next(1) == Some('\\') => until_unescaped(chars, at + 1, '\''),
        '\'' if next(2) == Some('\'') => at + 3,
        _ => at,
    }
}

/// Does a word go on here, so that an `r` begins no raw string?
fn is_word(chars: &[char], at: usize) -> bool {
    let before = at.checked_sub(1).map(|index| chars[index]);
    before.is_some_and(|c| c.is_alphanumeric() || c == '_') && before != Some('b')
}

fn until_unescaped(chars: &[char], from: usize, end: char) -> usize {
    let mut at = from;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            c if c == end => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

/// Takes the `#[cfg(test)]` items out. Says how many lines they had, and which of them are modules in files of
/// their own.
fn without_tests(bare: &str) -> (String, usize, Vec<String>) {
    let mut code = bare.to_owned();
    let (mut lines, mut modules) = (0, Vec::new());
    while let Some(start) = code.find("#[cfg(test)]") {
        let end = start + item_length(&code[start..]);
        let item = &code[start..end];
        if let Some((_, module)) = item.trim_end().strip_suffix(';').and_then(|item| item.rsplit_once("mod "))
        {
            modules.push(module.trim().to_owned());
        }
        lines += item.matches('\n').count() + 1;
        let blank: String = item.chars().filter(|c| *c == '\n').collect();
        code.replace_range(start..end, &blank);
    }
    (code, lines, modules)
}

/// How long the item is that begins here: to its `;`, or to the end of its braces.
fn item_length(text: &str) -> usize {
    let mut open = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' if open == 1 => return at + 1,
            '}' => open = open.saturating_sub(1),
            ';' if open == 0 => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// What follows each place where the text names `word` by itself.
fn after_word<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = &'t str> {
    text.match_indices(word).filter_map(move |(at, _)| {
        let goes_on = |c: char| c.is_alphanumeric() || c == '_';
        let rest = &text[at + word.len()..];
        (!text[..at].ends_with(goes_on) && !rest.starts_with(goes_on)).then_some(rest)
    })
}

fn names(text: &str, word: &str) -> bool {
    after_word(text, word).next().is_some()
}

/// The paths below the root of the crate that the file names, as far as two steps: `rotation::timing`.
fn imports(source: &Source) -> Vec<String> {
    let code: String = source.code.split_whitespace().collect::<Vec<_>>().join(" ").replace(" ::", "::");
    let code = code.replace(":: ", "::");
    let mut found = Vec::new();
    for rest in after_word(&code, "crate") {
        // `pub(crate)` names no room.
        if let Some(rest) = rest.strip_prefix("::") {
            found.extend(heads(rest));
        } else {
            assert!(rest.starts_with(')'), "{}: `crate` itself is imported", source.name);
        }
    }
    for rest in after_word(&code, "zalo_tokend") {
        found.extend(rest.strip_prefix("::").into_iter().flat_map(heads));
    }
    for rest in after_word(&code, "super") {
        let mut rest = rest;
        let mut steps = 1;
        while let Some(further) = rest.strip_prefix("::super") {
            (rest, steps) = (further, steps + 1);
        }
        if steps >= source.depth() {
            found.extend(rest.strip_prefix("::").into_iter().flat_map(heads));
        }
    }
    found
}

/// The first one or two steps of a path, or of each path in braces.
fn heads(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else {
        let step = |text: &str| -> String {
            text.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '*')).collect()
        };
        let first = step(path);
        let second = path[first.len()..].strip_prefix("::").map(step).filter(|second| !second.is_empty());
        return vec![second.map_or_else(|| first.clone(), |second| format!("{first}::{second}"))];
    };
    let (mut found, mut open, mut start) = (Vec::new(), 0_usize, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => open += 1,
            '}' if open > 0 => open -= 1,
            ',' | '}' if open == 0 => {
                let one = group[start..at].trim();
                found.extend(if one.is_empty() { Vec::new() } else { heads(one) });
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found
}

/// What is wrong, a line each; the test fails if there is anything.
fn hold(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// Every line of the files that `applies` to, outside tests, on which `is_wrong` finds something.
fn find(applies: impl Fn(&Source) -> bool, what: &str, is_wrong: impl Fn(&str) -> bool) -> Vec<String> {
    let mut violations = Vec::new();
    for source in sources().iter().filter(|source| applies(source)) {
        for (number, line) in source.lines().filter(|(_, line)| is_wrong(line)) {
            violations.push(format!("src/{}:{number}: {what}: {}", source.name, line.trim()));
        }
    }
    violations
}

#[test]
fn every_room_imports_only_what_lies_below_it() {
    let mut violations = Vec::new();
    for source in sources().iter().filter(|source| source.room() != "lib") {
        let room = source.room();
        let Some((_, allowed)) = IMPORTS.iter().find(|(name, _)| *name == room) else {
            violations.push(format!("src/{}: a room that the import rule does not know", source.name));
            continue;
        };
        for path in imports(source) {
            let head = path.split("::").next().unwrap_or_default();
            let is_allowed = head == room
                || allowed.iter().any(|rule| {
                    *rule == head
                        || path == *rule
                        || path.strip_prefix(rule).is_some_and(|r| r.starts_with("::"))
                });
            if !is_allowed {
                violations.push(format!("src/{}: {room} must not import {path}", source.name));
            }
        }
    }
    hold(&violations);
}

#[test]
fn the_map_names_every_room() {
    let map =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).expect("lib.rs");
    let declared: Vec<&str> =
        map.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let ruled: Vec<&str> = IMPORTS.iter().map(|(room, _)| *room).filter(|room| *room != "main").collect();
    let mut sorted = ruled.clone();
    sorted.sort_unstable();
    assert_eq!(declared, sorted, "the rooms of lib.rs and those of the import rule");
    for room in ruled {
        assert!(map.contains(&format!("[`{room}`]")), "lib.rs says nothing of {room}");
    }
}

#[test]
fn sql_stays_in_the_store() {
    hold(&find(
        |source| source.room() != "store",
        "rusqlite outside the store",
        |line| names(line, "rusqlite"),
    ));
}

#[test]
fn http_stays_behind_the_door() {
    // A URL is a value that others may hold.
    let is_wrong = |line: &str| {
        after_word(line, "reqwest").any(|rest| !rest.starts_with("::Url;") && !rest.starts_with("::Url "))
    };
    // Webhooks and vendors have clients of their own: no token goes through them, and nothing behind the door knows of them.
    let is_elsewhere = |source: &Source| {
        !matches!(source.room(), "http" | "zalo")
            && !matches!(source.name.as_str(), "publish/webhook/client.rs" | "vendor/door.rs")
    };
    hold(&find(is_elsewhere, "reqwest outside http and the doors", is_wrong));
}

#[test]
fn only_the_clock_reads_the_clock() {
    let is_wrong = |line: &str| {
        ["SystemTime::now", "Timestamp::now", "Zoned::now", "Utc::now", "Local::now", "clock_gettime"]
            .iter()
            .any(|word| names(line, word))
            || names(line, "UNIX_EPOCH")
            || after_word(line, "std::time").any(|rest| names(rest, "Instant"))
    };
    hold(&find(|source| source.room() != "clock", "a clock is read", is_wrong));
}

#[test]
fn the_pure_rooms_do_no_io_read_no_clock_and_roll_no_dice() {
    let is_pure = |source: &Source| {
        matches!(source.room(), "oauth" | "rotation" | "vendor") && source.name != "vendor/door.rs"
    };
    let is_wrong = |line: &str| {
        [
            "tokio",
            "fastrand",
            "tracing",
            "std::fs",
            "std::net",
            "std::io",
            "std::env",
            "std::process",
            "Instant",
        ]
        .iter()
        .any(|word| names(line, word))
            || names(line, "SystemClock")
    };
    hold(&find(is_pure, "not pure", is_wrong));
}

#[test]
fn nothing_is_unsafe_unfinished_or_dropped_unseen() {
    let is_wrong = |line: &str| {
        names(line, "unsafe")
            || ["todo", "unimplemented", "dbg"]
                .iter()
                .any(|word| after_word(line, word).any(|r| r.starts_with('!')))
            || after_word(line, "let").any(|rest| {
                let pattern = rest.trim_start();
                pattern.strip_prefix('_').is_some_and(|rest| rest.starts_with([' ', ':', '=']))
            })
    };
    hold(&find(|_| true, "unsafe, unfinished, or `let _`", is_wrong));
}

#[test]
fn every_file_begins_by_saying_what_it_is_and_stays_short() {
    let mut violations = Vec::new();
    for source in sources() {
        if !source.raw.starts_with("//! ") {
            violations.push(format!("src/{}: does not begin with //!", source.name));
        }
        let lines = source.raw.lines().count() - source.test_lines;
        if lines >= MOST_LINES {
            violations.push(format!("src/{}: {lines} lines, without tests", source.name));
        }
    }
    hold(&violations);
}

#[test]
fn no_file_of_a_folder_of_tests_is_left_out_of_its_program() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut forgotten = Vec::new();
    for file in source_files("tests") {
        let main = file.with_file_name("main.rs");
        let name = file.file_stem().expect("a name").to_str().expect("UTF-8");
        if name == "main" || !main.exists() {
            continue;
        }
        let text = std::fs::read_to_string(&main).expect("a readable file");
        if !text.lines().any(|line| line == format!("mod {name};")) {
            forgotten.push(file.strip_prefix(&tests).expect("in there").display().to_string());
        }
    }
    hold(&forgotten);
}

/// The features that this package is built with, with dependencies of these kinds.
fn features(kinds: &str) -> String {
    let tree = ["tree", "--offline", "--locked", "--package", env!("CARGO_PKG_NAME"), "--depth", "0"];
    let output = std::process::Command::new(env!("CARGO"))
        .args(tree)
        .args(["--format", "{f}", "--edges", kinds])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Below the first line stand the heads of what is not shown.
    String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn the_program_has_failpoints_where_its_tests_are_built_and_nowhere_else() {
    assert_eq!(features("normal,build"), "", "what `cargo build` makes");
    assert_eq!(features("normal,build,dev"), "failpoints", "what `cargo test` makes");
}

#[test]
fn the_reader_of_the_source_sees_what_it_has_to_see() {
    let text = "use crate::{id::OaId, store::{self, Time}};\n// crate::cli\nlet c = '\"'; let s = \"crate::keeper\";\n\
        let r = r#\"crate::zalo \" \"#; fn f<'a>(x: &'a str) { super::super::clock::now() }\n\
        #[cfg(test)]\nmod tests { use crate::simulator::X; fn g() { { } } }\npub(crate) fn h() { super::own() }";
    let (code, test_lines, modules) = without_tests(&blanked(text));
    let source = Source { name: "oauth/answer.rs".to_owned(), raw: text.to_owned(), code, test_lines };
    assert_eq!((test_lines, modules.len(), source.depth()), (2, 0, 2));
    assert_eq!(
        imports(&source),
        ["id::OaId", "store::{self", "clock::now"].map(|path| path.replace("::{self", ""))
    );
    assert_eq!(without_tests("a\n#[cfg(test)]\nmod tests;\nb").2, ["tests"]);
}
