//! Where is a secret read from, which secrets are refused, and is one ever shown?

use std::io;
use std::num::NonZeroUsize;
use std::path::Path;

use super::{UPSTREAM, good, load_with, mistakes, no_files};
use crate::config::Sources;

const SECRET: &str = "k8Zq0vR3nW5xY7uB1cE4fH6jL9mP2sT-dGaQ";

#[test]
fn hs256_reads_its_secret_from_the_configuration_the_environment_or_a_separate_file() {
    let hs = "[tokens]\nalgorithm = \"HS256\"\n";
    let plain = good(&format!("{hs}secret = \"{SECRET}\""));
    assert_eq!(plain.tokens.secret.unwrap().expose(), SECRET.as_bytes());
    let env = [("SIDEGATE__TOKENS__SECRET", SECRET)];
    let config = load_with(Some(&format!("{hs}{UPSTREAM}")), &env, &no_files).unwrap();
    assert_eq!(config.tokens.secret.unwrap().expose(), SECRET.as_bytes());
    for end in ["", "\n", "\r\n"] {
        let read = |path: &Path| {
            assert_eq!(path, Path::new("/run/secrets/jwt"));
            Ok(format!("{SECRET}{end}").into_bytes())
        };
        let env = [("SIDEGATE__TOKENS__SECRET_FILE", "/run/secrets/jwt")];
        let config = load_with(Some(&format!("{hs}{UPSTREAM}")), &env, &read).unwrap();
        assert_eq!(
            config.tokens.secret.unwrap().expose(),
            SECRET.as_bytes(),
            "{end:?}"
        );
    }
}

#[test]
fn a_missing_empty_short_or_published_secret_stops_the_start() {
    let hs = "[tokens]\nalgorithm = \"HS256\"\n";
    let mut messages = String::new();
    for tokens in [
        String::new(),
        "secret = \"\"".to_owned(),
        "secret = \"short\"".to_owned(),
        format!("secret = \"{}\"", "ab".repeat(20)),
        "secret = \"your-256-bit-secret-your-256-bit-secret\"".to_owned(),
        format!("secret = \"{SECRET}\"\nsecret_file = \"x\""),
    ] {
        messages += &mistakes(&format!("{hs}{tokens}"));
        messages += "\n";
    }
    messages += &mistakes(&format!(
        "[tokens]\nalgorithm = \"ES256\"\nsecret = \"{SECRET}\""
    ));
    let text = format!("{hs}secret_file = \"s\"\n{UPSTREAM}");
    for held in [
        None,
        Some(""),
        Some("\n"),
        Some("0123456789012345678901234567890\n"),
    ] {
        let missing = io::ErrorKind::NotFound;
        let read = |_: &Path| held.map(|t| t.as_bytes().to_vec()).ok_or(missing.into());
        messages += "\n";
        messages += &load_with(Some(&text), &[], &read).unwrap_err().to_string();
    }
    insta::assert_snapshot!("secrets", messages);
}

#[test]
fn no_message_or_debug_output_contains_a_secret() {
    let text = format!("[tokens]\nalgorithm = \"HS256\"\nsecret = \"{SECRET}\"");
    assert!(!format!("{:?}", good(&text)).contains(SECRET));
    let weak = "hunter2-hunter2";
    assert!(!mistakes(&text.replace(SECRET, weak)).contains(weak));
    let sources = Sources {
        file: Some(("config.toml".into(), text)),
        env: vec![("SIDEGATE__TOKENS__SECRET".to_owned(), SECRET.to_owned())],
        read: &no_files,
        cores: NonZeroUsize::MIN,
    };
    assert!(!format!("{sources:?}").contains(SECRET));
}
