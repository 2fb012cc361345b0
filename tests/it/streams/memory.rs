//! Large bodies need constant memory: a slow reader slows down the writer, in both directions.
//!
//! 64 MiB each way; with `SIDEGATE_LONG=1` a gibibyte. Memory is that of the real binary in its own process.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;
use sidegate::types::random::{Random as _, SeededRandom};
use tokio::task::spawn_blocking;

use crate::support::client::DEADLINE;
use crate::support::scripted::{head, public_upstream, serve};

const MIB: u64 = 1 << 20;

/// The permitted growth of the process for any amount of data.
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
            public_upstream(upstream),
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
        // Its log must be read.
        std::thread::spawn(move || lines.count());
        Self {
            child,
            address,
            _home: home,
        }
    }

    /// The peak memory, in bytes.
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

    /// One small request, so that lazy initialisation has happened.
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

/// Writes this many pseudo-random bytes; returns their hash.
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

/// Reads this many bytes; returns their hash.
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
async fn large_bodies_pass_both_ways_in_constant_memory() {
    let size = size();
    let (received, hashes) = channel();
    // Answers while it still reads, so that both bodies are sent at once. The last byte follows the end
    // of the request, because a complete answer ends its request.
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
            received.send((length, read, sent)).unwrap();
        }
    });
    let work = move || {
        let process = Process::start(upstream);
        process.warm_up();
        let before = process.peak();
        let mut stream = process.connect();
        let request = format!("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
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
async fn a_client_that_does_not_read_pauses_the_application() {
    let size = size();
    let (received, blocked) = channel();
    let upstream = serve(move |mut stream| {
        while let Some(head) = head(&mut stream) {
            if head.starts_with("POST") {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    .unwrap();
                continue;
            }
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n").unwrap();
            received.send(fill(&mut stream, size)).unwrap();
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
async fn an_application_that_does_not_read_pauses_the_client() {
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
        let request = format!("PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let sent = fill(&mut stream, size);
        assert!(sent < size, "the client was never held back");
        let growth = process.peak() - before;
        assert!(growth < GROWTH, "it grew by {growth} bytes");
        go.send(()).unwrap();
    };
    spawn_blocking(work).await.unwrap();
}

/// Writes until the peer stops reading, or up to this many bytes; returns the number.
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
