//! Is every file small, and does its first line state what it is for?

use crate::scan::{
    is_test_file, root, source_files, test_items, test_only_files, walk, without_literals,
};

/// The maximum number of lines of a file. Unit tests at the end of a file of product code do not count.
const MAX_LINES: usize = 400;

/// Every Rust file below `tests`, as path and text.
fn test_files() -> Vec<(String, String)> {
    let base = root().join("tests");
    let mut files = Vec::new();
    walk(&base, &mut |path| {
        if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(&base).expect("below tests");
            let text = std::fs::read_to_string(path).expect("UTF-8 source");
            files.push((name.to_string_lossy().into_owned(), text));
        }
    });
    files
}

/// The number of lines outside of items behind `#[cfg(test)]`.
fn product_lines(source: &str) -> usize {
    let code = without_literals(source);
    let tests: usize = test_items(&code)
        .iter()
        .map(|(start, end)| code[*start..*end].lines().count())
        .sum();
    source.lines().count() - tests
}

#[test]
fn no_file_is_too_long() {
    let files = source_files();
    let test_only = test_only_files(&files);
    let mut long = Vec::new();
    for (path, source) in &files {
        let lines = if is_test_file(path, &test_only) {
            source.lines().count()
        } else {
            product_lines(source)
        };
        if lines > MAX_LINES {
            long.push(format!("src/{path}: {lines} lines, at most {MAX_LINES}"));
        }
    }
    for (path, source) in test_files() {
        let lines = source.lines().count();
        if lines > MAX_LINES {
            long.push(format!("tests/{path}: {lines} lines, at most {MAX_LINES}"));
        }
    }
    assert!(long.is_empty(), "split by topic:\n{}", long.join("\n"));
}

#[test]
fn every_file_states_in_its_first_line_what_it_is_for() {
    let ours = source_files()
        .into_iter()
        .map(|(p, s)| (format!("src/{p}"), s));
    let tests = test_files()
        .into_iter()
        .map(|(p, s)| (format!("tests/{p}"), s));
    let silent: Vec<String> = ours
        .chain(tests)
        .filter(|(_, source)| !source.starts_with("//! "))
        .map(|(path, _)| path)
        .collect();
    assert!(
        silent.is_empty(),
        "the first line must begin with `//! `:\n{}",
        silent.join("\n")
    );
}

#[test]
fn unit_tests_do_not_count_as_lines_of_the_product() {
    let source = "fn f() {}\n\n#[cfg(test)]\nmod tests {\n    fn g() {}\n}\n";
    assert_eq!(product_lines(source), 2);
}
