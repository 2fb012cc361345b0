//! The text of `config.toml`, made from the declarations.
//!
//! The file in the repository is this text, and a test compares them. After a change of a declaration, generate
//! the file again:
//!
//! ```sh
//! cargo run -- check --defaults > config.new && mv config.new config.toml
//! ```

use std::time::Duration;

use crate::config::key::{Bounds, Declaration, Form, Reload, Shape, Support, Table};
use crate::config::keys::TABLES;
use crate::types::duration::{show_duration, show_size};

/// The whole file.
pub(super) fn document() -> String {
    let mut out = PREAMBLE.to_owned();
    for table in TABLES {
        out.push('\n');
        out.push_str(&heading(table));
        let mark = if is_in_force(table) { "" } else { "#" };
        for key in table.keys {
            out.push_str(&setting(key, mark));
        }
    }
    out
}

fn heading(table: &Table) -> String {
    let mark = if is_in_force(table) { "" } else { "#" };
    let (open, close) = match table.form {
        Form::List => ("[[", "]]"),
        Form::Section | Form::Map => ("[", "]"),
    };
    let path = table.path.trim_end_matches("[]");
    let restart = match table.reload {
        Reload::Restart => "# Turning it on or off takes a restart.\n",
        Reload::Live | Reload::Lowered | Reload::StartOnly => "",
    };
    let about = comment(table.doc);
    format!("{about}{restart}{mark}{open}{path}{close}\n")
}

fn setting(key: &Declaration, mark: &str) -> String {
    let mark = match (key.shape, key.support) {
        (Shape::Secret, _) | (_, Support::Ignored(_)) => "#",
        _ => mark,
    };
    let value = key
        .example
        .map_or_else(|| shown(key.shape), |example| format!("{example:?}"));
    let (about, name) = (comment(&described(key)), key.name());
    format!("{about}{mark}{name} = {value}\n")
}

/// The documentation and the facts after it: on its last line if they fit, otherwise on a separate line.
fn described(key: &Declaration) -> String {
    let (doc, facts) = (key.doc.trim_end(), facts(key));
    let last = doc.lines().last().unwrap_or_default();
    let fits = doc.is_empty() || last.chars().count() + facts.chars().count() < WIDTH;
    if fits || facts.is_empty() {
        format!("{doc}{facts}")
    } else {
        format!("{doc}\n{facts}")
    }
}

/// Bounds, and what a change takes.
fn facts(key: &Declaration) -> String {
    let bounds = match key.bounds {
        Bounds::None => String::new(),
        Bounds::Number(low, high) => format!(" Range: {low} to {high}."),
        Bounds::Size(low, high) => format!(" Range: {} to {}.", show_size(low), show_size(high)),
        Bounds::Span(low, high) => span(low, high, ""),
        Bounds::SpanOrZero(low, high) if low.is_zero() => span(low, high, ""),
        Bounds::SpanOrZero(low, high) => span(low, high, ", or 0"),
    };
    let change = match key.reload {
        Reload::Live => "",
        Reload::Restart => " A change takes a restart.",
        Reload::Lowered => " A higher value takes a restart.",
        Reload::StartOnly => " Only a start uses it.",
    };
    match key.support {
        Support::Supported => format!("{bounds}{change}"),
        Support::Ignored(_) | Support::IgnoredIfOn(_) | Support::Refused(_) => String::new(),
    }
}

fn span(low: Duration, high: Duration, or: &str) -> String {
    let (low, high) = (show_duration(low), show_duration(high));
    format!(" Range: {low} to {high}{or}.")
}

/// A list has no entry by default, and a table of a missing feature does nothing.
fn is_in_force(table: &Table) -> bool {
    table.form != Form::List && matches!(table.support, Support::Supported)
}

fn comment(doc: &str) -> String {
    doc.lines()
        .fold(String::new(), |text, line| text + "#" + line + "\n")
}

/// A default in TOML.
pub(super) fn shown(shape: Shape) -> String {
    match shape {
        Shape::Text(text) | Shape::TextOrFlag(text) => format!("{text:?}"),
        Shape::Secret => "\"\"".to_owned(),
        Shape::Number(number) => number.to_string(),
        Shape::Flag(flag) => flag.to_string(),
        Shape::Texts(texts) => format!("{texts:?}"),
    }
}

/// The longest comment that facts are added to, in characters.
const WIDTH: usize = 100;
const PREAMBLE: &str = "\
# Sidegate: every key, with its default. `sidegate check --defaults` prints this file.
#
# Only upstream.url must be set. A line with \"#\" and a space is a comment; a line with \"#\" and a
# key is a setting that is turned off.
#
# An environment variable overrides a key: SIDEGATE__UPSTREAM__URL sets upstream.url, and
# SIDEGATE__TOKENS__AUDIENCE=\"a,b\" sets a list. `sidegate check` explains the result.
#
# A range has the least and the greatest value. A change takes effect at a reload, unless the comment
# says that it takes a restart.
#
# Durations: \"30s\", \"15m\", \"24h\", \"7d\", \"1h 30m\". Sizes: \"64KiB\", \"32MiB\". A relative path is
# relative to the directory that Sidegate is started in, unless its comment says otherwise.
";
