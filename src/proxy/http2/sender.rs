//! Sends the body of a request on an HTTP/2 stream, within the upstream's window.
//!
//! At most one piece is buffered, so a slow upstream slows the client down. The first few pieces are kept until
//! an answer begins: if the upstream refuses the stream without processing it, the request is sent again with
//! them, so clients do not notice a graceful restart of a gRPC server. Trailers are dropped: they could bypass
//! the checks of headers.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;
use http::Method;
use http::request::Parts;

use crate::proxy::error::ClientFault;
use crate::proxy::semaphore::SemaphorePermit;
use crate::proxy::sender::Framing;
use crate::proxy::timeouts::Waiting;

/// A request that is to be sent, and its permit for a stream.
#[derive(Debug)]
pub(super) struct Pending<B> {
    pub(super) sender: Sender<B>,
    pub(super) permit: SemaphorePermit,
}

/// Sends one body.
#[derive(Debug)]
pub(super) struct Sender<B> {
    /// `None` when all of it was taken.
    body: Option<B>,
    framing: Framing,
    /// The remaining bytes of a body of known length.
    left: Option<u64>,
    piece: Bytes,
    /// Pieces to send again before more of the body is taken.
    again: VecDeque<Bytes>,
    /// The pieces taken so far; `None` once they are too large to keep.
    kept: Option<VecDeque<Bytes>>,
    consumed: bool,
    /// Whether everything was sent, or the stream takes no more.
    over: bool,
}

impl<B> Sender<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) fn new(body: B, parts: &Parts) -> Self {
        let framing = Framing::of(&body, parts);
        Self {
            left: framing.length(),
            body: (!framing.is_empty()).then_some(body),
            framing,
            piece: Bytes::new(),
            again: VecDeque::new(),
            kept: Some(VecDeque::new()),
            consumed: false,
            over: framing.is_empty(),
        }
    }

    pub(super) const fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether the request has no body.
    pub(super) const fn is_empty(&self) -> bool {
        self.framing.is_empty()
    }

    /// Whether a request that the upstream did not process can be sent once more.
    pub(super) const fn is_at_hand(&self) -> bool {
        self.kept.is_some()
    }

    /// Whether the request can be sent once more without the risk that the upstream acts twice, if it is unknown
    /// whether the upstream processed it.
    pub(super) fn may_start_again(&self, method: &Method) -> bool {
        !self.consumed && (method.is_idempotent() || self.body.is_some())
    }

    /// Begins again on another stream.
    pub(super) fn start_again(&mut self) {
        self.piece = Bytes::new();
        self.again = self.kept.clone().unwrap_or_default();
        self.over = self.framing.is_empty();
    }

    /// Drops the kept pieces: an answer has begun, so the request is not sent again.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }

    /// Sends as much as possible. Returns the party it waits for and the number of sent bytes. It is not an
    /// error if the stream accepts no more: the upstream may have answered already.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut SendStream<Bytes>,
    ) -> Result<(Waiting, usize), ClientFault> {
        let mut moved = 0;
        while !self.over {
            if self.piece.is_empty() {
                match self.fill(cx)? {
                    Fill::Piece => {}
                    Fill::Nothing => return Ok((Waiting::Client, moved)),
                    Fill::End => {
                        // An error means that the stream is closed already.
                        stream.send_data(Bytes::new(), true).ok();
                        self.over = true;
                    }
                }
                continue;
            }
            stream.reserve_capacity(self.piece.len());
            let room = match stream.capacity() {
                0 => match stream.poll_capacity(cx) {
                    Poll::Pending => return Ok((Waiting::Upstream, moved)),
                    Poll::Ready(Some(Ok(room))) => room,
                    Poll::Ready(Some(Err(_)) | None) => {
                        self.over = true;
                        break;
                    }
                },
                room => room,
            };
            let part = self.piece.split_to(room.min(self.piece.len()));
            moved += part.len();
            let last = self.piece.is_empty() && self.again.is_empty() && self.body.is_none();
            self.over = stream.send_data(part, last).is_err() || last;
        }
        Ok((Waiting::Done, moved))
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.piece.len()
    }

    /// Takes the next piece.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<Fill, ClientFault> {
        if let Some(piece) = self.again.pop_front() {
            self.piece = piece;
            return Ok(Fill::Piece);
        }
        while let Some(body) = &mut self.body {
            let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
                return Ok(Fill::Nothing);
            };
            self.consumed = true;
            let over = frame.is_none() || body.is_end_stream();
            let frame = frame.transpose();
            let frame = frame.map_err(|error| ClientFault::Unreadable(error.into()))?;
            let piece = frame.and_then(|frame| frame.into_data().ok());
            let piece = piece.unwrap_or_default();
            if let Some(left) = &mut self.left {
                let taken = piece.len() as u64;
                *left = left.checked_sub(taken).ok_or(ClientFault::TooLong)?;
            }
            if over || self.left == Some(0) {
                self.body = None;
                if self.left.is_some_and(|left| left > 0) {
                    return Err(ClientFault::TooShort);
                }
            }
            if !piece.is_empty() {
                self.keep(&piece);
                self.piece = piece;
                return Ok(Fill::Piece);
            }
        }
        Ok(Fill::End)
    }

    fn keep(&mut self, piece: &Bytes) {
        if let Some(kept) = &mut self.kept {
            kept.push_back(piece.clone());
            let bytes: usize = kept.iter().map(Bytes::len).sum();
            if bytes > MAX_KEPT || kept.len() > MAX_KEPT_PIECES {
                self.kept = None;
            }
        }
    }
}

/// The result of taking the next piece.
enum Fill {
    Piece,
    Nothing,
    End,
}

/// How much of a body is kept.
const MAX_KEPT: usize = 16 * 1024;
const MAX_KEPT_PIECES: usize = 16;
