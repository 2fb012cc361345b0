//! A strict decoder of the chunked transfer coding (RFC 9112, 7.1).
//!
//! Every line must end in CRLF, and a size has 1 to 16 hexadecimal digits. Extensions are skipped; their length
//! and that of the trailer section are limited. With a lenient decoder an upstream's answer could be read as
//! two answers.
//!
//! ```text
//! Size ──n──→ Data(n) ──→ DataEnd ──→ Size
//!   └───0──→ Trailers ──→ Done
//! ```

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::proxy::error::Fault;
use crate::proxy::payload::Step;

/// The position of a body in the coding.
#[derive(Debug)]
pub(super) struct Decoder {
    state: State,
    excess: u64,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
    Done,
}

impl Decoder {
    pub(super) const fn new() -> Self {
        Self {
            state: State::Size,
            excess: 0,
        }
    }

    /// Takes the next piece from the front of `input`.
    pub(super) fn decode(&mut self, input: &mut BytesMut) -> Result<Step, Fault> {
        loop {
            match self.state {
                State::Size => match size_line(input)? {
                    None => return Ok(Step::More),
                    Some((size, length)) => {
                        self.count(size, length)?;
                        input.advance(length);
                        self.state = match size {
                            0 => State::Trailers,
                            _ => State::Data(size),
                        };
                    }
                },
                State::Data(_) if input.is_empty() => return Ok(Step::More),
                State::Data(left) => {
                    let (data, left) = take(input, left);
                    self.state = match left {
                        0 => State::DataEnd,
                        _ => State::Data(left),
                    };
                    return Ok(Step::Data(data));
                }
                State::DataEnd => {
                    if !line_end(input)? {
                        return Ok(Step::More);
                    }
                    self.state = State::Size;
                }
                State::Trailers => match trailers(input)? {
                    None => return Ok(Step::More),
                    Some(trailers) => {
                        self.state = State::Done;
                        if !trailers.is_empty() {
                            return Ok(Step::Trailers(trailers));
                        }
                    }
                },
                State::Done => return Ok(Step::End),
            }
        }
    }

    /// Whether the last chunk is complete and nothing of the next one was read.
    pub(super) const fn is_between(&self) -> bool {
        matches!(self.state, State::Size)
    }

    pub(super) const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Limits the overhead of framing: a chunk may have 16 bytes of it plus twice the bytes of its data. The
    /// excess of all chunks of a body is at most 16 KiB. So short chunks are permitted and endless extensions
    /// are not (CVE-2023-39326).
    fn count(&mut self, size: u64, line: usize) -> Result<(), Fault> {
        let cost = u64::try_from(line).unwrap_or(u64::MAX).saturating_add(2);
        let credit = size.saturating_mul(2).saturating_add(16);
        self.excess = self.excess.saturating_add(cost).saturating_sub(credit);
        if self.excess > MAX_EXCESS {
            return Err(Fault::ChunkOverhead);
        }
        Ok(())
    }
}

/// Splits up to `left` bytes off. Also returns how many are left then.
pub(super) fn take(input: &mut BytesMut, left: u64) -> (Bytes, u64) {
    let here = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
    let data = input.split_to(here).freeze();
    (data, left.saturating_sub(here as u64))
}

/// The size and the length of its whole line, once the line is complete.
fn size_line(input: &[u8]) -> Result<Option<(u64, usize)>, Fault> {
    let Some(end) = input.iter().position(|byte| *byte == b'\n') else {
        return match input.len() {
            // A line at the limit, and its CR.
            0..=MAX_SIZE_LINE => Ok(None),
            _ => Err(Fault::Chunk),
        };
    };
    let line = input.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = line
        .filter(|line| line.len() < MAX_SIZE_LINE)
        .ok_or(Fault::Chunk)?;
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    if !(1..=16).contains(&digits) {
        return Err(Fault::Chunk);
    }
    let (digits, rest) = line.split_at_checked(digits).ok_or(Fault::Chunk)?;
    if !is_extension(rest) {
        return Err(Fault::Chunk);
    }
    let size = digits
        .iter()
        .fold(0, |size, digit| size << 4 | u64::from(hex(*digit)));
    Ok(Some((size, end + 1)))
}

/// Blanks, then nothing or a `;` and bytes that are not control characters. Blanks alone are padding that some
/// servers write.
fn is_extension(rest: &[u8]) -> bool {
    let text = rest.trim_ascii_start();
    matches!(text.first(), None | Some(b';'))
        && rest
            .iter()
            .all(|byte| *byte == b'\t' || !byte.is_ascii_control())
}

const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

/// Takes the CRLF after a chunk's data; false if it is not complete.
fn line_end(input: &mut BytesMut) -> Result<bool, Fault> {
    match input.get(..2) {
        Some(b"\r\n") => {
            input.advance(2);
            Ok(true)
        }
        None if input.is_empty() || input.as_ref() == b"\r" => Ok(false),
        _ => Err(Fault::Chunk),
    }
}

/// Takes the trailer section with its empty line, once it is complete.
fn trailers(input: &mut BytesMut) -> Result<Option<HeaderMap>, Fault> {
    if input.starts_with(b"\r\n") {
        input.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return match input.len() {
            0..MAX_TRAILER_BYTES => Ok(None),
            _ => Err(Fault::Trailers),
        };
    };
    let section = input
        .get(..end + 4)
        .filter(|section| section.len() <= MAX_TRAILER_BYTES);
    let trailers = parse_trailers(section.ok_or(Fault::Trailers)?)?;
    input.advance(end + 4);
    Ok(Some(trailers))
}

fn parse_trailers(section: &[u8]) -> Result<HeaderMap, Fault> {
    let bare = |pair: &[u8]| matches!(pair, [before, b'\n'] if *before != b'\r');
    if section.windows(2).any(bare) {
        return Err(Fault::Trailers);
    }
    let mut lines = [httparse::EMPTY_HEADER; MAX_TRAILERS];
    let parsed = httparse::parse_headers(section, &mut lines).map_err(|_| Fault::Trailers)?;
    let httparse::Status::Complete((length, lines)) = parsed else {
        return Err(Fault::Trailers);
    };
    if length != section.len() {
        return Err(Fault::Trailers);
    }
    let mut trailers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| Fault::Trailers)?;
        let value = HeaderValue::from_bytes(line.value).map_err(|_| Fault::Trailers)?;
        trailers.append(name, value);
    }
    Ok(trailers)
}

/// The longest size line without its line end: 16 digits and an extension of some 250 bytes.
const MAX_SIZE_LINE: usize = 272;

/// See [`Decoder::count`].
const MAX_EXCESS: u64 = 16 * 1024;

const MAX_TRAILERS: usize = 32;
const MAX_TRAILER_BYTES: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// The data, the trailers as text, and the rest of the input.
    fn decoded(input: &[u8]) -> Result<(String, String, usize), Fault> {
        let mut decoder = Decoder::new();
        let mut input = BytesMut::from(input);
        let (mut data, mut fields) = (Vec::new(), String::new());
        loop {
            match decoder.decode(&mut input)? {
                Step::Data(piece) => data.extend_from_slice(&piece),
                Step::Trailers(map) => {
                    for (name, value) in &map {
                        fields.extend([name.as_str(), "=", value.to_str().unwrap(), ";"]);
                    }
                }
                Step::End => {
                    assert!(decoder.is_done());
                    return Ok((String::from_utf8(data).unwrap(), fields, input.len()));
                }
                Step::More => return Err(Fault::CutShort),
            }
        }
    }

    #[test]
    fn plain_chunks_are_read() {
        for (input, data, left) in [
            (&b"0\r\n\r\n"[..], "", 0),
            (b"5\r\nhello\r\n0\r\n\r\n", "hello", 0),
            (
                b"5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\nHTTP",
                "hello0123456789",
                4,
            ),
            (b"0000000000000002\r\nhi\r\n000\r\n\r\n", "hi", 0),
            (b"2;name=\"value\"\r\nhi\r\n0;last\r\n\r\n", "hi", 0),
            (b"2 \t\r\nhi\r\n0 ; x\r\n\r\n", "hi", 0),
        ] {
            assert_eq!(
                decoded(input),
                Ok((data.to_owned(), String::new(), left)),
                "{input:?}"
            );
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for input in [
            &b"5\nhello\r\n0\r\n\r\n"[..],
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhelloX\r\n0\r\n\r\n",
            b"5\r\nhello\rX",
            b"\r\nhello",
            b" 5\r\nhello\r\n0\r\n\r\n",
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"-5\r\nhello\r\n0\r\n\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"5,5\r\nhello\r\n0\r\n\r\n",
            b"5 5\r\nhello\r\n0\r\n\r\n",
            b"g\r\n",
            b"00000000000000005\r\nhello\r\n0\r\n\r\n",
            b"5;a\nb\r\nhello\r\n0\r\n\r\n",
            b"5;a\rb\r\nhello\r\n0\r\n\r\n",
            b"5;a\0b\r\nhello\r\n0\r\n\r\n",
        ] {
            assert_eq!(decoded(input), Err(Fault::Chunk), "{input:?}");
        }
    }

    #[test]
    fn a_size_line_that_does_not_end_is_refused() {
        let long = [b"5;".as_slice(), &[b'a'; MAX_SIZE_LINE]].concat();
        assert_eq!(decoded(&long), Err(Fault::Chunk));
        assert_eq!(decoded(&[&long[..], b"\r\n"].concat()), Err(Fault::Chunk));
        assert_eq!(decoded(&long[..MAX_SIZE_LINE - 1]), Err(Fault::CutShort));
    }

    #[test]
    fn extensions_in_sum_are_bounded_and_small_chunks_are_not() {
        let padded = format!("1;{}\r\nx\r\n", "e".repeat(200)).repeat(200) + "0\r\n\r\n";
        assert_eq!(decoded(padded.as_bytes()), Err(Fault::ChunkOverhead));
        let small = "1\r\nx\r\n".repeat(100_000) + "0\r\n\r\n";
        assert_eq!(decoded(small.as_bytes()).unwrap().0.len(), 100_000);
    }

    #[test]
    fn trailers_are_read_and_bounded() {
        let fields = decoded(b"0\r\nX-Sum: 1\r\nx-sum:2\r\n\r\nrest").unwrap();
        assert_eq!(fields, (String::new(), "x-sum=1;x-sum=2;".to_owned(), 4));
        let many = format!("0\r\n{}\r\n", "a: b\r\n".repeat(MAX_TRAILERS + 1));
        let large = format!("0\r\na: {}\r\n\r\n", "b".repeat(MAX_TRAILER_BYTES));
        let endless = format!("0\r\na: {}", "b".repeat(MAX_TRAILER_BYTES));
        for input in [
            many.as_bytes(),
            large.as_bytes(),
            endless.as_bytes(),
            b"0\r\nno colon\r\n\r\n",
            b"0\r\na: b\n\r\n\r\n",
            b"0\r\na: b\r\n folded\r\n\r\n",
            b"0\r\na : b\r\n\r\n",
            b"0\r\n: b\r\n\r\n",
            b"0\r\na: b\0\r\n\r\n",
        ] {
            assert_eq!(decoded(input), Err(Fault::Trailers), "{input:?}");
        }
    }

    #[test]
    fn the_largest_size_waits_for_data_and_does_not_overflow() {
        let mut decoder = Decoder::new();
        let mut input = BytesMut::from(&b"ffffffffffffffff\r\nab"[..]);
        assert!(matches!(decoder.decode(&mut input), Ok(Step::Data(data)) if data == "ab"));
        assert!(matches!(decoder.decode(&mut input), Ok(Step::More)));
    }
}
