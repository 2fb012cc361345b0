//! `[paths]`: which ambiguous paths are admitted?

use crate::config::build::names;
use crate::config::build::reader::Reader;
use crate::config::hint::nearest;
use crate::config::keys::paths;
use crate::config::tree::item;
use crate::types::path::{Allow, Allowances};

/// The cases that are admitted everywhere, and under each prefix.
pub(super) fn build(reader: &mut Reader<'_>) -> Allowances {
    let words = reader.get(&paths::ALLOW);
    let everywhere = allow(reader, paths::ALLOW.path(), &words);
    let mut by_prefix: Vec<(String, Allow)> = Vec::new();
    for entry in reader.entries(&paths::PREFIX) {
        let prefix = reader.get_in(entry, &paths::PREFIX_PATH);
        let at = entry.path(&paths::PREFIX_PATH);
        if !names::is_prefix(prefix) {
            reader.refuse_with(
                &at,
                "is no path prefix",
                "begin with \"/\" and leave out the slash at the end",
            );
        } else if by_prefix.iter().any(|(other, _)| other == prefix) {
            reader.refuse(&at, "is listed twice");
        }
        let words = reader.get_in(entry, &paths::PREFIX_ALLOW);
        let admitted = allow(reader, &entry.path(&paths::PREFIX_ALLOW), &words);
        by_prefix.push((prefix.to_owned(), admitted));
    }
    Allowances {
        everywhere,
        by_prefix,
    }
}

fn allow(reader: &mut Reader<'_>, at: &str, words: &[&str]) -> Allow {
    let mut allow = Allow::default();
    for (index, word) in words.iter().enumerate() {
        match *word {
            "empty-segment" => allow.empty_segment = true,
            "encoded-slash" => allow.encoded_slash = true,
            "semicolon" => allow.semicolon = true,
            "non-ascii" => allow.non_ascii = true,
            _ => {
                let hint = match nearest(word, CASES) {
                    Some(near) => format!("did you mean \"{near}\"?"),
                    None => format!("write one of {}", CASES.join(", ")),
                };
                let at = item(at, index);
                reader.refuse_with(&at, format!("{word:?} cannot be admitted"), hint);
            }
        }
    }
    allow
}

const CASES: [&str; 4] = ["empty-segment", "encoded-slash", "semicolon", "non-ascii"];
