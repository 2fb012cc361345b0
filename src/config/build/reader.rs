//! How do the builders read the values of keys and report mistakes?
//!
//! A mistake is noted here and the value replaced by a harmless one, so that reading continues. With
//! one mistake noted, `config::load` returns no configuration.

use std::path::PathBuf;

use toml::Value;

use crate::config::build::read::{Kind, text_at};
use crate::config::hint::nearest;
use crate::config::key::{Base, Declaration, Key, Table};
use crate::config::problem::{Problem, Source};
use crate::config::tree::Tree;
use crate::types::secret::SecretText;

/// Reads values, notes mistakes.
pub(super) struct Reader<'a> {
    tree: &'a Tree,
    problems: &'a mut Vec<Problem>,
    /// Keys that were refused before the builders ran.
    misshapen: Vec<String>,
    warnings: Vec<String>,
    dangers: Vec<String>,
}

/// One entry of a list of tables; entries count from 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry(pub(super) usize);

impl Entry {
    /// The path of a key in this entry: `rule[2].path`.
    pub(super) fn path<K>(self, key: &Key<K>) -> String {
        self.fill(key.path())
    }

    /// A declared path with this entry's number.
    pub(super) fn fill(self, path: &str) -> String {
        path.replacen("[]", &format!("[{}]", self.0), 1)
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(tree: &'a Tree, problems: &'a mut Vec<Problem>) -> Self {
        let misshapen = problems.iter().map(|p| p.key.clone()).collect();
        Self {
            tree,
            problems,
            misshapen,
            warnings: Vec::new(),
            dangers: Vec::new(),
        }
    }

    /// The value of a key, or its default.
    pub(super) fn get<K: Kind>(&mut self, key: &Key<K>) -> K::Value<'a> {
        key.kind.read(&key.declaration, key.path(), self)
    }

    /// The value of a key in an entry of a list of tables, or its default.
    pub(super) fn get_in<K: Kind>(&mut self, entry: Entry, key: &Key<K>) -> K::Value<'a> {
        key.kind.read(&key.declaration, &entry.path(key), self)
    }

    /// The text of a key as it is written, unchecked.
    pub(super) fn text<K>(&self, key: &Key<K>) -> &'a str {
        text_at(self, &key.declaration, key.path())
    }

    /// The text of a key in an entry as it is written, unchecked.
    pub(super) fn text_in<K>(&self, entry: Entry, key: &Key<K>) -> &'a str {
        text_at(self, &key.declaration, &entry.path(key))
    }

    /// The entries of a list of tables.
    pub(super) fn entries(&self, table: &Table) -> impl Iterator<Item = Entry> + use<> {
        let path = table.path.trim_end_matches("[]");
        let entries = self.value(path).and_then(Value::as_array);
        (1..=entries.map_or(0, Vec::len)).map(Entry)
    }

    /// The names and texts of a map.
    pub(super) fn map(&self, table: &Table) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let map = self.value(table.path).and_then(Value::as_table);
        map.into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
    }

    /// The value at a path, from the file or the environment.
    pub(super) fn value(&self, path: &str) -> Option<&'a Value> {
        self.tree.get(path)
    }

    /// The secret at a path.
    pub(super) fn secret(&self, path: &str) -> Option<&'a SecretText> {
        self.tree.secrets.get(path)
    }

    /// Whether the file or the environment names this key.
    pub(super) fn is_set(&self, path: &str) -> bool {
        self.tree.origins.is_set(path)
    }

    /// A path that is the value at `at`, or a part of it. Relative paths start in the directory that the
    /// declaration states.
    pub(super) fn resolve(&self, key: &Declaration, at: &str, path: &str) -> PathBuf {
        match (key.base, self.tree.origins.find(at)) {
            (Some(Base::File), Source::File { path: file, .. }) if self.is_set(at) => file
                .parent()
                .map_or_else(|| PathBuf::from(path), |folder| folder.join(path)),
            _ => PathBuf::from(path),
        }
    }

    /// Notes a mistake.
    pub(super) fn refuse(&mut self, at: &str, message: impl Into<String>) {
        self.note(at, message.into(), None);
    }

    /// Notes a mistake and its remedy.
    pub(super) fn refuse_with(
        &mut self,
        at: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.note(at, message.into(), Some(hint.into()));
    }

    /// Notes a warning for the operator.
    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// Notes a `danger_*` key that is on.
    pub(super) fn danger<K>(&mut self, key: &Key<K>) {
        self.dangers.push(key.path().to_owned());
    }

    /// Warnings and dangers.
    pub(super) fn finish(self) -> (Vec<String>, Vec<String>) {
        (self.warnings, self.dangers)
    }

    /// The meaning of one of a few words.
    pub(super) fn word<T: Copy>(&mut self, at: &str, text: &str, words: &[(&str, T)]) -> Option<T> {
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*meaning);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let hint = match nearest(text, known.iter().copied()) {
            Some(near) if !text.is_empty() => format!("did you mean \"{near}\"?"),
            _ => match known.as_slice() {
                [only] => format!("write \"{only}\""),
                _ => format!("write one of {}", known.join(", ")),
            },
        };
        self.refuse_with(at, format!("{text:?} is not known here"), hint);
        None
    }

    fn note(&mut self, at: &str, message: String, hint: Option<String>) {
        if self.follows_from_another(at) {
            return;
        }
        self.problems.push(Problem {
            source: self.tree.origins.find(at),
            key: at.to_owned(),
            message,
            hint,
        });
    }

    /// Whether a mistake at this key only follows from one that is reported already: a value of the
    /// wrong type was taken out and is missing, and a mistyped key leaves its section without the
    /// right one.
    fn follows_from_another(&self, at: &str) -> bool {
        let under = |inner: &str, outer: &str| {
            inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let section = |key: &str| {
            key.rfind('.')
                .and_then(|at| key.get(..at).map(str::to_owned))
        };
        let missing = !self.is_set(at);
        self.misshapen
            .iter()
            .any(|bad| under(at, bad) || under(bad, at) || (missing && section(bad) == section(at)))
    }
}
