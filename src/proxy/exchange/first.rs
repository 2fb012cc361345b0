//! The first bytes of an answer's body, before its head is handed out.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;

use crate::proxy::error::{Fault, UpstreamError};
use crate::proxy::exchange::Exchange;
use crate::proxy::payload::{Payload, Step};
use crate::proxy::reply::Reuse;
use crate::proxy::settle;

impl<B> Exchange<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Looks at what comes right behind the head before it is handed out: a fault there is a refusal of
    /// ours, and not a broken answer with the upstream's status. Waits for a moment at most, and not at
    /// all for events. An answer that came whole is not looked at.
    pub(in crate::proxy) async fn settle(
        &mut self,
        headers: &HeaderMap,
    ) -> Result<(), UpstreamError> {
        if self.is_whole() {
            return Ok(());
        }
        let mut until = None;
        let patience = settle::patience(headers);
        let settled = poll_fn(|cx| {
            let polled = self.poll_settle(cx)?;
            if polled.is_ready() || patience.is_zero() {
                return Poll::Ready(Ok(()));
            }
            let until = *until.get_or_insert_with(|| Instant::now() + patience);
            match &mut self.lease {
                Some(lease) => lease.connection.alarm.poll(cx, until).map(Ok),
                None => Poll::Ready(Ok(())),
            }
        })
        .await;
        if settled.is_err() {
            self.lease = None;
        }
        settled
    }

    /// Ready when enough of the body was looked at.
    fn poll_settle(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, UpstreamError> {
        loop {
            self.poll_send(cx)?;
            let Some(lease) = &mut self.lease else {
                return Ok(Poll::Ready(()));
            };
            let input = &mut lease.connection.input;
            let is_enough = match &mut self.payload {
                Payload::Length(left) => input.len() as u64 >= settle::wanted(*left),
                Payload::Close => !input.is_empty(),
                Payload::Chunked(_) if self.begun.is_full() => true,
                Payload::Chunked(decoder) => match decoder.decode(input)? {
                    Step::Data(data) => {
                        self.begun.push(data);
                        continue;
                    }
                    Step::Trailers(trailers) => {
                        let trailers = lease.core().outbound.strip.clean(trailers);
                        self.begun.end_with(trailers);
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

    /// Whether a body of which nobody knows how long it is has begun, and is not within a chunk: what
    /// comes next may take its time.
    fn may_go_on(&self) -> bool {
        let is_between = match &self.payload {
            Payload::Length(_) => false,
            Payload::Chunked(decoder) => decoder.is_between(),
            Payload::Close => true,
        };
        is_between && !self.begun.is_empty()
    }
}
