//! Which heads of answers are valid, and which of their headers reach the client?
//!
//! The parser is strict: an answer has one plain HTTP/1.1 (or 1.0) head with one framing, or it is a [`Fault`].
//! Interim answers are skipped. Hop-by-hop headers and those named by `Connection` are removed; the server side
//! frames the body again.

mod facts;
#[cfg(test)]
mod tests;

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use httparse::ParserConfig;

use crate::proxy::chunked::Decoder;
use crate::proxy::error::Fault;
use crate::proxy::payload::Payload;
use crate::proxy::protocol::Protocol;
use crate::proxy::response_head::facts::Facts;

/// The head of an answer. Its headers are in the map that was passed to [`HeadReader::read`].
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) payload: Payload,
    pub(super) reuse: Reuse,
}

/// Whether another request may use the connection after this answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reuse {
    /// Yes.
    Allowed,
    /// No: it is closed.
    Refused,
}

/// Reads heads until one is not interim.
#[derive(Debug)]
pub(super) struct HeadReader {
    to_head: bool,
    /// The requested protocol; a 101 may only switch to this one.
    asked: Option<Protocol>,
    interim: u8,
    scanned: usize,
}

impl HeadReader {
    /// For the answer to a request of this method: HEAD has no body (RFC 9110, 9.3.2).
    pub(super) fn new(method: &Method) -> Self {
        Self {
            to_head: *method == Method::HEAD,
            asked: None,
            interim: 0,
            scanned: 0,
        }
    }

    /// Also takes a 101 that switches to this protocol.
    pub(super) fn asking_for(self, protocol: Protocol) -> Self {
        Self {
            asked: Some(protocol),
            ..self
        }
    }

    /// Takes a complete head from the front of `input`; `None` if more bytes are needed. `headers` must be
    /// empty.
    pub(super) fn read(
        &mut self,
        input: &mut BytesMut,
        headers: &mut HeaderMap,
    ) -> Result<Option<Head>, Fault> {
        let mut lines = [HeaderRange::default(); MAX_HEADERS];
        while self.may_be_complete(input)? {
            let Some(parsed) = parse(input, &mut lines)? else {
                return Ok(None);
            };
            self.scanned = 0;
            let head = input.split_to(parsed.length).freeze();
            match parsed.status.as_u16() {
                101 if self.asked.is_none() => return Err(Fault::SwitchedProtocols),
                101 => {
                    let lines = lines.get(..parsed.count).unwrap_or_default();
                    return self.switch(&parsed, lines, &head, headers).map(Some);
                }
                100..200 if self.interim == MAX_INTERIM => return Err(Fault::TooManyInterim),
                100..200 => self.interim += 1,
                _ => {
                    let lines = lines.get(..parsed.count).unwrap_or_default();
                    return self.finish(&parsed, lines, &head, headers).map(Some);
                }
            }
        }
        Ok(None)
    }

    /// Whether to parse now: always after the first bytes, then only after an empty line, so that a head in tiny
    /// pieces is not parsed once for each piece.
    fn may_be_complete(&mut self, input: &[u8]) -> Result<bool, Fault> {
        let scanned = std::mem::replace(&mut self.scanned, input.len());
        if scanned == 0 && input.len() < MAX_HEAD {
            return Ok(!input.is_empty());
        }
        let fresh = input.get(scanned.saturating_sub(3)..).unwrap_or_default();
        let ends = fresh.windows(2).any(|pair| pair == b"\n\n")
            || fresh.windows(3).any(|bytes| bytes == b"\n\r\n");
        if !ends && input.len() >= MAX_HEAD {
            return Err(Fault::HeadTooLarge);
        }
        Ok(scanned == 0 || ends)
    }

    /// Accepts a switch of protocols (RFC 9110, 15.2.2): to the requested one, and with no framing of a body in
    /// the head.
    fn switch(
        &self,
        parsed: &Parsed,
        lines: &[HeaderRange],
        head: &Bytes,
        headers: &mut HeaderMap,
    ) -> Result<Head, Fault> {
        let facts = Facts::of(lines, head, headers)?;
        let switched = facts.upgrade.as_deref();
        let is_asked = (self.asked.as_ref())
            .zip(switched)
            .is_some_and(|(asked, to)| asked.as_str().as_bytes().eq_ignore_ascii_case(to));
        if !is_asked || facts.chunked || parsed.is_1_0 {
            return Err(Fault::SwitchedProtocols);
        }
        headers.remove(CONTENT_LENGTH);
        Ok(Head {
            status: parsed.status,
            payload: Payload::EMPTY,
            reuse: Reuse::Refused,
        })
    }

    fn finish(
        &self,
        parsed: &Parsed,
        lines: &[HeaderRange],
        head: &Bytes,
        headers: &mut HeaderMap,
    ) -> Result<Head, Fault> {
        let facts = Facts::of(lines, head, headers)?;
        let mut reuse = match (parsed.is_1_0, facts.close, facts.keep_alive) {
            // After a refused handshake the upstream may expect either protocol.
            _ if self.asked.is_some() => Reuse::Refused,
            (false, false, _) | (true, false, true) => Reuse::Allowed,
            _ => Reuse::Refused,
        };
        if facts.chunked && parsed.is_1_0 {
            return Err(Fault::TransferEncoding);
        }
        let payload = match (facts.length, facts.chunked) {
            (Some(_), true) => return Err(Fault::TwoFramings),
            _ if parsed.status == StatusCode::NO_CONTENT => {
                // 204 has neither a body nor a length (RFC 9110, 8.6). After one that declares a
                // body, that body may follow, and would be read as the start of the next answer.
                headers.remove(CONTENT_LENGTH);
                if facts.chunked || facts.length.is_some_and(|length| length > 0) {
                    reuse = Reuse::Refused;
                }
                Payload::EMPTY
            }
            _ if self.to_head || parsed.status == StatusCode::NOT_MODIFIED => Payload::EMPTY,
            (Some(length), false) => Payload::Length(length),
            (None, true) => Payload::Chunked(Decoder::new()),
            (None, false) => {
                reuse = Reuse::Refused;
                Payload::Close
            }
        };
        Ok(Head {
            status: parsed.status,
            payload,
            reuse,
        })
    }
}

/// `Trailer` is kept: the server side needs it to know which trailers it may write.
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "keep-alive" | "proxy-connection" | "proxy-authenticate" | "proxy-authorization" | "te"
    )
}

/// The status line, and the extent of the head.
#[derive(Debug)]
struct Parsed {
    status: StatusCode,
    is_1_0: bool,
    length: usize,
    count: usize,
}

/// A header line as ranges in the head's bytes, because the bytes are frozen only afterwards.
#[derive(Debug, Clone, Copy, Default)]
struct HeaderRange {
    name: ByteRange,
    value: ByteRange,
}

/// A range of a head. With `u16` it is small: there are [`MAX_HEADERS`] pairs, and clearing them is most of the
/// cost of a small answer here.
#[derive(Debug, Clone, Copy, Default)]
struct ByteRange {
    start: u16,
    end: u16,
}

impl ByteRange {
    /// The position of a part in the whole of which it is a slice. That of an empty part does not matter.
    fn of(part: &[u8], whole: &[u8]) -> Result<Self, Fault> {
        if part.is_empty() {
            return Ok(Self::default());
        }
        let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
        let small = |at| u16::try_from(at).map_err(|_| Fault::HeadTooLarge);
        Ok(Self {
            start: small(start)?,
            end: small(start + part.len())?,
        })
    }

    fn range(self) -> Range<usize> {
        usize::from(self.start)..usize::from(self.end)
    }
}

fn parse(input: &[u8], ranges: &mut [HeaderRange; MAX_HEADERS]) -> Result<Option<Parsed>, Fault> {
    // The parser would skip empty lines before the head, which are not permitted here.
    if input.first() != Some(&b'H') {
        return Err(Fault::Head);
    }
    let mut lines = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default()
        .parse_response_with_uninit_headers(&mut head, input, &mut lines)
        .map_err(|error| match error {
            httparse::Error::TooManyHeaders => Fault::TooManyHeaders,
            _ => Fault::Head,
        })?;
    let httparse::Status::Complete(length) = parsed else {
        return Ok(None);
    };
    if length > MAX_HEAD {
        return Err(Fault::HeadTooLarge);
    }
    let status = head.code.and_then(|code| StatusCode::from_u16(code).ok());
    for (range, line) in ranges.iter_mut().zip(head.headers.iter()) {
        *range = HeaderRange {
            name: ByteRange::of(line.name.as_bytes(), input)?,
            value: ByteRange::of(line.value, input)?,
        };
    }
    Ok(Some(Parsed {
        status: status.ok_or(Fault::Head)?,
        is_1_0: head.version == Some(0),
        length,
        count: head.headers.len(),
    }))
}

/// The largest head; each interim head counts separately. A [`ByteRange`] can address every byte in it.
pub(super) const MAX_HEAD: usize = 64 * 1024;
pub(super) const MAX_HEADERS: usize = 100;
pub(super) const MAX_INTERIM: u8 = 16;
