//! How does a response end with the session it was authorized for?
//!
//! A response that arrives complete with its head needs no check. Any other checks, whenever it is polled,
//! whether a session has ended since its request was authorized: it reads one number. When that number has
//! changed, when the response waits for the upstream, and when it has continued for a while, it is entered in
//! the registry of open streams, which notifies it. Only the registry checks whether its session has expired. A
//! response whose client accepts nothing is not polled. Instead, the connection's sweep checks its
//! [`SessionWatch`] and cuts it. An event stream also ends with the process.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::{Body as _, Frame, SizeHint};

use crate::gateway::request_body::RequestBody;
use crate::gateway::session_watch::SessionWatch;
use crate::guard::Identity;
use crate::net::body::Incoming;
use crate::net::connection::response_watch::ResponseWatch;
use crate::net::lifecycle::{Lifecycle, Phase};
use crate::proxy::{self, UpstreamError, grpc::is_grpc};
use crate::service::streams::StreamRegistry;

/// After this many pieces a response that never waits is entered in the registry.
const PIECES: u8 = 32;

/// The upstream's response body, bound to the session of the caller.
#[derive(Debug)]
pub struct SessionBoundBody {
    /// None once it was ended early. The upstream's connection is closed with it.
    body: Option<proxy::Body<RequestBody<Incoming>>>,
    binding: Option<Box<Binding>>,
    ended_by: Option<EndedBy>,
}

/// The cause that ends a response early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndedBy {
    /// The end of the caller's session.
    Session,
    /// The end of the process.
    Process,
}

/// Why a response was cut.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// The upstream failed.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The session that it was authorized for has ended.
    #[error("the session has ended")]
    SessionEnded,
}

/// The binding of a response to its caller's session.
#[derive(Debug)]
pub(crate) struct Binding {
    kind: Kind,
    /// None when the caller is anonymous.
    watch: Option<Arc<SessionWatch>>,
    /// The epoch of the revocations before the request was authorized.
    epoch: u64,
    pieces: u8,
    /// None when it may continue for as long as the process drains.
    closing: Option<Closing>,
}

/// How a response is ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An event stream: it may end after any event.
    Events,
    /// A gRPC response: it ends with a status in the trailers.
    Grpc,
    /// Any other response is cut.
    Plain,
}

/// The caller, and the epoch of the revocations before the request was authorized.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AuthorizedCaller<'a> {
    pub(crate) identity: &'a Arc<Identity>,
    pub(crate) epoch: u64,
}

impl SessionBoundBody {
    /// A body with its binding, if it needs one.
    pub(crate) fn new(
        body: proxy::Body<RequestBody<Incoming>>,
        binding: Option<Box<Binding>>,
    ) -> Self {
        Self {
            body: Some(body),
            binding,
            ended_by: None,
        }
    }

    /// The watch over its session, if the caller is known.
    pub(crate) fn watch(&self) -> Option<Arc<dyn ResponseWatch>> {
        let watch = self.binding.as_deref()?.watch.as_ref()?;
        Some(Arc::clone(watch) as Arc<dyn ResponseWatch>)
    }

    /// The cause that has ended it early. Returned once.
    pub(crate) fn take_ended_by(&mut self) -> Option<EndedBy> {
        self.ended_by.take()
    }

    pub(crate) fn poll_frame(
        &mut self,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if let Some(binding) = &mut self.binding
            && let Poll::Ready(by) = binding.poll_end(task)
        {
            return self.end(by);
        }
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(task).map_err(Cut::Upstream);
        if polled.is_pending()
            && let Some(binding) = &mut self.binding
            && let Poll::Ready(by) = binding.poll_end_while_waiting(task)
        {
            return self.end(by);
        }
        polled
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.body
            .as_ref()
            .is_none_or(http_body::Body::is_end_stream)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.body
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }

    /// Ends the response in the way of its kind.
    fn end(&mut self, by: EndedBy) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let kind = self.binding.take().map_or(Kind::Plain, |b| b.kind);
        self.body = None;
        self.ended_by = Some(by);
        Poll::Ready(match kind {
            Kind::Events => None,
            Kind::Grpc => Some(Ok(Frame::trailers(unauthenticated()))),
            Kind::Plain => Some(Err(Cut::SessionEnded)),
        })
    }
}

impl Binding {
    /// Binds a response to its caller's session, and an event stream to the process if the client
    /// reconnects by itself (`reconnects`: an event stream that was requested by GET). A response that has
    /// arrived complete needs no binding.
    pub(crate) fn of(
        response: &Response<proxy::Body<RequestBody<Incoming>>>,
        registry: &Arc<StreamRegistry>,
        caller: Option<AuthorizedCaller<'_>>,
        reconnects: bool,
        lifecycle: &Lifecycle,
    ) -> Option<Box<Self>> {
        if response.body().is_whole() {
            return None;
        }
        let kind = Kind::of(response.headers());
        let closing = (kind == Kind::Events && reconnects).then(|| Closing::of(lifecycle));
        Self::new(kind, registry, caller, closing)
    }

    fn new(
        kind: Kind,
        registry: &Arc<StreamRegistry>,
        caller: Option<AuthorizedCaller<'_>>,
        closing: Option<Closing>,
    ) -> Option<Box<Self>> {
        let epoch = caller.map_or(0, |caller| caller.epoch);
        let watch = caller.map(|AuthorizedCaller { identity, .. }| {
            Arc::new(SessionWatch::new(registry, identity, kind != Kind::Plain))
        });
        if watch.is_none() && closing.is_none() {
            return None;
        }
        Some(Box::new(Self {
            kind,
            watch,
            epoch,
            pieces: 0,
            closing,
        }))
    }

    /// Ready when the response has to end. Called for every poll, so it is cheap.
    fn poll_end(&mut self, task: &mut Context<'_>) -> Poll<EndedBy> {
        if self.is_session_over(task) {
            return Poll::Ready(EndedBy::Session);
        }
        match &mut self.closing {
            Some(closing) => closing.0.as_mut().poll(task).map(|()| EndedBy::Process),
            None => Poll::Pending,
        }
    }

    /// The same for a response that waits: it is entered in the registry, which wakes it.
    fn poll_end_while_waiting(&mut self, task: &mut Context<'_>) -> Poll<EndedBy> {
        match &self.watch {
            Some(watch) => watch.poll_over(task).map(|()| EndedBy::Session),
            None => Poll::Pending,
        }
    }

    fn is_session_over(&mut self, task: &mut Context<'_>) -> bool {
        let Some(watch) = &self.watch else {
            return false;
        };
        if let Some(is_over) = watch.poll_entered(task) {
            return is_over;
        }
        self.pieces = self.pieces.saturating_add(1);
        if self.pieces <= PIECES && watch.epoch() == self.epoch {
            return false;
        }
        watch.poll_over(task).is_ready()
    }
}

/// Waits for the process to close its listeners.
struct Closing(Pin<Box<dyn Future<Output = ()> + Send + Sync>>);

impl Closing {
    fn of(lifecycle: &Lifecycle) -> Self {
        let lifecycle = lifecycle.clone();
        Self(Box::pin(async move {
            lifecycle.reached(Phase::Closing).await;
        }))
    }
}

impl fmt::Debug for Closing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closing")
    }
}

impl Kind {
    fn of(headers: &HeaderMap) -> Self {
        let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let is = |name: &[u8]| {
            kind.and_then(|kind| kind.get(..name.len()))
                .is_some_and(|kind| kind.eq_ignore_ascii_case(name))
        };
        if is(b"text/event-stream") {
            Self::Events
        } else if headers.get(CONTENT_TYPE).is_some_and(is_grpc) {
            Self::Grpc
        } else {
            Self::Plain
        }
    }
}

/// The trailers of a gRPC response whose session has ended.
fn unauthenticated() -> HeaderMap {
    HeaderMap::from_iter([
        (
            HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("16"),
        ),
        (
            HeaderName::from_static("grpc-message"),
            HeaderValue::from_static("the session has ended"),
        ),
    ])
}
