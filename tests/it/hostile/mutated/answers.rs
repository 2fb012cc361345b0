//! Are the received answers well-formed? The last may be incomplete, because the client may have closed
//! the connection.

use crate::support::client::find;

/// The statuses of the complete answers, or the error.
pub(super) fn statuses(mut rest: &[u8]) -> Result<Vec<u16>, String> {
    let mut statuses = Vec::new();
    loop {
        match answer(rest) {
            Ok(Some((status, length))) => {
                if status >= 200 {
                    statuses.push(status);
                }
                rest = &rest[length..];
            }
            Ok(None) => return Ok(statuses),
            Err(what) => {
                let text = String::from_utf8_lossy(rest);
                return Err(format!("{what}: {text:?}"));
            }
        }
    }
}

/// The status and length of the first answer; `None` when it is incomplete.
fn answer(bytes: &[u8]) -> Result<Option<(u16, usize)>, &'static str> {
    let begins = |begin: &[u8]| bytes.iter().zip(begin).all(|(a, b)| a == b);
    if !begins(b"HTTP/1.1 ") && !begins(b"HTTP/1.0 ") {
        return Err("no answer");
    }
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "no text")?;
    if head.replace("\r\n", "").contains(['\r', '\n', '\0']) {
        return Err("a line with an end in it");
    }
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status: u16 = (first.get(9..12))
        .and_then(|status| status.parse().ok())
        .ok_or("no status")?;
    let (mut length, mut is_chunked) = (None, false);
    for line in lines {
        let (name, value) = line.split_once(':').ok_or("a header without a colon")?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if name.is_empty() || !name.chars().all(is_name) {
            return Err("a header without a name");
        }
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-length") {
            let known: usize = value.parse().map_err(|_| "a bad length")?;
            if length.replace(known).is_some() {
                return Err("two lengths");
            }
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            if is_chunked || value != "chunked" {
                return Err("a bad coding");
            }
            is_chunked = true;
        }
    }
    let body = end + 4;
    match (length, is_chunked) {
        (Some(_), true) => Err("two framings"),
        _ if status < 200 || status == 204 || status == 304 => Ok(Some((status, body))),
        (Some(length), false) if bytes.len() - body < length => Ok(None),
        (Some(length), false) => Ok(Some((status, body + length))),
        (None, true) => Ok(chunks(&bytes[body..])?.map(|length| (status, body + length))),
        // HTTP/1.0 has no chunks: the body ends with the connection.
        (None, false) if head.starts_with("HTTP/1.0") => Ok(Some((status, bytes.len()))),
        (None, false) => Err("no framing"),
    }
}

/// The length of a body in chunks.
fn chunks(bytes: &[u8]) -> Result<Option<usize>, &'static str> {
    let mut at = 0;
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else {
            return Ok(None);
        };
        let size = std::str::from_utf8(&bytes[at..at + end]).map_err(|_| "a bad chunk")?;
        let size = usize::from_str_radix(size, 16).map_err(|_| "a bad chunk")?;
        at += end + 2;
        let Some(behind) = bytes.get(at + size..at + size + 2) else {
            return Ok(None);
        };
        if behind != b"\r\n" {
            return Err("a chunk without its end");
        }
        at += size + 2;
        if size == 0 {
            return Ok(Some(at));
        }
    }
}
