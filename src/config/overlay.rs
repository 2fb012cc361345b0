//! The environment over the file: `SIDEGATE__SECTION__KEY` sets `section.key`.
//!
//! The key may be written in any case. A text is used as it is; a list is written with commas or
//! in TOML; a list of tables (`SIDEGATE__RULE`) only in TOML. A variable that matches no key is
//! refused, because a mistyped override would otherwise leave the weaker setting in force.

use std::collections::BTreeMap;

use toml::Table;
use toml::Value;

use crate::config::hint::nearest;
use crate::config::key::Shape;
use crate::config::problem::{Problem, Source};
use crate::config::schema::{Names, Node};
use crate::config::tree::{self, Tree};

/// Lays the variables over the tree.
pub(super) fn lay(
    tree: &mut Tree,
    schema: &Names,
    variables: &[(String, String)],
    problems: &mut Vec<Problem>,
) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (name, text) in variables {
        let Some(parts) = parts_of(name) else {
            continue;
        };
        let key = parts.join(".");
        let outcome = match seen.insert(key.clone(), name) {
            Some(other) => Err((format!("{other} sets the same key"), None)),
            None => find(schema, &parts).and_then(|kind| read(&kind, text)),
        };
        match outcome {
            Ok(value) => put(tree, &parts, value, &key, name, problems),
            Err((message, hint)) => problems.push(Problem {
                source: Source::Env(name.clone()),
                key,
                message,
                hint,
            }),
        }
    }
}

/// `SIDEGATE__SERVER__TLS__CERT` to `server`, `tls`, `cert`; `None` for variables without the prefix.
fn parts_of(name: &str) -> Option<Vec<String>> {
    let rest = name
        .get(..PREFIX.len())
        .filter(|start| start.eq_ignore_ascii_case(PREFIX))
        .and_then(|_| name.get(PREFIX.len()..))?;
    Some(rest.to_lowercase().split("__").map(str::to_owned).collect())
}

type Refusal = (String, Option<String>);

/// The declaration at a path.
fn find<'s>(schema: &'s Names, parts: &[String]) -> Result<Kind<'s>, Refusal> {
    let mut names = schema;
    let mut rest = parts.iter();
    while let Some(part) = rest.next() {
        let Some(node) = names.get(part.as_str()) else {
            let hint = nearest(part, names.keys().copied())
                .map(|known| format!("did you mean \"{known}\"?"));
            return Err(("unknown key".to_owned(), hint));
        };
        match (node, rest.as_slice()) {
            (Node::Section(_), []) => {
                let hint = "set its keys one by one, as in SIDEGATE__SECTION__KEY";
                return Err(("this is a section".to_owned(), Some(hint.to_owned())));
            }
            (_, []) => return Ok(Kind::Declared(node)),
            (Node::Map, [_]) => return Ok(Kind::FreeText),
            (Node::Section(inner), _) => names = inner,
            (Node::Key(_) | Node::List(_) | Node::Map, _) => break,
        }
    }
    Err(("unknown key".to_owned(), None))
}

/// The expected type of a variable's text.
enum Kind<'s> {
    Declared(&'s Node),
    /// An entry of a map.
    FreeText,
}

/// The variable's text as the expected type.
fn read(kind: &Kind<'_>, text: &str) -> Result<Value, Refusal> {
    let node = match kind {
        Kind::FreeText => return Ok(Value::String(text.to_owned())),
        Kind::Declared(node) => *node,
    };
    let value = match node {
        Node::Key(key) => match key.shape {
            Shape::Text(_) | Shape::TextOrFlag(_) | Shape::Secret => {
                Some(Value::String(text.to_owned()))
            }
            Shape::Number(_) => text.trim().parse().map(Value::Integer).ok(),
            Shape::Flag(_) => text.trim().parse().map(Value::Boolean).ok(),
            Shape::Texts(_) => {
                refuse_empty(text)?;
                texts(text)
            }
        },
        Node::List(_) => {
            refuse_empty(text)?;
            tree::parse_value(text).filter(Value::is_array)
        }
        Node::Section(_) | Node::Map => tree::parse_value(text).filter(Value::is_table),
    };
    value.ok_or_else(|| (format!("expected {}", node.expected()), None))
}

/// An empty variable is refused: by mistake it could empty a list that restricts access.
fn refuse_empty(text: &str) -> Result<(), Refusal> {
    if text.trim().is_empty() {
        let hint = "write [] for an empty list".to_owned();
        return Err(("is empty".to_owned(), Some(hint)));
    }
    Ok(())
}

fn texts(text: &str) -> Option<Value> {
    if text.trim_start().starts_with('[') {
        return tree::parse_value(text).filter(Value::is_array);
    }
    let entries = text.split(',').map(str::trim).filter(|t| !t.is_empty());
    let entries = entries.map(|t| Value::String(t.to_owned()));
    Some(Value::Array(entries.collect()))
}

/// Writes the value into the tree, creating the tables that are missing.
fn put(
    tree: &mut Tree,
    parts: &[String],
    value: Value,
    key: &str,
    name: &str,
    problems: &mut Vec<Problem>,
) {
    let Some((last, above)) = parts.split_last() else {
        return;
    };
    let mut table = &mut tree.values;
    for part in above {
        let next = table
            .entry(part.clone())
            .or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(inner) = next else {
            problems.push(Problem {
                source: Source::Env(name.to_owned()),
                key: key.to_owned(),
                message: format!("\"{part}\" is no table in the file"),
                hint: None,
            });
            return;
        };
        table = inner;
    }
    table.insert(last.clone(), value);
    tree.origins.overlay(key, name);
}

const PREFIX: &str = "SIDEGATE__";
