//! Does the source keep its layers and the rules that a compiler does not check? The test uses the
//! standard library only, so it compiles alone and runs before any dependency is built:
//!
//! ```sh
//! rustc --edition 2024 --test tests/architecture.rs -o target/architecture && target/architecture
//! ```
//!
//! It reads source as text: comments, literals and test code are blanked first, then paths are
//! collected. For this to be reliable, `use crate::{..}` groups, `super::super` and glob imports are
//! themselves breaches, and `the_scanner_finds_planted_breaches` has one example of each kind.
#![cfg(test)]

#[path = "architecture/breaches.rs"]
mod breaches;
#[path = "architecture/circles.rs"]
mod circles;
#[path = "architecture/files.rs"]
mod files;
#[path = "architecture/law.rs"]
mod law;
#[path = "architecture/links.rs"]
mod links;
#[path = "architecture/questions.rs"]
mod questions;
#[path = "architecture/rooms.rs"]
mod rooms;
#[path = "architecture/scan.rs"]
mod scan;
#[path = "architecture/words.rs"]
mod words;

use std::collections::BTreeSet;
use std::fs;

use breaches::breaches;
use law::{Law, May, TABLE};
use scan::{is_test_file, module_of, read, root, source_files, test_functions, test_only_files};

/// A scan that sees fewer files than this is broken and proves nothing.
const FEWEST_FILES: usize = 80;

#[test]
fn the_source_keeps_the_layers_and_habits() {
    let files = source_files();
    let law = Law::parse(TABLE);
    let test_only = test_only_files(&files);
    let mut found = Vec::new();
    for (path, source) in &files {
        if !is_test_file(path, &test_only) {
            found.extend(breaches(&law, path, source));
        }
    }
    assert!(
        found.is_empty(),
        "{} breaches:\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn the_scan_sees_the_whole_tree() {
    let count = source_files().len();
    assert!(count > FEWEST_FILES, "saw only {count} source files");
}

#[test]
fn every_module_has_a_row_in_the_table() {
    let law = Law::parse(TABLE);
    for (path, _) in source_files() {
        let module = module_of(&path);
        assert!(
            module == "lib" || law.rows.contains_key(&module),
            "src/{path}: the module {module} has no row in the table of {}",
            file!()
        );
    }
}

#[test]
fn the_table_points_downwards_only() {
    let law = Law::parse(TABLE);
    for (module, row) in &law.rows {
        if let May::List { modules, .. } = &row.may {
            for (other, _) in modules {
                let below = law.rows.get(other).expect("a module with a row");
                assert!(
                    below.layer < row.layer,
                    "{module} (layer {}) may import {other} (layer {})",
                    row.layer,
                    below.layer
                );
            }
        }
    }
}

#[test]
fn the_table_in_the_architecture_document_is_this_table() {
    let document = read("ARCHITECTURE.md");
    let start = document
        .find("| layer | module | may import |")
        .expect("ARCHITECTURE.md holds the layer table");
    let rows: Vec<&str> = document[start..]
        .lines()
        .take_while(|line| line.starts_with('|'))
        .collect();
    let ours: Vec<&str> = TABLE.trim().lines().collect();
    assert_eq!(rows, ours);
}

#[test]
fn every_defence_names_tests_that_exist() {
    let document = read("docs/threats.md");
    let functions = test_functions();
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for line in document.lines().filter(|line| line.starts_with("| S")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [id, _, tests] = cells.as_slice() else {
            wrong.push(format!("not three columns: {line}"));
            continue;
        };
        let number: usize = id[1..].parse().expect("S and a number");
        assert!(seen.insert(number), "{id} occurs twice");
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        let later = tests.starts_with("- ");
        if names.is_empty() && !later {
            wrong.push(format!("{id} names no test: {tests:?}"));
        }
        for name in names {
            let exists = if name.contains('/') {
                root().join(name).exists()
            } else {
                functions.contains(name)
            };
            if !exists {
                wrong.push(format!("{id} names `{name}`, which is nowhere in the tree"));
            }
        }
    }
    assert_eq!(seen, (1..=60).collect(), "the requirements are S1 to S60");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_entry_about_reliability_names_tests_that_exist() {
    let document = read("docs/reliability.md");
    let functions = test_functions();
    let table = document.split("## Every entry and its test").nth(1);
    let table = table.expect("the table").split("\n## ").next();
    let mut wrong = Vec::new();
    let mut rows = 0;
    for line in table.unwrap_or_default().lines().skip(1) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [entry, _, tests] = cells.as_slice() else {
            continue;
        };
        if *entry == "entry" {
            continue;
        }
        rows += 1;
        for name in tests.split('`').skip(1).step_by(2) {
            if !functions.contains(name) && !root().join(name).exists() {
                wrong.push(format!(
                    "{entry} names `{name}`, which is nowhere in the tree"
                ));
            }
        }
    }
    assert!(rows > 0, "no rows");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_decision_is_linked_short_and_complete() {
    let index = read("docs/decisions/README.md");
    let mut pages = 0;
    for entry in fs::read_dir(root().join("docs/decisions")).expect("the folder exists") {
        let path = entry.expect("a readable entry").path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "README.md" {
            continue;
        }
        pages += 1;
        assert!(index.contains(&format!("({name})")), "{name} is not linked");
        let text = fs::read_to_string(&path).expect("a readable page");
        assert!(text.lines().count() < 60, "{name} is too long");
        for heading in [
            "## Context",
            "## Choice",
            "## Price",
            "## What would change our mind",
        ] {
            assert!(text.contains(heading), "{name} lacks {heading:?}");
        }
    }
    assert!(pages >= 10, "only {pages} decision pages");
    for target in index
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
    {
        let path = root().join("docs/decisions").join(target);
        assert!(path.exists(), "the link {target} leads nowhere");
    }
}

#[test]
fn the_scanner_finds_planted_breaches() {
    let planted: &[(&str, &str, &str)] = &[
        (
            "rules/rotation.rs",
            "use crate::store::Session;",
            "src/rules/rotation.rs:1: rules imports store; may import types, model",
        ),
        (
            "model/user.rs",
            "//! docs\nfn f() -> u8 { crate::service::login::f() }",
            "src/model/user.rs:2: model imports service; may import types, telemetry",
        ),
        (
            "guard/mod.rs",
            "use crate::service::{liveness::Liveness, login::Login};",
            "src/guard/mod.rs:1: guard imports service::login::Login; may import only first_sight, liveness of it",
        ),
        (
            "proxy/mod.rs",
            "use crate::guard::extract::token;",
            "src/proxy/mod.rs:1: proxy imports guard::extract::token; may import only Permit, Identity, caching of it",
        ),
        (
            "config/build.rs",
            "use crate::service::login::Login;",
            "src/config/build.rs:1: config imports service::login::Login; may import settings of any module, types",
        ),
        (
            "service/a.rs",
            "use hyper::Request;",
            "src/service/a.rs:1: hyper is fenced; only api, proxy, guard, net, gateway, process, config may name it",
        ),
        (
            "store/mod.rs",
            "\nfn f(db: &sled::Db) {}",
            "src/store/mod.rs:2: sled is fenced; only store/sled may name it",
        ),
        (
            "store/mod.rs",
            "mod sled;\nfn f(db: &::sled::Db) {}",
            "src/store/mod.rs:2: sled is fenced; only store/sled may name it",
        ),
        (
            "rules/a.rs",
            "async fn f() { tokio::task::yield_now().await }",
            "src/rules/a.rs:1: rules must not name tokio",
        ),
        (
            "service/a.rs",
            "use crate::{store, model};",
            "src/service/a.rs:1: a `use crate::{..}` group: one module per line",
        ),
        (
            "service/a/b.rs",
            "use super::super::c;",
            "src/service/a/b.rs:1: `super::super`: name the path from `crate`",
        ),
        (
            "rules/mod.rs",
            "use super::store::Store;",
            "src/rules/mod.rs:1: `super::` reaches the crate root here: write `crate::`",
        ),
        (
            "service/a.rs",
            "use std::io::*;",
            "src/service/a.rs:1: a glob import",
        ),
        (
            "service/a.rs",
            "use std::io::{self, prelude::*};",
            "src/service/a.rs:1: a glob import",
        ),
        (
            "service/a.rs",
            "static A: OnceLock<u8> = OnceLock::new();",
            "src/service/a.rs:1: a static that changes: no ambient state",
        ),
        (
            "service/a.rs",
            "static HITS: AtomicU64 = AtomicU64::new(0);",
            "src/service/a.rs:1: a static that changes: no ambient state",
        ),
        (
            "service/a.rs",
            "thread_local! { }",
            "src/service/a.rs:1: thread_local!: no ambient state",
        ),
        (
            "service/a.rs",
            "fn validate_name(n: &str) -> bool { true }",
            "src/service/a.rs:1: fn validate_name: parse into a type instead",
        ),
        (
            "service/a.rs",
            "fn check_validity() {}",
            "src/service/a.rs:1: fn check_validity: parse into a type instead",
        ),
        (
            "service/a.rs",
            "fn f() { todo!() }",
            "src/service/a.rs:1: todo!: nothing half-done lands",
        ),
    ];
    let law = Law::parse(TABLE);
    for (path, source, message) in planted {
        assert_eq!(breaches(&law, path, source), [*message], "in {source:?}");
    }
}

#[test]
fn the_scanner_accepts_correct_code() {
    let source = r##"
//! crate::store in docs
use std::fmt;
use crate::types::ids::{SessionId, UserId};
use crate::model::session::Session;
/* use crate::store::X; /* nested */ use hyper::Y; */
const A: &str = "crate::store::X \" hyper::Y";
const B: &str = r#"crate::store::X " hyper::Y"#;
const C: char = '"';
const D: char = '\'';
static NAMES: [&str; 1] = ["static mut"];
struct Part { once: OnceLock<u8> }
fn f<'a>(x: &'a str) -> &'a str { x }
pub(crate) fn valid(x: u8) -> u8 { x * 2 }
#[cfg(test)]
pub(crate) fn sample() -> u8 { crate::store::x() }
#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Y;
    const BRACE: &str = "}";
}
"##;
    let law = Law::parse(TABLE);
    assert_eq!(
        breaches(&law, "rules/honest.rs", source),
        Vec::<String>::new()
    );
    let local = "mod sled;\npub use sled::SledStore;\n";
    assert_eq!(
        breaches(&law, "store/mod.rs", local),
        Vec::<String>::new(),
        "a module may have the name of a crate"
    );
    let planned = "use crate::limits::{Quota, Settings};\nuse crate::store::settings::Engine;\n";
    assert_eq!(
        breaches(&law, "config/build.rs", planned),
        Vec::<String>::new()
    );
}

#[test]
fn a_file_declared_for_tests_is_a_test_file() {
    let files = vec![
        (
            "store/mod.rs".to_owned(),
            "#[cfg(test)]\npub(crate) mod naive;".to_owned(),
        ),
        ("store/naive.rs".to_owned(), String::new()),
    ];
    let test_only = test_only_files(&files);
    assert!(is_test_file("store/naive.rs", &test_only));
    assert!(is_test_file("rules/tests.rs", &test_only));
    assert!(is_test_file("store/contract/races.rs", &test_only));
    assert!(!is_test_file("store/mod.rs", &test_only));
}
