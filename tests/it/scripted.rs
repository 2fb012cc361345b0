//! An application that does with each connection what a test says: hold an answer back, stop in its
//! middle, never read. And the client's end of the same: a socket under the test's own hand.

use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use socket2::{Domain, Socket, Type};
use tokio::time::Duration;

/// Serves each connection on a thread of its own, until the process ends.
pub(crate) fn serve(play: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let play = Arc::new(play);
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            stream.set_nodelay(true).expect("a socket");
            let limit = Some(Duration::from_secs(60));
            stream.set_read_timeout(limit).expect("a socket");
            let play = Arc::clone(&play);
            thread::spawn(move || play(stream));
        }
    });
    address
}

/// Reads one request head; whatever of the body came with it is left out.
pub(crate) fn head(stream: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// An application that answers each request only when the test lets it, and tells when one came.
pub(crate) struct Held {
    pub(crate) address: SocketAddr,
    came: Mutex<Receiver<String>>,
    go: Sender<Vec<u8>>,
}

impl Held {
    pub(crate) fn start() -> Self {
        let (came, heads) = channel();
        let (go, answers) = channel::<Vec<u8>>();
        let answers = Mutex::new(answers);
        let address = serve(move |mut stream| {
            while let Some(head) = head(&mut stream) {
                let sent = came.send(head);
                let next = answers.lock().expect("the answers").recv();
                let (Ok(()), Ok(answer)) = (sent, next) else {
                    return;
                };
                if stream.write_all(&answer).is_err() {
                    return;
                }
            }
        });
        Self {
            address,
            came: Mutex::new(heads),
            go,
        }
    }

    /// Waits until a request has come.
    pub(crate) async fn came(&self) -> String {
        crate::harness::until(|| self.came.lock().expect("the heads").try_recv().ok()).await
    }

    /// Answers the oldest waiting request with these bytes.
    pub(crate) fn answer(&self, bytes: &str) {
        self.go
            .send(bytes.as_bytes().to_vec())
            .expect("an application");
    }
}

/// A port that refuses: bound, so that nobody else can get it, and not listened on.
pub(crate) struct Refusing {
    pub(crate) address: SocketAddr,
    _bound: Socket,
}

impl Refusing {
    pub(crate) fn new() -> Self {
        let bound = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        bound.bind(&any.into()).expect("a port");
        let address = bound.local_addr().expect("an address").as_socket();
        Self {
            address: address.expect("an address"),
            _bound: bound,
        }
    }
}

/// The configuration of an app in front of this application.
pub(crate) fn in_front_of(address: SocketAddr) -> String {
    format!("[policy]\ndefault = \"public\"\n[upstream]\nurl = \"http://{address}\"\n")
}
