//! The configuration as it is written: file and environment merged, and the place of each value.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::Table;
use toml::Value;
use toml::de::DeTable;
use toml::de::DeValue;

use crate::config::key::Shape;
use crate::config::keys;
use crate::config::problem::{Problem, Source};
use crate::types::secret::SecretText;

/// Values and their places.
#[derive(Default)]
pub(super) struct Tree {
    /// The values, file and environment merged.
    pub(super) values: Table,
    /// Values of secret keys that are not empty, by path. They are not among `values`.
    pub(super) secrets: BTreeMap<&'static str, SecretText>,
    /// Their places.
    pub(super) origins: Origins,
}

impl Tree {
    /// Reads a file. If there are syntax errors, all of them are returned and nothing else: the values
    /// after an error may be wrong.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, Vec<Problem>> {
        let places = Places { path, text };
        if text.len() > MAX_FILE {
            let source = Source::Whole(Some(path.to_owned()));
            return Err(vec![syntax(source, "the file is larger than 1 MiB")]);
        }
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            return Err(errors
                .iter()
                .map(|e| syntax(places.at(e.span().map_or(0, |s| s.start)), e.message()))
                .collect());
        }
        let mut tree = Self::default();
        tree.origins.file = Some(path.to_owned());
        let mut problems = Vec::new();
        let mut reader = Reader {
            places: Some(&places),
            origins: &mut tree.origins,
            problems: &mut problems,
        };
        tree.values = reader.table("", table.get_ref());
        if problems.is_empty() {
            Ok(tree)
        } else {
            Err(problems)
        }
    }
}

impl Tree {
    /// The value at a path such as `rule[2].path`.
    pub(super) fn get(&self, path: &str) -> Option<&Value> {
        let mut table = &self.values;
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            let (name, number) = match part.split_once('[') {
                Some((name, rest)) => (name, Some(rest.strip_suffix(']')?)),
                None => (part, None),
            };
            let mut value = table.get(name)?;
            if let Some(number) = number {
                let number: usize = number.parse().ok()?;
                value = value.as_array()?.get(number.checked_sub(1)?)?;
            }
            if parts.peek().is_none() {
                return Some(value);
            }
            table = value.as_table()?;
        }
        None
    }

    /// Moves the values of secret keys to where they are wiped on drop.
    pub(super) fn take_secrets(&mut self) {
        for key in keys::all().filter(|key| matches!(key.shape, Shape::Secret)) {
            let (section, name) = key.path.rsplit_once('.').unwrap_or_default();
            let table = self.values.get_mut(section).and_then(Value::as_table_mut);
            if let Some(Value::String(text)) = table.and_then(|table| table.remove(name))
                && !text.is_empty()
            {
                self.secrets.insert(key.path, SecretText::new(text));
            }
        }
    }
}

/// Reads one value in TOML syntax, as an environment variable may hold it.
pub(super) fn parse_value(text: &str) -> Option<Value> {
    let (value, errors) = DeValue::parse_recoverable(text);
    if !errors.is_empty() || text.len() > MAX_FILE {
        return None;
    }
    let mut origins = Origins::default();
    let mut problems = Vec::new();
    let mut reader = Reader {
        places: None,
        origins: &mut origins,
        problems: &mut problems,
    };
    let value = reader.value("", value.get_ref());
    value.filter(|_| problems.is_empty())
}

/// The place of each key path.
#[derive(Default)]
pub(super) struct Origins {
    file: Option<PathBuf>,
    places: BTreeMap<String, Source>,
}

impl Origins {
    /// Whether the key is written anywhere.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// The place of the key, or else of the nearest table around it.
    pub(super) fn find(&self, key: &str) -> Source {
        let mut path = key;
        loop {
            if let Some(source) = self.places.get(path) {
                return source.clone();
            }
            match path.rfind(['.', '[']) {
                Some(cut) => path = path.get(..cut).unwrap_or_default(),
                None => return Source::Whole(self.file.clone()),
            }
        }
    }

    /// Notes that an environment variable sets this key. Places in the file below it are removed.
    pub(super) fn overlay(&mut self, key: &str, variable: &str) {
        self.places.retain(|path, _| {
            !path
                .strip_prefix(key)
                .is_some_and(|rest| rest.starts_with(['.', '[']))
        });
        self.places
            .insert(key.to_owned(), Source::Env(variable.to_owned()));
    }
}

/// Turns byte offsets into lines and columns.
struct Places<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Places<'_> {
    fn at(&self, offset: usize) -> Source {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = self.text.get(..end).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Source::File {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }
}

/// Copies the parser's tree and records the places.
struct Reader<'a> {
    places: Option<&'a Places<'a>>,
    origins: &'a mut Origins,
    problems: &'a mut Vec<Problem>,
}

impl Reader<'_> {
    fn table(&mut self, path: &str, table: &DeTable<'_>) -> Table {
        let mut out = Table::new();
        for (key, value) in table {
            let name: &str = key.get_ref();
            let path = join(path, name);
            self.note(&path, key.span().start);
            if let Some(value) = self.value(&path, value.get_ref()) {
                out.insert(name.to_owned(), value);
            }
        }
        out
    }

    fn value(&mut self, path: &str, value: &DeValue<'_>) -> Option<Value> {
        Some(match value {
            DeValue::String(text) => Value::String(text.clone().into_owned()),
            DeValue::Boolean(flag) => Value::Boolean(*flag),
            DeValue::Datetime(moment) => Value::Datetime(*moment),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Value::Integer(number),
                    Err(_) => return self.out_of_range(path),
                }
            }
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) => Value::Float(number),
                Err(_) => return self.out_of_range(path),
            },
            DeValue::Array(entries) => Value::Array(self.entries(path, entries.iter())),
            DeValue::Table(table) => Value::Table(self.table(path, table)),
        })
    }

    fn entries<'i, 'a>(
        &mut self,
        path: &str,
        entries: impl Iterator<Item = &'a Spanned<DeValue<'i>>>,
    ) -> Vec<Value>
    where
        'i: 'a,
    {
        let mut out = Vec::new();
        for (index, entry) in entries.enumerate() {
            let path = item(path, index);
            self.note(&path, entry.span().start);
            out.extend(self.value(&path, entry.get_ref()));
        }
        out
    }

    fn note(&mut self, path: &str, offset: usize) {
        if let Some(places) = self.places {
            self.origins
                .places
                .insert(path.to_owned(), places.at(offset));
        }
    }

    fn out_of_range(&mut self, path: &str) -> Option<Value> {
        self.problems.push(Problem {
            source: self.origins.find(path),
            key: path.to_owned(),
            message: "the number is too large".to_owned(),
            hint: None,
        });
        None
    }
}

/// `section` and `key` joined to `section.key`.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// The path of a list's entry; entries count from 1.
pub(super) fn item(path: &str, index: usize) -> String {
    format!("{path}[{}]", index + 1)
}

fn syntax(source: Source, message: &str) -> Problem {
    Problem {
        source,
        key: String::new(),
        message: message.to_owned(),
        hint: None,
    }
}

/// The largest configuration file, in bytes.
const MAX_FILE: usize = 1 << 20;
