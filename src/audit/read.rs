//! How are audit files read? A running server may delete old ones meanwhile. Their content is not trusted:
//! damaged and missing lines are reported with their position.

use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::audit::directory::{CARRIED, LIVE};
use crate::audit::line::{self, BadLine, Numbered};
use crate::audit::series::files_of;
use crate::audit::state::State;
use crate::files;
use crate::model::audit::{AuditAction, AuditRecord};
use crate::model::user::UserKey;
use crate::types::time::Timestamp;

/// The longest file that is read, in bytes. The writer's files are shorter.
const MAX_FILE: u64 = 64 << 20;

/// The most faults that are kept; all are counted.
const MAX_FAULTS: usize = 100;

/// Which records are wanted, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// About this account only.
    pub user: Option<UserKey>,
    /// Of this kind only.
    pub action: Option<AuditAction>,
    /// From this moment on only.
    pub since: Option<Timestamp>,
    /// The most records.
    pub limit: usize,
}

impl Query {
    /// Whether a record matches.
    pub fn wants(&self, record: &AuditRecord) -> bool {
        let is_about =
            |user: &UserKey| record.user == Some(user.user) && record.tenant == user.tenant;
        self.user.as_ref().is_none_or(is_about)
            && self.action.is_none_or(|action| record.action == action)
            && self.since.is_none_or(|since| record.at >= since)
    }
}

/// A part of the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Records of this version.
    Live,
    /// Records that were carried over from the store of an earlier version: older than all of
    /// [`Part::Live`].
    Carried,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Live => LIVE,
            Self::Carried => CARRIED,
        }
    }
}

/// The result of a query.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Records, newest first.
    pub records: Vec<AuditRecord>,
    /// Damaged or missing lines in the files that were read.
    pub faults: Vec<Fault>,
}

/// The result of a check of all files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records in them.
    pub records: u64,
    /// How many faults there are.
    pub fault_count: u64,
    /// The first of them.
    pub faults: Vec<Fault>,
}

/// Something that is damaged or missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file that has the fault, or that follows missing lines.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The fault.
    pub what: What,
}

/// The kind of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A line cannot be read.
    Bad(BadLine),
    /// Lines with these numbers should be before this place.
    Missing {
        /// The first number.
        from: u64,
        /// The last number.
        to: u64,
    },
    /// The line's number was used before.
    Repeated(u64),
    /// The last line is incomplete.
    Incomplete,
    /// The file is too long to be one of ours.
    TooLong,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, what } = self;
        write!(f, "{}, line {line}: ", file.display())?;
        match what {
            What::Bad(bad) => bad.fmt(f),
            What::Missing { from, to } if from == to => {
                write!(f, "record {from} is missing before this line")
            }
            What::Missing { from, to } => {
                write!(f, "records {from} to {to} are missing before this line")
            }
            What::Repeated(number) => write!(f, "record {number} is out of order"),
            What::Incomplete => f.write_str("the last line was not written whole"),
            What::TooLong => f.write_str("the file is too long to be an audit file"),
        }
    }
}

/// The newest records of a part that match the query.
pub(super) fn find(directory: &Path, part: Part, query: &Query) -> io::Result<Found> {
    let mut found = Found::default();
    let files = files_of(directory, part.name())?;
    let newest = files.len().saturating_sub(1);
    let needle = query.user.as_ref().map(|user| user.user.to_string());
    for (index, (path, first, _)) in files.iter().enumerate().rev() {
        let Some(bytes) = read(path)? else { continue };
        let mut walk = Walk::new(path, *first, index == newest);
        walk.over(&bytes);
        let mut is_older = query.since.is_some();
        for text in walk.lines.iter().rev() {
            if found.records.len() >= query.limit {
                break;
            }
            // Most lines are about other accounts, so they are not parsed.
            if needle.as_ref().is_some_and(|needle| !text.contains(needle)) {
                is_older = false;
                continue;
            }
            let Ok(Numbered { record, .. }) = line::read_record(text) else {
                walk.faults.push(Fault {
                    file: path.clone(),
                    line: 0,
                    what: What::Bad(BadLine::Form),
                });
                continue;
            };
            is_older &= query.since.is_some_and(|since| record.at < since);
            if query.wants(&record) {
                found.records.push(record);
            }
        }
        let room = MAX_FAULTS.saturating_sub(found.faults.len());
        found.faults.extend(walk.faults.into_iter().take(room));
        if found.records.len() >= query.limit || (is_older && !bytes.is_empty()) {
            break;
        }
    }
    Ok(found)
}

/// Checks every line of all files.
pub(super) fn check(directory: &Path) -> io::Result<Checked> {
    let mut checked = Checked::default();
    let state = State::read(directory);
    let noted = state.as_ref().copied().unwrap_or_default();
    for (part, bounds) in [(Part::Carried, noted.carried), (Part::Live, noted.audit)] {
        let mut expected = bounds.first;
        let mut last = directory.join(format!("{}-*.log", part.name()));
        let files = files_of(directory, part.name())?;
        let newest = files.len().saturating_sub(1);
        for (index, (path, _, _)) in files.iter().enumerate() {
            let Some(bytes) = read(path)? else { continue };
            checked.files += 1;
            checked.bytes += bytes.len() as u64;
            let mut walk = Walk::new(path, expected, index == newest);
            walk.over(&bytes);
            let is_bad = |text: &&&str| line::read_record(text).is_err();
            let bad = walk.lines.iter().filter(is_bad).count() as u64;
            checked.records += walk.lines.len() as u64 - bad;
            checked.fault_count += bad;
            expected = walk.expected;
            last.clone_from(path);
            checked.note(walk.faults);
        }
        if bounds.next > expected {
            checked.note(vec![Fault {
                file: last,
                line: 0,
                what: What::Missing {
                    from: expected,
                    to: bounds.next - 1,
                },
            }]);
        }
    }
    Ok(checked)
}

impl Checked {
    fn note(&mut self, faults: Vec<Fault>) {
        self.fault_count += faults.len() as u64;
        let room = MAX_FAULTS.saturating_sub(self.faults.len());
        self.faults.extend(faults.into_iter().take(room));
    }
}

/// The numbers in a store of the lines that were carried over.
pub(super) fn carried_numbers(directory: &Path) -> io::Result<std::collections::HashSet<u64>> {
    let mut numbers = std::collections::HashSet::new();
    for (path, _, _) in files_of(directory, CARRIED)? {
        let Some(bytes) = read(&path)? else { continue };
        for text in bytes.split(|byte| *byte == b'\n') {
            numbers.extend(line::parse(text).ok().and_then(|line| line.from));
        }
    }
    Ok(numbers)
}

/// The content of a file; `None` when it has been deleted.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let read = files::private()
        .read(true)
        .open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A walk over a file's lines, from the first to the last.
#[derive(Debug)]
struct Walk<'a> {
    path: &'a Path,
    /// The number of the next line.
    expected: u64,
    /// Its last line may be written at this moment.
    is_last: bool,
    /// Lines whose checksum fits.
    lines: Vec<&'a str>,
    faults: Vec<Fault>,
}

impl<'a> Walk<'a> {
    fn new(path: &'a Path, expected: u64, is_last: bool) -> Self {
        Self {
            path,
            expected,
            is_last,
            lines: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn over(&mut self, bytes: &'a [u8]) {
        if bytes.len() as u64 > MAX_FILE {
            self.fault(0, What::TooLong);
            return;
        }
        let mut parts = bytes.split(|byte| *byte == b'\n').enumerate().peekable();
        let mut bad = 0;
        while let Some((index, part)) = parts.next() {
            if parts.peek().is_none() {
                // The bytes after the last line end.
                if !part.is_empty() && !self.is_last {
                    self.fault(index, What::Incomplete);
                }
                break;
            }
            match line::check(part) {
                Ok((number, text)) => {
                    self.step(index, number, bad);
                    bad = 0;
                    self.lines.push(text);
                }
                Err(error) => {
                    bad += 1;
                    self.fault(index, What::Bad(error));
                }
            }
        }
        self.expected = self.expected.saturating_add(bad);
    }

    /// Compares a line's number with the expected one. `bad` lines directly before it could not be read.
    fn step(&mut self, index: usize, number: u64, bad: u64) {
        let expected = self.expected.saturating_add(bad);
        if number > expected {
            let (from, to) = (expected, number - 1);
            self.fault(index, What::Missing { from, to });
        } else if number < expected && (number < self.expected || bad == 0) {
            self.fault(index, What::Repeated(number));
        }
        self.expected = number.saturating_add(1);
    }

    fn fault(&mut self, index: usize, what: What) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(Fault {
                file: self.path.to_owned(),
                line: index + 1,
                what,
            });
        }
    }
}

/// Reads a file with any content, for the fuzz target. A record that is written again must be read as the same
/// record.
pub(crate) fn look_at(bytes: &[u8]) {
    let mut walk = Walk::new(Path::new("audit-1.log"), 1, false);
    walk.over(bytes);
    assert!(walk.faults.len() <= MAX_FAULTS);
    for text in walk.lines {
        if let Ok(numbered) = line::read_record(text) {
            let mut again = Vec::new();
            line::push(&mut again, &numbered);
            let again = again.strip_suffix(b"\n").unwrap_or_default();
            assert_eq!(line::parse(again), Ok(numbered));
        }
    }
}
