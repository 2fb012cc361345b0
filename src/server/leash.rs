//! Ends an answer with the session it is given for, and an event stream with the process too.
//!
//! An answer that has come whole with its head needs none. Another asks, whenever it goes on, whether any
//! session has ended since its request was judged: one number, which is only read. When that is so,
//! when it waits for the upstream, and when it has gone on for a while, it goes into the books of open
//! streams, and is told. Only in the books is the time of its session looked after, and only there is
//! it found out when a revocation came and was forgotten again while nobody read the answer. One whose
//! client takes nothing is not asked to go on: the watch over the connection looks in its place, and
//! cuts it.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};
use hyper::body::Incoming;

use crate::guard::{Denial, Identity};
use crate::proxy::{self, grpc::is_grpc};
use crate::server::connection::{Paced, Progress};
use crate::server::lifecycle::{Lifecycle, Phase};
use crate::server::problem::Refusal;
use crate::service::streams::{Desk, OpenStream, Opener};

/// So many pieces go out before an answer that never waits is taken for one that goes on.
const PIECES: u8 = 32;

/// See the module.
#[derive(Debug)]
pub(super) struct Leash {
    kind: Kind,
    /// None when nobody is known to be calling.
    tie: Option<Arc<Tie>>,
    /// The state of the revocations before the request was judged.
    epoch: u64,
    pieces: u8,
    /// None when it may go on for as long as draining takes.
    closing: Option<Closing>,
}

/// What an answer ends with before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// Its caller's session.
    Session,
    /// The process.
    Process,
}

/// What ties an answer to its caller's session. The watch over the client's connection holds it too:
/// an answer whose client takes nothing is not asked to go on, and would never look.
#[derive(Debug)]
pub(super) struct Tie {
    desk: Arc<Desk>,
    identity: Arc<Identity>,
    /// Whether it also ends when the roles change that it was opened with.
    ends_with_roles: bool,
    stream: Mutex<Option<OpenStream>>,
}

/// How an answer is ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Events follow each other; after any of them may be the end.
    Events,
    /// A status follows in the trailers.
    Grpc,
    /// It breaks off.
    Plain,
}

/// Who is calling, and the state of the revocations before that was judged, or a later one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged<'a> {
    pub(super) identity: &'a Arc<Identity>,
    pub(super) epoch: u64,
}

impl Leash {
    /// For an answer that may go on for longer than its session, or than the process should wait.
    pub(super) fn of(
        answer: &Response<proxy::Body<Paced<Incoming>>>,
        desk: &Arc<Desk>,
        caller: Option<Judged<'_>>,
        closing: impl FnOnce() -> Option<Closing>,
    ) -> Option<Box<Self>> {
        if answer.body().is_whole() {
            return None;
        }
        let kind = Kind::of(answer.headers());
        let closing = if kind == Kind::Events {
            closing()
        } else {
            None
        };
        let epoch = caller.map_or(0, |caller| caller.epoch);
        let tie = caller.map(|Judged { identity, .. }| {
            Arc::new(Tie {
                desk: Arc::clone(desk),
                identity: Arc::clone(identity),
                ends_with_roles: kind != Kind::Plain,
                stream: Mutex::default(),
            })
        });
        if tie.is_none() && closing.is_none() {
            return None;
        }
        Some(Box::new(Self {
            kind,
            tie,
            epoch,
            pieces: 0,
            closing,
        }))
    }

    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) const fn tie(&self) -> Option<&Arc<Tie>> {
        self.tie.as_ref()
    }

    /// Ready when it has to end. Cheap: for every time that an answer goes on.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        if self.is_session_over(cx) {
            return Poll::Ready(Over::Session);
        }
        match &mut self.closing {
            Some(closing) => closing.0.as_mut().poll(cx).map(|()| Over::Process),
            None => Poll::Pending,
        }
    }

    /// The same for an answer that waits: goes into the books, to be woken.
    pub(super) fn poll_over_while_waiting(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        match &self.tie {
            Some(tie) => {
                let polled = tie.enter(&mut tie.stream()).poll_over(cx);
                polled.map(|()| Over::Session)
            }
            None => Poll::Pending,
        }
    }

    fn is_session_over(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(tie) = &self.tie else {
            return false;
        };
        if let Some(stream) = &mut *tie.stream() {
            return stream.poll_over(cx).is_ready();
        }
        self.pieces = self.pieces.saturating_add(1);
        if self.pieces <= PIECES && tie.desk.liveness().epoch() == self.epoch {
            return false;
        }
        tie.enter(&mut tie.stream()).poll_over(cx).is_ready()
    }
}

/// Waits for the process to close.
pub(super) struct Closing(Pin<Box<dyn Future<Output = ()> + Send + Sync>>);

impl Closing {
    pub(super) fn of(lifecycle: &Lifecycle) -> Self {
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

impl Tie {
    /// Whether the session is over, for who looks now and then. Goes into the books.
    pub(super) fn is_over(&self) -> bool {
        self.enter(&mut self.stream()).is_over()
    }

    fn enter<'a>(&self, stream: &'a mut Option<OpenStream>) -> &'a mut OpenStream {
        let opener = if self.ends_with_roles {
            opener
        } else {
            exchange
        };
        stream.get_or_insert_with(|| self.desk.open(opener(&self.identity)))
    }

    /// A stream is whole at any moment, so a poisoned lock still guards a sound one.
    fn stream(&self) -> MutexGuard<'_, Option<OpenStream>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// On whose behalf a stream is opened.
pub(super) fn opener(identity: &Identity) -> Opener<'_> {
    Opener {
        session: &identity.session,
        version: Some(identity.version.unwrap_or_default()),
        expires_at: identity.expires_at,
    }
}

/// The same for an exchange of one request and one answer: changed roles hold from the next request on.
fn exchange(identity: &Identity) -> Opener<'_> {
    Opener {
        version: None,
        ..opener(identity)
    }
}

/// Waits for the head of an answer, for as long as the caller's session lives. The session is registered
/// only once the request has been under way for long; the connection's sweep wakes its task then.
pub(super) async fn while_session_lasts<T>(
    answer: impl Future<Output = Result<T, proxy::UpstreamError>>,
    identity: &Identity,
    desk: &Arc<Desk>,
    progress: &Progress,
) -> Result<T, Refusal> {
    let mut answer = pin!(answer);
    let mut stream = None;
    poll_fn(|cx| {
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(answer.map_err(Refusal::from));
        }
        if stream.is_none() && !progress.is_long() {
            return Poll::Pending;
        }
        let stream = stream.get_or_insert_with(|| desk.open(exchange(identity)));
        stream
            .poll_over(cx)
            .map(|()| Err(Refusal::Denied(Denial::ended())))
    })
    .await
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

/// What a gRPC answer ends with whose session is over.
pub(super) fn unauthenticated() -> HeaderMap {
    HeaderMap::from_iter([
        (
            http::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("16"),
        ),
        (
            http::HeaderName::from_static("grpc-message"),
            HeaderValue::from_static("the session has ended"),
        ),
    ])
}
