//! Sends one request over HTTP/2, and sends it again on another connection where that is safe.

use std::future::poll_fn;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};

use crate::guard::Permit;
use crate::proxy::body::Body;
use crate::proxy::error::UpstreamError;
use crate::proxy::http2::exchange::{Exchange, MAX_MOVES};
use crate::proxy::http2::head;
use crate::proxy::http2::pool::{Negotiated, StreamPool};
use crate::proxy::http2::sender::{Pending, Sender};
use crate::proxy::http2::stream::ReservedStream;
use crate::proxy::semaphore::SemaphorePermit;
use crate::proxy::via::Via;
use crate::types::share::Claimant;

/// The result of an attempt over HTTP/2.
pub(in crate::proxy) enum Attempt<B> {
    /// The head of the answer, or the error.
    Finished(Result<Response<Body<B>>, UpstreamError>),
    /// The upstream chose HTTP/1.1: the unchanged request.
    Http1(Box<Request<B>>),
}

impl StreamPool {
    /// Sends the request over HTTP/2, unless the upstream is known to speak HTTP/1.1.
    ///
    /// A request that the upstream did not process is sent again, if the part of its body that was
    /// taken is still in memory: once if the stream was refused, and up to eight times if the upstream
    /// closed connections before it processed the request. A request on a reused connection that died is
    /// sent once more if it is idempotent and nothing of its body was taken.
    pub(in crate::proxy) async fn forward<B>(
        &self,
        who: Claimant,
        permit: &Permit,
        request: Request<B>,
        via: &Via,
    ) -> Attempt<B>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if self.upstream().chose_http1() {
            return Attempt::Http1(Box::new(request));
        }
        let slot = match SemaphorePermit::acquire(&self.permits, who).await {
            Ok(slot) => slot,
            Err(error) => return Attempt::Finished(Err(error)),
        };
        let first = match self.reserve().await {
            Ok(Negotiated::Http1) => return Attempt::Http1(Box::new(request)),
            Ok(Negotiated::Http2(stream)) => stream,
            Err(error) => return Attempt::Finished(Err(error)),
        };
        let (parts, body) = request.into_parts();
        let sender = Sender::new(body, &parts);
        let pending = Pending {
            sender,
            permit: slot,
        };
        Attempt::Finished(self.exchange(first, permit, &parts, pending, via).await)
    }

    async fn exchange<B>(
        &self,
        mut stream: ReservedStream,
        permit: &Permit,
        parts: &Parts,
        mut pending: Pending<B>,
        via: &Via,
    ) -> Result<Response<Body<B>>, UpstreamError>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let upstream = self.upstream();
        let mut tries = 0;
        loop {
            let framing = pending.sender.framing();
            let (scheme, identity) = (self.scheme(), permit.identity());
            let head = head::request(&upstream.head, scheme, parts, framing, identity, via);
            let failure = match stream.open(head, pending.sender.is_empty()).await {
                Ok(opened) => {
                    let mut exchange = Exchange::new(stream, opened, pending, parts);
                    match poll_fn(|cx| exchange.poll_head(cx)).await {
                        Ok((status, headers)) => {
                            exchange.prefetch(&headers).await?;
                            let mut response = Response::new(Body::multiplexed(exchange));
                            *response.status_mut() = status;
                            *response.headers_mut() = headers;
                            return Ok(response);
                        }
                        Err(error) if tries < exchange.retries(&error) => {
                            match exchange.into_pending() {
                                Some(again) => pending = again,
                                // The answer was complete, and nothing is sent again after that.
                                None => return Err(error),
                            }
                            error
                        }
                        Err(error) => return Err(error),
                    }
                }
                // Nothing was sent: the connection had already ended when it was chosen.
                Err(error) if tries < MAX_MOVES => error,
                Err(error) => return Err(error),
            };
            tries += 1;
            upstream.counters.retried.fetch_add(1, Ordering::Relaxed);
            stream = match self.reserve().await? {
                Negotiated::Http2(stream) => stream,
                // The upstream now uses another version, and so does the next request.
                Negotiated::Http1 => return Err(failure),
            };
        }
    }
}
