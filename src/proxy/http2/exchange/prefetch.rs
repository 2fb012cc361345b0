//! Reads the start of an answer's body before its head is returned, over HTTP/2.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use crate::proxy::error::UpstreamError;
use crate::proxy::http2::exchange::{Call, Exchange, broken};
use crate::proxy::http2::head::BodyLength;
use crate::proxy::prefetch;

impl<B> Exchange<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// As over HTTP/1.1.
    pub(in crate::proxy) async fn prefetch(
        &mut self,
        headers: &HeaderMap,
    ) -> Result<(), UpstreamError> {
        if self.is_whole() {
            return Ok(());
        }
        let max_wait = match self.call {
            Call::Plain => prefetch::max_wait(headers),
            Call::Grpc(_) => Duration::ZERO,
        };
        let mut until = None;
        let prefetched = poll_fn(|cx| {
            if self.poll_prefetch(cx)?.is_ready() {
                return Poll::Ready(Ok(()));
            }
            match prefetch::deadline(&mut until, max_wait) {
                Some(until) => self.timer.poll(cx, until).map(Ok),
                None => Poll::Ready(Ok(())),
            }
        })
        .await;
        if prefetched.is_err() {
            self.finish();
        }
        prefetched
    }

    /// Ready when enough of the body has come.
    fn poll_prefetch(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, UpstreamError> {
        loop {
            let is_enough = match self.length {
                BodyLength::Known(length) => self.prefetched.bytes() >= prefetch::wanted(length),
                BodyLength::Empty | BodyLength::Unknown => self.prefetched.is_full(),
            };
            if self.is_whole() || is_enough {
                return Ok(Poll::Ready(()));
            }
            self.poll_send(cx)?;
            let Some(incoming) = &mut self.incoming else {
                return Ok(Poll::Ready(()));
            };
            match incoming.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => {
                    self.received(&data)?;
                    if !data.is_empty() {
                        self.prefetched.push(data);
                    }
                    continue;
                }
                Poll::Ready(Some(Err(error))) => return Err(broken(error)),
                Poll::Ready(None) => match incoming.poll_trailers(cx) {
                    Poll::Ready(Ok(trailers)) => {
                        if let Some(trailers) = trailers.and_then(|found| self.cleaned(found)) {
                            self.prefetched.end_with(trailers);
                        }
                        self.finish();
                        continue;
                    }
                    Poll::Ready(Err(error)) => return Err(broken(error)),
                    Poll::Pending => {}
                },
                Poll::Pending => {}
            }
            let is_begun = self.length == BodyLength::Unknown && !self.prefetched.is_empty();
            return Ok(if is_begun {
                Poll::Ready(())
            } else {
                Poll::Pending
            });
        }
    }
}
