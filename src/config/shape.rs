//! Are all keys known, and has each value the declared type?
//!
//! A value that is refused is taken out of the tree. The rest is still read, so that all mistakes of
//! a file are reported at once.

use toml::Table;
use toml::Value;

use crate::config::hint::nearest;
use crate::config::key::Shape;
use crate::config::problem::Problem;
use crate::config::schema::{Names, Node, TABLE, TEXT, found};
use crate::config::tree::{self, Origins};

/// Refuses and removes unknown keys and values of the wrong type.
pub(super) fn check(
    values: &mut Table,
    schema: &Names,
    origins: &Origins,
    problems: &mut Vec<Problem>,
) {
    Check { origins, problems }.table("", values, schema);
}

struct Check<'a> {
    origins: &'a Origins,
    problems: &'a mut Vec<Problem>,
}

type Refusal = (String, Option<String>);

impl Check<'_> {
    fn table(&mut self, path: &str, table: &mut Table, names: &Names) {
        self.retain(path, table, |check, key, name, value| {
            match names.get(name) {
                Some(node) => check.fits(key, value, node),
                None => Err(unknown(name, names)),
            }
        });
    }

    fn map(&mut self, path: &str, table: &mut Table) {
        self.retain(path, table, |_, _, _, value| {
            is_a(value.is_str(), value, TEXT)
        });
    }

    /// Keeps what passes.
    fn retain(
        &mut self,
        path: &str,
        table: &mut Table,
        mut check: impl FnMut(&mut Self, &str, &str, &mut Value) -> Result<(), Refusal>,
    ) {
        table.retain(|name, value| {
            let key = tree::join(path, name);
            match check(self, &key, name, value) {
                Ok(()) => true,
                Err(refusal) => {
                    self.refuse(key, refusal);
                    false
                }
            }
        });
    }

    fn fits(&mut self, key: &str, value: &mut Value, node: &Node) -> Result<(), Refusal> {
        let wrong = |value: &Value| mismatch(value, node.expected());
        match (node, &mut *value) {
            (Node::Section(names), Value::Table(table)) => self.table(key, table, names),
            (Node::Map, Value::Table(table)) => self.map(key, table),
            (Node::List(names), Value::Array(entries)) => self.entries(key, entries, names),
            (Node::Key(declared), _) => match (declared.shape, &mut *value) {
                (Shape::Text(_) | Shape::TextOrFlag(_) | Shape::Secret, Value::String(_))
                | (Shape::Number(_), Value::Integer(_))
                | (Shape::Flag(_), Value::Boolean(_)) => {}
                (Shape::TextOrFlag(_), Value::Boolean(flag)) => {
                    *value = Value::String(flag.to_string());
                }
                (Shape::Texts(_), Value::Array(entries)) => self.texts(key, entries),
                (_, found) => return Err(wrong(found)),
            },
            (_, found) => return Err(wrong(found)),
        }
        Ok(())
    }

    // An entry that is refused is replaced, not removed: later entries are named by their position.

    fn entries(&mut self, key: &str, entries: &mut [Value], names: &Names) {
        for (index, entry) in entries.iter_mut().enumerate() {
            let key = tree::item(key, index);
            if let Value::Table(table) = entry {
                self.table(&key, table, names);
            } else {
                self.refuse(key, mismatch(entry, TABLE));
                *entry = Value::Table(Table::new());
            }
        }
    }

    fn texts(&mut self, key: &str, entries: &mut [Value]) {
        for (index, entry) in entries.iter_mut().enumerate() {
            if let Err(refusal) = is_a(entry.is_str(), entry, TEXT) {
                self.refuse(tree::item(key, index), refusal);
                *entry = Value::String(String::new());
            }
        }
    }

    fn refuse(&mut self, key: String, (message, hint): Refusal) {
        self.problems.push(Problem {
            source: self.origins.find(&key),
            key,
            message,
            hint,
        });
    }
}

fn is_a(is: bool, value: &Value, expected: &str) -> Result<(), Refusal> {
    if is {
        Ok(())
    } else {
        Err(mismatch(value, expected))
    }
}

fn mismatch(value: &Value, expected: &str) -> Refusal {
    let found = found(value);
    (format!("expected {expected}, found {found}"), None)
}

fn unknown(name: &str, names: &Names) -> Refusal {
    let hint = match nearest(name, names.keys().copied()) {
        Some(near) => Some(format!("did you mean \"{near}\"?")),
        None if names.len() <= MAX_LISTED => {
            let known: Vec<&str> = names.keys().copied().collect();
            Some(format!("known here: {}", known.join(", ")))
        }
        None => None,
    };
    ("unknown key".to_owned(), hint)
}

/// The longest list of known keys that a message shows.
const MAX_LISTED: usize = 16;
