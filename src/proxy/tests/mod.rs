//! The proxy against upstreams on real sockets that send exactly the given bytes.

mod corpus;
mod heads;
mod http2;
mod pooling;
mod replies;
mod secure;
mod server;
mod streaming;
mod times;
mod tls_server;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use tokio::time::Instant;

use crate::guard::identity::LastNoted;
use crate::guard::{Identity, Permit};
use crate::model::session::{Generation, SessionKey};
use crate::model::user::UserKey;
use crate::proxy::{Address, Body, Earlier, Proxy, Settings, UpstreamError, Via};
use crate::types::ids::{SessionId, TenantId, TokenId, UserId};
use crate::types::net::Scheme;
use crate::types::role::Roles;
use crate::types::time::Timestamp;

/// How long any wait may take before the test fails.
const LIMIT: Duration = Duration::from_secs(60);

const MANAGED: [&str; 4] = ["x-user-id", "x-user-role", "x-tenant-id", "remote-user"];

fn settings(port: u16) -> Settings {
    Settings {
        upstream: Address::Tcp {
            host: "127.0.0.1".to_owned(),
            port,
        },
        connect_timeout: Duration::from_secs(10),
        response_timeout: Duration::from_secs(10),
        queue_timeout: Duration::from_secs(10),
        stream_idle_timeout: Duration::from_secs(3600),
        idle_timeout: Duration::from_secs(60),
        max_age: Duration::from_secs(3600),
        preserve_host: true,
        pass_authorization: false,
        managed: MANAGED.map(HeaderName::from_static).to_vec(),
        cookies: vec!["sidegate_access".to_owned(), "sidegate_refresh".to_owned()],
        max_connections: 8,
        upgrades: vec!["websocket".to_owned()],
        max_upgraded: 8,
    }
}

fn via() -> Via {
    Via {
        client: "203.0.113.9".parse().unwrap(),
        is_shared: false,
        peer: "203.0.113.9".parse().unwrap(),
        scheme: Scheme::Http,
        host: Some(HeaderValue::from_static("app.example.org")),
        request_id: HeaderValue::from_static("request-1"),
        subject: None,
        earlier: Earlier::default(),
    }
}

fn ann() -> Arc<Identity> {
    let owner = UserKey {
        tenant: TenantId::default(),
        user: UserId::from_bytes([1; 16]),
    };
    let header = |name, value| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    };
    Arc::new(Identity {
        session: SessionKey {
            owner,
            id: SessionId::from_bytes([2; 16]),
        },
        generation: Generation(0),
        version: None,
        token: TokenId::from_bytes([3; 16]),
        username: "ann".to_owned(),
        email: None,
        roles: Roles::default(),
        method: "password".to_owned(),
        auth_time: Timestamp::from_secs(1),
        expires_at: Timestamp::MAX,
        noted: LastNoted::default(),
        assertion: None,
        headers: vec![header("x-user-id", "ann"), header("x-user-role", "user")],
    })
}

/// An upstream that runs the script for each connection, with the number of the connection.
fn upstream(mut script: impl FnMut(usize, TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let stream = stream.unwrap();
            let limit = Some(Duration::from_secs(20));
            stream.set_read_timeout(limit).unwrap();
            stream.set_write_timeout(limit).unwrap();
            script(number, stream);
        }
    });
    port
}

/// An upstream that answers every request with the same bytes, and then closes the connection or not.
fn answering(answer: impl Into<Vec<u8>>, then: Then) -> u16 {
    let answer = answer.into();
    upstream(move |_, mut stream| {
        let answer = answer.clone();
        thread::spawn(move || {
            while read_head(&mut stream).is_some() {
                if stream.write_all(&answer).is_err() || then == Then::Close {
                    return;
                }
            }
        });
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Close,
    GoOn,
}

/// Waits until all bytes that an upstream on this port wrote, and a closing, have reached the other side. This
/// can be later than the return of the write.
fn arrived(port: u16) {
    let deadline = Instant::now() + LIMIT;
    // States in which the other side has not acknowledged a FIN: FIN_WAIT1, LAST_ACK, CLOSING.
    let is_on_its_way = |state: &str, unheard: &str| {
        !unheard.trim_start_matches('0').is_empty() || ["04", "09", "0B"].contains(&state)
    };
    loop {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let port = format!(":{port:04X}");
        let near = table.lines().filter(|line| line.contains(&port));
        let mut rows = near.filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (own, _, state) = (fields.next()?, fields.next()?, fields.next()?);
            let (unheard, _) = fields.next()?.split_once(':')?;
            // For a listener the field is the length of its queue.
            (own.ends_with(&port) && state != "0A").then_some((state, unheard))
        });
        if !rows.any(|(state, unheard)| is_on_its_way(state, unheard)) {
            return;
        }
        assert!(Instant::now() < deadline, "it never arrives: {table}");
        thread::yield_now();
    }
}

/// A request head, up to its empty line; `None` if the connection ended.
fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.extend_from_slice(&byte),
            _ => return None,
        }
    }
    Some(String::from_utf8(head).unwrap())
}

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

fn get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path).body(Empty::new()).unwrap()
}

async fn send<B>(proxy: &Proxy, request: Request<B>) -> Result<Response<Body<B>>, UpstreamError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    proxy
        .forward(Permit::for_tests(None), request, &via())
        .await
}

/// The whole body as text.
async fn text<B>(response: Response<Body<B>>) -> Result<String, UpstreamError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let bytes = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A request body of the given frames, with or without a declared size. It ends cleanly, with an error, or
/// never.
#[derive(Debug)]
struct Scripted {
    frames: VecDeque<Frame<Bytes>>,
    declared: Option<u64>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Clean,
    Never,
    Error,
}

impl Scripted {
    fn new(pieces: &[&'static str], declared: Option<u64>, end: End) -> Self {
        let frames = pieces
            .iter()
            .map(|piece| Frame::data(Bytes::from_static(piece.as_bytes())));
        Self {
            frames: frames.collect(),
            declared,
            end,
        }
    }
}

impl http_body::Body for Scripted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match (self.frames.pop_front(), self.end) {
            (Some(frame), _) => Poll::Ready(Some(Ok(frame))),
            (None, End::Clean) => Poll::Ready(None),
            (None, End::Never) => Poll::Pending,
            (None, End::Error) => Poll::Ready(Some(Err(io::ErrorKind::InvalidData.into()))),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.declared
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Writes each piece separately, so that they arrive separately.
fn write_in_pieces(stream: &mut TcpStream, pieces: &[&[u8]]) {
    stream.set_nodelay(true).unwrap();
    for piece in pieces {
        if stream.write_all(piece).is_err() {
            return;
        }
    }
}

#[test]
fn the_futures_and_bodies_may_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    let proxy = Proxy::new(&settings(1)).unwrap();
    let via = via();
    is_send(&proxy);
    is_send(&proxy.forward(Permit::for_tests(None), get("/"), &via));
}
