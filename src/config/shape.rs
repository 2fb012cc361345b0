//! Are the keys known and the values of the right type? Judged against the serialised defaults, so
//! that there is one definition of the configuration: the structs in `raw`.
//!
//! Whatever is refused is also taken out of the tree; the rest is still read, so that every mistake
//! of a file is told at once.

use toml::Table;
use toml::Value;

use crate::config::hint::nearest;
use crate::config::problem::Problem;
use crate::config::tree::{self, Origins};

/// Refuses and removes unknown keys and wrong types under `path`.
pub(super) fn check(
    path: &str,
    table: &mut Table,
    template: &Table,
    origins: &Origins,
    problems: &mut Vec<Problem>,
) {
    let mut bad = Vec::new();
    for (name, value) in table.iter_mut() {
        let key = tree::join(path, name);
        let outcome = match template.get(name) {
            // An empty table in the template is a free map from words to texts.
            None if template.is_empty() && !path.is_empty() => fits(
                &key,
                value,
                &Value::String(String::new()),
                origins,
                problems,
            ),
            None => Err(unknown(name, template)),
            Some(kind) => fits(&key, value, kind, origins, problems),
        };
        if let Err((message, hint)) = outcome {
            problems.push(Problem {
                source: origins.find(&key),
                key,
                message,
                hint,
            });
            bad.push(name.clone());
        }
    }
    for name in bad {
        table.remove(&name);
    }
}

/// What a value of this type is called in messages.
pub(super) fn expected(kind: &Value) -> &'static str {
    match kind {
        Value::String(_) => "a text in quotes",
        Value::Integer(_) => "a whole number",
        Value::Boolean(_) => "true or false",
        Value::Float(_) => "a number",
        Value::Datetime(_) => "a date",
        Value::Table(_) => "a table",
        Value::Array(entries) if entries.iter().any(Value::is_table) => "a list of tables",
        Value::Array(_) => "a list of texts",
    }
}

type Refusal = (String, Option<String>);

fn fits(
    key: &str,
    value: &mut Value,
    kind: &Value,
    origins: &Origins,
    problems: &mut Vec<Problem>,
) -> Result<(), Refusal> {
    match (&mut *value, kind) {
        (Value::String(_), Value::String(_))
        | (Value::Integer(_), Value::Integer(_))
        | (Value::Boolean(_), Value::Boolean(_)) => Ok(()),
        (Value::Boolean(flag), Value::String(_)) if FLAG_OR_WORD.contains(&key) => {
            let word = flag.to_string();
            *value = Value::String(word);
            Ok(())
        }
        (Value::Table(table), Value::Table(template)) => {
            check(key, table, template, origins, problems);
            Ok(())
        }
        (Value::Array(entries), Value::Array(kinds)) => {
            let text = Value::String(String::new());
            let kind = kinds.first().unwrap_or(&text);
            check_entries(key, entries, kind, origins, problems);
            Ok(())
        }
        (found, _) => Err((
            format!("expected {}, found {}", expected(kind), expected(found)),
            None,
        )),
    }
}

fn check_entries(
    key: &str,
    entries: &mut [Value],
    kind: &Value,
    origins: &Origins,
    problems: &mut Vec<Problem>,
) {
    for (index, entry) in entries.iter_mut().enumerate() {
        let key = format!("{key}[{}]", index + 1);
        if let Err((message, hint)) = fits(&key, entry, kind, origins, problems) {
            problems.push(Problem {
                source: origins.find(&key),
                key,
                message,
                hint,
            });
            // Neutral, not removed: the places of later entries are named by their position.
            *entry = match kind {
                Value::Table(_) => Value::Table(Table::new()),
                _ => Value::String(String::new()),
            };
        }
    }
}

fn unknown(name: &str, template: &Table) -> Refusal {
    let known = || template.keys().map(String::as_str);
    let hint = match nearest(name, known()) {
        Some(near) => Some(format!("did you mean \"{near}\"?")),
        None if template.len() <= MAX_LISTED => Some(format!(
            "known here: {}",
            known().collect::<Vec<_>>().join(", ")
        )),
        None => None,
    };
    ("unknown key".to_owned(), hint)
}

/// Keys whose word may also be written as a bare `true` or `false`.
const FLAG_OR_WORD: &[&str] = &["cookies.secure"];
/// The longest list of known keys that a message shows.
const MAX_LISTED: usize = 16;
