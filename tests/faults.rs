//! Holds the tests to the table of faults in `tests/README.md`: every fault has its tests, and the table says where they are.

mod source_files;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use source_files::source_files;

/// How many faults there are.
const FAULTS: u32 = 50;

/// The files in which the tests of each fault are.
type Places = BTreeMap<u32, BTreeSet<String>>;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The number at the head of a test's name: `f07_…`.
fn number(name: &str) -> Option<u32> {
    let (digits, rest) = name.strip_prefix('f')?.split_at_checked(2)?;
    rest.starts_with('_').then(|| digits.parse().ok()).flatten()
}

/// The numbers of the tests in a source: functions right below an attribute that makes them tests.
fn numbers(source: &str) -> impl Iterator<Item = u32> {
    source.lines().zip(source.lines().skip(1)).filter_map(|(attribute, head)| {
        let attribute = attribute.trim();
        let is_test = attribute == "#[test]" || attribute.starts_with("#[tokio::test");
        let head = head.trim().strip_prefix("async ").unwrap_or(head.trim());
        number(head.strip_prefix("fn ").filter(|_| is_test)?)
    })
}

fn places_of_the_tests() -> Places {
    let mut places = Places::new();
    for file in ["src", "tests"].into_iter().flat_map(source_files) {
        let name = file.strip_prefix(root()).expect("below the root").to_str().expect("UTF-8").to_owned();
        for number in numbers(&std::fs::read_to_string(&file).expect("a readable file")) {
            places.entry(number).or_default().insert(name.clone());
        }
    }
    places
}

/// The rows of the table: number, what, where, what was decided.
fn rows() -> Vec<Vec<String>> {
    let readme = std::fs::read_to_string(root().join("tests/README.md")).expect("readable");
    let mut lines = readme.lines().skip_while(|line| !line.starts_with("| fault | what |"));
    assert!(lines.next().is_some(), "tests/README.md has no table of faults");
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    lines.skip(1).take_while(|line| line.starts_with('|')).map(cells).collect()
}

#[test]
fn every_fault_has_a_test_that_bears_its_number() {
    let places = places_of_the_tests();
    let without: Vec<u32> = (1..=FAULTS).filter(|number| !places.contains_key(number)).collect();
    assert!(without.is_empty(), "no test shows the faults {without:?}");
    let unknown: Vec<_> = places.iter().filter(|(number, _)| !(1..=FAULTS).contains(*number)).collect();
    assert!(unknown.is_empty(), "tests with numbers of no fault: {unknown:?}");
}

#[test]
fn the_table_of_faults_names_every_fault_once_and_where_its_tests_are() {
    let places = places_of_the_tests();
    let rows = rows();
    let numbers: Vec<String> = rows.iter().map(|row| row[0].clone()).collect();
    let expected: Vec<String> = (1..=FAULTS).map(|number| format!("f{number:02}")).collect();
    assert_eq!(numbers, expected, "the table on the left");
    for (row, number) in rows.iter().zip(1..) {
        assert!(
            !row[1].is_empty() && row.len() == 4,
            "{}: what is it, in which file, with which decision?",
            row[0]
        );
        let told: BTreeSet<String> = row[2].split('`').skip(1).step_by(2).map(str::to_owned).collect();
        assert_eq!(
            Some(&told),
            places.get(&number),
            "{}: the table on the left, the tests on the right",
            row[0]
        );
    }
}

#[test]
fn a_number_counts_only_at_the_head_of_a_test() {
    let source = "#[test]\nfn f01_a() {}\n fn f02_b() {}\n    #[tokio::test(flavor = \"x\")]\n    async fn f03_c() {}\n\
        #[test]\nfn f4_d() {}\n#[test]\nfn fifty() {}\n";
    assert_eq!(numbers(source).collect::<Vec<_>>(), [1, 3]);
}
