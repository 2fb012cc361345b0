//! The head of an answer, read strictly: one plain HTTP/1.1 (or 1.0) head with one framing, or a
//! [`Fault`]. Interim answers are skipped. What goes to the client is cleaned here: hop-by-hop
//! headers and what `Connection` names are left out, framing is left to the server.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use httparse::ParserConfig;

use crate::proxy::chunked::Decoder;
use crate::proxy::error::Fault;
use crate::proxy::hop;
use crate::proxy::payload::Payload;
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

/// What the headers say about the message and the connection.
#[derive(Debug, Default)]
struct Facts {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    /// What `Connection` names besides; nearly always empty.
    named: Vec<HeaderName>,
    /// What `Upgrade` says.
    upgrade: Option<Bytes>,
}

impl Facts {
    /// From all lines; the ones that the client may see go into the map.
    fn of(lines: &[Line], head: &Bytes, headers: &mut HeaderMap) -> Result<Self, Fault> {
        let mut facts = Self::default();
        for line in lines {
            facts.append(*line, head, headers)?;
        }
        for name in &facts.named {
            headers.remove(name);
        }
        Ok(facts)
    }

    /// Takes note of one line, and puts it into the map if the client may see it. Values share the
    /// memory of the head.
    fn append(&mut self, line: Line, head: &Bytes, headers: &mut HeaderMap) -> Result<(), Fault> {
        let name = head.get(line.name.range()).ok_or(Fault::Head)?;
        let name = HeaderName::from_bytes(name).map_err(|_| Fault::Head)?;
        let value = head.slice(line.value.range());
        if name == CONNECTION {
            self.connection(&value);
        } else if name == TRANSFER_ENCODING {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::TransferEncoding);
            }
            self.chunked = true;
        } else if name == UPGRADE {
            self.upgrade = Some(value);
        } else if !is_hop_by_hop(&name) {
            if name == CONTENT_LENGTH {
                if self.length.is_some() {
                    return Err(Fault::ContentLength);
                }
                self.length = Some(number(&value).ok_or(Fault::ContentLength)?);
            }
            let value = HeaderValue::from_maybe_shared(value).map_err(|_| Fault::Head)?;
            headers.append(name, value);
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        for token in hop::tokens(value) {
            self.close |= token.eq_ignore_ascii_case(b"close");
            self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
            // The length is framing, which nobody may take away from under us.
            if !hop::is_ordinary(token)
                && !token.eq_ignore_ascii_case(b"content-length")
                && let Ok(name) = HeaderName::from_bytes(token)
            {
                self.named.push(name);
            }
        }
    }
}

/// `Trailer` is not here: hyper needs it to know which trailers it may write.
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "keep-alive" | "proxy-connection" | "proxy-authenticate" | "proxy-authorization" | "te"
    )
}

/// Digits and nothing else, as a number of bytes.
fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &Method, input: &[u8]) -> Result<Option<(Head, HeaderMap, usize)>, Fault> {
        let mut headers = HeaderMap::new();
        let mut input = BytesMut::from(input);
        let head = Reader::new(method).read(&mut input, &mut headers)?;
        Ok(head.map(|head| (head, headers, input.len())))
    }

    fn ok(input: &str) -> (Head, HeaderMap, usize) {
        read(&Method::GET, input.as_bytes()).unwrap().unwrap()
    }

    fn fault(input: &str) -> Fault {
        read(&Method::GET, input.as_bytes()).unwrap_err()
    }

    #[test]
    fn framing_is_what_the_head_says() {
        let (head, _, left) = ok("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        assert!(matches!(head.payload, Payload::Length(5)));
        assert_eq!((head.reuse, left), (Reuse::Allowed, 5));
        let (head, _, _) = ok("HTTP/1.1 200 OK\r\ntransfer-encoding: CHUNKED\r\n\r\n");
        assert!(matches!(head.payload, Payload::Chunked(_)));
        assert_eq!(head.reuse, Reuse::Allowed);
        let (head, _, _) = ok("HTTP/1.1 200 OK\r\n\r\n");
        assert!(matches!(head.payload, Payload::Close));
        assert_eq!(head.reuse, Reuse::Refused);
    }

    #[test]
    fn ambiguous_or_malformed_heads_are_refused() {
        use Fault::{
            ContentLength as Length, Head, SwitchedProtocols, TransferEncoding as Coding,
            TwoFramings,
        };
        for (lines, expected) in [
            (
                "1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                TwoFramings,
            ),
            (
                "1.1 204 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                TwoFramings,
            ),
            (
                "1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
                Length,
            ),
            (
                "1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
                Length,
            ),
            ("1.1 200 OK\r\nContent-Length: 5, 5\r\n", Length),
            ("1.1 200 OK\r\nContent-Length: +5\r\n", Length),
            ("1.1 200 OK\r\nContent-Length: -1\r\n", Length),
            ("1.1 200 OK\r\nContent-Length: 0x5\r\n", Length),
            ("1.1 200 OK\r\nContent-Length:\r\n", Length),
            (
                "1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n",
                Length,
            ),
            ("1.1 304 OK\r\nContent-Length: x\r\n", Length),
            ("1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n", Coding),
            (
                "1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n",
                Coding,
            ),
            ("1.1 200 OK\r\nTransfer-Encoding: identity\r\n", Coding),
            ("1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n", Coding),
            ("1.1 200 OK\r\nTransfer-Encoding:\r\n", Coding),
            (
                "1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                Coding,
            ),
            ("1.0 200 OK\r\nTransfer-Encoding: chunked\r\n", Coding),
            (
                "1.1 101 Switching\r\nUpgrade: websocket\r\n",
                SwitchedProtocols,
            ),
            ("1.1 200 OK\r\nA: b\r\n folded\r\n", Head),
            ("1.1 200 OK\r\nA : b\r\n", Head),
            ("1.1 200 OK\r\n: b\r\n", Head),
            ("1.1 200 OK\r\nno colon\r\n", Head),
            ("1.1 200 OK\r\nA: b\0\r\n", Head),
            ("1.1 200 OK\r\nA: b\rc\r\n", Head),
            ("1.1 099 OK\r\n", Head),
            ("1.1 20 OK\r\n", Head),
            ("1.1 2000 OK\r\n", Head),
            ("2.0 200 OK\r\n", Head),
            ("0.9 200 OK\r\n", Head),
        ] {
            assert_eq!(fault(&format!("HTTP/{lines}\r\n")), expected, "{lines:?}");
        }
        for input in [
            "<html>",
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
            "HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(fault(input), Head, "{input:?}");
        }
    }

    #[test]
    fn size_and_number_of_headers_are_bounded() {
        let many = format!(
            "HTTP/1.1 200 OK\r\n{}\r\n",
            "a: b\r\n".repeat(MAX_HEADERS + 1)
        );
        assert_eq!(fault(&many), Fault::TooManyHeaders);
        let full = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS));
        assert_eq!(ok(&full).1.len(), MAX_HEADERS);
        let endless = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(MAX_HEAD));
        assert_eq!(fault(&endless), Fault::HeadTooLarge);
        assert_eq!(fault(&format!("{endless}\r\n\r\n")), Fault::HeadTooLarge);
    }

    #[test]
    fn a_head_in_single_bytes_is_the_same_head() {
        let bytes =
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\nhi";
        let mut reader = Reader::new(&Method::GET);
        let (mut input, mut headers) = (BytesMut::new(), HeaderMap::new());
        for (at, byte) in bytes.iter().enumerate() {
            input.extend_from_slice(&[*byte]);
            if let Some(head) = reader.read(&mut input, &mut headers).unwrap() {
                assert_eq!(at, bytes.len() - 3);
                assert!(matches!(head.payload, Payload::Length(2)));
                assert_eq!(headers["a"], "b");
                return;
            }
        }
        panic!("no head was found");
    }

    #[test]
    fn sixteen_interim_answers_are_skipped_and_not_one_more() {
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        let last = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let (head, headers, _) = ok(&(interim.repeat(16) + last));
        assert_eq!(head.status, StatusCode::OK);
        assert!(!headers.contains_key("link"));
        assert_eq!(fault(&(interim.repeat(17) + last)), Fault::TooManyInterim);
    }

    #[test]
    fn answers_without_a_body_have_none_and_keep_their_length() {
        let input = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
        let (head, headers, _) = read(&Method::HEAD, input).unwrap().unwrap();
        assert!(head.payload.is_done());
        assert_eq!(headers[CONTENT_LENGTH], "1000");
        assert_eq!(head.reuse, Reuse::Allowed);
        let (head, headers, _) = ok("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n");
        assert!(head.payload.is_done());
        assert_eq!(headers[CONTENT_LENGTH], "7");
        let (head, _, _) = ok("HTTP/1.1 204 No Content\r\n\r\n");
        assert!(head.payload.is_done());
        assert_eq!(head.reuse, Reuse::Allowed);
    }

    #[test]
    fn a_204_that_speaks_of_a_body_is_the_last_on_its_connection() {
        for line in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
            let (head, headers, _) = ok(&format!("HTTP/1.1 204 No Content\r\n{line}\r\n\r\n"));
            assert!(head.payload.is_done());
            assert_eq!(head.reuse, Reuse::Refused, "{line}");
            assert!(!headers.contains_key(CONTENT_LENGTH));
        }
    }

    #[test]
    fn connections_are_kept_as_the_version_and_the_header_say() {
        for (version, line, reuse) in [
            ("1.1", "A: b", Reuse::Allowed),
            ("1.1", "Connection: close", Reuse::Refused),
            ("1.1", "Connection: x, CLOSE", Reuse::Refused),
            (
                "1.1",
                "Connection: keep-alive\r\nConnection: close",
                Reuse::Refused,
            ),
            ("1.0", "A: b", Reuse::Refused),
            ("1.0", "Connection: Keep-Alive", Reuse::Allowed),
        ] {
            let head = format!("HTTP/{version} 200 OK\r\n{line}\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(ok(&head).0.reuse, reuse, "{version} {line}");
        }
    }

    #[test]
    fn hop_by_hop_headers_and_what_connection_names_stay_here() {
        let (head, headers, _) = ok(
            "HTTP/1.1 200 OK\r\nConnection: X-Hop, content-length\r\nX-Hop: 1\r\nKeep-Alive: t=5\r\n\
             Proxy-Connection: a\r\nProxy-Authenticate: b\r\nTE: c\r\nUpgrade: h2c\r\n\
             Trailer: X-Sum\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-User-Id: 7\r\n\
             Content-Length: 3\r\nEmpty:\r\n\r\n",
        );
        assert!(matches!(head.payload, Payload::Length(3)));
        let mut names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "content-length",
                "empty",
                "set-cookie",
                "set-cookie",
                "trailer",
                "x-user-id"
            ]
        );
    }
}
