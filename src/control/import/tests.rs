//! Lines of all formats: accounts, damaged lines, and any bytes.

use proptest::prelude::*;

use super::*;

fn read(format: Format, text: &[u8]) -> Vec<Line> {
    let mut accounts = Accounts::open(format, text).unwrap();
    let mut lines = Vec::new();
    while let Some(line) = accounts.next_line().unwrap() {
        lines.push(line);
    }
    lines
}

fn bad(format: Format, text: &[u8]) -> Vec<(u64, BadLine)> {
    let lines = read(format, text).into_iter();
    lines
        .filter_map(|line| line.account.err().map(|bad| (line.number, bad)))
        .collect()
}

fn header_error(text: &str) -> HeaderError {
    match Accounts::open(Format::Csv, text.as_bytes()) {
        Err(BadFile::Header { why, .. }) => why,
        other => panic!("{text:?}: {other:?}"),
    }
}

fn record(line: u64, username: &str, hash: &str) -> ImportRecord {
    ImportRecord {
        line,
        username: Some(username.to_owned()),
        email: None,
        mobile: None,
        name: None,
        roles: Vec::new(),
        password_hash: SecretText::new(hash),
    }
}

#[test]
fn htpasswd_has_names_addresses_comments_and_empty_lines() {
    let file = b"# people\n\nann:{SHA}x\r\nbob@example.org:$2y$05$x:more\n";
    let lines = read(Format::Htpasswd, file);
    assert_eq!(lines[0].account, Ok(record(3, "ann", "{SHA}x")));
    let bob = lines[1].account.clone().unwrap();
    assert_eq!((bob.line, bob.username), (4, None));
    assert_eq!(bob.email.as_deref(), Some("bob@example.org"));
    assert_eq!(bob.password_hash.expose(), "$2y$05$x");
}

#[test]
fn csv_has_columns_in_any_order_and_quoted_fields() {
    let file = "\u{feff}password_hash, roles,username,name,email,mobile\n\
        {SHA}x,\"admin,user\",ann,\"Smith, \"\"Ann\"\"\",ann@example.org,+4915112345678\n\
        {SHA}y,user other;third,bob,,,\n";
    let lines = read(Format::Csv, file.as_bytes());
    let ann = ImportRecord {
        email: Some("ann@example.org".to_owned()),
        mobile: Some("+4915112345678".to_owned()),
        name: Some("Smith, \"Ann\"".to_owned()),
        roles: vec!["admin".to_owned(), "user".to_owned()],
        ..record(2, "ann", "{SHA}x")
    };
    assert_eq!(lines[0].account, Ok(ann));
    let bob = ImportRecord {
        roles: ["user", "other", "third"].map(str::to_owned).to_vec(),
        ..record(3, "bob", "{SHA}y")
    };
    assert_eq!(lines[1].account, Ok(bob));
}

#[test]
fn json_lines_have_the_same_members() {
    let file = br#"{"username":"ann","password_hash":"{SHA}x"}
{"username":"bob","email":null,"mobile":"","name":" Bob ","roles":["a","b"],"password_hash":"{SHA}y"}"#;
    let lines = read(Format::JsonLines, file);
    assert_eq!(lines[0].account, Ok(record(1, "ann", "{SHA}x")));
    let bob = ImportRecord {
        name: Some("Bob".to_owned()),
        roles: vec!["a".to_owned(), "b".to_owned()],
        ..record(2, "bob", "{SHA}y")
    };
    assert_eq!(lines[1].account, Ok(bob));
}

#[test]
fn a_wrong_header_refuses_the_file() {
    for (header, error) in [
        ("", HeaderError::Missing),
        ("\n\n", HeaderError::Missing),
        ("username,password_hash,shoe_size", HeaderError::Unknown(3)),
        ("Username,password_hash", HeaderError::Unknown(1)),
        (
            "username,password_hash,username",
            HeaderError::Twice("username"),
        ),
        ("username,email", HeaderError::NoHash),
        ("name,password_hash", HeaderError::NoLogin),
        (
            "\"username,password_hash",
            HeaderError::Line(BadLine::Quotes),
        ),
    ] {
        assert_eq!(header_error(header), error, "{header}");
    }
}

#[test]
fn a_damaged_line_is_reported_with_its_number_and_costs_no_other_line() {
    assert_eq!(
        bad(Format::Htpasswd, b"ann\nbob:x\n:x\ncid:\n\xff:x\n"),
        [
            (1, BadLine::NoColon),
            (3, BadLine::NoLogin),
            (4, BadLine::NoHash),
            (5, BadLine::Encoding),
        ]
    );
    let csv = b"username,password_hash\n\"ann,x\nbob,x\ncid\ndan,x,y\neve,\n,x\n\"f\"x,y\ng\"h,y\n";
    let fields = |found| BadLine::Fields { found, expected: 2 };
    assert_eq!(
        bad(Format::Csv, csv),
        [
            (2, BadLine::Quotes),
            (4, fields(1)),
            (5, fields(3)),
            (6, BadLine::NoHash),
            (7, BadLine::NoLogin),
            (8, BadLine::Quotes),
            (9, BadLine::Quotes),
        ]
    );
    let json = br#"{"username":"ann"}
{"username":"ann","password_hash":"x"
{"username":"ann","password_hash":"x","shoe":1}
{"username":"ann","username":"ann","password_hash":"x"}
["ann",null,null,null,[],"x"]
{"username":7,"password_hash":"x"}
{"username":"ann","password_hash":"x"}
{"password_hash":"x"}
{"username":"ann","password_hash":"x"} more"#;
    let found = bad(Format::JsonLines, json);
    let members: Vec<u64> = found
        .iter()
        .filter(|(_, bad)| *bad == BadLine::Members)
        .map(|(line, _)| *line)
        .collect();
    assert_eq!(members, [1, 3, 4, 5, 6]);
    assert!(matches!(found[1], (2, BadLine::Json(_))), "{found:?}");
    assert_eq!(found[6], (8, BadLine::NoLogin));
    assert!(matches!(found[7], (9, BadLine::Json(_))), "{found:?}");
}

#[test]
fn a_line_that_is_too_long_is_skipped_as_a_whole() {
    for extra in [1, 2, 3, 100_000] {
        let long = format!("ann:{}\nbob:x\n", "y".repeat(MAX_LINE - 4 + extra));
        let lines = read(Format::Htpasswd, long.as_bytes());
        assert_eq!(lines.len(), 2, "{extra}");
        assert_eq!(lines[0].account, Err(BadLine::TooLong), "{extra}");
        assert_eq!(lines[1].account, Ok(record(2, "bob", "x")));
    }
    let longest = format!("ann:{}", "y".repeat(MAX_LINE - 4));
    for end in ["", "\n", "\r\n"] {
        let lines = read(Format::Htpasswd, format!("{longest}{end}").as_bytes());
        assert!(lines[0].account.is_ok(), "{end:?}");
    }
}

#[test]
fn the_name_of_a_file_stands_for_its_format() {
    for (name, format) in [
        ("a.csv", Some(Format::Csv)),
        ("dir/A.CSV", Some(Format::Csv)),
        ("a.jsonl", Some(Format::JsonLines)),
        ("a.ndjson", Some(Format::JsonLines)),
        (".htpasswd", Some(Format::Htpasswd)),
        ("/etc/nginx/site.htpasswd", Some(Format::Htpasswd)),
        ("passwords", None),
        ("a.json", None),
    ] {
        assert_eq!(Format::of(name.as_ref()), format, "{name}");
    }
}

proptest! {
    #[test]
    fn fields_that_are_written_are_read_back(list in proptest::collection::vec("[^\r\n]{0,12}", 1..6)) {
        let quoted: Vec<String> = list
            .iter()
            .map(|field| format!("\"{}\"", field.replace('"', "\"\"")))
            .collect();
        prop_assert_eq!(csv::fields(&quoted.join(",")), Ok(list));
    }

    #[test]
    fn any_bytes_are_read_to_their_end(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        text in "[\",:{}a\\[\\]\n\r #]{0,120}",
    ) {
        for input in [bytes, text.into_bytes()] {
            for format in [Format::Htpasswd, Format::JsonLines] {
                let lines = read(format, &input);
                prop_assert!(lines.len() <= input.split(|b| *b == b'\n').count());
                prop_assert!(lines.windows(2).all(|pair| pair[0].number < pair[1].number));
            }
            let csv = [b"username,password_hash\n".as_slice(), &input].concat();
            for line in read(Format::Csv, &csv) {
                prop_assert!(line.number > 1);
            }
        }
    }
}
