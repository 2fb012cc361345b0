//! The head of an answer, read strictly: one plain HTTP/1.1 (or 1.0) head with one framing, or a
//! [`Fault`]. Interim answers are skipped. What goes to the client is cleaned here: hop-by-hop
//! headers and what `Connection` names are left out, framing is left to the server.

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
use crate::proxy::reply::facts::Facts;
use crate::proxy::upgrade::Protocol;

/// What a head says; its headers are in the map that was given to [`Reader::read`].
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) payload: Payload,
    pub(super) reuse: Reuse,
}

/// Whether another request may use the connection after this answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reuse {
    /// It may.
    Allowed,
    /// The connection is closed.
    Refused,
}

/// Reads heads until one is final.
#[derive(Debug)]
pub(super) struct Reader {
    to_head: bool,
    /// The protocol that was asked for; a 101 may only switch to this one.
    asked: Option<Protocol>,
    interim: u8,
    scanned: usize,
}

impl Reader {
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

    /// Takes a complete head off the front of `input`; none when more bytes are needed. `headers`
    /// must be empty.
    pub(super) fn read(
        &mut self,
        input: &mut BytesMut,
        headers: &mut HeaderMap,
    ) -> Result<Option<Head>, Fault> {
        let mut lines = [Line::default(); MAX_HEADERS];
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

    /// Whether parsing is worth its while: at once for the first bytes, then only when an empty
    /// line has come, so that a head in tiny pieces is not parsed once a piece.
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

    /// The upstream switches protocols (RFC 9110, 15.2.2): to the one that was asked for, and with
    /// nothing in the head that would frame a body.
    fn switch(
        &self,
        parsed: &Parsed,
        lines: &[Line],
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
        lines: &[Line],
        head: &Bytes,
        headers: &mut HeaderMap,
    ) -> Result<Head, Fault> {
        let facts = Facts::of(lines, head, headers)?;
        let mut reuse = match (parsed.is_1_0, facts.close, facts.keep_alive) {
            // After a handshake nobody knows which protocol the upstream believes in.
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
                // 204 has no body and says nothing of its length (RFC 9110, 8.6). One that speaks
                // of a body may send it all the same, and the next answer would begin with it.
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

/// `Trailer` is not here: hyper needs it to know which trailers it may write.
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "keep-alive" | "proxy-connection" | "proxy-authenticate" | "proxy-authorization" | "te"
    )
}

/// What the first line says, and how much there is.
#[derive(Debug)]
struct Parsed {
    status: StatusCode,
    is_1_0: bool,
    length: usize,
    count: usize,
}

/// A header line as places in the head's bytes, because the bytes are frozen only afterwards.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    name: Place,
    value: Place,
}

/// Half the size of a range of a head, and there are [`MAX_HEADERS`] pairs of them: clearing them
/// is most of what a small answer costs here.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    start: u16,
    end: u16,
}

impl Place {
    /// Where a part lies in the whole it was cut from. An empty part may lie anywhere.
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

fn parse(input: &[u8], places: &mut [Line; MAX_HEADERS]) -> Result<Option<Parsed>, Fault> {
    // The parser would skip empty lines before the head; nothing belongs there.
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
    for (place, line) in places.iter_mut().zip(head.headers.iter()) {
        *place = Line {
            name: Place::of(line.name.as_bytes(), input)?,
            value: Place::of(line.value, input)?,
        };
    }
    Ok(Some(Parsed {
        status: status.ok_or(Fault::Head)?,
        is_1_0: head.version == Some(0),
        length,
        count: head.headers.len(),
    }))
}

/// The largest head, interim heads counted one by one. A [`Place`] can speak of every byte in it.
pub(super) const MAX_HEAD: usize = 64 * 1024;
pub(super) const MAX_HEADERS: usize = 100;
pub(super) const MAX_INTERIM: u8 = 16;
