//! How is an answer framed, and may its connection be reused, according to its header lines?
//!
//! Two things always hold: a repeated framing header is refused, and a header named by `Connection` does not
//! reach the client.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::proxy::connection_names;
use crate::proxy::error::Fault;
use crate::proxy::response_head::{HeaderRange, is_hop_by_hop};

/// The headers about the message and the connection.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// `Content-Length`.
    pub(super) length: Option<u64>,
    /// Whether `Transfer-Encoding` is `chunked`.
    pub(super) chunked: bool,
    /// The options `close` and `keep-alive` of `Connection`.
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    /// The headers named by `Connection`; nearly always empty.
    named: Vec<HeaderName>,
    /// The value of `Upgrade`.
    pub(super) upgrade: Option<Bytes>,
}

impl Facts {
    /// Reads all lines. Those that the client may receive are added to the map.
    pub(super) fn of(
        lines: &[HeaderRange],
        head: &Bytes,
        headers: &mut HeaderMap,
    ) -> Result<Self, Fault> {
        let mut facts = Self::default();
        for line in lines {
            facts.append(*line, head, headers)?;
        }
        for name in &facts.named {
            headers.remove(name);
        }
        Ok(facts)
    }

    /// Reads one line, and adds it to the map if the client may receive it. Values share the memory of the
    /// head.
    fn append(
        &mut self,
        line: HeaderRange,
        head: &Bytes,
        headers: &mut HeaderMap,
    ) -> Result<(), Fault> {
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
        for token in connection_names::tokens(value) {
            self.close |= token.eq_ignore_ascii_case(b"close");
            self.keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
            // `Connection` must not remove the length, which is framing.
            if !connection_names::is_ordinary(token)
                && !token.eq_ignore_ascii_case(b"content-length")
                && let Ok(name) = HeaderName::from_bytes(token)
            {
                self.named.push(name);
            }
        }
    }
}

/// A number of bytes that consists of digits only.
fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}
