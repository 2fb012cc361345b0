//! The environment over the file: `SIDEGATE__SECTION__KEY` sets `section.key`.
//!
//! The key may be written in any case. A text is taken as it is; a list is written with commas or
//! in TOML; a list of tables (`SIDEGATE__RULE`) only in TOML. A variable that fits no key is
//! refused, because a mistyped override would otherwise leave the weaker setting in force.

use std::collections::BTreeMap;

use toml::Table;
use toml::Value;

use crate::config::hint::nearest;
use crate::config::problem::{Problem, Source};
use crate::config::shape::expected;
use crate::config::tree::{self, Tree};

/// Lays the variables over the tree. `template` knows every key and its type.
pub(super) fn lay(
    tree: &mut Tree,
    template: &Table,
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
            None => find(template, &parts).and_then(|kind| read(kind, text)),
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

/// `SIDEGATE__SERVER__TLS__CERT` to `server`, `tls`, `cert`; `None` for variables of others.
fn parts_of(name: &str) -> Option<Vec<String>> {
    let rest = name
        .get(..PREFIX.len())
        .filter(|start| start.eq_ignore_ascii_case(PREFIX))
        .and_then(|_| name.get(PREFIX.len()..))?;
    Some(rest.to_lowercase().split("__").map(str::to_owned).collect())
}

type Refusal = (String, Option<String>);

/// The template's value at a path: what type is expected there.
fn find<'t>(template: &'t Table, parts: &[String]) -> Result<&'t Value, Refusal> {
    let mut table = template;
    let mut rest = parts.iter();
    while let Some(part) = rest.next() {
        let Some(value) = table.get(part) else {
            let hint = nearest(part, table.keys().map(String::as_str))
                .map(|known| format!("did you mean \"{known}\"?"));
            return Err(("unknown key".to_owned(), hint));
        };
        match value {
            Value::Table(section) if rest.as_slice().is_empty() && !section.is_empty() => {
                let hint = "set its keys one by one, as in SIDEGATE__SECTION__KEY";
                return Err(("this is a section".to_owned(), Some(hint.to_owned())));
            }
            _ if rest.as_slice().is_empty() => return Ok(value),
            // A free map of texts: one entry of it.
            Value::Table(map) if map.is_empty() && rest.as_slice().len() == 1 => {
                return Ok(&FREE_TEXT);
            }
            Value::Table(inner) => table = inner,
            _ => break,
        }
    }
    Err(("unknown key".to_owned(), None))
}

/// The variable's text as the expected type.
fn read(kind: &Value, text: &str) -> Result<Value, Refusal> {
    let wrong = || (format!("expected {}", expected(kind)), None);
    match kind {
        Value::String(_) => Ok(Value::String(text.to_owned())),
        Value::Integer(_) => text.trim().parse().map(Value::Integer).map_err(|_| wrong()),
        Value::Boolean(_) => text.trim().parse().map(Value::Boolean).map_err(|_| wrong()),
        // A variable that came out empty by mistake must not open what the list was to close.
        Value::Array(_) if text.trim().is_empty() => {
            let hint = "write [] for an empty list".to_owned();
            Err(("is empty".to_owned(), Some(hint)))
        }
        Value::Array(entries) => {
            let of_tables = entries.iter().any(Value::is_table);
            if of_tables || text.trim_start().starts_with('[') {
                tree::parse_value(text)
                    .filter(Value::is_array)
                    .ok_or_else(wrong)
            } else {
                let entries = text.split(',').map(str::trim).filter(|t| !t.is_empty());
                let entries = entries.map(|t| Value::String(t.to_owned()));
                Ok(Value::Array(entries.collect()))
            }
        }
        Value::Table(_) => tree::parse_value(text)
            .filter(Value::is_table)
            .ok_or_else(wrong),
        Value::Float(_) | Value::Datetime(_) => Err(wrong()),
    }
}

/// Writes the value into the tree, making the tables on the way.
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
static FREE_TEXT: Value = Value::String(String::new());
