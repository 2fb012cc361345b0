//! The body of a request on its way into a stream, as far as the upstream's window goes.
//!
//! At most one piece is held back, so a slow upstream slows the client down. The first few pieces are
//! remembered until an answer begins: a stream that the upstream refused unseen can begin again with
//! them, which is what makes a graceful restart of a gRPC server invisible. Trailers are dropped:
//! they could carry headers around our checks.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::SendStream;
use http::Method;
use http::request::Parts;

use crate::proxy::error::ClientFault;
use crate::proxy::sender::{Framing, Waiting};

/// Sends one body.
#[derive(Debug)]
pub(super) struct Sender<B> {
    /// None when all of it was taken.
    body: Option<B>,
    framing: Framing,
    /// Bytes of the body that its length still promises.
    left: Option<u64>,
    piece: Bytes,
    /// What is sent before more of the body is taken.
    again: VecDeque<Bytes>,
    /// What was taken so far; none once that is too much to keep.
    kept: Option<VecDeque<Bytes>>,
    consumed: bool,
    /// Whether nothing more can or need be sent.
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

    /// Whether the head is all there is to send.
    pub(super) const fn is_empty(&self) -> bool {
        self.framing.is_empty()
    }

    /// Whether a request that the upstream has not looked at can be sent once more.
    pub(super) const fn is_at_hand(&self) -> bool {
        self.kept.is_some()
    }

    /// Whether a request of which nothing is known can be sent once more without the upstream acting
    /// twice.
    pub(super) fn may_start_again(&self, method: &Method) -> bool {
        !self.consumed && (method.is_idempotent() || self.body.is_some())
    }

    /// Begins anew, on another stream.
    pub(super) fn start_again(&mut self) {
        self.piece = Bytes::new();
        self.again = self.kept.clone().unwrap_or_default();
        self.over = self.framing.is_empty();
    }

    /// The answer has begun: there is no way back.
    pub(super) fn forget(&mut self) {
        self.kept = None;
    }

    /// Sends as much as goes; says what it waits for and how many bytes went. A stream that takes no
    /// more is no error here: the upstream may have answered already.
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
                        // A stream that is closed by now needs no end.
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

/// What came of asking for the next piece.
enum Fill {
    Piece,
    Nothing,
    End,
}

/// How much is remembered of a body.
const MAX_KEPT: usize = 16 * 1024;
const MAX_KEPT_PIECES: usize = 16;
