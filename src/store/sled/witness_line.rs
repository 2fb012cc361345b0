//! What does a copy of the witness look like? One line of text with a checksum.

use data_encoding::HEXLOWER;

use crate::store::embedded::commits::Commit;
use crate::store::embedded::digest::Digest;
use crate::types::ids::StoreId;

/// How a line begins.
const TITLE: &str = "sidegate-commit 1";

/// The content of one copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Line {
    /// The id of the store. None while it is being created, or converted from an earlier version.
    pub(super) store: Option<StoreId>,
    /// The last acknowledged commit.
    pub(super) commit: Commit,
    /// Whether the disk has refused a sync. Pages in the cache may then be missing on the disk.
    pub(super) unsynced: bool,
}

/// The length of a line: title, store, number, digest, flag, checksum, blanks, line end.
pub(super) const LENGTH: usize = TITLE.len() + 1 + 36 + 1 + 20 + 1 + 64 + 1 + 1 + 1 + 8 + 1;

/// The text in place of the id while there is none.
const NO_STORE: &str = "------------------------------------";

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let store = self
            .store
            .map_or_else(|| NO_STORE.to_owned(), |id| id.to_string());
        let digest = HEXLOWER.encode(&self.commit.digest.to_bytes());
        let flag = if self.unsynced { 'u' } else { 's' };
        let text = format!(
            "{TITLE} {store} {:020} {digest} {flag} ",
            self.commit.number
        );
        let sum = crc32fast::hash(text.as_bytes());
        writeln!(f, "{text}{sum:08x}")
    }
}

impl Line {
    /// Reads exactly the text that `Display` writes. Any other byte makes the line invalid.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let rest = text.strip_prefix(TITLE)?;
        let words: Vec<&str> = rest.split_ascii_whitespace().collect();
        let [store, number, digest, flag, _sum] = words.as_slice() else {
            return None;
        };
        let digest = HEXLOWER.decode(digest.as_bytes()).ok()?;
        let line = Self {
            store: if *store == NO_STORE {
                None
            } else {
                Some(store.parse().ok()?)
            },
            commit: Commit {
                number: number.parse().ok()?,
                digest: Digest::from_bytes(digest.try_into().ok()?),
            },
            unsynced: *flag == "u",
        };
        (line.to_string() == text).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line {
            store: Some(StoreId::from_bytes([7; 16])),
            commit: Commit {
                number: 42,
                digest: Digest::of(b"key", b"value"),
            },
            unsynced: false,
        }
    }

    #[test]
    fn every_line_has_the_same_length_and_parses() {
        for line in [
            line(),
            Line {
                store: None,
                unsynced: true,
                ..line()
            },
        ] {
            let text = line.to_string();
            assert_eq!(text.len(), LENGTH);
            assert_eq!(Line::parse(text.as_bytes()), Some(line));
        }
    }

    #[test]
    fn a_line_with_any_flipped_bit_is_invalid() {
        let text = line().to_string().into_bytes();
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Line::parse(&bytes), None, "bit {bit}");
        }
        assert_eq!(Line::parse(&text[..text.len() - 1]), None);
        assert_eq!(Line::parse(b""), None);
    }
}
