//! How are the bytes of a path checked in one pass, and how does a lenient application split it?

use crate::types::path::{Allow, BadPath};

/// Checks every byte once. `allow` is called only for a case that an operator can allow. Returns whether an
/// allowed case makes a second reading possible.
pub(super) fn scan(path: &str, allow: impl Fn() -> Allow) -> Result<bool, BadPath> {
    let bytes = path.as_bytes();
    let mut is_ambiguous = false;
    // Where the current segment starts; the leading slash has been checked.
    let mut start = 1;
    for (at, byte) in bytes.iter().enumerate().skip(1) {
        let admitted = match class(*byte) {
            Class::Plain => continue,
            Class::Slash => {
                let odd = end_segment(bytes.get(start..at).unwrap_or_default(), &allow)?;
                start = at + 1;
                odd
            }
            Class::Percent => escape(bytes.get(at + 1..).unwrap_or_default(), &allow)?,
            Class::Semicolon => admit(allow().semicolon, BadPath::Semicolon)?,
            Class::NonAscii => !admit(allow().non_ascii, BadPath::NonAscii)?,
            Class::Refused(why) => return Err(why),
        };
        is_ambiguous |= admitted;
    }
    if is_dot_segment(bytes.get(start..).unwrap_or_default()) {
        return Err(BadPath::DotSegment);
    }
    Ok(is_ambiguous)
}

/// Checks a segment that ends with a slash.
fn end_segment(segment: &[u8], allow: &impl Fn() -> Allow) -> Result<bool, BadPath> {
    if segment.is_empty() {
        return admit(allow().empty_segment, BadPath::EmptySegment);
    }
    if is_dot_segment(segment) {
        return Err(BadPath::DotSegment);
    }
    Ok(false)
}

fn is_dot_segment(segment: &[u8]) -> bool {
    matches!(segment, b"." | b"..")
}

/// Checks the characters after a percent sign.
fn escape(rest: &[u8], allow: &impl Fn() -> Allow) -> Result<bool, BadPath> {
    let decoded = decode(rest).ok_or(BadPath::BrokenEscape)?;
    match decoded {
        b'/' | b'\\' => admit(allow().encoded_slash, BadPath::EncodedSlash),
        b'.' => Err(BadPath::EncodedDot),
        b';' => Err(BadPath::EncodedSemicolon),
        b'%' => Err(BadPath::EncodedPercent),
        b'?' | b'#' => Err(BadPath::EncodedDelimiter),
        0..=0x1F | 0x7F => Err(BadPath::EncodedControl),
        0xC0 | 0xC1 | 0xE0 | 0xF0 if is_overlong(decoded, rest) => Err(BadPath::Overlong),
        _ => Ok(false),
    }
}

/// Whether the escape after this lead byte makes an overlong sequence. A lead byte alone is a letter in a
/// one-byte encoding and is accepted.
fn is_overlong(lead: u8, rest: &[u8]) -> bool {
    let next = match rest.get(2..) {
        Some([b'%', after @ ..]) => decode(after),
        _ => None,
    };
    next.is_some_and(|next| match lead {
        0xE0 => (0x80..=0x9F).contains(&next),
        0xF0 => (0x80..=0x8F).contains(&next),
        _ => (0x80..=0xBF).contains(&next),
    })
}

/// The byte of two hexadecimal digits.
pub(super) fn decode(rest: &[u8]) -> Option<u8> {
    let (high, low) = match rest {
        [high, low, ..] => (hex(*high)?, hex(*low)?),
        _ => return None,
    };
    Some(high << 4 | low)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

fn admit(allowed: bool, why: BadPath) -> Result<bool, BadPath> {
    if allowed { Ok(true) } else { Err(why) }
}

/// The pieces between slashes, raw or encoded, and encoded backslashes. The first is the empty one
/// before the leading slash.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = &str> + Clone {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let whole = rest?;
        let Some((at, width)) = separator(whole) else {
            rest = None;
            return Some(whole);
        };
        rest = whole.get(at + width..);
        whole.get(..at)
    })
}

/// The position and the length of the first separator.
fn separator(text: &str) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    bytes.iter().enumerate().find_map(|(at, byte)| match byte {
        b'/' => Some((at, 1)),
        b'%' if is_slash_escape(bytes.get(at + 1..)) => Some((at, 3)),
        _ => None,
    })
}

pub(super) fn has_encoded_slash(text: &str) -> bool {
    let bytes = text.as_bytes();
    (0..bytes.len()).any(|at| bytes.get(at) == Some(&b'%') && is_slash_escape(bytes.get(at + 1..)))
}

fn is_slash_escape(rest: Option<&[u8]>) -> bool {
    matches!(rest.and_then(decode), Some(b'/' | b'\\'))
}

/// The segment up to its first `;`.
pub(super) fn without_parameters(segment: &str) -> &str {
    segment.split_once(';').map_or(segment, |(name, _)| name)
}

/// The class of a byte in a path.
#[derive(Clone, Copy)]
enum Class {
    Plain,
    Slash,
    Percent,
    Semicolon,
    NonAscii,
    Refused(BadPath),
}

fn class(byte: u8) -> Class {
    // 256 entries for a byte: the look-up cannot fail, and the compiler removes the bounds check.
    CLASSES
        .get(usize::from(byte))
        .copied()
        .unwrap_or(Class::Refused(BadPath::Control))
}

const CLASSES: [Class; 256] = classes();

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which refuses an index out of bounds"
)]
const fn classes() -> [Class; 256] {
    let mut table = [Class::Plain; 256];
    let mut byte = 0;
    while byte < 256 {
        if byte <= 0x20 || byte == 0x7F {
            table[byte] = Class::Refused(BadPath::Control);
        } else if byte >= 0x80 {
            table[byte] = Class::NonAscii;
        }
        byte += 1;
    }
    table[b'/' as usize] = Class::Slash;
    table[b'%' as usize] = Class::Percent;
    table[b';' as usize] = Class::Semicolon;
    table[b'\\' as usize] = Class::Refused(BadPath::Backslash);
    table[b'"' as usize] = Class::Refused(BadPath::Quote);
    table[b'#' as usize] = Class::Refused(BadPath::Fragment);
    table[b'?' as usize] = Class::Refused(BadPath::QuestionMark);
    table
}
