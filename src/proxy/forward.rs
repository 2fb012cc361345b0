//! The proxy of one worker: it forwards a request over the version that the upstream speaks.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use rustls::ClientConfig;

use crate::guard::Permit;
use crate::proxy::body::Body;
use crate::proxy::error::UpstreamError;
use crate::proxy::exchange::Exchange;
use crate::proxy::http2::{Attempt, StreamPool};
use crate::proxy::pool::{Pool, PoolPermit};
use crate::proxy::protocol::Protocol;
use crate::proxy::sender::Sender;
use crate::proxy::settings::Settings;
use crate::proxy::stats::Stats;
use crate::proxy::timeouts::IDLE_LIMIT;
use crate::proxy::upgrade::{Handshake, Upgrades};
use crate::proxy::upstream::Upstream;
use crate::proxy::via::Via;
use crate::tls::client::BadClient;
use crate::types::share::{Claimant, User};

/// The connections of one worker thread to the upstream, and how requests are forwarded on them.
#[derive(Debug)]
pub struct Proxy {
    pub(super) pool: Arc<Pool>,
    /// `None` when the upstream speaks HTTP/1.1 only.
    streams: Option<StreamPool>,
    upgrades: Upgrades,
}

impl Proxy {
    /// A proxy with an empty pool. Nothing is connected before the first request; the files that TLS
    /// needs are read here. When they change, call [`Proxy::set_tls`].
    ///
    /// # Errors
    ///
    /// When one of those files cannot be used.
    pub fn new(settings: &Settings) -> Result<Self, BadClient> {
        Self::with_idle_limit(settings, IDLE_LIMIT)
    }

    /// The proxy that replaces this one with other settings. Its pool is empty and its counters continue
    /// those of this one. Exchanges that have begun end on their own connections.
    ///
    /// # Errors
    ///
    /// As [`Proxy::new`].
    pub fn followed_by(&self, settings: &Settings) -> Result<Self, BadClient> {
        let own = &self.pool.upstream;
        let counters = Arc::clone(&own.counters);
        let upstream = Upstream::new(settings, own.timeouts.idle(), counters)?;
        let mut next = Self::with_upstream(upstream, settings);
        next.upgrades.continue_from(&self.upgrades);
        Ok(next)
    }

    /// Uses this TLS configuration for connections that are made from now on. Open connections stay.
    pub fn set_tls(&self, config: &ClientConfig) {
        self.pool.upstream.connector.set_tls(config);
    }

    pub(super) fn with_idle_limit(settings: &Settings, idle: Duration) -> Result<Self, BadClient> {
        let upstream = Upstream::new(settings, idle, Arc::default())?;
        Ok(Self::with_upstream(upstream, settings))
    }

    fn with_upstream(upstream: Upstream, settings: &Settings) -> Self {
        let pool = Arc::new(Pool::new(upstream, settings));
        Self {
            streams: StreamPool::of(settings, &pool),
            upgrades: Upgrades::new(settings, &pool),
            pool,
        }
    }

    /// Sends the request and waits for the head of the answer. The body of the answer continues where
    /// this stops: it also sends the rest of the request's body.
    ///
    /// Times: the upstream has `response_timeout` from the last byte of the request to the head of
    /// its answer. While the request is still being sent, and while the answer's body is on its way, an
    /// exchange ends after 60 s without a byte in either direction, or after `stream_idle_timeout`
    /// when the answer has no known length. gRPC calls have `stream_idle_timeout` throughout, and
    /// at most their `grpc-timeout` until the head. A client that does not read stops the clock: its own
    /// deadline belongs to the server.
    ///
    /// A request whose pooled connection turns out to be dead before the first byte of an answer is sent
    /// once more on a fresh connection, if that cannot make the upstream act twice: none of its
    /// body was taken, and the method is idempotent (RFC 9110, 9.2.2) or no complete request was sent.
    ///
    /// Dropping the future or the body closes the connection that was in use.
    ///
    /// # Errors
    ///
    /// See [`UpstreamError`], which distinguishes faults of the client from those of the upstream.
    pub async fn forward<B>(
        &self,
        permit: Permit,
        request: Request<B>,
        via: &Via,
    ) -> Result<Response<Body<B>>, UpstreamError>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut request = request;
        if let Some(streams) = &self.streams {
            let who = claimant(&permit, via);
            match Box::pin(streams.forward(who, &permit, request, via)).await {
                Attempt::Finished(outcome) => {
                    return outcome.map(|mut answer| {
                        permit.limit_storage(answer.headers_mut());
                        answer
                    });
                }
                Attempt::Http1(same) => request = *same,
            }
        }
        let (parts, body) = request.into_parts();
        let sender = Sender::new(body, &parts);
        let slot = PoolPermit::acquire(&self.pool, claimant(&permit, via)).await?;
        let mut lease = slot.connection(sender.replay(&parts.method)).await?;
        let head = &mut lease.connection.output;
        let writer = &self.pool.upstream.head;
        writer.write_head(head, &parts, sender.framing(), permit.identity(), via);

        // The answer's headers use the map of the request's headers: no allocation.
        let mut headers = parts.headers;
        headers.clear();
        let mut exchange = Box::new(Exchange::new(lease, sender, parts.method));
        loop {
            match poll_fn(|cx| exchange.poll_head(cx, &mut headers)).await {
                Ok(status) => {
                    exchange.prefetch(&headers).await?;
                    permit.limit_storage(&mut headers);
                    let mut response = Response::new(Body::new(exchange));
                    *response.status_mut() = status;
                    *response.headers_mut() = headers;
                    return Ok(response);
                }
                Err(error) if exchange.may_retry(&error) => exchange.reconnect().await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// The protocol a request may switch to, of those that it offers in `Upgrade`.
    pub fn protocol<'a>(&self, offered: impl IntoIterator<Item = &'a [u8]>) -> Option<Protocol> {
        self.upgrades.protocol(offered)
    }

    /// Sends a handshake and waits for the head of the answer. The request must have no body.
    ///
    /// # Errors
    ///
    /// As [`Proxy::forward`]; `Overloaded` also when too many connections have switched.
    pub async fn upgrade<B>(
        &self,
        permit: Permit,
        request: Request<B>,
        via: &Via,
        protocol: Protocol,
    ) -> Result<Handshake<B>, UpstreamError>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let who = claimant(&permit, via);
        self.upgrades
            .send(who, permit, request, via, protocol)
            .await
    }

    /// How long a connection that has switched may be silent in both directions; `None` = no limit.
    pub fn stream_idle(&self) -> Option<Duration> {
        self.pool.upstream.timeouts.stream()
    }

    /// Whether the upstream speaks HTTP/2, or may still choose it when the first connection is made. It is
    /// certain once a request has begun.
    pub fn may_speak_http2(&self) -> bool {
        self.streams.is_some() && !self.pool.upstream.chose_http1()
    }

    /// Closes idle connections past their timeout. Every use of the pool does that too; a worker calls
    /// this at intervals, so that they are also closed when no request comes.
    pub fn sweep(&self) {
        self.pool.sweep();
        if let Some(streams) = &self.streams {
            streams.sweep();
        }
    }

    /// The counters of this proxy.
    pub fn stats(&self) -> Stats {
        let mut stats = self.pool.stats();
        stats.idle += self.streams.as_ref().map_or(0, StreamPool::idle);
        stats
    }
}

impl Drop for Proxy {
    /// Closes idle connections. A connection in use is closed when its exchange is over.
    fn drop(&mut self) {
        self.pool.retire();
        if let Some(streams) = &self.streams {
            streams.retire();
        }
    }
}

/// The client and user whose shares a request is charged to.
fn claimant(permit: &Permit, via: &Via) -> Claimant {
    let identity = permit.identity();
    Claimant {
        address: (!via.is_shared).then_some(via.client),
        user: identity.map_or(User::Unknown, |caller| {
            User::Known(caller.session.owner.user)
        }),
    }
}
