//! Parsed paths: which are refused, and what each allowance admits.

use proptest::prelude::*;

use super::*;

const ALL: Allow = Allow {
    empty_segment: true,
    encoded_slash: true,
    semicolon: true,
    non_ascii: true,
};

fn everywhere(allow: Allow) -> Allowances {
    Allowances {
        everywhere: allow,
        by_prefix: Vec::new(),
    }
}

fn refusal(path: &str, allow: Allow) -> Option<BadPath> {
    CleanPath::parse(path, &everywhere(allow)).err()
}

#[test]
fn s3_every_unclean_path_is_refused_with_a_reason() {
    let long = format!("/{}", "a".repeat(CleanPath::MAX_TARGET));
    let table = [
        ("", BadPath::NotAbsolute),
        ("*", BadPath::NotAbsolute),
        ("a/b", BadPath::NotAbsolute),
        ("http://h/", BadPath::NotAbsolute),
        (long.as_str(), BadPath::TooLong),
        ("//", BadPath::EmptySegment),
        ("//a", BadPath::EmptySegment),
        ("/a//b", BadPath::EmptySegment),
        ("/a//", BadPath::EmptySegment),
        ("/.", BadPath::DotSegment),
        ("/..", BadPath::DotSegment),
        ("/./a", BadPath::DotSegment),
        ("/a/../b", BadPath::DotSegment),
        ("/a/..", BadPath::DotSegment),
        ("/a/./", BadPath::DotSegment),
        ("/a/%2e%2e/b", BadPath::EncodedDot),
        ("/a/%2E./b", BadPath::EncodedDot),
        ("/a/.%2e", BadPath::EncodedDot),
        ("/a%2ephp", BadPath::EncodedDot),
        ("/a\\b", BadPath::Backslash),
        ("/..\\b", BadPath::Backslash),
        ("/a;b", BadPath::Semicolon),
        ("/..;/b", BadPath::Semicolon),
        ("/a\tb", BadPath::Control),
        ("/a b", BadPath::Control),
        ("/a\u{0}", BadPath::Control),
        ("/a\u{7f}", BadPath::Control),
        ("/a\"", BadPath::Quote),
        ("/caf\u{e9}", BadPath::NonAscii),
        ("/a#b", BadPath::Fragment),
        ("/a?b", BadPath::QuestionMark),
        ("/%", BadPath::BrokenEscape),
        ("/%2", BadPath::BrokenEscape),
        ("/%zz", BadPath::BrokenEscape),
        ("/%u002e", BadPath::BrokenEscape),
        ("/%+1", BadPath::BrokenEscape),
        ("/a%2fb", BadPath::EncodedSlash),
        ("/a%2Fb", BadPath::EncodedSlash),
        ("/a%5cb", BadPath::EncodedSlash),
        ("/a%5Cb", BadPath::EncodedSlash),
        ("/a%3bb", BadPath::EncodedSemicolon),
        ("/a%3Bb", BadPath::EncodedSemicolon),
        ("/a%252e", BadPath::EncodedPercent),
        ("/a%3f", BadPath::EncodedDelimiter),
        ("/a%3F", BadPath::EncodedDelimiter),
        ("/a%23", BadPath::EncodedDelimiter),
        ("/a%00", BadPath::EncodedControl),
        ("/a%0d%0a", BadPath::EncodedControl),
        ("/a%1B", BadPath::EncodedControl),
        ("/a%7f", BadPath::EncodedControl),
        ("/%c0%ae%c0%ae/", BadPath::Overlong),
        ("/%C1%9C", BadPath::Overlong),
        ("/%e0%80%af", BadPath::Overlong),
        ("/%f0%80%80%af", BadPath::Overlong),
    ];
    for (path, why) in table {
        assert_eq!(refusal(path, Allow::default()), Some(why), "{path:?}");
    }
}

#[test]
fn ordinary_paths_pass() {
    for path in [
        "/",
        "/a",
        "/a/",
        "/a.b/..c/d../.e/...",
        "/%20%C3%A9/~u/@x:y!$&'()*+,=|",
        "/%E0%A4%A4",
        "/%C0+propos",
    ] {
        assert_eq!(refusal(path, Allow::default()), None, "{path:?}");
    }
}

#[test]
fn each_allowance_admits_only_its_exception() {
    let only = |set: fn(&mut Allow)| {
        let mut allow = Allow::default();
        set(&mut allow);
        allow
    };
    let table: [(Allow, &str); 4] = [
        (only(|a| a.empty_segment = true), "/a//b"),
        (only(|a| a.encoded_slash = true), "/a%2Fb%5c"),
        (only(|a| a.semicolon = true), "/a;v=1/b"),
        (only(|a| a.non_ascii = true), "/caf\u{e9}"),
    ];
    for (i, (allow, _)) in table.iter().enumerate() {
        for (j, (_, path)) in table.iter().enumerate() {
            assert_eq!(refusal(path, *allow).is_none(), i == j, "{path} {allow:?}");
        }
    }
}

#[test]
fn no_allowance_ever_admits_a_dot_segment() {
    for path in [
        "/a/..;/b",
        "/a/..;x=1",
        "/.;/b",
        "/a%2F..%2Fb",
        "/a/..%2Fb",
        "/a%5C..",
        "/a%2f.",
        "/a//../b",
        "/..",
        "/a%2F..;x/b",
    ] {
        assert_eq!(refusal(path, ALL), Some(BadPath::DotSegment), "{path}");
    }
    assert_eq!(refusal("/a/%2e%2e;/b", ALL), Some(BadPath::EncodedDot));
}

#[test]
fn a_lenient_reading_must_not_add_empty_segments() {
    let allow = Allow {
        empty_segment: false,
        ..ALL
    };
    for path in ["/a/;x/b", "/a%2F/b", "/%2Fa", "/;x"] {
        assert_eq!(refusal(path, allow), Some(BadPath::EmptySegment), "{path}");
    }
    assert_eq!(refusal("/a%2F", allow), None);
    assert_eq!(refusal("/a;x%2Fb", ALL), Some(BadPath::SlashInParameter));
}

#[test]
fn the_longest_prefix_at_a_segment_boundary_decides() {
    let allowances = Allowances {
        everywhere: Allow::default(),
        by_prefix: vec![
            ("/files".to_owned(), ALL),
            ("/files/strict/".to_owned(), Allow::default()),
        ],
    };
    let parse = |path| CleanPath::parse(path, &allowances).map(|p| p.is_ambiguous());
    assert_eq!(parse("/files/a;b"), Ok(true));
    assert_eq!(parse("/files/a"), Ok(false));
    assert_eq!(parse("/filesystem/a;b"), Err(BadPath::Semicolon));
    assert_eq!(parse("/Files/a;b"), Err(BadPath::Semicolon));
    assert_eq!(parse("/files/strict/a;b"), Err(BadPath::Semicolon));
    assert_eq!(parse("/a;b"), Err(BadPath::Semicolon));
}

#[test]
fn segments_are_the_parts_between_slashes() {
    let segments = |path: &str| -> Vec<String> {
        let allowances = everywhere(ALL);
        let path = CleanPath::parse(path, &allowances).unwrap();
        path.segments().map(str::to_owned).collect()
    };
    assert_eq!(segments("/"), Vec::<String>::new());
    assert_eq!(segments("/a"), ["a"]);
    assert_eq!(segments("/a/b/"), ["a", "b"]);
    assert_eq!(segments("/a//b"), ["a", "", "b"]);
    assert_eq!(segments("//"), [""]);
    let allowances = everywhere(ALL);
    let odd = CleanPath::parse("/a;x//b%2Fc%5cd/", &allowances).unwrap();
    assert_eq!(odd.reduced().collect::<Vec<_>>(), ["a", "b", "c", "d"]);
}

#[test]
fn a_target_splits_at_its_first_question_mark_and_has_no_fragment() {
    let none = Allowances::default();
    let target = |t| CleanPath::parse_target(t, &none).map(|(p, q)| (p.as_str(), q));
    assert_eq!(target("/a"), Ok(("/a", None)));
    assert_eq!(target("/a?b=/../c?d"), Ok(("/a", Some("b=/../c?d"))));
    assert_eq!(target("/a?"), Ok(("/a", Some(""))));
    assert_eq!(target("/a?b#c"), Err(BadPath::Fragment));
    assert_eq!(target("/a?b c"), Err(BadPath::Control));
    let long = format!("/a?{}", "b".repeat(CleanPath::MAX_TARGET));
    assert_eq!(target(&long), Err(BadPath::TooLong));
    assert_eq!(
        CleanPath::parse_bytes(b"/\xff", &everywhere(ALL)),
        Err(BadPath::NonAscii)
    );
}

/// The same rule in a simple and slow form: decodes first, checks afterwards.
fn model(path: &str, allow: Allow) -> bool {
    let Some(inner) = path.strip_prefix('/') else {
        return false;
    };
    let upper = path.to_ascii_uppercase();
    let refused = [
        "%2E", "%3B", "%25", "%3F", "%23", "%7F", "\\", "\"", "#", "?", " ",
    ];
    let escapes_fine = upper.split('%').skip(1).all(|rest| {
        rest.len() >= 2
            && rest.is_char_boundary(2)
            && u8::from_str_radix(&rest[..2], 16).is_ok_and(|b| b > 0x1F)
            && rest.bytes().take(2).all(|b| b.is_ascii_hexdigit())
    });
    let overlong = (0x80..=0xBF).any(|b| {
        upper.contains(&format!("%C0%{b:X}"))
            || upper.contains(&format!("%C1%{b:X}"))
            || (b < 0xA0 && upper.contains(&format!("%E0%{b:X}")))
            || (b < 0x90 && upper.contains(&format!("%F0%{b:X}")))
    });
    let readings = [
        inner.to_owned(),
        upper[1..].replace("%2F", "/").replace("%5C", "/"),
    ];
    let dotted = readings.iter().flat_map(|r| r.split('/')).any(|s| {
        let name = s.split(';').next().unwrap_or_default();
        name == "." || name == ".."
    });
    let empty = readings.iter().any(|reading| {
        let segments: Vec<_> = reading
            .split('/')
            .map(|s| (s, s.split(';').next().unwrap_or_default()))
            .collect();
        let last = segments.len() - 1;
        segments
            .iter()
            .enumerate()
            .any(|(i, (whole, name))| name.is_empty() && !(i == last && whole.is_empty()))
    });
    let slash_in_parameter = upper
        .split('/')
        .filter_map(|s| s.split_once(';'))
        .any(|(_, p)| p.contains("%2F") || p.contains("%5C"));
    escapes_fine
        && !overlong
        && !refused.iter().any(|r| upper.contains(r))
        && !path.chars().any(|c| c.is_ascii_control())
        && !dotted
        && !slash_in_parameter
        && (allow.semicolon || !path.contains(';'))
        && (allow.non_ascii || path.is_ascii())
        && (allow.encoded_slash || !(upper.contains("%2F") || upper.contains("%5C")))
        && (!empty || allow.empty_segment)
}

fn pathish() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        6 => Just("/"), 4 => Just("a"), 3 => Just("."), 2 => Just(".."), 2 => Just(";"),
        1 => Just("%2f"), 1 => Just("%5C"), 1 => Just("%2e"), 1 => Just("%"), 1 => Just("%20"),
        1 => Just("%c0"), 1 => Just("%ae"), 1 => Just("%e0"), 1 => Just("\u{e9}"), 1 => Just("\\"),
        1 => Just("%25"), 1 => Just("#"), 1 => Just("%0a"), 1 => Just("Z"), 1 => Just("%3b"),
        1 => Just("%+1"),
    ];
    prop::collection::vec(token, 0..10).prop_map(|parts| format!("/{}", parts.concat()))
}

fn allow() -> impl Strategy<Value = Allow> {
    any::<[bool; 4]>().prop_map(
        |[empty_segment, encoded_slash, semicolon, non_ascii]| Allow {
            empty_segment,
            encoded_slash,
            semicolon,
            non_ascii,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn the_fast_check_agrees_with_a_slow_one(path in pathish(), allow in allow()) {
        let fast = CleanPath::parse(&path, &everywhere(allow));
        prop_assert_eq!(fast.is_ok(), model(&path, allow), "{} {:?} {:?}", path, allow, fast);
    }

    #[test]
    fn no_reading_of_an_accepted_path_has_a_dot_segment(path in pathish()) {
        if let Ok(clean) = CleanPath::parse(&path, &everywhere(ALL)) {
            prop_assert!(clean.segments().chain(clean.reduced()).all(|s| s != "." && s != ".."));
            prop_assert_eq!(clean.as_str(), path.as_str());
        }
    }

    #[test]
    fn any_bytes_are_checked_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = CleanPath::parse_bytes(&bytes, &everywhere(ALL));
        let _ = CleanPath::parse_bytes(&bytes, &Allowances::default());
    }
}
