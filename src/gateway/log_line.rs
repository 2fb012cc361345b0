//! What does one line of the access log contain, as text and as JSON?
//!
//! Never a query, a token, a cookie or a body. Control characters of clients are escaped.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::IpAddr;

use crate::types::ids::{SessionId, UserId};
use crate::types::text::{push_address, push_number, push_thousandths};
use crate::types::time::Timestamp;

/// The longest path that is written whole, in bytes.
const MAX_PATH: usize = 512;

/// The fields of one line.
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
    /// The caller.
    pub user: Option<UserId>,
    /// The session of the caller.
    pub session: Option<SessionId>,
    /// Whether the answer was sent to its end.
    pub complete: bool,
}

/// A second's date and time as text. Many lines share one, and formatting a date is expensive.
#[derive(Debug, Default)]
pub(crate) struct Second {
    number: u64,
    text: String,
}

impl Second {
    /// `2026-11-22T16:07:00`, formatted only when the second has changed.
    pub(crate) fn of(&mut self, at: Timestamp) -> &str {
        if self.number != at.as_secs() || self.text.is_empty() {
            self.number = at.as_secs();
            self.text.clear();
            // Writing to a string cannot fail.
            write!(self.text, "{at}").ok();
            self.text.truncate("2026-11-22T16:07:00".len());
        }
        &self.text
    }
}

/// Appends the line in the text format.
pub(crate) fn text(out: &mut Vec<u8>, line: &Line<'_>, second: &str) {
    push_time(out, line.at, second);
    out.push(b' ');
    push_address(out, line.client);
    push(out, &[" ", line.request_id, " ", line.method, " "]);
    escape(out, cut(line.path));
    out.push(b' ');
    push_number(out, line.status.into());
    out.push(b' ');
    push_number(out, line.bytes);
    out.push(b' ');
    push_number(out, line.micros / 1000);
    out.push(b'.');
    push_thousandths(out, line.micros);
    push(out, &["ms ", line.route]);
    if let Some(refusal) = line.refusal {
        push(out, &[" ", refusal]);
    }
    if let Some(user) = line.user {
        push(out, &[" user=", user.text(&mut [0; UserId::TEXT])]);
    }
    if let Some(session) = line.session {
        push(out, &[" session=", session.text(&mut [0; SessionId::TEXT])]);
    }
    push(out, &[if line.complete { "\n" } else { " cut\n" }]);
}

/// Appends the line in the JSON format.
pub(crate) fn json(out: &mut Vec<u8>, line: &Line<'_>, second: &str) {
    push(out, &["{\"at\":\""]);
    push_time(out, line.at, second);
    push(out, &["\",\"client\":\""]);
    push_address(out, line.client);
    push(out, &["\",\"requestId\":\"", line.request_id]);
    push(out, &["\",\"method\":\"", line.method]);
    push(out, &["\",\"path\":\""]);
    escape(out, cut(line.path));
    push(out, &["\",\"status\":"]);
    push_number(out, line.status.into());
    push(out, &[",\"bytes\":"]);
    push_number(out, line.bytes);
    push(out, &[",\"micros\":"]);
    push_number(out, line.micros);
    push(out, &[",\"route\":\"", line.route, "\""]);
    if let Some(refusal) = line.refusal {
        push(out, &[",\"refusal\":\"", refusal, "\""]);
    }
    if let Some(user) = line.user {
        push(
            out,
            &[",\"user\":\"", user.text(&mut [0; UserId::TEXT]), "\""],
        );
    }
    if let Some(session) = line.session {
        let mut buffer = [0; SessionId::TEXT];
        push(out, &[",\"session\":\"", session.text(&mut buffer), "\""]);
    }
    if !line.complete {
        push(out, &[",\"cut\":true"]);
    }
    push(out, &["}\n"]);
}

fn push(out: &mut Vec<u8>, texts: &[&str]) {
    for text in texts {
        out.extend_from_slice(text.as_bytes());
    }
}

fn push_time(out: &mut Vec<u8>, at: Timestamp, second: &str) {
    push(out, &[second, "."]);
    push_thousandths(out, at.as_millis());
    out.push(b'Z');
}

fn cut(path: &str) -> &str {
    let mut end = path.len().min(MAX_PATH);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    path.get(..end).unwrap_or_default()
}

/// Writes text so that it can neither end the line nor the JSON string, nor drive a terminal.
fn escape(out: &mut Vec<u8>, text: &str) {
    let plain = |b: u8| (0x21..0x7f).contains(&b) && b != b'"' && b != b'\\';
    if text.bytes().all(plain) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    for c in text.chars() {
        if c.is_ascii() && plain(c as u8) {
            out.push(c as u8);
        } else {
            let mut units = [0u16; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing into a Vec cannot fail.
                write!(out, "\\u{unit:04x}").ok();
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

    fn written(write: fn(&mut Vec<u8>, &Line<'_>, &str), line: &Line<'_>) -> String {
        let mut out = Vec::new();
        write(&mut out, line, Second::default().of(line.at));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_reads_left_to_right() {
        assert_eq!(
            written(text, &line("/orders/7")),
            "2023-11-14T22:13:20.123Z 192.0.2.1 abc GET /orders/7 200 5 1.234ms upstream\n"
        );
    }

    #[test]
    fn a_caller_and_a_refusal_are_named() {
        let line = Line {
            refusal: Some("missing_role"),
            user: Some(UserId::from_bytes([1; 16])),
            session: Some(SessionId::from_bytes([2; 16])),
            complete: false,
            ..line("/a")
        };
        assert_eq!(
            written(text, &line),
            "2023-11-14T22:13:20.123Z 192.0.2.1 abc GET /a 200 5 1.234ms upstream missing_role \
             user=01010101-0101-0101-0101-010101010101 \
             session=02020202-0202-0202-0202-020202020202 cut\n"
        );
        let value: serde_json::Value = serde_json::from_str(&written(json, &line)).unwrap();
        assert_eq!(value["at"], "2023-11-14T22:13:20.123Z");
        assert_eq!(value["client"], "192.0.2.1");
        assert_eq!(value["micros"], 1_234);
        assert_eq!(value["refusal"], "missing_role");
        assert_eq!(value["user"], "01010101-0101-0101-0101-010101010101");
        assert_eq!(value["session"], "02020202-0202-0202-0202-020202020202");
        assert_eq!(value["cut"], true);
    }

    #[test]
    fn timestamps_are_formatted_correctly_in_any_order() {
        let mut second = Second::default();
        for millis in [
            0,
            999,
            1_000,
            59_999,
            60_001,
            1_000,
            86_400_000,
            1_700_000_000_123,
        ] {
            let at = Timestamp::from_millis(millis);
            let mut out = Vec::new();
            push_time(&mut out, at, second.of(at));
            assert_eq!(String::from_utf8(out).unwrap(), at.to_string());
        }
    }

    #[test]
    fn input_of_a_client_cannot_forge_a_line() {
        for path in ["/a\nb", "/a\u{1b}[31m", "/\"},{\"x\":\"", "/\\", "/ü😀"] {
            let out = written(json, &line(path));
            assert_eq!(out.lines().count(), 1);
            let value: serde_json::Value = serde_json::from_str(&out).unwrap();
            assert_eq!(value["path"], path);
            let out = written(text, &line(path));
            assert!(
                out.trim_end().bytes().all(|b| (0x20..0x7f).contains(&b)),
                "{out:?}"
            );
        }
    }
}
