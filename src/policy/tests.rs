//! Rule matching: order, methods, hosts and paths with two readings.

use proptest::prelude::*;

use super::*;
use crate::types::path::{Allow, Allowances};

const ODD: Allow = Allow {
    empty_segment: true,
    encoded_slash: true,
    semicolon: true,
    non_ascii: true,
};

fn rule(path: &str, access: Access) -> Rule {
    Rule {
        path: path.to_owned(),
        methods: Vec::new(),
        host: String::new(),
        access,
        roles: Vec::new(),
        storage: Storage::Private,
    }
}

fn table(rules: Vec<Rule>) -> RouteTable {
    let default = Access::User;
    let storage = Storage::Private;
    RouteTable::new(Settings {
        rules,
        default,
        storage,
    })
    .unwrap()
}

/// Whether a single rule of this kind matches the path.
fn hit(pattern: &str, access: Access, path: &str) -> bool {
    let allowances = Allowances {
        everywhere: ODD,
        by_prefix: Vec::new(),
    };
    let path = CleanPath::parse(path, &allowances).unwrap();
    let table = table(vec![rule(pattern, access)]);
    table.find("GET", "h", &path).rule.is_some()
}

#[test]
fn the_first_rule_that_matches_wins_and_else_the_default_holds() {
    let none = Allowances::default();
    let table = table(vec![
        rule("/a/secret", Access::Deny),
        rule("/a/**", Access::Public),
        rule("/**", Access::Optional),
    ]);
    let find = |p: &str| {
        table
            .find("GET", "h", &CleanPath::parse(p, &none).unwrap())
            .rule
    };
    assert_eq!(find("/a/secret"), Some(0));
    assert_eq!(find("/a/other"), Some(1));
    assert_eq!(find("/a"), Some(1));
    assert_eq!(find("/"), Some(2));
    let empty = self::table(Vec::new());
    let found = empty.find("GET", "h", &CleanPath::parse("/", &none).unwrap());
    assert_eq!((found.access, found.rule), (Access::User, None));
}

#[test]
fn s5_open_rules_match_exactly_and_restrictive_rules_match_every_reading() {
    // pattern, path, an open rule matches, a restrictive one matches
    let cases = [
        ("/a", "/a", true, true),
        ("/a", "/a/", false, true),
        ("/a/", "/a/", true, true),
        ("/a/", "/a", false, true),
        ("/a", "/A", false, true),
        ("/a", "/%61", false, true),
        ("/a", "/%41", false, true),
        ("/a", "/ab", false, false),
        ("/a", "/a/b", false, false),
        ("/a", "/", false, false),
        ("/a/**", "/a", true, true),
        ("/a/**", "/a/", true, true),
        ("/a/**", "/a/b/c", true, true),
        ("/a/**", "/A/b", false, true),
        ("/a/**", "/ab", false, false),
        ("/a/**", "/b/a", false, false),
        ("/a/*", "/a/b", true, true),
        ("/a/*", "/a/b/", false, true),
        ("/a/*", "/a/", false, false),
        ("/a/*", "/a/b/c", false, false),
        ("/*/b", "/a/b", true, true),
        ("/*/b", "/a/B", false, true),
        ("/*/b/**", "/a/b/c", true, true),
        ("/**", "/", true, true),
        ("/**", "/a/b", true, true),
        ("/", "/", true, true),
        ("/", "/a", false, false),
        ("/*", "/", false, false),
        ("/caf%C3%A9", "/caf%c3%a9", false, true),
        ("/caf%C3%A9", "/caf\u{e9}", false, true),
    ];
    for (pattern, path, open, restrictive) in cases {
        for access in [Access::Public, Access::Optional] {
            assert_eq!(
                hit(pattern, access, path),
                open,
                "{pattern} {path} {access:?}"
            );
        }
        for access in [Access::User, Access::Deny] {
            assert_eq!(
                hit(pattern, access, path),
                restrictive,
                "{pattern} {path} {access:?}"
            );
        }
    }
}

#[test]
fn s5_of_two_readings_of_a_path_the_stricter_one_applies() {
    let cases = [
        // An application may read /public/x here, or /public%2Fx.
        ("/public/**", "/public%2Fx", false, true),
        ("/public/**", "/public/a%2Fb", true, true),
        ("/public/*", "/public/a%2Fb", false, true),
        ("/admin/**", "/admin;v=1/x", false, true),
        ("/admin", "/admin;v=1", false, true),
        ("/admin/**", "//admin/x", false, true),
        ("/admin/**", "/%2Fadmin/x", false, true),
        ("/a/b", "/a//b", false, true),
        ("/a/b", "/a%5Cb", false, true),
    ];
    for (pattern, path, open, restrictive) in cases {
        assert_eq!(hit(pattern, Access::Public, path), open, "{pattern} {path}");
        assert_eq!(
            hit(pattern, Access::Deny, path),
            restrictive,
            "{pattern} {path}"
        );
    }
}

#[test]
fn methods_and_hosts_narrow_a_rule() {
    let none = Allowances::default();
    let path = CleanPath::parse("/a", &none).unwrap();
    let narrow = |access| {
        table(vec![Rule {
            methods: vec!["GET".to_owned(), "POST".to_owned()],
            host: "app.example.org".to_owned(),
            ..rule("/a", access)
        }])
    };
    let (open, strict) = (narrow(Access::Public), narrow(Access::Deny));
    let hits =
        |t: &RouteTable, method: &str, host: &str| t.find(method, host, &path).rule.is_some();
    for table in [&open, &strict] {
        assert!(hits(table, "GET", "app.example.org"));
        assert!(hits(table, "HEAD", "app.example.org:8443"));
        assert!(hits(table, "POST", "APP.Example.org."));
        assert!(!hits(table, "DELETE", "app.example.org"));
        assert!(!hits(table, "GET", "example.org"));
        assert!(!hits(table, "GET", ""));
    }
    assert!(!hits(&open, "get", "app.example.org"));
    assert!(hits(&strict, "get", "app.example.org"));
    assert_eq!(without_port("[::1]:80"), "[::1]");
    assert_eq!(without_port("::1"), "::1");
}

#[test]
fn an_invalid_rule_is_refused_by_its_number() {
    let good = rule("/a", Access::User);
    let bad = |change: &dyn Fn(&mut Rule)| {
        let mut rule = good.clone();
        change(&mut rule);
        let rules = vec![good.clone(), rule];
        RouteTable::new(Settings {
            rules,
            default: Access::User,
            storage: Storage::Private,
        })
        .unwrap_err()
    };
    for (path, why) in [
        ("", BadRule::Path(BadPath::NotAbsolute)),
        ("a", BadRule::Path(BadPath::NotAbsolute)),
        ("**", BadRule::Path(BadPath::NotAbsolute)),
        ("/a//b", BadRule::Path(BadPath::EmptySegment)),
        ("/a//", BadRule::Path(BadPath::EmptySegment)),
        ("/a//**", BadRule::Path(BadPath::EmptySegment)),
        ("/../a", BadRule::Path(BadPath::DotSegment)),
        ("/a%2fb", BadRule::Path(BadPath::EncodedSlash)),
        ("/a?b", BadRule::Path(BadPath::QuestionMark)),
        ("/caf\u{e9}", BadRule::Path(BadPath::NonAscii)),
        ("/a*", BadRule::Wildcard),
        ("/**/a", BadRule::Wildcard),
        ("/a/**/", BadRule::Wildcard),
        ("/a**", BadRule::Wildcard),
    ] {
        let error = bad(&|rule| path.clone_into(&mut rule.path));
        assert_eq!(error, PolicyError { number: 2, why }, "{path}");
    }
    assert_eq!(
        bad(&|r| r.methods = vec!["get".to_owned()]).why,
        BadRule::Method
    );
    assert_eq!(
        bad(&|r| r.methods = vec![String::new()]).why,
        BadRule::Method
    );
    assert_eq!(
        bad(&|r| "Example.org".clone_into(&mut r.host)).why,
        BadRule::Host
    );
    assert_eq!(
        bad(&|r| "example.org:80".clone_into(&mut r.host)).why,
        BadRule::Host
    );
    let error = bad(&|r| {
        r.access = Access::Public;
        r.roles = vec!["admin".parse().unwrap()];
    });
    assert_eq!(error.to_string(), "rule 2: roles need access = \"user\"");
}

/// The same rule in a simple form: lists of decoded texts, compared recursively.
fn model(pattern: &str, path: &str, is_open: bool) -> bool {
    fn decode(text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            out.push(char::from(
                u8::from_str_radix(&rest[at + 1..at + 3], 16).unwrap(),
            ));
            rest = &rest[at + 3..];
        }
        (out + rest).to_ascii_lowercase()
    }
    fn list(text: &str, drop_empty: bool) -> Vec<String> {
        let inner = text.strip_prefix('/').unwrap();
        let mut list: Vec<_> = inner.split('/').map(str::to_owned).collect();
        if list.last().is_some_and(String::is_empty) {
            list.pop();
        }
        list.retain(|s| !(drop_empty && s.is_empty()));
        list
    }
    fn fits(pattern: &[String], path: &[String], fold: bool) -> bool {
        match (pattern, path) {
            ([any], _) if any == "**" => true,
            ([], []) => true,
            ([p, pattern @ ..], [s, path @ ..]) => {
                let same = if fold { decode(p) == decode(s) } else { p == s };
                ((p == "*" && !s.is_empty()) || (p != "*" && same)) && fits(pattern, path, fold)
            }
            _ => false,
        }
    }
    let reduced = path.to_ascii_lowercase().replace("%2f", "/");
    let reduced: Vec<String> = reduced
        .split('/')
        .map(|s| s.split(';').next().unwrap())
        .map(str::to_owned)
        .collect();
    let is_odd = path.contains("//") || path.contains(';') || path.to_lowercase().contains("%2f");
    let patterns = list(pattern, false);
    let reduced = list(&format!("/{}", reduced.join("/")), true);
    if is_open {
        let slash = pattern.ends_with("/**") || pattern.ends_with('/') == path.ends_with('/');
        let exact = fits(&patterns, &list(path, false), false);
        // Lower-casing the reduced form is harmless here: generated open patterns are lower case
        // and the literal form was compared exactly.
        return slash && exact && (!is_odd || fits(&patterns, &reduced, false));
    }
    fits(&patterns, &list(path, false), true) || fits(&patterns, &reduced, true)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn rules_match_what_a_naive_model_matches(
        pieces in prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("*"), Just("a%20")], 0..4),
        tail in prop_oneof![Just(""), Just("/"), Just("/**")],
        path in "/([abAB]|/|;|%2F|%2f|%61|%20|%41){0,8}",
        is_open in any::<bool>(),
    ) {
        let mut pattern = pieces.iter().fold(String::new(), |all, p| all + "/" + p) + tail;
        if pattern.is_empty() {
            pattern.push('/');
        }
        let allowances = Allowances { everywhere: ODD, by_prefix: Vec::new() };
        let Ok(clean) = CleanPath::parse(&path, &allowances) else {
            return Ok(());
        };
        let access = if is_open { Access::Public } else { Access::Deny };
        let table = table(vec![rule("/zzz", Access::Deny), rule(&pattern, access)]);
        let found = table.find("GET", "", &clean).rule.is_some();
        prop_assert_eq!(found, model(&pattern, &path, is_open), "{} {} {}", pattern, path, is_open);
    }

    #[test]
    fn an_open_rule_never_matches_where_the_same_restrictive_one_does_not(
        path in "/([abAB]|/|;|%2F|%61|\\*){0,8}", pattern in "(/[ab*]){0,3}(/|/\\*\\*)",
    ) {
        let allowances = Allowances { everywhere: ODD, by_prefix: Vec::new() };
        if CleanPath::parse(&path, &allowances).is_ok() {
            prop_assert!(!hit(&pattern, Access::Public, &path) || hit(&pattern, Access::Deny, &path));
        }
    }
}
