//! One request and its answer on one stream: sends and receives at the same time, so that either side
//! may stream, and the answer may come before the request is through.
//!
//! Every wait has an end, unless the settings give streams all the time there is. Dropping an
//! exchange that is not over resets its stream.

mod first;

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

use crate::proxy::error::{ClientFault, Fault, UpstreamError};
use crate::proxy::grpc;
use crate::proxy::http2::Sending;
use crate::proxy::http2::head::{Announced, clean};
use crate::proxy::http2::sender::Sender;
use crate::proxy::http2::ticket::Ticket;
use crate::proxy::places::Place;
use crate::proxy::reply::MAX_INTERIM;
use crate::proxy::sender::Waiting;
use crate::proxy::settle::Begun;
use crate::proxy::timer::Alarm;

/// See the module. (The fields drop in this order: the stream is reset before its place is free.)
#[derive(Debug)]
pub(in crate::proxy) struct Exchange<B> {
    response: Option<ResponseFuture>,
    incoming: Option<RecvStream>,
    /// None once the answer is over.
    outgoing: Option<SendStream<Bytes>>,
    ticket: Option<Ticket>,
    /// None once the answer is over.
    place: Option<Place>,
    sender: Sender<B>,
    method: Method,
    call: Call,
    announced: Announced,
    interim: u8,
    alarm: Alarm,
    /// When the silence began; none until somebody has to wait.
    silent_since: Option<Instant>,
    /// What was taken off the body before its head was handed out.
    begun: Begun,
}

/// What gRPC says about a request.
#[derive(Debug, Clone, Copy)]
enum Call {
    /// It is none.
    Plain,
    /// It is a call whose head must be there by then, if its caller said so.
    Grpc(Option<Instant>),
}

impl<B> Exchange<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) fn new(
        ticket: Ticket,
        (response, outgoing): (ResponseFuture, SendStream<Bytes>),
        sending: Sending<B>,
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
            ticket: Some(ticket),
            place: Some(sending.place),
            sender: sending.sender,
            method: parts.method.clone(),
            call,
            announced: Announced::Stream,
            interim: 0,
            alarm: Alarm::default(),
            silent_since: None,
            begun: Begun::default(),
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

    /// The next piece of the answer's body; none when it is over.
    pub(in crate::proxy) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        if let Some(frame) = self.begun.next() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let polled = self.poll_step(cx);
        if matches!(polled, Poll::Ready(Some(Err(_)) | None)) {
            self.finish();
        }
        polled
    }

    /// Returns the window that a piece of the body took, and ends the exchange with the last piece.
    fn received(&mut self, data: &Bytes) -> Result<(), UpstreamError> {
        let Some(incoming) = &mut self.incoming else {
            return Ok(());
        };
        let released = incoming.flow_control().release_capacity(data.len());
        released.map_err(broken)?;
        let over = incoming.is_end_stream();
        self.hear();
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
                    // The client's own window is what slows the upstream down from here on: this
                    // is asked for data only when there is room.
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

    /// Whether the whole answer was given.
    pub(in crate::proxy) fn is_over(&self) -> bool {
        self.is_whole() && self.begun.is_empty()
    }

    /// Whether the whole answer has come.
    pub(in crate::proxy) const fn is_whole(&self) -> bool {
        self.ticket.is_none()
    }

    /// How many bytes the whole body has, as long as none of it was given.
    pub(in crate::proxy) fn exact(&self) -> Option<u64> {
        match self.announced {
            _ if self.is_over() => Some(0),
            Announced::Nothing => Some(0),
            Announced::Length(length) => Some(length),
            Announced::Stream => None,
        }
    }

    /// How often the request may be sent again after this: as often as connections go away before
    /// they look at it, within reason; once when the upstream refused its stream, or when the
    /// connection was there before, died before it answered, and the upstream cannot act twice.
    pub(super) fn retries(&self, error: &UpstreamError) -> u32 {
        match error {
            UpstreamError::Http2(error) => match unseen(error.cause()) {
                Some(retries) if self.sender.is_at_hand() => retries,
                Some(_) | None => 0,
            },
            UpstreamError::Unreachable(_) => {
                let stale = self.ticket.as_ref().is_some_and(|ticket| ticket.reused)
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

    /// Gives the request back, to be sent once more. The connection it was on takes no further one.
    pub(super) fn into_sending(mut self) -> Option<Sending<B>> {
        if let Some(ticket) = &self.ticket {
            ticket.life.close();
        }
        self.sender.start_again();
        let place = self.place?;
        Some(Sending {
            sender: self.sender,
            place,
        })
    }

    /// How many bytes of the request this exchange holds right now.
    #[cfg(test)]
    pub(in crate::proxy) fn held(&self) -> usize {
        self.sender.held()
    }

    fn accept(
        &mut self,
        response: Response<RecvStream>,
    ) -> Result<(StatusCode, HeaderMap), UpstreamError> {
        let (mut parts, incoming) = response.into_parts();
        self.hear();
        self.sender.forget();
        self.response = None;
        self.announced = clean(&self.method, parts.status, &mut parts.headers)?;
        let over = incoming.is_end_stream() || self.announced == Announced::Nothing;
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

    /// How long the upstream may be silent before its head. A deadline that the caller of gRPC gave
    /// counts from the start, whatever moves, and cannot be longer than streams may be silent.
    fn head_limit(&mut self, waiting: Waiting) -> Option<Duration> {
        let limits = self.ticket.as_ref()?.core.limits;
        match (self.call, waiting) {
            (Call::Grpc(Some(by)), _) => {
                let since = *self.silent_since.get_or_insert_with(Instant::now);
                let left = by.saturating_duration_since(since);
                // The operator's limit holds whatever a caller asks for.
                Some(limits.stream.map_or(left, |limit| limit.min(left)))
            }
            (Call::Grpc(None), _) => limits.stream,
            (Call::Plain, Waiting::Done) => limits.response,
            (Call::Plain, Waiting::Client | Waiting::Upstream) => Some(limits.idle),
        }
    }

    /// How long nothing may move while the answer's body is on its way.
    fn body_limit(&self, waiting: Waiting) -> Option<Duration> {
        let limits = self.ticket.as_ref()?.core.limits;
        let is_stream = match self.call {
            Call::Grpc(_) => true,
            Call::Plain => waiting != Waiting::Client && self.announced == Announced::Stream,
        };
        if is_stream {
            limits.stream
        } else {
            Some(limits.idle)
        }
    }

    /// Ready with an error when nothing has moved for `limit`.
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
        match self.alarm.poll(cx, until) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) if waiting == Waiting::Client && matches!(self.call, Call::Plain) => {
                Poll::Ready(ClientFault::Stalled.into())
            }
            Poll::Ready(()) => Poll::Ready(UpstreamError::Timeout),
        }
    }

    /// The upstream said something.
    fn hear(&mut self) {
        self.silent_since = None;
        if let Some(ticket) = &self.ticket {
            ticket.life.hear();
        }
    }

    /// Trailers that may reach the client.
    fn cleaned(&self, trailers: HeaderMap) -> Option<HeaderMap> {
        let ticket = self.ticket.as_ref()?;
        Some(ticket.core.outbound.strip.clean(trailers))
    }

    /// The answer is over, or nothing can follow: the stream is let go of. One that is not over on
    /// both sides is reset by that.
    fn finish(&mut self) {
        self.response = None;
        self.incoming = None;
        self.outgoing = None;
        self.ticket = None;
        self.place = None;
    }
}

/// How often a request may be sent again of which the upstream says that it has not looked at it (RFC
/// 9113, 8.7): it goes away and the stream is beyond the last it will see to, or it refused the
/// stream, which may be its way to say that it has enough.
fn unseen(error: &h2::Error) -> Option<u32> {
    if !error.is_remote() {
        None
    } else if error.is_go_away() {
        Some(MAX_MOVES)
    } else {
        (error.reason() == Some(Reason::REFUSED_STREAM)).then_some(1)
    }
}

/// How many connections may go away under one request.
pub(super) const MAX_MOVES: u32 = 8;

/// Why an answer stopped in its middle.
fn broken(error: h2::Error) -> UpstreamError {
    if error.is_io() {
        return Fault::CutShort.into();
    }
    UpstreamError::Http2(error.into())
}

/// What a call gets beyond the time that its caller gave it: the upstream's own word that the time
/// is over is better than ours.
const GRACE: Duration = Duration::from_secs(1);
