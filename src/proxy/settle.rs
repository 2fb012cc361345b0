//! How much of an answer is looked at before its head is handed out, and where that is kept.
//!
//! A head that was handed out cannot be taken back: a fault behind it is a broken answer with the
//! upstream's status. Most faults are in the first packets. So the head of a small body waits for the
//! body, and any head for what is readable behind it, for a moment at most.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use http_body::Frame;

use crate::proxy::grpc::is_grpc;

/// A body of known length up to this is waited for whole.
const SMALL: u64 = 16 * 1024;

/// Of a longer one, and of one of unknown length, so much is enough.
const ENOUGH: u64 = 4 * 1024;

/// The most pieces that are kept.
const MAX_PIECES: usize = 16;

/// How long the body of a known length may keep its head waiting, and one of an unknown length.
const PATIENCE: Duration = Duration::from_millis(100);
const PATIENCE_WITH_STREAMS: Duration = Duration::from_millis(20);

/// How long the head of this answer may wait for its body. For event streams and
/// gRPC the head does not wait.
pub(super) fn patience(headers: &HeaderMap) -> Duration {
    if headers.contains_key(CONTENT_LENGTH) {
        return PATIENCE;
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
        PATIENCE_WITH_STREAMS
    }
}

/// How much of a body of this length has to be there.
pub(super) const fn wanted(length: u64) -> u64 {
    if length <= SMALL { length } else { ENOUGH }
}

/// The beginning of a body, kept until the client takes it.
#[derive(Debug, Default)]
pub(super) struct Begun {
    /// Mostly there is one piece, for which nothing is allocated.
    first: Bytes,
    others: VecDeque<Bytes>,
    trailers: Option<Box<HeaderMap>>,
}

impl Begun {
    /// One piece more.
    pub(super) fn push(&mut self, piece: Bytes) {
        if self.first.is_empty() && self.others.is_empty() {
            self.first = piece;
        } else {
            self.others.push_back(piece);
        }
    }

    /// What ends the body.
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

    /// Whether no more need be looked at.
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
    fn events_and_calls_are_not_kept_waiting() {
        for kind in [
            "text/event-stream",
            "Text/Event-Stream; charset=utf-8",
            "application/grpc",
        ] {
            assert_eq!(
                patience(&headers("content-type", kind)),
                Duration::ZERO,
                "{kind}"
            );
        }
        let json = patience(&headers("content-type", "application/x-ndjson"));
        assert_eq!(json, PATIENCE_WITH_STREAMS);
        assert_eq!(patience(&headers("content-length", "5")), PATIENCE);
    }

    #[test]
    fn what_is_kept_comes_out_in_its_order() {
        let mut begun = Begun::default();
        for piece in ["a", "b", "c"] {
            begun.push(Bytes::from_static(piece.as_bytes()));
        }
        begun.end_with(headers("x-sum", "1"));
        assert_eq!(begun.bytes(), 3);
        let data: Vec<Bytes> = (0..3)
            .map(|_| begun.next().unwrap().into_data().unwrap())
            .collect();
        assert_eq!(data, ["a", "b", "c"]);
        assert!(!begun.is_empty());
        assert!(begun.next().unwrap().is_trailers());
        assert!(begun.is_empty() && begun.next().is_none());
    }
}
