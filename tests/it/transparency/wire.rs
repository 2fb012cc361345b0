//! The application cannot tell that somebody stands in front of it, and neither can its callers: a
//! table of exchanges is played directly and through Sidegate, and must be the same byte for byte,
//! save the headers that the manual names.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use sidegate::types::random::SeededRandom;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Ask, Connection, find};
use crate::harness::TestApp;
use crate::scripted::{head, in_front_of, serve};

/// One message as it was on the wire: first line, header lines with names in lower case and in
/// order of name, body, trailers.
#[derive(Debug, PartialEq, Eq, Clone, Default)]
struct Message {
    start: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    trailers: Vec<(String, Vec<u8>)>,
}

impl Message {
    /// Takes a message apart. Without any framing a request has no body, an answer the rest.
    fn parse(bytes: &[u8], to_head: bool) -> Self {
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

    /// The message without what belongs to one connection only, or is documented to be ours.
    fn essence(mut self) -> Self {
        let ours = |name: &str| {
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
            .retain(|(name, _)| !ours(name) && (!framed || name != "content-length"));
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

/// An application that keeps the request as it came and plays one answer, then closes.
struct Player {
    address: SocketAddr,
    request: Arc<Mutex<Vec<u8>>>,
}

impl Player {
    fn start(answer: Vec<u8>) -> Self {
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

/// Sends a request and reads until the other side closes.
async fn play(to: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let read = tokio::time::timeout(crate::client::DEADLINE, reading).await;
    drop(read.expect("an end in time"));
    // An interim answer is between two neighbours.
    while answer.starts_with(b"HTTP/1.1 1") {
        let end = find(&answer, b"\r\n\r\n").unwrap();
        answer.drain(..end + 4);
    }
    answer
}

/// Plays one exchange directly and through, and compares both directions.
async fn same(request: &[u8], answer: &[u8]) {
    let words = format!(
        "{:?} -> {:?}",
        String::from_utf8_lossy(request),
        String::from_utf8_lossy(answer)
    );
    let to_head = request.starts_with(b"HEAD");
    let player = Player::start(answer.to_vec());
    let direct = play(player.address, request).await;
    let asked_directly = std::mem::take(&mut *player.request.lock().unwrap());
    let app = TestApp::with(&in_front_of(player.address)).await;
    let through = play(app.address, request).await;
    let asked_through = player.request.lock().unwrap().clone();
    let ask = |bytes: &[u8]| Message::parse(bytes, false).essence();
    assert_eq!(
        ask(&asked_through),
        ask(&asked_directly),
        "the request of {words}"
    );
    let told = |bytes: &[u8]| Message::parse(bytes, to_head).essence();
    assert_eq!(told(&through), told(&direct), "the answer of {words}");
}

fn get(target: &str, extra: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: app.example.org\r\n{extra}Connection: close\r\n\r\n")
        .into_bytes()
}

#[tokio::test]
async fn every_kind_of_answer_comes_through_as_it_is() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 201 Created\r\nLocation: /a/b?c=%20\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-4/10\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 301 Moved Permanently\r\nLocation: https://other/\r\nContent-Length: 3\r\n\r\nxyz",
        b"HTTP/1.1 304 Not Modified\r\nETag: \"abc\"\r\n\r\n",
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope",
        b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 1\r\n\r\nt",
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops",
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nset-cookie: a=3\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nVary: Accept-Encoding\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x00\xff",
        b"HTTP/1.1 200 OK\r\nX-Odd: caf\xc3\xa9 \xe9\r\nX-Tab: a\tb\r\nX-Empty:\r\nX-Quotes: \"a\\\"b\"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX_Under: 1\r\nX.Dot: 2\r\nX-User-Id: theirs\r\nServer: app/1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ] {
        same(&get("/x", ""), answer).await;
    }
    let large = format!(
        "HTTP/1.1 200 OK\r\nX-Large: {}\r\nContent-Length: 0\r\n\r\n",
        "v".repeat(30_000)
    );
    same(&get("/x", ""), large.as_bytes()).await;
}

#[tokio::test]
async fn head_has_the_head_of_get() {
    let ask = b"HEAD /x HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n";
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n",
    ] {
        same(ask, answer).await;
    }
    let upstream = Player::start(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n".to_vec());
    let app = TestApp::with(&in_front_of(upstream.address)).await;
    let answer = app.anon().send(Ask::new("HEAD", "/x")).await;
    assert_eq!(answer.header("content-length"), Some("500"));
}

#[tokio::test]
async fn a_304_keeps_the_length_it_speaks_of() {
    let upstream = Player::start(
        b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 77\r\n\r\n".to_vec(),
    );
    let app = TestApp::with(&in_front_of(upstream.address)).await;
    let answer = app.anon().get("/x").await;
    assert_eq!((answer.status, answer.header("etag")), (304, Some("\"x\"")));
    assert!(matches!(answer.header("content-length"), None | Some("77")));
}

#[tokio::test]
async fn every_kind_of_request_comes_through_as_it_is() {
    let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let fixed = format!(
            "{method} /x HTTP/1.1\r\nHost: app\r\nConnection: close\r\nContent-Type: text/x\r\nContent-Length: 5\r\n\r\nhello"
        );
        same(fixed.as_bytes(), ok).await;
        let chunked = format!(
            "{method} /x HTTP/1.1\r\nHost: app\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
        );
        same(chunked.as_bytes(), ok).await;
        let empty = format!(
            "{method} /x HTTP/1.1\r\nHost: app\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        );
        same(empty.as_bytes(), ok).await;
    }
    for extra in [
        "Range: bytes=0-4\r\nIf-Range: \"x\"\r\n",
        "Accept: a\r\nAccept: b\r\nX-Empty:\r\n",
        "If-None-Match: \"x\", W/\"y\"\r\nIf-Modified-Since: Sat, 29 Oct 1994 19:43:31 GMT\r\n",
        "X-Odd: caf\u{e9}; q=\"\\\"\" \u{1f600}\r\nX-Tab: a\tb\r\n",
        "Cookie: a=1; b=\"2;3\"\r\nAccept-Encoding: gzip, br;q=0.5\r\n",
        "X_Under: 1\r\nX.Dot: 2\r\nX!Bang: 3\r\n",
        "Via: 1.1 edge\r\nOrigin: https://a\r\nDNT: 1\r\n",
    ] {
        same(&get("/x", extra), ok).await;
    }
    for target in [
        "/%C3%BC%20x?q=%00&r=../..//;",
        "/a?",
        "/a?b?c",
        "/~a!$&'()*+,:@=-._",
    ] {
        same(&get(target, ""), ok).await;
    }
    let large = format!("X-Large: {}\r\n", "v".repeat(30_000));
    same(&get("/x", &large), ok).await;
}

#[tokio::test]
async fn a_body_that_waits_for_100_is_asked_for_and_comes_through() {
    let upstream = Player::start(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec());
    let app = TestApp::with(&in_front_of(upstream.address)).await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let ask = b"POST /x HTTP/1.1\r\nHost: app\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    stream.write_all(ask).await.unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    let mut status = [0; 15];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200 OK");
    assert!(upstream.request.lock().unwrap().ends_with(b"\r\n\r\nhello"));
}

#[tokio::test]
async fn trailers_of_an_answer_come_through_to_who_asked_for_them() {
    let upstream = Player::start(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, X-User-Id\r\n\r\n\
          2\r\nok\r\n0\r\nX-Sum: 42\r\nX-User-Id: 0\r\n\r\n"
            .to_vec(),
    );
    let app = TestApp::with(&in_front_of(upstream.address)).await;
    let ask = b"GET /x HTTP/1.1\r\nHost: app\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n";
    let message = Message::parse(&play(app.address, ask).await, false);
    assert_eq!(message.body, b"ok");
    assert_eq!(message.trailers, [("x-sum".to_owned(), b"42".to_vec())]);
}

#[tokio::test]
async fn bodies_survive_any_way_of_cutting_them_into_chunks() {
    let seed = 0x5eed;
    println!("seed {seed}");
    let random = Arc::new(SeededRandom::new(seed));
    let dice = Arc::clone(&random);
    // Echoes the body it was sent, cut anew.
    let address = serve(move |mut stream| {
        while let Some(head) = head(&mut stream) {
            let length = head.to_lowercase();
            let body = match length.split("content-length: ").nth(1) {
                Some(length) => {
                    let length = length.split("\r\n").next().unwrap().parse().unwrap();
                    let mut body = vec![0; length];
                    stream.read_exact(&mut body).unwrap();
                    body
                }
                None => read_chunks(&mut stream),
            };
            let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            answer.extend(cut(&body, &dice));
            for piece in pieces(&answer, &dice) {
                if stream.write_all(piece).is_err() {
                    return;
                }
            }
        }
    });
    let app = TestApp::with(&in_front_of(address)).await;
    let mut connection = Connection::open(app.address).await;
    for round in 0..60 {
        let mut body = vec![0; usize::try_from(random.next() % 20_000).unwrap()];
        sidegate::types::random::Random::fill(&*random, &mut body);
        let mut ask =
            b"POST /x HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        ask.extend(cut(&body, &random));
        for piece in pieces(&ask, &random) {
            connection.write(piece).await;
        }
        let answer = connection.answer("POST").await;
        assert!(
            answer.body == body,
            "seed {seed}, round {round}, {} bytes",
            body.len()
        );
    }
}

/// A body in chunks of any size.
fn cut(mut body: &[u8], random: &SeededRandom) -> Vec<u8> {
    let mut chunks = Vec::new();
    while !body.is_empty() {
        let most = [1, 7, 100, 5_000][usize::try_from(random.next() % 4).unwrap()];
        let size = 1 + usize::try_from(random.next()).unwrap() % most.min(body.len());
        chunks.extend(format!("{size:x}\r\n").into_bytes());
        chunks.extend_from_slice(&body[..size]);
        chunks.extend_from_slice(b"\r\n");
        body = &body[size..];
    }
    chunks.extend_from_slice(b"0\r\n\r\n");
    chunks
}

/// The same bytes in pieces of any size, as the network may bring them.
fn pieces<'a>(bytes: &'a [u8], random: &SeededRandom) -> Vec<&'a [u8]> {
    let size = 1 + usize::try_from(random.next()).unwrap() % bytes.len();
    bytes.chunks(size.max(bytes.len() / 50)).collect()
}

fn read_chunks(stream: &mut std::net::TcpStream) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            stream.read_exact(&mut byte).unwrap();
            line.push(byte[0]);
        }
        let size = String::from_utf8_lossy(&line).into_owned();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&chunk[..size]);
    }
}
