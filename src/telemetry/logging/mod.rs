//! How does the process log reach standard error? An event becomes one line ([`line`]), and a bounded queue
//! passes it to the only thread that waits for standard error. The access log has its own queue
//! (`log_queue`), because one line per request must not take a lock that all workers share.

mod line;
mod queue;
#[cfg(test)]
mod tests;

use std::io;
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

use crate::telemetry::logging::queue::{Lines, Queue, queue};
use crate::telemetry::settings::Settings;
use crate::telemetry::sink::Sink;

/// How long the end of the process waits for a log that is read slowly, or not at all.
pub const LAST_WAIT: Duration = Duration::from_secs(1);

/// The running process log; by default none.
#[derive(Debug, Clone, Default)]
pub struct Log {
    level: Option<Handle<LevelFilter, Registry>>,
    queue: Option<Queue>,
}

/// Starts the process log on standard error, panics included. A second start in one process changes
/// nothing.
///
/// # Errors
/// When the process has no descriptor or thread left.
pub fn start(settings: &Settings) -> io::Result<Log> {
    let log = start_into(settings, Sink::duplicate(io::stderr())?)?;
    if log.queue.is_some() {
        std::panic::set_hook(Box::new(log_panic));
    }
    Ok(log)
}

/// Starts the process log on any writer, which may block, because a separate thread writes to it. A second
/// start in one process changes nothing.
///
/// # Errors
/// When the process has no thread left.
pub fn start_into<W>(settings: &Settings, sink: Sink<W>) -> io::Result<Log>
where
    W: io::Write + Send + 'static,
{
    let (queue, lines) = queue();
    let (level, handle) = reload::Layer::new(settings.level);
    let layer = LineLayer {
        json: settings.json,
        queue: queue.clone(),
    };
    let started = tracing_subscriber::registry()
        .with(level)
        .with(layer)
        .try_init();
    if started.is_err() {
        // A log is running already, as in tests.
        return Ok(Log::default());
    }
    let json = settings.json;
    std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_all(&lines, sink, json))?;
    Ok(Log {
        level: Some(handle),
        queue: Some(queue),
    })
}

impl Log {
    /// Changes the least level that is written.
    pub fn set(&self, settings: &Settings) {
        if let Some(level) = &self.level {
            // Fails only when the log has ended.
            drop(level.reload(settings.level));
        }
    }

    /// The counter of lines that were lost.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        self.queue.as_ref().map(Queue::dropped).unwrap_or_default()
    }

    /// Writes a sentence unchanged, after the queued lines, and waits for [`LAST_WAIT`] at most. Returns
    /// whether this log accepted it.
    pub fn last_words(&self, sentence: &str) -> bool {
        let Some(queue) = &self.queue else {
            return false;
        };
        queue.push(format!("{sentence}\n").into_bytes());
        queue.flush(LAST_WAIT);
        true
    }

    /// Waits until what was logged is written, for [`LAST_WAIT`] at most.
    pub fn finish(&self) {
        if let Some(queue) = &self.queue {
            queue.flush(LAST_WAIT);
        }
    }
}

/// Turns events into lines.
struct LineLayer {
    json: bool,
    queue: Queue,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LineLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        self.queue.push(line::of_event(self.json, event));
    }
}

/// Writes lines until all senders are dropped.
fn write_all<W: io::Write>(lines: &Lines, mut sink: Sink<W>, json: bool) {
    let mut reported = 0;
    while let Some(line) = lines.next() {
        let lost = lines.dropped() - reported;
        let mut written = Ok(());
        if lost > 0 {
            let words =
                format!("{lost} log lines were dropped, because the log could not be written");
            written = sink.write_lines(&line::of_message(json, tracing::Level::WARN, &words));
            if written.is_ok() {
                reported += lost;
            }
        }
        let written = written.and_then(|()| sink.write_lines(&line));
        lines.done(written.is_ok());
    }
}

/// Logs a panic. The standard library's hook would write to standard error itself, and wait for it.
fn log_panic(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let words = payload.downcast_ref::<&str>().copied();
    let words = words.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let thread = std::thread::current();
    tracing::error!(
        thread = thread.name(),
        location = info.location().map(tracing::field::display),
        panic = words,
        "a thread panicked"
    );
}
