//! The first bytes of an answer's body, before its head is handed out.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;

use crate::proxy::error::UpstreamError;
use crate::proxy::http2::exchange::{Call, Exchange, broken};
use crate::proxy::http2::head::Announced;
use crate::proxy::settle;

impl<B> Exchange<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Looks at what comes right behind the head before it is handed out, as over HTTP/1.1.
    pub(in crate::proxy) async fn settle(
        &mut self,
        headers: &HeaderMap,
    ) -> Result<(), UpstreamError> {
        if self.is_whole() {
            return Ok(());
        }
        let patience = match self.call {
            Call::Plain => settle::patience(headers),
            Call::Grpc(_) => Duration::ZERO,
        };
        let mut until = None;
        let settled = poll_fn(|cx| {
            if self.poll_settle(cx)?.is_ready() || patience.is_zero() {
                return Poll::Ready(Ok(()));
            }
            let until = *until.get_or_insert_with(|| Instant::now() + patience);
            self.alarm.poll(cx, until).map(Ok)
        })
        .await;
        if settled.is_err() {
            self.finish();
        }
        settled
    }

    /// Ready when enough of the body was looked at.
    fn poll_settle(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, UpstreamError> {
        loop {
            let is_enough = match self.announced {
                Announced::Length(length) => self.begun.bytes() >= settle::wanted(length),
                Announced::Nothing | Announced::Stream => self.begun.is_full(),
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
                        self.begun.push(data);
                    }
                    continue;
                }
                Poll::Ready(Some(Err(error))) => return Err(broken(error)),
                Poll::Ready(None) => match incoming.poll_trailers(cx) {
                    Poll::Ready(Ok(trailers)) => {
                        if let Some(trailers) = trailers.and_then(|found| self.cleaned(found)) {
                            self.begun.end_with(trailers);
                        }
                        self.finish();
                        continue;
                    }
                    Poll::Ready(Err(error)) => return Err(broken(error)),
                    Poll::Pending => {}
                },
                Poll::Pending => {}
            }
            let is_begun = self.announced == Announced::Stream && !self.begun.is_empty();
            return Ok(if is_begun {
                Poll::Ready(())
            } else {
                Poll::Pending
            });
        }
    }
}
