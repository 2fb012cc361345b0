//! The declared keys as a tree: which names are known in which table, and what type each has.

use std::collections::BTreeMap;

use toml::Value;

use crate::config::key::{Declaration, Form, Shape, Table};
use crate::config::keys::TABLES;

/// The names in one table.
pub(super) type Names = BTreeMap<&'static str, Node>;

/// The meaning of a name.
#[derive(Debug)]
pub(super) enum Node {
    /// A key.
    Key(&'static Declaration),
    /// A section.
    Section(Names),
    /// A list of tables; the names are those of one entry.
    List(Names),
    /// A section of free names, whose values are texts.
    Map,
}

/// All tables, from the top.
pub(super) fn schema() -> Names {
    let mut top = Names::new();
    for table in TABLES {
        let mut keys = Names::new();
        for key in table.keys {
            keys.insert(key.name(), Node::Key(key));
        }
        let node = match table.form {
            Form::Section => Node::Section(keys),
            Form::List => Node::List(keys),
            Form::Map => Node::Map,
        };
        if let Some(around) = around(&mut top, table) {
            around.insert(table.name(), node);
        }
    }
    top
}

/// The names of the table that holds this one. `TABLES` lists it earlier.
fn around<'t>(top: &'t mut Names, table: &Table) -> Option<&'t mut Names> {
    let mut names = top;
    let mut parts = table.path.split('.');
    parts.next_back();
    for part in parts {
        match names.get_mut(part)? {
            Node::Section(inner) => names = inner,
            Node::Key(_) | Node::List(_) | Node::Map => return None,
        }
    }
    Some(names)
}

impl Node {
    /// The expected type, in the words of messages.
    pub(super) fn expected(&self) -> &'static str {
        match self {
            Self::Key(key) => match key.shape {
                Shape::Text(_) | Shape::TextOrFlag(_) | Shape::Secret => TEXT,
                Shape::Number(_) => NUMBER,
                Shape::Flag(_) => FLAG,
                Shape::Texts(_) => TEXTS,
            },
            Self::Section(_) | Self::Map => TABLE,
            Self::List(_) => TABLE_LIST,
        }
    }
}

/// The type of a value, in the words of messages.
pub(super) fn found(value: &Value) -> &'static str {
    match value {
        Value::String(_) => TEXT,
        Value::Integer(_) => NUMBER,
        Value::Boolean(_) => FLAG,
        Value::Float(_) => "a number",
        Value::Datetime(_) => "a date",
        Value::Table(_) => TABLE,
        Value::Array(entries) if entries.iter().any(Value::is_table) => TABLE_LIST,
        Value::Array(_) => TEXTS,
    }
}

pub(super) const TEXT: &str = "a text in quotes";
const NUMBER: &str = "a whole number";
const FLAG: &str = "true or false";
const TEXTS: &str = "a list of texts";
pub(super) const TABLE: &str = "a table";
const TABLE_LIST: &str = "a list of tables";
