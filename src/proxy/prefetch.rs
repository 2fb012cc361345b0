//! How much of an answer's body is read before its head is returned?
//!
//! A head that was returned cannot be withdrawn: after a later fault the client has a broken answer with the
//! upstream's status. Before that, a fault becomes an error answer of the proxy. Most faults are in the first
//! packets. So the head of a small body waits for the whole body, and every other head for the bytes that come
//! right after it, for a short time.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use tokio::time::Instant;

use crate::proxy::grpc::is_grpc;

/// A body of known length up to this must be complete.
const SMALL: u64 = 16 * 1024;

/// This much is enough of a longer one, and of one of unknown length.
const ENOUGH: u64 = 4 * 1024;

/// The most pieces that are kept.
const MAX_PIECES: usize = 16;

/// How long a head waits for a body of known length, and of unknown length.
const MAX_WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT_UNKNOWN_LENGTH: Duration = Duration::from_millis(20);

/// How long the head of this answer waits for its body. For event streams and gRPC it does not wait.
pub(super) fn max_wait(headers: &HeaderMap) -> Duration {
    if headers.contains_key(CONTENT_LENGTH) {
        return MAX_WAIT;
    }
    let kind = headers.get(CONTENT_TYPE);
    let events = |kind: &HeaderValue| {
        let name = b"text/event-stream";
        let kind = kind.as_bytes().get(..name.len());
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case(name))
    };
    if kind.is_some_and(|kind| events(kind) || is_grpc(kind)) {
        Duration::ZERO
    } else {
        MAX_WAIT_UNKNOWN_LENGTH
    }
}

/// The end of this wait, which begins with the first call; `None` if the head does not wait.
pub(super) fn deadline(until: &mut Option<Instant>, max_wait: Duration) -> Option<Instant> {
    (!max_wait.is_zero()).then(|| *until.get_or_insert_with(|| Instant::now() + max_wait))
}

/// How much of a body of this length must have come.
pub(super) const fn wanted(length: u64) -> u64 {
    if length <= SMALL { length } else { ENOUGH }
}

/// The start of a body, kept until the client reads it.
#[derive(Debug, Default)]
pub(super) struct Prefetched {
    /// Mostly there is one piece, for which nothing is allocated.
    first: Bytes,
    others: VecDeque<Bytes>,
    trailers: Option<Box<HeaderMap>>,
}

impl Prefetched {
    /// Adds a piece.
    pub(super) fn push(&mut self, piece: Bytes) {
        if self.first.is_empty() && self.others.is_empty() {
            self.first = piece;
        } else {
            self.others.push_back(piece);
        }
    }

    /// Adds the trailers, which end the body.
    pub(super) fn end_with(&mut self, trailers: HeaderMap) {
        self.trailers = Some(Box::new(trailers));
    }

    /// The next frame.
    pub(super) fn next(&mut self) -> Option<Frame<Bytes>> {
        if !self.first.is_empty() {
            return Some(Frame::data(std::mem::take(&mut self.first)));
        }
        if let Some(piece) = self.others.pop_front() {
            return Some(Frame::data(piece));
        }
        self.trailers
            .take()
            .map(|trailers| Frame::trailers(*trailers))
    }

    /// Whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.others.is_empty() && self.trailers.is_none()
    }

    /// Whether enough is kept.
    pub(super) fn is_full(&self) -> bool {
        self.bytes() >= ENOUGH || self.others.len() >= MAX_PIECES
    }

    /// How many bytes are kept.
    pub(super) fn bytes(&self) -> u64 {
        let others: usize = self.others.iter().map(Bytes::len).sum();
        (self.first.len() + others) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(
            http::HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )])
    }

    #[test]
    fn events_and_calls_are_forwarded_at_once() {
        for kind in [
            "text/event-stream",
            "Text/Event-Stream; charset=utf-8",
            "application/grpc",
        ] {
            assert_eq!(
                max_wait(&headers("content-type", kind)),
                Duration::ZERO,
                "{kind}"
            );
        }
        let json = max_wait(&headers("content-type", "application/x-ndjson"));
        assert_eq!(json, MAX_WAIT_UNKNOWN_LENGTH);
        assert_eq!(max_wait(&headers("content-length", "5")), MAX_WAIT);
    }

    #[test]
    fn buffered_pieces_keep_their_order() {
        let mut prefetched = Prefetched::default();
        for piece in ["a", "b", "c"] {
            prefetched.push(Bytes::from_static(piece.as_bytes()));
        }
        prefetched.end_with(headers("x-sum", "1"));
        assert_eq!(prefetched.bytes(), 3);
        let data: Vec<Bytes> = (0..3)
            .map(|_| prefetched.next().unwrap().into_data().unwrap())
            .collect();
        assert_eq!(data, ["a", "b", "c"]);
        assert!(!prefetched.is_empty());
        assert!(prefetched.next().unwrap().is_trailers());
        assert!(prefetched.is_empty() && prefetched.next().is_none());
    }
}
