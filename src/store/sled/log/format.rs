//! How does sled write a segment and a message? The bytes, read and written.
//!
//! ```text
//! segment   512 KiB: header(20), messages, Cap or too little space for another message
//! header    crc(4) lsn(8) stable(8), each xored
//! message   crc(4) kind(1) length(varint) segment number(varint) page(varint) body
//! ```

/// The size of a segment. Fixed when a database is created; this program never sets it.
pub(super) const SEGMENT: usize = 512 << 10;

/// The size of the header of a segment.
pub(super) const HEADER: usize = 20;

/// A message that is skipped.
pub(super) const CANCELED: u8 = 1;

/// The end of a segment.
pub(super) const CAP: u8 = 2;

const LAST_KIND: u8 = 11;

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Message {
    /// The kind, as a number of sled.
    pub(super) kind: u8,
    /// The number of bytes, with the header.
    pub(super) length: usize,
}

/// A canceled message of exactly this length.
pub(super) fn filler(number: u64, length: usize) -> Option<Vec<u8>> {
    let around = 5 + varint(number).len() + varint(0).len();
    // The length of the body is written in as many bytes as it needs.
    let body = (1..=4).find_map(|digits| {
        let body = length.checked_sub(around + digits)?;
        (varint(body as u64).len() == digits).then_some(body)
    })?;
    Some(sealed(CANCELED, number, 0, &vec![0; body]))
}

/// A message with its checksum.
pub(super) fn sealed(kind: u8, number: u64, page: u64, body: &[u8]) -> Vec<u8> {
    let mut rest = vec![kind];
    rest.extend(varint(body.len() as u64));
    rest.extend(varint(number));
    rest.extend(varint(page));
    let mut message = checksum(&rest, body).to_le_bytes().to_vec();
    message.extend(rest);
    message.extend(body);
    message
}

/// The header of a segment.
pub(super) fn header(number: u64) -> Vec<u8> {
    let lsn = number.saturating_mul(SEGMENT as u64) ^ (u64::MAX >> 1);
    let mut rest = lsn.to_le_bytes().to_vec();
    rest.extend(lsn.to_le_bytes());
    let mut header = (crc32fast::hash(&rest) ^ u32::MAX).to_le_bytes().to_vec();
    header.extend(rest);
    header
}

/// The number of a segment, if the checksum of its header is right.
pub(super) fn header_number(bytes: &[u8]) -> Option<u64> {
    let crc = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) ^ u32::MAX;
    let rest = bytes.get(4..HEADER)?;
    if crc32fast::hash(rest) != crc {
        return None;
    }
    let lsn = u64::from_le_bytes(rest.get(..8)?.try_into().ok()?) ^ (u64::MAX >> 1);
    (lsn % SEGMENT as u64 == 0).then_some(lsn / SEGMENT as u64)
}

/// The message at an offset, if its checksum is right, and its segment number.
pub(super) fn any_message(
    bytes: &[u8],
    at: usize,
    expected: Option<u64>,
) -> Option<(u64, Message)> {
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
    fn numbers_survive_a_round_trip() {
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
