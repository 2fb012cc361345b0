//! Ends an answer with the session it is given for.
//!
//! A short answer of known length needs none. A longer one asks, whenever it goes on, whether any
//! session has ended since its request was judged: one number, which is only read. When that is so,
//! when it waits for the upstream, and when it has gone on for a while, it goes into the books of open
//! streams, and is told. Only there is the time of its session looked after, and a revocation that
//! was forgotten while nobody read the answer made good for. One whose client
//! takes nothing is not asked to go on: the watch over the connection looks in its place, and cuts it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};
use http_body::Body;

use crate::guard::Identity;
use crate::service::streams::{Desk, OpenStream, Opener};

/// An answer of known length up to this is not worth a leash, in bytes.
const SHORT: u64 = 64 * 1024;

/// So many pieces go out before an answer that never waits is taken for one that goes on.
const PIECES: u8 = 32;

/// See the module.
#[derive(Debug)]
pub(super) struct Leash {
    kind: Kind,
    tie: Arc<Tie>,
    /// The state of the revocations before the request was judged.
    epoch: u64,
    pieces: u8,
}

/// What ties an answer to its caller's session. The watch over the client's connection holds it too:
/// an answer whose client takes nothing is not asked to go on, and would never look.
#[derive(Debug)]
pub(super) struct Tie {
    desk: Arc<Desk>,
    identity: Arc<Identity>,
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

impl Leash {
    /// For an answer that may go on for longer than its session, whose request was judged when the
    /// revocations had this epoch, or a later one.
    pub(super) fn of<B: Body>(
        answer: &Response<B>,
        desk: &Arc<Desk>,
        identity: &Arc<Identity>,
        epoch: u64,
    ) -> Option<Box<Self>> {
        let length = answer.body().size_hint().exact();
        if length.is_some_and(|length| length <= SHORT) {
            return None;
        }
        Some(Box::new(Self {
            kind: Kind::of(answer.headers()),
            epoch,
            pieces: 0,
            tie: Arc::new(Tie {
                desk: Arc::clone(desk),
                identity: Arc::clone(identity),
                stream: Mutex::default(),
            }),
        }))
    }

    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) const fn tie(&self) -> &Arc<Tie> {
        &self.tie
    }

    /// Ready when the session is over. Cheap: for every time that an answer goes on.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let tie = &*self.tie;
        if let Some(stream) = &mut *tie.stream() {
            return stream.poll_over(cx);
        }
        self.pieces = self.pieces.saturating_add(1);
        if self.pieces <= PIECES && tie.desk.liveness().epoch() == self.epoch {
            return Poll::Pending;
        }
        self.poll_over_while_waiting(cx)
    }

    /// The same for an answer that waits: goes into the books, to be woken.
    pub(super) fn poll_over_while_waiting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let tie = &*self.tie;
        tie.enter(&mut tie.stream()).poll_over(cx)
    }
}

impl Tie {
    /// Whether the session is over, for who looks now and then. Goes into the books.
    pub(super) fn is_over(&self) -> bool {
        self.enter(&mut self.stream()).is_over()
    }

    fn enter<'a>(&self, stream: &'a mut Option<OpenStream>) -> &'a mut OpenStream {
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
        generation: identity.generation,
        expires_at: identity.expires_at,
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
        } else if is(b"application/grpc") {
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
