//! Where is the log of sled damaged? Read without sled: which segments and messages are intact, and
//! where sled would stop.
//!
//! When sled opens its log, it ends it at the first damaged message: it overwrites the rest with zeros. To keep
//! the rest, or to read it, the log must be read before that.

mod format;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use self::format::{
    CAP, HEADER, Message, SEGMENT, any_message, filler, header, header_number, sealed,
};

/// The space that must follow a message; with less, the segment is full.
const LONGEST_HEADER: usize = 32;

/// The result of reading a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Scan {
    /// The number of segments with an intact header.
    pub(super) segments: u64,
    /// The number of intact messages.
    pub(super) messages: u64,
    /// The number of segments in which intact messages follow damaged ones, or that end too early
    /// although a later segment follows.
    pub(super) holes: u64,
    /// The position after the last intact message.
    pub(super) tip: u64,
}

/// A segment in memory.
struct Segment {
    number: u64,
    bytes: Vec<u8>,
}

/// Reads the whole log.
pub(super) fn scan(file: &File) -> io::Result<Scan> {
    let mut found = Scan::default();
    let mut last = None;
    let mut open_ends = Vec::new();
    let headless = each_segment(file, |segment| {
        found.segments += 1;
        last = last.max(Some(segment.number));
        let (messages, end) = segment.walk();
        found.messages += messages;
        let reached = match end {
            End::Full => SEGMENT,
            End::Open(at) => {
                open_ends.push((segment.number, segment.has_more(at)));
                at
            }
        };
        let start = segment.number.saturating_mul(SEGMENT as u64);
        found.tip = found.tip.max(start.saturating_add(reached as u64));
        Ok(())
    })?;
    found.holes = headless;
    for (number, has_more) in open_ends {
        if Some(number) == last {
            found.holes += u64::from(has_more);
        } else {
            found.holes += 1;
        }
    }
    Ok(found)
}

/// Rewrites every damaged stretch of a log as messages that sled skips, so that it reads the messages after
/// them. Returns the number of stretches. Only for a copy.
pub(super) fn bridge(file: &File) -> io::Result<u64> {
    let mut last = None;
    each_segment(file, |segment| {
        last = last.max(Some(segment.number));
        Ok(())
    })?;
    let mut bridged = 0;
    let mut at = 0;
    let length = file.metadata()?.len();
    while at < length {
        if let Ok(mut segment) = read_segment(file, at, true)? {
            let count = segment.bridge(Some(segment.number) == last || last.is_none());
            if count > 0 {
                file.write_all_at(&segment.bytes, at)?;
                bridged += count;
            }
        }
        at += SEGMENT as u64;
    }
    file.sync_all()?;
    Ok(bridged)
}

/// Visits the segments with an intact header. Returns the number of others that are not empty.
fn each_segment(file: &File, mut visit: impl FnMut(&Segment) -> io::Result<()>) -> io::Result<u64> {
    let mut headless = 0;
    let length = file.metadata()?.len();
    let mut at = 0;
    while at < length {
        match read_segment(file, at, false)? {
            Ok(segment) => visit(&segment)?,
            Err(bytes) => headless += u64::from(bytes.iter().any(|byte| *byte != 0)),
        }
        at += SEGMENT as u64;
    }
    Ok(headless)
}

/// The segment at an offset, or its bytes if its header is damaged. With `rescue`, a damaged header is
/// rebuilt from an intact message.
fn read_segment(file: &File, at: u64, rescue: bool) -> io::Result<Result<Segment, Vec<u8>>> {
    let mut bytes = vec![0; SEGMENT];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    if let Some(number) = header_number(&bytes) {
        return Ok(Ok(Segment { number, bytes }));
    }
    if !rescue {
        return Ok(Err(bytes));
    }
    for from in HEADER..bytes.len().saturating_sub(LONGEST_HEADER) {
        if let Some((number, message)) = any_message(&bytes, from, None)
            && message.length > 0
        {
            let header = header(number);
            for (to, byte) in bytes.iter_mut().zip(header) {
                *to = byte;
            }
            return Ok(Ok(Segment { number, bytes }));
        }
    }
    Ok(Err(bytes))
}

/// How the intact messages of a segment end.
enum End {
    /// With the mark of the end, or with too little space for another.
    Full,
    /// At this offset, where there is no intact message of this segment.
    Open(usize),
}

impl Segment {
    /// Counts the intact messages from the start.
    fn walk(&self) -> (u64, End) {
        let mut at = HEADER;
        let mut count = 0;
        loop {
            if at + LONGEST_HEADER > self.bytes.len() {
                return (count, End::Full);
            }
            match self.message(at) {
                Some(message) if message.kind == CAP => return (count, End::Full),
                Some(message) => {
                    count += 1;
                    at += message.length;
                }
                None => return (count, End::Open(at)),
            }
        }
    }

    fn message(&self, at: usize) -> Option<Message> {
        any_message(&self.bytes, at, Some(self.number)).map(|(_, message)| message)
    }

    /// The next offset after `at` at which an intact message of this segment begins.
    fn next(&self, at: usize) -> Option<usize> {
        let last = self.bytes.len().saturating_sub(LONGEST_HEADER);
        (at + 1..=last).find(|from| self.message(*from).is_some())
    }

    fn has_more(&self, at: usize) -> bool {
        self.next(at).is_some()
    }

    /// Rewrites damaged stretches as messages that are skipped.
    fn bridge(&mut self, is_last: bool) -> u64 {
        let mut bridged = 0;
        let mut from = HEADER;
        loop {
            let mut at = from;
            while let Some(message) = self.message(at) {
                if message.kind == CAP {
                    return bridged;
                }
                at += message.length;
                if at + LONGEST_HEADER > self.bytes.len() {
                    return bridged;
                }
            }
            match self.next(at) {
                Some(next) => {
                    let Some(skipped) = filler(self.number, next - at) else {
                        // Too short for a message: include the message after it.
                        let length = self.message(next).map_or(1, |message| message.length);
                        let Some(skipped) = filler(self.number, next + length - at) else {
                            return bridged;
                        };
                        self.put(at, &skipped);
                        bridged += 1;
                        from = at;
                        continue;
                    };
                    self.put(at, &skipped);
                    bridged += 1;
                    from = at;
                }
                None if is_last => return bridged,
                None => {
                    let cap = sealed(CAP, self.number, 0, &[]);
                    self.put(at, &cap);
                    return bridged + 1;
                }
            }
        }
    }

    fn put(&mut self, at: usize, message: &[u8]) {
        let room = self.bytes.get_mut(at..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(message) {
            *to = *from;
        }
    }
}
