//! Which accounts does a file for `sidegate users import` contain?
//!
//! One record is one line in every format, so that a damaged line costs one account. Lines are read one at a
//! time and have a maximum length: a file of any size needs the memory of one line. No error contains text of
//! a line, which may be a password hash.

mod csv;
mod htpasswd;
mod json;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, Read as _};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::control::import::csv::Columns;
use crate::control::request::in_clear;
use crate::types::secret::SecretText;

/// The longest line, in bytes.
pub const MAX_LINE: usize = 16 << 10;

/// One account of a file, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRecord {
    /// The number of its line.
    pub line: u64,
    /// The chosen name.
    pub username: Option<String>,
    /// E-mail address.
    pub email: Option<String>,
    /// Mobile number.
    pub mobile: Option<String>,
    /// The person's name.
    pub name: Option<String>,
    /// Roles, first one first.
    pub roles: Vec<String>,
    /// The password hash in the notation of the system that made it.
    #[serde(serialize_with = "in_clear")]
    pub password_hash: SecretText,
}

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `name:hash` lines, as Apache and nginx read them.
    Htpasswd,
    /// A header line with the names of the columns, then one line for each account.
    Csv,
    /// One JSON object in each line.
    JsonLines,
}

impl Format {
    /// The format that the name of a file stands for.
    pub fn of(file: &Path) -> Option<Self> {
        let name = file.file_name()?.to_str()?.to_lowercase();
        let ends = |end: &str| name.ends_with(end);
        if ends(".csv") {
            Some(Self::Csv)
        } else if ends(".jsonl") || ends(".ndjson") {
            Some(Self::JsonLines)
        } else if ends("htpasswd") {
            Some(Self::Htpasswd)
        } else {
            None
        }
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "htpasswd" => Ok(Self::Htpasswd),
            "csv" => Ok(Self::Csv),
            "jsonl" => Ok(Self::JsonLines),
            _ => Err(UnknownFormat),
        }
    }
}

/// The word is not the name of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the formats are htpasswd, csv and jsonl")]
pub struct UnknownFormat;

/// Why a line has no account. The texts contain nothing of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// Longer than [`MAX_LINE`].
    #[error("longer than {MAX_LINE} bytes")]
    TooLong,
    /// Not UTF-8.
    #[error("not UTF-8")]
    Encoding,
    /// A line of htpasswd without a colon.
    #[error("no colon between name and hash")]
    NoColon,
    /// Another number of fields than the header has.
    #[error("{found} fields where the header has {expected}")]
    Fields {
        /// The fields of this line.
        found: usize,
        /// The columns.
        expected: usize,
    },
    /// Quotes that are not those of CSV.
    #[error("a quoted field without its end on this line, or with text after it")]
    Quotes,
    /// Not JSON.
    #[error("not JSON at column {0}")]
    Json(usize),
    /// JSON that is not an account.
    #[error(
        "not an object with the members username, email, mobile, name, password_hash (texts) and roles (a list of texts)"
    )]
    Members,
    /// No hash.
    #[error("no password hash")]
    NoHash,
    /// Neither username nor address.
    #[error("neither username nor email nor mobile")]
    NoLogin,
}

/// Why a file cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum BadFile {
    /// The file system returned an error.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The first line of a CSV file is not a header.
    #[error("line {line}: the header of the CSV file {why}")]
    Header {
        /// The number of the line.
        line: u64,
        /// What is wrong.
        why: HeaderError,
    },
}

/// Why the first line of a CSV file is not a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// There is no line.
    #[error("is missing")]
    Missing,
    /// The line itself is damaged.
    #[error("is damaged: {0}")]
    Line(BadLine),
    /// A column that has no meaning here.
    #[error(
        "names an unknown column (number {0}); known are username, email, mobile, name, roles and password_hash"
    )]
    Unknown(usize),
    /// A column twice.
    #[error("has the column {0} twice")]
    Twice(&'static str),
    /// No column for the hash.
    #[error("has no column password_hash")]
    NoHash,
    /// No column for a login name.
    #[error("has none of the columns username, email and mobile")]
    NoLogin,
}

/// One line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number; the first one has the number 1.
    pub number: u64,
    /// The account, or why there is none.
    pub account: Result<ImportRecord, BadLine>,
}

/// Reads the accounts of a file.
#[derive(Debug)]
pub struct Accounts<R> {
    lines: Lines<R>,
    format: Known,
}

#[derive(Debug)]
enum Known {
    Htpasswd,
    Csv(Columns),
    JsonLines,
}

impl<R: BufRead> Accounts<R> {
    /// Begins to read. Of a CSV file, the header is read.
    ///
    /// # Errors
    /// When the file cannot be read or its header is wrong.
    pub fn open(format: Format, input: R) -> Result<Self, BadFile> {
        let mut lines = Lines {
            input,
            number: 0,
            buffer: Vec::new(),
        };
        let format = match format {
            Format::Htpasswd => Known::Htpasswd,
            Format::JsonLines => Known::JsonLines,
            Format::Csv => {
                let header = loop {
                    match lines.advance()? {
                        None => break Err(HeaderError::Missing),
                        Some(Err(bad)) => break Err(HeaderError::Line(bad)),
                        Some(Ok(text)) if text.trim().is_empty() => {}
                        Some(Ok(text)) => break Columns::parse(text),
                    }
                };
                let line = lines.number;
                Known::Csv(header.map_err(|why| BadFile::Header { line, why })?)
            }
        };
        Ok(Self { lines, format })
    }

    /// The next line with an account or a mistake. `None` at the end. Empty lines are skipped, and comments of
    /// htpasswd.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        loop {
            let number = self.lines.number.saturating_add(1);
            let account = match self.lines.advance()? {
                None => return Ok(None),
                Some(Ok(text)) if self.format.skips(text) => continue,
                Some(text) => text.and_then(|text| self.format.account(number, text)),
            };
            return Ok(Some(Line { number, account }));
        }
    }
}

/// Reads lines of limited length.
#[derive(Debug)]
struct Lines<R> {
    input: R,
    number: u64,
    buffer: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    /// Reads one line without its end. The rest of a line that is too long is skipped.
    fn advance(&mut self) -> io::Result<Option<Result<&str, BadLine>>> {
        self.buffer.clear();
        let most = MAX_LINE as u64 + 2;
        let mut input = self.input.by_ref().take(most);
        if input.read_until(b'\n', &mut self.buffer)? == 0 {
            return Ok(None);
        }
        self.number = self.number.saturating_add(1);
        let is_whole = self.buffer.ends_with(b"\n");
        let line = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > MAX_LINE {
            if !is_whole {
                self.input.skip_until(b'\n')?;
            }
            return Ok(Some(Err(BadLine::TooLong)));
        }
        // Some programs write a byte order mark.
        let line = if self.number == 1 {
            line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
        } else {
            line
        };
        Ok(Some(
            std::str::from_utf8(line).map_err(|_| BadLine::Encoding),
        ))
    }
}

impl Known {
    fn skips(&self, text: &str) -> bool {
        let text = text.trim();
        text.is_empty() || (matches!(self, Self::Htpasswd) && text.starts_with('#'))
    }

    fn account(&self, number: u64, text: &str) -> Result<ImportRecord, BadLine> {
        let record = match self {
            Self::Htpasswd => htpasswd::account(text),
            Self::Csv(columns) => columns.account(text),
            Self::JsonLines => json::account(text),
        }?;
        if record.password_hash.expose().is_empty() {
            return Err(BadLine::NoHash);
        }
        if record.username.is_none() && record.email.is_none() && record.mobile.is_none() {
            return Err(BadLine::NoLogin);
        }
        Ok(ImportRecord {
            line: number,
            ..record
        })
    }
}

/// A text without surrounding space; `None` when nothing is left.
fn filled(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
