//! Settings of features that this version does not have, as their declarations state: some are
//! refused, others are accepted with a warning that they have no effect (decision 12).

use toml::Value;

use crate::config::build::reader::Reader;
use crate::config::key::{Declaration, Form, Shape, Support};
use crate::config::keys::TABLES;

/// Notes every such setting: first those outside lists, then those in their entries.
pub(super) fn check(reader: &mut Reader<'_>) {
    for table in TABLES {
        let path = table.path.trim_end_matches("[]");
        if let Support::Ignored(why) = table.support
            && reader.is_set(path)
        {
            no_effect(reader, path, why);
        }
        if table.form != Form::List {
            for key in table.keys {
                one(reader, key, key.path);
            }
        }
    }
    for table in TABLES.iter().filter(|table| table.form == Form::List) {
        for entry in reader.entries(table) {
            for key in table.keys {
                one(reader, key, &entry.fill(key.path));
            }
        }
    }
}

fn one(reader: &mut Reader<'_>, key: &Declaration, at: &str) {
    if !reader.is_set(at) {
        return;
    }
    let value = reader.value(at);
    match key.support {
        Support::Supported => {}
        Support::Ignored(why) => no_effect(reader, at, why),
        Support::IgnoredIfOn(why) => {
            let is_on = match value {
                Some(Value::Boolean(flag)) => *flag,
                Some(Value::String(text)) => !text.is_empty(),
                _ => false,
            };
            if is_on {
                no_effect(reader, at, why);
            }
        }
        Support::Refused(why) => {
            let is_default = match (value, key.shape) {
                (Some(Value::Boolean(flag)), Shape::Flag(default)) => *flag == default,
                (Some(Value::String(text)), Shape::Text(default)) => text == default,
                // Refused for its type before, and reported.
                _ => true,
            };
            if !is_default {
                reader.refuse(at, why);
            }
        }
    }
}

fn no_effect(reader: &mut Reader<'_>, at: &str, why: &str) {
    reader.warn(format!("{at} has no effect: {why}"));
}
