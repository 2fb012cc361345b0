//! Are the declarations complete, consistent, read, and the same as `config.toml`?

use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroUsize;
use std::path::Path;

use toml::Value;

use crate::config::key::{Shape, Support};
use crate::config::keys::{self, TABLES};
use crate::config::problem::Problems;
use crate::config::schema::schema;
use crate::config::tree::Tree;
use crate::config::{self, Config, Sources, document, shape};

const UPSTREAM: &str = "[upstream]\nurl = \"http://127.0.0.1:3000\"\n";
const CONFIG_TOML: &str = include_str!("../../../config.toml");

fn loaded(text: &str, variable: Option<(&str, &str)>) -> Result<Config, Problems> {
    config::load(&Sources {
        file: Some(("config.toml".into(), text.to_owned())),
        env: variable
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect(),
        read: &|_| Err(io::ErrorKind::NotFound.into()),
        cores: NonZeroUsize::MIN,
    })
}

#[test]
fn config_toml_is_made_from_the_declarations() {
    let made = config::defaults();
    assert!(
        made == CONFIG_TOML,
        "write it anew: cargo run -- check --defaults > config.toml"
    );
}

#[test]
fn config_toml_states_exactly_the_defaults() {
    let stated = loaded(CONFIG_TOML, None).unwrap();
    assert!(stated.warnings.is_empty(), "{:?}", stated.warnings);
    // Named where it is set, so that it is relative to the file.
    let default = loaded(
        &format!("[audit]\ndir = \"./data/audit\"\n{UPSTREAM}"),
        None,
    )
    .unwrap();
    assert_eq!(format!("{stated:?}"), format!("{default:?}"));
}

#[test]
fn config_toml_names_every_key_also_commented_ones() {
    let text = uncommented();
    let file = Path::new("config.toml");
    let tree = Tree::parse(file, &text).unwrap();
    let mut compared = 0;
    for key in keys::all() {
        let path = key.path.replacen("[]", "[1]", 1);
        let found = tree.get(&path);
        let found = found.unwrap_or_else(|| panic!("config.toml lacks {path}"));
        if key.example.is_none() {
            assert_eq!(found, &default(key.shape), "{path}");
        }
        compared += 1;
    }
    assert!(compared > 90, "only {compared} keys were compared");
    let mut values = tree.values;
    let mut problems = Vec::new();
    shape::check(&mut values, &schema(), &tree.origins, &mut problems);
    assert!(problems.is_empty(), "{problems:?}");
}

fn default(shape: Shape) -> Value {
    match shape {
        Shape::Text(text) | Shape::TextOrFlag(text) => text.into(),
        Shape::Secret => "".into(),
        Shape::Number(number) => number.into(),
        Shape::Flag(flag) => flag.into(),
        Shape::Texts(texts) => texts.to_vec().into(),
    }
}

/// `config.toml` with its commented settings uncommented.
fn uncommented() -> String {
    let setting = |line: &&str| {
        line.strip_prefix('#')
            .is_some_and(|rest| rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()))
    };
    CONFIG_TOML
        .lines()
        .map(|line| {
            line.strip_prefix('#')
                .filter(|_| setting(&line))
                .unwrap_or(line)
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn every_key_is_declared_once_in_its_table_with_a_comment_and_a_valid_default() {
    let mut seen = BTreeSet::new();
    for table in TABLES {
        assert!(seen.insert(table.path), "{} is declared twice", table.path);
        for key in table.keys {
            let path = key.path;
            assert!(seen.insert(path), "{path} is declared twice");
            let within = path
                .strip_prefix(table.path)
                .and_then(|p| p.strip_prefix('.'));
            assert_eq!(within, Some(key.name()), "{path} is in {}", table.path);
            assert!(!key.doc.is_empty(), "{path} has no comment");
            // `Tree::take_secrets` reads only the keys of top-level sections.
            let is_secret = matches!(key.shape, Shape::Secret);
            assert!(!is_secret || table.path.split('.').count() == 1, "{path}");
            let env = format!("SIDEGATE__{}", path.replace('.', "__"));
            if !path.contains("[]") && key.example.is_none() {
                let text = document::shown(key.shape);
                let text = text.trim_matches('"');
                let set = loaded(UPSTREAM, Some((&env, text)));
                assert!(set.is_ok(), "{path} = {text}: {}", set.unwrap_err());
            }
        }
    }
}

#[test]
fn every_key_is_read_by_a_builder() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/build");
    let mut code = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        code += &std::fs::read_to_string(entry.unwrap().path()).unwrap();
    }
    let is_used = |support: Support| matches!(support, Support::Supported);
    for table in TABLES.iter().filter(|table| is_used(table.support)) {
        for key in table.keys.iter().filter(|key| is_used(key.support)) {
            // The constant of `server.tls.cert` is `server::TLS_CERT`.
            let path = key.path.replace("[]", "");
            let (section, rest) = path.split_once('.').unwrap();
            let constant = format!("&{section}::{}", rest.replace('.', "_").to_uppercase());
            let follows = |rest: &str| rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            let mut found = code.match_indices(&constant);
            let is_read = found.any(|(at, _)| !follows(&code[at + constant.len()..]));
            assert!(is_read, "{path}: no file in config/build reads {constant}");
        }
    }
}
