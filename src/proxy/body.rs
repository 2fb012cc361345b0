//! The body of an answer, as hyper takes it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use crate::proxy::error::UpstreamError;
use crate::proxy::exchange::Exchange;

/// The body of the upstream's answer. It owns the exchange, and so goes on sending what is left
/// of the request's body while it is read.
///
/// An answer that breaks off gives an error, never a clean end. Dropping it early closes the
/// connection to the upstream; when the answer ends before the whole request was sent, the rest
/// of the request is not read.
#[derive(Debug)]
pub struct Body<B = Incoming> {
    exchange: Exchange<B>,
}

impl<B> Body<B> {
    pub(super) const fn new(exchange: Exchange<B>) -> Self {
        Self { exchange }
    }

    #[cfg(test)]
    pub(super) const fn exchange(&self) -> &Exchange<B> {
        &self.exchange
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
        self.exchange.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.is_over()
    }

    fn size_hint(&self) -> SizeHint {
        self.exchange
            .exact()
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
