//! The types that a key can have, and how each is declared: `duration(path, default, bounds)`.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::key::{Base, Bounds, Form, Key, Shape, Table};

/// Any text; read as `&str`.
#[derive(Debug)]
pub(crate) struct Text;

/// A secret text; read as `&SecretText`.
#[derive(Debug)]
pub(crate) struct Secret;

/// A path; read as `Option<PathBuf>`, which is `None` for an empty text.
#[derive(Debug)]
pub(crate) struct File;

/// `true` or `false`; read as `bool`.
#[derive(Debug)]
pub(crate) struct Flag;

/// A list of texts; read as `Vec<&str>`.
#[derive(Debug)]
pub(crate) struct Texts;

/// A whole number within bounds; read as `u32`.
#[derive(Debug)]
pub(crate) struct Number(pub(crate) RangeInclusive<u32>);

/// A duration; read as `Duration`.
#[derive(Debug)]
pub(crate) struct Span {
    /// Least and greatest.
    pub(crate) bounds: RangeInclusive<Duration>,
    /// Whether zero is admitted beside them and means "none".
    pub(crate) or_none: bool,
}

/// A size in bytes within bounds; read as `u64`.
#[derive(Debug)]
pub(crate) struct Size(pub(crate) RangeInclusive<u64>);

/// A number in a period, such as `20/h`; read as `Quota`.
#[derive(Debug)]
pub(crate) struct Rate;

/// One of a few words; read as `Option<T>`, where `None` is an empty text or a refused word.
#[derive(Debug)]
pub(crate) struct Word<T: 'static> {
    /// The words and their meanings.
    pub(crate) words: &'static [(&'static str, T)],
    /// Words of later versions, and the text they are refused with.
    pub(crate) later: Option<(&'static [&'static str], &'static str)>,
    /// Whether an empty text is admitted.
    pub(crate) optional: bool,
}

/// A text.
pub(super) const fn text(path: &'static str, default: &'static str) -> Key<Text> {
    Key::new(path, Shape::Text(default), Text)
}

/// A secret; it has no default.
pub(super) const fn secret(path: &'static str) -> Key<Secret> {
    Key::new(path, Shape::Secret, Secret)
}

/// A path, relative to the working directory.
pub(super) const fn file(path: &'static str, default: &'static str) -> Key<File> {
    Key::new(path, Shape::Text(default), File).relative_to(Base::WorkingDirectory)
}

/// `true` or `false`.
pub(super) const fn flag(path: &'static str, default: bool) -> Key<Flag> {
    Key::new(path, Shape::Flag(default), Flag)
}

/// A list of texts.
pub(super) const fn texts(path: &'static str, default: &'static [&'static str]) -> Key<Texts> {
    Key::new(path, Shape::Texts(default), Texts)
}

/// A whole number.
pub(super) const fn number(
    path: &'static str,
    default: u32,
    bounds: RangeInclusive<u32>,
) -> Key<Number> {
    let shown = Bounds::Number(*bounds.start(), *bounds.end());
    Key::new(path, Shape::Number(default as i64), Number(bounds)).within(shown)
}

/// A duration.
pub(super) const fn duration(
    path: &'static str,
    default: &'static str,
    bounds: RangeInclusive<Duration>,
) -> Key<Span> {
    span(path, default, bounds, false)
}

/// A duration, or 0 for none.
pub(super) const fn duration_or_none(
    path: &'static str,
    default: &'static str,
    bounds: RangeInclusive<Duration>,
) -> Key<Span> {
    span(path, default, bounds, true)
}

const fn span(
    path: &'static str,
    default: &'static str,
    bounds: RangeInclusive<Duration>,
    or_none: bool,
) -> Key<Span> {
    let (low, high) = (*bounds.start(), *bounds.end());
    let shown = if or_none {
        Bounds::SpanOrZero(low, high)
    } else {
        Bounds::Span(low, high)
    };
    Key::new(path, Shape::Text(default), Span { bounds, or_none }).within(shown)
}

/// A size in bytes.
pub(super) const fn size(
    path: &'static str,
    default: &'static str,
    bounds: RangeInclusive<u64>,
) -> Key<Size> {
    let shown = Bounds::Size(*bounds.start(), *bounds.end());
    Key::new(path, Shape::Text(default), Size(bounds)).within(shown)
}

/// A number in a period.
pub(super) const fn rate(path: &'static str, default: &'static str) -> Key<Rate> {
    Key::new(path, Shape::Text(default), Rate)
}

/// One of a few words.
pub(super) const fn word<T>(
    path: &'static str,
    default: &'static str,
    words: &'static [(&'static str, T)],
) -> Key<Word<T>> {
    let kind = Word {
        words,
        later: None,
        optional: false,
    };
    Key::new(path, Shape::Text(default), kind)
}

impl<T> Key<Word<T>> {
    /// Admits an empty text.
    pub(super) const fn or_none(mut self) -> Self {
        self.kind.optional = true;
        self
    }

    /// Admits a bare `true` or `false` for the words of that name.
    pub(super) const fn or_flag(mut self) -> Self {
        if let Shape::Text(default) = self.declaration.shape {
            self.declaration.shape = Shape::TextOrFlag(default);
        }
        self
    }

    /// Refuses words of later versions, with a text of their own.
    pub(super) const fn later(
        mut self,
        words: &'static [&'static str],
        text: &'static str,
    ) -> Self {
        self.kind.later = Some((words, text));
        self
    }
}

/// `[path]`.
pub(super) const fn section(path: &'static str) -> Table {
    Table::new(path, Form::Section)
}

/// `[[path]]`; the path ends with `[]`.
pub(super) const fn list(path: &'static str) -> Table {
    Table::new(path, Form::List)
}

/// `[path]` with free keys.
pub(super) const fn map(path: &'static str) -> Table {
    Table::new(path, Form::Map)
}

/// Whole seconds.
pub(super) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Milliseconds.
pub(super) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) const MINUTE: u64 = 60;
pub(super) const HOUR: u64 = 60 * MINUTE;
pub(super) const DAY: u64 = 24 * HOUR;

pub(super) const KIB: u64 = 1 << 10;
pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;
