//! Which files need each other in a circle?
//!
//! A file needs another when it names a path that the other declares. A re-export is only a name: a path
//! through it leads to the file that declares the item, and the file that re-exports needs nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::scan::{
    expand, is_test_file, is_word, our_paths, source_files, test_only_files, without_literals,
    without_tests, words,
};

/// The most files that may need each other in a circle.
const LARGEST_CIRCLE: usize = 3;

/// Files by module path (`net::connection::http1`), with the modules that each needs.
pub(crate) type Graph = BTreeMap<String, BTreeSet<String>>;

/// The product's source files and what each needs. Paths are below `src`.
pub(crate) fn graph(files: &[(String, String)]) -> Graph {
    let code: BTreeMap<String, (&str, String)> = files
        .iter()
        .map(|(path, source)| {
            let code = without_tests(&without_literals(source));
            (module_path(path), (path.as_str(), code))
        })
        .collect();
    let names: BTreeSet<String> = code.keys().cloned().collect();
    let exports: BTreeMap<String, Exports> = code
        .iter()
        .map(|(module, (_, code))| (module.clone(), exports(module, code, &names)))
        .collect();
    code.iter()
        .map(|(module, (path, code))| {
            let mut needs = BTreeSet::new();
            for target in targets(module, path, &without_exports(code)) {
                if let Some(file) = declared_in(&target, &names, &exports, 0)
                    && file != *module
                {
                    needs.insert(file);
                }
            }
            (module.clone(), needs)
        })
        .collect()
}

/// The circles, as sorted lists of modules.
pub(crate) fn circles(graph: &Graph) -> Vec<Vec<String>> {
    let reach: BTreeMap<&String, BTreeSet<&String>> = graph
        .keys()
        .map(|from| (from, reachable(graph, from)))
        .collect();
    let mut found: BTreeSet<Vec<String>> = BTreeSet::new();
    for (from, reached) in &reach {
        if !reached.contains(from) {
            continue;
        }
        let circle: Vec<String> = reached
            .iter()
            .filter(|other| reach[*other].contains(*from))
            .map(|other| (*other).clone())
            .collect();
        found.insert(circle);
    }
    found.into_iter().collect()
}

fn reachable<'a>(graph: &'a Graph, from: &String) -> BTreeSet<&'a String> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&String> = graph[from].iter().collect();
    while let Some(module) = next.pop() {
        if reached.insert(module)
            && let Some(needs) = graph.get(module)
        {
            next.extend(needs);
        }
    }
    reached
}

/// `net/connection/mod.rs` → `net::connection`.
pub(crate) fn module_path(path: &str) -> String {
    let stem = path.trim_end_matches(".rs");
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    stem.replace('/', "::")
}

/// The paths that a file names, from the crate root.
fn targets(module: &str, path: &str, code: &str) -> Vec<String> {
    let mut found: Vec<String> = our_paths(path, code).into_iter().map(|(_, p)| p).collect();
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    for (keyword, base) in [("super", parent), ("self", module)] {
        for at in words(code, keyword) {
            if let Some(rest) = code[at + keyword.len()..].strip_prefix("::") {
                expand(rest, base, &mut found);
            }
        }
    }
    found
}

type Exports = BTreeMap<String, String>;

/// The names that a module re-exports, with the paths they stand for.
fn exports(module: &str, code: &str, names: &BTreeSet<String>) -> Exports {
    let mut found = Exports::new();
    for (start, end) in export_statements(code) {
        let statement = &code[start..end];
        let tree = statement[statement.find("use ").map_or(0, |at| at + 4)..].trim_start();
        let mut leaves = Vec::new();
        let (base, tree) = match tree {
            t if t.starts_with("crate::") => ("", &t[7..]),
            t if t.starts_with("self::") => (module, &t[6..]),
            t => (module, t),
        };
        expand(tree, base, &mut leaves);
        for leaf in leaves {
            let name = leaf.rsplit("::").next().unwrap_or_default().to_owned();
            if names.iter().any(|n| leaf.starts_with(&format!("{n}::"))) {
                found.insert(name, leaf);
            }
        }
    }
    found
}

fn without_exports(code: &str) -> String {
    let mut out = code.to_owned();
    for (start, end) in export_statements(code) {
        out.replace_range(start..end, &" ".repeat(end - start));
    }
    out
}

/// The ranges of `pub use ...;`, whatever the visibility.
fn export_statements(code: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for at in words(code, "pub") {
        let mut rest = code[at + 3..].trim_start();
        if rest.starts_with('(') {
            rest = rest[rest.find(')').map_or(0, |end| end + 1)..].trim_start();
        }
        let is_use = rest.starts_with("use") && !rest[3..].starts_with(is_word);
        if is_use && let Some(length) = rest.find(';') {
            found.push((at, code.len() - rest.len() + length + 1));
        }
    }
    found
}

/// The file that declares the item at the end of a path.
fn declared_in(
    path: &str,
    names: &BTreeSet<String>,
    exports: &BTreeMap<String, Exports>,
    depth: usize,
) -> Option<String> {
    let parts: Vec<&str> = path.split("::").collect();
    let length = (1..=parts.len())
        .rev()
        .find(|n| names.contains(&parts[..*n].join("::")))?;
    let file = parts[..length].join("::");
    let exported = parts
        .get(length)
        .and_then(|item| exports.get(&file)?.get(*item));
    match exported {
        Some(target) if depth < 5 => declared_in(target, names, exports, depth + 1),
        _ => Some(file),
    }
}

#[test]
fn no_circle_of_files_is_larger_than_permitted() {
    let files = source_files();
    let test_only = test_only_files(&files);
    let product: Vec<(String, String)> = files
        .into_iter()
        .filter(|(path, _)| !is_test_file(path, &test_only))
        .collect();
    let found = circles(&graph(&product));
    let large: Vec<_> = found
        .iter()
        .filter(|circle| circle.len() > LARGEST_CIRCLE)
        .collect();
    assert!(
        large.is_empty(),
        "circles of more than three files: {large:#?}"
    );
}

#[test]
fn a_circle_is_found_through_a_re_export() {
    let file = |path: &str, source: &str| (path.to_owned(), source.to_owned());
    let files = [
        file("a/mod.rs", "mod x;\npub use x::Item;\n"),
        file("a/x.rs", "use crate::b::Other;\npub struct Item;\n"),
        file("b.rs", "use crate::a::Item;\npub struct Other;\n"),
    ];
    let found = circles(&graph(&files));
    assert_eq!(found, [["a::x".to_owned(), "b".to_owned()]]);
}
