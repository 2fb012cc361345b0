//! The thread that writes the audit files, and the queue to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::audit::directory::{Directory, Stats};
use crate::audit::error::AuditError;
use crate::audit::settings::Settings;
use crate::model::audit::AuditRecord;
use crate::types::time::{Clock, Stopwatch};

/// How many records may wait for the disk.
const QUEUE: usize = 8_192;

/// How many records are written at once.
const BATCH: usize = 256;

/// The interval at which written records are made durable.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// How long the caller of an action waits for its record.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);

/// How long the end of the process waits for the disk.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// The sending end of the queue.
#[derive(Debug)]
pub(super) struct Writer {
    directory: PathBuf,
    /// Empty once the log is closed.
    queue: Mutex<Option<SyncSender<Message>>>,
    accepted: AtomicU64,
    done: watch::Receiver<u64>,
    /// The disk did not respond in time. No caller waits until it has.
    is_stalled: Arc<AtomicBool>,
    /// How long a caller waits for its record.
    patience: Duration,
    ended: Mutex<Receiver<()>>,
}

enum Message {
    Record(AuditRecord),
    Carry(
        Vec<(u64, AuditRecord)>,
        oneshot::Sender<Result<(), AuditError>>,
    ),
}

impl Writer {
    pub(super) fn start(
        path: &Path,
        settings: &Settings,
        stats: Arc<Stats>,
        clock: Arc<dyn Clock>,
        patience: Duration,
    ) -> Result<Self, AuditError> {
        let directory = Directory::open(path, settings, Arc::clone(&stats))?;
        let (queue, messages) = sync_channel(QUEUE);
        let (progress, done) = watch::channel(0);
        let (ending, ended) = sync_channel::<()>(0);
        let is_stalled = Arc::new(AtomicBool::new(false));
        let work = Work {
            directory,
            stats,
            clock,
            progress,
            is_stalled: Arc::clone(&is_stalled),
            unreported: 0,
        };
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || {
                work.run(&messages);
                drop(ending);
            })
            .map_err(AuditError::Thread)?;
        Ok(Self {
            directory: path.to_owned(),
            queue: Mutex::new(Some(queue)),
            accepted: AtomicU64::new(0),
            done,
            is_stalled,
            patience,
            ended: Mutex::new(ended),
        })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn record(&self, record: AuditRecord) -> bool {
        let queue = self.queue.lock();
        let is_taken = queue
            .as_ref()
            .is_some_and(|queue| queue.try_send(Message::Record(record)).is_ok());
        if is_taken {
            self.accepted.fetch_add(1, Ordering::Release);
        }
        is_taken
    }

    pub(super) async fn settled(&self) {
        let target = self.accepted.load(Ordering::Acquire);
        if *self.done.borrow() >= target || self.is_stalled.load(Ordering::Relaxed) {
            return;
        }
        let mut done = self.done.clone();
        let is_in_time = timeout(self.patience, done.wait_for(|done| *done >= target)).await;
        if is_in_time.is_err() && !self.is_stalled.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the disk of the audit log is slow: requests are answered before their records are written"
            );
        }
    }

    pub(super) async fn carry(&self, records: Vec<(u64, AuditRecord)>) -> Result<(), AuditError> {
        let (reply, outcome) = oneshot::channel();
        let is_taken = {
            let queue = self.queue.lock();
            let message = Message::Carry(records, reply);
            queue
                .as_ref()
                .is_some_and(|queue| queue.try_send(message).is_ok())
        };
        let closed = || AuditError::Write("the queue is full or closed".to_owned());
        if !is_taken {
            return Err(closed());
        }
        outcome.await.unwrap_or_else(|_| Err(closed()))
    }

    pub(super) fn close(&self) {
        let queue = self.queue.lock().take();
        drop(queue);
        let ended = self.ended.lock();
        if ended.recv_timeout(LAST_WAIT) == Err(RecvTimeoutError::Timeout) {
            tracing::error!("the disk of the audit log does not answer; its last records are lost");
        }
    }
}

/// The state of the thread.
struct Work {
    directory: Directory,
    stats: Arc<Stats>,
    clock: Arc<dyn Clock>,
    progress: watch::Sender<u64>,
    is_stalled: Arc<AtomicBool>,
    /// Records lost since the last report.
    unreported: u64,
}

impl Work {
    fn run(mut self, messages: &Receiver<Message>) {
        let mut since_sync = Stopwatch::start();
        self.settle();
        loop {
            match messages.recv_timeout(SYNC_EVERY) {
                Ok(Message::Carry(records, reply)) => self.carry(records, reply),
                Ok(Message::Record(record)) => self.write(record, messages),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if since_sync.elapsed() >= SYNC_EVERY {
                self.settle();
                since_sync = Stopwatch::start();
            }
        }
        self.settle();
    }

    /// Writes a record, and others that are in the queue already.
    fn write(&mut self, first: AuditRecord, messages: &Receiver<Message>) {
        let mut records = vec![first];
        let mut carry = None;
        while records.len() < BATCH {
            match messages.try_recv() {
                Ok(Message::Record(record)) => records.push(record),
                Ok(Message::Carry(records, reply)) => {
                    carry = Some((records, reply));
                    break;
                }
                Err(_) => break,
            }
        }
        let count = records.len() as u64;
        match self.directory.append(records, self.clock.now()) {
            Ok(()) => {
                self.stats.written.fetch_add(count, Ordering::Relaxed);
                let lost = std::mem::take(&mut self.unreported);
                if lost > 0 {
                    tracing::warn!(lost, "audit records are written again; some were lost");
                }
            }
            Err(error) => {
                self.stats.lost.fetch_add(count, Ordering::Relaxed);
                if self.unreported == 0 {
                    self.stats.gaps.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(%error, "audit records cannot be written; they are in this log only");
                }
                self.unreported += count;
            }
        }
        self.progress.send_modify(|done| *done += count);
        if self.is_stalled.swap(false, Ordering::Relaxed) {
            tracing::info!("the disk of the audit log answers again");
        }
        if let Some((records, reply)) = carry {
            self.carry(records, reply);
        }
    }

    fn carry(
        &mut self,
        records: Vec<(u64, AuditRecord)>,
        reply: oneshot::Sender<Result<(), AuditError>>,
    ) {
        let carried = self.directory.carry(records, self.clock.now());
        // The caller may have stopped waiting.
        drop(reply.send(carried.map_err(|error| AuditError::Write(error.to_string()))));
    }

    fn settle(&mut self) {
        // While the wall clock is in doubt nothing is removed for its age.
        let now = self.clock.state().is_settled.then(|| self.clock.now());
        if let Err(error) = self.directory.settle(now) {
            tracing::warn!(%error, "audit records could not be made durable");
        }
    }
}
