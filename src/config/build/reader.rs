//! Where the builders read their values and leave their notes.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::hint::nearest;
use crate::config::problem::{Problem, Source};
use crate::config::tree::Origins;
use crate::types::duration::{parse_duration, parse_size, show_duration, show_size};

/// Reads values, notes mistakes.
pub(super) struct Reader<'a> {
    origins: &'a Origins,
    problems: &'a mut Vec<Problem>,
    /// Keys that were refused before their meaning was looked at.
    misshapen: Vec<String>,
    warnings: Vec<String>,
    dangers: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(origins: &'a Origins, problems: &'a mut Vec<Problem>) -> Self {
        let misshapen = problems.iter().map(|p| p.key.clone()).collect();
        Self {
            origins,
            problems,
            misshapen,
            warnings: Vec::new(),
            dangers: Vec::new(),
        }
    }

    /// Whether the file or the environment names this key.
    pub(super) fn is_set(&self, key: &str) -> bool {
        self.origins.is_set(key)
    }

    /// A path, which in a file is relative to that file.
    pub(super) fn path(&self, key: &str, text: &str) -> PathBuf {
        match self.origins.find(key) {
            Source::File { path, .. } => path
                .parent()
                .map_or_else(|| PathBuf::from(text), |folder| folder.join(text)),
            Source::Env(_) | Source::Whole(_) => PathBuf::from(text),
        }
    }

    /// Notes a mistake.
    pub(super) fn refuse(&mut self, key: &str, message: impl Into<String>) {
        self.note(key, message.into(), None);
    }

    /// Notes a mistake and what to do about it.
    pub(super) fn refuse_with(
        &mut self,
        key: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.note(key, message.into(), Some(hint.into()));
    }

    /// Notes something that is no mistake, yet worth knowing.
    pub(super) fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// Notes a `danger_*` key that is on.
    pub(super) fn danger(&mut self, key: &str) {
        self.dangers.push(key.to_owned());
    }

    /// Warnings and dangers.
    pub(super) fn finish(self) -> (Vec<String>, Vec<String>) {
        (self.warnings, self.dangers)
    }

    /// A duration within bounds.
    pub(super) fn duration(
        &mut self,
        key: &str,
        text: &str,
        bounds: RangeInclusive<Duration>,
    ) -> Duration {
        let read = parse_duration(text).map_err(|error| ("is no duration", error.to_string()));
        self.bounded(key, read, bounds, show_duration)
    }

    /// A duration within bounds, or zero, which means "none".
    pub(super) fn duration_or_none(
        &mut self,
        key: &str,
        text: &str,
        bounds: RangeInclusive<Duration>,
    ) -> Duration {
        match parse_duration(text) {
            Ok(Duration::ZERO) => Duration::ZERO,
            // A bare zero has one meaning, whatever the unit.
            Err(_) if text.trim() == "0" => Duration::ZERO,
            _ => self.duration(key, text, bounds),
        }
    }

    /// A size in bytes within bounds.
    pub(super) fn size(&mut self, key: &str, text: &str, bounds: RangeInclusive<u64>) -> u64 {
        let read = parse_size(text).map_err(|error| ("is no size", error.to_string()));
        self.bounded(key, read, bounds, show_size)
    }

    /// A value within bounds; where it is none, notes what is wrong and how to mend it.
    fn bounded<T: Copy + PartialOrd>(
        &mut self,
        key: &str,
        read: Result<T, (&str, String)>,
        bounds: RangeInclusive<T>,
        show: impl Fn(T) -> String,
    ) -> T {
        match read {
            Ok(value) if bounds.contains(&value) => return value,
            Ok(_) => {
                let (low, high) = (show(*bounds.start()), show(*bounds.end()));
                self.refuse(key, format!("must be between {low} and {high}"));
            }
            Err((message, hint)) => self.refuse_with(key, message, hint),
        }
        *bounds.start()
    }

    /// A whole number within bounds.
    pub(super) fn number(&mut self, key: &str, value: i64, bounds: RangeInclusive<u32>) -> u32 {
        match u32::try_from(value) {
            Ok(number) if bounds.contains(&number) => number,
            _ => {
                let (low, high) = (bounds.start(), bounds.end());
                self.refuse(key, format!("must be between {low} and {high}"));
                *bounds.start()
            }
        }
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &str,
        text: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
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
        self.refuse_with(key, format!("{text:?} is not known here"), hint);
        None
    }

    fn note(&mut self, key: &str, message: String, hint: Option<String>) {
        if self.follows_from_another(key) {
            return;
        }
        self.problems.push(Problem {
            source: self.origins.find(key),
            key: key.to_owned(),
            message,
            hint,
        });
    }

    /// Whether a mistake at this key is only the echo of one that was told already: what was taken
    /// out for its shape is missing, and a mistyped key leaves its section without the right one.
    fn follows_from_another(&self, key: &str) -> bool {
        let under = |inner: &str, outer: &str| {
            inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let section = |key: &str| {
            key.rfind('.')
                .and_then(|at| key.get(..at).map(str::to_owned))
        };
        let missing = !self.origins.is_set(key);
        self.misshapen.iter().any(|bad| {
            under(key, bad) || under(bad, key) || (missing && section(bad) == section(key))
        })
    }
}

/// Whole seconds, for bounds.
pub(super) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) const MINUTE: u64 = 60;
pub(super) const HOUR: u64 = 60 * MINUTE;
pub(super) const DAY: u64 = 24 * HOUR;
