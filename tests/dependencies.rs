//! The dependency tree has no banned crate, no version below the one that fixed a known flaw, no licence
//! outside the list, and no advisory without a documented exception.
//!
//! `deny.toml` has the same rules for cargo-deny; `both_files_have_the_same_list` compares the two. This
//! test needs no tool and no network, only the lock file and the registry copy of the build.
#![cfg(test)]

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

/// Crates that must not occur, each with its reason.
const BANNED: &[(&str, &str)] = &[
    ("ring", "one cryptographic back-end: aws-lc-rs"),
    ("openssl", "one cryptographic back-end: aws-lc-rs"),
    ("openssl-sys", "one cryptographic back-end: aws-lc-rs"),
    ("native-tls", "one cryptographic back-end: aws-lc-rs"),
    (
        "rsa",
        "RUSTSEC-2023-0071: private operations leak by timing",
    ),
    ("reqwest", "a second HTTP client doubles the build"),
    ("bincode", "RUSTSEC-2025-0141: unmaintained"),
    ("rustls-pemfile", "RUSTSEC-2025-0134: unmaintained"),
    ("serde_yaml", "unmaintained"),
    ("zstd-sys", "nothing here is compressed"),
];

/// Crates that may occur in one version only.
const SINGLE: &[&str] = &["hyper", "http", "tokio", "rustls", "sled", "jsonwebtoken"];

/// The minimum version of a crate, where it occurs, and what that version fixed.
const LEAST: &[(&str, &str, &str)] = &[
    (
        "hyper",
        "1.12.0",
        "Content-Length was kept beside chunked framing",
    ),
    ("h2", "0.4.16", "RUSTSEC-2026-0258: empty DATA frames"),
    (
        "rustls",
        "0.23.18",
        "RUSTSEC-2024-0399: panic on a split ClientHello",
    ),
    ("rustls-webpki", "0.103.13", "RUSTSEC-2026-0104"),
    (
        "tracing-subscriber",
        "0.3.20",
        "RUSTSEC-2025-0055: terminal escapes in logs",
    ),
    (
        "time",
        "0.3.47",
        "RUSTSEC-2026-0009: stack exhaustion while parsing dates",
    ),
    ("bytes", "1.11.1", "RUSTSEC-2026-0007: integer overflow"),
    (
        "jsonwebtoken",
        "11.0.0",
        "CVE-2026-25537: a claim of the wrong type counted as absent",
    ),
    ("tokio", "1.44.2", "RUSTSEC-2025-0023: broadcast channel"),
    (
        "maxminddb",
        "0.27.0",
        "RUSTSEC-2025-0132: unsound memory mapping",
    ),
];

/// Permitted licences. An expression passes when each part joined by AND has at least one alternative in
/// this list.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Known advisories about crates that are in the tree.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "fxhash",
        "RUSTSEC-2025-0057",
        "unmaintained, no vulnerability; sled 0.34.7 needs it for its own keys, which no caller chooses",
    ),
    (
        "instant",
        "RUSTSEC-2024-0384",
        "unmaintained, no vulnerability; sled 0.34.7 needs it through parking_lot 0.11, on this platform it only re-exports std",
    ),
];

#[test]
fn no_banned_crate_is_in_the_tree() {
    let tree = packages();
    for (name, reason) in BANNED {
        assert!(!tree.contains_key(*name), "{name} is banned: {reason}");
    }
}

#[test]
fn crates_that_matter_occur_in_one_version() {
    let tree = packages();
    for name in SINGLE {
        let count = tree.get(*name).map_or(0, Vec::len);
        assert!(count <= 1, "{name} occurs in {count} versions");
    }
}

#[test]
fn no_crate_is_older_than_the_version_that_fixed_it() {
    let tree = packages();
    for (name, least, why) in LEAST {
        for package in tree.get(*name).into_iter().flatten() {
            assert!(
                version(&package.version) >= version(least),
                "{name} {} is below {least} ({why})",
                package.version
            );
        }
    }
}

#[test]
fn every_licence_is_on_the_list() {
    let mut seen = 0;
    for (name, versions) in packages() {
        for package in versions {
            seen += 1;
            assert!(
                is_allowed(&package.licence),
                "{name} {}: the licence {:?} is not on the list",
                package.version,
                package.licence
            );
        }
    }
    assert!(seen > 50, "saw only {seen} packages");
}

#[test]
fn every_exception_is_still_needed() {
    let tree = packages();
    for (name, advisory, _) in EXCEPTIONS {
        assert!(
            tree.contains_key(*name),
            "{name} is gone: remove {advisory} from the exceptions"
        );
    }
}

#[test]
fn both_files_have_the_same_list() {
    let deny = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deny.toml"))
        .expect("deny.toml is readable");
    for (name, _) in BANNED {
        let line = format!("name = \"{name}\"");
        assert!(deny.contains(&line), "deny.toml does not ban {name}");
    }
    for licence in LICENCES {
        let entry = format!("\"{licence}\"");
        assert!(
            deny.contains(&entry),
            "deny.toml does not allow the licence {licence}"
        );
    }
    for (_, advisory, _) in EXCEPTIONS {
        assert!(
            deny.contains(advisory),
            "deny.toml does not know the exception {advisory}"
        );
    }
    let in_deny = deny.matches("id = \"RUSTSEC-").count();
    assert_eq!(
        in_deny,
        EXCEPTIONS.len(),
        "deny.toml has other exceptions than this test"
    );
}

#[test]
fn licence_expressions_are_read_by_their_grammar() {
    for good in [
        "MIT",
        "MIT/Apache-2.0",
        "Apache-2.0 / MIT",
        "MIT OR Apache-2.0 OR LGPL-2.1-or-later",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "ISC AND (Apache-2.0 OR ISC) AND (Apache-2.0 OR ISC OR MIT-0)",
        "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
    ] {
        assert!(is_allowed(good), "{good}");
    }
    for bad in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR Apache-2.0) AND AGPL-3.0",
        "(GPL-2.0 OR AGPL-3.0)",
        "MIT OR",
        "(MIT",
    ] {
        assert!(!is_allowed(bad), "{bad}");
    }
}

#[test]
fn versions_compare_by_number() {
    assert!(version("1.12.0") > version("1.9.9"));
    assert!(version("0.103.13") > version("0.103.9"));
    assert!(version("1.0.0-alpha.124") < version("1.0.0"));
}

struct Package {
    version: String,
    licence: String,
}

/// Every package of the resolved tree on this platform, by name.
///
/// `cargo tree` is used instead of `cargo metadata`, which also lists optional crates that no feature
/// enables.
fn packages() -> BTreeMap<String, Vec<Package>> {
    // A machine that has never built everything has to download the rest.
    let listed = cargo_tree(&["--offline"]).or_else(|_| cargo_tree(&[]));
    let listed = listed.unwrap_or_else(|error| panic!("cargo tree: {error}"));
    let mut tree: BTreeMap<String, Vec<Package>> = BTreeMap::new();
    for line in listed.lines().filter(|line| !line.is_empty()) {
        // A package that was listed before is marked.
        let line = line.trim_end_matches(" (*)");
        let (package, licence) = line.split_once('|').expect("a package and its licence");
        let mut words = package.split_whitespace();
        let name = words.next().expect("a name").to_owned();
        let version = words.next().expect("a version").trim_start_matches('v');
        let known = tree.entry(name).or_default();
        if known.iter().all(|other| other.version != version) {
            known.push(Package {
                version: version.to_owned(),
                licence: licence.to_owned(),
            });
        }
    }
    assert!(tree.len() > 100, "the tree has only {} crates", tree.len());
    tree
}

fn cargo_tree(extra: &[&str]) -> Result<String, String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--all-features"])
        .args([
            "--edges",
            "normal,build,dev",
            "--prefix",
            "none",
            "--format",
            "{p}|{l}",
        ])
        .args(extra)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

/// Numbers first; a pre-release sorts before its release.
fn version(text: &str) -> (Vec<u64>, bool) {
    let (numbers, extra) = text
        .split_once(['-', '+'])
        .map_or((text, ""), |(numbers, extra)| (numbers, extra));
    let is_release = extra.is_empty() || text.contains('+');
    (
        numbers
            .split('.')
            .map(|n| n.parse().expect("a number"))
            .collect(),
        is_release,
    )
}

/// Whether a licence expression (SPDX, with the old `/` for OR) can be satisfied by the list.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let verdict = any_of(&mut words);
    verdict == Some(true) && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any_of(words: &mut Words<'_>) -> Option<bool> {
    let mut met = all_of(words)?;
    while words.next_if_eq(&"OR").is_some() {
        met |= all_of(words)?;
    }
    Some(met)
}

fn all_of(words: &mut Words<'_>) -> Option<bool> {
    let mut met = one(words)?;
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words)?;
    }
    Some(met)
}

fn one(words: &mut Words<'_>) -> Option<bool> {
    let word = words.next()?;
    if word == "(" {
        let met = any_of(words)?;
        return (words.next() == Some(")")).then_some(met);
    }
    if matches!(word, "OR" | "AND" | "WITH" | ")") {
        return None;
    }
    if words.next_if_eq(&"WITH").is_some() {
        let whole = format!("{word} WITH {}", words.next()?);
        return Some(LICENCES.contains(&whole.as_str()));
    }
    Some(LICENCES.contains(&word))
}
