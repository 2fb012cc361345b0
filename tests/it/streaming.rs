//! Large bodies flow: in both directions at once, held back by whoever is slow, in memory that does
//! not grow; and a body that breaks off never looks whole.
//!
//! 64 MiB each way; with `SIDEGATE_LONG=1` a gibibyte. Memory is that of the real binary in a
//! process of its own.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;
use sidegate::types::random::{Random as _, SeededRandom};
use tokio::task::spawn_blocking;

use crate::client::{Connection, DEADLINE};
use crate::harness::TestApp;
use crate::scripted::{head, in_front_of, serve};

const MIB: u64 = 1 << 20;

/// What the process may grow by, whatever flows through it.
const GROWTH: u64 = 12 * MIB;

fn size() -> u64 {
    let long = std::env::var_os("SIDEGATE_LONG").is_some();
    if long { 1024 * MIB } else { 64 * MIB }
}

/// The real binary, in front of one application.
struct Process {
    child: Child,
    address: SocketAddr,
    _home: tempfile::TempDir,
}

impl Process {
    fn start(upstream: SocketAddr) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name).display().to_string();
        let config = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nthreads = 1\ncontrol = \"\"\n[admin]\nlisten = \"\"\n\
             [store]\nurl = \"memory:\"\n[tokens]\nkeys_dir = \"{}\"\n[log]\naccess = false\n{}",
            path("keys"),
            in_front_of(upstream),
        );
        std::fs::write(path("config.toml"), config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_sidegate"))
            .args(["--config", &path("config.toml"), "serve"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let serving = lines
            .by_ref()
            .find(|line| line.as_ref().is_ok_and(|l| l.contains("serving")));
        let serving = serving.expect("the binary serves").unwrap();
        let address = serving.split("listen=").nth(1).unwrap();
        let address = address.split_whitespace().next().unwrap().parse().unwrap();
        // Its log must be read on, or it would wait.
        std::thread::spawn(move || lines.count());
        Self {
            child,
            address,
            _home: home,
        }
    }

    /// The most memory it ever had, in bytes.
    fn peak(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM:"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            * 1024
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// One small request, so that what is made once is made.
    fn warm_up(&self) {
        let mut stream = self.connect();
        stream
            .write_all(b"POST /warm HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        assert!(head(&mut stream).unwrap().starts_with("HTTP/1.1 200"));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Writes so many bytes that a seed decides; gives their hash.
fn pour(stream: &mut TcpStream, size: u64, seed: u64) -> String {
    let random = SeededRandom::new(seed);
    let mut hash = Context::new(&SHA256);
    let mut piece = vec![0; 256 * 1024];
    let mut left = size;
    while left > 0 {
        random.fill(&mut piece[..1024]);
        let count = usize::try_from(left.min(piece.len() as u64)).unwrap();
        hash.update(&piece[..count]);
        stream.write_all(&piece[..count]).unwrap();
        left -= count as u64;
    }
    HEXLOWER.encode(hash.finish().as_ref())
}

/// Reads so many bytes; gives their hash.
fn drain(stream: &mut TcpStream, size: u64) -> String {
    let mut hash = Context::new(&SHA256);
    let mut piece = vec![0; 256 * 1024];
    let mut left = size;
    while left > 0 {
        let most = usize::try_from(left.min(piece.len() as u64)).unwrap();
        let count = stream.read(&mut piece[..most]).unwrap();
        assert!(count > 0, "{left} bytes are missing");
        hash.update(&piece[..count]);
        left -= count as u64;
    }
    HEXLOWER.encode(hash.finish().as_ref())
}

fn length(head: &str) -> u64 {
    let lower = head.to_lowercase();
    let value = lower.split("content-length: ").nth(1).unwrap_or("0");
    value.split("\r\n").next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn large_bodies_flow_both_ways_in_memory_that_does_not_grow() {
    let size = size();
    let (told, hashes) = channel();
    // Answers while it still reads, so that both bodies flow at once; the last byte comes when all
    // is read, because an answer that is over ends its request as well.
    let upstream = serve(move |mut stream| {
        while let Some(head) = head(&mut stream) {
            let length = length(&head);
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                length + 1
            )
            .unwrap();
            let mut reading = stream.try_clone().unwrap();
            let reader = std::thread::spawn(move || drain(&mut reading, length));
            let sent = pour(&mut stream, length, 2);
            let read = reader.join().unwrap();
            stream.write_all(b".").unwrap();
            told.send((length, read, sent)).unwrap();
        }
    });
    let work = move || {
        let process = Process::start(upstream);
        process.warm_up();
        let before = process.peak();
        let mut stream = process.connect();
        let ask = format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
        stream.write_all(ask.as_bytes()).unwrap();
        let mut writing = stream.try_clone().unwrap();
        let writer = std::thread::spawn(move || pour(&mut writing, size, 1));
        assert_eq!(length(&head(&mut stream).unwrap()), size + 1);
        let got = drain(&mut stream, size);
        assert_eq!(drain(&mut stream, 1).len(), 64);
        let sent = writer.join().unwrap();
        let upstream = hashes.iter().find(|(length, ..)| *length == size).unwrap();
        assert_eq!((sent, got), (upstream.1, upstream.2));
        let growth = process.peak() - before;
        println!(
            "peak {} KiB before, {} KiB more after {size} bytes each way",
            before / 1024,
            growth / 1024
        );
        assert!(growth < GROWTH, "it grew by {growth} bytes");
    };
    spawn_blocking(work).await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_application_back() {
    let size = size();
    let (told, blocked) = channel();
    let upstream = serve(move |mut stream| {
        while let Some(head) = head(&mut stream) {
            if head.starts_with("POST") {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    .unwrap();
                continue;
            }
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").unwrap();
            told.send(fill(&mut stream, size)).unwrap();
        }
    });
    let work = move || {
        let process = Process::start(upstream);
        process.warm_up();
        let before = process.peak();
        let mut stream = process.connect();
        stream
            .write_all(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let sent = blocked.recv_timeout(DEADLINE).unwrap();
        assert!(sent < size, "the application was never held back");
        let growth = process.peak() - before;
        assert!(growth < GROWTH, "it grew by {growth} bytes");
        head(&mut stream).unwrap();
        drain(&mut stream, sent);
    };
    spawn_blocking(work).await.unwrap();
}

#[tokio::test]
async fn an_application_that_does_not_read_holds_the_client_back() {
    let size = size();
    let (go, gone) = channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let upstream = serve(move |mut stream| {
        while let Some(head) = head(&mut stream) {
            let length = length(&head);
            if length > 0 {
                gone.lock().unwrap().recv().unwrap();
                return;
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
        }
    });
    let work = move || {
        let process = Process::start(upstream);
        process.warm_up();
        let before = process.peak();
        let mut stream = process.connect();
        let ask = format!("PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
        stream.write_all(ask.as_bytes()).unwrap();
        let sent = fill(&mut stream, size);
        assert!(sent < size, "the client was never held back");
        let growth = process.peak() - before;
        assert!(growth < GROWTH, "it grew by {growth} bytes");
        go.send(()).unwrap();
    };
    spawn_blocking(work).await.unwrap();
}

/// Writes until the other side takes no more, or until so many bytes went; says how many.
fn fill(stream: &mut TcpStream, size: u64) -> u64 {
    stream
        .set_write_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    let piece = vec![b'x'; 64 * 1024];
    let mut sent = 0;
    while sent < size {
        match stream.write(&piece) {
            Ok(count) => sent += count as u64,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return sent;
            }
            Err(error) => panic!("{error}"),
        }
    }
    sent
}

#[tokio::test]
async fn an_upload_that_the_client_gives_up_does_not_look_whole_to_the_application() {
    for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        let (told, seen) = channel();
        let (begun, came) = channel();
        let upstream = serve(move |mut stream| {
            let head = head(&mut stream).unwrap();
            begun.send(()).unwrap();
            let mut body = Vec::new();
            let clean = stream.read_to_end(&mut body).is_ok();
            told.send((head, body, clean)).unwrap();
        });
        let app = TestApp::with(&in_front_of(upstream)).await;
        let mut connection = Connection::open(app.address).await;
        let ask = format!("POST /x HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n5\r\nhello\r\n");
        connection.write(ask.as_bytes()).await;
        let seen = std::sync::Mutex::new(seen);
        let came = std::sync::Mutex::new(came);
        crate::harness::until(|| came.lock().unwrap().try_recv().ok()).await;
        drop(connection);
        let (head, body, _) = crate::harness::until(|| seen.lock().unwrap().try_recv().ok()).await;
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(
            !body.ends_with("0\r\n\r\n") && body.len() < 100,
            "{head}{body}"
        );
        let log = app.access_log(|log| log.contains("/x")).await;
        assert!(log.lines().count() == 1, "{log}");
    }
}

#[tokio::test]
async fn an_application_that_dies_in_its_answer_never_makes_a_clean_end() {
    let part = [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\nbad",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello",
    ];
    for script in part {
        let upstream = serve(move |mut stream| {
            if head(&mut stream).is_some() {
                stream.write_all(script.as_bytes()).unwrap();
            }
        });
        let app = TestApp::with(&in_front_of(upstream)).await;
        let mut connection = Connection::open(app.address).await;
        connection
            .write(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await;
        let answer = connection.rest().await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        // It may be broken before anything was sent; else it is cut.
        if !answer.is_empty() && !answer.starts_with("HTTP/1.1 502") {
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(!answer.ends_with("0\r\n\r\n"), "{script:?}: {answer}");
            assert!(
                !answer.contains("content-length: 5\r\n"),
                "{script:?}: {answer}"
            );
        }
        let log = app.access_log(|log| log.contains("/x")).await;
        assert!(
            log.trim_end().ends_with(" cut") || log.contains(" 502 "),
            "{log}"
        );
    }
}

#[tokio::test]
async fn an_answer_without_length_that_is_reset_never_makes_a_clean_end() {
    let (go, let_go) = channel::<()>();
    let let_go = std::sync::Mutex::new(let_go);
    let upstream = serve(move |mut stream| {
        if head(&mut stream).is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello").unwrap();
            let_go.lock().unwrap().recv().unwrap();
            socket2::SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }
    });
    let app = TestApp::with(&in_front_of(upstream)).await;
    let mut stream = tokio::net::TcpStream::connect(app.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    while !answer.windows(5).any(|window| window == b"hello") {
        let read = tokio::io::AsyncReadExt::read_buf(&mut stream, &mut answer);
        assert!(tokio::time::timeout(DEADLINE, read).await.unwrap().unwrap() > 0);
    }
    go.send(()).unwrap();
    let rest = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer);
    drop(tokio::time::timeout(DEADLINE, rest).await.unwrap());
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.contains("transfer-encoding: chunked"), "{answer}");
    assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn an_answer_that_comes_during_the_upload_is_not_kept_waiting() {
    let upstream = serve(|mut stream| {
        if head(&mut stream).is_some() {
            stream
                .write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n\r\ntoo much")
                .unwrap();
            // Its end of the connection stays open; nothing more is read.
            drop(stream.read(&mut [0; 1]));
        }
    });
    let app = TestApp::with(&in_front_of(upstream)).await;
    let mut connection = Connection::open(app.address).await;
    connection
        .write(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nbegin")
        .await;
    let answer = connection.answer("POST").await;
    assert_eq!((answer.status, answer.text().as_str()), (413, "too much"));
    assert_eq!(
        connection.rest().await,
        b"",
        "what is left of the body is not read"
    );
}

#[tokio::test]
async fn a_body_arrives_as_it_is_sent_and_not_when_it_is_whole() {
    let (go, more) = channel::<&'static [u8]>();
    let more = std::sync::Mutex::new(more);
    let upstream = serve(move |mut stream| {
        if head(&mut stream).is_some() {
            while let Ok(piece) = more.lock().unwrap().recv() {
                stream.write_all(piece).unwrap();
            }
        }
    });
    let app = TestApp::with(&in_front_of(upstream)).await;
    let mut stream = tokio::net::TcpStream::connect(app.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    go.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        .unwrap();
    let mut seen = Vec::new();
    for event in [&b"data: 1\n\n"[..], b"data: 2\n\n", b"data: 3\n\n"] {
        go.send(event).unwrap();
        while !seen.windows(event.len()).any(|window| window == event) {
            let read = tokio::io::AsyncReadExt::read_buf(&mut stream, &mut seen);
            assert!(tokio::time::timeout(DEADLINE, read).await.unwrap().unwrap() > 0);
        }
    }
}
