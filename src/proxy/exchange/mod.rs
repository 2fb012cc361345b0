//! One request and its answer on one HTTP/1.1 connection. A single state machine sends and receives at the same
//! time, so that an upstream may answer before it has read the whole request.
//!
//! ```text
//! poll_head:   send ─┬─→ read ──head──→ poll_frame
//!               ↑    │                    send + read ──body──→ finish
//!               └────┘                                            │
//!                     connection back to the pool, or closed ←────┘
//! ```
//!
//! Every wait has a limit (see `timeouts`), unless the settings give the upstream's head none.

mod prefetch;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body::Frame;
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use crate::proxy::error::{Fault, UpstreamError};
use crate::proxy::payload::{Payload, Step};
use crate::proxy::pool::Lease;
use crate::proxy::prefetch::Prefetched;
use crate::proxy::protocol::Protocol;
use crate::proxy::response_head::{HeadReader, Reuse};
use crate::proxy::sender::Sender;
use crate::proxy::timeouts::{Waiting, expired};

/// The state of one exchange.
#[derive(Debug)]
pub(super) struct Exchange<B> {
    /// `None` once the answer is complete.
    lease: Option<Lease>,
    sender: Sender<B>,
    reader: HeadReader,
    method: Method,
    payload: Payload,
    reuse: Reuse,
    /// Whether a byte of an answer was received.
    answered: bool,
    /// When the silence began; `None` until the exchange waits for the first time. Bytes of an incomplete head do
    /// not end the silence: the limit is for the whole head.
    silent_since: Option<Instant>,
    /// How many bytes are read at once.
    portion: usize,
    /// The start of the body, read before its head was returned.
    prefetched: Prefetched,
}

impl<B> Exchange<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// For a lease whose connection has the head of the request in its `output`.
    pub(super) fn new(lease: Lease, sender: Sender<B>, method: Method) -> Self {
        Self {
            lease: Some(lease),
            sender,
            reader: HeadReader::new(&method),
            method,
            payload: Payload::Close,
            reuse: Reuse::Refused,
            answered: false,
            silent_since: None,
            portion: PORTION,
            prefetched: Prefetched::default(),
        }
    }

    /// The same, for a request to switch to this protocol.
    pub(super) fn asking_for(self, protocol: Protocol) -> Self {
        Self {
            reader: self.reader.asking_for(protocol),
            ..self
        }
    }

    /// The connection, if it has switched protocols. Bytes that came after the answer's head are in its `input`.
    pub(super) fn take_switched(&mut self, status: StatusCode) -> Option<Lease> {
        let has_switched = status == StatusCode::SWITCHING_PROTOCOLS;
        has_switched.then(|| self.lease.take()).flatten()
    }

    /// Ready with the status when the head of the answer is read into `headers`.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        headers: &mut HeaderMap,
    ) -> Poll<Result<StatusCode, UpstreamError>> {
        loop {
            let waiting = self.poll_send(cx)?;
            let lease = self.lease.as_mut().ok_or_else(closed)?;
            if self.answered
                && let Some(head) = self.reader.read(&mut lease.connection.input, headers)?
            {
                self.payload = head.payload;
                self.reuse = head.reuse;
                self.silent_since = None;
                // After a switch of protocols the bytes are not an HTTP body.
                if head.status != StatusCode::SWITCHING_PROTOCOLS {
                    self.take_whole()?;
                }
                return Poll::Ready(Ok(head.status));
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.died(None))),
                Poll::Ready(Ok(_)) => self.answered = true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.died(Some(error)))),
                Poll::Pending => {
                    let lease = self.lease.as_ref().ok_or_else(closed)?;
                    let limit = lease.upstream().timeouts.head(waiting);
                    return self.poll_silence(cx, limit, waiting).map(Err);
                }
            }
        }
    }

    /// The next piece of the answer's body; `None` at its end.
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        if let Some(frame) = self.prefetched.next() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let polled = self.poll_step(cx);
        if let Poll::Ready(Some(Err(_))) = polled {
            // Nothing can follow an error, and the connection cannot be reused.
            self.lease = None;
        }
        polled
    }

    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        loop {
            if self.lease.is_none() {
                return Poll::Ready(None);
            }
            let waiting = self.poll_send(cx)?;
            let Some(lease) = &mut self.lease else {
                return Poll::Ready(None);
            };
            match self.payload.decode(&mut lease.connection.input)? {
                Step::Data(data) => {
                    if self.payload.is_done() {
                        self.finish();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Step::Trailers(trailers) => {
                    let trailers = lease.upstream().head.strip.clean(trailers);
                    self.finish();
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Step::End => {
                    self.finish();
                    return Poll::Ready(None);
                }
                Step::More => {}
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) => {
                    self.payload.disconnect()?;
                    self.reuse = Reuse::Refused;
                }
                Poll::Ready(Ok(_)) => self.silent_since = None,
                Poll::Ready(Err(_)) => return Poll::Ready(Some(Err(Fault::CutShort.into()))),
                Poll::Pending => {
                    let lease = self.lease.as_ref().ok_or_else(closed)?;
                    let has_length = matches!(self.payload, Payload::Length(_));
                    let limit = lease.upstream().timeouts.body(waiting, has_length);
                    return self
                        .poll_silence(cx, limit, waiting)
                        .map(|error| Some(Err(error)));
                }
            }
        }
    }

    /// Whether the caller has taken the whole answer.
    pub(super) fn is_over(&self) -> bool {
        self.is_whole() && self.prefetched.is_empty()
    }

    /// Whether the whole answer was received.
    pub(super) const fn is_whole(&self) -> bool {
        self.lease.is_none()
    }

    /// The number of bytes that the caller has not taken yet, if it is known.
    pub(super) fn exact(&self) -> Option<u64> {
        if self.is_over() {
            return Some(0);
        }
        match self.payload {
            Payload::Length(left) => Some(left + self.prefetched.bytes()),
            Payload::Chunked(_) | Payload::Close => None,
        }
    }

    /// Takes a body of known length that was received completely with its head. Its connection is then free for
    /// the next request before the client has read the body.
    fn take_whole(&mut self) -> Result<(), Fault> {
        if let (Payload::Length(left), Some(lease)) = (&self.payload, &mut self.lease)
            && lease.connection.input.len() as u64 >= *left
        {
            if let Step::Data(data) = self.payload.decode(&mut lease.connection.input)? {
                self.prefetched.push(data);
            }
            self.finish();
        }
        Ok(())
    }

    /// Whether the request may be sent once more on a fresh connection: this one was reused, it died before an
    /// answer began, and the upstream cannot act twice.
    pub(super) fn may_retry(&self, error: &UpstreamError) -> bool {
        matches!(error, UpstreamError::Unreachable(_))
            && self.lease.as_ref().is_some_and(|lease| lease.reused)
            && !self.answered
            && self.sender.may_start_again(&self.method)
    }

    /// Begins again on a fresh connection. A failure of that one is never retried.
    pub(super) async fn reconnect(&mut self) -> Result<(), UpstreamError> {
        self.sender.start_again();
        self.silent_since = None;
        let lease = self.lease.as_mut().ok_or_else(closed)?;
        lease.replace().await
    }

    /// The capacity of the buffers of this exchange in bytes.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let connection = self.lease.as_ref().map(|lease| &lease.connection);
        connection.map_or(0, |c| c.input.capacity() + c.output.capacity()) + self.sender.held()
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<Waiting, UpstreamError> {
        let Some(lease) = &mut self.lease else {
            return Ok(Waiting::Done);
        };
        let (waiting, moved) = self.sender.poll(cx, &mut lease.connection)?;
        if moved > 0 {
            self.silent_since = None;
        }
        Ok(waiting)
    }

    /// Reads once. After a read that fills its portion the next portion is larger, up to 64 KiB.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(lease) = &mut self.lease else {
            return Poll::Ready(Ok(0));
        };
        let connection = &mut *lease.connection;
        if connection.input.capacity() - connection.input.len() < self.portion / 2 {
            connection.make_room(self.portion);
        }
        let input = &mut connection.input;
        let room = input.capacity() - input.len();
        let read = poll_read_buf(Pin::new(&mut connection.stream), cx, input);
        if matches!(read, Poll::Ready(Ok(count)) if count == room) {
            self.portion = (self.portion * 2).min(MAX_PORTION);
        }
        read
    }

    /// Ready with an error if nothing was sent or received for `limit`. The clock is read only when the exchange
    /// has to wait.
    fn poll_silence(
        &mut self,
        cx: &mut Context<'_>,
        limit: Option<Duration>,
        waiting: Waiting,
    ) -> Poll<UpstreamError> {
        let (Some(lease), Some(limit)) = (&mut self.lease, limit) else {
            return Poll::Pending;
        };
        let since = *self.silent_since.get_or_insert_with(Instant::now);
        let timer = &mut lease.connection.timer;
        timer.poll(cx, since + limit).map(|()| expired(waiting))
    }

    /// The error for a connection that closed before the head of an answer.
    fn died(&mut self, error: Option<io::Error>) -> UpstreamError {
        if self.answered {
            return Fault::CutShort.into();
        }
        let cause = self.sender.take_broken().or(error);
        UpstreamError::Unreachable(cause.unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into()))
    }

    /// Ends the exchange. The connection returns to the pool if request and answer are complete and nothing more
    /// was received; otherwise it is closed.
    fn finish(&mut self) {
        let Some(mut lease) = self.lease.take() else {
            return;
        };
        let clean = lease.connection.input.is_empty() && self.sender.is_done();
        if self.reuse == Reuse::Allowed && clean && self.payload.is_done() {
            if self.portion > PORTION {
                lease.connection.input = bytes::BytesMut::new();
            }
            lease.put();
        }
    }
}

/// The error for a poll after the end, which no caller makes.
fn closed() -> UpstreamError {
    UpstreamError::Unreachable(io::ErrorKind::NotConnected.into())
}

/// How many bytes are read at once: at first, and at most if the upstream sends faster.
const PORTION: usize = 8 * 1024;
const MAX_PORTION: usize = 64 * 1024;
