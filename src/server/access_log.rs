//! One line a request, whatever happened. Never a query, a token, a cookie or a body; what came
//! from outside has its control characters escaped.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::server::outbox::Outbox;
use crate::types::ids::{SessionId, UserId};
use crate::types::time::Timestamp;

/// A buffer this full is handed over without waiting for the tick.
const FULL: usize = 16 * 1024;

/// The longest path that is written whole, in bytes.
const MAX_PATH: usize = 512;

/// What one line says.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// When the request began.
    pub at: Timestamp,
    /// Its id.
    pub request_id: &'a str,
    /// The client.
    pub client: IpAddr,
    /// The method.
    pub method: &'a str,
    /// The path, without the query.
    pub path: &'a str,
    /// The status that was sent.
    pub status: u16,
    /// Body bytes that were sent.
    pub bytes: u64,
    /// From the head to the last byte, in microseconds.
    pub micros: u64,
    /// `upstream`, `api` or `refused`.
    pub route: &'a str,
    /// The refusal's code, if it was one.
    pub refusal: Option<&'a str>,
    /// Who was calling.
    pub user: Option<UserId>,
    /// In which session.
    pub session: Option<SessionId>,
    /// Whether the answer was sent to its end.
    pub complete: bool,
}

/// One worker's access log: a buffer nobody else touches.
#[derive(Debug)]
pub struct AccessLog {
    outbox: Option<Outbox>,
    json: bool,
    buffer: Mutex<String>,
}

impl AccessLog {
    /// A log that writes to this outbox, or none at all.
    pub fn new(outbox: Option<Outbox>, json: bool) -> Self {
        Self {
            outbox,
            json,
            buffer: Mutex::new(String::new()),
        }
    }

    /// Writes one line.
    pub fn write(&self, line: &Line<'_>) {
        let Some(outbox) = &self.outbox else { return };
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        if self.json {
            json(&mut buffer, line);
        } else {
            text(&mut buffer, line);
        }
        if buffer.len() >= FULL {
            outbox.send(std::mem::take(&mut *buffer).into_bytes());
        }
    }

    /// Hands over what is buffered.
    pub fn flush(&self) {
        let Some(outbox) = &self.outbox else { return };
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        if !buffer.is_empty() {
            outbox.send(std::mem::take(&mut *buffer).into_bytes());
        }
    }
}

// Writing to a string cannot fail, hence the ignored results below.

fn text(out: &mut String, line: &Line<'_>) {
    let _ = write!(
        out,
        "{} {} {} {} ",
        line.at, line.client, line.request_id, line.method
    );
    escape(out, cut(line.path));
    let millis = line.micros / 1000;
    let rest = line.micros % 1000;
    let _ = write!(
        out,
        " {} {} {millis}.{rest:03}ms {}",
        line.status, line.bytes, line.route
    );
    if let Some(refusal) = line.refusal {
        let _ = write!(out, " {refusal}");
    }
    if let Some(user) = line.user {
        let _ = write!(out, " user={user}");
    }
    if let Some(session) = line.session {
        let _ = write!(out, " session={session}");
    }
    out.push_str(if line.complete { "\n" } else { " cut\n" });
}

fn json(out: &mut String, line: &Line<'_>) {
    let _ = write!(
        out,
        "{{\"at\":\"{}\",\"client\":\"{}\"",
        line.at, line.client
    );
    let _ = write!(
        out,
        ",\"requestId\":\"{}\",\"method\":\"{}\"",
        line.request_id, line.method
    );
    out.push_str(",\"path\":\"");
    escape(out, cut(line.path));
    let _ = write!(
        out,
        "\",\"status\":{},\"bytes\":{}",
        line.status, line.bytes
    );
    let _ = write!(
        out,
        ",\"micros\":{},\"route\":\"{}\"",
        line.micros, line.route
    );
    if let Some(refusal) = line.refusal {
        let _ = write!(out, ",\"refusal\":\"{refusal}\"");
    }
    if let Some(user) = line.user {
        let _ = write!(out, ",\"user\":\"{user}\"");
    }
    if let Some(session) = line.session {
        let _ = write!(out, ",\"session\":\"{session}\"");
    }
    if !line.complete {
        out.push_str(",\"cut\":true");
    }
    out.push_str("}\n");
}

fn cut(path: &str) -> &str {
    let mut end = path.len().min(MAX_PATH);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    path.get(..end).unwrap_or_default()
}

/// Writes text so that it can neither end the line nor the JSON string, nor drive a terminal.
fn escape(out: &mut String, text: &str) {
    let plain = |b: u8| (0x21..0x7f).contains(&b) && b != b'"' && b != b'\\';
    if text.bytes().all(plain) {
        out.push_str(text);
        return;
    }
    for c in text.chars() {
        if c.is_ascii() && plain(c as u8) {
            out.push(c);
        } else {
            let mut units = [0u16; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str) -> Line<'_> {
        Line {
            at: Timestamp::from_millis(1_700_000_000_123),
            request_id: "abc",
            client: "192.0.2.1".parse().unwrap(),
            method: "GET",
            path,
            status: 200,
            bytes: 5,
            micros: 1_234,
            route: "upstream",
            refusal: None,
            user: None,
            session: None,
            complete: true,
        }
    }

    #[test]
    fn a_line_reads_left_to_right() {
        let mut out = String::new();
        text(&mut out, &line("/orders/7"));
        assert_eq!(
            out,
            "2023-11-14T22:13:20.123Z 192.0.2.1 abc GET /orders/7 200 5 1.234ms upstream\n"
        );
    }

    #[test]
    fn what_came_from_outside_cannot_forge_a_line() {
        for path in ["/a\nb", "/a\u{1b}[31m", "/\"},{\"x\":\"", "/\\", "/ü😀"] {
            let mut out = String::new();
            json(&mut out, &line(path));
            assert_eq!(out.lines().count(), 1);
            let value: serde_json::Value = serde_json::from_str(&out).unwrap();
            assert_eq!(value["path"], path);
            let mut out = String::new();
            text(&mut out, &line(path));
            assert!(
                out.trim_end().bytes().all(|b| (0x20..0x7f).contains(&b)),
                "{out:?}"
            );
        }
    }
}
