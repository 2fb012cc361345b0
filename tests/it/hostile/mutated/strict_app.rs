//! Does the application receive well-formed requests? It parses byte by byte, strictly, and keeps
//! requests and errors.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use crate::support::scripted;

/// A request as received.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
}

impl Head {
    /// The values of a header.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let named = |(own, _): &&(String, String)| own.eq_ignore_ascii_case(name);
        let values = self.headers.iter().filter(named);
        values.map(|(_, value)| value.as_str()).collect()
    }
}

/// The requests and errors since the last call.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) heads: Vec<Head>,
    pub(super) faults: Vec<String>,
}

/// The application.
pub(super) struct StrictApp {
    pub(super) address: SocketAddr,
    read: Arc<Mutex<Received>>,
}

impl StrictApp {
    pub(super) fn start() -> Self {
        let read = Arc::new(Mutex::new(Received::default()));
        let kept = Arc::clone(&read);
        let address = scripted::serve(move |stream| {
            if let Err(Stop::Wrong(fault)) = serve(&stream, &kept) {
                kept.lock().expect("what was read").faults.push(fault);
            }
        });
        Self { address, read }
    }

    pub(super) fn take(&self) -> Received {
        std::mem::take(&mut *self.read.lock().expect("what was read"))
    }
}

/// The reason to stop reading a connection.
enum Stop {
    /// The peer closed the connection, which is allowed at any time.
    Gone,
    /// The bytes are not HTTP.
    Wrong(String),
}

impl From<std::io::Error> for Stop {
    fn from(_: std::io::Error) -> Self {
        Self::Gone
    }
}

fn wrong<T>(what: &str, text: &[u8]) -> Result<T, Stop> {
    let text = String::from_utf8_lossy(text).into_owned();
    Err(Stop::Wrong(format!("{what}: {text:?}")))
}

fn serve(stream: &TcpStream, kept: &Mutex<Received>) -> Result<(), Stop> {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let head = head(&mut reader)?;
        let style = head.target.bytes().map(usize::from).sum::<usize>() % 4;
        kept.lock().expect("what was read").heads.push(head.clone());
        body(&mut reader, &head)?;
        writer.write_all(match style {
            0 => b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".as_slice(),
            1 => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            2 => b"HTTP/1.1 204 No Content\r\n\r\n",
            _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        })?;
        if style == 3 {
            return Ok(());
        }
    }
}

/// A line without its end, which must be CR LF.
fn line(reader: &mut BufReader<&TcpStream>) -> Result<Vec<u8>, Stop> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(Stop::Gone);
    }
    line.pop();
    if line.pop() != Some(b'\r') || line.iter().any(|byte| b"\r\n\0".contains(byte)) {
        return wrong("a line", &line);
    }
    Ok(line)
}

fn is_token(text: &[u8]) -> bool {
    let is_good = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_good)
}

fn head(reader: &mut BufReader<&TcpStream>) -> Result<Head, Stop> {
    let first = line(reader)?;
    let parts: Vec<&[u8]> = first.split(|byte| *byte == b' ').collect();
    let target = match parts.as_slice() {
        [method, target, b"HTTP/1.1"]
            if is_token(method)
                && target.first() == Some(&b'/')
                && target.iter().all(u8::is_ascii_graphic) =>
        {
            String::from_utf8_lossy(target).into_owned()
        }
        _ => return wrong("a first line", &first),
    };
    let mut headers = Vec::new();
    loop {
        let line = line(reader)?;
        if line.is_empty() {
            break;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return wrong("a header", &line);
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let is_text = |byte: &u8| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f;
        if !is_token(name) || !value.iter().all(is_text) {
            return wrong("a header", &line);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        headers.push((text(name), text(value)));
    }
    let head = Head { target, headers };
    let framings = head.all("content-length").len() + head.all("transfer-encoding").len();
    if head.all("host").len() != 1 || framings > 1 {
        return wrong("a head", format!("{head:?}").as_bytes());
    }
    Ok(head)
}

fn body(reader: &mut BufReader<&TcpStream>, head: &Head) -> Result<(), Stop> {
    if let Some(length) = head.all("content-length").first() {
        let digits = length.bytes().all(|byte| byte.is_ascii_digit());
        let Some(length) = length.parse().ok().filter(|_| digits) else {
            return wrong("a length", length.as_bytes());
        };
        return skip(reader, length);
    }
    let Some(coding) = head.all("transfer-encoding").first().copied() else {
        return Ok(());
    };
    if coding != "chunked" {
        return wrong("a coding", coding.as_bytes());
    }
    loop {
        let size = line(reader)?;
        let digits = !size.is_empty() && size.iter().all(u8::is_ascii_hexdigit);
        let text = String::from_utf8_lossy(&size).into_owned();
        let Some(size) = u64::from_str_radix(&text, 16).ok().filter(|_| digits) else {
            return wrong("a chunk's size", text.as_bytes());
        };
        skip(reader, size)?;
        let end = line(reader)?;
        if !end.is_empty() {
            return wrong("behind a chunk", &end);
        }
        if size == 0 {
            return Ok(());
        }
    }
}

fn skip(reader: &mut BufReader<&TcpStream>, length: u64) -> Result<(), Stop> {
    let read = std::io::copy(&mut reader.take(length), &mut std::io::sink())?;
    if read == length {
        Ok(())
    } else {
        Err(Stop::Gone)
    }
}
