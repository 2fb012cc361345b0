//! Carry a permitted request to the upstream and its answer back.
//!
//! What must always be true: nothing is forwarded without a [`Permit`]; the upstream reads only
//! headers we chose to write; whatever bytes the upstream sends, one request gets at most one
//! answer and never another request's.
//!
//! ```text
//! Proxy::forward ─→ pool (a connection: idle, or dialled) ─→ outbound (the request head)
//!                └→ exchange (one state machine) ── sender: head and body to the upstream
//!                        │                       └─ reply: the head of the answer
//!                        └─→ Body: goes on sending, decodes the answer's body (payload, chunked)
//! ```
//!
//! We speak HTTP/1.1 to the upstream ourselves. The whole exchange is polled inside the request's
//! own future, later inside its response body: no second task, no channels, one allocation-free
//! way through a pooled connection. A [`Proxy`] belongs to one worker thread. An upstream that speaks
//! HTTP/2 gets it by way of `http2`, on the same terms.
//!
//! A request that asks for another protocol goes by [`Proxy::upgrade`]; elsewhere the `Upgrade`
//! header is dropped and an answer 101 is refused. What is not carried: request trailers, and `Via`
//! (the proxy is transparent, and loops end at the connection limit).

mod body;
mod chunked;
mod connect;
mod cookies;
mod error;
mod exchange;
mod forwarded;
pub mod fuzz;
pub mod grpc;
mod hop;
mod http2;
mod lines;
mod outbound;
mod payload;
mod places;
mod pool;
mod reply;
mod sender;
pub mod settings;
mod settle;
mod stream;
mod strip;
mod timer;
mod upgrade;
mod via;

#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use rustls::ClientConfig;

use crate::guard::Permit;
use crate::proxy::exchange::Exchange;
use crate::proxy::http2::{Carried, Links};
use crate::proxy::outbound::Outbound;
use crate::proxy::pool::{Pool, Slot};
use crate::proxy::sender::Sender;
use crate::proxy::upgrade::Upgrades;
use crate::tls::client::BadClient;
use crate::types::share::{Claimant, User};

pub use body::Body;
pub use error::{BrokenOff, ClientFault, Fault, UpstreamError};
pub use hop::tokens;
pub use pool::Stats;
pub use settings::{Address, Settings, Tls};
pub use timer::Alarm;
pub use upgrade::{Handshake, Protocol, Switched};
pub use via::{Earlier, Via};

/// The way to the upstream, for one worker thread.
#[derive(Debug)]
pub struct Proxy {
    core: Arc<Core>,
}

/// What every exchange of one worker shares.
#[derive(Debug)]
struct Core {
    outbound: Outbound,
    pool: Pool,
    /// None when the upstream speaks HTTP/1.1 in any case.
    links: Option<Links>,
    limits: Limits,
    upgrades: Upgrades,
}

/// How long the parts of an exchange may be silent.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// From the last byte of the request to the head of the answer.
    response: Option<Duration>,
    /// Without a byte in either direction while a body is on its way.
    idle: Duration,
    /// The same for an answer of which nobody knows how long it is, and for gRPC; and for a
    /// connection that has switched protocols.
    stream: Option<Duration>,
}

impl Core {
    fn new(settings: Settings, idle: Duration) -> Result<Self, BadClient> {
        let some = |limit: Duration| Some(limit).filter(|limit| !limit.is_zero());
        let limits = Limits {
            response: some(settings.response_timeout),
            idle,
            stream: some(settings.stream_idle_timeout),
        };
        Ok(Self {
            outbound: Outbound::new(&settings),
            upgrades: Upgrades::new(&settings),
            links: Links::of(&settings),
            pool: Pool::new(settings)?,
            limits,
        })
    }
}

impl Proxy {
    /// A proxy with an empty pool. Nothing is connected before the first request; the files that TLS
    /// needs are read here. When they change, somebody has to say so ([`Proxy::believe`]).
    ///
    /// # Errors
    ///
    /// When one of those files cannot be used.
    pub fn new(settings: Settings) -> Result<Self, BadClient> {
        Self::with_idle_limit(settings, IDLE_LIMIT)
    }

    /// The proxy that follows this one with other settings. It begins with an empty pool and goes on
    /// counting where this one is. Exchanges that have begun end on the connections they have.
    ///
    /// # Errors
    ///
    /// As [`Proxy::new`].
    pub fn followed_by(&self, settings: Settings) -> Result<Self, BadClient> {
        let mut core = Core::new(settings, self.core.limits.idle)?;
        core.pool.count_on(&self.core.pool);
        core.upgrades.count_on(&self.core.upgrades);
        let core = Arc::new(core);
        Ok(Self { core })
    }

    /// Makes connections to the upstream, from here on, with what its files hold by now. Connections
    /// that stand go on.
    pub fn believe(&self, config: &ClientConfig) {
        self.core.pool.connector.believe(config);
    }

    fn with_idle_limit(settings: Settings, idle: Duration) -> Result<Self, BadClient> {
        let core = Arc::new(Core::new(settings, idle)?);
        Ok(Self { core })
    }

    /// Sends the request and waits for the head of the answer. The body of the answer goes on
    /// where this stops: it also sends what is left of the request's body.
    ///
    /// Times: the upstream has `response_timeout` from the last byte of the request to the head of
    /// its answer; while the request is still being sent, and while the answer's body flows, an
    /// exchange ends after 60 s without a byte in either direction, or after `stream_idle_timeout`
    /// when the answer has no known length. gRPC calls have `stream_idle_timeout` throughout, and
    /// at most what `grpc-timeout` gives them to the head. A client that does not read stops the
    /// clock: its own deadline belongs to the server.
    ///
    /// A request whose pooled connection turns out dead before the first byte of an answer is sent
    /// once more on a fresh connection, if that cannot make the upstream act twice: none of its
    /// body was taken, and the method is idempotent (RFC 9110, 9.2.2) or no complete request has
    /// left.
    ///
    /// Dropping the future or the body closes the connection that was in use.
    ///
    /// # Errors
    ///
    /// See [`UpstreamError`], which tells whose fault it was.
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
        if let Some(links) = &self.core.links {
            let carrying = http2::forward(&self.core, links, &permit, request, via);
            match Box::pin(carrying).await {
                Carried::Answered(outcome) => {
                    return outcome.map(|mut answer| {
                        permit.limit_storage(answer.headers_mut());
                        answer
                    });
                }
                Carried::Http1(same) => request = *same,
            }
        }
        let (parts, body) = request.into_parts();
        let sender = Sender::new(body, &parts);
        let slot = Slot::take(&self.core, claimant(&permit, via)).await?;
        let mut lease = slot.connection(sender.is_replayable(&parts.method)).await?;
        let head = &mut lease.connection.output;
        (self.core.outbound).write_head(head, &parts, sender.framing(), permit.identity(), via);

        // The answer's headers live in the map the request's came in: no allocation.
        let mut headers = parts.headers;
        headers.clear();
        let mut exchange = Box::new(Exchange::new(lease, sender, parts.method));
        loop {
            match poll_fn(|cx| exchange.poll_head(cx, &mut headers)).await {
                Ok(status) => {
                    exchange.settle(&headers).await?;
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

    /// Whether the upstream speaks HTTP/2, or may choose to when it is asked for the first time. Known
    /// for sure once a request has been begun.
    pub fn may_speak_http2(&self) -> bool {
        let links = self.core.links.as_ref();
        links.is_some_and(|links| !links.chose_http1())
    }

    /// Closes idle connections past their time. Every use of the pool does so too; a worker calls
    /// this now and then so that they also go when no request comes.
    pub fn sweep(&self) {
        self.core.pool.sweep();
        if let Some(links) = &self.core.links {
            links.sweep();
        }
    }

    /// What the pool has done so far.
    pub fn stats(&self) -> Stats {
        let mut stats = self.core.pool.stats();
        stats.idle += self.core.links.as_ref().map_or(0, Links::idle);
        stats
    }
}

impl Drop for Proxy {
    /// Whoever exchanges the proxy lets its idle connections go; a connection in use is not kept when
    /// its exchange is over.
    fn drop(&mut self) {
        self.core.pool.retire();
        if let Some(links) = &self.core.links {
            links.retire();
        }
    }
}

/// Who asks for a place at the upstream.
fn claimant(permit: &Permit, via: &Via) -> Claimant {
    let identity = permit.identity();
    Claimant {
        address: Some(via.client),
        user: identity.map_or(User::Unknown, |caller| {
            User::Known(caller.session.owner.user)
        }),
    }
}

/// The longest silence in both directions while a body of known length is on its way. The same as the
/// default of the great reverse proxies.
const IDLE_LIMIT: Duration = Duration::from_secs(60);
