//! What the lines of an answer's head say about its framing and its connection.
//!
//! What always holds: a line that says one of these things twice is refused, and what `Connection`
//! names does not reach the client.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::proxy::error::Fault;
use crate::proxy::hop;
use crate::proxy::reply::{Line, is_hop_by_hop};

/// What the headers say about the message and the connection.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// `Content-Length`.
    pub(super) length: Option<u64>,
    /// Whether `Transfer-Encoding` says so, and nothing else.
    pub(super) chunked: bool,
    /// What `Connection` says of the connection.
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    /// What `Connection` names besides; nearly always empty.
    named: Vec<HeaderName>,
    /// What `Upgrade` says.
    pub(super) upgrade: Option<Bytes>,
}

impl Facts {
    /// From all lines; the ones that the client may see go into the map.
    pub(super) fn of(lines: &[Line], head: &Bytes, headers: &mut HeaderMap) -> Result<Self, Fault> {
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
