//! Which words are not used in the repository? Private names and phrases that a new reader would have to translate.
//!
//! CONTRIBUTING.md ("How we write") states the style.

use std::fs;

use crate::scan::{is_word, root, walk};

/// Former names of types. Compared with whole words, case-sensitive.
const NAMES: &[&str] = &[
    "Besides", "Desk", "Door", "Doorman", "Entrance", "Keeper", "Leash", "Outbox", "Pulse", "Seat",
    "Shaker", "Tie", "Verdict", "Vigil",
];

/// Phrases, in lower case. Compared with text whose lines are joined, in any case.
const PHRASES: &[&str] = &[
    "a look at",
    "are told",
    "as ever",
    "gives up",
    "goes away",
    "hangs up",
    "hears",
    "in hand",
    "is told",
    "lets go",
    "somebody",
    "stands on",
    "the books",
    "whoever",
    "without a word",
];

/// Folders and files that are read.
const PLACES: &[&str] = &[
    "src",
    "tests",
    "docs",
    "examples",
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "config.toml",
];

#[test]
fn no_text_uses_a_private_word() {
    let mut found = Vec::new();
    let mut files = 0;
    for place in PLACES {
        let start = root().join(place);
        let mut read = |path: &std::path::Path| {
            let kind = path.extension().and_then(|e| e.to_str());
            let is_text = matches!(kind, Some("rs" | "md" | "toml" | "py" | "yaml" | "yml"));
            if !is_text || path.ends_with("architecture/words.rs") {
                return;
            }
            if let Ok(text) = fs::read_to_string(path) {
                files += 1;
                let name = path
                    .strip_prefix(root())
                    .unwrap_or(path)
                    .display()
                    .to_string();
                let words = private_words(&text, NAMES, PHRASES);
                found.extend(words.into_iter().map(|word| format!("{name}: {word:?}")));
            }
        };
        if start.is_dir() {
            walk(&start, &mut read);
        } else {
            read(&start);
        }
    }
    assert!(files > 200, "saw only {files} files");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn private_words_are_found_over_the_end_of_a_line() {
    let found = |text| private_words(text, &["Doorman"], &["waits for a log"]);
    assert_eq!(found("struct Doorman;"), ["Doorman"]);
    assert_eq!(found("struct DoormanLike;\n// doorman"), [""; 0]);
    assert_eq!(
        found("    // It waits\n    // for a log."),
        ["waits for a log"]
    );
    assert_eq!(found("it awaits for a log"), [""; 0]);
}

/// The private words in `text`, each once.
fn private_words<'a>(text: &str, names: &[&'a str], phrases: &[&'a str]) -> Vec<&'a str> {
    let joined = joined(text);
    let names = names.iter().filter(|name| has_word(text, name));
    let phrases = phrases.iter().filter(|phrase| has_word(&joined, phrase));
    names.chain(phrases).copied().collect()
}

/// The text in lower case, in one line, without comment markers.
fn joined(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let line = line.trim_start();
        line.trim_start_matches(['/', '!', '#', '*', '>']).trim()
    });
    lines.collect::<Vec<_>>().join(" ").to_lowercase()
}

fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}
