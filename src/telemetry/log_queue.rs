//! How do log lines reach a file or standard output without blocking a worker? Through a bounded queue to
//! a separate thread.
//!
//! Workers pass complete buffers and never wait. If the reader stops reading, lines are dropped and
//! counted; requests continue. A file can be opened again by its name while it is written, so that it can
//! be rotated.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};

use crate::telemetry::logging::LAST_WAIT;
use crate::telemetry::settings::AccessLogTarget;
use crate::telemetry::sink::Sink;

/// How many buffers may wait for the writer.
const QUEUE: usize = 256;

/// The sending end; one per worker.
#[derive(Debug, Clone)]
pub struct LogQueue {
    buffers: SyncSender<Vec<u8>>,
    lost: Arc<AtomicU64>,
}

/// The writing thread. Dropping all queues ends it after the last buffer.
#[derive(Debug)]
pub struct Writer {
    /// Disconnected when the thread has ended.
    end: Receiver<()>,
    lost: Arc<AtomicU64>,
    reopen: Reopen,
}

/// Makes the writer open its file again before the next lines. Cheap to clone; keeps nothing open.
#[derive(Debug, Clone, Default)]
pub struct Reopen(Arc<AtomicBool>);

impl Reopen {
    /// Requests that the file is opened again.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_asked(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// Opens the target that lines are written to.
type Open = Box<dyn FnMut() -> io::Result<Target> + Send>;

type Target = Box<dyn Write + Send>;

/// Opens the target and starts its writer.
///
/// # Errors
/// When the target cannot be opened. A pipe with a name (FIFO) is opened by the writer, since that
/// waits for a reader.
pub fn start(target: &AccessLogTarget) -> io::Result<(LogQueue, Writer)> {
    match target.clone() {
        AccessLogTarget::Stdout => {
            // A descriptor of our own: other printing threads do not wait for this one.
            let open = || io::stdout().as_fd().try_clone_to_owned().map(File::from);
            let first = open()?;
            let open: Open = Box::new(move || Ok(Box::new(open()?)));
            start_with(Some(Box::new(first)), open)
        }
        AccessLogTarget::File(path) => {
            let is_fifo = fs::metadata(&path).is_ok_and(|found| found.file_type().is_fifo());
            let open = move || {
                let mut options = OpenOptions::new();
                options.create(true).append(true).mode(0o600).open(&path)
            };
            let first: Option<Target> = if is_fifo {
                None
            } else {
                Some(Box::new(open()?))
            };
            start_with(first, Box::new(move || Ok(Box::new(open()?))))
        }
    }
}

fn start_with(first: Option<Target>, open: Open) -> io::Result<(LogQueue, Writer)> {
    let (sender, receiver) = sync_channel(QUEUE);
    let lost = Arc::new(AtomicU64::new(0));
    let reopen = Reopen::default();
    let (ended, end) = sync_channel::<()>(0);
    let output = Output {
        sink: first.map(Sink::new),
        open,
        reopen: reopen.clone(),
        lost: Arc::clone(&lost),
    };
    std::thread::Builder::new()
        .name("access-log".to_owned())
        .spawn(move || {
            output.write_all(&receiver);
            drop(ended);
        })?;
    Ok((
        LogQueue {
            buffers: sender,
            lost: Arc::clone(&lost),
        },
        Writer { end, lost, reopen },
    ))
}

/// The state of the writing thread.
struct Output {
    sink: Option<Sink<Target>>,
    open: Open,
    reopen: Reopen,
    lost: Arc<AtomicU64>,
}

impl Output {
    fn write_all(mut self, buffers: &Receiver<Vec<u8>>) {
        let mut reported = 0;
        let mut is_broken = false;
        while let Ok(buffer) = buffers.recv() {
            match self.write(&buffer) {
                Ok(()) => {
                    is_broken = false;
                    let lost = self.lost.load(Ordering::Relaxed);
                    if lost > reported {
                        let lines = lost - reported;
                        tracing::warn!(lines, "access-log lines were dropped");
                        reported = lost;
                    }
                }
                Err(error) => {
                    self.lost.fetch_add(lines(&buffer), Ordering::Relaxed);
                    if !is_broken {
                        tracing::error!(%error, "the access log cannot be written; lines are lost");
                        is_broken = true;
                    }
                }
            }
        }
    }

    fn write(&mut self, buffer: &[u8]) -> io::Result<()> {
        let sink = match &mut self.sink {
            Some(sink) if !self.reopen.is_asked() => sink,
            Some(sink) => {
                match (self.open)() {
                    Ok(fresh) => *sink = Sink::new(fresh),
                    Err(error) => {
                        tracing::error!(%error, "the access log cannot be opened again; lines are still written to the old file");
                    }
                }
                sink
            }
            None => self.sink.insert(Sink::new((self.open)()?)),
        };
        sink.write_lines(buffer)
    }
}

fn lines(buffer: &[u8]) -> u64 {
    buffer
        .split(|byte| *byte == b'\n')
        .count()
        .saturating_sub(1) as u64
}

impl LogQueue {
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

    /// Opens the file again on request.
    pub fn reopen(&self) -> Reopen {
        self.reopen.clone()
    }

    /// Waits until all lines are written, for a second at most: the reader may have stopped. All queues
    /// must have been dropped.
    pub fn finish(self) {
        if self.end.recv_timeout(LAST_WAIT) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the access log is not read; its last lines are lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn queued_lines_are_written_before_shutdown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let target = AccessLogTarget::File(file.path().to_owned());
        let (queue, writer) = start(&target).unwrap();
        for n in 0..100 {
            queue.send(format!("line {n}\n").into_bytes());
        }
        drop(queue);
        writer.finish();
        let text = fs::read_to_string(file.path()).unwrap();
        assert_eq!(text.lines().count(), 100);
        assert!(text.ends_with("line 99\n"));
    }

    #[test]
    fn a_stalled_reader_loses_lines_and_blocks_no_request() {
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
        let open: Open = Box::new(|| Err(io::ErrorKind::NotFound.into()));
        let (queue, writer) = start_with(Some(Box::new(Stuck(held))), open).unwrap();
        for _ in 0..QUEUE + 10 {
            queue.send(b"x\n".to_vec());
        }
        assert!(queue.lost.load(Ordering::Relaxed) >= 9);
        drop(queue);
        // Ends although nothing was taken yet.
        writer.finish();
        drop(release);
    }

    #[test]
    fn a_named_pipe_without_a_reader_blocks_neither_start_nor_stop() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("access");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let (queue, writer) = start(&AccessLogTarget::File(path.clone())).unwrap();
        for _ in 0..QUEUE + 10 {
            queue.send(b"x\n".to_vec());
        }
        assert!(queue.lost.load(Ordering::Relaxed) >= 9);
        drop(queue);
        writer.finish();
        // A late reader still receives the lines that waited.
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.len() >= QUEUE, "{}", text.len());
    }

    #[test]
    fn a_log_file_is_for_its_owner_only() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("access.log");
        let (queue, writer) = start(&AccessLogTarget::File(path.clone())).unwrap();
        drop(queue);
        writer.finish();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
