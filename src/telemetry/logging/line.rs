//! How does an event become one line of text or JSON? Every value is escaped here
//! ([`escape`](crate::telemetry::escape)), so no caller has to.

use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use crate::telemetry::escape::{is_unsafe, push_plain, push_quoted};

/// The longest value that is written whole, in bytes.
const MAX_VALUE: usize = 4 * 1024;

/// The longest text line and JSON line, in bytes: fields after that are left out.
const MAX_LINE: usize = 32 * 1024;

/// The names of an event's own parts in JSON. A field with such a name is renamed.
const RESERVED: [&str; 3] = ["timestamp", "level", "target"];

/// Writes an event.
pub(super) fn of_event(json: bool, event: &Event<'_>) -> Vec<u8> {
    let meta = event.metadata();
    line(json, *meta.level(), meta.target(), |fields| {
        event.record(fields);
    })
}

/// Writes a message of the log about itself.
pub(super) fn of_message(json: bool, level: Level, message: &str) -> Vec<u8> {
    line(json, level, module_path!(), |fields| {
        fields.put("message", &Value::Text(message));
    })
}

fn line(json: bool, level: Level, target: &str, record: impl FnOnce(&mut Fields)) -> Vec<u8> {
    let mut fields = Fields {
        json,
        out: String::with_capacity(256),
    };
    fields.begin(level, target);
    record(&mut fields);
    fields.end(target);
    fields.out.into_bytes()
}

/// A line that is being written.
struct Fields {
    json: bool,
    out: String,
}

/// A value in the form that JSON keeps.
enum Value<'a> {
    /// Quoted in both formats, except the message of a text line.
    Text(&'a str),
    /// Quoted in text only where it must be.
    Shown(&'a str),
    /// A number or a truth value.
    Bare(fmt::Arguments<'a>),
}

// Writing into a string cannot fail, so the results of writing are dropped here.
impl Fields {
    fn begin(&mut self, level: Level, target: &str) {
        let mut time = String::with_capacity(32);
        if SystemTime.format_time(&mut Writer::new(&mut time)).is_err() {
            "-".clone_into(&mut time);
        }
        if self.json {
            write!(self.out, r#"{{"timestamp":"{time}","level":"{level}""#).ok();
        } else {
            write!(self.out, "{time} {level:>5} ").ok();
            push_plain(&mut self.out, target).ok();
            self.out.push(':');
        }
    }

    fn end(&mut self, target: &str) {
        if self.json {
            self.out.push_str(",\"target\":");
            push_quoted(&mut self.out, target).ok();
            self.out.push('}');
        }
        self.out.push('\n');
    }

    fn put(&mut self, name: &str, value: &Value<'_>) {
        if self.out.len() > MAX_LINE {
            return;
        }
        let name = name.strip_prefix("r#").unwrap_or(name);
        if self.json {
            self.out.push(',');
            if RESERVED.contains(&name) {
                write!(self.out, "\"field.{name}\"").ok();
            } else {
                push_quoted(&mut self.out, name).ok();
            }
            self.out.push(':');
        } else {
            self.out.push(' ');
            if name == "message"
                && let Value::Text(text) | Value::Shown(text) = value
            {
                push_plain(&mut self.out, cut(text)).ok();
                return;
            }
            push_plain(&mut self.out, name).ok();
            self.out.push('=');
        }
        match value {
            Value::Shown(text) if !self.json && is_word(text) => self.out.push_str(text),
            Value::Text(text) | Value::Shown(text) => {
                push_quoted(&mut self.out, cut(text)).ok();
            }
            Value::Bare(value) => {
                self.out.write_fmt(*value).ok();
            }
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), &Value::Text(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = Bounded(String::new());
        // It ends early at the bound.
        write!(text, "{value:?}").ok();
        self.put(field.name(), &Value::Shown(&text.0));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), &Value::Bare(format_args!("{value}")));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), &Value::Bare(format_args!("{value}")));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), &Value::Bare(format_args!("{value}")));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.put(field.name(), &Value::Bare(format_args!("{value}")));
        } else {
            self.put(field.name(), &Value::Shown(&value.to_string()));
        }
    }
}

/// Text that stops growing a little above [`MAX_VALUE`].
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() > MAX_VALUE {
            return Err(fmt::Error);
        }
        self.0.push_str(prefix(text, 2 * MAX_VALUE));
        Ok(())
    }
}

/// Whether a value needs no quotation marks in a text line, because its end is unambiguous without them.
fn is_word(text: &str) -> bool {
    let is_odd = |c: char| is_unsafe(c) || c.is_whitespace() || matches!(c, '"' | '\\' | '=');
    !text.is_empty() && text.len() <= MAX_VALUE && !text.chars().any(is_odd)
}

/// The beginning of a long value.
fn cut(text: &str) -> &str {
    prefix(text, MAX_VALUE)
}

fn prefix(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
