//! How is a series of files with consecutive lines stored? Lines are appended to the newest file, and whole
//! files are removed, the oldest first.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::audit::line::{self, MAX_LINE, Numbered};
use crate::audit::state::Bounds;
use crate::files;
use crate::model::audit::AuditRecord;
use crate::types::time::Timestamp;

/// One file.
#[derive(Debug, Clone)]
pub(super) struct Segment {
    /// Its path.
    pub(super) path: PathBuf,
    /// The number of its first line.
    pub(super) first: u64,
    /// Its length.
    pub(super) bytes: u64,
    /// The time of its first record.
    pub(super) oldest: Timestamp,
    /// The latest time of its records.
    pub(super) newest: Timestamp,
}

/// A series that is being written.
#[derive(Debug)]
pub(super) struct Series {
    directory: PathBuf,
    name: &'static str,
    segments: VecDeque<Segment>,
    /// The last segment, open to be written.
    current: Option<File>,
    bounds: Bounds,
    gaps: u64,
}

/// The files of a series, oldest first: path, number of the first line, length.
pub(super) fn files_of(directory: &Path, name: &str) -> io::Result<Vec<(PathBuf, u64, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let file = entry.file_name();
        let number = file.to_str().and_then(|file| {
            let number = file.strip_prefix(name)?.strip_prefix('-')?;
            number.strip_suffix(".log")?.parse().ok()
        });
        let Some(first) = number else { continue };
        match entry.metadata() {
            Ok(found_file) if found_file.is_file() => {
                found.push((entry.path(), first, found_file.len()));
            }
            // A link or a directory is not part of the series, and a file may have been deleted meanwhile.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_by_key(|(_, first, _)| *first);
    Ok(found)
}

impl Series {
    /// Opens a series, or begins one. No file is removed here: those that are too old or too many are
    /// removed by the next check of age and size.
    pub(super) fn open(directory: &Path, name: &'static str, bounds: Bounds) -> io::Result<Self> {
        let mut series = Self {
            directory: directory.to_owned(),
            name,
            segments: VecDeque::new(),
            current: None,
            bounds,
            gaps: 0,
        };
        let mut is_clean = true;
        let files = files_of(directory, name)?;
        if let Some((_, first, _)) = files.first() {
            series.bounds.first = bounds.first.min(*first);
        }
        let mut expected = series.bounds.first;
        for (path, first, bytes) in &files {
            let edges = Edges::read(path, *bytes)?;
            if *first > expected {
                series.gaps += 1;
            }
            let lines = edges.last.map_or(0, |last| last.saturating_sub(*first) + 1);
            expected = first + lines + edges.bad;
            is_clean = edges.bad == 0;
            series.segments.push_back(Segment {
                path: path.clone(),
                first: *first,
                bytes: *bytes,
                oldest: edges.oldest,
                newest: edges.newest,
            });
        }
        if bounds.next > expected {
            series.gaps += 1;
        }
        series.bounds.next = expected.max(bounds.next).max(1);
        if let Some(last) = series.segments.back()
            && is_clean
        {
            let mut file = files::private().append(true).open(&last.path)?;
            file.seek(SeekFrom::End(0))?;
            series.current = Some(file);
        }
        Ok(series)
    }

    /// The numbers of its first line and of the next one.
    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The number of gaps that are known from the edges of the files.
    pub(super) fn gaps(&self) -> u64 {
        self.gaps
    }

    /// Bytes in all its files.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Its oldest file.
    pub(super) fn oldest(&self) -> Option<&Segment> {
        self.segments.front()
    }

    /// How many files there are.
    pub(super) fn len(&self) -> usize {
        self.segments.len()
    }

    /// Formats records as the next lines. Their numbers are used up, whether they are written or not:
    /// lost lines are a gap in the numbers.
    pub(super) fn number(&mut self, records: Vec<(Option<u64>, AuditRecord)>) -> Lines {
        let mut lines = Lines {
            first: self.bounds.next,
            bytes: Vec::with_capacity(records.len() * 300),
            oldest: Timestamp::MAX,
            newest: Timestamp::default(),
        };
        for (from, record) in records {
            lines.oldest = lines.oldest.min(record.at);
            lines.newest = lines.newest.max(record.at);
            let number = self.bounds.next;
            self.bounds.next += 1;
            let numbered = Numbered {
                number,
                from,
                record,
            };
            line::push(&mut lines.bytes, &numbered);
        }
        lines
    }

    /// Writes lines to the last file.
    pub(super) fn write(&mut self, lines: &Lines) -> io::Result<()> {
        if self.current.is_none() {
            self.begin(lines)?;
        }
        let (Some(file), Some(segment)) = (&mut self.current, self.segments.back_mut()) else {
            return Err(io::Error::other("no audit file is open"));
        };
        if let Err(error) = file.write_all(&lines.bytes) {
            // An incomplete line must not become the beginning of the next one.
            if file.set_len(segment.bytes).is_err() {
                self.current = None;
            }
            return Err(error);
        }
        segment.bytes += lines.bytes.len() as u64;
        segment.newest = segment.newest.max(lines.newest);
        Ok(())
    }

    fn begin(&mut self, lines: &Lines) -> io::Result<()> {
        let path = self
            .directory
            .join(format!("{}-{:020}.log", self.name, lines.first));
        let file = files::private().append(true).create_new(true).open(&path)?;
        files::give_to_owner(&file, &self.directory)?;
        // The directory is synced too: if the name of a file were lost, its lines would be lost.
        File::open(&self.directory)?.sync_all()?;
        self.segments.push_back(Segment {
            path,
            first: lines.first,
            bytes: 0,
            oldest: lines.oldest,
            newest: lines.newest,
        });
        self.current = Some(file);
        Ok(())
    }

    /// Makes what was written durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        match &self.current {
            Some(file) => file.sync_data(),
            None => Ok(()),
        }
    }

    /// Closes the last file if it is larger than `most` or began before `earliest`. The next line then begins
    /// another file.
    pub(super) fn rotate(&mut self, most: u64, earliest: Timestamp) -> io::Result<()> {
        let is_due = |last: &Segment| last.bytes >= most || last.oldest < earliest;
        if self.current.is_some() && self.segments.back().is_some_and(is_due) {
            self.sync()?;
            self.current = None;
        }
        Ok(())
    }

    /// Removes the oldest file from the series. The caller deletes it once the new bounds are recorded.
    pub(super) fn take_oldest(&mut self) -> Option<Segment> {
        let oldest = self.segments.pop_front()?;
        if self.segments.is_empty() {
            self.current = None;
        }
        let next = self.segments.front();
        self.bounds.first = next.map_or(self.bounds.next, |next| next.first);
        Some(oldest)
    }
}

/// Lines that are to be written.
#[derive(Debug)]
pub(super) struct Lines {
    first: u64,
    pub(super) bytes: Vec<u8>,
    oldest: Timestamp,
    newest: Timestamp,
}

/// The numbers in the first and the last lines of a file.
#[derive(Debug, Default)]
struct Edges {
    /// The number of the last line that can be read.
    last: Option<u64>,
    /// The number of lines after it that cannot be read.
    bad: u64,
    oldest: Timestamp,
    newest: Timestamp,
}

impl Edges {
    fn read(path: &Path, length: u64) -> io::Result<Self> {
        let mut file = files::private().read(true).open(path)?;
        let mut head = Vec::new();
        (&file).take(EDGE).read_to_end(&mut head)?;
        let mut tail = Vec::new();
        file.seek(SeekFrom::Start(length.saturating_sub(EDGE)))?;
        file.take(EDGE).read_to_end(&mut tail)?;
        let mut edges = Self::default();
        if let Some(Ok(line)) = head.split(|byte| *byte == b'\n').next().map(line::parse) {
            (edges.oldest, edges.newest) = (line.record.at, line.record.at);
        }
        // After the last line end there is nothing, or an incomplete line.
        let mut lines = tail.split(|byte| *byte == b'\n').rev();
        edges.bad += u64::from(lines.next().is_some_and(|rest| !rest.is_empty()));
        for text in lines {
            if let Ok(line) = line::parse(text) {
                edges.last = Some(line.number);
                edges.newest = edges.newest.max(line.record.at);
                break;
            }
            edges.bad += 1;
        }
        Ok(edges)
    }
}

/// The number of bytes that are read at the beginning and end of a file.
const EDGE: u64 = 4 * MAX_LINE as u64;
