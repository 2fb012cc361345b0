//! Reading sled's log without sled: which segments and messages are sound, and where it would stop.
//!
//! sled cuts its log behind the first damaged message when it opens: it zeroes what follows. To
//! keep that, or to read behind it, the log has to be read before.
//!
//! ```text
//! segment   512 KiB: header(20), messages, Cap or too little room for another message
//! header    crc(4) lsn(8) stable(8), each xored
//! message   crc(4) kind(1) length(varint) segment number(varint) page(varint) body
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The size of a segment; fixed when a database is made, and never set by us.
pub(super) const SEGMENT: usize = 512 << 10;

const HEADER: usize = 20;

/// A message needs this much room behind it, or the segment is full.
const LONGEST_HEADER: usize = 32;

const CANCELED: u8 = 1;
const CAP: u8 = 2;
const LAST_KIND: u8 = 11;

/// What a look at a log has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Look {
    /// Segments with a sound header.
    pub(super) segments: u64,
    /// Sound messages.
    pub(super) messages: u64,
    /// Segments in which sound messages follow damaged ones, or that end too early although a later
    /// segment follows.
    pub(super) holes: u64,
    /// The position behind the last sound message.
    pub(super) tip: u64,
}

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Message {
    kind: u8,
    length: usize,
}

/// A segment in memory.
struct Segment {
    number: u64,
    bytes: Vec<u8>,
}

/// Reads the whole log.
pub(super) fn look(file: &File) -> io::Result<Look> {
    let mut found = Look::default();
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

/// Makes every damaged stretch of a log one that sled skips, so that it reads on behind it. Returns
/// how many there were. Only for a copy.
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

/// Visits the segments with a sound header and says how many hold something without one.
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

/// The segment at an offset, or its bytes where its header is not sound. With `rescue`, a header that
/// is not sound is made again from a message that is.
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

/// How the sound messages of a segment end.
enum End {
    /// With a mark, or because no other would fit.
    Full,
    /// In front of something that is no message of this segment.
    Open(usize),
}

impl Segment {
    /// Counts the sound messages from the front.
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

    /// The next place behind `at` where a sound message of this segment begins.
    fn next(&self, at: usize) -> Option<usize> {
        let last = self.bytes.len().saturating_sub(LONGEST_HEADER);
        (at + 1..=last).find(|from| self.message(*from).is_some())
    }

    fn has_more(&self, at: usize) -> bool {
        self.next(at).is_some()
    }

    /// Turns damaged stretches into messages that are skipped.
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
                        // Too short for a message: take the one behind it along.
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

/// A canceled message of exactly this length.
fn filler(number: u64, length: usize) -> Option<Vec<u8>> {
    let around = 5 + varint(number).len() + varint(0).len();
    // The body's length is written in as many bytes as it needs.
    let body = (1..=4).find_map(|digits| {
        let body = length.checked_sub(around + digits)?;
        (varint(body as u64).len() == digits).then_some(body)
    })?;
    Some(sealed(CANCELED, number, 0, &vec![0; body]))
}

fn sealed(kind: u8, number: u64, page: u64, body: &[u8]) -> Vec<u8> {
    let mut rest = vec![kind];
    rest.extend(varint(body.len() as u64));
    rest.extend(varint(number));
    rest.extend(varint(page));
    let mut message = checksum(&rest, body).to_le_bytes().to_vec();
    message.extend(rest);
    message.extend(body);
    message
}

fn header(number: u64) -> Vec<u8> {
    let lsn = number.saturating_mul(SEGMENT as u64) ^ (u64::MAX >> 1);
    let mut rest = lsn.to_le_bytes().to_vec();
    rest.extend(lsn.to_le_bytes());
    let mut header = (crc32fast::hash(&rest) ^ u32::MAX).to_le_bytes().to_vec();
    header.extend(rest);
    header
}

/// The number of the segment whose header this is.
fn header_number(bytes: &[u8]) -> Option<u64> {
    let crc = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) ^ u32::MAX;
    let rest = bytes.get(4..HEADER)?;
    if crc32fast::hash(rest) != crc {
        return None;
    }
    let lsn = u64::from_le_bytes(rest.get(..8)?.try_into().ok()?) ^ (u64::MAX >> 1);
    (lsn % SEGMENT as u64 == 0).then_some(lsn / SEGMENT as u64)
}

/// A message with a right checksum, and the segment number that it names.
fn any_message(bytes: &[u8], at: usize, expected: Option<u64>) -> Option<(u64, Message)> {
    let rest = bytes.get(at..)?;
    let crc = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?);
    let kind = *rest.get(4)?;
    if kind == 0 || kind > LAST_KIND {
        return None;
    }
    let mut after = rest.get(5..)?;
    let length = usize::try_from(take_varint(&mut after)?).ok()?;
    let number = take_varint(&mut after)?;
    if expected.is_some_and(|expected| expected != number) {
        return None;
    }
    take_varint(&mut after)?;
    let head = rest.len() - after.len();
    let body = after.get(..length)?;
    if checksum(rest.get(4..head)?, body) != crc {
        return None;
    }
    let message = Message {
        kind,
        length: head + length,
    };
    Some((number, message))
}

fn checksum(head: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(body);
    hasher.update(head);
    hasher.finalize() ^ u32::MAX
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first()?;
    let (value, size) = match first {
        0..=240 => (u64::from(*first), 0),
        241..=248 => (
            240 + 256 * (u64::from(*first) - 241) + u64::from(*rest.first()?),
            1,
        ),
        249 => (
            2_288 + 256 * u64::from(*rest.first()?) + u64::from(*rest.get(1)?),
            2,
        ),
        250..=255 => {
            let size = usize::from(*first) - 247;
            let mut value = 0;
            for byte in rest.get(..size)?.iter().rev() {
                value = value << 8 | u64::from(*byte);
            }
            (value, size)
        }
    };
    *bytes = rest.get(size..)?;
    Some(value)
}

fn varint(value: u64) -> Vec<u8> {
    let low = |value: u64| value.to_le_bytes()[0];
    match value {
        0..=240 => vec![low(value)],
        241..=2_287 => vec![low((value - 240) / 256 + 241), low((value - 240) % 256)],
        2_288..=67_823 => vec![249, low((value - 2_288) / 256), low((value - 2_288) % 256)],
        _ => {
            let bytes = value.to_le_bytes();
            let used = 8 - usize::try_from(value.leading_zeros() / 8).unwrap_or(0);
            let size = used.max(3);
            let mut all = vec![247 + u8::try_from(size).unwrap_or(8)];
            all.extend(bytes.iter().take(size));
            all
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back() {
        for value in [
            0,
            1,
            240,
            241,
            2_287,
            2_288,
            67_823,
            67_824,
            1 << 24,
            1 << 33,
            1 << 47,
            u64::MAX,
        ] {
            let bytes = varint(value);
            let mut rest = bytes.as_slice();
            assert_eq!(take_varint(&mut rest), Some(value));
            assert!(rest.is_empty(), "{value}");
        }
    }

    #[test]
    fn a_filler_of_every_length_is_one_message() {
        for length in 9..3_000 {
            let Some(message) = filler(7, length) else {
                continue;
            };
            let found = any_message(&message, 0, None).unwrap();
            assert_eq!(
                found,
                (
                    7,
                    Message {
                        kind: CANCELED,
                        length
                    }
                )
            );
        }
    }
}
