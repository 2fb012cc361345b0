//! Sends a request to the upstream over HTTP/1.1: its head, then its body with a new framing.
//!
//! The body has a `Content-Length` when its size is known and is chunked otherwise; trailers are
//! dropped. At most one piece of the body is buffered, so a slow upstream slows the client down.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::Method;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
use tokio::io::AsyncWrite;

use crate::proxy::connection::{Connection, Replay};
use crate::proxy::error::{ClientFault, UpstreamError};
use crate::proxy::timeouts::Waiting;

/// How the body of a request is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// No body and no framing header.
    None,
    /// A body of this length.
    Length(u64),
    /// In chunks.
    Chunked,
}

impl Framing {
    /// The framing for the body of this request.
    pub(super) fn of<B: http_body::Body>(body: &B, parts: &Parts) -> Self {
        if body.is_end_stream() {
            return empty(parts);
        }
        match body.size_hint().exact() {
            Some(0) => empty(parts),
            Some(length) => Self::Length(length),
            None => Self::Chunked,
        }
    }

    /// The length that the framing declares.
    pub(super) const fn length(self) -> Option<u64> {
        match self {
            Self::Length(length) => Some(length),
            Self::None => Some(0),
            Self::Chunked => None,
        }
    }

    /// Whether the framing declares an empty body.
    pub(super) const fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}

/// Sends one request.
#[derive(Debug)]
pub(super) struct Sender<B> {
    /// `None` when all of it was taken.
    body: Option<B>,
    framing: Framing,
    /// The remaining bytes of a body of known length.
    left: u64,
    /// How much of the connection's `output` was sent.
    sent: usize,
    /// The piece that is being sent, and the chunk framing after it.
    piece: Bytes,
    tail: &'static [u8],
    /// Whether a byte of the request was handed to the kernel.
    started: bool,
    /// Whether any part of the body was taken.
    consumed: bool,
    /// The error after which the upstream takes no more.
    broken: Option<io::Error>,
}

impl<B> Sender<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) fn new(body: B, parts: &Parts) -> Self {
        let framing = Framing::of(&body, parts);
        Self {
            body: (!framing.is_empty()).then_some(body),
            framing,
            left: framing.length().unwrap_or(0),
            sent: 0,
            piece: Bytes::new(),
            tail: b"",
            started: false,
            consumed: false,
            broken: None,
        }
    }

    pub(super) const fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether this request could be sent again if its connection turned out to be dead.
    pub(super) fn replay(&self, method: &Method) -> Replay {
        if self.body.is_none() && method.is_idempotent() {
            Replay::Possible
        } else {
            Replay::Impossible
        }
    }

    /// Whether sending it again cannot make the upstream act twice: nothing of the body was taken,
    /// and the method is idempotent or what was sent cannot have been a complete request.
    pub(super) fn may_start_again(&self, method: &Method) -> bool {
        let incomplete = !self.started || self.body.is_some();
        !self.consumed && (method.is_idempotent() || incomplete)
    }

    /// Begins again on another connection that has the same head in its `output`.
    pub(super) fn start_again(&mut self) {
        self.sent = 0;
        self.started = false;
        self.broken = None;
    }

    /// Whether the whole request was handed to the kernel.
    pub(super) const fn is_done(&self) -> bool {
        self.body.is_none()
            && self.piece.is_empty()
            && self.tail.is_empty()
            && self.broken.is_none()
            && self.sent == usize::MAX
    }

    /// The error after which the upstream took no more, if there was one.
    pub(super) fn take_broken(&mut self) -> Option<io::Error> {
        self.broken.take()
    }

    /// Sends as much as possible. Returns the party it waits for and the number of sent bytes.
    ///
    /// It is not an error if the upstream accepts no more: it may have answered already. Only a fault of the
    /// client's body is an error.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
    ) -> Result<(Waiting, usize), UpstreamError> {
        let mut moved = 0;
        let mut turns = 0;
        while !self.is_done() && self.broken.is_none() {
            let mut waiting = Waiting::Done;
            if self.piece.is_empty() && self.tail.is_empty() {
                waiting = self.fill(cx, &mut connection.output)?;
            }
            if self.is_flushed(&connection.output) {
                if waiting == Waiting::Client {
                    return Ok((Waiting::Client, moved));
                }
                self.sent = usize::MAX;
                continue;
            }
            match self.poll_write(cx, connection) {
                Poll::Ready(Ok(written)) => {
                    moved += written;
                    turns += 1;
                    if turns == BURST {
                        cx.waker().wake_by_ref();
                        return Ok((Waiting::Upstream, moved));
                    }
                }
                Poll::Ready(Err(error)) => self.broken = Some(error),
                Poll::Pending => return Ok((Waiting::Upstream, moved)),
            }
        }
        Ok((Waiting::Done, moved))
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.piece.len()
    }

    fn is_flushed(&self, output: &[u8]) -> bool {
        self.sent == output.len() && self.piece.is_empty() && self.tail.is_empty()
    }

    /// Takes the next piece of the body if it was received. Returns whether the client is waited for.
    fn fill(&mut self, cx: &mut Context<'_>, output: &mut Vec<u8>) -> Result<Waiting, ClientFault> {
        while let Some(body) = &mut self.body {
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
                return Ok(Waiting::Client);
            };
            self.consumed = true;
            if self.sent == output.len() {
                output.clear();
                self.sent = 0;
            }
            match frame {
                None => {
                    self.body = None;
                    self.end(output)?;
                }
                Some(Err(error)) => return Err(ClientFault::Unreadable(error.into())),
                Some(Ok(frame)) => {
                    let over = body.is_end_stream();
                    // Trailers are never sent: they could bypass the checks of headers.
                    let piece = frame.into_data().unwrap_or_default();
                    self.accept(piece, output)?;
                    if over || (self.framing != Framing::Chunked && self.left == 0) {
                        self.body = None;
                        self.end(output)?;
                    }
                    if self.piece.is_empty() && self.tail.is_empty() {
                        continue;
                    }
                }
            }
            break;
        }
        Ok(Waiting::Done)
    }

    /// Frames one piece. An empty one is skipped: as a chunk it would be the end of the body.
    fn accept(&mut self, piece: Bytes, output: &mut Vec<u8>) -> Result<(), ClientFault> {
        if piece.is_empty() {
            return Ok(());
        }
        if self.framing == Framing::Chunked {
            write_size(output, piece.len());
            self.tail = b"\r\n";
        } else {
            let length = piece.len() as u64;
            self.left = self.left.checked_sub(length).ok_or(ClientFault::TooLong)?;
        }
        self.piece = piece;
        Ok(())
    }

    fn end(&mut self, output: &mut Vec<u8>) -> Result<(), ClientFault> {
        if self.framing != Framing::Chunked {
            return if self.left == 0 {
                Ok(())
            } else {
                Err(ClientFault::TooShort)
            };
        }
        if self.piece.is_empty() {
            output.extend_from_slice(b"0\r\n\r\n");
        } else {
            self.tail = b"\r\n0\r\n\r\n";
        }
        Ok(())
    }

    /// Writes the framed bytes in one call. There must be at least one.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection,
    ) -> Poll<io::Result<usize>> {
        let head = connection.output.get(self.sent..).unwrap_or_default();
        let stream = Pin::new(&mut connection.stream);
        let written = if self.piece.is_empty() && self.tail.is_empty() {
            ready!(stream.poll_write(cx, head))?
        } else {
            let parts = [head, &self.piece, self.tail].map(IoSlice::new);
            ready!(stream.poll_write_vectored(cx, &parts))?
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.started = true;
        let of_head = written.min(head.len());
        self.sent += of_head;
        let of_piece = (written - of_head).min(self.piece.len());
        self.piece.advance(of_piece);
        self.tail = self
            .tail
            .get(written - of_head - of_piece..)
            .unwrap_or_default();
        Poll::Ready(Ok(written))
    }
}

/// A request without a body declares a length of zero if the client did, or if the upstream expects a body for
/// its method (RFC 9110, 8.6).
fn empty(parts: &Parts) -> Framing {
    let expected = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH);
    if expected || parts.headers.contains_key(CONTENT_LENGTH) {
        Framing::Length(0)
    } else {
        Framing::None
    }
}

/// The size line of a chunk.
fn write_size(output: &mut Vec<u8>, size: usize) {
    use std::io::Write;
    // Writing into a Vec cannot fail.
    write!(output, "{size:x}\r\n").ok();
}

/// The number of consecutive writes before the answer is polled: a fast upload must not delay an early
/// answer.
const BURST: u32 = 16;
