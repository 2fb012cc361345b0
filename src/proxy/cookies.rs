//! Removes the session cookies from `Cookie` lines: the upstream never receives a token. All other cookies are
//! forwarded byte for byte and in order. Names are compared exactly, because cookie names are case-sensitive
//! (RFC 6265, 4.1.1).

/// Writes one `Cookie` value without the session cookies. Returns whether anything is left of it.
///
/// A pair is a session cookie if the bytes before its first `=`, without blanks around them, are one of the
/// names. It is removed with the `;` after it.
pub(super) fn write_others(out: &mut Vec<u8>, line: &[u8], ours: &[Vec<u8>]) -> Left {
    if !pairs(line).any(|pair| is_ours(pair, ours)) {
        out.extend_from_slice(line);
        return Left::Some;
    }
    let mut left = Left::Nothing;
    for pair in pairs(line).filter(|pair| !is_ours(pair, ours)) {
        match left {
            Left::Some => {
                out.push(b';');
                out.extend_from_slice(pair);
            }
            Left::Nothing if pair.trim_ascii().is_empty() => {}
            Left::Nothing => {
                out.extend_from_slice(pair.trim_ascii_start());
                left = Left::Some;
            }
        }
    }
    left
}

/// Whether anything is left of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Yes.
    Some,
    /// No: the header is not sent.
    Nothing,
}

fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b';')
}

fn is_ours(pair: &[u8], ours: &[Vec<u8>]) -> bool {
    let name = pair.split(|byte| *byte == b'=').next().unwrap_or(pair);
    let name = name.trim_ascii();
    ours.iter().any(|known| known == name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rewritten(line: &str) -> Option<String> {
        let ours = [b"__Host-sidegate_access".to_vec(), b"sg".to_vec()];
        let mut out = Vec::new();
        match write_others(&mut out, line.as_bytes(), &ours) {
            Left::Some => Some(String::from_utf8(out).unwrap()),
            Left::Nothing => {
                assert_eq!(out, b"");
                None
            }
        }
    }

    #[test]
    fn sidegate_cookies_are_removed_and_the_others_keep_their_bytes() {
        for (line, left) in [
            ("a=1; sg=x; b=2", Some("a=1; b=2")),
            ("sg=x; a=1", Some("a=1")),
            ("a=1;sg=x", Some("a=1")),
            ("a=1;  b = \"q;r\" ;sg=x;c", Some("a=1;  b = \"q;r\" ;c")),
            ("sg=x", None),
            ("sg=x; __Host-sidegate_access=y; sg=z", None),
            ("sg=x;", None),
            ("sg", None),
            (" sg =x; a=1", Some("a=1")),
            ("SG=x; sgx=1; xsg=2; a=sg", Some("SG=x; sgx=1; xsg=2; a=sg")),
            ("", Some("")),
            ("a==sg=1", Some("a==sg=1")),
            ("sg==1; a=2", Some("a=2")),
        ] {
            assert_eq!(rewritten(line).as_deref(), left, "{line:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn it_agrees_with_a_plain_model(
            pairs in proptest::collection::vec("(sg|a|SG|sg |bb)(=[a-z=]{0,3})?", 1..8),
        ) {
            let line = pairs.join("; ");
            let kept: Vec<_> = (line.split("; "))
                .filter(|pair| pair.split('=').next().unwrap().trim() != "sg")
                .collect();
            let model = if kept.is_empty() { None } else { Some(kept.join("; ")) };
            prop_assert_eq!(rewritten(&line), model);
        }

        #[test]
        fn any_bytes_cause_no_leak_and_no_panic(line in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut out = Vec::new();
            let _ = write_others(&mut out, &line, &[b"s".to_vec()]);
            let leaked = out.split(|b| *b == b';').any(|pair| is_ours(pair, &[b"s".to_vec()]));
            prop_assert!(!leaked);
        }
    }
}
