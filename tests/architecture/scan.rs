//! How is Rust source read as text? Blanking of other than product code, collecting of paths, walking
//! the tree.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every path into this crate, without the leading `crate::`, with groups expanded.
pub(crate) fn our_paths(path: &str, code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let roots: &[&str] = if path == "main.rs" {
        &["sidegate", "crate"]
    } else {
        &["crate"]
    };
    for root in roots {
        for at in words(code, root) {
            let Some(rest) = code[at + root.len()..].strip_prefix("::") else {
                continue;
            };
            let mut leaves = Vec::new();
            expand(rest, "", &mut leaves);
            found.extend(leaves.into_iter().map(|leaf| (at, leaf)));
        }
    }
    found.sort();
    found
}

/// Reads one use tree at the start of `text`, adds its leaves to `leaves` and returns the rest.
pub(crate) fn expand<'a>(text: &'a str, prefix: &str, leaves: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            if rest.is_empty() {
                return rest;
            }
            rest = expand(rest, prefix, leaves);
            // Skips a comma, and ` as name` before it.
            let end = rest.find([',', '}']).unwrap_or(rest.len());
            rest = rest[end..].strip_prefix(',').unwrap_or(&rest[end..]);
        }
    }
    let end = text.find(|c: char| !is_word(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let path = match (prefix, name) {
        ("", _) => name.to_owned(),
        (_, "self" | "") => prefix.to_owned(),
        _ => format!("{prefix}::{name}"),
    };
    if let Some(after) = rest.strip_prefix("::") {
        return expand(after, &path, leaves);
    }
    leaves.push(path);
    rest
}

/// The positions where the outside crate `name` is named: `name::`, `::name::`, `use name`, unless the
/// file declares a module of that name.
pub(crate) fn crate_uses(code: &str, name: &str) -> Vec<usize> {
    let is_local = words(code, name).into_iter().any(|at| {
        let before = code[..at].trim_end();
        before.ends_with("mod") && !before.ends_with("_mod")
    });
    words(code, name)
        .into_iter()
        .filter(|at| {
            let before = code[..*at].trim_end();
            let after = &code[*at + name.len()..];
            let bare_use = before.ends_with("use") || before.ends_with("crate");
            let heads_a_path = after.starts_with("::");
            match before.strip_suffix("::") {
                // `::name` is the crate; `x::name` and `>::name` are something else.
                Some(head) => heads_a_path && !head.ends_with(|c: char| is_word(c) || c == '>'),
                None => !is_local && (heads_a_path || bare_use) && !before.ends_with('.'),
            }
        })
        .collect()
}

/// The positions of `word` as a whole word.
pub(crate) fn words(code: &str, word: &str) -> Vec<usize> {
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(|at| {
            let before = code[..*at].chars().next_back();
            let after = code[*at + word.len()..].chars().next();
            !before.is_some_and(is_word) && !after.is_some_and(is_word)
        })
        .collect()
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

pub(crate) fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// `rules/rotation.rs` is in `rules`, `limits.rs` is `limits`.
pub(crate) fn module_of(path: &str) -> String {
    let first = path.split('/').next().unwrap_or_default();
    first.strip_suffix(".rs").unwrap_or(first).to_owned()
}

// ---- blanking ----------------------------------------------------------------------------------

/// The source with comments and the contents of literals replaced by spaces. Line numbers are unchanged.
pub(crate) fn without_literals(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    let mut previous = ' ';
    while let Some(c) = rest.chars().next() {
        let skip = skipped(rest, previous);
        let (piece, after) = rest.split_at(skip.unwrap_or(c.len_utf8()));
        if skip.is_some() {
            out.extend(piece.chars().map(|c| if c == '\n' { c } else { ' ' }));
        } else {
            out.push(c);
        }
        previous = piece.chars().next_back().unwrap_or(' ');
        rest = after;
    }
    out
}

/// The number of bytes of a comment or literal at the start of `text`; `None` when it is code.
pub(crate) fn skipped(text: &str, previous: char) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment(text));
    }
    if text.starts_with('"') {
        return Some(quoted(text, '"'));
    }
    if text.starts_with('\'') {
        return char_literal(text);
    }
    if is_word(previous) {
        return None;
    }
    let bare = text.trim_start_matches(['b', 'c']);
    let prefix = text.len() - bare.len();
    if prefix > 1 {
        return None;
    }
    if let Some(raw) = bare.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let body = raw.get(hashes..)?.strip_prefix('"')?;
        let close = format!("\"{}", "#".repeat(hashes));
        let end = body.find(&close).map_or(body.len(), |at| at + close.len());
        return Some(text.len() - body.len() + end);
    }
    (prefix == 1 && bare.starts_with('"')).then(|| prefix + quoted(bare, '"'))
}

pub(crate) fn block_comment(text: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

pub(crate) fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a char literal, or `None` for a lifetime.
pub(crate) fn char_literal(text: &str) -> Option<usize> {
    let mut chars = text.chars().skip(1);
    let first = chars.next()?;
    if first == '\\' {
        return Some(quoted(text, '\''));
    }
    (chars.next() == Some('\'')).then(|| 2 + first.len_utf8())
}

/// Blanks every item behind `#[cfg(test)]`. Expects code without literals.
pub(crate) fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    for (start, end) in test_items(code) {
        let blank: String = code[start..end]
            .chars()
            .map(|c| if c == '\n' { c } else { ' ' })
            .collect();
        // Blanks are one byte each, and the replaced text may be longer. So only ASCII is replaced in
        // place, as all code is.
        if code[start..end].is_ascii() {
            out.replace_range(start..end, &blank);
        }
    }
    out
}

/// The byte ranges of the items behind `#[cfg(test)]`.
pub(crate) fn test_items(code: &str) -> Vec<(usize, usize)> {
    let mut items: Vec<(usize, usize)> = Vec::new();
    for (start, mark) in code.match_indices("#[cfg(test)]") {
        if items.last().is_some_and(|(_, end)| start < *end) {
            continue;
        }
        let mut depth = 0i32;
        let mut end = code.len();
        for (at, c) in code[start + mark.len()..].char_indices() {
            match c {
                '{' | '(' | '[' => depth += 1,
                '}' | ')' | ']' => depth -= 1,
                _ => {}
            }
            if depth == 0 && (c == '}' || c == ';') {
                end = start + mark.len() + at + 1;
                break;
            }
        }
        items.push((start, end));
    }
    items
}

/// Files whose `mod name;` is behind `#[cfg(test)]`, as paths without `.rs`.
pub(crate) fn test_only_files(files: &[(String, String)]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (path, source) in files {
        let code = without_literals(source);
        let folder = match path.strip_suffix("/mod.rs") {
            Some(folder) => format!("{folder}/"),
            None if path == "lib.rs" || path == "main.rs" => String::new(),
            None => format!("{}/", path.trim_end_matches(".rs")),
        };
        for (start, end) in test_items(&code) {
            let item = code[start..end].trim_end_matches(';');
            if let Some(name) = item.split_whitespace().next_back()
                && !item.contains('{')
                && !words(item, "mod").is_empty()
            {
                found.insert(format!("{folder}{name}"));
            }
        }
    }
    found
}

pub(crate) fn is_test_file(path: &str, test_only: &BTreeSet<String>) -> bool {
    let stem = path.trim_end_matches(".rs");
    let declared = test_only
        .iter()
        .any(|only| stem == only || stem.starts_with(&format!("{only}/")));
    let named = stem
        .split('/')
        .any(|part| part == "tests" || part == "contract");
    declared || named
}

/// The repository: known to cargo, otherwise the current directory.
pub(crate) fn root() -> PathBuf {
    option_env!("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from)
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Every Rust file below `src`, as path and text.
pub(crate) fn source_files() -> Vec<(String, String)> {
    let base = root().join("src");
    let mut files = Vec::new();
    walk(&base, &mut |path| {
        if path.extension().is_some_and(|e| e == "rs") {
            let name = path.strip_prefix(&base).expect("below src");
            let text = fs::read_to_string(path).expect("UTF-8 source");
            files.push((name.to_string_lossy().into_owned(), text));
        }
    });
    files.sort();
    files
}

/// The names of all functions in Rust files of the tree, and of the sections of the scripts.
pub(crate) fn test_functions() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for folder in ["src", "tests", "examples", "benches", "scripts"] {
        walk(&root().join(folder), &mut |path| {
            let Ok(text) = fs::read_to_string(path) else {
                return;
            };
            if path.extension().is_some_and(|e| e == "rs") {
                for at in words(&text, "fn") {
                    let name = text[at + 2..].trim_start();
                    names.insert(name.chars().take_while(|c| is_word(*c)).collect());
                }
            } else if path.extension().is_none() {
                let heads = text.lines().filter_map(|line| line.strip_suffix("() {"));
                names.extend(heads.map(str::to_owned));
            }
        });
    }
    names
}

pub(crate) fn walk(folder: &Path, each: &mut dyn FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            walk(&path, each);
        } else {
            each(&path);
        }
    }
}
