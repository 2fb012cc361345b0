//! Lines on their way to a file or to standard output, written by a thread of its own.
//!
//! Workers hand over whole buffers and never wait: a reader that has stopped reading costs lines,
//! which are counted, and not requests. A file can be opened again by its name while it is written, for
//! whoever moves old lines out of the way.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use crate::server::settings::AccessLogTarget;

/// How many buffers may wait for the writer.
const QUEUE: usize = 256;

/// The sending end; one per worker.
#[derive(Debug, Clone)]
pub struct Outbox {
    buffers: SyncSender<Vec<u8>>,
    lost: Arc<AtomicU64>,
}

/// The writing thread. Dropping all outboxes ends it after the last buffer.
#[derive(Debug)]
pub struct Writer {
    thread: JoinHandle<()>,
    lost: Arc<AtomicU64>,
    reopen: Reopen,
}

/// Has the writer open its file again before the next lines. Cheap to clone; keeps nothing open.
#[derive(Debug, Clone, Default)]
pub struct Reopen(Arc<AtomicBool>);

impl Reopen {
    /// Asks for it.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_asked(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

type Sink = Box<dyn Write + Send>;

/// Opens the target and starts its writer.
pub fn start(target: &AccessLogTarget) -> io::Result<(Outbox, Writer)> {
    let target = target.clone();
    start_with(move || {
        Ok(match &target {
            AccessLogTarget::Stdout => Box::new(io::stdout()),
            AccessLogTarget::File(path) => {
                Box::new(OpenOptions::new().create(true).append(true).open(path)?)
            }
        })
    })
}

fn start_with(
    mut open: impl FnMut() -> io::Result<Sink> + Send + 'static,
) -> io::Result<(Outbox, Writer)> {
    let (sender, receiver) = sync_channel(QUEUE);
    let lost = Arc::new(AtomicU64::new(0));
    let reopen = Reopen::default();
    let sink = open()?;
    let thread = std::thread::Builder::new()
        .name("access-log".to_owned())
        .spawn({
            let (lost, reopen) = (Arc::clone(&lost), reopen.clone());
            move || write_all(&receiver, sink, &lost, &reopen, open)
        })?;
    Ok((
        Outbox {
            buffers: sender,
            lost: Arc::clone(&lost),
        },
        Writer {
            thread,
            lost,
            reopen,
        },
    ))
}

fn write_all(
    buffers: &Receiver<Vec<u8>>,
    mut sink: Sink,
    lost: &AtomicU64,
    reopen: &Reopen,
    mut open: impl FnMut() -> io::Result<Sink>,
) {
    let mut complained = false;
    while let Ok(buffer) = buffers.recv() {
        if reopen.is_asked() {
            match open() {
                Ok(fresh) => sink = fresh,
                Err(error) => {
                    tracing::error!(%error, "the access log cannot be opened again; it goes on as before");
                }
            }
        }
        match sink.write_all(&buffer).and_then(|()| sink.flush()) {
            Ok(()) => complained = false,
            Err(error) => {
                lost.fetch_add(lines(&buffer), Ordering::Relaxed);
                if !complained {
                    tracing::error!(%error, "the access log cannot be written; lines are lost");
                    complained = true;
                }
            }
        }
    }
}

fn lines(buffer: &[u8]) -> u64 {
    buffer
        .split(|byte| *byte == b'\n')
        .count()
        .saturating_sub(1) as u64
}

impl Outbox {
    /// Hands over a buffer of whole lines.
    pub fn send(&self, buffer: Vec<u8>) {
        match self.buffers.try_send(buffer) {
            Ok(()) => {}
            Err(TrySendError::Full(buffer) | TrySendError::Disconnected(buffer)) => {
                self.lost.fetch_add(lines(&buffer), Ordering::Relaxed);
            }
        }
    }
}

impl Writer {
    /// A counter of lines that were not written.
    pub fn lost(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lost)
    }

    /// What has the file opened again.
    pub fn reopen(&self) -> Reopen {
        self.reopen.clone()
    }

    /// Waits until everything handed over is written. All outboxes must be gone.
    pub fn finish(self) {
        if self.thread.join().is_err() {
            tracing::error!("the access log's writer panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_handed_over_is_written_before_the_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let target = AccessLogTarget::File(file.path().to_owned());
        let (outbox, writer) = start(&target).unwrap();
        for n in 0..100 {
            outbox.send(format!("line {n}\n").into_bytes());
        }
        drop(outbox);
        writer.finish();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert_eq!(text.lines().count(), 100);
        assert!(text.ends_with("line 99\n"));
    }

    #[test]
    fn a_reader_that_stopped_reading_costs_lines_not_requests() {
        struct Stuck(Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (release, held) = sync_channel(0);
        let mut stuck = Some(Stuck(held));
        let open = move || Ok::<Sink, _>(Box::new(stuck.take().unwrap()));
        let (outbox, writer) = start_with(open).unwrap();
        for _ in 0..QUEUE + 10 {
            outbox.send(b"x\n".to_vec());
        }
        assert!(outbox.lost.load(Ordering::Relaxed) >= 9);
        drop(release);
        drop(outbox);
        writer.finish();
    }
}
