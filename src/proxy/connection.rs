//! One HTTP/1.1 connection to the upstream, with its buffers and its timer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::proxy::stats::Counters;
use crate::proxy::stream::Stream;
use crate::proxy::timer::DeadlineTimer;

/// A connection and what an exchange on it needs.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Stream,
    /// Bytes that were read and are not yet parsed.
    pub(super) input: BytesMut,
    /// An earlier buffer of `input` whose bytes were not yet sent to the client when more was read.
    pub(super) spare: BytesMut,
    /// The request's head, later the chunk framing around the pieces of its body.
    pub(super) output: Vec<u8>,
    pub(super) timer: DeadlineTimer,
    pub(super) created: Instant,
    counters: Arc<Counters>,
}

/// Whether a request could be sent again if its connection turned out to be dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replay {
    /// Yes: a cheap check of an idle connection is enough.
    Possible,
    /// No: the kernel is asked as well.
    Impossible,
}

impl Connection {
    /// A fresh connection; counted as open until it is dropped.
    pub(super) fn new(stream: Stream, buffers: Buffers, counters: &Arc<Counters>) -> Self {
        let (input, output) = buffers;
        counters.created.fetch_add(1, Ordering::Relaxed);
        counters.open.fetch_add(1, Ordering::Relaxed);
        Self {
            stream,
            input,
            spare: BytesMut::new(),
            output,
            timer: DeadlineTimer::default(),
            created: Instant::now(),
            counters: Arc::clone(counters),
        }
    }

    /// Whether an idle connection is still open, and the upstream has sent nothing on it.
    pub(super) fn is_quiet(&mut self, replay: Replay) -> bool {
        match replay {
            Replay::Possible => self.stream.is_quiet(),
            Replay::Impossible => self.stream.is_quiet() && self.stream.is_quiet_for_certain(),
        }
    }

    /// Makes room for this many bytes in `input`. Memory whose bytes the client has received is used again,
    /// that of this buffer or of the one before: a large body needs no fresh memory, whose pages the kernel
    /// would have to clear each time.
    pub(super) fn make_room(&mut self, bytes: usize) {
        if self.input.try_reclaim(bytes) {
            return;
        }
        if self.input.is_empty() {
            std::mem::swap(&mut self.input, &mut self.spare);
        }
        self.input.reserve(bytes);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.counters.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The buffers `input` and `output` of a connection.
pub(super) type Buffers = (BytesMut, Vec<u8>);
