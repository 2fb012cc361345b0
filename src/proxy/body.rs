//! The body of an answer, in the form that a server sends.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use crate::proxy::error::UpstreamError;
use crate::proxy::exchange::Exchange;
use crate::proxy::http2;

/// The body of the upstream's answer. It owns the exchange, so reading it also sends the rest of the
/// request's body.
///
/// An incomplete answer ends with an error, never with a clean end. Dropping the body early closes the
/// connection to the upstream, or resets the stream. If the answer ends before the whole request was
/// sent, the rest of the request is not read.
#[derive(Debug)]
pub struct Body<B = Incoming> {
    kind: Kind<B>,
}

/// Boxed, because an answer is moved several times before it is read.
#[derive(Debug)]
enum Kind<B> {
    Http1(Box<Exchange<B>>),
    Http2(Box<http2::Exchange<B>>),
}

impl<B> Body<B> {
    pub(super) const fn new(exchange: Box<Exchange<B>>) -> Self {
        Self {
            kind: Kind::Http1(exchange),
        }
    }

    /// The body of an answer on an HTTP/2 stream.
    pub(super) fn multiplexed(exchange: http2::Exchange<B>) -> Self {
        Self {
            kind: Kind::Http2(Box::new(exchange)),
        }
    }
}

impl<B> Body<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Whether all of it was received, so that nothing more is expected from the upstream.
    pub fn is_whole(&self) -> bool {
        match &self.kind {
            Kind::Http1(exchange) => exchange.is_whole(),
            Kind::Http2(exchange) => exchange.is_whole(),
        }
    }
}

#[cfg(test)]
impl<B> Body<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// The number of bytes that this buffers.
    pub(super) fn held(&self) -> usize {
        match &self.kind {
            Kind::Http1(exchange) => exchange.held(),
            Kind::Http2(exchange) => exchange.held(),
        }
    }
}

impl<B> http_body::Body for Body<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        match &mut self.kind {
            Kind::Http1(exchange) => exchange.poll_frame(cx),
            Kind::Http2(exchange) => exchange.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Http1(exchange) => exchange.is_over(),
            Kind::Http2(exchange) => exchange.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let exact = match &self.kind {
            Kind::Http1(exchange) => exchange.exact(),
            Kind::Http2(exchange) => exchange.exact(),
        };
        exact.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
