//! Which application is behind Sidegate by default? [`Echo`] describes its request, [`Raw`] sends
//! scripted bytes. Each runs on its own threads, so that no wait of a test blocks it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use serde_json::json;

/// Raw request heads, in order.
type Heads = Arc<Mutex<Vec<Vec<u8>>>>;

/// Answers every request with JSON: `{method, target, headers: [[name, value]..], body_sha256,
/// body_len}`.
#[derive(Debug)]
pub(crate) struct Echo {
    pub(crate) address: SocketAddr,
    heads: Heads,
}

impl Echo {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let heads = Heads::default();
        let kept = Arc::clone(&heads);
        each(listener, move |stream| drop(echo(&stream, &kept)));
        Self { address, heads }
    }

    /// The raw heads received since the last call.
    pub(crate) fn take_heads(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.heads.lock().expect("the heads"))
    }

    /// Whether a request for this target has arrived since the heads were taken.
    pub(crate) fn saw(&self, target: &str) -> bool {
        let target = format!(" {target} ");
        let heads = self.heads.lock().expect("the heads");
        heads
            .iter()
            .any(|head| String::from_utf8_lossy(head).contains(&target))
    }

    /// The number of requests since the heads were taken.
    pub(crate) fn count(&self) -> usize {
        self.heads.lock().expect("the heads").len()
    }
}

fn echo(stream: &TcpStream, heads: &Heads) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    while let Some(head) = read_head(&mut reader)? {
        heads.lock().expect("the heads").push(head.clone());
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.trim_end().split("\r\n");
        let mut start = lines.next().unwrap_or_default().split(' ');
        let method = start.next().unwrap_or_default().to_owned();
        let target = start.next().unwrap_or_default().to_owned();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let body = read_body(&mut reader, &headers)?;
        let reply = json!({
            "method": method,
            "target": target,
            "headers": headers,
            "body_sha256": HEXLOWER.encode(digest(&SHA256, &body).as_ref()),
            "body_len": body.len(),
        })
        .to_string();
        let length = reply.len();
        let shown = if method == "HEAD" { "" } else { &reply };
        write!(
            writer,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{shown}"
        )?;
    }
    Ok(())
}

/// Plays one script for each connection: reads a head, writes the bytes, closes. The last script is
/// repeated.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) address: SocketAddr,
    heads: Heads,
}

impl Raw {
    pub(crate) fn start(scripts: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let heads = Heads::default();
        let kept = Arc::clone(&heads);
        let next = Mutex::new(0);
        each(listener, move |mut stream| {
            let mut reader = BufReader::new(&stream);
            let Ok(Some(head)) = read_head(&mut reader) else {
                return;
            };
            kept.lock().expect("the heads").push(head);
            let script = {
                let mut next = next.lock().expect("the script");
                let script = scripts.get(*next).or(scripts.last());
                *next += 1;
                script.cloned().unwrap_or_default()
            };
            drop(stream.write_all(&script));
        });
        Self { address, heads }
    }

    /// The raw heads received since the last call.
    pub(crate) fn take_heads(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.heads.lock().expect("the heads"))
    }
}

/// Serves each connection on a thread, until the process ends.
fn each(listener: TcpListener, serve: impl Fn(TcpStream) + Send + Sync + 'static) {
    let serve = Arc::new(serve);
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            // Without it an answer in two writes waits for a delayed acknowledgement.
            drop(stream.set_nodelay(true));
            let serve = Arc::clone(&serve);
            thread::spawn(move || serve(stream));
        }
    });
}

fn read_head(reader: &mut impl std::io::BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    loop {
        let before = head.len();
        if reader.read_until(b'\n', &mut head)? == 0 {
            return Ok(None);
        }
        if &head[before..] == b"\r\n" && before > 0 {
            return Ok(Some(head));
        }
    }
}

fn read_body(
    reader: &mut BufReader<TcpStream>,
    headers: &[(String, String)],
) -> std::io::Result<Vec<u8>> {
    let value = |wanted: &str| {
        let found = headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.as_str())
    };
    let mut body = Vec::new();
    if value("transfer-encoding").is_some() {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16).unwrap_or(0);
            if size == 0 {
                reader.read_line(&mut line)?;
                return Ok(body);
            }
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk)?;
            body.extend_from_slice(&chunk[..size]);
        }
    }
    if let Some(length) = value("content-length") {
        body.resize(length.parse().unwrap_or(0), 0);
        reader.read_exact(&mut body)?;
    }
    Ok(body)
}
