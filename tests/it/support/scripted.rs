//! How does a test control each connection of an application: delay an answer, stop in the middle, never
//! read?

use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use socket2::{Domain, Socket, Type};
use tokio::time::Duration;

/// Serves each connection on its own thread, until the process ends.
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

/// Reads one request head, and leaves the body.
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

/// An application that answers each request when the test decides, and reports requests.
pub(crate) struct ManualApp {
    pub(crate) address: SocketAddr,
    requests: Mutex<Receiver<String>>,
    go: Sender<Vec<u8>>,
}

impl ManualApp {
    pub(crate) fn start() -> Self {
        let (requests, heads) = channel();
        let (go, answers) = channel::<Vec<u8>>();
        let answers = Mutex::new(answers);
        let address = serve(move |mut stream| {
            while let Some(head) = head(&mut stream) {
                let sent = requests.send(head);
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
            requests: Mutex::new(heads),
            go,
        }
    }

    /// Waits until a request has arrived.
    pub(crate) async fn next_request(&self) -> String {
        crate::support::wait::until(|| self.requests.lock().expect("the heads").try_recv().ok())
            .await
    }

    /// Answers the oldest waiting request with these bytes.
    pub(crate) fn answer(&self, bytes: &str) {
        self.go
            .send(bytes.as_bytes().to_vec())
            .expect("an application");
    }
}

/// A port that refuses connections: bound, so that it is not given to others, and not listening.
pub(crate) struct RefusingPort {
    pub(crate) address: SocketAddr,
    _bound: Socket,
}

impl RefusingPort {
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
pub(crate) fn public_upstream(address: SocketAddr) -> String {
    format!("[policy]\ndefault = \"public\"\n[upstream]\nurl = \"http://{address}\"\n")
}
