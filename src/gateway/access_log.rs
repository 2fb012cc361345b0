//! How are the lines of a worker's access log buffered and written?

use std::net::IpAddr;

use parking_lot::Mutex;

use crate::api::problem::Code;
use crate::gateway::log_line::{Line, Second, json, text};
use crate::telemetry::log_queue::LogQueue;
use crate::telemetry::metrics::RouteClass;
use crate::types::time::Timestamp;

/// A buffer of this size is handed over without waiting for the tick.
const FULL: usize = 16 * 1024;

/// One worker's access log. Its buffer belongs to this worker.
#[derive(Debug)]
pub struct AccessLog {
    queue: Option<LogQueue>,
    json: bool,
    buffer: Mutex<Buffer>,
}

/// Lines that are not sent yet, and the second of the last one.
#[derive(Debug, Default)]
struct Buffer {
    lines: Vec<u8>,
    second: Second,
}

impl AccessLog {
    /// A log that writes to this queue, or none at all.
    pub fn new(queue: Option<LogQueue>, json: bool) -> Self {
        Self {
            queue,
            json,
            buffer: Mutex::default(),
        }
    }

    /// Writes one line.
    pub fn write(&self, line: &Line<'_>) {
        let Some(queue) = &self.queue else { return };
        let mut buffer = self.buffer.lock();
        let Buffer { lines, second } = &mut *buffer;
        let second = second.of(line.at);
        if self.json {
            json(lines, line, second);
        } else {
            text(lines, line, second);
        }
        if lines.len() >= FULL {
            // The next buffer will be filled as well: it starts at full size instead of growing.
            let next = Vec::with_capacity(FULL + FULL / 8);
            queue.send(std::mem::replace(lines, next));
        }
    }

    /// Writes the line of a request head that could not be parsed.
    pub fn unreadable(&self, at: Timestamp, request_id: &str, client: IpAddr, status: u16) {
        self.write(&Line {
            at,
            request_id,
            client,
            method: "-",
            path: "-",
            status,
            bytes: 0,
            micros: 0,
            route: RouteClass::Refused.as_str(),
            refusal: Some(Code::BadRequest.as_str()),
            user: None,
            session: None,
            complete: true,
        });
    }

    /// Hands over what is buffered.
    pub fn flush(&self) {
        let Some(queue) = &self.queue else { return };
        let mut buffer = self.buffer.lock();
        if !buffer.lines.is_empty() {
            queue.send(std::mem::take(&mut buffer.lines));
        }
    }
}
