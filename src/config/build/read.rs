//! How is a value of each kind read? Its grammar, its bounds, and the message when it is outside of them.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Value;

use crate::config::build::reader::Reader;
use crate::config::key::{Declaration, Shape};
use crate::config::kind::{File, Flag, Number, Secret, Size, Span, Text, Texts, Word};
use crate::types::duration::{parse_duration, parse_size, show_duration, show_size};
use crate::types::secret::SecretText;

/// A kind of key that can be read.
pub(super) trait Kind {
    /// The Rust type of its values.
    type Value<'a>;

    /// Reads the value at `at`, or the default. A mistake is recorded in the reader.
    fn read<'a>(&self, key: &Declaration, at: &str, reader: &mut Reader<'a>) -> Self::Value<'a>;
}

/// The text at `at`, or the default.
pub(super) fn text_at<'a>(reader: &Reader<'a>, key: &Declaration, at: &str) -> &'a str {
    match (reader.value(at).and_then(Value::as_str), key.shape) {
        (Some(text), _) => text,
        (None, Shape::Text(default) | Shape::TextOrFlag(default)) => default,
        (None, _) => "",
    }
}

impl Kind for Text {
    type Value<'a> = &'a str;

    fn read<'a>(&self, key: &Declaration, at: &str, reader: &mut Reader<'a>) -> &'a str {
        text_at(reader, key, at)
    }
}

impl Kind for Secret {
    type Value<'a> = Option<&'a SecretText>;

    fn read<'a>(
        &self,
        _: &Declaration,
        at: &str,
        reader: &mut Reader<'a>,
    ) -> Option<&'a SecretText> {
        reader.secret(at)
    }
}

impl Kind for File {
    type Value<'a> = Option<PathBuf>;

    fn read(&self, key: &Declaration, at: &str, reader: &mut Reader<'_>) -> Option<PathBuf> {
        let text = text_at(reader, key, at);
        (!text.is_empty()).then(|| reader.resolve(key, at, text))
    }
}

impl Kind for Flag {
    type Value<'a> = bool;

    fn read(&self, key: &Declaration, at: &str, reader: &mut Reader<'_>) -> bool {
        match (reader.value(at).and_then(Value::as_bool), key.shape) {
            (Some(flag), _) | (None, Shape::Flag(flag)) => flag,
            (None, _) => false,
        }
    }
}

impl Kind for Texts {
    type Value<'a> = Vec<&'a str>;

    fn read<'a>(&self, key: &Declaration, at: &str, reader: &mut Reader<'a>) -> Vec<&'a str> {
        match (reader.value(at).and_then(Value::as_array), key.shape) {
            (Some(entries), _) => entries.iter().filter_map(Value::as_str).collect(),
            (None, Shape::Texts(default)) => default.to_vec(),
            (None, _) => Vec::new(),
        }
    }
}

impl Kind for Number {
    type Value<'a> = u32;

    fn read(&self, key: &Declaration, at: &str, reader: &mut Reader<'_>) -> u32 {
        let value = match (reader.value(at).and_then(Value::as_integer), key.shape) {
            (Some(number), _) | (None, Shape::Number(number)) => number,
            (None, _) => 0,
        };
        let bounds = i64::from(*self.0.start())..=i64::from(*self.0.end());
        let within = bounded(reader, at, Ok(value), &bounds, |number| number.to_string());
        u32::try_from(within).unwrap_or(*self.0.start())
    }
}

impl Kind for Span {
    type Value<'a> = Duration;

    fn read(&self, key: &Declaration, at: &str, reader: &mut Reader<'_>) -> Duration {
        let text = text_at(reader, key, at);
        let read = parse_duration(text);
        // A bare zero has one meaning, whatever the unit.
        if self.or_none && (text.trim() == "0" || read == Ok(Duration::ZERO)) {
            return Duration::ZERO;
        }
        let read = read.map_err(|error| ("is no duration", error.to_string()));
        bounded(reader, at, read, &self.bounds, show_duration)
    }
}

impl Kind for Size {
    type Value<'a> = u64;

    fn read(&self, key: &Declaration, at: &str, reader: &mut Reader<'_>) -> u64 {
        let read = parse_size(text_at(reader, key, at));
        let read = read.map_err(|error| ("is no size", error.to_string()));
        bounded(reader, at, read, &self.0, show_size)
    }
}

impl<T: Copy> Kind for Word<T> {
    type Value<'a> = Option<T>;

    fn read(&self, key: &Declaration, at: &str, reader: &mut Reader<'_>) -> Option<T> {
        let text = text_at(reader, key, at);
        match self.later {
            Some((words, refusal)) if words.contains(&text) => {
                reader.refuse(at, refusal);
                None
            }
            _ if self.optional && text.is_empty() => None,
            _ => reader.word(at, text, self.words),
        }
    }
}

/// A value within its bounds. Otherwise the mistake is noted, and the lower bound takes its place.
fn bounded<T: Copy + PartialOrd>(
    reader: &mut Reader<'_>,
    at: &str,
    read: Result<T, (&str, String)>,
    bounds: &RangeInclusive<T>,
    show: impl Fn(T) -> String,
) -> T {
    match read {
        Ok(value) if bounds.contains(&value) => return value,
        Ok(_) => {
            let (low, high) = (show(*bounds.start()), show(*bounds.end()));
            reader.refuse(at, format!("must be between {low} and {high}"));
        }
        Err((message, hint)) => reader.refuse_with(at, message, hint),
    }
    *bounds.start()
}
