//! One request and its answer on one HTTP/2 stream. Both are sent at the same time, so either side may stream,
//! and the answer may come before the request is complete.
//!
//! Every wait has a limit (see `timeouts`), unless the settings give streams none. Dropping an exchange that
//! is not complete resets its stream.

mod prefetch;

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body::Frame;
use tokio::time::Instant;

use crate::proxy::error::{Fault, UpstreamError};
use crate::proxy::grpc;
use crate::proxy::http2::head::{BodyLength, clean};
use crate::proxy::http2::sender::{Pending, Sender};
use crate::proxy::http2::stream::ReservedStream;
use crate::proxy::prefetch::Prefetched;
use crate::proxy::response_head::MAX_INTERIM;
use crate::proxy::semaphore::SemaphorePermit;
use crate::proxy::timeouts::{Waiting, expired};
use crate::proxy::timer::DeadlineTimer;

/// See the module. (The fields drop in this order: the stream is reset before its permit is
/// released.)
#[derive(Debug)]
pub(in crate::proxy) struct Exchange<B> {
    response: Option<ResponseFuture>,
    incoming: Option<RecvStream>,
    /// `None` once the answer is complete.
    outgoing: Option<SendStream<Bytes>>,
    stream: Option<ReservedStream>,
    /// `None` once the answer is complete.
    permit: Option<SemaphorePermit>,
    sender: Sender<B>,
    method: Method,
    call: Call,
    length: BodyLength,
    interim: u8,
    timer: DeadlineTimer,
    /// When the silence began; `None` until the exchange waits for the first time.
    silent_since: Option<Instant>,
    /// The start of the body, received before its head was returned.
    prefetched: Prefetched,
}

/// Whether a request is a gRPC call.
#[derive(Debug, Clone, Copy)]
enum Call {
    /// It is not.
    Plain,
    /// A call; the head of its answer must come by then, if the caller set a time.
    Grpc(Option<Instant>),
}

impl<B> Exchange<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) fn new(
        stream: ReservedStream,
        (response, outgoing): (ResponseFuture, SendStream<Bytes>),
        pending: Pending<B>,
        parts: &Parts,
    ) -> Self {
        let call = if grpc::is_call(&parts.headers) {
            let limit = grpc::timeout(&parts.headers).map(|limit| limit + GRACE);
            Call::Grpc(limit.and_then(|limit| Instant::now().checked_add(limit)))
        } else {
            Call::Plain
        };
        Self {
            response: Some(response),
            incoming: None,
            outgoing: Some(outgoing),
            stream: Some(stream),
            permit: Some(pending.permit),
            sender: pending.sender,
            method: parts.method.clone(),
            call,
            length: BodyLength::Unknown,
            interim: 0,
            timer: DeadlineTimer::default(),
            silent_since: None,
            prefetched: Prefetched::default(),
        }
    }

    /// Ready with the head of the answer.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(StatusCode, HeaderMap), UpstreamError>> {
        let waiting = self.poll_send(cx)?;
        let Some(response) = &mut self.response else {
            return Poll::Pending;
        };
        while let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
            self.interim += 1;
            if interim.status() == StatusCode::SWITCHING_PROTOCOLS {
                return Poll::Ready(Err(Fault::SwitchedProtocols.into()));
            }
            if self.interim > MAX_INTERIM {
                return Poll::Ready(Err(Fault::TooManyInterim.into()));
            }
        }
        match Pin::new(response).poll(cx) {
            Poll::Ready(Ok(response)) => Poll::Ready(self.accept(response)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(UpstreamError::of_http2(error))),
            Poll::Pending => {
                let limit = self.head_limit(waiting);
                self.poll_silence(cx, limit, waiting).map(Err)
            }
        }
    }

    /// The next piece of the answer's body; `None` at its end.
    pub(in crate::proxy) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        if let Some(frame) = self.prefetched.next() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let polled = self.poll_step(cx);
        if matches!(polled, Poll::Ready(Some(Err(_)) | None)) {
            self.finish();
        }
        polled
    }

    /// Releases the window of a received piece, and ends the exchange after the last piece.
    fn received(&mut self, data: &Bytes) -> Result<(), UpstreamError> {
        let Some(incoming) = &mut self.incoming else {
            return Ok(());
        };
        let released = incoming.flow_control().release_capacity(data.len());
        released.map_err(broken)?;
        let over = incoming.is_end_stream();
        self.received_frame();
        if over {
            self.finish();
        }
        Ok(())
    }

    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        loop {
            if self.is_whole() {
                return Poll::Ready(None);
            }
            let waiting = self.poll_send(cx)?;
            let Some(incoming) = &mut self.incoming else {
                return Poll::Ready(None);
            };
            match incoming.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => {
                    // A slow client slows the upstream down: this is polled only while the client's
                    // window has room.
                    self.received(&data)?;
                    if data.is_empty() {
                        continue;
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(broken(error)))),
                Poll::Ready(None) => match incoming.poll_trailers(cx) {
                    Poll::Ready(Ok(trailers)) => {
                        let trailers = trailers.and_then(|trailers| self.cleaned(trailers));
                        self.finish();
                        return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(broken(error)))),
                    Poll::Pending => {}
                },
                Poll::Pending => {}
            }
            let limit = self.body_limit(waiting);
            return self
                .poll_silence(cx, limit, waiting)
                .map(|error| Some(Err(error)));
        }
    }

    /// Whether the caller has taken the whole answer.
    pub(in crate::proxy) fn is_over(&self) -> bool {
        self.is_whole() && self.prefetched.is_empty()
    }

    /// Whether the whole answer was received.
    pub(in crate::proxy) const fn is_whole(&self) -> bool {
        self.stream.is_none()
    }

    /// The length of the body, if it is known. It is asked for before the first piece is taken.
    pub(in crate::proxy) fn exact(&self) -> Option<u64> {
        match self.length {
            _ if self.is_over() => Some(0),
            BodyLength::Empty => Some(0),
            BodyLength::Known(length) => Some(length),
            BodyLength::Unknown => None,
        }
    }

    /// How often the request may be sent again after this error: eight times if the upstream closed the
    /// connection before it processed the request; once if it refused the stream, or if a reused connection died
    /// before an answer began and the upstream cannot act twice.
    pub(super) fn retries(&self, error: &UpstreamError) -> u32 {
        match error {
            UpstreamError::Http2(error) => match unseen(error.cause()) {
                Some(retries) if self.sender.is_at_hand() => retries,
                Some(_) | None => 0,
            },
            UpstreamError::Unreachable(_) => {
                let stale = self.stream.as_ref().is_some_and(|stream| stream.reused)
                    && self.interim == 0
                    && self.sender.may_start_again(&self.method);
                u32::from(stale)
            }
            UpstreamError::BadResponse(_)
            | UpstreamError::Timeout
            | UpstreamError::Overloaded { .. }
            | UpstreamError::ClientBody(_) => 0,
        }
    }

    /// Returns the request, to be sent once more. Its connection takes no further request.
    pub(super) fn into_pending(mut self) -> Option<Pending<B>> {
        if let Some(stream) = &self.stream {
            stream.status.close();
        }
        self.sender.start_again();
        Some(Pending {
            sender: self.sender,
            permit: self.permit?,
        })
    }

    /// The number of bytes of the request that are buffered.
    #[cfg(test)]
    pub(in crate::proxy) fn held(&self) -> usize {
        self.sender.held()
    }

    fn accept(
        &mut self,
        response: Response<RecvStream>,
    ) -> Result<(StatusCode, HeaderMap), UpstreamError> {
        let (mut parts, incoming) = response.into_parts();
        self.received_frame();
        self.sender.forget();
        self.response = None;
        self.length = clean(&self.method, parts.status, &mut parts.headers)?;
        let over = incoming.is_end_stream() || self.length == BodyLength::Empty;
        self.incoming = Some(incoming);
        if over {
            self.finish();
        }
        Ok((parts.status, parts.headers))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<Waiting, UpstreamError> {
        let Some(outgoing) = &mut self.outgoing else {
            return Ok(Waiting::Done);
        };
        let (waiting, moved) = self.sender.poll(cx, outgoing)?;
        if moved > 0 {
            self.silent_since = None;
        }
        Ok(waiting)
    }

    /// How long the upstream may be silent before its head. The `grpc-timeout` of a call counts from the
    /// start, whatever is received.
    fn head_limit(&mut self, waiting: Waiting) -> Option<Duration> {
        let timeouts = self.stream.as_ref()?.upstream().timeouts;
        match self.call {
            Call::Grpc(by) => {
                let since = *self.silent_since.get_or_insert_with(Instant::now);
                timeouts.call_head(by.map(|by| by.saturating_duration_since(since)))
            }
            Call::Plain => timeouts.head(waiting),
        }
    }

    /// How long nothing may be received while the answer's body is on its way.
    fn body_limit(&self, waiting: Waiting) -> Option<Duration> {
        let timeouts = &self.stream.as_ref()?.upstream().timeouts;
        match self.call {
            Call::Grpc(_) => timeouts.stream(),
            Call::Plain => timeouts.body(waiting, self.length != BodyLength::Unknown),
        }
    }

    /// Ready with an error if nothing was sent or received for `limit`.
    fn poll_silence(
        &mut self,
        cx: &mut Context<'_>,
        limit: Option<Duration>,
        waiting: Waiting,
    ) -> Poll<UpstreamError> {
        let since = *self.silent_since.get_or_insert_with(Instant::now);
        let Some(until) = limit.and_then(|limit| since.checked_add(limit)) else {
            return Poll::Pending;
        };
        self.timer.poll(cx, until).map(|()| match self.call {
            Call::Plain => expired(waiting),
            Call::Grpc(_) => UpstreamError::Timeout,
        })
    }

    /// Ends a silence.
    fn received_frame(&mut self) {
        self.silent_since = None;
        if let Some(stream) = &self.stream {
            stream.status.count_frame();
        }
    }

    /// Trailers that may reach the client.
    fn cleaned(&self, trailers: HeaderMap) -> Option<HeaderMap> {
        let upstream = self.stream.as_ref()?.upstream();
        Some(upstream.head.strip.clean(trailers))
    }

    /// Drops the stream after the end or an error. A stream that is not complete in both directions is reset.
    fn finish(&mut self) {
        self.response = None;
        self.incoming = None;
        self.outgoing = None;
        self.stream = None;
        self.permit = None;
    }
}

/// How often a request may be repeated that the upstream did not process (RFC 9113, 8.7): it sent GOAWAY
/// and the stream is after the last one that it processes, or it refused the stream, which may mean
/// overload.
fn unseen(error: &h2::Error) -> Option<u32> {
    if !error.is_remote() {
        None
    } else if error.is_go_away() {
        Some(MAX_MOVES)
    } else {
        (error.reason() == Some(Reason::REFUSED_STREAM)).then_some(1)
    }
}

/// How many connections may end under one request.
pub(super) const MAX_MOVES: u32 = 8;

/// Why an answer is incomplete.
fn broken(error: h2::Error) -> UpstreamError {
    if error.is_io() {
        return Fault::CutShort.into();
    }
    UpstreamError::Http2(error.into())
}

/// Added to the timeout of a call: the upstream's own answer that the time is over is more precise than an
/// error of the proxy.
const GRACE: Duration = Duration::from_secs(1);
