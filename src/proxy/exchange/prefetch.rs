//! Reads the start of an answer's body before its head is returned.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;

use crate::proxy::error::{Fault, UpstreamError};
use crate::proxy::exchange::Exchange;
use crate::proxy::payload::{Payload, Step};
use crate::proxy::prefetch;
use crate::proxy::response_head::Reuse;

impl<B> Exchange<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Waits for a short time, and not at all for events. An answer that is already complete is returned at
    /// once. The reason is in [`prefetch`].
    pub(in crate::proxy) async fn prefetch(
        &mut self,
        headers: &HeaderMap,
    ) -> Result<(), UpstreamError> {
        if self.is_whole() {
            return Ok(());
        }
        let mut until = None;
        let max_wait = prefetch::max_wait(headers);
        let prefetched = poll_fn(|cx| {
            if self.poll_prefetch(cx)?.is_ready() {
                return Poll::Ready(Ok(()));
            }
            match (prefetch::deadline(&mut until, max_wait), &mut self.lease) {
                (Some(until), Some(lease)) => lease.connection.timer.poll(cx, until).map(Ok),
                _ => Poll::Ready(Ok(())),
            }
        })
        .await;
        if prefetched.is_err() {
            self.lease = None;
        }
        prefetched
    }

    /// Ready when enough of the body has come.
    fn poll_prefetch(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, UpstreamError> {
        loop {
            self.poll_send(cx)?;
            let Some(lease) = &mut self.lease else {
                return Ok(Poll::Ready(()));
            };
            let input = &mut lease.connection.input;
            let is_enough = match &mut self.payload {
                Payload::Length(left) => input.len() as u64 >= prefetch::wanted(*left),
                Payload::Close => !input.is_empty(),
                Payload::Chunked(_) if self.prefetched.is_full() => true,
                Payload::Chunked(decoder) => match decoder.decode(input)? {
                    Step::Data(data) => {
                        self.prefetched.push(data);
                        continue;
                    }
                    Step::Trailers(trailers) => {
                        let trailers = lease.upstream().head.strip.clean(trailers);
                        self.prefetched.end_with(trailers);
                        self.finish();
                        true
                    }
                    Step::End => {
                        self.finish();
                        true
                    }
                    Step::More => false,
                },
            };
            if is_enough {
                self.take_whole()?;
                return Ok(Poll::Ready(()));
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) => {
                    self.payload.disconnect()?;
                    self.reuse = Reuse::Refused;
                    self.finish();
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Err(Fault::CutShort.into()),
                Poll::Pending if self.may_go_on() => return Ok(Poll::Ready(())),
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
    }

    /// Whether a body of unknown length has begun and is not inside a chunk: the next bytes may take any time.
    fn may_go_on(&self) -> bool {
        let is_between = match &self.payload {
            Payload::Length(_) => false,
            Payload::Chunked(decoder) => decoder.is_between(),
            Payload::Close => true,
        };
        is_between && !self.prefetched.is_empty()
    }
}
