//! The bounded queue between the threads that log and the one that writes. Pushing never waits: a
//! line that does not fit is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// How many lines may wait for the writer.
const MAX_LINES: usize = 8_192;

/// How many bytes may wait for the writer.
const MAX_BYTES: usize = 4 << 20;

/// The sending end. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    lines: SyncSender<Vec<u8>>,
    state: Arc<State>,
}

/// The receiving end, for the writing thread.
#[derive(Debug)]
pub(super) struct Lines {
    lines: Receiver<Vec<u8>>,
    state: Arc<State>,
}

/// The state that both ends share.
#[derive(Debug, Default)]
struct State {
    /// Bytes of lines that wait.
    bytes: AtomicUsize,
    /// Lines that were taken into the queue.
    accepted: AtomicU64,
    /// Lines that were lost.
    dropped: Arc<AtomicU64>,
    /// Lines that the writer is done with.
    done: Mutex<u64>,
    progress: Condvar,
}

/// Both ends.
pub(super) fn queue() -> (Queue, Lines) {
    let (sender, lines) = sync_channel(MAX_LINES);
    let state = Arc::new(State::default());
    let queue = Queue {
        lines: sender,
        state: Arc::clone(&state),
    };
    (queue, Lines { lines, state })
}

impl Queue {
    /// Hands a line over, or drops it when the queue is full.
    pub(super) fn push(&self, line: Vec<u8>) {
        let length = line.len();
        let before = self.state.bytes.fetch_add(length, Ordering::Relaxed);
        if before + length <= MAX_BYTES && self.lines.try_send(line).is_ok() {
            self.state.accepted.fetch_add(1, Ordering::Release);
        } else {
            self.state.bytes.fetch_sub(length, Ordering::Relaxed);
            self.state.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counter of lines that were lost.
    pub(super) fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.state.dropped)
    }

    /// Waits until the lines pushed so far are written, at most this long. Returns whether they are.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let target = self.state.accepted.load(Ordering::Acquire);
        let mut done = self.state.done.lock();
        let progress = &self.state.progress;
        progress.wait_while_for(&mut done, |done| *done < target, patience);
        *done >= target
    }
}

impl Lines {
    /// The next line, or `None` when all senders are dropped.
    pub(super) fn next(&self) -> Option<Vec<u8>> {
        let line = self.lines.recv().ok()?;
        self.state.bytes.fetch_sub(line.len(), Ordering::Relaxed);
        Some(line)
    }

    /// Notes that the writer is done with the line it took last, and whether it was written.
    pub(super) fn done(&self, is_written: bool) {
        if !is_written {
            self.state.dropped.fetch_add(1, Ordering::Relaxed);
        }
        *self.state.done.lock() += 1;
        self.state.progress.notify_all();
    }

    /// How many lines were lost so far.
    pub(super) fn dropped(&self) -> u64 {
        self.state.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_queue_are_dropped_and_counted_without_waiting() {
        let (queue, lines) = queue();
        for _ in 0..MAX_LINES + 7 {
            queue.push(b"x\n".to_vec());
        }
        assert_eq!(lines.dropped(), 7);
        assert!(!queue.flush(Duration::ZERO));
        for _ in 0..MAX_LINES {
            assert_eq!(lines.next().unwrap(), b"x\n");
            lines.done(true);
        }
        assert!(queue.flush(Duration::ZERO));
    }

    #[test]
    fn long_lines_are_bounded_by_their_bytes() {
        let (queue, lines) = queue();
        for _ in 0..5 {
            queue.push(vec![b'x'; MAX_BYTES / 4]);
        }
        assert_eq!(lines.dropped(), 1);
        lines.next().unwrap();
        queue.push(b"fits again\n".to_vec());
        assert_eq!(lines.dropped(), 1);
    }
}
