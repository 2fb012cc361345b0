//! Are two messages of HTTP/1.1 the same byte for byte, except for the headers that may differ?

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::client::find;
use crate::support::harness::TestApp;
use crate::support::scripted::{public_upstream, serve};

/// One message of the wire: first line, header lines with lower-case names in order of name, body,
/// trailers.
#[derive(Debug, PartialEq, Eq, Clone, Default)]
pub(super) struct Message {
    pub(super) start: String,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<(String, Vec<u8>)>,
}

impl Message {
    /// Parses a message. Without any framing a request has no body, and an answer has the rest.
    pub(super) fn parse(bytes: &[u8], to_head: bool) -> Self {
        let end = find(bytes, b"\r\n\r\n").expect("a whole head");
        let (start, lines) = match find(&bytes[..end], b"\r\n") {
            Some(at) => (&bytes[..at], &bytes[at + 2..end]),
            None => (&bytes[..end], &bytes[..0]),
        };
        let mut message = Self {
            start: String::from_utf8_lossy(start).into_owned(),
            headers: fields(lines),
            ..Self::default()
        };
        let rest = &bytes[end + 4..];
        let value = |name: &str| {
            message
                .headers
                .iter()
                .find(|(n, _)| n == name)
                .map(|(_, v)| v)
        };
        let bodiless =
            to_head || message.start.contains(" 304 ") || message.start.contains(" 204 ");
        if bodiless {
            assert_eq!(rest, b"", "a body where there is none");
        } else if value("transfer-encoding").is_some() {
            (message.body, message.trailers) = chunks(rest);
        } else if let Some(length) = value("content-length") {
            let length: usize = String::from_utf8_lossy(length).parse().unwrap();
            message.body = rest[..length].to_vec();
        } else if message.start.starts_with("HTTP/") {
            message.body = rest.to_vec();
        }
        message.headers.sort();
        message
    }

    /// The message without headers of one connection and those documented as Sidegate's.
    pub(super) fn essence(mut self) -> Self {
        let may_differ = |name: &str| {
            name.starts_with("x-forwarded-")
                || [
                    "x-request-id",
                    "transfer-encoding",
                    "connection",
                    "keep-alive",
                    "date",
                ]
                .contains(&name)
        };
        self.start = self.start.replace("HTTP/1.0", "HTTP/1.1");
        let framed = self
            .headers
            .iter()
            .any(|(name, _)| name == "content-length");
        self.headers
            .retain(|(name, _)| !may_differ(name) && (!framed || name != "content-length"));
        self
    }
}

fn fields(lines: &[u8]) -> Vec<(String, Vec<u8>)> {
    let text = lines.split(|b| *b == b'\n');
    text.filter(|line| line.contains(&b':'))
        .map(|line| {
            let at = line.iter().position(|b| *b == b':').unwrap();
            let name = String::from_utf8_lossy(&line[..at]).to_lowercase();
            (name, line[at + 1..].trim_ascii().to_vec())
        })
        .collect()
}

fn chunks(mut rest: &[u8]) -> (Vec<u8>, Vec<(String, Vec<u8>)>) {
    let mut body = Vec::new();
    loop {
        let at = find(rest, b"\r\n").expect("a chunk size");
        let size = String::from_utf8_lossy(&rest[..at]).into_owned();
        let size = usize::from_str_radix(size.split(';').next().unwrap().trim(), 16).unwrap();
        rest = &rest[at + 2..];
        if size == 0 {
            return (body, fields(rest));
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}

/// An application that keeps the request bytes, sends one answer, and closes.
pub(super) struct FixedAnswer {
    pub(super) address: SocketAddr,
    pub(super) request: Arc<Mutex<Vec<u8>>>,
}

impl FixedAnswer {
    pub(super) fn start(answer: Vec<u8>) -> Self {
        let request = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&request);
        let address = serve(move |mut stream| {
            let mut bytes = Vec::new();
            let mut buffer = [0; 4096];
            while !is_whole(&bytes) {
                match stream.read(&mut buffer) {
                    Ok(count @ 1..) => bytes.extend_from_slice(&buffer[..count]),
                    _ => return,
                }
            }
            *kept.lock().unwrap() = bytes;
            drop(stream.write_all(&answer));
        });
        Self { address, request }
    }
}

fn is_whole(bytes: &[u8]) -> bool {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return false;
    };
    let lines = fields(&bytes[..end]);
    let value = |name: &str| {
        lines
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.clone())
    };
    let rest = &bytes[end + 4..];
    if value("transfer-encoding").is_some() {
        return find(rest, b"0\r\n").is_some_and(|at| at == 0 || rest[at - 1] == b'\n')
            && rest.ends_with(b"\r\n\r\n");
    }
    let length =
        value("content-length").map_or(0, |v| String::from_utf8_lossy(&v).parse().unwrap());
    rest.len() >= length
}

/// Sends a request and reads until the peer closes.
pub(super) async fn play(to: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let read = tokio::time::timeout(crate::support::client::DEADLINE, reading).await;
    drop(read.expect("an end in time"));
    // An interim answer belongs to one hop.
    while answer.starts_with(b"HTTP/1.1 1") {
        let end = find(&answer, b"\r\n\r\n").unwrap();
        answer.drain(..end + 4);
    }
    answer
}

/// Plays one exchange directly and through Sidegate, and compares both directions.
pub(super) async fn same(request: &[u8], answer: &[u8]) {
    let words = format!(
        "{:?} -> {:?}",
        String::from_utf8_lossy(request),
        String::from_utf8_lossy(answer)
    );
    let to_head = request.starts_with(b"HEAD");
    let player = FixedAnswer::start(answer.to_vec());
    let direct = play(player.address, request).await;
    let asked_directly = std::mem::take(&mut *player.request.lock().unwrap());
    let app = TestApp::with(&public_upstream(player.address)).await;
    let through = play(app.address, request).await;
    let asked_through = player.request.lock().unwrap().clone();
    let parse_request = |bytes: &[u8]| Message::parse(bytes, false).essence();
    assert_eq!(
        parse_request(&asked_through),
        parse_request(&asked_directly),
        "the request of {words}"
    );
    let received = |bytes: &[u8]| Message::parse(bytes, to_head).essence();
    assert_eq!(
        received(&through),
        received(&direct),
        "the answer of {words}"
    );
}

pub(super) fn get(target: &str, extra: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: app.example.org\r\n{extra}Connection: close\r\n\r\n")
        .into_bytes()
}
